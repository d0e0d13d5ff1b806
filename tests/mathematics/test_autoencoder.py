import pytest
import torch
from torch.distributions import Normal, kl_divergence

from course_utils.autoencoder import Autoencoder, Block, autoencoder_loss, kl, reparametrise
from course_utils.checkpoints import load_autoencoder, load_unet, save_checkpoint


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussians(*shape):
    """Means and log variances, the latter from about e^-10 to e^3."""
    return randn(*shape), 3 * randn(*shape, seed=1) - 3


@pytest.fixture
def autoencoder():
    """A small one, in float64, whose weights are all random, so that no zero at the start hides anything."""
    torch.manual_seed(0)
    model = Autoencoder(base_channels=8, multipliers=(1, 2)).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


# The Gaussians


@pytest.mark.parametrize("shape", [(1, 1), (3, 4, 8, 8), (5, 2, 3, 1)])
def test_kl_is_that_of_torch(shape):
    mean, log_variance = gaussians(*shape)
    pairs = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(()), torch.ones(())))
    expected = pairs.reshape(len(mean), -1).sum(dim=1)
    assert (kl(mean, log_variance) / expected - 1).abs().max() < 1e-12


def test_kl_is_0_for_the_standard_gaussian_alone():
    zeros = torch.zeros(2, 4, 8, 8, dtype=torch.float64)
    assert kl(zeros, zeros).tolist() == [0, 0]
    for mean, log_variance in ((zeros + 0.01, zeros), (zeros, zeros + 0.01), (zeros, zeros - 0.01)):
        assert (kl(mean, log_variance) > 0.006).all()  # the second derivatives are 1 and 1/2, and there are 256 of each


def test_draws_have_the_mean_and_the_variance():
    mean, log_variance = gaussians(1, 6)
    number = 200_000
    draws = reparametrise(mean.expand(number, 6), log_variance.expand(number, 6), randn(number, 6, seed=2))
    variance = log_variance[0].exp()
    assert ((draws.mean(dim=0) - mean[0]).abs() < 5 * (variance / number).sqrt()).all()
    assert ((draws.var(dim=0) / variance - 1).abs() < 5 * (2 / number) ** 0.5).all()


def test_gradients_pass_through_a_draw():
    """dz / dmean = 1, and dz / dlog_variance = std noise / 2."""
    mean, log_variance = (each.requires_grad_() for each in gaussians(3, 4))
    noise = randn(3, 4, seed=2)
    found = torch.autograd.grad(reparametrise(mean, log_variance, noise).sum(), (mean, log_variance))
    assert torch.equal(found[0], torch.ones_like(mean))
    assert (found[1] - Normal(mean, log_variance.exp().sqrt()).stddev * noise / 2).abs().max() < 1e-14


def test_one_noise_for_all_pictures_is_refused():
    with pytest.raises(TypeError, match="Nothing is broadcast"):
        reparametrise(*gaussians(3, 4), randn(1, 4))


# The network


@pytest.mark.parametrize(
    ("config", "side"),
    [
        ({}, 8),
        (dict(multipliers=(1, 2, 2, 4), patch=1), 8),
        (dict(multipliers=(2, 1), patch=2, latent_channels=3), 4),
        (dict(multipliers=(1,), patch=1, in_channels=1), 1),
    ],
)
def test_latents_are_smaller_by_side(config, side):
    model = Autoencoder(**(dict(base_channels=8) | config))
    x = torch.randn(2, model.config["in_channels"], 16, 24)
    mean, log_variance = model.encode(x)
    assert model.side == side
    assert mean.shape == log_variance.shape == (2, model.config["latent_channels"], 16 // side, 24 // side)
    assert model.decode(mean).shape == x.shape


def test_an_emoji_of_64_pixels_has_8_by_8_latents_in_four_channels():
    assert Autoencoder().encode(torch.zeros(1, 3, 64, 64))[0].shape == (1, 4, 8, 8)


def test_new_block_passes_its_input_on():
    x = torch.randn(2, 8, 4, 6)
    assert torch.equal(Block(8, 8)(x), x)


def test_pictures_are_encoded_and_decoded_each_for_itself(autoencoder):
    x = randn(3, 3, 8, 12)
    for part, single in zip(autoencoder.encode(x), zip(*(autoencoder.encode(its[None]) for its in x)), strict=True):  # noqa: B905
        assert (part - torch.cat(single)).abs().max() < 1e-12
    z = randn(3, 4, 2, 3)
    assert (autoencoder.decode(z) - torch.cat([autoencoder.decode(its[None]) for its in z])).abs().max() < 1e-12


# The loss


def test_loss_is_the_absolute_error_of_a_draw_and_the_kl(autoencoder):
    x, weight = randn(3, 3, 8, 8), 0.01
    found = autoencoder_loss(autoencoder, x, weight, torch.Generator().manual_seed(5))
    mean, log_variance = autoencoder.encode(x)
    gaussian = Normal(mean, log_variance.exp().sqrt())
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    error = (autoencoder.decode(gaussian.mean + gaussian.stddev * noise) - x).abs().sum() / x.numel()
    information = kl_divergence(gaussian, Normal(torch.zeros(()), torch.ones(()))).sum() / len(x)
    assert abs(found - (error + weight * information)) < 1e-12


def test_every_weight_has_a_gradient(autoencoder):
    autoencoder_loss(autoencoder, randn(2, 3, 8, 8)).backward()
    assert all(weight.grad.abs().max() > 0 for weight in autoencoder.parameters())


def test_a_heavy_kl_makes_all_pictures_standard_gaussians(autoencoder):
    """With nothing but the KL to lose, the Gaussians of all pictures become N(0, 1)."""
    optimizer, x = torch.optim.Adam(autoencoder.parameters(), lr=0.03), randn(2, 3, 4, 4)
    before = kl(*autoencoder.encode(x)).mean()
    for _ in range(20):
        optimizer.zero_grad()
        autoencoder_loss(autoencoder, x, weight=1e3).backward()
        optimizer.step()
    assert kl(*autoencoder.encode(x)).mean() < 0.05 * before


def test_two_pictures_can_be_learnt_by_heart():
    torch.manual_seed(0)
    model, x = Autoencoder(base_channels=8, multipliers=(1,)), torch.rand(2, 3, 4, 4) * 2 - 1
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        autoencoder_loss(model, x).backward()
        optimizer.step()
    mean, log_variance = model.encode(x)
    assert (model.decode(mean) - x).abs().mean() < 0.05  # one grey would have 0.5
    assert log_variance.mean() < -1  # the draws have become precise


# Files


def test_a_file_gives_back_the_autoencoder_and_its_scale(autoencoder, tmp_path):
    autoencoder = autoencoder.float()
    autoencoder.scale.fill_(3.5)
    save_checkpoint(tmp_path / "a.safetensors", autoencoder)
    again = load_autoencoder(tmp_path / "a.safetensors")
    x = torch.randn(2, 3, 8, 8)
    assert again.config == autoencoder.config
    assert again.scale == 3.5
    assert all(torch.equal(*each) for each in zip(again.encode(x), autoencoder.encode(x), strict=True))
    assert not any(module.training for module in again.modules())


def test_an_autoencoder_is_no_unet_and_a_unet_no_autoencoder(autoencoder, make_unet, tmp_path):
    for model, load in ((autoencoder, load_unet), (make_unet(), load_autoencoder)):
        save_checkpoint(tmp_path / "a.safetensors", model)
        with pytest.raises(ValueError, match="holds no"):
            load(tmp_path / "a.safetensors")
