"""Where to compute."""

import torch


def best_device():
    """The fastest device at hand: cuda, then mps (Apple's), then cpu, as a torch.device."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
