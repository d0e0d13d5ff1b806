"""The noise schedule: how much noise each of the T steps adds (notebook 02).

Timesteps are the paper's, t = 1 .. T, and index 0 means clean: every table has T + 1 entries, and entry 0 is what
leaves an image alone (beta 0, alpha 1, alpha_bar 1). `diffusers` counts from 0: its index is t - 1.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from course_utils._checks import batch, checked, describe, floating, integer, number, timestep, with_values

LONGEST = 1_000_000  # steps; the tables of more would only fill the memory


def check_beta(name, value, arguments):
    floating(name, value)
    if value.ndim != 1 or len(value) < 2:
        raise ValueError(f"{name} must have shape (T + 1,) with T at least 1, but is {describe(value)}.")
    with_values(name, value)
    if value[0] != 0:
        raise ValueError(
            f"{name}[0] must be 0, because index 0 means clean, but is {value[0].item():g}. "
            "Put a 0 in front of beta_1 .. beta_T."
        )
    if not ((value[1:] > 0) & (value[1:] < 1)).all():
        low, high = value[1:].min().item(), value[1:].max().item()
        raise ValueError(f"{name}[1:] must lie strictly between 0 and 1, but runs from {low:g} to {high:g}.")
    if 1 - value[1].double() == 1:
        raise ValueError(f"{name}[1] must be larger: 1 - {value[1].item():g} is 1, so step 1 would add no noise.")


def with_checked_beta(schedule_class):
    """Let the class check its beta, and keep a float64 copy of it on the CPU."""
    init = schedule_class.__init__

    def keep(self, beta):
        init(self, beta.detach().to("cpu", torch.float64, copy=True))

    keep.__qualname__ = schedule_class.__name__  # what the messages start with
    schedule_class.__init__ = checked(beta=check_beta)(keep)
    return schedule_class


@with_checked_beta
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
        ValueError: beta is not one-dimensional, does not start with 0, leaves the open interval (0, 1) after that, or
            starts so small that alpha_bar rounds to 1 at t = 1.
    """

    beta: torch.Tensor

    @cached_property
    def T(self):
        return len(self.beta) - 1

    @cached_property
    def alpha(self):
        return 1 - self.beta

    @cached_property
    def alpha_bar(self):
        return self.alpha.cumprod(dim=0)

    @cached_property
    def snr(self):
        return self.alpha_bar / (1 - self.alpha_bar)


def a_table(name, value, arguments):
    floating(name, value)
    if value.ndim != 1 or len(value) == 0:
        raise ValueError(f"{name} must have shape (T + 1,), an entry for each timestep, but is {describe(value)}.")


def a_table_for_x(name, value, arguments):
    """A table on the CPU, or where x is."""
    a_table(name, value, arguments)
    on_cpu_or_beside_x(name, value, arguments)


def on_cpu_or_beside_x(name, value, arguments):
    if value.device.type != "cpu" and value.device != arguments["x"].device:
        raise ValueError(f"{name} must be on the CPU, but is {describe(value)}. Use .cpu().")


def last(arguments):
    return len(arguments["values"]) - 1


@checked(x=batch, values=a_table_for_x, t=timestep("x", low=0, high=last))
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
        TypeError: t is not a whole number or an integer tensor, or values or x is not a floating-point tensor.
        ValueError: t leaves the table, does not have one entry for each item of x, or is on another device; values
            has not one dimension; x is an empty batch.
    """
    coefficient = values.to(x.dtype).to(x.device)[t]
    return coefficient.reshape(-1, *[1] * (x.ndim - 1))


@checked(values=a_table, t=timestep(None, low=0, high=last))
def pick(values, t):
    """values[t], still in float64, for coefficients that need the tables at two levels before they are cast.

    Args:
        values: (T + 1,) float64, on the CPU: a table with one entry for each timestep.
        t: an int, or an integer tensor of shape (B,), within 0 .. T.

    Raises:
        TypeError: values is not a floating-point tensor, or t not a whole number or an integer tensor.
        ValueError: t leaves the table, or is not of shape (B,).
    """
    if isinstance(t, torch.Tensor):
        t = t.cpu() if t.device.type == "mps" else t  # mps has no float64
        values = values.to(t.device)
    return values[t]


def one_for_each(name, value, arguments):
    """A number, or a number for each item of x."""
    floating(name, value)
    if value.shape not in ((), arguments["x"].shape[:1]):
        raise ValueError(
            f"{name} must have shape (), or (B,) = ({len(arguments['x'])},), one for each item of x, "
            f"but is {describe(value)}."
        )
    on_cpu_or_beside_x(name, value, arguments)


@checked(x=batch, coefficient=one_for_each)
def cast(coefficient, x):
    """A coefficient from `pick` in x's dtype, on x's device, and shaped to broadcast against x, as `at` does it.

    Args:
        coefficient: () or (B,), floating point.
        x: (B, ...) any floating dtype, on any device.

    Raises:
        TypeError: one of the two is not a floating-point tensor.
        ValueError: coefficient is of another shape, or x an empty batch.
    """
    return coefficient.to(x.dtype).to(x.device).reshape(-1, *[1] * (x.ndim - 1))


def not_below_beta_1(name, value, arguments):
    number(0, 1, open_ends=True)(name, value, arguments)
    if value < arguments["beta_1"]:
        raise ValueError(f"{name} must not be below beta_1 = {arguments['beta_1']}, but is {value}. Swap the two.")


@checked(T=integer(1, LONGEST), beta_1=number(0, 1, open_ends=True), beta_T=not_below_beta_1)
def linear_schedule(T=1000, beta_1=1e-4, beta_T=0.02):
    """beta grows by the same amount at every step, from beta_1 to beta_T (DDPM, arXiv 2006.11239, section 4).

    The usual end points belong to T = 1000: with fewer steps they leave much of the image at T (notebook 02).

    Raises:
        TypeError: T is not a whole number, or an end point is not a number.
        ValueError: T is outside 1 .. 1,000,000, an end point is not strictly between 0 and 1, beta falls, or
            beta_1 is so small that alpha_bar rounds to 1 at t = 1.
    """
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (1, 0)))  # beta[0] = 0


@checked(T=integer(1, LONGEST), s=number(0, 1))
def cosine_schedule(T=1000, s=0.008):
    """alpha_bar follows a squared cosine from 1 to 0 (Nichol and Dhariwal, arXiv 2102.09672, eq. 17).

    beta is cut off at 0.999, as in the paper, so that the last steps do not destroy everything at once.

    Args:
        T: the number of steps, 1 .. 1,000,000.
        s: a small shift, 0 .. 1, that keeps the first steps from being too small to matter.

    Raises:
        TypeError: T is not a whole number, or s not a number.
        ValueError: T is outside 1 .. 1,000,000, or s outside 0 .. 1.
    """
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))  # beta[0] = 0
