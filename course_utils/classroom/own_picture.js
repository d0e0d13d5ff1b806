// A place to draw with a mouse, a finger or a pen (own_picture.py). What is drawn goes as 28 x 28 grey values, 0 .. 255,
// in one line of text, into a text field of ipywidgets, which hands it to Python. PLACE is the class of the field's box,
// PEN the colour of the lines, and LABEL what a screen reader says.
(() => {
  const SIDE = 28, ZOOM = 10, WIDTH = SIDE * ZOOM;

  function greys(pen) {
    const pixels = pen.getImageData(0, 0, WIDTH, WIDTH).data, sums = new Array(SIDE * SIDE).fill(0);
    for (let y = 0; y < WIDTH; y++)
      for (let x = 0; x < WIDTH; x++)
        sums[Math.floor(y / ZOOM) * SIDE + Math.floor(x / ZOOM)] += pixels[4 * (y * WIDTH + x) + 3];  // how opaque
    return sums.map((sum) => Math.round(sum / ZOOM ** 2));
  }

  function prepare(box, field) {
    const canvas = document.createElement("canvas"), clear = document.createElement("button");
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    let last = null, timer = null;

    const wipe = () => pen.clearRect(0, 0, WIDTH, WIDTH);
    const hand_over = (text) => {
      field.value = text;
      for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
    };
    const soon = () => { timer ??= setTimeout(() => { timer = null; hand_over(greys(pen).join(" ")); }, 150); };
    const to = (event) => {
      const zoom = WIDTH / canvas.clientWidth, point = [event.offsetX * zoom, event.offsetY * zoom];
      pen.beginPath();
      pen.moveTo(...(last ?? point));
      pen.lineTo(point[0] + 0.01, point[1]);  // a little more than nothing, so that a click makes a dot
      pen.stroke();
      last = point;
      soon();
    };

    canvas.width = canvas.height = WIDTH;
    canvas.style.cssText = "width: 280px; max-width: 100%; background: black; border: 1px solid #888; border-radius: 4px; cursor: crosshair; touch-action: none";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "LABEL");
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;  // the right one opens a menu
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      Object.assign(pen, { strokeStyle: "PEN", lineWidth: 2.2 * ZOOM, lineCap: "round", lineJoin: "round" });
      last = null;
      to(event);
    });
    canvas.addEventListener("pointermove", (event) => { if (last) to(event); });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { last = null; });

    clear.type = "button";
    clear.style.cssText = "display: block; height: 40px; line-height: 40px; margin: 6px 2px";
    clear.textContent = "Start again";
    clear.className = "lm-Widget jupyter-widgets jupyter-button widget-button";
    clear.addEventListener("click", () => {
      wipe();
      clearTimeout(timer);
      timer = null;
      hand_over(field.value === "" ? " " : "");  // a change in any case, or Python would keep a file
    });

    box.append(canvas, clear);
  }

  let tries = 0;
  const waiting = setInterval(() => {  // the field comes a little after this script
    for (const box of document.querySelectorAll(".PLACE")) {
      const field = box.querySelector("textarea");
      if (field && !box.querySelector("canvas")) { prepare(box, field); tries = 300; }
    }
    if (++tries > 300) clearInterval(waiting);
  }, 200);
})();
