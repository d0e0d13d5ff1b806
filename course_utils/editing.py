"""Editing pictures with a network that was never trained for it (notebook 11)."""

from collections.abc import Callable
from numbers import Integral

import torch

from course_utils.annotations import Batch, Count, Mask, Path, Share, checked
from course_utils.forward import add_noise
from course_utils.sampling import ddim_step, randn_like, sample


@checked
def sdedit(
    denoise: Callable,
    x_0: Batch,
    path: Path,
    strength: Share,
    step: Callable = ddim_step,
    num_steps: Count = 50,
    generator: torch.Generator | None = None,
) -> Batch:
    """Noise x_0 up to level strength * T, and walk down from there (SDEdit, arXiv 2108.01073, algorithm 1).

    With ddpm_step, short steps and a perfect denoiser, the result is a draw from q(x_0 | x_start).

    strength = 0 returns x_0; at 1 next to nothing of it is left. The walk from T would take num_steps steps, so this
    one takes the share of them that `strength` says, rounded up.
    """
    start = round(strength * path.T)
    if start == 0:
        return x_0
    steps = -(-min(num_steps, path.T) * start // path.T)
    levels = torch.linspace(start, 0, steps + 1, dtype=torch.float64).round().int().tolist()
    x_start = add_noise(x_0, start, randn_like(x_0, generator), path)
    return sample(denoise, x_0.shape, path, step, levels=levels, x_T=x_start, generator=generator)


def put_back(x_s, known, mask, s, path, generator=None):
    """Where mask is 1, the picture `known` with the noise of level s; elsewhere x_s (RePaint, arXiv 2201.09865, eq. 8).

    mask add_noise(known, s, noise) + (1 - mask) x_s, with other noise for each image of x_s. At s = 0 there is none.
    """
    known_s = add_noise(known.to(x_s).expand_as(x_s), s, randn_like(x_s, generator), path)
    share = mask.to(x_s)
    return share * known_s + (1 - share) * x_s


@checked
def inpaint_step(step: Callable, known: Batch, mask: Mask, denoise: Callable | None = None, resample: Integral = 0):
    """A step that keeps the picture `known` where mask is 1, and paints where it is 0.

    Once `step` has gone down to s, `put_back` puts the known part back. With `resample`, each step goes back up to t
    and down again that many times (RePaint, algorithm 1), so that what is painted can adapt to what is known. Each
    time calls `denoise`, which has to be passed then. `known` and `mask` may be single: (1, C, H, W), for a batch.
    """
    if resample and denoise is None:
        raise TypeError("To resample, inpaint_step needs the denoiser, too: pass denoise=... as well.")

    def inpaint(x_t, x_0_hat, t, s, path, generator=None):
        x_s = step(x_t, x_0_hat, t, s, path, generator=generator)
        x_s = put_back(x_s, known, mask, s, path, generator)
        for _ in range(resample if s > 0 else 0):
            x_t = noise_further(x_s, s, t, path, generator)
            x_s = step(x_t, denoise(x_t, t), t, s, path, generator=generator)
            x_s = put_back(x_s, known, mask, s, path, generator)
        return x_s

    return inpaint


def noise_further(x_s, s, t, path, generator=None):
    """From level s up to t: x_t = r x_s + sqrt(noise_t^2 - r^2 noise_s^2) noise, where r = signal_t / signal_s.

    It is `forward_step` for any two levels of any path: q(x_t | x_s), which the posterior is built from.
    """
    r = (path.signal_rate[t] / path.signal_rate[s]).item()
    added = (path.noise_rate[t] ** 2 - r**2 * path.noise_rate[s] ** 2).item()
    return r * x_s + added**0.5 * randn_like(x_s, generator)


def anagram(upright: Callable, upside_down: Callable):
    """A denoiser for pictures that show two things, one when you turn them by 180 degrees (arXiv 2311.17919, eq. 3).

    It averages two guesses: `upright`'s, and `upside_down`'s of the picture turned over, turned back.
    """

    def turn(x):
        return x.flip(-2, -1)

    return lambda x_t, t: (upright(x_t, t) + turn(upside_down(turn(x_t), t))) / 2
