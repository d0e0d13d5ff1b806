"""Exercises on what a network is asked for: v, conversions, weights, the score, and the velocity (notebook 09)."""

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, factors, randn, steep_schedule, two
from course_utils.classroom.exercises.comparing import described
from course_utils.classroom.exercises.record import Exercise, Mistake, call, case
from course_utils.forward import predict_noise, predict_x_0
from course_utils.predictions import NOISE, VELOCITY, X_0, Prediction, V, x_0_from_v, x_0_from_velocity
from course_utils.schedule import GaussianPath, at, cosine_schedule, straight_path

# The picture that a v stands for


def x_0_from_v_cases():
    steep, straight = steep_schedule(), straight_path(20)
    levels = torch.tensor([1, 12, 5, 7])
    (x, v), (points, v_points), (double, v_double) = two(*SHAPE, seed=1), two(3, 2, seed=2), two(2, 3, seed=3)
    return [
        case(x, levels, v, steep),
        case(x, levels, v, straight),
        case(points, 11, v_points, straight),
        case(double.double(), torch.tensor([4, 9]), v_double.double(), straight),
    ]


def picture_with(formula):
    """A wrong picture: formula(x_t, v, a, b)."""

    def attempt(x_t, t, output, path):
        return formula(x_t, output, *factors(path, t, x_t))

    return attempt


X_0_FROM_V = Exercise(
    name="predictions.x_0_from_v",
    notebook="09",
    finished=x_0_from_v,
    cases=x_0_from_v_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            picture_with(lambda x, v, a, b: a * x - b * v),
            "This is right on schedules only, where the squares of the two rates add up to 1. On the straight path "
            "they don't: what you have is `(a**2 + b**2)` times the picture, so divide by that.",
        ),
        Mistake(
            picture_with(lambda x, v, a, b: (a * x + b * v) / (a**2 + b**2)),
            "The sign in the middle is wrong, so the noise doesn't cancel. In `v` the picture has a minus: "
            "subtract `b * v`.",
        ),
        Mistake(
            picture_with(lambda x, v, a, b: (b * x + a * v) / (a**2 + b**2)),
            "This is the *noise* that `v` stands for, not the picture. For the picture the two rates change places, "
            "and there is a minus.",
        ),
        Mistake(
            picture_with(lambda x, v, a, b: (b * x - a * v) / (a**2 + b**2)),
            "The two rates have changed places, so neither the picture nor the noise cancels. `x_t` is "
            "multiplied by the signal rate, and `v` by the noise rate.",
        ),
        Mistake(
            picture_with(lambda x, v, a, b: (a * x - b * v) / (a**2 + b**2).sqrt()),
            "You divide by the root of the sum of squares. Put in what `x_t` and `v` are: the factor of the picture "
            "is `a**2 + b**2` itself.",
        ),
        Mistake(
            x_0_from_velocity,
            "That's how to read a *velocity*, which is noise less picture. In `v` each of the two has a rate as its "
            "factor.",
        ),
        Mistake(
            lambda x_t, t, output, path: predict_x_0(x_t, t, output, path),
            "That's how to read a predicted *noise*. `v` is made of both, noise and picture.",
        ),
    ),
    hints=(
        "You have two equations, one for `x_t` and one for `v`, and two unknowns: the picture and the noise. Which "
        "multiples of the two equations make the noise go away?",
        "`a * x_t` contains `a * b` times the noise, and so does `b * v`. Subtract. What is the picture's factor now?",
        "`(a * x_t - b * output) / (a**2 + b**2)`, with `a = at(path.signal_rate, t, x_t)` and the same for `b`.",
    ),
)


# A network that answers in other terms

SCORE = Prediction(
    lambda x_0, noise, t, path: -noise / at(path.noise_rate, t, x_0),
    lambda x_t, t, output, path: predict_x_0(x_t, t, -at(path.noise_rate, t, x_t) * output, path),
    "score",
)


def converted(model, path, answers, wanted):
    def other(x_t, t):
        x_0_hat = answers.x_0(x_t, t, model(x_t, t), path)
        noise_hat = predict_noise(x_t, t, x_0_hat, path)
        return wanted.target(x_0_hat, noise_hat, t, path)

    return other


def some_model(x_t, t):
    return 0.6 * x_t.roll(1, dims=0) + torch.cos(t / 5).to(x_t.dtype).reshape(-1, *[1] * (x_t.ndim - 1))


def converted_cases():
    steep, straight = steep_schedule(), straight_path(20)
    return [
        case(some_model, steep, NOISE, V),
        case(some_model, straight, V, NOISE),
        case(some_model, straight, VELOCITY, X_0),
        case(some_model, steep, X_0, VELOCITY),
        case(some_model, straight, SCORE, V),
    ]


def what_it_says(attempt, case):
    """The answers of the new model for pictures and for points."""
    model = call(attempt, case)
    if model is None or model is Ellipsis:
        return None
    if not callable(model):
        return f"no model, but {described(model)}"
    return {
        "for pictures": model(randn(*SHAPE, seed=1), torch.tensor([1, 12, 5, 7])),
        "for points": model(randn(3, 2, seed=2, dtype=DOUBLE), torch.tensor([2, 11, 6])),
    }


def converted_with(change):
    """A wrong conversion: change(x_t, t, output, path, answers, wanted)."""

    def attempt(model, path, answers, wanted):
        return lambda x_t, t: change(x_t, t, model(x_t, t), path, answers, wanted)

    return attempt


def both(x_t, t, output, path, answers):
    x_0_hat = answers.x_0(x_t, t, output, path)
    return x_0_hat, predict_noise(x_t, t, x_0_hat, path)


def read_the_other_way(x_t, t, output, path, answers, wanted):
    return answers.target(*both(x_t, t, output, path, wanted), t, path)


def output_as_noise(x_t, t, output, path, answers, wanted):
    return wanted.target(answers.x_0(x_t, t, output, path), output, t, path)


def in_wrong_order(x_t, t, output, path, answers, wanted):
    x_0_hat, noise_hat = both(x_t, t, output, path, answers)
    return wanted.target(noise_hat, x_0_hat, t, path)


def noisy_picture(x_t, t, output, path, answers, wanted):
    _, noise_hat = both(x_t, t, output, path, answers)
    return wanted.target(x_t, noise_hat, t, path)


def clipped_first(x_t, t, output, path, answers, wanted):
    x_0_hat = answers.x_0(x_t, t, output, path).clamp(-1, 1)
    return wanted.target(x_0_hat, predict_noise(x_t, t, x_0_hat, path), t, path)


CONVERTED = Exercise(
    name="predicting.converted",
    notebook="09",
    finished=converted,
    cases=converted_cases,
    observe=what_it_says,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            converted_with(read_the_other_way),
            "`answers` and `wanted` have changed places. Read the model's output as what it *answers*: "
            "`answers.x_0(...)`. Then turn it into what is *wanted*: `wanted.target(...)`.",
        ),
        Mistake(
            converted_with(output_as_noise),
            "The model's output is put in as the noise, whatever it is. That's right only if it answers with noise. "
            "Work the noise out from the picture with `predict_noise`.",
        ),
        Mistake(
            converted_with(in_wrong_order),
            "Picture and noise have changed places in `wanted.target`. The picture comes first: "
            "`wanted.target(x_0_hat, noise_hat, t, path)`.",
        ),
        Mistake(
            converted_with(noisy_picture),
            "`wanted.target` is given the noisy `x_t` as the picture. It needs the guessed clean one, `x_0_hat`.",
        ),
        Mistake(
            converted_with(lambda x_t, t, output, path, answers, wanted: answers.x_0(x_t, t, output, path)),
            "This answers with the picture, whatever is wanted. One more line: put the picture and its noise into "
            "`wanted.target`.",
        ),
        Mistake(
            converted_with(lambda x_t, t, output, path, answers, wanted: output),
            "The answer is passed on as it was. A sampler that reads a noise as a `v` makes nonsense. Read it with "
            "`answers.x_0`, and turn it into `wanted.target`.",
        ),
        Mistake(
            converted_with(clipped_first),
            "The guessed picture is clipped on the way, so the conversion isn't exact, and can't be undone. Leave "
            "the clip to the sampler.",
        ),
    ),
    hints=(
        "Return a function of `x_t` and `t`. Any answer stands for a picture, and a picture has its noise. How do "
        "you get from one kind of answer to the other?",
        "`x_0_hat = answers.x_0(x_t, t, model(x_t, t), path)`. The noise that goes with it comes from "
        "`predict_noise`, of notebook 06.",
        "The last line is `return wanted.target(x_0_hat, noise_hat, t, path)`.",
    ),
)


# What v's loss weighs


def v_weight(path):
    a, b = path.signal_rate, path.noise_rate
    return ((a**2 + b**2) / a) ** 2


def v_weight_cases():
    u = torch.linspace(0, 0.9, 13, dtype=DOUBLE)
    return [
        case(steep_schedule()),
        case(GaussianPath(1 - u, u)),
        case(GaussianPath(1 - u**2, 2 * u)),
        case(cosine_schedule(9)),
    ]


def weight_with(formula):
    """A wrong table: formula(a, b)."""
    return lambda path: formula(path.signal_rate, path.noise_rate)


V_WEIGHT = Exercise(
    name="predicting.v_weight",
    notebook="09",
    finished=v_weight,
    cases=v_weight_cases,
    mistakes=(
        Mistake(
            weight_with(lambda a, b: (a**2 + b**2) / a),
            "This is the factor of the error itself. The loss has its *square*, so square the factor.",
        ),
        Mistake(
            weight_with(lambda a, b: 1 / a**2),
            "This is right on schedules only, where `a**2 + b**2` is 1. Leave it in, and it holds on every path.",
        ),
        Mistake(
            weight_with(lambda a, b: (a - b**2 / a) ** 2),
            "A sign got lost. The two errors have *opposite* signs, since the picture is too dark where the noise is "
            "too bright. And in `v` the picture has a minus. Minus times minus is plus.",
        ),
        Mistake(
            weight_with(lambda a, b: a**2),
            "This counts the noise's error in `v` only. But where the noise is off, the picture is off as well, by "
            "`-b / a` as much.",
        ),
        Mistake(
            weight_with(lambda a, b: a**2 + b**4 / a**2),
            "The squares of the two errors are added, as if they were independent. They aren't: one is a fixed "
            "multiple of the other. Add first, then square.",
        ),
        Mistake(
            weight_with(lambda a, b: (a / (a**2 + b**2)) ** 2),
            "This is upside down: it turns the error of `v` into that of the noise. The weight has to turn the noise's "
            "error into that of `v`.",
        ),
        Mistake(
            weight_with(lambda a, b: ((a**2 + b**2) / b) ** 2),
            "This compares `v` with the *picture*. The question was for the weight on the noise's error, because our "
            "network answers with noise.",
        ),
    ),
    hints=(
        "Suppose the guessed noise is off by d. By how much must the picture be off, so that `x_t` stays the same? "
        "Put both into `v = a * noise - b * x_0`.",
        "The picture is off by `-b / a * d`, so `v` is off by `a * d + b * b / a * d`. Square the factor of d.",
    ),
)


# The picture that a score stands for


def x_0_from_score(x_t, t, score, path):
    a, b = at(path.signal_rate, t, x_t), at(path.noise_rate, t, x_t)
    return (x_t + b**2 * score) / a


def x_0_from_score_cases():
    steep, straight = steep_schedule(), straight_path(20)
    return [
        case(*with_level(torch.tensor([1, 12, 5, 7]), *two(*SHAPE, seed=1)), steep),
        case(*with_level(torch.tensor([3, 18, 11]), *two(3, 2, seed=2)), straight),
        case(*with_level(8, *two(2, 3, seed=3, dtype=DOUBLE)), straight),
    ]


def with_level(t, x_t, output):
    return x_t, t, output


def home_with(formula):
    """A wrong picture: formula(x_t, score, a, b)."""

    def attempt(x_t, t, score, path):
        return formula(x_t, score, *factors(path, t, x_t))

    return attempt


X_0_FROM_SCORE = Exercise(
    name="predicting.x_0_from_score",
    notebook="09",
    finished=x_0_from_score,
    cases=x_0_from_score_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            home_with(lambda x, score, a, b: (x - b**2 * score) / a),
            "The sign is wrong: this walks *down* the hill, away from the data. The score points home, so add it.",
        ),
        Mistake(
            home_with(lambda x, score, a, b: (x + b * score) / a),
            "The noise rate isn't squared. Solve `score = (a * x_0 - x_t) / b**2` for the picture.",
        ),
        Mistake(
            home_with(lambda x, score, a, b: x + b**2 * score),
            "This is where the arrow ends, `a` times the picture. Divide by the signal rate.",
        ),
        Mistake(
            home_with(lambda x, score, a, b: x + b**2 * score / a),
            "Only the arrow is divided by the signal rate. Put brackets around the sum, and divide all of it.",
        ),
        Mistake(
            home_with(lambda x, score, a, b: (x - b * score) / a),
            "That's how to read a predicted noise. The score is `-noise / b`, so it needs one more factor `b`, and "
            "the other sign.",
        ),
        Mistake(
            home_with(lambda x, score, a, b: -b * score),
            "This is the *noise* that the score stands for. The question was for the picture.",
        ),
        Mistake(
            home_with(lambda x, score, a, b: (x + score / b**2) / a),
            "You divide by the squared noise rate. It's the score that was divided by it, so multiply.",
        ),
    ),
    hints=(
        "Tweedie's formula says what the score is. Solve it for the guessed picture.",
        "`b**2 * score` leads from `x_t` to `a` times the picture. So add, and then divide by `a`.",
    ),
)


# A step along the velocity


def flow_step(x_t, velocity, t, s, path):
    return x_t + (s - t) / path.T * velocity


def flow_cases():
    return [
        case(*two(*SHAPE, seed=1), 12, 4, straight_path(20)),
        case(*two(3, 2, seed=2), 900, 899, straight_path()),
        case(*two(2, 3, seed=3, dtype=DOUBLE), 7, 0, straight_path(8)),
    ]


def flow_with(formula):
    """A wrong step: formula(x_t, velocity, t, s, T)."""
    return lambda x_t, velocity, t, s, path: formula(x_t, velocity, t, s, path.T)


FLOW_STEP = Exercise(
    name="predicting.flow_step",
    notebook="09",
    finished=flow_step,
    cases=flow_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            flow_with(lambda x, velocity, t, s, T: x + (t - s) / T * velocity),
            "This walks towards the *noise*. The velocity points from the picture to the noise, and time goes down in "
            "sampling: where you arrive less where you start, `s - t`, is negative.",
        ),
        Mistake(
            flow_with(lambda x, velocity, t, s, T: x + (s - t) * velocity),
            "The step is T times too long. The velocity is the way for the *whole* path, so levels have to be divided "
            "by `path.T`.",
        ),
        Mistake(
            flow_with(lambda x, velocity, t, s, T: x + (s - t) / t * velocity),
            "The step's length is counted in shares of `t`, the way that is left. The velocity belongs to "
            "the whole path: divide by `path.T`.",
        ),
        Mistake(
            flow_with(lambda x, velocity, t, s, T: x - t / T * velocity),
            "This goes all the way to 0: it is the guessed picture. Stop at `s`.",
        ),
        Mistake(
            flow_with(lambda x, velocity, t, s, T: x - s / T * velocity),
            "This is the way from `s` to 0. The step is from `t` to `s`.",
        ),
        Mistake(
            flow_with(lambda x, velocity, t, s, T: (s - t) / T * velocity),
            "This is only the move. Add it to `x_t`.",
        ),
        Mistake(
            flow_with(lambda x, velocity, t, s, T: x - velocity / T),
            "This goes down one level, however far `s` is. Multiply by the number of levels.",
        ),
    ),
    hints=(
        "New place = old place + time * velocity. How much time passes from `t` to `s`, if the whole path takes 1?",
        "The time is `(s - t) / path.T`. It's negative, and that's right: the velocity points to the noise.",
    ),
)


# A network on another path


def change_trains(model, own, path):
    def moved(x_t, t):
        a, b = at(path.signal_rate, t, x_t), at(path.noise_rate, t, x_t)
        log_snr = at(path.log_snr, t, x_t).flatten()
        its_level = torch.searchsorted(-own.log_snr.to(log_snr), -log_snr).clamp(1, own.T)
        return model(x_t / (a**2 + b**2).sqrt(), its_level)

    return moved


def change_trains_cases():
    return [
        case(some_model, steep_schedule(), straight_path(20)),
        case(some_model, cosine_schedule(50), straight_path(20)),
        case(some_model, steep_schedule(), cosine_schedule(25)),
    ]


def trains_with(
    size=lambda a, b: 1 / (a**2 + b**2).sqrt(),
    level=lambda t, own, path: first_not_above(own.log_snr, path.log_snr[t]),
    answer=lambda output, a, b: output,
):
    """A change of trains in which something else is done."""

    def attempt(model, own, path):
        def moved(x_t, t):
            a, b = factors(path, t, x_t)
            return answer(model(x_t * size(a, b), level(t, own, path).clamp(1, own.T)), a, b)

        return moved

    return attempt


def first_not_above(falling, values):
    return torch.searchsorted(-falling, -values)


CHANGE_TRAINS = Exercise(
    name="predicting.change_trains",
    notebook="09",
    finished=change_trains,
    cases=change_trains_cases,
    observe=what_it_says,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            trains_with(size=lambda a, b: 1),
            "`x_t` has the wrong size for this network. On the straight path `a**2 + b**2` goes down to a half, and on "
            "a schedule it's 1. Divide by its root.",
        ),
        Mistake(
            trains_with(size=lambda a, b: (a**2 + b**2).sqrt()),
            "This makes `x_t` even smaller. It's too small for the network already, so divide by the root.",
        ),
        Mistake(
            trains_with(size=lambda a, b: 1 / (a**2 + b**2)),
            "The root is missing. `a**2 + b**2` is a variance; sizes are standard deviations.",
        ),
        Mistake(
            trains_with(size=lambda a, b: 1 / (a + b)),
            "You divide by the sum of the rates. What has to become 1 is the sum of their squares, so divide by its "
            "root.",
        ),
        Mistake(
            trains_with(level=lambda t, own, path: t),
            "The network is told the level of the other path. At the same number, its own path has another SNR. Find "
            "the level of `own` that fits.",
        ),
        Mistake(
            trains_with(level=lambda t, own, path: first_not_above(own.signal_rate, path.signal_rate[t])),
            "This finds the level with the same signal rate. But `x_t` is made larger or smaller, and its signal rate "
            "with it. What stays is the *SNR*.",
        ),
        Mistake(
            trains_with(level=lambda t, own, path: first_not_above(own.log_snr, path.log_snr[t]) - 1),
            "Each level is one too low: there, the SNR is still above. The task asks for the first level where it "
            "isn't. (Index 0 of the table is the clean picture.)",
        ),
        Mistake(
            trains_with(level=lambda t, own, path: own.T - first_not_above(own.log_snr, path.log_snr[t])),
            "The level is counted from the wrong end. `log_snr` falls as the level rises.",
        ),
        Mistake(
            trains_with(answer=lambda output, a, b: output * (a**2 + b**2).sqrt()),
            "The answer is scaled, too. The network guesses the noise, which is the same on both paths, with "
            "variance 1. Leave it as it is.",
        ),
    ),
    hints=(
        "Two things differ between the paths: how large `x_t` is, and which level has which SNR. Mend both before you "
        "ask the model.",
        "For the size, divide by `(a**2 + b**2).sqrt()`. For the level, `torch.searchsorted` finds a place in rising "
        "numbers, and `-own.log_snr` rises.",
        "Let `log_snr` be `at(path.log_snr, t, x_t).flatten()`. Then the level is "
        "`torch.searchsorted(-own.log_snr.to(log_snr), -log_snr).clamp(1, own.T)`.",
    ),
)
