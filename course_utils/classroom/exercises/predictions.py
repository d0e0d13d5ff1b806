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
            "These are alpha_bar and 1 - alpha_bar, without the square roots. They are shares of the variance, but x_t "
            "was made with the rates, their roots. To take it apart you need the same two numbers.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x - b**0.5 * noise) / a**0.5),
            "There is one root too many. signal_rate is sqrt(alpha_bar) and noise_rate is sqrt(1 - alpha_bar), so use "
            "the two as they are.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - b * noise),
            "The noise is taken out, but the picture is still faint: it stands in x_t with the factor signal_rate. "
            "Divide by it, or the prediction fades towards grey as t grows.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x - b * noise) * a),
            "At the end it is multiplied by signal_rate, which shrinks the picture a second time. Solving for x_0 "
            "means dividing by it.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - b * noise / a),
            "Only the noise is divided by signal_rate. The whole difference has to be: put brackets around "
            "x_t - noise_rate * noise_hat.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x + b * noise) / a),
            "The noise is added, where it should be taken out: the sign is wrong, and the prediction has twice the "
            "noise that x_t had.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: (x - a * noise) / b),
            "The two factors are swapped. noise_rate belongs to the noise and signal_rate to the picture. At t = 1 "
            "signal_rate is nearly 1 and noise_rate small, so x_0_hat should be close to x_t there.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: x - noise),
            "This takes away all of noise_hat. But only noise_rate times it went into x_t, and the picture was shrunk "
            "by signal_rate: both have to be undone.",
        ),
        Mistake(
            solved(lambda x, noise, a, b: ((x - b * noise) / a).clamp(-1, 1)),
            "The formula is right, but then the result is clamped. Here it must not be: points in the plane, or "
            "pictures in another range, go the same way. The denoiser, which knows the data, does the clamping.",
        ),
        Mistake(
            from_single_step,
            "This undoes one single step, with alpha and beta of step t alone. In x_t there is the noise of all the "
            "steps up to t. The factors that belong to all of them are signal_rate and noise_rate.",
        ),
        Mistake(
            lambda x_t, t, noise_hat, path: predict_x_0(x_t, t - 1, noise_hat, path),
            "The coefficients are those of level t - 1. Our tables start with an entry for the clean picture, so level "
            "t stands at index t itself.",
        ),
        Mistake(
            lambda x_t, t, noise_hat, path: predict_x_0(x_t, first_of(t), noise_hat, path),
            "The whole batch is treated as if it were at the level of its first image. t may be a tensor with a level "
            "for each image; `at` looks up all of them, and shapes the result.",
        ),
    ),
    hints=(
        "Write down how x_t was made from x_0 and the noise, and solve for x_0 as you would with numbers: first take "
        "away what is added, then divide by what multiplies.",
        "The noise has the factor `at(path.noise_rate, t, x_t)`. Which factor does the picture have?",
        "(x_t - factor_of_the_noise * noise_hat) / factor_of_the_picture, each factor made with `at`.",
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
            "These are alpha_bar and 1 - alpha_bar, without the square roots. x_t was made with signal_rate and "
            "noise_rate, so it has to be taken apart with these.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: x - a * x_0),
            "This is the noise as it stands in x_t, with the factor noise_rate. Divide by it: the noise itself has "
            "variance 1 at every level, and the step counts on that.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (x - x_0) / b),
            "The picture is subtracted in full size. In x_t it stands with the factor signal_rate; what is subtracted "
            "too much ends up in the noise.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (x - b * x_0) / a),
            "The two factors are swapped, as if the third argument were noise: this is the formula of predict_x_0. "
            "Here the picture is given. It goes with signal_rate, and the noise with noise_rate.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: x - a * x_0 / b),
            "Only the picture is divided by noise_rate. The whole difference has to be: put brackets around "
            "x_t - signal_rate * x_0_hat.",
        ),
        Mistake(
            solved(lambda x, x_0, a, b: (a * x_0 - x) / b),
            "The difference is the wrong way round, so the noise has the wrong sign: a step would add what it should "
            "take away. It is x_t minus the picture.",
        ),
        Mistake(
            lambda x_t, t, x_0_hat, path: predict_noise(x_t, t - 1, x_0_hat, path),
            "The coefficients are those of level t - 1, one place too early in the table; at t = 1 that divides by 0. "
            "Level t stands at index t.",
        ),
        Mistake(
            lambda x_t, t, x_0_hat, path: predict_noise(x_t, first_of(t), x_0_hat, path),
            "The whole batch is treated as if it were at the level of its first image. t may be a tensor with a level "
            "for each image; `at` looks up all of them, and shapes the result.",
        ),
    ),
    hints=(
        "It is predict_x_0 with the two parts exchanged. Write down how x_t is made, and solve for the noise.",
        "Take away the picture as it stands in x_t, with its factor, and divide by the factor of the noise: "
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
            "so undo the shrinking of step t only: divide by sqrt(alpha).",
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
