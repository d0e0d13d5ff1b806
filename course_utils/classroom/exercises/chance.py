"""What a step that draws random numbers does: its mean exactly, and its noise by statistics."""

import math

import torch

from course_utils.classroom.exercises.cases import random
from course_utils.classroom.exercises.record import Approximately

BIG = (24, 3, 20, 25)  # 36,000 values, for statistics
WHAT, NOISE, MEAN = "what it returns", "its noise", "its mean"
STATISTICS = ("the variance of its noise", "the average of its noise", "the kurtosis of its noise, 3 for a Gaussian")
GOOD_NOISE = "drawn afresh for every value"


def step_in_parts(attempt, case):
    """The mean of a step, exactly, and the noise that it adds, by its statistics.

    The same seed gives the same noise, so the mean is the difference between a step and one that starts at zeros.
    """
    x_t, x_0_hat = (x.clone() for x in case.args[:2])

    def step(x_t, x_0_hat, **options):
        return without_complex(attempt(x_t, x_0_hat, *case.args[2:], **case.options, **options))

    x_s = step(*case.args[:2], generator=random(1))
    if x_s is None or x_s is Ellipsis:
        return None
    parts = {WHAT: x_s, NOISE: "unknown", MEAN: None} | dict.fromkeys(STATISTICS, Approximately(0, 0))
    if not isinstance(x_s, torch.Tensor) or x_s.shape != x_t.shape:
        return parts
    again, other = (step(x_t.clone(), x_0_hat.clone(), generator=random(seed)) for seed in (1, 2))
    bare = step(*[torch.zeros_like(x_t)] * 2, generator=random(1))
    noise, more_noise = (step(*[torch.zeros(BIG, dtype=x_t.dtype)] * 2) for _ in range(2))
    parts[WHAT] = 0 * x_s  # shape, dtype, and what is not finite
    parts[NOISE] = noise_in_words(x_s, again, other, noise, more_noise)
    if parts[NOISE] == "none":
        parts[MEAN] = x_s
    elif equal(x_s, again):
        parts[MEAN] = x_s - bare
    else:
        parts[MEAN] = 0 * x_s
    return parts | (statistics(noise) if parts[NOISE] == GOOD_NOISE else {})


def without_complex(x):
    """The root of a negative number is complex in Python and NaN in torch: the same mistake, and NaN here."""
    return torch.full_like(x.real, torch.nan) if isinstance(x, torch.Tensor) and x.is_complex() else x


def equal(one, other):
    """Up to rounding, and to the tiny variance that some people keep under the root for safety."""
    return torch.allclose(one, other, rtol=1e-5, atol=1e-5, equal_nan=True)


def noise_in_words(x_s, again, other, noise, more_noise):
    if not equal(x_s, again):
        return "different each time with the same seed"
    if noise.double().var() < 1e-10:
        return "none" if equal(x_s, other) else "none unless a generator is passed"
    if equal(x_s, other):
        return "the same with another seed"
    if equal(noise, more_noise):
        return "the same at every call"
    for axis, name in enumerate(("images", "channels", "rows", "columns")):
        # The variance of the mean of n independent values is 1 / n of theirs.
        if noise.double().mean(dim=axis).var() * noise.shape[axis] > 1.5 * noise.double().var():
            return f"the same in several {name}"
    return GOOD_NOISE


def statistics(noise):
    noise = noise.double().flatten()
    variance, mean, count = noise.var(), noise.mean(), len(noise)
    kurtosis = ((noise - mean) ** 4).mean() / variance**2
    errors = variance * (2 / count) ** 0.5, (variance / count).sqrt(), (24 / count) ** 0.5
    return {
        name: approximately(value, error)
        for name, value, error in zip(STATISTICS, (variance, mean, kurtosis), errors, strict=True)
    }


def approximately(value, standard_error):
    """5 standard errors, of the difference between two draws; -1 for what is not finite."""
    value, within = float(value), 5 * 2**0.5 * float(standard_error)
    return Approximately(value, max(within, 1e-5)) if math.isfinite(value + within) else Approximately(-1.0, 1e-5)
