"""Right answers to the exercises on training, in other styles than the finished versions."""

import copy

import torch

from course_utils.forward import add_noise
from course_utils.training import diffusion_loss


def loss_by_einsum(model, x_0, t, noise, schedule):
    error = (model(add_noise(x_0, t, noise, schedule), t) - noise).flatten()
    return torch.einsum("i,i->", error, error) / error.numel()


def loss_image_by_image(net, clean, levels, eps, tables):
    shape = (-1,) + (1,) * (clean.ndim - 1)
    keep = tables.alpha_bar[levels].view(shape).to(clean.dtype)
    guess = net(keep**0.5 * clean + (1 - keep) ** 0.5 * eps, levels)
    return torch.stack([((a - b) ** 2).mean() for a, b in zip(guess, eps, strict=True)]).mean()


def step_in_another_order(model, x_0, schedule, optimizer):
    noise = torch.normal(0.0, 1.0, x_0.shape)
    t = (torch.rand(x_0.shape[0]) * schedule.T).floor().long() + 1
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None
    loss = diffusion_loss(model, x_0, t, noise, schedule)
    loss.backward()
    optimizer.step()
    return float(loss)


def step_with_set_to_zero(net, batch, tables, opt):
    levels = torch.multinomial(torch.ones(tables.T), len(batch), replacement=True) + 1
    eps = torch.empty_like(batch).normal_()
    opt.zero_grad(set_to_none=False)
    difference = net(add_noise(batch, levels, eps, tables), levels) - eps
    error = difference.pow(2).mean()
    error.backward()
    opt.step()
    return error.detach().item()


class AverageOfState:
    """Through the state dict, in float64."""

    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.updates = decay, 0

    def update(self, model):
        n = self.updates
        d = min(self.decay, (n + 1) / (n + 10))
        mine, trained = self.model.state_dict(), dict(model.named_parameters())
        for name, value in model.state_dict().items():
            new = (d * mine[name].double() + (1 - d) * value.double()).to(value.dtype) if name in trained else value
            mine[name].copy_(new)
        self.updates += 1


class AverageInLists:
    def __init__(self, network, decay=0.999):
        self.model, self.d_max, self.updates = copy.deepcopy(network), decay, 0
        for weight in self.model.parameters():
            weight.requires_grad = False

    def update(self, network):
        share = min(self.d_max, (1 + self.updates) / (10 + self.updates))
        for old, new in zip(self.model.parameters(), network.parameters(), strict=True):
            old.mul_(share).add_(new.detach(), alpha=1 - share)
        for old, new in zip(self.model.buffers(), network.buffers(), strict=True):
            old.data = new.detach().clone()
        self.updates = self.updates + 1


def weight_by_minimum(t, schedule, limit):
    return torch.minimum(torch.ones(len(t)), limit * (1 - schedule.alpha_bar[t]) / schedule.alpha_bar[t])


def weight_by_loop(t, schedule, limit):
    values = [schedule.snr[level].item() for level in t]
    return torch.tensor([min(value, limit) / value for value in values])


ANSWERS = {
    "training.diffusion_loss": [loss_by_einsum, loss_image_by_image],
    "training.training_step": [step_in_another_order, step_with_set_to_zero],
    "training.EMA": [AverageOfState, AverageInLists],
    "training.min_snr_weight": [weight_by_minimum, weight_by_loop],
}
