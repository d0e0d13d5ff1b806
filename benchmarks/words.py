"""Pictures from words: are they what was asked for, in the artist's hand, and new? Notebook 12 shows the result.

    python benchmarks/words.py --threads 2

The prompts are of three groups: pairs of thing and artist from the training drawings, held-out pairs, and held-out
names. Each row is a picture for every prompt of a group, made with one pair of guidance scales and one seed. The rows
called "real" are the drawings themselves. Each is judged by benchmarks/emoji_judge.py, which must be trained first:

- top_1, top_5, artist: how often the judge's first guess is the thing, or one of its first five, and its first guess
  the artist;
- fcd: the Fréchet distance, in the judge's features, to the training drawings that are not among the prompts; the row
  "real" of the same group is its floor. The held-out names are too few for it;
- near: how many pictures are nearer to a training drawing, whoever drew it and whatever it shows, than two artists'
  drawings of one thing usually are (the median over all such pairs), in pixels and in the judge's features; very_near:
  nearer than all but a twentieth of these pairs. Here, too, "real" is what to compare with: simple things look alike.

The judge knows the real drawings of training pairs by heart, so nothing can be compared with those. A fair comparison
is with real held-out drawings. Of the held-out names, only drawings that the judge has not learnt from count as real.

Rows are added to words.json one by one, so the script can be stopped and started again. With other weights, or another
judge, it starts afresh. On one core it takes about an hour.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from course_utils.checkpoints import load_unet
from course_utils.data import ARTISTS, DATA, emoji, md5, scale, unscale
from course_utils.device import best_device
from course_utils.evaluation import frechet_distance
from course_utils.sampling import sample
from course_utils.schedule import straight_path
from course_utils.solvers import dpm_solver_2m
from course_utils.text import text_denoiser
from emoji_judge import KNOWN, WEIGHTS, all_things, load_judge
from machine import machine

PATH, STEPS, NUMBER, SEEDS = straight_path(), 30, 456, (0, 1, 2)
SCALES = [(1, 1), (2, 2), (3, 3), (2, 1), (3, 1.5)]  # of the words and of the artist
GROUPS = ("training pairs", "held-out pairs", "held-out names")
REAL = [dict(group=group, words_scale="real", artist_scale="real", seed=0) for group in GROUPS]
ROWS = [
    dict(group=group, words_scale=words, artist_scale=artist, seed=seed)
    for words, artist in SCALES
    for seed in SEEDS
    for group in GROUPS
]


class Drawings(NamedTuple):
    """Pictures (N, 3, 32, 32) uint8, a name for each, and the number of the artist."""

    images: Tensor
    names: list
    artists: Tensor

    def some(self, chosen):
        return Drawings(self.images[chosen], [self.names[i] for i in chosen], self.artists[chosen])


def read_groups():
    """The drawings of each group, whose names and artists are the prompts; all training drawings; those in no group."""
    train = Drawings(*emoji("train"))
    order = torch.randperm(len(train.names), generator=seeded(0)).tolist()
    groups = train.some(order[:NUMBER]), Drawings(*emoji("pairs")), Drawings(*emoji("names"))
    return dict(zip(GROUPS, groups, strict=True)), train, train.some(order[NUMBER:])


def new_to_the_judge(drawings):
    return drawings.some([i for i, artist in enumerate(drawings.artists.tolist()) if ARTISTS[artist] not in KNOWN])


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Court:
    """The judge, and what it compares with: all training drawings, and the rest of them, which no prompt is about."""

    def __init__(self, judge, things, train, rest):
        self.judge, self.things, self.train = judge, things, train
        self.rest = self.features(rest.images)
        numbers = self.numbers(train.names)
        same = (numbers[:, None] == numbers).triu(diagonal=1)  # each pair of drawings of one thing once
        self.spaces = {}
        for name, space in {"pixels": pixels, "features": self.features}.items():
            points = space(train.images)
            between = torch.cdist(points, points)[same]
            self.spaces[name] = space, points, between.median(), between.quantile(0.05)

    def numbers(self, names):
        return torch.tensor([self.things.index(name) for name in names])

    def features(self, images):
        return torch.cat([self.judge.features(scale(part)) for part in images.split(500)])

    def verdict(self, drawings):
        """The figures of a row, as the module's docstring explains them."""
        images, names, artists = drawings
        guesses = [self.judge(scale(part)) for part in images.split(500)]
        thing, artist = (torch.cat(part) for part in zip(*guesses, strict=True))
        found = thing.topk(5).indices == self.numbers(names)[:, None]
        row = dict(number=len(images), top_1=share(found[:, 0]), top_5=share(found.any(dim=1)))
        row |= dict(artist=share(artist.argmax(dim=1) == artists), fcd=None)
        seen = self.features(images)
        if len(images) > seen.shape[1]:  # with fewer, the covariance is singular
            row["fcd"] = round(frechet_distance(self.rest, seen), 4)
        for name, (space, points, usual, low) in self.spaces.items():
            nearest = torch.cdist(space(images), points).amin(dim=1)
            row |= {f"near, {name}": share(nearest < usual), f"very near, {name}": share(nearest < low)}
        return row


def pixels(images):
    return images.flatten(1).float()


def share(true):
    return round(true.double().mean().item(), 4)


def pictures(network, drawings, words_scale, artist_scale, seed, group=None):
    """A picture for each name and artist, as uint8."""
    device, shape = next(network.parameters()).device, (len(drawings.names), 3, 32, 32)
    condition = network.condition.prompts(drawings.names, drawings.artists)
    denoise = text_denoiser(network, PATH, condition, words_scale, artist_scale)
    return unscale(sample(denoise, shape, PATH, dpm_solver_2m(), STEPS, generator=seeded(seed), device=device).cpu())


def fill(file, about, network, court, groups):
    """Add every row that the file lacks, and begin it anew if it is about something else."""
    results = json.loads(file.read_text()) if file.exists() else {}
    if {name: results.get(name) for name in about} != about:
        results = about | dict(machine=machine(), rows=[])
    for row in [*REAL, *ROWS]:
        if any(row.items() <= done.items() for done in results["rows"]):
            continue
        drawings = groups[row["group"]]
        if row["words_scale"] != "real":
            drawings = drawings._replace(images=pictures(network, drawings, **row))
        elif row["group"] == "held-out names":
            drawings = new_to_the_judge(drawings)
        results["rows"].append(row | court.verdict(drawings))
        part = file.with_suffix(".part")
        part.write_text(json.dumps(results, indent=1) + "\n")
        part.replace(file)
        print(results["rows"][-1], flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=DATA / "weights" / "text.safetensors", help="of the model")
    parser.add_argument("--judge", type=Path, default=WEIGHTS, help="weights of the judge")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"), help="the file to write")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    groups, train, rest = read_groups()
    court = Court(load_judge(arguments.judge), all_things(), train, rest)
    about = dict(weights=md5(arguments.weights), judge=md5(arguments.judge), steps=STEPS)
    fill(arguments.out, about, load_unet(arguments.weights).to(best_device()), court, groups)


if __name__ == "__main__":
    main()
