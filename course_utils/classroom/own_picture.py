"""Your own picture, to try things on: drawn with the mouse, or a file (notebook 00).

ipywidgets has no place to draw, so a script, own_picture.js, puts one into the page. It writes what is drawn into a
hidden text field, and the text field hands it to Python. Where no script runs, as in a test, a smiley stands in. The
easel of notebook 11 uses the same script.
"""

import io
import uuid
import warnings
from pathlib import Path

import ipywidgets
import numpy as np
import torch
from IPython.display import HTML, display
from PIL import Image, ImageDraw

from course_utils.classroom import plotting, widgets
from course_utils.data import scale
from course_utils.forward import add_noise
from course_utils.pictures import colours

SIDE = 28
SCRIPT = Path(__file__).with_suffix(".js")
LEVELS = (0, 100, 300, 500, 700, 900)
TALL = dict(height="40px")  # for a finger
STANDS_IN = "A smiley, until you draw in the black square or take a file"


def ask(path, description):
    """Show a place to draw and a button for a file, and what noise does to the picture; then a still with a smiley.

    Args:
        path: a NoiseSchedule, or any other path, with at least 900 levels.
        description: of the still: the smiley at t = 0, 100, 300, 500, 700 and 900.

    Returns:
        An OwnPicture: its `picture`, (1, 1, 28, 28) within -1 .. 1, is always the one that was chosen last.
    """
    own = OwnPicture(path)
    display(script(own.place))
    display(own.box)
    plotting.show_images(own.noised(), description, titles=[f"t = {t}" for t in LEVELS], columns=6, size=1.05)
    return own


def script(place, pen="white", label="A black square to draw on, with a mouse, a finger or a pen"):
    """What puts a place to draw into the box of class `place`, beside the hidden text field that it writes to."""
    text = SCRIPT.read_text(encoding="utf-8")
    for name, value in (("PLACE", place), ("PEN", pen), ("LABEL", label)):
        text = text.replace(name, value)
    return HTML(f"<script>{text}</script>")


class OwnPicture:
    """The picture that was drawn or uploaded last, and the controls for it, in `box`."""

    def __init__(self, path):
        self.path, self.chosen, self.whose = path, smiley(), STANDS_IN
        self.place = f"own-picture-{uuid.uuid4().hex}"
        self.text = ipywidgets.Textarea(layout=dict(display="none"))
        self.file = ipywidgets.FileUpload(accept="image/*", multiple=False, description="Or take a file", layout=TALL)
        self.swap = ipywidgets.Checkbox(
            description="swap light and dark", indent=False, layout=TALL | dict(width="auto")
        )
        self.shown = ipywidgets.Image(format="png", layout=dict(max_width="100%", align_self="flex-start"))
        self.words = ipywidgets.HTML()
        drawing = ipywidgets.VBox([self.text])
        drawing.add_class(self.place)
        others = ipywidgets.VBox([self.file, self.swap, self.words], layout=dict(margin="0 1em", width="20em"))
        both = ipywidgets.Box([drawing, others], layout=dict(flex_flow="row wrap"))
        self.box = widgets.Column([both, self.shown])
        self.text.observe(self.drawn, names="value")
        self.file.observe(self.uploaded, names="value")
        self.swap.observe(lambda change: self.redraw(), names="value")
        self.redraw()

    @property
    def picture(self):
        return -self.chosen if self.swap.value else self.chosen

    def drawn(self, change):
        if change.new.strip():
            self.choose(from_text(change.new), "Your drawing")
        else:
            self.choose(smiley(), STANDS_IN)

    def uploaded(self, change):
        files = change.new.values() if isinstance(change.new, dict) else change.new  # a dict in ipywidgets 7
        for file in files:
            try:
                self.choose(from_file(bytes(file["content"])), "Your file")
            except ValueError as error:
                self.say(str(error))

    def choose(self, picture, whose):
        self.chosen, self.whose = picture, whose
        self.redraw()

    def redraw(self):
        self.shown.value = widgets.png(widgets.enlarged(plotting.tile(self.noised(), columns=len(LEVELS))))
        self.say(f"{self.whose}. Below, from left to right: t = {', '.join(map(str, LEVELS))}.")

    def say(self, text):
        self.words.value = f'<div role="status" style="line-height: 1.5">{text}</div>'

    def noised(self):
        """The picture at LEVELS, always with the same noise, so that only the picture changes: (6, 1, 28, 28)."""
        x_0 = self.picture.repeat(len(LEVELS), 1, 1, 1)
        return add_noise(x_0, torch.tensor(LEVELS), widgets.fixed_noise(x_0), self.path)


def from_text(text):
    """What the script writes, 784 whole numbers from 0 to 255 -> (1, 1, 28, 28) within -1 .. 1."""
    return scale(torch.tensor([int(word) for word in text.split()], dtype=torch.uint8).reshape(1, 1, SIDE, SIDE))


def from_file(content):
    """The bytes of a picture file -> (1, 1, 28, 28) within -1 .. 1; ValueError, in kind words, where it is none.

    Colours become grey. What is not square is put on a black square, and what is transparent becomes black, or white
    where nothing could be seen on black.
    """
    try:
        with warnings.catch_warnings(action="error"), Image.open(io.BytesIO(content)) as file:
            grey = on_a_background(colours(file))
    except Exception:  # damaged files raise nearly anything
        raise ValueError("I can't read that file as a picture. A PNG or JPEG file works: try another one?") from None
    grey.thumbnail((20 * SIDE, 20 * SIDE))
    square = Image.new("L", (max(grey.size), max(grey.size)))
    square.paste(grey, ((square.width - grey.width) // 2, (square.height - grey.height) // 2))
    return as_tensor(square.resize((SIDE, SIDE), Image.Resampling.BOX))


def on_a_background(picture):
    """An RGBA picture in grey, on black; or on white, where it is black itself."""
    for colour in ("black", "white"):
        grey = Image.alpha_composite(Image.new("RGBA", picture.size, colour), picture).convert("L")
        if grey.getextrema()[1] > 15:
            break
    return grey


def as_tensor(grey):
    return scale(torch.from_numpy(np.array(grey, dtype=np.uint8))[None, None])


def smiley():
    """What stands in where nothing is drawn: (1, 1, 28, 28) within -1 .. 1."""
    sheet = Image.new("L", (10 * SIDE, 10 * SIDE))
    pen = ImageDraw.Draw(sheet)
    pen.ellipse((40, 40, 240, 240), outline=255, width=22)
    for x in (95, 157):
        pen.ellipse((x, 100, x + 28, 128), fill=255)
    pen.arc((90, 100, 190, 195), 20, 160, fill=255, width=18)
    return as_tensor(sheet.resize((SIDE, SIDE), Image.Resampling.BOX))
