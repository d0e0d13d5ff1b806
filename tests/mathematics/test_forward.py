import pytest
import torch
from torch.distributions import Normal

from course_utils.forward import add_noise, forward_step, posterior
from course_utils.schedule import linear_schedule

FLOAT32_ROUNDING = 2**-24  # half the distance from 1 to the next float32
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LEVELS = [(1, 0), (2, 0), (2, 1), (500, 499), (700, 200), (1000, 999), (1000, 1), (1000, 0)]  # t, s
SHAPES = [(3,), (3, 2), (3, 1, 5, 7), (3, 2, 4, 5, 6)]


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def all_levels(schedule, dtype=torch.float64):
    """Every t, and batches of as many ones and zeros: with them a function shows what it multiplies its inputs by."""
    one = torch.ones(schedule.T, dtype=dtype)
    return torch.arange(1, schedule.T + 1), one, torch.zeros_like(one)


def random_earlier(t):
    """An s for each t, 0 <= s < t."""
    return (torch.rand(len(t), generator=torch.Generator().manual_seed(1)) * t).long()


# One step, and many in one jump


def test_a_step_adds_noise_of_variance_beta(schedule):
    t, one, zero = all_levels(schedule)
    assert (forward_step(zero, t, one, schedule) ** 2 - schedule.beta[1:]).abs().max() < 1e-15


@pytest.mark.parametrize("noising", [forward_step, add_noise])
def test_variance_stays_1_where_it_was_1(schedule, noising):
    t, one, zero = all_levels(schedule)
    variance = noising(one, t, zero, schedule) ** 2 + noising(zero, t, one, schedule) ** 2
    assert (variance - 1).abs().max() < 1e-15


def test_one_jump_has_the_mean_and_the_variance_of_many_single_steps(schedule):
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    mean, variance = one, zero
    for t in range(1, schedule.T + 1):
        mean = forward_step(mean, t, zero, schedule)
        variance = forward_step(one, t, zero, schedule) ** 2 * variance + forward_step(zero, t, one, schedule) ** 2
        assert (add_noise(one, t, zero, schedule) - mean).abs() < 1e-13
        assert (add_noise(zero, t, one, schedule) ** 2 - variance).abs() < 1e-13


@pytest.mark.parametrize("t", [10, 300])
def test_one_jump_is_distributed_like_many_single_steps(schedule, generator, t):
    n = 30_000
    x_0 = torch.full((n,), 0.7)
    walked = x_0
    for step in range(1, t + 1):
        walked = forward_step(walked, step, torch.randn(n, generator=generator), schedule)
    jumped = add_noise(x_0, t, torch.randn(n, generator=generator), schedule)
    # Five standard errors of the difference between two means, and of the ratio of two variances.
    assert (walked.mean() - jumped.mean()).abs() < 5 * (2 / n) ** 0.5 * jumped.std()
    assert (walked.var() / jumped.var() - 1).abs() < 5 * (4 / n) ** 0.5


def test_at_T_an_image_of_any_kind_has_become_noise(schedule, generator):
    n = 30_000
    x_T = add_noise(torch.ones(n), schedule.T, torch.randn(n, generator=generator), schedule)
    assert x_T.mean().abs() < 5 * n**-0.5 + 0.01
    assert (x_T.var() - 1).abs() < 5 * (2 / n) ** 0.5


# The posterior


@pytest.mark.parametrize(("t", "s"), LEVELS[2:-1])  # at s = 0 the prior has no density
def test_posterior_is_bayes_rule_by_numerical_integration(schedule, t, s):
    x_0, alpha_bar_s, kept = randn(6), schedule.alpha_bar[s], schedule.alpha[s + 1 : t + 1].prod()
    x_t = add_noise(x_0, t, randn(6, seed=1), schedule)
    x_s = (
        alpha_bar_s.sqrt() * x_0
        + (1 - alpha_bar_s).sqrt() * torch.linspace(-12, 12, 5001, dtype=torch.float64)[:, None]
    )
    prior = Normal(alpha_bar_s.sqrt() * x_0, (1 - alpha_bar_s).sqrt()).log_prob(x_s)
    likelihood = Normal(kept.sqrt() * x_s, (1 - kept).sqrt()).log_prob(x_t)
    probability = (prior + likelihood).softmax(dim=0)
    mean = (probability * x_s).sum(dim=0)
    variance = (probability * (x_s - mean) ** 2).sum(dim=0)

    posterior_mean, posterior_variance = posterior(x_0, x_t, t, schedule, s)
    assert (posterior_mean - mean).abs().max() < 1e-10
    assert (posterior_variance / variance - 1).abs().max() < 1e-10


@pytest.mark.parametrize("skip", [False, True])
def test_posterior_adds_up_the_precisions_of_what_is_known_from_x_0_and_from_x_t(schedule, skip):
    t, one, zero = (values[1:] for values in all_levels(schedule))  # from t = 2: at s = 0 nothing is left to learn
    s = random_earlier(t).clamp(min=1) if skip else t - 1
    kept = torch.stack([schedule.alpha[first + 1 : last + 1].prod() for first, last in zip(s, t, strict=True)])
    from_x_0 = 1 / (1 - schedule.alpha_bar[s])
    from_x_t = kept / (1 - kept)

    x_0_share, variance = posterior(one, zero, t, schedule, s)
    x_t_share, _ = posterior(zero, one, t, schedule, s)
    assert (variance * (from_x_0 + from_x_t) - 1).abs().max() < 1e-11
    assert (x_0_share - schedule.alpha_bar[s].sqrt() * from_x_0 / (from_x_0 + from_x_t)).abs().max() < 1e-11
    assert (x_t_share - from_x_t / kept.sqrt() / (from_x_0 + from_x_t)).abs().max() < 1e-11


@pytest.mark.parametrize("skip", [False, True])
def test_a_step_back_from_x_t_is_distributed_like_one_jump_from_x_0(schedule, skip):
    t, one, zero = all_levels(schedule)
    s = random_earlier(t) if skip else t - 1
    x_t_mean, x_t_noise = add_noise(one, t, zero, schedule), add_noise(zero, t, one, schedule)
    mean, variance = posterior(one, x_t_mean, t, schedule, s)
    noise_share, _ = posterior(zero, x_t_noise, t, schedule, s)
    # 1 - alpha_bar, of the size of 1e-4 at first, is known to 1e-16.
    assert (mean - schedule.alpha_bar[s].sqrt()).abs().max() < 1e-11
    assert (noise_share**2 + variance - (1 - schedule.alpha_bar[s])).abs().max() < 1e-11


def test_posterior_mean_in_terms_of_x_0_equals_its_form_in_terms_of_the_noise(schedule):
    """DDPM, eq. 11."""
    t = torch.arange(1, schedule.T + 1)
    x_0, noise = randn(schedule.T), randn(schedule.T, seed=1)
    x_t = add_noise(x_0, t, noise, schedule)
    mean, _ = posterior(x_0, x_t, t, schedule)
    beta, alpha, alpha_bar = schedule.beta[t], schedule.alpha[t], schedule.alpha_bar[t]
    assert (mean - (x_t - beta / (1 - alpha_bar).sqrt() * noise) / alpha.sqrt()).abs().max() < 1e-11


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_step_back_to_0_ends_in_x_0_and_has_no_variance(schedule, dtype):
    t = torch.arange(1, schedule.T + 1)
    x_0, x_t = randn(schedule.T).to(dtype), randn(schedule.T, seed=1).to(dtype)
    mean, variance = posterior(x_0, x_t, t, schedule, s=0)
    assert torch.equal(mean, x_0)
    assert (variance == 0).all()


def test_the_step_back_from_1_goes_to_0_by_default(schedule):
    x_0 = randn(2, 3)
    for t in (1, torch.tensor([1, 1])):
        mean, variance = posterior(x_0, randn(2, 3, seed=1), t, schedule)
        assert torch.equal(mean, x_0)
        assert (variance == 0).all()


@pytest.mark.parametrize("t", [1, 2, 500, 1000])
def test_the_step_back_goes_to_t_minus_1_by_default(schedule, t):
    x_0, x_t = randn(2, 3), randn(2, 3, seed=1)
    for level in (t, torch.tensor([t, t])):
        for default, explicit in zip(
            posterior(x_0, x_t, level, schedule), posterior(x_0, x_t, level, schedule, s=level - 1), strict=True
        ):
            assert torch.equal(default, explicit)


# One t for each item, shapes and dtypes


@pytest.mark.parametrize("noising", [forward_step, add_noise])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_t_for_each_item_gives_what_each_item_gives_by_itself(schedule, noising, shape):
    x, noise, levels = randn(*shape), randn(*shape, seed=1), [1000, 1, 300]
    together = noising(x, torch.tensor(levels), noise, schedule)
    alone = [noising(x[i : i + 1], t, noise[i : i + 1], schedule) for i, t in enumerate(levels)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("t", "s"), [([1000, 1, 300], [7, 0, 299]), ([1000, 8, 300], 7), (300, [7, 0, 299]), (300, 7)])
def test_a_posterior_for_each_item_is_what_each_item_gives_by_itself(schedule, shape, t, s):
    def tensor_or_int(level):
        return torch.tensor(level) if isinstance(level, list) else level

    def of_item(level, i):
        return level[i] if isinstance(level, list) else level

    x_0, x_t = randn(*shape), randn(*shape, seed=1)
    mean, variance = posterior(x_0, x_t, tensor_or_int(t), schedule, tensor_or_int(s))
    for i in range(len(x_0)):
        alone = posterior(x_0[i : i + 1], x_t[i : i + 1], of_item(t, i), schedule, of_item(s, i))
        assert torch.equal(mean[i : i + 1], alone[0])
        assert torch.equal(variance.expand(3, *variance.shape[1:])[i : i + 1], alone[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_posterior_variance_has_one_entry_for_each_item_or_for_the_whole_batch(schedule, shape):
    x, ones = torch.zeros(shape), [1] * (len(shape) - 1)
    assert posterior(x, x, torch.tensor([3, 2, 1]), schedule)[1].shape == (3, *ones)
    assert posterior(x, x, 3, schedule)[1].shape == (1, *ones)


def test_t_and_s_may_be_int32_too(schedule):
    x, y, t, s = randn(3, 2), randn(3, 2, seed=1), torch.tensor([1, 100, 40]), torch.tensor([0, 99, 7])
    assert torch.equal(forward_step(x, t.int(), y, schedule), forward_step(x, t, y, schedule))
    assert torch.equal(add_noise(x, t.int(), y, schedule), add_noise(x, t, y, schedule))
    assert torch.equal(posterior(x, y, t.int(), schedule)[0], posterior(x, y, t, schedule)[0])
    assert torch.equal(posterior(x, y, t, schedule, s.int())[0], posterior(x, y, t, schedule, s)[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_are_kept_and_results_are_right_to_the_dtypes_rounding(schedule, dtype):
    t = torch.arange(1, schedule.T + 1)
    x, y = randn(schedule.T).to(dtype), randn(schedule.T, seed=1).to(dtype)
    for function in (
        lambda x, y: forward_step(x, t, y, schedule),
        lambda x, y: add_noise(x, t, y, schedule),
        lambda x, y: posterior(x, y, t, schedule)[0],
        lambda x, y: posterior(x, y, t, schedule)[1],
    ):
        result = function(x, y)
        assert result.dtype == dtype
        # Two coefficients, two products and a sum, each rounded, of numbers up to 4.
        assert (result.double() - function(x.double(), y.double())).abs().max() < 10 * torch.finfo(dtype).eps


def test_float32_coefficients_are_right_to_the_last_bit(schedule):
    """They are worked out in float64: in float32 the posterior at t = 2 would be wrong by 1e-4, and add_noise at 1."""

    def coefficients(dtype):
        t, one, zero = all_levels(schedule, dtype)
        s = random_earlier(t)
        yield add_noise(one, t, zero, schedule)
        yield add_noise(zero, t, one, schedule)
        yield forward_step(one, t, zero, schedule)
        yield forward_step(zero, t, one, schedule)
        for back in (t - 1, s):
            yield posterior(one, zero, t, schedule, back)[0]
            yield posterior(zero, one, t, schedule, back)[0]
            yield posterior(one, one, t, schedule, back)[1]

    for single, double in zip(coefficients(torch.float32), coefficients(torch.float64), strict=True):
        assert ((single - double).abs() <= FLOAT32_ROUNDING * double.abs()).all()


def test_inputs_and_schedule_are_left_alone(schedule):
    x, t, noise = randn(3, 2), torch.tensor([1000, 1, 300]), randn(3, 2, seed=1)
    everything = [x, t, noise, schedule.beta, schedule.alpha, schedule.alpha_bar]
    before = [value.clone() for value in everything]
    forward_step(x, t, noise, schedule)
    add_noise(x, t, noise, schedule)
    posterior(x, noise, t, schedule)
    posterior(x, noise, t, schedule, s=t // 2)
    for value, old in zip(everything, before, strict=True):
        assert torch.equal(value, old)


@pytest.mark.parametrize("t", [3, torch.tensor([1, 2], device="meta")])
def test_results_are_where_the_images_are(t):
    schedule, x = linear_schedule(10), torch.zeros(2, 3, device="meta")
    for result in (forward_step(x, t, x, schedule), add_noise(x, t, x, schedule), *posterior(x, x, t, schedule)):
        assert result.device.type == "meta"
