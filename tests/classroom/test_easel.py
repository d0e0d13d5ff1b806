"""The easels: drawings reach the network, controls are moved as a page would, and only the hole is painted."""

import base64
import html
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.classroom import easel, plotting
from course_utils.classroom.easel import CLASSES, Easel, flat_boot, lower_half, paint_easel, sketch_easel, with_hole
from course_utils.schedule import cosine_schedule

COSINE = cosine_schedule()
PICTURES = torch.linspace(-1, 1, 3 * 28 * 28).reshape(3, 1, 28, 28)
KINDS = torch.tensor([9, 1, 4])
LEFT_HALF = " ".join((["255"] * 14 + ["0"] * 14) * 28)


class Network(torch.nn.Module):
    """Not a network, but it answers like one, notes the labels, and takes no time."""

    def __init__(self):
        super().__init__()
        self.weight, self.told = torch.nn.Parameter(torch.tensor(0.5)), []

    def forward(self, x_t, t, label=None):
        self.told.append(label)
        return self.weight * x_t


@pytest.fixture
def network():
    return Network()


@pytest.fixture(params=["sketch", "paint"])
def one(request, network):
    if request.param == "sketch":
        return sketch_easel(network, COSINE)
    return paint_easel(network, COSINE, PICTURES, KINDS)


def words(one):
    return html.unescape(re.sub("<.*?>", "", one.words.value))


def pictures(one, columns=5):
    """What is shown, as (5, 28, 28) grey levels 0 .. 255."""
    sheet = np.asarray(Image.open(io.BytesIO(bytes(one.shown.value))))[..., 0].astype(int)
    zoom = sheet.shape[0] // 28
    sheet = sheet[::zoom, ::zoom]
    assert sheet.shape == (28, columns * 30 - 2)
    return np.stack([sheet[:, 30 * i : 30 * i + 28] for i in range(columns)])


def as_grey(x):
    return np.round(255 * np.clip((x[0, 0].numpy() + 1) / 2, 0, 1))


def test_nothing_happens_while_you_draw_and_the_button_starts_it(one):
    before = one.shown.value
    one.text.value = LEFT_HALF
    assert one.shown.value == before
    one.button.click()
    assert one.shown.value != before
    one.text.value = ""
    one.button.click()
    assert one.shown.value == before


def test_every_slider_changes_what_is_shown_or_told(one):
    for control in one.controls.values():
        at_first, before = control.value, (one.shown.value, one.words.value)
        control.value = next(value for _, value in control._options_full if value != at_first)
        assert (one.shown.value, one.words.value) != before
        control.value = at_first
        assert (one.shown.value, one.words.value) == before


def test_controls_and_button_are_named(one):
    assert one.button.description
    assert all(control.description for control in one.controls.values())


def test_words_are_escaped(network):
    one = Easel({}, "Go", lambda marks: [(torch.zeros(4, 4, 1), "1 < 2 & <b>")], "white", "A place")
    assert "1 &lt; 2 &amp; &lt;b&gt;" in one.words.value


def test_script_finds_its_box_and_says_what_it_is(one):
    assert f'".{one.place}"' in one.script.data
    assert one.place in one.box.children[0].children[0]._dom_classes
    inside = one.script.data.split("(() =>")[1]
    assert not {"PLACE", "PEN", "LABEL"} & set(re.findall(r"\b[A-Z]+\b", inside))
    assert "with a mouse, a finger or a pen" in one.script.data


# The sketch


def test_strength_0_shows_the_drawing_five_times(network):
    one = sketch_easel(network, COSINE)
    one.controls["strength"].value = 0
    assert "a flat boot" in words(one)
    assert (np.abs(pictures(one) - as_grey(flat_boot())) <= 1).all()
    one.text.value = LEFT_HALF
    one.button.click()
    assert (pictures(one)[:, :, :14] == 255).all()
    assert (pictures(one)[:, :, 14:] == 0).all()
    assert "your drawing" in words(one)


def test_the_network_is_told_the_kind_and_the_copies_differ(network):
    one = sketch_easel(network, COSINE)
    one.controls["kind"].value = "Dress"
    assert (network.told[-1] == CLASSES.index("Dress")).all()
    assert "label Dress" in words(one)
    shown = pictures(one)
    assert all((shown[i] != shown[j]).any() for i in range(1, 5) for j in range(1, i))


# The hole


def test_what_is_not_covered_comes_out_as_it_was(network):
    one = paint_easel(network, COSINE, PICTURES, KINDS)
    one.controls["number"].value = 2
    one.text.value = LEFT_HALF
    one.button.click()
    covered, *painted = pictures(one)
    for shown in painted:
        assert (np.abs(shown[:, 14:] - as_grey(PICTURES[2:])[:, 14:]) <= 1).all()
        assert (shown[:, :14] != as_grey(PICTURES[2:])[:, :14]).any()
    assert set(np.unique(covered[:, :14])) == {89, 166}
    assert "Your hole: 392 of 784 pixels" in words(one)
    assert words(one).endswith("level 0.")


def test_each_step_is_shown(network, monkeypatch):
    seen = []
    one = paint_easel(network, COSINE, PICTURES, KINDS)
    one.shown.observe(lambda change: seen.append(bytes(change.new)), names="value")
    one.button.click()
    assert len(set(seen)) == easel.STEPS


@pytest.mark.parametrize(("kind", "label"), [(easel.OWN, 1), ("Bag", 8)])
def test_the_label_is_the_pictures_own_or_another(network, kind, label):
    one = paint_easel(network, COSINE, PICTURES, KINDS)
    one.controls["number"].value, one.controls["kind"].value = 1, kind
    assert (network.told[-1] == label).all()
    assert f"label {CLASSES[label]}" in words(one)


def test_going_back_asks_the_network_again(network):
    one = paint_easel(network, COSINE, PICTURES, KINDS)
    for returns in easel.RETURNS:
        one.controls["returns"].value = returns
        network.told.clear()
        one.button.click()
        assert len(network.told) == easel.STEPS + (easel.STEPS - 1) * returns


def test_the_chosen_picture_lies_under_the_drawing(network):
    one = paint_easel(network, COSINE, PICTURES, KINDS)
    for number in (0, 2):
        one.controls["number"].value = number
        [url] = re.findall(r"base64,([^)]+)\)", one.paper.value)
        under = np.asarray(Image.open(io.BytesIO(base64.b64decode(url))))[..., 0]
        assert (np.abs(under[::8, ::8] - as_grey(PICTURES[number : number + 1])) <= 1).all()
        assert f".{one.place} canvas" in one.paper.value


def test_stand_ins_have_the_size_and_the_range_of_pictures():
    assert flat_boot().shape == lower_half().shape == (1, 1, 28, 28)
    assert flat_boot().min() == -1
    assert 0 < flat_boot().max() < 1
    assert set(lower_half().flatten().tolist()) == {0, 1}
    assert torch.equal(with_hole(PICTURES, torch.zeros(1, 1, 28, 28)), PICTURES)


CALLS = {
    "sketch": lambda network: easel.sketch(network, COSINE, "words"),
    "paint": lambda network: easel.paint(network, COSINE, PICTURES, KINDS, "words"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_script_and_the_controls_come_first_and_then_a_still(name, network, monkeypatch):
    shown = []
    monkeypatch.setattr(easel, "display", shown.append)
    monkeypatch.setattr(plotting, "show", lambda figure, description: shown.append(description))
    assert CALLS[name](network) is None
    script, box, description = shown
    assert "<script>" in script.data
    assert description == "words"
    assert box.children
