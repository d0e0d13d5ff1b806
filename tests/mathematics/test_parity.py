"""The same numbers as diffusers, which counts from 0: its index is t - 1.

diffusers keeps its tables in float32. So most of the tests give it ours, in float64, and compare to float64's rounding;
others leave it as it comes, and compare to float32's.
"""

from functools import partial

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
)
from diffusers.models.embeddings import get_timestep_embedding

from course_utils.forward import add_noise, predict_x_0
from course_utils.guidance import guided
from course_utils.interop import from_diffusers
from course_utils.sampling import ddim_step, ddpm_step, sample, sample_steps, spaced_levels
from course_utils.schedule import GaussianPath, cosine_schedule, linear_schedule
from course_utils.solvers import dpm_solver_2m, heun_step
from course_utils.unet import timestep_embedding

NAMES = {linear_schedule: "linear", cosine_schedule: "squaredcos_cap_v2"}
both_schedules = pytest.mark.parametrize("make", NAMES, ids=["linear", "cosine"])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def theirs(kind, make, **options):
    """A scheduler of diffusers as it comes, but without clipping."""
    return kind(beta_schedule=NAMES[make], clip_sample=False, **options)


def theirs_in_float64(kind, make, **options):
    """A scheduler of diffusers that computes with our tables."""
    scheduler, schedule = theirs(kind, make, **options), make()
    scheduler.betas, scheduler.alphas, scheduler.alphas_cumprod = (
        table[1:] for table in (schedule.beta, schedule.alpha, schedule.alpha_bar)
    )
    return scheduler


def noise_model(x_t, t, schedule):
    """Some smooth function of x_t and t that a walk goes through without running away."""
    alpha_bar = schedule.alpha_bar[t].item()
    return (1 - alpha_bar) ** 0.5 * x_t + 0.3 * alpha_bar**0.5 * torch.sin(3 * x_t + t / 100)


def our_levels(scheduler):
    """The levels of a scheduler of diffusers, counted from 1, and the end, which it does not list."""
    return [index + 1 for index in scheduler.timesteps.tolist()] + [0]


def their_walk(scheduler, x_T, schedule, **options):
    x, generator = x_T, seeded(1)
    for index in scheduler.timesteps.tolist():
        noise_hat = noise_model(x, index + 1, schedule)
        x = scheduler.step(noise_hat, index, x, generator=generator, **options).prev_sample
        yield x


def our_walk(step, levels, x_T, schedule):
    def denoise(x_t, t):
        return predict_x_0(x_t, t, noise_model(x_t, t, schedule), schedule)

    for _, x, _ in sample_steps(denoise, x_T.shape, schedule, step, levels=levels, x_T=x_T, generator=seeded(1)):
        yield x


def furthest(walk, other):
    """The largest difference at any point of two walks."""
    return max((x - y).abs().max().item() for x, y in zip(walk, other, strict=True))


# beta_1 is about 1e-4 and comes, here and there, from a difference of numbers near 1, each rounded by 1e-16.
ROUNDING = 2e-12


# Schedules and noise


@both_schedules
def test_betas_are_those_of_diffusers_to_float32_rounding(make):
    beta = theirs(DDPMScheduler, make).betas
    assert beta.dtype == torch.float32
    assert (make().beta[1:] / beta - 1).abs().max() < 2e-7


@both_schedules
def test_alpha_bars_are_those_of_diffusers_to_float32_rounding(make):
    assert (make().alpha_bar[1:] - theirs(DDPMScheduler, make).alphas_cumprod).abs().max() < 1e-6


@both_schedules
def test_add_noise_is_that_of_diffusers(make):
    t = torch.arange(1, 1001)
    x_0, noise = randn(1000, 3), randn(1000, 3, seed=1)
    x_t = add_noise(x_0, t, noise, make())
    assert (x_t - theirs_in_float64(DDPMScheduler, make).add_noise(x_0, noise, t - 1)).abs().max() < 1e-14
    assert (x_t - theirs(DDPMScheduler, make).add_noise(x_0.float(), noise.float(), t - 1)).abs().max() < 1e-5


# DDPM


@both_schedules
@pytest.mark.parametrize("t", [1, 2, 3, 500, 999, 1000])
def test_a_ddpm_step_is_that_of_diffusers(make, t):
    schedule, x_t, noise_hat = make(), randn(4, 3), randn(4, 3, seed=1)
    x_0_hat = predict_x_0(x_t, t, noise_hat, schedule)
    ours = ddpm_step(x_t, x_0_hat, t, t - 1, schedule, generator=seeded())
    scheduler = theirs_in_float64(DDPMScheduler, make, variance_type="fixed_small")
    other = scheduler.step(noise_hat, t - 1, x_t, generator=seeded())
    size = x_0_hat.abs().max()  # thousands at T with cosine betas
    assert (x_0_hat - other.pred_original_sample).abs().max() < 1e-14 * size
    assert (ours - other.prev_sample).abs().max() < ROUNDING


@both_schedules
@pytest.mark.parametrize(
    ("spacing", "num_steps", "tolerance"),
    # diffusers never lets the variance fall below 1e-20: a last step from above level 1 adds noise of 1e-10.
    [("leading", 1000, ROUNDING), ("leading", 50, ROUNDING), ("trailing", 50, 1e-9)],
)
def test_a_ddpm_walk_is_that_of_diffusers(make, spacing, num_steps, tolerance):
    schedule, x_T = make(), randn(4, 3)
    scheduler = theirs_in_float64(DDPMScheduler, make, variance_type="fixed_small", timestep_spacing=spacing)
    scheduler.set_timesteps(num_steps)
    ours = our_walk(ddpm_step, our_levels(scheduler), x_T, schedule)
    assert furthest(ours, their_walk(scheduler, x_T, schedule)) < tolerance


# DDIM


@pytest.mark.parametrize(
    ("spacing", "num_steps", "levels"),
    [
        ("leading", 10, [901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 0]),
        ("trailing", 10, [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100, 0]),
        ("leading", 50, [*range(981, 0, -20), 0]),
        ("trailing", 50, [*range(1000, -1, -20)]),
        ("leading", 1000, [*range(1000, -1, -1)]),
        ("trailing", 1000, [*range(1000, -1, -1)]),
    ],
)
def test_levels_of_diffusers_counted_from_1(spacing, num_steps, levels):
    for kind in (DDPMScheduler, DDIMScheduler):
        scheduler = kind(timestep_spacing=spacing)
        scheduler.set_timesteps(num_steps)
        assert our_levels(scheduler) == levels


@pytest.mark.parametrize("num_steps", [1, 10, 50, 1000])
def test_our_own_levels_are_trailing_ones(num_steps):
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    assert spaced_levels(linear_schedule(), num_steps) == our_levels(scheduler)


@both_schedules
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("spacing", "num_steps"), [("leading", 10), ("trailing", 10), ("leading", 50), ("trailing", 50), ("leading", 1000)]
)
def test_a_ddim_walk_is_that_of_diffusers(make, eta, spacing, num_steps):
    schedule, x_T = make(), randn(4, 3)
    scheduler = theirs_in_float64(DDIMScheduler, make, set_alpha_to_one=True, timestep_spacing=spacing)
    scheduler.set_timesteps(num_steps)
    ours = our_walk(partial(ddim_step, eta=eta), our_levels(scheduler), x_T, schedule)
    assert furthest(ours, their_walk(scheduler, x_T, schedule, eta=eta)) < ROUNDING


@both_schedules
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("num_steps", [10, 50, 1000])
def test_a_ddim_walk_is_that_of_diffusers_as_it_comes_to_float32_rounding(make, eta, num_steps):
    schedule, x_T = make(), randn(4, 3, dtype=torch.float32)
    scheduler = theirs(DDIMScheduler, make, set_alpha_to_one=True, timestep_spacing="leading")
    scheduler.set_timesteps(num_steps)
    ours = our_walk(partial(ddim_step, eta=eta), our_levels(scheduler), x_T, schedule)
    assert furthest(ours, their_walk(scheduler, x_T, schedule, eta=eta)) < 2e-4


# Fast solvers


of_their_numpy = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # they make arrays of tensors


@of_their_numpy
@both_schedules
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("num_steps", [2, 10, 50])
def test_a_dpm_solver_walk_is_that_of_diffusers(make, order, num_steps):
    """Of first order it is DDIM. They compute in float32 whatever they are given, hence the tolerance."""
    schedule, x_T = make(), randn(4, 3)
    scheduler = DPMSolverMultistepScheduler(
        beta_schedule=NAMES[make], solver_order=order, timestep_spacing="trailing", final_sigmas_type="zero"
    )
    scheduler.set_timesteps(num_steps)
    levels = spaced_levels(schedule, num_steps)
    scheduler.sigmas = (schedule.noise_rate / schedule.signal_rate)[levels]
    step, theirs = (dpm_solver_2m() if order == 2 else ddim_step), x_T
    for ours, t, index in zip(our_walk(step, levels, x_T, schedule), levels, scheduler.timesteps, strict=False):
        theirs = scheduler.step(noise_model(theirs, t, schedule), index, theirs).prev_sample
        assert (ours - theirs).abs().max() < 1e-6


def their_heun_walk(scheduler, guess, x):
    """A walk of one of diffusers' two Heun schedulers, which take a step in two halves, in float64."""
    for sigma, time in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
        x = scheduler.step((x - guess(x, sigma)) / sigma, time, x).prev_sample  # the noise, or for a flow the velocity
    return x


@of_their_numpy
@pytest.mark.parametrize("kind", [HeunDiscreteScheduler, FlowMatchHeunDiscreteScheduler], ids=["noise", "flow"])
@pytest.mark.parametrize("num_steps", [3, 10])
def test_a_heun_walk_is_that_of_diffusers(kind, num_steps):
    """Theirs walk along x_0 + sigma noise, or along the straight path: for us, both are tables of two rates."""
    scheduler = kind()
    scheduler.set_timesteps(num_steps)
    scheduler.sigmas = scheduler.sigmas.double()  # twice each, except for the first and the last
    rates = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1::2]]).flip(0)
    flow = kind is FlowMatchHeunDiscreteScheduler
    path = GaussianPath(1 - rates if flow else torch.ones_like(rates), rates)

    def guess(x, sigma):
        return (2 * x / (1 + sigma)).sin()

    def denoise(x_t, t):
        return guess(x_t, rates[t])

    x_T = rates[-1] * randn(4, 3)
    ours = sample(denoise, x_T.shape, path, heun_step(denoise), x_T=x_T)
    theirs = their_heun_walk(scheduler, guess, x_T)
    assert (ours - theirs).abs().max() < (
        3e-5 if flow else 1e-12
    )  # a flow's step is float32 there, and divides by a sigma of 0.001


@both_schedules
def test_a_schedule_comes_from_diffusers_to_float32_rounding(make):
    schedule = from_diffusers(theirs(DDPMScheduler, make))
    assert torch.equal(schedule.beta[1:].float(), theirs(DDPMScheduler, make).betas)
    assert (schedule.alpha_bar - make().alpha_bar).abs().max() < 1e-6


def test_a_scheduler_without_betas_is_refused():
    with pytest.raises(TypeError, match=r"FlowMatchEulerDiscreteScheduler has no betas.* straight_path"):
        from_diffusers(FlowMatchEulerDiscreteScheduler())


# smalldiffusion


class Smalldiffusions:
    """A network as its `samples` wants it: told sigma, and with guidance of its own kind."""

    def __init__(self, conditional, unconditional):
        self.conditional, self.unconditional = conditional, unconditional

    def eval(self):
        return self

    def rand_input(self, B):
        return torch.zeros(B, 3, dtype=torch.float64)

    def predict_eps_cfg(self, x, sigma, cond, cfg_scale):
        eps, without = ((x - denoise(x, sigma)) / sigma for denoise in (self.conditional, self.unconditional))
        return eps + cfg_scale * (eps - without)


@pytest.mark.parametrize("w", [0, 2.5])
def test_a_guided_ddim_walk_is_that_of_smalldiffusion(w):
    """It walks along x_0 + sigma noise. Its guidance scale is the paper's w, ours is 1 + w."""
    from smalldiffusion import samples

    rates = torch.cat([torch.zeros(1), torch.logspace(-2, 1, 10)]).double()
    path, x_T = GaussianPath(torch.ones_like(rates), rates), rates[-1] * randn(4, 3)
    guesses = [lambda x, sigma: (x / (1 + sigma)).sin(), lambda x, sigma: (x / (1 + sigma)).cos()]
    one, other = (lambda x_t, t, guess=guess: guess(x_t, rates[t]) for guess in guesses)
    ours = sample_steps(guided(one, other, 1 + w), x_T.shape, path, ddim_step, x_T=x_T)
    theirs = samples(Smalldiffusions(*guesses), rates.flip(0), gam=1, mu=0, cfg_scale=w, batchsize=4, xt=x_T)
    assert furthest((x for _, x, _ in ours), theirs) < 1e-11


# The network's clock


@pytest.mark.parametrize("dim", [2, 8, 32, 128])
@pytest.mark.parametrize("t", [torch.arange(1001), torch.linspace(0, 1, 101), torch.linspace(0, 1000, 777)])
def test_timestep_embedding_is_that_of_diffusers(dim, t):
    other = get_timestep_embedding(t, dim, flip_sin_to_cos=False, downscale_freq_shift=0)  # sines first, as DDPM has it
    rounding = 2**-23 * max(1, t.max().item())  # float32's, of the angles, which go up to t
    assert (timestep_embedding(t, dim) - other).abs().max() < 2 * rounding
