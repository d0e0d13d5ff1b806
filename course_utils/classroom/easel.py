"""An easel: draw something, and let a network make a garment of it, or paint over a part of a garment (notebook 11).

Drawing works as in own_picture.py. Each easel is called in a line, as in `sketch(network, schedule, "11.sketch")`. It
shows a place to draw, a few sliders, a button and a picture, and then a still. Nothing happens while you draw, only
when you press the button or move a slider, because a network needs a moment for its answer.
"""

import base64
import html
import uuid

import ipywidgets
import torch
from IPython.display import display
from PIL import Image, ImageDraw

from course_utils.classroom import own_picture, plotting
from course_utils.classroom.widgets import Column, enlarged, png, slider
from course_utils.data import CLASSES
from course_utils.editing import inpaint_step, sdedit
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample_steps

SIDE = own_picture.SIDE
STRENGTHS = (0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
RETURNS = (0, 1, 4)
STEPS = 25
OWN = "its own"  # the label that the picture has
COPIES = 4  # pictures that are made of one drawing


class Easel:
    """A place to draw, sliders and a button beside it, and a picture below, all in `box`.

    Args:
        controls: {name: an ipywidget with a value}.
        button: what is written on the button.
        draw: draw(marks, name=value, ...) yields one sheet after the other, (H, W, C) within 0 .. 1, and words for it.
            `marks`, (1, 1, 28, 28) within 0 .. 1, are what was drawn, or None.
        pen, label: of the place to draw, as in own_picture.script.
    """

    def __init__(self, controls, button, draw, pen, label):
        self.controls, self.draw, self.marks = controls, draw, None
        self.place = f"easel-{uuid.uuid4().hex}"
        self.script = own_picture.script(self.place, pen, label)
        self.text = ipywidgets.Textarea(layout=dict(display="none"))
        self.paper = ipywidgets.HTML(layout=dict(display="none"))  # a style, for what lies under the drawing
        self.button = ipywidgets.Button(description=button, layout=own_picture.TALL)
        self.shown = ipywidgets.Image(format="png", layout=dict(max_width="100%", align_self="flex-start"))
        self.words = ipywidgets.HTML()
        drawing = ipywidgets.VBox([self.text, self.paper])
        drawing.add_class(self.place)
        beside = ipywidgets.VBox([*controls.values(), self.button, self.words], layout=dict(margin="0 1em"))
        both = ipywidgets.Box([drawing, beside], layout=dict(flex_flow="row wrap"))
        self.box = Column([both, self.shown])
        self.text.observe(self.drawn, names="value")
        self.button.on_click(self.redraw)
        for control in controls.values():
            control.observe(self.redraw, names="value")
        self.redraw()

    def drawn(self, change):
        self.marks = (own_picture.from_text(change.new) + 1) / 2 if change.new.strip() else None

    def redraw(self, change=None):
        for sheet, text in self.draw(self.marks, **{name: control.value for name, control in self.controls.items()}):
            self.shown.value = png(enlarged(sheet))
            self.words.value = f'<div role="status" style="line-height: 1.5; max-width: 26em">{html.escape(text)}</div>'

    def lay_under(self, picture):
        """Show a picture, (1, 1, 28, 28) within -1 .. 1, under the drawing."""
        url = f"data:image/png;base64,{base64.b64encode(png(enlarged(plotting.tile(picture, 1)))).decode()}"
        style = f"background: url({url}) 0 0 / 100% 100% !important; image-rendering: pixelated"
        self.paper.value = f"<style>.{self.place} canvas {{ {style} }}</style>"


# A sketch becomes a garment


def sketch(network, path, description, kind="Ankle boot"):
    """Draw a garment, choose its kind and a strength, and see four that the network makes of your sketch (SDEdit).

    Args:
        network: a UNet with the ten classes of Fashion-MNIST as its condition, for 28 x 28 pixels.
        path: what it was trained with.
        description: of the still: the flat boot that stands in for a drawing, and what becomes of it at strengths 0.2,
            0.4, 0.6, 0.8 and 1.
        kind: what the sliders begin with.
    """
    easel = sketch_easel(network, path, kind)
    display(easel.script)
    display(easel.box)
    shown = (0.2, 0.4, 0.6, 0.8, 1)
    made = torch.stack([garments(network, path, flat_boot(), strength, "Ankle boot").cpu() for strength in shown], 1)
    rows = {f"noise {i + 1}": torch.cat([flat_boot(), made[i]]) for i in range(2)}
    plotting.show_rows(rows, description, titles=["sketch", *map(str, shown)], size=0.9)


def sketch_easel(network, path, kind="Ankle boot"):
    controls = {"strength": slider("strength", STRENGTHS, 0.6), "kind": slider("kind", CLASSES, kind)}

    def draw(marks, strength, kind):
        drawing = flat_boot() if marks is None else 2 * marks - 1
        made = garments(network, path, drawing, strength, kind)
        whose = "a flat boot, until you draw something" if marks is None else "your drawing"
        yield (
            plotting.tile(torch.cat([drawing, made.cpu()]), columns=1 + COPIES),
            f"On the left {whose}; beside it {COPIES} pictures made of it, with strength {strength:g} and the label "
            f"{kind}, each with other noise.",
        )

    label = "A black square to sketch a garment on, with a mouse, a finger or a pen"
    return Easel(controls, "Make something of it", draw, "white", label)


def garments(network, path, drawing, strength, kind):
    """COPIES pictures, (COPIES, 1, 28, 28), from one drawing, always with the same noises."""
    many = drawing.repeat(COPIES, 1, 1, 1).to(next(network.parameters()).device)
    denoise = denoiser(network, path, torch.full((COPIES,), CLASSES.index(kind)))
    return sdedit(denoise, many, path, strength, ddim_step, STEPS, generator=torch.Generator().manual_seed(0))


def flat_boot():
    """What stands in for a drawing, (1, 1, 28, 28) within -1 .. 1: the outline of a boot, filled with one grey."""
    sheet = Image.new("L", (10 * SIDE, 10 * SIDE))
    pen = ImageDraw.Draw(sheet)
    outline = [(120, 45), (215, 45), (220, 150), (232, 225), (180, 225), (172, 208), (95, 225), (25, 225), (28, 190)]
    pen.polygon([*outline, (85, 160), (122, 120)], fill=150)
    return own_picture.as_tensor(sheet.resize((SIDE, SIDE), Image.Resampling.BOX))


# A part of a garment is painted again


def paint(network, path, pictures, kinds, description):
    """Cover a part of a picture with the mouse, press the button, and watch the network paint it (RePaint).

    Args:
        network: a UNet with the ten classes of Fashion-MNIST as its condition, for 28 x 28 pixels.
        path: what it was trained with.
        pictures: (N, 1, 28, 28) within -1 .. 1, to choose from.
        kinds: (N,) their labels.
        description: of the still: the first picture with its lower half covered, at five levels on the way down, and
            the four pictures at the end.
    """
    easel = paint_easel(network, path, pictures, kinds)
    display(easel.script)
    display(easel.box)
    covered = with_hole(pictures[:1].cpu(), lower_half())
    sheets = [x.cpu() for _, x in painted(network, path, pictures[:1], lower_half(), CLASSES[kinds[0]], 1)]
    seen = [sheets[i][:1] for i in torch.linspace(0, len(sheets) - 1, 5).round().int().tolist()]
    ends = torch.cat([pictures[:1].cpu(), covered, sheets[-1]])
    rows = {"on the way": torch.cat([covered, *seen]), "at the end": ends}
    plotting.show_rows(rows, description, titles=[""] * 6, size=0.9)


def paint_easel(network, path, pictures, kinds):
    controls = {
        "number": slider("picture", range(len(pictures)), 0),
        "kind": slider("kind", (OWN, *CLASSES), OWN),
        "returns": slider("times back", RETURNS, 1),
    }

    def draw(marks, number, kind, returns):
        hole = lower_half() if marks is None else (marks > 0.3).float()
        whose = "The lower half is the hole, until you draw one" if marks is None else "Your hole"
        picture, told = pictures[number : number + 1], CLASSES[kinds[number]] if kind == OWN else kind
        covered = with_hole(picture.cpu(), hole)
        for s, x in painted(network, path, picture, hole, told, returns):
            yield (
                plotting.tile(torch.cat([covered, x.cpu()]), columns=1 + COPIES),
                f"{whose}: {int(hole.sum())} of {SIDE**2} pixels, painted {COPIES} times, with the label {told}. Now "
                f"at level {s}.",
            )

    label = "A picture to cover a part of, with a mouse, a finger or a pen"
    easel = Easel(controls, "Paint it", draw, "#E69F00", label)

    def other_picture(change=None):
        easel.lay_under(pictures[controls["number"].value][None])

    controls["number"].observe(other_picture, names="value")
    other_picture()
    return easel


def painted(network, path, picture, hole, kind, returns):
    """(level, COPIES pictures) after each step, of which only the hole is new, always with the same noises."""
    known = picture.repeat(COPIES, 1, 1, 1)
    denoise = denoiser(network, path, torch.full((COPIES,), CLASSES.index(kind)))
    step = inpaint_step(ddpm_step, known, (1 - hole).to(known), denoise, returns)
    options = dict(num_steps=STEPS, generator=torch.Generator().manual_seed(0), device=known.device)
    for s, x, _ in sample_steps(denoise, known.shape, path, step, **options):
        yield s, x


def lower_half():
    hole = torch.zeros(1, 1, SIDE, SIDE)
    hole[..., SIDE // 2 :, :] = 1
    return hole


def with_hole(picture, hole):
    """The picture with a chequered hole, which no garment has."""
    board = (torch.arange(SIDE)[:, None] // 2 + torch.arange(SIDE) // 2) % 2
    return torch.where(hole > 0, 0.6 * board - 0.3, picture)
