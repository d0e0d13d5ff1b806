"""Classifier-free guidance: dials between plain samples and samples that fit their condition better (notebook 08)."""

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


def guided_twice(both: Callable, artist: Callable, neither: Callable, words_scale: Real, artist_scale: Real):
    """The denoiser neither + artist_scale (artist - neither) + words_scale (both - artist), with a dial for each.

    InstructPix2Pix, arXiv 2211.09800, eq. 3: `both` is told the words and the artist, `artist` only the artist,
    `neither` nothing. With both scales at 1 it is `both`, at 0 `neither`, and with equal scales it is
    `guided(both, neither, scale)`. Two differences from `neither` would add up in the same way, but only if words and
    artist were independent at every level (arXiv 2206.01714, eq. 11). A step calls the network three times.
    """

    def denoise(x_t, t):
        with_both, with_artist, without = both(x_t, t), artist(x_t, t), neither(x_t, t)
        return without + artist_scale * (with_artist - without) + words_scale * (with_both - with_artist)

    return denoise
