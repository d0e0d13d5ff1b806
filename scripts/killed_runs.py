"""Trains in child processes that are killed, and prints how each ended.

    python scripts/killed_runs.py FOLDER 100       kills at a hundred random moments
    python scripts/killed_runs.py FOLDER points    dies at chosen points of a save

This is a process of its own, because torch must be imported before the children are forked (importing it takes far
longer than such a run), and by then pytest's own process has threads. After each kill the checkpoint is read as a
learner would read it; at the end, the run that went through all the kills is compared with one left alone.
"""

import functools
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from course_utils import checkpoints, training
from course_utils.checkpoints import load_checkpoint
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, train

STEPS, SAVE_EVERY, DEAD = 400, 2, 9  # a save takes about as long as two steps, so that about every other kill hits one


class Net(torch.nn.Module):
    """Small, and with dropout, so that torch's own random state matters too."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(17, 64), torch.nn.Dropout(0.1), torch.nn.Linear(64, 16))

    def forward(self, x_t, t):
        told = torch.cat([x_t.flatten(1), t[:, None] / 10], dim=1)
        return self.layers(told).reshape(x_t.shape)


def build():
    torch.manual_seed(0)
    model = Net()
    return model, EMA(model), torch.Generator().manual_seed(1)


def run(checkpoint, steps=STEPS):
    """The run, or what is left of it; returns everything it ends with."""
    model, ema, generator = build()
    images = torch.arange(50 * 16, dtype=torch.float32).sin().reshape(50, 1, 4, 4)
    options = dict(steps=steps, batch_size=4, ema=ema, generator=generator, checkpoint=checkpoint)
    history = train(model, images, cosine_schedule(10), **options)
    return (
        history,
        list(model.parameters()),
        list(ema.model.parameters()),
        [generator.get_state(), torch.get_rng_state()],
    )


def in_a_child(work):
    """The child's process id; `work` runs there, and nothing after it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return child


def die(*_):
    os._exit(DEAD)


def write_half(tensors, path, metadata):
    save_file(tensors, path, metadata)
    os.truncate(path, os.path.getsize(path) // 2)
    die()


POINTS = {  # of a save: the function in whose place the process dies
    "before the write": (checkpoints, "save_file", die),
    "in the middle of the write": (checkpoints, "save_file", write_half),
    "after the write": (os, "fsync", die),
    "before the rename": (os, "replace", die),
    "after the rename": (checkpoints, "tidy", die),
}


def run_that_dies(place, name, death, checkpoint):
    """A run that saves properly ten times, and dies in the next save."""
    real, calls = getattr(place, name), []

    def function(*args, **kwargs):
        calls.append(name)
        syncs = 2 if name == "fsync" else 1  # a save syncs its file and its folder
        return death(*args) if len(calls) > 10 * syncs else real(*args, **kwargs)

    setattr(place, name, function)
    run(checkpoint)


def at_points(folder, left_alone):
    for i, (point, (place, name, death)) in enumerate(POINTS.items()):
        checkpoint = folder / f"point_{i}.safetensors"
        child = in_a_child(functools.partial(run_that_dies, place, name, death, checkpoint))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == DEAD, point
        print(f"{point}: {steps_in(checkpoint)} steps saved", flush=True)
        assert_same(run(checkpoint), left_alone)


def at_moments(folder, left_alone, kills):
    checkpoint, moments = folder / "killed.safetensors", random.Random(kills)
    begin = time.perf_counter()
    run(folder / "to_time.safetensors", steps=60)
    a_while = time.perf_counter() - begin
    for i in range(kills):
        seconds = moments.uniform(0, a_while)
        child = in_a_child(lambda: run(checkpoint))
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended in (0, -signal.SIGKILL), ended  # 0: it had finished by then
        steps = steps_in(checkpoint) if checkpoint.exists() else 0
        print(f"kill {i + 1} after {seconds:.3f} s: {steps} steps saved", flush=True)
        if steps == STEPS:
            checkpoint.unlink()  # begin again
    assert_same(run(checkpoint), left_alone)
    print(f"{len(list(folder.glob('.killed*.part')))} of {kills} kills hit a save")


def steps_in(checkpoint):
    """How many steps the checkpoint holds; it raises if the file is broken."""
    model, ema, generator = build()
    return len(load_checkpoint(checkpoint, model, ema=ema, generator=generator))


def assert_same(here, there):
    """Two runs ended alike, bit for bit: history, weights, averages, random state."""
    (history, *tensors), (other_history, *others) = here, there
    assert history == other_history
    for some, other in zip(tensors, others, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(some, other, strict=True))


def main(folder, how):
    training.SAVE_EVERY = SAVE_EVERY
    torch.set_num_threads(1)
    left_alone = run(folder / "left_alone.safetensors")
    if how == "points":
        at_points(folder, left_alone)
    else:
        at_moments(folder, left_alone, int(how))
    print("every run ended exactly like the one that was left alone, bit for bit")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
