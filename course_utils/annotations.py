"""The types that public functions are annotated with, and `checked`, which checks each call against them.

A batch is `Float[Tensor, "B *shape"]` (jaxtyping): within one call, B and shape are the same for every argument. So
noise for one image next to four images is refused, where torch would silently broadcast it.
"""

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from numbers import Integral, Real
from typing import Annotated, Literal, Union, get_args, get_origin

import torch
from beartype.door import is_bearable
from beartype.vale import Is
from jaxtyping import Bool, Float, Int, UInt8, jaxtyped
from torch import Tensor

IN_WORDS = {Callable: "a function"}


def named(hint, words):
    """The type itself; `words` is what error messages call it."""
    IN_WORDS[hint] = words
    return hint


def are_betas(beta):
    """Entry 0 is 0, the others lie in (0, 1), and step 1 adds enough noise for float64 to notice."""
    within = ((beta[1:] > 0) & (beta[1:] < 1)).all()
    return len(beta) > 1 and bool(within and beta[0] == 0 and 1 - beta[1].double() < 1)


# Images (B, C, H, W), points (B, D), or one number per item, (B,)
Batch = named(Float[Tensor, "B *shape"], "a floating-point tensor of shape (B, ...)")
Bytes = named(UInt8[Tensor, "B *shape"], "a uint8 tensor of shape (B, ...), 0 .. 255, not scaled yet")
Labels = named(Int[Tensor, " B"], "an integer tensor of shape (B,)")
Levels = named(Integral | Labels, "a whole number, or an integer tensor of shape (B,)")
Count = named(Annotated[Integral, Is[lambda number: number >= 1]], "a whole number of at least 1")
Share = named(Annotated[Real, Is[lambda number: 0 <= number <= 1]], "a number within 0 .. 1")
Whole = named(
    Annotated[Sequence, Is[lambda its: all(isinstance(one, Integral) for one in its)]], "a list of whole numbers"
)
Texts = named(str | Sequence[str], "a text, or a list of texts")
RISES = Is[lambda its: len(its) > 0 and its[0] >= 1 and all(t < s for t, s in pairwise(its))]
Rising = named(Annotated[Whole, RISES], "a list of increasing levels, all at least 1")
Betas = named(
    Annotated[Float[Tensor, " T_plus_1"], Is[are_betas]], "floats: first 0, then values strictly between 0 and 1"
)
Split = named(Literal["train", "pairs", "names"], '"train", "pairs" or "names"')
Fit = named(Literal["crop", "pad"], '"crop" or "pad"')
Divides64 = named(Annotated[Integral, Is[lambda size: size >= 1 and 64 % size == 0]], "a whole number that divides 64")
Mask = named(Bool[Tensor, "..."] | Int[Tensor, "..."] | Float[Tensor, "..."], "a tensor of 0 and 1, not of pixels")
# Anything with the two tables of a Gaussian path: the package's own class, or a learner's. (A Protocol would say the
# same, but takes three times as long to check.)
Path = named(Annotated[object, Is[lambda path: hasattr(path, "noise_rate")]], "a path, such as cosine_schedule()")


PLAIN = {Batch, Integral, object}  # for these, isinstance gives the same answer, faster


class WrongArgument(TypeError, ValueError):
    """A call that breaks the function's annotations, or what its docstring asks for."""


def checked(function):
    """The function or class, with the arguments of every call checked against its annotations.

    All batches in one call must also share a dtype.
    """
    if isinstance(function, type):
        function.__init__ = checked(function.__init__)
        return function
    names = tuple(inspect.signature(function).parameters)
    hints = {name: hint for name, hint in inspect.get_annotations(function).items() if name != "return"}

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        dtype = None
        with jaxtyped("context"):  # in which B and shape keep their meaning
            for name, value in chain(zip(names, args), kwargs.items()):  # noqa: B905, the call checks the count
                hint = hints.get(name, object)
                if not (isinstance(value, hint) if hint in PLAIN else is_bearable(value, hint)):
                    raise wrong(function, name, dict(zip(names, args, strict=False)) | kwargs)
                if hint is Batch and value.dtype != (dtype := dtype or value.dtype):
                    raise WrongArgument(f"{name} must have dtype {dtype} like the others, but is {describe(value)}.")
        return function(*args, **kwargs)

    return wrapper


def wrong(function, name, arguments):
    """The error that says which argument is wrong, what was passed, and what to do."""
    value, hint = arguments[name], inspect.get_annotations(function)[name]
    others = {other: its for other, its in arguments.items() if isinstance(its, Tensor) and other != name}
    if others and jaxtyped(typechecker=None)(is_bearable)(value, hint):  # fine on its own
        beside = ", ".join(f"{other} of shape {tuple(its.shape)}" for other, its in others.items())
        must, do = f"match {beside}", "Nothing is broadcast."
    else:
        must, do = f"be {in_words(hint)}", advice(value, hint)
    called = function.__qualname__.removesuffix(".__init__").replace(".<locals>", "")
    return WrongArgument(f"{called}: {name} must {must}, but is {describe(value)}. {do}".strip())


def in_words(hint):
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) and hint not in IN_WORDS else [hint]
    return " or ".join(
        IN_WORDS.get(its, getattr(its, "__name__", str(its))) for its in parts if its is not types.NoneType
    )


def describe(value):
    """What was passed, in a few words."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a{'n' if kind.startswith('int') else ''} {kind} tensor of shape {tuple(value.shape)}"
    if hasattr(value, "__array__"):
        return f"a {type(value).__module__} array of shape {value.shape}"
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"{' '.join(repr(value).split()):.80} ({name})"


def advice(value, hint=Batch):
    """What to do, where the kind of value suggests it."""
    if hasattr(value, "__array__") and not isinstance(value, Tensor):
        return "torch.from_numpy(...) turns an array into a tensor."
    if hint is Batch and isinstance(value, Tensor) and value.dtype == torch.uint8:
        return "course_utils.data.scale turns pictures into floats within -1 .. 1."
    if hint in (Levels, Labels) and isinstance(value, Tensor) and value.is_floating_point():
        return "If these are whole numbers, use .long()."
    if hint in (Batch, Bytes, Levels, Labels, Betas) and isinstance(value, list | tuple):
        return "Use torch.tensor(...) for a list of numbers, torch.stack(...) for a list of tensors."
    if hint is Betas and isinstance(value, Tensor) and value.ndim == 1 and len(value) > 1:
        return f"It starts with {value[0]:g}, then runs from {value[1:].min():g} to {value[1:].max():g}."
    return ""


def check_answer(output, x_t):
    """Refuse a network's output unless it has x_t's shape: arithmetic would silently broadcast it."""
    if not isinstance(output, Tensor) or output.shape != x_t.shape:
        must = f"the model must return a tensor of shape {tuple(x_t.shape)}"
        raise WrongArgument(f"{must}, but returned {describe(output)}.")
    return output
