"""Quality and time of DDPM and DDIM with the shipped weights, by the number of steps (notebook 06 shows the result).

    python benchmarks/sampling_quality.py --number 500

writes benchmarks/sampling_quality.json and prints the same as a table.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch

from course_utils.data import DATA
from course_utils.device import best_device
from course_utils.evaluation import quality
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import load_unet
from machine import machine

SAMPLERS = {
    "DDPM": (ddpm_step, (1000, 100, 50, 20)),
    "DDIM": (ddim_step, (1000, 250, 100, 50, 20, 10, 5)),
    "DDIM, eta 0.5": (partial(ddim_step, eta=0.5), (50,)),
}
CHUNK = 100  # images at a time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=500, help="of images for each row (default: 500)")
    number = parser.parse_args().number
    device, schedule = best_device(), cosine_schedule()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device)
    rows = []
    for name, (step, all_steps) in SAMPLERS.items():
        for num_steps in all_steps:
            images, seconds = draw(network, schedule, step, num_steps, number, device)
            found = quality(images)
            rows.append(dict(sampler=name, steps=num_steps, ms_per_image=1000 * seconds / number, **found._asdict()))
            print(f"{name:14} {num_steps:5} steps  {1000 * seconds / number:7.1f} ms an image  {found}", flush=True)
    out = Path(__file__).with_suffix(".json")
    out.write_text(json.dumps({"machine": machine(), "images": number, "rows": rows}, indent=1) + "\n")
    print(f"wrote {out}")


def draw(network, schedule, step, num_steps, number, device):
    """The images, with labels 0 .. 9 in turn and one seed for all rows, and the seconds that they took."""
    generator, parts = torch.Generator().manual_seed(0), []
    start = time.perf_counter()
    for labels in (torch.arange(number, device=device) % 10).split(CHUNK):
        shape, denoise = (len(labels), 1, 28, 28), denoiser(network, schedule, labels)
        parts.append(sample(denoise, shape, schedule, step, num_steps, generator=generator, device=device).cpu())
    return torch.cat(parts), time.perf_counter() - start


if __name__ == "__main__":
    main()
