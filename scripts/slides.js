// Shows one slide at a time, fitted to the window. A fragment waits for the next key. The place is kept in the address.
const stage = document.querySelector("main");
const slides = [...stage.querySelectorAll("section")];
let now = Math.min(Math.max(Number(location.hash.slice(1)) || 1, 1), slides.length) - 1;
let revealed = 0; // fragments of this slide
let notes = null; // a window

function fragments() {
  return [...slides[now].querySelectorAll(".fragment")];
}

function show() {
  slides.forEach((slide, i) => slide.classList.toggle("now", i === now));
  fragments().forEach((part, i) => part.classList.toggle("waiting", i >= revealed));
  document.getElementById("place").textContent = `${now + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${now + 1}`);
  if (notes && !notes.closed) {
    notes.document.title = `Notes ${now + 1} / ${slides.length}`;
    notes.document.body.innerHTML = slides[now].querySelector(".notes").innerHTML || "(no notes)";
  }
}

function forward() {
  if (revealed < fragments().length) revealed += 1;
  else if (now < slides.length - 1) [now, revealed] = [now + 1, 0];
  show();
}

function back() {
  if (revealed > 0) revealed -= 1;
  else if (now > 0) {
    now -= 1;
    revealed = fragments().length;
  }
  show();
}

function jump(to) {
  [now, revealed] = [to, 0];
  show();
}

function openNotes() {
  notes = window.open("", "notes", "width=700,height=800");
  if (!notes) return;
  notes.document.body.style.cssText = "font: 18px/1.5 system-ui, sans-serif; margin: 1.5em; max-width: 40em";
  show();
}

function fit() {
  const scale = Math.min(innerWidth / 1280, innerHeight / 720);
  const left = (innerWidth - 1280 * scale) / 2;
  stage.style.transform = `translate(${left}px, ${(innerHeight - 720 * scale) / 2}px) scale(${scale})`;
}

const keys = {
  ArrowRight: forward, ArrowDown: forward, PageDown: forward, " ": forward, Enter: forward,
  ArrowLeft: back, ArrowUp: back, PageUp: back, Backspace: back,
  Home: () => jump(0), End: () => jump(slides.length - 1),
  n: openNotes, N: openNotes,
  f: () => document.documentElement.requestFullscreen(), F: () => document.documentElement.requestFullscreen(),
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
stage.addEventListener("click", (event) => {
  if (!event.target.closest("a")) event.clientX < innerWidth / 3 ? back() : forward();
});
addEventListener("resize", fit);
addEventListener("hashchange", () => jump(Math.min(Math.max(Number(location.hash.slice(1)) || 1, 1), slides.length) - 1));
fit();
show();
