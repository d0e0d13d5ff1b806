"""The drawings of notebook 06: a step in the plane, paths that cross and paths that don't, regions, and films."""

from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch

from course_utils.checkpoints import load_unet
from course_utils.classroom import plotting
from course_utils.classroom.plotting import COLOURS
from course_utils.data import DATA, fashion_mnist, scale
from course_utils.mixture import exact_denoiser
from course_utils.sampling import ddim_encode, ddim_step, denoiser, sample, sample_steps
from course_utils.schedule import cosine_schedule

BLUE, ORANGE, GREEN, PINK = COLOURS[:4]
GREY = "#888888"


# The film at the top, which the closing task makes again


def morphing(description, garments=(38, 28, 30, 20), frames=8, stride=49):
    """Garments of the test set that turn into one another, round and round, as a film."""
    path, up = cosine_schedule(), list(range(stride, 981, stride))
    network = load_unet(DATA / "weights" / "unet.safetensors")
    images, labels = (part[list(garments)] for part in fashion_mnist(train=False))
    codes = ddim_encode(denoiser(network, path, labels, clip=False), scale(images), path, up)
    film = []
    for i in range(len(garments)):
        j = (i + 1) % len(garments)
        shares = torch.arange(frames) / frames
        places = torch.stack([along_the_sphere(codes[i], codes[j], share) for share in shares])
        kinds = [denoiser(network, path, labels[[k] * frames], clip=False) for k in (i, j)]
        decode = blended(*kinds, shares.reshape(-1, 1, 1, 1))
        film.extend(sample(decode, places.shape, path, ddim_step, levels=[*reversed(up), 0], x_T=places))
    plotting.show_film([plotting.tile(frame[None], 1) for frame in [*film, film[0]]], description, 6, 0.2, zoom=7)


def along_the_sphere(a, b, share):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return (((1 - share) * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def blended(first, second, share):
    """A denoiser that mixes the answers of two others: the finished version of the closing task."""
    return lambda x_t, t: (1 - share) * first(x_t, t) + share * second(x_t, t)


# A step in the plane


def step_in_the_plane(path, t, s, description):
    """What is kept of x_t, and what comes in, in a step from t to s: picture across, noise upwards."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(5.5, 3.1), layout="constrained")
    for axis in (left, right):
        axis.set(xlim=(-0.12, 1.22), ylim=(-0.14, 1.22), aspect="equal")
        axis.axis("off")
    quarter_circle(left, 1.0)
    for level, name, colour in ((t, "t", BLUE), (s, "s", ORANGE)):
        x, y = path.signal_rate[level].item(), path.noise_rate[level].item()
        arrow(left, (0, 0), (x, y), colour)
        left.plot([x, x, 0], [0, y, y], ":", color=colour, linewidth=1)
        left.text(1.07 * x, 1.07 * y, f"$x_{name}$", color=colour, fontsize=12, ha="center", va="center")
        left.text(x, -0.08, rf"$\mathrm{{signal}}_{name}$", color=colour, fontsize=9, ha="center", va="center")
    angle_arc(left, path, t, 0.2, r"$\varphi_t$", BLUE)
    angle_arc(left, path, s, 0.34, r"$\varphi_s$", ORANGE)
    left.text(1.08, 0.03, "$x_0$", fontsize=12, ha="left", va="bottom")
    left.text(0.0, 1.08, r"$\epsilon$", fontsize=12, ha="center")
    left.set_title(r"$\eta = 0$: turn by $\varphi_t - \varphi_s$", fontsize=10)

    quarter_circle(right, 1.0)
    old, fresh = 0.8, 0.6
    arrow(right, (0, 0), (0, old), BLUE)
    arrow(right, (0, old), (fresh, old), PINK)
    arrow(right, (0, 0), (fresh, old), ORANGE)
    right.text(-0.05, old / 2, "$c$", color=BLUE, fontsize=12, ha="right", va="center")
    right.text(fresh / 2, old + 0.05, r"$\sigma$", color=PINK, fontsize=12, ha="center")
    right.text(0.38, 0.36, r"$\mathrm{noise}_s$", color=ORANGE, fontsize=10, ha="left")
    right.text(0, 1.08, r"old noise $\epsilon$", fontsize=9, ha="left")
    right.text(1.0, -0.09, "fresh noise $z$", fontsize=9, ha="right")
    right.set_title(r"$\eta > 0$: trade old for fresh", fontsize=10)
    plotting.show(figure, description)


def quarter_circle(axis, radius):
    angle = torch.linspace(0, torch.pi / 2, 100)
    axis.plot(radius * angle.cos(), radius * angle.sin(), color=GREY, linewidth=1)
    for end in ((1.12, 0), (0, 1.05)):
        axis.annotate("", end, (0, 0), arrowprops=dict(arrowstyle="-|>", color=GREY, linewidth=1, shrinkA=0))


def arrow(axis, start, end, colour):
    style = dict(arrowstyle="-|>", color=colour, linewidth=2, shrinkA=0, shrinkB=0, mutation_scale=14)
    axis.annotate("", end, start, arrowprops=style)


def angle_arc(axis, path, level, radius, name, colour):
    last = torch.atan2(path.noise_rate[level], path.signal_rate[level]).item()
    angle = torch.linspace(0, last, 50)
    axis.plot(radius * angle.cos(), radius * angle.sin(), color=colour, linewidth=1.5)
    middle = torch.tensor(last / 2 if radius > 0.3 else last * 0.75)
    place = (radius + 0.075) * torch.stack([middle.cos(), middle.sin()])
    axis.text(*place.tolist(), name, color=colour, fontsize=11, ha="center", va="center")


# Why an average may stand in for x_0


def true_and_average(mixture, path, description, number=18):
    """Values on their way down: each towards its own x_0 above, and below each towards the average x_0_hat."""
    generator = torch.Generator().manual_seed(3)
    start = torch.distributions.Normal(0, 1).icdf((torch.arange(number) + 0.5) / number)[:, None]
    kinds = torch.arange(number)[torch.randperm(number, generator=generator)] % 2  # as many of one as of the other
    own = mixture.means[kinds].float() + 0.1 * torch.randn(number, 1, generator=generator)
    levels = torch.arange(path.T, -1, -5)
    rates = path.signal_rate[levels].float(), path.noise_rate[levels].float()
    each = rates[0][:, None] * own[:, 0] + rates[1][:, None] * start[:, 0]
    walk = sample_steps(exact_denoiser(mixture, path), start.shape, path, ddim_step, 200, x_T=start)
    average = torch.stack([start[:, 0], *(x[:, 0] for _, x, _ in walk)])
    figure, axes = plt.subplots(2, 1, figsize=(5.5, 5.4), sharex=True, layout="constrained")
    titles = (r"each towards its own $x_0$: the paths cross", r"each towards the average $\hat x_0$: none cross")
    for axis, paths, title in zip(axes, (each, average), titles, strict=True):
        density_behind(axis, mixture, path)
        for values in paths.unbind(dim=1):
            axis.plot(levels, values, color=ORANGE if values[-1] > 0 else BLUE, linewidth=1.2)
        axis.set(xlim=(path.T, 0), ylim=(-2.4, 2.4), ylabel="value of $x_t$")
        axis.set_title(title, fontsize=10)
    axes[1].set_xlabel("level $t$")
    plotting.show(figure, description)


def density_behind(axis, mixture, path):
    values, levels = torch.linspace(-2.4, 2.4, 200)[:, None].double(), range(path.T, -1, -10)
    density = torch.stack([mixture.noised(t, path).log_prob(values).exp() for t in levels], dim=1)
    shade = density / density.max(dim=0).values
    extent = (path.T, 0, -2.4, 2.4)
    axis.imshow(shade, cmap="Greys", vmin=0, vmax=2.5, origin="lower", extent=extent, aspect="auto")


# Walks in the plane


def walks(panels, cloud, description):
    """A few paths in the plane, one panel for each of {title: (states, N, 2)}, over a faint cloud of the data."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5.5, 3.1), sharey=True, layout="constrained")
    for axis, (title, paths) in zip(axes, panels.items(), strict=True):
        axis.scatter(*cloud.T, s=2, color="#CCCCCC", linewidths=0)
        for path, colour in zip(paths.unbind(dim=1), COLOURS, strict=False):
            axis.plot(*path.T, color=colour, linewidth=1)
            axis.plot(*path[0], "o", markerfacecolor="white", color=colour, markersize=6)
            axis.plot(*path[-1], "o", color=colour, markersize=6)
        axis.axhline(0, color=GREY, linewidth=0.5, zorder=0)
        axis.axvline(0, color=GREY, linewidth=0.5, zorder=0)
        axis.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
        axis.set_title(title, fontsize=10)
    plotting.show(figure, description)


# Precision and recall


def regions(real, generated, k, description):
    """Left, the region of the real points and which generated ones lie in it; right, the other way round."""
    figure, axes = plt.subplots(1, 2, figsize=(5.5, 3.0), sharey=True, layout="constrained")
    sets = (("precision", real, generated, GREY, BLUE), ("recall", generated, real, BLUE, GREY))
    for axis, (name, owners, asked, owner_colour, colour) in zip(axes, sets, strict=True):
        radii = torch.cdist(owners, owners).kthvalue(k + 1, dim=1).values
        for centre, radius in zip(owners.tolist(), radii.tolist(), strict=True):
            axis.add_patch(plt.Circle(centre, radius, color=owner_colour, alpha=0.13, linewidth=0))
        axis.scatter(*owners.T, s=14, color=owner_colour)
        within = (torch.cdist(asked, owners) <= radii).any(dim=1)
        axis.scatter(*asked[within].T, s=34, marker="D", color=colour, edgecolors="black", linewidths=0.8)
        axis.scatter(*asked[~within].T, s=34, marker="x", color=ORANGE)
        axis.set_title(f"{name}: {within.sum()} of {len(asked)} inside", fontsize=10)
        axis.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=(), yticks=())
    axes[0].set_xlabel("grey: real, blue: made", fontsize=9)
    axes[1].set_xlabel("orange crosses lie outside", fontsize=9)
    plotting.show(figure, description)


def sliced_distance(a, b, directions=16):
    """How far two clouds of as many points are apart: seen from all sides, sorted, compared (root mean square)."""
    angle = torch.pi * torch.arange(directions) / directions
    sides = torch.stack([angle.cos(), angle.sin()])
    return ((a @ sides).sort(dim=0).values - (b @ sides).sort(dim=0).values).square().mean().sqrt().item()


# What was measured


def summary(rows, what):
    """{sampler: (steps, means, standard errors)} of `what`, for the numbers of steps with three seeds or more."""
    found = {}
    for sampler in dict.fromkeys(row["sampler"] for row in rows):
        points = {}
        for row in rows:
            if row["sampler"] == sampler:
                points.setdefault(row["steps"], []).append(row[what])
        whole = {steps: values for steps, values in sorted(points.items()) if len(values) >= 3}
        errors = [stdev(values) / len(values) ** 0.5 for values in whole.values()]
        found[sampler] = list(whole), [mean(values) for values in whole.values()], errors
    return found


def quality_by_steps(rows, description):
    """FCD above and recall below, over the number of steps, with standard errors and the floor."""
    panels = {}
    ticks = summary(rows, "fcd")["eta = 0"][0]
    for what, title in (("fcd", "FCD (lower is better)"), ("recall", "recall (higher is better)")):
        panels[title] = summary(rows, what)
        _, [level], [error] = panels[title].pop("real")
        panels[title]["real pictures"] = ticks, [level] * len(ticks), [error] * len(ticks)
        panels[title] = {name: curve for name, curve in panels[title].items() if curve[0]}
    plotting.show_curves(panels, description, "steps", height=2.6, columns=1, xscale="log", xticks=ticks)
