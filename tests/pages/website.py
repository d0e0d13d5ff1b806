"""The site as it was built, in a real browser, from its folder and without a network: `make test-site`.

(Not part of `make test`: it needs a Chromium, and `make site` first, which the make target sees to.) The screenshots,
in runs/site/, are for looking at.
"""

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import expect

ROOT = Path(__file__).parent.parent.parent
SITE = ROOT / "build" / "site"
SCREENSHOTS = ROOT / "runs" / "site"
PAGES = sorted(page.relative_to(SITE).as_posix() for page in SITE.rglob("*.html") if "_static" not in page.parts)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOOKS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]  # 390 pixels: a phone


@cache
def parsed(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture
def opened(browser):
    """A function that opens a page of the site as it looks in a mode and at a width; nothing may go wrong on it."""
    contexts, trouble = [], []

    def note(request):
        if urlsplit(request.url).scheme not in {"file", "data", "blob"}:
            trouble.append(f"asks the network for {request.url}")

    def open_page(name, mode="light", width=1280):
        phone = width < 500
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=mode, has_touch=phone, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", note)
        page.on("requestfailed", lambda request: trouble.append(f"cannot load {request.url}"))
        page.on("console", lambda message: message.type in {"error", "warning"} and trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto((SITE / name).as_uri())
        page.evaluate("window.MathJax && MathJax.startup.promise")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble


def test_site_was_built():
    assert PAGES, "There is no site in build/site: call `make site`."


# What is wrong on a page, found by the page itself. Folded parts are opened first, so that they are looked at too.
PICTURES = """[...document.images].filter(i => !i.alt.trim() || !i.complete || !i.naturalWidth).map(i => i.src)"""
FORMULAS = r"""
[...document.querySelectorAll(".math")].filter(formula => {
  const drawn = formula.querySelector("mjx-container svg"), box = drawn?.getBoundingClientRect();
  return !drawn || box.width < 2 || box.height < 2 || formula.querySelector("[data-mjx-error], [data-mml-node=merror]")
      || !formula.querySelector("mjx-assistive-mml math");
}).map(formula => formula.textContent)"""
RAW_FORMULAS = r"""
(() => {
  const copy = document.querySelector("article").cloneNode(true);
  copy.querySelectorAll("pre, code, script, mjx-container").forEach(part => part.remove());
  return copy.textContent.match(/\\[a-zA-Z]+|\\[()[\]]|\$[^$\n]+\$/g) || [];
})()"""
TOO_WIDE = """
(() => {
  const width = document.documentElement.clientWidth;
  const scrolls = e => e && !e.matches("article") && (
    ["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement)
  );
  return [...document.querySelectorAll("article *, footer *, header *")].filter(
    e => !e.closest("mjx-assistive-mml") && e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement)
  ).map(e => e.outerHTML.slice(0, 200)).concat(document.documentElement.scrollWidth > width ? ["the whole page"] : []);
})()"""
CONTRASTS = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(
    c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  ).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    const colour = rgba(e ? getComputedStyle(e).backgroundColor : "white");
    return colour[3] < 128 ? behind(e.parentElement) : colour;
  };
  const buttons = matchMedia("(hover: none)").matches ? ", button" : "";  // elsewhere some show when hovered over
  const texts = `article :is(p, li, summary, td, th, h1, h2, h3, pre, pre span, a, code${buttons})`;
  return [...document.querySelectorAll(texts)].map(e => {
    const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 120)];
  }).filter(([contrast]) => contrast < 4.5).map(([contrast, html]) => contrast.toFixed(1) + " " + html);
})()"""


@pytest.mark.parametrize(("mode", "width"), LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_page(opened, name, mode, width):
    page = opened(name, mode, width)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate(PICTURES) == []
    assert page.evaluate(FORMULAS) == []
    assert page.evaluate(RAW_FORMULAS) == []
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(CONTRASTS) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, re.findall(r"\d+", background)[:3])) > 128) == (mode == "light")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    screenshot = f"{name.removesuffix('.html').replace('/', '_')}_{mode}_{width}.png"
    page.screenshot(path=SCREENSHOTS / screenshot, full_page=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_whole(path):
    """The code, what it printed, the figures with their words, and the button for Colab are on the page."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    page = parsed(SITE / "notebooks" / f"{path.stem}.html").article
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert [block.text.rstrip("\n") for block in page.select(".cell_input pre")] == [text.rstrip("\n") for text in code]
    assert page.select_one("details pre").text.startswith("# @title Getting ready")
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    words = [output["metadata"]["image/png"]["alt"] for output in figures]
    assert [image["alt"] for image in page.select(".cell_output img")] == words
    folded = [fold.get_text() for fold in page.select(".cell_output details")]
    assert all(any(alt in fold for fold in folded) for alt in words)
    printed = ["".join(output["text"]) for output in outputs if output["output_type"] == "stream"]
    shown = "\n".join(block.text for block in page.select(".cell_output pre"))
    assert all(text.strip() in shown for text in printed)
    [colab] = [link["href"] for link in page.select("a.button")]
    assert f"]({colab})" in "".join(cells[0]["source"])  # which other tests check


def test_films_move(opened):
    """A film has more than one picture, says so in its file, and looks different a little later."""
    count = 0
    for path in NOTEBOOKS:
        page = opened(f"notebooks/{path.stem}.html", width=390)
        for film in page.locator(".cell_output img").all():
            file = SITE / "notebooks" / film.get_attribute("src")
            if b"acTL" not in file.read_bytes()[:100]:
                continue
            count += 1
            film.scroll_into_view_if_needed()
            assert film.bounding_box()["width"] <= 390, "A film that scrolls is never seen whole."
            first = film.screenshot()
            for _ in range(10):  # it may be holding its last picture
                page.wait_for_timeout(500)
                if film.screenshot() != first:
                    break
            else:
                raise AssertionError(f"A film in {path.stem} stands still: {film.get_attribute('alt')[:60]}")
    assert count > 5


def test_every_module_is_in_the_reference():
    package = ROOT / "course_utils"
    modules = {path.stem for path in (*package.glob("[!_]*.py"), *package.glob("classroom/[!_]*.py"))} - {"annotations"}
    tables = parsed(SITE / "docs" / "reference.html").select("article table a")
    assert {link.text for link in tables} == modules | {"exercises"}


def test_reference_says_something_of_every_argument_and_error():
    """A sentence among them that is about none of them would be taken for one."""
    pages = list((SITE / "docs" / "reference").glob("*.html"))
    assert pages
    said = [part.text.strip() for page in pages for part in parsed(page).select("dl.field-list p")]
    assert len(said) > 50
    assert [text for text in said if text.endswith(" –")] == []


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = parsed(SITE / name)
    targets = [tag[kind] for kind in ("href", "src") for tag in page.find_all(attrs={kind: True})]
    assert targets
    for target in targets:
        parts = urlsplit(target)
        if parts.scheme in {"http", "https", "mailto", "data"}:
            continue
        assert not parts.scheme, target
        assert not parts.netloc, target
        file = (SITE / name).parent / unquote(parts.path) if parts.path else SITE / name
        assert file.is_file(), f"{target}: no such file"
        if parts.fragment and file.suffix == ".html":
            known = parsed(file.resolve()).find(id=unquote(parts.fragment))
            assert known or parts.fragment.startswith("svg-"), f"{target}: no such place"


def test_search_finds_a_page(opened):
    page = opened("index.html")
    page.get_by_placeholder("Search").fill("space-to-depth")
    page.get_by_placeholder("Search").press("Enter")
    result = page.locator("#search-results .search li a", has_text="3. The UNet").first
    result.click()
    expect(page.locator("h1")).to_contain_text("The UNet")
    assert "pixel_unshuffle" in page.locator("article").inner_text()


def test_folded_answer_opens_with_its_formulas(opened):
    page = opened("notebooks/02_noise_schedule.html", width=390)
    answer = page.locator("details", has=page.locator(".math")).first
    formula = answer.locator("mjx-container").first
    expect(formula).to_be_hidden()
    answer.locator("summary").click()
    expect(formula).to_be_visible()
    assert formula.bounding_box()["width"] > 4


def test_copy_button_copies_the_cell(opened):
    page = opened("notebooks/01_forward_process.html")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    cell = page.locator(".cell_input").nth(1)
    cell.hover()
    cell.locator("button.copybtn").click()
    page.wait_for_timeout(300)
    assert page.evaluate("navigator.clipboard.readText()").strip() == cell.locator("pre").inner_text().strip()
    assert page.locator(".cell_output button.copybtn").count() == 0


def test_menu_leads_to_a_notebook_on_a_phone(opened):
    page = opened("index.html", width=390)
    link = page.locator(".sidebar-tree").get_by_role("link", name="1. The forward process")
    expect(link).not_to_be_in_viewport()
    page.locator(".mobile-header label[for=__navigation]").click()
    expect(link).to_be_in_viewport()
    link.click()
    expect(page.locator("h1")).to_contain_text("The forward process")


def test_dark_mode_can_be_chosen(opened):
    page = opened("index.html")
    looks = set()
    for _ in range(3):  # automatic, dark and light take turns
        page.locator(".theme-toggle:visible").click()
        looks.add(
            page.evaluate("[document.body.dataset.theme, getComputedStyle(document.body).backgroundColor].join()")
        )
    backgrounds = dict(look.split(",", 1) for look in looks)
    assert backgrounds.keys() == {"auto", "dark", "light"}
    assert backgrounds["auto"] == backgrounds["light"] != backgrounds["dark"]
