"""Time to quality: the course's recipe, its prototypes, and two well-known references, after 150 s of training each.

    pip install -e '.[bench]'
    python benchmarks/recipe.py

trains every row from random weights for the same time on this machine, one after the other, draws 500 samples with 50
DDIM steps, and measures them. It writes benchmarks/recipe.json, recipe.md (the table), and recipe_0.png, recipe_1.png
and so on (16 samples of each row). Rows that the JSON file has already are not run again, so that an interrupted run
goes on. Delete the file to start afresh.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch
from torch import nn

from course_utils.data import CLASSES, fashion_mnist, scale
from course_utils.evaluation import class_probabilities, quality
from course_utils.plotting import save_grid
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import at, cosine_schedule, linear_schedule
from course_utils.training import EMA, steps_in, train, training_step
from course_utils.unet import UNet
from machine import machine

HERE = Path(__file__).parent
IMAGES, STEPS, CHUNK = 500, 50, 100


class Diffusers(nn.Module):
    """The network of Hugging Face's diffusion class, unit 1: diffusers' UNet2DModel."""

    def __init__(self):
        from diffusers import UNet2DModel

        super().__init__()
        self.network = UNet2DModel(
            sample_size=28,
            in_channels=1,
            out_channels=1,
            layers_per_block=2,
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )

    def forward(self, x, t):
        return self.network(x, t).sample


def annotated():
    """The network of the annotated diffusion model: denoising-diffusion-pytorch's Unet."""
    from denoising_diffusion_pytorch import Unet

    return Unet(dim=28, dim_mults=(1, 2, 4), channels=1)


class Plain(nn.Module):
    """The course's UNet without the shortcut from x to the predicted noise, as the prototypes were."""

    def __init__(self):
        super().__init__()
        self.network = UNet()
        nn.init.zeros_(self.network.shortcut.weight).requires_grad_(False)
        nn.init.zeros_(self.network.shortcut.bias).requires_grad_(False)

    def forward(self, x, t):
        return self.network(x, t)


class PredictsV(Plain):
    """The same, predicting v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0 (arXiv 2202.00512), read as noise."""

    def forward(self, x, t):
        alpha_bar = cosine_schedule().alpha_bar
        return at((1 - alpha_bar).sqrt(), t, x) * x + at(alpha_bar.sqrt(), t, x) * super().forward(x, t)


def v_loss(model, x_0, t, noise, schedule):
    """The squared error of v, which is that of the noise divided by alpha_bar."""
    x_t = at(schedule.alpha_bar.sqrt(), t, x_0) * x_0 + at((1 - schedule.alpha_bar).sqrt(), t, x_0) * noise
    return ((model(x_t, t) - noise).square() / at(schedule.alpha_bar, t, x_0)).mean()


def by_course(model, images, schedule, seconds, **options):
    """The course's own training; returns the averaged model and the number of steps."""
    given = {name: value for name, value in options.items() if name in ("batch_size", "labels", "loss")}
    steps, ema = steps_in(seconds / 60, model, images, schedule, **given), EMA(model)
    train(model, images, schedule, steps=steps, ema=ema, **options)
    return ema.model, steps


def plainly(model, images, schedule, seconds, batch_size, lr):
    """Adam at a constant rate on plain batches, no averaging, until the time is over."""
    optimizer, steps, start = torch.optim.Adam(model.parameters(), lr=lr), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        x_0 = scale(images[torch.randint(len(images), (batch_size,))])
        training_step(model, x_0, schedule, optimizer)
        steps += 1
    return model.eval(), steps


PLAIN = partial(plainly, batch_size=128, lr=1e-3)
ROWS = {  # name: network, schedule, how it is trained
    "course": (UNet, cosine_schedule, by_course),
    "course, told the labels": (partial(UNet, num_classes=len(CLASSES)), cosine_schedule, by_course),
    "prototype, predicting noise": (Plain, cosine_schedule, partial(by_course, lr=2e-3)),
    "prototype, predicting v": (PredictsV, cosine_schedule, partial(by_course, lr=2e-3, loss=v_loss)),
    "diffusers UNet2DModel, own configuration": (Diffusers, linear_schedule, PLAIN),
    "diffusers UNet2DModel, our recipe": (Diffusers, cosine_schedule, partial(by_course, lr=1e-3)),
    "denoising-diffusion-pytorch Unet, own configuration": (annotated, linear_schedule, PLAIN),
    "denoising-diffusion-pytorch Unet, our recipe": (annotated, cosine_schedule, partial(by_course, lr=1e-3)),
}


def run(name, seconds):
    """Train and measure one row: its figures, and 16 of its samples."""
    build, make_schedule, fit = ROWS[name]
    torch.manual_seed(0)
    images, labels = fashion_mnist()
    model, schedule = build(), make_schedule()
    if fit is by_course:
        model = model.to(memory_format=torch.channels_last)
    told = getattr(model, "label", None) is not None
    start = time.perf_counter()
    model, steps = fit(model, images, schedule, seconds, **(dict(labels=labels) if told else {}))
    trained = time.perf_counter() - start
    start = time.perf_counter()
    samples = draw(model, schedule, told)
    drawn = time.perf_counter() - start
    row = dict(name=name, parameters=sum(weight.numel() for weight in model.parameters()), steps=steps)
    row |= dict(
        seconds=trained, sampling_ms=1000 * drawn / IMAGES, sure=share_sure(samples), **quality(samples)._asdict()
    )
    return row, samples[:16]


def draw(model, schedule, told):
    generator, parts = torch.Generator().manual_seed(0), []
    for labels in (torch.arange(IMAGES) % len(CLASSES)).split(CHUNK):
        denoise = denoiser(model, schedule, labels if told else None)
        parts.append(sample(denoise, (len(labels), 1, 28, 28), schedule, ddim_step, STEPS, generator=generator))
    return torch.cat(parts)


def share_sure(images):
    """The share of the images of which the classifier is at least 0.8 sure."""
    return (class_probabilities(images).max(dim=1).values >= 0.8).double().mean().item()


def table(rows, seconds):
    of_real = share_sure(fashion_mnist(train=False)[0])
    lines = [
        f"# {seconds:.0f} seconds of training from random weights",
        "",
        f"Made by `python benchmarks/recipe.py` on: {machine()}. One run each, seed 0, float32.",
        "",
        f"FCD of {IMAGES} samples, {STEPS} DDIM steps; its floor, what as many real training images score, is "
        f"{rows[0]['floor']:.2f}. Lower is better, and FCD - floor is what is left to gain. *Sure*: the share of "
        f"samples of which the classifier is at least 0.8 sure ({of_real:.2f} of the test images). *Time*: training.",
        "",
        "| | parameters | steps | time | FCD | FCD - floor | precision | recall | sure | sampling, ms an image |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['parameters'] / 1e6:.2f} M | {row['steps']:,} | {row['seconds']:.0f} s | "
            f"{row['fcd']:.2f} | {row['fcd'] - row['floor']:.2f} | {row['precision']:.2f} | {row['recall']:.2f} | "
            f"{row['sure']:.2f} | {row['sampling_ms']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150, help="of training for each row (default: 150)")
    seconds, path = parser.parse_args().seconds, HERE / "recipe.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for name in ROWS:
        if name in [row["name"] for row in rows]:
            continue
        row, samples = run(name, seconds)
        save_grid(HERE / f"recipe_{len(rows)}.png", samples, columns=16)
        rows.append(row)
        print(row, flush=True)
        path.write_text(json.dumps({"machine": machine(), "seconds": seconds, "rows": rows}, indent=1) + "\n")
        (HERE / "recipe.md").write_text(table(rows, seconds))


if __name__ == "__main__":
    main()
