"""The scheduler on one page without its bug, in other styles than the finished version."""

import numpy
import torch
import torch.nn.functional as F


class WithATable:
    """The level before as a table, and float32 throughout."""

    def __init__(self, T=1000, beta_1=1e-4, beta_T=0.02):
        self.T, self.beta = T, torch.linspace(beta_1, beta_T, T)
        self.alpha = 1 - self.beta
        self.alpha_bar = torch.cumprod(self.alpha, 0)
        self.before = F.pad(self.alpha_bar[:-1], (1, 0), value=1.0)

    def add_noise(self, x_0, noise, t):
        kept = self.alpha_bar[t].reshape(-1, *[1] * (x_0.dim() - 1))
        return kept**0.5 * x_0 + (1 - kept) ** 0.5 * noise

    def variance(self, t):
        return self.beta[t] * (1 - self.before[t]) / (1 - self.alpha_bar[t])

    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]) ** 0.5 * noise_hat) / self.alpha_bar[t] ** 0.5
        share, rest = self.before[t] ** 0.5 * self.beta[t], self.alpha[t] ** 0.5 * (1 - self.before[t])
        return (share * x_0_hat + rest * x_t) / (1 - self.alpha_bar[t])

    def step(self, noise_hat, t, x_t):
        mean = self.mean(noise_hat, t, x_t)
        return mean if t == 0 else torch.normal(mean, self.variance(t).sqrt().item())


class ByAlgorithm2:
    """Without x_0_hat: the mean as the paper's algorithm has it."""

    def __init__(self, T=1000, beta_1=1e-4, beta_T=0.02):
        self.T, self.beta = T, torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
        self.alpha, self.alpha_bar = 1 - self.beta, (1 - self.beta).cumprod(dim=0)

    def add_noise(self, x_0, noise, t):
        rows = [
            self.alpha_bar[i].sqrt() * x + (1 - self.alpha_bar[i]).sqrt() * z
            for x, z, i in zip(x_0, noise, t, strict=True)
        ]
        return torch.stack(rows)

    def variance(self, t):
        return 0.0 if t == 0 else (self.beta[t] * (1 - self.alpha_bar[t - 1]) / (1 - self.alpha_bar[t])).item()

    def mean(self, noise_hat, t, x_t):
        return (x_t - self.beta[t] / (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha[t].sqrt()

    def step(self, noise_hat, t, x_t):
        noise = torch.from_numpy(numpy.random.standard_normal(x_t.shape)).to(x_t)
        return self.mean(noise_hat, t, x_t) + self.variance(t) ** 0.5 * noise


ANSWERS = {"sampling.OnePageScheduler": [WithATable, ByAlgorithm2]}
