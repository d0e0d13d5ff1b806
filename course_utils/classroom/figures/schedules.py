"""Drawings of notebook 02: schedules side by side, where their steps go, and what a bad one does to samples."""

import matplotlib.pyplot as plt
import torch

from course_utils.classroom import plotting
from course_utils.forward import add_noise

BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
COLOURS = {"linear": BLUE, "cosine": ORANGE, "straight": GREEN}
GREY = "#888888"


def film(picture, paths, description, frames=41):
    """One picture dissolving under several paths of 1000 steps at the same t: a film that stops at half-time."""
    noise, levels = torch.randn(picture.shape), torch.linspace(0, 1000, frames).round().long().tolist()
    shown = [drawn_at(t, picture, noise, paths) for t in levels]
    plotting.show_film([*shown, shown[len(shown) // 2]], description, seconds=6, hold=3, zoom=1)


def drawn_at(t, picture, noise, paths):
    figure, axes = plt.subplots(1, len(paths), figsize=(4.2, 2.3), dpi=100, layout="constrained")
    figure.suptitle(f"t = {t}", fontsize=11)
    for axis, (name, path) in zip(axes, paths.items(), strict=True):
        axis.imshow(plotting.pixels(add_noise(picture, t, noise, path)[0]), cmap="gray", vmin=0, vmax=1)
        axis.set_title(name, loc="center", fontsize=10)
        axis.axis("off")
    return plotting.drawn(figure)


def steps_back(path, x_t, t, earlier, description):
    """Where a pixel that began as black or white may have been at earlier levels, if it has the value x_t at t."""
    figure, axes = plt.subplots(
        len(earlier), 1, figsize=(5.2, 1.9 * len(earlier)), sharex=True, squeeze=False, layout="constrained"
    )
    x = torch.linspace(-1.5, 1.5, 1201, dtype=torch.float64)
    for axis, s in zip(axes.flat, earlier, strict=True):
        density = where_it_was(x, x_t, t, s, path)
        mean = (x * density).sum() / density.sum()
        axis.fill_between(x, density / density.max(), color=BLUE, alpha=0.35, linewidth=0)
        axis.plot(x, density / density.max(), color=BLUE)
        axis.axvline(mean, color=ORANGE, linestyle="--")
        axis.text(mean + 0.04, 1.03, "the mean", color=ORANGE, fontsize=9)
        axis.set(ylim=(0, 1.18), yticks=[], title=f"from t = {t} back to {s}")
        axis.spines["left"].set_visible(False)
    axes[-1, 0].set(xticks=[-1, 0, 1], xticklabels=["-1 (black)", "0 (grey)", "1 (white)"], xlabel="the pixel's value")
    plotting.show(figure, description)


def where_it_was(x, x_t, t, s, path):
    """p(x_s | x_t) up to a factor, where x_0 is -1 or 1 with equal chances: p(x_s) times the step's p(x_t | x_s)."""
    signal, noise, r = path.signal_rate[s], path.noise_rate[s], path.signal_rate[t] / path.signal_rate[s]
    added = path.noise_rate[t] ** 2 - (r * noise) ** 2
    before = sum((-((x - signal * value) ** 2) / (2 * noise**2)).exp() for value in (-1, 1))
    return before * (-((x_t - r * x) ** 2) / (2 * added)).exp()


def ends(at_T, pure, description):
    """Histograms of the brightness at T, {in words: (N,)}, one above the other, each over that of pure noise."""
    figure, axes = plt.subplots(
        len(at_T), 1, figsize=(5.2, 1.25 * len(at_T)), sharex=True, sharey=True, layout="constrained"
    )
    bins = torch.linspace(-0.9, 0.3, 121).tolist()
    for axis, (name, values) in zip(axes, at_T.items(), strict=True):
        axis.hist(pure, bins, density=True, color="#BBBBBB")
        axis.hist(values, bins, density=True, histtype="step", color=BLUE, linewidth=1.6)
        axis.set(yticks=[])
        axis.text(-0.88, 0.72, name, color=BLUE, fontsize=10, transform=axis.get_xaxis_transform())
        axis.spines["left"].set_visible(False)
    axes[0].text(0.085, 0.72, "pure noise", color=GREY, fontsize=10, transform=axes[0].get_xaxis_transform())
    axes[-1].set_xlabel("mean brightness")
    plotting.show(figure, description)


def rates(paths, description):
    """The signal rate over t, and how long each path has less than a tenth of the picture left."""
    figure, axis = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    axis.axhspan(0, 0.1, color="#EEEEEE")
    axis.text(15, 0.03, "less than a tenth left", color=GREY, fontsize=9)
    for (name, path), place in zip(paths.items(), (330, 600), strict=True):
        colour = COLOURS[name]
        axis.plot(path.signal_rate, color=colour)
        axis.text(place + 25, path.signal_rate[place], name, color=colour)
        first = (path.signal_rate < 0.1).nonzero()[0].item()
        axis.plot(first, 0.1, "o", color=colour)
        axis.annotate(f"t = {first}", (first, 0.1), (first + 8, 0.15), color=colour, fontsize=9)
    axis.set(xlabel="t", ylabel="signal rate", ylim=(0, 1.03), xlim=(0, 1000))
    plotting.show(figure, description)


def snr(paths, description):
    """The signal-to-noise ratio over t on a logarithmic scale, with the place where each path passes 1."""
    figure, axis = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    axis.axhline(1, color=GREY, linewidth=1, linestyle="--")
    axis.text(990, 1.3, "as much noise\nas picture", color=GREY, fontsize=9, ha="right", va="bottom")
    for (name, path), place in zip(paths.items(), (640, 780), strict=True):
        colour = COLOURS[name]
        axis.plot(range(1, path.T + 1), path.snr[1:], color=colour)
        axis.annotate(
            name, (place, path.snr[place]), (-6, -6), textcoords="offset points", color=colour, ha="right", va="top"
        )
        first = (path.snr < 1).nonzero()[0].item()
        axis.plot(first, 1, "o", color=colour)
        below = dict(xytext=(-6, -15), ha="right") if name == "linear" else dict(xytext=(4, 8))
        axis.annotate(f"t = {first}", (first, 1), textcoords="offset points", color=colour, fontsize=9, **below)
    axis.set(xlabel="t", ylabel="SNR", yscale="log", ylim=(3e-5, 4e4), xlim=(0, 1000))
    plotting.plain_ticks(axis)
    axis.set_yticks([1e4, 100, 1, 0.01, 0.0001])
    axis.minorticks_off()
    plotting.show(figure, description)


def walks(paths, description):
    """Where every 25th step of each path lands in the plane of the two rates."""
    figure, axes = plt.subplots(
        1, len(paths), figsize=(2.7 * len(paths) + 0.2, 2.9), sharey=True, squeeze=False, layout="constrained"
    )
    angle = torch.linspace(0, torch.pi / 2, 100)
    for axis, (name, path) in zip(axes.flat, paths.items(), strict=True):
        colour = COLOURS[name]
        axis.plot(angle.cos(), angle.sin(), color="#DDDDDD", linewidth=1, zorder=0)
        axis.plot(path.signal_rate[::25], path.noise_rate[::25], ".", color=colour, markersize=6)
        for t in (250, 500, 750):
            x, y = path.signal_rate[t].item(), path.noise_rate[t].item()
            axis.plot(x, y, "o", color=colour, markersize=8)
            further = 1 + 0.12 / (x**2 + y**2) ** 0.5
            axis.text(further * x, further * y, t, fontsize=9, color=colour, ha="center", va="center")
        axis.text(1.05, 0.02, "picture", fontsize=9, color=GREY)
        axis.text(0, 1.2, "noise", fontsize=9, color=GREY)
        axis.set(title=name, xlabel="signal rate", xlim=(-0.02, 1.36), ylim=(-0.02, 1.3), aspect="equal")
        axis.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes[0, 0].set_ylabel("noise rate")
    plotting.show(figure, description)


def clouds(panels, description):
    """Points in two clouds, {title: (N, 2)}, in panels one above the other, with the share of points in each."""
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(3.6, 1.85 * len(panels)), sharex=True, sharey=True, layout="constrained"
    )
    for axis, (name, points) in zip(axes, panels.items(), strict=True):
        right = points[:, 0] > 0.5
        for part, x, colour in ((~right, -1, BLUE), (right, 2, ORANGE)):
            axis.scatter(*points[part].T, s=3, alpha=0.3, linewidths=0, color=colour)
            axis.text(x, 1.25, f"{part.double().mean():.0%}", color=colour, ha="center", fontsize=10)
        axis.axhline(0, color="#CCCCCC", linewidth=0.8, zorder=0)
        axis.axvline(0, color="#CCCCCC", linewidth=0.8, zorder=0)
        axis.set(xlim=(-2.2, 3.2), ylim=(-1.15, 1.55), yticks=[-1, 0, 1], aspect="equal")
        axis.set_title(name, fontsize=10)
    plotting.show(figure, description)
