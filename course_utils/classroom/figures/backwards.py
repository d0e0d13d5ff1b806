"""Drawings of notebook 05: the way back from noise, in one dimension, in the plane, and as a film."""

import math

import matplotlib.pyplot as plt
import torch

from course_utils.checkpoints import load_unet
from course_utils.classroom import plotting
from course_utils.data import CLASSES, DATA
from course_utils.device import best_device
from course_utils.sampling import denoiser, sample_steps
from course_utils.schedule import cosine_schedule

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK = plotting.COLOURS


# The film


def show_emerging(description, kinds=("Ankle boot", "Dress", "Sandal", "Bag", "Shirt"), num_steps=100, seed=7):
    """The finished sampler at work: a film with x_t of each kind above, and x_0_hat below."""
    schedule, device = cosine_schedule(), best_device()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device)
    denoise = denoiser(network, schedule, torch.tensor([CLASSES.index(kind) for kind in kinds]))
    generator = torch.Generator().manual_seed(seed)
    steps = sample_steps(denoise, (len(kinds), 1, 28, 28), schedule, num_steps=num_steps, generator=generator)
    frames = [plotting.tile(torch.cat([x, x_0_hat]), columns=len(kinds)) for _, x, x_0_hat in steps]
    frames = [(frame * 31).round() / 31 for frame in frames[3::4]]  # 32 greys: a smaller file that looks the same
    plotting.show_film(frames, description, seconds=4, hold=2.5)


# In one dimension


def bell(x, mean, variance):
    return torch.exp(-0.5 * (x - mean) ** 2 / variance) / (2 * math.pi * variance) ** 0.5


def two_facts(x_0, x_t, t, s, path):
    """What x_0 and what x_t say about x_s: [(mean, variance), (mean, variance)], numbers."""
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    return [(signal_s * x_0, noise_s**2), (x_t / r, added / r**2)]


def show_two_facts(x_0, x_t, t, s, path, description):
    """Two bells over x_s and, filled, their product, scaled to an area of 1."""
    x = torch.linspace(-2, 4, 601, dtype=torch.float64)
    first, second = [bell(x, *fact) for fact in two_facts(x_0, x_t, t, s, path)]
    product = first * second / torch.trapezoid(first * second, x)
    figure, axis = plt.subplots(figsize=(5.2, 3), layout="constrained")
    axis.fill_between(x, product, color=GREEN, alpha=0.25)
    for name, curve, colour, style, shift in (
        (f"made from x_0 = {x_0}", first, BLUE, "--", -0.1),
        (f"arrives at x_t = {x_t}", second, ORANGE, "-.", 0.12),
        ("both: the product", product, GREEN, "-", 0.08),
    ):
        axis.plot(x, curve, style, color=colour)
        top = curve.argmax()
        side = "right" if shift < 0 else "left"
        axis.text(x[top] + shift, curve[top] + 0.02, name, color=colour, ha=side, va="bottom")
    axis.set(xlabel="x_s", ylabel="density", ylim=(0, 0.95), xlim=(-2, 4))
    plotting.show(figure, description)


def show_against_histogram(values, mean, variance, description):
    """A histogram of what was simulated, and the bell of a formula."""
    x = torch.linspace(-1.5, 2.8, 301, dtype=torch.float64)
    figure, axis = plt.subplots(figsize=(5.2, 2.6), layout="constrained")
    axis.hist(values.numpy(), bins=60, density=True, color=SKY, alpha=0.6, range=(-1.5, 2.8))
    axis.plot(x, bell(x, float(mean), float(variance)), color=GREEN)
    axis.text(1.35, 0.55, "the formula", color=GREEN)
    axis.text(-1.4, 0.3, "the copies that\narrived near 1", color=BLUE)
    axis.set(xlabel="where they had been at level 400", ylabel="density")
    plotting.show(figure, description)


def show_ways_back(panels, description):
    """{title: (x, density)} above one another, each with the bell of the same mean and variance."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(5.2, 1.9 * len(panels)), layout="constrained")
    for axis, (title, (x, density)) in zip(axes, panels.items(), strict=True):
        mean, variance = moments(x, density)
        the_bell = bell(x, mean, variance)
        misplaced = 50 * torch.trapezoid((density - the_bell).abs(), x).item()
        axis.fill_between(x, density, color=SKY, alpha=0.5)
        axis.plot(x, the_bell, "--", color=ORANGE)
        axis.plot(mean, 0, "^", color=ORANGE, markersize=9, clip_on=False, zorder=4)
        axis.set(title=title, yticks=[], ylim=(0, 1.1 * max(density.max(), the_bell.max())), xlim=(x[0], x[-1]))
        axis.text(0.99, 0.8, f"{misplaced:.2g} % of the bell\nmisplaced", ha="right", transform=axis.transAxes)
    axes[0].text(0.02, 0.85, "exact", color=BLUE, transform=axes[0].transAxes)
    axes[0].text(0.02, 0.67, "bell", color=ORANGE, transform=axes[0].transAxes)
    axes[-1].set_xlabel("x_s")
    plotting.show(figure, description)


def show_walks(walk, mixture, path, description, limit=3.0):
    """Walks in one dimension, {level: (N, 1)}, from T on the left to 0, over the exact density of each level."""
    x, levels = torch.linspace(-limit, limit, 201), torch.arange(path.T, -1, -10)
    density = torch.stack([mixture.noised(int(t), path).log_prob(x[:, None]).exp() for t in levels], dim=1)
    figure, axis = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
    shade = (density / density.amax(dim=0)) ** 0.7
    axis.imshow(shade, cmap="Greys", vmax=2, extent=(path.T, 0, -limit, limit), origin="lower", aspect="auto")
    levels, walks = list(walk), torch.stack(list(walk.values()))[..., 0]
    for i, one in enumerate(walks.unbind(dim=1)):
        axis.plot(levels, one, color=plotting.COLOURS[i], linewidth=1)
        axis.plot(0, one[-1], "o", color=plotting.COLOURS[i], markersize=7, clip_on=False, zorder=4)
    axis.set(xlabel="t", ylabel="x_t", xlim=(path.T, 0), ylim=(-limit, limit), yticks=[-2, -1, 0, 1, 2])
    plotting.show(figure, description)


def moments(x, density):
    mean = torch.trapezoid(x * density, x).item()
    return mean, torch.trapezoid((x - mean) ** 2 * density, x).item()


# In the plane


def plane(axis, limit):
    """Axes through the origin, and the same scale for both."""
    for line in (axis.axhline, axis.axvline):
        line(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    ticks = dict(xticks=[-2, -1, 0, 1, 2], yticks=[-2, -1, 0, 1, 2])
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", **ticks)
    axis.tick_params(labelsize=9)


def contours(axis, mixture, limit, **options):
    """Lines of equal density."""
    line = torch.linspace(-limit, limit, 121)
    points = torch.cartesian_prod(line, line)
    density = mixture.log_prob(points).exp().reshape(121, 121).T
    top = density.max().item()
    axis.contour(line, line, density, levels=[top * share for share in (0.02, 0.1, 0.4)], **options)


def show_clouds(clouds, mixture, path, description, limit=3.0):
    """Points at some levels, {level: (N, 2)}, each over the exact density of its level, two panels a row."""
    rows, columns = math.ceil(len(clouds) / 2), min(2, len(clouds))
    size = dict(figsize=(2.6 * columns, 2.7 * rows)) if columns > 1 else dict(figsize=(3.6, 3.6))
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", **size)
    for axis, (level, points) in zip(axes.flat, clouds.items(), strict=True):
        plane(axis, limit)
        axis.scatter(*points[:1000].T, s=4, alpha=0.4, linewidths=0, color=BLUE)
        contours(axis, mixture.noised(level, path), limit, colors=ORANGE, linewidths=1)
        axis.set_title(f"t = {level}" if len(clouds) > 1 else "")
    plotting.show(figure, description)


def show_narrowing(clouds, centre, deviation, description):
    """Clouds that belong at one place, {title: (N, 2)}, each with the circle that two deviations of the data make."""
    figure, axes = plt.subplots(2, 2, figsize=(5.2, 5.4), layout="constrained", sharex=True, sharey=True)
    for axis, (title, points) in zip(axes.flat, clouds.items(), strict=True):
        axis.scatter(*points[:1500].T, s=4, alpha=0.35, linewidths=0, color=BLUE)
        axis.add_patch(plt.Circle(centre, 2 * deviation, fill=False, color=ORANGE, linestyle="--", linewidth=2))
        axis.set(aspect="equal", xlim=(centre[0] - 0.8, centre[0] + 0.8), ylim=(centre[1] - 0.8, centre[1] + 0.8))
        axis.set(xticks=[0.5, 1, 1.5], yticks=[-1, -0.5, 0])
        axis.set_title(f"{title}: variance {points[:, 1].var():.3f}", fontsize=10)
    plotting.show(figure, description)
