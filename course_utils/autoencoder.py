"""The autoencoder: it makes a picture small, so that diffusion is cheap, and then large again (notebook 14)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_utils.annotations import Batch, Count, checked
from course_utils.unet import GROUPS, Downsample, SpaceToDepth, Upsample, zeroed


def normed_conv(in_channels, out_channels):
    return nn.GroupNorm(GROUPS, in_channels), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1)


class Block(nn.Module):
    """Two convolutions, added to the input: the UNet's residual block without the time. It, too, starts as a skip."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        norm, silu, last = normed_conv(out_channels, out_channels)
        self.body = nn.Sequential(*normed_conv(in_channels, out_channels), norm, silu, zeroed(last))
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "B in_channels H W"]):
        return self.skip(x) + self.body(x)


def shrink(widths):
    """A block for each resolution, halving between them."""
    layers = [Block(widths[0], widths[0])]
    for width, next_width in pairwise(widths):
        layers += [Downsample(width), Block(width, next_width)]
    return layers


def grow(widths):
    """Two blocks for each resolution, from the lowest up, doubling between them."""
    layers = [Block(widths[-1], widths[-1])]
    for width, next_width in pairwise(reversed(widths)):
        layers += [Block(width, width), Upsample(width), Block(width, next_width)]
    return [*layers, Block(widths[0], widths[0])]


@checked
class Autoencoder(nn.Module):
    """Pictures to latents and back (VAE, arXiv 1312.6114; before diffusion, arXiv 2112.10752, section 3.1).

    `encode` doesn't name one latent for a picture, but a Gaussian of them, and `decode` has to cope with any draw from
    it. So latents that are close to each other stand for similar pictures.

    Args:
        in_channels: channels of the pictures.
        base_channels: the width at the highest resolution; a multiple of 8.
        multipliers: the width of each resolution, from the highest down, in units of base_channels.
        latent_channels: channels of the latents.
        patch: the side of the squares that are folded into channels at first, as in the UNet.

    Pictures are (B, in_channels, H, W), latents (B, latent_channels, H / side, W / side), where side is
    patch * 2 ** (len(multipliers) - 1): with the defaults 8, so that 3 x 64 x 64 numbers become 4 x 8 x 8.
    """

    def __init__(
        self,
        in_channels: Count = 3,
        base_channels: Count = 32,
        multipliers: Sequence[int] = (1, 2, 3),
        latent_channels: Count = 4,
        patch: Count = 2,
    ):
        super().__init__()
        self.config = dict(in_channels=in_channels, base_channels=base_channels, multipliers=list(multipliers))
        self.config |= dict(latent_channels=latent_channels, patch=patch)
        widths, pixels = [base_channels * m for m in multipliers], in_channels * patch**2
        self.side = patch * 2 ** (len(widths) - 1)
        self.encoder = nn.Sequential(
            SpaceToDepth(patch),
            nn.Conv2d(pixels, widths[0], 3, padding=1),
            *shrink(widths),
            *normed_conv(widths[-1], 2 * latent_channels),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, widths[-1], 3, padding=1),
            *grow(widths),
            *normed_conv(widths[0], pixels),
            nn.PixelShuffle(patch),
        )
        self.register_buffer("scale", torch.ones(()))  # of the latents: see latents.measure_scale

    def encode(self, x: Float[Tensor, "B in_channels H W"]):
        """The Gaussian of a picture's latents: its mean and the logarithm of its variance, each (B, C, h, w)."""
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z: Float[Tensor, "B latent_channels h w"]) -> Float[Tensor, "B in_channels H W"]:
        """The picture that latents stand for."""
        return self.decoder(z)


@checked
def reparametrise(mean: Batch, log_variance: Batch, noise: Batch) -> Batch:
    """A draw from N(mean, variance) that gradients pass through: mean + std noise (arXiv 1312.6114, section 2.4)."""
    return mean + (log_variance / 2).exp() * noise


@checked
def kl(mean: Batch, log_variance: Batch) -> Float[Tensor, " B"]:
    """How far each picture's Gaussian is from N(0, 1), in nats: KL(N(mean, variance) || N(0, 1)).

    The sum of (mean^2 + variance - log variance - 1) / 2 over the latents (arXiv 1312.6114, appendix B).
    """
    return (mean.square() + log_variance.exp() - log_variance - 1).flatten(1).sum(dim=1) / 2


@checked
def autoencoder_loss(autoencoder: nn.Module, x: Batch, weight=1e-6, generator: torch.Generator | None = None):
    """The mean of |decode(z) - x|, z a draw from each picture's Gaussian, plus weight * KL (arXiv 1312.6114, eq. 7).

    The first mean is over all the numbers in the pictures, and KL is a mean over pictures. An absolute error, as in
    arXiv 2112.10752, blurs edges less than a squared one. The generator is on x's device.
    """
    mean, log_variance = autoencoder.encode(x)
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    x_hat = autoencoder.decode(reparametrise(mean, log_variance, noise))
    return F.l1_loss(x_hat, x) + weight * kl(mean, log_variance).mean()
