"""How good the samples are, by the number of steps and by eta: what notebooks 06 and 10 say about DDPM and DDIM.

    python benchmarks/steps_and_eta.py

Each row is 2,000 pictures of the shipped network, made with one sampler, one number of steps and one seed, and scored
as benchmarks/rows.py says. On one core it takes about an hour.
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
KINDS = [(sampler, steps) for steps in (10, 5, 20) for sampler in SAMPLERS]
KINDS[:0] = [("eta = 0", 50)]  # the target of notebook 10 first
KINDS += [("eta = 1 (DDPM)", 50)]
ROWS = [dict(sampler=sampler, steps=steps, seed=seed) for sampler, steps in KINDS for seed in SEEDS]


def main():
    path, device = cosine_schedule(), best_device()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device, memory_format=torch.channels_last)
    denoise = denoiser(network, path, LABELS)

    def pictures(sampler, steps, seed):
        generator = torch.Generator().manual_seed(seed)
        return sample(denoise, SHAPE, path, SAMPLERS[sampler], steps, generator=generator, device=device)

    fill(__file__, ROWS, pictures)


if __name__ == "__main__":
    main()
