"""What can be said of a wrong answer from its values alone: a factor, a sign, a shift, or where it is wrong."""

from numbers import Integral

import torch

from course_utils.classroom.exercises.comparing import Raised, difference, named


def diagnosis(found, expected, exercise, again):
    """A sentence that is true of all the cases, or None.

    `again(case, seed)` is what the answer does in a case, with random numbers from a seed.
    """
    pairs = list(zip(found, expected, strict=True))
    return (
        same_relation(pairs) or chance(found, exercise, again) or unused(exercise, again) or only_where(pairs, exercise)
    )


def chance(found, exercise, again):
    """Whether it draws random numbers, where nothing should depend on chance."""
    [case, *_] = exercise.cases()
    if exercise.by_chance or difference(again(case, 1), found[0], exercise.tolerance) is None:
        return None
    return "The result differs from call to call: the function draws random numbers of its own. Use what it is given."


def unused(exercise, again):
    """Which argument has no influence on what it does, though every argument should have."""
    if exercise.by_chance or not alike(again(exercise.cases()[0], 0), again(exercise.cases()[0], 0)):
        return None
    for place, value in enumerate(exercise.cases()[0].args):
        if not (isinstance(value, torch.Tensor) and value.is_floating_point()):
            continue
        cases = [exercise.cases()[0] for _ in range(2)]
        cases[1].args[place].add_(torch.cos(3 * value))
        one, other = (again(case, 0) for case in cases)
        if isinstance(one, Raised) or difference(one, other, exercise.tolerance) is not None:
            continue
        name = list(named(exercise.finished, cases[0]))[place]
        return f"The argument `{name}` is never used: whatever it holds, the result is the same."
    return None


def same_relation(pairs):
    """How what was found relates to what was expected, if in the same way in every case."""
    if not all(alike(one, other) for one, other in pairs):
        return None
    pairs = [(one.detach().double(), other.detach().double()) for one, other in pairs]
    for text, fits in RELATIONS.items():
        if all(fits(one, other) for one, other in pairs):
            return text
    if all(torch.allclose(one, other, rtol=1e-3, atol=1e-4) for one, other in pairs):
        return "It is nearly right, but digits are lost. Work out the coefficients in float64, and cast them last."
    ratio = factor(*max(pairs, key=lambda pair: pair[1].abs().sum()))
    if ratio is not None and all(near(one, ratio * other) for one, other in pairs):
        return f"Every value is {ratio:.4g} times what it should be: a factor is missing, or there is one too many."
    offset = (pairs[0][0] - pairs[0][1]).mean()
    if all(near(one, other + offset) for one, other in pairs):
        return f"Every value is off by the same {offset:.4g}."
    return None


def alike(one, other):
    tensors = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    return tensors and one.shape == other.shape and not one.is_complex() and bool(one.isfinite().all())


def near(one, other):
    return torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def factor(one, other):
    total = other.square().sum()
    return (one * other).sum().item() / total.item() if total > 0 else None


def shifted(one, other, by):
    return len(one) > 3 and other.ndim == 1 and near(one[max(by, 0) : len(one) + min(by, 0)], shifted_back(other, by))


def shifted_back(other, by):
    return other[max(-by, 0) : len(other) + min(-by, 0)]


RELATIONS = {
    "Every value has the wrong sign.": lambda one, other: near(one, -other),
    "The values are those of one entry earlier: everything is one place too late.": (
        lambda one, other: shifted(one, other, 1)
    ),
    "The values are those of one entry later: everything is one place too early.": (
        lambda one, other: shifted(one, other, -1)
    ),
    "The values are in the opposite order.": lambda one, other: one.ndim > 0 and near(one.flip(0), other),
    "Every value is the square of what it should be: take the root.": lambda one, other: near(one, other.square()),
    "Every value is the square root of what it should be.": (
        lambda one, other: bool((other >= 0).all()) and near(one, other.sqrt())
    ),
    "Every value is 1 divided by what it should be.": (
        lambda one, other: bool((other != 0).all()) and near(one, 1 / other)
    ),
    "The values are cut off at -1 and 1, but should not be.": lambda one, other: near(one, other.clamp(-1, 1)),
}


# Where it is wrong


def only_where(pairs, exercise):
    """What the wrong cases have in common and no right one has."""
    arguments = [named(exercise.finished, case) for case in exercise.cases()]
    wrong = [difference(one, other, exercise.tolerance) is not None for one, other in pairs]
    if all(wrong):
        return None
    errors = {
        f"raises {type(one.error).__name__} ({str(one.error)[:80]})" for one, _ in pairs if isinstance(one, Raised)
    }
    does = errors.pop() if len(errors) == 1 else "is wrong"
    for text, holds in PROPERTIES.items():
        if [holds(each) for each in arguments] == wrong:
            return f"It is right otherwise, but {does} {text}."
    return None


def whole(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def has_tensor(arguments, test):
    return any(isinstance(value, torch.Tensor) and test(value) for value in arguments.values())


PROPERTIES = {
    "when `t` is one whole number for the whole batch, not a tensor": lambda each: whole(each.get("t")),
    "when `t` is a tensor, with a level for each image": lambda each: isinstance(each.get("t"), torch.Tensor),
    "at `s = 0`, in the last step": lambda each: whole(each.get("s")) and each["s"] == 0,
    "when `s` is above 0": lambda each: whole(each.get("s")) and each["s"] > 0,
    "when `s` is given": lambda each: each.get("s") is not None,
    "when `s` is left out": lambda each: each.get("s") is None and "x_t" in each,
    "when `eta` is 0": lambda each: each.get("eta", 0.0) == 0,
    "when `eta` is above 0": lambda each: each.get("eta", 0.0) > 0,
    "in float64": lambda each: has_tensor(each, lambda value: value.dtype == torch.float64),
    "in float32": lambda each: has_tensor(each, lambda value: value.dtype == torch.float32),
    "for images, and right for points": lambda each: has_tensor(each, lambda value: value.ndim == 4),
    "for anything but images (B, C, H, W)": lambda each: not has_tensor(each, lambda value: value.ndim == 4),
    "when T is 1000": lambda each: getattr(each.get("path", each.get("schedule")), "T", each.get("T")) == 1000,
    "when T is not 1000": lambda each: getattr(each.get("path", each.get("schedule")), "T", each.get("T")) != 1000,
}
