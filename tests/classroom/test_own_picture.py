"""A picture of one's own: from the script's text and from files of all kinds to a tensor, and what the controls do."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.classroom import own_picture, plotting
from course_utils.classroom.own_picture import OwnPicture, from_file, from_text, smiley
from course_utils.forward import add_noise
from course_utils.schedule import cosine_schedule

COSINE = cosine_schedule()


def file_of(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def half(size=(56, 56), mode="L", colour=255):
    """Black, with the upper half in a colour."""
    picture = Image.new(mode, size)
    picture.paste(colour, (0, 0, size[0], size[1] // 2))
    return picture


UPPER_HALF = torch.cat([torch.ones(1, 1, 14, 28), -torch.ones(1, 1, 14, 28)], dim=2)


def test_text_is_read_row_by_row():
    picture = from_text(" ".join(["255"] * 28 + ["0"] * 27 * 28))
    assert picture.shape == (1, 1, 28, 28)
    assert (picture[..., 0, :] == 1).all()
    assert (picture[..., 1:, :] == -1).all()


@pytest.mark.parametrize("text", ["1 2 3", "a b", "300 " * 784])
def test_text_that_is_no_drawing_is_refused(text):
    with pytest.raises((ValueError, RuntimeError)):
        from_text(text)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_files_of_all_kinds(kind):
    assert torch.equal(from_file(file_of(half(), kind)), UPPER_HALF)


def test_a_jpeg_is_nearly_the_same():
    assert (from_file(file_of(half(), "JPEG")) - UPPER_HALF).abs().max() < 0.1


def test_sixteen_bits_are_scaled_and_not_cut_off():
    levels = np.zeros((28, 28), dtype=np.uint16)
    levels[:14], levels[14:] = 65535, 257 * 100
    picture = from_file(file_of(Image.fromarray(levels)))
    assert picture[0, 0, 0, 0] == 1
    assert picture[0, 0, -1, 0] == pytest.approx(100 / 127.5 - 1)


def test_colours_become_grey_as_bright_as_they_look():
    red, green = (from_file(file_of(Image.new("RGB", (28, 28), colour))) for colour in ("red", "lime"))
    assert -1 < red.mean() < green.mean() < 1


def test_palette_is_looked_up():
    assert torch.equal(from_file(file_of(half(mode="RGB", colour=(255, 255, 255)).convert("P"))), UPPER_HALF)


def test_transparent_becomes_black():
    picture = Image.new("RGBA", (28, 28), (255, 255, 255, 0))
    picture.paste((255, 255, 255, 255), (0, 0, 28, 14))
    assert torch.equal(from_file(file_of(picture)), UPPER_HALF)


def test_black_lines_on_nothing_are_put_on_white():
    picture = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 28, 14))
    assert torch.equal(from_file(file_of(picture)), -UPPER_HALF)


def test_a_photo_of_a_camera_held_sideways_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned = half().rotate(90, expand=True)
    assert torch.equal(from_file(file_of(turned, exif=exif)), UPPER_HALF)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (20_000, 10), (28, 28), (5, 4)])
def test_odd_sizes_keep_their_shape_in_the_middle_of_a_black_square(size):
    picture = from_file(file_of(Image.new("L", size, 255)))
    assert picture.shape == (1, 1, 28, 28)
    wide, high = ((picture[0, 0] > -0.99).any(dim=dim).sum() for dim in (0, 1))
    assert (wide >= high) if size[0] >= size[1] else (high > wide)


DAMAGED = {
    "nothing": b"",
    "text": b"I am a poem",
    "cut off": file_of(Image.effect_noise((90, 90), 80))[:900],
    "a bomb": file_of(Image.new("1", (14_000, 14_000))),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_in_kind_words(name):
    with pytest.raises(ValueError, match="can't read that file as a picture"):
        from_file(DAMAGED[name])


# The controls, moved as a page would


def upload(own, content):
    own.uploaded(type("change", (), {"new": ({"content": memoryview(content)},)}))


def test_at_first_there_is_a_smiley():
    own = OwnPicture(COSINE)
    assert torch.equal(own.picture, smiley())
    assert bytes(own.shown.value).startswith(b"\x89PNG")


def test_a_drawing_arrives_is_shown_and_can_be_taken_back():
    own = OwnPicture(COSINE)
    before = own.shown.value
    own.text.value = " ".join(["255"] * 14 * 28 + ["0"] * 14 * 28)
    assert torch.equal(own.picture, UPPER_HALF)
    assert own.shown.value != before
    assert "Your drawing" in own.words.value
    own.text.value = ""
    assert torch.equal(own.picture, smiley())
    assert own.shown.value == before


def test_a_file_arrives_from_ipywidgets_8_and_7():
    own = OwnPicture(COSINE)
    upload(own, file_of(half()))
    assert torch.equal(own.picture, UPPER_HALF)
    own.uploaded(type("change", (), {"new": {"a.png": {"content": file_of(half(colour=0))}}}))
    assert (own.picture == -1).all()


def test_a_damaged_file_changes_nothing_and_says_so():
    own = OwnPicture(COSINE)
    upload(own, b"I am a poem")
    assert torch.equal(own.picture, smiley())
    assert "can't read that file" in own.words.value


def test_swapping_turns_light_into_dark():
    own = OwnPicture(COSINE)
    own.swap.value = True
    assert torch.equal(own.picture, -smiley())


def test_noise_is_the_forward_process_and_always_the_same():
    own = OwnPicture(COSINE)
    assert torch.equal(own.noised(), own.noised())
    assert torch.equal(own.noised()[:1], smiley())
    noise = own_picture.widgets.fixed_noise(smiley().repeat(6, 1, 1, 1))
    expected = add_noise(smiley().repeat(6, 1, 1, 1), torch.tensor(own_picture.LEVELS), noise, COSINE)
    assert torch.equal(own.noised(), expected)


def test_ask_shows_the_controls_a_still_and_a_script_that_finds_them(monkeypatch):
    shown, stills = [], []
    monkeypatch.setattr(own_picture, "display", shown.append)
    monkeypatch.setattr(plotting, "show_images", lambda images, description, **options: stills.append(description))
    own = own_picture.ask(COSINE, "words")
    script, box = shown
    assert f'".{own.place}"' in script.data
    assert "PLACE" not in script.data.split("(() =>")[1]
    assert box is own.box
    assert own.place in box.children[0].children[0]._dom_classes
    assert stills == ["words"]
