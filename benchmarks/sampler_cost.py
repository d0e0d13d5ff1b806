"""What a sampler costs on top of its network calls, next to diffusers' schedulers driving the same network.

The network keeps the time of its own calls, so a loop is compared with exactly the calls that it made: a machine that
is busy for a while slows both. Every round runs all the loops in turn, in another order each time; the median over
the rounds counts. The peak of memory is that of a process with few steps, and of one with many.
"""

import random
import statistics
import time
from functools import partial

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import cosine_schedule

STEPS, ROUNDS, SHAPE = 50, 9, (16, 1, 28, 28)
FEW, MANY = 10, 250  # steps between which the peak of memory must not grow


class Timed(torch.nn.Module):
    """A network that adds up how long its calls take."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seconds = network, 0.0

    def forward(self, x, t, labels):
        start = time.perf_counter()
        noise_hat = self.network(x, t, labels)
        self.seconds += time.perf_counter() - start
        return noise_hat


def ours(step):
    def run(network, schedule, num_steps):
        sample(denoiser(network, schedule, torch.arange(SHAPE[0]) % 10), SHAPE, schedule, step, num_steps)

    return run


def of_diffusers(kind):
    def run(network, schedule, num_steps):
        import diffusers

        options = {"DDIM": dict(set_alpha_to_one=True), "DDPM": {}}[kind]
        scheduler = getattr(diffusers, f"{kind}Scheduler")(
            1000, trained_betas=schedule.beta[1:].numpy(), clip_sample=True, timestep_spacing="trailing", **options
        )
        scheduler.set_timesteps(num_steps)
        x, labels = torch.randn(SHAPE), torch.arange(SHAPE[0]) % 10
        with torch.no_grad():
            for t in scheduler.timesteps:
                noise_hat = network(x, (t + 1).expand(SHAPE[0]), labels)  # diffusers counts levels from 0
                x = scheduler.step(noise_hat, t, x).prev_sample

    return run


LOOPS = {
    "course, DDPM": ours(ddpm_step),
    "diffusers, DDPMScheduler": of_diffusers("DDPM"),
    "course, DDIM": ours(ddim_step),
    "diffusers, DDIMScheduler": of_diffusers("DDIM"),
}


def timed(run, network, schedule):
    """Seconds of a whole run, and of the network's calls in it."""
    network.seconds, start = 0.0, time.perf_counter()
    run(network, schedule, STEPS)
    return time.perf_counter() - start, network.seconds


def measure(folder):
    network, schedule = Timed(the_network()), cosine_schedule()
    found = {name: [] for name in LOOPS}
    for run in LOOPS.values():
        run(network, schedule, STEPS)  # the first time is slower
    for _ in range(ROUNDS):
        for name in random.sample(list(LOOPS), len(LOOPS)):
            found[name].append(timed(LOOPS[name], network, schedule))
    return {name: figures(times) for name, times in found.items()}


def figures(times):
    """Of the rounds [(seconds of the loop, seconds of its network calls)]: medians, in ms a step, and their ratio."""
    return dict(
        network_ms=1000 * statistics.median(calls for _, calls in times) / STEPS,
        beside_it_ms=1000 * statistics.median(whole - calls for whole, calls in times) / STEPS,
        ratio=statistics.median(whole / calls for whole, calls in times),
    )


def the_network():
    return load_unet(DATA / "weights" / "unet.safetensors")


def once(folder, name, num_steps):
    """One run, of which only the peak of memory counts."""
    LOOPS[name](the_network(), cosine_schedule(), num_steps)
    return {}


ROWS = {"time": measure} | {
    f"memory, {name}, {num_steps} steps": partial(once, name=name, num_steps=num_steps)
    for name in LOOPS
    for num_steps in (FEW, MANY)
}
