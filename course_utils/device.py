"""Where to compute, and how precisely."""

import torch

from course_utils._checks import batch, checked, describe, function


def best_device():
    """The fastest device at hand: cuda, then mps (Apple's), then cpu, as a torch.device."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def batch_where_autocast_is(name, value, arguments):
    batch(name, value, arguments)
    if not torch.amp.is_autocast_available(value.device.type):
        raise ValueError(f"{name} must be on a device with autocast, such as cpu or cuda, but is {describe(value)}.")


@checked(model=function)
def bfloat16(model):
    """The model, computed in bfloat16 where that is safe (torch.autocast); what it returns has x's dtype again.

    Some machines are faster so; `python -m course_utils.doctor` measures whether this one is. Weights, loss
    and optimizer stay in float32.

    Args:
        model: model(x, t, ...) -> a tensor. Put a network into eval mode yourself before you sample.

    Returns:
        A function of the same arguments.

    Raises:
        TypeError: model is not a function, or later x not a floating-point tensor.
        ValueError: x is an empty batch, or on a device for which torch has no autocast.
    """

    @checked(x=batch_where_autocast_is)
    def rounded(x, *conditions):
        with torch.autocast(x.device.type, torch.bfloat16):
            return model(x, *conditions).to(x.dtype)

    return rounded
