"""Drawings and plumbing of notebook 04: watching a training, its film, the lab's mistakes, the two chains."""

import copy
import json
from functools import cache

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from IPython.display import clear_output
from PIL import Image

from course_utils.classroom import plotting
from course_utils.data import CLASSES, DATA, fashion_mnist
from course_utils.evaluation import features, frechet_distance, test_features
from course_utils.forward import add_noise
from course_utils.training import diffusion_loss, progress_line

MOMENTS = (0.03, 0.1, 0.25, 0.5, 0.75, 1.0)  # shares of the run at which it is measured
FRAMES = 30
SHORT = (*CLASSES[:9], "Boot")


def film_steps(steps):
    """When to take a picture for the film: often at first, and more and more rarely."""
    return sorted({max(1, round(steps * (i / FRAMES) ** 2)) for i in range(1, FRAMES + 1)})


# The lab's mistakes: each takes the place of `diffusion_loss`


def uniform_noise(model, x_0, t, noise, path):
    return diffusion_loss(model, x_0, t, torch.rand_like(noise), path)


def one_level(model, x_0, t, noise, path):
    return diffusion_loss(model, x_0, t[:1].repeat(len(t)), noise, path)


def one_noise(model, x_0, t, noise, path):
    return diffusion_loss(model, x_0, t, noise[:1].repeat(len(t), 1, 1, 1), path)


def lower_half(model, x_0, t, noise, path):
    return diffusion_loss(model, x_0, (t + 1) // 2, noise, path)  # from 1 .. 500


def upper_half(model, x_0, t, noise, path):
    return diffusion_loss(model, x_0, (t + 1001) // 2, noise, path)  # from 501 .. 1000


def zero_to_one(model, x_0, t, noise, path):
    return diffusion_loss(model, (x_0 + 1) / 2, t, noise, path)


def anothers_time(model, x_0, t, noise, path):
    return diffusion_loss(lambda x_t, t: model(x_t, t.flip(0)), x_0, t, noise, path)


def against_x_0(model, x_0, t, noise, path):
    return F.mse_loss(model(add_noise(x_0, t, noise, path), t), x_0)


MISTAKES = {
    "noise from rand": uniform_noise,
    "one level for the whole batch": one_level,
    "one noise for the whole batch": one_noise,
    "only levels 1 .. 500": lower_half,
    "only levels 501 .. 1000": upper_half,
    "pictures in 0 .. 1": zero_to_one,
    "told another picture's time": anothers_time,
    "asked for x_0, sampled as noise": against_x_0,
}


# A run of ours, for those who don't train, and to set beside


@cache
def recorded():
    """What benchmarks/claims_04.py found."""
    return json.loads((DATA.parent / "benchmarks" / "claims_04.json").read_text())


def pictures(first, number):
    """Rows of ten samples that it kept: (number, 10, 1, 28, 28) within -1 .. 1."""
    with Image.open(DATA.parent / "benchmarks" / "claims_04.png") as sheet:
        pixels = torch.tensor(list(sheet.tobytes())).reshape(-1, 28, 10, 28)
    return (pixels[first : first + number].transpose(1, 2) / 127.5 - 1)[:, :, None]


def show_goal(key):
    """The last row of the recorded run, in two rows of five."""
    run = recorded()["run"]
    made = pictures(run["row"], len(film_steps(run["steps"])) + 1)[-1]
    plotting.show_images(made, key, titles=CLASSES, columns=5)


def recorded_run():
    """The recorded run, as (history, what a `Watch` would have kept of it)."""
    run = recorded()["run"]
    watch = Watch(run["steps"], None, None, None, None)
    watch.fcd, watch.half = fcd_of(run), recorded()["half a run"]["fcd"]
    watch.frames = list(pictures(run["row"], len(film_steps(run["steps"])) + 1))
    watch.frame_steps = [0, *film_steps(run["steps"])]
    return run["loss"], watch


def fcd_of(run):
    return {int(step): value for step, value in run["fcd"].items()}


# Watching


class Watch:
    """Called after every step: progress, pictures for the film, and at six moments a row of samples and an FCD.

    draw(network, labels, seed) gives samples and measure(samples) their FCD. Kept are `fcd` {step: value}, `made` (the
    samples that were measured last), `early` (the averaged network at a quarter of the way), `half` (half-way, the FCD
    with the average of the weights and with the latest).
    """

    def __init__(self, steps, model, ema, draw, measure, number=300):
        self.steps, self.model, self.ema, self.draw, self.measure = steps, model, ema, draw, measure
        self.moments = {max(1, round(steps * share)): f"{share:.0%}" for share in MOMENTS}
        self.film, self.labels = set(film_steps(steps)) if steps else set(), torch.arange(number) % 10
        self.fcd, self.frames, self.frame_steps = {}, [], []
        self.made = self.early = self.half = self.add = None
        self.line = progress_line(steps)

    def __call__(self, step, loss):
        if self.add is None:
            self.add = plotting.growing_rows("04.rows", titles=SHORT, size=0.62)
            self.keep(0)
        self.line(step, loss)
        if step in self.film:
            self.keep(step)
        if step in self.moments:
            share = self.moments[step]
            self.made = self.draw(self.ema.model, self.labels, seed=1)
            if not self.fcd:
                clear_output(wait=True)  # or the line of progress would stay above the rows, and go on below them
            self.fcd[step] = self.measure(self.made)
            self.add(f"{share}\nFCD {self.fcd[step]:.1f}", self.made[:10])
            if share == "25%":
                self.early = copy.deepcopy(self.ema.model)
            if share == "50%":
                self.half = self.fcd[step], self.measure(self.draw(self.model, self.labels, seed=1))

    def keep(self, step):
        self.frames.append(self.draw(self.ema.model, torch.arange(10)))
        self.frame_steps.append(step)


def show_film(watch, key):
    """Ten samples over the run, with a bar below that says how far it has come."""
    frames = []
    for step, made in zip(watch.frame_steps, watch.frames, strict=True):
        sheet = plotting.tile(made, 5)
        bar = torch.full((5, sheet.shape[1], 1), 0.8)
        bar[:2] = 1
        bar[2:, : max(1, round(sheet.shape[1] * step / watch.steps))] = 0.2
        frames.append(torch.cat([sheet, bar]))
    plotting.show_film(frames, key, seconds=6, hold=2, zoom=3)


# Curves


def windows(history, steps, moments):
    """The mean loss of the tenth of the run that ends at each moment, and its standard error."""
    loss = torch.tensor([float(value) for value in history])
    parts = [loss[max(0, moment - max(2, steps // 10)) : moment] for moment in moments]
    return torch.stack([part.mean() for part in parts]), torch.stack([part.std() / len(part) ** 0.5 for part in parts])


def after_the_first_quarter(history, fcd, steps):
    """(shares of the run, loss, its standard error, FCD), from a quarter on, each divided by its value there."""
    moments = [step for step in sorted(fcd) if step >= round(steps / 4)]
    loss, error = windows(history, steps, moments)
    distance = torch.tensor([fcd[step] for step in moments])
    return [step / steps for step in moments], loss / loss[0], error / loss[0], distance / distance[0]


def show_progress(history, watch, floor, key):
    """Above the loss, and below what becomes of loss and FCD after the first quarter of the run."""
    figure, (above, axis) = plt.subplots(2, 1, figsize=(5.2, 5.6), height_ratios=(2, 3), layout="constrained")
    width = max(1, min(50, len(history) // 10))
    smooth = torch.tensor([float(value) for value in history]).unfold(0, width, width).mean(dim=1)
    above.plot([width * (i + 1) for i in range(len(smooth))], smooth, color=plotting.COLOURS[0])
    above.set(title=f"loss, mean of {width} steps", xlabel="step", ylim=(0, None))
    run = recorded()["run"]
    share, _, _, distance = after_the_first_quarter(run["loss"], fcd_of(run), run["steps"])
    axis.plot([100 * x for x in share], distance, color="#999999", linewidth=1.2, zorder=1)
    axis.annotate("a recorded run", (100 * share[1], distance[1]), (28, 0.3), fontsize=9, color="#777777",
                  arrowprops=dict(arrowstyle="-", color="#BBBBBB"))  # fmt: skip
    share, loss, error, distance = after_the_first_quarter(history, watch.fcd, watch.steps)
    x, ends = [100 * value for value in share], []
    axis.errorbar(x, loss, error, color=plotting.COLOURS[0], marker="o", markersize=5, capsize=3)
    axis.plot(x, distance, color=plotting.COLOURS[1], marker="s", markersize=5, linestyle="--")
    first = watch.fcd[min(step for step in watch.fcd if step >= round(watch.steps / 4))]
    axis.axhline(floor / first, color=plotting.COLOURS[2], linestyle=":")
    axis.set(title="after a quarter of the run, as a share of the value there", xlabel="per cent of the run")
    axis.set(xlim=(22, 102), ylim=(0, 1.15), xticks=(25, 50, 75, 100))
    for name, y, colour in (("loss", loss[-1], 0), ("FCD", distance[-1], 1), ("floor\nof FCD", floor / first, 2)):
        ends.append((name, x[-1], float(y), plotting.COLOURS[colour]))
    plotting.label_ends(axis, ends, least=0.12)
    for each in (above, axis):
        each.grid()
    plotting.show(figure, key)


def show_shares(levels, curves, key):
    """How much of a loss comes from the levels up to t, {name: shares}."""
    figure, axis = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    for i, (name, shares) in enumerate(curves.items()):
        axis.plot(levels, 100 * shares, plotting.LINES[i], color=plotting.COLOURS[i])
        near = int((shares - 0.5).abs().argmin())
        axis.annotate(name, (levels[near], 100 * shares[near]), xytext=(8, -12), textcoords="offset points",
                      color=plotting.COLOURS[i])  # fmt: skip
    axis.set(xscale="log", ylim=(0, 105), xlabel="t", title="per cent of the loss that comes from levels 2 to t")
    plotting.plain_ticks(axis)
    axis.grid()
    plotting.show(figure, key)


# The two chains


def show_chains(forward, back, key):
    """The forward chain above and the reverse chain below: four pictures each, x_0, x_{t-1}, x_t and x_T."""
    figure = plt.figure(figsize=(5.5, 4.6))
    axis = figure.add_axes((0, 0, 1, 1))
    centres, half, names = (0.6, 2.25, 3.95, 5.6), 0.42, ("x_0", "x_{t-1}", "x_t", "x_T")
    rows, middle, (blue, orange, green) = (3.55, 0.65), 3.1, plotting.COLOURS[:3]
    for y, made in zip(rows, (forward, back), strict=True):
        for x, picture, name in zip(centres, made, names, strict=True):
            extent = (x - half, x + half, y - half, y + half)
            axis.imshow(plotting.pixels(picture), cmap="gray", vmin=0, vmax=1, extent=extent)
            axis.text(x, y - half - 0.06, f"${name}$", ha="center", va="top", fontsize=11)
        for left in (0, 2):
            axis.text(sum(centres[left : left + 2]) / 2, y, r"$\cdots$", ha="center", va="center", fontsize=16)
    for start, end, y, bend, colour, style, text, formula in (
        (1, 2, rows[0] + half + 0.03, -0.3, blue, "-", "add noise", r"$q(x_t\,|\,x_{t-1})$"),
        (2, 1, rows[0] - half - 0.32, -0.3, green, "--", "knowing $x_0$", r"$q(x_{t-1}\,|\,x_t, x_0)$"),
        (2, 1, rows[1] + half + 0.03, 0.3, orange, "-", "the model", r"$p_\theta(x_{t-1}\,|\,x_t)$"),
    ):
        arrow = dict(arrowstyle="-|>", color=colour, linewidth=1.8, linestyle=style, mutation_scale=14)
        arrow["connectionstyle"] = f"arc3,rad={bend}"
        axis.annotate("", (centres[end], y), (centres[start], y), arrowprops=arrow)
        beyond = y - 0.48 if colour == green else y + 0.42
        axis.text(middle, beyond, formula, ha="center", va="center", color=colour, fontsize=11)
        axis.text(0.18, beyond, text, ha="left", va="center", color=colour, fontsize=10)
    axis.set(xlim=(0, 6.2), ylim=(-0.2, 4.75), aspect="auto")
    axis.axis("off")
    plotting.show(figure, key)


# The lab


def compare_lab(losses, made):
    """Loss and FCD of the recorded right run and of one with a mistake, in two lines."""
    right, real = recorded()["right"], balanced(fashion_mnist(), 10)
    distances = [frechet_distance(test_features(), features(images)) for images in (made, real)]
    for name, values, distance in (("right", right["loss"], right["fcd"]), ("wrong", losses, distances[0])):
        loss = sum(values[-100:]) / 100
        print(f"{name}: loss at the end {loss:.3f}, FCD {distance:.1f} (floor {distances[1]:.1f} at N = 100)")


def balanced(dataset, number):
    """So many images of each kind."""
    images, labels = dataset
    return torch.cat([images[labels == kind][:number] for kind in range(10)])


def show_all_mistakes():
    """Ten samples of each recorded run of the lab, from the same noise."""
    rows = {name: pictures(recorded()[name]["row"], 1)[0] for name in ("right", *MISTAKES)}
    plotting.show_rows(rows, "04.mistakes", titles=SHORT, size=0.62)


def show_lab(name, losses, made, key):
    """The right run, as recorded, beside one with a mistake: the losses, and a row of samples each."""
    right = recorded()["right"]
    figure = plt.figure(figsize=(5.5, 4.4), layout="constrained")
    grid = figure.add_gridspec(3, 10, height_ratios=(4.2, 1, 1))
    axis, ends = figure.add_subplot(grid[0, :]), []
    for i, (label, values) in enumerate({"right": right["loss"], "wrong": losses}.items()):
        smooth = torch.tensor([float(value) for value in values]).unfold(0, 20, 20).mean(dim=1)
        steps = [20 * (k + 1) for k in range(len(smooth))]
        axis.plot(steps, smooth, plotting.LINES[i], color=plotting.COLOURS[i])
        ends.append((label, steps[-1], float(smooth[-1]), plotting.COLOURS[i]))
    axis.set(yscale="log", xlabel="step", title="loss, mean of 20 steps")
    axis.grid()
    plotting.plain_ticks(axis)
    plotting.label_ends(axis, ends)
    for row, (label, images) in enumerate({"right": pictures(right["row"], 1)[0], "wrong": made[:10]}.items()):
        for column, picture in enumerate(images):
            small = figure.add_subplot(grid[row + 1, column])
            small.imshow(plotting.pixels(picture), cmap="gray", vmin=0, vmax=1)
            small.set(xticks=[], yticks=[])
            small.spines[:].set_visible(False)
            if column == 0:
                small.set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center")
    plotting.show(figure, key)
