"""Right answers to the exercises on the picture and the noise in x_t, in other styles than the finished versions."""

import math

import torch

from course_utils.forward import posterior, predict_x_0


def levels_of(t, x):
    """One plain number for each image."""
    return t.tolist() if isinstance(t, torch.Tensor) else [t] * len(x)


def column(values, x):
    return values.reshape(-1, *[1] * (x.dim() - 1))


def x_0_image_by_image(x_t, t, noise_hat, schedule):
    pictures = []
    for image, noise, level in zip(x_t, noise_hat, levels_of(t, x_t), strict=True):
        kept = schedule.alpha_bar[level].item()
        pictures.append((image - math.sqrt(1 - kept) * noise) / math.sqrt(kept))
    return torch.stack(pictures)


def x_0_in_float64(x, t, eps, tables):
    kept = column(tables.alpha_bar[torch.as_tensor(t)], x)
    return (x.double() / kept.sqrt() - (1 / kept - 1).sqrt() * eps.double()).to(x.dtype)


def x_0_in_place_on_a_copy(x_t, t, noise_hat, schedule):
    out = x_t.clone()
    for i, level in enumerate(levels_of(t, x_t)):
        out[i] -= (1 - schedule.alpha_bar[level]).sqrt() * noise_hat[i]
        out[i] /= schedule.alpha_bar[level].sqrt()
    return out


def noise_by_einsum(x_t, t, x_0_hat, schedule):
    kept = schedule.alpha_bar[torch.as_tensor(t)].expand(len(x_t))
    picture = torch.einsum("b,b...->b...", kept.sqrt(), x_0_hat.double())
    return torch.einsum("b,b...->b...", (1 - kept).rsqrt(), x_t.double() - picture).to(x_t.dtype)


def noise_in_place_on_a_copy(x_t, t, x_0_hat, schedule):
    out = x_t.clone()
    for i, level in enumerate(levels_of(t, x_t)):
        out[i] -= schedule.alpha_bar[level].sqrt() * x_0_hat[i]
        out[i] /= (1 - schedule.alpha_bar[level]).sqrt()
    return out


def mean_by_the_posterior(x_t, noise_hat, t, schedule):
    return posterior(predict_x_0(x_t, t, noise_hat, schedule), x_t, t, schedule)[0]


def mean_image_by_image(x_t, noise_hat, t, schedule):
    out = torch.empty_like(x_t)
    for i, level in enumerate(levels_of(t, x_t)):
        beta, kept = schedule.beta[level].item(), schedule.alpha_bar[level].item()
        out[i] = (1 - beta) ** -0.5 * (x_t[i] - beta * (1 - kept) ** -0.5 * noise_hat[i])
    return out


ANSWERS = {
    "sampling.predict_x_0": [x_0_image_by_image, x_0_in_float64, x_0_in_place_on_a_copy],
    "sampling.predict_noise": [noise_by_einsum, noise_in_place_on_a_copy],
    "sampling.mean_from_noise": [mean_by_the_posterior, mean_image_by_image],
}
