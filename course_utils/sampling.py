"""From noise to images: DDPM and DDIM (notebooks 05 and 06), on every path.

A sampler knows nothing about networks. It takes a denoiser, a function `denoise(x_t, t) -> x_0_hat` with t an int, and
walks down a list of levels. An exact denoiser in closed form, clipping and guidance all fit in there.
"""

import contextlib
import functools
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from numbers import Integral

import torch

from course_utils.annotations import Batch, Count, Path, Rising, Share, Whole, check_answer, checked
from course_utils.forward import add_noise, posterior, predict_noise
from course_utils.predictions import NOISE, Prediction
from course_utils.unet import check_condition

AT_ONCE = 250  # images given to a network at a time, so that memory does not grow with their number


@checked
def denoiser(model: Callable, path: Path, condition=None, predicts: Prediction = NOISE, clip: bool = True):
    """The denoiser made from a network: denoise(x_t, t) -> x_0_hat, with t an int.

    The network, model(x_t, t) or model(x_t, t, condition) with t of shape (B,), predicts what `predicts` names. It is
    called in eval mode and without gradients, then put back in the mode it was in. `clip` keeps x_0_hat within
    -1 .. 1, where images lie.
    """
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    if condition is not None:
        check_condition(model, condition)

    @checked
    @torch.no_grad()
    def denoise(x_t: Batch, t: Integral) -> Batch:
        inputs = [x_t, torch.full((len(x_t),), t, device=x_t.device)]
        if condition is not None:
            check_condition(None, condition, len(x_t))
            inputs.append(condition.to(x_t.device))
        with evaluating(modules):
            parts = zip(*(tensor.split(AT_ONCE) for tensor in inputs), strict=True)
            output = check_answer(torch.cat([model(*part) for part in parts]), x_t)
        x_0_hat = predicts.x_0(x_t, t, output, path)
        return x_0_hat.clamp(-1, 1) if clip else x_0_hat

    return denoise


def clipped(denoise: Callable):
    """The same denoiser, its output kept within -1 .. 1. If you combine several denoisers, clip last."""
    return lambda x_t, t: denoise(x_t, t).clamp(-1, 1)


def asked_at_most(denoise: Callable, highest: Integral):
    """The same denoiser, asked about level `highest` wherever a walk is above it: denoise(x_t, min(t, highest)).

    A network that predicts the noise has its error divided by signal_rate_t, so near T its guess says nothing. A little
    below, x_t looks much the same, and the guess is a picture. On the cosine schedule, take 980.
    """
    return lambda x_t, t: denoise(x_t, min(t, highest))


@contextlib.contextmanager
def evaluating(modules):
    """Eval mode inside; afterwards, each module is back in the mode it was in."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def randn_like(x, generator):
    """Noise like x, drawn on the CPU and moved, so that a seed gives the same picture on every device."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


def downwards(step):
    """Refuse a step that does not go down within the table."""

    @functools.wraps(step)
    def wrapper(x_t, x_0_hat, t, s, path, *args, **options):
        if not 0 <= s < t <= path.T:
            raise ValueError(f"a step goes down from t to s, both within 0 .. {path.T}, but t = {t} and s = {s}.")
        return step(x_t, x_0_hat, t, s, path, *args, **options)

    return wrapper


@checked
@downwards
def ddpm_step(
    x_t: Batch, x_0_hat: Batch, t: Integral, s: Integral, path: Path, generator: torch.Generator | None = None
) -> Batch:
    """From level t down to s: draw x_s from the posterior q(x_s | x_t, x_0_hat) (DDPM, eqs. 6 and 7).

    At s = 0 the posterior's variance is 0, so the last step adds no noise. The generator is on the CPU.
    """
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance.sqrt() * randn_like(x_t, generator)


@checked
@downwards
def ddim_step(
    x_t: Batch,
    x_0_hat: Batch,
    t: Integral,
    s: Integral,
    path: Path,
    eta: Share = 0.0,
    generator: torch.Generator | None = None,
) -> Batch:
    """From level t down to s, with as much fresh noise as eta says (DDIM, arXiv 2010.02502, eqs. 12 and 16).

    x_s = signal_s x_0_hat + sqrt(noise_s^2 - sigma^2) noise_hat + sigma noise, where sigma is eta times the standard
    deviation of the posterior. eta = 0 draws nothing, and on the straight path it is an Euler step; eta = 1 has
    DDPM's variance. (The paper's alpha is alpha_bar here.)
    """
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5  # rounding could leave slightly less than 0
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    x_s = signal_s * x_0_hat + noise_left * noise_hat
    return x_s if eta == 0 else x_s + sigma * randn_like(x_t, generator)


def spaced_levels(path, num_steps):
    """The levels of a walk in num_steps steps, evenly spaced from T down to 0: num_steps + 1 ints."""
    T = len(path.signal_rate) - 1
    return torch.linspace(T, 0, num_steps + 1, dtype=torch.float64).round().int().tolist()


def levels_checked(sample_steps):
    """Refuse at the call what the first step would trip over, such as levels that do not fall from T or below to 0."""

    @functools.wraps(sample_steps)
    def at_the_call(denoise, shape, path, step=ddpm_step, num_steps=None, levels=None, x_T=None, **options):
        if num_steps is not None and (num_steps > path.T or levels is not None):
            must = f"Pass either num_steps, at most T = {path.T}, or levels"
            raise ValueError(f"{must}, but num_steps is {num_steps} and levels is {levels}.")
        if levels is not None and not (
            len(levels) > 1 and levels[-1] == 0 and levels[0] <= path.T and all(t > s for t, s in pairwise(levels))
        ):
            raise ValueError(f"levels must fall from T = {path.T} or below and end at 0, but are {list(levels)[:20]}.")
        if x_T is not None and x_T.shape != torch.Size(shape):
            raise ValueError(f"x_T must have the shape asked for, {tuple(shape)}, but has {tuple(x_T.shape)}.")
        return sample_steps(denoise, shape, path, step, num_steps, levels, x_T, **options)

    return at_the_call


@checked
@levels_checked
@torch.no_grad()
def sample_steps(
    denoise: Callable,
    shape: Whole,
    path: Path,
    step: Callable = ddpm_step,
    num_steps: Count | None = None,
    levels: Whole | None = None,
    x_T: Batch | None = None,
    generator: torch.Generator | None = None,
    device=None,
):
    """Walk from noise down to an image, and yield every step of the way (DDPM, algorithm 2; DDIM, section 4.2).

    Args:
        denoise: denoise(x_t, t) -> x_0_hat, t an int.
        shape: (B, ...), the shape of the images to make.
        path: a NoiseSchedule, or any other Gaussian path.
        step: ddpm_step, ddim_step, or any function with the same arguments; pass options with functools.partial.
        num_steps: how many evenly spaced steps, within 1 .. T; by default all T.
        levels: instead of num_steps, the levels themselves, falling from T or below and ending at 0.
        x_T: where to start; by default fresh float32 noise.
        generator: on the CPU, for the start and the steps; by default torch's own.
        device: where to work; by default x_T's device, or else the CPU.

    Yields:
        (s, x_s, x_0_hat) after each step: the level reached, the images there, and the prediction that led there.
    """
    x = torch.randn(shape, generator=generator) if x_T is None else x_T
    x = x if device is None else x.to(device)
    for t, s in pairwise(levels or spaced_levels(path, num_steps or path.T)):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, path, generator=generator)
        yield s, x, x_0_hat


def sample(*args, **kwargs):
    """The images at the end of `sample_steps`, with the same arguments: a tensor of the given shape."""
    [(_, x, _)] = deque(sample_steps(*args, **kwargs), maxlen=1)
    return x


@checked
@torch.no_grad()
def ddim_encode(denoise: Callable, x_0: Batch, path: Path, levels: Rising) -> Batch:
    """Walk up with eta = 0: find the noise from which `ddim_step`, walking down again, makes x_0 (DDIM, section 5.4).

    `levels` rise within 1 .. T. The walk starts at level 1, with x_0 as the image there, because at level 0 there
    is no noise to read. Use a denoiser that does not clip. To decode, pass the result to `sample` as x_T, with
    [*reversed(levels), 0] as levels.
    """
    x = x_0
    for t, s in pairwise([1, *levels] if levels[0] > 1 else levels):
        x_0_hat = denoise(x, t)
        x = add_noise(x_0_hat, s, predict_noise(x, t, x_0_hat, path), path)
    return x
