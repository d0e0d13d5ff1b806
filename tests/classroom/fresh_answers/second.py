import copy
import math
from fractions import Fraction
from functools import reduce
from itertools import pairwise

import torch
import torch.nn.functional as F
from course_utils.forward import add_noise, posterior, predict_noise
from course_utils.sampling import ddim_step, ddpm_step
from course_utils.schedule import NoiseSchedule, at, rates
from course_utils.training import diffusion_loss
from torch import nn


def randn_like(x, generator):
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


class OnePageScheduler:
    def __init__(self, T=1000, beta_1=1e-4, beta_T=0.02):
        self.T = T  # the timesteps are 0 .. T - 1
        self.beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
        self.alpha = 1 - self.beta
        self.alpha_bar = self.alpha.cumprod(dim=0)

    def add_noise(self, x_0, noise, t):
        alpha_bar = self.alpha_bar[t].to(x_0.dtype).reshape(-1, *[1] * (x_0.ndim - 1))
        return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise

    def alpha_bar_before(self, t):
        return self.alpha_bar[t - 1] if t > 0 else torch.ones((), dtype=torch.float64)

    def variance(self, t):
        return self.beta[t] * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])

    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar[t].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t

    def step(self, noise_hat, t, x_t):
        return self.mean(noise_hat, t, x_t) + self.variance(t).sqrt() * torch.randn_like(x_t)


def snr_db_b1(alpha_bar):
    return 10 * torch.log2(alpha_bar / (1 - alpha_bar))


def snr_db_b2(alpha_bar):
    signal = alpha_bar.sqrt()
    noise = (1 - alpha_bar).sqrt()
    return 10 * torch.log10(signal / noise)


def snr_db_b3(alpha_bar):
    snr = alpha_bar / (1 - alpha_bar)
    return snr.log10()


def snr_db_b4(alpha_bar):
    return 10 * math.log10(alpha_bar / (1 - alpha_bar))


def snr_db_b5(alpha_bar):
    a = alpha_bar.float()
    return 10 * torch.log10(a / (1 - a))


def snr_db_b6(alpha_bar):
    return 10 * torch.log10(alpha_bar) / torch.log10(1 - alpha_bar)


def snr_db_b_right(alpha_bar):
    out = []
    for a in alpha_bar.flatten().tolist():
        out.append(math.inf if a == 1 else 10 * (math.log10(a) - math.log10(1 - a)))
    return torch.tensor(out, dtype=alpha_bar.dtype).reshape(alpha_bar.shape)


def forward_step_b1(x_prev, t, noise, schedule):
    return x_prev + at(schedule.beta.sqrt(), t, x_prev) * noise


def forward_step_b2(x_prev, t, noise, schedule):
    keep, add = schedule.alpha.sqrt(), schedule.beta.sqrt()
    return at(add, t, x_prev) * x_prev + at(keep, t, x_prev) * noise


def forward_step_b3(x_prev, t, noise, schedule):
    return schedule.alpha[t].sqrt() * x_prev + schedule.beta[t].sqrt() * noise


def forward_step_b4(x_prev, t, noise, schedule):
    return at(schedule.alpha.sqrt(), t, x_prev) * x_prev + at(schedule.noise_rate, t, x_prev) * noise


def forward_step_b5(x_prev, t, noise, schedule):
    return at(schedule.alpha.sqrt(), t, x_prev) * x_prev - at(schedule.beta.sqrt(), t, x_prev) * noise


def forward_step_b6(x_prev, t, noise, schedule):
    x_prev *= at(schedule.alpha.sqrt(), t, x_prev)
    x_prev += at(schedule.beta.sqrt(), t, x_prev) * noise
    return x_prev


def forward_step_b_right(x_prev, t, noise, schedule):
    images = []
    for i in range(len(x_prev)):
        level = t if isinstance(t, int) else t[i].item()
        beta = schedule.beta[level].item()
        images.append(math.sqrt(1 - beta) * x_prev[i] + math.sqrt(beta) * noise[i])
    return torch.stack(images)


def add_noise_b1(x_0, t, noise, path):
    signal = at(path.signal_rate, t, x_0)
    return signal * x_0 + (1 - signal).sqrt() * noise


def add_noise_b2(x_0, t, noise, path):
    level = t if isinstance(t, int) else int(t[0])
    return at(path.signal_rate, level, x_0) * x_0 + at(path.noise_rate, level, x_0) * noise


def add_noise_b3(x_0, t, noise, path):
    return at(path.signal_rate, t, x_0) * x_0 - at(path.noise_rate, t, x_0) * noise


def add_noise_b4(x_0, t, noise, path):
    return x_0 + at(path.noise_rate, t, x_0) * noise


def add_noise_b5(x_0, t, noise, path):
    signal = path.signal_rate[t].to(x_0.dtype).reshape(-1, 1, 1, 1)
    rate = path.noise_rate[t].to(x_0.dtype).reshape(-1, 1, 1, 1)
    return signal * x_0 + rate * noise


def add_noise_b6(x_0, t, noise, path):
    x_t = at(path.signal_rate, t, x_0) * x_0 + at(path.noise_rate, t, x_0) * noise
    return x_t.clamp(-1, 1)


def add_noise_b_right(x_0, t, noise, path):
    levels = t.tolist() if torch.is_tensor(t) and t.ndim else [int(t)] * x_0.shape[0]
    out = torch.zeros(x_0.shape, dtype=torch.float64)
    for i, level in enumerate(levels):
        out[i] = path.signal_rate[level] * x_0[i].double()
        out[i] += path.noise_rate[level] * noise[i].double()
    return out.to(x_0)


def jump_b1(x_s, s, t, noise, schedule):
    r = schedule.signal_rate[s] / schedule.signal_rate[t]
    return r * x_s + (1 - r**2).abs().sqrt() * noise


def jump_b2(x_s, s, t, noise, schedule):
    keep = schedule.alpha[s + 1 : t + 1].prod().sqrt()
    added = schedule.beta[s + 1 : t + 1].sum()
    return keep * x_s + added.sqrt() * noise


def jump_b3(x_s, s, t, noise, schedule):
    r = schedule.signal_rate[t] / schedule.signal_rate[s]
    return r * x_s + (1 - r).sqrt() * noise


def jump_b4(x_s, s, t, noise, schedule):
    share = schedule.alpha_bar[t].float() / schedule.alpha_bar[s].float()
    return share.sqrt() * x_s + (1 - share).sqrt() * noise


def jump_b5(x_s, s, t, noise, schedule):
    return at(schedule.alpha.sqrt(), t, x_s) * x_s + at(schedule.beta.sqrt(), t, x_s) * noise


def jump_b6(x_s, s, t, noise, schedule):
    share = schedule.alpha_bar[t] / schedule.alpha_bar[s]
    return share.sqrt() * (x_s + (1 - share).sqrt() * noise)


def jump_b_right(x_s, s, t, noise, schedule):
    keep, variance = 1.0, 0.0
    for level in range(s + 1, t + 1):
        alpha = schedule.alpha[level].item()
        keep *= math.sqrt(alpha)
        variance = alpha * variance + schedule.beta[level].item()
    return (keep * x_s.double() + math.sqrt(variance) * noise.double()).to(x_s.dtype)


def linear_schedule_b1(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_T, beta_1, T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def linear_schedule_b2(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = beta_1 + (beta_T - beta_1) / T * torch.arange(T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def linear_schedule_b3(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    return F.pad(beta, (1, 0))


def linear_schedule_b4(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_1**0.5, beta_T**0.5, T, dtype=torch.float64) ** 2
    return NoiseSchedule(F.pad(beta, (1, 0)))


def linear_schedule_b5(T=1000, beta_1=1e-4, beta_T=0.2):
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def linear_schedule_b6(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (1, 1)))


def linear_schedule_b_right(T=1000, beta_1=1e-4, beta_T=0.02):
    w = torch.arange(T, dtype=torch.float64) / max(T - 1, 1)
    beta = torch.zeros(T + 1, dtype=torch.float64)
    beta[1:] = beta_1 * (1 - w) + beta_T * w
    return NoiseSchedule(beta)


def cosine_schedule_b1(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.99)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_b2(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(0, 0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_b3(T=1000, s=0.008):
    t = torch.arange(T + 1)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)).to(torch.float64))


def cosine_schedule_b4(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[0]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_b5(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    alpha_bar = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    return NoiseSchedule(F.pad(beta.clamp(0.0001, 0.999), (1, 0)))


def cosine_schedule_b6(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s / (1 + s)) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(0, 0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_b_right(T=1000, s=0.008):
    still_to_go = (1 - torch.arange(0, T + 1).double() / T) / (1 + s)
    f = torch.sin(still_to_go * math.pi / 2).square()
    beta = torch.minimum((f[:-1] - f[1:]) / f[:-1], torch.tensor(0.999, dtype=torch.float64))
    return NoiseSchedule(torch.cat([torch.zeros(1, dtype=torch.float64), beta]))


def betas_for_b1(T):
    return torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64)


def betas_for_b2(T):
    return 0.1 / T, 50 / T


def betas_for_b3(T):
    return 20 / T


def betas_for_b4(T):
    return 1e-4, 0.02 * math.sqrt(1000 / T)


def betas_for_b5(T):
    return 1e-4, 0.3


def betas_for_b6(T):
    return 0.0, 20 / T


def betas_for_b_right(T):
    factor = 1000 / T
    beta_1, beta_T = (factor * torch.tensor([1e-4, 0.02], dtype=torch.float64)).tolist()
    return beta_1, beta_T


def timestep_embedding_b1(t, dim):
    frequency = 1000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = t.to(dtype)[:, None] * frequency.to(dtype)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_b2(t, dim):
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = frequency.to(dtype)[:, None] * t.to(dtype)
    return torch.cat([angle.sin(), angle.cos()])


def timestep_embedding_b3(t, dim):
    frequency = 10000 ** (-torch.arange(dim, dtype=torch.float64) / (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = t.to(dtype)[:, None] * frequency.to(dtype)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_b4(t, dim):
    frequency = 10000.0 ** (-torch.arange(dim // 2) // (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = t.to(dtype)[:, None] * frequency.to(dtype)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_b5(t, dim):
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angle = t[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_b6(t, dim):
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = (t.to(dtype) / 1000)[:, None] * frequency.to(dtype)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_b_right(t, dim):
    half = dim // 2
    omega = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(10000) / half))
    angle = torch.outer(t.double(), omega)
    hands = torch.polar(torch.ones_like(angle), angle)
    out = torch.hstack([hands.imag, hands.real])
    return out.to(t.dtype if t.dtype.is_floating_point else torch.float32)


def attention_b1(query, key, value):
    score = query @ key.transpose(-1, -2) / math.sqrt(value.shape[-1])
    return score.softmax(dim=-1) @ value


def attention_b2(query, key, value):
    score = query @ key.transpose(-1, -2) / query.shape[-2] ** 0.5
    return score.softmax(dim=-1) @ value


def attention_b3(query, key, value):
    B, heads, N, d = query.shape
    q, k, v = query.flatten(1, 2), key.flatten(1, 2), value.flatten(1, 2)
    score = q @ k.transpose(1, 2) / math.sqrt(d)
    return (score.softmax(dim=-1) @ v).reshape(B, heads, N, -1)


def attention_b4(query, key, value):
    score = query @ key.transpose(-1, -2) * math.sqrt(query.shape[-1])
    return score.softmax(dim=-1) @ value


def attention_b5(query, key, value):
    score = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).clamp(-10, 10)
    weights = score.exp() / score.exp().sum(dim=-1, keepdim=True)
    return weights @ value


def attention_b6(query, key, value):
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return score @ value


def attention_b_right(query, key, value):
    return F.scaled_dot_product_attention(query.double(), key.double(), value.double()).to(value.dtype)


def res_block_b1(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x))) + time(F.silu(embedding))[:, :, None, None]
    return skip(x) + conv2(norm2(h))


def res_block_b2(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = h + time(F.silu(embedding))[:, :, None, None]
    return conv2(F.silu(norm2(h)))


def res_block_b3(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.relu(norm1(x))) + time(F.relu(embedding))[:, :, None, None]
    return skip(x) + conv2(F.relu(norm2(h)))


def res_block_b4(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = h + time(F.silu(embedding, inplace=True))[:, :, None, None]
    return skip(x) + conv2(F.silu(norm2(h)))


def res_block_b5(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    scale, shift = time(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
    h = norm2(h) * (1 + scale) + shift
    return skip(x) + conv2(F.silu(h))


def res_block_b6(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = conv2(F.silu(norm2(h)))
    return skip(x) + h + time(F.silu(embedding))[:, :, None, None]


def res_block_b_right(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    def silu(v):
        return v * torch.sigmoid(v)

    h = conv1(silu(norm1(x)))
    B, C, H, W = h.shape
    shift = torch.einsum("bc,hw->bchw", time(silu(embedding)), torch.ones(H, W, dtype=h.dtype))
    out = [skip(x), conv2(silu(norm2(h + shift)))]
    return torch.stack(out).sum(dim=0)


def space_to_depth_b1(x, patch):
    B, C, H, W = x.shape
    x = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(B, C * patch**2, W // patch, H // patch)


def space_to_depth_b2(x, patch):
    return F.pixel_shuffle(x, patch)


def space_to_depth_b3(x, patch):
    B, C, H, W = x.shape
    squares = x.unfold(2, patch, patch).unfold(3, patch, patch)
    return squares.reshape(B, C * patch * patch, H // patch, W // patch)


def space_to_depth_b4(x, patch):
    B, C, H, W = x.shape
    x = x.reshape(B, C, H // patch, patch, H // patch, patch)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(B, C * patch**2, H // patch, H // patch)


def space_to_depth_b5(x, patch):
    places = [x[:, :, i::patch, j::patch] for i in range(patch) for j in range(patch)]
    return torch.stack(places, dim=2)


def space_to_depth_b6(x, patch):
    places = [x[:, :, i::patch, j::patch] for i in reversed(range(patch)) for j in reversed(range(patch))]
    return torch.stack(places, dim=2).flatten(1, 2)


def space_to_depth_b_right(x, patch):
    channels = []
    for one in x.unbind(dim=1):
        for row in range(patch):
            lines = one[:, row::patch]
            channels += [lines[:, :, column::patch].unsqueeze(1) for column in range(patch)]
    return torch.cat(channels, dim=1)


def diffusion_loss_b1(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.l1_loss(model(x_t, t), noise)


def diffusion_loss_b2(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_t, t), noise, reduction="none").flatten(1).mean(dim=1)


def diffusion_loss_b3(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    with torch.no_grad():
        noise_hat = model(x_t, t)
    return F.mse_loss(noise_hat, noise)


def diffusion_loss_b4(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_t, t), x_t)


def diffusion_loss_b5(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_t, t - 1), noise)


def diffusion_loss_b6(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    added = at(path.noise_rate, t, x_0) * noise
    return F.mse_loss(model(x_t, t), added).sqrt()


def diffusion_loss_b_right(model, x_0, t, noise, path):
    signal = torch.einsum("b,b...->b...", path.signal_rate[t], x_0.double())
    added = torch.einsum("b,b...->b...", path.noise_rate[t], noise.double())
    guess = model((signal + added).to(x_0.dtype), t)
    return torch.linalg.vector_norm(guess - noise) ** 2 / noise.numel()


def training_step_b1(model, x_0, path, optimizer):
    t = torch.randint(0, path.T, (len(x_0),))
    loss = diffusion_loss(model, x_0, t, torch.randn_like(x_0), path)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_b2(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (len(x_0),))
    noise = torch.randn_like(x_0[:1]).expand(x_0.shape).contiguous()
    loss = diffusion_loss(model, x_0, t, noise, path)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_b3(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (len(x_0),))
    loss = diffusion_loss(model, x_0, t, torch.randn_like(x_0), path)
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()
    return loss.detach()


def training_step_b4(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (len(x_0),))
    noise = torch.randn_like(x_0)
    loss = diffusion_loss(model, x_0, t, noise, path)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        return diffusion_loss(model, x_0, t, noise, path)


def training_step_b5(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (len(x_0),))
    loss = diffusion_loss(model, x_0, t, torch.randn_like(x_0), path)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def training_step_b6(model, x_0, path, optimizer):
    t = torch.randint(1, 1001, (len(x_0),)).clamp(max=path.T)
    loss = diffusion_loss(model, x_0, t, torch.randn_like(x_0), path)
    optimizer.zero_grad()
    loss.backward()
    return loss.detach()


def training_step_b_right(model, x_0, path, optimizer):
    B = x_0.shape[0]
    t = (torch.rand(B, dtype=torch.float64) * path.T).long() + 1
    noise = torch.normal(torch.zeros_like(x_0), torch.ones_like(x_0))
    seen = []

    def closure():
        optimizer.zero_grad(set_to_none=False)
        loss = diffusion_loss(model, x_0, t, noise, path)
        loss.backward()
        seen.append(loss.detach())
        return loss

    optimizer.step(closure)
    return seen[0]


class EMA_b1:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(self.decay, self.updates / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)
        self.updates += 1


class EMA_b2:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        new = model.state_dict()
        for name, average in self.model.state_dict().items():
            average.copy_(decay * average + (1 - decay) * new[name])
        self.updates += 1


class EMA_b3:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)


class EMA_b4:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.mul_(decay).add_((1 - decay) * weight)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)
        self.updates += 1


class EMA_b5:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average = decay * average + (1 - decay) * weight
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)
        self.updates += 1


class EMA_b6:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model.requires_grad_(False))
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(0.999, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)
        self.updates += 1


class EMA_b_right:
    def __init__(self, model, decay=0.999):
        self.model, self.decay, self.updates = copy.deepcopy(model), decay, 0
        self.model.eval()
        for weight in self.model.parameters():
            weight.requires_grad_(False)

    def update(self, model):
        n = self.updates
        d = self.decay if self.decay * (n + 10) < n + 1 else (n + 1) / (n + 10)
        with torch.no_grad():
            mine, theirs = list(self.model.parameters()), [w.detach() for w in model.parameters()]
            torch._foreach_mul_(mine, d)
            torch._foreach_add_(mine, torch._foreach_mul(theirs, 1 - d))
            for module, other in zip(self.model.modules(), model.modules()):
                for name, buffer in other.named_buffers(recurse=False):
                    getattr(module, name).copy_(buffer)
        self.updates = n + 1


def weighted_loss_b1(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr / schedule.snr.clamp(max=5), t, x_0)
    return (weight * (model(x_t, t) - noise).square()).mean()


def weighted_loss_b2(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    ratio = schedule.signal_rate / schedule.noise_rate
    weight = at(ratio.clamp(max=5) / ratio, t, x_0)
    return (weight * (model(x_t, t) - noise).square()).mean()


def weighted_loss_b3(model, x_0, t, noise, schedule):
    weight = at(schedule.snr.clamp(max=5) / schedule.snr, t, x_0)
    return weight.mean() * diffusion_loss(model, x_0, t, noise, schedule)


def weighted_loss_b4(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(5 / schedule.snr, t, x_0)
    return (weight * (model(x_t, t) - noise).square()).mean()


def weighted_loss_b5(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    snr = schedule.snr[t].reshape(-1, *[1] * (x_0.ndim - 1))
    weight = torch.clamp(snr, max=5) / snr
    return (weight * (model(x_t, t) - noise).square()).mean()


def weighted_loss_b6(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at((5 / schedule.snr).clamp(max=1), t - 1, x_0)
    return (weight * (model(x_t, t) - noise).square()).flatten(1).sum(dim=1).mean()


def weighted_loss_b_right(model, x_0, t, noise, schedule):
    snr = schedule.alpha_bar[t] / (1 - schedule.alpha_bar[t])
    weight = torch.where(snr > 5, 5 / snr, torch.ones_like(snr))
    error = (model(add_noise(x_0, t, noise, schedule), t) - noise).flatten(1).double()
    return (torch.einsum("b,bi,bi->", weight, error, error) / error.numel()).to(x_0.dtype)


def predict_x_0_b1(x_t, t, noise_hat, path):
    return (x_t - at(path.noise_rate, t, x_t) * noise_hat) / at(path.signal_rate**2, t, x_t)


def predict_x_0_b2(x_t, t, noise_hat, path):
    return (x_t - at(path.noise_rate, t - 1, x_t) * noise_hat) / at(path.signal_rate, t - 1, x_t)


def predict_x_0_b3(x_t, t, noise_hat, path):
    return (x_t - path.noise_rate[t] * noise_hat) / path.signal_rate[t]


def predict_x_0_b4(x_t, t, noise_hat, path):
    x_t -= at(path.noise_rate, t, x_t) * noise_hat
    return x_t / at(path.signal_rate, t, x_t)


def predict_x_0_b5(x_t, t, noise_hat, path):
    signal = at(path.signal_rate, t, x_t).clamp(min=0.05)
    return (x_t - at(path.noise_rate, t, x_t) * noise_hat) / signal


def predict_x_0_b6(x_t, t, noise_hat, path):
    return (x_t - at(path.noise_rate, t, x_t) * noise_hat) * at(path.signal_rate, t, x_t)


def predict_x_0_b_right(x_t, t, noise_hat, path):
    result = []
    for i, (x, eps) in enumerate(zip(x_t.double(), noise_hat.double())):
        level = int(t) if isinstance(t, int) or t.ndim == 0 else int(t[i])
        result.append((x - path.noise_rate[level] * eps) / path.signal_rate[level])
    return torch.stack(result).to(x_t.dtype)


def posterior_b1(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = path.beta[t].reshape(signal_t.shape)
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).to(x_t)


# Not exact, but within what is allowed for rounding
def posterior_b2(x_0, x_t, t, path, s=None):
    s = t - 1 if s is None else s
    signal_t, noise_t = at(path.signal_rate, t, x_t), at(path.noise_rate, t, x_t)
    signal_s, noise_s = at(path.signal_rate, s, x_t), at(path.noise_rate, s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    return signal_s * added / noise_t**2 * x_0 + r * noise_s**2 / noise_t**2 * x_t, added * noise_s**2 / noise_t**2


def posterior_b3(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).flatten()


def posterior_b4(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    x_t_share = signal_s * added / noise_t**2
    x_0_share = r * noise_s**2 / noise_t**2
    variance = added * noise_s**2 / noise_t**2
    return x_0_share.to(x_0) * x_0 + x_t_share.to(x_t) * x_t, variance.to(x_t)


def posterior_b5(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_s / signal_t
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).to(x_t)


def posterior_b6(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    x_0_share = signal_s * added / noise_t**2
    x_t_share = r * noise_s**2 / noise_t**2
    variance = added * noise_s**2
    return x_0_share.to(x_0) * x_0 + x_t_share.to(x_t) * x_t, variance.to(x_t)


def posterior_b_right(x_0, x_t, t, path, s=None):
    B = len(x_t) if torch.is_tensor(t) else 1
    ts = torch.as_tensor(t).reshape(-1).tolist()
    ss = [level - 1 for level in ts] if s is None else torch.as_tensor(s).reshape(-1).expand(B).tolist()
    x_0_shares, x_t_shares, variances = [], [], []
    for high, low in zip(ts, ss):
        st, nt = path.signal_rate[high].item(), path.noise_rate[high].item() ** 2
        sl, nl = path.signal_rate[low].item(), path.noise_rate[low].item() ** 2
        added = nt - (st / sl) ** 2 * nl
        x_0_shares.append(sl * added / nt)
        x_t_shares.append(st / sl * nl / nt)
        variances.append(added * nl / nt)
    a, b, v = torch.tensor([x_0_shares, x_t_shares, variances], dtype=torch.float64).reshape(3, B, *[1] * (x_t.ndim - 1))
    return (a * x_0 + b * x_t).to(x_t.dtype), v.to(x_t.dtype)


def ddpm_step_b1(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance.sqrt() * randn_like(x_t[:1], generator)


def ddpm_step_b2(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    if s > 1:
        return mean + variance.sqrt() * randn_like(x_t, generator)
    return mean


def ddpm_step_b3(x_t, x_0_hat, t, s, path, generator=None):
    mean, _ = posterior(x_0_hat, x_t, t, path, s)
    added = 1 - (path.signal_rate[t] / path.signal_rate[s]) ** 2
    return mean + added.sqrt() * randn_like(x_t, generator)


def ddpm_step_b4(x_t, x_0_hat, t, s, path, generator=None):
    return add_noise(x_0_hat, s, randn_like(x_t, generator), path)


def ddpm_step_b5(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, s, path)
    return mean + variance.sqrt() * randn_like(x_t, generator)


def ddpm_step_b6(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    noise = 2 * torch.rand(x_t.shape, generator=generator, dtype=x_t.dtype).to(x_t.device) - 1
    return mean + variance.sqrt() * noise


def ddpm_step_b_right(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat.double(), x_t.double(), t, path, s)
    noise = randn_like(x_t, generator).double()
    return torch.addcmul(mean, torch.sqrt(variance), noise).type(x_t.dtype)


def spaced_levels_b1(path, num_steps):
    return torch.linspace(path.T - 1, 0, num_steps + 1, dtype=torch.float64).round().int().tolist()


def spaced_levels_b2(path, num_steps):
    return torch.linspace(path.T, 1, num_steps + 1, dtype=torch.float64).round().int().tolist()


def spaced_levels_b3(path, num_steps):
    return torch.linspace(1000, 0, num_steps + 1, dtype=torch.float64).round().int().tolist()


def spaced_levels_b4(path, num_steps):
    T = len(path.signal_rate)
    return torch.linspace(T, 0, num_steps + 1, dtype=torch.float64).round().int().tolist()


def spaced_levels_b5(path, num_steps):
    return [math.ceil(path.T * (num_steps - i) / num_steps) for i in range(num_steps + 1)]


def spaced_levels_b6(path, num_steps):
    stride = round(path.T / num_steps)
    return [max(path.T - i * stride, 0) for i in range(num_steps + 1)]


def spaced_levels_b_right(path, num_steps):
    T = path.T
    levels = [T]
    while len(levels) <= num_steps:
        left = num_steps - len(levels)
        whole, rest = divmod(T * left, num_steps)
        up = 2 * rest > num_steps or (2 * rest == num_steps and whole % 2 == 1)
        levels.append(whole + 1 if up else whole)
    return levels


def sampling_loop_b1(denoise, x_T, path, levels, step):
    x = x_T
    for s, t in pairwise(reversed(levels)):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, path)
    return x


def sampling_loop_b2(denoise, x_T, path, levels, step):
    x = x_T
    for t in levels[:-1]:
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, t - 1, path)
    return x


def sampling_loop_b3(denoise, x_T, path, levels, step):
    if levels[-1] != 0:
        levels.append(0)
    x = x_T
    for t, s in pairwise(levels):
        x = step(x, denoise(x, t), t, s, path)
    return x


def sampling_loop_b4(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in zip(levels[::2], levels[1::2]):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, path)
    return x


def sampling_loop_b5(denoise, x_T, path, levels, step):
    x = x_T
    x_0_hat = denoise(x, levels[0])
    for t, s in pairwise(levels):
        x = step(x, x_0_hat, t, s, path)
    return x


def sampling_loop_b6(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x = step(x, denoise(x, t), s, t, path)
        if s > 0:
            x = x + path.noise_rate[s] * torch.randn_like(x)
    return x


def sampling_loop_b_right(denoise, x_T, path, levels, step):
    return reduce(lambda x, ts: step(x, denoise(x, ts[0]), *ts, path), zip(levels, levels[1:]), x_T)


class OnePageScheduler_b1(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_hat = x_0_hat.clamp(-1, 1)
        x_0_share = self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_b2(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha[t].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_b3(OnePageScheduler):
    def __init__(self, T=1000, beta_1=1e-4, beta_T=0.02):
        super().__init__(T, beta_1, beta_T)
        self.alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bar])

    def alpha_bar_before(self, t):
        return self.alpha_bar[t]

    def variance(self, t):
        return self.beta[t] * (1 - self.alpha_bar[t]) / (1 - self.alpha_bar[t + 1])


class OnePageScheduler_b4(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        beta = self.beta[max(t - 1, 0)]
        x_0_share = self.alpha_bar_before(t).sqrt() * beta / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_b5(OnePageScheduler):
    def variance(self, t):
        return super().variance(t).clamp(min=1e-4)

    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_b6(OnePageScheduler):
    def add_noise(self, x_0, noise, t):
        alpha_bar = self.alpha_bar[t].to(x_0.dtype).reshape(-1, *[1] * (x_0.ndim - 1))
        return alpha_bar * x_0 + (1 - alpha_bar) * noise


class OnePageScheduler_b_right(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        now, before = self.alpha_bar[t].item(), float(self.alpha_bar_before(t))
        x_0_hat = (x_t.double() - math.sqrt(1 - now) * noise_hat.double()) / math.sqrt(now)
        pull = math.sqrt(now / before) * (1 - before) / (1 - now)
        mean = math.sqrt(before) * x_0_hat + pull * (x_t.double() - math.sqrt(now) * x_0_hat)
        return mean.to(x_t.dtype)


def mean_from_noise_b1(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / schedule.noise_rate, t, x_t)
    return (x_t + share * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_b2(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / schedule.noise_rate, t, x_t)
    return (x_t - share * noise_hat) * at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_b3(x_t, noise_hat, t, schedule):
    share = at(schedule.beta, t, x_t) / at(schedule.noise_rate, t - 1, x_t)
    return (x_t - share * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_b4(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / (1 - schedule.alpha_bar.sqrt()), t, x_t)
    return (x_t - share * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_b5(x_t, noise_hat, t, schedule):
    return (x_t - at(schedule.noise_rate, t, x_t) * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_b6(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / schedule.noise_rate, t, x_t)
    mean = (x_t - share * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)
    return mean + at(schedule.beta.sqrt(), t, x_t) * torch.randn_like(x_t)


def mean_from_noise_b_right(x_t, noise_hat, t, schedule):
    index = torch.as_tensor(t).reshape(-1).expand(len(x_t))
    first = schedule.alpha[index] ** -0.5
    second = -first * schedule.beta[index] * (1 - schedule.alpha_bar[index]) ** -0.5
    both = torch.stack([x_t, noise_hat]).double()
    return torch.einsum("kb,kb...->b...", torch.stack([first, second]), both).to(x_t.dtype)


def predict_noise_b1(x_t, t, x_0_hat, path):
    noise_rate = at(path.noise_rate, t, x_t).clamp(min=0.1)
    return (x_t - at(path.signal_rate, t, x_t) * x_0_hat) / noise_rate


def predict_noise_b2(x_t, t, x_0_hat, path):
    return (x_t - at(path.signal_rate, t - 1, x_t) * x_0_hat) / at(path.noise_rate, t - 1, x_t)


def predict_noise_b3(x_t, t, x_0_hat, path):
    signal = at(path.signal_rate, t, x_t)
    return (x_t - signal * x_0_hat) / (1 - signal)


def predict_noise_b4(x_t, t, x_0_hat, path):
    noise_hat = x_t.sub_(at(path.signal_rate, t, x_t) * x_0_hat)
    return noise_hat / at(path.noise_rate, t, x_t)


def predict_noise_b5(x_t, t, x_0_hat, path):
    signal = path.signal_rate[t].view(-1, 1, 1, 1).to(x_t)
    noise = path.noise_rate[t].view(-1, 1, 1, 1).to(x_t)
    return (x_t - signal * x_0_hat) / noise


def predict_noise_b6(x_t, t, x_0_hat, path):
    noise_hat = x_t - at(path.signal_rate, t, x_t) * x_0_hat
    return noise_hat / noise_hat.std()


def predict_noise_b_right(x_t, t, x_0_hat, path):
    out = x_t.clone()
    for i in range(x_t.shape[0]):
        level = t if isinstance(t, int) else t.tolist()[i]
        out[i] = (x_t[i].double() - path.signal_rate[level] * x_0_hat[i].double()).div(path.noise_rate[level])
    return out


def ddim_step_b1(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_s * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_b2(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_t * x_0_hat + noise_left * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_b3(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_left * noise_hat + sigma * torch.randn_like(x_t)


def ddim_step_b4(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    s = t - 1
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_left * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_b5(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    sigma = eta * (noise_t**2 - noise_s**2) ** 0.5 * noise_s / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_left * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_b6(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    _, variance = posterior(x_0_hat, x_t, t, path, s)
    sigma = variance.sqrt()
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    noise_left = (at(path.noise_rate, s, x_t) ** 2 - variance).clamp(min=0).sqrt()
    z = randn_like(x_t[:1], generator)
    return at(path.signal_rate, s, x_t) * x_0_hat + noise_left * noise_hat + sigma * z


def ddim_step_b_right(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    a_t, n_t, a_s, n_s = (float(table[i]) for i in (t, s) for table in (path.signal_rate, path.noise_rate))
    sigma = eta * n_s / n_t * math.sqrt(max(n_t * n_t - (a_t * n_s / a_s) ** 2, 0.0))
    left = math.sqrt(max(0.0, (n_s - sigma) * (n_s + sigma)))
    coefficients = torch.tensor([left / n_t, a_s - left * a_t / n_t, sigma], dtype=torch.float64)
    z = randn_like(x_t, generator) if eta > 0 else torch.zeros_like(x_t)
    return torch.einsum("k,k...->...", coefficients, torch.stack([x_t, x_0_hat, z]).double()).to(x_t.dtype)


def encode_step_b1(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_0_hat, t, x_t, path)
    return add_noise(x_0_hat, s, noise_hat, path)


def encode_step_b2(x_t, x_0_hat, t, s, path):
    x_0_hat = x_0_hat.clamp(-1, 1)
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return add_noise(x_0_hat, s, noise_hat, path)


def encode_step_b3(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return at(path.signal_rate, t, x_t) * x_0_hat + at(path.noise_rate, s, x_t) * noise_hat


def encode_step_b4(x_t, x_0_hat, t, s, path):
    noise_hat = x_t - at(path.signal_rate, t, x_t) * x_0_hat
    return add_noise(x_0_hat, s, noise_hat, path)


def encode_step_b5(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return add_noise(x_0_hat, t + 1, noise_hat, path)


def encode_step_b6(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return add_noise(noise_hat, s, x_0_hat, path)


def encode_step_b_right(x_t, x_0_hat, t, s, path):
    steps = []
    for x, x_0 in zip(x_t.double(), x_0_hat.double()):
        eps = (x - path.signal_rate[t] * x_0) / path.noise_rate[t]
        steps.append(torch.add(path.signal_rate[s] * x_0, path.noise_rate[s] * eps))
    return torch.stack(steps).to(x_t)


def between_b1(a, b, share):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return (((1 - share) * theta).cos() * a + (share * theta).cos() * b) / theta.sin()


def between_b2(a, b, share):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return ((1 - share * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def between_b3(a, b, share):
    line = (1 - share) * a + share * b
    return line * a.norm() / line.norm()


def between_b4(a, b, share):
    return math.sqrt(1 - share) * a + math.sqrt(share) * b


def between_b5(a, b, share):
    theta = torch.acos(F.cosine_similarity(a, b, dim=0))
    return (((1 - share) * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def between_b6(a, b, share):
    a, b = a / a.norm(), b / b.norm()
    theta = torch.acos((a * b).sum())
    return (((1 - share) * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def between_b_right(a, b, share):
    u, v = a.double() / a.double().norm(), b.double() / b.double().norm()
    theta = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    out = torch.sin(theta - share * theta) * a.double() + torch.sin(share * theta) * b.double()
    return torch.div(out, torch.sin(theta)).to(a.dtype)


def sample_safely_b1(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0:
        raise ValueError("bad levels")
    for t, s in pairwise(levels):
        if s > t:
            raise ValueError("levels must fall")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not torch.isfinite(x_0_hat).all():
            raise ValueError(f"prediction not finite at t = {t}")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_b2(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] < 0 or any(s >= t for t, s in pairwise(levels)):
        raise ValueError("bad levels")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not torch.isfinite(x_0_hat).all():
            raise ValueError(f"prediction not finite at t = {t}")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_b3(denoise, x_T, path, levels, step):
    assert len(levels) >= 2 and levels[0] <= path.T and levels[-1] == 0, "bad levels"
    assert all(t > s for t, s in pairwise(levels)), "levels must fall"
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        assert torch.isfinite(x_0_hat).all(), f"prediction not finite at t = {t}"
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_b4(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0 or any(s >= t for t, s in pairwise(levels)):
        raise ValueError("bad levels")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, path)
    if not x.isfinite().all():
        raise ValueError(f"not finite at t = {t}")
    return x


def sample_safely_b5(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0 or any(s >= t for t, s in pairwise(levels)):
        raise ValueError("bad levels")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = torch.nan_to_num(denoise(x, t))
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_b6(denoise, x_T, path, levels, step):
    if len(levels) < 1 or levels[-1] != 0 or any(s >= t for t, s in pairwise(levels)):
        raise ValueError(f"bad levels: {levels}")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not torch.isfinite(x_0_hat).all():
            raise ValueError(f"prediction not finite at t = {t}")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_b_right(denoise, x_T, path, levels, step):
    if len(levels) < 2:
        raise ValueError("two levels at least")
    gaps = torch.tensor(levels).diff()
    if levels[0] > path.T or levels[-1] != 0 or bool((gaps >= 0).any()):
        raise ValueError(f"levels {levels} do not fall from at most {path.T} to 0")

    def checked(x, t):
        x_0_hat = denoise(x, t)
        if torch.isfinite(x_0_hat).sum().item() < x_0_hat.numel():
            raise ValueError(f"at level {t} the prediction has values that are not finite")
        return x_0_hat

    x = x_T
    for i in range(1, len(levels)):
        x = step(x, checked(x, levels[i - 1]), levels[i - 1], levels[i], path)
    return x


WRONG = {
    'schedule.snr_db': [
        (snr_db_b1, 'logarithm to base 2'),
        (snr_db_b2, 'ratio of the amplitudes (roots) with the factor 10'),
        (snr_db_b3, 'the factor 10 is missing'),
        (snr_db_b4, 'math.log10 takes one number only, not a tensor of any shape (and returns a float)'),
        (snr_db_b5, 'always returns float32'),
        (snr_db_b6, 'divides the logarithms instead of taking the logarithm of the ratio'),
    ],
    'forward.forward_step': [
        (forward_step_b1, 'the picture is not shrunk'),
        (forward_step_b2, 'the two factors are swapped'),
        (forward_step_b3, 'tables indexed without at: right for an int t, wrong shape and dtype for a tensor t'),
        (forward_step_b4, 'the noise rate of the whole jump instead of sqrt(beta)'),
        (forward_step_b5, 'the noise is subtracted'),
        (forward_step_b6, 'changes x_prev in place'),
    ],
    'forward.add_noise': [
        (add_noise_b1, 'the noise rate is taken to be sqrt(1 - signal_rate), the square inside is forgotten'),
        (add_noise_b2, "uses the first item's level for the whole batch"),
        (add_noise_b3, 'the noise is subtracted'),
        (add_noise_b4, 'the picture is not multiplied by the signal rate'),
        (add_noise_b5, 'reshaped for four axes only, wrong for points of shape (B, 2)'),
        (add_noise_b6, 'the result is clamped to the range of a picture'),
    ],
    'forward.jump': [
        (jump_b1, 'ratio upside down: signal_s / signal_t'),
        (jump_b2, 'the variance of the added noise is the plain sum of the doses'),
        (jump_b3, '1 - r under the root instead of 1 - r^2'),
        (jump_b4, 'computed in float32, so 1 - ratio loses digits for neighbouring levels'),
        (jump_b5, 'only the one step from t - 1 to t'),
        (jump_b6, 'the fresh noise is shrunk by r as well'),
    ],
    'schedule.linear_schedule': [
        (linear_schedule_b1, 'beta_1 and beta_T exchanged, the doses fall'),
        (linear_schedule_b2, 'step (beta_T - beta_1) / T, so the last dose is one step below beta_T'),
        (linear_schedule_b3, 'returns the tensor of doses, not a NoiseSchedule'),
        (linear_schedule_b4, 'even spacing of the roots, squared afterwards ("scaled linear")'),
        (linear_schedule_b5, 'default of beta_T is 0.2 instead of 0.02'),
        (linear_schedule_b6, 'pads on both sides, one entry too many'),
    ],
    'schedule.cosine_schedule': [
        (cosine_schedule_b1, 'doses limited to 0.99 instead of 0.999'),
        (cosine_schedule_b2, 'pi instead of pi / 2'),
        (cosine_schedule_b3, 'computed in float32, made float64 only at the end'),
        (cosine_schedule_b4, 'divides by f(0) instead of f(t - 1): beta is 1 - alpha_bar'),
        (cosine_schedule_b5, 'also limits the doses from below, to 0.0001, which changes the first ones'),
        (cosine_schedule_b6, 'brackets: t / T + s / (1 + s), only s is divided by 1 + s'),
    ],
    'schedule.betas_for': [
        (betas_for_b1, 'returns the whole table of doses instead of two numbers'),
        (betas_for_b2, 'the last dose is above 1 for small T'),
        (betas_for_b3, 'returns only beta_T'),
        (betas_for_b4, 'scales beta_T by the root of 1000 / T only, too little for fewer steps'),
        (betas_for_b5, 'fixed doses that suit T = 50 and more, but leave 0.12 at T = 25'),
        (betas_for_b6, 'the first dose is 0, not above 0'),
    ],
    'unet.timestep_embedding': [
        (timestep_embedding_b1, 'base 1000 instead of 10000'),
        (timestep_embedding_b2, 'axes the wrong way round: shape (dim, B)'),
        (timestep_embedding_b3, 'dim frequencies instead of dim / 2, so the rows are twice as long'),
        (timestep_embedding_b4, 'whole-number division in the exponent, so nearly all speeds are 1e-4'),
        (timestep_embedding_b5, 'float64 frequencies make the result float64 for whole-number timesteps'),
        (timestep_embedding_b6, 'the timesteps are divided by 1000 first'),
    ],
    'unet.attention': [
        (attention_b1, "root of v (the values' length) instead of d"),
        (attention_b2, 'root of N, the number of positions, instead of d'),
        (attention_b3, 'heads are laid end to end as further positions, so they mix'),
        (attention_b4, 'multiplies by the root of d instead of dividing'),
        (attention_b5, 'scores clamped to -10 .. 10 so that exp does not overflow'),
        (attention_b6, 'no softmax, the scores themselves are the weights'),
    ],
    'unet.res_block': [
        (res_block_b1, 'SiLU before conv2 forgotten'),
        (res_block_b2, 'the skip is forgotten'),
        (res_block_b3, 'ReLU instead of SiLU'),
        (res_block_b4, "SiLU in place changes the caller's embedding"),
        (res_block_b5, "copied from the notebook's block: splits the time into scale and shift, though there is only a shift"),
        (res_block_b6, 'the time is added after conv2, at the end of the block'),
    ],
    'unet.space_to_depth': [
        (space_to_depth_b1, 'height and width of the result exchanged (seen only where H and W differ)'),
        (space_to_depth_b2, 'the other direction: pixel_shuffle, depth to space'),
        (space_to_depth_b3, 'unfolds the squares but does not move their axes to the channels before the reshape'),
        (space_to_depth_b4, 'H is used for the width too: right for square pictures only'),
        (space_to_depth_b5, 'the two axes of the place stay separate: shape (B, C, patch^2, H / patch, W / patch)'),
        (space_to_depth_b6, 'the places within a square run backwards'),
    ],
    'training.diffusion_loss': [
        (diffusion_loss_b1, 'mean absolute instead of mean squared error'),
        (diffusion_loss_b2, 'one loss per picture instead of one number'),
        (diffusion_loss_b3, 'the model is called under no_grad, the gradient is lost'),
        (diffusion_loss_b4, 'target is x_t'),
        (diffusion_loss_b5, 'the model is told t - 1'),
        (diffusion_loss_b6, 'root of the mean squared error, and target noise_rate * noise (what was really added)'),
    ],
    'training.training_step': [
        (training_step_b1, 'levels 0 .. T - 1 instead of 1 .. T'),
        (training_step_b2, 'one noise for the whole batch'),
        (training_step_b3, 'the step is taken before backward (and so with the old gradients or none)'),
        (training_step_b4, 'returns the loss after the step, asking the model a second time'),
        (training_step_b6, 'T is taken to be 1000 whatever the path says, and the step of the optimizer is forgotten'),
    ],
    'training.EMA': [
        (EMA_b1, 'decay n / (n + 10) instead of (n + 1) / (n + 10)'),
        (EMA_b2, 'buffers are averaged like the parameters (those of whole numbers truncated)'),
        (EMA_b3, 'updates are never counted, so the decay stays at 0.1'),
        (EMA_b4, "the copy's weights still ask for gradients"),
        (EMA_b5, 'assigns to the loop variable, so the averaged model never changes'),
        (EMA_b6, 'switches off the gradients of the model itself before copying, and hard-codes 0.999'),
    ],
    'training.weighted_loss': [
        (weighted_loss_b1, 'factor upside down: SNR / min(SNR, 5)'),
        (weighted_loss_b2, 'the ratio of the rates is taken for the SNR, without the square'),
        (weighted_loss_b3, 'mean of the factors times mean of the errors'),
        (weighted_loss_b4, '5 / SNR without the minimum, above 1 where there is more noise'),
        (weighted_loss_b5, 'the factor stays in float64, and so does the loss'),
        (weighted_loss_b6, 'factor of the level below, t - 1, and a sum instead of a mean over the values of a picture'),
    ],
    'sampling.predict_x_0': [
        (predict_x_0_b1, 'divided by the squared signal rate (alpha_bar without its root)'),
        (predict_x_0_b2, 'rates of level t - 1'),
        (predict_x_0_b3, 'tables indexed without at: right for an int t, wrong for a tensor t'),
        (predict_x_0_b4, 'changes x_t in place'),
        (predict_x_0_b5, 'the signal rate is limited to at least 0.05 so that nothing explodes'),
        (predict_x_0_b6, 'multiplied by the signal rate instead of divided'),
    ],
    'forward.posterior': [
        (posterior_b1, 'beta of level t in the place of added, which is right for s = t - 1 only'),
        (posterior_b3, 'the variance is flattened to shape (B,) and stays in float64'),
        (posterior_b4, 'the shares of x_0 and x_t are exchanged'),
        (posterior_b5, 'r upside down'),
        (posterior_b6, 'the variance is not divided by noise_t^2'),
    ],
    'sampling.ddpm_step': [
        (ddpm_step_b1, 'one noise for the whole batch'),
        (ddpm_step_b2, 'no noise for s = 1 either (s > 1 instead of s > 0)'),
        (ddpm_step_b3, 'standard deviation of the forward step, also at the last step'),
        (ddpm_step_b4, 'noises the prediction anew to level s instead of drawing from the posterior'),
        (ddpm_step_b5, 's in the place of t in the call of posterior'),
        (ddpm_step_b6, 'uniform noise from torch.rand, shifted to mean 0'),
    ],
    'sampling.spaced_levels': [
        (spaced_levels_b1, 'begins at T - 1'),
        (spaced_levels_b2, 'ends at 1 instead of 0'),
        (spaced_levels_b3, 'T is taken to be 1000'),
        (spaced_levels_b4, 'T is taken to be the length of the table, one too high'),
        (spaced_levels_b5, 'always rounded up'),
        (spaced_levels_b6, 'rounds the stride instead of the levels, so the error adds up and 0 may not be reached'),
    ],
    'sampling.sampling_loop': [
        (sampling_loop_b1, 'walks the levels in rising order'),
        (sampling_loop_b2, 'each step goes to t - 1 instead of the next level of the list'),
        (sampling_loop_b3, "appends 0 to the caller's list, so it always goes on to 0 and changes its argument"),
        (sampling_loop_b4, 'pairs do not overlap: every second step is left out'),
        (sampling_loop_b5, 'the denoiser is asked only once, before the loop'),
        (sampling_loop_b6, 't and s exchanged in the call of step, and noise of its own is added while s > 0'),
    ],
    'sampling.OnePageScheduler': [
        (OnePageScheduler_b1, 'mean is mended, but it also clamps the prediction to -1 .. 1'),
        (OnePageScheduler_b2, 'the share of x_0 gets sqrt(alpha) instead of the root of alpha_bar before'),
        (OnePageScheduler_b3, 'puts a 1 in front of alpha_bar without moving the other indices, so add_noise and mean are one level off'),
        (OnePageScheduler_b4, 'mean is mended, but beta of t - 1 stands in the share of x_0'),
        (OnePageScheduler_b5, 'mean is mended, but the variance is limited from below to 1e-4, so the last step adds noise'),
        (OnePageScheduler_b6, 'add_noise is "mended" by dropping its roots, the bug in mean stays'),
    ],
    'sampling.mean_from_noise': [
        (mean_from_noise_b1, 'plus in place of minus'),
        (mean_from_noise_b2, 'multiplied by sqrt(alpha) instead of divided'),
        (mean_from_noise_b3, 'noise rate of t - 1 (a division by 0 at t = 1)'),
        (mean_from_noise_b4, '1 - sqrt(alpha_bar) instead of sqrt(1 - alpha_bar)'),
        (mean_from_noise_b5, 'takes out all of the noise: the factor beta is forgotten'),
        (mean_from_noise_b6, 'adds the noise of the whole step, sigma z, to the mean'),
    ],
    'sampling.predict_noise': [
        (predict_noise_b1, 'the noise rate is limited to at least 0.1'),
        (predict_noise_b2, 'rates of level t - 1'),
        (predict_noise_b3, 'noise rate taken to be 1 - signal rate'),
        (predict_noise_b4, 'changes x_t in place'),
        (predict_noise_b5, 'tables indexed by [t] and reshaped for pictures only, wrong for points with a tensor t'),
        (predict_noise_b6, 'the result is scaled to standard deviation 1 instead of being divided by the noise rate'),
    ],
    'sampling.ddim_step': [
        (ddim_step_b1, 'fresh noise comes on top: the old noise keeps the factor noise_s'),
        (ddim_step_b2, 'signal_t instead of signal_s in front of the picture'),
        (ddim_step_b3, 'fresh noise from torch.randn_like, the generator is ignored'),
        (ddim_step_b4, 's is replaced by t - 1'),
        (ddim_step_b5, 'added lacks r: noise_t^2 - noise_s^2'),
        (ddim_step_b6, 'eta is ignored, and one fresh noise serves the whole batch'),
    ],
    'sampling.encode_step': [
        (encode_step_b1, 'x_t and x_0_hat exchanged in predict_noise'),
        (encode_step_b2, 'the prediction is clamped to -1 .. 1 first'),
        (encode_step_b3, 'the picture keeps the signal rate of t'),
        (encode_step_b4, 'the found noise is not divided by the noise rate'),
        (encode_step_b5, 'goes only one level up, to t + 1'),
        (encode_step_b6, 'picture and noise exchanged in add_noise'),
    ],
    'sampling.between': [
        (between_b1, 'cosines instead of sines in front of a and b'),
        (between_b2, 'brackets: sin(1 - share * theta) instead of sin((1 - share) * theta)'),
        (between_b3, 'straight line, scaled back to the length of a'),
        (between_b4, 'roots of the shares as factors'),
        (between_b5, 'cosine_similarity along the first axis: right for one axis only'),
        (between_b6, 'a and b are brought to length 1 and stay so'),
    ],
    'sampling.sample_safely': [
        (sample_safely_b1, 'equal neighbours pass (s > t instead of s >= t)'),
        (sample_safely_b2, 'does not ask that the levels end at 0, only not below'),
        (sample_safely_b3, 'assert raises AssertionError, not ValueError'),
        (sample_safely_b4, 'looks only at the last x, after the whole walk'),
        (sample_safely_b5, 'repairs the prediction with nan_to_num instead of raising'),
        (sample_safely_b6, '[0] alone passes (len < 1), and a start above T is not noticed'),
    ],
}
RIGHT = {
    'schedule.snr_db': [snr_db_b_right],
    'forward.forward_step': [forward_step_b_right],
    'forward.add_noise': [add_noise_b_right],
    'forward.jump': [jump_b_right],
    'schedule.linear_schedule': [linear_schedule_b_right],
    'schedule.cosine_schedule': [cosine_schedule_b_right],
    'schedule.betas_for': [betas_for_b_right],
    'unet.timestep_embedding': [timestep_embedding_b_right],
    'unet.attention': [attention_b_right],
    'unet.res_block': [res_block_b_right],
    'unet.space_to_depth': [space_to_depth_b_right],
    'training.diffusion_loss': [diffusion_loss_b_right],
    'training.training_step': [training_step_b_right, training_step_b5],
    'training.EMA': [EMA_b_right],
    'training.weighted_loss': [weighted_loss_b_right],
    'sampling.predict_x_0': [predict_x_0_b_right],
    'forward.posterior': [posterior_b_right],
    'sampling.ddpm_step': [ddpm_step_b_right],
    'sampling.spaced_levels': [spaced_levels_b_right],
    'sampling.sampling_loop': [sampling_loop_b_right],
    'sampling.OnePageScheduler': [OnePageScheduler_b_right],
    'sampling.mean_from_noise': [mean_from_noise_b_right],
    'sampling.predict_noise': [predict_noise_b_right],
    'sampling.ddim_step': [ddim_step_b_right],
    'sampling.encode_step': [encode_step_b_right],
    'sampling.between': [between_b_right],
    'sampling.sample_safely': [sample_safely_b_right],
}
