import contextlib
import getpass
import gzip
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST

from course_utils.data import ARTISTS, CLASSES, DATA, SPLITS, emoji, fashion_mnist, scale, unscale

NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
NAME = NAMES[3]  # the smallest
NOBODY = 65534


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Whatever reaches for the network fails, and so does the test."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("this test is offline")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    yield
    assert attempts == []


@pytest.fixture(autouse=True)
def outside(monkeypatch, tmp_path):  # tmp_path comes first, so that pytest's own folders lie elsewhere
    """A folder with room for the user's cache, and for temporary files; other users may enter it, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "temporary").mkdir()
        for path in (folder, folder / "temporary"):
            path.chmod(0o777)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
        yield folder


def raw(root):
    return root / "FashionMNIST" / "raw"


@pytest.fixture
def packed(tmp_path):
    """A folder with the .gz files alone, as after a clone of the repository."""
    root = tmp_path / "packed"
    raw(root).mkdir(parents=True)
    for name in NAMES:
        shutil.copy(raw(DATA) / f"{name}.gz", raw(root))
    return root


@pytest.fixture(scope="module")
def published():
    """The test images and labels, from the repository."""
    return fashion_mnist(train=False)


@pytest.fixture
def unpacked(packed, published):
    """A folder with the unpacked files too."""
    for name in NAMES:
        shutil.copy(raw(DATA) / name, raw(packed))
    return packed


# What is in there


@pytest.mark.parametrize(("train", "N"), [(True, 60_000), (False, 10_000)])
def test_images_are_bytes_and_labels_whole_numbers(train, N):
    images, labels = fashion_mnist(train)
    assert (images.shape, images.dtype) == ((N, 1, 28, 28), torch.uint8)
    assert (labels.shape, labels.dtype) == ((N,), torch.int64)


@pytest.mark.parametrize(("train", "N"), [(True, 6000), (False, 1000)])
def test_every_class_has_the_same_number_of_images(train, N):
    _, labels = fashion_mnist(train)
    assert torch.bincount(labels).tolist() == [N] * 10


@pytest.mark.parametrize("train", [True, False])
def test_values_are_those_of_the_published_files(train):
    # Big-endian numbers come first: the format, the number of items, the sides of an image.
    prefix = "train" if train else "t10k"
    images, labels = (
        gzip.decompress((raw(DATA) / f"{prefix}-{kind}.gz").read_bytes())
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    loaded_images, loaded_labels = fashion_mnist(train)
    assert struct.unpack(">4i", images[:16]) == (2051, len(loaded_images), 28, 28)
    assert struct.unpack(">2i", labels[:8]) == (2049, len(loaded_labels))
    assert loaded_images.numpy().tobytes() == images[16:]
    assert bytes(loaded_labels.tolist()) == labels[8:]


def test_classes_are_named_in_the_order_of_the_labels():
    assert len(CLASSES) == 10
    assert all(full.startswith(name) for full, name in zip(FashionMNIST.classes, CLASSES, strict=True))


# The emoji


@pytest.fixture(scope="module")
def emoji_file():
    """Everything in the file of the emoji, by name."""
    with np.load(DATA / "emoji" / "emoji64.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def splits():
    """Images at 32x32, names and artists of each split."""
    return {split: emoji(split) for split in SPLITS}


def test_emoji_are_bytes_in_colour_with_names_and_artists(splits):
    assert {split: len(images) for split, (images, _, _) in splits.items()} == {
        "train": 5424,
        "pairs": 228,
        "names": 57,
    }
    for images, names, artists in splits.values():
        assert (images.shape, images.dtype) == ((len(images), 3, 32, 32), torch.uint8)
        assert images.is_contiguous()
        assert len(names) == len(images)
        assert {type(name) for name in names} == {str}
        assert (artists.shape, artists.dtype) == ((len(images),), torch.int64)
        assert set(artists.tolist()) == set(range(len(ARTISTS)))


def test_emoji_at_64_are_those_of_the_file(emoji_file):
    images, names, artists = emoji("names", size=64)
    rows = [
        (emoji_file["names"][emoji_file["concept"][i]], emoji_file["vendors"][emoji_file["vendor"][i]], i)
        for i in np.flatnonzero(emoji_file["split"] == 2)
    ]
    assert list(zip(names, (ARTISTS[artist] for artist in artists), strict=True)) == [row[:2] for row in rows]
    for image, (*_, i) in zip(images, rows, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), emoji_file["images"][i])


@pytest.mark.parametrize("size", [32, 16, 1])
def test_a_pixel_of_a_smaller_emoji_is_the_mean_of_a_square(size):
    large, small = (emoji("pairs", side)[0].numpy().astype(int) for side in (64, size))
    k = 64 // size
    sums = sum(large[:, :, i::k, j::k] for i in range(k) for j in range(k))
    assert (2 * np.abs(k * k * small - sums)).max() <= k * k  # rounded to the nearest


def test_artists_are_in_the_order_of_the_file(emoji_file):
    assert tuple(emoji_file["vendors"]) == ARTISTS


def test_what_is_held_out_is_new_and_its_parts_are_not(splits):
    pairs = {split: set(zip(names, artists.tolist(), strict=True)) for split, (_, names, artists) in splits.items()}
    names = {split: set(names) for split, (_, names, _) in splits.items()}
    assert sum(map(len, pairs.values())) == len(set.union(*pairs.values())) == 5709
    assert names["pairs"] <= names["train"]
    assert len(names["names"]) == 12
    assert not names["names"] & (names["train"] | names["pairs"])
    words = {split: {word for name in its for word in re.findall(r"\w+", name)} for split, its in names.items()}
    assert words["names"] <= words["train"]


@pytest.fixture
def copied_emoji(tmp_path):
    (tmp_path / "emoji").mkdir()
    return Path(shutil.copy(DATA / "emoji" / "emoji64.npz", tmp_path / "emoji"))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: truncate(path), lambda path: flip_a_byte(path)])
def test_emoji_that_are_missing_or_damaged_are_refused_by_name(copied_emoji, damage):
    damage(copied_emoji)
    with pytest.raises((FileNotFoundError, ValueError), match=rf"{re.escape(str(copied_emoji))}.*git checkout"):
        emoji(root=copied_emoji.parent.parent)


@pytest.mark.parametrize("wrong", [dict(split="trian"), dict(split=0), dict(size=28), dict(size=128), dict(size=0)])
def test_a_split_or_a_size_that_there_is_not_is_refused_by_name(wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(
        ValueError, match=f"emoji: {name} must be .*{'names' if name == 'split' else '64'}.* is {value!r}"
    ):
        emoji(**wrong)


# To -1 .. 1 and back

BYTES = torch.arange(256, dtype=torch.uint8)


def test_scale_takes_bytes_to_minus_1_to_1_in_equal_steps():
    scaled = scale(BYTES)
    assert scaled.dtype == torch.float32
    assert (scaled[0], scaled[255]) == (-1, 1)
    assert (scaled.double().diff() - 2 / 255).abs().max() < 1e-7


def test_unscale_takes_scaled_bytes_back():
    assert unscale(scale(BYTES)).dtype == torch.uint8
    assert torch.equal(unscale(scale(BYTES)), BYTES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unscale_rounds_to_the_nearest_byte(dtype):
    nearly = scale(BYTES).to(dtype) + torch.tensor([[-0.49], [0.49]], dtype=dtype) / 127.5
    assert torch.equal(unscale(nearly), BYTES.expand(2, 256))


def test_unscale_cuts_what_lies_outside():
    assert unscale(torch.tensor([-1.5, -1e9, 1.5, 1e9])).tolist() == [0, 0, 255, 255]


# The first use, and files that are not as they should be


def same(a, b):
    """Whether two pairs of images and labels agree."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_first_use_unpacks(packed, published):
    assert same(fashion_mnist(False, packed), published)
    assert {path.name for path in raw(packed).iterdir() if path.suffix not in (".gz", ".lock")} == set(NAMES)


def test_first_use_leaves_nothing_elsewhere(unpacked, outside):
    (raw(unpacked) / NAME).unlink()
    fashion_mnist(root=unpacked)
    assert list(outside.rglob("*")) == [outside / "temporary"]


def test_first_use_needs_no_name_of_the_user_and_no_home(unpacked, published, monkeypatch):
    # In a container the user may be a number only.
    def no_name():
        raise KeyError("getpwuid(): uid not found: 1234")

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    (raw(unpacked) / NAME).unlink()
    monkeypatch.setattr(getpass, "getuser", no_name)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert same(fashion_mnist(False, unpacked), published)


def test_root_may_be_text(unpacked, published):
    assert same(fashion_mnist(False, str(unpacked)), published)


@pytest.mark.parametrize("name", NAMES)
def test_missing_gz_is_named(unpacked, name):
    (raw(unpacked) / name).unlink()
    (raw(unpacked) / f"{name}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(raw(unpacked) / f"{name}.gz"))):
        fashion_mnist(root=unpacked)


@pytest.mark.parametrize(("name", "damage"), [(NAME, truncate), *((name, flip_a_byte) for name in NAMES)])
def test_damaged_gz_is_named_and_nothing_is_unpacked_from_it(unpacked, name, damage):
    (raw(unpacked) / name).unlink()
    damage(raw(unpacked) / f"{name}.gz")
    with pytest.raises(ValueError, match=re.escape(str(raw(unpacked) / f"{name}.gz"))):
        fashion_mnist(root=unpacked)
    assert not (raw(unpacked) / name).exists()


@pytest.mark.parametrize("damage", [flip_a_byte, truncate], ids=["same size", "half"])
def test_damaged_unpacked_file_is_unpacked_again(unpacked, damage, published):
    damage(raw(unpacked) / NAME)
    assert same(fashion_mnist(False, unpacked), published)


def test_damaged_unpacked_file_without_its_gz_is_an_error(unpacked):
    truncate(raw(unpacked) / NAME)
    (raw(unpacked) / f"{NAME}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{NAME}.gz")):
        fashion_mnist(root=unpacked)


def test_damaged_unpacked_file_with_a_damaged_gz_is_an_error(unpacked):
    truncate(raw(unpacked) / NAME)
    flip_a_byte(raw(unpacked) / f"{NAME}.gz")
    with pytest.raises(ValueError, match=re.escape(f"{NAME}.gz")):
        fashion_mnist(root=unpacked)


def test_gz_files_are_not_needed_once_unpacked(unpacked, published):
    for name in NAMES:
        (raw(unpacked) / f"{name}.gz").unlink()
    assert same(fashion_mnist(False, unpacked), published)


def test_crash_leaves_no_half_file_and_the_next_use_succeeds(unpacked, monkeypatch, published):
    def crash(source, target):
        target.write(source.read(1000))
        raise KeyboardInterrupt

    (raw(unpacked) / NAME).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", crash)
        with pytest.raises(KeyboardInterrupt):
            fashion_mnist(root=unpacked)
    assert not (raw(unpacked) / NAME).exists()
    assert same(fashion_mnist(False, unpacked), published)


def test_left_overs_of_a_crash_do_not_disturb(unpacked, published):
    size = (raw(unpacked) / NAME).stat().st_size
    (raw(unpacked) / NAME).unlink()
    (raw(unpacked) / f"{NAME}.part").write_bytes(b"?" * 2 * size)
    (raw(unpacked) / "unpacking.lock").touch()
    assert same(fashion_mnist(False, unpacked), published)


def test_root_that_is_not_there_is_an_error_and_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="mistyped"):
        fashion_mnist(root=tmp_path / "mistyped")
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.slow
def test_first_uses_at_the_same_time_all_succeed(packed):
    script = """
import sys, time
from pathlib import Path
import torchvision.datasets
from course_utils.data import fashion_mnist
root, number = Path(sys.argv[1]), sys.argv[2]
(root / f"ready {number}").touch()
while not (root / "go").exists():
    time.sleep(0.001)
images, labels = fashion_mnist(root=root)
print(len(images), int(labels.sum()))
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, packed, str(i)], stdout=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    while len(list(packed.glob("ready *"))) < 2 and all(process.poll() is None for process in processes):
        time.sleep(0.001)
    (packed / "go").touch()
    assert [process.communicate()[0] for process in processes] == ["60000 270000\n"] * 2


# A checkout that can't be written to


@pytest.fixture
def read_only(outside, packed):
    """A folder of .gz files that can't be written to inside `as_somebody_else`."""
    root = outside / "checkout"
    shutil.copytree(packed, root)
    return root


@contextlib.contextmanager
def as_somebody_else(*folders):
    """Inside, `folders` can't be written to. Modes do not bind root, who becomes another user instead."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        paths = [path for folder in folders for path in (folder, *folder.rglob("*")) if path.is_dir()]
        for path in paths:
            path.chmod(0o555)
        try:
            yield
        finally:
            for path in paths:
                path.chmod(0o755)


def unpacked_in(folder):
    """{path: when it was written} of the unpacked files in a folder."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*ubyte")}


def test_read_only_checkout_unpacks_into_the_cache(read_only, outside, published):
    before = list(read_only.rglob("*"))
    with as_somebody_else(read_only):
        assert same(fashion_mnist(False, read_only), published)
    assert list(read_only.rglob("*")) == before
    assert {path.name for path in unpacked_in(outside / "cache")} == set(NAMES)


def test_read_only_checkout_is_unpacked_only_once(read_only, outside):
    with as_somebody_else(read_only):
        fashion_mnist(False, read_only)
        before = unpacked_in(outside)
        fashion_mnist(False, read_only)
    assert unpacked_in(outside) == before


def test_unpacked_read_only_checkout_needs_no_cache(read_only, unpacked, outside, published):
    for name in NAMES:
        shutil.copy(raw(unpacked) / name, raw(read_only))
    with as_somebody_else(read_only):
        assert same(fashion_mnist(False, read_only), published)
    assert not (outside / "cache").exists()


def test_without_a_cache_the_temporary_folder_does(read_only, outside, published):
    (outside / "cache").mkdir()
    with as_somebody_else(read_only, outside / "cache"):
        assert same(fashion_mnist(False, read_only), published)
    assert list((outside / "cache").iterdir()) == []
    assert {path.name for path in unpacked_in(outside / "temporary")} == set(NAMES)


def test_nowhere_to_unpack_is_an_error_that_names_the_places(read_only, outside):
    for name in ("cache", "temporary"):
        (outside / name).mkdir(exist_ok=True)
        (outside / name).chmod(0o755)
    places = (read_only, outside / "cache", outside / "temporary")
    with as_somebody_else(*places), pytest.raises(OSError, match="can be written to") as caught:
        fashion_mnist(False, read_only)
    assert all(str(place) in str(caught.value) for place in places)
