"""Precision, memory format and compiling change how a network is computed, not what is computed."""

import pytest
import torch

from course_utils.checkpoints import load_checkpoint
from course_utils.device import best_device, bfloat16
from course_utils.sampling import denoiser
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, bfloat16_loss, diffusion_loss, train
from course_utils.unet import UNet

SCHEDULE = cosine_schedule(20)


def small(seed=0):
    torch.manual_seed(seed)
    model = UNet(base_channels=8, condition=3)
    for weight in model.parameters():  # the last convolutions start at 0, and would hide everything before them
        torch.nn.init.normal_(weight, std=0.05)
    return model


@pytest.fixture
def batch(generator):
    x_0, noise = torch.randn(2, 4, 1, 8, 8, generator=generator)
    return x_0.clamp(-1, 1), torch.tensor([1, 5, 12, 20]), noise


def test_best_device_is_one_that_works():
    assert torch.ones(2, device=best_device()).sum().item() == 2


def test_bfloat16_computes_in_bfloat16_and_returns_the_dtype_of_x(batch):
    x_0, t, _ = batch
    model, seen = small(), []
    model.conv_out.register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    exact, rounded = model(x_0, t, t % 3), bfloat16(model)(x_0, t, t % 3)
    assert seen == [torch.float32, torch.bfloat16]
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() <= 0.02 * exact.abs().max()


def test_loss_in_bfloat16_is_nearly_the_loss_and_so_is_its_gradient(batch):
    model = small()
    gradients = []
    for loss in (diffusion_loss, bfloat16_loss):
        model.zero_grad()
        value = loss(model, *batch, SCHEDULE)
        value.backward()
        gradients.append(torch.cat([value.detach().reshape(1), *(w.grad.flatten() for w in model.parameters())]))
    exact, rounded = gradients
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() <= 0.03 * exact.norm()


def test_denoiser_takes_a_network_in_bfloat16(batch):
    x_t, model = batch[0], small().eval()
    exact, rounded = (denoiser(network, SCHEDULE)(x_t, 10) for network in (model, bfloat16(model)))
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.1


def test_channels_last_changes_nothing_but_rounding(batch):
    x_0, t, noise = batch
    here = diffusion_loss(small(), x_0, t, noise, SCHEDULE)
    there = diffusion_loss(small().to(memory_format=torch.channels_last), x_0, t, noise, SCHEDULE)
    assert (here - there).abs() <= 1e-6


def trained(model, checkpoint=None):
    images = torch.arange(6 * 64, dtype=torch.float32).reshape(6, 1, 8, 8).sin()
    generator, ema = torch.Generator().manual_seed(1), EMA(model)
    history = train(model, images, SCHEDULE, steps=4, batch_size=3, ema=ema, generator=generator, checkpoint=checkpoint)
    return history, ema.model.state_dict()


def test_compiled_network_trains_alike_and_its_checkpoint_fits_the_plain_one(tmp_path):
    compiled = small()
    compiled.compile(backend="aot_eager")  # torch's own compiler without the C++ that it would need here
    history, averages = trained(compiled, tmp_path / "run.safetensors")
    plain_history, plain_averages = trained(small())
    assert max(abs(a - b) for a, b in zip(history, plain_history, strict=True)) <= 1e-6
    assert averages.keys() == plain_averages.keys()
    model = small(seed=2)
    assert load_checkpoint(tmp_path / "run.safetensors", model) == history
