"""Where to compute, and how precisely."""

from collections.abc import Callable

import torch


def best_device():
    """The fastest available device: cuda, then mps (Apple's), then cpu, as a torch.device."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def bfloat16(model: Callable):
    """model(x, t, ...), computed in bfloat16 where that is safe (torch.autocast); the output has x's dtype again.

    Some machines are faster that way; `python -m course_utils.classroom.doctor` measures whether this one is. Weights,
    loss and optimizer stay in float32. Before you sample, put the network into eval mode yourself.
    """

    def rounded(x, *conditions):
        with torch.autocast(x.device.type, torch.bfloat16):
            return model(x, *conditions).to(x.dtype)

    return rounded
