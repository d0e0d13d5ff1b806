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


def snr_db_a1(alpha_bar):
    return 10 * torch.log(alpha_bar / (1 - alpha_bar))


def snr_db_a2(alpha_bar):
    return 10 * torch.log10(alpha_bar / 1 - alpha_bar)


def snr_db_a3(alpha_bar):
    return 20 * (alpha_bar / (1 - alpha_bar)).log10()


def snr_db_a4(alpha_bar):
    signal = alpha_bar
    noise = 1 - alpha_bar
    return 10 * torch.log10(noise / signal)


def snr_db_a5(alpha_bar):
    return 10 * torch.log10(alpha_bar) - torch.log10(1 - alpha_bar)


def snr_db_a6(alpha_bar):
    noise = (1 - alpha_bar).clamp(min=1e-3)
    return 10 * torch.log10(alpha_bar / noise)


def snr_db_a_right(alpha_bar):
    return (torch.logit(alpha_bar.double()) * (10 / math.log(10))).to(alpha_bar.dtype)


def forward_step_a1(x_prev, t, noise, schedule):
    return at(schedule.alpha.sqrt(), t, x_prev) * x_prev + at(schedule.beta, t, x_prev) * noise


def forward_step_a2(x_prev, t, noise, schedule):
    return at(schedule.signal_rate, t, x_prev) * x_prev + at(schedule.noise_rate, t, x_prev) * noise


def forward_step_a3(x_prev, t, noise, schedule):
    alpha = at(schedule.alpha.sqrt(), t - 1, x_prev)
    beta = at(schedule.beta.sqrt(), t - 1, x_prev)
    return alpha * x_prev + beta * noise


def forward_step_a4(x_prev, t, noise, schedule):
    return at(1 - schedule.beta.sqrt(), t, x_prev) * x_prev + at(schedule.beta.sqrt(), t, x_prev) * noise


def forward_step_a5(x_prev, t, noise, schedule):
    noise = torch.randn_like(x_prev)
    return at(schedule.alpha.sqrt(), t, x_prev) * x_prev + at(schedule.beta.sqrt(), t, x_prev) * noise


def forward_step_a6(x_prev, t, noise, schedule):
    a = at(schedule.alpha, t, x_prev)
    b = at(schedule.beta, t, x_prev)
    return a * x_prev + b * noise


def forward_step_a_right(x_prev, t, noise, schedule):
    t = torch.as_tensor(t).reshape(-1).expand(len(x_prev))
    a, b = schedule.alpha[t].sqrt(), schedule.beta[t].sqrt()
    x = torch.einsum("b,b...->b...", a, x_prev.double()) + torch.einsum("b,b...->b...", b, noise.double())
    return x.to(x_prev.dtype)


def add_noise_a1(x_0, t, noise, path):
    return at(path.signal_rate, t, x_0) * x_0 + at(1 - path.signal_rate, t, x_0) * noise


def add_noise_a2(x_0, t, noise, path):
    return at(path.signal_rate**2, t, x_0) * x_0 + at(path.noise_rate**2, t, x_0) * noise


def add_noise_a3(x_0, t, noise, path):
    return at(path.signal_rate, t - 1, x_0) * x_0 + at(path.noise_rate, t - 1, x_0) * noise


def add_noise_a4(x_0, t, noise, path):
    return at(path.noise_rate, t, x_0) * x_0 + at(path.signal_rate, t, x_0) * noise


def add_noise_a5(x_0, t, noise, path):
    return at(path.signal_rate, t, x_0) * (x_0 + noise)


def add_noise_a6(x_0, t, noise, path):
    noise = torch.randn(1, *x_0.shape[1:], dtype=x_0.dtype)
    return at(path.signal_rate, t, x_0) * x_0 + at(path.noise_rate, t, x_0) * noise


def add_noise_a_right(x_0, t, noise, path):
    shape = (-1,) + (1,) * (x_0.dim() - 1)
    s = torch.take(path.signal_rate, torch.as_tensor(t)).view(shape)
    n = torch.take(path.noise_rate, torch.as_tensor(t)).view(shape)
    return torch.addcmul(s * x_0.double(), n, noise.double()).type_as(x_0)


def jump_a1(x_s, s, t, noise, schedule):
    return (schedule.signal_rate[t] / schedule.signal_rate[s]) * x_s + schedule.noise_rate[t] * noise


def jump_a2(x_s, s, t, noise, schedule):
    share = schedule.alpha_bar[t] / schedule.alpha_bar[s]
    return share * x_s + (1 - share).sqrt() * noise


def jump_a3(x_s, s, t, noise, schedule):
    return at(schedule.signal_rate, t - s, x_s) * x_s + at(schedule.noise_rate, t - s, x_s) * noise


def jump_a4(x_s, s, t, noise, schedule):
    share = schedule.alpha[s:t].prod()
    return share.sqrt() * x_s + (1 - share).sqrt() * noise


def jump_a5(x_s, s, t, noise, schedule):
    r = schedule.signal_rate[t] / schedule.signal_rate[s]
    added = schedule.noise_rate[t] ** 2 - schedule.noise_rate[s] ** 2
    return r * x_s + added.sqrt() * noise


def jump_a6(x_s, s, t, noise, schedule):
    keep = 1 - (schedule.signal_rate[s] - schedule.signal_rate[t])
    add = schedule.noise_rate[t] - schedule.noise_rate[s]
    return keep * x_s + add * noise


def jump_a_right(x_s, s, t, noise, schedule):
    share = schedule.alpha[s + 1 : t + 1].log().sum()
    keep, fresh = (0.5 * share).exp().item(), (-torch.expm1(share)).sqrt().item()
    return torch.stack([keep * one + fresh * eps for one, eps in zip(x_s, noise)])


def linear_schedule_a1(T=1000, beta_1=1e-4, beta_T=0.02):
    return NoiseSchedule(torch.linspace(beta_1, beta_T, T, dtype=torch.float64))


def linear_schedule_a2(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_1, beta_T, T + 1, dtype=torch.float64)
    return NoiseSchedule(beta)


def linear_schedule_a3(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_1, beta_T, T)
    return NoiseSchedule(F.pad(beta, (1, 0)).double())


def linear_schedule_a4(T=1000, beta_1=1e-4, beta_T=0.02):
    return NoiseSchedule(torch.linspace(0, beta_T, T + 1, dtype=torch.float64))


def linear_schedule_a5(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (0, 1)))


def linear_schedule_a6(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(0.0001, 0.02, T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def linear_schedule_a_right(T=1000, beta_1=1e-4, beta_T=0.02):
    doses = [0.0]
    for i in range(T):
        w = i / max(T - 1, 1)
        doses.append((1 - w) * beta_1 + w * beta_T)
    return NoiseSchedule(torch.tensor(doses, dtype=torch.float64))


def cosine_schedule_a1(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2)
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_a2(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    return NoiseSchedule(F.pad(1 - f[1:] / f[:-1], (1, 0)))


def cosine_schedule_a3(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos(t / (T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_a4(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[:-1] / f[1:]).clamp(0, 0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_a5(T=1000, s=0.008):
    t = torch.arange(T, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_a6(T=1000, s=0.008):
    def f(t):
        return math.cos((t / T + 0.008) / 1.008 * math.pi / 2) ** 2

    beta = [0.0] + [min(1 - f(t) / f(t - 1), 0.999) for t in range(1, T + 1)]
    return NoiseSchedule(torch.tensor(beta, dtype=torch.float64))


def cosine_schedule_a_right(T=1000, s=0.008):
    def f(level):
        return math.cos((level / T + s) / (1 + s) * math.pi / 2) ** 2

    beta = torch.zeros(T + 1).double()
    for level in range(1, T + 1):
        beta[level] = min(0.999, (f(level - 1) - f(level)) / f(level - 1))
    return NoiseSchedule(beta)


def betas_for_a1(T):
    return 1e-4, 0.02


def betas_for_a2(T):
    scale = 1000 // T
    return 1e-4 * scale, 0.02 * scale


def betas_for_a3(T):
    return 1e-4 * T / 1000, 0.02 * T / 1000


def betas_for_a4(T):
    beta_T = 0.001
    while torch.cumprod(1 - torch.linspace(1e-4, beta_T, T, dtype=torch.float64), 0)[-1] >= 0.05:
        beta_T += 0.001
    return 1e-4, beta_T


def betas_for_a5(T):
    return 0.2, 0.5


def betas_for_a6(T):
    return 0.1, 0.1


def betas_for_a_right(T):
    low, high = 1e-4, 0.999
    for _ in range(60):
        middle = (low + high) / 2
        left = 1.0
        for i in range(T):
            left *= 1 - (1e-4 + (middle - 1e-4) * i / (T - 1))
        if math.sqrt(left) < 0.03:
            high = middle
        else:
            low = middle
    return 1e-4, high


def timestep_embedding_a1(t, dim):
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = t.to(dtype)[:, None] * frequency.to(dtype)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


def timestep_embedding_a2(t, dim):
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = t.to(dtype)[:, None] * frequency.to(dtype)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def timestep_embedding_a3(t, dim):
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / dim)
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = t.to(dtype)[:, None] * frequency.to(dtype)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_a4(t, dim):
    half = dim // 2
    dtype = t.dtype if t.is_floating_point() else torch.float32
    frequency = 10000 ** (torch.arange(half) / half)
    angle = t.to(dtype)[:, None] * frequency.to(dtype)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_a5(t, dim):
    half = dim // 2
    dtype = t.dtype if t.is_floating_point() else torch.float32
    frequency = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / max(half - 1, 1))
    angle = t.to(dtype)[:, None] * frequency.to(dtype)[None]
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


def timestep_embedding_a6(t, dim):
    frequency = 10000 ** (-torch.arange(dim // 2) / (dim // 2))
    angle = t.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_a_right(t, dim):
    out = torch.zeros(len(t), dim, dtype=torch.float64)
    for row, level in enumerate(t.tolist()):
        for i in range(dim // 2):
            omega = 10000 ** (-2 * i / dim)
            out[row, i] = math.sin(omega * level)
            out[row, i + dim // 2] = math.cos(omega * level)
    return out.to(t.dtype) if t.is_floating_point() else out.float()


def attention_a1(query, key, value):
    return (query @ key.transpose(-1, -2)).softmax(dim=-1) @ value


def attention_a2(query, key, value):
    score = query @ key.transpose(-1, -2) / query.shape[-1]
    return score.softmax(dim=-1) @ value


def attention_a3(query, key, value):
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return score.softmax(dim=-2) @ value


def attention_a4(query, key, value):
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (score @ value).softmax(dim=-1)


def attention_a5(query, key, value):
    B, heads, N, d = key.shape
    score = query @ key.reshape(B, heads, d, N) / math.sqrt(d)
    return score.softmax(dim=-1) @ value


def attention_a6(query, key, value):
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = score.exp()
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights @ value


def attention_a_right(query, key, value):
    score = torch.einsum("bhid,bhjd->bhij", query.double(), key.double()) * query.shape[-1] ** -0.5
    weights = torch.exp(score - score.logsumexp(dim=3, keepdim=True))
    return torch.einsum("bhij,bhjv->bhiv", weights, value.double()).to(value.dtype)


def res_block_a1(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = norm2(h) + time(F.silu(embedding))[:, :, None, None]
    return skip(x) + conv2(F.silu(h))


def res_block_a2(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x))) + time(embedding)[:, :, None, None]
    return skip(x) + conv2(F.silu(norm2(h)))


def res_block_a3(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = h + time(F.silu(embedding))[:, :, None, None]
    return x + conv2(F.silu(norm2(h)))


def res_block_a4(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(norm1(F.silu(x)))
    h = h + time(F.silu(embedding))[:, :, None, None]
    return skip(x) + conv2(norm2(F.silu(h)))


def res_block_a5(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x))) + time(F.silu(embedding))
    return skip(x) + conv2(F.silu(norm2(h)))


def res_block_a6(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = h * (1 + time(F.silu(embedding))[:, :, None, None])
    h = conv2(F.silu(norm2(h)))
    return skip(x) + h


def res_block_a_right(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    silu = nn.SiLU()
    h = conv1(silu(norm1(x)))
    told = time(silu(embedding))
    h = torch.stack([torch.stack([c + v for c, v in zip(image, row)]) for image, row in zip(h, told)])
    return torch.add(conv2(silu(norm2(h))), skip(x))


def space_to_depth_a1(x, patch):
    B, C, H, W = x.shape
    x = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_a2(x, patch):
    B, C, H, W = x.shape
    x = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 1, 5, 3, 2, 4).reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_a3(x, patch):
    B, C, H, W = x.shape
    return x.reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_a4(x, patch):
    B, C, H, W = x.shape
    x = x.reshape(B, C, patch, H // patch, patch, W // patch)
    return x.permute(0, 1, 2, 4, 3, 5).reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_a5(x, patch):
    places = [x[:, :, ::2, ::2], x[:, :, ::2, 1::2], x[:, :, 1::2, ::2], x[:, :, 1::2, 1::2]]
    return torch.stack(places, dim=2).flatten(1, 2)


def space_to_depth_a6(x, patch):
    B, C, H, W = x.shape
    columns = F.unfold(x.float(), patch, stride=patch)
    return columns.reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_a_right(x, patch):
    B, C, H, W = x.shape
    out = x.new_empty(B, C * patch * patch, H // patch, W // patch)
    for c in range(C):
        for i in range(patch):
            for j in range(patch):
                out[:, (c * patch + i) * patch + j] = x[:, c, i::patch, j::patch]
    return out


def diffusion_loss_a1(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_t, t), x_0)


def diffusion_loss_a2(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return (model(x_t, t) - noise).square().sum() / len(x_0)


def diffusion_loss_a3(model, x_0, t, noise, path):
    x_t = add_noise(noise, t, x_0, path)
    return F.mse_loss(model(x_t, t), noise)


def diffusion_loss_a4(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_0, t), noise)


def diffusion_loss_a5(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_t, t), noise).detach()


def diffusion_loss_a6(model, x_0, t, noise, path):
    noise = torch.randn_like(x_0)
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_t, t), noise)


def diffusion_loss_a_right(model, x_0, t, noise, path):
    pictures = []
    for x, level, eps in zip(x_0, t.tolist(), noise):
        pictures.append(path.signal_rate[level].item() * x + path.noise_rate[level].item() * eps)
    error = (model(torch.stack(pictures), t) - noise).flatten()
    return torch.dot(error, error) / error.numel()


def training_step_a1(model, x_0, path, optimizer):
    t = torch.randint(1, path.T, (len(x_0),))
    noise = torch.randn_like(x_0)
    loss = diffusion_loss(model, x_0, t, noise, path)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_a2(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (len(x_0),))
    loss = diffusion_loss(model, x_0, t, torch.rand_like(x_0), path)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_a3(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (len(x_0),))
    loss = diffusion_loss(model, x_0, t, torch.randn_like(x_0), path)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.detach()


def training_step_a4(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (x_0.shape[0],))
    noise = torch.randn(x_0.shape, dtype=x_0.dtype)
    loss = diffusion_loss(model, x_0, t, noise, path)
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_a5(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (1,)).repeat(len(x_0))
    loss = diffusion_loss(model, x_0, t, torch.randn_like(x_0), path)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_a6(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (len(x_0),))
    noise = torch.randn_like(x_0)
    optimizer.zero_grad()
    loss = diffusion_loss(model, x_0, t, noise, path)
    loss.backward()
    optimizer.step()
    return loss


def training_step_a_right(model, x_0, path, optimizer):
    t = torch.stack([torch.randint(path.T, ()) + 1 for _ in x_0])
    noise = torch.stack([torch.randn(x.shape, dtype=x_0.dtype) for x in x_0])
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None
    loss = diffusion_loss(model, x_0, t, noise, path)
    before = loss.detach().clone()
    loss.backward()
    optimizer.step()
    return before


class EMA_a1:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.copy_((1 - decay) * average + decay * weight)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)
        self.updates += 1


class EMA_a2:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.mul_(self.decay).add_(weight, alpha=1 - self.decay)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)
        self.updates += 1


class EMA_a3:
    def __init__(self, model, decay=0.999):
        self.model = model.requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)
        self.updates += 1


class EMA_a4:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model)
        for p in self.model.parameters():
            p.requires_grad = False
        self.decay = decay
        self.updates = 0

    def update(self, model):
        d = min(self.decay, (self.updates + 1) / (self.updates + 10))
        with torch.no_grad():
            for average, weight in zip(self.model.parameters(), model.parameters()):
                average.copy_(d * average + (1 - d) * weight)
        self.updates += 1


class EMA_a5:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        self.updates += 1
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)


class EMA_a6:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = max(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)
        self.updates += 1


class EMA_a_right:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model)
        for weight in self.model.parameters():
            weight.requires_grad = False
        self.highest, self.updates = decay, 0

    def update(self, model):
        keep = min(self.highest, 1 - 9 / (self.updates + 10))
        weights, buffers = dict(model.named_parameters()), dict(model.named_buffers())
        for name, average in self.model.named_parameters():
            new = average.data.double() + (1 - keep) * (weights[name].data.double() - average.data.double())
            average.data.copy_(new.to(average.dtype))
        for name, buffer in self.model.named_buffers():
            buffer.data.copy_(buffers[name].data)
        self.updates = self.updates + 1


def weighted_loss_a1(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(min=5) / schedule.snr, t, x_0)
    return (weight * (model(x_t, t) - noise).square()).mean()


def weighted_loss_a2(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(max=5), t, x_0)
    return (weight * (model(x_t, t) - noise) ** 2).mean()


def weighted_loss_a3(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(max=5) / schedule.snr, t, x_0)
    error = (model(x_t, t) - noise).square().flatten(1).mean(dim=1)
    return (weight.flatten() * error).sum() / weight.sum()


def weighted_loss_a4(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = (schedule.snr.clamp(max=5) / schedule.snr)[t].to(x_0.dtype)
    return (weight * (model(x_t, t) - noise).square()).mean()


def weighted_loss_a5(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(max=5) / schedule.snr, t, x_0)
    return (weight * (model(x_t, t) - x_0).square()).mean()


def weighted_loss_a6(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(max=5) / schedule.snr, t, x_0)
    return (weight * (model(x_t, t) - noise)).square().mean()


def weighted_loss_a_right(model, x_0, t, noise, schedule):
    answer = model(add_noise(x_0, t, noise, schedule), t)
    total = 0
    for guess, eps, level in zip(answer, noise, t.tolist()):
        ratio = (schedule.signal_rate[level] / schedule.noise_rate[level]).item() ** 2
        total = total + min(1.0, 5 / ratio) * F.mse_loss(guess, eps, reduction="sum")
    return total / answer.numel()


def predict_x_0_a1(x_t, t, noise_hat, path):
    return x_t - at(path.noise_rate, t, x_t) * noise_hat / at(path.signal_rate, t, x_t)


def predict_x_0_a2(x_t, t, noise_hat, path):
    return (x_t - at(path.signal_rate, t, x_t) * noise_hat) / at(path.noise_rate, t, x_t)


def predict_x_0_a3(x_t, t, noise_hat, path):
    return x_t - at(path.noise_rate, t, x_t) * noise_hat


def predict_x_0_a4(x_t, t, noise_hat, path):
    x_0 = (x_t - at(path.noise_rate, t, x_t) * noise_hat) / at(path.signal_rate, t, x_t)
    return x_0.clamp(-1, 1)


def predict_x_0_a5(x_t, t, noise_hat, path):
    return (x_t + at(path.noise_rate, t, x_t) * noise_hat) / at(path.signal_rate, t, x_t)


def predict_x_0_a6(x_t, t, noise_hat, path):
    signal = at(path.signal_rate, t, x_t)
    return (x_t - (1 - signal) * noise_hat) / signal


def predict_x_0_a_right(x_t, t, noise_hat, path):
    shape = [-1] + [1] * (x_t.ndim - 1)
    index = torch.as_tensor(t)
    signal, noise = path.signal_rate[index].reshape(shape), path.noise_rate[index].reshape(shape)
    return torch.div(torch.addcmul(x_t.double(), noise, noise_hat.double(), value=-1), signal).to(x_t.dtype)


def posterior_a1(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_t * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).to(x_t)


def posterior_a2(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).to(x_t)


def posterior_a3(x_0, x_t, t, path, s=None):
    s = s or t - 1
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).to(x_t)


def posterior_a4(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, added.to(x_t)


def posterior_a5(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added.sqrt() * noise_s / noise_t).to(x_t)


def posterior_a6(x_0, x_t, t, path, s=None):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, t - 1 if s is None else s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).to(x_t)


def posterior_a_right(x_0, x_t, t, path, s=None):
    below = s if s is not None else t - 1
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, below, x_t)
    gain = signal_t / signal_s * noise_s.square() / noise_t.square()
    mean = signal_s * x_0.double() + gain * (x_t.double() - signal_t * x_0.double())
    variance = noise_s.square() - gain * signal_t / signal_s * noise_s.square()
    return mean.to(x_t.dtype), variance.to(x_t.dtype)


def ddpm_step_a1(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance * randn_like(x_t, generator)


def ddpm_step_a2(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path)
    return mean + variance.sqrt() * randn_like(x_t, generator)


def ddpm_step_a3(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean


def ddpm_step_a4(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance.sqrt() * torch.randn_like(x_t)


def ddpm_step_a5(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_t, x_0_hat, t, path, s)
    return mean + variance.sqrt() * randn_like(x_t, generator)


def ddpm_step_a6(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    std = torch.exp(0.5 * variance)
    return mean + std * randn_like(x_t, generator)


def ddpm_step_a_right(x_t, x_0_hat, t, s, path, generator=None):
    a_t, b_t = path.signal_rate[t].item(), path.noise_rate[t].item() ** 2
    a_s, b_s = path.signal_rate[s].item(), path.noise_rate[s].item() ** 2
    added = b_t - (a_t / a_s) ** 2 * b_s
    noise = randn_like(x_t, generator)
    x_s = [
        a_s * added / b_t * x_0 + a_t / a_s * b_s / b_t * x + math.sqrt(added * b_s / b_t) * z
        for x_0, x, z in zip(x_0_hat, x_t, noise)
    ]
    return torch.stack(x_s)


def spaced_levels_a1(path, num_steps):
    return torch.linspace(path.T, 0, num_steps, dtype=torch.float64).round().int().tolist()


def spaced_levels_a2(path, num_steps):
    return torch.linspace(0, path.T, num_steps + 1, dtype=torch.float64).round().int().tolist()


def spaced_levels_a3(path, num_steps):
    return torch.linspace(path.T, 0, num_steps + 1, dtype=torch.float64).int().tolist()


def spaced_levels_a4(path, num_steps):
    T = len(path.signal_rate) - 1
    return list(range(T, 0, -(T // num_steps))) + [0]


def spaced_levels_a5(path, num_steps):
    return torch.linspace(path.T, 0, num_steps + 1, dtype=torch.float64).round().long()


def spaced_levels_a6(path, num_steps):
    return torch.linspace(path.T, 0, num_steps + 1, dtype=torch.float64).round().tolist()


def spaced_levels_a_right(path, num_steps):
    T = path.signal_rate.shape[0] - 1
    return [round(Fraction(T * left, num_steps)) for left in range(num_steps, -1, -1)]


def sampling_loop_a1(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, s)
        x = step(x, x_0_hat, t, s, path)
    return x


def sampling_loop_a2(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x_T, t)
        x = step(x, x_0_hat, t, s, path)
    return x


def sampling_loop_a3(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in zip(levels[:-2], levels[1:-1]):
        x = step(x, denoise(x, t), t, s, path)
    return x


def sampling_loop_a4(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        x = step(x_0_hat, x, t, s, path)
    return x


def sampling_loop_a5(denoise, x_T, path, levels, step):
    x = x_T
    T = len(path.signal_rate) - 1
    for t in range(T, 0, -1):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, t - 1, path)
    return x


def sampling_loop_a6(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, path)
    return x_0_hat


def sampling_loop_a_right(denoise, x_T, path, levels, step):
    x, i = x_T, 0
    while i + 1 < len(levels):
        x = step(x, denoise(x, levels[i]), levels[i], levels[i + 1], path)
        i += 1
    return x


class OnePageScheduler_a1(OnePageScheduler):
    def variance(self, t):
        return self.beta[t]


class OnePageScheduler_a2(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar[t - 1].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_a3(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar_before(t) * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_a4(OnePageScheduler):
    def alpha_bar_before(self, t):
        return self.alpha_bar[t - 1] if t > 1 else torch.ones((), dtype=torch.float64)

    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_a5(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t

    def step(self, noise_hat, t, x_t):
        x = self.mean(noise_hat, t, x_t)
        return x + self.variance(t) * torch.randn_like(x_t) if t > 0 else x


class OnePageScheduler_a6(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar[t].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha_bar_before(t).sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_a_right(OnePageScheduler):
    def mean(self, noise_hat, t, x_t):
        inside = x_t - self.beta[t] / (1 - self.alpha_bar[t]) ** 0.5 * noise_hat
        return inside * self.alpha[t].rsqrt()


def mean_from_noise_a1(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / schedule.noise_rate, t, x_t)
    return at(1 / schedule.alpha, t, x_t) * (x_t - share * noise_hat)


def mean_from_noise_a2(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / (1 - schedule.alpha_bar), t, x_t)
    return (x_t - share * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_a3(x_t, noise_hat, t, schedule):
    share = at(schedule.beta.sqrt() / schedule.noise_rate, t, x_t)
    return (x_t - share * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_a4(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / schedule.noise_rate, t, x_t)
    return 1 / at(schedule.alpha.sqrt(), t, x_t) * x_t - share * noise_hat


def mean_from_noise_a5(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / schedule.noise_rate, t, x_t)
    return (x_t - share * noise_hat) / at(schedule.signal_rate, t, x_t)


def mean_from_noise_a6(x_t, noise_hat, t, schedule):
    alpha, beta, alpha_bar = schedule.alpha[t], schedule.beta[t], schedule.alpha_bar[t]
    return 1 / alpha.sqrt() * (x_t - beta / (1 - alpha_bar).sqrt() * noise_hat)


def mean_from_noise_a_right(x_t, noise_hat, t, schedule):
    levels = [t] * len(x_t) if isinstance(t, int) else t.tolist()
    out = torch.empty_like(x_t)
    for i, level in enumerate(levels):
        alpha, bar = schedule.alpha[level].item(), schedule.alpha_bar[level].item()
        out[i] = (x_t[i] - (1 - alpha) / math.sqrt(1 - bar) * noise_hat[i]) / math.sqrt(alpha)
    return out


def predict_noise_a1(x_t, t, x_0_hat, path):
    return (x_t - at(path.noise_rate, t, x_t) * x_0_hat) / at(path.signal_rate, t, x_t)


def predict_noise_a2(x_t, t, x_0_hat, path):
    return x_t - at(path.signal_rate, t, x_t) * x_0_hat / at(path.noise_rate, t, x_t)


def predict_noise_a3(x_t, t, x_0_hat, path):
    return x_t - at(path.signal_rate, t, x_t) * x_0_hat


def predict_noise_a4(x_t, t, x_0_hat, path):
    return (x_t - at(path.signal_rate, t, x_t) * x_0_hat) / at(path.noise_rate, t, x_t) ** 2


def predict_noise_a5(x_t, t, x_0_hat, path):
    return (x_t - x_0_hat) / at(path.noise_rate, t, x_t)


def predict_noise_a6(x_t, t, x_0_hat, path):
    return (at(path.signal_rate, t, x_t) * x_0_hat - x_t) / at(path.noise_rate, t, x_t)


def predict_noise_a_right(x_t, t, x_0_hat, path):
    index = torch.as_tensor(t).reshape(-1).expand(len(x_t))
    difference = x_t.double() - torch.einsum("b,b...->b...", path.signal_rate[index], x_0_hat.double())
    return torch.einsum("b,b...->b...", path.noise_rate[index].reciprocal(), difference).to(x_t.dtype)


def ddim_step_a1(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + (noise_s - sigma) * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_a2(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_hat = predict_noise(x_t, s, x_0_hat, path)
    x_s = signal_s * x_0_hat + max(noise_s**2 - sigma**2, 0) ** 0.5 * noise_hat
    return x_s + sigma * randn_like(x_t, generator)


def ddim_step_a3(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_left * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_a4(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added * noise_s / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_left * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_a5(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_left * noise_hat


def ddim_step_a6(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    sigma = eta * noise_s
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    return signal_s * x_0_hat + noise_left * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_a_right(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    (signal_t, noise_t), (signal_s, noise_s) = rates(path, t, x_t), rates(path, s, x_t)
    ratio = (signal_t * noise_s / (signal_s * noise_t)) ** 2
    sigma = eta * noise_s * (1 - ratio).sqrt()
    left = (noise_s.square() - sigma.square()).clamp(min=0).sqrt()
    old = (x_t.double() - signal_t * x_0_hat.double()) / noise_t
    fresh = randn_like(x_t, generator).double()
    return (signal_s * x_0_hat.double() + left * old + sigma * fresh).to(x_t.dtype)


def encode_step_a1(x_t, x_0_hat, t, s, path):
    return add_noise(x_0_hat, s, torch.randn_like(x_t), path)


def encode_step_a2(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, s, x_0_hat, path)
    return add_noise(x_0_hat, s, noise_hat, path)


def encode_step_a3(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return add_noise(x_0_hat, t, noise_hat, path)


def encode_step_a4(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, s, x_0_hat, path)
    return add_noise(x_0_hat, t, noise_hat, path)


def encode_step_a5(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    r = path.signal_rate[s] / path.signal_rate[t]
    added = path.noise_rate[s] ** 2 - r**2 * path.noise_rate[t] ** 2
    return r * x_t + added.sqrt() * noise_hat


def encode_step_a6(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return add_noise(x_t, s, noise_hat, path)


def encode_step_a_right(x_t, x_0_hat, t, s, path):
    ratio = (path.noise_rate[s] / path.noise_rate[t]).item()
    shift = path.signal_rate[s].item() - ratio * path.signal_rate[t].item()
    return (ratio * x_t.double() + shift * x_0_hat.double()).to(x_t.dtype)


def between_a1(a, b, share):
    return (1 - share) * a + share * b


def between_a2(a, b, share):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return ((share * theta).sin() * a + ((1 - share) * theta).sin() * b) / theta.sin()


def between_a3(a, b, share):
    cos = (a * b).sum(dim=-1, keepdim=True) / (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True))
    theta = torch.acos(cos)
    return (((1 - share) * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def between_a4(a, b, share):
    theta = torch.acos((a * b).sum().clamp(-0.999, 0.999))
    return (((1 - share) * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def between_a5(a, b, share):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return ((1 - share) * theta).sin() * a + (share * theta).sin() * b


def between_a6(a, b, share):
    theta = torch.acos((a * b).sum() / a.norm() * b.norm())
    return (((1 - share) * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def between_a_right(a, b, share):
    u, v = a.double().flatten(), b.double().flatten()
    theta = math.acos(torch.dot(u, v).item() / math.sqrt(torch.dot(u, u).item() * torch.dot(v, v).item()))
    first, second = math.sin((1 - share) * theta), math.sin(share * theta)
    return ((first * u + second * v) / math.sin(theta)).reshape(a.shape).to(a.dtype)


def sample_safely_a1(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0:
        raise ValueError("levels must go from T or below to 0")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if s >= t:
            raise ValueError("levels must fall")
        if not torch.isfinite(x_0_hat).all():
            raise ValueError(f"not finite at t = {t}")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_a2(denoise, x_T, path, levels, step):
    falls = all(t > s for t, s in pairwise(levels))
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0 or not falls:
        raise ValueError(f"bad levels {levels}")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if x_0_hat.isnan().any():
            raise ValueError(f"NaN in the prediction at t = {t}")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_a3(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0 or any(s >= t for t, s in pairwise(levels)):
        raise ValueError("bad levels")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not torch.isfinite(x_0_hat).any():
            raise ValueError(f"prediction not finite at level {t}")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_a4(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] != path.T or levels[-1] != 0 or any(s >= t for t, s in pairwise(levels)):
        raise ValueError("levels must fall from T to 0")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not torch.isfinite(x_0_hat).all():
            raise ValueError(f"prediction not finite at level {t}")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_a5(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0 or any(s >= t for t, s in pairwise(levels)):
        raise ValueError("bad levels")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not x_0_hat.isfinite().all():
            raise ValueError("the prediction is not finite")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_a6(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0 or any(s >= t for t, s in pairwise(levels)):
        raise ValueError("bad levels")
    x = x_T
    for t, s in pairwise(levels):
        x = step(x, denoise(x, t), t, s, path)
        if not x.isfinite().all():
            raise ValueError(f"not finite at {s}")
    return x


def sample_safely_a_right(denoise, x_T, path, levels, step):
    good = len(levels) >= 2 and levels[0] <= path.T and levels[-1] == 0
    good = good and list(levels) == sorted(set(levels), reverse=True)
    if not good:
        raise ValueError("these levels make no sense")
    x = x_T
    for i in range(len(levels) - 1):
        guess = denoise(x, levels[i])
        if torch.isnan(guess - guess).any():  # inf - inf is NaN, too
            raise ValueError("the denoiser's prediction at t = " + str(levels[i]) + " is not finite")
        x = step(x, guess, levels[i], levels[i + 1], path)
    return x


WRONG = {
    'schedule.snr_db': [
        (snr_db_a1, 'natural logarithm instead of log10'),
        (snr_db_a2, 'brackets of the denominator forgotten, so the ratio becomes alpha_bar / 1 - alpha_bar = 0'),
        (snr_db_a3, 'factor 20 (the amplitude convention) instead of 10'),
        (snr_db_a4, 'ratio upside down, noise over picture'),
        (snr_db_a5, 'the factor 10 multiplies only the first of the two logarithms'),
        (snr_db_a6, "clamps the noise's share to at least 1e-3 to avoid dividing by 0, which caps the result at 30 dB"),
    ],
    'forward.forward_step': [
        (forward_step_a1, 'root of beta forgotten'),
        (forward_step_a2, 'uses the rates of the whole jump from x_0 instead of those of one step'),
        (forward_step_a3, 'reads the tables at t - 1 instead of at t'),
        (forward_step_a4, "picture's factor is 1 - sqrt(beta) instead of sqrt(1 - beta)"),
        (forward_step_a5, 'draws noise of its own and ignores the argument'),
        (forward_step_a6, 'both roots forgotten'),
    ],
    'forward.add_noise': [
        (add_noise_a1, "noise's factor is 1 - signal_rate instead of the noise rate"),
        (add_noise_a2, 'squares both rates (uses variances as factors)'),
        (add_noise_a3, 'level t - 1 (and at t = 0 that is an error or the last entry)'),
        (add_noise_a4, 'the two rates are swapped'),
        (add_noise_a5, 'the signal rate multiplies picture and noise, the noise rate is not used'),
        (add_noise_a6, 'draws noise of its own, the same for all items of the batch'),
    ],
    'forward.jump': [
        (jump_a1, "noise's factor is the noise rate at t, as if x_s had no noise yet"),
        (jump_a2, "the picture's factor is not rooted: alpha_bar_t / alpha_bar_s multiplies x_s"),
        (jump_a3, 'uses the rates at level t - s, as if the doses were equal everywhere'),
        (jump_a4, 'off by one: product of alpha from s to t - 1 instead of s + 1 to t'),
        (jump_a5, 'noise variance is noise_t^2 - noise_s^2, without shrinking the noise that is there'),
        (jump_a6, 'differences in place of ratio: signal_s - signal_t for the picture and noise_t - noise_s for the noise'),
    ],
    'schedule.linear_schedule': [
        (linear_schedule_a1, 'the 0 for the clean picture in front is missing'),
        (linear_schedule_a2, 'T + 1 doses from beta_1 with no 0 in front'),
        (linear_schedule_a3, 'doses computed in float32 and only then made float64'),
        (linear_schedule_a4, 'a straight line from 0 to beta_T: the first dose is not beta_1'),
        (linear_schedule_a5, 'the 0 is put at the end instead of in front'),
        (linear_schedule_a6, "the paper's beta_1 and beta_T are hard-coded, the arguments ignored"),
    ],
    'schedule.cosine_schedule': [
        (cosine_schedule_a1, 'the square of the cosine is forgotten'),
        (cosine_schedule_a2, 'the doses are not limited to 0.999'),
        (cosine_schedule_a3, 'brackets wrong: t / (T + s) instead of t / T + s'),
        (cosine_schedule_a4, 'ratio upside down, f(t - 1) / f(t), and the negative doses are clamped to 0'),
        (cosine_schedule_a5, 'arange(T) has one level too few, so the last dose is missing'),
        (cosine_schedule_a6, 's is hard-coded, the argument is ignored'),
    ],
    'schedule.betas_for': [
        (betas_for_a1, 'the doses of 1000 steps whatever T is'),
        (betas_for_a2, 'integer division 1000 // T makes the doses too small for T such as 501'),
        (betas_for_a3, 'scaled the wrong way round: fewer steps get smaller doses'),
        (betas_for_a4, 'searches until alpha_bar is below 0.05, not its root'),
        (betas_for_a5, 'the first dose is 0.2, above the allowed 0.1'),
        (betas_for_a6, 'the same dose 0.1 in each step, which is too little for T = 25'),
    ],
    'unet.timestep_embedding': [
        (timestep_embedding_a1, 'sines and cosines interleaved instead of all sines first'),
        (timestep_embedding_a2, 'cosines first, then sines'),
        (timestep_embedding_a3, 'exponent divided by dim instead of dim / 2'),
        (timestep_embedding_a4, 'minus in the exponent forgotten, so the hands turn faster and faster'),
        (timestep_embedding_a5, 'divides by dim / 2 - 1 as in another convention, so the speeds differ'),
        (timestep_embedding_a6, 'always float32, also for float64 timesteps'),
    ],
    'unet.attention': [
        (attention_a1, 'scores not divided by the root of d'),
        (attention_a2, 'divided by d, not by its root'),
        (attention_a3, 'softmax over the queries instead of the keys'),
        (attention_a4, 'softmax applied to the result instead of the scores'),
        (attention_a5, 'the key is reshaped to (d, N) instead of transposed'),
        (attention_a6, 'softmax by hand without subtracting the maximum, which overflows to NaN for large scores'),
    ],
    'unet.res_block': [
        (res_block_a1, 'the time is added after norm2 instead of before it'),
        (res_block_a2, 'SiLU of the embedding forgotten'),
        (res_block_a3, 'adds x itself instead of skip(x)'),
        (res_block_a4, 'SiLU before the norms instead of after them'),
        (res_block_a5, 'the time has no axes for height and width, so it does not go to the channels'),
        (res_block_a6, 'the time scales the channels, 1 + time, instead of being added'),
    ],
    'unet.space_to_depth': [
        (space_to_depth_a1, 'the places come first and the channels within them'),
        (space_to_depth_a2, 'places go column by column instead of row by row'),
        (space_to_depth_a3, 'only a reshape, without moving the axes'),
        (space_to_depth_a4, 'splits H into (patch, H / patch) instead of (H / patch, patch): large blocks, not small squares'),
        (space_to_depth_a5, 'patch is taken to be 2, whatever it is'),
        (space_to_depth_a6, 'the result is always float32'),
    ],
    'training.diffusion_loss': [
        (diffusion_loss_a1, 'the target is x_0 instead of the noise'),
        (diffusion_loss_a2, 'sum over the values of a picture, averaged only over the batch'),
        (diffusion_loss_a3, 'picture and noise swapped in add_noise'),
        (diffusion_loss_a4, 'the model is shown the clean picture'),
        (diffusion_loss_a5, 'the loss is detached, so no gradient reaches the model'),
        (diffusion_loss_a6, 'draws noise of its own instead of using the argument'),
    ],
    'training.training_step': [
        (training_step_a1, 'T itself is never drawn (randint excludes its upper end)'),
        (training_step_a2, 'uniform noise from rand instead of Gaussian noise'),
        (training_step_a3, 'zero_grad stands between backward and step, so the step sees no gradient'),
        (training_step_a4, 'old gradients are not cleared'),
        (training_step_a5, 'one level for the whole batch'),
        (training_step_a6, 'the returned loss still has its gradient (no detach)'),
    ],
    'training.EMA': [
        (EMA_a1, 'decay and 1 - decay swapped: the average keeps only the small share'),
        (EMA_a2, 'the decay is constant, it does not start low'),
        (EMA_a3, 'no copy: the average is the model itself, whose gradients are switched off'),
        (EMA_a4, 'buffers are not copied'),
        (EMA_a5, 'the update is counted before the decay is worked out, so n is one too high'),
        (EMA_a6, 'max instead of min, so the decay is large from the start'),
    ],
    'training.weighted_loss': [
        (weighted_loss_a1, 'clamp(min=5) instead of clamp(max=5): max instead of min'),
        (weighted_loss_a2, 'the factor is min(SNR, 5), the division by the SNR is forgotten'),
        (weighted_loss_a3, 'divided by the sum of the factors (a weighted average)'),
        (weighted_loss_a4, 'factors of shape (B,) are not reshaped, so they land on the last axis'),
        (weighted_loss_a5, 'error against x_0 instead of the noise'),
        (weighted_loss_a6, 'the factor multiplies the error before it is squared'),
    ],
    'sampling.predict_x_0': [
        (predict_x_0_a1, 'brackets forgotten: only the noise is divided by the signal rate'),
        (predict_x_0_a2, 'the two rates are swapped'),
        (predict_x_0_a3, 'the division by the signal rate is forgotten'),
        (predict_x_0_a4, 'the result is clamped to -1 .. 1'),
        (predict_x_0_a5, 'wrong sign: the noise is added'),
        (predict_x_0_a6, 'the noise rate is taken to be 1 - signal rate'),
    ],
    'forward.posterior': [
        (posterior_a1, 'signal_t instead of signal_s in the share of x_0'),
        (posterior_a2, 's is ignored, it always goes to t - 1'),
        (posterior_a3, '"s or t - 1" takes s = 0 for None (and fails for a tensor s)'),
        (posterior_a4, 'the variance is that of the forward step (added), not of the posterior'),
        (posterior_a5, 'returns the standard deviation instead of the variance'),
        (posterior_a6, 'noise_s is not squared in the share of x_t, and r is not squared in added'),
    ],
    'sampling.ddpm_step': [
        (ddpm_step_a1, 'root of the variance forgotten'),
        (ddpm_step_a2, 's is not handed to posterior, so every step is a step to t - 1'),
        (ddpm_step_a3, 'returns the mean without noise'),
        (ddpm_step_a4, 'noise from torch.randn_like, the generator is ignored'),
        (ddpm_step_a5, 'x_t and x_0_hat swapped in the call of posterior'),
        (ddpm_step_a6, 'treats the variance as a log variance, exp(0.5 * variance)'),
    ],
    'sampling.spaced_levels': [
        (spaced_levels_a1, 'num_steps levels instead of num_steps + 1'),
        (spaced_levels_a2, 'rises from 0 to T'),
        (spaced_levels_a3, 'cut off instead of rounded to the nearest'),
        (spaced_levels_a4, 'a whole-number stride T // num_steps, uneven or too many levels where it does not divide T'),
        (spaced_levels_a5, 'returns a tensor instead of a list of ints'),
        (spaced_levels_a6, 'a list of floats, not of ints'),
    ],
    'sampling.sampling_loop': [
        (sampling_loop_a1, 'the denoiser is asked at s instead of t'),
        (sampling_loop_a2, 'the denoiser is always shown x_T'),
        (sampling_loop_a3, 'the last step is missing'),
        (sampling_loop_a4, 'x and x_0_hat swapped in the call of step'),
        (sampling_loop_a5, 'levels is ignored, it walks all levels from T down to 0'),
        (sampling_loop_a6, 'returns the last prediction instead of the last x'),
    ],
    'sampling.OnePageScheduler': [
        (OnePageScheduler_a1, 'the variance is changed to beta, while the bug in mean is still there'),
        (OnePageScheduler_a2, 'the share of x_0 uses alpha_bar[t - 1] directly, which is the last entry at t = 0'),
        (OnePageScheduler_a3, 'alpha_bar_before in the share of x_0 without its root'),
        (OnePageScheduler_a4, 'mean is mended, but alpha_bar_before was changed to t > 1, so t = 1 gets 1'),
        (OnePageScheduler_a5, 'mean is mended, but step now multiplies the noise by the variance without a root'),
        (OnePageScheduler_a6, 'the wrong share is "mended": alpha_bar_before goes into the share of x_t, that of x_0 keeps its bug'),
    ],
    'sampling.mean_from_noise': [
        (mean_from_noise_a1, '1 / alpha without the root in front'),
        (mean_from_noise_a2, 'root of 1 - alpha_bar forgotten'),
        (mean_from_noise_a3, 'sqrt(beta) instead of beta'),
        (mean_from_noise_a4, 'brackets forgotten: 1 / sqrt(alpha) multiplies only x_t'),
        (mean_from_noise_a5, 'alpha_bar instead of alpha in front'),
        (mean_from_noise_a6, 'tables indexed without reshaping: right for an int t, wrong for a tensor t'),
    ],
    'sampling.predict_noise': [
        (predict_noise_a1, 'the two rates are swapped'),
        (predict_noise_a2, 'brackets forgotten'),
        (predict_noise_a3, 'not divided by the noise rate'),
        (predict_noise_a4, 'divided by the variance of the noise instead of its rate'),
        (predict_noise_a5, 'the picture is not scaled by the signal rate'),
        (predict_noise_a6, 'wrong sign: picture minus x_t'),
    ],
    'sampling.ddim_step': [
        (ddim_step_a1, 'noise_s - sigma instead of the root of the difference of squares'),
        (ddim_step_a2, 'the noise is read from x_t with the rates of level s (0 / 0 at s = 0)'),
        (ddim_step_a3, 'sigma lacks the factor noise_s'),
        (ddim_step_a4, 'root of added forgotten in sigma'),
        (ddim_step_a5, 'the fresh noise is never added'),
        (ddim_step_a6, "eta blends old and fresh noise, sigma = eta * noise_s, instead of units of the posterior's deviation"),
    ],
    'sampling.encode_step': [
        (encode_step_a1, 'fresh noise instead of the noise that was found'),
        (encode_step_a2, 'the noise is predicted with level s instead of t'),
        (encode_step_a3, 'mixes at level t again, which gives back x_t'),
        (encode_step_a4, 't and s exchanged: a step down instead of up'),
        (encode_step_a5, 'jumps from x_t as the forward process does, with the found noise in the place of fresh noise'),
        (encode_step_a6, 'noises x_t instead of the predicted picture'),
    ],
    'sampling.between': [
        (between_a1, 'the straight line'),
        (between_a2, 'shares swapped: 0 gives b'),
        (between_a3, 'sums only over the last axis, an angle for each row'),
        (between_a4, 'scalar product not divided by the norms, only clamped to -1 .. 1'),
        (between_a5, 'division by sin(theta) forgotten'),
        (between_a6, 'brackets around the product of the norms forgotten'),
    ],
    'sampling.sample_safely': [
        (sample_safely_a1, 'the levels are checked inside the loop, after the denoiser was asked'),
        (sample_safely_a2, 'looks for NaN only, infinity passes'),
        (sample_safely_a3, 'raises only if all values are not finite (any instead of all)'),
        (sample_safely_a4, 'demands that the levels begin at T exactly'),
        (sample_safely_a5, 'the message does not name the level'),
        (sample_safely_a6, 'checks x after the step instead of the prediction, and names s'),
    ],
}
RIGHT = {
    'schedule.snr_db': [snr_db_a_right],
    'forward.forward_step': [forward_step_a_right],
    'forward.add_noise': [add_noise_a_right],
    'forward.jump': [jump_a_right],
    'schedule.linear_schedule': [linear_schedule_a_right],
    'schedule.cosine_schedule': [cosine_schedule_a_right],
    'schedule.betas_for': [betas_for_a_right],
    'unet.timestep_embedding': [timestep_embedding_a_right],
    'unet.attention': [attention_a_right],
    'unet.res_block': [res_block_a_right],
    'unet.space_to_depth': [space_to_depth_a_right],
    'training.diffusion_loss': [diffusion_loss_a_right],
    'training.training_step': [training_step_a_right],
    'training.EMA': [EMA_a_right],
    'training.weighted_loss': [weighted_loss_a_right],
    'sampling.predict_x_0': [predict_x_0_a_right],
    'forward.posterior': [posterior_a_right],
    'sampling.ddpm_step': [ddpm_step_a_right],
    'sampling.spaced_levels': [spaced_levels_a_right],
    'sampling.sampling_loop': [sampling_loop_a_right],
    'sampling.OnePageScheduler': [OnePageScheduler_a_right],
    'sampling.mean_from_noise': [mean_from_noise_a_right],
    'sampling.predict_noise': [predict_noise_a_right],
    'sampling.ddim_step': [ddim_step_a_right],
    'sampling.encode_step': [encode_step_a_right],
    'sampling.between': [between_a_right],
    'sampling.sample_safely': [sample_safely_a_right],
}
