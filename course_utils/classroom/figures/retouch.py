"""The drawings of notebook 11: a half that is painted, points that start from a sketch, heaps, a turning picture."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from course_utils.checkpoints import load_unet
from course_utils.classroom import plotting
from course_utils.classroom.easel import with_hole
from course_utils.classroom.plotting import COLOURS
from course_utils.data import DATA, fashion_mnist, scale
from course_utils.device import best_device
from course_utils.editing import inpaint_step
from course_utils.sampling import ddpm_step, denoiser, sample_steps
from course_utils.schedule import cosine_schedule

BLUE, ORANGE, GREEN, PINK = COLOURS[:4]

# The film at the top


def painting(description, garments=(1, 2, 4, 18, 23), seed=0, steps=30, returns=2):
    """Garments of the test set whose right half is painted, three times each, from noise to the finished picture."""
    path, device = cosine_schedule(), best_device()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device)
    images, labels = (part[list(garments)] for part in fashion_mnist(train=False))
    known, hole = scale(images).to(device), right_half().to(device)
    denoise = denoiser(network, path, labels.repeat(3))
    step = inpaint_step(ddpm_step, known.repeat(3, 1, 1, 1), 1 - hole, denoise, returns)
    options = dict(num_steps=steps, generator=torch.Generator().manual_seed(seed), device=device)
    states = [x for _, x, _ in sample_steps(denoise, (3 * len(known), 1, 28, 28), path, step, **options)]
    covered = with_hole(known.cpu(), hole.cpu())
    frames = [torch.cat([covered, x.cpu()]) for x in [covered.repeat(3, 1, 1, 1), *states[1::2]]]
    plotting.show_film([plotting.tile(frame, len(known)) for frame in frames], description, 6, 3, zoom=3)


def right_half():
    hole = torch.zeros(1, 1, 28, 28)
    hole[..., 14:] = 1
    return hole


# On the mixture


def landings(panels, sketch, data, description, limit=2.6):
    """Where points end that all began in one place, the orange cross: {title: (N, 2)}, over grey data."""
    figure, axes = plt.subplots(2, 2, figsize=(5.4, 5.6), sharex=True, sharey=True, layout="constrained")
    for axis, (title, points) in zip(axes.flat, panels.items(), strict=True):
        axis.scatter(*data[:1500].T, s=3, color="#CCCCCC", linewidths=0)
        axis.scatter(*points[:500].T, s=6, alpha=0.5, color=BLUE, linewidths=0)
        axis.plot(*sketch.flatten(), "x", color=ORANGE, markersize=11, markeredgewidth=3)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
        axis.set_title(title, fontsize=10)
    plotting.show(figure, description)


def heaps(panels, density, description, limits=(-2.2, 2.4)):
    """Histograms of numbers, {title: (N,)}, each with the density that they should have as an orange line."""
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(5.4, 1.35 * len(panels) + 0.3), sharex=True, layout="constrained"
    )
    places = torch.linspace(*limits, 400, dtype=torch.float64)
    for axis, (title, numbers) in zip(axes, panels.items(), strict=True):
        axis.hist(numbers.numpy(), bins=92, range=limits, density=True, color=BLUE, alpha=0.6)
        axis.plot(places, density(places), color=ORANGE, linewidth=2)
        axis.set(xlim=limits, yticks=())
        axis.set_title(title, fontsize=10)
    axes[-1].set_xlabel("height")
    plotting.show(figure, description)


def known_line(data, height, description, limit=2.6):
    """The data, and the line on which the known number puts us."""
    figure, axis = plt.subplots(figsize=(3.4, 3.4), layout="constrained")
    axis.scatter(*data[:1500].T, s=3, color="#AAAAAA", linewidths=0)
    axis.axvline(height, color=ORANGE, linewidth=2)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    axis.set(xlabel="the known number", ylabel="height: to be painted")
    plotting.show(figure, description)


# A picture that turns


def turning(pictures, description, columns, frames=16, zoom=2):
    """Pictures, (N, 1, 28, 28) within -1 .. 1, that turn by 180 degrees, as a film."""
    greys = [Image.fromarray((plotting.pixels(picture) * 255).round().astype("uint8")) for picture in pictures]
    large = [grey.resize((28 * zoom, 28 * zoom), Image.Resampling.NEAREST) for grey in greys]
    film = []
    for angle in [0.0] * 4 + torch.linspace(0, 180, frames).tolist():
        turned = [np.array(picture.rotate(angle, Image.Resampling.BILINEAR)) for picture in large]
        sheet = torch.from_numpy(np.stack(turned))[:, None] / 127.5 - 1
        film.append(plotting.tile(sheet, columns))
    plotting.show_film(film, description, seconds=4, hold=1.5, zoom=2)
