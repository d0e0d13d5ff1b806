"""Train the course's diffusion model on Fashion-MNIST with course_utils alone, draw 64 samples, and measure it.

    python scripts/train_weights.py --steps 20000 --threads 1

It writes the averaged weights, a checkpoint to continue from, a grid of samples, and a card with all figures to
runs/weights. Interrupt it when you like: the same command picks up where it stopped. With --start it goes on from
finished weights instead of random ones, and the learning rate rises and falls once more.
"""

import argparse
import json
import platform
import time
from functools import partial
from pathlib import Path

import torch

from course_utils.checkpoints import load_checkpoint, load_unet, save_checkpoint
from course_utils.classroom.plotting import save_grid
from course_utils.data import CLASSES, fashion_mnist
from course_utils.device import best_device
from course_utils.evaluation import quality
from course_utils.sampling import asked_at_most, ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.solvers import dpm_solver_2m
from course_utils.training import EMA, diffusion_loss, progress_line, steps_in, train
from course_utils.unet import UNet

SAMPLERS = {  # the step, how many of them, and the highest level that the network is asked about
    "DDIM, 50 steps": (ddim_step, 50, 1000),
    "DDIM, 50 steps, asked at most about 980": (ddim_step, 50, 980),
    "DPM-Solver++(2M), 20 steps, asked at most about 980": (dpm_solver_2m(), 20, 980),
    "DDPM (eta = 1), 50 steps": (partial(ddim_step, eta=1.0), 50, 1000),
}


def main():
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    device = best_device()
    images, labels = (tensor.to(device) for tensor in fashion_mnist())
    schedule = cosine_schedule()
    model = UNet(base_channels=arguments.channels, condition=len(CLASSES))
    earlier = load_checkpoint(arguments.start, model) if arguments.start else []
    model = model.to(device, memory_format=torch.channels_last)
    options = dict(batch_size=arguments.batch_size, condition=labels, drop=0.1)

    plan = arguments.out / "plan.json"
    if not plan.exists():  # the number of steps is part of the recipe, so a run that continues must keep it
        arguments.out.mkdir(parents=True, exist_ok=True)
        steps = arguments.steps or steps_in(arguments.minutes, model, images, schedule, **options)
        plan.write_text(json.dumps({"steps": steps, "minutes": 0}))
    planned = json.loads(plan.read_text())

    checkpoint, start, ema = arguments.out / "checkpoint.safetensors", time.perf_counter(), EMA(model, arguments.decay)
    options |= dict(lr=arguments.lr, ema=ema, checkpoint=checkpoint, callback=progress_line(planned["steps"]))
    if arguments.top:
        weight = 1 + (1 / schedule.snr).clamp(max=arguments.top).float().to(device)
        options |= dict(loss=partial(diffusion_loss, weight=weight), clip=1.0)
    history = train(model, images, schedule, steps=planned["steps"], **options)
    planned["minutes"] += (time.perf_counter() - start) / 60
    plan.write_text(json.dumps(planned))
    save_checkpoint(arguments.out / "unet.safetensors", ema.model, history=earlier + history)

    card = describe(arguments, ema.model, planned, history) + drawn_and_measured(arguments.out, arguments.samples)
    (arguments.out / "card.md").write_text(card)
    print(card)


def drawn_and_measured(folder, number):
    """Draw with the weights in the folder: a grid into samples.png, and a table of quality, which is returned."""
    network = load_unet(folder / "unet.safetensors").to(best_device(), memory_format=torch.channels_last)
    save_grid(folder / "samples.png", draw(network, 64, partial(ddim_step, eta=1.0), 100, 1000))
    table = f"""
Figures of {number:,} samples, labels 0 .. 9 in turn, against the 10,000 test images:

| sampler | FCD | its floor | precision | recall |
| --- | --- | --- | --- | --- |
"""
    for name, how in SAMPLERS.items():
        found = quality(draw(network, number, *how))
        table += f"| {name} | {found.fcd:.2f} | {found.floor:.2f} | {found.precision:.2f} | {found.recall:.2f} |\n"
    return table


def draw(network, number, step, num_steps, highest):
    """Samples, every class in turn, 100 at a time."""
    schedule, generator, parts = cosine_schedule(), torch.Generator().manual_seed(0), []
    for labels in (torch.arange(number) % len(CLASSES)).split(100):
        denoise = asked_at_most(denoiser(network, schedule, condition=labels), highest)
        shape, options = (len(labels), 1, 28, 28), dict(generator=generator, device=best_device())
        parts.append(sample(denoise, shape, schedule, step, num_steps, **options).cpu())
    return torch.cat(parts)


def describe(arguments, network, planned, history):
    """The card, as Markdown, without the table of figures."""
    recent = history[-500:]
    steps = f"{len(history):,} of {planned['steps']:,} steps of {arguments.batch_size} images"
    settings = f"Adam, learning rate at most {arguments.lr:g}, EMA {arguments.decay:g}, float32, seed {arguments.seed}"
    settings += f", weights 1 + 1 / SNR, the latter at most {arguments.top:g}" if arguments.top else ""
    start = f" after those of {arguments.start.name}" if arguments.start else ""
    return f"""| | |
| --- | --- |
| data | Fashion-MNIST, the 60,000 training images, -1 .. 1; labels, each withheld in one step of ten, at random |
| network | `UNet`, {json.dumps(network.config)}, {sum(w.numel() for w in network.parameters()):,} weights |
| schedule, loss | `cosine_schedule()`, T = 1000; `diffusion_loss` |
| training | `train`: {steps}{start}, {settings} |
| time | {planned["minutes"]:.0f} minutes, {arguments.threads or "all"} thread(s), {platform.processor() or "CPU"} |
| loss | {sum(recent) / len(recent):.4f}, the mean of the last {len(recent)} steps |
"""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="minutes of training (default: 20)")
    parser.add_argument("--steps", type=int, help="training steps, instead of minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/weights"), help="folder (default: runs/weights)")
    parser.add_argument("--start", type=Path, help="weights to go on from (default: random ones)")
    parser.add_argument("--channels", type=int, default=48, help="base_channels of the UNet (default: 48)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step (default: 32)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="the highest learning rate (default: 0.0015)")
    parser.add_argument("--top", type=float, help="weigh the loss by 1 + 1 / SNR, the latter at most this")
    parser.add_argument("--decay", type=float, default=0.999, help="of the average of weights (default: 0.999)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--samples", type=int, default=5000, help="samples to measure quality with (default: 5000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of training (default: 0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
