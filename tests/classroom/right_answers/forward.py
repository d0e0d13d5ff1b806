"""Right answers to the exercises on the forward process, in other styles than the finished versions.

The first of each is the one that notebooks are run with, so it should not be slow.
"""

import torch

from course_utils.forward import add_noise
from course_utils.schedule import at


def step_image_by_image(x_prev, t, noise, schedule):
    levels = t.tolist() if isinstance(t, torch.Tensor) else [t] * len(x_prev)
    rows = []
    for picture, eps, level in zip(x_prev, noise, levels, strict=True):
        beta = schedule.beta[level].item()
        rows.append((1 - beta) ** 0.5 * picture + beta**0.5 * eps)
    return torch.stack(rows)


def step_in_float64(x, t, eps, tables):
    beta = tables.beta[torch.as_tensor(t)].view((-1,) + (1,) * (x.dim() - 1))
    return (torch.sqrt(1 - beta) * x.double() + torch.sqrt(beta) * eps.double()).to(x.dtype)


def jump_by_einsum(x_0, t, noise, schedule):
    keep = schedule.alpha_bar[torch.as_tensor(t)].expand(len(x_0))
    both = torch.einsum("b,b...->b...", keep.sqrt(), x_0.double())
    both = both + torch.einsum("b,b...->b...", (1 - keep).sqrt(), noise.double())
    return both.to(x_0.dtype)


def jump_in_place_on_a_copy(x_0, t, noise, schedule):
    out, eps = x_0.clone(), noise.clone()
    for i in range(len(out)):
        level = t if isinstance(t, int) else t[i]
        out[i] *= schedule.alpha_bar[level].sqrt()
        eps[i] *= (1 - schedule.alpha_bar[level]) ** 0.5
    out += eps
    return out


def jump_as_before_the_rates(x_0, t, noise, schedule):
    return at(schedule.alpha_bar.sqrt(), t, x_0) * x_0 + at((1 - schedule.alpha_bar).sqrt(), t, x_0) * noise


def jump_as_product(x_s, s, t, noise, schedule):
    share = schedule.alpha[s + 1 : t + 1].prod().item()
    return share**0.5 * x_s + (1 - share) ** 0.5 * noise


def jump_by_single_variances(x_s, s, t, noise, schedule):
    factor, variance = 1.0, 0.0
    for level in range(s + 1, t + 1):
        factor, variance = (
            factor * schedule.alpha[level] ** 0.5,
            variance * schedule.alpha[level] + schedule.beta[level],
        )
    return (factor * x_s.double() + variance.sqrt() * noise.double()).to(x_s.dtype)


def posterior_by_precisions(x_0, x_t, t, schedule, s=None):
    """As it is derived: two precisions, added up."""
    s = t - 1 if s is None else s
    shape = (-1,) + (1,) * (x_t.dim() - 1)
    a_t, a_s = (schedule.alpha_bar[torch.as_tensor(level)].reshape(shape) for level in (t, s))
    alpha = a_t / a_s
    from_x_0, from_x_t = 1 / (1 - a_s), alpha / (1 - alpha)
    variance = 1 / (from_x_0 + from_x_t)
    weight = torch.where(a_s == 1, torch.ones_like(a_s), variance * from_x_0)
    mean = weight * a_s.sqrt() * x_0.double() + (1 - weight) * x_t.double() / alpha.sqrt()
    return mean.to(x_t.dtype), variance.to(x_t.dtype)


def posterior_item_by_item(x_0, x_t, t, schedule, s=None):
    means, variances = [], []
    for i in range(len(x_t)):
        level = int(t[i]) if isinstance(t, torch.Tensor) else t
        lower = level - 1 if s is None else int(s[i]) if isinstance(s, torch.Tensor) else s
        bar_t, bar_s = schedule.alpha_bar[level].item(), schedule.alpha_bar[lower].item()
        ratio = bar_t / bar_s
        means.append((bar_s**0.5 * (1 - ratio) * x_0[i] + ratio**0.5 * (1 - bar_s) * x_t[i]) / (1 - bar_t))
        variances.append((1 - ratio) * (1 - bar_s) / (1 - bar_t))
    variance = torch.tensor(variances, dtype=x_t.dtype).reshape(-1, *[1] * (x_t.ndim - 1))
    return torch.stack(means), variance if isinstance(t, torch.Tensor) else variances[0]


ANSWERS = {
    "forward.forward_step": [step_in_float64, step_image_by_image],
    "forward.add_noise": [
        jump_by_einsum,
        jump_in_place_on_a_copy,
        jump_as_before_the_rates,
        lambda x, t, noise, path: add_noise(x, t, noise, path),  # calls the package, as a learner may, too
    ],
    "forward.jump": [jump_as_product, jump_by_single_variances],
    "forward.posterior": [posterior_by_precisions, posterior_item_by_item],
}
