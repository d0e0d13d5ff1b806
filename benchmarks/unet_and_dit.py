"""UNet and DiT after equal time, and after equal arithmetic: what notebook 13 says about when one prefers which.

    python benchmarks/unet_and_dit.py

The three networks do about as much arithmetic for a picture: the course's UNet, a DiT with patches of 4 x 4 pixels, and
a narrower one with patches of 2 x 2. Each row is one of them, trained as in notebook 04, with labels (on emoji, they
are the artists), for one budget and with one seed:

- time: five minutes on this machine;
- arithmetic: what the UNet's 4,000 steps of 32 pictures take, as torch counts it (products of matrices and
  convolutions, forwards and backwards).

"loss" is the error of the predicted noise on pictures that the network never saw, 2,000 times, at levels from 1 to
1000. On clothes, 2,000 pictures are also made with 20 steps of DDIM and scored as benchmarks/rows.py says, beside their
floor. First comes a search: each network gets the learning rate, one of three, with the lowest loss for the first seed.
Trained networks are kept in runs/unet_and_dit. "seconds" are those of training. On one core, all of it takes about six
hours.
"""

import copy
import time
from functools import partial
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from course_utils import data
from course_utils.checkpoints import save_checkpoint
from course_utils.device import best_device
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, diffusion_loss, progress_line, steps_in, train, with_condition
from course_utils.transformer import DiT
from course_utils.unet import UNet
from rows import LABELS, SEEDS, SHAPE, floor_of, keep, real_pictures, ruler, score

NETWORKS = {
    "UNet": UNet,
    "DiT, patches of 4": partial(DiT, width=112),
    "DiT, patches of 2": partial(DiT, width=48, depth=5, patch=2),
}
DATA = {  # seen in training, and never seen: each (images, labels)
    "clothes": (data.fashion_mnist, lambda: data.fashion_mnist(train=False)),
    "emoji": (lambda: data.emoji("train")[::2], lambda: data.emoji("pairs")[::2]),
}
PATH = cosine_schedule()
MINUTES, UNET_STEPS, BATCH = 5, 4000, 32
RATES = (2e-3, 1e-3, 5e-4)
UNSEEN = 2000
FOLDER = Path("runs/unet_and_dit")


def arithmetic(model, shape):
    """The floating-point operations of training on one picture of this shape, (C, H, W)."""
    model = copy.deepcopy(model).to("meta")
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape, device="meta"), torch.ones(1, device="meta")).sum().backward()
    return counter.get_total_flops()


def steps_for_time(model, images, **options):
    return steps_in(MINUTES, model, images, PATH, **options)


def steps_for_arithmetic(model, images, **options):
    shape = images.shape[1:]
    in_all = UNET_STEPS * arithmetic(UNet(in_channels=shape[0]), shape)
    return round(in_all / arithmetic(model, shape))


BUDGETS = {"time": steps_for_time, "arithmetic": steps_for_arithmetic}


def loss_on_unseen(model, images, labels):
    """The mean squared error of the predicted noise, with each picture at several levels, always the same."""
    chosen, t = torch.arange(UNSEEN) % len(images), 1 + torch.arange(UNSEEN) * PATH.T // UNSEEN
    x_0 = data.scale(images[chosen])
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    parts = zip(*(its.to(best_device()).split(100) for its in (labels[chosen], x_0, t, noise)), strict=True)
    with torch.no_grad():
        losses = [diffusion_loss(with_condition(model, told), *part, PATH) for told, *part in parts]
    return torch.stack(losses).mean().item()


def measure(network, dataset, budget, lr, seed):
    """Train a network, keep it, and score it."""
    if network == "real":
        return score(real_pictures(seed), *ruler())
    (images, labels), unseen = (load() for load in DATA[dataset])
    device, file = best_device(), FOLDER / f"{network}, {dataset}, {budget}, {lr}, {seed}.safetensors"
    torch.manual_seed(seed)
    model = NETWORKS[network](in_channels=images.shape[1], condition=labels.max().item() + 1)
    model = model.to(device, memory_format=torch.channels_last)
    options = dict(condition=labels.to(device), drop=0.1, lr=lr, batch_size=BATCH)
    steps = BUDGETS[budget](model, images.to(device), **options)
    ema, start = EMA(model), time.perf_counter()
    history = train(model, images.to(device), PATH, steps=steps, ema=ema, callback=progress_line(steps), **options)
    row = dict(seconds=round(time.perf_counter() - start, 1), steps=steps)
    row |= dict(teraflop=steps * BATCH * arithmetic(model, images.shape[1:]) / 1e12)
    row |= dict(weights=sum(weight.numel() for weight in model.parameters()))
    save_checkpoint(file, ema.model, history=history)
    row |= dict(loss=loss_on_unseen(ema.model, *unseen))
    if dataset == "clothes":
        denoise, generator = denoiser(ema.model, PATH, LABELS), torch.Generator().manual_seed(seed)
        made = sample(denoise, SHAPE, PATH, ddim_step, 20, generator=generator, device=device)
        row |= score(made.cpu(), *ruler())
    return row


def best_rates(rows):
    """For each network the learning rate with the lowest loss, among the rows of the search."""
    searched = sorted((row for row in rows if SEARCHED.items() <= row.items()), key=lambda row: -row["loss"])
    return {row["network"]: row["lr"] for row in searched}  # the last one of each network stays


SEARCHED = dict(dataset="clothes", budget="time", seed=SEEDS[0])
SEARCH = [dict(network=network, lr=lr) | SEARCHED for lr in RATES for network in NETWORKS]


def main():
    rates = best_rates(keep(__file__, SEARCH, measure))
    rows = [
        dict(network=network, dataset=dataset, budget=budget, lr=rates[network], seed=seed)
        for dataset in DATA
        for seed in SEEDS
        for budget in BUDGETS
        for network in NETWORKS
    ]
    keep(__file__, [*floor_of(rows), *rows], measure)


if __name__ == "__main__":
    main()
