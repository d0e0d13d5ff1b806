"""Quality by the guidance scale: what notebook 08 says about fidelity and diversity.

    python benchmarks/guidance_scale.py

Each row is 2,000 pictures of the shipped network, made with 20 steps of DPM-Solver++(2M), one guidance scale and one
seed, and scored as benchmarks/rows.py says. "levels" says where the guidance was on: everywhere, or only in the middle
of the walk. "clip" says where the guess was clipped: after the two predictions were combined, or, by mistake, before.
On one core it takes about an hour and a half.
"""

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA
from course_utils.device import best_device
from course_utils.guidance import guided
from course_utils.sampling import clipped, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.solvers import dpm_solver_2m
from rows import LABELS, SEEDS, SHAPE, fill

STEPS = 20
LEVELS = {"all": None, "200 .. 800": range(200, 801)}
KINDS = [
    *[dict(scale=scale, levels="all", clip="after") for scale in (1, 2, 3, 0, 1.5, 5, 10)],
    dict(scale=3, levels="200 .. 800", clip="after"),
    dict(scale=10, levels="all", clip="before"),
]
ROWS = [kind | dict(seed=seed) for kind in KINDS for seed in SEEDS]


def main():
    path, device = cosine_schedule(), best_device()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device, memory_format=torch.channels_last)

    def pictures(scale, levels, clip, seed):
        both = [denoiser(network, path, labels, clip=clip == "before") for labels in (LABELS, None)]
        denoise = clipped(guided(*both, scale, LEVELS[levels]))
        generator = torch.Generator().manual_seed(seed)
        return sample(denoise, SHAPE, path, dpm_solver_2m(), STEPS, generator=generator, device=device)

    fill(__file__, ROWS, pictures)


if __name__ == "__main__":
    main()
