"""Make data/emoji/emoji64.npz: draw the emoji of six teams at 64x64 pixels, with their names, from packages of npm.

It needs resvg-py from PyPI, which draws SVG (tried with 0.5.0), and Pillow and NumPy, which the course has. The
drawings come from the npm registry. Run this in the course's folder:

    .venv/bin/pip install resvg-py
    mkdir -p runs/emoji
    (cd runs/emoji && npm pack @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/noto@1.2.9 \
        @iconify-json/noto-v1@1.2.5 @iconify-json/twemoji@1.2.5 @iconify-json/emojione@1.2.3 \
        @iconify-json/fxemoji@1.2.2 emojibase-data@17.0.0)
    .venv/bin/python scripts/make_emoji.py --packages runs/emoji --out runs/emoji/emoji64.npz

It ran once, and the file stays as it is, because networks were trained on it. With --compare it writes nothing, and
says how far the pictures that it draws are from those of a file. --artists leaves some teams out.
"""

import argparse
import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

SIZE, LARGE = 64, 512  # pixels of the file, and of the drawings before they are made smaller
LEVELS = 31  # 5 bits a channel: emoji are flat, and the file is half as large
EMOJIBASE = "emojibase-data-17.0.0"
PACKAGES = {  # artist: package, as `npm pack` names its file
    "fluent": "iconify-json-fluent-emoji-flat-1.2.6",
    "noto": "iconify-json-noto-1.2.9",
    "blob": "iconify-json-noto-v1-1.2.5",
    "twemoji": "iconify-json-twemoji-1.2.5",
    "emojitwo": "iconify-json-emojione-1.2.3",
    "fxemoji": "iconify-json-fxemoji-1.2.2",
}
WITH_CODES = ("twemoji", "noto", "fluent")  # their packages say which character each drawing is
FXEMOJI_FILES = Path(__file__).with_name("fxemoji_files.txt")  # the names of the files in its repository, svgs/

# Older sets have other names than the Unicode CLDR of today.
RENAMED = {
    "a-button": "a-button-blood-type",
    "ab-button": "ab-button-blood-type",
    "b-button": "b-button-blood-type",
    "o-button": "o-button-blood-type",
    "ballot-box-with-check": "check-box-with-check",
    "bouquet-of-flowers": "bouquet",
    "cat-face-with-tears-of-joy": "cat-with-tears-of-joy",
    "cat-face-with-wry-smile": "cat-with-wry-smile",
    "champagne-glass": "bottle-with-popping-cork",
    "crazy-face": "zany-face",
    "direct-hit": "bullseye",
    "dizzy-face": "face-with-crossed-out-eyes",
    "exclamation-mark": "red-exclamation-mark",
    "game-dice": "game-die",
    "grinning-cat-face-with-smiling-eyes": "grinning-cat-with-smiling-eyes",
    "heavy-check-mark": "check-mark",
    "heavy-division-sign": "divide",
    "heavy-heart-exclamation": "heart-exclamation",
    "heavy-large-circle": "hollow-red-circle",
    "heavy-minus-sign": "minus",
    "heavy-multiplication-x": "multiply",
    "heavy-plus-sign": "plus",
    "laptop-computer": "laptop",
    "question-mark": "red-question-mark",
    "red-wine-glass": "wine-glass",
    "robot-face": "robot",
    "smiling-cat-face-with-heart-eyes": "smiling-cat-with-heart-eyes",
    "stock-chart": "chart-increasing",
    "up-text-button": "up-button",
    "white-heavy-check-mark": "check-mark-button",
}
RENAMED |= {f"{it}-face": it for it in ("bear", "fox", "frog", "hamster", "lion", "panda", "unicorn")}
RENAMED |= {f"{it}-cat-face": f"{it}-cat" for it in ("crying", "grinning", "kissing", "pouting", "weary")}

# Drawings that do not show what the name says
WRONG = {("1f52b", artist) for artist in ("blob", "emojitwo", "fxemoji")}  # "water pistol" was a real one
WRONG |= {("1f997", "blob"), ("1f997", "emojitwo")}  # "cricket": the bat, not the insect
WRONG |= {("1f499", "fxemoji"), ("1f32b", "fxemoji")}  # broken in the package
WRONG |= {(f"{code:x}", "fxemoji") for code in range(0x1F638, 0x1F641)}  # its nine cat faces are foxes

PEOPLE_AND_SIGNS = ("people & body", "symbols")  # of these two groups, only:
KEPT = {
    *("geometric", "heart", "hand-fingers-open", "hand-fingers-partial", "hand-single-finger"),
    *("hand-fingers-closed", "hands", "hand-prop", "body-parts"),
}
NOT_FOR_CLASS = ("middle finger", "cigarette")

HELD_OUT = (  # names that no artist's drawing is trained on; each of their words occurs in other names
    *("purple heart", "green circle", "blue square", "orange book", "red apple", "crying cat", "kissing cat"),
    *("four-thirty", "nine o’clock", "waning gibbous moon", "orange square", "brown circle"),
)


def main():
    arguments = parse()
    things = read_things(arguments.packages)
    drawn = {artist: draw_all(artist, things, arguments.packages) for artist in arguments.artists}
    rows = [
        (things[code], artist, round_levels(picture))
        for artist, pictures in drawn.items()
        for code, picture in pictures.items()
        if wanted(things[code])
    ]
    arrays = as_arrays(rows, sorted({thing["group"] for thing, *_ in rows}))
    if arguments.compare:
        compare(arrays, np.load(arguments.compare))
    else:
        np.savez_compressed(arguments.out, **arrays)
        print(f"wrote {arguments.out}: {len(rows):,} pictures, {arguments.out.stat().st_size / 1e6:.1f} MB")


# What there is


def read(folder, package, name):
    """One JSON file of a package."""
    with tarfile.open(folder / f"{package}.tgz") as archive:
        return json.load(archive.extractfile(f"package/{name}"))


def plain(code):
    """A character's code in lower case, without what only asks for a picture in place of a sign."""
    return "-".join(part for part in code.lower().split("-") if part not in ("fe0f", "fe0e"))


def read_things(folder):
    """{code: name, group and subgroup}, in Unicode's order, without flags; skin tones are not in the list."""
    words = read(folder, EMOJIBASE, "en/messages.json")
    groups = {group["order"]: group["message"] for group in words["groups"]}
    subgroups = {group["order"]: group["key"] for group in words["subgroups"]}
    return {
        plain(it["hexcode"]): dict(
            name=it["label"].lower(), group=groups[it["group"]], subgroup=subgroups[it["subgroup"]]
        )
        for it in sorted(read(folder, EMOJIBASE, "en/data.json"), key=lambda it: it.get("order", 0))
        if it.get("group") is not None and groups[it["group"]] not in ("components", "flags")
    }


def wanted(thing):
    allowed = thing["group"] not in PEOPLE_AND_SIGNS or thing["subgroup"] in KEPT
    return allowed and thing["name"] not in NOT_FOR_CLASS


def codes_and_names(artist, icons, things, folder):
    """{code: the drawing's name in its package}."""
    pairs = []
    if artist in WITH_CODES:
        pairs = [(plain(code), name) for code, name in read(folder, PACKAGES[artist], "chars.json").items()]
    elif artist == "fxemoji":
        for code, words in re.findall(r"^u([0-9A-Fa-f]+)-(.*)$", FXEMOJI_FILES.read_text(), flags=re.MULTILINE):
            name = re.sub(r"[^a-z0-9]", "", words.lower())
            if name in icons["icons"]:
                pairs.append((plain(code), name))
    else:
        ours = {re.sub(r"[^a-z0-9]+", "-", thing["name"]).strip("-"): code for code, thing in things.items()}
        theirs = {
            name: plain(code)
            for other in WITH_CODES
            for code, name in read(folder, PACKAGES[other], "chars.json").items()
        }
        for name in (*icons["icons"], *icons.get("aliases", {})):
            found = (table.get(word) for word in (name, RENAMED.get(name)) for table in (ours, theirs))
            pairs += [(code, name) for code in found if code][:1]
    return {code: name for code, name in reversed(pairs)}  # the first of each code


# How it looks


def draw_all(artist, things, folder):
    """{code: (64, 64, 3)} of all of an artist's drawings, as large as 98 of 100 of them can be."""
    icons = read(folder, PACKAGES[artist], "icons.json")
    names = codes_and_names(artist, icons, things, folder)
    codes = [code for code in things if code in names and (code, artist) not in WRONG]
    drawn = {code: draw(svg) for code in codes if (svg := svg_of(icons, names[code]))}
    reaches = {code: reach(png) for code, png in drawn.items()}
    share = min(1.0, float(np.quantile([it for it in reaches.values() if it], 0.98)) * 32 / 31)
    print(f"{artist}: {len(drawn)} drawings; the middle {share:.1%} of the canvas is kept", flush=True)
    return {code: shrink(png, share) for code, png in drawn.items() if reaches[code]}


def svg_of(icons, name):
    """A drawing as SVG; None where it is the mirror image of another one."""
    changed = {}
    while name not in icons["icons"]:
        alias = icons["aliases"][name]
        changed, name = {**alias, **changed}, alias["parent"]
    icon = {**icons["icons"][name], **changed}
    if {"rotate", "hFlip", "vFlip"} & set(icon):
        return None
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    box = f'viewBox="{left} {top} {width} {height}" width="{LARGE}" height="{LARGE}"'
    return f"<svg {spaces} {box}>{icon['body']}</svg>"


def draw(svg):
    """SVG -> the bytes of a PNG of 512x512 pixels, which take less memory than the pixels."""
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def reach(png):
    """How far a drawing reaches from the middle of the canvas towards its edge, as a share; 0 if there is none."""
    ys, xs = np.where(pixels(png)[..., 3] > 16)
    if not len(xs):
        return 0
    return 2 * max(LARGE / 2 - min(xs.min(), ys.min()), max(xs.max(), ys.max()) + 1 - LARGE / 2) / LARGE


def shrink(png, share):
    """The middle share of a drawing, on white, as 64x64 pixels."""
    picture = pixels(png)
    opacity = picture[..., 3:].astype(np.float32) / 255
    on_white = Image.fromarray((picture[..., :3] * opacity + 255 * (1 - opacity)).round().astype(np.uint8))
    margin = LARGE * (1 - share) / 2
    box = (margin, margin, LARGE - margin, LARGE - margin)
    return np.asarray(on_white.resize((SIZE, SIZE), Image.Resampling.LANCZOS, box=box))


def round_levels(picture):
    return (np.round(picture.astype(float) * LEVELS / 255) * 255 / LEVELS).round().astype(np.uint8)


# The file


def as_arrays(rows, groups):
    """The arrays of the file, from rows of thing, artist and picture."""
    things, artists, pictures = zip(*rows, strict=True)
    names = sorted({thing["name"] for thing in things})
    drawings = Counter(thing["name"] for thing in things)
    return dict(
        images=np.stack(pictures),
        concept=np.array([names.index(thing["name"]) for thing in things], dtype=np.uint16),
        vendor=np.array([list(PACKAGES).index(artist) for artist in artists], dtype=np.uint8),
        group=np.array([groups.index(thing["group"]) for thing in things], dtype=np.uint8),
        split=np.array([split(thing["name"], artist, drawings) for thing, artist, _ in rows], dtype=np.uint8),
        names=np.array(names),
        vendors=np.array(list(PACKAGES)),
        groups=np.array(groups),
    )


def split(name, artist, drawings):
    """2 for a name that is held out; 1 for one pair in 20, if at least four artists drew the thing; 0 for the rest."""
    if name in HELD_OUT:
        return 2
    draw = int(hashlib.sha1(f"{name}|{artist}".encode()).hexdigest(), 16) % 20
    return int(draw == 0 and drawings[name] >= 4)


def compare(new, old):
    """Print how far pictures are from those of the same thing by the same artist in another file."""
    pictures = [
        {
            (file["names"][thing], file["vendors"][artist]): image.astype(int)
            for thing, artist, image in zip(file["concept"], file["vendor"], file["images"], strict=True)
        }
        for file in (new, {name: old[name] for name in old.files})
    ]
    artists = {artist for _, artist in pictures[0]}
    mine, theirs = pictures[0], {pair: image for pair, image in pictures[1].items() if pair[1] in artists}
    both = mine.keys() & theirs.keys()
    print(
        f"{len(mine)} pictures here and {len(theirs)} there, {len(both)} of them of the same thing by the same artist"
    )
    apart = [np.abs(mine[pair] - theirs[pair]).max() for pair in both]
    print(f"{sum(far == 0 for far in apart)} are equal; the largest difference of a pixel is {max(apart)} of 255")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=Path("runs/emoji"), help="the folder of the .tgz files")
    parser.add_argument("--out", type=Path, default=Path("runs/emoji/emoji64.npz"), help="the file to write")
    parser.add_argument("--artists", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="default: all")
    parser.add_argument("--compare", type=Path, help="a file to compare with, in place of writing one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
