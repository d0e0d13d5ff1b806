"""The drawings of notebook 07: a line-up of four sets of pictures, heaps of sand, clouds and their distances."""

import matplotlib.pyplot as plt
import torch

from course_utils.checkpoints import load_unet
from course_utils.classroom import plotting
from course_utils.classroom.plotting import COLOURS
from course_utils.data import CLASSES, DATA, fashion_mnist, scale
from course_utils.device import best_device
from course_utils.evaluation import distances, frechet_distance, precision_recall, symmetric_root
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule

BLUE, ORANGE, GREEN, PINK = COLOURS[:4]
GREY = "#888888"


# The line-up


def of_each(labels, start, number):
    """The places of `number` pictures of each kind, after the first `start` of that kind."""
    return torch.cat([(labels == kind).nonzero()[start : start + number, 0] for kind in range(10)])


def contestants(each=30, num_steps=10):
    """Four sets of pictures, `each` of every kind, (N, 1, 28, 28) within -1 .. 1; notebook 07 finds out what they are.

    A: ten training pictures, each again and again. B: training pictures. C: the shipped network's. D: training
    pictures, mirrored.
    """
    images, labels = fashion_mnist()
    ten = torch.tensor([17, 1335, 1933, 2861, 833, 2227, 2256, 1179, 1015, 1564])  # one of each, near the kind's mean
    device, kinds = best_device(), torch.arange(10).repeat_interleave(each)
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device)
    denoise, generator = denoiser(network, cosine_schedule(), kinds), torch.Generator().manual_seed(0)
    shape = (len(kinds), 1, 28, 28)
    made = sample(denoise, shape, cosine_schedule(), ddim_step, num_steps, generator=generator, device=device)
    return {
        "A": scale(images[ten.repeat_interleave(each)]),
        "B": scale(images[of_each(labels, 400, each)]),
        "C": made.cpu(),
        "D": scale(images[of_each(labels, 700, each)]).flip(-1),
    }


def line_up(sets, description):
    """One picture of each kind from each set."""
    each = len(sets["A"]) // 10
    rows = {name: pictures[4::each] for name, pictures in sets.items()}
    plotting.show_rows(rows, description, [kind.split("/")[0].replace("Ankle b", "B") for kind in CLASSES], size=0.68)


# Heaps of sand


def bell(x, mean, deviation):
    return torch.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * (2 * torch.pi) ** 0.5)


def heaps(first, second, description):
    """Two heaps, (mean, standard deviation) each, and where the grains of the upper one go in the lower one."""
    figure, axis = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    x, gap = torch.linspace(-3.5, 5.5, 400), 0.35
    for heap, colour, base, sign in ((first, GREY, gap, 1), (second, BLUE, -gap, -1)):
        axis.fill_between(x, base, base + sign * bell(x, *heap), color=colour, alpha=0.35, linewidth=0)
        axis.plot([-3.5, 5.5], [base, base], color=colour, linewidth=0.8)
    for z in (-2, -1, 0, 1, 2):
        start, end = (mean + deviation * z for mean, deviation in (first, second))
        style = dict(arrowstyle="-|>", color=ORANGE, linewidth=1.5, shrinkA=0, shrinkB=0)
        axis.annotate("", (end, -gap), (start, gap), arrowprops=style)
    axis.text(-3.4, gap + 0.3, f"mean {first[0]:g}\ndeviation {first[1]:g}", color="#555555")
    axis.text(-3.4, -gap - 0.3, f"mean {second[0]:g}\ndeviation {second[1]:g}", color=BLUE, va="top")
    axis.set(xlabel="where a grain lies", yticks=[], xlim=(-3.5, 5.5), xticks=[-2, 0, 2, 4])
    axis.spines["left"].set_visible(False)
    plotting.show(figure, description)


# In two dimensions


def ellipse(axis, mean, covariance, colour, **style):
    """Two standard deviations around the mean."""
    angle = torch.linspace(0, 2 * torch.pi, 200, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    axis.plot(*(mean + 2 * circle @ symmetric_root(covariance)).T, color=colour, **style)


def leaning(real, generated, description):
    """Two clouds in one panel each, with the ellipses of their covariances."""
    figure, axes = plt.subplots(1, 2, figsize=(5.2, 2.8), sharey=True, layout="constrained")
    for axis, points, colour, name in zip(axes, (real, generated), (GREY, BLUE), ("real", "made"), strict=True):
        points = points.double()
        axis.scatter(*points[:600].T, s=5, color=colour, alpha=0.4, linewidths=0)
        ellipse(axis, points.mean(dim=0), points.T.cov(), ORANGE)
        axis.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
        across, upwards = points.std(dim=0).tolist()
        axis.set_title(f"{name}: deviations {across:.2f}, {upwards:.2f}", fontsize=10)
    plotting.show(figure, description)


def cost_of_turning(angles, costs, distance, description):
    """What a move costs that turns the points on the way, over the angle; and the formula's distance."""
    figure, axis = plt.subplots(figsize=(5.2, 2.6), layout="constrained")
    axis.plot(angles, costs)
    axis.axhline(distance, color=ORANGE, linestyle="--")
    axis.text(-175, distance - 0.35, "the formula", color=ORANGE, va="top")
    axis.text(62, 6.2, "cost of the move", color=BLUE, ha="right")
    axis.set(xlabel="how far each point is turned on the way, in degrees", ylabel="cost", ylim=(0, None))
    axis.set(xticks=[-180, -90, 0, 90, 180])
    plotting.show(figure, description)


def marks(real, generated, k=3):
    """In a line: distance, precision, recall."""
    precision, recall = precision_recall(real, generated, k)
    return f"distance {frechet_distance(real, generated):.2f}\nprecision {precision:.2f}, recall {recall:.2f}"


def scatter(axis, real, generated, k=3, limit=4.0):
    """Both sets; crossed out: made points that couldn't be real; hollow: real points that couldn't be made."""
    covered, could_be = (
        (distances(points, others) <= distances(others, others).kthvalue(k + 1, dim=1).values).any(dim=1)
        for points, others in ((real, generated), (generated, real))
    )
    axis.scatter(*real[covered].T, s=12, color=GREY, linewidths=0)
    axis.scatter(*real[~covered].T, s=12, facecolors="none", edgecolors=GREY, linewidths=0.8)
    axis.scatter(*generated[could_be].T, s=12, marker="D", color=BLUE, alpha=0.7, linewidths=0)
    axis.scatter(*generated[~could_be].T, s=20, marker="x", color=ORANGE, linewidths=1.2)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=(), yticks=())


def four_clouds(real, clouds, description):
    """{title: made points}, each over the real ones, with the three numbers below."""
    figure, axes = plt.subplots(2, 2, figsize=(5.2, 6.2), layout="constrained")
    for axis, (title, generated) in zip(axes.flat, clouds.items(), strict=True):
        scatter(axis, real, generated)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(marks(real, generated), fontsize=9)
    plotting.show(figure, description)


def same_moments(real, generated, description):
    """Two clouds that the distance can't tell apart."""
    figure, axes = plt.subplots(1, 2, figsize=(5.2, 2.9), sharey=True, layout="constrained")
    for axis, points, colour, name in zip(axes, (real, generated), (GREY, BLUE), ("real", "made"), strict=True):
        axis.scatter(*points.T, s=5, color=colour, alpha=0.5, linewidths=0)
        ellipse(axis, points.double().mean(dim=0), points.double().T.cov(), ORANGE)
        axis.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
        axis.set_title(name, fontsize=10)
    plotting.show(figure, description)


def with_nearest(pictures, places, gone_through, description, columns=10):
    """Pictures above, and below each the one of `gone_through` that is nearest to it."""
    rows = {"made": pictures[:columns], "nearest": scale(gone_through[places[:columns]])}
    plotting.show_rows(rows, description, [""] * columns, size=0.6)
