"""The drawings of notebook 10: curves and the steps along them, three guesses, errors by calls, and levels."""

import json
from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch

from course_utils.checkpoints import load_unet
from course_utils.classroom import plotting
from course_utils.classroom.figures import words
from course_utils.classroom.plotting import COLOURS
from course_utils.data import DATA
from course_utils.sampling import denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.solvers import dpm_solver_2m

BLUE, ORANGE, GREEN, PINK = COLOURS[:4]
GREY = "#888888"
SOLVERS = {"DDIM": (BLUE, "o"), "Heun": (ORANGE, "s"), "2M": (GREEN, "^")}
CALLS = (3, 5, 10, 20, 100)


def same_garment(description, kinds=(9, 8, 4), seed=0):
    """Three garments, each from one noise, with 3 to 100 calls of the network."""
    path, shape = cosine_schedule(), (len(kinds), 1, 28, 28)
    denoise = denoiser(load_unet(DATA / "weights" / "unet.safetensors"), path, torch.tensor(kinds))
    x_T = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    made = [sample(denoise, shape, path, dpm_solver_2m(), calls, x_T=x_T) for calls in CALLS]
    rows = {name: torch.cat([x[i : i + 1] for x in made]) for i, name in enumerate(("boot", "bag", "coat"))}
    plotting.show_rows(rows, description, titles=[f"{calls} calls" for calls in CALLS], size=1.0)


# Curves, and what a step does


def curves_and_steps(exact, steps, description):
    """The curves, (levels, values (n, N)), in grey, and in colour walks along them in a few straight steps."""
    figure, axis = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
    levels, values = exact
    axis.plot(levels, values, color="#BBBBBB", linewidth=2.5)
    few, walked = steps
    for i, one in enumerate(walked.unbind(dim=1)):
        axis.plot(few, one, "o-", color=ORANGE, linewidth=1.2, markersize=4)
        axis.plot([few[-1]] * 2, [one[-1], values[-1, i]], color=PINK, linewidth=3, solid_capstyle="butt")
    axis.text(0.02, 0.04, "grey: the exact curves", color="#666666", transform=axis.transAxes, fontsize=9)
    axis.text(0.42, 0.04, "orange: Euler's steps", color=ORANGE, transform=axis.transAxes, fontsize=9)
    axis.text(0.78, 0.04, "pink: the miss", color=PINK, transform=axis.transAxes, fontsize=9)
    axis.set(xlabel="level", ylabel="value of $x_t$", xlim=(max(levels) + 10, min(levels) - 20), ylim=(-2.5, 2.3))
    plotting.show(figure, description)


def out_of_date(clock, guess, places, description):
    """The denoiser's guess along one curve over half the log-SNR, and what three solvers take it to be in each step.

    `places` are the indices where the steps begin and end.
    """
    figure, axes = plt.subplots(3, 1, figsize=(5.5, 6.0), sharex=True, sharey=True, layout="constrained")
    ends, said = clock[places], guess[places]
    mean_of_both = (said[1:] + said[:-1]) / 2
    slope = (said[1:-1] - said[:-2]) / (ends[1:-1] - ends[:-2])
    middle = torch.cat([said[:1], said[1:-1] + slope * (ends[2:] - ends[1:-1]) / 2])
    titles = "DDIM: what it said at the start", "Heun: the mean of both ends", "2M: extrapolated to the middle"
    for axis, title, held in zip(axes, titles, (said[:-1], mean_of_both, middle), strict=True):
        axis.plot(clock, guess, color="#AAAAAA", linewidth=2.5)
        axis.hlines(held, ends[:-1], ends[1:], color=ORANGE, linewidth=2.5)
        axis.plot(ends, said, "o", color=GREY, markersize=4)
        axis.set_title(title, fontsize=10)
        axis.set_ylabel(r"$\hat x_0$")
        axis.grid()
    axes[2].set_xlabel(r"half the log-SNR: noise on the left, picture on the right")
    plotting.show(figure, description)


# Errors


def errors_by_calls(found, description):
    """{solver: (calls, errors)} on logarithmic axes, each labelled at its end."""
    figure, axis = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
    for name, (calls, errors) in found.items():
        colour, marker = SOLVERS[name]
        axis.loglog(calls, errors, marker=marker, color=colour, markersize=5, linewidth=1.5)
    plotting.plain_ticks(axis)
    axis.set(xlabel="calls of the denoiser", ylabel="error: largest change of share")
    axis.set_xticks(ticks := (5, 10, 20, 50, 100, 200, 500, 1000), [f"{tick:,}" for tick in ticks])
    axis.grid()
    ends = [(name, calls[-1], errors[-1], SOLVERS[name][0]) for name, (calls, errors) in found.items()]
    plotting.label_ends(axis, ends)
    plotting.show(figure, description)


def spacings(levels, path, description):
    """{name: levels} as dots, by level above and by half the log-SNR below."""
    figure, axes = plt.subplots(2, 1, figsize=(5.5, 3.6), layout="constrained")
    clocks = (lambda t: float(t), "level"), (lambda t: path.log_snr[t].item() / 2, "half the log-SNR")
    for axis, (clock, label) in zip(axes, clocks, strict=True):
        for i, chosen in enumerate(levels.values()):
            axis.plot([clock(t) for t in chosen], [-i] * len(chosen), "o-", color=COLOURS[i], markersize=5, linewidth=1)
        axis.set_yticks([-i for i in range(len(levels))], list(levels))
        axis.set(xlabel=label, ylim=(0.5 - len(levels), 0.5))
        axis.grid(axis="x")
    axes[0].invert_xaxis()
    plotting.show(figure, description)


def where_the_guess_moves(shares, description):
    """{name: (10,)}: how much of all the guess's movement falls into each tenth of the levels, from T down."""
    figure, axes = plt.subplots(len(shares), 1, figsize=(5.5, 3.6), sharex=True, sharey=True, layout="constrained")
    for axis, (name, share), colour in zip(axes, shares.items(), (GREY, BLUE), strict=True):
        axis.bar(torch.arange(len(share)), 100 * share, color=colour, width=0.9)
        axis.set_title(name, fontsize=10)
        axis.set_ylabel("% of the way")
    axes[-1].set_xticks(torch.arange(11) - 0.5, [f"{1000 - 100 * i}" for i in range(11)])
    axes[-1].set_xlabel("level")
    plotting.show(figure, description)


# What was measured


def measured(folder=DATA.parent / "benchmarks"):
    """The rows of solvers.json, if it is there, and those of steps_and_eta.json that belong beside them."""
    files = [folder / "solvers.json", folder / "steps_and_eta.json"]
    rows, plain = (json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else [] for file in files)
    solvers = {"eta = 0": "DDIM", "eta = 1 (DDPM)": "DDPM"}
    return rows + [
        row | dict(solver=solvers[row["sampler"]], levels="even", calls=row["steps"])
        for row in plain
        if row["sampler"] in solvers
    ]


def name(row):
    """What a curve is called: the solver, and its levels unless they are even."""
    return {"even": row["solver"], "straight": "Euler, straight path", 0: "real"}.get(
        row["levels"], f"{row['solver']}, {row['levels']}"
    )


def summary(rows, what):
    """{curve: {calls: (mean, standard error)}} of `what`, for the groups that have all three seeds."""
    groups = {}
    for row in sorted(rows, key=lambda row: row["calls"]):
        groups.setdefault(name(row), {}).setdefault(row["calls"], []).append(row[what])
    whole = {
        curve: {calls: (mean(of), stdev(of) / len(of) ** 0.5) for calls, of in at.items() if len(of) >= 3}
        for curve, at in groups.items()
    }
    return {curve: at for curve, at in whole.items() if at}


def quality_by_calls(rows, key):
    """FCD and recall by calls, with standard errors, of every curve that has two complete groups."""
    panels, said = {}, []
    for title, what in {"FCD (lower is better)": "fcd", "recall (higher is better)": "recall"}.items():
        found = summary(rows, what)
        real = found.pop("real", {}).get(0)
        curves = {curve: at for curve, at in found.items() if len(at) >= 2}
        if not curves:
            print("Not measured yet: `python benchmarks/solvers.py` needs about 50 minutes on one core.")
            return
        panels[title] = {curve: (list(at), *zip(*at.values(), strict=True)) for curve, at in curves.items()}
        ticks = sorted({calls for at in curves.values() for calls in at})
        if real is not None:
            panels[title]["real"] = [ticks[0], ticks[-1]], [real[0]] * 2
        for curve, at in curves.items():
            (fewest, (first, _)), *_, (most, (last, _)) = at.items()
            said.append(f"{curve} goes from {first:.2f} to {last:.2f} in {what} ({fewest} to {most} calls)")
    text = words(key, fewest=ticks[0], most=ticks[-1], said="; ".join(said))
    plotting.show_curves(
        panels, text, "calls", height=2.9, columns=1, xscale="log", xticks=ticks, xlim=(ticks[0] / 1.1, ticks[-1] * 1.1)
    )


def at_the_target(rows, calls=10, target=50):
    """Print the FCD of DDIM with many calls, and below it, best first, of every curve with few."""
    found = summary(rows, "fcd")
    many = {curve: at[target] for curve, at in found.items() if target in at and curve.startswith("DDIM")}
    few = {curve: at[calls] for curve, at in found.items() if calls in at}
    if not many:
        print("Not measured yet.")
    for number, curves in {target: many, calls: few}.items():
        for curve, (fcd, error) in sorted(curves.items(), key=lambda pair: pair[1]):
            print(f"{number} calls  {curve}: FCD {fcd:.3f} ± {error:.3f}")
