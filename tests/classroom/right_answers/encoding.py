"""Right answers to the exercises on encoding and on the way between two noises, in other styles than ours."""

import math

import torch


def encode_in_place_on_a_copy(x_t, x_0_hat, t, s, schedule):
    out = x_t.clone().double()
    out -= schedule.alpha_bar[t].sqrt() * x_0_hat
    out *= ((1 - schedule.alpha_bar[s]) / (1 - schedule.alpha_bar[t])).sqrt()
    out += schedule.alpha_bar[s].sqrt() * x_0_hat
    return out.to(x_t.dtype)


def encode_by_ratio(x_t, x_0_hat, t, s, schedule):
    """The picture's scale and the noise's, as in the differential equation."""
    bar_t, bar_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    slope = math.sqrt((1 - bar_s) / (1 - bar_t))
    return slope * x_t + (math.sqrt(bar_s) - slope * math.sqrt(bar_t)) * x_0_hat


def between_value_by_value(a, b, share):
    """With Python's own numbers."""
    pairs = list(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
    angle = math.acos(sum(x * y for x, y in pairs) / math.hypot(*a.flatten()) / math.hypot(*b.flatten()))
    weights = math.sin((1 - share) * angle) / math.sin(angle), math.sin(share * angle) / math.sin(angle)
    return torch.tensor([weights[0] * x + weights[1] * y for x, y in pairs], dtype=a.dtype).reshape(a.shape)


def between_in_float64(a, b, share):
    x, y = a.double().flatten(), b.double().flatten()
    angle = torch.arccos(torch.nn.functional.cosine_similarity(x, y, dim=0))
    mixed = (torch.sin((1 - share) * angle) * x + torch.sin(share * angle) * y) / torch.sin(angle)
    return mixed.reshape(a.shape).to(a.dtype)


ANSWERS = {
    "sampling.encode_step": [encode_in_place_on_a_copy, encode_by_ratio],
    "sampling.between": [between_value_by_value, between_in_float64],
}
