"""What notebook 05 says about mistakes in a sampler and the quality of its pictures.

    python benchmarks/claims_05.py

takes some six minutes on one core, writes claims_05.json after every row, and goes on where it was stopped. Most rows
are 150 pictures in 50 steps, with the labels 0 .. 9 in turn. The right sampler and the one with signal_t in place of
signal_s are run with five seeds each, in pairs that share all their noise; the mistakes of the notebook's lab once.
Rows that begin with "exact" are 10,000 points in the plane, made with a perfect denoiser in 50 steps.
"""

import json
import time
from functools import partial
from pathlib import Path

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA
from course_utils.device import best_device
from course_utils.evaluation import class_probabilities, quality
from course_utils.forward import posterior
from course_utils.mixture import GaussianMixture, exact_denoiser
from course_utils.sampling import ddpm_step, denoiser, randn_like, sample
from course_utils.schedule import cosine_schedule, rates

FILE = Path(__file__).with_suffix(".json")
IMAGES, STEPS, SEEDS = 150, 50, range(5)


def wrong_step(x_t, x_0_hat, t, s, path, generator=None):
    """signal_t where signal_s belongs."""
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    (signal_t, noise_t), (signal_s, noise_s) = rates(path, t, x_t), rates(path, s, x_t)
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    mean = mean + ((signal_t - signal_s) * added / noise_t**2).to(x_t) * x_0_hat
    return mean + variance.sqrt() * randn_like(x_t, generator)


def only_the_mean(x_t, x_0_hat, t, s, path, generator=None):
    return posterior(x_0_hat, x_t, t, path, s)[0]


def one_noise_for_all(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance.sqrt() * randn_like(x_t[:1], generator)


def without_the_root(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance * randn_like(x_t, generator)


def from_rand(generator):
    return torch.rand(IMAGES, 1, 28, 28, generator=generator)


def asked_a_step_late(denoise):
    return lambda x_t, t: denoise(x_t, max(t - 1000 // STEPS, 1))


def measure(seed=0, step=ddpm_step, start=None, change=lambda denoise: denoise, told=True):
    device, path, generator = best_device(), cosine_schedule(), torch.Generator().manual_seed(seed)
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device)
    labels = torch.arange(IMAGES) % 10
    denoise = change(denoiser(network, path, labels if told else None))
    x_T = start(generator) if start else torch.randn(IMAGES, 1, 28, 28, generator=generator)
    begin = time.process_time()
    made = sample(denoise, x_T.shape, path, step, STEPS, x_T=x_T.to(device), generator=generator).cpu()
    sure = class_probabilities(made).max(dim=1).values
    return dict(
        **quality(made)._asdict(),
        sure=(sure >= 0.8).double().mean().item(),
        largest=made.abs().max().item(),
        cpu_seconds=round(time.process_time() - begin, 1),
    )


MIXTURE = GaussianMixture(
    weights=torch.tensor([0.5, 0.3, 0.2]),
    means=torch.tensor([[-1.0, -0.5], [1.0, -0.5], [0.0, 1.2]]),
    covariances=torch.tensor([[[0.10, 0.06], [0.06, 0.10]], [[0.04, 0.0], [0.0, 0.04]], [[0.20, 0.0], [0.0, 0.02]]]),
)


def exact(step=ddpm_step, start=None, change=lambda denoise: denoise):
    path, generator = cosine_schedule(), torch.Generator().manual_seed(0)
    x_T = (torch.rand if start else torch.randn)(10_000, 2, generator=generator)
    denoise = change(exact_denoiser(MIXTURE, path))
    made = sample(denoise, x_T.shape, path, step, STEPS, x_T=x_T, generator=generator)
    return dict(variances=made.var(dim=0).tolist(), of_the_data=MIXTURE.covariance().diagonal().tolist())


LAB = {
    "no noise at all": dict(step=only_the_mean),
    "one noise for the whole batch": dict(step=one_noise_for_all),
    "the variance without its root": dict(step=without_the_root),
    "a start from rand": dict(start=from_rand),
    "asked a step late": dict(change=asked_a_step_late),
}
ROWS = {
    **{f"right, seed {seed}": partial(measure, seed) for seed in SEEDS},
    **{f"signal_t for signal_s, seed {seed}": partial(measure, seed, wrong_step) for seed in SEEDS},
    **{name: partial(measure, **mistake) for name, mistake in LAB.items()},
    "without labels": partial(measure, told=False),
    "exact, right": exact,
    **{f"exact, {name}": partial(exact, **mistake) for name, mistake in LAB.items()},
}


def main():
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name, row in ROWS.items():
        if name not in found:
            found[name] = row()
            FILE.write_text(json.dumps(found, indent=1) + "\n")
            print(name, found[name], flush=True)


if __name__ == "__main__":
    main()
