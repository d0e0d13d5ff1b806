"""How fast training is: images a second, and which share of the machine's measured peak that is.

The peak is what the fastest of several products of two large matrices reaches in float32. A step's arithmetic is
counted by torch (forward and backward, convolutions and products). All networks take turns, so that a machine that is
slow for a while is slow for all; the median over the rounds counts.
"""

import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from course_utils.data import fashion_mnist, scale
from course_utils.device import best_device
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, bfloat16_loss, diffusion_loss, training_step
from course_utils.unet import UNet
from recipe import Diffusers, annotated

ROUNDS, STEPS, SIDE = 5, 3, 2048


def channels_last():
    return UNet().to(memory_format=torch.channels_last)


NETWORKS = {  # name: how to build it, batch, loss
    "course": (channels_last, 32, diffusion_loss),
    "course, batch 128": (channels_last, 128, diffusion_loss),
    "course, channels first": (UNet, 32, diffusion_loss),
    "course, bfloat16": (channels_last, 32, bfloat16_loss),
    "diffusers UNet2DModel": (Diffusers, 32, diffusion_loss),
    "diffusers UNet2DModel, batch 128": (Diffusers, 128, diffusion_loss),
    "denoising-diffusion-pytorch Unet": (annotated, 32, diffusion_loss),
    "denoising-diffusion-pytorch Unet, batch 128": (annotated, 128, diffusion_loss),
}


class Training:
    """A network in training, as `train` does it: batch, loss, gradient, Adam, average."""

    def __init__(self, build, batch_size, loss):
        self.batch_size, self.loss, self.device = batch_size, loss, best_device()
        self.images, self.schedule = fashion_mnist()[0][:2048].to(self.device), cosine_schedule()
        self.model = build().to(self.device).train()
        self.optimizer, self.ema = torch.optim.Adam(self.model.parameters(), lr=1e-4, fused=True), EMA(self.model)

    def step(self):
        chosen = torch.randint(len(self.images), (self.batch_size,), device=self.device)
        value = training_step(self.model, scale(self.images[chosen]), self.schedule, self.optimizer, loss=self.loss)
        self.ema.update(self.model)
        value.item()  # waits for an accelerator

    def gflop(self):
        """Of the network alone, for one image's forward and backward pass, in units of 10^9 operations."""
        x, t = torch.randn(1, 1, 28, 28, device=self.device), torch.ones(1, dtype=torch.long, device=self.device)
        with FlopCounterMode(display=False) as counter:
            self.model(x, t).sum().backward()
        return counter.get_total_flops() / 1e9


def peak_gflops():
    """The fastest product of two large float32 matrices, in 10^9 operations a second."""
    device = best_device()
    a, b = torch.randn(2, SIDE, SIDE, device=device)
    return max(2 * SIDE**3 / 1e9 / seconds(lambda: (a @ b)[0, 0].item(), 3) for _ in range(ROUNDS))


def seconds(work, times):
    """How long it takes once, when done several times in a row; `work` waits for the accelerator by itself."""
    work()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


def measure(folder):
    torch.manual_seed(0)
    runs = {name: Training(*made) for name, made in NETWORKS.items()}
    times = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(seconds(run.step, STEPS))
    peak, rows = peak_gflops(), {}
    for name, run in runs.items():
        images = run.batch_size / statistics.median(times[name])
        rows[name] = dict(batch_size=run.batch_size, images_per_second=images, gflop_per_image=run.gflop())
        rows[name]["share_of_peak"] = images * rows[name]["gflop_per_image"] / peak
    return {"peak_gflops": peak, "networks": rows}


def by_part(folder):
    """Where the time of a step of the course's network goes: the median of each part, in ms."""
    torch.manual_seed(0)
    run, times = Training(*NETWORKS["course"]), {}

    def done(part):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        times.setdefault(part, []).append(1000 * (now - done.last))
        done.last = now

    for _ in range(10 * ROUNDS):
        done.last = time.perf_counter()
        x_0 = scale(run.images[torch.randint(len(run.images), (run.batch_size,), device=run.device)])
        t = torch.randint(1, run.schedule.T + 1, (run.batch_size,), device=run.device)
        noise = torch.randn_like(x_0)
        done("drawing the batch, t and the noise")
        value = diffusion_loss(run.model, x_0, t, noise, run.schedule)
        done("the network and the loss, forward")
        run.optimizer.zero_grad()
        value.backward()
        done("backward")
        run.optimizer.step()
        done("Adam")
        run.ema.update(run.model)
        done("the average")
    return {"ms": {part: statistics.median(found) for part, found in times.items()}}


ROWS = {"all networks in turn": measure, "the parts of a step": by_part}
