"""The loss, the training step, the loop, the averaged weights, and checkpoints (notebook 04)."""

import contextlib
import copy
import glob
import hashlib
import inspect
import json
import math
import os
import signal
import statistics
import threading
import time
import uuid
from itertools import chain, pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from course_utils._checks import (
    a_data_set,
    a_path,
    a_schedule,
    batch,
    beside,
    checked,
    describe,
    function,
    in_range,
    instance,
    integer,
    integer_tensor,
    is_uint8,
    like,
    number,
    optional,
    timestep,
)
from course_utils.data import scale
from course_utils.device import bfloat16
from course_utils.forward import add_noise
from course_utils.unet import UNet

SAVE_EVERY = 500  # steps between two checkpoints
A_YEAR = 365 * 24 * 60  # minutes


def a_batch_of_t(name, value, arguments):
    integer_tensor(name, value)
    timestep("x_0")(name, value, arguments)


module = instance(torch.nn.Module)


@checked(schedule=a_schedule, model=function, x_0=batch, t=a_batch_of_t, noise=like("x_0"))
def diffusion_loss(model, x_0, t, noise, schedule):
    """How far the network's guess of the noise is from the noise: L_simple (DDPM, arXiv 2006.11239, eq. 14).

    Args:
        model: model(x_t, t) -> noise_hat.
        x_0: (B, ...) clean images, -1 .. 1.
        t: (B,) integers within 1 .. T, one for each image.
        noise: like x_0, drawn from N(0, 1).
        schedule: a NoiseSchedule.

    Returns:
        The mean squared error, a tensor without dimensions, with its gradient. A prediction of no noise costs 1.

    Raises:
        TypeError: a wrong type, or dtypes that differ; also where the network's answer is no tensor.
        ValueError: shapes or devices that differ, an empty batch, or t outside 1 .. T; also where the network's answer
            has not the shape of the noise.
    """
    x_t = add_noise(x_0, t, noise, schedule)
    return F.mse_loss(same_shape(model(x_t, t), noise), noise)


def an_answer(name, value, arguments):
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name}, which the model returned, must be a tensor, but is {describe(value)}.")


@checked(noise_hat=an_answer)
def same_shape(noise_hat, noise):
    """noise_hat, unless its shape is not that of the noise, which the mean squared error would broadcast."""
    if noise_hat.shape != noise.shape:
        raise ValueError(
            f"diffusion_loss: the model must return the shape of its input, {tuple(noise.shape)}, "
            f"but returned {tuple(noise_hat.shape)}."
        )
    return noise_hat


@checked(model=function)
def bfloat16_loss(model, x_0, t, noise, schedule):
    """`diffusion_loss`, the network computed in bfloat16 (see `device.bfloat16`): `train(..., loss=bfloat16_loss)`.

    Raises:
        TypeError, ValueError: as `diffusion_loss`.
    """
    return diffusion_loss(bfloat16(model), x_0, t, noise, schedule)


def generator_of(other):
    """A torch.Generator on the device of the argument `other`, where training draws."""

    def rule(name, value, arguments):
        instance(torch.Generator)(name, value, arguments)
        device = arguments[other].device
        if value.device.type != device.type:
            raise ValueError(f"{name} must be where {other} is, on {device}, but is on {value.device}.")

    return rule


def trainable(name, value, arguments):
    """A function; of a module, some weight must be free to change."""
    function(name, value, arguments)
    if isinstance(value, torch.nn.Module) and not any(weight.requires_grad for weight in value.parameters()):
        raise ValueError(
            f"{name} must have weights to train, but has none, or all are frozen, as those of an EMA's model are. "
            "Pass the model itself, or call its requires_grad_()."
        )


def one_label_each(other):
    """(B,) integers, one for each item of the argument `other`."""

    def rule(name, value, arguments):
        integer_tensor(name, value)
        beside(name, value, other, arguments[other])

    return rule


@checked(
    schedule=a_schedule,
    model=trainable,
    x_0=batch,
    optimizer=instance(torch.optim.Optimizer, "an"),
    generator=optional(generator_of("x_0")),
    labels=optional(one_label_each("x_0")),
    loss=function,
)
def training_step(model, x_0, schedule, optimizer, generator=None, labels=None, loss=diffusion_loss):
    """Draw a level and noise for each image, and take one step down the loss (DDPM, algorithm 1).

    Args:
        model: model(x_t, t) -> noise_hat; with labels, model(x_t, t, labels).
        x_0: (B, ...) clean images, -1 .. 1.
        schedule: a NoiseSchedule; t is drawn from 1 .. T, both ends included.
        optimizer: over the model's parameters.
        generator: a torch.Generator on x_0's device; by default torch's own.
        labels: (B,) integers, where the network knows classes.
        loss: a function of the arguments of `diffusion_loss`.

    Returns:
        The loss before the step, as a float.

    Raises:
        TypeError, ValueError: as `diffusion_loss`.
        FloatingPointError: the loss or its gradient is not finite; no weight has been changed then.
    """
    t = torch.randint(1, schedule.T + 1, (len(x_0),), generator=generator, device=x_0.device)
    noise = torch.randn(x_0.shape, generator=generator, dtype=x_0.dtype, device=x_0.device)
    value = loss(with_labels(model, labels), x_0, t, noise, schedule)
    optimizer.zero_grad()
    value.backward()
    check_finite(value, optimizer)
    optimizer.step()
    return value.item()


def check_finite(value, optimizer):
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(weights, math.inf)  # clips nothing, but says how long the gradient is
    if not (value + norm).isfinite():
        raise FloatingPointError(
            f"training_step: the loss is {value.item():g} and the norm of its gradient {norm.item():g}, so this step "
            "was not taken. Lower lr, or look for values that are infinite or not a number in the images."
        )


def with_labels(model, labels):
    """model(x_t, t), whether or not the network is to be told labels."""
    return model if labels is None else lambda x_t, t: model(x_t, t, labels)


def same_weights(name, value, arguments):
    """A module with the weights and buffers of the EMA's own, by shape and device."""
    module(name, value, arguments)
    if places_of(value) != places_of(arguments["self"].model):
        raise ValueError(
            f"{name} must be the model that was averaged so far, but its weights have other shapes or places."
        )


def places_of(model):
    return [(tensor.shape, tensor.device) for tensor in chain(model.parameters(), model.buffers())]


class EMA:
    """An average of a model's weights over its last steps; it samples better than the latest weights do.

    After n updates the share of the old average that an update keeps is min(decay, (n + 1) / (n + 10)): an average
    that began at 0.999 would still be full of the random start after a short run.

    Args:
        model: a torch.nn.Module, which is copied.
        decay: the share that an update keeps in the long run, 0 .. 1 without the 1.

    Attributes:
        model: the copy with the averaged weights, in eval mode and without gradients.
        updates: how often `update` was called.
    """

    @checked(model=module, decay=number(0, math.nextafter(1, 0)))
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @checked(model=same_weights)
    @torch.no_grad()
    def update(self, model):
        """Move the average towards the model's present weights; buffers are copied.

        Raises TypeError where it is no module, ValueError where its weights are others than the average's.
        """
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
        self.updates += 1


def an_ema(name, value, arguments):
    """An EMA: the package's, or one that a learner wrote, with the same parts."""
    if not all(hasattr(value, part) for part in ("model", "update", "updates")):
        raise TypeError(f"{name} must be an EMA, as EMA(model) makes one, but is {describe(value)}.")


def a_step(name, value, arguments):
    integer(1, arguments["steps"])(name, value, arguments)


@checked(steps=integer(1), step=a_step, lr=number(0, math.inf, open_ends=True))
def learning_rate(step, steps, lr):
    """The rate of step 1 .. steps: a short rise, then lr, then a straight fall over the last 40 % of the steps.

    Raises TypeError or ValueError for a step or steps that are no whole numbers within these bounds, or lr not above 0.
    """
    rise = step / min(100, 0.1 * steps)
    fall = (steps + 1 - step) / (0.4 * steps)
    return lr * min(rise, 1, fall)


def labels_of_images(name, value, arguments):
    """One label for each image; within the classes of a UNet, which an accelerator would not say by itself."""
    one_label_each("images")(name, value, arguments)
    num_classes = arguments["model"].config["num_classes"] if isinstance(arguments["model"], UNet) else None
    if num_classes is not None:
        in_range(name, int(value.min()), int(value.max()), 0, num_classes)


def model_beside_images(name, value, arguments):
    module(name, value, arguments)
    trainable(name, value, arguments)
    device, images = next(value.parameters()).device, arguments["images"]
    if device != images.device:
        raise ValueError(f"{name} must be where the images are, on {images.device}, but is on {device}. Use .to().")


@checked(
    schedule=a_schedule,
    images=a_data_set,
    model=model_beside_images,
    steps=integer(1),
    batch_size=integer(1),
    loss=function,
    labels=optional(labels_of_images),
    generator=optional(generator_of("images")),
    lr=number(0, math.inf, open_ends=True),
    ema=optional(an_ema),
    callback=optional(function),
    checkpoint=optional(a_path),
)
def train(
    model,
    images,
    schedule,
    *,
    steps,
    batch_size=32,
    lr=2e-3,
    ema=None,
    loss=diffusion_loss,
    labels=None,
    callback=None,
    checkpoint=None,
    generator=None,
):
    """Train the model, in place, with Adam on batches drawn at random (DDPM, algorithm 1).

    Stopping it (the stop button, Ctrl-C) ends the run after the step under way and keeps all that was learnt: the
    model, the EMA, the history, and the checkpoint. The same call again goes on from the checkpoint, and ends in the
    same weights as without stopping, on the CPU bit for bit.

    Args:
        model: a torch.nn.Module, model(x_t, t) -> noise_hat; with labels, model(x_t, t, labels). On images' device.
        images: (N, C, H, W) uint8, or floating point within -1 .. 1.
        schedule: a NoiseSchedule.
        steps: how many steps, those of a checkpoint included; where it has as many already, none are taken.
        batch_size: images a step, drawn with replacement.
        lr: the highest learning rate; see `learning_rate`.
        ema: an EMA of the model, which is updated after every step.
        loss: a function of the arguments of `diffusion_loss`.
        labels: (N,) integers, where the network knows classes.
        callback: callback(step, loss) is called after every step, step running from 1.
        checkpoint: a path. Where the file exists, training goes on from it. It is written at the start (so that a run
            that can't be saved fails at once), every 500 steps, and at the end, also where you stop it. Where the disk
            is full on the way, that is said, and training goes on.
        generator: a torch.Generator on images' device; by default a new one, seeded from torch's own.

    Returns:
        The history, a list with the loss of every step so far.

    Raises:
        TypeError, ValueError: arguments of the wrong type, shape, device or range, images that were not scaled, or a
            checkpoint that is damaged or of another model.
        FloatingPointError: the loss or its gradient became infinite or not a number; model and EMA are as the last good
            step left them, and the checkpoint is as it was last written.
        OSError: the checkpoint could not be written at the start, or at the end; model and EMA keep what was learnt.
        torch.cuda.OutOfMemoryError: a step found no memory; what was learnt before it is kept, as where you stop it.
    """
    generator = generator or new_generator(images.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)  # one pass over the weights, not a dozen
    state = dict(ema=ema, optimizer=optimizer, generator=generator)
    history = load_checkpoint(checkpoint, model, **state) if checkpoint and Path(checkpoint).exists() else []
    if checkpoint:
        save_checkpoint(checkpoint, model, history=history, **state)

    model.train()
    ended_by = None
    with stop_button() as stopped:
        try:
            for step in range(len(history) + 1, steps + 1):
                before_step = generator.get_state(), torch.get_rng_state()
                optimizer.param_groups[0]["lr"] = learning_rate(step, steps, lr)
                chosen = torch.randint(len(images), (batch_size,), generator=generator, device=images.device)
                x_0 = scale(images[chosen]) if is_uint8(images) else images[chosen]
                chosen_labels = None if labels is None else labels[chosen]
                history.append(training_step(model, x_0, schedule, optimizer, generator, chosen_labels, loss))
                before_step = generator.get_state(), torch.get_rng_state()
                if ema is not None:
                    ema.update(model)
                if checkpoint and step % SAVE_EVERY == 0 and step < steps:
                    save_or_say(checkpoint, model, history=history, **state)
                if callback is not None:
                    callback(step, history[-1])
                if stopped.is_set():
                    raise KeyboardInterrupt
        except (KeyboardInterrupt, torch.cuda.OutOfMemoryError) as error:
            print(f"\nStopped after step {len(history)} of {steps}. What was learnt is kept.")
            generator.set_state(before_step[0])
            torch.set_rng_state(before_step[1])
            ended_by = error
    if checkpoint:
        save_checkpoint(checkpoint, model, history=history, **state)
    if isinstance(ended_by, torch.cuda.OutOfMemoryError):
        raise no_memory_for(batch_size) from ended_by
    return history


def save_or_say(checkpoint, *args, **kwargs):
    """Save in the course of a run, which a full disk must not end."""
    try:
        save_checkpoint(checkpoint, *args, **kwargs)
    except OSError as error:
        print(f"\n{error} Training goes on, and tries to save again after {SAVE_EVERY} more steps.")


def no_memory_for(batch_size):
    return torch.cuda.OutOfMemoryError(
        f"train: there is not enough memory for a step with batch_size = {batch_size}. Lower batch_size, or build the "
        "UNet with fewer base_channels. What other notebooks hold is free once their kernels are shut down."
    )


def new_generator(device):
    """A generator of its own for a run, seeded from torch's, so that torch.manual_seed decides."""
    return torch.Generator(device).manual_seed(torch.randint(2**63 - 1, ()).item())


@contextlib.contextmanager
def stop_button():
    """Yields an event that the first Ctrl-C sets, so that a step is finished first; a second one stops at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only there may signals be handled
        yield stopped
        return

    def stop(*_):
        stopped.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, previous)


@checked(
    schedule=a_schedule,
    minutes=number(0, A_YEAR, open_ends=True),
    images=a_data_set,
    model=model_beside_images,
    batch_size=integer(1),
    labels=optional(labels_of_images),
    loss=function,
)
def steps_in(minutes, model, images, schedule, *, batch_size=32, labels=None, loss=diffusion_loss):
    """How many steps of `train` fit into so many minutes, here and now: a few are timed, on a copy of the model.

    Args:
        minutes: above 0, and less than a year.
        model, images, schedule, batch_size, labels, loss: as for `train`; none of them is changed.

    Returns:
        The number of steps, at least 1.

    Raises:
        TypeError, ValueError: as `train`.
    """
    trial, finished = copy.deepcopy(model), []
    with torch.random.fork_rng(devices=[]):
        train(
            trial,
            images,
            schedule,
            steps=20,
            batch_size=batch_size,
            ema=EMA(trial),
            loss=loss,
            labels=labels,
            callback=lambda *_: finished.append(time.perf_counter()),
            generator=torch.Generator(images.device).manual_seed(0),
        )
    if len(finished) < 20:  # stopped: `train` keeps what was learnt, but here the stop is meant for the caller
        raise KeyboardInterrupt
    seconds = statistics.median(after - before for before, after in pairwise(finished))  # the first steps are slower
    return max(1, int(60 * minutes / seconds))


@checked(steps=integer(1))
def progress_line(steps):
    """A callback for `train` that keeps one line of text up to date: the step, the mean loss, and the time left.

    Raises TypeError or ValueError where steps is not a whole number of at least 1.
    """
    start, losses, shown = time.perf_counter(), [], 0.0

    def callback(step, loss):
        nonlocal shown
        losses.append(loss)
        now = time.perf_counter()
        if now - shown < 0.5 and step < steps:
            return
        shown = now
        recent = sum(losses[-200:]) / len(losses[-200:])
        left = (now - start) / len(losses) * (steps - step)
        line = f"step {step:,} of {steps:,}   loss {recent:.4f}   {minutes_and_seconds(left)} left"
        print(f"\r{line:<70}", end="\n" if step == steps else "", flush=True)

    return callback


def minutes_and_seconds(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


# Checkpoints: one safetensors file, which holds tensors and text and can't hold code (a pickle could).


def losses(name, value, arguments):
    if not isinstance(value, (list, tuple)) or not all(isinstance(loss, (int, float)) for loss in value):
        raise TypeError(f"{name} must be a list of numbers, as train returns it, but is {describe(value)}.")


@checked(
    path=a_path,
    model=module,
    ema=optional(an_ema),
    optimizer=optional(instance(torch.optim.Optimizer, "an")),
    generator=optional(instance(torch.Generator)),
    history=losses,
)
def save_checkpoint(path, model, *, ema=None, optimizer=None, generator=None, history=()):
    """Write a safetensors file with the model and whatever else is passed; at no time is there half a file at `path`.

    Args:
        path: where to; folders are made. A file that is there already is replaced once the new one is complete.
        model: its weights, and its `config` where it has one, as a UNet does.
        ema, optimizer, generator: their state.
        history: the losses so far.

    Raises:
        TypeError: a wrong type.
        ValueError: the path is empty, or a folder.
        OSError: the file could not be written, say because the disk is full; the one that was there is untouched.
    """
    path = Path(path)
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors["history"] = torch.tensor(history, dtype=torch.float64)
    if ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in ema.model.state_dict().items()}
        tensors["ema updates"] = torch.tensor(ema.updates)
    if optimizer is not None:
        for i, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(value) for name, value in state.items()}
    if generator is not None:
        tensors |= {"generator": generator.get_state(), "torch generator": torch.get_rng_state()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # tied ones, too
    parts = {"ema": ema, "optimizer": optimizer, "generator": generator}
    metadata = {
        "format": "course_utils checkpoint",
        "config": json.dumps(getattr(model, "config", None)),
        "holds": " ".join(name for name, part in parts.items() if part is not None),
    }
    metadata["sha256"] = digest(tensors, metadata)
    write_whole(path, lambda part: save_file(tensors, part, metadata))


def digest(tensors, metadata):
    """A sum over all that a checkpoint holds, by which damage shows. The tensors are on the CPU."""
    total = hashlib.sha256(f"{metadata['config']} {metadata['holds']}".encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def write_whole(path, write):
    """Let `write` fill another file in the same folder, and give it its name only once all of it is on the disk."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, (OSError, SafetensorError)):
            raise OSError(
                f"{path} could not be written ({error}). Free some space there, or choose another path. A checkpoint "
                "that was there before is untouched."
            ) from error
        raise
    sync_folder(path.parent)
    remove_old_parts(path)


def sync_folder(folder):
    """Have the new name on the disk, too; only POSIX systems let folders be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_old_parts(path):
    """What saves left that were killed: a part that nobody has written to for an hour."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


@checked(path=a_path)
def read_checkpoint(path):
    """All tensors of a checkpoint, and what else it says of itself. Errors as in `load_unet`."""
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, but a checkpoint is a file: name one in it.")
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}. Save one with save_checkpoint, or check the path.")
    try:
        with safe_open(path, "pt") as file:
            names, metadata = file.keys(), file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged, or no checkpoint: {error}. Use another copy, or delete it.") from None
    if metadata.get("format") != "course_utils checkpoint" or not {"config", "holds", "sha256"} <= set(metadata):
        raise ValueError(f"{path} is a safetensors file, but not a checkpoint of this course.")
    if metadata["sha256"] != digest(tensors, metadata):
        raise ValueError(
            f"{path} is damaged: its contents are not those that were saved. Use another copy, or delete it."
        )
    return tensors, metadata


def part_of(tensors, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@checked(
    path=a_path,
    model=module,
    ema=optional(an_ema),
    optimizer=optional(instance(torch.optim.Optimizer, "an")),
    generator=optional(instance(torch.Generator)),
)
def load_checkpoint(path, model, *, ema=None, optimizer=None, generator=None):
    """Read back, in place, what `save_checkpoint` wrote; if anything does not fit, nothing is changed.

    Args:
        path: the file.
        model, ema, optimizer, generator: those to fill. With a generator, torch's own is set back too.

    Returns:
        The history, a list of floats.

    Raises:
        TypeError: a wrong type.
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, damaged, of another model (says what differs), or lacks what was asked for.
    """
    tensors, metadata = read_checkpoint(path)
    wanted = {"ema": ema, "optimizer": optimizer, "generator": generator}
    missing = [name for name, part in wanted.items() if part is not None and name not in metadata["holds"].split()]
    if missing:
        raise ValueError(
            f"{path} does not hold {', '.join(missing)}. Save a checkpoint with them, or don't ask for them."
        )
    check_same_shapes(path, part_of(tensors, "model."), model)
    if ema is not None:
        check_same_shapes(path, part_of(tensors, "ema."), ema.model)
    if optimizer is not None:
        check_same_optimizer(path, optimizer_state(tensors), optimizer)
    if generator is not None and generator.get_state().shape != tensors["generator"].shape:
        raise ValueError(
            f"{path} holds the state of a generator on another kind of device. Go on where it was trained."
        )

    model.load_state_dict(part_of(tensors, "model."))
    if ema is not None:
        ema.model.load_state_dict(part_of(tensors, "ema."))
        ema.updates = tensors["ema updates"].item()
    if optimizer is not None:
        optimizer.load_state_dict(optimizer.state_dict() | {"state": optimizer_state(tensors)})
    if generator is not None:
        generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["torch generator"])
    return tensors["history"].tolist()


def check_same_shapes(path, weights, model):
    saved = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    built = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    differing = [name for name in sorted(saved | built) if saved.get(name) != built.get(name)]
    if differing:
        first = differing[0]
        raise ValueError(
            f"{path} is of another model: {len(differing)} of its weights differ, first {first}, which has shape "
            f"{saved.get(first)} in the file and {built.get(first)} in the model. Build the model as it was built then."
        )


def check_same_optimizer(path, state, optimizer):
    shapes = [weight.shape for group in optimizer.param_groups for weight in group["params"]]
    for i, values in state.items():
        if i >= len(shapes) or any(value.ndim > 0 and value.shape != shapes[i] for value in values.values()):
            raise ValueError(f"{path} holds the state of an optimizer of other weights. Build it as it was built then.")


def optimizer_state(tensors):
    """{index of the parameter: {name: tensor}}, as torch's optimizers have it."""
    state = {}
    for key, tensor in part_of(tensors, "optimizer.").items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    return state


@checked(path=a_path)
def load_unet(path):
    """The UNet of a checkpoint, built from the configuration in the file, in eval mode: the EMA where there is one.

    Raises:
        TypeError: path is not a path.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds no UNet.
    """
    tensors, metadata = read_checkpoint(path)
    config = json.loads(metadata["config"])
    if config is None or set(config) != set(inspect.signature(UNet).parameters):
        raise ValueError(f"{path} does not hold a UNet of this course. Build its model, and use load_checkpoint.")
    model = UNet(**config)
    weights = part_of(tensors, "ema.") or part_of(tensors, "model.")
    check_same_shapes(path, weights, model)
    model.load_state_dict(weights)
    return model.eval()
