"""The forward process: from an image to noise, and the exact way back where the image is known (notebooks 01 and 05).

Equation numbers are those of DDPM, arXiv 2006.11239; each holds on every path, once written in the path's two rates.
"""

from course_utils.annotations import Batch, Levels, Path, checked
from course_utils.schedule import at, rates


@checked
def forward_step(x_prev: Batch, t: Levels, noise: Batch, schedule) -> Batch:
    """One noising step: x_t = sqrt(alpha_t) x_{t-1} + sqrt(beta_t) noise (eq. 2)."""
    return at(schedule.alpha.sqrt(), t, x_prev) * x_prev + at(schedule.beta.sqrt(), t, x_prev) * noise


@checked
def add_noise(x_0: Batch, t: Levels, noise: Batch, path: Path) -> Batch:
    """From the image to level t in one jump: x_t = signal_rate_t x_0 + noise_rate_t noise (eq. 4). At t = 0, x_0."""
    return at(path.signal_rate, t, x_0) * x_0 + at(path.noise_rate, t, x_0) * noise


@checked
def predict_x_0(x_t: Batch, t: Levels, noise_hat: Batch, path: Path) -> Batch:
    """The image that x_t came from if noise_hat is its noise: eq. 4 solved for x_0.

    Not clipped: where signal_rate is small, as it is near T, errors in noise_hat grow without bound.
    """
    return (x_t - at(path.noise_rate, t, x_t) * noise_hat) / at(path.signal_rate, t, x_t)


@checked
def predict_noise(x_t: Batch, t: Levels, x_0_hat: Batch, path: Path) -> Batch:
    """The noise in x_t if x_0_hat is its image: eq. 4 solved for the noise. t must be at least 1."""
    return (x_t - at(path.signal_rate, t, x_t) * x_0_hat) / at(path.noise_rate, t, x_t)


@checked
def posterior(x_0: Batch, x_t: Batch, t: Levels, path: Path, s: Levels | None = None):
    """Mean and variance of q(x_s | x_t, x_0), the step back from t to s < t where x_0 is known (eqs. 6 and 7).

    With r = signal_t / signal_s, the variance added from s to t is added = noise_t^2 - r^2 noise_s^2, and
    mean = (signal_s added x_0 + r noise_s^2 x_t) / noise_t^2, variance = added noise_s^2 / noise_t^2.
    Without s, the step goes back to t - 1, as in the paper. The variance is exactly 0 at s = 0.
    """
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    x_0_share = signal_s * added / noise_t**2
    x_t_share = r * noise_s**2 / noise_t**2
    variance = added * noise_s**2 / noise_t**2
    return x_0_share.to(x_0) * x_0 + x_t_share.to(x_t) * x_t, variance.to(x_t)
