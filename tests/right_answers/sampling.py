"""Right answers to the exercises on sampling, in other styles than the finished versions."""

import itertools
import math

import numpy
import torch
import torch.nn.functional as F

from course_utils.forward import posterior
from course_utils.sampling import predict_noise, predict_x_0


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


def levels_with_python(schedule, num_steps):
    return [round(schedule.T * (num_steps - i) / num_steps) for i in range(num_steps + 1)]


def levels_half_up(schedule, num_steps):
    """Halves go up: another way of rounding, which the cases leave open."""
    return tuple(numpy.floor(numpy.linspace(schedule.T, 0, num_steps + 1) + 0.5).astype(int))


def loop_by_index(denoise, x_T, schedule, levels, step):
    x = x_T.clone()
    for i in range(len(levels) - 1):
        x = step(x, denoise(x, levels[i]), levels[i], levels[i + 1], schedule)
    return x


def loop_by_name(denoise, x_T, schedule, levels, step):
    *_, last = itertools.accumulate(
        itertools.pairwise(levels),
        lambda x, pair: step(x_t=x, x_0_hat=denoise(x_t=x, t=pair[0]), t=pair[0], s=pair[1], schedule=schedule),
        initial=x_T,
    )
    return last


def loop_backwards(denoise, x_T, schedule, levels, step):
    left, x = list(levels), x_T
    t = left.pop(0)
    while left:
        s = left.pop(0)
        x, t = step(x, denoise(x, t), t, s, schedule, generator=None), s
    return x


class WithATable:
    """The level before as a table, and float32 throughout."""

    def __init__(self, T=1000, beta_1=1e-4, beta_T=0.02):
        self.T, self.beta = T, torch.linspace(beta_1, beta_T, T)
        self.alpha = 1 - self.beta
        self.alpha_bar = torch.cumprod(self.alpha, 0)
        self.before = F.pad(self.alpha_bar[:-1], (1, 0), value=1.0)

    def add_noise(self, x_0, noise, t):
        kept = column(self.alpha_bar[t], x_0)
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


def safe_with_a_helper(denoise, x_T, schedule, levels, step):
    if sorted(set(levels), reverse=True) != list(levels) or len(levels) < 2:
        raise ValueError("levels must fall")
    if max(levels) > schedule.T or min(levels) != 0:
        raise ValueError("levels must lie within 0 .. T and end at 0")

    def careful(x, t):
        x_0_hat = denoise(x, t)
        if torch.isnan(x_0_hat).any() or torch.isinf(x_0_hat).any():
            raise ValueError(f"NaN or infinity, t={t}, levels={levels}")
        return x_0_hat

    return loop_by_index(careful, x_T, schedule, levels, step)


def safe_by_what_the_step_makes(denoise, x_T, schedule, levels, step):
    """Looks at x after each step: a prediction that is not finite makes an x that is not."""
    if not levels or levels[0] > schedule.T or levels[0] == 0 or levels[-1] != 0:
        raise ValueError(f"unusable levels: {levels}")
    for i in range(1, len(levels)):
        if levels[i] >= levels[i - 1]:
            raise ValueError(f"level {levels[i]} after {levels[i - 1]}")
    x = x_T
    for t, s in itertools.pairwise(levels):
        x = step(x, denoise(x, t), t, s, schedule)
        if not math.isfinite(x.sum()):
            raise ValueError(f"not finite from level {t} on")
    return x


ANSWERS = {
    "sampling.predict_x_0": [x_0_image_by_image, x_0_in_float64, x_0_in_place_on_a_copy],
    "sampling.predict_noise": [noise_by_einsum, noise_in_place_on_a_copy],
    "sampling.mean_from_noise": [mean_by_the_posterior, mean_image_by_image],
    "sampling.ddpm_step": [ddpm_by_formula, ddpm_in_float64, ddpm_image_by_image],
    "sampling.spaced_levels": [levels_with_python, levels_half_up],
    "sampling.sampling_loop": [loop_by_index, loop_by_name, loop_backwards],
    "sampling.OnePageScheduler": [WithATable, ByAlgorithm2],
    "sampling.ddim_step": [ddim_with_tensors, ddim_by_two_steps],
    "sampling.encode_step": [encode_in_place_on_a_copy, encode_by_ratio],
    "sampling.between": [between_value_by_value, between_in_float64],
    "sampling.sample_safely": [safe_with_a_helper, safe_by_what_the_step_makes],
}
