"""Training that takes data as it comes, withholds conditions, and runs on several processes."""

import itertools
import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from course_utils.checkpoints import load_checkpoint
from course_utils.data import scale
from course_utils.predictions import V
from course_utils.sampling import denoiser
from course_utils.schedule import cosine_schedule, straight_path
from course_utils.training import (
    diffusion_loss,
    learning_rate,
    step_if_finite,
    train,
    training_step,
    uniform_t,
    withhold,
)
from course_utils.unet import UNet

PATH = cosine_schedule(10)
IMAGES = torch.randint(256, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(12) % 3


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


class Told(nn.Module):
    """A network that notes what it is shown and told; its condition has the null `null`."""

    def __init__(self, null=3):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.condition, self.seen, self.told = nn.Identity(), [], []
        self.condition.null = null

    def forward(self, x_t, t, condition=None):
        self.seen.append(x_t)
        self.told.append(condition)
        return self.weight * x_t


def pictures_seen(data, **options):
    """What the loss is given as x_0, step by step, and what the network is told."""
    model, seen = Told(), []

    def loss(model, x_0, t, noise, path):
        seen.append(x_0)
        return model(x_0, t).mean()

    train(model, data, PATH, loss=loss, **options)
    return seen, model.told


# Data


@pytest.mark.parametrize("kind", ["loader", "list", "pairs", "singles"])
def test_batches_are_taken_as_they_come_and_again_from_the_start(kind):
    batches = list(IMAGES.split(5))
    data = {
        "loader": DataLoader(IMAGES, batch_size=5),
        "list": batches,
        "pairs": DataLoader(TensorDataset(IMAGES, LABELS), batch_size=5),
        "singles": DataLoader(TensorDataset(IMAGES), batch_size=5),
    }[kind]
    seen, told = pictures_seen(data, steps=7)
    for x_0, batch in zip(seen, itertools.cycle(batches), strict=False):
        assert torch.equal(x_0, scale(batch))
    assert len(seen) == 7
    assert told == [None] * 7  # labels that were not asked for


def test_conditions_come_with_the_batches_where_asked_for():
    _, told = pictures_seen(DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4), steps=3, condition=True)
    assert torch.equal(torch.cat(told), LABELS)


def test_a_loader_trains_as_the_tensor_would_on_the_same_batches():
    model, twin = UNet(base_channels=8), UNet(base_channels=8)
    twin.load_state_dict(model.state_dict())
    losses = train(model, [IMAGES], PATH, steps=4, generator=torch.Generator().manual_seed(1))
    optimizer, generator = torch.optim.Adam(twin.parameters()), torch.Generator().manual_seed(1)
    for step, loss in enumerate(losses, start=1):
        optimizer.param_groups[0]["lr"] = learning_rate(step, 4, 2e-3)
        assert abs(training_step(twin, scale(IMAGES), PATH, optimizer, generator).item() - loss) < 1e-6


# Conditions withheld


def test_conditions_are_withheld_independently_for_every_image_at_every_step():
    _, told = pictures_seen(IMAGES, steps=400, batch_size=50, condition=LABELS, drop=0.2)
    withheld = torch.stack([labels == 3 for labels in told]).double()  # (steps, images)
    N = withheld.numel()
    assert (withheld.mean() - 0.2).abs() < 5 * (0.16 / N) ** 0.5
    # The variance of a step's share is that of 50 independent draws: not all of a batch together, not a fixed tenth.
    assert (withheld.mean(dim=1).var() / (0.16 / 50) - 1).abs() < 5 * (2 / 400) ** 0.5
    assert (withheld.mean(dim=0).var() / (0.16 / 400) - 1).abs() < 5 * (2 / 50) ** 0.5


def test_no_condition_is_withheld_without_drop_and_all_are_with_1():
    for drop, expected in [(0.0, False), (1.0, True)]:
        _, told = pictures_seen(IMAGES, steps=3, condition=LABELS, drop=drop)
        assert all((labels == 3).all() == expected for labels in told)


def test_withholding_puts_a_null_of_any_shape_in_place():
    tokens, null = torch.ones(200, 5, dtype=torch.long), torch.tensor([7, 0, 0, 0, 0])
    kept = withhold(tokens, 0.5, null, torch.Generator().manual_seed(0))
    dropped = kept[:, 0] == 7
    assert 60 < dropped.sum() < 140
    assert torch.equal(kept[dropped], null.expand(int(dropped.sum()), 5))
    assert torch.equal(kept[~dropped], tokens[~dropped])
    assert (tokens == 1).all()


# A network that is told something


class Colour(nn.Module):
    """Embeds three numbers; black stands for "not told"."""

    def __init__(self, dim):
        super().__init__()
        self.linear, self.null = nn.Linear(3, dim), torch.zeros(3)

    def forward(self, colours):
        return self.linear(colours)


def test_a_unet_is_told_whatever_its_module_embeds(make_unet):
    model = make_unet(condition=Colour(32))
    x, t, colours = torch.randn(4, 1, 8, 8), torch.tensor([1, 2, 3, 4]), torch.rand(4, 3)
    told, not_told = model(x, t, colours), model(x, t)
    assert not torch.allclose(told, not_told)
    assert torch.equal(not_told, model(x, t, torch.zeros(4, 3)))
    again = model(x[2:3], t[2:3], colours[2:3])
    assert (again - told[2:3]).abs().max() < 1e-4
    history = train(model, IMAGES, PATH, steps=2, condition=torch.rand(12, 3), drop=0.5)
    assert len(history) == 2
    assert denoiser(model, PATH, colours)(x, 5).shape == x.shape


def test_null_label_is_what_a_call_without_labels_means(make_unet):
    model = make_unet(condition=3)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 2])
    assert model.condition.null == 3
    assert torch.equal(model(x, t), model(x, t, torch.tensor([3, 3])))
    assert not torch.allclose(model(x, t), model(x, t, torch.tensor([0, 1])))


# What a step does


def test_levels_come_from_draw_t():
    seen = []

    def loss(model, x_0, t, noise, path):
        seen.append(t)
        return model(x_0, t).mean()

    train(Told(), IMAGES, PATH, steps=3, loss=loss, draw_t=lambda B, T, generator, device: torch.full((B,), T - 1))
    assert all((t == 9).all() for t in seen)


def test_uniform_levels_are_all_equally_often():
    t = uniform_t(100_000, 10, torch.Generator().manual_seed(0))
    assert (t.bincount(minlength=11)[1:] - 10_000).abs().max() < 5 * 9000**0.5
    assert t.min() == 1


@pytest.mark.parametrize(("clip", "length"), [(float("inf"), 6.0), (10.0, 6.0), (1.5, 1.5)])
def test_a_gradient_longer_than_clip_is_shortened_to_it(clip, length):
    model = Told()
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    training_step(
        model, torch.ones(2, 1), PATH, optimizer, loss=lambda model, x_0, *_: model(x_0, _).sum() * 3, clip=clip
    )
    assert abs(model.weight.item() + length) < 1e-4


def test_a_step_never_asks_for_the_value_of_the_loss(monkeypatch):
    """`.item()` and `bool()` of a tensor make an accelerator wait; on the CPU one look at the loss is allowed."""
    asked = []
    for name in ("item", "__bool__", "__float__", "tolist"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda tensor, o=original, n=name: asked.append(n) or o(tensor))
    model = Told()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    value = training_step(model, torch.ones(2, 1), PATH, optimizer)
    assert value.device.type == "cpu"
    assert len(asked) <= 5, asked  # four of check_level, one of the loss; none of them for an accelerator


class Elsewhere:
    """A loss on an accelerator, as far as a step looks at it."""

    device = torch.device("cuda")

    def __init__(self, value):
        self.value = torch.tensor(value)

    def __add__(self, other):
        return self.value + other


def test_on_an_accelerator_a_fused_optimizer_leaves_out_the_step_and_says_nan(monkeypatch):
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
    monkeypatch.setattr(torch, "where", lambda finite, value, other: value.value if finite else torch.tensor(other))
    for value, moved in [(math.nan, False), (2.0, True)]:
        before, weight.grad = weight.item(), torch.ones(())
        loss = step_if_finite(optimizer, Elsewhere(value), torch.ones(()))
        assert (weight.item() != before) == moved
        assert loss.isnan() == (not moved)
    assert not hasattr(optimizer, "found_inf")


def test_on_an_accelerator_any_other_optimizer_is_waited_for():
    weight = nn.Parameter(torch.ones(()))
    for optimizer in (torch.optim.Adam([weight]), torch.optim.SGD([weight], lr=0.1)):
        before, weight.grad = weight.item(), torch.ones(())
        step_if_finite(optimizer, Elsewhere(2.0), torch.ones(()))
        assert weight.item() < before


# Going on


def test_going_on_with_another_path_prediction_or_condition_is_refused_by_name(tmp_path):
    file, model = tmp_path / "run.safetensors", UNet(base_channels=8, condition=3)
    first = dict(steps=2, condition=LABELS, checkpoint=file)
    train(model, IMAGES, PATH, **first)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(ValueError, match="another path"):
        train(model, IMAGES, straight_path(10), **first)
    with pytest.raises(ValueError, match="another prediction: noise, but now it is v"):
        train(model, IMAGES, PATH, loss=partial(diffusion_loss, predicts=V), **first)
    with pytest.raises(ValueError, match="another condition"):
        train(model, IMAGES, PATH, **first | dict(condition=None))
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


def test_going_on_says_what_is_new(tmp_path, capsys):
    file, model = tmp_path / "run.safetensors", UNet(base_channels=8)
    train(model, IMAGES, PATH, steps=4, checkpoint=file)
    capsys.readouterr()
    assert len(train(model, IMAGES, PATH, steps=5, checkpoint=file, lr=1e-3, batch_size=8)) == 5
    said = capsys.readouterr().out
    assert "lr = 0.001; so far it was 0.002" in said
    assert "batch_size = 8; so far it was 32" in said
    assert len(train(model, IMAGES, PATH, steps=3, checkpoint=file, lr=1e-3, batch_size=8)) == 5
    assert "already has 5 steps, more than steps = 3" in capsys.readouterr().out


# Several processes


LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--main_process_port", "0", "--num_processes"]


def run(folder, processes, steps):
    """Train in so many processes; returns the history that each of them saw."""
    folder.mkdir(exist_ok=True)
    script = Path(__file__).with_name("several_processes.py")
    done = subprocess.run(
        [sys.executable, *([*LAUNCH, str(processes)] if processes > 1 else []), script, folder, str(steps)],
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    files = sorted(folder.glob(f"history_*_of_{processes}.json"))
    assert len(files) == processes
    return [json.loads(file.read_text()) for file in files]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    [alone] = run(tmp_path / "one", 1, steps=6)
    together = run(tmp_path / "two", 2, steps=6)
    assert together[0] == together[1]
    assert max(abs(one - two) for one, two in zip(alone, together[0], strict=True)) < 1e-12
    one, two = (UNet(base_channels=8, condition=3).double() for _ in range(2))
    load_checkpoint(tmp_path / "one" / "checkpoint.safetensors", one)
    load_checkpoint(tmp_path / "two" / "checkpoint.safetensors", two)
    for name, weight in one.state_dict().items():
        assert (weight - two.state_dict()[name]).abs().max() < 1e-9, name
    # What one began, two go on with, and the other way round: as the six steps agreed, so must the next two.
    begun_alone, begun_together = run(tmp_path / "one", 2, steps=8)[0], run(tmp_path / "two", 1, steps=8)[0]
    assert begun_alone[:6] == alone
    assert begun_together[:6] == together[0]
    assert max(abs(one - two) for one, two in zip(begun_alone, begun_together, strict=True)) < 1e-9
