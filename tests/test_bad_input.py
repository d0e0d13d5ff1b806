"""Wrong arguments end in an error of the documented kind, with a message that names the argument."""

import importlib
import inspect
import math
import re
import tempfile
from functools import partial

import pytest
import torch
from public_functions import TABLE
from torch import nn

from course_utils.data import fashion_mnist, scale, unscale
from course_utils.forward import add_noise, forward_step, posterior
from course_utils.mixture import GaussianMixture, exact_denoiser
from course_utils.sampling import (
    ddim_encode,
    ddim_step,
    ddpm_step,
    denoiser,
    predict_noise,
    predict_x_0,
    sample,
    sample_steps,
    spaced_levels,
)
from course_utils.schedule import NoiseSchedule, at, cosine_schedule, linear_schedule
from course_utils.training import (
    EMA,
    diffusion_loss,
    load_checkpoint,
    load_unet,
    save_checkpoint,
    steps_in,
    train,
    training_step,
)
from course_utils.unet import ResBlock, SelfAttention, UNet, timestep_embedding

CASES = []


def case(function, what, error, word, call):
    """A line of the table: calling `call` raises `error`, and the message has `word` in it."""
    CASES.append((function, what, error, word, call))


SCHEDULE = cosine_schedule(10)
X = torch.zeros(2, 1, 8, 8)
T = torch.tensor([1, 10])
BYTES = X.byte()
META = X.to("meta")
EMPTY = torch.zeros(0, 1, 8, 8)
NAN = math.nan
INF = math.inf


def beta(*values):
    return torch.tensor(values, dtype=torch.float64)


# schedule

case(NoiseSchedule, "a list", TypeError, "beta", lambda: NoiseSchedule([0, 0.1]))
case(NoiseSchedule, "integers", TypeError, "beta", lambda: NoiseSchedule(torch.tensor([0, 1])))
case(NoiseSchedule, "two dimensions", ValueError, "beta", lambda: NoiseSchedule(torch.zeros(2, 2)))
case(NoiseSchedule, "T = 0", ValueError, "beta", lambda: NoiseSchedule(beta(0)))
case(NoiseSchedule, "no 0 in front", ValueError, r"beta\[0\]", lambda: NoiseSchedule(beta(0.1, 0.2)))
case(NoiseSchedule, "a second 0", ValueError, "beta", lambda: NoiseSchedule(beta(0, 0, 0.1)))
case(NoiseSchedule, "a 1", ValueError, "beta", lambda: NoiseSchedule(beta(0, 0.1, 1)))
case(NoiseSchedule, "below 0", ValueError, "beta", lambda: NoiseSchedule(beta(0, -0.1)))
case(NoiseSchedule, "not a number", ValueError, "beta", lambda: NoiseSchedule(beta(0, NAN)))
case(NoiseSchedule, "not a number in front", ValueError, "beta", lambda: NoiseSchedule(beta(NAN, 0.1)))

case(linear_schedule, "T = 0", ValueError, "T", lambda: linear_schedule(0))
case(linear_schedule, "T below 0", ValueError, "T", lambda: linear_schedule(-5))
case(linear_schedule, "T a float", TypeError, "T", lambda: linear_schedule(10.0))
case(linear_schedule, "T a bool", TypeError, "T", lambda: linear_schedule(True))
case(linear_schedule, "beta_1 = 0", ValueError, "beta_1", lambda: linear_schedule(10, beta_1=0))
case(linear_schedule, "beta_1 text", TypeError, "beta_1", lambda: linear_schedule(10, beta_1="0.1"))
case(linear_schedule, "beta_T = 1", ValueError, "beta_T", lambda: linear_schedule(10, beta_T=1))
case(linear_schedule, "beta_T not a number", ValueError, "beta_T", lambda: linear_schedule(10, beta_T=NAN))
case(linear_schedule, "falling", ValueError, "beta_T", lambda: linear_schedule(10, beta_1=0.02, beta_T=0.01))

case(cosine_schedule, "T = 0", ValueError, "T", lambda: cosine_schedule(0))
case(cosine_schedule, "T text", TypeError, "T", lambda: cosine_schedule("1000"))
case(cosine_schedule, "s below 0", ValueError, "s", lambda: cosine_schedule(10, s=-0.1))
case(cosine_schedule, "s above 1", ValueError, "s", lambda: cosine_schedule(10, s=8))
case(cosine_schedule, "s None", TypeError, "s", lambda: cosine_schedule(10, s=None))


def cases_of_t(function, call, low=1, tensors=True):
    """The cases of an argument t within low .. 10, where `call(t)` goes with a batch of two."""
    case(function, "t too low", ValueError, "t", lambda: call(low - 1))
    case(function, "t = T + 1", ValueError, "t", lambda: call(11))
    case(function, "t a float", TypeError, "t", lambda: call(1.0))
    case(function, "t a bool", TypeError, "t", lambda: call(True))
    case(function, "t None", TypeError, "t", lambda: call(None))
    if not tensors:
        case(function, "t a tensor", TypeError, "t", lambda: call(T))
        return
    case(function, "t of floats", TypeError, "t", lambda: call(T.float()))
    case(function, "t of bools", TypeError, "t", lambda: call(T.bool()))
    case(function, "t of bytes", TypeError, "t", lambda: call(T.byte()))  # torch would take them for a mask
    case(function, "t of int16", TypeError, "t", lambda: call(T.short()))
    case(function, "t of complex numbers", TypeError, "t", lambda: call(T.to(torch.complex64)))
    case(function, "t a list", TypeError, "t", lambda: call([1, 10]))
    case(function, "one t too low", ValueError, "t", lambda: call(torch.tensor([1, low - 1])))
    case(function, "one t = T + 1", ValueError, "t", lambda: call(torch.tensor([1, 11])))
    case(function, "t too long", ValueError, "t", lambda: call(torch.tensor([1, 2, 3])))
    case(function, "t of one for all", ValueError, "t", lambda: call(torch.tensor([1])))
    case(function, "t of two dimensions", ValueError, "t", lambda: call(T[:, None]))
    case(function, "t without dimensions", ValueError, "t", lambda: call(torch.tensor(1)))
    case(function, "t elsewhere", ValueError, "t", lambda: call(T.to("meta")))


def cases_of_batch(function, name, call):
    """The cases of a batch of images, where `call(x)` passes the same as every other one too."""
    case(function, f"{name} of bytes", TypeError, name, lambda: call(BYTES))
    case(function, f"{name} of integers", TypeError, name, lambda: call(BYTES.long()))
    case(function, f"{name} a list", TypeError, name, lambda: call([[0.0], [0.0]]))
    case(function, f"{name} empty", ValueError, name, lambda: call(EMPTY))
    case(function, f"{name} without dimensions", ValueError, name, lambda: call(torch.tensor(0.0)))


def cases_of_like(function, name, call):
    """The cases of a tensor that must be like another one, X."""
    case(function, f"{name} in float64", TypeError, name, lambda: call(X.double()))
    case(function, f"{name} of integers", TypeError, name, lambda: call(BYTES.long()))
    case(function, f"{name} None", TypeError, name, lambda: call(None))
    case(function, f"{name} that would broadcast", ValueError, name, lambda: call(X[:, :, :1, :1]))
    case(function, f"{name} of one for all", ValueError, name, lambda: call(X[:1]))
    case(function, f"{name} elsewhere", ValueError, name, lambda: call(META))


cases_of_t(at, lambda t: at(SCHEDULE.alpha, t, X), low=0)


# forward, and the two functions that solve for x_0 and for the noise


def cases_of_jump(function, x, other):
    """A function of (x, t, other, schedule)."""
    cases_of_batch(function, x, lambda value: function(value, 1, value, SCHEDULE))
    cases_of_t(function, lambda t: function(X, t, X, SCHEDULE))
    cases_of_like(function, other, lambda value: function(X, T, value, SCHEDULE))
    case(function, "no schedule", TypeError, "schedule", lambda: function(X, T, X, SCHEDULE.alpha_bar))


cases_of_jump(forward_step, "x_prev", "noise")
cases_of_jump(add_noise, "x_0", "noise")
cases_of_jump(predict_x_0, "x_t", "noise_hat")
cases_of_jump(predict_noise, "x_t", "x_0_hat")

cases_of_batch(posterior, "x_0", lambda x: posterior(x, x, 1, SCHEDULE))
cases_of_like(posterior, "x_t", lambda x: posterior(X, x, 1, SCHEDULE))
cases_of_t(posterior, lambda t: posterior(X, X, t, SCHEDULE))
case(posterior, "no schedule", TypeError, "schedule", lambda: posterior(X, X, 1, None))
case(posterior, "s = t", ValueError, "s", lambda: posterior(X, X, 5, SCHEDULE, s=5))
case(posterior, "s above t", ValueError, "s", lambda: posterior(X, X, 5, SCHEDULE, s=6))
case(posterior, "s below 0", ValueError, "s", lambda: posterior(X, X, 5, SCHEDULE, s=-1))
case(posterior, "s a float", TypeError, "s", lambda: posterior(X, X, 5, SCHEDULE, s=1.0))
case(posterior, "s of floats", TypeError, "s", lambda: posterior(X, X, 5, SCHEDULE, s=torch.tensor([1.0, 2.0])))
case(posterior, "s of bytes", TypeError, "s", lambda: posterior(X, X, 5, SCHEDULE, s=torch.tensor([1, 2]).byte()))
case(posterior, "one s = t", ValueError, "s", lambda: posterior(X, X, T, SCHEDULE, s=torch.tensor([0, 10])))
case(posterior, "one s below 0", ValueError, "s", lambda: posterior(X, X, 5, SCHEDULE, s=torch.tensor([0, -1])))
case(posterior, "s not below every t", ValueError, "s", lambda: posterior(X, X, T, SCHEDULE, s=1))
case(posterior, "s too short", ValueError, "s", lambda: posterior(X, X, T, SCHEDULE, s=torch.tensor([0])))
case(posterior, "s elsewhere", ValueError, "s", lambda: posterior(X, X, T, SCHEDULE, s=(T - 1).to("meta")))


# unet

case(timestep_embedding, "t an int", TypeError, "t", lambda: timestep_embedding(5, 8))
case(timestep_embedding, "t a list", TypeError, "t", lambda: timestep_embedding([5], 8))
case(timestep_embedding, "t of bools", TypeError, "t", lambda: timestep_embedding(T.bool(), 8))
case(timestep_embedding, "t of two dimensions", ValueError, "t", lambda: timestep_embedding(T[:, None], 8))
case(timestep_embedding, "t without dimensions", ValueError, "t", lambda: timestep_embedding(T[0], 8))
case(timestep_embedding, "t empty", ValueError, "t", lambda: timestep_embedding(T[:0], 8))
case(timestep_embedding, "dim odd", ValueError, "dim", lambda: timestep_embedding(T, 7))
case(timestep_embedding, "dim = 0", ValueError, "dim", lambda: timestep_embedding(T, 0))
case(timestep_embedding, "dim a float", TypeError, "dim", lambda: timestep_embedding(T, 8.0))

case(ResBlock, "in_channels = 12", ValueError, "in_channels", lambda: ResBlock(12, 8, 4))
case(ResBlock, "out_channels = 0", ValueError, "out_channels", lambda: ResBlock(8, 0, 4))
case(ResBlock, "time_dim = 0", ValueError, "time_dim", lambda: ResBlock(8, 8, 0))
case(SelfAttention, "channels = 12", ValueError, "channels", lambda: SelfAttention(12))
case(SelfAttention, "heads = 3", ValueError, "heads", lambda: SelfAttention(8, heads=3))
case(SelfAttention, "heads = 0", ValueError, "heads", lambda: SelfAttention(8, heads=0))

case(UNet, "in_channels = 0", ValueError, "in_channels", lambda: UNet(in_channels=0))
case(UNet, "base_channels = 12", ValueError, "base_channels", lambda: UNet(base_channels=12))
case(UNet, "base_channels = 0", ValueError, "base_channels", lambda: UNet(base_channels=0))
case(UNet, "base_channels a float", TypeError, "base_channels", lambda: UNet(base_channels=8.0))
case(UNet, "multipliers an int", TypeError, "multipliers", lambda: UNet(multipliers=2))
case(UNet, "multipliers empty", ValueError, "multipliers", lambda: UNet(multipliers=()))
case(UNet, "multipliers with a 0", ValueError, "multipliers", lambda: UNet(multipliers=(1, 0)))
case(UNet, "multipliers with a float", TypeError, "multipliers", lambda: UNet(multipliers=(1, 1.5)))
case(UNet, "num_classes = 0", ValueError, "num_classes", lambda: UNet(num_classes=0))
case(UNet, "num_classes text", TypeError, "num_classes", lambda: UNet(num_classes="10"))
case(UNet, "patch = 0", ValueError, "patch", lambda: UNet(patch=0))
case(UNet, "patch a float", TypeError, "patch", lambda: UNet(patch=2.0))

UNET = UNet(base_channels=8)
TOLD = UNet(base_channels=8, num_classes=5)
cases_of_batch(UNet, "x", lambda x: UNET(x, T))
case(UNet, "x of three dimensions", ValueError, "x", lambda: UNET(X[:, 0], T))
case(UNet, "x of three colours", ValueError, "x", lambda: UNET(X.expand(2, 3, 8, 8), T))
case(UNet, "x of height 6", ValueError, "x", lambda: UNET(X[:, :, :6], T))
case(UNet, "x of width 6", ValueError, "x", lambda: UNET(X[:, :, :, :6], T))
case(UNet, "t an int", TypeError, "t", lambda: UNET(X, 5))
case(UNet, "t of bools", TypeError, "t", lambda: UNET(X, T.bool()))
case(UNet, "t of one for all", ValueError, "t", lambda: UNET(X, T[:1]))
case(UNet, "t of two dimensions", ValueError, "t", lambda: UNET(X, T[:, None]))
case(UNet, "t elsewhere", ValueError, "t", lambda: UNET(X, T.to("meta")))
case(UNet, "labels, but no classes", ValueError, "labels", lambda: UNET(X, T, torch.tensor([0, 1])))
case(UNet, "labels below 0", ValueError, "labels", lambda: TOLD(X, T, torch.tensor([0, -1])))
case(UNet, "labels above num_classes", ValueError, "labels", lambda: TOLD(X, T, torch.tensor([0, 6])))
case(UNet, "labels of floats", TypeError, "labels", lambda: TOLD(X, T, torch.tensor([0.0, 1.0])))
case(UNet, "labels of bytes", TypeError, "labels", lambda: TOLD(X, T, torch.tensor([0, 1]).byte()))
case(UNet, "labels a list", TypeError, "labels", lambda: TOLD(X, T, [0, 1]))
case(UNet, "labels too short", ValueError, "labels", lambda: TOLD(X, T, torch.tensor([0])))
case(UNet, "labels elsewhere", ValueError, "labels", lambda: TOLD(X, T, torch.tensor([0, 1], device="meta")))


# training


def network(x_t, t, labels=None):
    return torch.zeros_like(x_t)


loss_of = partial(diffusion_loss, network)
cases_of_batch(diffusion_loss, "x_0", lambda x: loss_of(x, T, x, SCHEDULE))
cases_of_like(diffusion_loss, "noise", lambda noise: loss_of(X, T, noise, SCHEDULE))
case(diffusion_loss, "t an int", TypeError, "t", lambda: loss_of(X, 1, X, SCHEDULE))
case(diffusion_loss, "t of floats", TypeError, "t", lambda: loss_of(X, T.float(), X, SCHEDULE))
case(diffusion_loss, "one t = 0", ValueError, "t", lambda: loss_of(X, T - 1, X, SCHEDULE))
case(diffusion_loss, "one t = T + 1", ValueError, "t", lambda: loss_of(X, T + 1, X, SCHEDULE))
case(diffusion_loss, "t of one for all", ValueError, "t", lambda: loss_of(X, T[:1], X, SCHEDULE))
case(diffusion_loss, "t of two dimensions", ValueError, "t", lambda: loss_of(X, T[:, None], X, SCHEDULE))
case(diffusion_loss, "t elsewhere", ValueError, "t", lambda: loss_of(X, T.to("meta"), X, SCHEDULE))
case(diffusion_loss, "no schedule", TypeError, "schedule", lambda: loss_of(X, T, X, None))
case(diffusion_loss, "no model", TypeError, "model", lambda: diffusion_loss(None, X, T, X, SCHEDULE))
case(
    diffusion_loss,
    "a model whose output would broadcast",
    ValueError,
    "model",
    lambda: diffusion_loss(lambda x_t, t: x_t.mean(dim=(2, 3), keepdim=True), X, T, X, SCHEDULE),
)


class OneWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x_t, t):
        return self.weight * x_t


def not_finite(model, x_0, t, noise, schedule):
    return model(x_0, t).sum() * NAN


def step(model=None, x_0=X, schedule=SCHEDULE, optimizer=None, **options):
    model = model or OneWeight()
    return training_step(model, x_0, schedule, optimizer or torch.optim.Adam(model.parameters()), **options)


ADAM = torch.optim.Adam(OneWeight().parameters())
cases_of_batch(training_step, "x_0", lambda x: step(x_0=x))
case(training_step, "no model", TypeError, "model", lambda: training_step("UNet", X, SCHEDULE, ADAM))
case(training_step, "no schedule", TypeError, "schedule", lambda: step(schedule=SCHEDULE.beta))
case(training_step, "no optimizer", TypeError, "optimizer", lambda: training_step(UNET, X, SCHEDULE, 1e-3))
case(training_step, "a seed for a generator", TypeError, "generator", lambda: step(generator=0))
case(
    training_step, "a generator elsewhere", ValueError, "generator", lambda: step(x_0=META, generator=torch.Generator())
)
case(training_step, "no loss", TypeError, "loss", lambda: step(loss="mse"))
case(training_step, "labels, but no classes", ValueError, "labels", lambda: step(model=UNET, labels=T))
case(training_step, "labels too short", ValueError, "labels", lambda: step(model=TOLD, labels=T[:1]))
case(training_step, "a loss that is not finite", FloatingPointError, "loss", lambda: step(loss=not_finite))

LABELS = torch.tensor([0, 1])


def run(model=None, images=BYTES, schedule=SCHEDULE, steps=1, **options):
    return train(model or OneWeight(), images, schedule, steps=steps, **options)


case(train, "no model", TypeError, "model", lambda: run(model=network))
case(train, "a model elsewhere", ValueError, "model", lambda: run(model=OneWeight().to("meta")))
case(train, "a model without weights", ValueError, "model", lambda: run(model=nn.Identity()))
case(train, "images from 0 to 1", ValueError, "images", lambda: run(images=torch.rand(2, 1, 8, 8)))
case(train, "images from 0 to 255", ValueError, "images", lambda: run(images=255 * torch.rand(2, 1, 8, 8)))
case(train, "images from -1 to 2", ValueError, "images", lambda: run(images=3 * torch.rand(2, 1, 8, 8) - 1))
case(train, "images from -2 to 1", ValueError, "images", lambda: run(images=3 * torch.rand(2, 1, 8, 8) - 2))
case(train, "images all 0", ValueError, "images", lambda: run(images=X))
case(train, "images not numbers", ValueError, "images", lambda: run(images=X - torch.tensor(NAN)))
case(train, "one pixel not a number", ValueError, "images", lambda: run(images=torch.tensor([[[[-1, NAN]]]])))
case(train, "images infinite", ValueError, "images", lambda: run(images=X - INF))
case(train, "images of integers", TypeError, "images", lambda: run(images=BYTES.long()))
case(train, "images of three dimensions", ValueError, "images", lambda: run(images=BYTES[:, 0]))
case(train, "no images", ValueError, "images", lambda: run(images=BYTES[:0]))
case(train, "images a list", TypeError, "images", lambda: run(images=[[0]]))
case(train, "no schedule", TypeError, "schedule", lambda: run(schedule=None))
case(train, "steps = 0", ValueError, "steps", lambda: run(steps=0))
case(train, "steps below 0", ValueError, "steps", lambda: run(steps=-1))
case(train, "steps a float", TypeError, "steps", lambda: run(steps=1e3))
case(train, "batch_size = 0", ValueError, "batch_size", lambda: run(batch_size=0))
case(train, "batch_size a float", TypeError, "batch_size", lambda: run(batch_size=8.0))
case(train, "lr = 0", ValueError, "lr", lambda: run(lr=0))
case(train, "lr below 0", ValueError, "lr", lambda: run(lr=-1e-3))
case(train, "lr infinite", ValueError, "lr", lambda: run(lr=INF))
case(train, "lr not a number", ValueError, "lr", lambda: run(lr=NAN))
case(train, "lr text", TypeError, "lr", lambda: run(lr="fast"))
case(train, "a model for an EMA", TypeError, "ema", lambda: run(ema=OneWeight()))
case(train, "no loss", TypeError, "loss", lambda: run(loss=None))
case(train, "no callback", TypeError, "callback", lambda: run(callback=10))
case(train, "a seed for a generator", TypeError, "generator", lambda: run(generator=0))
case(train, "labels of floats", TypeError, "labels", lambda: run(model=TOLD, labels=LABELS.float()))
case(train, "labels of bytes", TypeError, "labels", lambda: run(model=TOLD, labels=LABELS.byte()))
case(train, "labels a list", TypeError, "labels", lambda: run(model=TOLD, labels=[0, 1]))
case(train, "labels too short", ValueError, "labels", lambda: run(model=TOLD, labels=LABELS[:1]))
case(train, "labels elsewhere", ValueError, "labels", lambda: run(model=TOLD, labels=LABELS.to("meta")))
case(train, "labels above num_classes", ValueError, "labels", lambda: run(model=TOLD, labels=LABELS + 6))
case(train, "labels, but no classes", ValueError, "labels", lambda: run(model=UNET, labels=LABELS))
case(train, "a loss that is not finite", FloatingPointError, "loss", lambda: run(loss=not_finite))

case(steps_in, "minutes = 0", ValueError, "minutes", lambda: steps_in(0, OneWeight(), BYTES, SCHEDULE))
case(steps_in, "minutes below 0", ValueError, "minutes", lambda: steps_in(-1, OneWeight(), BYTES, SCHEDULE))
case(steps_in, "minutes infinite", ValueError, "minutes", lambda: steps_in(INF, OneWeight(), BYTES, SCHEDULE))
case(steps_in, "minutes text", TypeError, "minutes", lambda: steps_in("3", OneWeight(), BYTES, SCHEDULE))
case(steps_in, "no model", TypeError, "model", lambda: steps_in(1, network, BYTES, SCHEDULE))
case(steps_in, "images all 0", ValueError, "images", lambda: steps_in(1, OneWeight(), X, SCHEDULE))
case(steps_in, "no schedule", TypeError, "schedule", lambda: steps_in(1, OneWeight(), BYTES, None))

case(EMA, "no model", TypeError, "model", lambda: EMA(network))
case(EMA, "decay = 1", ValueError, "decay", lambda: EMA(OneWeight(), decay=1))
case(EMA, "decay below 0", ValueError, "decay", lambda: EMA(OneWeight(), decay=-0.1))
case(EMA, "decay text", TypeError, "decay", lambda: EMA(OneWeight(), decay="slow"))


# sampling

case(denoiser, "no model", TypeError, "model", lambda: denoiser(None, SCHEDULE))
case(denoiser, "no schedule", TypeError, "schedule", lambda: denoiser(network, 1000))
case(denoiser, "labels a list", TypeError, "labels", lambda: denoiser(network, SCHEDULE, labels=[0, 1]))


def cases_of_step(f):
    cases_of_batch(f, "x_t", lambda x: f(x, x, 5, 4, SCHEDULE))
    cases_of_like(f, "x_0_hat", lambda x: f(X, x, 5, 4, SCHEDULE))
    cases_of_t(f, lambda t: f(X, X, t, 0, SCHEDULE), tensors=False)
    case(f, "s = t", ValueError, "s", lambda: f(X, X, 5, 5, SCHEDULE))
    case(f, "s above t", ValueError, "s", lambda: f(X, X, 5, 6, SCHEDULE))
    case(f, "s below 0", ValueError, "s", lambda: f(X, X, 5, -1, SCHEDULE))
    case(f, "s a float", TypeError, "s", lambda: f(X, X, 5, 4.0, SCHEDULE))
    case(f, "s a bool", TypeError, "s", lambda: f(X, X, 5, False, SCHEDULE))
    case(f, "no schedule", TypeError, "schedule", lambda: f(X, X, 5, 4, None))
    case(f, "a seed for a generator", TypeError, "generator", lambda: f(X, X, 5, 4, SCHEDULE, generator=0))


cases_of_step(ddpm_step)
cases_of_step(ddim_step)
case(ddim_step, "eta below 0", ValueError, "eta", lambda: ddim_step(X, X, 5, 4, SCHEDULE, eta=-0.1))
case(ddim_step, "eta above 1", ValueError, "eta", lambda: ddim_step(X, X, 5, 4, SCHEDULE, eta=1.1))
case(ddim_step, "eta not a number", ValueError, "eta", lambda: ddim_step(X, X, 5, 4, SCHEDULE, eta=NAN))
case(ddim_step, "eta text", TypeError, "eta", lambda: ddim_step(X, X, 5, 4, SCHEDULE, eta="0"))

case(spaced_levels, "num_steps = 0", ValueError, "num_steps", lambda: spaced_levels(SCHEDULE, 0))
case(spaced_levels, "num_steps = T + 1", ValueError, "num_steps", lambda: spaced_levels(SCHEDULE, 11))
case(spaced_levels, "num_steps a float", TypeError, "num_steps", lambda: spaced_levels(SCHEDULE, 5.0))
case(spaced_levels, "no schedule", TypeError, "schedule", lambda: spaced_levels(1000, 5))


def denoise(x_t, t):
    return x_t


def cases_of_walk(f):
    """Nothing is drawn from `sample_steps`: the call itself is to raise."""
    walk = partial(f, denoise, (2, 1, 8, 8), SCHEDULE)
    case(f, "no denoiser", TypeError, "denoise", lambda: f(None, (2, 1, 8, 8), SCHEDULE))
    case(f, "no schedule", TypeError, "schedule", lambda: f(denoise, (2, 1, 8, 8), 1000))
    case(f, "shape an int", TypeError, "shape", lambda: f(denoise, 2, SCHEDULE))
    case(f, "shape with a float", TypeError, "shape", lambda: f(denoise, (2, 8.0), SCHEDULE))
    case(f, "shape with a 0", ValueError, "shape", lambda: f(denoise, (0, 1, 8, 8), SCHEDULE))
    case(f, "shape empty", ValueError, "shape", lambda: f(denoise, (), SCHEDULE))
    case(f, "no step", TypeError, "step", lambda: walk(step="ddim"))
    case(f, "num_steps = 0", ValueError, "num_steps", lambda: walk(num_steps=0))
    case(f, "num_steps below 0", ValueError, "num_steps", lambda: walk(num_steps=-1))
    case(f, "num_steps = T + 1", ValueError, "num_steps", lambda: walk(num_steps=11))
    case(f, "num_steps a float", TypeError, "num_steps", lambda: walk(num_steps=5.0))
    case(f, "levels that rise", ValueError, "levels", lambda: walk(levels=[0, 5, 10]))
    case(f, "levels that rise once", ValueError, "levels", lambda: walk(levels=[10, 5, 6, 0]))
    case(f, "levels that stay", ValueError, "levels", lambda: walk(levels=[10, 5, 5, 0]))
    case(f, "levels that end at 1", ValueError, "levels", lambda: walk(levels=[10, 5, 1]))
    case(f, "levels above T", ValueError, "levels", lambda: walk(levels=[11, 5, 0]))
    case(f, "levels below 0", ValueError, "levels", lambda: walk(levels=[5, 0, -1]))
    case(f, "levels of 0 alone", ValueError, "levels", lambda: walk(levels=[0]))
    case(f, "levels empty", ValueError, "levels", lambda: walk(levels=[]))
    case(f, "levels of floats", TypeError, "levels", lambda: walk(levels=[10.0, 0.0]))
    case(f, "levels a tensor", TypeError, "levels", lambda: walk(levels=torch.tensor([10, 0])))
    case(f, "levels and num_steps", ValueError, "num_steps", lambda: walk(levels=[10, 0], num_steps=1))
    case(f, "x_T of another shape", ValueError, "x_T", lambda: walk(x_T=X[:1]))
    case(f, "x_T of integers", TypeError, "x_T", lambda: walk(x_T=BYTES))
    case(f, "a seed for a generator", TypeError, "generator", lambda: walk(generator=0))


cases_of_walk(sample_steps)
cases_of_walk(sample)

cases_of_batch(ddim_encode, "x_0", lambda x: ddim_encode(denoise, x, SCHEDULE, [5, 10]))
encode = partial(ddim_encode, denoise, X, SCHEDULE)
case(ddim_encode, "no denoiser", TypeError, "denoise", lambda: ddim_encode(None, X, SCHEDULE, [5, 10]))
case(ddim_encode, "no schedule", TypeError, "schedule", lambda: ddim_encode(denoise, X, 1000, [5, 10]))
case(ddim_encode, "levels from 0", ValueError, "levels", lambda: encode([0, 5, 10]))
case(ddim_encode, "levels below 0", ValueError, "levels", lambda: encode([-1, 5, 10]))
case(ddim_encode, "levels that fall", ValueError, "levels", lambda: encode([10, 5, 1]))
case(ddim_encode, "levels that stay", ValueError, "levels", lambda: encode([1, 5, 5]))
case(ddim_encode, "levels above T", ValueError, "levels", lambda: encode([1, 11]))
case(ddim_encode, "levels empty", ValueError, "levels", lambda: encode([]))
case(ddim_encode, "levels of floats", TypeError, "levels", lambda: encode([1.0, 10.0]))
case(ddim_encode, "levels an int", TypeError, "levels", lambda: encode(10))


# mixture

WEIGHTS, MEANS, COVARIANCES = torch.tensor([0.5, 0.5]), torch.zeros(2, 2), torch.eye(2).expand(2, 2, 2)
NOT_SYMMETRIC = torch.tensor([[1, 0.5], [0, 1]]).expand(2, 2, 2)


def mixture(weights=WEIGHTS, means=MEANS, covariances=COVARIANCES):
    return GaussianMixture(weights, means, covariances)


case(GaussianMixture, "weights a list", TypeError, "weights", lambda: mixture(weights=[0.5, 0.5]))
case(GaussianMixture, "weights of integers", TypeError, "weights", lambda: mixture(weights=torch.tensor([1, 0])))
case(GaussianMixture, "weights that add up to 2", ValueError, "weights", lambda: mixture(weights=2 * WEIGHTS))
case(GaussianMixture, "a weight of 0", ValueError, "weights", lambda: mixture(weights=torch.tensor([1.0, 0.0])))
case(GaussianMixture, "weights not numbers", ValueError, "weights", lambda: mixture(weights=WEIGHTS * NAN))
case(GaussianMixture, "weights too short", ValueError, "weights", lambda: mixture(weights=torch.tensor([1.0])))
case(GaussianMixture, "means of integers", TypeError, "means", lambda: mixture(means=MEANS.long()))
case(GaussianMixture, "means of one dimension", ValueError, "means", lambda: mixture(means=MEANS[0]))
case(GaussianMixture, "covariances a list", TypeError, "covariances", lambda: mixture(covariances=[1.0, 1.0]))
case(GaussianMixture, "variances only", ValueError, "covariances", lambda: mixture(covariances=torch.ones(2, 2)))
case(GaussianMixture, "not symmetric", ValueError, "covariance", lambda: mixture(covariances=NOT_SYMMETRIC))
case(GaussianMixture, "not positive", ValueError, "covariance", lambda: mixture(covariances=-COVARIANCES))
case(GaussianMixture, "sample none", ValueError, "n", lambda: mixture().sample(0))
case(GaussianMixture, "sample a float", TypeError, "n", lambda: mixture().sample(10.0))
case(GaussianMixture, "sample from a seed", TypeError, "generator", lambda: mixture().sample(10, generator=0))
case(GaussianMixture, "noised to -1", ValueError, "t", lambda: mixture().noised(-1, SCHEDULE))
case(GaussianMixture, "noised to T + 1", ValueError, "t", lambda: mixture().noised(11, SCHEDULE))
case(GaussianMixture, "noised to a float", TypeError, "t", lambda: mixture().noised(1.0, SCHEDULE))
case(GaussianMixture, "noised by no schedule", TypeError, "schedule", lambda: mixture().noised(1, None))


def cases_of_points(name, call):
    case(GaussianMixture, f"{name} of integers", TypeError, "x", lambda: call(MEANS.long()))
    case(GaussianMixture, f"{name} of one dimension", ValueError, "x", lambda: call(MEANS[0]))
    case(GaussianMixture, f"{name} in three dimensions", ValueError, "x", lambda: call(torch.zeros(2, 3)))
    case(GaussianMixture, f"{name} of no points", ValueError, "x", lambda: call(torch.zeros(0, 2)))


cases_of_points("log_prob", mixture().log_prob)
cases_of_points("responsibilities", mixture().responsibilities)

case(exact_denoiser, "no mixture", TypeError, "mixture", lambda: exact_denoiser(MEANS, SCHEDULE))
case(exact_denoiser, "no schedule", TypeError, "schedule", lambda: exact_denoiser(mixture(), 1000))
case(exact_denoiser, "x_t of integers", TypeError, "x_t", lambda: exact_denoiser(mixture(), SCHEDULE)(MEANS.long(), 1))
case(exact_denoiser, "x_t of images", ValueError, "x_t", lambda: exact_denoiser(mixture(), SCHEDULE)(X, 1))
cases_of_t(exact_denoiser, lambda t: exact_denoiser(mixture(), SCHEDULE)(MEANS, t), tensors=False)


# data

case(scale, "scaled images", TypeError, "images", lambda: scale(X))
case(scale, "integers", TypeError, "images", lambda: scale(BYTES.long()))
case(scale, "a list", TypeError, "images", lambda: scale([0, 255]))
case(unscale, "bytes", TypeError, "images", lambda: unscale(BYTES))
case(unscale, "a list", TypeError, "images", lambda: unscale([0.0]))
case(unscale, "no images", ValueError, "images", lambda: unscale(EMPTY))


@pytest.mark.parametrize(
    ("error", "word", "call"), [pytest.param(*rest, id=f"{f.__name__}: {what}") for f, what, *rest in CASES]
)
def test_wrong_argument_is_named(error, word, call):
    with pytest.raises(error, match=rf"\b{word}"):
        call()


# Files and folders: here the message names what was there, or was not

FILE_CASES = []


def file_case(function, what, error, word, call):
    """A line of the table: `call(folder)` raises `error`, and the message has `word` in it; `folder` is a new one."""
    FILE_CASES.append((function, what, error, word, call))


def damaged(folder):
    path = folder / "damaged"
    path.write_text("not what it should be")
    return path


def with_raw(folder):
    (folder / "FashionMNIST" / "raw").mkdir(parents=True)
    return folder


def with_damaged_gz(folder):
    path = with_raw(folder) / "FashionMNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_text("not what it should be")
    return folder


def with_no_memory(*arguments):
    raise torch.cuda.OutOfMemoryError


def fashion_mnist_with_nowhere_to_write(folder):
    def fail(*args, **kwargs):
        raise PermissionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setattr(tempfile, "TemporaryFile", fail)
        fashion_mnist(root=with_raw(folder))


file_case(save_checkpoint, "no model", TypeError, "model", lambda folder: save_checkpoint(folder / "file", network))
file_case(
    save_checkpoint, "a file for a folder", OSError, "damaged", lambda f: save_checkpoint(damaged(f) / "file", UNET)
)


def cases_of_parts(function, call):
    file_case(function, "a model for an EMA", TypeError, "ema", lambda f: call(f / "file", UNET, ema=UNET))
    file_case(function, "no optimizer", TypeError, "optimizer", lambda f: call(f / "file", UNET, optimizer="Adam"))
    file_case(function, "no generator", TypeError, "generator", lambda f: call(f / "file", UNET, generator=0))


cases_of_parts(save_checkpoint, save_checkpoint)
cases_of_parts(load_checkpoint, load_checkpoint)
file_case(load_checkpoint, "no model", TypeError, "model", lambda f: load_checkpoint(damaged(f), network))
file_case(load_checkpoint, "no file", FileNotFoundError, "missing", lambda f: load_checkpoint(f / "missing", UNET))
file_case(load_checkpoint, "damaged", ValueError, "damaged", lambda f: load_checkpoint(damaged(f), UNET))
file_case(load_unet, "no file", FileNotFoundError, "missing", lambda f: load_unet(f / "missing"))
file_case(load_unet, "damaged", ValueError, "damaged", lambda f: load_unet(damaged(f)))
file_case(train, "a damaged checkpoint", ValueError, "damaged", lambda f: run(checkpoint=damaged(f)))
file_case(train, "a file for a folder", OSError, "damaged", lambda f: run(checkpoint=damaged(f) / "file"))
file_case(train, "no memory", torch.cuda.OutOfMemoryError, "batch_size", lambda f: run(loss=with_no_memory))
file_case(fashion_mnist, "no folder", FileNotFoundError, "missing", lambda f: fashion_mnist(root=f / "missing"))
file_case(fashion_mnist, "no .gz", FileNotFoundError, "train-images", lambda f: fashion_mnist(root=with_raw(f)))
file_case(fashion_mnist, "a damaged .gz", ValueError, "train-images", lambda f: fashion_mnist(root=with_damaged_gz(f)))
file_case(fashion_mnist, "nowhere to unpack", OSError, "cache", fashion_mnist_with_nowhere_to_write)


@pytest.mark.parametrize(
    ("error", "word", "call"), [pytest.param(*rest, id=f"{f.__name__}: {what}") for f, what, *rest in FILE_CASES]
)
def test_wrong_file_is_named(tmp_path, error, word, call):
    with pytest.raises(error, match=word):
        call(tmp_path)


# The tables are complete


def documented_errors():
    """{public function or class of the mathematics: the errors that its docstring names}."""
    errors = {}
    for name in ("schedule", "forward", "unet", "training", "sampling", "mixture", "data"):
        module = importlib.import_module(f"course_utils.{name}")
        for name, value in vars(module).items():
            doc = inspect.getdoc(value) or ""
            if (
                callable(value)
                and value.__module__ == module.__name__
                and not name.startswith("_")
                and "Raises:" in doc
            ):
                errors[value] = set(re.findall(r"\w+Error\b", doc.split("Raises:")[1]))
    return errors


@pytest.mark.parametrize(
    ("function", "errors"), documented_errors().items(), ids=lambda part: getattr(part, "__name__", "")
)
def test_every_documented_error_has_a_case(function, errors):
    tested = {error.__name__ for f, _, error, *_ in CASES + FILE_CASES if f is function}
    if f"{function.__module__.removeprefix('course_utils.')}.{function.__qualname__}" in TABLE:
        tested |= {"TypeError", "ValueError"}  # test_properties.py compares these with what is raised
    assert errors - tested == set()


def test_errors_of_most_functions_are_documented():
    assert len(documented_errors()) > 20


# Wrong-looking input that is right


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda t: at(SCHEDULE.alpha, t, X), id="at"),
        pytest.param(lambda t: add_noise(X + 1, t, X, SCHEDULE), id="add_noise"),
        pytest.param(lambda t: forward_step(X + 1, t, X, SCHEDULE), id="forward_step"),
        pytest.param(lambda t: posterior(X + 1, X, t, SCHEDULE)[0], id="posterior"),
        pytest.param(lambda t: posterior(X + 1, X, t, SCHEDULE, s=t - 1)[0], id="posterior with s"),
        pytest.param(lambda t: predict_x_0(X + 1, t, X, SCHEDULE), id="predict_x_0"),
        pytest.param(lambda t: predict_noise(X + 1, t, X, SCHEDULE), id="predict_noise"),
        pytest.param(lambda t: timestep_embedding(t, 8), id="timestep_embedding"),
        pytest.param(lambda t: diffusion_loss(network, X, t, X + 1, SCHEDULE), id="diffusion_loss"),
    ],
)
def test_t_may_be_int32(call):
    assert torch.equal(call(T.int()), call(T))
