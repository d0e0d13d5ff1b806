"""Right answers to the exercises on fast solvers, in other styles than the finished versions."""

import math

import numpy
import torch

from course_utils.forward import predict_noise
from course_utils.sampling import ddim_step


def euler_is_ddim(x_t, x_0_hat, t, s, path):
    return ddim_step(x_t, x_0_hat, t, s, path)


def euler_in_float64(x, guess, t, s, tables):
    a, b = tables.signal_rate, tables.noise_rate
    x64, guess64 = x.double(), guess.double()
    slope_of_noise = (x64 - a[t] * guess64) / b[t]
    return (x64 + guess64 * (a[s] - a[t]) + slope_of_noise * (b[s] - b[t])).to(x.dtype)


def heun_as_a_mean_of_two_ends(denoise):
    """The mean of Euler's end and of the end of a step with the slope found there."""

    def step(x_t, x_0_hat, t, s, path, generator=None):
        if s == 0:
            return x_0_hat
        euler = ddim_step(x_t, x_0_hat, t, s, path)
        later = denoise(euler, s)
        noise = predict_noise(euler, s, later, path)
        da = (path.signal_rate[s] - path.signal_rate[t]).item()
        db = (path.noise_rate[s] - path.noise_rate[t]).item()
        return 0.5 * euler + 0.5 * (x_t + da * later + db * noise)

    return step


class Heun:
    """With a class in place of the inner function, and float64 inside."""

    def __init__(self, denoise):
        self.denoise = denoise

    def __call__(self, x_t, x_0_hat, t, s, path, **unused):
        a, b, x, first = path.signal_rate, path.noise_rate, x_t.double(), x_0_hat.double()
        slope = (a[s] - a[t]) * first + (b[s] - b[t]) * (x - a[t] * first) / b[t]
        if s > 0:
            end = x + slope
            second = self.denoise(end.to(x_t.dtype), s).double()
            slope = slope / 2 + ((a[s] - a[t]) * second + (b[s] - b[t]) * (end - a[s] * second) / b[s]) / 2
        return (x + slope).to(x_t.dtype)


def order_by_lstsq(numbers, errors):
    x = torch.stack([numbers.log(), torch.ones_like(numbers)], dim=1)
    return -torch.linalg.lstsq(x, errors.log()[:, None]).solution[0, 0].item()


def order_by_numpy(numbers, errors):
    return float(-numpy.polyfit(numpy.log2(numbers.numpy()), numpy.log2(errors.numpy()), 1)[0])


def the_papers_2m():
    """Algorithm 2 of arXiv 2211.01095, with exponentials, in a list of what came before."""
    before = []

    def step(x_t, x_0_hat, t, s, path, generator=None):
        if before and before[-1][1] != t:
            before.clear()
        D = x_0_hat
        if s == 0:
            before.append((t, s, x_0_hat))
            return D
        lam = [math.log(path.signal_rate[level] / path.noise_rate[level]) for level in (t, s)]
        if before:
            u, _, x_0_hat_u = before[-1]
            r = (lam[0] - math.log(path.signal_rate[u] / path.noise_rate[u])) / (lam[1] - lam[0])
            D = (1 + 1 / (2 * r)) * x_0_hat - x_0_hat_u / (2 * r)
        before.append((t, s, x_0_hat))
        ratio, signal = (path.noise_rate[s] / path.noise_rate[t]).item(), path.signal_rate[s].item()
        return ratio * x_t - signal * math.expm1(lam[0] - lam[1]) * D

    return step


class TwoM:
    """With a class, whose memory is a dictionary from the level where the last step ended."""

    def __init__(self):
        self.ended = {}

    def __call__(self, x_t, x_0_hat, t, s, path, generator=None):
        u, old = self.ended.get(t, (None, None))
        self.ended = {s: (t, x_0_hat)}
        if old is None or s == 0:
            return ddim_step(x_t, x_0_hat, t, s, path)
        lam = path.log_snr
        share = float((lam[s] - lam[t]) / (lam[t] - lam[u]) / 2)
        return ddim_step(x_t, torch.lerp(old, x_0_hat, 1 + share), t, s, path)


ANSWERS = {
    "solvers.euler_step": [euler_is_ddim, euler_in_float64],
    "solvers.heun_step": [heun_as_a_mean_of_two_ends, Heun],
    "solvers.order": [order_by_lstsq, order_by_numpy],
    "solvers.dpm_solver_2m": [the_papers_2m, TwoM],
}
