"""Exercises on the way from a picture to its noise, and between two noises (notebook 06)."""

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, factors, steep_schedule, two
from course_utils.classroom.exercises.record import Exercise, Mistake, case
from course_utils.forward import add_noise, predict_noise

# A step up


def encode_step(x_t, x_0_hat, t, s, path):
    noise_hat = predict_noise(x_t, t, x_0_hat, path)
    return add_noise(x_0_hat, s, noise_hat, path)


def encode_cases():
    path = steep_schedule()
    return [
        case(*two(*SHAPE, seed=1), 1, 12, path),
        case(*two(3, 2, seed=2), 3, 7, path),
        case(*two(5, 1, 2, 3, seed=3), 11, 12, path),
        case(*two(2, 3, seed=4, dtype=DOUBLE), 4, 9, path),
    ]


def mixed_up(formula):
    """A wrong step up; formula(x_t, x_0_hat, noise_hat, a, b), with the factors at s."""

    def attempt(x_t, x_0_hat, t, s, path):
        return formula(x_t, x_0_hat, predict_noise(x_t, t, x_0_hat, path), *factors(path, s, x_t))

    return attempt


def forward_from_t(x_t, x_0_hat, t, s, path):
    r = (path.signal_rate[s] / path.signal_rate[t]).item()
    added = path.noise_rate[s].item() ** 2 - (r * path.noise_rate[t].item()) ** 2
    return r * x_t + added**0.5 * predict_noise(x_t, t, x_0_hat, path)


ENCODE_STEP = Exercise(
    name="sampling.encode_step",
    notebook="06",
    finished=encode_step,
    cases=encode_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            mixed_up(lambda x_t, x_0, noise, a, b: a * x_0 + b * torch.randn_like(x_t)),
            "This mixes in fresh noise. Then the result no longer tells you which picture it was, and there is no way "
            "back. Use the noise that is already in `x_t`.",
        ),
        Mistake(
            forward_from_t,
            "This takes `x_t` as it is and adds the predicted noise, just as the forward process adds fresh noise. "
            "But it is the *same* noise, so amounts of it add up, not variances. Take `x_t` apart, and mix the two "
            "parts again.",
        ),
        Mistake(
            mixed_up(lambda x_t, x_0, noise, a, b: a * x_0),
            "The noise is left out, so this is a faint picture and no level of the forward process. Add the predicted "
            "noise, times the noise rate of s.",
        ),
        Mistake(
            mixed_up(lambda x_t, x_0, noise, a, b: a**2 * x_0 + b**2 * noise),
            "The factors are the squares of the rates, `alpha_bar_s` and `1 - alpha_bar_s`. Those are shares of the "
            "variance. Use the rates themselves.",
        ),
        Mistake(
            mixed_up(lambda x_t, x_0, noise, a, b: a * x_t + b * noise),
            "This uses `x_t` instead of the predicted picture, so the noise that is in `x_t` goes in twice.",
        ),
        Mistake(
            lambda x_t, x_0_hat, t, s, path: encode_step(x_t, x_0_hat, t, t + 1, path),
            "This goes to level `t + 1`, whatever s is. The walk up may skip levels, just as the walk down may.",
        ),
        Mistake(
            lambda x_t, x_0_hat, t, s, path: encode_step(x_t, x_0_hat, s, s, path),
            "The noise is worked out as if `x_t` were at level s already. It is at level t: take it apart with the "
            "factors of t, and put it together with those of s.",
        ),
        Mistake(
            lambda x_t, x_0_hat, t, s, path: encode_step(x_t, x_0_hat, s, t, path),
            "The two levels are swapped: `x_t` is at t, the lower one here, and the step goes up to s.",
        ),
    ),
    hints=(
        "Nothing in DDIM's step with `eta = 0` requires s to be below t. Which two parts is `x_s` made of?",
        "First work out the noise, with `predict_noise` at level t. Then mix it with `x_0_hat` in the proportions of "
        "level s. Which function from notebook 01 does that?",
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
            "This is the straight line. Half-way along, its standard deviation is only about 0.7, and the network has "
            "never seen such noise, so the pictures in between come out pale. Walk along the sphere.",
        ),
        Mistake(
            lambda a, b, share: between(b, a, share),
            "The walk goes the wrong way: `share = 0` should give `a`, and `share = 1` should give `b`.",
        ),
        Mistake(
            lambda a, b, share: ((1 - share) * a + share * b) / ((1 - share) ** 2 + share**2) ** 0.5,
            "This is the straight line, stretched to the right size. It stays near the sphere but hurries through the "
            "middle: equal steps in `share` are not equal angles. Weight `a` and `b` by sines of parts of the angle.",
        ),
        Mistake(
            lambda a, b, share: (1 - share) ** 0.5 * a + share**0.5 * b,
            "The roots of the shares keep the variance of independent noises at 1, but then equal steps in `share` do "
            "not turn by equal angles. The weights of `a` and `b` should be sines of parts of the angle.",
        ),
        Mistake(
            with_angle(lambda a, b: torch.acos(cosine_of(a, b)), divided=False),
            "The division by `sin(theta)` at the end is missing. Without it, `share = 0` does not give you `a` back.",
        ),
        Mistake(
            with_angle(cosine_of),
            "Here theta is the *cosine* of the angle. `torch.acos` turns it into the angle.",
        ),
        Mistake(
            with_angle(lambda a, b: torch.acos((a * b).sum())),
            "The sum of `a * b` is the cosine times both lengths. Divide by the two norms before `torch.acos`, which "
            "gives NaN for anything outside -1 to 1.",
        ),
        Mistake(
            with_angle(lambda a, b: torch.acos((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)))[..., None]),
            "Every row gets an angle of its own. One noise is one point on one sphere, whatever its shape, so sum "
            "over all of its values.",
        ),
    ),
    hints=(
        "First find the angle: the cosine of theta is the sum of `a * b`, divided by the norms of `a` and `b`.",
        "The weight of `a` is `sin((1 - share) * theta) / sin(theta)`. What is the weight of `b`, if `share = 1` has "
        "to give `b`?",
    ),
)
