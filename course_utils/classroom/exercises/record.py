"""What an exercise is made of: one record holds everything there is to say about it."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """The arguments of one call: positional ones, and options by keyword."""

    args: tuple
    options: dict = field(default_factory=dict)


def case(*args, **options):
    return Case(args, options)


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer, and what to tell someone who gave it."""

    attempt: Callable
    message: str


@dataclass(frozen=True)
class Approximately:
    """A number that comes out of random draws: equal to another one if they are at most `within` apart."""

    value: float
    within: float


def call(attempt, case):
    return attempt(*case.args, **case.options)


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Args:
        name: module and function, as in "forward.add_noise".
        notebook: its number, as in "01".
        finished: the right answer, which `solution` shows and a notebook goes on with.
        cases: makes the list of cases, new but identical at every call.
        mistakes: typical wrong answers, each with its own message.
        hints: from a nudge to nearly all of it.
        observe: observe(attempt, case) -> what is compared: a tensor, a number, or a dict, list or tuple of them. By
            default the attempt is called, and what it returns is compared.
        tolerance: how far a number may be from the finished version's, as a share of it if that is above 1.
        by_chance: whether a right answer draws random numbers.
        given: what the notebook gives to start from, if that is more than an empty function.
    """

    name: str
    notebook: str
    finished: Callable
    cases: Callable
    mistakes: tuple
    hints: tuple
    observe: Callable = call
    tolerance: float = 1e-5
    by_chance: bool = False
    given: Callable | None = None
