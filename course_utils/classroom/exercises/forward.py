"""Exercises on the forward process and its posterior (notebooks 01 and 05)."""

from dataclasses import dataclass

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, factors, randn, steep_schedule
from course_utils.classroom.exercises.record import Exercise, Mistake, call, case
from course_utils.forward import add_noise, forward_step, posterior
from course_utils.schedule import at, linear_schedule, rates

# One noising step


def step_cases():
    schedule, linear = steep_schedule(), linear_schedule()
    pair = dict(seed=1), dict(seed=2)
    return [
        case(*with_t(SHAPE, torch.tensor([1, 12, 5, 7]), *pair), schedule),
        case(*with_t((3, 2), torch.tensor([2, 12, 1]), *pair), schedule),
        case(*with_t((5, 1, 2, 3), 9, *pair), schedule),
        case(*with_t((2, 3), torch.tensor([1000, 400]), *pair), linear),
        case(*with_t((2, 3), torch.tensor([3, 8]), *[one | dict(dtype=DOUBLE) for one in pair]), schedule),
    ]


def with_t(shape, t, x, noise):
    """x, t and noise, with the options that `randn` takes for the two."""
    return randn(*shape, **x), t, randn(*shape, **noise)


def no_roots(x_prev, t, noise, schedule):
    return at(schedule.alpha, t, x_prev) * x_prev + at(schedule.beta, t, x_prev) * noise


def root_of_noise_only(x_prev, t, noise, schedule):
    return at(schedule.alpha, t, x_prev) * x_prev + at(schedule.beta.sqrt(), t, x_prev) * noise


def no_shrinking(x_prev, t, noise, schedule):
    return x_prev + at(schedule.beta.sqrt(), t, x_prev) * noise


def step_the_wrong_way_round(x_prev, t, noise, schedule):
    return at(schedule.beta.sqrt(), t, x_prev) * x_prev + at(schedule.alpha.sqrt(), t, x_prev) * noise


def step_a_level_early(x_prev, t, noise, schedule):
    return forward_step(x_prev, t - 1, noise, schedule)


FORWARD_STEP = Exercise(
    name="forward.forward_step",
    notebook="01",
    finished=forward_step,
    cases=step_cases,
    mistakes=(
        Mistake(
            no_roots,
            "Both square roots are missing. Multiplying by b multiplies the variance by b squared. So to add noise of "
            "variance beta, multiply it by `sqrt(beta)`, and multiply the picture by `sqrt(1 - beta)`.",
        ),
        Mistake(
            root_of_noise_only,
            "The picture is multiplied by `alpha = 1 - beta`, without the square root. Its variance then shrinks by "
            "alpha squared, more than the noise makes up for, so a variance of 1 does not stay 1.",
        ),
        Mistake(
            no_shrinking,
            "The picture is not shrunk before the noise is added, so the variance grows with every step. This was the "
            "notebook's first try, which ended at 11 after a thousand steps.",
        ),
        Mistake(
            step_the_wrong_way_round,
            "The two factors are swapped: `sqrt(beta)`, the small one, belongs to the noise, and `sqrt(alpha)` to the "
            "picture.",
        ),
        Mistake(
            step_a_level_early,
            "These are the coefficients of level `t - 1`. Our tables start with an entry for the clean picture, so "
            "the dose of step t is at index t itself.",
        ),
        Mistake(
            add_noise,
            "This jumps from the clean picture, using the rates of all the steps so far. A single step, from `t - 1` "
            "to t, uses the alpha and beta of that step alone.",
        ),
    ),
    hints=(
        "It is equation (1): a number times `x_prev` plus a number times noise. Which tables of the schedule hold the "
        "squares of those two numbers?",
        "`at(schedule.alpha.sqrt(), t, x_prev)` is the first factor, shaped for the batch. Make the second in the "
        "same way from `schedule.beta`.",
    ),
)


# All the steps in one jump


def add_noise_cases():
    """Those of a step, and level 0, which is the picture as it is."""
    return [*step_cases(), case(randn(2, 5, seed=9), torch.tensor([0, 12]), randn(2, 5, seed=10), steep_schedule())]


def jump_with_factors(wrong):
    """A jump with other factors than a and b, those of the picture and of the noise."""

    def attempt(x_0, t, noise, path):
        of_picture, of_noise = wrong(*factors(path, t, x_0))
        return of_picture * x_0 + of_noise * noise

    return attempt


def jump_a_level_early(x_0, t, noise, path):
    return add_noise(x_0, t - 1, noise, path)


def first_t_for_all(x_0, t, noise, path):
    return add_noise(x_0, int(torch.as_tensor(t).flatten()[0]), noise, path)


def noise_of_its_own(x_0, t, noise, path):
    return add_noise(x_0, t, torch.randn_like(x_0), path)


def noise_of_the_first_image(x_0, t, noise, path):
    return add_noise(x_0, t, noise[:1].expand_as(x_0), path)


ADD_NOISE = Exercise(
    name="forward.add_noise",
    notebook="01",
    finished=add_noise,
    cases=add_noise_cases,
    mistakes=(
        Mistake(
            jump_with_factors(lambda a, b: (a**2, b**2)),
            "Both square roots are missing. `alpha_bar` and `1 - alpha_bar` are shares of the variance. The factors "
            "are their square roots, which the tables `signal_rate` and `noise_rate` hold.",
        ),
        Mistake(
            jump_with_factors(lambda a, b: (a**0.5, b**0.5)),
            "There is one square root too many. `signal_rate` is `sqrt(alpha_bar)` and `noise_rate` is "
            "`sqrt(1 - alpha_bar)` already, so use them as they are.",
        ),
        Mistake(
            forward_step,
            "This takes a single step, with alpha and beta. The jump from the clean picture needs the tables that sum "
            "up all the steps to t: `signal_rate` and `noise_rate`.",
        ),
        Mistake(
            jump_with_factors(lambda a, b: (b, a)),
            "The two factors are swapped: at `t = 1` this gives nearly pure noise. `signal_rate` belongs to the "
            "picture, `noise_rate` to the noise.",
        ),
        Mistake(
            jump_with_factors(lambda a, b: (a, 1 - a)),
            "The noise is multiplied by `1 - sqrt(alpha_bar)` instead of `sqrt(1 - alpha_bar)`. Take the difference "
            "first, then the root: for small t the two are far apart. The table `noise_rate` has the right one.",
        ),
        Mistake(
            jump_a_level_early,
            "These are the coefficients of level `t - 1`. The tables have an entry 0 for the clean picture, so level "
            "t is at index t: there is nothing to subtract.",
        ),
        Mistake(
            first_t_for_all,
            "The whole batch gets the level of its first image. Every image has its own level in `t`; `at` looks each "
            "one up and shapes the result.",
        ),
        Mistake(
            noise_of_its_own,
            "The function draws noise of its own and never uses the argument `noise`. Training has to know which "
            "noise went in, because that is what the network has to predict.",
        ),
        Mistake(
            noise_of_the_first_image,
            "All the images in the batch get the noise of the first one. Each has its own noise, so there is nothing "
            "to index.",
        ),
    ),
    hints=(
        "It is equation (2), and it looks just like `forward_step`. Only the tables differ.",
        "The picture's factor is `at(path.signal_rate, t, x_0)`. Which table has the factor of the noise?",
    ),
)


# From one level to a later one


def jump(x_s, s, t, noise, schedule):
    kept = schedule.alpha_bar[t] / schedule.alpha_bar[s]
    return kept.sqrt() * x_s + (1 - kept).sqrt() * noise


def jump_cases():
    schedule = steep_schedule()
    return [
        case(randn(*SHAPE, seed=1), 3, 9, randn(*SHAPE, seed=2), schedule),
        case(randn(5, 2, seed=3), 1, 12, randn(5, 2, seed=4), schedule),
        case(randn(2, 1, 3, 4, seed=5), 6, 7, randn(2, 1, 3, 4, seed=6), schedule),
        case(randn(6, seed=7, dtype=DOUBLE), 2, 5, randn(6, seed=8, dtype=DOUBLE), schedule),
    ]


def jump_with(kept_of, noise_variance_of=lambda kept, a_s, a_t: 1 - kept):
    def attempt(x_s, s, t, noise, schedule):
        a_s, a_t = schedule.alpha_bar[s], schedule.alpha_bar[t]
        kept = kept_of(a_s, a_t, schedule.alpha[t])
        added = noise_variance_of(kept, a_s, a_t)
        return kept.sqrt() * x_s + added.sqrt() * noise

    return attempt


def jump_no_roots(x_s, s, t, noise, schedule):
    kept = schedule.alpha_bar[t] / schedule.alpha_bar[s]
    return kept * x_s + (1 - kept) * noise


JUMP = Exercise(
    name="forward.jump",
    notebook="01",
    finished=jump,
    cases=jump_cases,
    mistakes=(
        Mistake(
            jump_with(lambda a_s, a_t, alpha: a_t),
            "This treats `x_s` as if it were the clean picture. It has already come s steps, so only the steps from "
            "`s + 1` to t are still to be taken. The share they keep is `alpha_bar[t] / alpha_bar[s]`.",
        ),
        Mistake(
            jump_with(lambda a_s, a_t, alpha: a_t / a_s, lambda kept, a_s, a_t: a_s - a_t),
            "The variance of the fresh noise is not the difference of the two values of `alpha_bar`: the noise that "
            "was already there shrinks on the way, too. The two shares have to sum to 1, so it is `1 - kept`.",
        ),
        Mistake(
            jump_with(lambda a_s, a_t, alpha: alpha),
            "This takes a single step, with `alpha[t]`. It should take all the steps from `s + 1` to t.",
        ),
        Mistake(
            jump_with(lambda a_s, a_t, alpha: a_s / a_t),
            "The ratio is upside down: `alpha_bar[s] / alpha_bar[t]` is above 1, and a share can't be. (That is where "
            "the NaN comes from: the square root of a negative variance.)",
        ),
        Mistake(
            jump_no_roots,
            "The square roots are missing: `kept` and `1 - kept` are shares of the variance, and the factors are "
            "their square roots.",
        ),
    ),
    hints=(
        "`alpha_bar[t]` is the product of all the alphas up to t, and `alpha_bar[s]` is that of those up to s. Which "
        "product belongs to the steps in between, and how do you get it from these two?",
        "With `kept = alpha_bar[t] / alpha_bar[s]` it is equation (2) again, with `kept` in place of `alpha_bar`.",
    ),
)


# The posterior


def posterior_cases():
    path = steep_schedule()
    return [
        case(randn(*SHAPE, seed=1), randn(*SHAPE, seed=2), torch.tensor([1, 12, 5, 7]), path),
        case(randn(3, 2, seed=3), randn(3, 2, seed=4), torch.tensor([12, 6, 3]), path, torch.tensor([8, 0, 1])),
        case(randn(5, 1, 2, 3, seed=5), randn(5, 1, 2, 3, seed=6), 9, path, 4),
        case(randn(2, 3, seed=7, dtype=DOUBLE), randn(2, 3, seed=8, dtype=DOUBLE), 10, path),
        case(randn(2, 3, seed=9), randn(2, 3, seed=10), 7, path, 0),
    ]


def mean_and_variance(attempt, case):
    """Both, with the variance of an int t in one shape: a number and a tensor of one number are the same to us."""
    answer = call(attempt, case)
    if not (isinstance(answer, tuple | list) and len(answer) == 2):
        return answer
    mean, variance = answer
    x_t, t = case.args[1], case.args[2]
    if isinstance(t, int):
        variance = torch.as_tensor(variance).to(x_t.dtype).reshape([1] * x_t.ndim)
    s = torch.as_tensor(t - 1 if len(case.args) < 5 else case.args[4]).reshape(-1)
    exact = isinstance(variance, torch.Tensor) and (len(variance) != len(s) or not variance[s == 0].any())
    return {"mean": mean, "variance": variance, "variance at s = 0": "exactly 0" if exact else "not exactly 0"}


@dataclass(frozen=True)
class Levels:
    """The rates at t and at s, and what follows from them."""

    signal_t: torch.Tensor
    noise_t: torch.Tensor
    signal_s: torch.Tensor
    noise_s: torch.Tensor

    @property
    def r(self):
        return self.signal_t / self.signal_s

    @property
    def added(self):
        return self.noise_t**2 - self.r**2 * self.noise_s**2

    def x_0_share(self):
        return self.signal_s * self.added / self.noise_t**2

    def x_t_share(self):
        return self.r * self.noise_s**2 / self.noise_t**2

    def variance(self):
        return self.added * self.noise_s**2 / self.noise_t**2


def posterior_with(
    x_0_share=Levels.x_0_share,
    x_t_share=Levels.x_t_share,
    variance=Levels.variance,
    s_of=lambda t, s: t - 1 if s is None else s,
):
    """A posterior some of whose coefficients are others."""

    def attempt(x_0, x_t, t, path, s=None):
        levels = Levels(*rates(path, t, x_t), *rates(path, s_of(t, s), x_t))
        mean = x_0_share(levels).to(x_0) * x_0 + x_t_share(levels).to(x_t) * x_t
        return mean, variance(levels).to(x_t)

    return attempt


POSTERIOR = Exercise(
    name="forward.posterior",
    notebook="05",
    finished=posterior,
    cases=posterior_cases,
    observe=mean_and_variance,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            posterior_with(x_0_share=lambda at: at.signal_t * at.added / at.noise_t**2),
            "The share of `x_0` uses `signal_t` instead of `signal_s`. The first fact is about `x_s`, which holds the "
            "picture with the signal rate of s. Samples hardly show this mistake, which is why it is so common.",
        ),
        Mistake(
            posterior_with(s_of=lambda t, s: t - 1),
            "The argument `s` is ignored: this is always the step to `t - 1`. When levels are skipped, use the rates "
            "at s instead of those at `t - 1`.",
        ),
        Mistake(
            posterior_with(variance=lambda at: at.added),
            "The variance here is what the forward process adds between s and t. The posterior's is smaller, by the "
            "factor `noise_s**2 / noise_t**2`, because the picture is known as well. At `s = 0` it must be 0.",
        ),
        Mistake(
            posterior_with(variance=lambda at: at.variance().sqrt()),
            "This returns the standard deviation. Return the variance, without the square root.",
        ),
        Mistake(
            posterior_with(x_0_share=Levels.x_t_share, x_t_share=Levels.x_0_share),
            "The shares of `x_0` and `x_t` are swapped. Try `s = 0`: there the mean must be `x_0` itself.",
        ),
        Mistake(
            posterior_with(x_t_share=lambda at: at.r**2 * at.noise_s**2 / at.noise_t**2),
            "The share of `x_t` has r squared instead of r. (The precision `r**2 / added` times `x_t / r` leaves one "
            "r.)",
        ),
        Mistake(
            posterior_with(
                x_0_share=lambda at: at.signal_s * (at.noise_t - at.r * at.noise_s) / at.noise_t,
                x_t_share=lambda at: at.r * at.noise_s / at.noise_t,
                variance=lambda at: (at.noise_t - at.r * at.noise_s) * at.noise_s / at.noise_t,
            ),
            "The squares are missing. `noise_t` and `noise_s` are standard deviations, but it is variances that add "
            "up. Every noise rate in these formulas is squared, and so is r in `added`.",
        ),
    ),
    hints=(
        "`signal_t, noise_t = rates(path, t, x_t)` gives the two rates at t, in float64; the same call at s gives the "
        "other two. Work out r and `added` from these four. Everything else is made from them.",
        "The mean is `x_0_share.to(x_0) * x_0 + x_t_share.to(x_t) * x_t`, with the two fractions from the formula for "
        "the mean. The variance is `added * noise_s**2 / noise_t**2`, again with `.to(x_t)` last.",
    ),
)
