"""The script that trains the latents, and the benchmark that compares them with pixels, on a few made-up drawings."""

import json
import math
import sys
from functools import partial

import pytest
import torch
import train_latents

import emoji_judge
import latents_and_pixels as benchmark
from course_utils.autoencoder import Autoencoder
from course_utils.checkpoints import load_autoencoder, load_unet, read_run
from course_utils.data import ARTISTS, scale
from course_utils.latents import encode

NAMES = ["red heart", "blue heart", "cat", "book", "crying cat"]


def emoji(split="train", size=64):
    number = {"train": 40, "pairs": 32}[split]
    images = torch.randint(0, 256, (number, 3, size, size), generator=torch.Generator().manual_seed(number))
    return images.byte(), [NAMES[i % 5] for i in range(number)], torch.arange(number) % len(ARTISTS)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A function that runs the script for two steps, with small networks."""
    monkeypatch.setattr(train_latents, "emoji", emoji)
    monkeypatch.setattr(train_latents, "draw", partial(train_latents.draw, num_steps=2))
    monkeypatch.setattr(train_latents, "SHEET", ["red heart"])
    small = ["--steps", "2", "--channels", "8", "--batch-size", "2", "--out", str(tmp_path)]

    def run(part):
        monkeypatch.setattr(sys, "argv", ["train_latents.py", part, *small])
        train_latents.main()

    return run


def test_the_script_trains_both_parts_and_goes_on_where_it_stopped(run, tmp_path):
    for part in ("autoencoder", "diffusion"):
        run(part)
        weights = (tmp_path / f"{part}.safetensors").read_bytes()
        run(part)  # there is nothing left to do
        assert len((tmp_path / f"{part}.safetensors").read_bytes()) == len(weights)
        assert "2 steps of 2 pictures" in (tmp_path / f"{part}.md").read_text()
    autoencoder = load_autoencoder(tmp_path / "autoencoder.safetensors")
    assert abs(encode(autoencoder, emoji()[0], "mean").std() - 1) < 1e-4
    assert read_run(tmp_path / "autoencoder.safetensors")["steps"] == 2
    assert load_unet(tmp_path / "diffusion.safetensors").condition.vocabulary.words[2:] == [
        *("blue", "book", "cat", "crying", "heart", "red")
    ]
    assert (tmp_path / "reconstructions.png").is_file()
    assert (tmp_path / "samples.png").is_file()


def test_psnr_of_a_known_error():
    x = torch.rand(2, 3, 8, 8) - 0.5
    for module in (train_latents, benchmark):
        assert abs(module.psnr(x, x + 0.2) - 20) < 1e-4  # 10 log10(2^2 / 0.2^2)


def test_the_power_at_all_sizes_adds_up_to_the_variance():
    """Parseval's theorem; the mean itself is no detail."""
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    variation = (x - x.mean(dim=(2, 3), keepdim=True)).square().sum()
    assert abs(benchmark.power(x).sum() / variation - 1) < 1e-12


@pytest.mark.parametrize(("waves", "place"), [(1, 0), (3, 0), (5, 1), (12, 2), (31, 3)])
def test_stripes_have_all_their_power_at_their_own_size(waves, place):
    stripes = torch.cos(2 * math.pi * waves * torch.arange(64, dtype=torch.float64) / 64).expand(1, 1, 64, 64)
    for x in (stripes, stripes.mT):
        found = benchmark.power(x)
        assert abs(found[place] / (64 * 64 / 2) - 1) < 1e-12
        assert abs(found.sum() / found[place] - 1) < 1e-12


def test_nothing_is_lost_by_a_perfect_decoder_and_everything_by_a_grey_one(monkeypatch):
    images = emoji("pairs")[0]
    for decoded, lost in ((lambda x: x, 0), (lambda x: x.mean(dim=(2, 3), keepdim=True).expand_as(x), 1)):
        monkeypatch.setattr(benchmark, "there_and_back", lambda _, images, decoded=decoded: decoded(scale(images)))
        found = benchmark.errors(None, images)
        assert list(found["lost"]) == ["16 to 64 pixels", "8 to 16 pixels", "4 to 8 pixels", "below 4"]
        assert all(abs(share - lost) < 1e-5 for share in found["lost"].values())


@pytest.fixture
def measure(monkeypatch):
    """`measure` with small networks, trained for a step, on few drawings, and a judge that has learnt nothing."""
    for name, value in dict(emoji=emoji, NUMBER=8, CHANNELS=8, STEPS=2, steps_in=lambda *_, **options: 1).items():
        monkeypatch.setattr(benchmark, name, value)
    benchmark.drawings.cache_clear()
    torch.manual_seed(0)
    yield partial(benchmark.measure, Autoencoder(base_channels=8), emoji_judge.Judge(5, 6).eval().requires_grad_(False))
    benchmark.drawings.cache_clear()


@pytest.mark.parametrize("kind", ["drawings", "reconstructions", *benchmark.NETWORKS])
def test_each_kind_of_row_is_measured(measure, kind):
    # an autoencoder that has learnt nothing has latents that are too small: give them the size that train asks for
    autoencoder = measure.args[0]
    autoencoder.scale.fill_(encode(autoencoder, emoji()[0], "mean").std())
    row = measure(kind=kind, minutes=1, seed=0)
    assert row["fcd"] > 0
    assert ("train_seconds" in row) == (kind in benchmark.NETWORKS)


def test_rows_are_kept_as_they_come_and_made_only_once(tmp_path):
    file, rows, made = tmp_path / "some.json", benchmark.rows_of(20, 60), []

    def measure(**row):
        made.append(row)
        if len(made) == 3:
            raise KeyboardInterrupt
        return dict(fcd=len(made))

    with pytest.raises(KeyboardInterrupt):
        benchmark.fill(file, rows, lambda: dict(decoder={}), measure)
    benchmark.fill(file, rows, lambda: pytest.fail("measured twice"), measure)
    found = json.loads(file.read_text())["rows"]
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert len(made) == len(rows) + 1
    assert {row["minutes"] for row in rows if row["kind"] == "pixels for longer"} == {80}
