"""The drawings of notebook 08: arrows of a score, guided clouds, a dial that turns, and what it costs."""

import json
from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch

from course_utils.checkpoints import load_unet
from course_utils.classroom import plotting
from course_utils.classroom.plotting import COLOURS
from course_utils.data import CLASSES, DATA
from course_utils.device import best_device
from course_utils.guidance import guided
from course_utils.sampling import clipped, ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule

BLUE, ORANGE, GREEN, PINK = COLOURS[:4]
GREY = "#888888"


# The film at the top


def turning(description, kinds=("Dress", "T-shirt", "Shirt", "Bag", "Ankle boot"), seed=0, steps=10):
    """Garments from the same noise, as the guidance scale rises from 0 to 6."""
    path, device = cosine_schedule(), best_device()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device)
    labels = torch.tensor([CLASSES.index(kind) for kind in kinds])
    x_T = torch.randn(len(kinds), 1, 28, 28, generator=torch.Generator().manual_seed(seed)).to(device)
    both = [denoiser(network, path, told, clip=False) for told in (labels, None)]
    frames = []
    for scale in torch.linspace(0, 6, 13).tolist():
        made = sample(clipped(guided(*both, scale)), x_T.shape, path, ddim_step, steps, x_T=x_T)
        frames.append(with_dial(made, scale))
    plotting.show_film(frames, description, seconds=5, hold=1.5, zoom=1)


def with_dial(pictures, scale):
    figure, axes = plt.subplots(1, len(pictures) + 1, figsize=(5.6, 1.15), dpi=100, layout="constrained")
    for axis, picture in zip(axes[1:], pictures, strict=True):
        axis.imshow(plotting.pixels(picture), cmap="gray", vmin=0, vmax=1)
        axis.axis("off")
    half, angle = torch.linspace(0, torch.pi, 50), torch.tensor(torch.pi * (1 - scale / 6))
    axes[0].plot(half.cos(), half.sin(), color=GREY)
    axes[0].plot([0, 0.85 * angle.cos()], [0, 0.85 * angle.sin()], color=ORANGE, linewidth=3)
    axes[0].text(0, -0.5, f"{scale:.1f}", ha="center", fontsize=11)
    axes[0].set(xlim=(-1.1, 1.1), ylim=(-0.7, 1.2), aspect="equal")
    axes[0].axis("off")
    return plotting.drawn(figure)


# In the plane


def plane(axis, limit):
    for line in (axis.axhline, axis.axvline):
        line(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    axis.tick_params(labelsize=9)


def grid(limit, points):
    """The places of a square grid, (points^2, 2), and its lines."""
    line = torch.linspace(-limit, limit, points, dtype=torch.float64)
    return torch.cartesian_prod(line, line), line


def contours(axis, log_density, limit, shares=(0.02, 0.1, 0.4), **options):
    """Lines where a density, given by its logarithm, has these shares of its highest value."""
    places, line = grid(limit, 241)
    density = log_density(places)
    density = (density - density.max()).exp().reshape(241, 241).T
    axis.contour(line, line, density, levels=list(shares), **options)


def arrows(panels, description, limit=2.6, longest=4.0):
    """{title: (log density for the background or None, places (N, 2), arrows (N, 2))}; long arrows are cut short."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7.4, 2.9), sharey=True, layout="constrained")
    for axis, (title, (log_density, places, vectors)) in zip(axes, panels.items(), strict=True):
        length = vectors.norm(dim=1, keepdim=True).clamp(min=1e-9)
        x, y = (vectors / length * length.clamp(max=longest)).T
        axis.quiver(*places.T, x, y, color=BLUE, angles="xy", scale_units="xy", scale=7, width=0.007)
        if log_density is not None:
            contours(axis, log_density, limit, colors=ORANGE, linewidths=1)
        plane(axis, limit)
        axis.set_title(title, fontsize=10)
    plotting.show(figure, description)


def clouds(panels, log_density, data, description, limit=2.6):
    """Points, {title: (N, 2)}, over grey data, each with the orange lines of one log density; two panels a row."""
    rows = (len(panels) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(5.4, 2.8 * rows), sharex=True, sharey=True, layout="constrained")
    for axis, (title, points) in zip(axes.flat, panels.items(), strict=True):
        plane(axis, limit)
        axis.scatter(*data[:1000].T, s=3, color="#CCCCCC", linewidths=0)
        axis.scatter(*points[:600].T, s=5, alpha=0.4, color=BLUE, linewidths=0)
        contours(axis, log_density, limit, colors=ORANGE, linewidths=1)
        axis.set_title(title, fontsize=10)
    plotting.show(figure, description)


def sharpened(panels, description, centre=(1.2, -0.6), reach=1.0):
    """{title: (log density, points)}: what one might expect, as orange lines, and the points that were made."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7.4, 2.9), sharey=True, layout="constrained")
    for axis, (title, (log_density, points)) in zip(axes, panels.items(), strict=True):
        axis.scatter(*points[:600].T, s=6, alpha=0.4, color=BLUE, linewidths=0)
        contours(axis, log_density, 2.6, colors=ORANGE, linewidths=1.5)
        axis.set(xlim=(centre[0] - reach, centre[0] + reach), ylim=(centre[1] - reach, centre[1] + reach))
        axis.set(aspect="equal", xticks=(0.5, 1, 1.5, 2), yticks=(-1.5, -1, -0.5, 0))
        axis.set_title(title, fontsize=10)
    plotting.show(figure, description)


# What was measured


def measured(file=DATA.parent / "benchmarks" / "guidance_scale.json"):
    """The rows of benchmarks/guidance_scale.py so far."""
    return json.loads(file.read_text())["rows"] if file.exists() else []


def groups(rows, what):
    """{(levels, clip): (scales, means, standard errors)} of `what`, from the groups with three seeds or more."""
    values = {}
    for row in rows:
        values.setdefault((row["levels"], row["clip"]), {}).setdefault(row["scale"], []).append(row[what])
    found = {}
    for kind, by_scale in values.items():
        whole = {scale: by_scale[scale] for scale in sorted(by_scale) if len(by_scale[scale]) >= 3}
        if whole:
            errors = [stdev(group) / len(group) ** 0.5 for group in whole.values()]
            found[kind] = list(whole), [mean(group) for group in whole.values()], errors
    return found


NAMES = {("all", "after"): "all levels", ("200 .. 800", "after"): "200 .. 800", ("all", "before"): "clipped first"}
PANELS = {
    "fcd": "FCD (lower is better)",
    "precision": "precision (fidelity)",
    "recall": "recall (diversity)",
}


def quality_by_scale(rows, description):
    """FCD, precision and recall over the guidance scale, with standard errors, and real pictures as a level."""
    curves = {what: groups(rows, what) for what in PANELS}
    if ("all", "after") not in curves["fcd"]:
        print("benchmarks/guidance_scale.json has no complete rows yet: python benchmarks/guidance_scale.py")
        return
    panels = {}
    for what, title in PANELS.items():
        scales = curves[what]["all", "after"][0]
        panels[title] = {NAMES[kind]: curve for kind, curve in curves[what].items() if kind in NAMES}
        real = [curve for kind, curve in curves[what].items() if kind not in NAMES]
        if real:
            ends = [scales[0], scales[-1]]
            panels[title]["real pictures"] = ends, real[0][1][:1] * 2, real[0][2][:1] * 2
    plotting.show_curves(panels, description, "guidance scale", height=2.4, columns=1, xticks=[0, 1, 2, 3, 5, 10])


def table(rows):
    """The same numbers, a line for each group: mean ± standard error."""
    found = {what: groups(rows, what) for what in PANELS}
    for kind, (scales, _, _) in found["fcd"].items():
        for i, scale in enumerate(scales):
            values = [f"{what} {of[kind][1][i]:.3f} ± {of[kind][2][i]:.3f}" for what, of in found.items()]
            name = NAMES.get(kind, "real pictures")
            print(f"{name:13}", f"{'' if kind not in NAMES else f'scale {scale:g}':9}", "   ".join(values))
