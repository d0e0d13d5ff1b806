"""Exercises on guidance: the classifier in the difference, the dial, and labels that are withheld (notebook 08)."""

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, randn, random, steep_schedule, two
from course_utils.classroom.exercises.comparing import described
from course_utils.classroom.exercises.record import Exercise, Mistake, call, case
from course_utils.guidance import guided
from course_utils.schedule import at
from course_utils.training import withhold

# The classifier in the difference


def classifier_gradient(told, untold, t, path):
    return at(path.signal_rate, t, told) / at(path.noise_rate, t, told) ** 2 * (told - untold)


def gradient_cases():
    path = steep_schedule()
    return [
        case(*two(*SHAPE, seed=1), 5, path),
        case(*two(3, 2, seed=2), 12, path),
        case(*two(5, 1, 2, 3, seed=3), 1, path),
        case(*two(2, 3, seed=4, dtype=DOUBLE), 8, path),
    ]


def gradient_with(factor):
    """A wrong factor before the difference: factor(signal, noise)."""

    def attempt(told, untold, t, path):
        return factor(at(path.signal_rate, t, told), at(path.noise_rate, t, told)) * (told - untold)

    return attempt


CLASSIFIER_GRADIENT = Exercise(
    name="guidance.classifier_gradient",
    notebook="08",
    finished=classifier_gradient,
    cases=gradient_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            gradient_with(lambda a, b: -a / b**2),
            "The sign is wrong, so the arrow points to where the label is *less* likely. Take the score with the "
            "label and subtract the one without it.",
        ),
        Mistake(
            gradient_with(lambda a, b: a / b),
            "The noise rate is not squared. It comes in twice: once to find the noise, and once more in the score.",
        ),
        Mistake(
            gradient_with(lambda a, b: 1 / b**2),
            "The signal rate is missing. In the score, the predicted picture is multiplied by `signal_rate[t]`, "
            "because that much of it is in `x_t`.",
        ),
        Mistake(
            gradient_with(lambda a, b: a**2 / b**2),
            "The signal rate is squared, too, which makes this the signal-to-noise ratio. Only the noise rate comes "
            "in twice.",
        ),
        Mistake(
            gradient_with(lambda a, b: b / a**2),
            "The two rates have changed places. The difference is multiplied by the signal rate, and divided by the "
            "square of the noise rate.",
        ),
        Mistake(
            gradient_with(lambda a, b: torch.ones_like(a)),
            "This is the difference of the two predicted pictures. The question was for the difference of the two "
            "*scores*: write down both, and subtract.",
        ),
        Mistake(
            lambda told, untold, t, path: at(path.signal_rate, t, told) / at(path.noise_rate, t, told) ** 2 * told,
            "Only the prediction with the label is used. Subtract the one without it: what both agree on says "
            "nothing about the label.",
        ),
    ),
    hints=(
        "Write down the score with the label, and the score without it. `x_t` is the same in both. What is left when "
        "you subtract?",
        "Both scores have the form `(signal * prediction - x_t) / noise**2`. So `x_t` goes away, and the factor of "
        "`told - untold` is `signal / noise**2`, with the rates from `at(path.signal_rate, t, told)`.",
    ),
)


# The dial


def with_label(x_t, t):
    return 0.9 * x_t + 0.05 * t


def without_label(x_t, t):
    return 0.4 * x_t - 0.1 * t + 0.3


def guided_cases():
    both = with_label, without_label
    return [
        case(*both, 3),
        case(*both, 1),
        case(*both, 0),
        case(*both, 2.5, range(4, 8)),
        case(*both, 2, levels=[9]),
        case(*both, 2, range(0)),
    ]


def what_it_answers(attempt, case):
    """What the new denoiser says at some levels."""
    denoise = call(attempt, case)
    if denoise is None or denoise is Ellipsis:
        return None
    if not callable(denoise):
        return f"no denoiser, but {described(denoise)}"
    x_t = randn(4, 3, seed=1)
    return {f"at t = {t}": denoise(x_t, t) for t in (3, 4, 7, 8, 9)}


def guided_with(
    mix=lambda told, untold, scale: untold + scale * (told - untold),
    is_on=lambda t, levels: levels is None or t in levels,
    otherwise=lambda told, untold: told,
    change=lambda guess: guess,
    after=lambda guess: guess,
):
    """A dial some part of which is another."""

    def attempt(conditional, unconditional, scale, levels=None):
        def denoise(x_t, t):
            told, untold = change(conditional(x_t, t)), change(unconditional(x_t, t))
            return after(mix(told, untold, scale)) if is_on(t, levels) else otherwise(told, untold)

        return denoise

    return attempt


def within(guess):
    return guess.clamp(-1, 1)


GUIDED = Exercise(
    name="guidance.guided",
    notebook="08",
    finished=guided,
    cases=guided_cases,
    observe=what_it_answers,
    mistakes=(
        Mistake(
            guided_with(lambda told, untold, scale: told + scale * (told - untold)),
            "This is the paper's convention: its w is our scale less 1, so here every picture is guided once too "
            "much, and `scale = 1` is already guided. Start from the prediction *without* the label.",
        ),
        Mistake(
            guided_with(lambda told, untold, scale: told + scale * (untold - told)),
            "The two predictions have changed places: `scale = 0` gives the one with the label, and large scales lead "
            "away from it. Start from the unconditional one, and go towards the conditional one.",
        ),
        Mistake(
            guided_with(lambda told, untold, scale: scale * told),
            "The prediction with the label is multiplied by the scale, which makes the picture brighter, not more "
            "typical. Only the *difference* of the two predictions is multiplied.",
        ),
        Mistake(
            guided_with(lambda told, untold, scale: scale * (told - untold)),
            "This is the difference alone. It has to be added to the prediction without the label.",
        ),
        Mistake(
            guided_with(change=within),
            "The two predictions are clipped before they are combined. Where both are beyond 1, their difference is "
            "gone. Combine them as they are; clipping comes last, and somebody else does it.",
        ),
        Mistake(
            guided_with(after=within),
            "The result is clipped in here. That is the right order, but `clipped` does it outside, so that the points "
            "of the mixture, which have no range, can be guided with the same function.",
        ),
        Mistake(
            guided_with(is_on=lambda t, levels: True),
            "`levels` is ignored: the guidance is always on. At a level that is not in `levels`, answer with the "
            "conditional prediction.",
        ),
        Mistake(
            guided_with(otherwise=lambda told, untold: untold),
            "Where the guidance is off, this answers without the label, which is `scale = 0`. There the label should "
            "still be used: return the conditional prediction.",
        ),
        Mistake(
            guided_with(is_on=lambda t, levels: levels is None or t not in levels),
            "It is the other way round: `levels` are those at which the guidance is *on*.",
        ),
        Mistake(
            guided_with(is_on=lambda t, levels: not levels or t in levels),
            "With an empty `levels`, such as `range(0)`, the guidance should never be on. `if levels` takes empty for "
            "none; ask whether `levels is None`.",
        ),
    ),
    hints=(
        "Return a function: inside `guided`, write `def denoise(x_t, t): ...`, and end with `return denoise`. Which "
        "two predictions does it need, and what should it do with their difference?",
        "`without + scale * (with_condition - without)`. Try it for 0 and for 1.",
        "Before that: `if levels is not None and t not in levels`, return the conditional prediction. `in` works for "
        "a range as well as for a list.",
    ),
)


# Labels that are withheld


def withhold_cases():
    labels = torch.randint(10, (20_000,), generator=random(1))
    return [case(labels, 0.1, 10), case(labels % 3, 0.4, 3), case(labels[:500], 0.0, 10), case(labels[:500], 1.0, 10)]


def what_is_withheld(attempt, case):
    """In words, which are the same for every right answer, in whatever order it draws."""
    labels, share, null = case.args
    generator = random(2)
    outputs = [attempt(labels.clone(), share, null, generator) for _ in range(6)]
    if outputs[0] is None or outputs[0] is Ellipsis:
        return None
    if not isinstance(outputs[0], torch.Tensor) or outputs[0].shape != labels.shape:
        return f"labels of shape {tuple(labels.shape)} became {described(outputs[0])}"
    again = attempt(labels.clone(), share, null, random(2))
    hidden = torch.stack(outputs) == null
    return {
        "share": share_in_words(hidden, share),
        "the others": "as they were" if all((x == labels)[x != null].all() for x in outputs) else "changed",
        "where": where_in_words(hidden),
        "the next time": "the same ones" if hidden.any() and (hidden == hidden[0]).all() and share < 1 else "others",
        "with the same seed": "the same ones" if torch.equal(again, outputs[0]) else "others",
        "dtype": str(outputs[0].dtype),
    }


def share_in_words(hidden, share):
    of_each = hidden.double().mean(dim=1)
    if 0 < share < 1 and bool(((of_each == 0) | (of_each == 1)).all()):
        return "all or none of a batch"
    close = 5 * (share * (1 - share) / hidden.shape[1]) ** 0.5 + 1e-9
    return "as asked" if bool(((of_each - share).abs() <= close).all()) else f"{of_each[0]:.1f}"


def where_in_words(hidden):
    """Whether all of those in one output lie at its beginning."""
    number = int(hidden[0].sum())
    in_one_piece = 0 < number < hidden.shape[1] and bool(hidden[0, :number].all())
    return "at the beginning" if in_one_piece else "anywhere"


def hide(told_of):
    """Labels hidden where told_of(number of labels, share, generator) is False."""
    return lambda condition, share, null, generator: torch.where(
        told_of(len(condition), share, generator), condition, null
    )


def told_by(B, share, generator):
    return torch.rand(B, generator=generator) >= share


WITHHOLD = Exercise(
    name="training.withhold",
    notebook="08",
    finished=withhold,
    cases=withhold_cases,
    observe=what_is_withheld,
    by_chance=True,
    mistakes=(
        Mistake(
            hide(lambda B, share, generator: torch.rand(1, generator=generator) >= share),
            "One number is drawn for the whole batch, so all its labels are hidden, or none. Then nine steps in ten "
            "teach the network nothing about pictures without a label. Draw a number for each image.",
        ),
        Mistake(
            hide(lambda B, share, generator: torch.arange(B) >= share * B),
            "The first ones of the batch lose their labels, every time. If a batch comes in a fixed order, the same "
            "pictures are never shown with their labels. Draw anew, for each image.",
        ),
        Mistake(
            hide(lambda B, share, generator: told_by(B, share, random(0))),
            "Each call hides the same places, because the numbers always come from the same seed. Use the `generator` "
            "that is passed in: it goes on from where it was.",
        ),
        Mistake(
            hide(lambda B, share, generator: torch.rand(B, generator=generator) < share),
            "This hides the ones that should be told: with `share = 0.1`, nine labels in ten are gone.",
        ),
        Mistake(
            lambda condition, share, null, generator: torch.where(
                told_by(len(condition), share, generator), condition, 0
            ),
            'The hidden labels become 0, which is a real class: T-shirts. The network would learn that "not told" '
            "means a T-shirt. Use `null`.",
        ),
        Mistake(
            hide(lambda B, share, generator: torch.rand(B) >= share),
            "The labels are hidden as they should be, but not by `generator`, so the same seed gives another run. "
            "Pass it on: `torch.rand(..., generator=generator)`.",
        ),
        Mistake(
            lambda condition, share, null, generator: condition[told_by(len(condition), share, generator)],
            "The labels that are hidden are thrown away, so there are fewer labels than images. Put `null` in their "
            "place.",
        ),
        Mistake(
            lambda condition, share, null, generator: torch.full_like(condition, null),
            "All the labels are hidden, so the network never learns what any of them means.",
        ),
    ),
    hints=(
        "Draw a number from 0 to 1 for each label. How likely is it to be below `share`?",
        "`told = torch.rand(len(condition), generator=generator) >= share` says which labels stay. `torch.where(told, "
        "..., ...)` chooses between the label and `null`.",
    ),
)
