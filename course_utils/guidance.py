"""Classifier-free guidance: a dial between plain samples and samples that fit their condition better (notebook 08)."""

from collections.abc import Callable, Container
from numbers import Real


def guided(conditional: Callable, unconditional: Callable, scale: Real, levels: Container | None = None):
    """The denoiser unconditional + scale (conditional - unconditional) (arXiv 2207.12598, eq. 6).

    scale = 0 ignores the condition, 1 is the conditional denoiser, and more goes beyond it. The paper writes 1 + w for
    our scale, so its w = 0 is our 1. With `levels`, such as range(100, 600), only steps from these levels are guided;
    all others use the conditional denoiser (arXiv 2404.07724). Combine first, clip last: pass denoisers that do not
    clip, and hand clipped(guided(...)) to a sampler. A guided step calls the network twice.
    """

    def denoise(x_t, t):
        with_condition = conditional(x_t, t)
        if levels is not None and t not in levels:
            return with_condition
        without = unconditional(x_t, t)
        return without + scale * (with_condition - without)

    return denoise
