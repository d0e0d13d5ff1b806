"""Fast solvers on the line, where the exact flow is known: it keeps every point's quantile."""

import math
from itertools import pairwise

import pytest
import torch
from test_mixture import LINE, line_cdf

from course_utils.forward import predict_noise
from course_utils.mixture import exact_denoiser
from course_utils.sampling import ddim_step, sample
from course_utils.schedule import GaussianPath, cosine_schedule, linear_schedule, straight_path
from course_utils.solvers import dpm_solver_2m, heun_step

DOUBLE = torch.float64
PATHS = {"linear": linear_schedule(), "cosine": cosine_schedule(), "straight": straight_path()}
STEPS = {"ddim": lambda denoise: ddim_step, "heun": heun_step, "2m": lambda denoise: dpm_solver_2m()}
each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
each_solver = pytest.mark.parametrize("make", [heun_step, lambda denoise: dpm_solver_2m()], ids=["heun", "2m"])


def randn(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def walk(step, denoise, x, levels, path):
    for t, s in pairwise(levels):
        x = step(x, denoise(x, t), t, s, path)
    return x


def slope_and_error(x, y):
    """The slope of the straight line through the points, and its standard error."""
    away = x - x.mean()
    slope = (away * y).sum() / away.square().sum()
    left = y - y.mean() - slope * away
    return slope.item(), (left.square().sum() / (len(x) - 2) / away.square().sum()).sqrt().item()


@each_path
@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2), ("2m", 2)])
def test_the_order_of_a_solver(path, name, order):
    """The error in the quantile, from level 960 to 20, falls as 1 / N^order, N being the number of steps."""
    denoise, numbers = exact_denoiser(LINE, path), [47, 94, 188, 235, 470]
    x = torch.linspace(-2, 2, 50, dtype=DOUBLE)[:, None]
    quantile, errors = line_cdf(LINE.noised(960, path), x), []
    for number in numbers:
        end = walk(STEPS[name](denoise), denoise, x, range(960, 19, -940 // number), path)
        errors.append((line_cdf(LINE.noised(20, path), end) - quantile).abs().max())
    slope, error = slope_and_error(torch.tensor(numbers, dtype=DOUBLE).log(), torch.stack(errors).log())
    assert abs(-slope - order) < 0.1
    assert error < 0.07
    assert errors[-1] < (2e-3 if order == 1 else 4e-5)


@each_path
@each_solver
def test_the_last_step_is_ddims(path, make):
    x_t, x_0_hat = randn(4, 3), randn(4, 3, seed=1)
    step = make(lambda x, s: pytest.fail("at s = 0 there is nothing to ask"))
    assert torch.equal(step(x_t, x_0_hat, 40, 0, path), x_0_hat)


@each_path
def test_the_first_step_of_2m_is_ddims_also_in_the_next_walk(path):
    step, x_t, x_0_hat = dpm_solver_2m(), randn(4, 3), randn(4, 3, seed=1)
    for _ in range(2):
        assert torch.equal(step(x_t, x_0_hat, 1000, 500, path), ddim_step(x_t, x_0_hat, 1000, 500, path))
        assert not torch.equal(step(x_t, x_t, 500, 100, path), ddim_step(x_t, x_t, 500, 100, path)) or path.snr[-1] == 0
        step(x_t, x_t, 100, 0, path)


def test_a_2m_step_that_began_in_another_walk_does_not_reach_into_the_next():
    path, x_T, denoise = cosine_schedule(), randn(5, 1), exact_denoiser(LINE, cosine_schedule())
    step = dpm_solver_2m()
    first, second = (sample(denoise, x_T.shape, path, step, num_steps=7, x_T=x_T) for _ in range(2))
    assert torch.equal(first, second)


@each_path
@pytest.mark.parametrize("make", [heun_step, lambda denoise: dpm_solver_2m()], ids=["heun", "2m"])
def test_a_guess_that_never_changes_is_followed_exactly(path, make):
    """With the same x_0_hat at every level, DDIM is exact, so whatever looks further must agree."""
    x_0, x_T = randn(4, 3, seed=1), randn(4, 3)

    def denoise(x_t, t):
        return x_0

    levels = [960, 700, 300, 20]
    ddim = walk(ddim_step, denoise, x_T, levels, path)
    assert (walk(make(denoise), denoise, x_T, levels, path) - ddim).abs().max() < 1e-12


def test_heun_is_the_trapezoid_rule_where_time_is_the_noise():
    """With signal_rate 1 throughout, dx = noise_hat d(noise_rate), an ordinary ODE (EDM, algorithm 1)."""
    path, x = GaussianPath(torch.ones(3, dtype=DOUBLE), torch.tensor([0, 0.5, 2], dtype=DOUBLE)), randn(6)

    def slope(x, t):
        return (x + t).sin()

    def denoise(x, t):
        return x - path.noise_rate[t] * slope(x, t)

    euler = x - 1.5 * slope(x, 2)
    trapezoid = x - 1.5 * (slope(x, 2) + slope(euler, 1)) / 2
    assert (heun_step(denoise)(x, denoise(x, 2), 2, 1, path) - trapezoid).abs().max() < 1e-14


def test_2m_is_exact_where_x_0_hat_is_linear_in_log_snr_to_the_paper():
    """Algorithm 2 of arXiv 2211.01095, written out as the paper has it, on three levels."""
    path, x_t = cosine_schedule(), randn(5)
    u, t, s = 800, 600, 300
    before, now = randn(5, seed=1), randn(5, seed=2)
    a, b = path.signal_rate.tolist(), path.noise_rate.tolist()
    lam = {level: math.log(a[level] / b[level]) for level in (u, t, s)}
    h, r = lam[s] - lam[t], (lam[t] - lam[u]) / (lam[s] - lam[t])
    D = (1 + 1 / (2 * r)) * now - 1 / (2 * r) * before
    paper = b[s] / b[t] * x_t - a[s] * (math.exp(-h) - 1) * D
    step = dpm_solver_2m()
    step(x_t, before, u, t, path)
    assert (step(x_t, now, t, s, path) - paper).abs().max() < 1e-14


@each_path
@pytest.mark.parametrize(("make", "calls"), [(heun_step, 13), (lambda denoise: dpm_solver_2m(), 7)], ids=["heun", "2m"])
def test_seven_steps_cost_so_many_calls(path, make, calls):
    exact, asked = exact_denoiser(LINE, path), []

    def denoise(x_t, t):
        asked.append(t)
        return exact(x_t, t)

    points = sample(denoise, (10, 1), path, make(denoise), num_steps=7)
    assert len(asked) == calls
    assert points.isfinite().all()


@each_path
@each_solver
def test_a_solver_draws_nothing_and_keeps_the_dtype(path, make):
    def denoise(x_t, t):
        return x_t / 2

    state = torch.get_rng_state()
    for dtype in (torch.float32, torch.bfloat16):
        x_T = randn(2, 1, 4, 4, dtype=dtype)
        assert sample(denoise, x_T.shape, path, make(denoise), num_steps=4, x_T=x_T).dtype == dtype
    assert torch.equal(torch.get_rng_state(), state)
    assert predict_noise(x_T, 5, x_T, path).dtype == torch.bfloat16
