"""The first exercise of all: a picture and noise, blended (notebook 00)."""

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, two
from course_utils.classroom.exercises.record import Exercise, Mistake, case


def blend(picture, noise, share):
    return (1 - share) * picture + share * noise


def blend_cases():
    pairs = (
        two(*SHAPE, seed=1),
        two(2, 3, seed=2),
        two(2, 1, 4, 5, seed=3, dtype=DOUBLE),
        two(3, 2, seed=4),
        two(4, seed=5),
    )
    return [case(*pair, share) for pair, share in zip(pairs, (0.3, 0.75, 0.6, 0.0, 1), strict=True)]


BLEND = Exercise(
    name="start.blend",
    notebook="00",
    finished=blend,
    cases=blend_cases,
    mistakes=(
        Mistake(
            lambda picture, noise, share: share * picture + (1 - share) * noise,
            "The two shares are swapped. `share` is the noise's share: with `share = 0` the picture should come back "
            "untouched, and with `share = 1` you should get only the noise.",
        ),
        Mistake(
            lambda picture, noise, share: picture + share * noise,
            "The noise comes in, but the picture never fades: at `share = 1` it is still there in full. Multiply the "
            "picture by what is left for it, `1 - share`.",
        ),
        Mistake(
            lambda picture, noise, share: (1 - share) * picture + noise,
            "The picture fades, but the noise always comes in at full strength, even at `share = 0`. Multiply it by "
            "`share`.",
        ),
        Mistake(
            lambda picture, noise, share: picture + noise,
            "This adds the two and never looks at `share`. Multiply the noise by `share`, and the picture by "
            "`1 - share`.",
        ),
        Mistake(
            lambda picture, noise, share: (1 - share) * (picture + noise),
            "Picture and noise both come in with `1 - share`. That is the picture's; the noise gets `share`.",
        ),
        Mistake(
            lambda picture, noise, share: (1 - share) * picture - share * noise,
            "There is a minus sign in front of the noise. Blending adds the two parts.",
        ),
        Mistake(
            lambda picture, noise, share: 1 - share * picture + share * noise,
            "Some brackets are missing. Python multiplies before it subtracts, so `1 - share * picture` is not what "
            "you mean. Write `(1 - share) * picture`.",
        ),
        Mistake(
            lambda picture, noise, share: (picture + noise) / 2,
            "This is always half and half. The argument `share` says how much of the blend is noise, so it has to "
            "appear in your line.",
        ),
        Mistake(
            lambda picture, noise, share: (1 - share) * picture + share * torch.ones_like(noise),
            "Here the picture is blended with plain white, and the argument `noise` is never used.",
        ),
    ),
    hints=(
        "Think of mixing paint: if three tenths of the blend are noise, seven tenths are picture.",
        "Multiply the picture by `1 - share`, the noise by `share`, and add the two.",
    ),
)
