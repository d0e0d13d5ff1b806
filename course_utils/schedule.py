"""How much picture and how much noise there is at each level: Gaussian paths and noise schedules (notebook 02).

A path has two tables, and x_t = signal_rate[t] * x_0 + noise_rate[t] * noise. Levels are t = 0 .. T; index 0 means
clean, so the tables have T + 1 entries and start at 1 and 0. `diffusers` counts from 0: its index is t - 1.
"""

import math
from dataclasses import dataclass
from numbers import Integral

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from course_utils.annotations import Batch, Betas, Count, Levels, Path, Share, checked


@checked
@dataclass(frozen=True, eq=False)
class GaussianPath:
    """Any way from a picture to noise. Both tables are float64, on the CPU, of shape (T + 1,).

    snr is (signal_rate / noise_rate)^2, the signal-to-noise ratio: infinite at 0, where there is no noise.
    """

    signal_rate: Float[Tensor, " T_plus_1"]
    noise_rate: Float[Tensor, " T_plus_1"]

    @property
    def T(self):
        return len(self.signal_rate) - 1

    @property
    def snr(self):
        return (self.signal_rate / self.noise_rate) ** 2

    @property
    def log_snr(self):
        return self.snr.log()


@checked
@dataclass(frozen=True, eq=False)
class NoiseSchedule(GaussianPath):
    """A path that keeps the variance at 1 (DDPM, arXiv 2006.11239, section 2), given the variance that each step adds.

    alpha_t = 1 - beta_t, and alpha_bar_t is the product of alpha_1 .. alpha_t; then signal_rate = sqrt(alpha_bar) and
    noise_rate = sqrt(1 - alpha_bar). beta has T + 1 entries: beta_0 = 0, and 0 < beta_t < 1.
    """

    def __init__(self, beta: Betas):
        beta = beta.detach().to("cpu", torch.float64, copy=True)
        alpha = 1 - beta
        alpha_bar = alpha.cumprod(dim=0)
        super().__init__(signal_rate=alpha_bar.sqrt(), noise_rate=(1 - alpha_bar).sqrt())
        vars(self).update(beta=beta, alpha=alpha, alpha_bar=alpha_bar)  # frozen: no assignments


@checked
def linear_schedule(T: Count = 1000, beta_1: Share = 1e-4, beta_T: Share = 0.02) -> NoiseSchedule:
    """beta grows by the same amount at every step, from beta_1 to beta_T (DDPM, arXiv 2006.11239, section 4).

    The usual end points belong to T = 1000: with fewer steps they leave much of the image at T (notebook 02).
    """
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (1, 0)))  # beta[0] = 0


@checked
def cosine_schedule(T: Count = 1000, s: Share = 0.008) -> NoiseSchedule:
    """alpha_bar_t = f(t) / f(0), f(t) = cos^2((t / T + s) / (1 + s) * pi / 2) (arXiv 2102.09672, eq. 17).

    beta is capped at 0.999, as in the paper, so that the last steps do not destroy everything at once. The small
    shift s keeps the first steps from being too small to matter.
    """
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))  # beta[0] = 0


@checked
def straight_path(T: Count = 1000) -> GaussianPath:
    """x_t = (1 - t / T) x_0 + (t / T) noise, a straight line: flow matching (arXiv 2210.02747, 2209.03003)."""
    noise_rate = torch.arange(T + 1, dtype=torch.float64) / T
    return GaussianPath(1 - noise_rate, noise_rate)


def at(values: Float[Tensor, " T_plus_1"], t: Levels, x: Batch) -> Tensor:
    """values[t] in x's dtype, on its device, shaped to broadcast with x: (B, 1, ...), or (1, 1, ...) for an int t."""
    check_level(t, len(values) - 1)
    coefficient = values.to(x.dtype).to(x.device)[t]
    return coefficient.reshape(-1, *[1] * (x.ndim - 1))


def check_level(t, T):
    """Refuse a level outside 0 .. T: with t = -1, Python would silently take the last entry of a table.

    Levels on an accelerator are not checked, because that would make it wait.
    """
    lowest, highest = t.aminmax() if isinstance(t, Tensor) else (t, t)
    if (isinstance(t, Integral) or t.device.type == "cpu") and (lowest < 0 or highest > T):
        where = f"is {lowest}" if lowest == highest else f"runs from {lowest} to {highest}"
        raise ValueError(f"t must be within 0 .. {T}, but {where}.")


def rates(path: Path, t: Levels, x: Batch):
    """signal_rate[t] and noise_rate[t] as `at` shapes them, but still in float64.

    Coefficients that combine two levels need that: they are differences of nearly equal numbers. `.to(x)` comes last.
    """
    device = t.device if isinstance(t, Tensor) else "cpu"
    if device != "cpu" and device.type == "mps":  # which has no float64
        t, device = t.cpu(), "cpu"
    exact = torch.empty([1] * x.ndim, dtype=torch.float64, device=device)
    return at(path.signal_rate, t, exact), at(path.noise_rate, t, exact)
