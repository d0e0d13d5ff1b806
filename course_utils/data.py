"""Fashion-MNIST and the emoji, from the files in the repository, and pictures of your own; nothing is downloaded.

data/README.md has sources and licences.
"""

import gzip
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from jaxtyping import Float, UInt8
from torch import Tensor

from course_utils.annotations import Batch, Bytes, Divides64, Split, WrongArgument, advice, checked, describe
from course_utils.pictures import picture_folder as picture_folder

DATA = Path(__file__).resolve().parent.parent / "data"
CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
ARTISTS = ("fluent", "noto", "blob", "twemoji", "emojitwo", "fxemoji")
SPLITS = ("train", "pairs", "names")  # by their numbers in the file

# name: md5 of the published .gz file, md5 of what it unpacks to
FILES = {
    "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
}
EMOJI_MD5 = "dfd1e6e955e1cbfbee3800f4193d9a3d"


def fashion_mnist(train=True, root=DATA):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv 1708.07747), 60,000 training or 10,000 test images.

    The first call unpacks the files in `root` or, if that folder can't be written to, in the user's cache folder.

    Returns images, (N, 1, 28, 28) uint8, and labels, (N,) int64; CLASSES has their names. If a file is missing or
    damaged, the error names it and says what to do.
    """
    from torchvision.datasets import FashionMNIST  # slow to import, and most of the package doesn't need it

    dataset = FashionMNIST(unpacked(Path(root)), train=train, download=False)
    return dataset.data[:, None], dataset.targets


@checked
def emoji(split: Split = "train", size: Divides64 = 32, root=DATA):
    """Emoji of 1,125 things by six teams of artists. Give credit where you show them: data/emoji/LICENSES.md says how.

    `split` is "train", 5,424 pictures; "pairs", 228 whose thing and whose artist are in "train", but not together; or
    "names", 57 of 12 names that no other split has. `size` divides 64: each pixel is the mean of a square of pixels.

    Returns images, (N, 3, size, size) uint8, their names, a list of N strings, and artists, (N,) int64; ARTISTS has the
    artists' names.
    """
    path = Path(root) / "emoji" / "emoji64.npz"
    check_file(path, EMOJI_MD5)
    with np.load(path) as file:
        chosen = file["split"] == SPLITS.index(split)
        images = torch.from_numpy(file["images"][chosen]).permute(0, 3, 1, 2)
        names = file["names"][file["concept"][chosen]].tolist()
        artists = torch.from_numpy(file["vendor"][chosen]).long()
    parts = [F.avg_pool2d(part.float(), 64 // size).round().byte() for part in images.split(500)]
    return torch.cat(parts).contiguous(), names, artists


@checked
def scale(images: Bytes) -> Batch:
    """From uint8, 0 .. 255, to float32, -1 .. 1, the range that diffusion models work in."""
    return images.float() / 127.5 - 1


def unscale(images: Batch) -> Bytes:
    """From floating point, -1 .. 1, back to uint8, 0 .. 255, rounded; values outside are clipped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).byte()


def check_images(name, images):
    """Refuse anything but images (N, C, H, W), uint8 or floating point within -1 .. 1, and say what it is."""
    if not isinstance(images, Float[Tensor, "N C H W"] | UInt8[Tensor, "N C H W"]) or images.numel() == 0:
        must, do = "be images (N, C, H, W), at least one, uint8 or floating point", advice(images)
        raise WrongArgument(f"{name} must {must}, but is {describe(images)}. {do}")
    low, high = images.aminmax()
    if images.is_floating_point() and not (low >= -1 and high <= 1 and (low < 0 or low == high)):
        if low != low:
            raise WrongArgument(f"{name} must be numbers, but {images.isnan().sum()} of {images.numel()} are NaN.")
        found, do = f"range from {low:g} to {high:g}", "2 * images - 1" if high <= 1 else "images / 127.5 - 1"
        raise WrongArgument(f"{name} must be uint8, or floating point scaled to -1 .. 1, but {found}. Try {do}.")


def unpacked(root):
    """A folder that has all four files unpacked and whole: `root`, or else one of `caches()`."""
    if not raw(root).is_dir():
        raise FileNotFoundError(f"There is no folder {raw(root)}. Pass the folder that holds FashionMNIST/raw as root.")
    roots = (root, *caches())
    target = next(filter(whole, roots), None) or first_writable(*roots)
    if not whole(target):
        with FileLock(raw(target) / "unpacking.lock"):
            for name in FILES:
                unpack(raw(root), raw(target), name)
    return target


def raw(root):
    return root / "FashionMNIST" / "raw"


def whole(root):
    return all(md5(raw(root) / name) == after for name, (_, after) in FILES.items())


def md5(path):
    """The file's md5 sum, or None if there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def caches():
    """Where to unpack if the course's own folder is read-only: the user's cache, or else the temporary folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "course_utils", Path(tempfile.gettempdir()) / "course_utils"


def first_writable(*roots):
    for root in roots:
        try:
            raw(root).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=raw(root)).close()
        except OSError:
            continue
        return root
    raise OSError(f"Nowhere to unpack Fashion-MNIST: none of {', '.join(map(str, roots))} can be written to.")


def unpack(source, target, name):
    """Unpack one file under another name, then rename it, so that it is either whole or not there at all."""
    before, after = FILES[name]
    if md5(target / name) == after:  # another process was faster, or only one of the four was damaged
        return
    packed = source / f"{name}.gz"
    check_file(packed, before)
    part = target / f"{name}.part"
    with gzip.open(packed) as compressed, part.open("wb") as plain:
        shutil.copyfileobj(compressed, plain)
    os.replace(part, target / name)


def check_file(path, expected):
    """Refuse a data file that is missing, or whose md5 sum is not the expected one."""
    remedy = f"Restore it with `git checkout -- {path}`, or clone the course again."
    if not path.is_file():
        raise FileNotFoundError(f"The data file {path} is missing. {remedy}")
    if (found := md5(path)) != expected:
        raise ValueError(f"The data file {path} is damaged: its md5 sum is {found}, not {expected}. {remedy}")
