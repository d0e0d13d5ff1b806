"""Exercises on fast solvers (notebook 10): Euler's step, Heun's, the measured order, and DPM-Solver++(2M)."""

from itertools import pairwise

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, randn, steep_schedule, two
from course_utils.classroom.exercises.record import Exercise, Mistake, case
from course_utils.forward import predict_noise
from course_utils.sampling import ddim_step
from course_utils.schedule import straight_path
from course_utils.solvers import dpm_solver_2m, heun_step

# Euler's step


def euler_step(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    signal_change = (path.signal_rate[s] - path.signal_rate[t]).item()
    noise_change = (path.noise_rate[s] - path.noise_rate[t]).item()
    return x_t + signal_change * x_0_hat + noise_change * noise_hat


def euler_cases():
    steep, straight = steep_schedule(), straight_path(20)
    return [
        case(*two(*SHAPE, seed=1), 12, 4, steep),
        case(*two(3, 2, seed=2), 9, 8, steep),
        case(*two(5, 1, 2, 3, seed=3), 17, 6, straight),
        case(*two(2, 3, seed=4, dtype=DOUBLE), 7, 0, steep),
    ]


def changes(path, t, s, power=1):
    """By how much the two rates change from t to s."""
    return [(table[s] ** power - table[t] ** power).item() for table in (path.signal_rate, path.noise_rate)]


def euler_with(formula, power=1):
    """A wrong step; formula(x_t, x_0_hat, noise_hat, change of the signal rate, change of the noise rate)."""

    def attempt(x_t, x_0_hat, t, s, path):
        return formula(x_t, x_0_hat, predict_noise(x_t, t, x_0_hat, path), *changes(path, t, s, power))

    return attempt


def noise_read_at_s(x_t, x_0_hat, t, s, path):
    signal, noise = changes(path, t, s)
    return x_t + signal * x_0_hat + noise * predict_noise(x_t, max(s, 1), x_0_hat, path)


EULER_STEP = Exercise(
    name="solvers.euler_step",
    notebook="10",
    finished=euler_step,
    cases=euler_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            euler_with(lambda x, x_0, noise, a, b: x - a * x_0 - b * noise),
            "This walks the wrong way, up instead of down. A change is where you arrive minus where you start: the "
            "rate at s minus the rate at t.",
        ),
        Mistake(
            euler_with(lambda x, x_0, noise, a, b: a * x_0 + b * noise),
            "This is only the change, not the place you get to. Add it to `x_t`.",
        ),
        Mistake(
            euler_with(lambda x, x_0, noise, a, b: x + a * x_0),
            "The picture comes in, but the noise never goes out. Its rate changes as well: add that change times the "
            "predicted noise.",
        ),
        Mistake(
            euler_with(lambda x, x_0, noise, a, b: x + b * noise),
            "The noise goes out, but no picture comes in. The signal rate changes as well: add that change times "
            "`x_0_hat`.",
        ),
        Mistake(
            euler_with(lambda x, x_0, noise, a, b: x + a * x + b * noise),
            "The change of the signal rate multiplies `x_t`. It belongs to the clean picture: `x_t` already has noise "
            "in it.",
        ),
        Mistake(
            euler_with(lambda x, x_0, noise, a, b: x + b * x_0 + a * noise),
            "The two changes are swapped. The signal rate is the picture's, the noise rate is the noise's.",
        ),
        Mistake(
            euler_with(lambda x, x_0, noise, a, b: x + a * x_0 + b * noise, power=2),
            "These are changes of the *squared* rates. The picture and the noise are mixed with the rates themselves.",
        ),
        Mistake(
            lambda x_t, x_0, t, s, path: x_t + (s - t) / path.T * (predict_noise(x_t, t, x_0, path) - x_0),
            "This is Euler's step for the straight path, whose rates change evenly. On other paths they don't. Look "
            "both changes up in the path's tables.",
        ),
        Mistake(
            noise_read_at_s,
            "The predicted noise is worked out as if `x_t` were at level s. Euler looks only at where it starts: take "
            "`x_t` apart with the rates of t.",
        ),
    ),
    hints=(
        "Two things change along the way: how much picture there is, and how much noise. By how much does each rate "
        "change from t to s?",
        "First get the noise from `predict_noise(x_t, t, x_0_hat, path)`. Then add two terms to `x_t`: a change times "
        "`x_0_hat`, and a change times the noise.",
        "`signal_change = (path.signal_rate[s] - path.signal_rate[t]).item()`, and the same for the noise rate.",
    ),
)

# Heun's step


def wavy(x, t):
    """A denoiser whose guess depends on the place and on the level."""
    return torch.sin(2 * x + 0.3 * t)


def heun_cases():
    steep = steep_schedule()
    return [
        case(wavy, randn(*SHAPE, seed=1), 12, 4, steep),
        case(wavy, randn(3, 2, seed=2), 9, 8, steep),
        case(wavy, randn(2, 3, seed=3, dtype=DOUBLE), 17, 6, straight_path(20)),
        case(wavy, randn(2, 5, seed=4), 3, 0, steep),
    ]


def step_and_questions(attempt, case):
    """Where a step made for a denoiser ends, and which levels it asked the denoiser about."""
    denoise, x_t, t, s, path = case.args
    x_0_hat, asked = denoise(x_t, t), []

    def listening(x, level):
        asked.append(level)
        return denoise(x, level)

    step = attempt(listening)
    if step is None or step is Ellipsis:
        return None
    x_s = step(x_t, x_0_hat, t, s, path, generator=None)
    return {"x_s": x_s, "the list of levels that it asks the denoiser about": asked}


def heun_with(mix, end=True):
    """A step some part of which is another: mix(euler, denoise, x_t, x_0_hat, t, s, path) is what it returns."""

    def attempt(denoise):
        def step(x_t, x_0_hat, t, s, path, generator=None):
            euler = ddim_step(x_t, x_0_hat, t, s, path)
            return euler if s == 0 and end else mix(euler, denoise, x_t, x_0_hat, t, s, path)

        return step

    return attempt


def averaged(euler, denoise, x_t, x_0_hat, t, s, path):
    return between_slopes(x_t, (x_0_hat, denoise(euler, s)), (x_t, euler), (t, s), path)


def between_slopes(x_t, guesses, places, levels, path, halves=2):
    """x_t plus the changes of the rates times the averages of two pictures and of two noises."""
    pairs = zip(places, levels, guesses, strict=True)
    noises = [(x - path.signal_rate[t].item() * x_0) / path.noise_rate[t].item() for x, t, x_0 in pairs]
    signal, noise = changes(path, *levels)
    return x_t + signal * sum(guesses) / halves + noise * sum(noises) / halves


def even_at_the_end(euler, denoise, x_t, x_0_hat, t, s, path):
    x_0_hat_s = denoise(euler, s)
    noises = [predict_noise(x_t, t, x_0_hat, path), (euler - path.signal_rate[s].item() * x_0_hat_s)]
    noises[1] = noises[1] / path.noise_rate[s].to(x_t)  # at s = 0, infinite
    signal, noise = changes(path, t, s)
    return x_t + signal * (x_0_hat + x_0_hat_s) / 2 + noise * sum(noises) / 2


def only_the_end(euler, denoise, x_t, x_0_hat, t, s, path):
    x_0_hat_s = denoise(euler, s)
    return euler_with_noise(x_t, x_0_hat_s, predict_noise(euler, s, x_0_hat_s, path), t, s, path)


def euler_with_noise(x_t, x_0_hat, noise_hat, t, s, path):
    signal, noise = changes(path, t, s)
    return x_t + signal * x_0_hat + noise * noise_hat


def only_the_picture(euler, denoise, x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return euler_with_noise(x_t, (x_0_hat + denoise(euler, s)) / 2, noise_hat, t, s, path)


def mixed_guess(euler, denoise, x_t, x_0_hat, t, s, path):
    return ddim_step(x_t, (x_0_hat + denoise(euler, s)) / 2, t, s, path)


HEUN_STEP = Exercise(
    name="solvers.heun_step",
    notebook="10",
    finished=heun_step,
    cases=heun_cases,
    observe=step_and_questions,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            heun_with(even_at_the_end, end=False),
            "At `s = 0` this asks for the noise in a clean picture, and divides by `noise_rate[0]`, which is 0. There "
            "is nothing to read at level 0, so return Euler's step there, before you ask the denoiser again.",
        ),
        Mistake(
            heun_with(lambda euler, *others: euler),
            "This is still Euler's step. Heun's asks the denoiser once more, at the place where Euler's step ends, and "
            "then starts again from `x_t` with the average of the two answers.",
        ),
        Mistake(
            heun_with(only_the_end),
            "This uses only the answers from the end of the step. They run ahead, just as those from the start lag "
            "behind. Take the average of the two.",
        ),
        Mistake(
            heun_with(only_the_picture),
            "The two pictures are averaged, but the noise is only the one from the start. The direction has two "
            "parts, and both of them change on the way.",
        ),
        Mistake(
            heun_with(mixed_guess),
            "The two pictures are averaged, and then a plain DDIM step is made from `x_t`. It works out the noise only "
            "at the start of the step. Work it out at both ends, each time from the picture guessed there, and "
            "average the noises as well.",
        ),
        Mistake(
            heun_with(
                lambda euler, denoise, x_t, x_0_hat, t, s, path: between_slopes(
                    x_t, (x_0_hat, denoise(euler, s)), (x_t, euler), (t, s), path, halves=1
                )
            ),
            "The answers from both ends are added up, so the step is about twice as long as it should be. Average "
            "them: divide by 2.",
        ),
        Mistake(
            heun_with(
                lambda euler, denoise, x_t, x_0_hat, t, s, path: averaged(
                    ddim_step(x_t, denoise(x_t, t), t, s, path), denoise, x_t, x_0_hat, t, s, path
                )
            ),
            "The step is right, but it asks the denoiser again about `x_t` at level t. That answer has been paid for: "
            "it is `x_0_hat`. As it is, N steps cost 3 N - 2 calls instead of 2 N - 1.",
        ),
        Mistake(
            heun_with(
                lambda euler, denoise, x_t, x_0_hat, t, s, path: between_slopes(
                    x_t, (x_0_hat, denoise(x_t, s)), (x_t, x_t), (t, s), path
                )
            ),
            "The second question is about `x_t`, as if it were at level s. First make Euler's step, and ask about the "
            "place where that ends.",
        ),
        Mistake(
            heun_with(
                lambda euler, denoise, x_t, x_0_hat, t, s, path: between_slopes(
                    x_t, (x_0_hat, denoise(euler, t)), (x_t, euler), (t, s), path
                )
            ),
            "The second question is about level t, but Euler's step ends at level s. The denoiser has to be told how "
            "much noise there is: `denoise(euler, s)`.",
        ),
        Mistake(
            heun_with(
                lambda euler, denoise, x_t, x_0_hat, t, s, path: between_slopes(
                    euler, (x_0_hat, denoise(euler, s)), (x_t, euler), (t, s), path
                )
            ),
            "The average is right, but it is added to the end of Euler's step, so you walk twice as far. Euler's step "
            "only tells you where to look. Start again from `x_t`.",
        ),
    ),
    hints=(
        "`heun_step(denoise)` makes a step and returns it. Inside the step, `ddim_step` gives you the place where "
        "Euler would end. Ask the denoiser there.",
        "From that answer, work out the noise with `predict_noise(euler, s, x_0_hat_s, path)`. Now you have a picture "
        "and a noise for each end of the step. What do you do if `s == 0`?",
        "Return `x_t + signal_change * (x_0_hat + x_0_hat_s) / 2 + noise_change * (noise_hat + noise_hat_s) / 2`, and "
        "if `s == 0`, Euler's step itself, before the second question.",
    ),
)

# The order


def order(numbers, errors):
    x, y = numbers.log(), errors.log()
    away = x - x.mean()
    return -((away * y).sum() / away.square().sum()).item()


def order_cases():
    wobble = 0.3 * randn(6, seed=1, dtype=DOUBLE)
    few, many = torch.tensor([5.0, 10.0, 40.0], dtype=DOUBLE), 2.0 ** torch.arange(2, 8, dtype=DOUBLE)
    return [case(many, 3 * many**-2 * wobble.exp()), case(few, torch.tensor([0.4, 0.25, 0.03], dtype=DOUBLE))]


def fitted(x, y):
    away = x - x.mean()
    return (away * y).sum() / away.square().sum()


ORDER = Exercise(
    name="solvers.order",
    notebook="10",
    finished=order,
    cases=order_cases,
    mistakes=(
        Mistake(
            lambda numbers, errors: fitted(numbers.log(), errors.log()).item(),
            "This is the slope itself, which is negative, because errors fall. The order is minus the slope.",
        ),
        Mistake(
            lambda numbers, errors: -fitted(numbers, errors).item(),
            "These are the numbers and errors themselves. A power law becomes a straight line only after you take the "
            "logarithm of both.",
        ),
        Mistake(
            lambda numbers, errors: -fitted(numbers, errors.log()).item(),
            "Only the errors are in logarithms. A power law needs both: `log(error) = constant - order * log(N)`.",
        ),
        Mistake(
            lambda numbers, errors: -fitted(numbers.log(), errors).item(),
            "Only the numbers of steps are in logarithms. A power law needs both: "
            "`log(error) = constant - order * log(N)`.",
        ),
        Mistake(
            lambda numbers, errors: -fitted(errors.log(), numbers.log()).item(),
            "The two are swapped: this says how the number of steps changes with the error. The number of steps goes "
            "across, the error upwards.",
        ),
        Mistake(
            lambda numbers, errors: -((errors[-1] / errors[0]).log() / (numbers[-1] / numbers[0]).log()).item(),
            "This looks only at the first and the last point, and ignores those between. Fit the line through all of "
            "them.",
        ),
        Mistake(
            lambda numbers, errors: -((numbers.log() * errors.log()).sum() / numbers.log().square().sum()).item(),
            "The mean is not subtracted, so this is the best line *through the origin*. It has to be free to go up and "
            "down: subtract the mean of x from x first.",
        ),
    ),
    hints=(
        "If the error is `c / N**order`, what is its logarithm? Which straight line is that, and what is its slope?",
        "With `x = numbers.log()`, `y = errors.log()` and `away = x - x.mean()`, the slope of the best line is "
        "`(away * y).sum() / away.square().sum()`.",
    ),
)

# DPM-Solver++(2M)


def walk_cases():
    """Steps and guesses for two walks with one and the same step; the second walk begins where the first one did."""
    steep, straight = steep_schedule(), straight_path(20)
    long = (steep, [12, 9, 4, 3, 0], randn(4, 3, 2, seed=1), randn(4, 4, 3, 2, seed=2))
    short = (straight, [19, 16, 6, 2, 0], randn(2, 3, seed=3, dtype=DOUBLE), randn(4, 2, 3, seed=4, dtype=DOUBLE))
    return [case(*long), case(*short)]


def two_walks(attempt, case):
    """Where each step ends, in two walks that one and the same step makes."""
    path, levels, x_T, guesses = case.args
    step, found = attempt(), {}
    if step is None or step is Ellipsis:
        return None
    for walk in ("the first walk", "the second walk"):
        x = x_T
        for number, ((t, s), x_0_hat) in enumerate(zip(pairwise(levels), guesses, strict=True), 1):
            x = step(x, x_0_hat, t, s, path, generator=None)
            found[f"step {number} of {walk}, from level {t} to {s}"] = x
        guesses = -guesses
    return found


def multistep(guess, forgets=True, at_0=False, remember=lambda raw, used: raw):
    """A solver with a memory: guess(x_0_hat, x_0_hat_u, u, t, s, path) is the picture of its DDIM steps."""

    def attempt():
        last = None

        def step(x_t, x_0_hat, t, s, path, generator=None):
            nonlocal last
            usable = last is not None and (last[1] == t or not forgets) and (s > 0 or at_0)
            used = guess(x_0_hat, last[2], last[0], t, s, path) if usable else x_0_hat
            last = t, s, remember(x_0_hat, used)
            return ddim_step(x_t, used, t, s, path)

        return step

    return attempt


def extrapolated(share, scale=lambda path: path.log_snr):
    """x_0_hat and a share of its change; share(step to t, step to s)."""

    def guess(x_0_hat, x_0_hat_u, u, t, s, path):
        to_t, to_s = scale(path)[[u, t, s]].diff().tolist()
        return x_0_hat + (x_0_hat - x_0_hat_u) * share(to_t, to_s)

    return guess


def half(to_t, to_s):
    return to_s / (2 * to_t)


DPM_SOLVER_2M = Exercise(
    name="solvers.dpm_solver_2m",
    notebook="10",
    finished=dpm_solver_2m,
    cases=walk_cases,
    observe=two_walks,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            multistep(extrapolated(half), forgets=False),
            "The first walk is right, but the second one begins with a memory of the first. Remember where the last "
            "step ended as well: if that isn't the t of this step, a new walk has begun, and its first step is DDIM's.",
        ),
        Mistake(
            multistep(extrapolated(half), at_0=True),
            "In the step to `s = 0` the log-SNR is infinite, and so is what you extrapolate. Return a plain DDIM step "
            "there.",
        ),
        Mistake(
            multistep(lambda x_0_hat, *others: x_0_hat),
            "This is DDIM all the way: the guess from the step before is not used. From the second step on, replace "
            "`x_0_hat` by its extrapolation to the middle of the step.",
        ),
        Mistake(
            multistep(extrapolated(lambda to_t, to_s: to_s / to_t)),
            "This extrapolates to the *end* of the step. The average over a step is about the value in its middle, so "
            "go only half as far: divide by 2.",
        ),
        Mistake(
            multistep(extrapolated(lambda to_t, to_s: to_t / (2 * to_s))),
            "The ratio is upside down. A long step to s should reach further than a short one: the length of this step "
            "goes on top, that of the step before below.",
        ),
        Mistake(
            multistep(extrapolated(lambda to_t, to_s: 0.5)),
            "This takes all steps to be equally long in log-SNR. They are not, with evenly spaced levels: multiply the "
            "change by the length of this step over that of the step before.",
        ),
        Mistake(
            multistep(extrapolated(half, lambda path: torch.arange(path.T + 1.0))),
            "The lengths of the steps are measured in levels. The derivation measures them in log-SNR: use "
            "`path.log_snr`.",
        ),
        Mistake(
            multistep(extrapolated(half, lambda path: path.snr)),
            "The lengths of the steps are measured in the SNR itself. The derivation needs its logarithm: use "
            "`path.log_snr`.",
        ),
        Mistake(
            multistep(extrapolated(lambda to_t, to_s: -half(to_t, to_s))),
            "The sign is wrong: this goes back towards the old guess, when it should go on in the direction of the "
            "change, from the old guess to the new one and beyond.",
        ),
        Mistake(
            multistep(extrapolated(half), remember=lambda raw, used: used),
            "The step remembers its extrapolated guess. The next change should be between two things that the denoiser "
            "really said: remember `x_0_hat` as it came in.",
        ),
    ),
    hints=(
        "`dpm_solver_2m()` makes a step and returns it. Between two steps it has to remember three things: where the "
        "last step began, where it ended, and its `x_0_hat`. With `nonlocal last`, the inner function can change a "
        "variable of the outer one.",
        "If the last step didn't end at t, or if `s == 0`, return `ddim_step(x_t, x_0_hat, t, s, path)`. Otherwise "
        "make a DDIM step with another picture. Which?",
        "With u for the level where the last step began, "
        "`to_t, to_s = path.log_snr[[u, t, s]].diff().tolist()`; and the picture is "
        "`x_0_hat + (x_0_hat - x_0_hat_u) * to_s / (2 * to_t)`.",
    ),
)
