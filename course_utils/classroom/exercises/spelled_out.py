"""Other right ways to write an answer, from which families of mistakes are made as well.

A factor can only be forgotten where it is written. So what the finished version leaves to another function, or to a
table of the schedule, is spelled out here.
"""

import torch

from course_utils.schedule import at, rates


def forward_step(x_prev, t, noise, schedule):
    kept = at(schedule.alpha, t, x_prev)
    return kept.sqrt() * x_prev + (1 - kept).sqrt() * noise


def add_noise(x_0, t, noise, path):
    signal = at(path.signal_rate, t, x_0)
    return signal * x_0 + (1 - signal**2).sqrt() * noise


def jump(x_s, s, t, noise, schedule):
    r = (schedule.signal_rate[t] / schedule.signal_rate[s]).item()
    return r * x_s + (1 - r**2) ** 0.5 * noise


def jump_by_products(x_s, s, t, noise, schedule):
    kept = schedule.alpha[s + 1 : t + 1].prod().item()
    return kept**0.5 * x_s + (1 - kept) ** 0.5 * noise


def jump_by_variances(x_s, s, t, noise, schedule):
    signal_t, noise_t = schedule.signal_rate[t].item(), schedule.noise_rate[t].item()
    signal_s, noise_s = schedule.signal_rate[s].item(), schedule.noise_rate[s].item()
    r = signal_t / signal_s
    return r * x_s + (noise_t**2 - r**2 * noise_s**2) ** 0.5 * noise


def predict_x_0(x_t, t, noise_hat, path):
    signal = at(path.signal_rate, t, x_t)
    return (x_t - (1 - signal**2).sqrt() * noise_hat) / signal


def predict_noise(x_t, t, x_0_hat, path):
    signal = at(path.signal_rate, t, x_t)
    return (x_t - signal * x_0_hat) / (1 - signal**2).sqrt()


def mean_from_noise(x_t, noise_hat, t, schedule):
    beta, alpha = at(schedule.beta, t, x_t), at(schedule.alpha, t, x_t)
    return 1 / alpha.sqrt() * (x_t - beta / (1 - at(schedule.alpha_bar, t, x_t)).sqrt() * noise_hat)


def encode_step(x_t, x_0_hat, t, s, path):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, s, x_t)
    noise_hat = (x_t - signal_t.to(x_t) * x_0_hat) / noise_t.to(x_t)
    return signal_s.to(x_t) * x_0_hat + noise_s.to(x_t) * noise_hat


def weighted_loss(model, x_0, t, noise, schedule):
    signal, strength = at(schedule.signal_rate, t, x_0), at(schedule.noise_rate, t, x_0)
    weight = (5 / (signal / strength) ** 2).clamp(max=1)
    return (weight * (model(signal * x_0 + strength * noise, t) - noise) ** 2).mean()


def between(a, b, share):
    theta = torch.acos((a / a.norm() * (b / b.norm())).sum())
    return torch.sin((1 - share) * theta) / torch.sin(theta) * a + torch.sin(share * theta) / torch.sin(theta) * b


FORMS = {
    "forward.forward_step": [forward_step],
    "forward.add_noise": [add_noise],
    "forward.jump": [jump, jump_by_products, jump_by_variances],
    "sampling.predict_x_0": [predict_x_0],
    "sampling.predict_noise": [predict_noise],
    "sampling.mean_from_noise": [mean_from_noise],
    "sampling.encode_step": [encode_step],
    "training.weighted_loss": [weighted_loss],
    "sampling.between": [between],
}
