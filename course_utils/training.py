"""The loss, the training step, the averaged weights, and the loop (notebook 04)."""

import contextlib
import copy
import functools
import hashlib
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path as File

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_utils.annotations import Batch, Count, Labels, Path, WrongArgument, advice, check_answer, checked, describe
from course_utils.checkpoints import load_checkpoint, read_run, save_checkpoint
from course_utils.data import check_images, scale
from course_utils.device import bfloat16
from course_utils.forward import add_noise
from course_utils.predictions import NOISE, Prediction
from course_utils.schedule import at
from course_utils.unet import check_condition

SAVE_EVERY = 500  # steps between two checkpoints
LOOK_EVERY = 100  # steps between two looks at the losses, each of which makes an accelerator wait


def answer_checked(loss):
    """The loss with the model's outputs checked: the mean squared error would broadcast them."""

    @functools.wraps(loss)
    def wrapper(model, *args, **options):
        return loss(lambda x_t, t: check_answer(model(x_t, t), x_t), *args, **options)

    return wrapper


@checked
@answer_checked
def diffusion_loss(
    model: Callable,
    x_0: Batch,
    t: Labels,
    noise: Batch,
    path: Path,
    predicts: Prediction = NOISE,
    weight: Float[Tensor, " T_plus_1"] | None = None,
) -> Float[Tensor, ""]:
    """The mean of weight_t |answer - target|^2; with NOISE and no weights, L_simple (DDPM, arXiv 2006.11239, eq. 14).

    The answer is model(x_t, t) with x_t = signal_rate_t x_0 + noise_rate_t noise, the target is what `predicts` names,
    and `weight` is a table with a factor for each level, such as (5 / path.snr).clamp(max=1).
    """
    x_t = add_noise(x_0, t, noise, path)
    answer, target = model(x_t, t), predicts.target(x_0, noise, t, path)
    if weight is None:
        return F.mse_loss(answer, target)
    return (at(weight, t, x_0) * (answer - target).square()).mean()


def bfloat16_loss(model, x_0, t, noise, path, **options):
    """`diffusion_loss` with the network in bfloat16 (see `device.bfloat16`): `train(..., loss=bfloat16_loss)`."""
    return diffusion_loss(bfloat16(model), x_0, t, noise, path, **options)


def uniform_t(B, T, generator=None, device=None):
    """A random level for each of B images, uniform over 1 .. T."""
    return torch.randint(1, T + 1, (B,), generator=generator, device=device)


def normal_log_snr(path, mean=0.0, std=2.0):
    """A `draw_t` that trains the middle more: the log SNR of its levels is normal, whatever the path (notebook 09).

    With mean 0 and std 2, on the straight path, t / T is logit-normal(0, 1) (arXiv 2403.03206, section 3.1); EDM draws
    its levels with mean 2.4 and std 2.4 (arXiv 2206.00364, table 1: log sigma = -log_snr / 2).
    """

    def draw_t(B, T, generator=None, device=None):
        log_snr = mean + std * torch.randn(B, generator=generator, device=device)
        falling = path.log_snr.float().to(device)
        return torch.searchsorted(-falling, -log_snr).clamp(1, T)

    return draw_t


@checked
def training_step(
    model: Callable,
    x_0: Batch,
    path: Path,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator | None = None,
    condition: Tensor | None = None,
    loss: Callable = diffusion_loss,
    draw_t: Callable = uniform_t,
    clip=math.inf,
) -> Float[Tensor, ""]:
    """Draw a level and noise for each image, and take one step down the loss (DDPM, algorithm 1).

    The generator is on x_0's device. With a condition, the network is model(x_t, t, condition). A gradient longer than
    `clip` is scaled down to it. Returns the loss before the step, detached. FloatingPointError if the loss or its
    gradient is not finite; no weight has changed then. (On an accelerator, a fused optimizer skips that step instead,
    and the loss returned is NaN: raising an error would mean waiting for the accelerator.)
    """
    t = draw_t(len(x_0), path.T, generator, x_0.device)
    noise = torch.randn(x_0.shape, generator=generator, dtype=x_0.dtype, device=x_0.device)
    value = loss(with_condition(model, condition), x_0, t, noise, path)
    optimizer.zero_grad()
    value.backward()
    norm = torch.nn.utils.clip_grad_norm_(weights_of(optimizer), clip)
    return step_if_finite(optimizer, value.detach(), norm)


def with_condition(model, condition):
    """model(x_t, t), with the condition filled in if there is one."""
    return model if condition is None else lambda x_t, t: model(x_t, t, condition)


def weights_of(optimizer):
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def step_if_finite(optimizer, value, norm):
    """Take the step, unless the loss or gradient is not finite, and return the loss: NaN if no step was taken.

    A fused optimizer skips the step by itself, so there is no need to wait for an accelerator. (It looks for infinities
    where torch's GradScaler records them.) With any other optimizer, an error is raised.
    """
    finite = (value + norm).isfinite()
    if value.device.type != "cpu" and getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = (~finite).float()
        optimizer.step()
        del optimizer.found_inf
        return torch.where(finite, value, torch.nan)
    if not finite:
        raise not_finite(value.item(), norm.item())
    optimizer.step()
    return value


def not_finite(value, norm=math.nan):
    return FloatingPointError(
        f"the loss is {value:g} and the norm of its gradient {norm:g}, so this step was not taken. Lower lr, or look "
        "for infinite or NaN values in the images."
    )


class EMA:
    """An average of a model's weights over its recent steps; it samples better than the latest weights do.

    average <- d average + (1 - d) weights. After n updates d = min(decay, (n + 1) / (n + 10)): with 0.999 from
    the start, the average would still be full of random weights after a short run. `model` is the copy with the
    averaged weights, in eval mode and without gradients, and `updates` counts the updates.
    """

    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        """Move the average towards the model's current weights; buffers are copied."""
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
        self.updates += 1


def learning_rate(step, steps, lr):
    """The rate at step 1 .. steps: a short rise, then lr, then a linear fall over the last 40 % of the steps."""
    rise = step / min(100, 0.1 * steps)
    fall = (steps + 1 - step) / (0.4 * steps)
    return lr * min(rise, 1, fall)


@checked
def train(
    model: nn.Module,
    data,
    path: Path,
    *,
    steps: Count,
    batch_size: Count = 32,
    lr=2e-3,
    ema=None,
    condition=None,
    drop=0.0,
    loss: Callable = diffusion_loss,
    draw_t: Callable = uniform_t,
    clip=None,
    callback: Callable | None = None,
    checkpoint=None,
    generator: torch.Generator | None = None,
    accelerator=None,
) -> list:
    """Train the model, in place, with Adam on batches drawn at random (DDPM, algorithm 1).

    Stopping it (the stop button, Ctrl-C) finishes the current step and keeps everything learnt so far: the model, the
    EMA, the history, and the checkpoint. The same call again continues from the checkpoint and, if `data` is a tensor,
    ends with the same weights as a run that was never stopped, on the CPU bit for bit.

    Args:
        model: model(x_t, t), or model(x_t, t, condition), on the data's device.
        data: images (N, C, H, W), uint8, or floating point within -1 .. 1; or anything that yields batches of such
            images again and again, as a DataLoader does: alone, or as (images, condition).
        path: a NoiseSchedule, or any other Gaussian path.
        steps: how many steps in all, including those in a checkpoint.
        batch_size: images per step, drawn with replacement; a DataLoader has its own.
        lr: the highest learning rate; see `learning_rate`.
        ema: an EMA of the model, updated after every step.
        condition: (N, ...), what the network is told about each image, such as its label; with a DataLoader, True to
            take the second part of each batch.
        drop: the share of conditions withheld, drawn afresh at every step, so that the network also learns to do
            without; it is given the null condition instead. A condition's module with a method withhold(condition,
            share, generator) does that in its own way, as TextEncoder does for words and artist.
        loss: a function with `diffusion_loss`'s arguments, such as functools.partial(diffusion_loss, predicts=V).
        draw_t: draw_t(B, T, generator, device) -> levels (B,).
        clip: the largest allowed norm of the gradient; a longer gradient is scaled down to it.
        callback: callback(step, loss) is called after every step; steps count from 1.
        checkpoint: a path. If the file exists, training continues from it. It is written at the start (so that a run
            that can't be saved fails at once), every 500 steps, and at the end, even if you stop the run.
        generator: on the data's device; by default a new one, seeded from torch's own.
        accelerator: from Hugging Face's accelerate. Each process takes an equal part of every batch from a tensor (a
            DataLoader you prepare yourself), and the first one saves. Model and data are on accelerator.device.

    Returns:
        The history, a list with the loss of every step so far.

    Raises:
        ValueError: the data or condition makes no sense, or the checkpoint is damaged or from another run.
        FloatingPointError: the loss or its gradient became infinite or NaN; model and EMA are as the last good step
            left them, and the checkpoint is as last written. (On an accelerator, it can come up to 100 steps late.)
        OSError: the checkpoint could not be written at the start, or at the end; model and EMA keep what was learnt.
        torch.cuda.OutOfMemoryError: a step ran out of memory; what was learnt before it is kept, as when you stop it.
    """
    team = Team(accelerator, batch_size if isinstance(data, Tensor) else None)
    generator = generator or team.new_generator(data.device if isinstance(data, Tensor) else device_of(model))
    batches = batches_of(data, model, condition, drop, batch_size, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)  # one pass over the weights, not a dozen
    state = dict(ema=ema, optimizer=optimizer, generator=generator)
    run = dict(
        path=name_of(path), prediction=prediction_of(loss), condition=kind_of(condition), lr=lr, batch_size=batch_size
    )
    history = []
    if checkpoint and File(checkpoint).exists():
        check_run(checkpoint, run)
        history = load_checkpoint(checkpoint, model, **state)
        if len(history) > steps:
            print(f"{checkpoint} already has {len(history)} steps, more than steps = {steps}: nothing to do.")
    team.wait()

    def save(at_all_costs=True):
        if checkpoint and team.writes:
            try:
                save_checkpoint(checkpoint, model, history=history, run=run, **state)
            except OSError as error:  # a full disk must not end a run in progress
                if at_all_costs:
                    raise
                print(f"\n{error} Training goes on, and will try to save again in {SAVE_EVERY} steps.")

    save()
    network, losses, ended_by = team.prepare(model), [], None
    model.train()
    with stop_button() as stopped:
        try:
            for step in range(len(history) + 1, steps + 1):
                before_step = generator.get_state(), torch.get_rng_state()
                optimizer.param_groups[0]["lr"] = learning_rate(step, steps, lr)
                x_0, told = next(batches)
                value = training_step(
                    network,
                    x_0,
                    path,
                    optimizer,
                    generator,
                    team.part(told),
                    team.loss(loss),
                    draw_t,
                    math.inf if clip is None else clip,
                )
                losses.append(team.mean(value))
                before_step = generator.get_state(), torch.get_rng_state()
                if ema is not None:
                    ema.update(model)
                saves = step % SAVE_EVERY == 0 and step < steps
                if saves or step % LOOK_EVERY == 0 or step == steps:
                    settle(history, losses)
                if saves:
                    save(at_all_costs=False)
                if callback is not None:
                    callback(step, value)
                if team.stops(stopped.is_set(), step):
                    raise KeyboardInterrupt
        except (KeyboardInterrupt, torch.cuda.OutOfMemoryError) as error:
            settle(history, losses)
            print(f"\nStopped after step {len(history)} of {steps}. Everything learnt so far is kept.")
            generator.set_state(before_step[0])
            torch.set_rng_state(before_step[1])
            ended_by = error
    save()
    if isinstance(ended_by, torch.cuda.OutOfMemoryError):
        raise no_memory_for(batch_size) from ended_by
    return history


def settle(history, losses):
    """Add the latest losses to the history as numbers; this waits for an accelerator, and finds infinities."""
    if losses:
        numbers = torch.stack(losses).tolist()
        losses.clear()
        for number in numbers:
            if not math.isfinite(number):
                raise not_finite(number)
        history.extend(numbers)


# Batches


def batches_of(data, model, condition, drop, batch_size, generator):
    """Endless batches (x_0, condition), with x_0 scaled and a share of the conditions withheld."""
    if isinstance(data, Tensor):
        check_data(data, model)
        if condition is not None:
            check_condition(model, condition, len(data))
        pairs = drawn(data, condition, batch_size, generator)
    else:
        check_batches(data, condition)
        pairs = loaded(data, model, condition)
    embedder = getattr(model, "condition", None)
    null = getattr(embedder, "null", None)
    own = getattr(embedder, "withhold", None)  # one that withholds the parts of a condition independently
    if not 0 <= drop <= 1 or (drop > 0 and (condition is None or null is None)):
        raise WrongArgument(f"drop must be within 0 .. 1 (0 without a condition or a null one), but is {drop:g}.")

    def finished():
        for images, told in pairs:
            if drop > 0:
                told = own(told, drop, generator) if own else withhold(told, drop, null, generator)
            yield (scale(images) if images.dtype == torch.uint8 else images), told

    return finished()


def withhold(condition, share, null, generator):
    """Each condition replaced by the null one with probability `share`, independently."""
    told = torch.rand(len(condition), generator=generator, device=condition.device) >= share
    null = torch.as_tensor(null, dtype=condition.dtype, device=condition.device)
    return torch.where(told.reshape(-1, *[1] * (condition.ndim - 1)), condition, null)


def drawn(images, condition, batch_size, generator):
    """Drawn at random from a tensor, with replacement."""
    while True:
        chosen = torch.randint(len(images), (batch_size,), generator=generator, device=images.device)
        yield images[chosen], None if condition is None else condition[chosen]


def loaded(loader, model, condition):
    """From a DataLoader, or anything else that can be looped over again and again. The first batch is checked."""
    number = 0
    while True:
        before = number
        for number, batch in enumerate(loader, start=before + 1):
            images, told = (*batch, None)[:2] if isinstance(batch, (tuple, list)) else (batch, None)
            if number == 1:
                check_data(images, model)
            if condition and (number == 1 or told.device.type == "cpu"):
                check_condition(model, told, len(images))
            device = device_of(model)
            yield images.to(device), told.to(device) if condition else None
        if number == before:
            raise WrongArgument("data gives no batches (any more). Pass one that can start over, such as a DataLoader.")


def check_batches(data, condition):
    if hasattr(data, "__array__") or not hasattr(data, "__iter__"):
        do = advice(data) or "DataLoader(data, batch_size=32, shuffle=True) makes batches from a data set."
        raise WrongArgument(f"data must be a tensor, or yield batches, but is {describe(data)}. {do}")
    if isinstance(condition, Tensor):
        raise WrongArgument("condition must be True or None when data yields batches: it comes with each batch.")


def check_data(images, model):
    check_images("data", images)
    side = getattr(model, "side", 1)
    if images.shape[2] % side or images.shape[3] % side:
        raise WrongArgument(
            f"data must have a height and width that are multiples of {side}, because this UNet divides them by "
            f"that, but is {describe(images)}. Pad the images, or use fewer multipliers."
        )


def device_of(model):
    return next(model.parameters()).device


# What a checkpoint says about its run


def name_of(path):
    tables = torch.stack([path.signal_rate, path.noise_rate]).detach().cpu().numpy().tobytes()
    return f"T = {path.T}, signal_rate_T = {path.signal_rate[-1]:.3g}, {hashlib.sha256(tables).hexdigest()[:8]}"


def prediction_of(loss):
    if isinstance(loss, functools.partial):
        return loss.keywords["predicts"].name if "predicts" in loss.keywords else prediction_of(loss.func)
    return NOISE.name if loss in (diffusion_loss, bfloat16_loss) else None  # not known


def kind_of(condition):
    if isinstance(condition, Tensor):
        return f"{condition.dtype} {tuple(condition.shape[1:])}"
    return "with each batch" if condition else "none"


def check_run(checkpoint, run):
    """Refuse to continue with anything the network was not trained for; say what else has changed."""
    saved = read_run(checkpoint)
    for name in ("path", "prediction", "condition"):
        if name in saved and None not in (saved[name], run[name]) and saved[name] != run[name]:
            raise ValueError(
                f"{checkpoint} was trained with another {name}: {saved[name]}, but now it is {run[name]}. Continue "
                "with the old one, or choose another file for a new run."
            )
    for name in ("lr", "batch_size"):
        if name in saved and saved[name] != run[name]:
            print(f"{checkpoint} continues with {name} = {run[name]:g}; so far it was {saved[name]:g}.")


# Several processes


class Team:
    """The processes of an accelerator, or this one alone."""

    def __init__(self, accelerator, batch_size):
        self.accelerator = accelerator
        self.number = accelerator.num_processes if accelerator else 1
        self.writes = accelerator.is_main_process if accelerator else True
        self.shares = self.number > 1 and batch_size is not None  # else each process has its own batches
        if self.shares and batch_size % self.number:
            raise ValueError(f"batch_size must divide evenly among {self.number} processes, but is {batch_size}.")

    def new_generator(self, device):
        """Seeded from torch's own, so that torch.manual_seed decides; the same in all processes that share batches."""
        seed = torch.randint(2**63 - 1, ())
        if self.shares:
            seed = self.accelerator.gather(seed.to(self.accelerator.device).reshape(1))[0]
        elif self.number > 1:
            seed = (seed + self.accelerator.process_index) % (2**63 - 1)  # each draws for its own batches
        return torch.Generator(device).manual_seed(seed.item())

    def wait(self):
        if self.number > 1:
            self.accelerator.wait_for_everyone()

    def prepare(self, model):
        return self.accelerator.prepare(model) if self.accelerator else model

    def part(self, batch):
        """This process's part of a batch that all processes drew identically."""
        return batch[self.accelerator.process_index :: self.number] if self.shares and batch is not None else batch

    def loss(self, loss):
        return lambda model, x_0, t, noise, path: loss(model, self.part(x_0), self.part(t), self.part(noise), path)

    def stops(self, stopped, step):
        """Whether any process was stopped; several processes agree on that every hundred steps."""
        if self.number == 1 or step % LOOK_EVERY:
            return stopped and self.number == 1
        return bool(self.accelerator.reduce(torch.tensor(float(stopped), device=self.accelerator.device)))

    def mean(self, value):
        return self.accelerator.reduce(value, "mean") if self.number > 1 else value


# Stopping, and how long it takes


def no_memory_for(batch_size):
    return torch.cuda.OutOfMemoryError(
        f"train: there is not enough memory for a step with batch_size = {batch_size}. Lower batch_size, or build the "
        "UNet with fewer base_channels. Shutting down the kernels of other notebooks frees what they hold."
    )


@contextlib.contextmanager
def stop_button():
    """Yields an event that the first Ctrl-C sets, so that the step can finish; a second one stops at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
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


def steps_in(minutes, model, data, path, **options):
    """How many steps of `train` fit into this many minutes, here and now: it times 20 on a copy of the model.

    The options are those of `train`. The answer is at least 1.
    """
    trial, generator, finished = copy.deepcopy(model), torch.Generator(device_of(model)).manual_seed(0), []

    def callback(step, loss):
        loss.item()  # waits until the step is really done
        finished.append(time.perf_counter())

    with torch.random.fork_rng(devices=[]):
        train(
            trial,
            data,
            path,
            **options | dict(steps=20, ema=EMA(trial), callback=callback, checkpoint=None, generator=generator),
        )
    if len(finished) < 20:  # stopped: `train` keeps what was learnt, but here the stop is meant for the caller
        raise KeyboardInterrupt
    seconds = statistics.median(after - before for before, after in pairwise(finished))  # the first steps are slower
    return max(1, int(60 * minutes / seconds))


def progress_line(steps):
    """A callback for `train` that keeps one line of text up to date: the step, the mean loss, and the time left."""
    start, losses, shown = time.perf_counter(), [], 0.0

    def callback(step, loss):
        nonlocal shown
        losses.append(loss)
        now = time.perf_counter()
        if now - shown < 0.5 and step < steps:
            return
        shown = now
        recent = sum(losses[-200:]) / len(losses[-200:])
        left = int((now - start) / len(losses) * (steps - step))
        line = f"step {step:,} of {steps:,}   loss {recent:.4f}   {left // 60}:{left % 60:02d} left"
        print(f"\r{line:<70}", end="\n" if step == steps else "", flush=True)

    return callback
