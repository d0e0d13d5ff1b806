"""Exercises on sampling (notebooks 05 and 06)."""

import math
import re
from itertools import pairwise

import torch

from course_utils._checks import is_int
from course_utils.exercises.cases import SHAPE, randn, random, steep_schedule
from course_utils.exercises.record import Approximately, Exercise, Mistake, call, case
from course_utils.forward import add_noise, posterior
from course_utils.sampling import ddim_step, ddpm_step, predict_noise, predict_x_0, randn_like, spaced_levels
from course_utils.schedule import at, linear_schedule

DOUBLE = torch.float64
BIG = (24, 3, 20, 25)  # 36,000 values, for statistics


def two(*shape, seed, dtype=torch.float32):
    return randn(*shape, seed=seed, dtype=dtype), randn(*shape, seed=seed + 100, dtype=dtype)


def factors(schedule, t, x):
    """Those of the picture and of the noise in x_t."""
    return at(schedule.alpha_bar.sqrt(), t, x), at((1 - schedule.alpha_bar).sqrt(), t, x)


def first_of(t):
    return int(torch.as_tensor(t).flatten()[0])


# From the noise to the picture, and from the picture to the noise


def mixed_levels():
    """x_t, t, something else like x_t, and a schedule."""
    schedule, linear = steep_schedule(), linear_schedule()
    cases = [
        (two(*SHAPE, seed=1), torch.tensor([1, 12, 5, 7]), schedule),
        (two(3, 2, seed=2), torch.tensor([2, 12, 1]), schedule),
        (two(5, 1, 2, 3, seed=3), 9, schedule),
        (two(2, 3, seed=4), torch.tensor([1000, 400]), linear),
        (two(2, 3, seed=5, dtype=DOUBLE), torch.tensor([3, 8]), schedule),
    ]
    return [case(x_t, t, other, schedule) for (x_t, other), t, schedule in cases]


def solved(formula):
    """A wrong way to solve for the other part; a and b are the factors of the picture and of the noise."""

    def attempt(x_t, t, other, schedule):
        a, b = factors(schedule, t, x_t)
        return formula(x_t, other, a, b)

    return attempt


def from_single_step(x_t, t, noise_hat, schedule):
    return (x_t - at(schedule.beta.sqrt(), t, x_t) * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


PREDICT_X_0 = Exercise(
    name="sampling.predict_x_0",
    notebook="05",
    finished=predict_x_0,
    cases=mixed_levels,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            solved(lambda x, noise, a, b: (x - b**2 * noise) / a**2),
            "The square roots are missing. alpha_bar and 1 - alpha_bar are shares of the variance, and x_t was made "
            "with their roots; to take it apart you need the same two numbers.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - b * noise),
            "The noise is taken out, but the picture is still small: it stands in x_t with the factor sqrt(alpha_bar). "
            "Divide by it, or the prediction fades towards grey as t grows.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x - b * noise) * a),
            "At the end it is multiplied by sqrt(alpha_bar), which shrinks the picture a second time. Solving for x_0 "
            "means dividing by it.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - b * noise / a),
            "Only the noise is divided by sqrt(alpha_bar). The whole difference has to be: put brackets around "
            "x_t - sqrt(1 - alpha_bar) * noise_hat.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x + b * noise) / a),
            "The noise is added, where it should be taken out: the sign is wrong, and the prediction has twice the "
            "noise that x_t had.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x - a * noise) / b),
            "The two factors are swapped. sqrt(1 - alpha_bar) belongs to the noise, sqrt(alpha_bar) to the picture; at "
            "t = 1 the second is nearly 1, so that x_0_hat is nearly x_t.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - noise),
            "This takes away all of noise_hat. Only the share sqrt(1 - alpha_bar) of it went into x_t, and the picture "
            "was shrunk by sqrt(alpha_bar): both have to be undone.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: ((x - b * noise) / a).clamp(-1, 1)),
            "The formula is right, but then the result is clamped. Here it must not be: points in the plane, or "
            "pictures in another range, go the same way. The denoiser, which knows the data, does the clamping.",
        ),
        Mistake(
            from_single_step,
            "This undoes one single step, with alpha and beta of step t alone. In x_t there is the noise of all the "
            "steps up to t: its share is made from alpha_bar, the product.",
        ),
        Mistake(
            lambda x_t, t, noise_hat, schedule: predict_x_0.__wrapped__(x_t, t - 1, noise_hat, schedule),
            "The coefficients are those of level t - 1. Our tables start with an entry for the clean picture, so level "
            "t stands at index t itself.",
        ),
        Mistake(
            lambda x_t, t, noise_hat, schedule: predict_x_0(x_t, first_of(t), noise_hat, schedule),
            "The whole batch is treated as if it were at the level of its first image. t may be a tensor with a level "
            "for each image; `at` looks up all of them, and shapes the result.",
        ),
    ),
    hints=(
        "Write down how x_t was made from x_0 and the noise, and solve for x_0 as you would with numbers: first take "
        "away what is added, then divide by what multiplies.",
        "The noise has the factor `at((1 - schedule.alpha_bar).sqrt(), t, x_t)`. Which root stands before the picture?",
        "(x_t - factor_of_the_noise * noise_hat) / factor_of_the_picture, each factor made with `at`.",
    ),
)


PREDICT_NOISE = Exercise(
    name="sampling.predict_noise",
    notebook="06",
    finished=predict_noise,
    cases=mixed_levels,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            solved(lambda x, x_0, a, b: (x - a**2 * x_0) / b**2),
            "The square roots are missing: x_t was made with sqrt(alpha_bar) and sqrt(1 - alpha_bar), so it has to be "
            "taken apart with these.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: x - a * x_0),
            "This is the noise as it stands in x_t, with the factor sqrt(1 - alpha_bar). Divide by it: the noise "
            "itself has variance 1 at every level, and the step counts on that.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (x - x_0) / b),
            "The picture is subtracted in full size. In x_t it stands with the factor sqrt(alpha_bar); what is "
            "subtracted too much ends up in the noise.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (x - b * x_0) / a),
            "The two factors are swapped, as if the third argument were noise: this is the formula of predict_x_0. "
            "Here the picture is given, and goes with sqrt(alpha_bar); the noise goes with sqrt(1 - alpha_bar).",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: x - a * x_0 / b),
            "Only the picture is divided by sqrt(1 - alpha_bar). The whole difference has to be: brackets around "
            "x_t - sqrt(alpha_bar) * x_0_hat.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (a * x_0 - x) / b),
            "The difference is the wrong way round, so the noise has the wrong sign: a step would add what it should "
            "take away. It is x_t less the picture.",
        ),
        Mistake(
            lambda x_t, t, x_0_hat, schedule: predict_noise.__wrapped__(x_t, t - 1, x_0_hat, schedule),
            "The coefficients are those of level t - 1, one place too early in the table; at t = 1 that divides by 0. "
            "Level t stands at index t.",
        ),
        Mistake(
            lambda x_t, t, x_0_hat, schedule: predict_noise(x_t, first_of(t), x_0_hat, schedule),
            "The whole batch is treated as if it were at the level of its first image. t may be a tensor with a level "
            "for each image; `at` looks up all of them, and shapes the result.",
        ),
    ),
    hints=(
        "It is predict_x_0 with the two parts exchanged. Write down how x_t is made, and solve for the noise.",
        "Take away the picture as it stands in x_t, with its factor, and divide by the factor of the noise: "
        "`at((1 - schedule.alpha_bar).sqrt(), t, x_t)`.",
    ),
)


# The mean of DDPM's algorithm 2


def mean_from_noise(x_t, noise_hat, t, schedule):
    share = at(schedule.beta / (1 - schedule.alpha_bar).sqrt(), t, x_t)  # entry 0 is 0 / 0, and is never asked for
    return (x_t - share * noise_hat) / at(schedule.alpha.sqrt(), t, x_t)


def mean_cases():
    return [case(x_t, noise_hat, t, schedule) for x_t, t, noise_hat, schedule in (one.args for one in mixed_levels())]


def mean_with(
    share_of=lambda schedule: schedule.beta / (1 - schedule.alpha_bar).sqrt(),
    divisor_of=lambda schedule: schedule.alpha.sqrt(),
):
    def attempt(x_t, noise_hat, t, schedule):
        return (x_t - at(share_of(schedule), t, x_t) * noise_hat) / at(divisor_of(schedule), t, x_t)

    return attempt


MEAN_FROM_NOISE = Exercise(
    name="sampling.mean_from_noise",
    notebook="05",
    finished=mean_from_noise,
    cases=mean_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            mean_with(share_of=lambda schedule: torch.ones_like(schedule.beta)),
            "All of the predicted noise is taken out in one step. A step removes only a little of it, the share "
            "beta / sqrt(1 - alpha_bar).",
        ),
        Mistake(
            mean_with(share_of=lambda schedule: (1 - schedule.alpha_bar).sqrt()),
            "The share sqrt(1 - alpha_bar) is all the noise that x_t holds. One step goes back one level only: beta "
            "stands above the line, and the root below.",
        ),
        Mistake(
            mean_with(share_of=lambda schedule: schedule.beta.sqrt()),
            "This undoes the forward step as if noise_hat were the noise of step t alone. The network names the noise "
            "of all steps together, of which step t added the share beta / sqrt(1 - alpha_bar).",
        ),
        Mistake(
            mean_with(share_of=lambda schedule: schedule.beta / (1 - schedule.alpha_bar)),
            "The square root below beta is missing: it is beta / sqrt(1 - alpha_bar). Without it too much noise is "
            "removed, most of all at small t, where 1 - alpha_bar is small.",
        ),
        Mistake(
            mean_with(divisor_of=lambda schedule: schedule.alpha_bar.sqrt()),
            "The division is by sqrt(alpha_bar), which scales up to a clean picture. The mean belongs to level t - 1, "
            "so only the shrinking of step t is to be undone: sqrt(alpha).",
        ),
        Mistake(
            mean_with(divisor_of=lambda schedule: schedule.alpha),
            "The division is by alpha, without its root. The forward step multiplied by sqrt(alpha).",
        ),
        Mistake(
            mean_with(divisor_of=lambda schedule: torch.ones_like(schedule.alpha)),
            "The factor 1 / sqrt(alpha) in front is missing. The forward step shrank the picture a little; the way "
            "back has to enlarge it by as much.",
        ),
        Mistake(
            mean_with(divisor_of=lambda schedule: 1 / schedule.alpha.sqrt()),
            "It is multiplied by sqrt(alpha), where it should be divided: so it shrinks a second time.",
        ),
        Mistake(
            lambda x_t, noise_hat, t, schedule: predict_x_0(x_t, t, noise_hat, schedule),
            "This is the predicted clean picture. The mean of a step to t - 1 lies only a little way towards it.",
        ),
        Mistake(
            lambda x_t, noise_hat, t, schedule: mean_from_noise(x_t, noise_hat, t - 1, schedule),
            "The coefficients are those of level t - 1. The step *from* t uses beta, alpha and alpha_bar at index t.",
        ),
    ),
    hints=(
        "There are two coefficients: the share of noise_hat, and the factor in front. Make each of them with `at`, "
        "from a table that you work out first.",
        "The share is `at(schedule.beta / (1 - schedule.alpha_bar).sqrt(), t, x_t)`. (Entry 0 of that table is not a "
        "number, but t starts at 1.) What is left is a division by the root of alpha.",
    ),
)


# Steps that draw random numbers

WHAT, NOISE, MEAN = "what it returns", "its noise", "its mean"
STATISTICS = ("the variance of its noise", "the average of its noise", "the kurtosis of its noise, 3 for a Gaussian")
GOOD_NOISE = "new in every value"


def step_in_parts(attempt, case):
    """The mean of a step, exactly, and the noise that it adds, by its statistics.

    The same seed gives the same noise, so the mean is what a step differs by from one that starts at zeros.
    """
    x_t, x_0_hat = (x.clone() for x in case.args[:2])

    def step(x_t, x_0_hat, **options):
        return without_complex(attempt(x_t, x_0_hat, *case.args[2:], **case.options, **options))

    x_s = step(*case.args[:2], generator=random(1))
    if x_s is None or x_s is Ellipsis:
        return None
    parts = {WHAT: x_s, NOISE: "unknown", MEAN: None} | dict.fromkeys(STATISTICS, Approximately(0, 0))
    if not isinstance(x_s, torch.Tensor) or x_s.shape != x_t.shape:
        return parts
    again, other = (step(x_t.clone(), x_0_hat.clone(), generator=random(seed)) for seed in (1, 2))
    bare = step(*[torch.zeros_like(x_t)] * 2, generator=random(1))
    noise, more_noise = (step(*[torch.zeros(BIG, dtype=x_t.dtype)] * 2) for _ in range(2))
    parts[WHAT] = 0 * x_s  # shape, dtype, and what is not finite
    parts[NOISE] = noise_in_words(x_s, again, other, noise, more_noise)
    if parts[NOISE] == "none":
        parts[MEAN] = x_s
    elif equal(x_s, again):
        parts[MEAN] = x_s - bare
    else:
        parts[MEAN] = 0 * x_s
    return parts | (statistics(noise) if parts[NOISE] == GOOD_NOISE else {})


def without_complex(x):
    """The root of a negative number is complex in Python and NaN in torch: the same mistake, and NaN here."""
    return torch.full_like(x.real, torch.nan) if isinstance(x, torch.Tensor) and x.is_complex() else x


def equal(one, other):
    """Up to rounding, and to the tiny variance that some keep under the root for safety."""
    return torch.allclose(one, other, rtol=1e-5, atol=1e-5, equal_nan=True)


def noise_in_words(x_s, again, other, noise, more_noise):
    if not equal(x_s, again):
        return "not the same again with the same seed"
    if noise.double().var() < 1e-10:
        return "none" if equal(x_s, other) else "none unless a generator is passed"
    if equal(x_s, other):
        return "the same with another seed"
    if equal(noise, more_noise):
        return "the same at every call"
    for axis, name in enumerate(("images", "channels", "rows", "columns")):
        # The variance of the mean of n independent values is 1 / n of theirs.
        if noise.double().mean(dim=axis).var() * noise.shape[axis] > 1.5 * noise.double().var():
            return f"the same in several {name}"
    return GOOD_NOISE


def statistics(noise):
    noise = noise.double().flatten()
    variance, mean, count = noise.var(), noise.mean(), len(noise)
    kurtosis = ((noise - mean) ** 4).mean() / variance**2
    errors = variance * (2 / count) ** 0.5, (variance / count).sqrt(), (24 / count) ** 0.5
    return {
        name: approximately(value, error)
        for name, value, error in zip(STATISTICS, (variance, mean, kurtosis), errors, strict=True)
    }


def approximately(value, standard_error):
    """5 standard errors, of the difference between two draws; -1 for what is not finite."""
    value, within = float(value), 5 * 2**0.5 * float(standard_error)
    return Approximately(value, max(within, 1e-5)) if math.isfinite(value + within) else Approximately(-1.0, 1e-5)


def step_cases():
    """The two last ones end at 0, and so are certain."""
    schedule = steep_schedule()
    return [
        case(*two(*SHAPE, seed=1), 9, 8, schedule),
        case(*two(5, 2, seed=2), 12, 4, schedule),
        case(*two(3, 1, 4, 2, seed=3, dtype=DOUBLE), 7, 1, schedule),
        case(*two(2, 3, seed=4), 6, 0, schedule),
        case(*two(*SHAPE, seed=5), 1, 0, schedule),
    ]


def ddpm_with(posterior=posterior, scale=torch.sqrt, noise=randn_like):
    """A step some part of which is another."""

    def attempt(x_t, x_0_hat, t, s, schedule, generator=None):
        mean, variance = posterior(x_0_hat, x_t, t, schedule, s)
        return mean + scale(variance) * noise(x_t, generator)

    return attempt


def variance_of_forward_step(x_0, x_t, t, schedule, s):
    return posterior(x_0, x_t, t, schedule, s)[0], (1 - schedule.alpha_bar[t] / schedule.alpha_bar[s]).to(x_t.dtype)


def root_of_alpha_bar_t(x_0, x_t, t, schedule, s):
    mean, variance = posterior(x_0, x_t, t, schedule, s)
    share = posterior(torch.ones_like(x_0), torch.zeros_like(x_t), t, schedule, s)[0]
    kept = (schedule.alpha_bar[t] / schedule.alpha_bar[s]).sqrt().item()
    return mean - (1 - kept) * share * x_0, variance


def noised_again(x_t, x_0_hat, t, s, schedule, generator=None):
    return add_noise.__wrapped__(x_0_hat, s, randn_like(x_t, generator), schedule)


def quiet_at_level_1(x_t, x_0_hat, t, s, schedule, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, schedule, s)
    return mean + variance.sqrt() * randn_like(x_t, generator) if s > 1 else mean


DDPM_STEP = Exercise(
    name="sampling.ddpm_step",
    notebook="05",
    finished=ddpm_step,
    cases=step_cases,
    observe=step_in_parts,
    mistakes=(
        Mistake(
            ddpm_with(scale=lambda variance: variance),
            "The noise is multiplied by the variance. Multiplying by b makes the variance b squared, so the factor is "
            "the root of the posterior's variance.",
        ),
        Mistake(
            ddpm_with(scale=torch.zeros_like),
            "No noise is added: this returns the posterior's mean. On its own it holds less noise than level s should, "
            "step after step, until the samples are smooth averages. Draw from the posterior.",
        ),
        Mistake(
            ddpm_with(noise=lambda x, generator: randn_like(x[:1], generator)),
            "All images of the batch get the same noise, so they are not drawn independently. Draw as many values as "
            "x_t has: torch.randn(x_t.shape, ...).",
        ),
        Mistake(
            ddpm_with(noise=lambda x, generator: torch.rand(x.shape, generator=generator, dtype=x.dtype)),
            "This is `rand`, evenly spread between 0 and 1: its average of 0.5 brightens the picture at every step. "
            "The posterior is a Gaussian, which is `randn`.",
        ),
        Mistake(
            ddpm_with(noise=lambda x, generator: torch.randn(x.shape, dtype=x.dtype)),
            "The step is right, but `generator` is ignored, so nobody can draw the same picture twice. Hand it on: "
            "torch.randn(..., generator=generator); None is fine there.",
        ),
        Mistake(
            ddpm_with(posterior=lambda x_0, x_t, t, schedule, s: posterior(x_0, x_t, t, schedule)),
            "The step always goes to t - 1, because `posterior` was not told s. With all the levels nothing is wrong; "
            "as soon as some are skipped, hardly any noise is removed.",
        ),
        Mistake(
            ddpm_with(posterior=lambda x_0, x_t, t, schedule, s: posterior(x_t, x_0, t, schedule, s)),
            "x_t and x_0_hat are swapped in the call of `posterior`, which takes the clean picture first. At s = 0 the "
            "result must be x_0_hat itself.",
        ),
        Mistake(
            ddpm_with(posterior=variance_of_forward_step),
            "The variance is that of the forward step, 1 - alpha_bar_t / alpha_bar_s, so the last step adds noise to a "
            "finished picture. The posterior's variance is smaller, and 0 at s = 0.",
        ),
        Mistake(
            ddpm_with(posterior=root_of_alpha_bar_t),
            "The mean has sqrt(alpha_bar_t) before x_0_hat, where sqrt(alpha_bar_s) belongs, so each step leaves the "
            "picture a little too faint. `posterior` has the right one: use its mean.",
        ),
        Mistake(
            noised_again,
            "This forgets x_t, and noises the prediction afresh for level s. Each step then throws away what the steps "
            "before it have settled. The posterior's mean takes a share of x_t along.",
        ),
        Mistake(
            quiet_at_level_1,
            "No noise is added in the step to level 1. Only the step to level 0 adds none (which needs no `if`: the "
            "variance is 0 there). `t > 1` counts from 1, and our s is one lower.",
        ),
    ),
    hints=(
        "`posterior` gives you mean and variance of x_s, with x_0_hat in the place of x_0. All that is left is to draw "
        "from a Gaussian with this mean and this variance.",
        "A draw is mean + sqrt(variance) * noise, the noise from N(0, 1), with x_t's shape and dtype. Don't forget to "
        "hand s and generator on.",
        "mean, variance = posterior(x_0_hat, x_t, t, schedule, s), and then "
        "torch.randn(x_t.shape, generator=generator, dtype=x_t.dtype) for the noise.",
    ),
)


# Levels for few steps


def levels_and_their_kind(attempt, case):
    levels = call(attempt, case)
    if levels is None or levels is Ellipsis:
        return None
    return {"levels": in_a_list(levels), "their kind": kind_of(levels)}


def in_a_list(levels):
    """As floats, whatever they were, so that a wrong kind is told apart from wrong values."""
    try:
        return " ".join(f"{float(level):g}" for level in levels)
    except (TypeError, ValueError):
        return f"{levels!r:.60}"


def kind_of(levels):
    if isinstance(levels, (list, tuple, range)) and all(map(is_int, levels)):
        return "a list of whole numbers"
    if isinstance(levels, (list, tuple)):
        other = next(level for level in levels if not is_int(level))
        return f"a list with items of type {type(other).__name__}"
    return f"no list, but {type(levels).__name__}"


def evenly(first, last, count):
    return torch.linspace(first, last, count, dtype=DOUBLE)


def whole(levels):
    return levels.round().int().tolist()


SPACED_LEVELS = Exercise(
    name="sampling.spaced_levels",
    notebook="05",
    finished=spaced_levels,
    cases=lambda: [  # none with a level half-way between two, where ways of rounding differ
        case(linear_schedule(), 50),
        case(steep_schedule(), 12),
        case(steep_schedule(), 5),
        case(linear_schedule(), 7),
        case(steep_schedule(), 1),
    ],
    observe=levels_and_their_kind,
    mistakes=(
        Mistake(
            lambda schedule, num_steps: whole(evenly(schedule.T, 0, num_steps)),
            "These are num_steps levels, but so many steps need one more: a step lies *between* two levels.",
        ),
        Mistake(
            lambda schedule, num_steps: evenly(schedule.T, 0, num_steps + 1).int().tolist(),
            "The levels are cut off, not rounded: 9.6 becomes 9. Round to the nearest level before you make them "
            "whole numbers.",
        ),
        Mistake(
            lambda schedule, num_steps: whole(evenly(schedule.T - 1, 0, num_steps + 1)),
            "The walk starts at T - 1, as in libraries that count from 0. Our levels run from T, where there is "
            "nothing but noise, down to 0, the picture.",
        ),
        Mistake(
            lambda schedule, num_steps: whole(evenly(schedule.T, 0, num_steps + 1))[:-1],
            "The 0 at the end is missing, so the walk would stop before the picture is clean. With few steps that is "
            "grain all over it.",
        ),
        Mistake(
            lambda schedule, num_steps: whole(evenly(schedule.T, 1, num_steps + 1)),
            "The last level is 1. There is still a little noise at level 1; the clean picture is level 0.",
        ),
        Mistake(
            lambda schedule, num_steps: whole(evenly(0, schedule.T, num_steps + 1)),
            "The levels rise. A sampler walks down: T first, and 0 last.",
        ),
        Mistake(
            lambda schedule, num_steps: list(range(schedule.T, -1, -(schedule.T // num_steps))),
            "A fixed stride works only where num_steps divides T. Otherwise the last level is not 0, or there are more "
            "steps than asked for. Space the levels evenly first, and round each of them.",
        ),
        Mistake(
            lambda schedule, num_steps: whole(evenly(1000, 0, num_steps + 1)),
            "The number 1000 is written into the function. Another schedule may have another T: ask schedule.T.",
        ),
        Mistake(
            lambda schedule, num_steps: evenly(schedule.T, 0, num_steps + 1).round().int(),
            "The levels are right, but come as a tensor, and so would each t and s. Steps take plain numbers: "
            ".tolist() makes a list of them.",
        ),
        Mistake(
            lambda schedule, num_steps: evenly(schedule.T, 0, num_steps + 1).round().tolist(),
            "The levels are right, but they are floats, as in 800.0, and a table can't be indexed with those. Make "
            "them ints, with .int() before .tolist().",
        ),
        Mistake(
            lambda schedule, num_steps: evenly(schedule.T, 0, num_steps + 1).tolist(),
            "These are not rounded. There is no level 9.6: round each to the nearest whole number, and make it an int.",
        ),
    ),
    hints=(
        "torch.linspace makes evenly spaced numbers, falling ones as well, both ends included. How many levels do "
        "num_steps steps need?",
        "torch.linspace(schedule.T, 0, num_steps + 1), then round, then make ints of them, then a list: .round(), "
        ".int() and .tolist().",
    ),
)


# A whole sampling loop


def sampling_loop(denoise, x_T, schedule, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, schedule)
    return x


def only_ints(name, *levels):
    for level in levels:
        if not is_int(level):
            raise TypeError(f"{name} takes levels as ints, but was given {level!r:.40}")


def spied_denoise(schedule, broken_at=None, broken=slice(-2, -1), value=torch.nan):
    """An exact denoiser, for data from N(0, 0.5), that keeps the levels at which it is asked in `asked`.

    At the level `broken_at`, some of what it predicts is `value`, by default one value of the last image.
    """

    def denoise(x_t, t):
        only_ints("denoise", t)
        denoise.asked.append(int(t))
        if not 1 <= t <= schedule.T:
            raise ValueError(f"denoise: t must be within 1 .. {schedule.T}, but is {t}")
        alpha_bar = schedule.alpha_bar[t].item()
        x_0_hat = 0.5 * alpha_bar**0.5 / (1 - 0.5 * alpha_bar) * x_t
        if t == broken_at:
            x_0_hat.view(-1)[broken] = value
        return x_0_hat

    denoise.asked, denoise.broken_at = [], broken_at
    return denoise


def spied_step():
    """DDIM's step without noise, which keeps the levels from and to which it goes in `taken`."""

    def step(x_t, x_0_hat, t, s, schedule, generator=None):
        only_ints("step", t, s)
        step.taken.append(f"{t} -> {s}")
        return ddim_step(x_t, x_0_hat, t, s, schedule)

    step.taken = []
    return step


def walk(levels, shape=SHAPE, seed=1, dtype=torch.float32, **broken):
    schedule = steep_schedule()
    denoise = spied_denoise(schedule, **broken)
    return case(denoise, randn(*shape, seed=seed, dtype=dtype), schedule, list(levels), spied_step())


def loop_cases():
    return [
        walk([12, 8, 5, 4, 1, 0]),
        walk([9, 6, 2], (5, 2), seed=2),
        walk(range(12, -1, -1), (2, 3), seed=3),
        walk([12, 0], (3, 1, 2, 4), seed=4, dtype=DOUBLE),
    ]


def end_and_steps(attempt, case):
    x = call(attempt, case)
    if x is None or x is Ellipsis:
        return None
    return {"the steps that it takes": ", ".join(case.args[4].taken), "what it returns": x}


def all_states(denoise, x_T, schedule, levels, step):
    states = [x_T]
    for t, s in pairwise(levels):
        states.append(step(states[-1], denoise(states[-1], t), t, s, schedule))
    return states


def always_to_t_minus_1(denoise, x_T, schedule, levels, step):
    x = x_T
    for t in levels[:-1]:
        x = step(x, denoise(x, t), t, t - 1, schedule)
    return x


def asks_at_s(denoise, x_T, schedule, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x = step(x, denoise(x, s), t, s, schedule)
    return x


def asks_once(denoise, x_T, schedule, levels, step):
    x, x_0_hat = x_T, denoise(x_T, levels[0])
    for t, s in pairwise(levels):
        x = step(x, x_0_hat, t, s, schedule)
    return x


def asks_about_x_T(denoise, x_T, schedule, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x = step(x, denoise(x_T, t), t, s, schedule)
    return x


def never_moves(denoise, x_T, schedule, levels, step):
    for t, s in pairwise(levels):
        x = step(x_T, denoise(x_T, t), t, s, schedule)
    return x


def returns_prediction(denoise, x_T, schedule, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, schedule)
    return x_0_hat


def returns_early(denoise, x_T, schedule, levels, step):
    return sampling_loop(denoise, x_T, schedule, levels[:2], step)


def all_levels(denoise, x_T, schedule, levels, step):
    return sampling_loop(denoise, x_T, schedule, range(schedule.T, -1, -1), step)


def start_of_its_own(denoise, x_T, schedule, levels, step):
    return sampling_loop(denoise, torch.randn_like(x_T), schedule, levels, step)


def step_with_wrong_order(denoise, x_T, schedule, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x = step(denoise(x, t), x, t, s, schedule)
    return x


SAMPLING_LOOP = Exercise(
    name="sampling.sampling_loop",
    notebook="05",
    finished=sampling_loop,
    cases=loop_cases,
    observe=end_and_steps,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            always_to_t_minus_1,
            "Every step goes to t - 1, whichever level comes next in the list. Where levels are skipped, the next "
            "question is then asked about an image that is still noisier than it says. Pairs of neighbours are wanted.",
        ),
        Mistake(
            asks_at_s,
            "The denoiser is asked with s, the level that the step goes to. The image that it is shown is still at "
            "level t. (At the end it would be asked at level 0, where there is nothing to predict.)",
        ),
        Mistake(
            asks_once,
            "The denoiser is asked only once, before the loop. Its first answer is a blur; what makes a picture is to "
            "ask again after every step, when the question has become easier.",
        ),
        Mistake(
            asks_about_x_T,
            "The denoiser is always shown x_T, the start. Show it x, what the last step made.",
        ),
        Mistake(
            never_moves,
            "Every step starts from x_T again, so all the steps but the last are lost. Put what a step returns in the "
            "place of x, and go on from there.",
        ),
        Mistake(
            returns_prediction,
            "This returns the last prediction, not the last x. The two are the same only where the walk ends at level "
            "0; with a list that ends above it, they are not.",
        ),
        Mistake(
            returns_early,
            "Only the first step is taken: the `return` stands inside the loop. Move it out by one indentation.",
        ),
        Mistake(
            lambda denoise, x_T, schedule, levels, step: sampling_loop(denoise, x_T, schedule, levels[1:], step),
            "The first step is missing: the walk starts from the second level, with an image that is still at the "
            "first. n levels make n - 1 steps.",
        ),
        Mistake(
            lambda denoise, x_T, schedule, levels, step: sampling_loop(denoise, x_T, schedule, levels[:-1], step),
            "The last step is missing, so what comes out is not at the last level yet: with few steps it is grainy. "
            "n levels make n - 1 steps.",
        ),
        Mistake(
            all_levels,
            "The list of levels is ignored: this takes all T steps. Walk through `levels`, which may skip some, start "
            "below T or end above 0.",
        ),
        Mistake(
            start_of_its_own,
            "The walk starts from noise that the function draws itself. It should start from x_T, so that whoever "
            "calls it can choose the start, and use it again.",
        ),
        Mistake(
            step_with_wrong_order,
            "The arguments of `step` are in the wrong order: first x, then the prediction. So the step takes the "
            "prediction for the noisy image.",
        ),
        Mistake(
            all_states,
            "This returns the list of all states, the start among them. Only the last x is wanted.",
        ),
    ),
    hints=(
        "A step leads from one level to the next in the list. itertools.pairwise(levels) gives you the pairs (t, s).",
        "In every round, two things happen: ask the denoiser about x at level t, and let `step` make the new x. Start "
        "with x = x_T.",
        "for t, s in pairwise(levels): x_0_hat = denoise(x, t), and then x = step(x, x_0_hat, t, s, schedule). Return "
        "x after the loop.",
    ),
)


# A bug that cannot be seen


class OnePageScheduler:
    def __init__(self, T=1000, beta_1=1e-4, beta_T=0.02):
        self.T = T  # the timesteps are 0 .. T - 1
        self.beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
        self.alpha = 1 - self.beta
        self.alpha_bar = self.alpha.cumprod(dim=0)

    def add_noise(self, x_0, noise, t):
        alpha_bar = self.alpha_bar[t].to(x_0.dtype).reshape(-1, *[1] * (x_0.ndim - 1))
        return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise

    def alpha_bar_before(self, t):
        return self.alpha_bar[t - 1] if t > 0 else torch.ones((), dtype=torch.float64)

    def variance(self, t):
        return self.beta[t] * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])

    def mean(self, noise_hat, t, x_t):
        x_0_hat = (x_t - (1 - self.alpha_bar[t]).sqrt() * noise_hat) / self.alpha_bar[t].sqrt()
        x_0_share = self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
        x_t_share = self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])
        return x_0_share * x_0_hat + x_t_share * x_t

    def step(self, noise_hat, t, x_t):
        return self.mean(noise_hat, t, x_t) + self.variance(t).sqrt() * torch.randn_like(x_t)


def what_a_scheduler_does(attempt, case):
    scheduler = call(attempt, case)
    T = case.args[0]
    x, noise = two(*SHAPE, seed=T)
    found = {"add_noise": scheduler.add_noise(x, noise, torch.tensor([0, T - 1, 2, 1]))}
    for t in (0, 1, 3, T - 1):
        found[f"mean at t = {t}"] = scheduler.mean(noise.clone(), t, x.clone())
    found["mean of float64 at t = 2"] = scheduler.mean(noise.double(), 2, x.double())
    for t in (0, 1, T - 1):
        found[f"variance at t = {t}"] = float(scheduler.variance(t))
    for t in (0, 2, T - 1):
        x_s = scheduler.step(torch.full(BIG, 2.0), t, torch.full(BIG, 5.0)).double()
        variance, count = x_s.var(), x_s.numel()
        found[f"average of step at t = {t}"] = approximately(x_s.mean(), (variance / count).sqrt() + 1e-5)
        found[f"variance of step at t = {t}"] = approximately(variance, variance * (2 / count) ** 0.5)
    return found


def right_x_0_share(self, t):
    return self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar[t])


def x_0_share_as_given(self, t):
    return self.alpha_bar[t].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])


def right_x_t_share(self, t):
    return self.alpha[t].sqrt() * (1 - self.alpha_bar_before(t)) / (1 - self.alpha_bar[t])


def scheduler_with(x_0_share=right_x_0_share, x_t_share=right_x_t_share, level_of_x_0_hat=None, **methods):
    """The scheduler with some of its methods, or some parts of its mean, replaced."""

    def mean(self, noise_hat, t, x_t):
        alpha_bar = self.alpha_bar[t] if level_of_x_0_hat is None else level_of_x_0_hat(self, t)
        x_0_hat = (x_t - (1 - alpha_bar).sqrt() * noise_hat) / alpha_bar.sqrt()
        return x_0_share(self, t) * x_0_hat + x_t_share(self, t) * x_t

    return type("OnePageScheduler", (OnePageScheduler,), {"mean": mean} | methods)


def beta_as_variance(self, t):
    return self.beta[t]


def beta_but_not_at_the_end(self, t):
    return self.beta[t] if t > 0 else torch.zeros((), dtype=torch.float64)


def never_below_0(self, t):
    return self.alpha_bar[max(t - 1, 0)]


ONE_PAGE_SCHEDULER = Exercise(
    name="sampling.OnePageScheduler",
    notebook="05",
    finished=OnePageScheduler,
    given=scheduler_with(x_0_share=x_0_share_as_given),
    cases=lambda: [case(12, 0.05, 0.4), case(7, 0.1, 0.1), case(20, beta_1=0.02, beta_T=0.3)],
    observe=what_a_scheduler_does,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            scheduler_with(x_0_share=x_0_share_as_given, variance=beta_as_variance),
            "The variance has been changed, and the bug is not there. For N(0, 1) the final variance is 0.991 again, "
            "but by accident: one error makes up for another. And now the last step adds noise. Look at the mean.",
        ),
        Mistake(
            scheduler_with(x_0_share=x_0_share_as_given, variance=beta_but_not_at_the_end),
            "The variance has been changed, and the bug is not there. For N(0, 1) the final variance is 0.991 again, "
            "but by accident: more noise makes up for a picture that is too faint. Look at the mean.",
        ),
        Mistake(
            scheduler_with(variance=beta_as_variance),
            "The mean is mended. But the variance has been changed as well, to that of the forward step, and now the "
            "last step adds noise. The posterior's variance, as it was, is right.",
        ),
        Mistake(
            scheduler_with(
                x_0_share=x_0_share_as_given,
                x_t_share=lambda self, t: self.alpha[t].sqrt(),
            ),
            "The share of x_t has been changed to use the level t throughout, and it was right before: at t = 0 it has "
            "to be 0. The bug is in the other share.",
        ),
        Mistake(
            scheduler_with(
                x_0_share=lambda self, t: self.alpha_bar[t + 1].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
            ),
            "You have found the place, but the index goes the wrong way: t + 1 is the noisier neighbour (and T - 1 has "
            "none). The step goes to the level before t.",
        ),
        Mistake(
            scheduler_with(
                x_0_share=lambda self, t: self.alpha_bar[t - 1].sqrt() * self.beta[t] / (1 - self.alpha_bar[t])
            ),
            "Right for every t but 0: there t - 1 is -1, and Python takes the *last* entry of the table, which is "
            "almost 0. The last step would wipe the picture out. What is alpha_bar before the first noise?",
        ),
        Mistake(
            scheduler_with(alpha_bar_before=never_below_0),
            "Now alpha_bar_before(0) is alpha_bar[0], as if level 0 came before level 0. Then the last step leaves "
            "some x_t in the picture, and adds noise. What comes before the first noise is clean: alpha_bar = 1.",
        ),
        Mistake(
            scheduler_with(x_0_share=lambda self, t: self.alpha_bar_before(t) * self.beta[t] / (1 - self.alpha_bar[t])),
            "You have found the place and the level, but lost the root: x_s holds sqrt(alpha_bar_s) of the picture. "
            "alpha_bar itself is a share of the variance.",
        ),
        Mistake(
            scheduler_with(level_of_x_0_hat=lambda self, t: self.alpha_bar_before(t)),
            "The share of x_0_hat is mended, but x_0_hat itself is now worked out with the level before t. It is x_t "
            "that is taken apart there, and x_t is at level t.",
        ),
        Mistake(
            scheduler_with(
                x_0_share=lambda self, t: (
                    self.alpha_bar_before(t).sqrt() * self.beta[t] / (1 - self.alpha_bar_before(t))
                )
            ),
            "The root is mended, but the denominator has been changed with it. 1 - alpha_bar_t below the line was "
            "right: at t = 0 this divides by 0.",
        ),
    ),
    hints=(
        "The eye won't find it, so find data for which you know what has to come out. For data from N(0, 1) the "
        "perfect prediction of the noise is noise_hat = sqrt(1 - alpha_bar_t) * x_t. Follow the variance from 1 down "
        "through all T steps, as final_variance does: multiply it by the square of what `mean` makes of x_t = 1, and "
        "add `variance`. A right scheduler ends at 0.991. This one does not.",
        "Which method is it? Try the last step alone: at t = 0 there is no noise left to keep, so `mean` must return "
        "the predicted picture exactly. Build OnePageScheduler(10, 0.1, 0.5), where errors are large, make x_t with "
        "add_noise, from a picture and noise that you choose, and hand `mean` that very noise: does the picture come "
        "back?",
        "It comes back too faint, by sqrt(alpha_0). So the share of x_0_hat is too small. Compare it with the mean "
        "that the notebook derived: x_s holds the picture with a factor that belongs to level s, the one before t.",
    ),
)


# DDIM


def ddim_cases():
    schedule = steep_schedule()
    return [
        case(*two(*SHAPE, seed=1), 12, 4, schedule),
        case(*two(3, 2, seed=2), 9, 8, schedule, eta=0.0),
        case(*two(5, 1, 2, 3, seed=3), 9, 8, schedule, eta=1.0),
        case(*two(2, 3, seed=4), 12, 5, schedule, eta=0.5),
        case(*two(2, 3, seed=5, dtype=DOUBLE), 10, 3, schedule, eta=0.5),
        case(*two(*SHAPE, seed=6), 6, 0, schedule, eta=1.0),
        case(*two(2, 5, seed=7), 1, 0, schedule),
    ]


def deviation(a_t, a_s, eta):
    return eta * ((1 - a_s) / (1 - a_t) * (1 - a_t / a_s)) ** 0.5


def root(number):
    """NaN for a negative number, as in torch."""
    return number**0.5 if number >= 0 else float("nan")


def ddim_with(
    sigma_of=deviation,
    noise_left_of=lambda a_s, sigma: root(max(1 - a_s - sigma**2, 0)),
    picture_of=lambda a_t, a_s: a_s**0.5,
    s_of=lambda t, s: s,
    noise=randn_like,
):
    """A step some part of which is another."""

    def attempt(x_t, x_0_hat, t, s, schedule, eta=0.0, generator=None):
        a_t, a_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s_of(t, s)].item()
        sigma, noise_hat = sigma_of(a_t, a_s, eta), predict_noise(x_t, t, x_0_hat, schedule)
        x_s = picture_of(a_t, a_s) * x_0_hat + noise_left_of(a_s, sigma) * noise_hat
        return x_s + sigma * noise(x_t, generator)

    return attempt


def sigma_without_ratio(a_t, a_s, eta):
    return eta * (1 - a_t / a_s) ** 0.5


def ddpm_less_noise(x_t, x_0_hat, t, s, schedule, eta=0.0, generator=None):
    mean, variance = posterior(x_0_hat, x_t, t, schedule, s)
    return mean + eta * variance.sqrt() * randn_like(x_t, generator)


def swapped_in_predict_noise(x_t, x_0_hat, t, s, schedule, eta=0.0, generator=None):
    a_t, a_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    sigma, noise_hat = deviation(a_t, a_s, eta), predict_noise(x_0_hat, t, x_t, schedule)
    return a_s**0.5 * x_0_hat + (1 - a_s - sigma**2) ** 0.5 * noise_hat + sigma * randn_like(x_t, generator)


DDIM_STEP = Exercise(
    name="sampling.ddim_step",
    notebook="06",
    finished=ddim_step,
    cases=ddim_cases,
    observe=step_in_parts,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            ddim_with(noise_left_of=lambda a_s, sigma: sigma),
            "sigma stands before the predicted noise, too. It belongs to the fresh noise alone; of the predicted noise "
            "the share sqrt(1 - alpha_bar_s - sigma^2) stays. As it is, nearly all noise is lost, and samples collapse "
            "to averages.",
        ),
        Mistake(
            ddim_with(s_of=lambda t, s: t - 1),
            "The coefficients are those of level t - 1, but the step goes to s. With all the levels the two are the "
            "same; where levels are skipped, hardly any noise is removed.",
        ),
        Mistake(
            ddim_with(noise_left_of=lambda a_s, sigma: root(max(1 - a_s - sigma, 0))),
            "Under the root stands sigma, where sigma squared belongs. Variances add up, standard deviations don't: "
            "c^2 + sigma^2 = 1 - alpha_bar_s.",
        ),
        Mistake(
            ddim_with(noise_left_of=lambda a_s, sigma: (1 - a_s) ** 0.5),
            "All of the predicted noise is kept, and fresh noise comes on top: level s then holds too much. What sigma "
            "adds has to be taken away from the old noise, inside the root.",
        ),
        Mistake(
            ddim_with(sigma_of=lambda a_t, a_s, eta: 0.0),
            "eta is ignored: this is always the step without fresh noise. sigma is eta times the posterior's standard "
            "deviation.",
        ),
        Mistake(
            ddim_with(sigma_of=lambda a_t, a_s, eta: deviation(a_t, a_s, 1.0)),
            "eta is ignored: fresh noise is added although eta = 0, so this is always DDPM. Multiply the standard "
            "deviation by eta.",
        ),
        Mistake(
            ddim_with(sigma_of=lambda a_t, a_s, eta: deviation(a_t, a_s, eta**0.5)),
            "eta stands under the root. sigma is eta times the posterior's standard deviation, so that the *variance* "
            "grows with eta squared. (0 and 1 are the same either way; 0.5 is not.)",
        ),
        Mistake(
            ddim_with(sigma_of=lambda a_t, a_s, eta: eta * deviation(a_t, a_s, 1.0) ** 2),
            "sigma is missing its root: this is eta times the posterior's variance. Noise is multiplied by a standard "
            "deviation.",
        ),
        Mistake(
            ddim_with(sigma_without_ratio, lambda a_s, sigma: root(1 - a_s - sigma**2)),
            "sigma lacks the ratio (1 - alpha_bar_s) / (1 - alpha_bar_t), so it is not 0 at s = 0, and the root of a "
            "negative number follows: NaN, or a complex number. With the ratio the last step is quiet by itself.",
        ),
        Mistake(
            ddim_with(sigma_without_ratio),
            "sigma lacks the ratio (1 - alpha_bar_s) / (1 - alpha_bar_t): it is the dose of the forward step. So the "
            "last step, to s = 0, adds noise to a finished picture.",
        ),
        Mistake(
            ddim_with(picture_of=lambda a_t, a_s: a_t**0.5),
            "The picture has the factor of level t. x_s is at level s, and has to hold sqrt(alpha_bar_s) of it: at "
            "s = 0 all of it.",
        ),
        Mistake(
            ddpm_less_noise,
            "This is DDPM's mean with less noise, or none. That mean leaves room for DDPM's full noise, so with a "
            "smaller eta too little noise is left. DDIM makes it up with more of the predicted noise.",
        ),
        Mistake(
            swapped_in_predict_noise,
            "x_t and x_0_hat are swapped in the call of predict_noise, which takes x_t, t and then the prediction.",
        ),
        Mistake(
            ddim_with(noise=lambda x, generator: torch.randn_like(x)),
            "The step is right, but the fresh noise does not come from `generator`, so nobody can draw the same "
            "picture twice. Hand it on: torch.randn(..., generator=generator); None is fine there.",
        ),
    ),
    hints=(
        "There are three parts: a share of x_0_hat, a share of the predicted noise, and sigma times fresh noise. Work "
        "out sigma first, from alpha_bar at t and at s, and then the noise with `predict_noise`.",
        "With a_t = schedule.alpha_bar[t].item() and a_s in the same way, everything is made of plain numbers. The "
        "squares of the two noises' shares add up to 1 - a_s.",
        "a_s**0.5 * x_0_hat + (1 - a_s - sigma**2)**0.5 * noise_hat, plus sigma times "
        "torch.randn(x_t.shape, generator=generator, dtype=x_t.dtype).",
    ),
)


# A step up


def encode_step(x_t, x_0_hat, t, s, schedule):
    noise_hat = predict_noise(x_t, t, x_0_hat, schedule)
    return add_noise(x_0_hat, s, noise_hat, schedule)


def encode_cases():
    schedule = steep_schedule()
    return [
        case(*two(*SHAPE, seed=1), 1, 12, schedule),
        case(*two(3, 2, seed=2), 3, 7, schedule),
        case(*two(5, 1, 2, 3, seed=3), 11, 12, schedule),
        case(*two(2, 3, seed=4, dtype=DOUBLE), 4, 9, schedule),
    ]


def mixed_up(formula):
    """A wrong step up; formula(x_t, x_0_hat, noise_hat, a, b), with the factors at s."""

    def attempt(x_t, x_0_hat, t, s, schedule):
        return formula(x_t, x_0_hat, predict_noise(x_t, t, x_0_hat, schedule), *factors(schedule, s, x_t))

    return attempt


def forward_from_t(x_t, x_0_hat, t, s, schedule):
    kept = (schedule.alpha_bar[s] / schedule.alpha_bar[t]).item()
    return kept**0.5 * x_t + (1 - kept) ** 0.5 * predict_noise(x_t, t, x_0_hat, schedule)


ENCODE_STEP = Exercise(
    name="sampling.encode_step",
    notebook="06",
    finished=encode_step,
    cases=encode_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            mixed_up(lambda x_t, x_0, noise, a, b: a * x_0 + b * torch.randn_like(x_t)),
            "This mixes in fresh noise. Then what comes out no longer tells which picture it was, and there is no way "
            "back. Use the noise that is in x_t already.",
        ),
        Mistake(
            forward_from_t,
            "This takes x_t along and adds the predicted noise to it, as the forward process adds fresh noise. But it "
            "is the *same* noise: amounts of it add up, not variances. Take x_t apart, and mix the two parts anew.",
        ),
        Mistake(
            mixed_up(lambda x_t, x_0, noise, a, b: a * x_0),
            "The noise is left out, so this is a faint picture and no level of the forward process. Add "
            "sqrt(1 - alpha_bar_s) times the predicted noise.",
        ),
        Mistake(
            mixed_up(lambda x_t, x_0, noise, a, b: a**2 * x_0 + b**2 * noise),
            "The square roots are missing: alpha_bar_s and 1 - alpha_bar_s are shares of the variance.",
        ),
        Mistake(
            mixed_up(lambda x_t, x_0, noise, a, b: a * x_t + b * noise),
            "x_t stands where the predicted picture belongs, so the noise that is in x_t goes in twice.",
        ),
        Mistake(
            lambda x_t, x_0_hat, t, s, schedule: encode_step(x_t, x_0_hat, t, t + 1, schedule),
            "This goes to level t + 1, whatever s is. The walk up may skip levels as well as the walk down.",
        ),
        Mistake(
            lambda x_t, x_0_hat, t, s, schedule: encode_step(x_t, x_0_hat, s, s, schedule),
            "The noise is worked out as if x_t were at level s already. It is at level t: take it apart with the "
            "factors of t, and put it together with those of s.",
        ),
        Mistake(
            lambda x_t, x_0_hat, t, s, schedule: encode_step(x_t, x_0_hat, s, t, schedule),
            "The two levels are swapped: x_t is at t, the lower one here, and the step goes up to s.",
        ),
    ),
    hints=(
        "Nothing in DDIM's step with eta = 0 asks that s be below t. Which two parts is x_s made of?",
        "First the noise, with predict_noise at level t. Then mix it with x_0_hat in the proportions of level s: which "
        "function of notebook 01 does that?",
    ),
)


# Between two noises


def between(a, b, share):
    theta = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return (((1 - share) * theta).sin() * a + (share * theta).sin() * b) / theta.sin()


def between_cases():
    long, short = two(784, seed=1), two(3, 4, seed=2, dtype=DOUBLE)
    return [case(*long, 0.3), case(*two(1, 8, 7, seed=3), 0.5), case(*short, 0.8), case(*long, 0.0), case(*long, 1.0)]


def with_angle(angle_of, divided=True):
    def attempt(a, b, share):
        theta = angle_of(a, b)
        mixed = ((1 - share) * theta).sin() * a + (share * theta).sin() * b
        return mixed / theta.sin() if divided else mixed

    return attempt


def cosine_of(a, b):
    return (a * b).sum() / (a.norm() * b.norm())


BETWEEN = Exercise(
    name="sampling.between",
    notebook="06",
    finished=between,
    cases=between_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            lambda a, b, share: (1 - share) * a + share * b,
            "This is the straight line. Half-way its standard deviation is about 0.7, and the network has never seen "
            "such noise: the pictures between come out pale. Walk along the sphere.",
        ),
        Mistake(
            lambda a, b, share: between(b, a, share),
            "The walk goes the wrong way: share = 0 has to give a, and share = 1 to give b.",
        ),
        Mistake(
            lambda a, b, share: ((1 - share) * a + share * b) / ((1 - share) ** 2 + share**2) ** 0.5,
            "This is the straight line, stretched to the right size. It stays near the sphere, but hurries through the "
            "middle: equal steps in share are not equal angles. Weight a and b by sines of parts of the angle.",
        ),
        Mistake(
            lambda a, b, share: (1 - share) ** 0.5 * a + share**0.5 * b,
            "The roots of the shares keep the variance of independent noises at 1, but equal steps in share are not "
            "equal angles then. Weight a and b by sines of parts of the angle.",
        ),
        Mistake(
            with_angle(lambda a, b: torch.acos(cosine_of(a, b)), divided=False),
            "The division by sin(theta) at the end is missing. Without it, share = 0 does not give back a.",
        ),
        Mistake(
            with_angle(cosine_of),
            "Here theta is the *cosine* of the angle. torch.acos turns it into the angle.",
        ),
        Mistake(
            with_angle(lambda a, b: torch.acos((a * b).sum())),
            "a * b summed up is the cosine times both lengths. Divide by the two norms before torch.acos, which gives "
            "NaN for anything beyond -1 .. 1.",
        ),
        Mistake(
            with_angle(lambda a, b: torch.acos((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)))[..., None]),
            "Every row gets an angle of its own. One noise is one point on one sphere, whatever its shape: sum over "
            "all of its values.",
        ),
    ),
    hints=(
        "First the angle: the cosine of theta is the sum of a * b, divided by the norms of a and b.",
        "The weight of a is sin((1 - share) * theta) / sin(theta). What is the weight of b, if share = 1 has to give "
        "b?",
    ),
)


# The closing task's edge case


def sample_safely(denoise, x_T, schedule, levels, step):
    falling = all(t > s for t, s in pairwise(levels))
    if len(levels) < 2 or not falling or levels[0] > schedule.T or levels[-1] != 0:
        raise ValueError(f"levels must fall from at most {schedule.T} to 0, but are {levels}")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not x_0_hat.isfinite().all():
            raise ValueError(f"the prediction at t = {t} is not finite")
        x = step(x, x_0_hat, t, s, schedule)
    return x


GOOD_LEVELS = [12, 8, 5, 1, 0]
WRONG_LEVELS = ([12, 8, 8, 3, 0], [8, 12, 3, 0], [12, 8, 3], [14, 8, 0], [0], [])


def safe_cases():
    """Walks where nothing is wrong come first."""
    return [
        walk(GOOD_LEVELS),
        walk([9, 4, 0], (5, 2), seed=2, dtype=DOUBLE),
        *[walk(levels, (2, 3), seed=3) for levels in WRONG_LEVELS],
        walk(GOOD_LEVELS, broken_at=5),
        walk([12, 7, 2, 0], (3, 2), seed=4, broken_at=2, value=torch.inf),
        walk([12, 3, 0], (3, 2), seed=5, broken_at=12, broken=slice(None)),
    ]


def end_or_error(attempt, case):
    """What comes out, or what is raised, and how far the walk has come by then."""
    denoise, _, _, levels, _ = case.args
    if denoise.broken_at is None and levels not in WRONG_LEVELS:
        return end_and_steps(attempt, case)
    try:
        x = call(attempt, case)
        if x is None or x is Ellipsis:
            return None
        finite = isinstance(x, torch.Tensor) and bool(x.isfinite().all())
        raised, message = f"nothing, but returns what is {'finite' if finite else 'not finite'}", ""
    except Exception as error:
        raised, message = type(error).__name__, str(error)
    named = denoise.broken_at is None or re.search(rf"\b{denoise.broken_at}\b", message)
    return {
        "it raises": raised,
        "the denoiser was asked before that": "at " + ", ".join(map(str, denoise.asked))
        if denoise.asked
        else "nothing",
        "the message": "fine" if named else "without the level t",
    }


def levels_are_wrong(levels, T):
    return len(levels) < 2 or levels[0] > T or levels[-1] != 0 or any(t <= s for t, s in pairwise(levels))


def safely(
    levels_wrong=levels_are_wrong,
    prediction_wrong=lambda x_0_hat: not x_0_hat.isfinite().all(),
    error=ValueError,
    place=lambda t: f"at t = {t}",
):
    """A walk that refuses something else than it should."""

    def attempt(denoise, x_T, schedule, levels, step):
        if levels_wrong(levels, schedule.T):
            raise error("wrong levels")
        x = x_T
        for t, s in pairwise(levels):
            x_0_hat = denoise(x, t)
            if prediction_wrong(x_0_hat):
                raise error(f"wrong prediction {place(t)}")
            x = step(x, x_0_hat, t, s, schedule)
        return x

    return attempt


def looks_at_the_end(denoise, x_T, schedule, levels, step):
    if levels_are_wrong(levels, schedule.T):
        raise ValueError("wrong levels")
    x = sampling_loop(denoise, x_T, schedule, levels, step)
    if not x.isfinite().all():
        raise ValueError("the picture is not finite")
    return x


def looks_at_levels_on_the_way(denoise, x_T, schedule, levels, step):
    if len(levels) < 2 or levels[0] > schedule.T:
        raise ValueError("wrong levels")
    x = x_T
    for t, s in pairwise(levels):
        if s >= t:
            raise ValueError("wrong levels")
        x_0_hat = denoise(x, t)
        if not x_0_hat.isfinite().all():
            raise ValueError(f"wrong prediction at t = {t}")
        x = step(x, x_0_hat, t, s, schedule)
    if levels[-1] != 0:
        raise ValueError("wrong levels")
    return x


def fills_in(denoise, x_T, schedule, levels, step):
    if levels_are_wrong(levels, schedule.T):
        raise ValueError("wrong levels")
    return sampling_loop(lambda x, t: denoise(x, t).nan_to_num(0, 1, -1), x_T, schedule, levels, step)


SAMPLE_SAFELY = Exercise(
    name="sampling.sample_safely",
    notebook="06",
    finished=sample_safely,
    cases=safe_cases,
    observe=end_or_error,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            sampling_loop,
            "The walk is right, but neither of the edge cases is handled: wrong levels and predictions that are not "
            "finite go through, and nobody is told.",
        ),
        Mistake(
            safely(prediction_wrong=lambda x_0_hat: False),
            "The levels are checked, but not the predictions. One NaN spreads with every step, and an hour later the "
            "picture is all NaN, without a word on where it began.",
        ),
        Mistake(
            safely(levels_wrong=lambda levels, T: False),
            "The predictions are checked, but not the levels. A list that does not fall, or does not end at 0, gives a "
            "picture that is wrong and looks like a bad network.",
        ),
        Mistake(
            safely(
                levels_wrong=lambda levels, T: (
                    len(levels) < 2 or levels[0] > T or levels[-1] != 0 or any(t < s for t, s in pairwise(levels))
                )
            ),
            "A level that comes twice goes through. Falling means t > s; with t = s the step goes nowhere, and the "
            "network's time is wasted.",
        ),
        Mistake(
            safely(
                levels_wrong=lambda levels, T: (
                    len(levels) < 2 or levels[0] > T or any(t <= s for t, s in pairwise(levels))
                )
            ),
            "Levels that end above 0 go through. Their picture still holds the noise of the last level: grain that is "
            "easily put down to the network.",
        ),
        Mistake(
            safely(
                levels_wrong=lambda levels, T: (
                    len(levels) < 2 or levels[-1] != 0 or any(t <= s for t, s in pairwise(levels))
                )
            ),
            "Levels above T go through, and it is left to whatever comes first, table or network, to fail. Compare the "
            "first level with schedule.T.",
        ),
        Mistake(
            safely(
                levels_wrong=lambda levels, T: (
                    levels != [] and (levels[0] > T or levels[-1] != 0 or any(t <= s for t, s in pairwise(levels)))
                )
            ),
            "A list with fewer than two levels goes through. It has no steps, so what comes back is the noise of the "
            "start.",
        ),
        Mistake(
            looks_at_levels_on_the_way,
            "The levels are checked in the loop, after the denoiser has been asked. A walk takes minutes; what can be "
            "known before it starts should be said before it starts.",
        ),
        Mistake(
            safely(prediction_wrong=lambda x_0_hat: x_0_hat.isnan().any()),
            "NaN is found, but infinity goes through: it is not NaN yet, and becomes so a step later, as inf - inf. "
            "isfinite() is false for both.",
        ),
        Mistake(
            safely(prediction_wrong=lambda x_0_hat: not x_0_hat.isfinite().any()),
            "It raises only where *no* value is finite. A single bad value is enough: all of them have to be finite.",
        ),
        Mistake(
            fills_in,
            "The values that are not finite are replaced by made-up ones, and the walk goes on. What comes out looks "
            "like a picture, and the fault in the network stays hidden. Raise an error.",
        ),
        Mistake(
            looks_at_the_end,
            "This looks at the picture at the end, when all the time is spent and nobody can say at which level it "
            "went wrong. Look at every prediction as it comes.",
        ),
        Mistake(
            safely(place=lambda t: ""),
            "The error is raised in the right place, but it does not say at which level. Put t into the message: it is "
            "the first thing that whoever looks for the fault will ask.",
        ),
        Mistake(
            safely(error=AssertionError),
            "This is an `assert`, which raises AssertionError, and which python -O leaves out. For arguments that "
            "don't fit, raise ValueError.",
        ),
    ),
    hints=(
        "There are two places to look: at the list, before anything is asked, and at every prediction, as it comes. "
        "Start from your sampling_loop.",
        "For the levels: at least two, the first at most schedule.T, the last 0, and t > s for every pair of "
        "neighbours. For a prediction: x_0_hat.isfinite().all().",
        'raise ValueError(f"the prediction at t = {t} is not finite"), right after the denoiser was asked; and a '
        "ValueError before the loop, where the levels don't fit.",
    ),
)

EXERCISES = (
    PREDICT_X_0,
    DDPM_STEP,
    SPACED_LEVELS,
    SAMPLING_LOOP,
    ONE_PAGE_SCHEDULER,
    MEAN_FROM_NOISE,
    PREDICT_NOISE,
    DDIM_STEP,
    ENCODE_STEP,
    BETWEEN,
    SAMPLE_SAFELY,
)
