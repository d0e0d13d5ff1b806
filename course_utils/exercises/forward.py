"""Exercises on the forward process and its posterior (notebooks 01 and 05)."""

import torch

from course_utils.exercises.cases import SHAPE, randn, steep_schedule
from course_utils.exercises.record import Exercise, Mistake, call, case
from course_utils.forward import add_noise, forward_step, posterior
from course_utils.schedule import at, linear_schedule

# One noising step


def step_cases():
    schedule, linear = steep_schedule(), linear_schedule()
    pair = dict(seed=1), dict(seed=2)
    return [
        case(*with_t(SHAPE, torch.tensor([1, 12, 5, 7]), *pair), schedule),
        case(*with_t((3, 2), torch.tensor([2, 12, 1]), *pair), schedule),
        case(*with_t((5, 1, 2, 3), 9, *pair), schedule),
        case(*with_t((2, 3), torch.tensor([1000, 400]), *pair), linear),
        case(*with_t((2, 3), torch.tensor([3, 8]), *[one | dict(dtype=torch.float64) for one in pair]), schedule),
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
    return forward_step.__wrapped__(x_prev, t - 1, noise, schedule)


FORWARD_STEP = Exercise(
    name="forward.forward_step",
    notebook="01",
    finished=forward_step,
    cases=step_cases,
    mistakes=(
        Mistake(
            no_roots,
            "Both square roots are missing. Multiplying by b multiplies the variance by b squared, so to add noise of "
            "variance beta you multiply it by sqrt(beta), and the picture by sqrt(1 - beta).",
        ),
        Mistake(
            root_of_noise_only,
            "The picture is multiplied by alpha = 1 - beta, without its square root. Then its variance shrinks by "
            "alpha squared, more than the noise makes up for, and a variance of 1 does not stay 1.",
        ),
        Mistake(
            no_shrinking,
            "The picture is not shrunk before the noise is added, so the variance grows with every step: this is the "
            "first try of the notebook, which ended at 11 after a thousand steps.",
        ),
        Mistake(
            step_the_wrong_way_round,
            "The two factors are swapped: sqrt(beta), the small one, belongs to the noise, and sqrt(alpha) to the "
            "picture.",
        ),
        Mistake(
            step_a_level_early,
            "The coefficients are those of level t - 1. Our tables start with an entry for the clean picture, so the "
            "dose of step t stands at index t itself.",
        ),
        Mistake(
            add_noise.__wrapped__,
            "This jumps from a clean picture: it uses alpha_bar, the product over all the steps so far. One step, from "
            "t - 1 to t, uses alpha and beta of that step alone.",
        ),
    ),
    hints=(
        "It is equation (1): a number times x_prev plus a number times noise. Which tables of the schedule hold the "
        "squares of the two numbers?",
        "`at(schedule.alpha.sqrt(), t, x_prev)` is the first factor, shaped for the batch. The second is made in the "
        "same way from schedule.beta.",
    ),
)


# All the steps in one jump


def swapped_factors(x_0, t, noise, schedule):
    return at((1 - schedule.alpha_bar).sqrt(), t, x_0) * x_0 + at(schedule.alpha_bar.sqrt(), t, x_0) * noise


def jump_without_roots(x_0, t, noise, schedule):
    return at(schedule.alpha_bar, t, x_0) * x_0 + at(1 - schedule.alpha_bar, t, x_0) * noise


def one_minus_the_root(x_0, t, noise, schedule):
    return at(schedule.alpha_bar.sqrt(), t, x_0) * x_0 + at(1 - schedule.alpha_bar.sqrt(), t, x_0) * noise


def jump_a_level_early(x_0, t, noise, schedule):
    return add_noise.__wrapped__(x_0, t - 1, noise, schedule)


def first_t_for_all(x_0, t, noise, schedule):
    return add_noise.__wrapped__(x_0, int(torch.as_tensor(t).flatten()[0]), noise, schedule)


def noise_of_its_own(x_0, t, noise, schedule):
    return add_noise.__wrapped__(x_0, t, torch.randn_like(x_0), schedule)


def noise_of_the_first_image(x_0, t, noise, schedule):
    return add_noise.__wrapped__(x_0, t, noise[:1], schedule)


ADD_NOISE = Exercise(
    name="forward.add_noise",
    notebook="01",
    finished=add_noise,
    cases=step_cases,
    mistakes=(
        Mistake(
            jump_without_roots,
            "Both square roots are missing. alpha_bar and 1 - alpha_bar are shares of the variance; the factors are "
            "their square roots, so that the squares of the two add up to 1.",
        ),
        Mistake(
            forward_step.__wrapped__,
            "This takes one single step, with alpha and beta. The jump from the clean picture needs the product of all "
            "the alphas up to t, which is schedule.alpha_bar.",
        ),
        Mistake(
            swapped_factors,
            "The two factors are swapped: at t = 1 this gives nearly pure noise. sqrt(alpha_bar) belongs to the "
            "picture, sqrt(1 - alpha_bar) to the noise.",
        ),
        Mistake(
            one_minus_the_root,
            "The noise is multiplied by 1 - sqrt(alpha_bar), where sqrt(1 - alpha_bar) belongs: first the difference, "
            "then the root. The two are far apart for small t.",
        ),
        Mistake(
            jump_a_level_early,
            "The coefficients are those of level t - 1. The tables have an entry 0 for the clean picture, so level t "
            "stands at index t, and nothing is to be subtracted.",
        ),
        Mistake(
            first_t_for_all,
            "The whole batch gets the level of its first image. Every image has its own t, which is what `at` looks up "
            "and shapes.",
        ),
        Mistake(
            noise_of_its_own,
            "The function draws noise of its own, and leaves the argument `noise` unused. Training has to know which "
            "noise went in, because that is what the network is asked for.",
        ),
        Mistake(
            noise_of_the_first_image,
            "All images of the batch get the noise of the first one. Each has its own, so no indexing is needed.",
        ),
    ),
    hints=(
        "It is equation (2), and it looks just like forward_step. Only the tables are others.",
        "The picture's factor is `at(schedule.alpha_bar.sqrt(), t, x_0)`. What has to stand under the other root, so "
        "that the squares add up to 1?",
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
        case(randn(6, seed=7, dtype=torch.float64), 2, 5, randn(6, seed=8, dtype=torch.float64), schedule),
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
            "This treats x_s as if it were the clean picture. It has come s steps already, so only the steps from "
            "s + 1 to t are still to be taken: the share that they keep is alpha_bar[t] / alpha_bar[s].",
        ),
        Mistake(
            jump_with(lambda a_s, a_t, alpha: a_t / a_s, lambda kept, a_s, a_t: a_s - a_t),
            "The variance of the fresh noise is not the difference of the two alpha_bars: the noise that was there "
            "already shrinks on the way, too. What is added makes the two shares sum to 1, so it is 1 - kept.",
        ),
        Mistake(
            jump_with(lambda a_s, a_t, alpha: alpha),
            "This takes the single step to t, with alpha[t]. All the steps from s + 1 to t are wanted.",
        ),
        Mistake(
            jump_with(lambda a_s, a_t, alpha: a_s / a_t),
            "The ratio is upside down: alpha_bar[s] / alpha_bar[t] is above 1, and a share can't be. (That is where "
            "the NaN come from: the root of a negative variance.)",
        ),
        Mistake(
            jump_no_roots,
            "The square roots are missing: kept and 1 - kept are shares of the variance, and the factors are their "
            "square roots.",
        ),
    ),
    hints=(
        "alpha_bar[t] is the product of all alphas up to t, alpha_bar[s] of those up to s. Which product belongs to "
        "the steps in between, and how do you get it from the two?",
        "With kept = alpha_bar[t] / alpha_bar[s] it is equation (2) again, with kept in place of alpha_bar.",
    ),
)


# The posterior


def posterior_cases():
    schedule, double = steep_schedule(), torch.float64
    return [
        case(randn(*SHAPE, seed=1), randn(*SHAPE, seed=2), torch.tensor([1, 12, 5, 7]), schedule),
        case(randn(3, 2, seed=3), randn(3, 2, seed=4), torch.tensor([12, 6, 3]), schedule, torch.tensor([8, 0, 1])),
        case(randn(5, 1, 2, 3, seed=5), randn(5, 1, 2, 3, seed=6), 9, schedule, 4),
        case(randn(2, 3, seed=7, dtype=double), randn(2, 3, seed=8, dtype=double), 10, schedule),
    ]


def mean_and_variance(attempt, case):
    """Both, with the variance of an int t in one shape: a number and a tensor of one number are the same to us."""
    mean, variance = call(attempt, case)
    x_t, t = case.args[1], case.args[2]
    if isinstance(t, int):
        variance = torch.as_tensor(variance).to(x_t.dtype).reshape([1] * x_t.ndim)
    return {"mean": mean, "variance": variance}


def posterior_with(x_0_share=None, x_t_share=None, variance=None, s_of=lambda t, s: t - 1 if s is None else s):
    """A posterior some of whose coefficients are others."""
    right = {
        "x_0_share": lambda a_t, a_s, alpha: a_s.sqrt() * (1 - alpha) / (1 - a_t),
        "x_t_share": lambda a_t, a_s, alpha: alpha.sqrt() * (1 - a_s) / (1 - a_t),
        "variance": lambda a_t, a_s, alpha: (1 - alpha) * (1 - a_s) / (1 - a_t),
    }
    given = dict(x_0_share=x_0_share, x_t_share=x_t_share, variance=variance)
    formulas = {name: formula or right[name] for name, formula in given.items()}

    def attempt(x_0, x_t, t, schedule, s=None):
        a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[s_of(t, s)]
        shares = {name: shaped(formula(a_t, a_s, a_t / a_s), x_t) for name, formula in formulas.items()}
        return shares["x_0_share"] * x_0 + shares["x_t_share"] * x_t, shares["variance"]

    return attempt


def shaped(value, x):
    return value.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))


POSTERIOR = Exercise(
    name="forward.posterior",
    notebook="05",
    finished=posterior,
    cases=posterior_cases,
    observe=mean_and_variance,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            posterior_with(x_0_share=lambda a_t, a_s, alpha: a_t.sqrt() * (1 - alpha) / (1 - a_t)),
            "The share of x_0 has sqrt(alpha_bar_t), where sqrt(alpha_bar_s) belongs: the first fact is about x_s, "
            "which holds sqrt(alpha_bar_s) of the picture. Samples hardly show it, which is why it is so common.",
        ),
        Mistake(
            posterior_with(s_of=lambda t, s: t - 1),
            "The argument s is ignored: this is always the step to t - 1. Where levels are skipped, alpha_bar[s] "
            "belongs in the place of alpha_bar[t - 1].",
        ),
        Mistake(
            posterior_with(variance=lambda a_t, a_s, alpha: 1 - alpha),
            "The variance is that of the forward step, 1 - alpha. The posterior's is smaller, by the factor "
            "(1 - alpha_bar_s) / (1 - alpha_bar_t), because the picture is known as well; at s = 0 it must be 0.",
        ),
        Mistake(
            posterior_with(variance=lambda a_t, a_s, alpha: ((1 - alpha) * (1 - a_s) / (1 - a_t)).sqrt()),
            "This returns the standard deviation. The variance is asked for, without the square root.",
        ),
        Mistake(
            posterior_with(
                x_0_share=lambda a_t, a_s, alpha: alpha.sqrt() * (1 - a_s) / (1 - a_t),
                x_t_share=lambda a_t, a_s, alpha: a_s.sqrt() * (1 - alpha) / (1 - a_t),
            ),
            "The shares of x_0 and x_t are swapped. Try s = 0: there the mean must be x_0 itself.",
        ),
        Mistake(
            posterior_with(x_t_share=lambda a_t, a_s, alpha: alpha * (1 - a_s) / (1 - a_t)),
            "The share of x_t has alpha, where sqrt(alpha) belongs. (The precision alpha / (1 - alpha) times "
            "x_t / sqrt(alpha) leaves one root.)",
        ),
    ),
    hints=(
        "Take alpha_bar_t and alpha_bar_s from the table with `pick`, in float64, and work out "
        "alpha = alpha_bar_t / alpha_bar_s. Everything else is made of these three numbers.",
        "The mean is cast(x_0_share, x_0) * x_0 + cast(x_t_share, x_t) * x_t, with the two fractions of the formula "
        "for the mean; the variance is (1 - alpha) * (1 - alpha_bar_s) / (1 - alpha_bar_t), cast as well.",
    ),
)

EXERCISES = (FORWARD_STEP, ADD_NOISE, JUMP, POSTERIOR)
