"""The network that predicts the noise: a UNet that is told the time (notebook 03), and words, too (notebook 12)."""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from course_utils.annotations import Count, Labels, WrongArgument, checked, describe

GROUPS = 8  # of GroupNorm; every number of channels is a multiple of it


def timestep_embedding(t: Shaped[Tensor, " B"], dim: int) -> Float[Tensor, "B dim"]:
    """Sines and cosines of t at dim / 2 frequencies, from 1 down towards 1 / 10000 (Vaswani et al., arXiv 1706.03762).

    Entry i of the first half is sin(t * 10000^(-i / (dim / 2))), and entry i of the second half its cosine.
    dim must be even.
    """
    frequency = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    dtype = t.dtype if t.is_floating_point() else torch.float32
    angle = t.to(dtype)[:, None] * frequency.to(dtype).to(t.device)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def zeroed(layer):
    """The layer with all its weights set to 0, so that at first it outputs 0."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class ResBlock(nn.Module):
    """Two convolutions around the time's scale and shift, added to the input.

    The last convolution starts at zero, so that a new block passes its input on, as in DDPM's code (arXiv 2006.11239);
    scale and shift are ADM's "adaptive group normalization" (arXiv 2105.05233, section 3.1). Channels are multiples
    of 8.
    """

    def __init__(self, in_channels, out_channels, time_dim):
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_dim, 2 * out_channels)
        self.norm2 = nn.GroupNorm(GROUPS, out_channels)
        self.conv2 = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "B in_channels H W"], embedding: Float[Tensor, "B time_dim"]):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


def attention(
    query: Float[Tensor, "B heads N d"], key: Float[Tensor, "B heads M d"], value: Float[Tensor, "B heads M v"]
) -> Float[Tensor, "B heads N v"]:
    """For each query the average of the values, weighted by how well their keys fit: softmax(q k^T / sqrt(d)) v.

    Vaswani et al., arXiv 1706.03762, eq. 1.
    """
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return score.softmax(dim=-1) @ value


class SelfAttention(nn.Module):
    """Every position looks at every other one, and what it finds is added to the input: same shape out as in.

    heads divides channels; each head has its share of them.
    """

    def __init__(self, channels, heads=4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "B C H W"], embedding=None):
        B, C, H, W = x.shape
        qkv = self.qkv(self.norm(x)).reshape(B, 3, self.heads, C // self.heads, H * W)
        query, key, value = qkv.transpose(-1, -2).unbind(dim=1)  # each (B, heads, H * W, C / heads)
        found = attention(query, key, value)
        return x + self.out(found.transpose(-1, -2).reshape(B, C, H, W))


class Downsample(nn.Module):
    """Half the height and the width: (B, C, H, W) -> (B, C, H / 2, W / 2), by a convolution with stride 2."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"], embedding=None):
        return self.conv(x)


class Upsample(nn.Module):
    """Twice the height and the width: (B, C, H, W) -> (B, C, 2 H, 2 W), by repeating and a convolution."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"], embedding=None):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def space_to_depth(x: Shaped[Tensor, "B C H W"], patch: Count) -> Shaped[Tensor, "B C_patch_patch h w"]:
    """Each square of patch x patch pixels as so many channels, row by row: (B, C patch^2, H / patch, W / patch).

    As F.pixel_unshuffle does; F.pixel_shuffle undoes it.
    """
    B, C, H, W = x.shape
    squares = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return squares.permute(0, 1, 3, 5, 2, 4).reshape(B, C * patch**2, H // patch, W // patch)


class SpaceToDepth(nn.Module):
    """`space_to_depth` as a layer; it has no weights."""

    def __init__(self, patch):
        super().__init__()
        self.patch = patch

    def forward(self, x: Float[Tensor, "B C H W"]):
        return space_to_depth(x, self.patch)


def down(widths, time_dim):
    """A residual block for each resolution, halving between them; and the widths of all outputs, for the way up."""
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


def up(widths, skips, time_dim):
    """Two residual blocks for each resolution, each with room for an output of the way down, doubling between them."""
    blocks, skips, width = nn.ModuleList(), list(skips), widths[-1]
    for i in reversed(range(len(widths))):
        for _ in range(2):
            blocks.append(ResBlock(width + skips.pop(), widths[i], time_dim))
            width = widths[i]
        if i > 0:
            blocks.append(Upsample(width))
    return blocks


class LabelEmbedding(nn.Embedding):
    """A vector for each class, and one for the null label, which stands for "not told"."""

    def __init__(self, num_classes, dim):
        super().__init__(num_classes + 1, dim)
        self.null = num_classes


@checked
class UNet(nn.Module):
    """Predicts the noise in x at time t (DDPM, arXiv 2006.11239, appendix B; blocks as in ADM, arXiv 2105.05233).

    conv_in first turns each square of patch x patch pixels into channels, which makes every layer after it cheaper:
    four times, with patch = 2. Then come one residual block for each resolution on the way down, attention at the
    lowest one, and two residual blocks for each resolution on the way up, each of which also gets an output of the way
    down. A shortcut adds a share of x itself, set by the time: at large t, x is nearly all noise, so the network need
    not redraw it. The last convolution and the shortcut start at zero, so that training starts from an output of 0.

    Args:
        in_channels: channels of the images.
        base_channels: the width at the highest resolution; a multiple of 8. time_dim is four times that.
        multipliers: the width of each resolution, from the highest down, in units of base_channels.
        condition: what else the network is told: None, a number of classes, or a module that turns a batch of
            conditions into (B, time_dim), with an attribute `null`, the condition that stands for "not told". A call
            without a condition uses that one. If the module gives tokens, (B, L, time_dim), you get a `TextUNet`.
        patch: the side of the squares that conv_in folds into channels; 1 leaves the pixels alone.

    x (B, in_channels, H, W) and t (B,) -> (B, in_channels, H, W); H and W are multiples of `side`, which is
    patch * 2 ** (len(multipliers) - 1).
    """

    def __init__(
        self,
        in_channels: Count = 1,
        base_channels: Count = 32,
        multipliers: Sequence[int] = (1, 2),
        condition: Count | nn.Module | None = None,
        patch: Count = 2,
    ):
        super().__init__()
        self.config = dict(in_channels=in_channels, base_channels=base_channels, multipliers=list(multipliers))
        self.config |= dict(condition=condition, patch=patch)
        widths, pixels = [base_channels * m for m in multipliers], in_channels * patch**2
        self.side, time_dim = patch * 2 ** (len(widths) - 1), 4 * base_channels
        self.time = nn.Sequential(nn.Linear(base_channels, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim))
        self.condition = LabelEmbedding(condition, time_dim) if isinstance(condition, int) else condition
        self.conv_in = nn.Sequential(SpaceToDepth(patch), nn.Conv2d(pixels, widths[0], 3, padding=1))
        self.down, skips = down(widths, time_dim)
        self.middle = middle(widths[-1], time_dim)
        self.up = up(widths, skips, time_dim)
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.conv_out = nn.Sequential(zeroed(nn.Conv2d(widths[0], pixels, 3, padding=1)), nn.PixelShuffle(patch))
        self.shortcut = zeroed(nn.Linear(time_dim, 1))

    def forward(self, x: Float[Tensor, "B in_channels H W"], t: Shaped[Tensor, " B"], condition=None):
        embedding = self.embed(x, t, condition)
        h = self.conv_in(x)
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
        return share_of_x * x + self.conv_out(F.silu(self.norm(h)))

    def embed(self, x, t, condition):
        embedding = self.time(timestep_embedding(t, self.config["base_channels"]).to(x.dtype))
        if self.condition is not None and condition is None:
            null = torch.as_tensor(self.condition.null, device=x.device)
            condition = null.expand(len(x), *null.shape)
        return embedding if condition is None else embedding + self.condition(condition)


class CrossAttention(nn.Module):
    """Every position of the picture looks at the tokens, and what it finds is added to it: same shape out as in.

    Queries come from the picture, keys and values from the tokens (arXiv 2112.10752, section 3.3). A token of zeros is
    padding, and no position looks at it; each picture needs one that is not. heads divides channels.
    """

    def __init__(self, channels, token_dim, heads=4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Linear(token_dim, 2 * channels)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "B C H W"], tokens: Float[Tensor, "B L token_dim"]):
        tokens = getattr(tokens, "tokens", tokens)  # in a TextUNet they come with the embedding
        query = self.query(self.norm(x)).flatten(2).unflatten(1, (self.heads, -1)).mT  # (B, heads, H * W, C / heads)
        key, value = self.key_value(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        no_padding = (tokens != 0).any(dim=2)[:, None, None]  # (B, 1, 1, L): the same for all heads and positions
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=no_padding)
        return x + self.out(found.mT.reshape(x.shape))


class TextUNet(UNet):
    """A UNet whose condition gives tokens, (B, L, time_dim): it is told their sum, and its picture looks at each.

    There is one `CrossAttention` for each resolution, in the middle and after each doubling. They start at zero, so
    that a new TextUNet is the UNet that is told the sum.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        time_dim, up = 4 * self.config["base_channels"], []
        self.middle.insert(2, CrossAttention(self.middle[1].out.out_channels, time_dim))
        for block in self.up:
            up.append(block)
            if isinstance(block, Upsample):
                up.append(CrossAttention(block.conv.out_channels, time_dim))
        self.up = nn.ModuleList(up)

    def embed(self, x, t, condition):
        if condition is None:
            null = torch.as_tensor(self.condition.null, device=x.device)
            condition = null.expand(len(x), *null.shape)
        tokens = self.condition(condition)
        embedding = self.time(timestep_embedding(t, self.config["base_channels"]).to(x.dtype)) + tokens.sum(dim=1)
        embedding.tokens = tokens  # every block is handed the embedding, and so the tokens, too
        return embedding


def gives_tokens(condition):
    """Whether it is a module that gives tokens, (B, L, D), and not one embedding, (B, D): the null condition tells."""
    if not isinstance(condition, nn.Module) or not hasattr(condition, "null"):
        return False
    device = next((weight.device for weight in condition.parameters()), None)
    with torch.no_grad():
        return condition(torch.as_tensor(condition.null, device=device)[None]).ndim == 3


@functools.wraps(UNet.__init__)
def unet_or_text_unet(cls, *args, **options):
    """UNet(...) is a TextUNet if its condition gives tokens, as pathlib.Path(...) is a PosixPath."""
    condition = options.get("condition", args[3] if len(args) > 3 else None)
    return object.__new__(TextUNet if cls is UNet and gives_tokens(condition) else cls)


UNet.__new__ = unet_or_text_unet


def check_condition(model, condition, B=None):
    """Refuse a condition that lacks one entry for each of B images, or is not what this UNet was built for."""
    if not isinstance(condition, Tensor) or condition.ndim == 0 or B not in (None, len(condition)):
        raise WrongArgument(
            f"condition must be a tensor with an entry for each of {B or 'the'} images, but is {describe(condition)}."
        )
    if isinstance(model, UNet) and model.condition is None:
        raise WrongArgument("condition was passed, but this UNet takes none. Build it with, say, condition=10.")
    if isinstance(model, UNet) and isinstance(model.condition, LabelEmbedding):
        null = model.condition.null
        if not isinstance(condition, Labels) or condition.min() < 0 or condition.max() >= null:
            what = f"{describe(condition)} with {condition.unique().tolist()[:20]} in it"
            hint = f"For the null label, {null}, leave the condition out; in training, use drop."
            raise WrongArgument(f"condition must be whole numbers within 0 .. {null - 1}, but is {what}. {hint}")


@checked
def shapes_through(unet: UNet, x: Float[Tensor, "B C H W"], t: Shaped[Tensor, " B"]) -> list:
    """What x becomes on its way through a UNet: a list of (name, kind of part, (C, H, W) of its output), in order."""
    rows, hooks = [], []
    for name, part in unet.named_modules():
        if isinstance(part, (ResBlock, SelfAttention, Downsample, Upsample)) or name in ("conv_in", "conv_out"):

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
