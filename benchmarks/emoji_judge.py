"""The judge of pictures made from words: a small network that names the thing and the artist of an emoji.

    python benchmarks/emoji_judge.py --threads 2

trains it and writes data/weights/emoji_judge.safetensors. It learns from the training drawings. So that it can tell a
purple heart when a model draws one, it also learns from the held-out names' drawings by half of the artists, KNOWN. The
model that is judged has seen none of these. The other half of them, and all held-out pairs, are new to the judge.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from course_utils.data import ARTISTS, DATA, emoji, scale
from course_utils.evaluation import convolution

WEIGHTS = DATA / "weights" / "emoji_judge.safetensors"
KNOWN = ARTISTS[::2]
EPOCHS, BATCH_SIZE, LR = 60, 64, 3e-3


class Judge(nn.Module):
    """A convolutional network that sees 64 features in a picture, and tells from them the thing and the artist.

    x (B, 3, 32, 32) within -1 .. 1 -> (B, things) and (B, artists), a score for each.
    """

    def __init__(self, things, artists):
        super().__init__()
        self.body = nn.Sequential(
            nn.PixelUnshuffle(2),
            *convolution(12, 64),
            *convolution(64, 64),
            nn.MaxPool2d(2),
            *convolution(64, 128),
            *convolution(128, 128),
            nn.MaxPool2d(2),
            *convolution(128, 128),
            *convolution(128, 64),
        )
        self.thing, self.artist = nn.Linear(64, things), nn.Linear(64, artists)

    def features(self, x: Float[Tensor, "B 3 32 32"]) -> Float[Tensor, "B 64"]:
        return self.body(x).mean(dim=(2, 3))

    def forward(self, x):
        seen = self.features(x)
        return self.thing(seen), self.artist(seen)


def all_things():
    """The names of all things, in alphabetical order: the judge's classes."""
    return sorted({name for split in ("train", "pairs", "names") for name in emoji(split)[1]})


def drawings_to_learn():
    """(images, names, artists): all training drawings, and of the held-out names those by the artists KNOWN."""
    images, names, artists = emoji("train")
    more, their_names, their_artists = emoji("names")
    known = [i for i, artist in enumerate(their_artists.tolist()) if ARTISTS[artist] in KNOWN]
    names = [*names, *(their_names[i] for i in known)]
    return torch.cat([images, more[known]]), names, torch.cat([artists, their_artists[known]])


def trained_judge(images, names, artists, things, epochs=EPOCHS):
    """A judge in eval mode. It learns what a drawing shows and who drew it, from drawings moved about a little."""
    numbers = torch.tensor([things.index(name) for name in names])
    judge, batches = Judge(len(things), len(ARTISTS)), -(-len(images) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * batches)
    start = time.perf_counter()
    for epoch in range(epochs):
        right = 0
        for chosen in torch.randperm(len(images)).split(BATCH_SIZE):
            thing, artist = judge(moved(scale(images[chosen])))
            loss = F.cross_entropy(thing, numbers[chosen], label_smoothing=0.1)
            loss = loss + 0.3 * F.cross_entropy(artist, artists[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            right += (thing.argmax(dim=1) == numbers[chosen]).sum().item()
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1} of {epochs}: {right / len(images):.1%} right after {seconds:.0f} s", flush=True)
    return judge.eval().requires_grad_(False)


def moved(x):
    """Each picture moved, stretched and turned a little, at random; not mirrored, because of letters and clocks."""
    theta = torch.eye(2, 3) + torch.randn(len(x), 2, 3) * torch.tensor([0.06, 0.06, 0.08])
    return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), "bilinear", "border", False)


def load_judge(path=WEIGHTS):
    """The trained judge, in eval mode."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no judge at {path}. Train one: python benchmarks/emoji_judge.py")
    weights = load_file(path)
    judge = Judge(len(weights["thing.bias"]), len(weights["artist.bias"]))
    judge.load_state_dict(weights)
    return judge.eval().requires_grad_(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the file to write")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"times through the drawings (default: {EPOCHS})")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    judge = trained_judge(*drawings_to_learn(), all_things(), arguments.epochs)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(judge.state_dict(), arguments.out)
    print(f"wrote {arguments.out}, {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
