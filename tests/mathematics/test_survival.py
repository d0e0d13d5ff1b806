"""Training that can't be lost: killed, out of disk or memory, off to infinity, or given a file that is no checkpoint.

What needs processes that die is in scripts/killed_runs.py; `make stress` kills more of them.
"""

import contextlib
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from killed_runs import Net, build
from safetensors.torch import save_file
from torch import nn

from course_utils import checkpoints, training
from course_utils.checkpoints import load_checkpoint, save_checkpoint
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, diffusion_loss, train

SCHEDULE = cosine_schedule(10)
IMAGES = torch.arange(50 * 16, dtype=torch.float32).sin().reshape(50, 1, 4, 4)


@pytest.mark.parametrize("how", ["10", "points"])
def test_killed_runs_go_on_to_the_same_end(tmp_path, how):
    script = Path(__file__).parent.parent.parent / "scripts" / "killed_runs.py"
    command = [sys.executable, str(script), str(tmp_path), how]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every run ended exactly like the one that was left alone, bit for bit" in done.stdout


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def run(path=None, steps=12, model=None, **options):
    """A short run, and what it leaves: history, model, EMA."""
    own, _, generator = build()
    model = model or own
    ema = EMA(model)
    options = dict(steps=steps, batch_size=4, ema=ema, generator=generator, checkpoint=path) | options
    return train(model, IMAGES, SCHEDULE, **options), model, ema


def save_often(monkeypatch):
    """Every second step, in place of every five hundredth."""
    monkeypatch.setattr(training, "SAVE_EVERY", 2)


def steps_saved(path):
    with torch.random.fork_rng():
        return len(load_checkpoint(path, build()[0]))


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


# The disk is full


@contextlib.contextmanager
def full_disk(largest=1000):
    """No file may grow beyond so many bytes: writing fails in the kernel, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_said_and_the_old_checkpoint_is_intact(path):
    _, model, ema = run(path)
    before = path.read_bytes()
    with full_disk(), pytest.raises(OSError, match=r"run\.safetensors could not be written .* Free some space"):
        save_checkpoint(path, model, ema=ema)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_run_that_cannot_be_saved_fails_before_its_first_step(path):
    steps = []
    with full_disk(), pytest.raises(OSError, match="Free some space"):
        run(path, callback=lambda step, loss: steps.append(step))
    assert steps == []


@pytest.mark.parametrize("place", ["a folder", "in a file", "/dev/null/run.safetensors"])
def test_checkpoint_where_none_can_be_fails_before_the_first_step(tmp_path, place):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "in a file").write_text("a file")
    path = tmp_path / (f"{place}/run.safetensors" if place == "in a file" else place)
    steps = []
    with pytest.raises((OSError, ValueError), match=str(path)):
        run(path, callback=lambda step, loss: steps.append(step))
    assert steps == []


def test_disk_that_is_full_for_a_while_does_not_end_the_run(path, monkeypatch, capsys):
    save_often(monkeypatch)
    disk, saved = contextlib.ExitStack(), []

    def callback(step, loss):
        if step == 3:
            disk.enter_context(full_disk())
        if step == 7:
            disk.close()
        saved.append(steps_saved(path))

    history, model, _ = run(path, callback=callback)
    assert saved == [0, 2, 2, 2, 2, 2, 2, 8, 8, 10, 10, 10]
    assert steps_saved(path) == 12
    assert capsys.readouterr().out.count("Training goes on") == 2
    left_alone = run()
    assert history == left_alone[0]
    assert torch.equal(weights(model), weights(left_alone[1]))


def test_disk_that_stays_full_is_an_error_at_the_end_and_what_was_learnt_is_kept(path):
    with contextlib.ExitStack() as disk:
        _, model, _ = left_alone = run()
        model, ema, generator = build()
        options = dict(steps=12, batch_size=4, ema=ema, generator=generator, checkpoint=path)
        with pytest.raises(OSError, match="Free some space"):
            train(model, IMAGES, SCHEDULE, callback=lambda *_: disk.enter_context(full_disk()), **options)
    assert torch.equal(weights(model), weights(left_alone[1]))
    assert torch.equal(weights(ema.model), weights(left_alone[2].model))


def test_leftovers_of_killed_saves_go_once_they_are_old(path):
    old, young, other = (path.with_name(name) for name in (f".{path.name}.1.part", f".{path.name}.2.part", ".x.1.part"))
    for part in (old, young, other):
        part.write_text("half")
    for part in (old, other):
        os.utime(part, (time.time() - 4000,) * 2)
    run(path)
    assert sorted(path.parent.iterdir()) == sorted([path, young, other])


def test_new_name_is_on_the_disk_too(path, monkeypatch):
    synced, fsync = [], os.fsync

    def spied(handle):
        synced.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spied)
    save_checkpoint(path, Net())
    assert synced == [False, True]


# Not a checkpoint of this run


def other_architecture(path):
    model = nn.Linear(3, 3)
    train(Wrapped(model), IMAGES, SCHEDULE, steps=1, ema=EMA(Wrapped(model)), checkpoint=path)


class Wrapped(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x_t, t):
        return x_t * self.part.weight.sum()


FOREIGN = {
    "truncated": (lambda path: [run(path), os.truncate(path, path.stat().st_size // 2)], "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged"),
    "a pickle": (lambda path: torch.save({"a": torch.ones(2)}, path), "is damaged"),
    "not ours": (lambda path: save_file({"a": torch.ones(2)}, path), "not a checkpoint from this version"),
    "tampered": (lambda path: [run(path), flip(path, -10)], "is damaged"),
    "of another architecture": (other_architecture, r"weights differ, first layers\.0\.bias"),
}


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("make", "message"), FOREIGN.values(), ids=FOREIGN)
def test_training_refuses_what_is_not_its_checkpoint_and_leaves_it_alone(path, make, message):
    make(path)
    before, model, steps = path.read_bytes(), build()[0], []
    untrained = weights(model).clone()
    with pytest.raises(ValueError, match=message):
        run(path, model=model, callback=lambda step, loss: steps.append(step))
    assert path.read_bytes() == before
    assert torch.equal(weights(model), untrained)
    assert steps == []


def test_checkpoint_with_as_many_steps_is_taken_as_it_is(path):
    history, model, _ = run(path)
    again, same_model, _ = run(path, steps=5)
    assert again == history
    assert torch.equal(weights(model), weights(same_model))


# Off to infinity


def spoiled(how, at):
    """A loss that is all right until its call number `at`, and then has a value or a gradient that is not finite."""
    calls = []

    def loss(*arguments):
        calls.append(1)
        value = diffusion_loss(*arguments)
        return value if len(calls) < at else how(value)

    return loss


SPOILED = {
    "the loss is not a number": lambda value: value * float("nan"),
    "the loss is infinite": lambda value: value + float("inf"),
    "the gradient is not a number": lambda value: value + (value - value.detach()).abs().sqrt(),
    "the gradient is infinite": lambda value: value + (value - value.detach() + 1e-30) * 1e38 * 1e38 * 1e-38,
}


@pytest.mark.parametrize("how", SPOILED.values(), ids=SPOILED)
def test_what_is_not_finite_stops_at_that_step_and_the_last_good_state_is_kept(path, monkeypatch, how):
    save_often(monkeypatch)
    model, ema, generator = build()
    options = dict(steps=12, batch_size=4, ema=ema, generator=generator, checkpoint=path)
    steps = []
    with pytest.raises(FloatingPointError, match=r"the loss is .* norm of its gradient .*\. Lower lr"):
        train(model, IMAGES, SCHEDULE, loss=spoiled(how, 8), callback=lambda step, _: steps.append(step), **options)
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    good = build()
    with contextlib.suppress(FloatingPointError):
        options = options | dict(ema=good[1], generator=good[2], checkpoint=None)
        train(good[0], IMAGES, SCHEDULE, loss=spoiled(SPOILED["the loss is not a number"], 8), **options)
    assert torch.equal(weights(model), weights(good[0]))
    assert torch.equal(weights(ema.model), weights(good[1].model))
    assert weights(model).isfinite().all()
    assert steps_saved(path) == 6


# Out of memory


class Hungry(Net):
    """Finds no memory in one of its calls, as a network on an accelerator would."""

    def __init__(self, at):
        super().__init__()
        self.calls, self.at = 0, at

    def forward(self, x_t, t):
        self.calls += 1
        noise_hat = super().forward(x_t, t)  # has drawn for its dropout by then
        if self.calls == self.at:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return noise_hat


def hungry(at):
    torch.manual_seed(0)
    return Hungry(at)


def test_out_of_memory_says_which_setting_to_lower_and_what_was_learnt_is_kept(path):
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"batch_size = 4\. Lower batch_size, or .* base_channels"):
        run(path, model=hungry(8))
    assert steps_saved(path) == 7
    history, model, ema = run(path, model=hungry(0))
    left_alone = run(model=hungry(0))
    assert history == left_alone[0]
    assert torch.equal(weights(model), weights(left_alone[1]))
    assert torch.equal(weights(ema.model), weights(left_alone[2].model))


def test_stop_button_while_a_checkpoint_is_written_loses_nothing(path, monkeypatch):
    save_often(monkeypatch)
    real, calls = checkpoints.save_file, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:  # at the start, after steps 2 and 4, and now after step 6
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(checkpoints, "save_file", interrupted)
    assert len(run(path)[0]) == 6
    assert steps_saved(path) == 6
    history, model, _ = run(path)
    left_alone = run()
    assert history == left_alone[0]
    assert torch.equal(weights(model), weights(left_alone[1]))
