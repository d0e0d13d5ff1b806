"""How good the samples are, by the number of steps and by eta: what notebook 06 says about DDPM and DDIM.

    python benchmarks/steps_and_eta.py

Each row is 2,000 pictures of the shipped network, made with one sampler, one number of steps and one seed, and scored
as benchmarks/rows.py says. On one core it takes about two hours.
"""

from functools import partial

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA
from course_utils.device import best_device
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from rows import LABELS, SEEDS, SHAPE, fill

SAMPLERS = {"eta = 0": ddim_step, "eta = 1 (DDPM)": ddpm_step, "eta = 0.5": partial(ddim_step, eta=0.5)}
ROWS = [
    dict(sampler=sampler, steps=steps, seed=seed)
    for steps in (5, 10, 20, 50, 100)  # the quick ones first
    for sampler in SAMPLERS
    for seed in SEEDS
]


def main():
    path, device = cosine_schedule(), best_device()
    denoise = denoiser(load_unet(DATA / "weights" / "unet.safetensors").to(device), path, LABELS)

    def pictures(sampler, steps, seed):
        generator = torch.Generator().manual_seed(seed)
        return sample(denoise, SHAPE, path, SAMPLERS[sampler], steps, generator=generator, device=device)

    fill(__file__, ROWS, pictures)


if __name__ == "__main__":
    main()
