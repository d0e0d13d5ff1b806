"""Figures: helpers that take tensors, so that a figure takes a notebook only a line or two.

Every figure comes with a description in words, which lies in figures/NN.toml and goes by a key, such as "01.boot".
Notebook front ends drop the alternative text of a saved picture, so `show` puts the description under it, folded,
where a screen reader, or anybody else, finds it.

Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart.
"""

import html
import io
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from course_utils.classroom.figures import words

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE = {
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelcolor": "#444444",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "grid.color": "#DDDDDD",
    "font.size": 10,
    "lines.linewidth": 2,
}
plt.rcParams.update(STYLE)


def show(figure, description, sharp=False):
    """Show a matplotlib figure, and under it its description, folded; then close the figure.

    `description` is a key of figures/NN.toml, or the words themselves. A `sharp` figure is as large as any other, but
    has twice as many pixels each way, for small print on a phone. Returns `redraw(figure)`, which puts another figure
    in its place.
    """
    from IPython.display import display  # only a notebook needs it

    alternative = {"image/png": {"alt": words(description)}}
    if sharp:
        inches = figure.get_tightbbox().width + 2 * plt.rcParams["savefig.pad_inches"]
        alternative["image/png"]["width"] = round(inches * figure.dpi)
        figure.set_dpi(2 * figure.dpi)
    place = display(figure, metadata=alternative, display_id=True)
    display(folded(description))
    plt.close(figure)

    def redraw(figure):
        if place is None:  # outside a notebook nothing has a place
            display(figure, metadata=alternative)
        else:
            place.update(figure, metadata=alternative)
        plt.close(figure)

    return redraw


def folded(description):
    from IPython.display import HTML

    return HTML(f"<details><summary>This figure in words</summary>{html.escape(words(description))}</details>")


def show_film(frames, description, seconds=4.0, hold=1.5, zoom=3):
    """Show frames one after another, again and again, and hold the last one: an animated PNG, at most 1 MB.

    Args:
        frames: (H, W, 1 or 3) within 0 .. 1 each, as `tile` and `drawn` make them.
        description: as for `show`; it says what can be seen to move.
        seconds, hold: how long all frames take, and how long the last one stays.
        zoom: how many pixels wide each pixel is shown.
    """
    from IPython.display import display

    frames = [(torch.as_tensor(frame) * 255).round().byte().squeeze(-1).numpy() for frame in frames]
    pictures = [Image.fromarray(frame) for frame in [frames[-1], *frames]]  # the first is for who shows stills only
    times = [round(1000 * seconds / len(frames))] * (len(frames) - 1) + [round(1000 * hold)]
    file, options = io.BytesIO(), dict(save_all=True, default_image=True, loop=0, optimize=True)
    pictures[0].save(file, "PNG", append_images=pictures[1:], duration=times, **options)
    if file.tell() > 1e6:
        raise ValueError(f"The film has {file.tell() / 1e6:.1f} MB, more than 1. Use fewer, or smaller, frames.")
    size = {"width": zoom * frames[0].shape[1], "alt": words(description)}
    display({"image/png": file.getvalue()}, raw=True, metadata={"image/png": size})
    display(folded(description))


def drawn(figure):
    """A matplotlib figure as a frame of a film, (H, W, 3) within 0 .. 1; closes it."""
    figure.canvas.draw()
    picture = torch.from_numpy(np.array(figure.canvas.buffer_rgba()))[..., :3] / 255
    plt.close(figure)
    return picture


def pixels(image):
    """What matplotlib draws: (C, H, W) within -1 .. 1 -> (H, W) or (H, W, 3) within 0 .. 1; the rest is clipped."""
    picture = ((image.detach().cpu().float() + 1) / 2).clamp(0, 1).permute(1, 2, 0)
    return picture.squeeze(-1).numpy()


def show_images(images, description, titles=None, columns=8, size=1.1):
    """Images side by side, (N, C, H, W) within -1 .. 1, each with a title, if given."""
    rows = math.ceil(len(images) / columns)
    columns = min(columns, len(images))
    height = size * rows * (1.25 if titles else 1)
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, height), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(pixels(image), cmap="gray", vmin=0, vmax=1)
        if titles:
            axis.set_title(titles[i], fontsize=9)
    show(figure, description)


def show_rows(rows, description, titles, size=1.1):
    """One row of images for each entry of `rows`, {name of the row: (N, C, H, W)}, under N column titles."""
    show(draw_rows(rows, titles, size), description)


def growing_rows(description, titles, size=1.1):
    """`show_rows` for a long-running cell: returns add(name, images), which adds a row to the figure at once."""
    rows, redraw = {}, None

    def add(name, images):
        nonlocal redraw
        rows[name] = images
        figure = draw_rows(rows, titles, size)
        if redraw is None:
            redraw = show(figure, description)
        else:
            redraw(figure)

    return add


def draw_rows(rows, titles, size):
    figure, axes = plt.subplots(
        len(rows),
        len(titles),
        figsize=(size * len(titles) + 0.8, size * len(rows) + 0.25),
        squeeze=False,
        layout="constrained",
    )
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
        for axis, image in zip(row, images, strict=True):
            axis.imshow(pixels(image), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    return figure


LINES = ("-", "--", "-.", ":")


def drawable(values):
    """What matplotlib takes: tensors on the CPU, without gradient, in a dtype that numpy has."""
    return values.detach().cpu().double() if isinstance(values, torch.Tensor) else values


def show_curves(panels, description, xlabel, height=2.8, columns=2, **axes_options):
    """Curves, {title of the panel: {name of the curve: y, or (x, y), or (x, y, spread)}}, each labelled at its end.

    A spread, like a standard error, is drawn as bars above and below. `axes_options` go to matplotlib's Axes.set, as
    yscale="log" does.
    """
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5.2 * columns, height * rows), squeeze=False, layout="constrained"
    )
    for axis, (title, curves) in zip(axes.flat, panels.items(), strict=False):
        ends = []
        for i, (name, curve) in enumerate(curves.items()):
            x, y, *spread = curve if isinstance(curve, tuple) else (range(len(curve)), curve)
            x, y = drawable(x), drawable(y)
            axis.plot(x, y, LINES[i % len(LINES)])
            ends.append((name, x[-1], y[-1], COLOURS[i % len(COLOURS)]))
            if spread:
                axis.errorbar(x, y, drawable(spread[0]), fmt="o", color=COLOURS[i], markersize=4, capsize=3)
        axis.set(title=title, xlabel=xlabel, **axes_options)
        axis.grid()
        plain_ticks(axis)
        if len(ends) > 1:
            label_ends(axis, ends)
    for axis in list(axes.flat)[len(panels) :]:
        axis.axis("off")
    show(figure, description)


def plain_ticks(axis):
    """Numbers as one writes them, 0.001 and 10,000, on logarithmic axes, too."""
    for side in (axis.xaxis, axis.yaxis):
        if side.get_scale() == "log":
            side.set_major_formatter(lambda value, _: f"{value:,.10f}".rstrip("0").rstrip("."))
            side.set_minor_formatter(lambda value, _: "")


def label_ends(axis, ends, least=0.09):
    """Write each name of (name, x, y, colour) beside its point, at least `least` of the height from the next."""
    to_share = axis.transData + axis.transAxes.inverted()
    heights = [to_share.transform((x, y))[1] for _, x, y, _ in ends]
    height = -1.0
    for share, (name, _, _, colour) in sorted(zip(heights, ends, strict=True), key=lambda pair: pair[0]):
        height = max(min(share, 1 - least / 2), height + least)
        axis.text(1.01, height, name, color=colour, transform=axis.transAxes, va="center", fontsize=9)


def show_points(clouds, description, limit=3.0, size=2.0):
    """Points in the plane, one panel for each entry of {title: (N, 2), or a list of such, each in its own colour}."""
    figure, axes = plt.subplots(
        1, len(clouds), figsize=(size * len(clouds), size + 0.25), squeeze=False, layout="constrained"
    )
    for axis, (title, groups) in zip(axes.flat, clouds.items(), strict=True):
        for points in groups if isinstance(groups, list) else [groups]:
            axis.scatter(*drawable(points).T, s=3, alpha=0.4, linewidths=0)
        axis.set(title=title, xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
        axis.title.set_fontsize(9)
    show(figure, description)


def show_paths(panels, description, limit=3.0, size=3.2):
    """Paths in the plane, one panel for each entry of {title: (number of states, N, 2)}, with a dot at each end."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(size * len(panels), size + 0.25), squeeze=False, layout="constrained"
    )
    for axis, (title, paths) in zip(axes.flat, panels.items(), strict=True):
        for path in drawable(paths).unbind(dim=1):
            axis.plot(*path.T, color=COLOURS[0], linewidth=0.6, alpha=0.6)
        axis.scatter(*drawable(paths[-1]).T, s=8, color=COLOURS[1], zorder=3)
        axis.set(title=title, xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
        axis.title.set_fontsize(9)
    show(figure, description)


def show_heatmap(values, description, xlabel, ylabel, height=2.6):
    """A matrix with values within -1 .. 1 as colours, with a bar that shows what they mean."""
    figure, axis = plt.subplots(figsize=(7, height), layout="constrained")
    picture = axis.imshow(
        drawable(values).numpy(), aspect="auto", cmap="cividis", interpolation="nearest", vmin=-1, vmax=1
    )
    figure.colorbar(picture)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    show(figure, description)


def tile(images, columns):
    """Images side by side, with a margin of 2 pixels: (N, C, h, w) within -1 .. 1 -> (H, W, C) within 0 .. 1."""
    N, C, h, w = images.shape
    rows = math.ceil(N / columns)
    sheet = torch.ones(rows * (h + 2) - 2, columns * (w + 2) - 2, C)
    for i, image in enumerate(((images.detach().cpu().float() + 1) / 2).clamp(0, 1)):
        top, left = i // columns * (h + 2), i % columns * (w + 2)
        sheet[top : top + h, left : left + w] = image.permute(1, 2, 0)
    return sheet


def save_grid(path, images, columns=8, zoom=2):
    """Write images, (N, C, h, w) within -1 .. 1, as one PNG file, each pixel `zoom` pixels wide."""
    sheet = tile(images, columns).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    plt.imsave(path, sheet.expand(-1, -1, 3).numpy())


def show_process(pictures, levels, names, description):
    """The forward process above and the reverse process below a row of pictures that runs from x_0 to x_T.

    An arrow between neighbouring levels is solid and has its formula; one that stands for many steps is dotted.

    Args:
        pictures: (N, C, H, W) within -1 .. 1.
        levels: N whole numbers, from 0 to T.
        names: of the N states, in TeX, as in "x_{t-1}".
        description: in words.
    """
    centres = [1.6 * i for i in range(len(pictures))]
    width, height = centres[-1] + 1.2, 3.7
    axis = plt.figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    for x, picture, level, name in zip(centres, pictures, levels, names, strict=True):
        axis.imshow(pixels(picture), cmap="gray", vmin=0, vmax=1, extent=(x - 0.5, x + 0.5, -0.5, 0.5))
        axis.text(x, -0.56, f"${name}$", ha="center", va="top", fontsize=13)
        axis.text(x, -0.86, f"level {level}", ha="center", va="top", fontsize=8)
    for i in range(len(pictures) - 1):
        (left, right), one_step = centres[i : i + 2], levels[i + 1] - levels[i] == 1
        later, earlier = names[i + 1], names[i]
        for start, end, y, side, colour, formula in (
            (left, right, 0.55, 1, COLOURS[0], f"$q({later}\\,|\\,{earlier})$"),
            (right, left, -1.1, -1, COLOURS[1], f"$p_\\theta({earlier}\\,|\\,{later})$"),
        ):
            shape = dict(arrowstyle="-|>", connectionstyle="arc3,rad=-0.35", linestyle="-" if one_step else ":")
            inwards = 0.12 if start < end else -0.12
            axis.annotate(
                "", (end - inwards, y), (start + inwards, y), arrowprops=shape | dict(color=colour, linewidth=1.6)
            )
            label = formula if one_step else "many steps"
            axis.text((left + right) / 2, y + 0.42 * side, label, ha="center", va="center", color=colour, fontsize=9)
    middle = centres[-1] / 2
    for y, colour, text in (
        (1.35, COLOURS[0], r"forward process $\longrightarrow$  add a little noise: nothing is learnt"),
        (
            -1.95,
            COLOURS[1],
            r"reverse process $\longleftarrow$  the network names the noise, a step removes a little of it",
        ),
    ):
        axis.text(middle, y, text, ha="center", va="center", color=colour, fontsize=12)
    axis.set(xlim=(-0.6, width - 0.6), ylim=(-2.15, 1.55))
    axis.axis("off")
    show(axis.figure, description)
