"""Quality for so many calls of the network, by solver and levels: what notebook 10 says about fast sampling.

    python benchmarks/solvers.py

Each row is 2,000 pictures of the shipped network, made with one solver, one choice of levels, a budget of calls and one
seed, and scored as benchmarks/rows.py says. Every solver gets as many steps as the budget allows: Heun's method calls
the network twice a step, except for the last. DDIM and DDPM with even levels are in steps_and_eta.json already, and
notebook 10 shows them together. "levels" says where the steps end:

- even: evenly spaced, from 1000 down to 0;
- from 980: evenly spaced, from 980 down to 0;
- asked at 980: even, but above 980 the network is asked about level 980, as `asked_at_most` does;
- straight: where the log-SNR is that of evenly spaced times on the straight path. Given the denoiser, DDIM with eta = 0
  depends on the log-SNRs that it visits, and on nothing else of the path. So with these levels (up to their rounding),
  "DDIM" is Euler's method on the straight path, with a network that was trained on the cosine schedule.

On one core it takes about an hour.
"""

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA
from course_utils.device import best_device
from course_utils.sampling import asked_at_most, ddim_step, denoiser, sample, spaced_levels
from course_utils.schedule import cosine_schedule, straight_path
from course_utils.solvers import dpm_solver_2m, heun_step
from rows import LABELS, SEEDS, SHAPE, fill

PATH = cosine_schedule()
SOLVERS = {  # the step, made for one walk with this denoiser, and how many steps a budget of calls pays for
    "DDIM": (lambda denoise: ddim_step, lambda calls: calls),
    "Heun": (heun_step, lambda calls: (calls + 1) // 2),
    "DPM-Solver++(2M)": (lambda denoise: dpm_solver_2m(), lambda calls: calls),
}


def from_980(num_steps):
    return torch.linspace(980, 0, num_steps + 1).round().int().tolist()


def straight(num_steps):
    inner = straight_path(num_steps).log_snr[1:-1].flip(0)
    return [PATH.T, *((PATH.log_snr - value).abs().argmin().item() for value in inner), 0]


LEVELS = {
    "even": lambda num_steps: spaced_levels(PATH, num_steps),
    "asked at 980": lambda num_steps: spaced_levels(PATH, num_steps),
    "from 980": from_980,
    "straight": straight,
}
KINDS = [  # what the target needs first
    *[(solver, "asked at 980", 10) for solver in ("DDIM", "DPM-Solver++(2M)")],
    ("DDIM", "asked at 980", 50),
    *[(solver, "even", 10) for solver in ("Heun", "DPM-Solver++(2M)")],
    ("DPM-Solver++(2M)", "from 980", 10),
    ("DDIM", "straight", 10),
    *[("DPM-Solver++(2M)", "asked at 980", calls) for calls in (20, 5)],
    *[(solver, "even", calls) for calls in (20, 5) for solver in ("Heun", "DPM-Solver++(2M)")],
    *[("DDIM", "straight", calls) for calls in (20, 5)],
]
ROWS = [dict(solver=solver, levels=levels, calls=calls, seed=seed) for solver, levels, calls in KINDS for seed in SEEDS]


def main():
    device = best_device()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device, memory_format=torch.channels_last)
    plain = denoiser(network, PATH, LABELS)

    def pictures(solver, levels, calls, seed):
        make, steps = SOLVERS[solver]
        denoise = asked_at_most(plain, 980) if levels == "asked at 980" else plain
        visited, generator = LEVELS[levels](steps(calls)), torch.Generator().manual_seed(seed)
        return sample(denoise, SHAPE, PATH, make(denoise), levels=visited, generator=generator, device=device)

    fill(__file__, ROWS, pictures)


if __name__ == "__main__":
    main()
