"""The network that predicts the noise: a UNet that is told the time (notebook 03)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from course_utils._checks import (
    FLOATS,
    batch,
    beside,
    checked,
    describe,
    in_range,
    integer,
    integer_tensor,
    one_or_more,
    optional,
    short,
)

WHOLE = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
GROUPS = 8  # of GroupNorm; every number of channels is a multiple of it


def times(name, value, arguments):
    """A tensor of shape (B,), integers or floats."""
    if not isinstance(value, torch.Tensor) or not (value.dtype in WHOLE or value.dtype in FLOATS):
        raise TypeError(f"{name} must be a tensor of shape (B,), integers or floats, but is {describe(value)}.")
    one_or_more(name, value)
    if value.device.type == "cpu" and value.dtype in FLOATS and not value.isfinite().all():
        raise ValueError(f"{name} must be finite, but holds infinite values or NaN: {short(value.tolist())}.")


def times_of(other):
    """Times, one for each item of the argument `other`, beside it."""

    def rule(name, value, arguments):
        times(name, value, arguments)
        beside(name, value, other, arguments[other])

    return rule


def even(name, value, arguments):
    integer(2)(name, value, arguments)
    if value % 2:
        raise ValueError(f"{name} must be even, half for sines and half for cosines, but is {value}.")


@checked(t=times, dim=even)
def timestep_embedding(t, dim):
    """Sines and cosines of t at dim / 2 frequencies, from 1 down towards 1 / 10000 (Vaswani et al., arXiv 1706.03762).

    Entry i of the first half is sin(t * 10000^(-i / (dim / 2))), and entry i of the second half its cosine.

    Args:
        t: (B,) timesteps, integers or floats.
        dim: the length of an embedding; even.

    Returns:
        (B, dim) within -1 .. 1, on t's device; t's dtype where t is floating point, else float32.

    Raises:
        TypeError: t is not a tensor, or dim not a whole number.
        ValueError: t is not of shape (B,) or not finite, or dim is odd or below 2.
    """
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = t.to(dtype)[:, None] * frequency.to(dtype).to(t.device)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def zeroed(layer):
    """The layer with all its weights set to 0, so that it starts by saying nothing."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def eights(name, value, arguments):
    integer(GROUPS)(name, value, arguments)
    if value % GROUPS:
        raise ValueError(f"{name} must be a multiple of {GROUPS}, the number of GroupNorm's groups, but is {value}.")


def more_than_one(name, value, channels, side=1):
    """GroupNorm has no answer where each of its groups is one number, as at the least resolution of a small UNet."""
    if channels == GROUPS and value.shape[0] * value.shape[2] * value.shape[3] == side**2:
        raise ValueError(
            f"{name} must be larger, because GroupNorm can't normalise a single number, but is {describe(value)}. "
            "Take more images, larger ones, or more channels."
        )


def autocasts(device_type):
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def beside_weights(name, value, weight):
    """In the dtype of the weights, unless autocast sees to that, and where they are."""
    if value.dtype != weight.dtype and not autocasts(value.device.type):
        raise TypeError(
            f"{name} must have the dtype of the weights, {weight.dtype}, but is {describe(value)}. "
            "Convert one of the two: x.float(), say."
        )
    if value.device != weight.device:
        raise ValueError(
            f"{name} must be where the weights are, on {weight.device}, but is {describe(value)}. Use .to()."
        )


def maps_for(layer, side=1):
    """(B, C, H, W) as the convolution of that name takes it, with H and W multiples of `side`."""

    def rule(name, value, arguments):
        weight = getattr(arguments["self"], layer).weight
        batch(name, value, arguments)
        if value.ndim != 4 or value.shape[1] != weight.shape[1]:
            raise ValueError(f"{name} must have shape (B, {weight.shape[1]}, H, W), but is {describe(value)}.")
        if value.shape[2] % side or value.shape[3] % side:
            raise ValueError(f"{name} must have an even height and width, but is {describe(value)}. Pad it.")
        beside_weights(name, value, weight)

    return rule


def maps_to_normalise(layer):
    """`maps_for`, and more than one number for each group of GroupNorm."""

    def rule(name, value, arguments):
        maps_for(layer)(name, value, arguments)
        more_than_one(name, value, min(getattr(arguments["self"], layer).weight.shape[:2]))

    return rule


def an_embedding(name, value, arguments):
    """(B, time_dim), one for each item of x: a single one would be broadcast to all of them."""
    B, time_dim = len(arguments["x"]), arguments["self"].time.in_features
    batch(name, value, arguments)
    if value.shape != (B, time_dim):
        raise ValueError(f"{name} must have shape (B, time_dim) = ({B}, {time_dim}), but is {describe(value)}.")
    beside_weights(name, value, arguments["self"].time.weight)


class ResBlock(nn.Module):
    """Two convolutions around the time's scale and shift, added to what came in.

    The last convolution starts at zero, so that a new block passes its input on, as in DDPM's code (arXiv 2006.11239);
    scale and shift are ADM's "adaptive group normalization" (arXiv 2105.05233, section 3.1).

    Args:
        in_channels, out_channels: multiples of 8.
        time_dim: the length of the time's embedding.

    Shapes: x (B, in_channels, H, W) and embedding (B, time_dim) -> (B, out_channels, H, W).

    Raises:
        TypeError: a wrong type or dtype.
        ValueError: shapes or devices that do not fit together, or channels that are not multiples of 8.
    """

    @checked(in_channels=eights, out_channels=eights, time_dim=integer(1))
    def __init__(self, in_channels, out_channels, time_dim):
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_dim, 2 * out_channels)
        self.norm2 = nn.GroupNorm(GROUPS, out_channels)
        self.conv2 = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    @checked(x=maps_to_normalise("conv1"), embedding=an_embedding)
    def forward(self, x, embedding):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


def divides_channels(name, value, arguments):
    integer(1)(name, value, arguments)
    if arguments["channels"] % value:
        raise ValueError(f"{name} must divide channels = {arguments['channels']}, but is {value}.")


class SelfAttention(nn.Module):
    """Every position looks at every other one, and what it finds is added to what came in.

    Args:
        channels: a multiple of 8.
        heads: how many independent looks; divides channels.

    Shapes: x (B, channels, H, W) -> the same.

    Raises:
        TypeError: a wrong type or dtype.
        ValueError: a wrong shape or device, channels that are not a multiple of 8, or heads that do not divide them.
    """

    @checked(channels=eights, heads=divides_channels)
    def __init__(self, channels, heads=4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    @checked(x=maps_to_normalise("qkv"))
    def forward(self, x, embedding=None):
        B, C, H, W = x.shape
        qkv = self.qkv(self.norm(x)).reshape(B, 3, self.heads, C // self.heads, H * W)
        query, key, value = qkv.transpose(-1, -2).unbind(dim=1)  # each (B, heads, H * W, C / heads)
        score = query @ key.transpose(-1, -2) / math.sqrt(C // self.heads)
        found = score.softmax(dim=-1) @ value
        return x + self.out(found.transpose(-1, -2).reshape(B, C, H, W))


class Downsample(nn.Module):
    """Half the height and the width: (B, C, H, W) -> (B, C, H / 2, W / 2), by a convolution with stride 2.

    Raises:
        TypeError: a wrong type or dtype.
        ValueError: another shape, an odd height or width, or another device than the weights'.
    """

    @checked(channels=integer(1))
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    @checked(x=maps_for("conv", side=2))
    def forward(self, x, embedding=None):
        return self.conv(x)


class Upsample(nn.Module):
    """Twice the height and the width: (B, C, H, W) -> (B, C, 2 H, 2 W), by repeating and a convolution.

    Raises:
        TypeError: a wrong type or dtype.
        ValueError: another shape, or another device than the weights'.
    """

    @checked(channels=integer(1))
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    @checked(x=maps_for("conv"))
    def forward(self, x, embedding=None):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def way_down(widths, time_dim):
    """A residual block for each resolution, halving between them; and how wide everything is that it leaves behind."""
    blocks, skips = nn.ModuleList(), [widths[0]]
    for i, width in enumerate(widths):
        if i > 0:
            blocks.append(Downsample(widths[i - 1]))
            skips.append(widths[i - 1])
        blocks.append(ResBlock(skips[-1], width, time_dim))
        skips.append(width)
    return blocks, skips


def middle(width, time_dim):
    """Attention between two residual blocks, at the lowest resolution."""
    return nn.ModuleList([ResBlock(width, width, time_dim), SelfAttention(width), ResBlock(width, width, time_dim)])


def way_up(widths, skips, time_dim):
    """Two residual blocks for each resolution, each with room for what the way down left, doubling between them."""
    blocks, skips, width = nn.ModuleList(), list(skips), widths[-1]
    for i in reversed(range(len(widths))):
        for _ in range(2):
            blocks.append(ResBlock(width + skips.pop(), widths[i], time_dim))
            width = widths[i]
        if i > 0:
            blocks.append(Upsample(width))
    return blocks


def images(name, value, arguments):
    """A batch that this UNet can halve as often as it has to."""
    batch(name, value, arguments)
    channels, side = arguments["self"].config["in_channels"], arguments["self"].side
    if value.ndim != 4 or value.shape[1] != channels:
        raise ValueError(f"{name} must have shape (B, {channels}, H, W), but is {describe(value)}.")
    if value.shape[2] % side or value.shape[3] % side:
        raise ValueError(
            f"{name} must have a height and a width that are multiples of {side}, because this UNet divides them by "
            f"{side} on the way down, but is {describe(value)}. Pad the images, or use fewer multipliers."
        )
    config = arguments["self"].config
    more_than_one(name, value, config["base_channels"] * min(config["multipliers"]), side)
    beside_weights(name, value, arguments["self"].entrance[1].weight)


def classes(name, value, arguments):
    num_classes = arguments["self"].config["num_classes"]
    if num_classes is None:
        raise ValueError(f"{name} were passed, but this UNet has no classes. Build it with num_classes=10, say.")
    integer_tensor(name, value)
    beside(name, value, "x", arguments["x"])
    if value.device.type == "cpu":
        in_range(name, int(value.min()), int(value.max()), 0, num_classes)


def several(name, value, arguments):
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of whole numbers, one for each resolution, but is {describe(value)}.")
    if not value:
        raise ValueError(f"{name} must name at least one resolution, as in (1, 2), but is empty.")
    for item in value:
        integer(1)(f"each of {name}", item, arguments)
    if len(value) > 16:
        raise ValueError(f"{name} must name at most 16 resolutions, each half the one before, but has {len(value)}.")


class UNet(nn.Module):
    """Predicts the noise in x at time t (DDPM, arXiv 2006.11239, appendix B; blocks as in ADM, arXiv 2105.05233).

    Space-to-depth at the entrance turns each 2x2 square of pixels into 4 channels, which makes every layer after it
    four times cheaper. Then one residual block for each resolution on the way down, attention at the lowest one, and
    two residual blocks for each resolution on the way up, each of which is given what the way down left behind.
    A shortcut adds a share of x itself, which the time sets: at large t, x is nearly all noise, so it need not be
    drawn anew. The last convolution and the shortcut start at zero, so that training starts from a prediction of no
    noise.

    Args:
        in_channels: of the images.
        base_channels: the width at the highest resolution; a multiple of 8.
        multipliers: the width of each resolution, from the highest down, in units of base_channels.
        num_classes: where the network is also told a label, how many there are; the extra label `num_classes`
            stands for "not told", and is what labels=None means.
        patch: the side of the squares that the entrance folds into channels; 1 leaves the pixels alone.

    Shapes: x (B, in_channels, H, W) in any floating dtype that the weights have; t (B,) integers or floats; labels
        (B,) integers within 0 .. num_classes -> (B, in_channels, H, W). H and W are multiples of `side`, which is
        patch * 2 ** (len(multipliers) - 1).

    Raises:
        TypeError: a wrong type or dtype.
        ValueError: shapes or devices that do not fit together, or labels for a network without classes.
    """

    @checked(
        in_channels=integer(1),
        base_channels=eights,
        multipliers=several,
        num_classes=optional(integer(1)),
        patch=integer(1),
    )
    def __init__(self, in_channels=1, base_channels=32, multipliers=(1, 2), num_classes=None, patch=2):
        super().__init__()
        self.config = dict(in_channels=in_channels, base_channels=base_channels, multipliers=list(multipliers))
        self.config |= dict(num_classes=num_classes, patch=patch)
        widths, pixels = [base_channels * m for m in multipliers], in_channels * patch**2
        self.side, time_dim = patch * 2 ** (len(widths) - 1), 4 * base_channels
        self.time = nn.Sequential(nn.Linear(base_channels, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim))
        self.label = None if num_classes is None else nn.Embedding(num_classes + 1, time_dim)
        self.entrance = nn.Sequential(nn.PixelUnshuffle(patch), nn.Conv2d(pixels, widths[0], 3, padding=1))
        self.down, skips = way_down(widths, time_dim)
        self.middle = middle(widths[-1], time_dim)
        self.up = way_up(widths, skips, time_dim)
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.last = zeroed(nn.Conv2d(widths[0], pixels, 3, padding=1))
        self.exit = nn.PixelShuffle(patch)
        self.shortcut = zeroed(nn.Linear(time_dim, 1))

    @checked(x=images, t=times_of("x"), labels=optional(classes))
    def forward(self, x, t, labels=None):
        embedding = self.embed(x, t, labels)
        h = self.entrance(x)
        skips = [h]
        for block in self.down:
            h = block(h, embedding)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for block in self.up:
            if isinstance(block, ResBlock):
                h = torch.cat([h, skips.pop()], dim=1)
            h = block(h, embedding)
        share_of_x = self.shortcut(F.silu(embedding))[:, :, None, None]
        return share_of_x * x + self.exit(self.last(F.silu(self.norm(h))))

    def embed(self, x, t, labels):
        embedding = self.time(timestep_embedding(t, self.config["base_channels"]).to(x.dtype))
        if self.label is not None:
            not_told = torch.full((len(x),), self.config["num_classes"], device=x.device)
            embedding = embedding + self.label(not_told if labels is None else labels)
        return embedding


def package_unet(name, value, arguments):
    if not isinstance(value, UNet):
        kind = (
            f"a {type(value).__name__} of {type(value).__module__}" if isinstance(value, nn.Module) else describe(value)
        )
        raise TypeError(
            f"{name} must be a UNet of course_utils.unet, but is {kind}. "
            "One that you defined in the notebook has the same parts: pass course_utils.unet.UNet()."
        )


@checked(unet=package_unet)
def shapes_through(unet, x, t):
    """What a UNet makes of x on its way: a list of (name, kind of part, (C, H, W) of what it puts out), in order.

    Args:
        unet: a UNet of this module.
        x, t: as for the UNet.

    Raises:
        TypeError, ValueError: another kind of network, or as the UNet.
    """
    rows, hooks = [], []
    for name, part in unet.named_modules():
        if isinstance(part, (ResBlock, SelfAttention, Downsample, Upsample)) or name in ("entrance", "exit"):

            def note(part, inputs, output, name=name):
                rows.append((name, type(part).__name__, tuple(output.shape[1:])))

            hooks.append(part.register_forward_hook(note))
    try:
        with torch.no_grad():
            unet(x, t)
    finally:
        for hook in hooks:
            hook.remove()
    return rows
