"""Every path and every prediction goes through the same formulas: what must then hold exactly, or on the mixture."""

import itertools
from functools import partial

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from test_mixture import LINE, PLANE, check_components, line_cdf
from torch.distributions import Normal

from course_utils.forward import add_noise, posterior, predict_noise
from course_utils.mixture import exact_denoiser
from course_utils.predictions import NOISE, VELOCITY, X_0, V, score
from course_utils.sampling import clipped, ddim_encode, ddim_step, ddpm_step, denoiser, sample, sample_steps
from course_utils.schedule import GaussianPath, cosine_schedule, linear_schedule, straight_path
from course_utils.training import diffusion_loss

DOUBLE = torch.float64
PATHS = {"linear": linear_schedule(), "cosine": cosine_schedule(), "straight": straight_path()}
PREDICTIONS = {"noise": NOISE, "x_0": X_0, "v": V, "velocity": VELOCITY}

each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
each_prediction = pytest.mark.parametrize("predicts", PREDICTIONS.values(), ids=PREDICTIONS)


def randn(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Paths


@each_path
def test_a_path_starts_at_the_picture_and_its_snr_falls(path):
    assert (path.signal_rate[0], path.noise_rate[0]) == (1, 0)
    assert path.T == 1000
    assert path.signal_rate.dtype == path.noise_rate.dtype == DOUBLE
    assert path.snr[0] == torch.inf
    assert (path.snr.diff()[1:] < 0).all()
    assert torch.equal(path.log_snr, path.snr.log())


def test_the_squares_of_a_schedules_rates_add_up_to_1(schedule):
    assert isinstance(schedule, GaussianPath)
    assert (schedule.signal_rate**2 + schedule.noise_rate**2 - 1).abs().max() < 1e-15


def test_the_straight_path_is_a_straight_line():
    path, x_0, noise = straight_path(8), randn(5, 3), randn(5, 3, seed=1)
    x = [add_noise(x_0, t, noise, path) for t in range(9)]
    assert torch.equal(x[0], x_0)
    assert torch.equal(x[8], noise)
    for before, here, after in zip(x, x[1:], x[2:], strict=False):
        assert (before - 2 * here + after).abs().max() < 1e-15


@each_path
@pytest.mark.parametrize(("t", "s"), [(1, 0), (2, 1), (500, 499), (1000, 999), (1000, 0), (700, 200)])
def test_the_posterior_is_the_product_of_two_gaussians(path, t, s):
    """q(x_s | x_0) times q(x_t | x_s), each with its precision: an independent way to the same mean and variance."""
    x_0, x_t = randn(6, 2), randn(6, 2, seed=1)
    signal_t, signal_s = path.signal_rate[t], path.signal_rate[s]
    mean, variance = posterior(x_0, x_t, t, path, s)
    if s == 0:
        assert torch.equal(mean, x_0)
        assert variance == 0
        return
    r = signal_t / signal_s
    prior = 1 / path.noise_rate[s] ** 2
    likelihood = r**2 / (path.noise_rate[t] ** 2 - r**2 * path.noise_rate[s] ** 2)
    pull = r * x_t / (path.noise_rate[t] ** 2 - r**2 * path.noise_rate[s] ** 2)
    assert (variance * (prior + likelihood) - 1).abs().max() < 1e-11
    assert (mean - variance * (prior * signal_s * x_0 + pull)).abs().max() < 1e-11


# Predictions


@each_path
@each_prediction
@pytest.mark.parametrize("t", [1, 10, 500, 990])
def test_the_target_of_each_prediction_means_the_image_that_was_noised(path, predicts, t):
    x_0, noise = randn(4, 3), randn(4, 3, seed=1)
    x_t = add_noise(x_0, t, noise, path)
    x_0_hat = predicts.x_0(x_t, t, predicts.target(x_0, noise, t, path), path)
    assert (x_0_hat - x_0).abs().max() < 1e-14 / path.signal_rate[t]


@each_path
@pytest.mark.parametrize("pair", list(itertools.permutations(PREDICTIONS, 2)), ids="-".join)
@pytest.mark.parametrize("t", [1, 500, 990])
def test_predictions_convert_into_one_another(path, pair, t):
    """Any answer at all, read as one of them, is said in the terms of another, and back again."""
    here, there = (PREDICTIONS[name] for name in pair)
    x_t, answer = randn(4, 3), randn(4, 3, seed=1)

    def convert(answer, one, other):
        x_0_hat = one.x_0(x_t, t, answer, path)
        return other.target(x_0_hat, predict_noise(x_t, t, x_0_hat, path), t, path)

    size = 1e-13 / (path.signal_rate[t] * path.noise_rate[t]) ** 2
    assert (convert(convert(answer, here, there), there, here) - answer).abs().max() < size


def test_v_is_the_derivative_along_the_circle():
    """With signal = cos(phi) and noise = sin(phi), v = dx/dphi (arXiv 2202.00512, appendix D)."""
    phi = torch.linspace(0, 1.5, 301, dtype=DOUBLE)
    path, x_0, noise = GaussianPath(phi.cos(), phi.sin()), randn(5), randn(5, seed=1)
    before, after = add_noise(x_0, 99, noise, path), add_noise(x_0, 101, noise, path)
    v = V.target(x_0, noise, 100, path)
    assert ((after - before) / (phi[101] - phi[99]) - v).abs().max() < 1e-4


def test_velocity_is_the_derivative_along_the_straight_path():
    path, x_0, noise = straight_path(), randn(5), randn(5, seed=1)
    moved = add_noise(x_0, 600, noise, path) - add_noise(x_0, 200, noise, path)
    assert (moved / 0.4 - VELOCITY.target(x_0, noise, 400, path)).abs().max() < 1e-14


@each_path
@pytest.mark.parametrize("t", [20, 500, 980])
def test_score_is_the_gradient_of_the_log_density(path, t):
    x_t = randn(6, 2).requires_grad_()
    [gradient] = torch.autograd.grad(PLANE.noised(t, path).log_prob(x_t).sum(), x_t)
    x_0_hat = exact_denoiser(PLANE, path)(x_t.detach(), t)
    assert (score(x_t.detach(), t, x_0_hat, path) - gradient).abs().max() < 1e-9


# The loss


@each_path
@each_prediction
def test_loss_compares_the_answer_with_the_target(path, predicts):
    x_0, noise, t = randn(4, 3), randn(4, 3, seed=1), torch.tensor([1, 300, 600, 900])
    target = predicts.target(x_0, noise, t, path)
    assert diffusion_loss(lambda x_t, t: target, x_0, t, noise, path, predicts=predicts) == 0
    loss = diffusion_loss(lambda x_t, t: target + 2, x_0, t, noise, path, predicts=predicts)
    assert abs(loss - 4) < 1e-14


@each_path
def test_losses_of_two_predictions_differ_by_the_snr(path):
    """|noise_hat - noise|^2 = SNR |x_0_hat - x_0|^2, so a weight of SNR turns one loss into the other."""
    x_0, noise, t = randn(4, 3), randn(4, 3, seed=1), torch.tensor([1, 300, 600, 900])
    x_0_hat = randn(4, 3, seed=2)

    def noise_hat(x_t, t):
        return predict_noise(x_t, t, x_0_hat, path)

    one = diffusion_loss(noise_hat, x_0, t, noise, path)
    other = diffusion_loss(lambda x_t, t: x_0_hat, x_0, t, noise, path, predicts=X_0, weight=path.snr)
    assert abs(one / other - 1) < 1e-12


# Samplers


def test_ddim_without_noise_on_the_straight_path_is_eulers_method():
    path, x, velocity = straight_path(), randn(5, 3), randn(5, 3, seed=1)
    for t, s in [(1000, 800), (800, 300), (300, 1), (1, 0)]:
        euler = x + (s - t) / 1000 * velocity
        x = ddim_step(x, VELOCITY.x_0(x, t, velocity, path), t, s, path)
        assert (x - euler).abs().max() < 1e-14


@pytest.mark.parametrize("num_steps", [4, 10, 50])
def test_walks_on_the_straight_path_are_those_of_diffusers(num_steps):
    """Their step is computed in float32 whatever it is given, hence the tolerance."""
    scheduler, path = FlowMatchEulerDiscreteScheduler(), straight_path()
    scheduler.set_timesteps(num_steps)
    levels = [*(1000 * scheduler.sigmas).round().int().tolist()]
    scheduler.set_timesteps(sigmas=[level / 1000 for level in levels[:-1]])
    theirs = x_T = randn(4, 3, dtype=torch.float32)

    def network(x_t, t):
        return (x_t * (t / 500).cos()[:, None]).sin() - x_t / 3

    denoise = denoiser(network, path, predicts=VELOCITY, clip=False)
    walk = sample_steps(denoise, x_T.shape, path, ddim_step, levels=levels, x_T=x_T)
    for (_, ours, _), t in zip(walk, scheduler.timesteps, strict=True):
        theirs = scheduler.step(network(theirs, t.expand(4)), t, theirs).prev_sample
        assert (ours - theirs).abs().max() < 2e-6


@pytest.mark.slow
@each_path
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samplers_make_the_mixture_on_every_path(path, eta):
    step, generator = partial(ddim_step, eta=eta), torch.Generator().manual_seed(0)
    points = sample(exact_denoiser(PLANE, path), (10_000, 2), path, step, num_steps=500, generator=generator)
    check_components(PLANE, points, bias=0.06)


@pytest.mark.slow
@each_path
def test_ddpm_makes_the_mixture_on_every_path(path, generator):
    points = sample(exact_denoiser(PLANE, path), (10_000, 2), path, ddpm_step, num_steps=500, generator=generator)
    check_components(PLANE, points, bias=0.06)


def test_on_the_straight_path_the_flow_keeps_the_quantiles():
    probability = (torch.arange(100, dtype=DOUBLE) + 0.5) / 100
    x_T = Normal(0.0, 1.0).icdf(probability)[:, None]
    x_0 = sample(exact_denoiser(LINE, straight_path()), x_T.shape, straight_path(), ddim_step, num_steps=500, x_T=x_T)
    assert (line_cdf(LINE, x_0) - probability).abs().max() < 0.01


@each_path
def test_encoding_and_decoding_return_the_point(path):
    x_0, levels = LINE.sample(50, torch.Generator().manual_seed(0)).double(), list(range(1, 961))
    denoise = exact_denoiser(LINE, path)
    encoded = ddim_encode(denoise, x_0, path, levels)
    decoded = sample(denoise, x_0.shape, path, ddim_step, levels=[*reversed(levels), 0], x_T=encoded)
    assert (decoded - x_0).abs().max() < 0.05  # of the first order, with steps of one level


def test_clipped_clips():
    denoise = clipped(lambda x_t, t: t * x_t)
    assert denoise(torch.tensor([-1.0, 0.25, 2.0]), 2).tolist() == [-1, 0.5, 1]
