"""A folder of pictures of any kind, as one tensor (notebook 15). Whatever is left out is named."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from course_utils.annotations import Count, Fit, checked

LANCZOS = Image.Resampling.LANCZOS


@checked
def picture_folder(path, size: Count, fit: Fit = "crop", background: str = "white", grey: bool = False):
    """Every picture in a folder and its subfolders, size x size pixels, and its label.

    A picture is what Pillow reads, judged by the ending of its name; of a film, it is the first frame. Photos are
    turned upright. Transparent parts show `background`, any colour that Pillow knows, such as "black" or "#ffcc00".
    What is not square is cropped around its middle, or, with fit="pad", kept whole on the background.

    Prints how many pictures there are, and the name of each file that is left out: broken, hidden or of another type.

    Returns images, (N, 3, size, size) uint8, or (N, 1, size, size) with `grey`, sorted by their names, and labels, (N,)
    int64. Pictures in the first subfolder have label 0, in the next one 1, and so on. Without subfolders all labels
    are 0, and pictures beside subfolders count as one more, the first.
    """
    from torchvision.transforms.functional import pil_to_tensor  # slow to import

    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is no folder {path}.")
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is a file. Pass the folder that holds the pictures.")
    ImageColor.getrgb(background)  # a mistyped colour is no fault of the files

    images, folders = [], []
    files, left_out = sort_out(path)
    for file in files:
        try:
            picture = flat(file, background).convert("L" if grey else "RGB")
        except Exception as error:  # damaged files raise nearly anything
            why = "empty, or not a picture" if isinstance(error, UnidentifiedImageError) else error
            left_out["broken"].append(f"{file.relative_to(path)} ({why})")
        else:
            images.append(pil_to_tensor(fitted(picture, size, fit, background)))
            folders.append(file.relative_to(path).parts[0] if file.parent != path else "")
    names = sorted(set(folders))
    report(path, len(images), names, left_out)
    if not images:
        raise ValueError(f"There is no picture that can be read in {path}.")
    return torch.stack(images), torch.tensor([names.index(folder) for folder in folders])


def sort_out(path):
    """The files whose names are those of pictures, in order, and {why not: [name]} of all others."""
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    files, left_out = [], {"broken": [], "hidden": [], "of another type": []}
    for file in entries(path):
        if file.name.startswith("."):
            left_out["hidden"].append(str(file.relative_to(path)))
        elif file.suffix.lower() in suffixes and file.is_file():
            files.append(file)
        else:
            left_out["of another type"].append(str(file.relative_to(path)))
    return files, left_out


def entries(path):
    """All that is in a folder and its subfolders, sorted; a hidden folder or a link to a folder is a single entry."""
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            yield from entries(entry)
        else:
            yield entry


def flat(file, background):
    """The picture in a file as RGB, on a background."""
    with Image.open(file) as opened:
        picture = colours(opened)
    return Image.alpha_composite(Image.new("RGBA", picture.size, background), picture).convert("RGB")


def colours(opened):
    """A picture of any kind, as Pillow opened it, upright and as RGBA."""
    picture = ImageOps.exif_transpose(opened)  # a camera that was held sideways says so
    if picture.mode.startswith(("I", "F")):  # more than 8 bits for each pixel
        top = 1 if picture.mode == "F" else 65535
        values = np.asarray(picture, dtype=np.float64) / top
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"its values are not within 0 .. {top}")
        picture = Image.fromarray((255 * values).round().astype(np.uint8))
    return picture.convert("RGBA")


def fitted(picture, size, fit, background):
    """A square picture: its middle, or all of it on a background."""
    if fit == "crop":
        return ImageOps.fit(picture, (size, size), LANCZOS)
    inside = [max(1, round(size * side / max(picture.size))) for side in picture.size]
    return ImageOps.pad(picture.resize(inside, LANCZOS), (size, size), color=background)


def report(path, number, names, left_out):
    """Print what was found in a folder, and what was left out."""
    print(f"{number} picture{'s' * (number != 1)} in {path}")
    if len(names) > 1:
        print("  labels:", ", ".join(f"{label} is {name or 'no subfolder'}" for label, name in enumerate(names)))
    for why, found in left_out.items():
        if found:
            print(f"  left out, {len(found)} {why}: {', '.join(found)}")
