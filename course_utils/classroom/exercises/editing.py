"""Exercises on editing: from a sketch, around a hole, further up again, and two pictures in one (notebook 11)."""

import torch

from course_utils.classroom.exercises.cases import SHAPE, factors, randn, random, steep_schedule
from course_utils.classroom.exercises.comparing import described
from course_utils.classroom.exercises.record import Exercise, Mistake, call, case
from course_utils.editing import anagram, noise_further, put_back, sdedit
from course_utils.forward import add_noise
from course_utils.sampling import ddim_step, ddpm_step, randn_like, sample
from course_utils.schedule import straight_path

# From a sketch


def sdedit_cases():
    steep, straight = steep_schedule(), straight_path(20)
    return [
        case(randn(*SHAPE, seed=1), steep, 0.5, num_steps=4),
        case(randn(3, 2, seed=2), straight, 0.7, num_steps=10),
        case(randn(2, 3, seed=3), steep, 0.75, ddpm_step, num_steps=5),
        case(randn(3, 2, seed=4), straight, 1, num_steps=5),
        case(randn(3, 2, seed=5), steep, 0, num_steps=4),
    ]


def edited(attempt, case):
    """Which levels the denoiser is asked about, what it is shown first, and what comes out."""
    asked = []

    def denoise(x_t, t):
        asked.append((int(t), x_t))
        return 0.6 * x_t + 0.01 * t

    x = attempt(denoise, *case.args, **case.options, generator=random(7))
    if x is None or x is Ellipsis:
        return None
    first = {"where the walk begins": asked[0][1]} if asked else {}
    return {"the levels it asks about": [t for t, _ in asked], **first, "the result": x}


def sdedit_with(
    begin=add_noise,
    start_of=lambda strength, T: round(strength * T),
    top_of=lambda start, T: start,
    steps_of=lambda num_steps, start, T: -(-num_steps * start // T),
):
    """A wrong edit: begin(x_0, start, noise, path), the levels from top_of(start, T), and the number of steps."""

    def attempt(denoise, x_0, path, strength, step=ddim_step, num_steps=50, generator=None):
        start = start_of(strength, path.T)
        if start == 0:
            return x_0
        steps = steps_of(num_steps, start, path.T)
        levels = torch.linspace(top_of(start, path.T), 0, steps + 1, dtype=torch.float64).round().int().tolist()
        x_start = begin(x_0, start, randn_like(x_0, generator), path)
        return sample(denoise, x_0.shape, path, step, levels=levels, x_T=x_start, generator=generator)

    return attempt


def not_shrunk(x_0, t, noise, path):
    return x_0 + factors(path, t, x_0)[1] * noise


SDEDIT = Exercise(
    name="editing.sdedit",
    notebook="11",
    finished=sdedit,
    cases=sdedit_cases,
    observe=edited,
    mistakes=(
        Mistake(
            sdedit_with(begin=lambda x_0, t, noise, path: x_0),
            "The walk begins with the clean picture, but the denoiser is told that there is the noise of level "
            "`start` in it. It would take parts of the picture for noise. Use `add_noise` first.",
        ),
        Mistake(
            sdedit_with(begin=not_shrunk),
            "The noise is right, but the picture under it is not shrunk. At level t it has the factor "
            "`signal_rate[t]`; `add_noise` does both.",
        ),
        Mistake(
            sdedit_with(begin=lambda x_0, t, noise, path: noise),
            "The walk begins with pure noise, so nothing of the picture is left. Mix the picture in: `add_noise(x_0, "
            "start, noise, path)`.",
        ),
        Mistake(
            sdedit_with(begin=lambda x_0, t, noise, path: add_noise(x_0, path.T, noise, path)),
            "The picture is noised up to T, and then the walk goes down from `start`. Both have to be the same level, "
            "or the denoiser finds more noise than it was told.",
        ),
        Mistake(
            sdedit_with(top_of=lambda start, T: T),
            "The walk goes down from T, though the picture has only the noise of level `start`. The levels should run "
            "from `start` to 0.",
        ),
        Mistake(
            sdedit_with(start_of=lambda strength, T: round((1 - strength) * T)),
            "The strength is the wrong way round: 0 should change nothing, and 1 everything. The start is "
            "`round(strength * path.T)`.",
        ),
        Mistake(
            sdedit_with(steps_of=lambda num_steps, start, T: num_steps),
            "All `num_steps` steps are spent, however short the walk is. They are for the whole way from T; the part "
            "from `start` gets its share of them, rounded up.",
        ),
        Mistake(
            sdedit_with(start_of=lambda strength, T: max(1, round(strength * T))),
            "With `strength = 0` a step is taken all the same. Nothing should happen then: return `x_0`.",
        ),
    ),
    hints=(
        "Three things have to fit together: the level `start = round(strength * path.T)`, the noise that you add, and "
        "the level where the walk begins. And if `start == 0`?",
        "Noise the picture with `add_noise(x_0, start, randn_like(x_0, generator), path)`, and hand it to `sample` as "
        "`x_T`, together with the list of levels.",
        "`steps = -(-num_steps * start // path.T)` rounds up. `torch.linspace(start, 0, steps + 1, "
        "dtype=torch.float64).round().int().tolist()` makes the levels, and the last line is `sample(denoise, "
        "x_0.shape, path, step, levels=levels, x_T=x_start, generator=generator)`.",
    ),
)

# Around a hole


def hole(*shape, seed):
    return (torch.rand(shape, generator=random(seed)) < 0.6).float()


def put_back_cases():
    steep, straight = steep_schedule(), straight_path(20)
    one = randn(1, *SHAPE[1:], seed=11), hole(1, 1, *SHAPE[2:], seed=12)
    return [
        case(randn(*SHAPE, seed=1), *one, 5, steep),
        case(randn(*SHAPE, seed=2), *one, 11, straight),
        case(randn(5, 2, seed=3), randn(5, 2, seed=13), hole(5, 2, seed=14), 12, steep),
        case(randn(*SHAPE, seed=4), *one, 0, steep),
    ]


def with_a_seed(attempt, case):
    """What it returns, with a generator of its own for each call."""
    return attempt(*case.args, **case.options, generator=random(7))


def put_back_with(
    known_at=add_noise,
    mix=lambda share, known_s, x_s: share * known_s + (1 - share) * x_s,
    draw=lambda x_s, known, generator: randn_like(x_s, generator),
):
    """A wrong way to put the known part back."""

    def attempt(x_s, known, mask, s, path, generator=None):
        noise = draw(x_s, known, generator)
        return mix(mask, known_at(known.expand_as(x_s), s, noise, path), x_s)

    return attempt


PUT_BACK = Exercise(
    name="editing.put_back",
    notebook="11",
    finished=put_back,
    cases=put_back_cases,
    observe=with_a_seed,
    mistakes=(
        Mistake(
            put_back_with(known_at=lambda known, s, noise, path: known),
            "The known part is put back clean. At level s everything has to carry the noise of level s, or the "
            "denoiser sees a picture that is noisy in one place and clean in another: use `add_noise`.",
        ),
        Mistake(
            put_back_with(mix=lambda share, known_s, x_s: (1 - share) * known_s + share * x_s),
            "The mask is the wrong way round. Where it is 1, the picture is known; where it is 0, `x_s` stays.",
        ),
        Mistake(
            put_back_with(known_at=lambda known, s, noise, path: factors(path, s, known)[0] * known),
            "The known part is shrunk as it should be at level s, but has no noise. `add_noise` does both.",
        ),
        Mistake(
            put_back_with(known_at=not_shrunk),
            "The known part has the right noise, but the picture under it is not shrunk. At level s its factor is "
            "`signal_rate[s]`; `add_noise` does both.",
        ),
        Mistake(
            put_back_with(mix=lambda share, known_s, x_s: share * known_s + x_s),
            "The known part is added to `x_s`, which is still there. Take `x_s` only where the mask is 0: "
            "`(1 - mask) * x_s`.",
        ),
        Mistake(
            put_back_with(draw=lambda x_s, known, generator: randn_like(known, generator).expand_as(x_s)),
            "All the images get the same noise in their known part. Draw as much noise as `x_s` has values: "
            "`randn_like(x_s, generator)`.",
        ),
        Mistake(
            put_back_with(mix=lambda share, known_s, x_s: known_s),
            "This throws away what was painted: the mask isn't used. Take `known_s` only where the mask is 1.",
        ),
        Mistake(
            put_back_with(
                known_at=lambda known, s, noise, path: add_noise(known, min(s + 1, path.T), noise, path),
            ),
            "The known part has the noise of the level above s. The step has just gone *down* to s, and everything has "
            "to be at the same level.",
        ),
    ),
    hints=(
        "What would the known part look like if it had come down the walk like the rest? It's a picture with the noise "
        "of level s, and you've had a function for that since notebook 01.",
        "`known_s = add_noise(known.expand_as(x_s), s, randn_like(x_s, generator), path)`. Then take it where the mask "
        "is 1, and `x_s` where it's 0.",
        "`mask * known_s + (1 - mask) * x_s`.",
    ),
)

# Up again


def noise_further_cases():
    steep, straight = steep_schedule(), straight_path(20)
    return [
        case(randn(*SHAPE, seed=1), 4, 12, steep),
        case(randn(3, 2, seed=2), 8, 9, steep),
        case(randn(5, 3, seed=3), 6, 17, straight),
        case(randn(3, 2, seed=4), 0, 7, steep),
    ]


def further_with(formula):
    """A wrong way up: formula(x_s, noise, signal_s, noise_s, signal_t, noise_t)."""

    def attempt(x_s, s, t, path, generator=None):
        rates = [table[level].item() for level in (s, t) for table in (path.signal_rate, path.noise_rate)]
        return formula(x_s, randn_like(x_s, generator), *rates)

    return attempt


NOISE_FURTHER = Exercise(
    name="editing.noise_further",
    notebook="11",
    finished=noise_further,
    cases=noise_further_cases,
    observe=with_a_seed,
    mistakes=(
        Mistake(
            further_with(lambda x, z, signal_s, noise_s, signal_t, noise_t: signal_t * x + noise_t * z),
            "This treats `x_s` as a clean picture. It is at level s already: its picture has the factor `signal_s`, "
            "and it has part of the noise. Multiply it by the *ratio* of the two signal rates, and add only what is "
            "missing.",
        ),
        Mistake(
            further_with(lambda x, z, a, b, c, d: x + (d**2 - (c / a * b) ** 2) ** 0.5 * z),
            "The noise is right, but `x_s` is not shrunk. Its picture should go from `signal_s` to `signal_t`, so "
            "multiply it by r.",
        ),
        Mistake(
            further_with(lambda x, z, a, b, c, d: c / a * x + (d**2 - (c / a * b) ** 2) * z),
            "The root is missing: `added` is a variance, and noise is multiplied by its standard deviation.",
        ),
        Mistake(
            further_with(lambda x, z, a, b, c, d: c / a * x + (d**2 - c / a * b**2) ** 0.5 * z),
            "In `added`, r is not squared. `x_s` is multiplied by r, so the variance of its noise is multiplied by r "
            "squared.",
        ),
        Mistake(
            further_with(lambda x, z, a, b, c, d: c / a * x + (d**2 - b**2) ** 0.5 * z),
            "`added` is just the difference of the two variances here. But the noise in `x_s` shrinks as well when you "
            "multiply it by r: subtract `r**2 * noise_s**2`.",
        ),
        Mistake(
            further_with(lambda x, z, a, b, c, d: c / a * x),
            "`x_s` is shrunk as it should be, but no fresh noise comes in. Level t has more noise than that.",
        ),
        Mistake(
            further_with(lambda x, z, a, b, c, d: c / a * x + d * z),
            "There is too much noise: `noise_t` would be all of it, but some is in `x_s` already. Add only what is "
            "missing: its variance is `noise_t**2 - r**2 * noise_s**2`.",
        ),
        Mistake(
            further_with(lambda x, z, a, b, c, d: c / a * x + (d - c / a * b) * z),
            "Standard deviations are subtracted. It is the *variances* of independent noises that add up: subtract "
            "those, and take the root at the end.",
        ),
    ),
    hints=(
        "By what must you multiply `x_s`, so that the factor of its picture becomes `signal_t`? What does that do to "
        "the variance of the noise in it?",
        "With `r = signal_t / signal_s`, the noise in `r * x_s` has the variance `r**2 * noise_s**2`. Level t needs "
        "`noise_t**2`. The difference has to come from fresh noise.",
        "`r * x_s + added**0.5 * randn_like(x_s, generator)`, with `r` and `added` as plain numbers: `.item()`.",
    ),
)

# Two in one


def first_guess(x_t, t):
    return 0.5 * x_t + 0.02 * t


def second_guess(x_t, t):
    ramp = torch.linspace(-1, 1, x_t.shape[-1] * x_t.shape[-2]).reshape(x_t.shape[-2:])
    return x_t * ramp.square() - 0.3 * ramp + 0.01 * t


def anagram_cases():
    return [case(first_guess, second_guess), case(second_guess, first_guess), case(second_guess, second_guess)]


def what_it_sees(attempt, case):
    """What the new denoiser answers about pictures that are not square, at two levels."""
    denoise = call(attempt, case)
    if denoise is None or denoise is Ellipsis:
        return None
    if not callable(denoise):
        return f"no denoiser, but {described(denoise)}"
    x_t = randn(2, 1, 4, 6, seed=1)
    return {f"at t = {t}": denoise(x_t, t) for t in (3, 8)}


def turned(x):
    return x.flip(-2, -1)


def anagram_with(first=turned, back=turned, mix=lambda one, other: (one + other) / 2):
    """Two ways of looking, some part of which is wrong."""

    def attempt(upright, upside_down):
        return lambda x_t, t: mix(upright(x_t, t), back(upside_down(first(x_t), t)))

    return attempt


def same(x):
    return x


ANAGRAM = Exercise(
    name="editing.anagram",
    notebook="11",
    finished=anagram,
    cases=anagram_cases,
    observe=what_it_sees,
    mistakes=(
        Mistake(
            anagram_with(back=same),
            "The second guess isn't turned back, so an upside-down picture is averaged with an upright one. Turn the "
            "noisy picture, ask, and turn the *answer* back.",
        ),
        Mistake(
            anagram_with(first=same),
            "The second denoiser is asked about the picture as it is, and only its answer is turned. It has to see the "
            "noisy picture upside down.",
        ),
        Mistake(
            anagram_with(first=same, back=same),
            "Nothing is turned: both look at the picture the same way up, so it becomes a mixture of two things, not "
            "one for each way.",
        ),
        Mistake(
            anagram_with(mix=lambda one, other: one + other),
            "The two guesses are added, so the numbers are about twice as large as they should be. Take their average.",
        ),
        Mistake(
            anagram_with(lambda x: x.flip(-2), lambda x: x.flip(-2)),
            "The picture is mirrored, top to bottom, and not turned. Turning by 180 degrees also swaps left and right: "
            "flip both of the last two dimensions.",
        ),
        Mistake(
            anagram_with(lambda x: x.flip(-1), lambda x: x.flip(-1)),
            "The picture is mirrored, left to right, and not turned. Turning by 180 degrees also swaps top and bottom: "
            "flip both of the last two dimensions.",
        ),
        Mistake(
            anagram_with(mix=lambda one, other: one),
            "Only the upright guess is used. The other one has to have a say as well: average the two.",
        ),
    ),
    hints=(
        "Return a function of `x_t` and `t`. `x.flip(-2, -1)` turns pictures by 180 degrees. The second denoiser must "
        "see the picture turned, and its answer must be turned back.",
        "`turned = upside_down(x_t.flip(-2, -1), t)`; then average `upright(x_t, t)` and `turned.flip(-2, -1)`.",
    ),
)
