"""Right answers to the exercises on training, in other styles than the finished versions."""

import copy
import random

import numpy
import torch

from course_utils.forward import add_noise
from course_utils.training import EMA, diffusion_loss, training_step


def step_noise_first(model, batch, path, opt):
    """The noise is drawn before the levels, from the other libraries, and the gradients are set by hand."""
    eps = torch.from_numpy(numpy.random.standard_normal(batch.shape)).to(batch)
    t = torch.tensor([random.randint(1, path.T) for _ in batch])
    loss = (model(add_noise(batch, t, eps, path), t) - eps).pow(2).mean()
    parameters = list(model.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    opt.step()
    return loss.item()


def step_with_closure(model, x_0, path, optimizer):
    model.train()
    level = (torch.rand(x_0.shape[0]) * path.T).floor().long() + 1
    noise = torch.normal(torch.zeros_like(x_0), 1.0)

    def closure():
        optimizer.zero_grad(set_to_none=False)
        loss = diffusion_loss(model, x_0, level, noise, path)
        loss.backward()
        return loss

    return optimizer.step(closure).item()


def step_in_parts(model, x_0, path, optimizer):
    """The batch in four parts, whose gradients add up, with antithetic levels."""
    optimizer.zero_grad()
    t = torch.randint(path.T, (len(x_0) // 2,)) + 1
    t = torch.cat([t, path.T + 1 - t])
    total = 0.0
    for part, levels in zip(x_0.chunk(4), t.chunk(4), strict=True):
        loss = diffusion_loss(model, part, levels, torch.randn(part.shape), path) / 4
        loss.backward()
        total += loss.detach().item()
    optimizer.step()
    return numpy.float64(total)


class EMAByNames:
    """Keeps the averages in a dictionary, and loads them into the copy."""

    def __init__(self, model, decay=0.999):
        self.model = copy.deepcopy(model)
        for parameter in self.model.parameters():
            parameter.requires_grad = False
        self.limit, self.updates = decay, 0
        self.shadow = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def update(self, model):
        keep = min(self.limit, (1 + self.updates) / (10 + self.updates))
        state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        for name in self.shadow:
            self.shadow[name] = keep * self.shadow[name] + (1 - keep) * state[name]
            state[name] = self.shadow[name]
        self.model.load_state_dict(state)
        self.updates = self.updates + 1


class EMAInPlace:
    def __init__(self, network, decay=0.999):
        self.updates = 0
        self.decay = decay
        self.model = copy.deepcopy(network)
        self.model.requires_grad_(False)

    def update(self, network):
        n = self.updates
        self.updates += 1
        warm = (n + 1) / (n + 10)
        decay = self.decay if self.decay < warm else warm
        for mine, theirs in zip(self.model.parameters(), network.parameters(), strict=True):
            mine.data.mul_(decay).add_(theirs.data, alpha=1 - decay)
        for name, theirs in network.named_buffers():
            self.model.get_buffer(name).data[...] = theirs


class EMAWithTorch:
    def __init__(self, model, decay=0.999):
        def mixed(average, latest, count):
            return average + (1 - min(decay, (self.updates + 1) / (self.updates + 10))) * (latest - average)

        self.averaged = torch.optim.swa_utils.AveragedModel(model, avg_fn=mixed)
        self.averaged.n_averaged += 1  # it would copy the model at its first update
        self.updates = 0
        self.model = self.averaged.module.requires_grad_(False)

    def update(self, model):
        self.averaged.update_parameters(model)
        self.updates += 1


ANSWERS = {
    "training.training_step": [
        step_with_closure,
        step_noise_first,
        step_in_parts,
        lambda model, x_0, path, optimizer: training_step(model, x_0, path, optimizer),
    ],
    "training.EMA": [EMAByNames, EMAInPlace, EMAWithTorch, lambda model, decay=0.999: EMA(model, decay)],
}
