"""Right answers to the exercises on levels and walks, in other styles than the finished versions."""

import itertools
import math

import numpy
import torch


def levels_with_python(path, num_steps):
    return [round(path.T * (num_steps - i) / num_steps) for i in range(num_steps + 1)]


def levels_half_up(path, num_steps):
    """Halves go up: another way of rounding, which the cases leave open."""
    return tuple(numpy.floor(numpy.linspace(path.T, 0, num_steps + 1) + 0.5).astype(int))


def loop_by_index(denoise, x_T, path, levels, step):
    x = x_T.clone()
    for i in range(len(levels) - 1):
        x = step(x, denoise(x, levels[i]), levels[i], levels[i + 1], path)
    return x


def loop_by_name(denoise, x_T, path, levels, step):
    *_, last = itertools.accumulate(
        itertools.pairwise(levels),
        lambda x, pair: step(x_t=x, x_0_hat=denoise(x_t=x, t=pair[0]), t=pair[0], s=pair[1], path=path),
        initial=x_T,
    )
    return last


def loop_backwards(denoise, x_T, path, levels, step):
    left, x = list(levels), x_T
    t = left.pop(0)
    while left:
        s = left.pop(0)
        x, t = step(x, denoise(x, t), t, s, path, generator=None), s
    return x


def safe_with_a_helper(denoise, x_T, path, levels, step):
    if sorted(set(levels), reverse=True) != list(levels) or len(levels) < 2:
        raise ValueError("levels must fall")
    if max(levels) > path.T or min(levels) != 0:
        raise ValueError("levels must lie within 0 .. T and end at 0")

    def careful(x, t):
        x_0_hat = denoise(x, t)
        if torch.isnan(x_0_hat).any() or torch.isinf(x_0_hat).any():
            raise ValueError(f"NaN or infinity, t={t}, levels={levels}")
        return x_0_hat

    return loop_by_index(careful, x_T, path, levels, step)


def safe_by_what_the_step_makes(denoise, x_T, path, levels, step):
    """Looks at x after each step: a prediction that is not finite makes an x that is not."""
    if not levels or levels[0] > path.T or levels[0] == 0 or levels[-1] != 0:
        raise ValueError(f"unusable levels: {levels}")
    for i in range(1, len(levels)):
        if levels[i] >= levels[i - 1]:
            raise ValueError(f"level {levels[i]} after {levels[i - 1]}")
    x = x_T
    for t, s in itertools.pairwise(levels):
        x = step(x, denoise(x, t), t, s, path)
        if not math.isfinite(x.sum()):
            raise ValueError(f"not finite from level {t} on")
    return x


ANSWERS = {
    "sampling.spaced_levels": [levels_with_python, levels_half_up],
    "sampling.sampling_loop": [loop_by_index, loop_by_name, loop_backwards],
    "sampling.sample_safely": [safe_with_a_helper, safe_by_what_the_step_makes],
}
