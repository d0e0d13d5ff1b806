"""Where to compute, and how precisely."""

from collections.abc import Callable

import torch


def best_device():
    """The fastest device at hand: cuda, then mps (Apple's), then cpu, as a torch.device."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def bfloat16(model: Callable):
    """model(x, t, ...), computed in bfloat16 where that is safe (torch.autocast); the answer has x's dtype again.

    Some machines are faster so; `python -m course_utils.classroom.doctor` measures whether this one is. Weights, loss
    and optimizer stay in float32. Put a network into eval mode yourself before you sample.
    """

    def rounded(x, *conditions):
        with torch.autocast(x.device.type, torch.bfloat16):
            return model(x, *conditions).to(x.dtype)

    return rounded
