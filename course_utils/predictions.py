"""What a network can be asked for: the noise, the image, v, or the velocity (notebook 09).

Each is a pair of functions: the target in training, and the image that an output stands for. So a loss or a sampler
can take any of them. With a and b for the rates at t, x_t = a x_0 + b noise, and

    NOISE     noise              DDPM, arXiv 2006.11239
    X_0       x_0
    V         a noise - b x_0    Salimans and Ho, arXiv 2202.00512
    VELOCITY  noise - x_0        flow matching, arXiv 2210.02747: dx_t/d(t/T) on the straight path, towards the noise
"""

from collections.abc import Callable
from dataclasses import dataclass

from course_utils.forward import predict_noise, predict_x_0
from course_utils.schedule import at


@dataclass(frozen=True)
class Prediction:
    """target(x_0, noise, t, path) is what to predict, x_0(x_t, t, output, path) the image an output stands for."""

    target: Callable
    x_0: Callable
    name: str = ""


def v(x_0, noise, t, path):
    return at(path.signal_rate, t, x_0) * noise - at(path.noise_rate, t, x_0) * x_0


def x_0_from_v(x_t, t, output, path):
    """a x_t - b v = (a^2 + b^2) x_0 for any rates, so divide by a^2 + b^2, which is 1 on schedules."""
    a, b = at(path.signal_rate, t, x_t), at(path.noise_rate, t, x_t)
    return (a * x_t - b * output) / (a**2 + b**2)


def x_0_from_velocity(x_t, t, output, path):
    """x_t - b (noise - x_0) = (a + b) x_0."""
    a, b = at(path.signal_rate, t, x_t), at(path.noise_rate, t, x_t)
    return (x_t - b * output) / (a + b)


NOISE = Prediction(lambda x_0, noise, t, path: noise, predict_x_0, "noise")
X_0 = Prediction(lambda x_0, noise, t, path: x_0, lambda x_t, t, output, path: output, "x_0")
V = Prediction(v, x_0_from_v, "v")
VELOCITY = Prediction(lambda x_0, noise, t, path: noise - x_0, x_0_from_velocity, "velocity")


def score(x_t, t, x_0_hat, path):
    """The gradient of log q(x_t), where x_0_hat = E[x_0 | x_t]: -noise_hat / noise_rate_t (Tweedie's formula)."""
    return -predict_noise(x_t, t, x_0_hat, path) / at(path.noise_rate, t, x_t)
