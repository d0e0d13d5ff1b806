"""Quality and time of DDPM and DDIM with the shipped weights, by the number of steps (notebook 06 shows the result)."""

import time
from functools import partial

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA
from course_utils.device import best_device
from course_utils.evaluation import quality
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import cosine_schedule

IMAGES = 300
SAMPLERS = {
    "DDPM": (ddpm_step, (1000, 250, 100, 50, 20, 10, 5)),
    "DDIM": (ddim_step, (1000, 250, 100, 50, 20, 10, 5)),
    "DDIM, eta 0.5": (partial(ddim_step, eta=0.5), (50,)),
}


def measure(folder, step, num_steps):
    """The figures of so many steps; labels 0 .. 9 in turn and one seed for all rows."""
    device, schedule = best_device(), cosine_schedule()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device)
    generator, labels = torch.Generator().manual_seed(0), torch.arange(IMAGES, device=device) % 10
    denoise, shape = denoiser(network, schedule, labels), (IMAGES, 1, 28, 28)
    start = time.perf_counter()
    images = sample(denoise, shape, schedule, step, num_steps, generator=generator, device=device).cpu()
    return dict(ms_per_image=1000 * (time.perf_counter() - start) / IMAGES, **quality(images)._asdict())


ROWS = {
    f"{sampler}, {num_steps} steps": partial(measure, step=step, num_steps=num_steps)
    for sampler, (step, all_steps) in SAMPLERS.items()
    for num_steps in all_steps
}
