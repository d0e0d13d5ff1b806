"""What a sampler costs beside the network calls that it makes, and beside diffusers' schedulers driving that network.

    python benchmarks/sampler_cost.py

Every round times all of them in turn, in another order each time, and each is compared with the bare calls of the
same round; the median over the rounds is printed, with the peak of memory for few and for many steps. It writes
benchmarks/sampler_cost.json.
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
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample, spaced_levels
from course_utils.schedule import cosine_schedule
from course_utils.training import load_unet
from machine import machine

STEPS, ROUNDS, SHAPE = 50, 15, (16, 1, 28, 28)


def bare_calls(network, schedule, num_steps):
    """The network alone, as often as a sampler calls it."""
    x, labels = torch.randn(SHAPE), torch.arange(SHAPE[0]) % 10
    with torch.no_grad():
        for level in spaced_levels(schedule, num_steps)[:-1]:
            network(x, torch.full((SHAPE[0],), level), labels)


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
    "bare network calls": bare_calls,
    "course, DDPM": ours(ddpm_step),
    "course, DDIM": ours(ddim_step),
    "diffusers, DDPMScheduler": of_diffusers("DDPM"),
    "diffusers, DDIMScheduler": of_diffusers("DDIM"),
}


def main():
    if len(sys.argv) == 3:  # a child process that measures memory
        return print(peak_memory(*sys.argv[1:]))
    network, schedule = load_unet(DATA / "weights" / "unet.safetensors"), cosine_schedule()
    seconds = {name: [] for name in RUNS}
    for run in RUNS.values():
        run(network, schedule, 5)
    for _ in range(ROUNDS):
        for name in random.sample(list(RUNS), len(RUNS)):
            start = time.perf_counter()
            RUNS[name](network, schedule, STEPS)
            seconds[name].append(time.perf_counter() - start)

    rows = []
    for name, values in seconds.items():
        ratios = [value / bare for value, bare in zip(values, seconds["bare network calls"], strict=True)]
        memory = [peak_of_a_child(name, steps) for steps in (10, 1000)]
        row = dict(name=name, ms_per_step=1000 * statistics.median(values) / STEPS, ratio=statistics.median(ratios))
        rows.append(row | dict(peak_mb_10_steps=memory[0], peak_mb_1000_steps=memory[1]))
        print(
            f"{name:26} {row['ms_per_step']:6.2f} ms a step   {100 * (row['ratio'] - 1):+5.1f} % over bare calls   "
            f"peak memory {memory[0]:.0f} MB with 10 steps, {memory[1]:.0f} MB with 1000",
            flush=True,
        )
    out = Path(__file__).with_suffix(".json")
    setting = f"{STEPS} steps, {SHAPE[0]} images, median of {ROUNDS} rounds"
    out.write_text(json.dumps({"machine": machine(), "setting": setting, "rows": rows}, indent=1) + "\n")
    print(f"wrote {out}")


def peak_of_a_child(name, num_steps):
    done = subprocess.run([sys.executable, __file__, name, str(num_steps)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def peak_memory(name, num_steps):
    """The largest resident size of this process, in MB, after one run in it."""
    RUNS[name](load_unet(DATA / "weights" / "unet.safetensors"), cosine_schedule(), int(num_steps))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
