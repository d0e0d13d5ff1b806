"""The noise schedule: how much noise each of the T steps adds (notebook 02).

Timesteps are the paper's, t = 1 .. T, and index 0 means clean: every table has T + 1 entries, and entry 0 is what
leaves an image alone (beta 0, alpha 1, alpha_bar 1). `diffusers` counts from 0: its index is t - 1.
"""

import math
from dataclasses import dataclass, field

import torch

from course_utils._checks import checked, describe, integer, number, timestep


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The tables of a noise schedule, each of shape (T + 1,), float64, on the CPU (DDPM, arXiv 2006.11239, section 2).

    Args:
        beta: (T + 1,) floating point; beta[0] = 0, and 0 < beta[t] < 1, the variance of the noise that step t adds.

    Attributes:
        T: the number of steps.
        alpha: 1 - beta, the share of the variance that step t keeps.
        alpha_bar: the running product of alpha, the share of the image's variance left at t; falls from 1.
        snr: alpha_bar / (1 - alpha_bar), the signal-to-noise ratio; infinite at t = 0.

    Raises:
        TypeError: beta is not a floating-point tensor.
        ValueError: beta is not one-dimensional, does not start with 0, or leaves the open interval (0, 1) after that.
    """

    beta: torch.Tensor
    alpha: torch.Tensor = field(init=False, repr=False)
    alpha_bar: torch.Tensor = field(init=False, repr=False)

    def __post_init__(self):
        check_beta(self.beta)
        beta = self.beta.detach().to("cpu", torch.float64, copy=True)
        object.__setattr__(self, "beta", beta)
        object.__setattr__(self, "alpha", 1 - beta)
        object.__setattr__(self, "alpha_bar", torch.cumprod(1 - beta, dim=0))

    @property
    def T(self):
        return len(self.beta) - 1

    @property
    def snr(self):
        return self.alpha_bar / (1 - self.alpha_bar)


def check_beta(beta):
    if not isinstance(beta, torch.Tensor) or not beta.is_floating_point():
        raise TypeError(f"NoiseSchedule: beta must be a floating-point tensor, but is {describe(beta)}.")
    if beta.ndim != 1 or len(beta) < 2:
        raise ValueError(f"NoiseSchedule: beta must have shape (T + 1,) with T at least 1, but is {describe(beta)}.")
    if beta[0] != 0:
        raise ValueError(
            f"NoiseSchedule: beta[0] must be 0, because index 0 means clean, but is {beta[0].item():g}. "
            "Put a 0 in front of beta_1 .. beta_T."
        )
    if not ((beta[1:] > 0) & (beta[1:] < 1)).all():
        raise ValueError(
            "NoiseSchedule: beta[1:] must lie strictly between 0 and 1, but runs from "
            f"{beta[1:].min().item():g} to {beta[1:].max().item():g}."
        )


@checked(t=timestep("x", low=0, high=lambda arguments: len(arguments["values"]) - 1))
def at(values, t, x):
    """values[t], in x's dtype, on x's device, and shaped to broadcast against x.

    Work out `values` in float64 first, as in `at((1 - schedule.alpha_bar).sqrt(), t, x_0)`: the cast comes last.

    Args:
        values: (T + 1,) float64, on the CPU: a table with one entry for each timestep.
        t: an int, or an integer tensor of shape (B,) on x's device, within 0 .. T.
        x: (B, ...) any floating dtype, on any device.

    Returns:
        (B, 1, ...), or (1, 1, ...) where t is an int; as many dimensions as x has.

    Raises:
        TypeError: t is not a whole number or an integer tensor.
        ValueError: t leaves the table, does not have one entry for each item of x, or is on another device.
    """
    coefficient = values.to(x.dtype).to(x.device)[t]
    return coefficient.reshape(-1, *[1] * (x.ndim - 1))


def pick(values, t):
    """values[t], still in float64, for coefficients that need the tables at two levels before they are cast."""
    if isinstance(t, torch.Tensor):
        t = t.cpu() if t.device.type == "mps" else t  # mps has no float64
        values = values.to(t.device)
    return values[t]


def cast(coefficient, x):
    """A coefficient from `pick` in x's dtype, on x's device, and shaped to broadcast against x, as `at` does it."""
    return coefficient.to(x.dtype).to(x.device).reshape(-1, *[1] * (x.ndim - 1))


@checked(T=integer(1), beta_1=number(0, 1, open_ends=True), beta_T=number(0, 1, open_ends=True))
def linear_schedule(T=1000, beta_1=1e-4, beta_T=0.02):
    """beta grows by the same amount at every step, from beta_1 to beta_T (DDPM, arXiv 2006.11239, section 4).

    The usual end points belong to T = 1000: with fewer steps they leave much of the image at T (notebook 02).

    Raises:
        TypeError: T is not a whole number, or an end point is not a number.
        ValueError: T is below 1, an end point is not strictly between 0 and 1, or beta falls.
    """
    if beta_1 > beta_T:
        raise ValueError(f"linear_schedule: beta must not fall, but goes from {beta_1} to {beta_T}. Swap the two.")
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    return NoiseSchedule(torch.cat([torch.zeros(1, dtype=torch.float64), beta]))


@checked(T=integer(1), s=number(0, 1))
def cosine_schedule(T=1000, s=0.008):
    """alpha_bar follows a squared cosine from 1 to 0 (Nichol and Dhariwal, arXiv 2102.09672, eq. 17).

    beta is cut off at 0.999, as in the paper, so that the last steps do not destroy everything at once.

    Args:
        T: the number of steps.
        s: a small shift, 0 .. 1, that keeps the first steps from being too small to matter.

    Raises:
        TypeError: T is not a whole number, or s not a number.
        ValueError: T is below 1, or s outside 0 .. 1.
    """
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(torch.cat([torch.zeros(1, dtype=torch.float64), beta]))
