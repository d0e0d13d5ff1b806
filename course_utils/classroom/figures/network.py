"""Drawings of notebook 03: the network, a block's wiring, the time as clock hands, and where attention looks."""

import math
from itertools import pairwise

import matplotlib.patheffects
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from course_utils.classroom import plotting
from course_utils.classroom.plotting import COLOURS
from course_utils.data import fashion_mnist, scale
from course_utils.forward import add_noise
from course_utils.schedule import cosine_schedule
from course_utils.unet import shapes_through

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK = COLOURS
FILL = {  # what kind of part has which colour: edge and inside
    "Sequential": ("#555555", "#EEEEEE"),
    "ResBlock": (BLUE, "#DCECF7"),
    "SelfAttention": (PINK, "#F8E6F0"),
    "Downsample": (GREEN, "#DDF2EB"),
    "Upsample": (GREEN, "#DDF2EB"),
    "time": ("#B07800", "#FDF3DC"),
}
KINDS = {"conv_in": "fold, convolve", "conv_out": "convolve, unfold"}  # kinder than the name of the class
TIME = "#B07800"
BEHIND = [matplotlib.patheffects.withStroke(linewidth=4, foreground="white")]


def canvas(width, height):
    """Axes that fill the figure, an inch to each unit, y upwards."""
    axis = plt.figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.axis("off")
    return axis


def box(axis, x, y, lines, kind, width=1.2, height=0.56):
    """A box around (x, y) with its lines of text, the first one bold."""
    edge, inside = FILL[kind]
    corner = (x - width / 2, y - height / 2)
    shape = FancyBboxPatch(
        corner, width, height, boxstyle="round,pad=0,rounding_size=0.07", fc=inside, ec=edge, lw=1.4, zorder=3
    )
    axis.add_patch(shape)
    for i, line in enumerate(lines):
        at_height = y + 0.172 * ((len(lines) - 1) / 2 - i)
        weight = "bold" if i == 0 else "normal"
        axis.text(x, at_height - 0.01, line, ha="center", va="center", fontsize=9.5, fontweight=weight, zorder=4)


def arrow(axis, *points, colour=BLACK, style="-", width=1.4):
    """A line through the points, with a head at the last one."""
    xs, ys = zip(*points, strict=True)
    around = [] if colour == TIME else BEHIND  # time passes under all other lines
    axis.plot(xs, ys, style, color=colour, linewidth=width, path_effects=around, zorder=1.5 if colour == TIME else 2)
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


def show_network(unet, description, side=28):
    """A UNet as a U: the way down on the left, the way up on the right, time in the middle, the shortcut on top.

    The boxes are the rows of `shapes_through`, for pictures of side x side pixels. A dotted line separates the sizes.
    """
    rows = shapes_through(unet, torch.zeros(1, unet.config["in_channels"], side, side), torch.ones(1))
    shapes, partners = {name: shape for name, _, shape in rows}, skips_of(rows)
    up, heights, y = [name for name, _, _ in reversed(rows) if name.startswith("up")], {}, 0
    for above, name in pairwise(["conv_out", *up]):
        y -= ROW + (BETWEEN if shapes[above][1:] != shapes[name][1:] else 0)
        heights[name] = y
    height = 1.86 - heights["up.0"] + 1.15 * ROW + HALF_HEIGHT + 0.04
    axis, top = canvas(WIDE, height), height - 1.86
    places = {name: (RIGHT, top + y) for name, y in heights.items()}
    places |= {skip: (LEFT, places[block][1]) for block, skip in partners.items()}
    bottom = places["up.0"][1] - 1.15 * ROW
    places |= {f"middle.{i}": (x, bottom) for i, x in enumerate((LEFT, CENTRE, RIGHT))}
    places["conv_out"] = (RIGHT, top)
    draw_sizes(axis, ["conv_out", *up], shapes, places)
    for name, kind, shape in rows:
        box(axis, *places[name], (name, KINDS.get(name, kind), in_numbers(shape)), kind)
    draw_way(axis, [places[name] for name, _, _ in rows])
    draw_skips(axis, shapes, partners, places)
    draw_ends(axis, unet, height, places, side)
    draw_time(axis, unet, height, rows, places)
    plotting.show(axis.figure, description, sharp=True)


WIDE, LEFT, CENTRE, RIGHT, ROW, BETWEEN = 4.28, 0.62, 2.14, 3.66, 0.74, 0.22  # inches; BETWEEN: where the size changes
HALF_WIDTH, HALF_HEIGHT = 0.6, 0.28  # of a box
SHARE = 2.8  # where the shortcut meets the time


def in_numbers(shape):
    return " x ".join(map(str, shape))


def skips_of(rows):
    """Which part's output each block of the way up is handed: {"up.0": "down.2", ...}."""
    left = [name for name, _, _ in rows if name == "conv_in" or name.startswith("down")]
    return {name: left.pop() for name, kind, _ in rows if name.startswith("up") and kind == "ResBlock"}


def draw_sizes(axis, names, shapes, places):
    """A dotted line wherever the pictures above and below it differ in size, and the size below it."""
    for above, name in pairwise(names):
        if shapes[above][1:] != shapes[name][1:]:
            y = places[name][1] + HALF_HEIGHT + 0.25
            axis.plot((0.02, WIDE - 0.02), (y, y), ":", color="#777777", linewidth=1.2, zorder=0.5)
            note(axis, CENTRE - 0.07, y - 0.11, f"{in_numbers(shapes[name][1:])} pixels", "#555555", 8.5, ha="right")


def draw_way(axis, places):
    """Arrows from each box to the next: down, along the bottom, and up."""
    for (x0, y0), (x1, y1) in pairwise(places):
        if x0 == x1:
            shift = math.copysign(HALF_HEIGHT, y1 - y0)
            arrow(axis, (x0, y0 + shift), (x1, y1 - shift))
        else:
            arrow(axis, (x0 + HALF_WIDTH, y0), (x1 - HALF_WIDTH, y1))


def draw_skips(axis, shapes, partners, places):
    for block, skip in partners.items():
        y = places[block][1] + 0.08
        arrow(axis, (LEFT + HALF_WIDTH, y), (RIGHT - HALF_WIDTH, y), colour=BLUE, style="--")
        note(axis, (LEFT + HALF_WIDTH + CENTRE) / 2, y + 0.1, "skip", BLUE)
        note(axis, (RIGHT - HALF_WIDTH + CENTRE) / 2, y + 0.1, f"+ {shapes[skip][0]} channels", BLUE)


def draw_ends(axis, unet, height, places, side):
    """x_t and the way in, noise_hat and the way out, and the shortcut between them."""
    shape = in_numbers((unet.config["in_channels"], side, side))
    for x, name in ((LEFT, "x_t"), (RIGHT, "noise_hat")):
        note(axis, x, height - 0.13, name, BLACK, 10, fontweight="bold")
        note(axis, x, height - 0.31, shape, BLACK, 9)
    picture, noise = boot_at(300, side)
    thumbnail(axis, LEFT, height - 0.74, picture)
    thumbnail(axis, RIGHT, height - 0.74, noise)
    y, (_, entrance), (_, exit) = height - 1.34, places["conv_in"], places["conv_out"]
    axis.add_patch(Circle((LEFT, y), 0.045, color=ORANGE, zorder=3))
    arrow(axis, (LEFT, y), (SHARE - 0.12, y), colour=ORANGE)
    arrow(axis, (SHARE + 0.12, y), (RIGHT - 0.12, y), colour=ORANGE)
    arrow(axis, (LEFT, height - 1.05), (LEFT, entrance + HALF_HEIGHT))
    arrow(axis, (RIGHT, exit + HALF_HEIGHT), (RIGHT, y - 0.12))
    arrow(axis, (RIGHT, y + 0.12), (RIGHT, height - 1.05))
    circle(axis, RIGHT, y, "+")
    note(axis, (LEFT + CENTRE) / 2, y - 0.11, "shortcut", ORANGE)
    note(axis, SHARE - 0.04, y - 0.22, "a share", ORANGE)


def boot_at(t, side):
    """A picture at level t, and the noise in it: (1, side, side) each."""
    noise = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    boot = F.interpolate(scale(fashion_mnist()[0][:1]), side)
    return add_noise(boot, t, noise, cosine_schedule())[0], noise[0]


def draw_time(axis, unet, height, rows, places):
    """From t at the top down the middle, with a branch into every residual block; and into the shortcut."""
    y, middle, share = height - 0.74, places["middle.0"][1] + HALF_HEIGHT, height - 1.34
    note(axis, CENTRE, height - 0.13, "t", TIME, 10, fontweight="bold")
    arrow(axis, (CENTRE, height - 0.22), (CENTRE, y + 0.31), colour=TIME)
    numbers = unet.config["base_channels"], unet.time[-1].out_features
    box(axis, CENTRE, y, ("time", f"{numbers[0]} clock readings", f"\u2192 {numbers[1]} numbers"), "time", 1.44, 0.62)
    arrow(axis, (SHARE, y - 0.31), (SHARE, share + 0.12), colour=TIME)
    axis.plot((CENTRE, CENTRE), (y - 0.31, middle + 0.2), color=TIME, linewidth=1.4, zorder=1)
    circle(axis, SHARE, share, "\u00d7", ORANGE)
    for name, kind, _ in rows:
        (x, y), side = places[name], math.copysign(1, places[name][0] - CENTRE)
        if kind == "ResBlock" and name.startswith("middle"):
            inside = x - 0.32 * side
            arrow(axis, (CENTRE, middle + 0.2), (inside, middle + 0.2), (inside, middle), colour=TIME)
        elif kind == "ResBlock":
            arrow(axis, (CENTRE, y - 0.14), (x - HALF_WIDTH * side, y - 0.14), colour=TIME)


# A residual block


def show_block(description):
    """How a ResBlock is wired: two halves from top to bottom, the time from the right, x itself round the left."""
    axis = canvas(4.6, 5.55)
    x, around, time = 2.2, 0.75, 3.85
    heights = {"norm1": 4.75, "SiLU": 4.27, "conv1": 3.79, "norm2": 3.12, "told": 2.58, "SiLU ": 2.04, "conv2": 1.56}
    for name, y in heights.items():
        lines = ("h (1 + scale) + shift",) if name == "told" else (name.strip(),)
        kind = "time" if name == "told" else "Sequential" if name.startswith("SiLU") else "ResBlock"
        box(axis, x, y, lines, kind, 1.75 if name == "told" else 1.1, 0.3)
    order = [5.23, *heights.values(), 0.94]
    note(axis, x, 5.34, "x", BLACK, 11, fontweight="bold")
    note(axis, x, 0.2, "out", BLACK, 11, fontweight="bold")
    circle(axis, x, 0.94, "+")
    arrow(axis, (x, 0.82), (x, 0.33))
    arrow(axis, (x, 5.05), (around, 5.05), (around, 0.94), (x - 0.12, 0.94), colour=BLUE, width=2)
    for above, below in pairwise(order):
        arrow(axis, (x, above - (0.12 if above == 5.23 else 0.15)), (x, below + (0.12 if below == 0.94 else 0.15)))
    box(axis, around, 3.12, ("skip",), "ResBlock", 0.62, 0.3)
    note(axis, 1.05, 0.6, "the residual connection:\nx itself, or a\n1x1 convolution of it", BLUE, 8.5)
    for y, name in ((4.27, "SiLU"), (3.42, "time")):
        box(axis, time, y, (name,), "time", 0.9, 0.3)
    note(axis, time, 5.34, "embedding", TIME, 10, fontweight="bold")
    arrow(axis, (time, 5.22), (time, 4.42), colour=TIME)
    arrow(axis, (time, 4.12), (time, 3.57), colour=TIME)
    arrow(axis, (time, 3.27), (time, 2.58), (x + 0.875, 2.58), colour=TIME)
    note(axis, time, 2.3, "a scale and a shift\nfor each channel", TIME, 8.5)
    note(axis, x + 0.65, 1.56, "starts at zero", ha="left", size=8.5)
    plotting.show(axis.figure, description, sharp=True)


# The time


HANDS = (0.98, 0.78, 0.58, 0.38)  # lengths, from the fastest hand to the slowest
HAND_COLOURS = (ORANGE, BLUE, GREEN, BLACK)


def show_clocks(t, vectors, description, columns=3):
    """A clock for each t: sine and cosine of each angle are where the tip of a hand is, 0 pointing up.

    vectors: (N, 2 * number of hands), the sines first; there are at most four hands.
    """
    columns = min(columns, len(t))
    rows, hands = math.ceil(len(t) / columns), vectors.shape[1] // 2
    figure, axes = plt.subplots(rows, columns, figsize=(4.8, 1.75 * rows + 0.35), squeeze=False)
    figure.subplots_adjust(0.01, 0.35 / (1.75 * rows + 0.35), 0.99, 1 - 0.25 / (1.75 * rows + 0.35), 0.05, 0.22)
    for axis, level, vector in zip(axes.flat, t, vectors, strict=False):
        axis.add_patch(Circle((0, 0), 1.12, fc="#FAFAFA", ec="#888888", lw=1.4))
        for minute in range(12):
            angle = minute * math.pi / 6
            xs, ys = zip(*((r * math.sin(angle), r * math.cos(angle)) for r in (1.04, 1.12)), strict=True)
            axis.plot(xs, ys, color="#888888", linewidth=1)
        for i in range(hands):
            tip = HANDS[i] * vector[i].item(), HANDS[i] * vector[i + hands].item()
            axis.plot((0, tip[0]), (0, tip[1]), color=HAND_COLOURS[i], linewidth=1.6 + i, solid_capstyle="round")
        axis.add_patch(Circle((0, 0), 0.05, color=BLACK, zorder=3))
        axis.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")
        axis.set_title(f"t = {level:g}", fontsize=10, loc="center")
        axis.axis("off")
    place = dict(y=0.02, ha="left", va="bottom", fontsize=10)
    figure.text(x=0.05, s="radians a step:", color="#444444", **place)
    for i in range(hands):
        speed, x = f"{10000 ** (-i / hands):g}", (0.36, 0.48, 0.64, 0.82)[i]
        figure.text(x=x, s=speed, color=HAND_COLOURS[i], fontweight="bold", **place)
    plotting.show(figure, description)


# Attention


def show_attention(picture, weights, row, column, description):
    """Where one position of a picture looks, a panel for each head: the framed patch asks, orange ones are looked at.

    picture: (1, H, W) within -1 .. 1; weights: (heads, N, N), for each of the N = side * side positions those it gives.
    """
    side = math.isqrt(weights.shape[-1])
    figure, axes = plt.subplots(2, math.ceil(len(weights) / 2), figsize=(4.4, 4.7), layout="constrained", squeeze=False)
    for i, (axis, looks) in enumerate(zip(axes.flat, weights[:, row * side + column], strict=True)):
        sheet = torch.tensor(to_rgb(YELLOW)).expand(side, side, 3)
        sheet = torch.cat([sheet, (0.85 * looks / looks.max()).reshape(side, side, 1)], dim=2)
        axis.imshow(plotting.pixels(picture), cmap="gray", vmin=-0.1, vmax=1.3, extent=(0, side, side, 0))
        axis.imshow(sheet.numpy(), extent=(0, side, side, 0))
        axis.add_patch(Rectangle((column, row), 1, 1, fill=False, ec=SKY, lw=3))
        axis.set(title=f"head {i + 1}: up to {looks.max():.0%}", xticks=[], yticks=[])
        axis.title.set_fontsize(10)
        axis.spines[:].set_visible(False)
    plotting.show(figure, description)


@torch.no_grad()
def input_of(unet, part, x_t, t):
    """What a part of the network, such as "middle.1", is given when the network is asked about x_t at t."""
    given = []
    hook = unet.get_submodule(part).register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    unet(x_t, torch.full((len(x_t),), t))
    hook.remove()
    return given[0]
