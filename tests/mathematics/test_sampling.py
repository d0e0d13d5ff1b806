from functools import partial
from itertools import pairwise

import pytest
import torch

from course_utils.forward import add_noise, posterior, predict_noise, predict_x_0
from course_utils.mixture import GaussianMixture, exact_denoiser
from course_utils.sampling import (
    asked_at_most,
    ddim_encode,
    ddim_step,
    ddpm_step,
    denoiser,
    sample,
    sample_steps,
    spaced_levels,
)
from course_utils.schedule import cosine_schedule, linear_schedule

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LEVELS = [(2, 1), (500, 499), (700, 200), (1000, 999), (1000, 1), (100, 80)]  # t, s
STEPS = [ddpm_step, ddim_step, partial(ddim_step, eta=0.5), partial(ddim_step, eta=1.0)]
STEP_NAMES = ["ddpm", "ddim", "ddim-0.5", "ddim-1"]
each_step = pytest.mark.parametrize("step", STEPS, ids=STEP_NAMES)
each_random_step = pytest.mark.parametrize("step", [STEPS[0], *STEPS[2:]], ids=[STEP_NAMES[0], *STEP_NAMES[2:]])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def halve(x_t, t):
    """A denoiser that needs no knowledge."""
    return x_t / 2


def one_gaussian(mean, variance):
    """N(mean, variance) on the line."""
    one = torch.ones(1, dtype=torch.float64)
    return GaussianMixture(one, mean * one[None], variance * one[None, None])


# x_0 and the noise from each other


def test_predict_x_0_inverts_add_noise(schedule):
    t = torch.arange(1, schedule.T + 1)
    x_0, noise = randn(schedule.T, 3), randn(schedule.T, 3, seed=1)
    x_0_hat = predict_x_0(add_noise(x_0, t, noise, schedule), t, noise, schedule)
    # The rounding of x_t comes back divided by sqrt(alpha_bar), which is 5e-5 at the end of the cosine schedule.
    assert (schedule.alpha_bar[1:, None].sqrt() * (x_0_hat - x_0)).abs().max() < 1e-14


def test_predict_noise_inverts_add_noise(schedule):
    t = torch.arange(1, schedule.T + 1)
    x_0, noise = randn(schedule.T, 3), randn(schedule.T, 3, seed=1)
    noise_hat = predict_noise(add_noise(x_0, t, noise, schedule), t, x_0, schedule)
    assert ((1 - schedule.alpha_bar[1:, None]).sqrt() * (noise_hat - noise)).abs().max() < 1e-14


@pytest.mark.parametrize("predict", [predict_x_0, predict_noise])
@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 1, 5, 7)])
def test_predictions_for_a_t_for_each_item_are_what_each_item_gives_by_itself(schedule, predict, shape):
    x_t, other, levels = randn(*shape), randn(*shape, seed=1), [1000, 1, 300]
    together = predict(x_t, torch.tensor(levels), other, schedule)
    alone = [predict(x_t[i : i + 1], t, other[i : i + 1], schedule) for i, t in enumerate(levels)]
    assert torch.equal(together, torch.cat(alone))


# One step


@each_step
@pytest.mark.parametrize("t", [1, 2, 500, 1000])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_step_to_0_adds_no_noise_and_ends_in_the_prediction(schedule, step, t, seed):
    x_t, x_0_hat = randn(4, 3), randn(4, 3, seed=1)
    assert torch.equal(step(x_t, x_0_hat, t, 0, schedule, generator=seeded(seed)), x_0_hat)


def test_ddim_with_eta_1_is_ddpm_between_neighbours(schedule):
    for t in range(1, schedule.T + 1):
        x_t, x_0_hat = randn(5, seed=t), randn(5, seed=t + 1)
        ddpm = ddpm_step(x_t, x_0_hat, t, t - 1, schedule, generator=seeded(t))
        ddim = ddim_step(x_t, x_0_hat, t, t - 1, schedule, eta=1.0, generator=seeded(t))
        assert (ddim - ddpm).abs().max() < 1e-11


@pytest.mark.parametrize(("t", "s"), LEVELS)
def test_ddim_with_eta_1_is_ddpm_when_levels_are_skipped_too(schedule, t, s):
    x_t, x_0_hat = randn(50), randn(50, seed=1)
    ddpm = ddpm_step(x_t, x_0_hat, t, s, schedule, generator=seeded())
    ddim = ddim_step(x_t, x_0_hat, t, s, schedule, eta=1.0, generator=seeded())
    assert (ddim - ddpm).abs().max() < 1e-11


def test_ddim_with_eta_1_stays_real_where_nothing_of_the_image_is_left():
    """4000 of the usual steps leave an alpha_bar below the rounding of 1."""
    schedule, x = linear_schedule(4000), randn(5)
    for s in range(1, 30):
        for t in range(3000, 4001, 50):
            assert ddim_step(x, x, t, s, schedule, eta=1.0, generator=seeded()).dtype == torch.float64


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("t", "s"), LEVELS)
def test_ddim_keeps_the_marginals_for_every_eta(schedule, t, s, eta):
    """Where x_0_hat is right, x_s is distributed like one jump from x_0 (DDIM, lemma 1)."""
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    step = partial(ddim_step, t=t, s=s, path=schedule, eta=eta)
    fresh = step(zero, zero, generator=seeded())
    kept = step(add_noise(zero, t, one, schedule), zero, generator=seeded()) - fresh
    sigma = fresh / randn(1)
    image = step(add_noise(one, t, zero, schedule), one, generator=seeded()) - fresh
    _, variance = posterior(zero, zero, t, schedule, s)
    assert (image - schedule.alpha_bar[s].sqrt()).abs() < 1e-14
    assert (kept**2 + sigma**2 - (1 - schedule.alpha_bar[s])).abs() < 1e-14
    assert (sigma**2 - eta**2 * variance).abs() < 1e-14


@pytest.mark.parametrize(("t", "s"), LEVELS)
def test_ddpm_step_is_distributed_like_the_posterior(schedule, generator, t, s):
    n = 30_000
    x_t, x_0_hat = torch.full((n,), 0.8), torch.full((n,), -0.4)
    x_s = ddpm_step(x_t, x_0_hat, t, s, schedule, generator=generator).double()
    mean, variance = posterior(x_0_hat[:1].double(), x_t[:1].double(), t, schedule, s)
    assert (x_s.mean() - mean).abs() < 5 * (variance / n).sqrt() + 1e-7  # the second term is float32's rounding
    assert (x_s.var() / variance - 1).abs() < 5 * (2 / n) ** 0.5


@each_random_step
def test_a_random_step_draws_from_the_generator_alone(schedule, step):
    x, state = randn(5), torch.get_rng_state()
    one, same, other = (step(x, x, 500, 400, schedule, generator=seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not (one == other).any()
    assert torch.equal(torch.get_rng_state(), state)


@each_random_step
def test_a_random_step_draws_from_torchs_own_state_by_default(schedule, step):
    x = randn(5)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        by_default = step(x, x, 500, 400, schedule)
    assert torch.equal(by_default, step(x, x, 500, 400, schedule, generator=seeded(7)))


@pytest.mark.parametrize("options", [{}, dict(eta=0), dict(eta=0.0)])
def test_ddim_draws_nothing_by_default_and_with_eta_0(schedule, generator, options):
    x, state, before = randn(5), torch.get_rng_state(), generator.get_state()
    one = ddim_step(x, x / 2, 500, 400, schedule, **options)
    other = ddim_step(x, x / 2, 500, 400, schedule, generator=generator, **options)
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(generator.get_state(), before)


@each_random_step
def test_noise_differs_between_items_and_pixels(schedule, step):
    x = torch.zeros(4, 2, 3)
    assert len(step(x, x, 500, 400, schedule, generator=seeded()).unique()) == x.numel()


@pytest.mark.parametrize("dtype", DTYPES)
@each_step
def test_a_step_keeps_dtype_shape_and_inputs(schedule, step, dtype):
    x_t, x_0_hat = randn(2, 3, 4, 5, dtype=dtype), randn(2, 3, 4, 5, seed=1, dtype=dtype)
    before = x_t.clone(), x_0_hat.clone()
    x_s = step(x_t, x_0_hat, 500, 400, schedule, generator=seeded())
    assert x_s.dtype == dtype
    assert x_s.shape == x_t.shape
    assert torch.equal(x_t, before[0])
    assert torch.equal(x_0_hat, before[1])


@pytest.mark.parametrize("t", [3, torch.tensor([1, 2], device="meta")])
def test_predictions_are_where_the_images_are(t):
    schedule, x = linear_schedule(10), torch.zeros(2, 3, device="meta")
    assert predict_x_0(x, t, x, schedule).device.type == "meta"
    assert predict_noise(x, t, x, schedule).device.type == "meta"


@each_step
def test_a_step_stays_where_the_images_are(step):
    x = torch.zeros(2, 3, device="meta")
    assert step(x, x, 3, 2, linear_schedule(10), generator=seeded()).device.type == "meta"


# The walk


def test_spaced_levels_fall_from_T_to_0_in_steps_that_are_even_to_the_rounding(schedule):
    T = schedule.T
    for n in range(1, T + 1):
        levels = spaced_levels(schedule, n)
        assert len(levels) == n + 1
        assert levels[0] == T
        assert levels[-1] == 0
        assert all(type(level) is int for level in levels)
        assert all(t > s for t, s in pairwise(levels))
        assert all(abs(level - T * (n - i) / n) < 0.5 + 1e-9 for i, level in enumerate(levels))


def test_spaced_levels_by_example():
    schedule = linear_schedule(1000)
    assert spaced_levels(schedule, 1) == [1000, 0]
    assert spaced_levels(schedule, 3) == [1000, 667, 333, 0]
    assert spaced_levels(schedule, 50) == list(range(1000, -1, -20))
    assert spaced_levels(schedule, 1000) == list(range(1000, -1, -1))


WALKS = [
    ({}, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
    (dict(num_steps=10), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
    (dict(num_steps=3), [10, 7, 3, 0]),
    (dict(num_steps=1), [10, 0]),
    (dict(levels=[10, 4, 1, 0]), [10, 4, 1, 0]),
    (dict(levels=(7, 2, 0)), [7, 2, 0]),
    (dict(levels=range(8, -1, -2)), [8, 6, 4, 2, 0]),
]


@pytest.mark.parametrize(("options", "levels"), WALKS)
def test_a_walk_visits_the_levels_asked_for(options, levels):
    asked, reached = [], []

    def denoise(x_t, t):
        assert type(t) is int
        asked.append(t)
        return x_t / 2

    for s, _, _ in sample_steps(denoise, (2, 3), linear_schedule(10), **options):
        reached.append(s)
        assert len(asked) == len(reached)  # one call of the denoiser a step, made when the step is asked for
    assert asked == levels[:-1]
    assert reached == levels[1:]


@pytest.mark.parametrize(("options", "levels"), WALKS)
@each_step
def test_a_walk_is_the_denoiser_and_the_step_by_turns(step, options, levels):
    schedule, generator, x = linear_schedule(10), seeded(), randn(2, 3, seed=5)
    walk = sample_steps(halve, (2, 3), schedule, step, x_T=x, generator=seeded(), **options)
    for (t, s), yielded in zip(pairwise(levels), walk, strict=True):
        x_0_hat = halve(x, t)
        x = step(x, x_0_hat, t, s, schedule, generator=generator)
        assert yielded[0] == s
        assert torch.equal(yielded[1], x)
        assert torch.equal(yielded[2], x_0_hat)


def test_a_walk_is_ddpms_by_default():
    schedule = linear_schedule(10)
    default = sample(halve, (2, 3), schedule, levels=[10, 5, 2, 0], generator=seeded())
    assert torch.equal(default, sample(halve, (2, 3), schedule, ddpm_step, levels=[10, 5, 2, 0], generator=seeded()))


def test_a_walk_starts_at_x_T_and_leaves_it_alone():
    x_T, starts = randn(2, 3), []

    def denoise(x_t, t):
        starts.append(x_t)
        return x_t / 2

    before = x_T.clone()
    for _ in sample_steps(denoise, (2, 3), linear_schedule(10), x_T=x_T, generator=seeded()):
        pass
    assert torch.equal(starts[0], before)
    assert torch.equal(x_T, before)


def test_a_walk_starts_at_float32_noise_from_the_generator_by_default():
    starts = []

    def denoise(x_t, t):
        starts.append(x_t)
        return x_t / 2

    sample(denoise, (2, 3, 4), linear_schedule(10), generator=seeded(3))
    assert torch.equal(starts[0], torch.randn(2, 3, 4, generator=seeded(3)))


@each_step
def test_a_seed_decides_the_picture(step):
    def picture(seed):
        return sample(halve, (2, 3), linear_schedule(10), step, generator=seeded(seed))

    state = torch.get_rng_state()
    assert torch.equal(picture(0), picture(0))
    assert not (picture(0) == picture(1)).any()
    assert torch.equal(torch.get_rng_state(), state)


def test_torchs_own_seed_decides_the_picture_by_default():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        by_default = sample(halve, (2, 3), linear_schedule(10))
    assert torch.equal(by_default, sample(halve, (2, 3), linear_schedule(10), generator=seeded(7)))


def test_sample_returns_the_last_x():
    def step(x_t, x_0_hat, t, s, schedule, generator=None):
        return x_t - 1  # does not end in the prediction, as the steps of the course do

    x_T = randn(2, 3)
    assert torch.equal(sample(halve, (2, 3), linear_schedule(10), step, num_steps=1, x_T=x_T), x_T - 1)
    assert torch.equal(sample(halve, (2, 3), linear_schedule(10), step, num_steps=2, x_T=x_T), x_T - 1 - 1)


def test_a_step_is_given_the_names_that_the_steps_of_the_course_have():
    calls = []

    def step(x_t, x_0_hat, t, s, schedule, generator=None):
        calls.append((t, s, generator))
        return x_t

    generator = seeded()
    sample(halve, (2, 3), linear_schedule(10), step, num_steps=2, generator=generator)
    assert calls == [(10, 5, generator), (5, 0, generator)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_walk_keeps_the_dtype_of_x_T(dtype):
    assert sample(halve, (2, 3), linear_schedule(10), x_T=randn(2, 3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("options", [dict(device="meta"), dict(x_T=torch.zeros(2, 3, device="meta"))])
@each_step
def test_a_walk_is_on_the_device_asked_for_or_else_where_x_T_is(step, options):
    for _, x, x_0_hat in sample_steps(halve, (2, 3), linear_schedule(10), step, generator=seeded(), **options):
        assert x.device.type == "meta"
        assert x_0_hat.device.type == "meta"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_walk_records_no_gradients_and_leaves_the_callers_grad_mode_alone(enabled):
    weight = torch.ones(1, requires_grad=True)
    with torch.set_grad_enabled(enabled):
        for _, x, x_0_hat in sample_steps(lambda x_t, t: weight * x_t, (2, 3), linear_schedule(10)):
            assert torch.is_grad_enabled() == enabled
            assert not x.requires_grad
            assert not x_0_hat.requires_grad
        assert torch.is_grad_enabled() == enabled


# Exact walks: one Gaussian, whose denoiser is linear, so that every walk has a closed form

GAUSSIANS = [(0.5, 0.3), (-1.0, 2.0)]  # mean, variance


def slope_shift_and_sigma(step, denoise, t, s, schedule):
    """What a step with a linear denoiser is made of: x_s = slope * x_t + shift + sigma * noise."""
    x_t, noise = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64), randn(3, 1)
    x_s = step(x_t, denoise(x_t, t), t, s, schedule, generator=seeded())
    sigma = (x_s[1] - x_s[0]) / (noise[1] - noise[0])
    shift = x_s[0] - sigma * noise[0]
    return [part.item() for part in (x_s[2] - sigma * noise[2] - shift, shift, sigma)]


def ddpm_moments(mixture, schedule):
    """Mean and variance where a walk of all T steps from N(0, 1) ends, without drawing it."""
    mean, variance, denoise = 0.0, 1.0, exact_denoiser(mixture, schedule)
    for t, s in pairwise(spaced_levels(schedule, schedule.T)):
        slope, shift, sigma = slope_shift_and_sigma(ddpm_step, denoise, t, s, schedule)
        mean, variance = slope * mean + shift, slope**2 * variance + sigma**2
    return mean, variance


@pytest.mark.parametrize(("m", "V"), GAUSSIANS)
def test_ddpm_ends_in_the_closed_form_moments_of_one_gaussian(schedule, m, V):
    mean, variance = 0.0, 1.0
    beta, alpha, alpha_bar = (table.tolist() for table in (schedule.beta, schedule.alpha, schedule.alpha_bar))
    for t in range(schedule.T, 0, -1):  # eq. 11, the perfect noise_hat = sqrt(1 - alpha_bar) (x_t - E x_t) / Var x_t
        share = beta[t] / (alpha_bar[t] * V + 1 - alpha_bar[t])
        mean = (mean - share * (mean - alpha_bar[t] ** 0.5 * m)) / alpha[t] ** 0.5
        variance = (1 - share) ** 2 / alpha[t] * variance
        variance += beta[t] * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
    ddpm_mean, ddpm_variance = ddpm_moments(one_gaussian(m, V), schedule)
    assert abs(ddpm_mean - mean) < 1e-11
    assert abs(ddpm_variance - variance) < 1e-11


def test_ddpm_loses_a_hundredth_of_the_variance_to_what_is_unknown_of_x_0():
    """With sqrt(alpha_bar_t) for sqrt(alpha_bar_{t-1}) in the posterior's mean it would lose two."""
    _, variance = ddpm_moments(one_gaussian(0.0, 1.0), linear_schedule())
    assert round(variance, 3) == 0.991


def ddim_slope(alpha_bar_t, alpha_bar_s, V):
    """How far x_s is from its mean where x_t is 1 away from its own: the regression of the one on the other, which
    have x_0 and the noise in common."""
    shared = (alpha_bar_s * alpha_bar_t) ** 0.5 * V + ((1 - alpha_bar_s) * (1 - alpha_bar_t)) ** 0.5
    return shared / (alpha_bar_t * V + 1 - alpha_bar_t)


@pytest.mark.parametrize("num_steps", [250, 50, 7])
@pytest.mark.parametrize(("m", "V"), GAUSSIANS)
def test_ddim_ends_in_the_closed_form_of_one_gaussian(schedule, m, V, num_steps):
    x_T, alpha_bar = torch.linspace(-3, 3, 5, dtype=torch.float64)[:, None], schedule.alpha_bar.tolist()
    away = x_T - alpha_bar[-1] ** 0.5 * m
    for t, s in pairwise(spaced_levels(schedule, num_steps)):
        away = ddim_slope(alpha_bar[t], alpha_bar[s], V) * away
    denoise = exact_denoiser(one_gaussian(m, V), schedule)
    x_0 = sample(denoise, x_T.shape, schedule, ddim_step, num_steps=num_steps, x_T=x_T)
    assert (x_0 - (m + away)).abs().max() < 1e-12


def test_asked_a_little_below_T_a_slip_in_the_noise_no_longer_decides_the_start():
    """Data that are all at 0.5, and a network that takes the noise for 0.02 more than it is, within -1 .. 1."""
    path, x_T = cosine_schedule(), randn(1000, 1)

    def slips(x_t, t):
        return predict_x_0(x_t, t, predict_noise(x_t, t, torch.full_like(x_t, 0.5), path) + 0.02, path).clamp(-1, 1)

    lower = asked_at_most(slips, 980)
    assert torch.equal(lower(x_T, 1000), slips(x_T, 980))
    assert torch.equal(lower(x_T, 700), slips(x_T, 700))
    assert (slips(x_T, 1000) + 1).abs().max() == 0  # at the wrong end of the range, whatever x_T is
    slip = 0.02 * path.noise_rate[980] / path.signal_rate[980]
    assert (lower(x_T, 1000) - (0.5 - slip)).abs().max() < 1e-12


# Encoding


@pytest.mark.parametrize("levels", [range(1, 1001, 9), [1, 30, 400, 980], [20, 40, 100], [1], [5], (1, 2)])
@pytest.mark.parametrize(("m", "V"), GAUSSIANS)
def test_encoding_ends_in_the_closed_form_of_one_gaussian(schedule, m, V, levels):
    x_0, alpha_bar = torch.linspace(-3, 3, 5, dtype=torch.float64)[:, None], schedule.alpha_bar.tolist()
    away, from_1 = x_0 - alpha_bar[1] ** 0.5 * m, [1, *(level for level in levels if level > 1)]
    for t, s in pairwise(from_1):
        away = ddim_slope(alpha_bar[t], alpha_bar[s], V) * away
    encoded = ddim_encode(exact_denoiser(one_gaussian(m, V), schedule), x_0, schedule, levels)
    assert (encoded - (alpha_bar[from_1[-1]] ** 0.5 * m + away)).abs().max() < 1e-12


def test_encoding_tends_to_the_probability_flow_in_proportion_to_the_steps(schedule):
    """The flow keeps a point as many standard deviations from the mean as it was (Song et al., arXiv 2011.13456)."""
    m, V = 0.5, 0.3
    x_0, denoise = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None], exact_denoiser(one_gaussian(m, V), schedule)

    def mean_and_deviation(t):
        return schedule.alpha_bar[t].sqrt() * m, (schedule.alpha_bar[t] * V + 1 - schedule.alpha_bar[t]).sqrt()

    (mean_1, deviation_1), (mean_T, deviation_T) = mean_and_deviation(1), mean_and_deviation(981)
    flow = mean_T + deviation_T * (x_0 - mean_1) / deviation_1
    fine, coarse = (
        (ddim_encode(denoise, x_0, schedule, range(1, 982, stride)) - flow).abs().max() for stride in (1, 4)
    )
    assert fine < 0.02
    assert 3.7 < coarse / fine < 4.3


def test_decoding_returns_the_image_up_to_an_error_in_proportion_to_the_steps(schedule):
    x_0, denoise = (
        torch.linspace(-0.5, 1.5, 5, dtype=torch.float64)[:, None],
        exact_denoiser(one_gaussian(0.5, 0.3), schedule),
    )

    def error(levels):
        encoded = ddim_encode(denoise, x_0, schedule, levels)
        decoded = sample(denoise, x_0.shape, schedule, ddim_step, levels=[*reversed(levels), 0], x_T=encoded)
        return (decoded - x_0).abs().max()

    fine, coarse = error(range(1, 982)), error(range(1, 982, 4))
    assert fine < (1 - schedule.alpha_bar[1]).sqrt()  # the noise at level 1, which encoding takes for part of the image
    assert 3.7 < coarse / fine < 4.3


@pytest.mark.parametrize(("levels", "lower"), [([4, 7, 10], [1, 4, 7]), ([1, 4, 7], [1, 4]), ([1], [])])
def test_encoding_asks_the_denoiser_once_a_step_at_the_lower_level(levels, lower):
    asked = []

    def denoise(x_t, t):
        assert type(t) is int
        asked.append(t)
        return x_t / 2

    ddim_encode(denoise, randn(2, 3), linear_schedule(10), levels)
    assert asked == lower


def test_encoding_to_level_1_is_where_the_walk_starts(schedule):
    x_0 = randn(2, 3)
    assert torch.equal(ddim_encode(halve, x_0, schedule, [1]), x_0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_encoding_keeps_dtype_and_input_and_records_no_gradients(dtype):
    x_0, weight = randn(2, 3, dtype=dtype), torch.full((), 0.5, requires_grad=True)
    before = x_0.clone()
    encoded = ddim_encode(lambda x_t, t: weight * x_t, x_0, linear_schedule(10), [1, 5, 9])
    assert encoded.dtype == dtype
    assert encoded.shape == x_0.shape
    assert not encoded.requires_grad
    assert torch.is_grad_enabled()
    assert torch.equal(x_0, before)


# The denoiser that a network makes


class Network(torch.nn.Module):
    """Predicts a tenth of x_t as noise, remembers how it was called, and can be told to fail."""

    def __init__(self, fails=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.1))
        self.one, self.other = torch.nn.Dropout(), torch.nn.Dropout()
        self.fails = fails

    def forward(self, x_t, t, *conditions):
        self.t, self.conditions = t, conditions
        self.modes = [module.training for module in self.modules()]
        self.grad_mode = torch.is_grad_enabled()
        if self.fails:
            raise RuntimeError("out of memory, say")
        return self.weight * x_t


def test_denoiser_turns_the_predicted_noise_into_x_0(schedule):
    x_0, noise = randn(4, 3), randn(4, 3, seed=1)
    denoise = denoiser(lambda x_t, t: noise, schedule, clip=False)
    assert (denoise(add_noise(x_0, 300, noise, schedule), 300) - x_0).abs().max() < 1e-14


def test_denoiser_clips_to_the_range_of_images_by_default(schedule):
    x_t, model = 10 * randn(4, 3, dtype=torch.float32), Network()
    unclipped = predict_x_0(x_t, 300, model(x_t, 300).detach(), schedule)
    assert torch.equal(denoiser(model, schedule, clip=False)(x_t, 300), unclipped)
    assert torch.equal(denoiser(model, schedule)(x_t, 300), unclipped.clamp(-1, 1))
    assert unclipped.abs().max() > 1


def test_denoiser_tells_the_network_t_for_each_item(schedule):
    model = Network()
    denoiser(model, schedule)(torch.zeros(4, 3), 300)
    assert not model.t.is_floating_point()
    assert model.t.tolist() == [300] * 4


def test_denoiser_tells_the_network_where_the_images_are(schedule):
    seen = []

    def model(x_t, t, labels):
        seen.extend([t.device.type, labels.device.type])
        return x_t

    x_0_hat = denoiser(model, schedule, condition=torch.tensor([1, 2]))(torch.zeros(2, 3, device="meta"), 300)
    assert [*seen, x_0_hat.device.type] == ["meta"] * 3


def test_denoiser_passes_labels_on_and_nothing_without(schedule):
    model, labels = Network(), torch.tensor([3, 1, 4, 1])
    denoiser(model, schedule, labels)(torch.zeros(4, 3), 300)
    assert len(model.conditions) == 1
    assert torch.equal(model.conditions[0], labels)
    denoiser(model, schedule)(torch.zeros(4, 3), 300)
    assert model.conditions == ()


def test_denoiser_gives_the_network_many_images_in_parts_each_with_its_label(schedule):
    sizes, x_t, labels = [], randn(601, 2), torch.arange(601)

    def model(x, t, told):
        sizes.append(len(x))
        assert t.tolist() == [300] * len(x)
        return x + told[:, None]

    x_0_hat = denoiser(model, schedule, labels, clip=False)(x_t, 300)
    assert sizes == [250, 250, 101]
    assert torch.equal(x_0_hat, predict_x_0(x_t, 300, x_t + labels[:, None], schedule))


@pytest.mark.parametrize("labels", [torch.zeros(3), torch.zeros(5), torch.zeros(300)])
def test_denoiser_wants_a_label_for_each_image(schedule, labels):
    denoise = denoiser(lambda x_t, t, labels: x_t, schedule, labels.long())
    with pytest.raises(ValueError, match="condition must be a tensor with an entry for each of 4 images"):
        denoise(torch.zeros(4, 2), 300)


def test_denoiser_calls_the_network_in_eval_mode_and_without_gradients(schedule):
    model = Network().train()
    x_0_hat = denoiser(model, schedule)(torch.zeros(4, 3), 300)
    assert model.modes == [False, False, False]
    assert not model.grad_mode
    assert not x_0_hat.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("modes", [(True, True), (True, False), (False, True), (False, False)])
def test_denoiser_leaves_each_part_of_the_network_in_its_mode(schedule, modes, fails):
    model = Network(fails)
    model.training, model.one.training = modes
    denoise = denoiser(model, schedule)
    if fails:
        with pytest.raises(RuntimeError):
            denoise(torch.zeros(4, 3), 300)
    else:
        denoise(torch.zeros(4, 3), 300)
    assert (model.training, model.one.training, model.other.training) == (*modes, True)


def test_a_network_walks_in_whatever_dtype_x_T_has(schedule):
    x_T = randn(2, 3)
    assert sample(denoiser(Network(), schedule), (2, 3), schedule, num_steps=5, x_T=x_T).dtype == torch.float64
