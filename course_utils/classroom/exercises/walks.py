"""Exercises on the levels of a walk, and on the walk itself (notebooks 05 and 06)."""

import re
from itertools import pairwise
from numbers import Integral

import torch

from course_utils.classroom.exercises.cases import DOUBLE, SHAPE, randn, steep_schedule
from course_utils.classroom.exercises.record import Exercise, Mistake, call, case
from course_utils.sampling import ddim_step, spaced_levels
from course_utils.schedule import linear_schedule

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
    if isinstance(levels, (list, tuple, range)) and all(isinstance(level, Integral) for level in levels):
        return "a list of whole numbers"
    if isinstance(levels, (list, tuple)):
        other = next(level for level in levels if not isinstance(level, Integral))
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
            lambda path, num_steps: whole(evenly(path.T, 0, num_steps)),
            "These are `num_steps` levels, but that many steps need one more: a step lies *between* two levels.",
        ),
        Mistake(
            lambda path, num_steps: evenly(path.T, 0, num_steps + 1).int().tolist(),
            "The levels are cut off instead of rounded: 9.6 becomes 9. Round to the nearest level before you turn "
            "them into whole numbers.",
        ),
        Mistake(
            lambda path, num_steps: whole(evenly(path.T - 1, 0, num_steps + 1)),
            "The walk starts at `T - 1`, as in libraries that count from 0. Our levels run from T, where there is "
            "nothing but noise, down to 0, the picture.",
        ),
        Mistake(
            lambda path, num_steps: whole(evenly(path.T, 0, num_steps + 1))[:-1],
            "The 0 at the end is missing, so the walk would stop before the picture is clean. With only a few steps "
            "you see grain all over it.",
        ),
        Mistake(
            lambda path, num_steps: whole(evenly(path.T, 1, num_steps + 1)),
            "The last level is 1. There is still a little noise at level 1. The clean picture is level 0.",
        ),
        Mistake(
            lambda path, num_steps: whole(evenly(0, path.T, num_steps + 1)),
            "The levels go up. A sampler walks down: T comes first, and 0 last.",
        ),
        Mistake(
            lambda path, num_steps: list(range(path.T, -1, -(path.T // num_steps))),
            "A fixed stride only works when `num_steps` divides T. Otherwise the last level is not 0, or there are "
            "more steps than you asked for. Space the levels evenly first, then round each of them.",
        ),
        Mistake(
            lambda path, num_steps: whole(evenly(1000, 0, num_steps + 1)),
            "The number 1000 is hard-coded. Another schedule may have another T: use `path.T`.",
        ),
        Mistake(
            lambda path, num_steps: evenly(path.T, 0, num_steps + 1).round().int(),
            "The levels are right, but they come as a tensor, so every t and s would be one as well. Steps take plain "
            "numbers: `.tolist()` makes a list of them.",
        ),
        Mistake(
            lambda path, num_steps: evenly(path.T, 0, num_steps + 1).round().tolist(),
            "The levels are right, but they are floats, such as 800.0, and you can't index a table with those. Turn "
            "them into ints with `.int()` before `.tolist()`.",
        ),
        Mistake(
            lambda path, num_steps: evenly(path.T, 0, num_steps + 1).tolist(),
            "These are not rounded. There is no level 9.6: round each to the nearest whole number, and turn it into "
            "an int.",
        ),
    ),
    hints=(
        "`torch.linspace` makes evenly spaced numbers, falling ones as well, with both ends included. How many levels "
        "do `num_steps` steps need?",
        "Start with `torch.linspace(path.T, 0, num_steps + 1)`. Then round, turn them into ints, and make a list: "
        "`.round()`, `.int()` and `.tolist()`.",
    ),
)


# A whole sampling loop


def sampling_loop(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, path)
    return x


def only_ints(name, *levels):
    for level in levels:
        if not isinstance(level, Integral):
            raise TypeError(f"{name} takes levels as ints, but was given {level!r:.40}")


def spied_denoise(path, broken_at=None, broken=slice(-2, -1), value=torch.nan):
    """An exact denoiser, for data from N(0, 0.5), that keeps the levels at which it is asked in `asked`.

    At the level `broken_at`, some of what it predicts is `value`, by default one value of the last image.
    """

    def denoise(x_t, t):
        only_ints("denoise", t)
        denoise.asked.append(int(t))
        if not 1 <= t <= path.T:
            raise ValueError(f"denoise: t must be within 1 .. {path.T}, but is {t}")
        signal, noise = path.signal_rate[t].item(), path.noise_rate[t].item()
        x_0_hat = 0.5 * signal / (0.5 * signal**2 + noise**2) * x_t
        if t == broken_at:
            x_0_hat.view(-1)[broken] = value
        return x_0_hat

    denoise.asked, denoise.broken_at = [], broken_at
    return denoise


def spied_step():
    """DDIM's step without noise, which keeps the levels from and to which it goes in `taken`."""

    def step(x_t, x_0_hat, t, s, path, generator=None):
        only_ints("step", t, s)
        step.taken.append(f"{t} -> {s}")
        return ddim_step(x_t, x_0_hat, t, s, path)

    step.taken = []
    return step


def walk(levels, shape=SHAPE, seed=1, dtype=torch.float32, **broken):
    path = steep_schedule()
    denoise = spied_denoise(path, **broken)
    return case(denoise, randn(*shape, seed=seed, dtype=dtype), path, list(levels), spied_step())


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


def all_states(denoise, x_T, path, levels, step):
    states = [x_T]
    for t, s in pairwise(levels):
        states.append(step(states[-1], denoise(states[-1], t), t, s, path))
    return states


def always_to_t_minus_1(denoise, x_T, path, levels, step):
    x = x_T
    for t in levels[:-1]:
        x = step(x, denoise(x, t), t, t - 1, path)
    return x


def asks_at_s(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x = step(x, denoise(x, s), t, s, path)
    return x


def asks_once(denoise, x_T, path, levels, step):
    x, x_0_hat = x_T, denoise(x_T, levels[0])
    for t, s in pairwise(levels):
        x = step(x, x_0_hat, t, s, path)
    return x


def asks_about_x_T(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x = step(x, denoise(x_T, t), t, s, path)
    return x


def never_moves(denoise, x_T, path, levels, step):
    for t, s in pairwise(levels):
        x = step(x_T, denoise(x_T, t), t, s, path)
    return x


def returns_prediction(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        x = step(x, x_0_hat, t, s, path)
    return x_0_hat


def returns_early(denoise, x_T, path, levels, step):
    return sampling_loop(denoise, x_T, path, levels[:2], step)


def all_levels(denoise, x_T, path, levels, step):
    return sampling_loop(denoise, x_T, path, range(path.T, -1, -1), step)


def start_of_its_own(denoise, x_T, path, levels, step):
    return sampling_loop(denoise, torch.randn_like(x_T), path, levels, step)


def step_with_wrong_order(denoise, x_T, path, levels, step):
    x = x_T
    for t, s in pairwise(levels):
        x = step(denoise(x, t), x, t, s, path)
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
            "Every step goes to `t - 1`, whichever level comes next in the list. When levels are skipped, the next "
            "question is about an image that is noisier than its t says. Go through pairs of neighbours.",
        ),
        Mistake(
            asks_at_s,
            "The denoiser is given s, the level the step goes to. But the image it sees is still at level t. (At the "
            "end it would be asked about level 0, where there is nothing to predict.)",
        ),
        Mistake(
            asks_once,
            "The denoiser is asked only once, before the loop. Its first answer is a blur. You get a picture by "
            "asking again after every step, when the question has become easier.",
        ),
        Mistake(
            asks_about_x_T,
            "The denoiser is always shown `x_T`, the start. Show it `x`, the result of the last step.",
        ),
        Mistake(
            never_moves,
            "Every step starts from `x_T` again, so all the steps but the last are lost. Replace `x` with what the "
            "step returns, and go on from there.",
        ),
        Mistake(
            returns_prediction,
            "This returns the last prediction, not the last `x`. The two are the same only if the walk ends at level "
            "0; with a list that ends above it, they are not.",
        ),
        Mistake(
            returns_early,
            "Only the first step is taken, because the `return` is inside the loop. Move it out by one level of "
            "indentation.",
        ),
        Mistake(
            lambda denoise, x_T, path, levels, step: sampling_loop(denoise, x_T, path, levels[1:], step),
            "The first step is missing: the walk starts from the second level, with an image that is still at the "
            "first. n levels make `n - 1` steps.",
        ),
        Mistake(
            lambda denoise, x_T, path, levels, step: sampling_loop(denoise, x_T, path, levels[:-1], step),
            "The last step is missing, so the result is not at the last level yet. With only a few steps it looks "
            "grainy. There are `n - 1` steps between n levels.",
        ),
        Mistake(
            all_levels,
            "The list of levels is ignored: this takes all T steps. Walk through `levels`, which may skip some, start "
            "below T or end above 0.",
        ),
        Mistake(
            start_of_its_own,
            "The walk starts from noise that the function draws itself. It should start from `x_T`, so that the "
            "caller can choose the start and use it again.",
        ),
        Mistake(
            step_with_wrong_order,
            "The arguments of `step` are in the wrong order: `x` comes first, then the prediction. As it is, the step "
            "takes the prediction for the noisy image.",
        ),
        Mistake(
            all_states,
            "This returns the list of all states, including the start. Return only the last `x`.",
        ),
    ),
    hints=(
        "A step leads from one level to the next in the list. `itertools.pairwise(levels)` gives you the pairs "
        "`(t, s)`.",
        "Two things happen in every round: you ask the denoiser about `x` at level t, and `step` makes the new `x`. "
        "Start with `x = x_T`.",
        "Loop over `for t, s in pairwise(levels)`: first `x_0_hat = denoise(x, t)`, then "
        "`x = step(x, x_0_hat, t, s, path)`. Return `x` after the loop.",
    ),
)


# The closing task's edge case


def sample_safely(denoise, x_T, path, levels, step):
    falling = all(t > s for t, s in pairwise(levels))
    if len(levels) < 2 or not falling or levels[0] > path.T or levels[-1] != 0:
        raise ValueError(f"levels must fall from at most {path.T} to 0, but are {levels}")
    x = x_T
    for t, s in pairwise(levels):
        x_0_hat = denoise(x, t)
        if not x_0_hat.isfinite().all():
            raise ValueError(f"the prediction at t = {t} is not finite")
        x = step(x, x_0_hat, t, s, path)
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
        walk([12, 6, 0], (3, 2), seed=6, broken_at=6, value=-torch.inf),
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
        raised = "ValueError" if isinstance(error, ValueError) else type(error).__name__  # derived ones will do
        message = str(error)
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

    def attempt(denoise, x_T, path, levels, step):
        if levels_wrong(levels, path.T):
            raise error("wrong levels")
        x = x_T
        for t, s in pairwise(levels):
            x_0_hat = denoise(x, t)
            if prediction_wrong(x_0_hat):
                raise error(f"wrong prediction {place(t)}")
            x = step(x, x_0_hat, t, s, path)
        return x

    return attempt


def looks_at_the_end(denoise, x_T, path, levels, step):
    if levels_are_wrong(levels, path.T):
        raise ValueError("wrong levels")
    x = sampling_loop(denoise, x_T, path, levels, step)
    if not x.isfinite().all():
        raise ValueError("the picture is not finite")
    return x


def looks_at_levels_on_the_way(denoise, x_T, path, levels, step):
    if len(levels) < 2 or levels[0] > path.T:
        raise ValueError("wrong levels")
    x = x_T
    for t, s in pairwise(levels):
        if s >= t:
            raise ValueError("wrong levels")
        x_0_hat = denoise(x, t)
        if not x_0_hat.isfinite().all():
            raise ValueError(f"wrong prediction at t = {t}")
        x = step(x, x_0_hat, t, s, path)
    if levels[-1] != 0:
        raise ValueError("wrong levels")
    return x


def fills_in(denoise, x_T, path, levels, step):
    if levels_are_wrong(levels, path.T):
        raise ValueError("wrong levels")
    return sampling_loop(lambda x, t: denoise(x, t).nan_to_num(0, 1, -1), x_T, path, levels, step)


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
            "The walk is right, but neither of the edge cases is handled. Wrong levels and predictions that are not "
            "finite go through without a word.",
        ),
        Mistake(
            safely(prediction_wrong=lambda x_0_hat: False),
            "The levels are checked, but not the predictions. One NaN spreads with every step, and an hour later the "
            "picture is all NaN, with no sign of where it began.",
        ),
        Mistake(
            safely(levels_wrong=lambda levels, T: False),
            "The predictions are checked, but not the levels. A list that does not fall, or does not end at 0, gives "
            "a wrong picture that looks like the work of a bad network.",
        ),
        Mistake(
            safely(
                levels_wrong=lambda levels, T: (
                    len(levels) < 2 or levels[0] > T or levels[-1] != 0 or any(t < s for t, s in pairwise(levels))
                )
            ),
            "A level that comes twice goes through. Falling means `t > s`. With `t = s` the step goes nowhere, and "
            "the network's time is wasted.",
        ),
        Mistake(
            safely(
                levels_wrong=lambda levels, T: (
                    len(levels) < 2 or levels[0] > T or any(t <= s for t, s in pairwise(levels))
                )
            ),
            "Levels that end above 0 go through. Their picture still holds the noise of the last level: grain that is "
            "easily blamed on the network.",
        ),
        Mistake(
            safely(
                levels_wrong=lambda levels, T: (
                    len(levels) < 2 or levels[-1] != 0 or any(t <= s for t, s in pairwise(levels))
                )
            ),
            "Levels above T go through, and it is left to the table or the network, whichever comes first, to fail. "
            "Compare the first level with `path.T`.",
        ),
        Mistake(
            safely(
                levels_wrong=lambda levels, T: (
                    levels != [] and (levels[0] > T or levels[-1] != 0 or any(t <= s for t, s in pairwise(levels)))
                )
            ),
            "A list with fewer than two levels goes through. It has no steps, so you get back the noise you started "
            "with.",
        ),
        Mistake(
            looks_at_levels_on_the_way,
            "The levels are checked in the loop, after the denoiser has been asked. A walk takes minutes. If you can "
            "know before it starts that something is wrong, say so before it starts.",
        ),
        Mistake(
            safely(prediction_wrong=lambda x_0_hat: x_0_hat.isnan().any()),
            "NaN is found, but infinity goes through. It is not NaN yet, and becomes so a step later, as `inf - inf`. "
            "`isfinite()` is false for both.",
        ),
        Mistake(
            safely(prediction_wrong=lambda x_0_hat: not x_0_hat.isfinite().any()),
            "This raises an error only when *no* value is finite. A single bad value is enough: all of them have to "
            "be finite.",
        ),
        Mistake(
            fills_in,
            "Values that are not finite are replaced by made-up ones, and the walk goes on. The result looks like a "
            "picture, and the fault in the network stays hidden. Raise an error.",
        ),
        Mistake(
            looks_at_the_end,
            "This looks at the picture at the end, when all the time has been spent and there is no telling at which "
            "level it went wrong. Look at every prediction as it comes.",
        ),
        Mistake(
            safely(place=lambda t: ""),
            "The error is raised in the right place, but it does not say at which level. Put t into the message: it "
            "is the first thing you will want to know when you look for the fault.",
        ),
        Mistake(
            safely(error=AssertionError),
            "This is an `assert`, which raises AssertionError, and which `python -O` leaves out. For arguments that "
            "don't fit, raise ValueError.",
        ),
    ),
    hints=(
        "There are two places to look: at the list, before you ask anything, and at every prediction, as it comes. "
        "Start from your `sampling_loop`.",
        "For the levels: at least two, the first at most `path.T`, the last 0, and `t > s` for every pair of "
        "neighbours. For a prediction: `x_0_hat.isfinite().all()`.",
        '`raise ValueError(f"the prediction at t = {t} is not finite")`, right after asking the denoiser; and a '
        "ValueError before the loop, when the levels don't fit.",
    ),
)
