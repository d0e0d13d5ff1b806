"""RESULTS.md and its plots, from results.json: every figure in them is one that bench.py measured.

    python benchmarks/report.py

writes them again.
"""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt

import recipe
from sampler_cost import FEW, MANY, ROUNDS, SHAPE, STEPS

HERE = Path(__file__).parent
OURS, THEIRS = "#0072B2", "#D55E00"  # safe for colour-blind readers


def write():
    results = json.loads((HERE / "results.json").read_text())
    parts = results["parts"]
    plot_time_to_quality(parts["recipe"])
    plot_steps(parts["sampling_quality"])
    sections = [
        head(results),
        time_to_quality(parts["recipe"]),
        training(parts["training_speed"]),
        samplers(parts["sampler_cost"]),
        steps(parts["sampling_quality"]),
        memory(parts["memory"]),
        losses(parts),
    ]
    (HERE / "RESULTS.md").write_text("\n\n".join(sections) + "\n")


def head(results):
    return f"""# What was measured

Made by `benchmarks/bench.py`, row by row, each row in a process of its own, on one machine. One run each, seed 0,
float32 where nothing else is said. The machine: {results["machine"]}."""


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def gain(row):
    return row["fcd"] - row["floor"]


def time_to_quality(rows):
    cells = [
        (
            name,
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['steps']:,}",
            f"{row['seconds']:.0f} s",
            f"{row['fcd']:.2f}",
            f"{gain(row):.2f}",
            f"{row['precision']:.2f}",
            f"{row['recall']:.2f}",
            f"{row['sure']:.2f}",
            f"{row['sampling_ms']:.0f} ms",
        )
        for name, row in rows.items()
    ]
    columns = ["", "weights", "steps", "time", "FCD", "FCD - floor", "precision", "recall", "sure", "sampling"]
    grids = "\n\n".join(
        f"{name} (FCD {row['fcd']:.2f}):\n\n![16 samples of the row {name}, FCD {row['fcd']:.2f}]"
        f"(pictures/{recipe.picture(name)})"
        for name, row in rows.items()
    )
    return f"""## Time to quality

From random weights, for 150 seconds where nothing else is said, then {recipe.IMAGES} samples with {recipe.STEPS} DDIM
steps. FCD: the Frechet distance in the features of the course's classifier, lower is better. Its floor, what as many
real training images score, is {next(iter(rows.values()))["floor"]:.2f}. *Sure*: the share of samples of which the
classifier is at least 0.8 sure. *Time*: what the training took in the end. *Sampling*: for one image. The first three
rows are told the labels, as in notebook 04; the others are not.

{table(columns, cells)}

![FCD less floor against seconds of training: the course after 60, 150 and 300 seconds, the others after 150](\
pictures/time_to_quality.png)

Sixteen samples of each, not selected:

{grids}"""


def plot_time_to_quality(rows):
    figure, axes = plt.subplots(figsize=(7, 4))
    told = [row for name, row in rows.items() if name.startswith("course,")]
    axes.plot([row["seconds"] for row in told], [gain(row) for row in told], "o-", color=OURS, label="course, labels")
    marks = iter("sD^v<>P")
    for name, row in rows.items():
        if not name.startswith("course,"):
            ours = name.startswith(("course", "prototype"))
            axes.plot(row["seconds"], gain(row), next(marks), color=OURS if ours else THEIRS, label=name)
    axes.set(xlabel="seconds of training", ylabel="FCD - floor", yscale="log", xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    figure.savefig(HERE / "pictures" / "time_to_quality.png", dpi=120, bbox_inches="tight")
    plt.close(figure)


def training(part):
    found = part["all networks in turn"]
    cells = [
        (
            name,
            row["batch_size"],
            f"{row['images_per_second']:.0f}",
            f"{row['gflop_per_image']:.3f}",
            f"{100 * row['share_of_peak']:.0f} %",
        )
        for name, row in found["networks"].items()
    ]
    parts = part["the parts of a step"]["ms"]
    whole = sum(parts.values())
    by_part = [(name, f"{ms:.1f} ms", f"{100 * ms / whole:.1f} %") for name, ms in parts.items()]
    return f"""## Speed of training

A step is what `train` does: the batch, the loss, its gradient, Adam, the average. *Arithmetic*: forward and backward
pass of one image, counted by torch. The peak is that of products of large float32 matrices,
{found["peak_gflops"]:.0f} GFLOP/s here.

{table(["", "batch", "images/s", "arithmetic, GFLOP", "share of the peak"], cells)}

Where the {whole:.0f} ms of a step of the course's network go:

{table(["", "time", "share"], by_part)}"""


def samplers(part):
    cells = [
        (
            name,
            f"{row['network_ms']:.1f} ms",
            f"{row['beside_it_ms']:.2f} ms",
            f"{100 * (row['ratio'] - 1):.1f} %",
            *(f"{part[f'memory, {name}, {number} steps']['peak_mb']:.0f} MB" for number in (FEW, MANY)),
        )
        for name, row in loops(part).items()
    ]
    columns = ["", "network, a step", "beside it", "beside it", f"peak, {FEW} steps", f"peak, {MANY} steps"]
    return f"""## What the samplers cost beside the network

{SHAPE[0]} images, {STEPS} steps, the shipped network; each loop is compared with the network calls that it made itself.
The median of {ROUNDS} rounds, in which all loops take turns.

{table(columns, cells)}"""


def loops(part):
    return {name: row for name, row in part["time"].items() if name != "peak_mb"}


def steps(rows):
    cells = [
        (
            name,
            f"{row['ms_per_image']:.0f} ms",
            f"{row['fcd']:.2f}",
            f"{gain(row):.2f}",
            f"{row['precision']:.2f}",
            f"{row['recall']:.2f}",
        )
        for name, row in rows.items()
    ]
    first = next(iter(rows.values()))
    return f"""## Quality by the number of steps

The shipped network, {first["number"]} images with labels 0 to 9 in turn, one seed. The floor is {first["floor"]:.2f};
an FCD can come to lie below it, because labels are dealt in equal shares here and the floor's are random.

{table(["", "time, an image", "FCD", "FCD - floor", "precision", "recall"], cells)}

![FCD against the number of steps, for DDPM and DDIM, with the floor](pictures/steps.png)"""


def plot_steps(rows):
    figure, axes = plt.subplots(figsize=(7, 4))
    for sampler, colour, mark in (("DDPM", THEIRS, "s-"), ("DDIM", OURS, "o-")):
        names = {re.fullmatch(rf"{sampler}, (\d+) steps", name): name for name in rows}
        found = {int(match[1]): rows[name]["fcd"] for match, name in names.items() if match}
        axes.plot(list(found), list(found.values()), mark, color=colour, label=sampler)
    axes.axhline(next(iter(rows.values()))["floor"], color="grey", linestyle="--", label="floor")
    axes.set(xlabel="steps", ylabel="FCD", xscale="log", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(HERE / "pictures" / "steps.png", dpi=120, bbox_inches="tight")
    plt.close(figure)


def memory(rows):
    on_gpu = any("cuda_mb" in row for row in rows.values())
    cells = [
        (name, f"{row['peak_mb']:,.0f} MB", *([f"{row['cuda_mb']:,.0f} MB"] if on_gpu else []))
        for name, row in rows.items()
    ]
    columns = ["", "peak of the process", *(["peak on the GPU"] if on_gpu else [])]
    return f"""## Memory

The largest size of a process that does nothing else.

{table(columns, cells)}"""


def losses(parts):
    """Every comparison that the course does not win, worked out from the figures."""
    lost = [*lost_to_networks(parts["recipe"]), *lost_in_training(parts["training_speed"])]
    lost += [*lost_to_loops(parts["sampler_cost"]), *lost_to_more_steps(parts["sampling_quality"])]
    return "## Where the course loses\n\n" + "\n".join(
        f"- {line}" for line in lost or ["In none of these comparisons."]
    )


def lost_to_networks(rows):
    ours = rows["course without labels"]
    for name, row in rows.items():
        if name.startswith("course"):
            continue
        if gain(row) <= gain(ours):
            yield f"{name} reaches FCD - floor {gain(row):.2f}, the course without labels {gain(ours):.2f}."
        for figure in ("precision", "recall", "sure"):
            if row[figure] >= ours[figure]:
                yield f"{name} has a better {figure}: {row[figure]:.2f}; the course without labels {ours[figure]:.2f}."


def lost_in_training(part):
    networks = part["all networks in turn"]["networks"]
    ours = networks["course"]
    for name, row in networks.items():
        if row["images_per_second"] > ours["images_per_second"]:
            yield (
                f"{name} trains on {row['images_per_second']:.0f} images a second, the course's configuration on "
                f"{ours['images_per_second']:.0f}."
            )
        if row["share_of_peak"] > ours["share_of_peak"]:
            yield (
                f"{name} uses {100 * row['share_of_peak']:.0f} % of the machine's peak, the course's configuration "
                f"{100 * ours['share_of_peak']:.0f} %."
            )


def lost_to_loops(part):
    for kind in ("DDPM", "DDIM"):
        ours, theirs = loops(part)[f"course, {kind}"], loops(part)[f"diffusers, {kind}Scheduler"]
        if ours["ratio"] > theirs["ratio"]:
            yield (
                f"The course's {kind} loop takes {100 * (ours['ratio'] - 1):.1f} % beside the network, diffusers' "
                f"{100 * (theirs['ratio'] - 1):.1f} %."
            )


def lost_to_more_steps(rows):
    few, many = rows["DDIM, 50 steps"]["fcd"], rows["DDPM, 1000 steps"]["fcd"]
    if few > many:
        yield f"DDIM with 50 steps is not as good as DDPM with 1000: FCD {few:.2f} against {many:.2f}."


if __name__ == "__main__":
    write()
