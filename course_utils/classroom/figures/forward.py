"""Drawings of notebook 01, the forward process."""

import functools

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from course_utils.classroom.plotting import COLOURS, pixels, show, show_film, tile
from course_utils.forward import add_noise

BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, BLACK = COLOURS
GREY = "#777777"


def bell(x, mean=0.0, variance=1.0):
    """The density of a Gaussian."""
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def show_dissolving(pictures, ends, path, description, frames=29):
    """A film of pictures, (N, 1, h, w), a row each: noise rises in all columns, and each stops at its own level."""
    many = pictures.repeat_interleave(len(ends), dim=0)
    noise, shown = torch.randn(many.shape), []
    for share in torch.linspace(0, 1, frames):
        levels = (share * torch.tensor(ends)).round().long()
        shown.append(film_frame(add_noise(many, levels.repeat(len(pictures)), noise, path), levels))
    show_film(shown, description, zoom=1)


def film_frame(pictures, levels, zoom=3):
    """Pictures in rows, with a column for each level, and the levels written above them."""
    sheet = tile(pictures, columns=len(levels)).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    title = Image.new("L", (sheet.shape[1], 18), 255)
    for i, level in enumerate(levels.tolist()):
        middle = zoom * (i * (pictures.shape[-1] + 2) + pictures.shape[-1] / 2)
        ImageDraw.Draw(title).text((middle, 8), f"t = {level}", fill=60, font=title_font(), anchor="mm")
    return torch.cat([torch.from_numpy(np.array(title))[..., None] / 255, sheet])


@functools.cache
def title_font():
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 13)


def show_circle(description):
    """Two ways from all picture to all noise, in the plane of the two factors: a straight line and a quarter circle."""
    figure, axis = plt.subplots(figsize=(4.6, 4.0), layout="constrained")
    angle = np.linspace(0, np.pi / 2, 100)
    axis.plot(np.cos(angle), np.sin(angle), color=BLUE)
    axis.plot([1, 0], [0, 1], "--", color=ORANGE)
    arrow = dict(arrowstyle="-|>", shrinkA=0, shrinkB=0, linewidth=1.6)
    axis.annotate("", (0.5, 0.5), (0, 0), arrowprops=arrow | dict(color=ORANGE))
    axis.annotate("", (0.94, 0.342), (0, 0), arrowprops=arrow | dict(color=BLUE))
    axis.text(0.22, 0.30, "0.71", color=ORANGE, ha="right")
    axis.text(0.42, 0.06, "1.00", color=BLUE)
    axis.text(0.76, 0.72, "the squares of the\nfactors add up to 1", color=BLUE)
    axis.text(0.05, 0.64, "the blend:\nthe factors\nadd up to 1", color=ORANGE, va="top")
    axis.plot([1, 0], [0, 1], "o", color=BLACK, markersize=5, clip_on=False)
    axis.text(1.03, 0.02, "only picture", va="bottom")
    axis.text(0.03, 1.04, "only noise", va="bottom")
    axis.set(xlim=(0, 1.4), ylim=(0, 1.15), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
    axis.set(xlabel="factor of the picture", ylabel="factor of the noise")
    show(figure, description)


def show_melting(snapshots, description):
    """{t: (N, 1, H, W)}: each snapshot as its first picture and the histogram of all its pixels, with the bell."""
    figure, axes = plt.subplots(
        len(snapshots), 2, figsize=(5.2, 1.05 * len(snapshots)), width_ratios=(1, 3.6), layout="constrained"
    )
    for (left, right), (t, pictures) in zip(axes, snapshots.items(), strict=True):
        left.imshow(pixels(pictures[0]), cmap="gray", vmin=0, vmax=1)
        left.set_ylabel(f"t = {t}", rotation=0, ha="right", va="center", fontsize=10)
        left.set(xticks=[], yticks=[])
        left.spines[:].set_visible(False)
        draw_histogram(right, pictures, bell_of=(0, 1), limit=3.5)
        right.set(xticks=[-3, -2, -1, 0, 1, 2, 3], ylim=(0, 0.75))
        right.tick_params(labelbottom=False)
        if t == 0:
            right.text(-1.1, 0.6, "half of all pixels\nare black", ha="right", va="center", fontsize=9, color=GREY)
    right.tick_params(labelbottom=True)
    right.set_xlabel("value of a pixel (-1 is black, 1 is white)")
    show(figure, description)


def draw_histogram(axis, values, bell_of, limit, bins=70, colour=SKY):
    """A histogram of all values as a density, and the outline of a bell with this mean and variance."""
    x = np.linspace(-limit, limit, 400)
    axis.hist(values.flatten().numpy(), bins=np.linspace(-limit, limit, bins + 1), density=True, color=colour)
    axis.plot(x, bell(x, *bell_of), color=BLACK, linewidth=1.4)
    axis.set(xlim=(-limit, limit), yticks=[])
    axis.spines["left"].set_visible(False)


def show_histograms(panels, description, limit=3.0, bins=60):
    """One histogram below another, {title: values}, each with the bell that has its mean and variance."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(5.2, 1.5 * len(panels)), layout="constrained", squeeze=False)
    for axis, (title, values) in zip(axes.flat, panels.items(), strict=True):
        draw_histogram(axis, values, (values.mean().item(), values.var().item()), limit, bins)
        axis.set_title(title, fontsize=10)
    axis.set_xlabel("value")
    show(figure, description)


def show_way_back(where, description, limit=2.0):
    """Where the walks that end at one place had been before, {title: values}: histogram, bell and mean."""
    figure, axes = plt.subplots(len(where), 1, figsize=(5.2, 1.75 * len(where)), sharex=True, layout="constrained")
    for axis, (title, values) in zip(axes, where.items(), strict=True):
        mean, variance = values.mean().item(), values.var().item()
        draw_histogram(axis, values, (mean, variance), limit, bins=60)
        top = min(axis.get_ylim()[1], 3 * bell(0, 0, variance))
        axis.axvline(mean, color=ORANGE, linestyle="--")
        axis.text(mean + 0.06, 0.94 * top, "mean", color=ORANGE, va="top")
        axis.set_title(title, fontsize=10)
        axis.set_ylim(0, top)
    axis.set_xlabel("value of the pixel (-1 is black, 1 is white)")
    show(figure, description)


def show_shares(shares, description):
    """Stacked bars, one for each step: what is left of the picture, and what is left of each step's noise.

    shares[t] is a list: the picture's share of the variance, then that of the noises of steps 1 .. t.
    """
    figure, axis = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    colours = [GREY, *COLOURS]
    for t, parts in enumerate(shares):
        height = 0.0
        for k, part in enumerate(parts):
            axis.bar(t, part, bottom=height, width=0.8, color=colours[k], edgecolor="white")
            if part >= 0.055:
                axis.text(
                    t,
                    height + part / 2,
                    f"{part:.2f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color=BLACK if k == 5 else "white",
                )
            height += part
    middles = np.cumsum(shares[-1]) - np.array(shares[-1]) / 2
    for k, middle in enumerate(middles):
        name = "picture" if k == 0 else f"noise of step {k}"
        axis.text(len(shares) - 0.5, middle, name, color=colours[k], va="center", fontsize=9)
    axis.set(xlabel="steps taken", ylabel="share of the variance", yticks=[0, 0.5, 1], xticks=range(len(shares)))
    axis.set_xlim(-0.5, len(shares) + 0.8)
    show(figure, description)


def show_flood(power, floods, description):
    """The power of waves of each fineness in the pictures, and for some levels {t: that of the noise} as a flood."""
    figure, axis = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    waves = np.arange(1, len(power) + 1)
    axis.fill_between(waves, 1e-3, power, color=GREY, alpha=0.3, linewidth=0)
    axis.plot(waves, power, color=BLACK)
    axis.text(2.4, 1.25 * power[1], "the pictures", color=BLACK)
    for (t, height), colour in zip(floods.items(), (BLUE, ORANGE, PURPLE), strict=False):
        axis.axhline(height, color=colour, linestyle="--")
        axis.text(
            1.01,
            height,
            f"noise at\nt = {t}",
            color=colour,
            va="center",
            fontsize=9,
            transform=axis.get_yaxis_transform(),
        )
    axis.set(yscale="log", xlim=(1, len(power)), ylim=(power.min() / 3, 2 * power.max()))
    axis.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    axis.minorticks_off()
    axis.set(xlabel="large shapes        waves per picture        fine things", ylabel="power")
    show(figure, description)


def show_clouds(panels, description, limit=3.0):
    """Coloured clouds in the plane, {title: [(N, 2), ...]}, two panels in a row, with axes through the origin."""
    rows = (len(panels) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(5.2, 2.7 * rows), sharex=True, sharey=True, layout="constrained")
    for axis, (title, groups) in zip(axes.flat, panels.items(), strict=True):
        axis.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
        axis.axvline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
        for points, colour in zip(groups, (BLUE, ORANGE, GREEN), strict=True):
            axis.scatter(*points.T, s=5, alpha=0.5, linewidths=0, color=colour)
        axis.plot(0, 0, "+", color=BLACK, markersize=9)
        axis.set_title(title, fontsize=10)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[-2, 0, 2], yticks=[-2, 0, 2], aspect="equal")
    show(figure, description)
