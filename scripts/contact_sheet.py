"""Draw data/emoji.png, the picture in the README: 16 things in 6 rows, one row for each artist.

    .venv/bin/python scripts/contact_sheet.py

Where you show it, say whose the emoji are: data/emoji/LICENSES.md has the line.
"""

import argparse
from pathlib import Path

import torch

from course_utils.classroom.plotting import save_grid
from course_utils.data import ARTISTS, DATA, SPLITS, emoji, scale

THINGS = (
    *("red heart", "smiling face with sunglasses", "ghost", "penguin", "cat face", "panda", "frog", "octopus"),
    *("red apple", "strawberry", "pizza", "cactus", "rainbow", "sailboat", "rocket", "guitar"),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DATA / "emoji.png", help="the file to write")
    out = parser.parse_args().out
    pictures = {}
    for split in SPLITS:
        for image, name, artist in zip(*emoji(split, size=64), strict=True):
            pictures[name, ARTISTS[artist]] = image
    rows = [pictures[thing, artist] for artist in ARTISTS for thing in THINGS]
    save_grid(out, scale(torch.stack(rows)), columns=len(THINGS), zoom=1)


if __name__ == "__main__":
    main()
