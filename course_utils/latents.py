"""Pictures to latents that diffusion can work with, and back (notebook 14).

To `train`, `sample`, guidance and solvers, latents are just smaller pictures. Two things differ, and each is said with
one option: latents may lie outside -1 .. 1, so it is `train(..., latents=True)` and `denoiser(..., clip=False)`.
"""

import torch
from torch import Tensor, nn

from course_utils.annotations import Batch, Take, checked
from course_utils.autoencoder import reparametrise
from course_utils.data import check_images, check_side, scale
from course_utils.sampling import AT_ONCE, evaluating, randn_like


@checked
@torch.no_grad()
def encode(autoencoder: nn.Module, images: Tensor, take: Take, generator: torch.Generator | None = None) -> Batch:
    """The pictures' latents: mean / scale, or (mean + std noise) / scale, where `scale` is the autoencoder's.

    Each picture has a whole Gaussian of latents, and `take` says what to take of it: "mean", always the same and the
    sharpest, or "sample", a draw. Take the same in training and in evaluation. The pictures are uint8, or floating
    point within -1 .. 1. The generator is on the CPU.
    """
    check_images("images", images)
    check_side("images", images, autoencoder)
    parts = []
    with evaluating(autoencoder.modules()):
        for part in images.split(AT_ONCE):
            x = (scale(part) if part.dtype == torch.uint8 else part).to(autoencoder.scale.device)
            mean, log_variance = autoencoder.encode(x)
            parts.append(mean if take == "mean" else reparametrise(mean, log_variance, randn_like(mean, generator)))
    return torch.cat(parts) / autoencoder.scale


@checked
@torch.no_grad()
def decode(autoencoder: nn.Module, latents: Batch) -> Batch:
    """The pictures that latents stand for, clipped to -1 .. 1: it undoes `encode`, as well as the decoder can."""
    with evaluating(autoencoder.modules()):
        z = latents.to(autoencoder.scale.device) * autoencoder.scale
        return torch.cat([autoencoder.decode(part) for part in z.split(AT_ONCE)]).clamp(-1, 1)


@checked
def measure_scale(autoencoder: nn.Module, images: Tensor, take: Take) -> float:
    """Set the autoencoder's `scale` to the standard deviation of these pictures' latents; `encode` divides by it.

    So latents have variance 1, as the noise has that is added to them (arXiv 2112.10752, appendix G). It is one number
    for all channels: dividing each by its own would blow up a channel that the decoder hardly uses, until the network
    spends as much of its loss there as anywhere.
    """
    autoencoder.scale.fill_(1)
    autoencoder.scale.fill_(encode(autoencoder, images, take).std())
    return autoencoder.scale.item()
