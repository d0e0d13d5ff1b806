"""Quality for so many calls of the network, by solver: what notebook 10 says about fast sampling.

    python benchmarks/solvers.py

Each row is 2,000 pictures of the shipped network, made with one solver, a budget of calls and one seed, and scored as
benchmarks/rows.py says. Every solver gets as many steps as the budget allows: Heun's method calls the network twice a
step, except for the last. On one core it takes about three hours.
"""

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA
from course_utils.device import best_device
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.solvers import dpm_solver_2m, heun_step
from rows import LABELS, SEEDS, SHAPE, fill

SOLVERS = {  # the step, made for one walk with this denoiser, and how many steps a budget of calls pays for
    "DDIM": (lambda denoise: ddim_step, lambda calls: calls),
    "DDPM": (lambda denoise: ddpm_step, lambda calls: calls),
    "Heun": (heun_step, lambda calls: (calls + 1) // 2),
    "DPM-Solver++(2M)": (lambda denoise: dpm_solver_2m(), lambda calls: calls),
}
ROWS = [
    dict(solver=solver, calls=calls, seed=seed)
    for calls in (5, 10, 20, 50)  # the quick ones first
    for solver in SOLVERS
    for seed in SEEDS
]


def main():
    path, device = cosine_schedule(), best_device()
    denoise = denoiser(load_unet(DATA / "weights" / "unet.safetensors").to(device), path, LABELS)

    def pictures(solver, calls, seed):
        make, steps = SOLVERS[solver]
        generator = torch.Generator().manual_seed(seed)
        return sample(denoise, SHAPE, path, make(denoise), steps(calls), generator=generator, device=device)

    fill(__file__, ROWS, pictures)


if __name__ == "__main__":
    main()
