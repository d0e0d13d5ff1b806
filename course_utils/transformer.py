"""A network without convolutions: a transformer that reads a picture as a row of patches (notebook 13)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from course_utils.annotations import Count, checked
from course_utils.unet import LabelEmbedding, attention, space_to_depth, timestep_embedding, zeroed


def patchify(x: Shaped[Tensor, "B C H W"], patch: Count) -> Shaped[Tensor, "B N C_patch_patch"]:
    """Each square of patch x patch pixels as a token, row by row: (B, C, H, W) -> (B, H W / patch^2, C patch^2)."""
    return space_to_depth(x, patch).flatten(2).mT


def unpatchify(tokens: Shaped[Tensor, "B N C_patch_patch"], patch: Count, rows: Count) -> Shaped[Tensor, "B C H W"]:
    """The picture that `patchify` cut up, with so many rows of patches."""
    return F.pixel_shuffle(tokens.mT.unflatten(2, (rows, -1)), patch)


def positions_2d(rows: Count, columns: Count, dim: Count) -> Float[Tensor, "N dim"]:
    """Where each patch is: the first half of its vector says the column, the second the row, in sines and cosines.

    Column and row are told in the same way as the time t; DiT's code does so, too (arXiv 2212.09748, section 3.2). The
    result is in float64. dim must be a multiple of 4.
    """
    row, column = (timestep_embedding(torch.arange(n, dtype=torch.float64), dim // 2) for n in (rows, columns))
    return torch.cat([column.repeat(rows, 1), row.repeat_interleave(columns, dim=0)], dim=1)


def modulate(
    tokens: Float[Tensor, "B N width"], shift: Float[Tensor, "B width"], scale: Float[Tensor, "B width"]
) -> Float[Tensor, "B N width"]:
    """(1 + scale) tokens + shift, with the same scale and shift for all tokens of a picture."""
    return tokens * (1 + scale[:, None]) + shift[:, None]


class TokenAttention(nn.Module):
    """Every token looks at every other one, in several heads, each with its share of the width."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "B N width"]):
        found = attention(*self.query_key_value(tokens))
        return self.out(found.transpose(1, 2).flatten(2))

    def query_key_value(self, tokens):
        """Each (B, heads, N, width / heads)."""
        return self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)


class DiTBlock(nn.Module):
    """Attention between the tokens, then an MLP for each token by itself; both are added to what comes in.

    The embedding shifts and scales what goes into either, and gates what comes out (adaLN-Zero, arXiv 2212.09748,
    section 3.2 and figure 3). At the start all six are 0: the gates are shut, and a new block passes its input on.
    """

    def __init__(self, width, heads):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)  # scale and shift come from the embedding
        self.attention = TokenAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulation = zeroed(nn.Linear(width, 6 * width))

    def forward(self, tokens: Float[Tensor, "B N width"], embedding: Float[Tensor, "B width"]):
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(F.silu(embedding)).chunk(6, dim=1)
        tokens = tokens + gate_1[:, None] * self.attention(modulate(self.norm(tokens), shift_1, scale_1))
        return tokens + gate_2[:, None] * self.mlp(modulate(self.norm(tokens), shift_2, scale_2))


@checked
class DiT(nn.Module):
    """Predicts the noise in x at time t, or whatever it is trained for: a diffusion transformer (arXiv 2212.09748).

    The picture is cut into patches, and each becomes a token, told its place. After `depth` blocks of attention, each
    token becomes a patch again. The last layer starts at zero, so that training starts from an output of 0.

    Args:
        in_channels: channels of the images.
        width: the length of a token; a multiple of 4 and of heads.
        depth: the number of blocks.
        heads: the number of heads in each block's attention.
        condition: what else the network is told: None, a number of classes, or a module that turns a batch of
            conditions into (B, width), with an attribute `null`, as for UNet.
        patch: the side of a patch. Half the side makes four times as many tokens.

    x (B, in_channels, H, W) and t (B,) -> (B, in_channels, H, W); H and W are multiples of `side`, which is patch.
    """

    def __init__(
        self,
        in_channels: Count = 1,
        width: Count = 128,
        depth: Count = 6,
        heads: Count = 4,
        condition: Count | nn.Module | None = None,
        patch: Count = 4,
    ):
        super().__init__()
        self.config = dict(in_channels=in_channels, width=width, depth=depth, heads=heads)
        self.config |= dict(condition=condition, patch=patch)
        self.side, pixels = patch, in_channels * patch**2
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = LabelEmbedding(condition, width) if isinstance(condition, int) else condition
        self.patches_in = nn.Linear(pixels, width)
        self.blocks = nn.ModuleList(DiTBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.patches_out = zeroed(nn.Linear(width, pixels))

    def forward(self, x: Float[Tensor, "B in_channels H W"], t: Shaped[Tensor, " B"], condition=None):
        patch, (rows, columns) = self.side, (side // self.side for side in x.shape[2:])
        embedding = self.embed(x, t, condition)
        tokens = self.patches_in(patchify(x, patch))
        tokens = tokens + positions_2d(rows, columns, tokens.shape[2]).to(x)
        for block in self.blocks:
            tokens = block(tokens, embedding)
        shift, scale = self.modulation(F.silu(embedding)).chunk(2, dim=1)
        return unpatchify(self.patches_out(modulate(self.norm(tokens), shift, scale)), patch, rows)

    def embed(self, x, t, condition):
        embedding = self.time(timestep_embedding(t, self.config["width"]).to(x.dtype))
        if self.condition is not None and condition is None:
            null = torch.as_tensor(self.condition.null, device=x.device)
            condition = null.expand(len(x), *null.shape)
        return embedding if condition is None else embedding + self.condition(condition)


@checked
def attention_maps(
    dit: DiT, x: Float[Tensor, "B C H W"], t: Shaped[Tensor, " B"], condition=None
) -> Float[Tensor, "depth B heads N N"]:
    """Where each patch looks, in every block and head: row i holds the weights with which patch i averages the values.

    Each row adds up to 1. To read a weight off `attention`, give token j the value that is 1 at j and 0 elsewhere.
    """
    maps, hooks = [], []

    def note(part, inputs):
        query, key, _ = part.query_key_value(*inputs)
        maps.append(attention(query, key, torch.eye(key.shape[2]).to(key)))

    for block in dit.blocks:
        hooks.append(block.attention.register_forward_pre_hook(note))
    try:
        with torch.no_grad():
            dit(x, t, condition)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(maps)
