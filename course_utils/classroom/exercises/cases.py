"""What the cases of many exercises are made of: always the same, and awkward on purpose."""

import torch

from course_utils.schedule import NoiseSchedule, at

SHAPE = (4, 3, 6, 5)  # B, C, H and W all differ, so that a wrong axis shows
DOUBLE = torch.float64


def random(seed):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed, dtype=torch.float32):
    return torch.randn(shape, generator=random(seed), dtype=DOUBLE).to(dtype)


def two(*shape, seed, dtype=torch.float32):
    return randn(*shape, seed=seed, dtype=dtype), randn(*shape, seed=seed + 100, dtype=dtype)


def steep_schedule(T=12):
    """Few steps with large, unequal doses, so that no two coefficients are alike by chance."""
    beta = 0.05 + 0.4 * torch.rand(T, generator=random(T), dtype=DOUBLE)
    return NoiseSchedule(torch.cat([torch.zeros(1, dtype=DOUBLE), beta]))


def factors(path, t, x):
    """The factors of the picture and of the noise in x_t."""
    return at(path.signal_rate, t, x), at(path.noise_rate, t, x)
