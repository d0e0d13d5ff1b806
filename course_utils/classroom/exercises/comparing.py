"""How an answer is compared with the finished one, whatever style it is written in."""

import inspect
import numbers
import re
from dataclasses import dataclass

import torch

from course_utils.annotations import describe
from course_utils.classroom.exercises.record import Approximately
from course_utils.schedule import GaussianPath

EXACT = 1e-9  # how far apart two ways to work the same out in float64 may be


@dataclass(frozen=True)
class Raised:
    """An observation that ended in an exception."""

    error: Exception


def difference(found, expected, tolerance, same_dtype=True):
    """How `found` differs from `expected`, in words, or None if it does not.

    Args:
        found, expected: tensors, numbers, text, None, or dicts, lists or tuples of them.
        tolerance: see `Exercise`.
        same_dtype: whether the dtype counts.
    """
    if isinstance(expected, Raised) or isinstance(found, Raised):
        return None if same_error(found, expected) else "One of the two raises an exception."
    if isinstance(expected, dict):
        return of_parts(found, expected, expected.items(), tolerance, same_dtype)
    if isinstance(expected, (list, tuple)):
        return of_parts(found, expected, enumerate(expected), tolerance, same_dtype)
    if isinstance(expected, Approximately):
        return of_random_numbers(found, expected)
    if isinstance(expected, torch.Tensor):
        return of_tensors(found, expected, tolerance, same_dtype)
    if is_number(expected) and is_number(found):
        found = found.detach() if isinstance(found, torch.Tensor) else found
        near = abs(float(found) - float(expected)) <= tolerance * max(1, abs(float(expected)))
        return None if near else f"It is {float(found):.6g}, but should be {float(expected):.6g}."
    same = type(found) is type(expected) and found == expected
    return None if same else f"it is {brief(found)}, but should be {brief(expected)}."


def same_error(found, expected):
    """The same words; numbers among them may differ, because they may be random."""
    if not (isinstance(found, Raised) and isinstance(expected, Raised)):
        return False
    one, other = ((type(raised.error), re.sub(r"[\d\s,.-]+", " ", str(raised.error))) for raised in (found, expected))
    return one == other


def is_number(value):
    if isinstance(value, torch.Tensor):
        return value.numel() == 1
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def of_parts(found, expected, parts, tolerance, same_dtype):
    kind = dict if isinstance(expected, dict) else (list, tuple)
    if not isinstance(found, kind):
        return f"It returns {described(found)}, but should return {described(expected)}."
    for place, part in parts:
        if isinstance(expected, dict) and place not in found:
            continue  # what was seen first says why the rest was not looked at
        if place not in range(len(found)) and not isinstance(expected, dict):
            break
        text = difference(found[place], part, tolerance, same_dtype)
        if text is not None:
            return f"{as_beginning(place)}: {text}" if isinstance(expected, dict) else f"In item {place}: {text}"
    if len(found) != len(expected):
        return f"It returns {described(found)}, but should return {described(expected)}."
    return None


def as_beginning(name):
    """The name of something that was observed, to begin a sentence with."""
    return f"{name[:1].upper()}{name[1:]}"


def of_random_numbers(found, expected):
    if isinstance(found, Approximately) and abs(found.value - expected.value) <= expected.within:
        return None
    if not isinstance(found, Approximately):
        return f"It is {described(found)}, but should be about {expected.value:.4g}."
    return f"It is {found.value:.4g}, not {expected.value:.4g}, give or take {expected.within:.1g} for chance."


def of_tensors(found, expected, tolerance, same_dtype):
    if not isinstance(found, torch.Tensor):
        return f"It returns {described(found)}, but should return {described(expected)}."
    if found.shape != expected.shape:
        return f"The shape is {tuple(found.shape)}, but should be {tuple(expected.shape)}."
    if same_dtype and found.dtype != expected.dtype:
        return dtype_text(found, expected)
    if found.is_complex():
        return "The values are complex numbers: somewhere, a negative number's square root was taken."
    if found.dtype == torch.float64 and tolerance <= 1e-5:  # where an exercise allows for no more, all is in float64
        tolerance = min(tolerance, EXACT)
    found, expected = found.detach().double(), expected.detach().double()
    if found.isnan().any() and not expected.isnan().any():
        return f"{int(found.isnan().sum())} of the {found.numel()} values are NaN (not a number)."
    wrong = beyond(found, expected, tolerance)
    if not wrong.any():
        return None
    worst = (found - expected).abs()[wrong].max().item()
    if found.numel() == 1:
        return f"It is {found.item():.6g}, but should be {expected.item():.6g}."
    return f"{int(wrong.sum())} of the {found.numel()} values are wrong, by up to {worst:.3g}."


def dtype_text(found, expected):
    text = f"The values come out as {found.dtype}, but should be {expected.dtype}, like the input."
    if found.dtype == torch.float64:
        text += " If a float64 table is multiplied in, cast its entries first, as `at` does."
    return text


def how_far(found, expected):
    """How plainly two values differ: by how much, or without bound where they are not of one kind."""
    if isinstance(found, Raised):
        return float("inf")
    if not (isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor) and found.shape == expected.shape):
        return 0.0
    return apart(found.detach(), expected.detach()).double().amax().item() if found.numel() else 0.0


def apart(found, expected):
    """How far off each value is: not at all where both are the same infinity, and without bound where one is NaN."""
    return (found - expected).abs().masked_fill(found == expected, 0).nan_to_num(float("inf"))


def beyond(found, expected, tolerance):
    """Where two float64 tensors differ by more than the tolerance."""
    near = expected.isfinite() & ((found - expected).abs() <= tolerance * expected.abs().clamp(min=1))
    return ~(near | (found == expected) | (found.isnan() & expected.isnan()))  # equal infinities have no difference


def side_by_side(found, expected):
    """The two values where they differ most, as text, or None where words say it better."""
    if is_number(found) and is_number(expected):
        return f"{float(found):.6g}", f"{float(expected):.6g}"
    if not (isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor) and found.shape == expected.shape):
        return None
    if found.is_complex() or found.dtype != expected.dtype:
        return None
    found, expected = found.detach().double(), expected.detach().double()
    worst = apart(found, expected).argmax()
    place = [int(i) for i in torch.unravel_index(worst, found.shape)]
    return tuple(f"{values.flatten()[worst]:.6g}   at {place}" for values in (found, expected))


def brief(value):
    return str(value) if len(str(value)) <= 90 else f"{str(value)[:80]} ..."


def described(value):
    return f"a {type(value).__name__} of {len(value)}" if isinstance(value, (list, tuple)) else describe(value)


def where(found, expected, arguments, tolerance):
    """The first t at which two outputs differ, in words; empty if t is not an argument."""
    t = arguments.get("t")
    if isinstance(t, int):
        return f" This is at t = {t}."
    both = [value[0] if isinstance(value, tuple) else value for value in (found, expected)]
    if not (isinstance(t, torch.Tensor) and all(isinstance(value, torch.Tensor) for value in both)):
        return ""
    if both[0].shape != both[1].shape or both[0].shape[:1] != t.shape:
        return ""
    wrong = beyond(both[0].detach().double(), both[1].detach().double(), tolerance).flatten(1).any(dim=1)
    return f" The first t at which it differs is {t[wrong][0].item():g}." if wrong.any() else ""


def named(function, case):
    """The arguments of a case, under the names that the finished version gives them."""
    try:
        bound = inspect.signature(function).bind(*case.args, **case.options)
    except (TypeError, ValueError):
        return {f"argument {i + 1}": value for i, value in enumerate(case.args)} | case.options
    return bound.arguments


def in_words(arguments):
    """The arguments of a call, short."""
    return ", ".join(f"{name} = {short(value)}" for name, value in arguments.items())


def short(value):
    if isinstance(value, torch.Tensor):
        return str(value.tolist()) if value.numel() <= 8 and value.ndim <= 1 else described(value)
    if isinstance(value, GaussianPath):
        return f"a {type(value).__name__} with T = {value.T}"
    if isinstance(value, (torch.nn.Module, torch.optim.Optimizer)):
        return f"a {type(value).__name__}"
    return getattr(value, "__name__", None) or f"{value!r:.60}".splitlines()[0]
