"""Exercises on noise schedules (notebook 02)."""

import math
from dataclasses import dataclass

import torch

from course_utils.classroom.exercises.record import Exercise, Mistake, call, case
from course_utils.schedule import cosine_schedule, linear_schedule

ZERO = torch.zeros(1, dtype=torch.float64)


@dataclass
class Tables:
    """A schedule that checks nothing, as wrong ones need it."""

    beta: torch.Tensor

    @property
    def T(self):
        return len(self.beta) - 1

    @property
    def alpha_bar(self):
        return (1 - self.beta).cumprod(dim=0)

    @property
    def signal_rate(self):
        return self.alpha_bar.sqrt()

    @property
    def noise_rate(self):
        return (1 - self.alpha_bar).sqrt()


def doses(attempt, case):
    """The tables of the schedule that is returned, which the notebook goes on with, or the bare tensor."""
    schedule = call(attempt, case)
    if schedule is None or schedule is Ellipsis or isinstance(schedule, torch.Tensor):
        return schedule
    tables = {name: getattr(schedule, name) for name in ("beta", "alpha_bar", "signal_rate", "noise_rate")}
    return tables | {"T": schedule.T}


def evenly(first, last, count):
    return torch.linspace(first, last, count, dtype=torch.float64)


# The linear schedule


def bare_betas(T=1000, beta_1=1e-4, beta_T=0.02):
    return linear_schedule(T, beta_1, beta_T).beta


def nothing_in_front(T=1000, beta_1=1e-4, beta_T=0.02):
    return Tables(evenly(beta_1, beta_T, T))


def from_zero(T=1000, beta_1=1e-4, beta_T=0.02):
    return Tables(evenly(0, beta_T, T + 1))


def first_dose_at_0(T=1000, beta_1=1e-4, beta_T=0.02):
    return Tables(evenly(beta_1, beta_T, T + 1))


def never_arrives(T=1000, beta_1=1e-4, beta_T=0.02):
    return Tables(torch.cat([ZERO, beta_1 + (beta_T - beta_1) * torch.arange(T, dtype=torch.float64) / T]))


def end_points_fixed(T=1000, beta_1=1e-4, beta_T=0.02):
    return linear_schedule(T)


def roots_grow_evenly(T=1000, beta_1=1e-4, beta_T=0.02):
    return Tables(torch.cat([ZERO, evenly(beta_1**0.5, beta_T**0.5, T) ** 2]))


def linear_cases():
    return [case(), case(6, 0.1, 0.5), case(50, 0.002, 0.4), case(T=3, beta_1=0.2, beta_T=0.2)]


LINEAR = Exercise(
    name="schedule.linear_schedule",
    notebook="02",
    finished=linear_schedule,
    cases=linear_cases,
    observe=doses,
    tolerance=1e-7,
    mistakes=(
        Mistake(
            bare_betas,
            "The doses are right, but you return a bare tensor. Wrap it in a schedule: `NoiseSchedule(beta)`.",
        ),
        Mistake(
            nothing_in_front,
            "The 0 in front is missing. The table needs `T + 1` entries: `beta[0] = 0` for the clean picture, then "
            "`beta_1` to `beta_T`. `F.pad(beta, (1, 0))` adds it.",
        ),
        Mistake(
            from_zero,
            "The doses grow from 0, so `beta_1` is ignored. Make T doses from `beta_1` to `beta_T` first, then put "
            "the 0 in front of them.",
        ),
        Mistake(
            first_dose_at_0,
            "There are `T + 1` entries, but entry 0 holds `beta_1`, so every dose is one place too early. Entry 0 "
            "belongs to the clean picture and must be 0.",
        ),
        Mistake(
            never_arrives,
            "The last dose does not reach `beta_T`. T doses have `T - 1` gaps between them, so the step is "
            "`(beta_T - beta_1) / (T - 1)`. `torch.linspace` does this for you.",
        ),
        Mistake(
            end_points_fixed,
            "The end points are hard-coded, and the arguments `beta_1` and `beta_T` are ignored.",
        ),
        Mistake(
            roots_grow_evenly,
            "Here the square roots of the doses grow evenly. That is a schedule, too (Stable Diffusion uses it), but "
            "not the linear one.",
        ),
    ),
    hints=(
        "`torch.linspace` makes evenly spaced numbers, with both ends included. Ask for `dtype=torch.float64`.",
        "`beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)`, then a 0 in front with "
        "`F.pad(beta, (1, 0))`, then `NoiseSchedule`.",
    ),
)


# The cosine schedule


def cosine_betas(T, s, f_of=lambda x: torch.cos(x) ** 2, cap=0.999):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = f_of((t / T + s) / (1 + s) * math.pi / 2)
    return torch.cat([ZERO, (1 - f[1:] / f[:-1]).clamp(max=cap)])


def no_limit(T=1000, s=0.008):
    return Tables(cosine_betas(T, s, cap=1))


def no_square(T=1000, s=0.008):
    return Tables(cosine_betas(T, s, torch.cos))


def no_shift(T=1000, s=0.008):
    return Tables(cosine_betas(T, 0))


def shift_not_divided(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) * math.pi / 2) ** 2
    return Tables(torch.cat([ZERO, (1 - f[1:] / f[:-1]).clamp(max=0.999)]))


def left_for_dose(T=1000, s=0.008):
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    return Tables((1 - f / f[0]).clamp(max=0.999))


def bare_cosine(T=1000, s=0.008):
    return cosine_schedule(T, s).beta


def alpha_for_beta(T=1000, s=0.008):
    beta = cosine_schedule(T, s).beta
    return Tables(torch.cat([ZERO, 1 - beta[1:]]))


COSINE = Exercise(
    name="schedule.cosine_schedule",
    notebook="02",
    finished=cosine_schedule,
    cases=lambda: [case(), case(6), case(50, 0.1), case(T=9, s=0.0)],
    observe=doses,
    tolerance=1e-7,
    mistakes=(
        Mistake(
            no_limit,
            "The limit of 0.999 is missing, so the last dose is 1. It wipes out the picture, and later we would "
            "divide by what is left of it. `.clamp(max=0.999)` sets the limit.",
        ),
        Mistake(
            no_square,
            "The cosine is not squared. `alpha_bar` is a share of the variance. It is its square root, the picture's "
            "factor, that follows the cosine itself.",
        ),
        Mistake(
            no_shift,
            "The shift `s` is ignored. It appears in two places: `(t / T + s) / (1 + s)`.",
        ),
        Mistake(
            shift_not_divided,
            "The shift is added but not divided out, so the angle goes beyond a quarter turn at T. It should be "
            "`(t / T + s) / (1 + s)`, which is 1 at T.",
        ),
        Mistake(
            left_for_dose,
            "These are `1 - alpha_bar_t`, all the noise up to t. The dose of step t compares two neighbouring levels: "
            "`beta_t = 1 - f(t) / f(t - 1)`.",
        ),
        Mistake(
            alpha_for_beta,
            "These are the alphas, `f(t) / f(t - 1)`: the shares that are kept. Each dose is 1 minus its alpha.",
        ),
        Mistake(
            bare_cosine,
            "These are the right doses, but a schedule should come back, not a tensor: return `NoiseSchedule(beta)`.",
        ),
    ),
    hints=(
        "Work out f at every level from 0 to T at once: `t = torch.arange(T + 1, dtype=torch.float64)`. Neighbours "
        "are then `f[1:]` and `f[:-1]`.",
        "`beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)`, with "
        "`f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2`. Then the 0 in front, and `NoiseSchedule`.",
    ),
)


# From alpha_bar to the signal-to-noise ratio


def snr_db(alpha_bar):
    return 10 * (alpha_bar / (1 - alpha_bar)).log10()


def snr_cases():
    share = torch.tensor([0.999, 0.5, 0.2, 0.01], dtype=torch.float64)
    return [case(share), case(cosine_schedule(20).alpha_bar), case(torch.tensor([[0.9, 0.6, 0.3]]))]


SNR_DB = Exercise(
    name="schedule.snr_db",
    notebook="02",
    finished=snr_db,
    cases=snr_cases,
    mistakes=(
        Mistake(
            lambda alpha_bar: 10 * (alpha_bar / (1 - alpha_bar)).log(),
            "This is the natural logarithm. Decibels use the logarithm to base 10: `.log10()`.",
        ),
        Mistake(
            lambda alpha_bar: 20 * (alpha_bar / (1 - alpha_bar)).log10(),
            "The factor 20 is for ratios of amplitudes. `alpha_bar` and `1 - alpha_bar` are variances, and for those "
            "the factor is 10.",
        ),
        Mistake(
            lambda alpha_bar: 10 * ((1 - alpha_bar) / alpha_bar).log10(),
            "The ratio is upside down: signal over noise is `alpha_bar / (1 - alpha_bar)`. When there is little "
            "noise, you should get a large positive number.",
        ),
        Mistake(
            lambda alpha_bar: alpha_bar / (1 - alpha_bar),
            "This is the ratio itself. In decibels, it is 10 times the logarithm to base 10.",
        ),
        Mistake(
            lambda alpha_bar: 10 * (alpha_bar / (1 - alpha_bar)).sqrt().log10(),
            "This uses the ratio of the amplitudes, the square roots. The signal-to-noise ratio compares variances.",
        ),
        Mistake(
            lambda alpha_bar: 10 * alpha_bar.log10(),
            "This is the picture's share alone, as if the noise always had variance 1. The noise's variance is "
            "`1 - alpha_bar`.",
        ),
    ),
    hints=(
        "Start with the ratio of the two variances, as in the formula for SNR(t).",
        "Then take 10 times its logarithm to base 10. PyTorch has `.log10()`.",
    ),
)


# A T and betas that end in noise


def betas_for(T):
    return 1e-4 * 1000 / T, 0.02 * 1000 / T


def what_is_left(attempt, case):
    """In words, so that every pair of doses that does what it should is the same to us."""
    [T] = case.args
    answer = call(attempt, case)
    if answer is None or answer is Ellipsis:
        return None
    beta_1, beta_T = map(float, answer)
    if not 0 < beta_1 <= beta_T < 1:
        return f"with T = {T}, beta_1 = {beta_1:.4g} and beta_T = {beta_T:.4g} are no doses: 0 < beta_1 <= beta_T < 1"
    left = linear_schedule(T, beta_1, beta_T).alpha_bar[-1].sqrt()
    if left >= 0.05:
        return f"with T = {T}, beta_1 = {beta_1:.4g} and beta_T = {beta_T:.4g}, {left:.3f} of the picture is left at T"
    if beta_1 > 0.1:
        return f"with T = {T}, the first step adds noise of variance {beta_1:.4g}"
    return "a first step of at most 0.1, and less than 0.05 of the picture left at T"


BETAS_FOR = Exercise(
    name="schedule.betas_for",
    notebook="02",
    finished=betas_for,
    cases=lambda: [case(25), case(50), case(200), case(1000), case(37), case(550)],
    observe=what_is_left,
    mistakes=(
        Mistake(
            lambda T: (1e-4, 0.02),
            "These are the doses for 1000 steps, whatever T is. With fewer steps they leave most of the picture "
            "behind: fewer steps need larger doses.",
        ),
        Mistake(
            lambda T: (1e-4 * T / 1000, 0.02 * T / 1000),
            "The doses shrink with T. Fewer steps have to do the same work, so each has to do more. Divide by T "
            "instead.",
        ),
        Mistake(
            lambda T: (1e-4 * 1000 / T, 0.02),
            "Only the first dose is scaled. The last ones do most of the work, so scale `beta_T` as well.",
        ),
        Mistake(
            lambda T: (0.02 * 1000 / T, 1e-4 * 1000 / T),
            "The two are the wrong way round: `beta_1`, the small one, comes first, then `beta_T`.",
        ),
        Mistake(
            lambda T: (0.9, 0.9),
            "This does end in noise, but at once: the first step already destroys most of the picture, and no network "
            "can undo such a step in one go. Start gently.",
        ),
    ),
    hints=(
        "With 1000 steps, 0.0001 and 0.02 do the job. With T steps, each dose has to do the work of `1000 / T` doses.",
        "Multiply both doses by `1000 / T`. Between `T = 25` and `T = 1000` both stay below 1.",
    ),
)
