"""Everything is computed where the images are, in their dtype; the meta device shows it without an accelerator."""

from functools import partial

import pytest
import torch
from torch import nn

from course_utils.editing import anagram, inpaint_step, sdedit
from course_utils.forward import add_noise, forward_step, posterior, predict_noise, predict_x_0
from course_utils.guidance import guided
from course_utils.sampling import ddim_encode, ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import at, cosine_schedule
from course_utils.solvers import dpm_solver_2m, heun_step
from course_utils.training import EMA, diffusion_loss, training_step
from course_utils.transformer import DiT
from course_utils.unet import UNet, timestep_embedding

SCHEDULE = cosine_schedule(10)
META = torch.device("meta")
SHAPE = (2, 1, 8, 8)
T = torch.tensor([1, 10], device=META)
INT = 3

# What is called with x, and the shape that comes out
OUTPUTS = {
    "at": (lambda x: at(SCHEDULE.alpha, T, x), (2, 1, 1, 1)),
    "at, t an int": (lambda x: at(SCHEDULE.alpha, INT, x), (1, 1, 1, 1)),
    "forward_step": (lambda x: forward_step(x, T, x, SCHEDULE), SHAPE),
    "forward_step, t an int": (lambda x: forward_step(x, INT, x, SCHEDULE), SHAPE),
    "add_noise": (lambda x: add_noise(x, T, x, SCHEDULE), SHAPE),
    "add_noise, t an int": (lambda x: add_noise(x, INT, x, SCHEDULE), SHAPE),
    "posterior's mean": (lambda x: posterior(x, x, T, SCHEDULE)[0], SHAPE),
    "posterior's mean, s given": (lambda x: posterior(x, x, T, SCHEDULE, s=T - 1)[0], SHAPE),
    "posterior's mean, t an int": (lambda x: posterior(x, x, INT, SCHEDULE, s=0)[0], SHAPE),
    "posterior's variance": (lambda x: posterior(x, x, T, SCHEDULE)[1], (2, 1, 1, 1)),
    "posterior's variance, t an int": (lambda x: posterior(x, x, INT, SCHEDULE)[1], (1, 1, 1, 1)),
    "predict_x_0": (lambda x: predict_x_0(x, T, x, SCHEDULE), SHAPE),
    "predict_x_0, t an int": (lambda x: predict_x_0(x, INT, x, SCHEDULE), SHAPE),
    "predict_noise": (lambda x: predict_noise(x, T, x, SCHEDULE), SHAPE),
    "predict_noise, t an int": (lambda x: predict_noise(x, INT, x, SCHEDULE), SHAPE),
    "ddpm_step": (lambda x: ddpm_step(x, x, 5, 4, SCHEDULE), SHAPE),
    "ddpm_step, the last": (lambda x: ddpm_step(x, x, 5, 0, SCHEDULE), SHAPE),
    "ddim_step": (lambda x: ddim_step(x, x, 5, 4, SCHEDULE), SHAPE),
    "ddim_step, eta = 1": (lambda x: ddim_step(x, x, 5, 4, SCHEDULE, eta=1), SHAPE),
    "ddim_encode": (lambda x: ddim_encode(lambda x_t, t: x_t, x, SCHEDULE, [5, 10]), SHAPE),
    "sample from x_T": (lambda x: sample(lambda x_t, t: x_t, SHAPE, SCHEDULE, x_T=x), SHAPE),
    "guided": (lambda x: guided(lambda x_t, t: x_t, lambda x_t, t: -x_t, 3)(x, INT), SHAPE),
    "heun_step": (lambda x: heun_step(lambda x_t, t: x_t)(x, x, 5, 4, SCHEDULE), SHAPE),
    "dpm_solver_2m": (lambda x: sample(lambda x_t, t: x_t, SHAPE, SCHEDULE, dpm_solver_2m(), x_T=x), SHAPE),
    "sdedit": (lambda x: sdedit(lambda x_t, t: x_t, x, SCHEDULE, 0.5), SHAPE),
    "inpaint_step": (lambda x: inpaint_step(ddpm_step, x, torch.ones_like(x))(x, x, 5, 4, SCHEDULE), SHAPE),
    "inpaint_step, a mask of booleans": (lambda x: inpaint_step(ddpm_step, x, x > 0)(x, x, 5, 4, SCHEDULE), SHAPE),
    "anagram": (lambda x: anagram(lambda x_t, t: x_t, lambda x_t, t: x_t)(x, INT), SHAPE),
    "diffusion_loss": (lambda x: diffusion_loss(lambda x_t, t: x_t, x, T, x, SCHEDULE), ()),
    "UNet": (lambda x: UNet(base_channels=8).to(x)(x, T), SHAPE),
    "UNet with labels": (lambda x: UNet(base_channels=8, condition=3).to(x)(x, T, T), SHAPE),
    "UNet without the labels": (lambda x: UNet(base_channels=8, condition=3).to(x)(x, T), SHAPE),
    "DiT": (lambda x: DiT(width=8, depth=1).to(x)(x, T), SHAPE),
    "DiT without the labels": (lambda x: DiT(width=8, depth=1, condition=3).to(x)(x, T), SHAPE),
    "denoiser": (lambda x: denoiser(UNet(base_channels=8).to(x), SCHEDULE)(x, INT), SHAPE),
    "denoiser with labels": (
        lambda x: denoiser(UNet(base_channels=8, condition=3).to(x), SCHEDULE, torch.tensor([0, 1]))(x, INT),
        SHAPE,
    ),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("call", "shape"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_output_is_where_the_images_are_in_their_dtype(call, shape, dtype):
    out = call(torch.zeros(SHAPE, dtype=dtype, device=META))
    assert (out.device, out.dtype, out.shape) == (META, dtype, shape)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float16, torch.float32, torch.float64])
def test_embedding_is_where_t_is(dtype):
    embedding = timestep_embedding(T.to(dtype), 8)
    assert (embedding.device, embedding.shape) == (META, (2, 8))
    assert embedding.dtype == (dtype if dtype.is_floating_point else torch.float32)


@pytest.mark.parametrize("step", [ddpm_step, ddim_step, partial(ddim_step, eta=1)], ids=["ddpm", "ddim", "eta = 1"])
def test_sampling_works_on_the_device_that_is_asked_for(step):
    seen = []

    def denoise(x_t, t):
        seen.append(x_t.device)
        return x_t

    x = sample(denoise, SHAPE, SCHEDULE, step, device="meta")
    assert (x.device, x.dtype, x.shape) == (META, torch.float32, SHAPE)
    assert seen == [META] * 10


def test_denoiser_gives_the_network_t_and_labels_beside_the_images():
    seen = []

    def model(x_t, t, labels):
        seen.append((t.device, t.shape, labels.device))
        return x_t

    denoiser(model, SCHEDULE, condition=torch.tensor([0, 1]))(torch.zeros(SHAPE, device=META), INT)
    assert seen == [(META, (2,), META)]


def test_null_label_is_beside_the_images():
    model, seen = UNet(base_channels=8, condition=3).to(META), []
    model.condition.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0].device))
    model(torch.zeros(SHAPE, device=META), T)
    assert seen == [META]


@pytest.mark.parametrize("call", [call for call, _ in OUTPUTS.values()], ids=OUTPUTS.keys())
def test_schedule_stays_on_the_cpu_in_float64(call):
    before = {name: table.clone() for name, table in vars(SCHEDULE).items()}
    call(torch.zeros(SHAPE, dtype=torch.float16, device=META))
    assert set(before) == {"beta", "alpha", "alpha_bar", "signal_rate", "noise_rate"}
    for name, table in before.items():
        now = getattr(SCHEDULE, name)
        assert (now.device.type, now.dtype) == ("cpu", torch.float64)
        assert torch.equal(now, table)


class Spy(nn.Module):
    """A network that says where and in which dtype it got its input."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, x_t, t):
        self.seen.append((x_t.device, x_t.dtype, t.device, t.dtype))
        return self.weight * x_t


class StopHere(Exception):
    pass


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_draws_where_the_images_are(dtype):
    # The meta device has no values, so a step can't be finished there; the loss sees all that was drawn.
    drawn = []

    def loss(model, x_0, t, noise, schedule):
        drawn.extend([(t.device, t.dtype), (noise.device, noise.dtype)])
        drawn.append(diffusion_loss(model, x_0, t, noise, schedule).device)
        raise StopHere

    spy = Spy().to(META, dtype)
    x_0 = torch.zeros(SHAPE, dtype=dtype, device=META)
    with pytest.raises(StopHere):
        training_step(spy, x_0, SCHEDULE, torch.optim.SGD(spy.parameters(), lr=1), loss=loss)
    assert drawn == [(META, torch.int64), (META, dtype), META]
    assert spy.seen == [(META, dtype, META, torch.int64)]


def test_average_is_where_the_model_is():
    model = UNet(base_channels=8).to(META, torch.float16)
    ema = EMA(model)
    ema.update(model)
    assert all((weight.device, weight.dtype) == (META, torch.float16) for weight in ema.model.parameters())
