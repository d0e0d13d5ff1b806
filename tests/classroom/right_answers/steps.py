"""Right answers to the exercises on the steps of DDPM and of DDIM, in other styles than the finished versions.

They make the coefficients from alpha_bar, as the papers do, and not from the two rates.
"""

import math

import torch

from course_utils.forward import posterior, predict_noise


def ddpm_by_formula(x_t, x_0_hat, t, s, schedule, generator=None):
    if s == 0:
        return x_0_hat
    bar_t, bar_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    kept = bar_t / bar_s
    deviation = math.sqrt((1 - kept) * (1 - bar_s) / (1 - bar_t))
    mean = (math.sqrt(bar_s) * (1 - kept) * x_0_hat + math.sqrt(kept) * (1 - bar_s) * x_t) / (1 - bar_t)
    return torch.normal(mean, deviation, generator=generator)


def ddpm_in_float64(x, prediction, t, s, tables, generator=None):
    mean, variance = posterior(prediction.double(), x.double(), t, tables, s)
    z = torch.empty(x.shape, dtype=torch.float64).normal_(generator=generator)
    return (mean + torch.sqrt(variance.clamp(min=1e-20)) * z).to(x.dtype)


def ddpm_image_by_image(x_t, x_0_hat, t, s, schedule, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, schedule, s)
    out = mean.clone()
    for image in out:
        image += variance.item() ** 0.5 * torch.randn(image.shape, generator=generator)
    return out


def ddim_with_tensors(x_t, x_0_hat, t, s, schedule, eta=0.0, generator=None):
    """In float64, without a case for eta = 0, and the noise by hand."""
    bar_t, bar_s, x, x_0 = schedule.alpha_bar[t], schedule.alpha_bar[s], x_t.double(), x_0_hat.double()
    variance = eta**2 * (1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s)
    noise = (x - bar_t.sqrt() * x_0) / torch.sqrt(1 - bar_t)
    x_s = torch.sqrt(bar_s) * x_0 + torch.sqrt(1 - bar_s - variance) * noise
    x_s = x_s + torch.sqrt(variance) * torch.randn(x_t.shape, generator=generator)
    return x_s.to(x_t.dtype)


def ddim_by_two_steps(x_t, x_0_hat, t, s, schedule, eta=0.0, generator=None):
    """In place on a copy: the picture, the old noise, then the fresh noise, image by image."""
    a, b = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    sigma = eta * math.sqrt((1 - b) / (1 - a)) * math.sqrt(1 - a / b)
    out = x_0_hat.clone()
    out *= math.sqrt(b)
    out += math.sqrt(1 - b - sigma**2) * predict_noise(x_t, t, x_0_hat, schedule)
    if sigma > 0:
        for image in out:
            image += sigma * torch.randn(image.shape, generator=generator, dtype=image.dtype)
    return out


ANSWERS = {
    "sampling.ddpm_step": [ddpm_by_formula, ddpm_in_float64, ddpm_image_by_image],
    "sampling.ddim_step": [ddim_with_tensors, ddim_by_two_steps],
}
