"""Ways to spoil an argument, by its kind: what the tables of test_properties.py are made of.

A kind is a list of `Spoil`s. Each makes, from the good value and the other arguments of a valid call, a bad value for
which the package documents an error. Where there is no such value (on the meta device nobody can see a value that is
out of range, say) it makes NOTHING, and is left out.
"""

import math
import pathlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import torch
from hypothesis import strategies as st

from course_utils.schedule import NoiseSchedule, linear_schedule

NOTHING = object()


@dataclass(frozen=True)
class Spoil:
    """`make(draw, good, arguments)` gives a value that must raise `error`; draw is hypothesis's."""

    what: str
    error: type
    make: Callable


def wrong_type(what, value):
    return Spoil(what, TypeError, lambda draw, good, arguments: value)


def wrong_value(what, make):
    """`make(good, arguments)`, or a value that is always wrong."""
    make_it = make if callable(make) else lambda good, arguments: make
    return Spoil(what, ValueError, lambda draw, good, arguments: make_it(good, arguments))


def drawn(what, error, strategy):
    """A value from a strategy, which `strategy(arguments)` may make out of the other arguments."""
    return Spoil(what, error, lambda draw, good, arguments: draw(strategy(arguments)))


# What somebody may pass in place of anything, by what it is

THINGS = {
    "None": None,
    "text": "5",
    "bytes": b"5",
    "a bool": True,
    "an int": 7,
    "a float": 0.5,
    "a complex number": 1j,
    "a fraction": Fraction(1, 2),
    "a decimal": Decimal("0.5"),
    "a numpy bool": np.bool_(True),
    "a numpy array": np.full((2, 3), 0.5, dtype=np.float32),
    "a long list": [0.5] * 10_000,
    "a list": [1, 2],
    "a dict": {},
    "a tensor": torch.full((2, 3), 0.5),
    "a tensor of one number": torch.tensor(0.5),
    "a path": pathlib.Path("file"),
    "a function": lambda *args: None,
    "a class": torch.nn.Identity,
    "a module": torch.nn.Identity(),
    "an object": object(),
}


def all_but(*right):
    """TypeErrors for all things but those that are of the right type."""
    assert set(right) <= set(THINGS)
    return [wrong_type(what, thing) for what, thing in THINGS.items() if what not in right]


TENSORS = ("a tensor", "a tensor of one number")

# Tensors

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
NOT_FLOATS = (torch.bool, *WHOLE, torch.complex64, torch.float8_e4m3fn)
NOT_LEVELS = (torch.bool, torch.uint8, torch.int8, torch.int16, *FLOATS, torch.complex64)


def as_dtype(dtype):
    return Spoil(str(dtype), TypeError, lambda draw, good, arguments: good.to(dtype) if is_tensor(good) else NOTHING)


def is_tensor(value):
    return isinstance(value, torch.Tensor)


def elsewhere(good, arguments):
    """The same on another device."""
    if not is_tensor(good):
        return NOTHING
    return torch.zeros_like(good, device="cpu") if good.is_meta else good.to("meta")


def on_meta(good, arguments):
    return NOTHING if good.is_meta else good.to("meta")


def with_one(number):
    """The same with one number in it replaced; nobody can see it on the meta device."""

    def make(draw, good, arguments):
        if not is_tensor(good) or good.is_meta:
            return NOTHING
        bad = good.clone()
        bad.view(-1)[draw(st.integers(0, bad.numel() - 1))] = number(arguments) if callable(number) else number
        return bad

    return make


FLOATING = [
    *all_but(*TENSORS),
    *map(as_dtype, NOT_FLOATS),
    Spoil("sparse", TypeError, lambda draw, good, arguments: NOTHING if good.is_meta else good.to_sparse()),
]
BATCH = [
    *FLOATING,
    wrong_value("empty", lambda good, arguments: good[:0]),
    wrong_value("without dimensions", lambda good, arguments: good.reshape(-1)[0]),
]


def like(other):
    """A batch with exactly the shape, the dtype and the device of the argument `other`."""

    def in_another_dtype(draw, good, arguments):
        return good.to(draw(st.sampled_from([dtype for dtype in FLOATS if dtype != good.dtype])))

    return [
        *BATCH,
        Spoil(f"not the dtype of {other}", TypeError, in_another_dtype),
        *other_shapes(),
        wrong_value("elsewhere", elsewhere),
    ]


def other_shapes():
    """Those that would broadcast in silence come first."""
    return [
        wrong_value("one for all", lambda good, arguments: good[:1] if len(good) > 1 else NOTHING),
        wrong_value("one column", lambda good, arguments: good[..., :1] if good.shape[-1] > 1 else NOTHING),
        wrong_value("a dimension more in front", lambda good, arguments: good[None]),
        wrong_value("a dimension more at the end", lambda good, arguments: good[..., None]),
        wrong_value("a dimension less", lambda good, arguments: good[..., 0]),
        wrong_value("one too many", lambda good, arguments: torch.cat([good, good[:1]])),
    ]


def one_for_each(what, right):
    """A tensor of shape (B,), one entry for each image."""
    return [
        wrong_value(f"{what} for one", lambda good, arguments: good[:1] if right(good) and len(good) > 1 else NOTHING),
        wrong_value(f"{what} too many", lambda good, arguments: good.repeat(2) if right(good) else NOTHING),
        wrong_value(f"{what} in a column", lambda good, arguments: good[:, None] if right(good) else NOTHING),
        wrong_value(f"{what} without dimensions", lambda good, arguments: good[0] if right(good) else NOTHING),
        wrong_value(f"{what} empty", lambda good, arguments: good[:0] if right(good) else NOTHING),
    ]


# Levels


def level(low=1, top=lambda arguments: arguments["schedule"].T, tensors=True, beside=True):
    """A level within low .. top(arguments): an int or, with `tensors`, a tensor (B,) as well."""
    bound = low if callable(low) else lambda arguments: low
    kind = [
        *all_but("an int", *(TENSORS if tensors else ())),
        drawn("too low", ValueError, lambda a: st.integers(max_value=bound(a) - 1)),
        drawn("too high", ValueError, lambda a: st.integers(min_value=top(a) + 1)),
        wrong_value("just too low", lambda good, arguments: bound(arguments) - 1),
        wrong_value("just too high", lambda good, arguments: top(arguments) + 1),
        wrong_type("a whole float", 1.0),
        wrong_type("NaN", math.nan),
    ]
    if not tensors:
        return kind
    kind += map(as_dtype, NOT_LEVELS)
    kind += [
        Spoil("one too low", ValueError, with_one(lambda arguments: bound(arguments) - 1)),
        Spoil("one too high", ValueError, with_one(lambda arguments: top(arguments) + 1)),
        wrong_value("in a column", lambda good, arguments: good[:, None] if is_tensor(good) else NOTHING),
        wrong_value("without dimensions", lambda good, arguments: good[0] if is_tensor(good) else NOTHING),
        wrong_value("empty", lambda good, arguments: good[:0] if is_tensor(good) else NOTHING),
    ]
    return kind + ([*one_for_each("t", is_tensor), wrong_value("elsewhere", elsewhere)] if beside else [])


# Plain values


def integer(low, high=2**31 - 1, none=False):
    return [
        *all_but("an int", *(["None"] if none else [])),
        drawn("too low", ValueError, lambda a: st.integers(max_value=low - 1)),
        drawn("too high", ValueError, lambda a: st.integers(min_value=high + 1)),
        wrong_value("just too low", low - 1),
        wrong_value("just too high", high + 1),
        wrong_value("endless", 10**5000),
        wrong_type("a whole float", 8.0),
        wrong_type("a whole numpy float", np.float64(8)),
        wrong_type("NaN", math.nan),
        wrong_type("a tensor of one whole number", torch.tensor(8)),
    ]


def number(low, high=math.inf, open_ends=False):
    kind = [
        *all_but("an int", "a float"),
        drawn("too low", ValueError, lambda a: st.floats(max_value=low, exclude_max=True)),
        wrong_value("NaN", math.nan),
        wrong_value("infinite", math.inf),
        wrong_value("minus infinite", -math.inf),
        wrong_value("an int beyond all floats", 10**400),
    ]
    if high < math.inf:
        kind.append(drawn("too high", ValueError, lambda a: st.floats(min_value=high, exclude_min=True)))
    if open_ends:
        kind.append(wrong_value("the lower end", low))
        kind.append(wrong_value("the upper end", high))
    return kind


FLAG = all_but("a bool")
WORDS = [*all_but("text"), wrong_value("empty", ""), wrong_value("blank", " \n")]
TEXT = all_but("text")
PATH = [*all_but("text", "a path"), wrong_value("empty", "")]
FUNCTION = all_but("a function", "a module")
MODULE = all_but("a module")
SCHEDULE = [
    *all_but(),
    wrong_type("the class", NoiseSchedule),
    wrong_type("the function that makes one", linear_schedule),
    Spoil("one of its tables", TypeError, lambda draw, good, arguments: good.alpha_bar),
]


class GeneratorElsewhere(torch.Generator):
    """Where there is no accelerator, no generator is anywhere but on the CPU: one that says that it is."""

    device = torch.device("meta")


GENERATOR = [
    *all_but("None"),
    wrong_type("a negative seed", -1),
    wrong_type("Python's", random.Random(0)),
    wrong_type("numpy's", np.random.default_rng(0)),
    wrong_value("elsewhere", GeneratorElsewhere()),
]
DEVICE = [
    *all_but("None", "text"),
    wrong_value("no device", "gpu"),
    wrong_value("a device that is not there", "cuda:99"),
    wrong_value("a kind of device that this torch has not", "xla"),
]
OPTIMIZER = [*all_but(), wrong_type("the class", torch.optim.Adam)]
