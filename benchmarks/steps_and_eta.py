"""How good the samples are, by the number of steps and by eta: what notebook 06 says about DDPM and DDIM.

    python benchmarks/steps_and_eta.py

Each row is 2,000 pictures of the shipped network, 200 of each kind, made with one sampler, one number of steps and
one seed. They are scored in the features of the course's classifier:

- fcd: the Fréchet distance to all 10,000 test pictures, 1,000 of each kind;
- precision and recall: against 2,000 test pictures, 200 of each kind.

The rows called "real" score as many real training pictures, again 200 of each kind, a new draw for each seed. That is
the floor. Rows are added to benchmarks/steps_and_eta.json one by one, so the script can be stopped and started again.
On one core it takes about two hours. Delete the JSON to measure afresh.
"""

import json
import time
from functools import partial
from pathlib import Path

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA, fashion_mnist
from course_utils.device import best_device
from course_utils.evaluation import features, frechet_distance, precision_recall
from course_utils.evaluation import test_features as features_of_test_set
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from machine import machine

RESULTS = Path(__file__).with_suffix(".json")
EACH = 200  # pictures of each of the ten kinds
LABELS = torch.arange(10).repeat(EACH)
SEEDS = (0, 1, 2)
SAMPLERS = {"eta = 0": ddim_step, "eta = 1 (DDPM)": ddpm_step, "eta = 0.5": partial(ddim_step, eta=0.5)}

ROWS = [("real", 0, seed) for seed in SEEDS]
for steps in (5, 10, 20, 50, 100):  # the quick ones first
    ROWS += [(sampler, steps, seed) for sampler in SAMPLERS for seed in SEEDS]


def some_of_each(labels, generator=None):
    """The places of EACH pictures of every kind: the first of them, or, with a generator, drawn at random."""
    order = torch.arange(len(labels)) if generator is None else torch.randperm(len(labels), generator=generator)
    return torch.cat([order[labels[order] == kind][:EACH] for kind in range(10)])


def real_pictures(seed):
    images, labels = fashion_mnist()
    return images[some_of_each(labels, torch.Generator().manual_seed(seed))]


def made_pictures(network, sampler, steps, seed):
    path, generator = cosine_schedule(), torch.Generator().manual_seed(seed)
    shape, device = (len(LABELS), 1, 28, 28), best_device()
    denoise = denoiser(network, path, LABELS)
    return sample(denoise, shape, path, SAMPLERS[sampler], steps, generator=generator, device=device).cpu()


def score(images, everything, some):
    found = features(images)
    precision, recall = precision_recall(some, found)
    return dict(fcd=frechet_distance(everything, found), precision=precision, recall=recall)


def main():
    begun = dict(machine=machine(), number=len(LABELS), rows=[])
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else begun
    done = {(row["sampler"], row["steps"], row["seed"]) for row in results["rows"]}
    everything = features_of_test_set()
    some = everything[some_of_each(fashion_mnist(train=False)[1])]
    network = load_unet(DATA / "weights" / "unet.safetensors").to(best_device())
    for sampler, steps, seed in [row for row in ROWS if row not in done]:
        start = time.perf_counter()
        images = real_pictures(seed) if sampler == "real" else made_pictures(network, sampler, steps, seed)
        row = dict(sampler=sampler, steps=steps, seed=seed, seconds=round(time.perf_counter() - start, 1))
        results["rows"].append(row | score(images, everything, some))
        part = RESULTS.with_suffix(".part")
        part.write_text(json.dumps(results, indent=1) + "\n")
        part.replace(RESULTS)
        print(results["rows"][-1], flush=True)


if __name__ == "__main__":
    main()
