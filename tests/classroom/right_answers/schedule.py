"""Right answers to the exercises on schedules, in other styles than the finished versions."""

import math
from dataclasses import dataclass

import numpy
import torch

from course_utils.schedule import NoiseSchedule, linear_schedule


@dataclass
class OwnSchedule:
    """As a learner builds it in notebook 02."""

    beta: torch.Tensor

    @property
    def T(self):
        return len(self.beta) - 1

    @property
    def alpha_bar(self):
        return torch.cumprod(1 - self.beta, 0)

    @property
    def signal_rate(self):
        return torch.sqrt(self.alpha_bar)

    @property
    def noise_rate(self):
        return torch.sqrt(1 - self.alpha_bar)


def linear_by_loop(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = [0.0]
    for step in range(T):
        beta.append(beta_1 + (beta_T - beta_1) * step / (T - 1))
    return OwnSchedule(torch.tensor(beta, dtype=torch.float64))


def linear_with_numpy(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = numpy.concatenate([[0.0], numpy.linspace(beta_1, beta_T, T)])
    return NoiseSchedule(torch.from_numpy(beta))


def cosine_by_loop(T=1000, s=0.008):
    def f(t):
        return math.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2

    beta = [0.0] + [min(1 - f(t) / f(t - 1), 0.999) for t in range(1, T + 1)]
    return NoiseSchedule(torch.tensor(beta, dtype=torch.float64))


def cosine_by_alpha_bar(T=1000, s=0.008):
    steps = torch.linspace(0, T, T + 1, dtype=torch.float64)
    alpha_bar = (((steps / T) + s) / (1 + s) * torch.pi * 0.5).cos().square()
    alpha_bar = alpha_bar / alpha_bar[0].clone()
    beta = torch.zeros(T + 1, dtype=torch.float64)
    beta[1:] = torch.clip(1 - alpha_bar[1:] / alpha_bar[:-1], 0, 0.999)
    return OwnSchedule(beta)


def betas_by_search(T):
    """Doubles the last dose until it is enough."""
    beta_T = 0.02
    while linear_schedule(T, 1e-4, beta_T).alpha_bar[-1] > 0.04**2:
        beta_T *= 1.1
    return 1e-4, beta_T


ANSWERS = {
    "schedule.linear_schedule": [linear_with_numpy, linear_by_loop],
    "schedule.cosine_schedule": [cosine_by_loop, cosine_by_alpha_bar],
    "schedule.snr_db": [
        lambda alpha_bar: 10 * (torch.log10(alpha_bar) - torch.log10(1 - alpha_bar)),
        lambda a: 10 * torch.logit(a) / math.log(10),
    ],
    "schedule.betas_for": [betas_by_search, lambda T: (0.05, 0.5)],
}
