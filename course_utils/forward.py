"""The forward process: from an image to noise, and the exact way back when the image is known (notebooks 01 and 05).

Equation numbers are those of DDPM, arXiv 2006.11239.
"""

from course_utils._checks import a_schedule, batch, beside, checked, in_range, integer_tensor, is_int, like, timestep
from course_utils.schedule import at, cast, pick


@checked(schedule=a_schedule, x_prev=batch, t=timestep("x_prev"), noise=like("x_prev"))
def forward_step(x_prev, t, noise, schedule):
    """One noising step: draw x_t from q(x_t | x_{t-1}) (eq. 2).

    Args:
        x_prev: (B, ...) the images at level t - 1, any floating dtype.
        t: an int or an integer tensor of shape (B,), within 1 .. T: the level to arrive at.
        noise: like x_prev, drawn from N(0, 1).
        schedule: a NoiseSchedule.

    Returns:
        x_t: like x_prev.

    Raises:
        TypeError: a wrong type, or dtypes that differ.
        ValueError: shapes or devices that differ, an empty batch, or t outside 1 .. T.
    """
    return at(schedule.alpha.sqrt(), t, x_prev) * x_prev + at(schedule.beta.sqrt(), t, x_prev) * noise


@checked(schedule=a_schedule, x_0=batch, t=timestep("x_0"), noise=like("x_0"))
def add_noise(x_0, t, noise, schedule):
    """All the steps from 0 to t in one jump: draw x_t from q(x_t | x_0) (eq. 4).

    Args:
        x_0: (B, ...) clean images, any floating dtype.
        t: an int or an integer tensor of shape (B,), within 1 .. T: the level to arrive at.
        noise: like x_0, drawn from N(0, 1).
        schedule: a NoiseSchedule.

    Returns:
        x_t: like x_0.

    Raises:
        TypeError: a wrong type, or dtypes that differ.
        ValueError: shapes or devices that differ, an empty batch, or t outside 1 .. T.
    """
    return at(schedule.alpha_bar.sqrt(), t, x_0) * x_0 + at((1 - schedule.alpha_bar).sqrt(), t, x_0) * noise


def earlier_level(name, value, arguments):
    """None, or a level s with 0 <= s < t: an int, or an integer tensor of shape (B,) where t is one."""
    t = arguments["t"]
    if value is None:
        return
    if is_int(value):
        top = t if is_int(t) else t.min() if t.device.type == "cpu" else arguments["schedule"].T
        return in_range(name, value, value, 0, int(top) - 1)
    integer_tensor(name, value, "a whole number, or ")
    beside(name, value, "x_t", arguments["x_t"])
    if value.device.type == "cpu" and not ((value >= 0) & (value < t)).all():
        raise ValueError(
            f"{name} must satisfy 0 <= s < t, but is {value.tolist()} with t = {t if is_int(t) else t.tolist()}."
        )


@checked(schedule=a_schedule, x_0=batch, x_t=like("x_0"), t=timestep("x_0"), s=earlier_level)
def posterior(x_0, x_t, t, schedule, s=None):
    """Mean and variance of q(x_s | x_t, x_0), the step back when x_0 is known (eqs. 6 and 7, for any s < t).

    With s = t - 1 these are the paper's. For an earlier s, alpha_t gives way to alpha_bar_t / alpha_bar_s, the
    share of the variance kept over all the steps from s to t.

    Args:
        x_0: (B, ...) clean images, or a prediction of them.
        x_t: like x_0, the images at level t.
        t: an int or an integer tensor of shape (B,), within 1 .. T.
        schedule: a NoiseSchedule.
        s: the level to go back to, 0 <= s < t, an int or an integer tensor of shape (B,); by default t - 1.

    Returns:
        mean: like x_t.
        variance: (B, 1, ...), or (1, 1, ...) where t is an int; exactly 0 where s = 0.

    Raises:
        TypeError: a wrong type, or dtypes that differ.
        ValueError: shapes or devices that differ, an empty batch, t outside 1 .. T, or s outside 0 .. t - 1.
    """
    alpha_bar_t = pick(schedule.alpha_bar, t)
    alpha_bar_s = pick(schedule.alpha_bar, t - 1 if s is None else s)
    alpha_ts = alpha_bar_t / alpha_bar_s
    beta_ts = 1 - alpha_ts
    x_0_share = alpha_bar_s.sqrt() * beta_ts / (1 - alpha_bar_t)
    x_t_share = alpha_ts.sqrt() * (1 - alpha_bar_s) / (1 - alpha_bar_t)
    mean = cast(x_0_share, x_0) * x_0 + cast(x_t_share, x_t) * x_t
    variance = cast(beta_ts * (1 - alpha_bar_s) / (1 - alpha_bar_t), x_t)
    return mean, variance
