"""Figures: helpers that take tensors, so that a figure takes a notebook only a line or two.

Every figure comes with a description in words. Notebook front ends drop the alternative text of a saved picture, so
`show` puts the description below it, folded, where a screen reader, or anyone else, can find it.

Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart.
"""

import html
import math

import matplotlib.pyplot as plt
import torch

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS)


def show(figure, description):
    """Show a matplotlib figure, and under it its description, folded; then close the figure.

    Returns `redraw(figure)`, which puts another figure in its place.
    """
    from IPython.display import HTML, display  # only a notebook needs it

    alternative = {"image/png": {"alt": description}}
    place = display(figure, metadata=alternative, display_id=True)
    display(HTML(f"<details><summary>This figure in words</summary>{html.escape(description)}</details>"))
    plt.close(figure)

    def redraw(figure):
        if place is None:  # outside a notebook nothing has a place
            display(figure, metadata=alternative)
        else:
            place.update(figure, metadata=alternative)
        plt.close(figure)

    return redraw


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


def show_curves(panels, description, xlabel, height=2.8, **axes_options):
    """Curves, {title of the panel: {name of the curve: y, or (x, y)}}; the panels stand side by side.

    The curves differ in colour and in dashes. `axes_options` go to matplotlib's Axes.set, such as yscale="log".
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.2 * len(panels), height), squeeze=False, layout="constrained"
    )
    for axis, (title, curves) in zip(axes.flat, panels.items(), strict=True):
        for i, (name, curve) in enumerate(curves.items()):
            x, y = curve if isinstance(curve, tuple) else (range(len(curve)), curve)
            axis.plot(drawable(x), drawable(y), LINES[i % len(LINES)], label=name)
        axis.set(title=title, xlabel=xlabel, **axes_options)
        axis.grid(alpha=0.3)
        if len(curves) > 1:
            axis.legend(fontsize=8)
    show(figure, description)


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


def show_unet(rows, description):
    """The U of a UNet, from the rows of `shapes_through`: a box for each part, with dashed lines for the skips."""
    sizes = sorted({shape[1] for _, _, shape in rows}, reverse=True)
    figure, axis = plt.subplots(figsize=(11, 1.1 + 1.0 * len(sizes)), layout="constrained")
    colours = dict(zip(("Sequential", "ResBlock", "Downsample", "SelfAttention", "Upsample"), COLOURS, strict=False))
    places, skips = [], []
    for i, (name, kind, shape) in enumerate(rows):
        depth = -sizes.index(shape[1])
        label = name if name in ("conv_in", "conv_out") else kind
        axis.text(
            i,
            depth,
            f"{label}\n{shape[0]} x {shape[1]} x {shape[2]}",
            ha="center",
            va="center",
            fontsize=7,
            bbox=dict(boxstyle="round", facecolor="white", edgecolor=colours.get(kind, COLOURS[6]), linewidth=1.8),
        )
        places.append((i, depth))
        if name == "conv_in" or name.startswith("down"):
            skips.append((i, depth))
        if name.startswith("up") and kind == "ResBlock":
            (start, level), lift = skips.pop(), 0.28
            xs, ys = (
                [start, start, i, i],
                [level, level + lift + 0.03 * len(skips), depth + lift + 0.03 * len(skips), depth],
            )
            axis.plot(xs, ys, "--", color="grey", linewidth=0.8, zorder=0)
    axis.plot(*zip(*places, strict=True), color="black", linewidth=1, zorder=0)
    axis.set(xlim=(-0.7, len(rows) - 0.3), ylim=(-len(sizes) + 0.5, 0.6))
    axis.axis("off")
    show(figure, description)


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
