"""Notebook 02: what comes out if the walk starts from pure noise where the forward process has not ended in it.

A schedule that ends with, say, 0.1 of the picture's amplitude left never shows its network anything noisier. The
shipped network knows that noise level too: on its cosine schedule it is level 936. Starting there from pure noise is
what sampling with the other schedule would do. Two rows are controls: the start that the forward process does leave at
the worst of these levels, real pictures with noise, and the start at T, where nothing of the picture is left.

    python benchmarks/claims_02.py      # about 3 minutes on one thread; goes on where it was stopped
"""

import json
from pathlib import Path

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import CLASSES, DATA, fashion_mnist, scale
from course_utils.evaluation import class_probabilities
from course_utils.forward import add_noise
from course_utils.sampling import denoiser, sample
from course_utils.schedule import cosine_schedule

RESULT = Path(__file__).with_suffix(".json")
SAMPLES, APART = 400, 43  # how many pictures a row, and how many levels a step goes down, nearly
ROWS = {
    "noised pictures, 0.776 left": (0.776, True),  # what T = 50 with the betas of 1000 steps leaves
    "pure noise, 0.776 left": (0.776, False),
    "pure noise, 0.3 left": (0.3, False),
    "pure noise, 0.1 left": (0.1, False),
    "pure noise, 0.05 left": (0.05, False),
    "pure noise, nothing left": (0.0, False),
}


def summary(pictures):
    """How bright the pictures are, the standard error of that, and how many of each kind the classifier sees."""
    brightness, kinds = pictures.clamp(-1, 1).mean(dim=(1, 2, 3)), class_probabilities(pictures).argmax(dim=1)
    return {
        "number": len(pictures),
        "brightness": brightness.mean().item(),
        "standard error": brightness.std().item() / len(pictures) ** 0.5,
        "kinds": dict(zip(CLASSES, kinds.bincount(minlength=10).tolist(), strict=True)),
    }


def walk(left, noised, denoise, path, real):
    """Samples from the level where `left` of the amplitude is left, from noised pictures or from pure noise."""
    generator = torch.Generator().manual_seed(0)
    start = (path.signal_rate - left).abs().argmin().item()
    levels = torch.linspace(start, 0, round(start / APART) + 1).round().int().tolist()
    x = torch.randn(SAMPLES, 1, 28, 28, generator=generator)
    if noised:
        x = add_noise(real[torch.randperm(len(real), generator=generator)[:SAMPLES]], start, x, path)
    return {"levels": levels} | summary(sample(denoise, x.shape, path, levels=levels, x_T=x, generator=generator))


def main():
    cosine, real = cosine_schedule(), scale(fashion_mnist(train=False)[0])
    denoise = denoiser(load_unet(DATA / "weights" / "unet.safetensors"), cosine)
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {"real pictures": summary(real)}
    for name, (left, noised) in ROWS.items():
        if name not in found:
            found[name] = walk(left, noised, denoise, cosine, real)
            RESULT.write_text(json.dumps(found, indent=1) + "\n")
        print(name, found[name], flush=True)


if __name__ == "__main__":
    main()
