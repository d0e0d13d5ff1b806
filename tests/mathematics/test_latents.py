import inspect

import pytest
import torch
from torch import nn

from course_utils import latents
from course_utils.autoencoder import Autoencoder
from course_utils.data import scale, unscale
from course_utils.guidance import guided
from course_utils.latents import decode, encode, measure_scale
from course_utils.predictions import VELOCITY
from course_utils.sampling import ddim_step, ddpm_step, denoiser, sample
from course_utils.schedule import straight_path
from course_utils.solvers import dpm_solver_2m, heun_step
from course_utils.training import train

IMAGES = torch.randint(0, 256, (7, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
each_take = pytest.mark.parametrize("take", ["mean", "sample"])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def autoencoder():
    """A small one whose weights are all random, its latents about 50 times as large as noise."""
    torch.manual_seed(0)
    model = Autoencoder(base_channels=8, multipliers=(1, 2))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)
    model.encoder[-1].weight.data[:4] *= 100
    return model


# The scale


@each_take
def test_with_the_measured_scale_latents_have_variance_1(autoencoder, take):
    torch.manual_seed(1)
    measured = measure_scale(autoencoder, IMAGES, take)
    assert measured > 10
    torch.manual_seed(1)
    assert abs(encode(autoencoder, IMAGES, take).var() - 1) < 1e-5


def test_the_scale_is_the_standard_deviation_of_all_latents_together(autoencoder):
    mean, _ = autoencoder.encode(scale(IMAGES))
    expected = (mean - mean.mean()).square().sum() / (mean.numel() - 1)
    for _ in range(2):  # measured anew, not on top of the last one
        assert abs(measure_scale(autoencoder, IMAGES, "mean") / expected.sqrt() - 1) < 1e-5
    assert (encode(autoencoder, IMAGES, "mean") * autoencoder.scale - mean).abs().max() < 1e-4 * mean.abs().max()


@pytest.mark.parametrize("measured", [1.0, 0.02, 50.0])
def test_decode_takes_the_scale_back(autoencoder, measured):
    autoencoder.decoder[-2].weight.data *= 20
    autoencoder.scale.fill_(measured)
    pictures = decode(autoencoder, encode(autoencoder, IMAGES, "mean"))
    expected = autoencoder.decode(autoencoder.encode(scale(IMAGES))[0]).clamp(-1, 1)
    assert (pictures - expected).abs().max() < 1e-4
    assert pictures.abs().max() == 1  # something was clipped


# What is taken of each picture's Gaussian


def test_a_sample_has_the_pictures_mean_and_variance(autoencoder):
    autoencoder.scale.fill_(2.0)
    number, picture = 2000, IMAGES[:1, :, :8, :8]
    draws = encode(autoencoder, picture.expand(number, -1, -1, -1), "sample", seeded()).double()
    mean, log_variance = (each[0].double() for each in autoencoder.encode(scale(picture)))
    variance = log_variance.exp()
    assert ((draws.mean(dim=0) - mean / 2).abs() < 5 * (variance / number).sqrt() / 2 + 1e-4).all()
    assert ((4 * draws.var(dim=0) / variance - 1).abs() < 5 * (2 / number) ** 0.5 + 1e-3).all()


def test_the_mean_is_always_the_same_and_a_sample_another_one_each_time(autoencoder):
    assert torch.equal(*(encode(autoencoder, IMAGES, "mean") for _ in range(2)))
    assert torch.equal(*(encode(autoencoder, IMAGES, "sample", seeded(3)) for _ in range(2)))
    assert not torch.equal(*(encode(autoencoder, IMAGES, "sample", seeded(seed)) for seed in range(2)))


@pytest.mark.parametrize("function", [encode, measure_scale])
def test_which_of_the_two_has_to_be_said(autoencoder, function):
    assert inspect.signature(function).parameters["take"].default is inspect.Parameter.empty
    with pytest.raises(ValueError, match='take must be "mean" or "sample"'):
        function(autoencoder, IMAGES, "mode")


# Many pictures, and wrong ones


@each_take
def test_batches_give_what_one_batch_gives(autoencoder, monkeypatch, take):
    at_once = encode(autoencoder, IMAGES, take, seeded())
    pictures = decode(autoencoder, at_once)
    monkeypatch.setattr(latents, "AT_ONCE", 3)
    in_batches = encode(autoencoder, IMAGES, take, seeded())
    assert (in_batches - at_once).abs().max() < 1e-4 * at_once.abs().max()
    assert (decode(autoencoder, at_once) - pictures).abs().max() < 1e-4


def test_bytes_and_scaled_pictures_have_the_same_latents_and_no_gradient(autoencoder):
    z = encode(autoencoder, IMAGES, "mean")
    assert torch.equal(z, encode(autoencoder, scale(IMAGES), "mean"))
    assert not z.requires_grad
    assert not decode(autoencoder, z).requires_grad
    assert autoencoder.training


@each_take
def test_the_work_is_done_where_the_autoencoder_is(autoencoder, take):
    """With "meta" for an accelerator: pictures, latents and the generator are on the CPU."""
    z = encode(autoencoder.to("meta"), IMAGES, take, seeded())
    assert z.device.type == "meta"
    assert decode(autoencoder, torch.zeros(z.shape)).device.type == "meta"


WRONG = {
    "a side that is no multiple of 4": (IMAGES[..., :14], "multiples of 4, because this Autoencoder"),
    "one picture": (IMAGES[0], r"\(N, C, H, W\)"),
    "not scaled": (IMAGES.float(), r"scaled to -1 \.\. 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_pictures_that_do_not_fit_are_refused(autoencoder, what):
    images, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        encode(autoencoder, images, "mean")


# Diffusion in them


@pytest.fixture
def unet(make_unet):
    return make_unet(in_channels=4, condition=2, patch=1)


def test_the_same_train_sample_guidance_and_solvers(autoencoder, unet):
    measure_scale(autoencoder, IMAGES, "mean")
    z, path, labels = encode(autoencoder, IMAGES, "mean"), straight_path(), torch.arange(7) % 2
    assert z.abs().max() > 1
    options = dict(condition=labels, drop=0.1, latents=True, batch_size=2)
    assert len(train(unet, z, path, steps=2, **options)) == 2
    conditional, unconditional = (denoiser(unet, path, told, VELOCITY, clip=False) for told in (labels, None))
    denoise = guided(conditional, unconditional, 2)
    for step in (ddpm_step, ddim_step, heun_step(denoise), dpm_solver_2m()):
        pictures = unscale(decode(autoencoder, sample(denoise, z.shape, path, step, 3)))
        assert pictures.shape == IMAGES.shape


REFUSED = {
    "50 times too large": (50 * torch.randn(5, 4, 4, 4), "theirs is (4|5).*measure_scale"),
    "with the scale of another autoencoder": (0.18215 * torch.randn(5, 4, 4, 4), "theirs is 0.1"),
    "not a number": (torch.randn(5, 4, 4, 4) * torch.nan, "theirs is nan"),
    "pictures": (IMAGES, "must be latents"),
    "a side that can't be halved": (torch.randn(5, 4, 4, 5), "multiples of 2, because this UNet"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_latents_of_another_size_than_the_noise_are_refused(unet, what):
    data, message = REFUSED[what]
    for passed in (data, [data]):
        with pytest.raises(ValueError, match=message):
            train(unet, passed, straight_path(), steps=1, latents=True)


def test_without_the_option_latents_are_refused_as_pictures_that_are_not_scaled(unet):
    with pytest.raises(ValueError, match=r"scaled to -1 \.\. 1.*latents=True"):
        train(unet, torch.randn(5, 4, 4, 4), straight_path(), steps=1)
