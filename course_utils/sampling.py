"""From noise to images: DDPM and DDIM (notebooks 05 and 06).

A sampler knows nothing of networks. It is given a denoiser, a function `denoise(x_t, t) -> x_0_hat` with t an int,
and walks down a list of levels. An exact denoiser known in closed form, clipping or guidance all fit in there.
"""

import contextlib
import math
from collections import deque
from itertools import pairwise

import torch

from course_utils._checks import (
    MOST,
    a_device,
    a_schedule,
    batch,
    checked,
    cpu_generator,
    describe,
    flag,
    function,
    given,
    integer,
    integer_tensor,
    is_int,
    like,
    number,
    one_or_more,
    optional,
    short,
    timestep,
    with_values,
)
from course_utils.forward import add_noise, posterior
from course_utils.schedule import at

AT_ONCE = 250  # images that a network is given at a time


def level_t(name, value, arguments):
    integer(1, arguments["schedule"].T)(name, value, arguments)


def level_s(name, value, arguments):
    integer(0, arguments["t"] - 1)(name, value, arguments)


@checked(schedule=a_schedule, x_t=batch, t=timestep("x_t"), noise_hat=like("x_t"))
def predict_x_0(x_t, t, noise_hat, schedule):
    """The image that x_t would have come from, were noise_hat its noise: eq. 4 of DDPM solved for x_0.

    Args:
        x_t: (B, ...) images at level t.
        t: an int or an integer tensor of shape (B,), within 1 .. T.
        noise_hat: like x_t, the noise that the network sees in x_t.
        schedule: a NoiseSchedule.

    Returns:
        x_0_hat: like x_t; not clipped, and at large t with cosine betas of any size.

    Raises:
        TypeError: a wrong type, or dtypes that differ.
        ValueError: shapes or devices that differ, an empty batch, or t outside 1 .. T.
    """
    return (x_t - at((1 - schedule.alpha_bar).sqrt(), t, x_t) * noise_hat) / at(schedule.alpha_bar.sqrt(), t, x_t)


@checked(schedule=a_schedule, x_t=batch, t=timestep("x_t"), x_0_hat=like("x_t"))
def predict_noise(x_t, t, x_0_hat, schedule):
    """The noise that x_t would hold, were x_0_hat its image: eq. 4 of DDPM solved for the noise.

    Args:
        x_t: (B, ...) images at level t.
        t: an int or an integer tensor of shape (B,), within 1 .. T.
        x_0_hat: like x_t, the denoiser's prediction.
        schedule: a NoiseSchedule.

    Returns:
        noise_hat: like x_t.

    Raises:
        TypeError: a wrong type, or dtypes that differ.
        ValueError: shapes or devices that differ, an empty batch, or t outside 1 .. T.
    """
    return (x_t - at(schedule.alpha_bar.sqrt(), t, x_t) * x_0_hat) / at((1 - schedule.alpha_bar).sqrt(), t, x_t)


@contextlib.contextmanager
def evaluating(modules):
    """Eval mode inside, and afterwards each of the modules back in the mode that it was in."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def labels_beside(x_t, labels):
    """The labels, where x_t is; ValueError unless there is one for each image."""
    if labels.shape != x_t.shape[:1]:
        raise ValueError(
            f"denoiser: labels must have shape (B,) = ({len(x_t)},), one for each image, but is {describe(labels)}."
        )
    return labels.to(x_t.device)


def some_labels(name, value, arguments):
    integer_tensor(name, value)
    one_or_more(name, value)


@checked(schedule=a_schedule, model=function, labels=optional(some_labels), clip=flag)
def denoiser(model, schedule, labels=None, clip=True):
    """The denoiser that a noise-predicting network makes: denoise(x_t, t) -> x_0_hat.

    Args:
        model: model(x_t, t) -> noise_hat with t of shape (B,); with labels, model(x_t, t, labels). It is called in
            eval mode and without gradients, and left in the mode that it was in. It is given at most 250 images at a
            time, so that its memory does not grow with the number of samples.
        schedule: the NoiseSchedule that the network was trained with.
        labels: (B,) integers, one for each image, where the network knows classes.
        clip: keep x_0_hat within -1 .. 1, where images are.

    Raises:
        TypeError: a wrong type.
        ValueError: labels of another shape. `denoise` raises the same two, and a ValueError where t is outside 1 .. T.
    """
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []  # once: at every step it would cost

    @checked(x_t=batch, t=given(level_t, schedule=schedule))
    @torch.no_grad()
    def denoise(x_t, t):
        inputs = [x_t, torch.full((len(x_t),), t, device=x_t.device)]
        if labels is not None:
            inputs.append(labels_beside(x_t, labels))
        with evaluating(modules):
            parts = zip(*(tensor.split(AT_ONCE) for tensor in inputs), strict=True)
            noise_hat = torch.cat([model(*part) for part in parts])
        x_0_hat = predict_x_0(x_t, t, noise_hat, schedule)
        return x_0_hat.clamp(-1, 1) if clip else x_0_hat

    return denoise


def randn_like(x, generator):
    """Noise like x, drawn on the CPU and moved, so that a seed gives the same picture on every device."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


@checked(
    schedule=a_schedule,
    x_t=batch,
    x_0_hat=like("x_t"),
    t=level_t,
    s=level_s,
    generator=optional(cpu_generator),
)
def ddpm_step(x_t, x_0_hat, t, s, schedule, generator=None):
    """From level t down to level s: draw x_s from the posterior q(x_s | x_t, x_0_hat) (DDPM, eqs. 6 and 7).

    At s = 0 the posterior's variance is 0, so the last step adds no noise.

    Args:
        x_t: (B, ...) images at level t.
        x_0_hat: like x_t, the denoiser's prediction.
        t, s: ints, 0 <= s < t <= T.
        schedule: a NoiseSchedule.
        generator: a torch.Generator on the CPU; by default torch's own.

    Returns:
        x_s: like x_t.

    Raises:
        TypeError: a wrong type, or dtypes that differ.
        ValueError: shapes or devices that differ, an empty batch, or levels out of range or order.
    """
    mean, variance = posterior(x_0_hat, x_t, t, schedule, s)
    return mean + variance.sqrt() * randn_like(x_t, generator)


@checked(
    schedule=a_schedule,
    x_t=batch,
    x_0_hat=like("x_t"),
    t=level_t,
    s=level_s,
    eta=number(0, 1),
    generator=optional(cpu_generator),
)
def ddim_step(x_t, x_0_hat, t, s, schedule, eta=0.0, generator=None):
    """From level t down to level s, with as much fresh noise as eta says (DDIM, arXiv 2010.02502, eqs. 12 and 16).

    x_s is put together from the predicted image, the predicted noise, and fresh noise of standard deviation sigma.
    eta = 0 adds none and is deterministic; eta = 1 has the variance of DDPM's posterior. (The paper's alpha is
    alpha_bar here.)

    Args:
        x_t: (B, ...) images at level t.
        x_0_hat: like x_t, the denoiser's prediction.
        t, s: ints, 0 <= s < t <= T.
        schedule: a NoiseSchedule.
        eta: 0 .. 1.
        generator: a torch.Generator on the CPU; by default torch's own. Not drawn from where eta = 0.

    Returns:
        x_s: like x_t.

    Raises:
        TypeError: a wrong type, or dtypes that differ.
        ValueError: shapes or devices that differ, an empty batch, levels out of range or order, or eta outside 0 .. 1.
    """
    alpha_bar_t, alpha_bar_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    sigma = eta * ((1 - alpha_bar_s) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_s)) ** 0.5
    noise_hat = predict_noise(x_t, t, x_0_hat, schedule)
    noise_left = max(1 - alpha_bar_s - sigma**2, 0) ** 0.5  # rounding can leave a little less than 0
    x_s = alpha_bar_s**0.5 * x_0_hat + noise_left * noise_hat
    return x_s if eta == 0 else x_s + sigma * randn_like(x_t, generator)


def whole_levels(name, levels, T):
    """The levels as a list of ints; TypeError unless that is what they are. Of an endless range only T + 1 are seen."""
    most = T + 1
    if not isinstance(levels, (list, tuple, range)) or not all(is_int(level) for level in levels[:most]):
        raise TypeError(f"{name} must be a list of whole numbers, but is {describe(levels)}.")
    if levels[most:]:
        raise ValueError(f"{name} must name at most T + 1 = {most} levels, but is {describe(levels)}.")
    if not levels:
        raise ValueError(f"{name} must name at least one level, but is empty.")
    return list(levels)


def rising(name, value, arguments):
    """Levels that rise within 1 .. T."""
    T = arguments["schedule"].T
    levels = whole_levels(name, value, T)
    if levels[0] == 0:
        raise ValueError(f"{name} must start at 1 or above: at level 0 there is no noise to read.")
    if levels[0] < 0 or levels[-1] > T or any(t >= s for t, s in pairwise(levels)):
        raise ValueError(f"{name} must rise within 1 .. {T}, but is {levels}.")


def falling(name, value, arguments):
    """Levels that fall from T or below and end at 0."""
    T = arguments["schedule"].T
    levels = whole_levels(name, value, T)
    if arguments["num_steps"] is not None:
        raise ValueError(f"{name}, {describe(value)}, and num_steps were both passed. Pass one of them.")
    if levels[-1] != 0 or levels[0] > T or len(levels) < 2 or any(t <= s for t, s in pairwise(levels)):
        raise ValueError(f"{name} must fall from {T} or below and end at 0, but is {levels}.")


def steps_within_T(name, value, arguments):
    integer(1, arguments["schedule"].T)(name, value, arguments)


def a_shape(name, value, arguments):
    if not isinstance(value, (list, tuple, torch.Size)) or not all(is_int(side) for side in value):
        raise TypeError(f"{name} must be a tuple of whole numbers, as in (16, 1, 28, 28), but is {describe(value)}.")
    if not value or min(value) < 1:
        raise ValueError(f"{name} must be (B, ...) with every side at least 1, but is {tuple(value)}.")
    if math.prod(value) > MOST:
        raise ValueError(f"{name} must ask for at most {MOST} values, but is {short(value)}. Sample in several calls.")


def start(name, value, arguments):
    """A batch of the shape that was asked for."""
    batch(name, value, arguments)
    if value.shape != torch.Size(arguments["shape"]):
        raise ValueError(
            f"{name} must have the shape asked for, {tuple(arguments['shape'])}, but is {describe(value)}."
        )
    if arguments["device"] is not None and torch.device(arguments["device"]).type != "meta":
        with_values(name, value)  # which go there


@checked(schedule=a_schedule, num_steps=steps_within_T)
def spaced_levels(schedule, num_steps):
    """The levels of a walk in num_steps steps, evenly spaced from T down to 0: a list of num_steps + 1 ints.

    Raises:
        TypeError: num_steps is not a whole number.
        ValueError: num_steps is outside 1 .. T.
    """
    return torch.linspace(schedule.T, 0, num_steps + 1, dtype=torch.float64).round().int().tolist()


@checked(
    schedule=a_schedule,
    denoise=function,
    shape=a_shape,
    step=function,
    num_steps=optional(steps_within_T),
    levels=optional(falling),
    device=optional(a_device),
    x_T=optional(start),
    generator=optional(cpu_generator),
)
@torch.no_grad()
def sample_steps(
    denoise,
    shape,
    schedule,
    step=ddpm_step,
    num_steps=None,
    levels=None,
    x_T=None,
    generator=None,
    device=None,
):
    """Walk from noise down to an image, and yield every step on the way (DDPM, algorithm 2; DDIM, section 4.2).

    Args:
        denoise: denoise(x_t, t) -> x_0_hat, t an int.
        shape: (B, ...) of what to make.
        schedule: a NoiseSchedule.
        step: ddpm_step, or ddim_step, or any function of the same arguments; options go in through functools.partial.
        num_steps: how many evenly spaced steps, within 1 .. T; by default all T.
        levels: instead of num_steps, the levels themselves, falling from T or below and ending at 0.
        x_T: where to start, of the given shape; by default fresh float32 noise.
        generator: a torch.Generator on the CPU, for the start and the steps; by default torch's own.
        device: where to work; by default x_T's device, or else the CPU.

    Yields:
        (s, x_s, x_0_hat) after each step: the level reached, the images there, and the prediction that led there. The
        last s is 0.

    Raises:
        TypeError: a wrong type.
        ValueError: levels, steps or shapes that do not fit, or a device that is not there. Both are raised at the
            call, not at the first step.
    """
    x = torch.randn(shape, generator=generator) if x_T is None else x_T
    x = x if device is None else x.to(device)
    for t, s in pairwise(levels or spaced_levels(schedule, num_steps or schedule.T)):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, schedule, generator=generator)
        yield s, x, x_0_hat


def sample(*args, **kwargs):
    """The images at the end of `sample_steps`, whose arguments it takes: a tensor of the given shape."""
    [(_, x, _)] = deque(sample_steps(*args, **kwargs), maxlen=1)
    return x


@checked(schedule=a_schedule, denoise=function, x_0=batch, levels=rising)
@torch.no_grad()
def ddim_encode(denoise, x_0, schedule, levels):
    """Walk up with eta = 0: find the noise from which `ddim_step`, walking down again, makes x_0 (DDIM, section 5.4).

    The walk starts at level 1, with x_0 taken for the image there: at level 0 there is no noise to read. Encode with
    a denoiser that does not clip. To decode, hand the result to `sample` as x_T, with [*reversed(levels), 0] as levels.

    Args:
        denoise: denoise(x_t, t) -> x_0_hat, t an int.
        x_0: (B, ...) clean images.
        schedule: a NoiseSchedule.
        levels: the levels to visit, whole numbers that rise within 1 .. T; a first one of 1 is where the walk starts.

    Returns:
        x_t: like x_0, the image's place at the last of the levels.

    Raises:
        TypeError: a wrong type.
        ValueError: an empty batch, or levels that do not rise, start at 0, or leave 1 .. T.
    """
    x = x_0
    for t, s in pairwise([1, *levels] if levels[0] > 1 else levels):
        x_0_hat = denoise(x, t)
        x = add_noise(x_0_hat, s, predict_noise(x, t, x_0_hat, schedule), schedule)
    return x
