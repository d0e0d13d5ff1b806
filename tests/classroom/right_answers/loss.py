"""Right answers to the exercises on the loss, in other styles than the finished versions."""

import torch
from torch import nn

from course_utils.forward import add_noise
from course_utils.training import diffusion_loss


def loss_by_hand(model, x_0, t, noise, schedule):
    """Without add_noise, by einsum, the error through a flat vector."""
    share = schedule.alpha_bar[t].to(x_0.dtype)
    x_t = torch.einsum("b,b...->b...", share.sqrt(), x_0) + torch.einsum("b,b...->b...", (1 - share).sqrt(), noise)
    error = (model(x_t, t) - noise).flatten()
    return error @ error / error.numel()


def loss_image_by_image(model, pictures, levels, eps, tables):
    total = 0
    for i in range(len(pictures)):
        one = slice(i, i + 1)
        noisy = add_noise(pictures[one], levels[one], eps[one], tables)
        total = total + nn.functional.mse_loss(model(noisy, levels[one]), eps[one], reduction="mean")
    return total / len(pictures)


def loss_in_float64(model, x_0, t, noise, schedule):
    """In place, on a copy."""
    x_t, shape = x_0.double(), (-1,) + (1,) * (x_0.dim() - 1)
    x_t = x_t * schedule.alpha_bar[t].view(shape) ** 0.5
    x_t += noise * (1 - schedule.alpha_bar[t]).view(shape) ** 0.5
    return nn.MSELoss()(model(x_t.to(x_0.dtype), t).double(), noise.double()).to(x_0.dtype)


def weighted_image_by_image(model, x_0, t, noise, schedule):
    answer, losses = model(add_noise(x_0, t, noise, schedule), t), []
    for i, level in enumerate(t.tolist()):
        snr = (schedule.alpha_bar[level] / (1 - schedule.alpha_bar[level])).item()
        losses.append(min(snr, 5) / snr * nn.functional.mse_loss(answer[i], noise[i]))
    return torch.stack(losses).mean()


def weighted_by_the_mean_of_each_image(model, x_0, t, noise, schedule):
    each = (model(add_noise(x_0, t, noise, schedule), t) - noise).pow(2).flatten(1).mean(1)
    return torch.mean(each * torch.minimum(torch.ones(()), 5 / schedule.snr[t]).to(each.dtype))


def weighted_by_einsum(model, x_0, t, noise, schedule):
    error = model(add_noise(x_0, t, noise, schedule), t) - noise
    weight = torch.where(schedule.snr[t] > 5, 5 / schedule.snr[t], 1.0).to(error)
    return torch.einsum("b,b...,b...->", weight, error, error) / error.numel()


ANSWERS = {
    "training.diffusion_loss": [
        loss_by_hand,
        loss_image_by_image,
        loss_in_float64,
        lambda model, x_0, t, noise, path: diffusion_loss(model, x_0, t, noise, path),
    ],
    "training.weighted_loss": [
        weighted_image_by_image,
        weighted_by_the_mean_of_each_image,
        weighted_by_einsum,
        lambda model, x_0, t, noise, path: diffusion_loss(
            model, x_0, t, noise, path, weight=path.snr.clamp(max=5) / path.snr
        ),
    ],
}
