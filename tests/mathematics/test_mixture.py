import dataclasses

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from course_utils.forward import add_noise
from course_utils.mixture import GaussianMixture, exact_denoiser
from course_utils.sampling import ddim_step, sample
from course_utils.schedule import linear_schedule


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


LINE = GaussianMixture(tensor([0.3, 0.7]), tensor([[-1.0], [0.5]]), tensor([[[0.04]], [[0.09]]]))
PLANE = GaussianMixture(
    tensor([0.2, 0.3, 0.5]),
    tensor([[-1.5, -1.0], [1.5, -0.5], [0.0, 1.5]]),
    tensor([[[0.04, 0.0], [0.0, 0.09]], [[0.10, 0.05], [0.05, 0.06]], [[0.03, -0.01], [-0.01, 0.02]]]),
)
SPACE = GaussianMixture(
    tensor([1.0]), tensor([[1.0, -2.0, 0.5]]), tensor([[[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 0.8]]])
)
each_mixture = pytest.mark.parametrize("mixture", [LINE, PLANE, SPACE], ids=["line", "plane", "space"])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some_points(mixture, n=200):
    """Points everywhere around, where the mixture is dense and where it is not."""
    return 1.5 * torch.randn(n, mixture.means.shape[1], generator=seeded(), dtype=torch.float64)


def torchs(mixture):
    """The same mixture, from torch.distributions."""
    components = MultivariateNormal(mixture.means, mixture.covariances)
    return MixtureSameFamily(Categorical(mixture.weights), components)


def line_cdf(mixture, x):
    """P(X <= x) for a mixture on the line, (B, 1) -> (B,)."""
    components = Normal(mixture.means[:, 0], mixture.covariances[:, 0, 0].sqrt())
    return MixtureSameFamily(Categorical(mixture.weights), components).cdf(x[:, 0])


def check_components(mixture, points, bias=0.0):
    """The share of the points near each component, their means and their covariances: right to five standard errors,
    and to a bias, in units of the components' spread."""
    nearest = torch.cdist(points, mixture.means.to(points.dtype)).argmin(dim=1)
    for k, (weight, mean, covariance) in enumerate(
        zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ):
        own = points[nearest == k].double()
        n, variances = len(own), covariance.diag()
        assert (n / len(points) - weight).abs() < 5 * (weight * (1 - weight) / len(points)).sqrt()
        assert ((own.mean(dim=0) - mean).abs() < (5 * n**-0.5 + bias) * variances.sqrt()).all()
        standard_errors = ((torch.outer(variances, variances) + covariance**2) / n).sqrt()
        assert ((own.T.cov() - covariance).abs() < 5 * standard_errors + bias * variances.outer(variances).sqrt()).all()


# The density and the moments


@each_mixture
def test_log_prob_is_that_of_torch_distributions(mixture):
    x = some_points(mixture)
    assert (mixture.log_prob(x) - torchs(mixture).log_prob(x)).abs().max() < 1e-12


@each_mixture
def test_responsibilities_are_the_components_shares_of_the_density(mixture):
    x = some_points(mixture)
    components = MultivariateNormal(mixture.means, mixture.covariances)
    shares = mixture.weights * components.log_prob(x[:, None]).exp() / torchs(mixture).log_prob(x).exp()[:, None]
    assert mixture.responsibilities(x).shape == (len(x), len(mixture.weights))
    assert (mixture.responsibilities(x) - shares).abs().max() < 1e-12


def test_far_away_the_responsibilities_still_add_up_to_1():
    total = PLANE.responsibilities(1000 * some_points(PLANE)).sum(dim=1)
    assert (total - 1).abs().max() < 1e-14


@each_mixture
def test_mean_and_variances_are_those_of_torch_distributions(mixture):
    assert (mixture.mean() - torchs(mixture).mean).abs().max() < 1e-14
    assert (mixture.covariance().diag() - torchs(mixture).variance).abs().max() < 1e-14


@each_mixture
def test_covariance_is_the_mean_square_less_the_squared_mean(mixture):
    squares = mixture.covariances + mixture.means[:, :, None] * mixture.means[:, None, :]
    mean_square = (mixture.weights[:, None, None] * squares).sum(dim=0)
    assert (mixture.covariance() - (mean_square - torch.outer(mixture.mean(), mixture.mean()))).abs().max() < 1e-14


# Samples


@pytest.mark.parametrize("mixture", [LINE, PLANE], ids=["line", "plane"])
def test_samples_have_the_weights_means_and_covariances_of_the_components(mixture, generator):
    if mixture is LINE:
        x = mixture.sample(30_000, generator).double().sort(dim=0).values
        assert (line_cdf(mixture, x) - torch.arange(1, 30_001) / 30_000).abs().max() < 2.3 * 30_000**-0.5
    else:
        check_components(mixture, mixture.sample(30_000, generator))


@each_mixture
def test_samples_are_float32_of_the_dimension_of_the_mixture(mixture):
    x = mixture.sample(7, seeded())
    assert x.dtype == torch.float32
    assert x.shape == (7, mixture.means.shape[1])


def test_a_seed_decides_the_sample():
    state = torch.get_rng_state()
    assert torch.equal(PLANE.sample(5, seeded(0)), PLANE.sample(5, seeded(0)))
    assert not (PLANE.sample(5, seeded(0)) == PLANE.sample(5, seeded(1))).any()
    assert torch.equal(torch.get_rng_state(), state)


def test_torchs_own_seed_decides_the_sample_by_default():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        by_default = PLANE.sample(5)
    assert torch.equal(by_default, PLANE.sample(5, seeded(7)))


# The mixture at level t


@each_mixture
def test_at_level_0_the_mixture_is_itself(schedule, mixture):
    x = some_points(mixture)
    assert torch.equal(mixture.noised(0, schedule).log_prob(x), mixture.log_prob(x))


@each_mixture
@pytest.mark.parametrize("t", [1, 200, 1000])
def test_the_noised_mixture_has_the_moments_of_scaled_points_and_independent_noise(schedule, mixture, t):
    share, noised = schedule.alpha_bar[t], mixture.noised(t, schedule)
    identity = torch.eye(mixture.means.shape[1], dtype=torch.float64)
    assert (noised.mean() - share.sqrt() * mixture.mean()).abs().max() < 1e-14
    assert (noised.covariance() - share * mixture.covariance() - (1 - share) * identity).abs().max() < 1e-14


@pytest.mark.parametrize("t", [1, 200, 500, 1000])
def test_noised_points_are_distributed_like_the_noised_mixture(schedule, generator, t):
    n = 30_000
    x_t = add_noise(LINE.sample(n, generator), t, torch.randn(n, 1, generator=generator), schedule)
    cdf = line_cdf(LINE.noised(t, schedule), x_t.double().sort(dim=0).values)
    # Kolmogorov and Smirnov: further apart than 2.3 / sqrt(n) once in 20,000 times.
    assert (cdf - torch.arange(1, n + 1) / n).abs().max() < 2.3 * n**-0.5


# The exact denoiser


@pytest.mark.parametrize("t", [1, 2, 50, 500, 1000])
def test_denoiser_on_the_line_is_the_mean_of_x_0_by_numerical_integration(schedule, t):
    x_0 = torch.linspace(-4, 4, 20_001, dtype=torch.float64)[:, None]
    x_t = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    likelihood = Normal(schedule.alpha_bar[t].sqrt() * x_0.T, (1 - schedule.alpha_bar[t]).sqrt()).log_prob(x_t)
    probability = (torchs(LINE).log_prob(x_0) + likelihood).softmax(dim=1)
    assert (exact_denoiser(LINE, schedule)(x_t, t) - probability @ x_0).abs().max() < 1e-11


@pytest.mark.parametrize("t", [200, 700])
def test_denoiser_in_the_plane_is_the_mean_of_x_0_by_numerical_integration(schedule, t):
    x_t, side = some_points(PLANE, n=5), torch.linspace(-4, 4, 401, dtype=torch.float64)
    x_0 = torch.cartesian_prod(side, side)
    mean = schedule.alpha_bar[t].sqrt() * x_0
    likelihood = Normal(mean, (1 - schedule.alpha_bar[t]).sqrt()).log_prob(x_t[:, None]).sum(dim=2)
    probability = (torchs(PLANE).log_prob(x_0) + likelihood).softmax(dim=1)
    assert (exact_denoiser(PLANE, schedule)(x_t, t) - probability @ x_0).abs().max() < 1e-11


@each_mixture
@pytest.mark.parametrize("t", [1, 2, 50, 500, 1000])
def test_denoiser_follows_tweedies_formula(schedule, mixture, t):
    """E[x_0 | x_t] = (x_t + (1 - alpha_bar) * gradient of log p(x_t)) / sqrt(alpha_bar) (Efron, 2011)."""
    share = schedule.alpha_bar[t]
    x_t = mixture.noised(t, schedule).sample(100, seeded()).double().requires_grad_()
    identity = torch.eye(mixture.means.shape[1], dtype=torch.float64)
    components = MultivariateNormal(share.sqrt() * mixture.means, share * mixture.covariances + (1 - share) * identity)
    density = MixtureSameFamily(Categorical(mixture.weights), components)
    for log_prob in (density.log_prob(x_t), mixture.noised(t, schedule).log_prob(x_t)):
        (score,) = torch.autograd.grad(log_prob.sum(), x_t)
        x_0_hat = exact_denoiser(mixture, schedule)(x_t.detach(), t)
        assert (share.sqrt() * x_0_hat - (x_t + (1 - share) * score)).abs().max() < 1e-13


def test_denoiser_knows_only_the_mean_where_nothing_of_the_image_is_left(schedule):
    x_0_hat = exact_denoiser(PLANE, schedule)(some_points(PLANE), schedule.T)
    assert (x_0_hat - PLANE.mean()).abs().max() < 20 * schedule.alpha_bar[-1].sqrt()


@pytest.mark.parametrize("t", [1, 100, 1000])
def test_denoiser_keeps_float32_and_is_right_to_its_rounding(schedule, t):
    x_t = PLANE.noised(t, schedule).sample(100, seeded())
    x_0_hat = exact_denoiser(PLANE, schedule)(x_t, t)
    assert x_0_hat.dtype == torch.float32
    assert (x_0_hat.double() - exact_denoiser(PLANE, schedule)(x_t.double(), t)).abs().max() < 1e-5


def test_denoiser_leaves_x_t_alone(schedule):
    x_t = some_points(PLANE)
    before = x_t.clone()
    exact_denoiser(PLANE, schedule)(x_t, 300)
    assert torch.equal(x_t, before)


def test_denoiser_stays_where_the_points_are(schedule):
    assert exact_denoiser(PLANE, schedule)(torch.zeros(5, 2, device="meta"), 300).device.type == "meta"


# Samplers with the exact denoiser make the mixture


@pytest.mark.slow
def test_ddpm_makes_the_mixture(generator):
    schedule = linear_schedule()
    points = sample(exact_denoiser(PLANE, schedule), (20_000, 2), schedule, generator=generator)
    check_components(PLANE, points)


@pytest.mark.slow
@pytest.mark.parametrize(("num_steps", "bias"), [(1000, 0.0), (250, 0.1)])  # coarse steps make it a little narrower
def test_ddim_makes_the_mixture(generator, num_steps, bias):
    schedule = linear_schedule()
    denoise = exact_denoiser(PLANE, schedule)
    points = sample(denoise, (20_000, 2), schedule, ddim_step, num_steps=num_steps, generator=generator)
    check_components(PLANE, points, bias)


@pytest.mark.parametrize(("num_steps", "tolerance"), [(1000, 0.01), (250, 0.02)])
def test_ddim_carries_the_quantiles_of_noise_to_the_quantiles_of_the_mixture(schedule, num_steps, tolerance):
    """On the line the flow keeps the order of points, so that nothing is left to chance."""
    probability = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    x_T = Normal(0.0, 1.0).icdf(probability)[:, None]
    x_0 = sample(exact_denoiser(LINE, schedule), x_T.shape, schedule, ddim_step, num_steps=num_steps, x_T=x_T)
    assert (line_cdf(LINE, x_0) - probability).abs().max() < tolerance


# What a mixture is, and what is refused


def test_a_mixture_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LINE.weights = tensor([0.5, 0.5])


def test_a_mixture_keeps_float64_copies():
    weights, means, covariances = torch.tensor([1.0]), torch.tensor([[0.5]]), torch.tensor([[[2.0]]])
    mixture = GaussianMixture(weights, means, covariances)
    kept = [mixture.weights, mixture.means, mixture.covariances]
    for values in (weights, means, covariances):
        values += 1
    assert [values.dtype for values in kept] == [torch.float64] * 3
    assert [values.item() for values in kept] == [1, 0.5, 2]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(weights=[0.3, 0.7]), TypeError, "weights must"),
        (dict(means=torch.zeros(2, 1, dtype=torch.long)), TypeError, "means must"),
        (dict(covariances=None), TypeError, "covariances must"),
        (dict(weights=tensor([0.3, 0.6])), ValueError, "weights must be above 0 and add up to 1"),
        (dict(weights=tensor([0.0, 1.0])), ValueError, "weights must be above 0 and add up to 1"),
        (dict(weights=tensor([-0.5, 1.5])), ValueError, "weights must be above 0 and add up to 1"),
        (dict(weights=tensor([0.2, 0.3, 0.5])), ValueError, "means must .*weights of shape"),
        (dict(means=tensor([[0.0, 1.0], [1.0, 0.0]])), ValueError, "covariances must .*weights of shape"),
        (dict(covariances=tensor([[0.04], [0.09]])), ValueError, "covariances must"),
        (dict(covariances=tensor([[[0.04]], [[0.0]]])), ValueError, "positive definite"),
        (dict(covariances=tensor([[[0.04]], [[-1.0]]])), ValueError, "positive definite"),
    ],
)
def test_what_makes_no_mixture_is_refused(changes, error, message):
    arguments = dict(weights=LINE.weights, means=LINE.means, covariances=LINE.covariances) | changes
    with pytest.raises(error, match=message):
        GaussianMixture(**arguments)


def test_a_covariance_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="covariances must be symmetric"):
        GaussianMixture(tensor([1.0]), tensor([[0.0, 0.0]]), tensor([[[1.0, 0.5], [0.0, 1.0]]]))


@pytest.mark.parametrize("name", ["log_prob", "responsibilities"])
@pytest.mark.parametrize("x", [torch.zeros(2), torch.zeros(2, 2).long(), 3])
def test_what_are_no_points_is_refused(name, x):
    with pytest.raises(TypeError, match="x must"):
        getattr(PLANE, name)(x)


@pytest.mark.parametrize("t", [-1, 1001])
def test_noised_refuses_a_level_that_is_not_there(schedule, t):
    with pytest.raises(ValueError, match="t must"):
        PLANE.noised(t, schedule)


@pytest.mark.parametrize("t", [-1, 1001])
def test_denoiser_refuses_a_level_that_is_not_there(schedule, t):
    with pytest.raises(ValueError, match="t must"):
        exact_denoiser(PLANE, schedule)(torch.zeros(5, 2), t)
