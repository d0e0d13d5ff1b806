"""The slides and the hand-out in a real browser: `make test-slides`. (Not part of `make test`: it needs a Chromium.)

They are made afresh and opened from a plain folder, with the network cut off; every slide is seen as a room sees it.
The screenshots, in runs/slides/, are for looking at.
"""

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = ROOT / "runs" / "slides"
DECKS = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]

# What of a slide lies outside of it, or is too small to be seen from the back of a room.
FAULTS = """slide => {
    const faults = [], stage = slide.getBoundingClientRect(), least = 0.5;
    for (const part of slide.querySelectorAll(".part > *, .part img, .part mjx-container, .part td, .section")) {
        const box = part.getBoundingClientRect(), name = `${part.tagName}: ${part.textContent.trim().slice(0, 40)}`;
        if (box.right > stage.right - 20 + least || box.bottom > stage.bottom - 20 + least || box.left < stage.left)
            faults.push(`${name} lies outside`);
        if (part.scrollWidth > part.clientWidth + 1 && part.tagName === "PRE") faults.push(`${name} is cut off`);
        if (part.tagName === "IMG" && box.height * box.width < 60000) faults.push(`a figure is too small`);
    }
    const boxes = [...slide.querySelectorAll(":scope > h1, :scope > h2, .section, .part > *")].map(
        part => part.getBoundingClientRect());
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 1) faults.push(`two parts overlap by ${across} x ${down}`);
    }));
    return faults;
}"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    runpy.run_path(str(ROOT / "scripts" / "make_slides.py"))["main"](folder)
    return folder


@pytest.fixture
def page(browser):
    """A page that may open files and nothing else, and that has no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    page, errors, wanted = context.new_page(), [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: wanted.append(request.url))
    yield page
    context.close()
    assert errors == []
    assert [url for url in wanted if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in wanted) == 1, wanted


def opened(page, path):
    page.goto(path.as_uri())
    page.evaluate("MathJax.startup.promise")


def bare(page):
    """Formulas that were left as they are typed."""
    return page.evaluate(
        r"""[...document.querySelectorAll("main *, article *")].filter(part => !part.closest("pre, code"))
            .flatMap(part => [...part.childNodes]).filter(node => node.nodeType === 3).map(node => node.data)
            .filter(text => /\$|\\(frac|bar|sqrt)/.test(text))"""
    )


@pytest.mark.parametrize("stem", DECKS)
def test_every_slide_fits_and_is_whole(folder, page, stem):
    opened(page, folder / f"{stem}.html")
    slides, seen, faults = page.locator("section"), 0, []
    assert bare(page) == []
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    for image in page.locator("section img").all():
        assert len(image.get_attribute("alt").split()) >= 12
    for number in range(slides.count()):
        for _ in range(slides.nth(number).locator(".fragment").count()):
            page.keyboard.press("ArrowRight")
        expect(slides.nth(number)).to_be_visible()
        expect(page.locator("section.now")).to_have_count(1)
        assert slides.nth(number).locator(".waiting").count() == 0
        faults += [f"slide {number + 1}: {fault}" for fault in slides.nth(number).evaluate(FAULTS)]
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{stem}_{number + 1:02d}.png")
        seen += 1
        page.keyboard.press("ArrowRight")
    assert faults == []
    assert seen >= 5


def test_keys_walk_on_and_back(folder, page):
    opened(page, folder / "01_forward_process.html")
    page.keyboard.press("End")
    last = page.locator("section").count()
    expect(page.locator("#place")).to_have_text(f"{last} / {last}")
    page.keyboard.press("Home")
    expect(page.locator("section.now .fragment.waiting")).to_have_count(1)
    for _ in range(2):
        page.keyboard.press(" ")
    expect(page.locator("#place")).to_have_text(f"2 / {last}")
    page.keyboard.press("ArrowLeft")  # to the first slide, with all that it has
    expect(page.locator("#place")).to_have_text(f"1 / {last}")
    expect(page.locator("section.now .fragment.waiting")).to_have_count(0)
    assert page.url.endswith("#1")


def test_notes_open_in_a_window_of_their_own_and_follow(folder, page):
    opened(page, folder / "01_forward_process.html")
    with page.expect_popup() as popup:
        page.keyboard.press("n")
    notes = popup.value
    expect(notes.locator("body")).to_contain_text("Two shirts dissolve, step by step, and each column stops")
    before = notes.locator("body").inner_text()
    page.bring_to_front()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert notes.locator("body").inner_text() != before


@pytest.mark.parametrize("size", [(1024, 768), (1920, 1080), (400, 700)])
def test_a_slide_is_fitted_to_the_window(folder, page, size):
    page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    opened(page, folder / "00_start_here.html")
    box = page.locator("main").bounding_box()
    assert box["x"] >= -0.5
    assert box["y"] >= -0.5
    assert box["width"] == pytest.approx(min(size[0], size[1] * 16 / 9), abs=1)
    assert box["height"] == pytest.approx(box["width"] * 9 / 16, abs=1)


def pages_in(pdf):
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def pdf_of(path, chromium, tmp_path):
    """What somebody gets who prints the page to a file."""
    result = tmp_path / f"{path.stem}.pdf"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", "--virtual-time-budget=20000"]
    command = [chromium, *options, f"--user-data-dir={tmp_path}/profile", f"--print-to-pdf={result}", path.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=os.environ)
    return result.read_bytes()


def test_the_handout_has_two_pages(folder, page, chromium, tmp_path):
    opened(page, folder / "handout.html")
    assert bare(page) == []
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    page.emulate_media(media="print")
    for sheet in page.locator("article").all():
        over = sheet.evaluate(
            "sheet => [sheet.scrollWidth - sheet.clientWidth, sheet.scrollHeight - sheet.clientHeight]"
        )
        assert over == [0, 0]
        for code in sheet.locator("pre").all():
            assert code.evaluate("code => code.scrollWidth - code.clientWidth") <= 0
    assert pages_in(pdf_of(folder / "handout.html", chromium, tmp_path)) == 2
    shutil.copy(tmp_path / "handout.pdf", SCREENSHOTS)


def test_a_printed_deck_has_a_page_for_each_slide(folder, page, chromium, tmp_path):
    opened(page, folder / "00_start_here.html")
    assert pages_in(pdf_of(folder / "00_start_here.html", chromium, tmp_path)) == page.locator("section").count()


def test_the_index_leads_to_all_pages(folder, page):
    page.goto((folder / "index.html").as_uri())
    targets = [link.get_attribute("href") for link in page.locator("li a").all()]
    assert sorted(targets) == sorted(path.name for path in folder.glob("*.html") if path.name != "index.html")
