import pytest
import torch
from test_mixture import PLANE

from course_utils.guidance import guided, guided_twice
from course_utils.mixture import GaussianMixture, exact_denoiser
from course_utils.predictions import score
from course_utils.sampling import clipped
from course_utils.schedule import cosine_schedule, straight_path

PATHS = {"cosine": cosine_schedule(), "straight": straight_path()}
each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def component(k):
    """One of PLANE's components, as a mixture of its own: what a label would say."""
    one = torch.ones(1, dtype=torch.float64)
    return GaussianMixture(one, PLANE.means[k : k + 1], PLANE.covariances[k : k + 1])


def both(path, k=0):
    return exact_denoiser(component(k), path), exact_denoiser(PLANE, path)


@each_path
@pytest.mark.parametrize("t", [1, 400, 1000])
def test_scale_1_is_conditional_and_0_unconditional(path, t):
    conditional, unconditional = both(path)
    x_t = randn(5, 2)
    assert (guided(conditional, unconditional, 1)(x_t, t) - conditional(x_t, t)).abs().max() < 1e-14
    assert torch.equal(guided(conditional, unconditional, 0)(x_t, t), unconditional(x_t, t))


@each_path
@pytest.mark.parametrize("t", [20, 400, 980])
@pytest.mark.parametrize("scale", [0.5, 3, 7.5])
def test_guidance_follows_the_score_of_the_classifier(path, t, scale):
    """By Bayes' rule, score = grad log q(x_t) + scale grad log q(k | x_t), and the mixture knows both exactly."""
    x_t = randn(6, 2).requires_grad_()
    noised = PLANE.noised(t, path)
    log_posterior = noised.log_prob(x_t) + scale * noised.responsibilities(x_t)[:, 0].log()
    [gradient] = torch.autograd.grad(log_posterior.sum(), x_t)
    x_t = x_t.detach()
    x_0_hat = guided(*both(path), scale)(x_t, t)
    assert (score(x_t, t, x_0_hat, path) - gradient).abs().max() < 1e-9 * max(1, gradient.abs().max())


def test_guidance_at_some_levels_only():
    path, x_t = straight_path(), randn(5, 2)
    conditional, unconditional = both(path)
    partly, fully = (guided(conditional, unconditional, 4, levels) for levels in (range(100, 600), None))
    for t in (99, 600, 1000):
        assert torch.equal(partly(x_t, t), conditional(x_t, t))
    for t in (100, 599):
        assert torch.equal(partly(x_t, t), fully(x_t, t))
        assert not torch.equal(partly(x_t, t), conditional(x_t, t))


def test_clipping_before_the_combination_is_something_else():
    """Far guesses on either side of 1: clipped first, their difference is gone, and so is the guidance."""
    x_t = torch.zeros(1, 1)
    conditional, unconditional = (lambda x, t, guess=guess: x + guess for guess in (1.5, 1.2))
    assert clipped(guided(conditional, unconditional, -3))(x_t, 5) == pytest.approx(0.3)
    assert guided(clipped(conditional), clipped(unconditional), -3)(x_t, 5) == 1


# Two conditions: the component, here "both", within a pair of components, here "artist"


def pair():
    """PLANE's first two components, as a mixture of their own: what only the artist says."""
    weights = PLANE.weights[:2] / PLANE.weights[:2].sum()
    return GaussianMixture(weights, PLANE.means[:2], PLANE.covariances[:2])


def three(path):
    return tuple(exact_denoiser(mixture, path) for mixture in (component(0), pair(), PLANE))


@each_path
@pytest.mark.parametrize("t", [1, 400, 1000])
def test_two_scales_of_1_are_conditional_and_of_0_unconditional(path, t):
    both, artist, neither = three(path)
    x_t = randn(5, 2)
    assert (guided_twice(both, artist, neither, 1, 1)(x_t, t) - both(x_t, t)).abs().max() < 1e-14
    assert (guided_twice(both, artist, neither, 0, 1)(x_t, t) - artist(x_t, t)).abs().max() < 1e-14
    assert torch.equal(guided_twice(both, artist, neither, 0, 0)(x_t, t), neither(x_t, t))


@each_path
def test_equal_scales_guide_by_both_at_once(path):
    both, artist, neither = three(path)
    x_t = randn(5, 2)
    twice = guided_twice(both, artist, neither, 3, 3)(x_t, 400)
    assert (twice - guided(both, neither, 3)(x_t, 400)).abs().max() < 1e-13


@each_path
@pytest.mark.parametrize("t", [20, 400, 980])
@pytest.mark.parametrize(("words_scale", "artist_scale"), [(3, 1), (0.5, 2), (7.5, 1.5)])
def test_each_scale_follows_the_score_of_its_own_classifier(path, t, words_scale, artist_scale):
    """grad log q(x_t) + artist_scale grad log q(artist | x_t) + words_scale grad log q(words | artist, x_t)."""
    x_t = randn(6, 2).requires_grad_()
    noised, found = PLANE.noised(t, path), PLANE.noised(t, path).responsibilities(x_t)
    artist = found[:, :2].sum(dim=1)
    log_posterior = noised.log_prob(x_t) + artist_scale * artist.log() + words_scale * (found[:, 0] / artist).log()
    [gradient] = torch.autograd.grad(log_posterior.sum(), x_t)
    x_t = x_t.detach()
    x_0_hat = guided_twice(*three(path), words_scale, artist_scale)(x_t, t)
    assert (score(x_t, t, x_0_hat, path) - gradient).abs().max() < 1e-9 * max(1, gradient.abs().max())
