"""Input checks as a decorator, so that the functions below it hold nothing but their mathematics.

A rule is a function `rule(name, value, arguments)`: it raises TypeError for a wrong type or dtype and ValueError for
everything else, in words that name the argument, say what was passed and what to do. Rules read shapes, dtypes and
devices, which are known without waiting; they read *values* only of tensors on the CPU, so that no check makes an
accelerator wait inside a step.
"""

import functools
import inspect
import numbers

import torch

MISSING = inspect.Parameter.empty


def checked(**rules):
    """Apply `rules`, one for each named argument, before every call of the decorated function."""

    def decorate(function):
        signature = inspect.signature(function)
        defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
        called = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            arguments = defaults | dict(zip(defaults, args, strict=False)) | kwargs  # signature.bind takes much longer
            if arguments.keys() != defaults.keys() or any(value is MISSING for value in arguments.values()):
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
        return f"a {value.dtype} tensor of shape {tuple(value.shape)} on {value.device}"
    return f"{value!r} ({type(value).__name__})"


def is_int(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def batch(name, value, arguments):
    """A floating-point tensor of shape (B, ...) with at least one element."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        advice = "Scale integer images with course_utils.data.scale first." if is_uint8(value) else "Convert it first."
        raise TypeError(f"{name} must be a floating-point tensor, but is {describe(value)}. {advice}")
    if value.ndim == 0 or value.numel() == 0:
        raise ValueError(f"{name} must have shape (B, ...) with at least one element, but is {describe(value)}.")


def is_uint8(value):
    return isinstance(value, torch.Tensor) and value.dtype == torch.uint8


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
    """An int, or an integer tensor of shape (B,) beside the argument `other`, within low .. high (else schedule.T)."""

    def rule(name, value, arguments):
        top = arguments["schedule"].T if high is None else high(arguments)
        if is_int(value):
            return in_range(name, int(value), int(value), low, top)
        integer_tensor(name, value, "a whole number, or ")
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
        passed = lowest if lowest == highest else f"{lowest} .. {highest}"
        raise ValueError(f"{name} must be within {low} .. {top}, but is {passed}.")


def integer(low, high=None):
    """A whole number, at least `low`; at most `high`, where given."""

    def rule(name, value, arguments):
        if not is_int(value):
            raise TypeError(f"{name} must be a whole number, but is {describe(value)}.")
        if value < low or (high is not None and value > high):
            bound = f"at least {low}" if high is None else f"within {low} .. {high}"
            raise ValueError(f"{name} must be {bound}, but is {value}.")

    return rule


def number(low, high, open_ends=False):
    """A real number within low .. high, the ends excluded with `open_ends`."""

    def rule(name, value, arguments):
        if not isinstance(value, numbers.Real) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number, but is {describe(value)}.")
        if not (low < value < high if open_ends else low <= value <= high):
            kind = "strictly between" if open_ends else "between"
            raise ValueError(f"{name} must lie {kind} {low:g} and {high:g}, but is {value}.")

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


def a_data_set(name, value, arguments):
    """(N, C, H, W) images, uint8, or floating point within -1 .. 1; looked at whole, once."""
    if not is_uint8(value):
        batch(name, value, arguments)
    if value.ndim != 4 or len(value) == 0:
        raise ValueError(f"{name} must have shape (N, C, H, W) with at least one image, but is {describe(value)}.")
    if value.is_floating_point():
        low, high = value.min().item(), value.max().item()
        if not (-1 <= low < 0 and high <= 1):  # NaN ends here too
            raise ValueError(
                f"{name} must be uint8, or floating point scaled to -1 .. 1, but they run from {low:g} to {high:g}. "
                "Scale them: 2 * images - 1 takes 0 .. 1 to -1 .. 1."
            )


def optional(rule):
    """None, or what `rule` asks for."""

    def optional_rule(name, value, arguments):
        if value is not None:
            rule(name, value, arguments)

    return optional_rule


def cpu_generator(name, value, arguments):
    """A torch.Generator on the CPU: samplers draw there, so that a seed gives the same picture on every device."""
    instance(torch.Generator)(name, value, arguments)
    if value.device.type != "cpu":
        raise ValueError(
            f"{name} must be on the CPU (a seed then means the same everywhere), but is on {value.device}."
        )
