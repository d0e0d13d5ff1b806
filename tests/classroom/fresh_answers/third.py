"""Answers as learners write them: per exercise four wrong ones and one right one in an unusual style."""

import copy
import functools
import math
from itertools import pairwise

import torch
import torch.nn.functional as F

from course_utils.forward import add_noise, posterior, predict_noise
from course_utils.sampling import randn_like
from course_utils.schedule import NoiseSchedule, at, rates
from course_utils.training import diffusion_loss

# ---------------------------------------------------------------- schedule.snr_db


def snr_db_w1(alpha_bar):
    return 10 * torch.log(alpha_bar / (1 - alpha_bar))


def snr_db_w2(alpha_bar):
    signal = torch.sqrt(alpha_bar)
    noise = torch.sqrt(1 - alpha_bar)
    return 10 * torch.log10(signal / noise)


def snr_db_w3(alpha_bar):
    return 10 * torch.log10(alpha_bar) / (1 - alpha_bar)


def snr_db_w4(alpha_bar):
    snr = (1 - alpha_bar) / alpha_bar
    return 10 * snr.log10()


def snr_db_r(alpha_bar):
    decibel = math.log(10) / 10
    return (alpha_bar.log() - (1 - alpha_bar).log()).div(decibel)


# ---------------------------------------------------------------- forward.forward_step


def forward_step_w1(x_prev, t, noise, schedule):
    return at(schedule.alpha.sqrt(), t, x_prev) * x_prev + at(schedule.noise_rate, t, x_prev) * noise


def forward_step_w2(x_prev, t, noise, schedule):
    keep = at(schedule.alpha.sqrt(), t, x_prev)
    dose = at(schedule.beta, t, x_prev)
    return keep * x_prev + dose * noise


def forward_step_w3(x_prev, t, noise, schedule):
    before = t - 1
    a = at(schedule.alpha.sqrt(), before, x_prev)
    b = at(schedule.beta.sqrt(), before, x_prev)
    return a * x_prev + b * noise


def forward_step_w4(x_prev, t, noise, schedule):
    a = schedule.alpha.sqrt()[t].to(x_prev).view(-1, 1, 1, 1)
    b = schedule.beta.sqrt()[t].to(x_prev).view(-1, 1, 1, 1)
    return a * x_prev + b * noise


def forward_step_r(x_prev, t, noise, schedule):
    angle = at(torch.asin(schedule.beta**0.5), t, x_prev.double())
    moved = angle.cos() * x_prev.double() + angle.sin() * noise.double()
    return moved.type_as(x_prev)


# ---------------------------------------------------------------- forward.add_noise


def add_noise_w1(x_0, t, noise, path):
    return at(path.signal_rate.sqrt(), t, x_0) * x_0 + at(path.noise_rate.sqrt(), t, x_0) * noise


def add_noise_w2(x_0, t, noise, path):
    signal = at(path.signal_rate, t, x_0)
    return signal * x_0 + (1 - signal) * noise


# Right on every path that keeps the variance, and so on all that notebook 01 knows
def add_noise_w3(x_0, t, noise, path):
    signal = at(path.signal_rate, t, x_0)
    return signal * x_0 + (1 - signal**2).sqrt() * noise


def add_noise_w4(x_0, t, noise, path):
    fresh = torch.randn_like(x_0)
    return at(path.signal_rate, t, x_0) * x_0 + at(path.noise_rate, t, x_0) * fresh


def add_noise_r(x_0, t, noise, path):
    both = torch.stack([x_0, noise])
    factors = torch.stack([at(table, t, x_0) for table in (path.signal_rate, path.noise_rate)])
    return (factors * both).sum(dim=0)


# ---------------------------------------------------------------- forward.jump


def jump_w1(x_s, s, t, noise, schedule):
    return add_noise(x_s, t - s, noise, schedule)


def jump_w2(x_s, s, t, noise, schedule):
    signal = (schedule.signal_rate[t] / schedule.signal_rate[s]).item()
    added = (schedule.noise_rate[t] ** 2 - schedule.noise_rate[s] ** 2).item()
    return signal * x_s + added**0.5 * noise


def jump_w3(x_s, s, t, noise, schedule):
    kept = (schedule.alpha_bar[t] / schedule.alpha_bar[s]).item()
    return kept * x_s + (1 - kept) * noise


def jump_w4(x_s, s, t, noise, schedule):
    kept = schedule.alpha[s:t].prod().item()
    return math.sqrt(kept) * x_s + math.sqrt(1 - kept) * noise


def jump_r(x_s, s, t, noise, schedule):
    log_kept = torch.log1p(-schedule.beta[s + 1 : t + 1]).sum()
    return x_s * torch.exp(log_kept / 2).item() + noise * torch.sqrt(-torch.expm1(log_kept)).item()


# ---------------------------------------------------------------- schedule.linear_schedule


def linear_schedule_w1(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_1, beta_T, T + 1, dtype=torch.float64)
    beta[0] = 0
    return NoiseSchedule(beta)


def linear_schedule_w2(T=1000, beta_1=1e-4, beta_T=0.02):
    return NoiseSchedule(torch.linspace(0, beta_T, T + 1, dtype=torch.float64))


def linear_schedule_w3(T=1000, beta_1=1e-4, beta_T=0.02):
    beta = torch.linspace(beta_1, beta_T, T)
    return NoiseSchedule(F.pad(beta, (1, 0)).double())


def linear_schedule_w4(T=1000, beta_1=1e-4, beta_T=0.02):
    step = (beta_T - beta_1) / T
    beta = beta_1 + step * torch.arange(T, dtype=torch.float64)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def linear_schedule_r(T=1000, beta_1=1e-4, beta_T=0.02):
    doses = [0.0, beta_1]
    for k in range(2, T + 1):
        share = (k - 1) / (T - 1)
        doses.append(beta_1 * (1 - share) + beta_T * share)
    return NoiseSchedule(torch.tensor(doses, dtype=torch.float64))


# ---------------------------------------------------------------- schedule.cosine_schedule


def cosine_schedule_w1(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2)
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_w2(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    alpha_bar = f / f[0]
    return NoiseSchedule((1 - alpha_bar).clamp(max=0.999))


def cosine_schedule_w3(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / 1 + s * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_w4(T=1000, s=0.008):
    t = torch.linspace(0, 1, T, dtype=torch.float64)
    f = torch.cos((t + s) / (1 + s) * math.pi / 2) ** 2
    f = torch.cat([torch.ones(1, dtype=torch.float64), f])
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(F.pad(beta, (1, 0)))


def cosine_schedule_r(T=1000, s=0.008):
    def f(t):
        return (1 + math.cos((t / T + s) / (1 + s) * math.pi)) / 2 if t < T else 0.0

    beta = [0.0] + [min(0.999, 1 - f(t) / f(t - 1)) for t in range(1, T + 1)]
    return NoiseSchedule(torch.as_tensor(beta, dtype=torch.double))


# ---------------------------------------------------------------- schedule.betas_for


def betas_for_w1(T):
    factor = math.sqrt(1000 / T)
    return 1e-4 * factor, 0.02 * factor


def betas_for_w2(T):
    beta = 1 - 0.04 ** (2 / T)
    return beta, beta


def betas_for_w3(T):
    return 1e-4, 40 / T


def betas_for_w4(T):
    return 1e-4 * T / 1000, 0.02 * T / 1000


def betas_for_r(T):
    low, high = 1e-4, 0.999
    for _ in range(60):
        middle = (low + high) / 2
        doses = [1e-4 + (middle - 1e-4) * k / (T - 1) for k in range(T)]
        if sum(math.log1p(-dose) for dose in doses) / 2 < math.log(0.03):
            high = middle
        else:
            low = middle
    return 1e-4, high


# ---------------------------------------------------------------- unet.timestep_embedding


def timestep_embedding_w1(t, dim):
    half = dim // 2
    dtype = t.dtype if t.is_floating_point() else torch.float32
    frequency = torch.exp(-math.log(10000) * torch.arange(half, dtype=dtype) / (half - 1))
    angle = t.to(dtype)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_w2(t, dim):
    dtype = t.dtype if t.is_floating_point() else torch.float32
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=dtype) / (dim // 2))
    angle = t.to(dtype)[:, None] * frequency
    out = torch.zeros(len(t), dim, dtype=dtype)
    out[:, 0::2] = angle.sin()
    out[:, 1::2] = angle.cos()
    return out


def timestep_embedding_w3(t, dim):
    dtype = t.dtype if t.is_floating_point() else torch.float32
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=dtype) / dim)
    angle = t.to(dtype)[:, None] * frequency[None]
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def timestep_embedding_w4(t, dim):
    frequency = 10000 ** (-torch.arange(dim // 2) / (dim // 2))
    angle = t.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def timestep_embedding_r(t, dim):
    dtype = t.dtype if t.is_floating_point() else torch.float32
    half = dim // 2
    columns = [t.double() * math.exp(-math.log(1e4) * i / half) for i in range(half)]
    rows = torch.stack([c.sin() for c in columns] + [c.cos() for c in columns])
    return rows.mT.to(dtype).contiguous()


# ---------------------------------------------------------------- unet.attention


def attention_w1(query, key, value):
    score = query @ key.transpose(-1, -2) / query.shape[-1]
    return score.softmax(dim=-1) @ value


def attention_w2(query, key, value):
    score = query @ key.transpose(-1, -2) / math.sqrt(value.shape[-1])
    return score.softmax(dim=-1) @ value


def attention_w3(query, key, value):
    score = (query @ key.transpose(-1, -2)) / query.shape[-1] ** 0.5
    weights = torch.exp(score)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights @ value


def attention_w4(query, key, value):
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return score.softmax(dim=-2) @ value


def attention_r(query, key, value):
    score = torch.einsum("bhid,bhjd->bhji", query, key).mul(query.size(3) ** -0.5)
    weights = torch.exp(score - score.logsumexp(2, keepdim=True))
    return torch.einsum("bhji,bhjv->bhiv", weights, value)


# ---------------------------------------------------------------- unet.res_block


def res_block_w1(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = h + time(embedding)[:, :, None, None]
    h = conv2(F.silu(norm2(h)))
    return h + skip(x)


def res_block_w2(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = norm2(h) + time(F.silu(embedding))[:, :, None, None]
    return skip(x) + conv2(F.silu(h))


def res_block_w3(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    x = norm1(x)
    h = conv1(F.silu(x))
    h = h + time(F.silu(embedding))[:, :, None, None]
    return skip(x) + conv2(F.silu(norm2(h)))


def res_block_w4(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(norm1(F.silu(x)))
    h = h + time(F.silu(embedding))[..., None, None]
    h = conv2(norm2(F.silu(h)))
    return h + skip(x)


def res_block_r(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    out = skip(x)
    shift = time(embedding * torch.sigmoid(embedding))
    middle = torch.einsum("bchw->hwbc", conv1(F.silu(norm1(x)))) + shift
    return torch.add(conv2(F.silu(norm2(middle.permute(2, 3, 0, 1)))), out)


# ---------------------------------------------------------------- unet.space_to_depth


def space_to_depth_w1(x, patch):
    B, C, H, W = x.shape
    x = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_w2(x, patch):
    B, C, H, W = x.shape
    x = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 1, 5, 3, 2, 4).reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_w3(x, patch):
    B, C, H, W = x.shape
    x = x.reshape(B, C, patch, H // patch, patch, W // patch)
    return x.permute(0, 1, 2, 4, 3, 5).reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_w4(x, patch):
    B, C, H, W = x.shape
    return x.reshape(B, C * patch**2, H // patch, W // patch)


def space_to_depth_r(x, patch):
    places = [x[:, :, row::patch, column::patch] for row in range(patch) for column in range(patch)]
    return torch.stack(places, dim=2).flatten(1, 2)


# ---------------------------------------------------------------- training.diffusion_loss


def diffusion_loss_w1(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return (model(x_t, t) - noise).square().flatten(1).sum(dim=1).mean()


def diffusion_loss_w2(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_t, t), x_t - x_0)


def diffusion_loss_w3(model, x_0, t, noise, path):
    noise = torch.randn_like(x_0)
    x_t = add_noise(x_0, t, noise, path)
    return F.mse_loss(model(x_t, t), noise)


def diffusion_loss_w4(model, x_0, t, noise, path):
    x_t = add_noise(x_0, t, noise, path)
    noise_hat = model(x_t, t)
    return (noise_hat - noise).square().mean().sqrt()


def diffusion_loss_r(model, x_0, t, noise, path):
    error = torch.sub(noise, model(add_noise(x_0, t, noise, path), t)).reshape(-1)
    return error.dot(error) / error.numel()


# ---------------------------------------------------------------- training.training_step


def training_step_w1(model, x_0, path, optimizer):
    t = torch.randint(1, path.T, (x_0.shape[0],), device=x_0.device)
    noise = torch.randn_like(x_0)
    loss = diffusion_loss(model, x_0, t, noise, path)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_w2(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (len(x_0),))
    noise = torch.randn_like(x_0)
    loss = diffusion_loss(model, x_0, t, noise, path)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.detach()


def training_step_w3(model, x_0, path, optimizer):
    t = torch.randint(1, path.T + 1, (1,)).expand(len(x_0))
    noise = torch.randn_like(x_0)
    optimizer.zero_grad()
    loss = diffusion_loss(model, x_0, t, noise, path)
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_w4(model, x_0, path, optimizer):
    t = torch.randint(0, path.T, (len(x_0),))
    noise = torch.rand_like(x_0)
    optimizer.zero_grad()
    loss = diffusion_loss(model, x_0, t, noise, path)
    loss.backward()
    optimizer.step()
    return loss.detach()


def training_step_r(model, x_0, path, optimizer):
    kept = []

    def closure():
        optimizer.zero_grad(set_to_none=True)
        levels = 1 + torch.floor(path.T * torch.rand(x_0.shape[0], dtype=torch.float64)).long()
        value = diffusion_loss(model, x_0, levels.to(x_0.device), torch.empty_like(x_0).normal_(), path)
        value.backward()
        kept.append(value.detach().clone())
        return value

    optimizer.step(closure)
    return kept[0]


# ---------------------------------------------------------------- training.EMA


class EMA_w1:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
        self.updates += 1


class EMA_w2:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        self.updates += 1
        decay = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.mul_(decay).add_(weight * (1 - decay))
        for average, buffer in zip(self.model.buffers(), model.buffers()):
            average.copy_(buffer)


class EMA_w3:
    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model)
        for p in self.model.parameters():
            p.requires_grad = False
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model):
        d = min(self.decay, (self.updates + 1) / (self.updates + 10))
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.copy_(d * average + (1 - d) * weight)
        self.updates += 1


class EMA_w4:
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


class EMA_r:
    def __init__(self, model, decay=0.999):
        self.model, self.decay, self.updates = copy.deepcopy(model), decay, 0
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)

    def update(self, model):
        n, self.updates = self.updates, self.updates + 1
        new = 1 - min(self.decay, 1 - 9 / (n + 10))
        theirs = dict(model.named_parameters())
        for name, mine in self.model.named_parameters():
            mine.data += new * (theirs[name].detach() - mine.data)
        theirs = dict(model.named_buffers())
        for name, mine in self.model.named_buffers():
            mine.data.copy_(theirs[name].detach())


# ---------------------------------------------------------------- training.weighted_loss


def weighted_loss_w1(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(max=5), t, x_0)
    return (weight * (model(x_t, t) - noise).square()).mean()


def weighted_loss_w2(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(max=5) / schedule.snr, t, x_0)
    return weight.mean() * F.mse_loss(model(x_t, t), noise)


def weighted_loss_w3(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(min=5) / schedule.snr, t, x_0)
    return (weight * (model(x_t, t) - noise) ** 2).mean()


def weighted_loss_w4(model, x_0, t, noise, schedule):
    x_t = add_noise(x_0, t, noise, schedule)
    weight = at(schedule.snr.clamp(max=5) / schedule.snr, t, x_0)
    return F.mse_loss(weight * model(x_t, t), weight * noise)


def weighted_loss_r(model, x_0, t, noise, schedule):
    answer = model(add_noise(x_0, t, noise, schedule), t)
    each = F.mse_loss(answer, noise, reduction="none").reshape(len(x_0), -1).mean(dim=1)
    relative = 5 * schedule.noise_rate[t.cpu()] ** 2 / schedule.signal_rate[t.cpu()] ** 2
    return torch.mean(relative.clamp(max=1).to(each) * each)


# ---------------------------------------------------------------- sampling.predict_x_0


def predict_x_0_w1(x_t, t, noise_hat, path):
    return x_t - at(path.noise_rate, t, x_t) * noise_hat / at(path.signal_rate, t, x_t)


def predict_x_0_w2(x_t, t, noise_hat, path):
    x_0 = (x_t - at(path.noise_rate, t, x_t) * noise_hat) / at(path.signal_rate, t, x_t)
    return x_0.clamp(-1, 1)


def predict_x_0_w3(x_t, t, noise_hat, path):
    signal = at(path.signal_rate, t, x_t)
    return (x_t - (1 - signal).sqrt() * noise_hat) / signal.sqrt()


def predict_x_0_w4(x_t, t, noise_hat, path):
    return (x_t - noise_hat) / at(path.signal_rate, t, x_t)


def predict_x_0_r(x_t, t, noise_hat, path):
    signal, noise = rates(path, t, x_t)
    return torch.addcmul(x_t.double(), noise, noise_hat.double(), value=-1).div(signal).to(x_t.dtype)


# ---------------------------------------------------------------- forward.posterior


def posterior_w1(x_0, x_t, t, path, s=None):
    s = s or t - 1
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).to(x_t)


def posterior_w2(x_0, x_t, t, path, s=None):
    if s is None:
        s = t - 1
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, (added * noise_s**2 / noise_t**2).to(x_t)


def posterior_w3(x_0, x_t, t, path, s=None):
    if s is None:
        s = t - 1
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    mean = (signal_s * added / noise_t**2).to(x_0) * x_0 + (r * noise_s**2 / noise_t**2).to(x_t) * x_t
    return mean, added.to(x_t)


def posterior_w4(x_0, x_t, t, path, s=None):
    if s is None:
        s = t - 1
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, s, x_t)
    r = signal_t / signal_s
    added = noise_t**2 - r**2 * noise_s**2
    x_0_share = signal_s * added / noise_t**2
    x_t_share = r * noise_s / noise_t
    variance = added * noise_s**2 / noise_t**2
    return x_0_share.to(x_0) * x_0 + x_t_share.to(x_t) * x_t, variance.to(x_t)


def posterior_r(x_0, x_t, t, path, s=None):
    # as a Kalman filter does it: correct the guess signal_s x_0 by the surprise in x_t
    (signal_t, noise_t), (signal_s, noise_s) = (rates(path, u, x_t) for u in (t, t - 1 if s is None else s))
    r = signal_t / signal_s
    gain = r * noise_s.square() / noise_t.square()
    mean = signal_s * x_0.double() + gain * (x_t.double() - signal_t * x_0.double())
    return mean.to(x_0.dtype), ((1 - gain * r) * noise_s.square()).to(x_t.dtype)


# ---------------------------------------------------------------- sampling.ddpm_step


def ddpm_step_w1(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance * randn_like(x_t, generator)


def ddpm_step_w2(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path)
    return mean + variance.sqrt() * randn_like(x_t, generator)


def ddpm_step_w3(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_t, x_0_hat, t, path, s)
    return mean + variance.sqrt() * randn_like(x_t, generator)


def ddpm_step_w4(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance.sqrt() * randn_like(x_t[:1], generator)


def ddpm_step_r(x_t, x_0_hat, t, s, path, generator=None):
    z = randn_like(x_t, generator)
    signal_t, noise_t, signal_s, noise_s = (
        float(table[level]) for level in (t, s) for table in (path.signal_rate, path.noise_rate)
    )
    kept = (signal_t / signal_s * noise_s / noise_t) ** 2  # squared correlation of the two noises
    known = signal_s * (1 - kept) * x_0_hat
    if s == 0:
        return known
    return known + kept * signal_s / signal_t * x_t + noise_s * math.sqrt(1 - kept) * z


# ---------------------------------------------------------------- sampling.spaced_levels


def spaced_levels_w1(path, num_steps):
    T = len(path.signal_rate) - 1
    return torch.linspace(T, 0, num_steps, dtype=torch.float64).round().int().tolist()


def spaced_levels_w2(path, num_steps):
    T = len(path.signal_rate) - 1
    return torch.linspace(T, 0, num_steps + 1, dtype=torch.float64).int().tolist()


def spaced_levels_w3(path, num_steps):
    T = len(path.signal_rate)
    return torch.linspace(T, 0, num_steps + 1, dtype=torch.float64).round().int().tolist()


def spaced_levels_w4(path, num_steps):
    T = len(path.signal_rate) - 1
    return list(range(T, 0, -(T // num_steps))) + [0]


def spaced_levels_r(path, num_steps):
    T = path.noise_rate.numel() - 1
    return sorted((round(T * k / num_steps) for k in range(num_steps + 1)), reverse=True)


# ---------------------------------------------------------------- sampling.sampling_loop


def sampling_loop_w1(denoise, x_T, path, levels, step):
    x = x_T
    for t in levels[:-1]:
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, t - 1, path)
    return x


def sampling_loop_w2(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, s)
        x = step(x, x_0_hat, t, s, path)
    return x


def sampling_loop_w3(denoise, x_T, path, levels, step):
    x = x_T
    for i in range(len(levels) - 2):
        t, s = levels[i], levels[i + 1]
        x = step(x, denoise(x, t), t, s, path)
    return x


def sampling_loop_w4(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, path)
    return x_0_hat


def sampling_loop_r(denoise, x_T, path, levels, step):
    return functools.reduce(
        lambda x, pair: step(x, denoise(x, pair[0]), *pair, path), zip(levels[:-1], levels[1:], strict=True), x_T
    )


# ---------------------------------------------------------------- sampling.OnePageScheduler


class _OnePage:
    """As it stands in the notebook, without `mean`: every answer below brings its own."""

    def __init__(self, T=1000, beta_1=1e-4, beta_T=0.02):
        self.T = T
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

    def step(self, noise_hat, t, x_t):
        return self.mean(noise_hat, t, x_t) + self.variance(t).sqrt() * torch.randn_like(x_t)


class OnePageScheduler_w1(_OnePage):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar[t - 1].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_w2(_OnePage):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar_before(t) * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_w3(_OnePage):
    def variance(self, t):
        return self.beta[t]

    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar[t].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_w4(_OnePage):
    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha_bar[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t


class OnePageScheduler_r(_OnePage):
    def mean(self, noise_hat, t, x_t):
        push = (1 - self.alpha[t]) / (1 - self.alpha_bar[t]) ** 0.5
        return (x_t - push * noise_hat) * self.alpha[t].rsqrt()


# ---------------------------------------------------------------- sampling.mean_from_noise


def mean_from_noise_w1(x_t, noise_hat, t, schedule):
    factor = at(schedule.beta / schedule.noise_rate, t, x_t)
    return (x_t - factor * noise_hat) / at(schedule.signal_rate, t, x_t)


def mean_from_noise_w2(x_t, noise_hat, t, schedule):
    factor = at(schedule.beta / (1 - schedule.alpha_bar), t, x_t)
    return (x_t - factor * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_w3(x_t, noise_hat, t, schedule):
    factor = at(schedule.beta / schedule.noise_rate, t, x_t)
    return 1 / at(schedule.alpha.sqrt(), t, x_t) * x_t - factor * noise_hat


def mean_from_noise_w4(x_t, noise_hat, t, schedule):
    factor = at(schedule.beta.sqrt() / schedule.noise_rate, t, x_t)
    return (x_t - factor * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_from_noise_r(x_t, noise_hat, t, schedule):
    signal, noise = rates(schedule, t, x_t)
    before, _ = rates(schedule, t - 1, x_t)
    r = signal / before
    return (x_t / r + noise_hat * ((r - 1 / r) / noise)).to(x_t.dtype)


# ---------------------------------------------------------------- sampling.predict_noise


def predict_noise_w1(x_t, t, x_0_hat, path):
    return (x_t - x_0_hat) / at(path.noise_rate, t, x_t)


def predict_noise_w2(x_t, t, x_0_hat, path):
    return x_t - at(path.signal_rate, t, x_t) * x_0_hat / at(path.noise_rate, t, x_t)


def predict_noise_w3(x_t, t, x_0_hat, path):
    return (x_t - at(path.noise_rate, t, x_t) * x_0_hat) / at(path.signal_rate, t, x_t)


def predict_noise_w4(x_t, t, x_0_hat, path):
    signal = at(path.signal_rate, t, x_t)
    return (x_t - signal * x_0_hat) / (1 - signal**2)


def predict_noise_r(x_t, t, x_0_hat, path):
    signal, noise = rates(path, t, x_t)
    return torch.lerp(x_t.double(), x_t.double() - x_0_hat, signal).div_(noise).to(x_t.dtype)


# ---------------------------------------------------------------- sampling.ddim_step


def ddim_step_w1(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_s * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_w2(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s) ** 2 * noise_s**2
    sigma = eta * added * noise_s**2 / noise_t**2
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_left * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_w3(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = added**0.5 * noise_s / noise_t
    noise_left = max(noise_s**2 - sigma**2, 0) ** 0.5
    noise_hat = (x_t - signal_t * x_0_hat) / noise_t
    return signal_s * x_0_hat + noise_left * noise_hat + eta * sigma * randn_like(x_t, generator)


def ddim_step_w4(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()
    signal_s, noise_s = path.signal_rate[s].item(), path.noise_rate[s].item()
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    sigma = eta * added**0.5 * noise_s / noise_t
    noise_left = max(noise_s - sigma, 0)
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return signal_s * x_0_hat + noise_left * noise_hat + sigma * randn_like(x_t, generator)


def ddim_step_r(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    noise_s = float(path.noise_rate[s])
    r = float(path.signal_rate[t] / path.signal_rate[s])
    of_variance = eta**2 * (1 - (r * noise_s / float(path.noise_rate[t])) ** 2)  # share of it that is fresh
    found = predict_noise(x_t, t, x_0_hat, path)
    if eta > 0:
        mixed = math.sqrt(max(0.0, 1 - of_variance)) * found
        found = mixed + math.sqrt(max(0.0, of_variance)) * randn_like(x_t, generator)
    return add_noise(x_0_hat, s, found, path)


# ---------------------------------------------------------------- sampling.encode_step


def encode_step_w1(x_t, x_0_hat, t, s, path):
    return add_noise(x_0_hat, s, torch.randn_like(x_t), path)


def encode_step_w2(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, s, x_0_hat, path)
    return add_noise(x_0_hat, s, noise_hat, path)


def encode_step_w3(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return add_noise(x_t, s, noise_hat, path)


def encode_step_w4(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    r = (path.signal_rate[s] / path.signal_rate[t]).item()
    added = (path.noise_rate[s] ** 2 - r**2 * path.noise_rate[t] ** 2).item()
    return r * x_t + added**0.5 * noise_hat


def encode_step_r(x_t, x_0_hat, t, s, path):
    grow = (path.noise_rate[s] / path.noise_rate[t]).item()
    return grow * x_t + (path.signal_rate[s] - grow * path.signal_rate[t]).item() * x_0_hat


# ---------------------------------------------------------------- sampling.between


def between_w1(a, b, share):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return ((share * theta).sin() * a + ((1 - share) * theta).sin() * b) / theta.sin()


def between_w2(a, b, share):
    a_unit, b_unit = a / a.norm(), b / b.norm()
    theta = torch.acos((a_unit * b_unit).sum())
    return (((1 - share) * theta).sin() * a_unit + (share * theta).sin() * b_unit) / theta.sin()


def between_w3(a, b, share):
    cosine = (a * b).sum(dim=-1, keepdim=True) / (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True))
    theta = torch.acos(cosine)
    return (((1 - share) * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def between_w4(a, b, share):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return ((1 - share) * theta).sin() * a + (share * theta).sin() * b / theta.sin()


def between_r(a, b, share):
    p, q = a.double().reshape(-1), b.double().reshape(-1)
    cosine = F.cosine_similarity(p, q, dim=0).item()
    sine = math.sqrt(1 - cosine**2)
    theta = math.atan2(sine, cosine)
    of_b = math.sin(share * theta) / sine
    of_a = math.cos(share * theta) - of_b * cosine
    return (of_a * p + of_b * q).reshape(a.shape).to(a.dtype)


# ---------------------------------------------------------------- sampling.sample_safely


def sample_safely_w1(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0:
        raise ValueError(f"these levels make no sense: {levels}")
    if any(s >= t for t, s in pairwise(levels)):
        raise ValueError(f"the levels must fall at every step: {levels}")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if x_0_hat.isnan().any():
            raise ValueError(f"the prediction at t = {t} is not finite")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_w2(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0:
        raise ValueError("levels must begin at T or below and end at 0")
    if list(levels) != sorted(levels, reverse=True):
        raise ValueError("levels must fall")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not torch.isfinite(x_0_hat).all():
            raise ValueError(f"prediction at level {t} is not finite")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_w3(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T or levels[-1] != 0:
        raise ValueError("bad levels")
    x = x_T
    for t, s in pairwise(levels):
        if s >= t:
            raise ValueError(f"levels must fall, but {s} follows {t}")
        x_0_hat = denoise(x, t)
        if not x_0_hat.isfinite().all():
            raise ValueError(f"not finite at t = {t}")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_w4(denoise, x_T, path, levels, step):
    falls = all(t > s for t, s in pairwise(levels))
    if len(levels) < 2 or levels[0] != path.T or levels[-1] != 0 or not falls:
        raise ValueError(f"levels must fall from {path.T} to 0")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not torch.isfinite(x_0_hat).any():
            raise ValueError(f"the prediction at level {t} is not finite")
        x = step(x, x_0_hat, t, s, path)
    return x


def sample_safely_r(denoise, x_T, path, levels, step):
    match list(levels):
        case [first, *_, 0] as walk if first <= path.T and walk == sorted(set(walk), reverse=True):
            pass
        case _:
            raise ValueError(f"no walk down: {levels}")

    def careful(x, t):
        guess = denoise(x, t)
        if bool((~torch.isfinite(guess)).count_nonzero()):
            raise ValueError(f"At level t = {t} the denoiser's prediction is not finite.")
        return guess

    return functools.reduce(lambda x, pair: step(x, careful(x, pair[0]), *pair, path), pairwise(walk), x_T)


WRONG = {
    "schedule.snr_db": [
        (snr_db_w1, "The natural logarithm in place of the one to base 10."),
        (snr_db_w2, "The ratio of the rates (roots) in place of the ratio of variances, so half the decibels."),
        (snr_db_w3, "The bracket closes too early: only alpha_bar is in the logarithm, divided by 1 - alpha_bar outside."),
        (snr_db_w4, "The ratio is upside down, noise over picture, so the sign is wrong."),
    ],
    "forward.forward_step": [
        (forward_step_w1, "The noise gets noise_rate (all noise up to t) in place of sqrt(beta)."),
        (forward_step_w2, "The root of beta is forgotten."),
        (forward_step_w3, "Takes the dose of level t - 1 in place of t."),
        (forward_step_w4, "view(-1, 1, 1, 1) fits pictures of four dimensions only, other shapes come out wrong."),
    ],
    "forward.add_noise": [
        (add_noise_w1, "Takes the root of the rates once more, which are roots already."),
        (add_noise_w2, "Noise factor 1 - signal_rate in place of noise_rate."),
        (add_noise_w4, "Draws noise of its own and ignores the one it was handed."),
    ],
    "forward.jump": [
        (jump_w1, "Treats the jump from s to t as one from 0 to t - s, as if the doses were all alike."),
        (jump_w2, "The added variance is noise_t^2 - noise_s^2; that old noise shrinks (r^2) is forgotten."),
        (jump_w3, "Both roots are forgotten: share of variance used as factor of amplitude."),
        (jump_w4, "Off by one: product of alpha over s .. t - 1 in place of s + 1 .. t."),
    ],
    "schedule.linear_schedule": [
        (linear_schedule_w1, "linspace with T + 1 points and the first overwritten by 0, so beta[1] is not beta_1."),
        (linear_schedule_w2, "Starts the even spacing at 0 in place of beta_1; beta_1 is ignored."),
        (linear_schedule_w3, "The doses are worked out in float32 and turned into float64 too late."),
        (linear_schedule_w4, "The spacing divides by T in place of T - 1, so the last dose falls short of beta_T."),
    ],
    "schedule.cosine_schedule": [
        (cosine_schedule_w1, "The cosine is not squared."),
        (cosine_schedule_w2, "Takes 1 - alpha_bar for the dose, in place of 1 - f(t) / f(t - 1)."),
        (cosine_schedule_w3, "Brackets around 1 + s are missing: divided by 1, and s times pi / 2 added."),
        (cosine_schedule_w4, "f has T points from 0 to 1 with an extra 1 in front, so the grid is off by one."),
    ],
    "schedule.betas_for": [
        (betas_for_w1, "Scales the doses by the root of 1000 / T, too little for small T, so too much picture is left."),
        (betas_for_w2, "Constant doses leave little enough, but for small T the first is above 0.1."),
        (betas_for_w3, "The last dose is 40 / T, which is 1 or more for T up to 40."),
        (betas_for_w4, "Scales the wrong way round, with T / 1000: fewer steps get smaller doses."),
    ],
    "unet.timestep_embedding": [
        (timestep_embedding_w1, "Divides the exponent by d/2 - 1 in place of d/2."),
        (timestep_embedding_w2, "Sines and cosines alternate, in place of all sines first."),
        (timestep_embedding_w3, "Divides the exponent by d in place of d/2, so frequencies fall to 1/100 only."),
        (timestep_embedding_w4, "Always float32, even where t is float64."),
    ],
    "unet.attention": [
        (attention_w1, "Divides by d in place of its root."),
        (attention_w2, "Takes d from value, not from query and key."),
        (attention_w3, "A softmax by hand without subtracting the maximum: overflows (NaN) with large scores."),
        (attention_w4, "Softmax over the queries (dim=-2) in place of the keys."),
    ],
    "unet.res_block": [
        (res_block_w1, "SiLU of the embedding is forgotten."),
        (res_block_w2, "Adds the time after norm2 in place of right after conv1."),
        (res_block_w3, "x is overwritten by norm1(x), so the skip gets the normed x."),
        (res_block_w4, "SiLU and norm in the wrong order, in both halves."),
    ],
    "unet.space_to_depth": [
        (space_to_depth_w1, "Places come first and channels second (place-major order)."),
        (space_to_depth_w2, "Within a square the places go column by column."),
        (space_to_depth_w3, "Splits H into (patch, H / patch) in place of (H / patch, patch): blocks, not places of a square."),
        (space_to_depth_w4, "Only reshape: the shape is right, the order is not."),
    ],
    "training.diffusion_loss": [
        (diffusion_loss_w1, "Sum over the pixels, mean over the batch only."),
        (diffusion_loss_w2, "Target is x_t - x_0 in place of the noise."),
        (diffusion_loss_w3, "Draws its own noise, in place of the one handed over."),
        (diffusion_loss_w4, "Takes the root of the mean squared error."),
    ],
    "training.training_step": [
        (training_step_w1, "randint(1, T) leaves out level T."),
        (training_step_w2, "zero_grad between backward and step: the gradients are gone before the step."),
        (training_step_w3, "One level for the whole batch."),
        (training_step_w4, "Two at once: levels 0 .. T - 1, and uniform noise (rand) in place of normal."),
    ],
    "training.EMA": [
        (EMA_w1, "lerp with decay in place of 1 - decay: shares of old and new swapped."),
        (EMA_w2, "Counts the update before the decay is worked out (n + 1 in place of n)."),
        (EMA_w3, "Buffers are not copied."),
        (EMA_w4, "max in place of min, so that the decay never starts low."),
    ],
    "training.weighted_loss": [
        (weighted_loss_w1, "The factor is min(SNR, 5), not divided by SNR."),
        (weighted_loss_w2, "Mean factor times mean error, in place of the mean of the products."),
        (weighted_loss_w3, "clamp(min=5) in place of max=5: max(SNR, 5) / SNR."),
        (weighted_loss_w4, "The factor is inside the square, so it counts squared."),
    ],
    "sampling.predict_x_0": [
        (predict_x_0_w1, "Brackets missing: only the noise is divided by the signal rate."),
        (predict_x_0_w2, "Clamps to -1 .. 1, which was not asked for."),
        (predict_x_0_w3, "Takes signal_rate for alpha_bar: roots of signal and 1 - signal."),
        (predict_x_0_w4, "The noise is subtracted without its rate."),
    ],
    "forward.posterior": [
        (posterior_w1, "`s or t - 1`: s = 0 counts as not given (and tensors fail)."),
        (posterior_w2, "added without r^2: noise_t^2 - noise_s^2."),
        (posterior_w3, "The variance is `added` (beta), without noise_s^2 / noise_t^2."),
        (posterior_w4, "The share of x_t has noise_s / noise_t without the squares."),
    ],
    "sampling.ddpm_step": [
        (ddpm_step_w1, "The root of the variance is forgotten."),
        (ddpm_step_w2, "s is not handed on to posterior, so it always goes to t - 1."),
        (ddpm_step_w3, "x_t and x_0_hat are swapped in the call of posterior."),
        (ddpm_step_w4, "The same noise for every item of the batch."),
    ],
    "sampling.spaced_levels": [
        (spaced_levels_w1, "num_steps levels in place of num_steps + 1."),
        (spaced_levels_w2, "Cuts off in place of rounding."),
        (spaced_levels_w3, "T is the length of the table, one too many."),
        (spaced_levels_w4, "range with whole steps T // num_steps: too many, uneven levels where T doesn't divide."),
    ],
    "sampling.sampling_loop": [
        (sampling_loop_w1, "Always steps to t - 1, though levels may skip."),
        (sampling_loop_w2, "Asks the denoiser with the level s in place of t."),
        (sampling_loop_w3, "Off by one: the last step is missing."),
        (sampling_loop_w4, "Returns the last prediction in place of the last x."),
    ],
    "sampling.OnePageScheduler": [
        (OnePageScheduler_w1, "alpha_bar[t - 1] in the mean without the special case: at t = 0 it takes the last entry."),
        (OnePageScheduler_w2, "The right index, but the root is gone: alpha_bar_before(t) in place of its root."),
        (OnePageScheduler_w3, "Changes the variance to beta and leaves the bug in the mean."),
        (OnePageScheduler_w4, "Bug mended, but alpha turned into alpha_bar in the share of x_t as well."),
    ],
    "sampling.mean_from_noise": [
        (mean_from_noise_w1, "Divides by sqrt(alpha_bar) in place of sqrt(alpha)."),
        (mean_from_noise_w2, "Root of 1 - alpha_bar is forgotten."),
        (mean_from_noise_w3, "Brackets missing: 1 / sqrt(alpha) goes to x_t only."),
        (mean_from_noise_w4, "sqrt(beta) in place of beta."),
    ],
    "sampling.predict_noise": [
        (predict_noise_w1, "The picture is subtracted without its signal rate."),
        (predict_noise_w2, "Brackets missing: only the picture is divided by the noise rate."),
        (predict_noise_w3, "The two tables are swapped."),
        (predict_noise_w4, "Divides by the noise's variance 1 - signal^2, without the root."),
    ],
    "sampling.ddim_step": [
        (ddim_step_w1, "The old noise keeps the full noise_s, sigma^2 is not taken off."),
        (ddim_step_w2, "sigma is eta times the variance, the root is forgotten."),
        (ddim_step_w3, "eta is missing in the share of the old noise: always that of eta = 1."),
        (ddim_step_w4, "noise_s - sigma in place of the root of the difference of squares."),
    ],
    "sampling.encode_step": [
        (encode_step_w1, "Fresh noise in place of the noise that was found."),
        (encode_step_w2, "Works out the noise at level s in place of t."),
        (encode_step_w3, "Mixes x_t in place of the predicted picture with the noise."),
        (encode_step_w4, "A forward jump from x_t with the found noise: as if it were independent of that in x_t."),
    ],
    "sampling.between": [
        (between_w1, "share and 1 - share are swapped: 0 gives b."),
        (between_w2, "Mixes the unit vectors: the length of a and b is lost."),
        (between_w3, "The angle is worked out row by row (last axis), not over all values."),
        (between_w4, "Brackets missing: only b's part is divided by sin(theta)."),
    ],
    "sampling.sample_safely": [
        (sample_safely_w1, "Tests for NaN only, infinity passes."),
        (sample_safely_w2, "A level may occur twice: sorted doesn't notice equal ones."),
        (sample_safely_w3, "Whether the levels fall is tested on the way, when the denoiser has been asked already."),
        (sample_safely_w4, "Two at once: refuses walks that begin below T, and any in place of all finite values."),
    ],
}

RIGHT = {
    "schedule.snr_db": [snr_db_r],
    "forward.forward_step": [forward_step_r],
    "forward.add_noise": [add_noise_r],
    "forward.jump": [jump_r],
    "schedule.linear_schedule": [linear_schedule_r],
    "schedule.cosine_schedule": [cosine_schedule_r],
    "schedule.betas_for": [betas_for_r],
    "unet.timestep_embedding": [timestep_embedding_r],
    "unet.attention": [attention_r],
    "unet.res_block": [res_block_r],
    "unet.space_to_depth": [space_to_depth_r],
    "training.diffusion_loss": [diffusion_loss_r],
    "training.training_step": [training_step_r],
    "training.EMA": [EMA_r],
    "training.weighted_loss": [weighted_loss_r],
    "sampling.predict_x_0": [predict_x_0_r],
    "forward.posterior": [posterior_r],
    "sampling.ddpm_step": [ddpm_step_r],
    "sampling.spaced_levels": [spaced_levels_r],
    "sampling.sampling_loop": [sampling_loop_r],
    "sampling.OnePageScheduler": [OnePageScheduler_r],
    "sampling.mean_from_noise": [mean_from_noise_r],
    "sampling.predict_noise": [predict_noise_r],
    "sampling.ddim_step": [ddim_step_r],
    "sampling.encode_step": [encode_step_r],
    "sampling.between": [between_r],
    "sampling.sample_safely": [sample_safely_r],
}
