"""What the benchmarks of quality share: rows of 2,000 pictures each, scored alike and kept as soon as they are there.

A row is 200 pictures of each of the ten kinds, made in one way with one seed. It is scored in the features of the
course's classifier:

- fcd: the Fréchet distance to all 10,000 test pictures, 1,000 of each kind;
- precision and recall: against 2,000 test pictures, 200 of each kind.

The rows called "real" score as many real training pictures, again 200 of each kind, a new draw for each seed: the
floor. Rows are added to the JSON beside the script one by one, so a script can be stopped and started again. Delete
its JSON to measure afresh.
"""

import json
import time
from pathlib import Path

import torch

from course_utils.data import fashion_mnist
from course_utils.evaluation import features, frechet_distance, precision_recall
from course_utils.evaluation import test_features as features_of_test_set
from machine import machine

EACH = 200  # pictures of each of the ten kinds
LABELS = torch.arange(10).repeat(EACH)
SHAPE = (len(LABELS), 1, 28, 28)
SEEDS = (0, 1, 2)


def some_of_each(labels, generator=None):
    """The places of EACH pictures of every kind: the first of them, or, with a generator, drawn at random."""
    order = torch.arange(len(labels)) if generator is None else torch.randperm(len(labels), generator=generator)
    return torch.cat([order[labels[order] == kind][:EACH] for kind in range(10)])


def real_pictures(seed):
    images, labels = fashion_mnist()
    return images[some_of_each(labels, torch.Generator().manual_seed(seed))]


def fill(script, rows, pictures):
    """Measure every row that the JSON beside the script lacks: the floor, and then pictures(**row) for each row."""
    everything, some = ruler()

    def measure(**row):
        start = time.perf_counter()
        images = real_pictures(row["seed"]) if "real" in row.values() else pictures(**row).cpu()
        return dict(seconds=round(time.perf_counter() - start, 1)) | score(images, everything, some)

    keep(script, [*floor_of(rows), *rows], measure)


def floor_of(rows):
    """The rows called "real" that belong to these: one for each seed."""
    return [dict.fromkeys(rows[0], 0) | {next(iter(rows[0])): "real", "seed": seed} for seed in SEEDS]


def keep(script, rows, measure):
    """Add row | measure(**row) to the JSON beside the script, for each row that it lacks; returns all rows in it."""
    file = Path(script).with_suffix(".json")
    results = json.loads(file.read_text()) if file.exists() else dict(machine=machine(), number=len(LABELS), rows=[])
    for row in rows:
        if any(row.items() <= done.items() for done in results["rows"]):
            continue
        row = row | measure(**row)
        results["rows"].append(row)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(results, indent=1) + "\n")
        part.replace(file)
        print(row, flush=True)
    return results["rows"]


def ruler():
    """The features of all test pictures, and of 200 of each kind."""
    everything = features_of_test_set()
    return everything, everything[some_of_each(fashion_mnist(train=False)[1])]


def score(images, everything, some):
    found = features(images)
    precision, recall = precision_recall(some, found)
    return dict(fcd=frechet_distance(everything, found), precision=precision, recall=recall)
