"""What the cases of many exercises are made of: always the same, and awkward on purpose."""

import torch

from course_utils.schedule import NoiseSchedule

SHAPE = (4, 3, 6, 5)  # B, C, H and W all differ, so that a wrong axis shows


def random(seed):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed, dtype=torch.float32):
    return torch.randn(shape, generator=random(seed), dtype=torch.float64).to(dtype)


def steep_schedule(T=12):
    """Few steps with large, unequal doses, so that no two coefficients are alike by chance."""
    beta = 0.05 + 0.4 * torch.rand(T, generator=random(T), dtype=torch.float64)
    return NoiseSchedule(torch.cat([torch.zeros(1, dtype=torch.float64), beta]))
