"""Notebook 02: which clothes come out if the walk starts from pure noise where the forward process has not ended in it.

The linear schedule of 50 steps with the betas of 1000 leaves 0.776 of the picture's amplitude at T. The shipped
network knows this noise level too, as level 430 of its cosine schedule. So it walks down the short schedule's levels,
every fifth of them and each translated into the cosine level with the same signal rate, from two starts: real pictures
with noise, which is what the forward process leaves there, and pure noise. Everything else is the same.

    python benchmarks/claims_02.py      # about 4 minutes on one thread; goes on where it was stopped
"""

import json
from pathlib import Path

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import CLASSES, DATA, fashion_mnist, scale
from course_utils.evaluation import class_probabilities
from course_utils.forward import add_noise
from course_utils.sampling import denoiser, sample
from course_utils.schedule import cosine_schedule, linear_schedule

RESULT = Path(__file__).with_suffix(".json")
SAMPLES, PART = 2000, 250


def translated(short, path, every=5):
    """The levels of `path` whose signal rates are nearest to those of `short` at T, T - 5, ... 0."""
    return [(path.signal_rate - short.signal_rate[t]).abs().argmin().item() for t in range(short.T, -1, -every)]


def summary(pictures):
    """How many of each kind the classifier sees, and the pictures' mean brightness and its standard deviation."""
    brightness, kinds = pictures.clamp(-1, 1).mean(dim=(1, 2, 3)), class_probabilities(pictures).argmax(dim=1)
    counts = dict(zip(CLASSES, kinds.bincount(minlength=10).tolist(), strict=True))
    return {"number": len(pictures), "kinds": counts, "brightness": [brightness.mean().item(), brightness.std().item()]}


def main():
    cosine = cosine_schedule()
    levels = translated(linear_schedule(50), cosine)
    denoise = denoiser(load_unet(DATA / "weights" / "unet.safetensors"), cosine)
    real = scale(fashion_mnist(train=False)[0])
    generator = torch.Generator().manual_seed(0)
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {"levels": levels}
    found["real pictures"] = summary(real)
    drawn = {name: [] for name in ("noised pictures", "pure noise")}
    for first in range(0, SAMPLES, PART):
        noise = torch.randn(PART, 1, 28, 28, generator=generator)
        some = real[torch.randint(len(real), (PART,), generator=generator)]
        starts = {"noised pictures": add_noise(some, levels[0], noise, cosine), "pure noise": noise}
        for name, start in starts.items():
            file = Path(f"runs/claims_02/{name} {first}.pt".replace(" ", "_"))
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                seeded = torch.Generator().manual_seed(first + 1)
                torch.save(sample(denoise, start.shape, cosine, levels=levels, x_T=start, generator=seeded), file)
            drawn[name].append(torch.load(file))
            found[name] = summary(torch.cat(drawn[name]))
            RESULT.write_text(json.dumps(found, indent=1) + "\n")
        print(first + PART, {name: row["brightness"] for name, row in found.items() if name != "levels"}, flush=True)


if __name__ == "__main__":
    main()
