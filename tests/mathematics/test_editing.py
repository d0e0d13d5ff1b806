import pytest
import torch
from test_mixture import PLANE

from course_utils.editing import anagram, inpaint_step, noise_further, put_back, sdedit
from course_utils.forward import add_noise, forward_step
from course_utils.mixture import GaussianMixture, exact_denoiser
from course_utils.sampling import ddim_step, ddpm_step, sample
from course_utils.schedule import cosine_schedule, linear_schedule, straight_path
from course_utils.solvers import dpm_solver_2m

PATHS = {"linear": linear_schedule(), "cosine": cosine_schedule(), "straight": straight_path()}
STEPS = {"ddim": lambda: ddim_step, "ddpm": lambda: ddpm_step, "2m": dpm_solver_2m}
each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
each_step = pytest.mark.parametrize("make", STEPS.values(), ids=STEPS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def halve(x_t, t):
    return x_t / 2


# From a sketch


@each_path
@each_step
def test_strength_0_is_the_identity(path, make):
    x_0 = randn(4, 3)
    assert torch.equal(sdedit(halve, x_0, path, 0, make()), x_0)


@pytest.mark.parametrize(
    ("strength", "num_steps", "levels"),
    [
        (1, 4, [1000, 750, 500, 250]),
        (0.5, 4, [500, 250]),
        (0.3, 4, [300, 150]),
        (0.001, 50, [1]),
        (0.002, 5000, [2, 1]),
    ],
)
def test_strength_says_where_the_walk_begins_and_its_share_of_the_steps(strength, num_steps, levels):
    asked = []

    def denoise(x_t, t):
        asked.append(t)
        return x_t / 2

    sdedit(denoise, randn(2, 3), cosine_schedule(), strength, num_steps=num_steps)
    assert asked == levels


@each_path
def test_sdedit_is_add_noise_and_then_a_walk(path):
    x_0, generator = randn(4, 2), seeded(3)
    x_start = add_noise(x_0, 600, torch.randn(4, 2, generator=generator, dtype=torch.float64), path)
    by_hand = sample(halve, (4, 2), path, ddpm_step, levels=[600, 400, 200, 0], x_T=x_start, generator=generator)
    edited = sdedit(halve, x_0, path, 0.6, ddpm_step, num_steps=5, generator=seeded(3))
    assert torch.equal(edited, by_hand)


@pytest.mark.slow
@each_path
@pytest.mark.parametrize("make", [STEPS["ddim"], STEPS["ddpm"]], ids=["ddim", "ddpm"])
def test_sdedit_of_points_from_the_mixture_gives_points_from_the_mixture(path, make):
    """add_noise makes q(x_t), and the way back from q(x_t) makes q(x_0), at any strength."""
    x_0 = PLANE.sample(10_000, seeded())
    edited = sdedit(exact_denoiser(PLANE, path), x_0, path, 0.5, make(), num_steps=400, generator=seeded(1)).double()
    assert (edited.mean(dim=0) - PLANE.mean()).abs().max() < 0.06
    assert (edited.T.cov() - PLANE.covariance()).abs().max() < 0.12
    assert (edited - x_0).abs().max() > 0.5  # other points, though


# Around a hole


@each_path
@each_step
@pytest.mark.parametrize("kind", [torch.float64, torch.bool, torch.int64])
def test_everything_known_returns_the_picture(path, make, kind):
    known, mask = randn(2, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=kind)
    painted = sample(halve, known.shape, path, inpaint_step(make(), known, mask), num_steps=5)
    assert torch.equal(painted, known.float())


@each_path
@each_step
def test_nothing_known_is_the_step_itself(path, make):
    x_T, mask = randn(2, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    step = inpaint_step(make(), torch.zeros_like(x_T), mask)
    x, x_0_hat = x_T, x_T / 2
    assert torch.equal(
        step(x, x_0_hat, 500, 300, path, generator=seeded()), make()(x, x_0_hat, 500, 300, path, generator=seeded())
    )


@each_path
def test_putting_back_keeps_the_rest_and_at_level_0_brings_the_picture_itself(path):
    x_s, known, mask = randn(3, 1, 4, 5), randn(1, 1, 4, 5, seed=1), torch.zeros(1, 1, 4, 5)
    mask[..., :2, :] = 1
    for s in (0, 400, 1000):
        found = put_back(x_s, known, mask, s, path, seeded(2))
        noised = add_noise(known.expand_as(x_s), s, randn(*x_s.shape, seed=2), path)
        assert torch.equal(found[..., 2:, :], x_s[..., 2:, :])
        assert torch.equal(found[..., :2, :], noised[..., :2, :])
    assert torch.equal(put_back(x_s, known, mask, 0, path)[..., :2, :], known.expand_as(x_s)[..., :2, :])


@each_path
def test_the_known_part_has_the_noise_of_its_level(path):
    known, n = torch.full((1, 2), 0.7, dtype=torch.float64), 20_000
    step = inpaint_step(ddim_step, known, torch.tensor([[1.0, 0.0]]))
    x_t = randn(n, 2)
    x_s = step(x_t, x_t / 2, 700, 400, path, generator=seeded(1))
    signal, noise = path.signal_rate[400], path.noise_rate[400]
    assert torch.equal(x_s[:, 1], ddim_step(x_t, x_t / 2, 700, 400, path)[:, 1])
    assert (x_s[:, 0].mean() - 0.7 * signal).abs() < 5 * noise / n**0.5
    assert (x_s[:, 0].std() / noise - 1).abs() < 5 / (2 * n) ** 0.5


@each_path
@pytest.mark.parametrize(("s", "t"), [(1, 2), (300, 700), (999, 1000)])
def test_noising_further_leads_from_one_level_to_the_next(path, s, t):
    """q(x_t | x_s) after q(x_s | x_0) is q(x_t | x_0)."""
    n, x_0 = 40_000, 0.8
    x_s = add_noise(torch.full((n,), x_0, dtype=torch.float64), s, randn(n), path)
    x_t = noise_further(x_s, s, t, path, seeded(1))
    signal, noise = path.signal_rate[t], path.noise_rate[t]
    assert (x_t.mean() - x_0 * signal).abs() < 5 * noise / n**0.5
    assert (x_t.std() / noise - 1).abs() < 5 / (2 * n) ** 0.5


def test_noising_further_by_one_level_is_the_forward_step():
    schedule, x = linear_schedule(), randn(6)
    noise = torch.randn(6, generator=seeded(1), dtype=torch.float64)
    further = noise_further(x, 499, 500, schedule, seeded(1))
    assert (further - forward_step(x, 500, noise, schedule)).abs().max() < 1e-13


@pytest.mark.slow
def test_resampling_lets_what_is_painted_adapt_to_what_is_known():
    """Two numbers that are nearly equal, one of them known to be 1: the conditional distribution is known exactly."""
    ridge = torch.tensor([[[1.0, 0.95], [0.95, 1.0]]])
    mixture = GaussianMixture(torch.ones(1), torch.zeros(1, 2), ridge)
    path, n = cosine_schedule(), 4_000
    denoise, known, mask = exact_denoiser(mixture, path), torch.ones(1, 2), torch.tensor([[1.0, 0.0]])
    means = []
    for resample in (0, 9):
        step = inpaint_step(ddpm_step, known, mask, denoise, resample)
        painted = sample(denoise, (n, 2), path, step, num_steps=50, generator=seeded())
        assert torch.equal(painted[:, 0], torch.ones(n))
        means.append(painted[:, 1].mean().item())
    assert means[0] < 0.85  # without: less than the 0.95 that it should be
    assert abs(means[1] - 0.95) < 0.03


def test_resampling_asks_the_denoiser_once_for_every_return():
    asked, known = [], randn(1, 2)

    def denoise(x_t, t):
        asked.append(t)
        return x_t / 2

    step = inpaint_step(ddpm_step, known, torch.tensor([[1.0, 0.0]]), denoise, resample=2)
    sample(denoise, (3, 2), linear_schedule(10), step, levels=[10, 5, 0])
    assert asked == [10, 10, 10, 5]


def test_what_inpaint_step_refuses():
    known, mask = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    with pytest.raises(ValueError, match="mask must be a tensor of 0 and 1, not of pixels"):
        inpaint_step(ddim_step, known, (255 * mask).byte())
    with pytest.raises(TypeError, match="pass denoise="):
        inpaint_step(ddim_step, known, mask, resample=3)
    with pytest.raises(RuntimeError, match="size"):
        sample(halve, (2, 1, 4, 4), linear_schedule(10), inpaint_step(ddim_step, torch.zeros(3, 1, 4, 4), mask))


# Two in one


def test_an_anagram_averages_both_ways_of_looking():
    x = randn(2, 1, 4, 6)
    upside_down = randn(1, 1, 4, 6, seed=1)
    denoise = anagram(lambda x, t: x + t, lambda x, t: x + upside_down)
    assert (denoise(x, 5) - (x + (5 + upside_down.rot90(2, (2, 3))) / 2)).abs().max() < 1e-14


def test_an_anagram_turned_over_is_the_anagram_of_the_two_swapped():
    def turn(x):
        return x.flip(-2, -1)

    ramp = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(1, 1, 4, 6)
    one, other, x = (lambda x, t: x * ramp), (lambda x, t: x + ramp), randn(3, 1, 4, 6)
    assert (turn(anagram(one, other)(x, 7)) - anagram(other, one)(turn(x), 7)).abs().max() < 1e-15
