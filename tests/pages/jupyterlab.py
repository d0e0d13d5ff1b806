"""The notebooks in JupyterLab, in a real browser: `make test-browser`. (Not part of `make test`: it needs a Chromium.)

Every notebook is opened as a learner opens it, from a folder of copies, and run up to what is tried: a widget is moved
with the keyboard, a quiz and an exercise are answered wrongly and then rightly. The screenshots, in runs/browser/, are
for looking at.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest
from playwright.sync_api import expect

from course_utils.classroom.figures import words

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = ROOT / "runs" / "browser"
MINUTE = 60_000  # playwright counts milliseconds
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight stay in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """JupyterLab over an empty folder: its address, and the folder."""
    folder, settings = tmp_path_factory.mktemp("my_work"), tmp_path_factory.mktemp("settings")
    for name, values in SETTINGS.items():
        path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", f"--notebook-dir={folder}"]
    command += ["--IdentityProvider.token=", "--allow-root", "--LabApp.news_url="]
    server = subprocess.Popen(
        command,
        env=os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(settings)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api")
        yield address, folder
    finally:
        server.terminate()
        server.wait(20)


def wait_for(address, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            return urlopen(address).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


def opened(lab, page, cells, name):
    """Open a notebook of these cells, run all of them, and wait until the last one is done."""
    address, folder = lab
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, folder / f"{name}.ipynb")
    page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb?reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=MINUTE)
    page.locator(
        ".jp-NotebookPanel-toolbar [data-status=idle], .jp-Notebook-ExecutionIndicator[data-status=idle]"
    ).wait_for(timeout=MINUTE)
    page.wait_for_timeout(5000)  # idle is shown a little before the notebook is connected to its kernel
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    number = sum(cell.cell_type == "code" for cell in cells)
    page.locator(".jp-CodeCell .jp-InputPrompt").nth(number - 1).filter(has_text=re.compile(r"\[\d+\]")).wait_for(
        timeout=5 * MINUTE
    )
    expect(page.locator('[data-mime-type="application/vnd.jupyter.stderr"]')).to_have_count(0)


def cells_up_to(stem, text):
    """The code cells of a notebook up to the one that holds `text`, without those that take long and are not needed."""
    notebook = nbformat.read(next((ROOT / "notebooks").glob(f"{stem}*.ipynb")), as_version=4)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or set(cell.metadata.get("tags", [])) & {"mistake", "lab"}:
            continue
        cells.append(nbformat.v4.new_code_cell(cell.source))
        if text in cell.source:
            return cells
    raise AssertionError(f"No cell of {stem} holds {text!r}.")


def picture(page):
    """The live picture of the last widget: its address changes with every new picture."""
    return page.locator(".widget-image, img.jupyter-widgets").last


def save(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


WIDGETS = {
    "scrubber": "00",
    "noise_slider": "01",
    "schedule_designer": "02",
    "unet_explorer": "03",
    "trajectory_scrubber": "05",
    "steps_and_eta": "06",
    "two_clouds": "07",
    "guidance_dial": "08",
    "prediction_dial": "09",
    "solver_and_calls": "10",
}


@pytest.mark.parametrize("widget", WIDGETS)
def test_every_slider_of_a_widget_changes_the_picture(lab, page, widget):
    opened(lab, page, cells_up_to(WIDGETS[widget], f"{widget}("), widget)
    picture(page).scroll_into_view_if_needed()
    handles = page.locator(".noUi-handle:visible")
    assert handles.count() >= 1
    for i in range(handles.count()):
        before = picture(page).screenshot()
        handles.nth(i).focus()
        for key in ("End", "Home"):  # one of the two is elsewhere than where the slider stands
            page.keyboard.press(key)
            page.wait_for_timeout(1500)
            if picture(page).screenshot() != before:
                break
        else:
            raise AssertionError(f"Slider {i} of {widget} changes nothing.")
    save(page, widget)


def test_static_figure_and_its_words_are_found_by_a_screen_reader(lab, page):
    opened(lab, page, cells_up_to("01", "noise_slider("), "accessible")
    page.get_by_text("This figure in words").first.click()
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    names = [node.get("name", {}).get("value", "") for node in tree if not node.get("ignored")]
    assert any("This figure in words" in name for name in names)
    assert any(words("01.film")[:40] in name for name in names)


def test_a_quiz_answered_wrongly_and_then_rightly(lab, page):
    cells = [
        nbformat.v4.new_code_cell('from course_utils.classroom.quiz import show_quiz\nshow_quiz("01_forward_process")')
    ]
    opened(lab, page, cells, "quiz")
    first = page.locator(".widget-radio, .jupyter-widget-radio").first
    seen = []
    for i in range(first.locator("input[type=radio]").count()):
        first.locator("input[type=radio]").nth(i).check()
        page.get_by_role("button", name="Check answer 1").click()
        page.wait_for_timeout(700)
        feedback = page.locator(".course-quiz").get_by_role("alert").first
        seen.append(feedback.inner_text().split(".")[0])
        save(page, f"quiz_{i}")
    assert seen.count("Right") == 1
    assert seen.count("Not quite") == len(seen) - 1


SCALED_WRONGLY = """
def add_noise(x_0, t, noise, path):
    return at(path.signal_rate**2, t, x_0) * x_0 + at(path.noise_rate**2, t, x_0) * noise


add_noise = check("forward.add_noise", add_noise)
"""


def test_an_exercise_answered_wrongly_and_then_rightly(lab, page):
    before = "from pathlib import Path\nfrom course_utils.classroom.exercises import check, checking\n"
    before += "from course_utils.schedule import at\nchecking.PROGRESS = Path('progress.json')"
    exercise = cells_up_to("01", 'check("forward.add_noise"')[-1]
    opened(lab, page, [nbformat.v4.new_code_cell(before), exercise], "exercise")
    verdict = page.locator("[role=status] strong")
    expect(verdict).to_contain_text("Not attempted yet")
    answer(page, SCALED_WRONGLY)
    expect(page.get_by_text("Both square roots are missing")).to_be_visible(timeout=MINUTE)
    expect(verdict).to_contain_text("Not right yet")
    page.get_by_text("Hint 1").click()
    expect(page.get_by_text("Hint 2")).to_be_visible()
    save(page, "exercise_wrong")
    answer(page, SCALED_WRONGLY.replace("**2", ""))
    expect(verdict).to_contain_text("✓ Right", timeout=MINUTE)
    save(page, "exercise_right")


def answer(page, code):
    """Replace what the last cell holds, and run it."""
    page.locator(".jp-CodeCell .cm-content").last.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(code.strip())
    page.keyboard.press("Control+Enter")


DRAW_HERE = """from course_utils.classroom import own_picture
from course_utils.schedule import cosine_schedule

mine = own_picture.ask(cosine_schedule(), "A smiley at six levels of noise, from t = 0 to t = 900, to try this out.")"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_drawing_reaches_the_kernel_and_its_noised_pictures_change(lab, page, theme):
    """A stroke and a dot with the mouse, "Start again", and a file."""
    opened(lab, page, [nbformat.v4.new_code_cell(DRAW_HERE), nbformat.v4.new_code_cell("pass")], f"drawing_{theme}")
    if theme == "dark":
        page.get_by_role("menuitem", name="Settings", exact=True).click()
        page.get_by_text("Theme", exact=True).first.hover()
        page.get_by_text("JupyterLab Dark", exact=True).click()
        page.wait_for_timeout(1500)
    canvas, says = page.get_by_label("A black square to draw on"), page.locator(".widget-html, .jupyter-widget-html")
    canvas.wait_for(timeout=MINUTE)
    canvas.scroll_into_view_if_needed()
    expect(page.locator("textarea:visible.widget-input")).to_have_count(0)
    smiley, place = picture(page).get_attribute("src"), canvas.bounding_box()
    page.mouse.move(place["x"] + 70, place["y"] + 70)
    page.mouse.down()
    page.mouse.move(place["x"] + 70, place["y"] + 210, steps=20)
    page.mouse.move(place["x"] + 210, place["y"] + 210, steps=20)
    page.mouse.up()
    page.mouse.move(place["x"] + 210, place["y"] + 70, steps=5)  # the button is up: no line
    page.mouse.click(place["x"] + 210, place["y"] + 70)  # a dot
    expect(says.get_by_text("Your drawing")).to_be_visible(timeout=MINUTE)
    page.wait_for_timeout(1000)
    assert picture(page).get_attribute("src") != smiley
    save(page, f"own_picture_{theme}")
    answer(
        page, "print([int(mine.picture[0, 0, y, x] > 0) for y, x in ((14, 7), (21, 14), (14, 21), (7, 14), (7, 21))])"
    )
    expect(page.get_by_text("[1, 1, 0, 0, 1]")).to_be_visible(timeout=MINUTE)
    page.get_by_role("button", name="Start again").click()
    expect(says.get_by_text("A smiley")).to_be_visible(timeout=MINUTE)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Or take a file").click()
    chooser.value.set_files(ROOT / "data" / "samples.png")
    expect(says.get_by_text("Your file")).to_be_visible(timeout=MINUTE)
    save(page, f"own_picture_file_{theme}")
    page.get_by_role("button", name="Start again").click()  # with nothing drawn since: the file has to go
    expect(says.get_by_text("A smiley")).to_be_visible(timeout=MINUTE)
    cut_off = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 2).length"
    assert page.locator(".jupyter-widgets.widget-vbox, .jupyter-widget-vbox").evaluate_all(cut_off) == 0


CHOOSE_HERE = """from course_utils.classroom.figures import first_hour

first_hour.choose_a_kind("00.bags")"""


def test_a_click_on_a_kind_lets_six_of_it_emerge(lab, page):
    opened(lab, page, [nbformat.v4.new_code_cell(CHOOSE_HERE)], "kinds")
    before = picture(page).get_attribute("src")
    page.get_by_role("button", name="Sandal").click()
    expect(page.get_by_text(re.compile(r"Sandal: step [1-4]\d? of 50"))).to_be_visible(
        timeout=MINUTE
    )  # while it is made
    save(page, "kinds_on_the_way")
    expect(page.get_by_text("Sandal: step 50 of 50")).to_be_visible(timeout=MINUTE)
    assert picture(page).get_attribute("src") != before
    save(page, "kinds")


EASEL_HERE = """import torch
from course_utils.checkpoints import load_unet
from course_utils.classroom import easel
from course_utils.data import DATA, fashion_mnist, scale
from course_utils.schedule import cosine_schedule

network, (images, labels) = load_unet(DATA / "weights" / "unet.safetensors"), fashion_mnist(train=False)
"""
EASELS = {
    "sketch": ('easel.sketch(network, cosine_schedule(), "11.sketch")', "Make something of it", "your drawing"),
    "paint": ('easel.paint(network, cosine_schedule(), scale(images[:3]), labels[:3], "11.paint")', "Paint it", "Your"),
}


@pytest.mark.parametrize("name", EASELS)
def test_what_is_drawn_on_an_easel_is_used_when_the_button_is_pressed(lab, page, name):
    """Two strokes with the mouse; nothing changes until the button is pressed."""
    call, button, says = EASELS[name]
    opened(lab, page, [nbformat.v4.new_code_cell(EASEL_HERE + call)], f"easel_{name}")
    canvas = page.get_by_label("with a mouse, a finger or a pen")
    canvas.wait_for(timeout=MINUTE)
    canvas.scroll_into_view_if_needed()
    before, place = picture(page).get_attribute("src"), canvas.bounding_box()
    for y in (90, 110):
        page.mouse.move(place["x"] + 60, place["y"] + y)
        page.mouse.down()
        page.mouse.move(place["x"] + 200, place["y"] + y, steps=10)
        page.mouse.up()
    page.wait_for_timeout(1500)
    assert picture(page).get_attribute("src") == before
    page.get_by_role("button", name=button).click()
    expect(page.locator("[role=status]").filter(has_text=says)).to_be_visible(timeout=MINUTE)
    page.wait_for_timeout(3000)
    assert picture(page).get_attribute("src") != before
    save(page, f"easel_{name}")
