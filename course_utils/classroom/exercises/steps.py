"""Exercises on the steps of DDPM and of DDIM (notebooks 05 and 06)."""

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, steep_schedule, two
from course_utils.classroom.exercises.chance import step_in_parts
from course_utils.classroom.exercises.record import Exercise, Mistake, case
from course_utils.forward import add_noise, posterior, predict_noise
from course_utils.sampling import ddim_step, ddpm_step, randn_like
from course_utils.schedule import rates

# DDPM


def step_cases():
    """The two last ones end at 0, and so are certain."""
    path = steep_schedule()
    return [
        case(*two(*SHAPE, seed=1), 9, 8, path),
        case(*two(5, 2, seed=2), 12, 4, path),
        case(*two(3, 1, 4, 2, seed=3, dtype=DOUBLE), 7, 1, path),
        case(*two(2, 3, seed=4), 6, 0, path),
        case(*two(*SHAPE, seed=5), 1, 0, path),
    ]


def ddpm_with(posterior=posterior, scale=torch.sqrt, noise=randn_like):
    """A step some part of which is another."""

    def attempt(x_t, x_0_hat, t, s, path, generator=None):
        mean, variance = posterior(x_0_hat, x_t, t, path, s)
        return mean + scale(variance) * noise(x_t, generator)

    return attempt


def forward_steps_variance(x_0, x_t, t, path, s):
    signal_t, noise_t = rates(path, t, x_t)
    signal_s, noise_s = rates(path, s, x_t)
    added = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
    return posterior(x_0, x_t, t, path, s)[0], added.to(x_t)


def signal_rate_of_t(x_0, x_t, t, path, s):
    mean, variance = posterior(x_0, x_t, t, path, s)
    share = posterior(torch.ones_like(x_0), torch.zeros_like(x_t), t, path, s)[0]
    kept = (path.signal_rate[t] / path.signal_rate[s]).item()
    return mean - (1 - kept) * share * x_0, variance


def noised_again(x_t, x_0_hat, t, s, path, generator=None):
    return add_noise(x_0_hat, s, randn_like(x_t, generator), path)


def quiet_at_level_1(x_t, x_0_hat, t, s, path, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + variance.sqrt() * randn_like(x_t, generator) if s > 1 else mean


DDPM_STEP = Exercise(
    name="sampling.ddpm_step",
    notebook="05",
    finished=ddpm_step,
    cases=step_cases,
    observe=step_in_parts,
    by_chance=True,
    mistakes=(
        Mistake(
            ddpm_with(scale=lambda variance: variance),
            "The noise is multiplied by the variance. Multiplying by b makes the variance b squared, so multiply by "
            "the square root of the posterior's variance.",
        ),
        Mistake(
            ddpm_with(scale=torch.zeros_like),
            "No noise is added: this returns the posterior's mean. On its own, step after step, it holds less noise "
            "than level s should, until the samples are smooth averages. Draw from the posterior.",
        ),
        Mistake(
            ddpm_with(noise=lambda x, generator: randn_like(x[:1], generator)),
            "All the images in the batch get the same noise, so they are not drawn independently. Draw as many values "
            "as `x_t` has: `randn_like(x_t, generator)`.",
        ),
        Mistake(
            ddpm_with(noise=lambda x, generator: torch.rand(x.shape, generator=generator, dtype=x.dtype)),
            "This is `rand`, evenly spread between 0 and 1. Its average of 0.5 brightens the picture at every step. "
            "The posterior is a Gaussian, so use `randn`.",
        ),
        Mistake(
            ddpm_with(noise=lambda x, generator: torch.randn(x.shape, dtype=x.dtype)),
            "The step is right, but it ignores `generator`, so the same seed will not give the same picture twice. "
            "Pass it on: `randn_like(x_t, generator)`.",
        ),
        Mistake(
            ddpm_with(posterior=lambda x_0, x_t, t, path, s: posterior(x_0, x_t, t, path)),
            "The step always goes to `t - 1`, because `posterior` was not given `s`. With all the levels, nothing "
            "goes wrong. As soon as some are skipped, hardly any noise is removed.",
        ),
        Mistake(
            ddpm_with(posterior=lambda x_0, x_t, t, path, s: posterior(x_t, x_0, t, path, s)),
            "`x_t` and `x_0_hat` are swapped in the call of `posterior`, which takes the clean picture first. At "
            "`s = 0` the result must be `x_0_hat` itself.",
        ),
        Mistake(
            ddpm_with(posterior=forward_steps_variance),
            "The variance is what the forward process adds between s and t, so the last step adds noise to a finished "
            "picture. The posterior's variance is smaller, and it is 0 at `s = 0`.",
        ),
        Mistake(
            ddpm_with(posterior=signal_rate_of_t),
            "In the mean, `x_0_hat` has the signal rate of t instead of s, so each step leaves the picture a little "
            "too faint. `posterior` has the right one: use its mean.",
        ),
        Mistake(
            noised_again,
            "This forgets `x_t` and noises the prediction afresh for level s. Each step then throws away what the "
            "steps before it have settled. The posterior's mean also keeps a share of `x_t`.",
        ),
        Mistake(
            quiet_at_level_1,
            "No noise is added in the step to level 1. Only the step to level 0 adds none, and that needs no `if`: "
            "the variance is 0 there. `t > 1` counts from 1, and our s is one lower.",
        ),
    ),
    hints=(
        "`posterior` gives you the mean and variance of `x_s`, with `x_0_hat` in place of `x_0`. All that is left is "
        "to draw from a Gaussian with this mean and this variance.",
        "A draw is `mean + sqrt(variance) * noise`, with the noise from N(0, 1), in `x_t`'s shape and dtype. Don't "
        "forget to pass on `s` and `generator`.",
        "`mean, variance = posterior(x_0_hat, x_t, t, path, s)`, and then `mean + variance.sqrt() * ...`, with the "
        "noise from `randn_like(x_t, generator)`.",
    ),
)


# DDIM


def ddim_cases():
    path = steep_schedule()
    return [
        case(*two(*SHAPE, seed=1), 12, 4, path),
        case(*two(3, 2, seed=2), 9, 8, path, eta=0.0),
        case(*two(5, 1, 2, 3, seed=3), 9, 8, path, eta=1.0),
        case(*two(2, 3, seed=4), 12, 5, path, eta=0.5),
        case(*two(2, 3, seed=5, dtype=DOUBLE), 10, 3, path, eta=0.5),
        case(*two(*SHAPE, seed=6), 6, 0, path, eta=1.0),
        case(*two(2, 5, seed=7), 1, 0, path),
    ]


def deviation(signal_t, noise_t, signal_s, noise_s, eta):
    return eta * dose(signal_t, noise_t, signal_s, noise_s) * noise_s / noise_t


def dose(signal_t, noise_t, signal_s, noise_s):
    """The standard deviation of what the forward process adds between s and t."""
    return (noise_t**2 - (signal_t / signal_s * noise_s) ** 2) ** 0.5


def root(number):
    """NaN for a negative number, as in torch."""
    return number**0.5 if number >= 0 else float("nan")


def ddim_with(
    sigma_of=deviation,
    noise_left_of=lambda noise_s, sigma: root(max(noise_s**2 - sigma**2, 0)),
    picture_of=lambda signal_t, signal_s: signal_s,
    s_of=lambda t, s: s,
    noise=randn_like,
):
    """A step some part of which is another."""

    def attempt(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
        signal_t, _, signal_s, noise_s = both = *rates_of(path, t), *rates_of(path, s_of(t, s))
        sigma, noise_hat = sigma_of(*both, eta=eta), predict_noise(x_t, t, x_0_hat, path)
        x_s = picture_of(signal_t, signal_s) * x_0_hat + noise_left_of(noise_s, sigma) * noise_hat
        return x_s + sigma * noise(x_t, generator)

    return attempt


def rates_of(path, t):
    """As plain numbers."""
    return path.signal_rate[t].item(), path.noise_rate[t].item()


def sigma_without_ratio(signal_t, noise_t, signal_s, noise_s, eta):
    return eta * dose(signal_t, noise_t, signal_s, noise_s)


def ddpm_less_noise(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, path, s)
    return mean + eta * variance.sqrt() * randn_like(x_t, generator)


def swapped_in_predict_noise(x_t, x_0_hat, t, s, path, eta=0.0, generator=None):
    _, _, signal_s, noise_s = both = *rates_of(path, t), *rates_of(path, s)
    sigma, noise_hat = deviation(*both, eta), predict_noise(x_0_hat, t, x_t, path)
    return signal_s * x_0_hat + (noise_s**2 - sigma**2) ** 0.5 * noise_hat + sigma * randn_like(x_t, generator)


DDIM_STEP = Exercise(
    name="sampling.ddim_step",
    notebook="06",
    finished=ddim_step,
    cases=ddim_cases,
    observe=step_in_parts,
    by_chance=True,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            ddim_with(noise_left_of=lambda noise_s, sigma: sigma),
            "The predicted noise is multiplied by sigma, too. sigma belongs to the fresh noise alone; the predicted "
            "noise keeps the share `sqrt(noise_s**2 - sigma**2)`. As it is, nearly all the noise is lost, and samples "
            "collapse to averages.",
        ),
        Mistake(
            ddim_with(s_of=lambda t, s: t - 1),
            "These are the coefficients of level `t - 1`, but the step goes to s. With all the levels the two are the "
            "same. Where levels are skipped, hardly any noise is removed.",
        ),
        Mistake(
            ddim_with(noise_left_of=lambda noise_s, sigma: root(max(noise_s**2 - sigma, 0))),
            "There is sigma under the root instead of sigma squared. Variances add up, standard deviations don't: "
            "`c**2 + sigma**2 = noise_s**2`.",
        ),
        Mistake(
            ddim_with(noise_left_of=lambda noise_s, sigma: noise_s - sigma),
            "The share of the predicted noise is `noise_s - sigma`. But it is the variances that add up, not the "
            "standard deviations. Take the difference of the squares, and then the root.",
        ),
        Mistake(
            ddim_with(noise_left_of=lambda noise_s, sigma: noise_s),
            "All the predicted noise is kept, and fresh noise comes on top, so level s holds too much. Whatever sigma "
            "adds has to be taken away from the old noise, inside the root.",
        ),
        Mistake(
            ddim_with(sigma_of=lambda *both, eta: 0.0),
            "`eta` is ignored, so fresh noise is never added. sigma should be eta times the posterior's standard "
            "deviation.",
        ),
        Mistake(
            ddim_with(sigma_of=lambda *both, eta: deviation(*both, 1.0)),
            "`eta` is ignored: fresh noise is added even when `eta = 0`, so this is always DDPM. Multiply the "
            "standard deviation by eta.",
        ),
        Mistake(
            ddim_with(sigma_of=lambda *both, eta: deviation(*both, eta**0.5)),
            "`eta` is under the root. sigma is eta times the posterior's standard deviation, so the *variance* grows "
            "with eta squared. (0 and 1 are the same either way; 0.5 is not.)",
        ),
        Mistake(
            ddim_with(sigma_of=lambda *both, eta: eta * deviation(*both, 1.0) ** 2),
            "sigma is missing its root: this is eta times the posterior's variance. Noise is multiplied by a standard "
            "deviation.",
        ),
        Mistake(
            ddim_with(sigma_without_ratio, lambda noise_s, sigma: root(noise_s**2 - sigma**2)),
            "sigma lacks the ratio `noise_s / noise_t`, so it is not 0 at `s = 0`. You then take the root of a "
            "negative number, which gives NaN or a complex number. With the ratio, the last step adds no noise, all "
            "by itself.",
        ),
        Mistake(
            ddim_with(sigma_without_ratio),
            "sigma lacks the ratio `noise_s / noise_t`: this is what the forward process adds between s and t. So the "
            "last step, to `s = 0`, adds noise to a finished picture.",
        ),
        Mistake(
            ddim_with(picture_of=lambda signal_t, signal_s: signal_t),
            "The picture has the signal rate of level t. `x_s` is at level s and holds the picture with the signal "
            "rate of s; at `s = 0`, that is all of it.",
        ),
        Mistake(
            ddpm_less_noise,
            "This is DDPM's mean with less noise, or none. That mean leaves room for DDPM's full noise, so with a "
            "smaller eta too little noise is left. DDIM makes up for it with more of the predicted noise.",
        ),
        Mistake(
            swapped_in_predict_noise,
            "`x_t` and `x_0_hat` are swapped in the call of `predict_noise`, which takes `x_t` and t first, and then "
            "the prediction.",
        ),
        Mistake(
            ddim_with(noise=lambda x, generator: torch.randn_like(x)),
            "The step is right, but the fresh noise does not come from `generator`, so a picture can't be drawn again "
            "from its seed. Pass it on: `torch.randn(..., generator=generator)`. `None` is fine there.",
        ),
    ),
    hints=(
        "There are three parts: a share of `x_0_hat`, a share of the predicted noise, and sigma times fresh noise. "
        "Work out sigma first, from the rates at t and at s, and then the noise with `predict_noise`.",
        "`signal_t, noise_t = path.signal_rate[t].item(), path.noise_rate[t].item()`, and `signal_s` and `noise_s` in "
        "the same way. The squares of the two shares of noise add up to `noise_s**2`.",
        "`signal_s * x_0_hat`, plus `max(noise_s**2 - sigma**2, 0) ** 0.5 * noise_hat`, plus "
        "`sigma * randn_like(x_t, generator)`.",
    ),
)
