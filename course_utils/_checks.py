"""Input checks as a decorator, so that the functions below it hold nothing but their mathematics.

A rule is a function `rule(name, value, arguments)`: it raises TypeError for a wrong type or dtype and ValueError for
everything else, in words that name the argument, say what was passed and what to do. Rules read shapes, dtypes and
devices, which are known without waiting; they read *values* only of tensors on the CPU, so that no check makes an
accelerator wait inside a step.
"""

import functools
import inspect
import math
import numbers
import os
import reprlib
import sys
from fractions import Fraction

import torch

MISSING = inspect.Parameter.empty
FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})  # float8 can be stored, not computed
MOST = 2**31 - 1  # of anything that is counted; torch takes no whole numbers that are much larger
SHORT = reprlib.Repr()
SHORT.maxother = SHORT.maxstring = 80


def checked(**rules):
    """Apply `rules`, one for each named argument, before every call of the decorated function."""

    def decorate(function):
        signature = inspect.signature(function)
        parameters = [parameter for parameter in signature.parameters.values() if "VAR" not in parameter.kind.name]
        names = {parameter.name: None for parameter in parameters}
        defaults = {parameter.name: parameter.default for parameter in parameters if parameter.default is not MISSING}
        called = function.__qualname__.removesuffix(".__init__").replace(".<locals>", "")

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            arguments = defaults | dict(zip(names, args, strict=False)) | kwargs  # signature.bind takes much longer
            if arguments.keys() != names.keys():
                signature.bind(*args, **kwargs)  # says what does not fit
            for name, rule in rules.items():
                try:
                    rule(name, arguments[name], arguments)
                except (TypeError, ValueError) as error:
                    raise type(error)(f"{called}: {error}") from None
            return function(*args, **kwargs)

        return wrapper

    return decorate


def describe(value):
    """What was passed, in a few words."""
    if isinstance(value, torch.Tensor):
        sparse = "" if value.layout is torch.strided else "sparse "
        return f"a {sparse}{value.dtype} tensor of shape {tuple(value.shape)} on {value.device}"
    if hasattr(value, "dtype") and getattr(value, "shape", ()) != ():
        return f"a {value.dtype} {type(value).__name__} of shape {value.shape}"  # numpy's, say
    return f"{short(value)} ({type(value).__name__})"


def short(value):
    """Its repr, on one line and not much longer than that, also where repr itself fails."""
    try:
        return " ".join(SHORT.repr(value).split())
    except Exception:  # as for an int of more digits than Python prints
        return "a value that can't be printed"


def is_int(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def floating(name, value, arguments=None):
    """A dense tensor of one of the floating dtypes that torch computes with, of any shape."""
    if not isinstance(value, torch.Tensor) or value.dtype not in FLOATS or value.layout is not torch.strided:
        advice = "Convert it first, as torch.tensor(..., dtype=torch.float32) does."
        if is_uint8(value):
            advice = "Scale integer images with course_utils.data.scale first."
        raise TypeError(f"{name} must be a floating-point tensor, but is {describe(value)}. {advice}")


def batch(name, value, arguments):
    """A floating-point tensor of shape (B, ...) with at least one element."""
    floating(name, value)
    if value.ndim == 0 or value.numel() == 0:
        raise ValueError(f"{name} must have shape (B, ...) with at least one element, but is {describe(value)}.")


def with_values(name, value):
    """ValueError for a tensor on the meta device, which has a shape, but no values to read or to draw."""
    if value.is_meta:
        raise ValueError(f"{name} must hold values, but is {describe(value)}. Make it on the CPU.")


def is_uint8(value):
    return isinstance(value, torch.Tensor) and value.dtype == torch.uint8 and value.layout is torch.strided


def like(other):
    """A tensor of exactly the shape, dtype and device of the argument `other`: nothing may broadcast in silence."""

    def rule(name, value, arguments):
        batch(name, value, arguments)
        model = arguments[other]
        if value.dtype != model.dtype:
            raise TypeError(f"{name} must have the dtype of {other}, {model.dtype}, but is {describe(value)}.")
        if value.shape != model.shape:
            raise ValueError(f"{name} must have the shape of {other}, {tuple(model.shape)}, but is {describe(value)}.")
        if value.device != model.device:
            raise ValueError(
                f"{name} must be where {other} is, on {model.device}, but is {describe(value)}. Use .to()."
            )

    return rule


def timestep(other, low=1, high=None):
    """An int, or an integer tensor of shape (B,), beside the argument `other`, within low .. high (else schedule.T)."""

    def rule(name, value, arguments):
        top = arguments["schedule"].T if high is None else high(arguments)
        if is_int(value):
            return in_range(name, int(value), int(value), low, top)
        integer_tensor(name, value, "a whole number, or ")
        if other is None:
            one_or_more(name, value)
        else:
            beside(name, value, other, arguments[other])
        if value.device.type == "cpu":
            in_range(name, int(value.min()), int(value.max()), low, top)

    return rule


def integer_tensor(name, value, instead=""):
    if not isinstance(value, torch.Tensor) or value.dtype not in (torch.int32, torch.int64):  # uint8 would be a mask
        raise TypeError(
            f"{name} must be {instead}an integer tensor (int64 or int32) of shape (B,), but is {describe(value)}. "
            "If it is a tensor of whole numbers, use .long()."
        )


def one_or_more(name, value):
    if value.ndim != 1 or len(value) == 0:
        raise ValueError(f"{name} must have shape (B,) with at least one entry, but is {describe(value)}.")


def beside(name, value, other, model):
    """One entry of `value` for each item of the batch `model`, on the same device."""
    if value.shape != model.shape[:1]:
        raise ValueError(
            f"{name} must have shape (B,) = ({len(model)},), one for each item of {other}, but is {describe(value)}."
        )
    if value.device != model.device:
        raise ValueError(f"{name} must be where {other} is, on {model.device}, but is {describe(value)}. Use .to().")


def in_range(name, lowest, highest, low, top):
    if lowest < low or highest > top:
        passed = short(lowest) if lowest == highest else f"{lowest} .. {highest}"
        raise ValueError(f"{name} must be within {low} .. {top}, but is {passed}.")


def integer(low, high=MOST):
    """A whole number within low .. high."""

    def rule(name, value, arguments):
        if not is_int(value):
            raise TypeError(f"{name} must be a whole number, but is {describe(value)}.")
        if not low <= value <= high:
            bound = f"at least {low}" if value < low and high == MOST else f"within {low} .. {high}"
            raise ValueError(f"{name} must be {bound}, but is {short(value)}.")

    return rule


def number(low, high, open_ends=False):
    """A finite real number within low .. high, the ends excluded with `open_ends`."""
    bounds = f"between {low:g} and {high:g}" if high < math.inf else f"above {low:g}, and finite"
    top = min(high, sys.float_info.max)  # an int may be larger than that and still below infinity

    def rule(name, value, arguments):
        if not isinstance(value, numbers.Real) or isinstance(value, (bool, Fraction)):  # torch takes no fractions
            raise TypeError(f"{name} must be a number, but is {describe(value)}.")
        if not (low < value < top if open_ends else low <= value <= top):
            strictly = "strictly " if open_ends and high < math.inf else ""
            raise ValueError(f"{name} must lie {strictly}{bounds}, but is {short(value)}.")

    return rule


def instance(kind, article="a"):
    """An instance of the class `kind`."""

    def rule(name, value, arguments):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be {article} {kind.__name__}, but is {describe(value)}.")

    return rule


def a_schedule(name, value, arguments):
    """A NoiseSchedule: the package's, or one that a learner wrote, with the same tables."""
    if not all(hasattr(value, table) for table in ("alpha_bar", "alpha", "beta", "T")):
        raise TypeError(f"{name} must be a NoiseSchedule, as linear_schedule() makes one, but is {describe(value)}.")


def function(name, value, arguments):
    if not callable(value):
        raise TypeError(f"{name} must be a function, but is {describe(value)}.")
    if isinstance(value, type):
        raise TypeError(f"{name} must be a function, but is the class {value.__name__} itself. Make one: add ().")


def flag(name, value, arguments):
    """True or False, and not something that counts as one of them, as the text "no" counts as True."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, but is {describe(value)}.")


def a_path(name, value, arguments):
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, as text or as a Path, but is {describe(value)}.")
    if not os.fspath(value):
        raise ValueError(f"{name} must name a file or a folder, but is empty.")


def a_device(name, value, arguments):
    """A device, or its name, on which this computer can hold a tensor."""
    if not isinstance(value, (str, torch.device)):
        raise TypeError(f'{name} must be a device, as in torch.device("cpu") or "cpu", but is {describe(value)}.')
    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"{name} must be a device of this computer, but is {describe(value)}. Try best_device()."
        ) from None


def a_data_set(name, value, arguments):
    """(N, C, H, W) images, uint8, or floating point within -1 .. 1; looked at whole, once."""
    if not is_uint8(value):
        batch(name, value, arguments)
    if value.ndim != 4 or value.numel() == 0:
        raise ValueError(f"{name} must have shape (N, C, H, W) with at least one image, but is {describe(value)}.")
    with_values(name, value)
    if value.is_floating_point():
        low, high = value.min().item(), value.max().item()
        if not (-1 <= low < 0 and high <= 1):  # NaN ends here too
            raise ValueError(
                f"{name} must be uint8, or floating point scaled to -1 .. 1, but they run from {low:g} to {high:g}. "
                "Scale them: 2 * images - 1 takes 0 .. 1 to -1 .. 1."
            )


def pictures(name, value, arguments):
    """(N, C, H, W), C = 1 or 3, floating point, of any values: what can be drawn."""
    batch(name, value, arguments)
    if value.ndim != 4 or value.shape[1] not in (1, 3):
        raise ValueError(f"{name} must have shape (N, 1, H, W) or (N, 3, H, W), but is {describe(value)}.")
    with_values(name, value)


def words(name, value, arguments):
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, but is {describe(value)}.")
    if not value.strip():
        raise ValueError(f"{name} must say something, but is {value!r}.")


def each(kind, rule):
    """A list, tuple or dict, as `kind` says, that is not empty and whose items all keep the rule."""

    def rule_for_all(name, value, arguments):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind_in_words(kind)}, but is {describe(value)}.")
        if not value:
            raise ValueError(f"{name} must hold at least one item, but is empty.")
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            rule(f"{name}[{short(key)}]", item, arguments)

    return rule_for_all


def kind_in_words(kind):
    return kind.__name__ if isinstance(kind, type) else " or ".join(part.__name__ for part in kind)


def optional(rule):
    """None, or what `rule` asks for."""

    def optional_rule(name, value, arguments):
        if value is not None:
            rule(name, value, arguments)

    return optional_rule


def given(rule, **known):
    """`rule`, told of further arguments: those that an inner function takes from the one around it."""

    def informed_rule(name, value, arguments):
        rule(name, value, arguments | known)

    return informed_rule


def cpu_generator(name, value, arguments):
    """A torch.Generator on the CPU: samplers draw there, so that a seed gives the same picture on every device."""
    instance(torch.Generator)(name, value, arguments)
    if value.device.type != "cpu":
        raise ValueError(
            f"{name} must be on the CPU (a seed then means the same everywhere), but is on {value.device}."
        )
