"""What a sampler costs beside the network calls that it makes, and beside diffusers' schedulers driving that network.

    python benchmarks/sampler_cost.py

The network keeps the time of its own calls, so a loop is compared with exactly the calls that it made: a machine that
is busy for a while slows both. Every round runs all the loops in turn, in another order each time; the median over
the rounds is printed, with the peak of memory for few and for many steps. It writes benchmarks/sampler_cost.json.
"""

import json
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from course_utils.data import DATA
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import load_unet
from machine import machine

STEPS, ROUNDS, SHAPE = 50, 15, (16, 1, 28, 28)
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


RUNS = {
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


def main():
    if len(sys.argv) == 3:  # a child process that measures memory
        return print(peak_memory(*sys.argv[1:]))
    network, schedule = Timed(the_network()), cosine_schedule()
    found = {name: [] for name in RUNS}
    for run in RUNS.values():
        run(network, schedule, STEPS)  # the first time is slower
    for _ in range(ROUNDS):
        for name in random.sample(list(RUNS), len(RUNS)):
            found[name].append(timed(RUNS[name], network, schedule))

    rows = []
    for name, times in found.items():
        row = dict(name=name, network_ms=1000 * statistics.median(calls for _, calls in times) / STEPS)
        row["beside_it_ms"] = 1000 * statistics.median(whole - calls for whole, calls in times) / STEPS
        row["ratio"] = statistics.median(whole / calls for whole, calls in times)
        row |= {f"peak_mb_{steps}_steps": peak_of_a_child(name, steps) for steps in (FEW, MANY)}
        rows.append(row)
        print(
            f"{name:26} network {row['network_ms']:5.1f} ms a step, beside it {row['beside_it_ms']:5.2f} ms: "
            f"{100 * (row['ratio'] - 1):+5.2f} %   peak memory {row[f'peak_mb_{FEW}_steps']:.0f} MB with {FEW} steps, "
            f"{row[f'peak_mb_{MANY}_steps']:.0f} MB with {MANY}",
            flush=True,
        )
    out = Path(__file__).with_suffix(".json")
    setting = f"{STEPS} steps, {SHAPE[0]} images, median of {ROUNDS} rounds"
    out.write_text(json.dumps({"machine": machine(), "setting": setting, "rows": rows}, indent=1) + "\n")
    print(f"wrote {out}")


def the_network():
    return load_unet(DATA / "weights" / "unet.safetensors")


def peak_of_a_child(name, num_steps):
    done = subprocess.run([sys.executable, __file__, name, str(num_steps)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def peak_memory(name, num_steps):
    """The largest resident size of this process, in MB, after one run in it."""
    RUNS[name](the_network(), cosine_schedule(), int(num_steps))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
