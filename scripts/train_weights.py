"""Train the course's diffusion model on Fashion-MNIST with course_utils alone, draw 64 samples, and measure it.

    python scripts/train_weights.py --minutes 50 --threads 1

It writes the averaged weights, a checkpoint to go on from, a grid of samples, and a card with all figures to
runs/weights. Interrupt it when you like: the same command goes on where it stopped.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch

from course_utils.data import CLASSES, fashion_mnist
from course_utils.device import best_device
from course_utils.plotting import save_grid
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, load_unet, progress_line, steps_in, train
from course_utils.unet import UNet


def main():
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    device = best_device()
    images, labels = (tensor.to(device) for tensor in fashion_mnist())
    schedule = cosine_schedule()
    not_told = torch.rand(len(labels), device=device) < 0.1  # so that the network also learns to do without
    labels = labels.masked_fill(not_told, len(CLASSES))
    model = UNet(base_channels=arguments.channels, num_classes=len(CLASSES))
    model = model.to(device, memory_format=torch.channels_last)
    options = dict(batch_size=arguments.batch_size, labels=labels)

    plan = arguments.out / "plan.json"
    if not plan.exists():  # the number of steps is part of the recipe, so a run that goes on must keep it
        arguments.out.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps({"steps": steps_in(arguments.minutes, model, images, schedule, **options)}))
    steps = json.loads(plan.read_text())["steps"]

    checkpoint, start = arguments.out / "checkpoint.safetensors", time.perf_counter()
    history = train(
        model,
        images,
        schedule,
        steps=steps,
        lr=arguments.lr,
        ema=EMA(model),
        checkpoint=checkpoint,
        callback=progress_line(steps),
        **options,
    )
    minutes, recent = (time.perf_counter() - start) / 60, history[-500:]
    print(f"{len(history)} of {steps} steps, {minutes:.1f} minutes, mean loss of the last {len(recent)}:", end=" ")
    print(f"{sum(recent) / len(recent):.4f}")

    print("drawing 64 samples")
    every_class_in_turn = torch.arange(64, device=device) % len(CLASSES)
    denoise = denoiser(load_unet(checkpoint).to(device), schedule, labels=every_class_in_turn)
    shape, generator = (64, 1, 28, 28), torch.Generator().manual_seed(0)
    step = partial(ddim_step, eta=1.0)
    save_grid(
        arguments.out / "samples.png", sample(denoise, shape, schedule, step, 100, generator=generator, device=device)
    )
    print(f"wrote {arguments.out / 'samples.png'}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="of training (default: 20)")
    parser.add_argument("--out", type=Path, default=Path("runs/weights"), help="folder (default: runs/weights)")
    parser.add_argument("--channels", type=int, default=48, help="base_channels of the UNet (default: 48)")
    parser.add_argument("--batch-size", type=int, default=32, help="images a step (default: 32)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="the highest learning rate (default: 0.0015)")
    parser.add_argument("--threads", type=int, help="of the CPU (default: torch's own choice)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of training (default: 0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
