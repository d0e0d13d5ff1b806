"""Drawings of notebook 03: the network, a block's wiring, the time as clock hands, and where attention looks."""

import math

import matplotlib.patheffects
import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from course_utils.classroom import plotting
from course_utils.classroom.plotting import COLOURS
from course_utils.unet import ResBlock, shapes_through

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK = COLOURS
FILL = {  # what kind of part has which colour: edge and inside
    "Sequential": ("#555555", "#EEEEEE"),
    "ResBlock": (BLUE, "#DCECF7"),
    "SelfAttention": (PINK, "#F8E6F0"),
    "Downsample": (GREEN, "#DDF2EB"),
    "Upsample": (GREEN, "#DDF2EB"),
    "time": (YELLOW, "#FDF3DC"),
}
KINDS = {"Sequential": "convolution", "SelfAttention": "attention"}
BEHIND = [matplotlib.patheffects.withStroke(linewidth=4, foreground="white")]


def canvas(width, height):
    """Axes that fill the figure, an inch to each unit, y upwards."""
    axis = plt.figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.axis("off")
    return axis


def box(axis, x, y, lines, kind, width=1.36, height=0.5):
    """A box around (x, y) with its lines of text, the first one bold."""
    edge, inside = FILL[kind]
    corner = (x - width / 2, y - height / 2)
    shape = FancyBboxPatch(
        corner, width, height, boxstyle="round,pad=0,rounding_size=0.07", fc=inside, ec=edge, lw=1.4, zorder=3
    )
    axis.add_patch(shape)
    for i, line in enumerate(lines):
        at_height = y + 0.17 * ((len(lines) - 1) / 2 - i)
        weight = "bold" if i == 0 else "normal"
        axis.text(x, at_height - 0.01, line, ha="center", va="center", fontsize=9, fontweight=weight, zorder=4)


def arrow(axis, *points, colour=BLACK, style="-", width=1.4, head=True):
    """A line through the points, with a head at the last one."""
    xs, ys = zip(*points, strict=True)
    over = dict(path_effects=BEHIND, zorder=2)
    axis.plot(xs, ys, style, color=colour, linewidth=width, solid_capstyle="butt", **over)
    if head:
        (x0, y0), (x1, y1) = points[-2:]
        length = math.hypot(x1 - x0, y1 - y0)
        start = (x1 - 0.09 * (x1 - x0) / length, y1 - 0.09 * (y1 - y0) / length)
        shape = dict(arrowstyle="-|>,head_width=0.22,head_length=0.4", color=colour, linewidth=width, shrinkA=0, shrinkB=0)
        axis.annotate("", (x1, y1), start, arrowprops=shape, zorder=2.5)


def circle(axis, x, y, sign, colour=BLACK):
    axis.add_patch(Circle((x, y), 0.12, fc="white", ec=colour, lw=1.4, zorder=3))
    axis.text(x, y - 0.005, sign, ha="center", va="center", color=colour, fontsize=11, fontweight="bold", zorder=4)


def note(axis, x, y, text, colour="#444444", size=8.5, **options):
    options = dict(ha="center", va="center", linespacing=1.15) | options
    axis.text(x, y, text, color=colour, fontsize=size, zorder=4, path_effects=BEHIND, **options)


def thumbnail(axis, x, y, image, side=0.62):
    place = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
    axis.imshow(plotting.pixels(image), cmap="gray", vmin=0, vmax=1, extent=place, zorder=3, aspect="auto")


# The network


def show_network(unet, x_t, description):
    """A UNet as a U: the way down on the left, the way up on the right, time in the middle, the shortcut on top.

    Args:
        unet: a UNet of the package, whose parts it asks for their shapes.
        x_t: (1, C, H, W), the picture at its entrance.
        description: as for `plotting.show`.
    """
    rows = shapes_through(unet, x_t, torch.ones(1))
    down, middle, up = ([row for row in rows if row[0].startswith(part)] for part in ("down", "middle", "up"))
    (_, _, shape_in), (_, _, shape_out) = rows[0], rows[-1]
    places = right_side(up)  # from the top of the U to its bottom: an up block, and what it is handed, or None
    left, right, centre, pitch = 0.82, 3.78, 2.3, 0.72
    height = pitch * (len(places) + 5.3)
    axis = canvas(4.6, height)
    at = {name: height - pitch * (i + 3.4) for i, (name, _) in enumerate(places)}  # heights of the rows
    top, plus, out = height - 0.85, height - pitch * 1.95, height - pitch * 2.65
    bottom = min(at.values()) - pitch * 1.35
    kinds = {name: (kind, shape) for name, kind, shape in rows}

    def part(name, x, y, width=1.36):
        kind, shape = kinds[name]
        box(axis, x, y, (name, KINDS.get(kind, kind), f"{shape[0]} x {shape[1]} x {shape[2]}"), kind, width, 0.56)

    # time, from the top of the page down the middle
    axis.plot((centre, centre), (top, bottom + 0.5), color=YELLOW, linewidth=2, zorder=1)
    note(axis, centre, height - 0.16, "the timestep t", YELLOW_TEXT, 9.5, fontweight="bold")
    arrow(axis, (centre, height - 0.26), (centre, top + 0.34), colour=YELLOW)
    numbers = unet.config["base_channels"], unet.time[-1].out_features
    lines = ("embedding", f"{numbers[0]} clock readings,", f"2 layers: {numbers[1]} numbers")
    box(axis, centre, top, lines, "time", 1.62, 0.64)

    # the way in, the way out, and the shortcut between them
    for x, name, picture in ((left, "x_t", x_t[0]), (right, "noise_hat", None)):
        shape = tuple(x_t.shape[1:])
        note(axis, x, height - 0.16, name, BLACK, 10, fontweight="bold")
        if picture is not None:
            thumbnail(axis, x, top + 0.02, picture)
        note(axis, x, top - 0.43, f"{shape[0]} x {shape[1]} x {shape[2]}", size=8.5)
    return axis, at, plus, out, bottom, part, places, down, middle, left, right, centre


YELLOW_TEXT = "#9A6A00"


def right_side(up):
    """The blocks of the way up, from the top of the drawing down."""
    return [(name, kind) for name, kind, _ in reversed(up)]
