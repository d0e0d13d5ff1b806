"""Exercises on the picture and the noise in x_t, each worked out from the other (notebooks 05 and 06)."""

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, factors, steep_schedule, two
from course_utils.classroom.exercises.record import Exercise, Mistake, case
from course_utils.forward import predict_noise, predict_x_0
from course_utils.schedule import at, linear_schedule


def mixed_levels():
    """x_t, t, something else like x_t, and a schedule."""
    steep, linear = steep_schedule(), linear_schedule()
    cases = [
        (two(*SHAPE, seed=1), torch.tensor([1, 12, 5, 7]), steep),
        (two(3, 2, seed=2), torch.tensor([2, 12, 1]), steep),
        (two(5, 1, 2, 3, seed=3), 9, steep),
        (two(2, 3, seed=4), torch.tensor([1000, 400]), linear),
        (two(2, 3, seed=5, dtype=DOUBLE), torch.tensor([3, 8]), steep),
        (two(2, 3, seed=6), torch.tensor([20, 35]), linear),
    ]
    return [case(x_t, t, other, schedule) for (x_t, other), t, schedule in cases]


def solved(formula):
    """A wrong way to solve for the other part; a and b are the factors of the picture and of the noise."""

    def attempt(x_t, t, other, path):
        a, b = factors(path, t, x_t)
        return formula(x_t, other, a, b)

    return attempt


def first_of(t):
    return int(torch.as_tensor(t).flatten()[0])


# The picture


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
            "These are `alpha_bar` and `1 - alpha_bar`, without the square roots. They are shares of the variance, "
            "but `x_t` was made with their roots, the rates. To take it apart, use the same two numbers.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x - b**0.5 * noise) / a**0.5),
            "There is one square root too many. `signal_rate` is `sqrt(alpha_bar)` and `noise_rate` is "
            "`sqrt(1 - alpha_bar)` already, so use them as they are.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - b * noise),
            "The noise is taken out, but the picture is still faint: in `x_t` it is multiplied by `signal_rate`. "
            "Divide by it, or the prediction fades towards grey as t grows.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x - b * noise) * a),
            "At the end you multiply by `signal_rate`, which shrinks the picture a second time. Solving for `x_0` "
            "means dividing by it.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - b * noise / a),
            "Only the noise is divided by `signal_rate`. Divide the whole difference: put brackets around "
            "`x_t - noise_rate * noise_hat`.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x + b * noise) / a),
            "The noise is added instead of taken out. The sign is wrong, so the prediction has twice the noise that "
            "`x_t` had.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x - a * noise) / b),
            "The two factors are swapped. `noise_rate` belongs to the noise and `signal_rate` to the picture. At "
            "`t = 1`, `signal_rate` is nearly 1 and `noise_rate` is small, so `x_0_hat` should be close to `x_t` "
            "there.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - noise),
            "This subtracts all of `noise_hat`. But only `noise_rate` times it went into `x_t`, and the picture was "
            "shrunk by `signal_rate`. Undo both.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: ((x - b * noise) / a).clamp(-1, 1)),
            "The formula is right, but then the result is clamped. It must not be: points in the plane, and pictures "
            "in another range, come through here too. The denoiser knows the data, so it does the clamping.",
        ),
        Mistake(
            from_single_step,
            "This undoes a single step, with the alpha and beta of step t alone. But `x_t` holds the noise of all the "
            "steps up to t. The factors for all of them together are `signal_rate` and `noise_rate`.",
        ),
        Mistake(
            lambda x_t, t, noise_hat, path: predict_x_0(x_t, t - 1, noise_hat, path),
            "These are the coefficients of level `t - 1`. Our tables start with an entry for the clean picture, so "
            "level t is at index t itself.",
        ),
        Mistake(
            lambda x_t, t, noise_hat, path: predict_x_0(x_t, first_of(t), noise_hat, path),
            "The whole batch is treated as if it were at the level of its first image. `t` may be a tensor with a "
            "level for each image. `at` looks them all up and shapes the result.",
        ),
    ),
    hints=(
        "Write down how `x_t` was made from `x_0` and the noise, and solve for `x_0` as you would with numbers: first "
        "subtract what was added, then divide by what multiplies.",
        "The noise has the factor `at(path.noise_rate, t, x_t)`. Which factor does the picture have?",
        "`(x_t - factor_of_the_noise * noise_hat) / factor_of_the_picture`, with both factors made by `at`.",
    ),
)


# The noise

PREDICT_NOISE = Exercise(
    name="sampling.predict_noise",
    notebook="06",
    finished=predict_noise,
    cases=mixed_levels,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            solved(lambda x, x_0, a, b: (x - a**2 * x_0) / b**2),
            "These are `alpha_bar` and `1 - alpha_bar`, without the square roots. `x_t` was made with `signal_rate` "
            "and `noise_rate`, so take it apart with those.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: x - a * x_0),
            "This is the noise as it is in `x_t`, multiplied by `noise_rate`. Divide by that: the noise itself has "
            "variance 1 at every level, and the step relies on it.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (x - x_0) / b),
            "The picture is subtracted at full size. In `x_t` it is multiplied by `signal_rate`; whatever you "
            "subtract beyond that ends up in the noise.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (x - b * x_0) / a),
            "The two factors are swapped, as if the third argument were noise: this is the formula of `predict_x_0`. "
            "Here you are given the picture. It goes with `signal_rate`, and the noise with `noise_rate`.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: x - a * x_0 / b),
            "Only the picture is divided by `noise_rate`. Divide the whole difference: put brackets around "
            "`x_t - signal_rate * x_0_hat`.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (a * x_0 - x) / b),
            "The difference is the wrong way round, so the noise has the wrong sign: a step would add what it should "
            "take away. It should be `x_t` minus the picture.",
        ),
        Mistake(
            lambda x_t, t, x_0_hat, path: predict_noise(x_t, t - 1, x_0_hat, path),
            "These are the coefficients of level `t - 1`, one place too early in the table; at `t = 1` that divides "
            "by 0. Level t is at index t.",
        ),
        Mistake(
            lambda x_t, t, x_0_hat, path: predict_noise(x_t, first_of(t), x_0_hat, path),
            "Every image is treated as if it were at the level of the first one. `t` may be a tensor with a level for "
            "each image. `at` looks them all up and shapes the result.",
        ),
    ),
    hints=(
        "It is `predict_x_0` with the two parts swapped. Write down how `x_t` is made, and solve for the noise.",
        "Subtract the picture as it is in `x_t`, with its factor, and divide by the noise's factor: "
        "`at(path.noise_rate, t, x_t)`.",
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
            "All the predicted noise is taken out in one step. A step removes only a little of it: the share "
            "`beta / sqrt(1 - alpha_bar)`.",
        ),
        Mistake(
            mean_with(share_of=lambda schedule: (1 - schedule.alpha_bar).sqrt()),
            "The share `sqrt(1 - alpha_bar)` is all the noise in `x_t`. But one step goes back only one level: beta "
            "goes above the line, and the root below it.",
        ),
        Mistake(
            mean_with(share_of=lambda schedule: schedule.beta.sqrt()),
            "This undoes the forward step as if `noise_hat` were the noise of step t alone. The network predicts the "
            "noise of all the steps together, and step t added only the share `beta / sqrt(1 - alpha_bar)` of it.",
        ),
        Mistake(
            mean_with(share_of=lambda schedule: schedule.beta / (1 - schedule.alpha_bar)),
            "The square root below beta is missing: it is `beta / sqrt(1 - alpha_bar)`. Without it too much noise is "
            "removed, most of all at small t, where `1 - alpha_bar` is small.",
        ),
        Mistake(
            mean_with(divisor_of=lambda schedule: schedule.alpha_bar.sqrt()),
            "This divides by `sqrt(alpha_bar)`, which scales all the way up to a clean picture. The mean belongs to "
            "level `t - 1`, so undo the shrinking of step t only: divide by `sqrt(alpha)`.",
        ),
        Mistake(
            mean_with(divisor_of=lambda schedule: schedule.alpha),
            "This divides by alpha, without the square root. The forward step multiplied by `sqrt(alpha)`.",
        ),
        Mistake(
            mean_with(divisor_of=lambda schedule: torch.ones_like(schedule.alpha)),
            "The factor `1 / sqrt(alpha)` in front is missing. The forward step shrank the picture a little, so the "
            "way back has to enlarge it by as much.",
        ),
        Mistake(
            mean_with(divisor_of=lambda schedule: 1 / schedule.alpha.sqrt()),
            "This multiplies by `sqrt(alpha)` instead of dividing, so the picture shrinks a second time.",
        ),
        Mistake(
            lambda x_t, noise_hat, t, schedule: predict_x_0(x_t, t, noise_hat, schedule),
            "This is the predicted clean picture. The mean of a step to `t - 1` is only a little way towards it.",
        ),
        Mistake(
            lambda x_t, noise_hat, t, schedule: mean_from_noise(x_t, noise_hat, t - 1, schedule),
            "These are the coefficients of level `t - 1`. The step *from* t uses beta, alpha and `alpha_bar` at index "
            "t.",
        ),
    ),
    hints=(
        "There are two coefficients: the share of `noise_hat`, and the factor in front. Make each of them with `at`, "
        "from a table that you work out first.",
        "The share is `at(schedule.beta / (1 - schedule.alpha_bar).sqrt(), t, x_t)`. (Entry 0 of that table is not a "
        "number, but t starts at 1.) All that is left is to divide by the square root of alpha.",
    ),
)
