"""The drawings of notebook 09: v a quarter turn ahead, arrows that point home, lines and curves, what was measured."""

import json
from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch

from course_utils.classroom import plotting
from course_utils.classroom.figures.dial import contours, plane
from course_utils.classroom.plotting import COLOURS
from course_utils.data import CLASSES, DATA, fashion_mnist, scale
from course_utils.forward import add_noise
from course_utils.predictions import V
from course_utils.schedule import cosine_schedule

BLUE, ORANGE, GREEN, PINK = COLOURS[:4]
GREY = "#888888"


# The film at the top


def turning(description, kind="Ankle boot", frames=13):
    """x_t and v of one garment, as the level rises from 0 to T, with their places on the circle between them."""
    images, labels = fashion_mnist(train=False)
    x_0 = scale(images[labels == CLASSES.index(kind)][:1])
    noise, path = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0)), cosine_schedule()
    levels = torch.linspace(0, path.T, frames).round().int().tolist()
    film = [frame(add_noise(x_0, t, noise, path), V.target(x_0, noise, t, path), path, t) for t in levels]
    plotting.show_film(film, description, seconds=5, hold=1.5, zoom=1)


def frame(x_t, v, path, t):
    figure, axes = plt.subplots(1, 3, figsize=(5.4, 1.9), dpi=100, layout="constrained")
    for axis, picture, title, colour in ((axes[0], x_t, "$x_t$", BLUE), (axes[2], v, "$v$", ORANGE)):
        axis.imshow(plotting.pixels(picture[0]), cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, color=colour, loc="center")
        for spine in axis.spines.values():
            spine.set(visible=True, color=colour, linewidth=2)
    circle, a, b = torch.linspace(0, 2 * torch.pi, 100), path.signal_rate[t].item(), path.noise_rate[t].item()
    axes[1].plot(circle.cos(), circle.sin(), color="#CCCCCC", linewidth=1)
    for (x, y), colour in (((a, b), BLUE), ((-b, a), ORANGE)):
        axes[1].annotate("", (x, y), (0, 0), arrowprops=dict(arrowstyle="-|>", color=colour, linewidth=2))
    for place, name in (((1.08, 0), "picture"), ((0, 1.2), "noise")):
        axes[1].text(*place, name, fontsize=9, ha="left" if place[0] else "center", va="center", color="#444444")
    axes[1].set(xlim=(-1.25, 2.0), ylim=(-0.45, 1.4), aspect="equal")
    axes[1].axis("off")
    return plotting.drawn(figure)


# Arrows that point home


def arrows_home(panels, clouds, description, limit=2.4):
    """{title: (log density, places (N, 2), ends (N, 2))}: from each place an arrow to where it ends."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7.4, 2.9), sharey=True, layout="constrained")
    for axis, (title, (log_density, places, ends)) in zip(axes, panels.items(), strict=True):
        axis.scatter(*clouds[:300].T, s=3, color="#CCCCCC", linewidths=0)
        contours(axis, log_density, limit, colors=ORANGE, linewidths=1)
        axis.quiver(*places.T, *(ends - places).T, color=BLUE, angles="xy", scale_units="xy", scale=1, width=0.006)
        plane(axis, limit)
        axis.set_title(title, fontsize=10)
    plotting.show(figure, description)


# Lines and curves


def lines_and_curves(panels, clouds, description, limit=2.6):
    """{title: (number of states, N, 2)} from the noise, hollow dots, to the end, full dots, over grey data."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(2.9 * len(panels), 3.1), squeeze=False, sharey=True, layout="constrained"
    )
    for axis, (title, walks) in zip(axes.flat, panels.items(), strict=True):
        axis.scatter(*clouds[:300].T, s=3, color="#CCCCCC", linewidths=0)
        for walk in walks.unbind(dim=1):
            axis.plot(*walk.T, color=BLUE, linewidth=0.8, alpha=0.7)
        axis.scatter(*walks[0].T, s=14, facecolors="white", edgecolors=BLUE, linewidths=0.8, zorder=3)
        axis.scatter(*walks[-1].T, s=14, color=ORANGE, linewidths=0, zorder=3)
        plane(axis, limit)
        axis.set_title(title, fontsize=10)
    plotting.show(figure, description)


# Which levels are drawn


def levels_drawn(panels, T, description):
    """{name: levels}: how often each twentieth of the levels is drawn, against all levels alike."""
    size = 5.5, 1.5 * len(panels) + 0.3
    figure, axes = plt.subplots(len(panels), 1, figsize=size, sharex=True, layout="constrained")
    edges = torch.linspace(0, T, 21)
    for axis, (name, levels), colour in zip(axes, panels.items(), COLOURS, strict=False):
        counts = torch.histc(levels.float(), 20, 0, T) / len(levels) * 20
        axis.bar(edges[:-1], counts, width=T / 20 * 0.9, align="edge", color=colour)
        axis.axhline(1, color=GREY, linewidth=1)
        axis.set_title(name, fontsize=10)
        axis.set(ylim=(0, 3), ylabel="how often")
    axes[-1].set_xlabel("level: picture on the left, noise on the right")
    plotting.show(figure, description)


# What was measured


def measured(file=DATA.parent / "benchmarks" / "four_predictions.json"):
    """The rows of benchmarks/four_predictions.py so far."""
    return json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []


def groups(rows, what="fcd"):
    """{kind: (mean, standard error)} of `what`, for the kinds with three seeds or more."""
    values = {}
    for row in rows:
        values.setdefault(row["kind"], []).append(row[what])
    return {kind: (mean(v), stdev(v) / len(v) ** 0.5) for kind, v in values.items() if len(v) >= 3}


def quality(rows, description):
    """The FCD of each kind of training, with its standard error, and a line for real pictures."""
    found = groups(rows)
    real = found.pop("real", None)
    if not found:
        print("Not measured yet: `python benchmarks/four_predictions.py` takes a few hours on one core.")
        return
    figure, axis = plt.subplots(figsize=(5.5, 0.32 * len(found) + 0.9), layout="constrained")
    for i, (kind, (value, error)) in enumerate(found.items()):
        axis.errorbar(value, -i, xerr=error, fmt="o", color=ORANGE if "middle" in kind else BLUE, capsize=3)
    if real:
        axis.axvline(real[0], color=GREY, linewidth=1)
    axis.set_yticks([-i for i in range(len(found))], list(found), fontsize=9)
    axis.set(title="FCD (lower is better)", xlim=(0, None), ylim=(0.5 - len(found), 0.5))
    axis.grid(axis="x")
    plotting.show(figure, description)


def table(rows):
    """The same numbers, a line for each kind, and recall beside them: mean ± standard error."""
    recall = groups(rows, "recall")
    for kind, (score, error) in groups(rows).items():
        share, its_error = recall[kind]
        print(f"{kind:27} FCD {score:.2f} ± {error:.2f}   recall {share:.2f} ± {its_error:.2f}")
