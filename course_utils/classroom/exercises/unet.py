"""Exercises on the parts of the UNet (notebook 03)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.classroom.exercises.cases import randn
from course_utils.classroom.exercises.record import Exercise, Mistake, case
from course_utils.unet import timestep_embedding

# The timestep embedding


def embedding_cases():
    return [
        case(torch.tensor([1, 1000, 37, 500, 0]), 16),
        case(torch.tensor([3, 999, 1], dtype=torch.int32), 10),
        case(torch.tensor([1, 2, 1000, 400]), 4),  # as many timesteps as entries: wrong axes have the right shape
        case(torch.tensor([0.5, 12.25, 1000.0]), 6),
        case(torch.tensor([1.0, 7.5, 300.0, 1000.0], dtype=torch.float64), 8),
    ]


def embedding_with(
    frequencies=lambda i, half: 10000 ** (-i / half),
    joined=lambda sines, cosines: torch.cat([sines, cosines], dim=1),
):
    """An embedding with other frequencies, or with its two halves put together in another way."""

    def attempt(t, dim):
        frequency = frequencies(torch.arange(dim // 2, dtype=torch.float64), dim // 2)
        dtype = t.dtype if t.is_floating_point() else torch.float32
        angle = t.to(dtype)[:, None] * frequency.to(dtype)
        return joined(angle.sin(), angle.cos())

    return attempt


TIMESTEP_EMBEDDING = Exercise(
    name="unet.timestep_embedding",
    notebook="03",
    finished=timestep_embedding,
    cases=embedding_cases,
    tolerance=1e-3,  # in float32, the angle of t = 1000 is only known to about 1e-4
    mistakes=(
        Mistake(
            embedding_with(joined=lambda sines, cosines: torch.stack([sines, cosines], dim=2).flatten(1)),
            "The sines and cosines alternate. Nothing is lost, but the formula has all the sines first and then all "
            "the cosines, and a network that learnt one order can't read the other. `torch.cat` joins the two halves.",
        ),
        Mistake(
            embedding_with(joined=lambda sines, cosines: torch.cat([cosines, sines], dim=1)),
            "The cosines come first. The formula starts with the sines: at `t = 0` the first half is all 0 and the "
            "second half all 1.",
        ),
        Mistake(
            lambda t, dim: timestep_embedding(t / 1000, dim),
            "`t` is divided by 1000 first. That all but stops the clocks: over the whole range even the fastest hand "
            "turns by only one radian, and neighbouring levels look alike. Use `t` as it is.",
        ),
        Mistake(
            embedding_with(lambda i, half: 10000 ** (-i / (2 * half))),
            "The exponent is divided by d instead of `d / 2`, so the slowest hand is a hundred times too fast. It "
            "goes round and round between `t = 1` and `t = 1000`, instead of telling early from late.",
        ),
        Mistake(
            embedding_with(lambda i, half: 10000 ** (-i / (half - 1))),
            "The exponents run from 0 to 1, both ends included, because they are divided by `d / 2 - 1`. DDPM's own "
            "code does this, so it would work, but the formula above divides by `d / 2`.",
        ),
        Mistake(
            embedding_with(lambda i, half: 10000 ** (i.float() / half)),  # float32, as most people would write it
            "The exponent has lost its minus sign, so the hands get faster and faster, up to thousands of radians a "
            "step. Numbers that jump like this keep no order. The frequencies should fall from 1 towards `1 / 10000`.",
        ),
        Mistake(
            embedding_with(lambda i, half: torch.exp(-i / half)),
            "The frequencies are powers of e, not of 10000, so all the hands run at nearly the same speed, and none "
            "is slow. If you use `exp`, the exponent needs the factor `math.log(10000)`.",
        ),
        Mistake(
            lambda t, dim: timestep_embedding(t, dim).T,
            "The axes are swapped: this is `(dim, B)`, with a *column* for each timestep. The network wants a row for "
            "each image, `(B, dim)`. If B and dim were equal, nothing would complain. `t[:, None] * frequency` has "
            "the right axes.",
        ),
        Mistake(
            embedding_with(joined=lambda sines, cosines: torch.cat([sines, cosines], dim=0)),
            "The cosines are joined below the sines, along the batch, which gives 2 B rows. They belong next to the "
            "sines, in the same row: `dim=1`.",
        ),
        Mistake(
            lambda t, dim: timestep_embedding(t[:1], dim).expand(len(t), -1),
            "Every row is the embedding of the first timestep. In training each image has its own level, and the "
            "network has to be told it. Make one row for each entry of `t`.",
        ),
    ),
    hints=(
        "First make the `dim / 2` frequencies, from `torch.arange(dim // 2)`. Then the angles: each of the B "
        "timesteps times each frequency, a table of shape `(B, dim / 2)`. Which of the two needs a `None` to become a "
        "column?",
        "`frequency = 10000 ** (-torch.arange(dim // 2) / (dim // 2))`, and `angle = t[:, None] * frequency`. Turn an "
        "integer t into float32 first, and cast `frequency` to the dtype of t.",
        "The last line joins the two halves along the second axis: `torch.cat([angle.sin(), angle.cos()], dim=1)`.",
    ),
)


# The residual block of DDPM


def res_block(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(F.silu(norm1(x)))
    h = h + time(F.silu(embedding))[:, :, None, None]
    return skip(x) + conv2(F.silu(norm2(h)))


def filled(kind, *sizes, seed, dtype=torch.float32, **options):
    """A layer with random weights, zero nowhere. Torch's own random numbers are left as they were."""
    with torch.random.fork_rng(devices=[]):
        layer = kind(*sizes, dtype=dtype, **options).requires_grad_(False)
    for i, weight in enumerate(layer.parameters()):
        weight.copy_(0.4 * randn(*weight.shape, seed=100 * seed + i, dtype=dtype))
    return layer


def block_case(B, in_channels, out_channels, H, W, time_dim, dtype=torch.float32):
    return case(
        randn(B, in_channels, H, W, seed=1, dtype=dtype),
        randn(B, time_dim, seed=2, dtype=dtype),
        filled(nn.GroupNorm, 2, in_channels, seed=3, dtype=dtype),
        filled(nn.Conv2d, in_channels, out_channels, 3, padding=1, seed=4, dtype=dtype),
        filled(nn.Linear, time_dim, out_channels, seed=5, dtype=dtype),
        filled(nn.GroupNorm, 2, out_channels, seed=6, dtype=dtype),
        filled(nn.Conv2d, out_channels, out_channels, 3, padding=1, seed=7, dtype=dtype),
        nn.Identity()
        if in_channels == out_channels
        else filled(nn.Conv2d, in_channels, out_channels, 1, seed=8, dtype=dtype),
    )


def block_cases():
    return [
        block_case(3, 4, 8, 6, 5, time_dim=7),
        block_case(2, 6, 6, 4, 7, time_dim=9),
        block_case(5, 4, 6, 5, 6, time_dim=3),  # H = B and W = C: here the time on the wrong axes fits, in silence
        block_case(2, 8, 4, 3, 5, time_dim=6, dtype=torch.float64),
    ]


def unchanged(x):
    return x


def block_with(first=F.silu, second=F.silu, told=F.silu, add=lambda h, shift: h + shift[:, :, None, None]):
    """A block with other activations, or in which the time comes in in another way."""

    def attempt(x, embedding, norm1, conv1, time, norm2, conv2, skip):
        h = add(conv1(first(norm1(x))), time(told(embedding)))
        return skip(x) + conv2(second(norm2(h)))

    return attempt


def time_after_norm2(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = norm2(conv1(F.silu(norm1(x)))) + time(F.silu(embedding))[:, :, None, None]
    return skip(x) + conv2(F.silu(h))


def activation_before_norm(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    h = conv1(norm1(F.silu(x))) + time(F.silu(embedding))[:, :, None, None]
    return skip(x) + conv2(norm2(F.silu(h)))


def no_skip(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    return res_block(x, embedding, norm1, conv1, time, norm2, conv2, lambda x: 0)


def x_itself(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    return res_block(x, embedding, norm1, conv1, time, norm2, conv2, unchanged)


RES_BLOCK = Exercise(
    name="unet.res_block",
    notebook="03",
    finished=res_block,
    cases=block_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            block_with(add=lambda h, shift: h + shift),
            "The time is added along the height and the width. `time(...)` has shape `(B, C)`, and `h` has "
            "`(B, C, H, W)`. Without two new axes at the end, PyTorch lines it up with `(H, W)`. For most sizes that "
            "fails; for some it fits without a word. `[:, :, None, None]` makes it `(B, C, 1, 1)`.",
        ),
        Mistake(
            block_with(add=lambda h, shift: h * (1 + shift[:, :, None, None])),
            "Here the time scales `h`. Our own block will do that, too, but this older form only adds: "
            "`h + time(...)`, with no factor.",
        ),
        Mistake(
            block_with(add=lambda h, shift: h),
            "The block ignores the time, so it does the same at every noise level. Add `time(silu(embedding))` to `h` "
            "after the first convolution.",
        ),
        Mistake(
            block_with(add=lambda h, shift: h + shift[:1, :, None, None]),
            "All the images are given the time of the first one. Keep the batch axis: each image has its own row of "
            "the embedding.",
        ),
        Mistake(
            block_with(told=unchanged),
            "The embedding goes straight into the linear layer `time`. In this block it passes through a SiLU first: "
            "`time(silu(embedding))`.",
        ),
        Mistake(
            time_after_norm2,
            "The time is added after the second normalisation. In this form it comes earlier, right after `conv1`. "
            "(`norm2` subtracts the mean of a *group* of channels, so whatever the time adds to one channel and not "
            "to its neighbour gets through.)",
        ),
        Mistake(
            block_with(first=unchanged),
            "The SiLU between `norm1` and `conv1` is missing. Without it the first convolution sees values that "
            "nothing has bent, and the block has only half of its non-linearity. It is norm, silu, convolution, both "
            "times.",
        ),
        Mistake(
            block_with(second=unchanged),
            "There is no SiLU between `norm2` and `conv2`. With only a normalisation between them, the two "
            "convolutions can do little more than one could.",
        ),
        Mistake(
            activation_before_norm,
            "The SiLU and the normalisation are the wrong way round. First norm, then silu, then the convolution: the "
            "normalisation puts the values where the SiLU bends.",
        ),
        Mistake(
            block_with(F.relu, F.relu, F.relu),
            "The activation is a ReLU. It should be SiLU, `x * sigmoid(x)`, which is `F.silu` in PyTorch. It is "
            "smooth, and its gradient does not vanish for everything below 0.",
        ),
        Mistake(
            no_skip,
            "The input is not added to the result, so this is not a *residual* block. Everything, gradients included, "
            "has to pass through two convolutions, and a stack of these is hard to train. Add `skip(x)`.",
        ),
        Mistake(
            x_itself,
            "`x` itself is added instead of `skip(x)`. It only fits when the number of channels stays the same. When "
            "it changes, `skip` is a 1x1 convolution that takes care of it.",
        ),
    ),
    hints=(
        "Three lines, one for each point of the task: the first half; the time; the second half plus `skip(x)`.",
        "`time(F.silu(embedding))` has shape `(B, C)`. `h` has `(B, C, H, W)`. What do you have to append to the "
        "shape, so that each channel of each image gets one number?",
        "`h = h + time(F.silu(embedding))[:, :, None, None]`, between `conv1` and `norm2`.",
    ),
)


# Attention


def attention(query, key, value):
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return score.softmax(dim=-1) @ value


def attention_cases():
    double = torch.float64
    return [
        attention_case((2, 3, 5, 4), 4),
        attention_case((3, 2, 7, 6), 5),
        attention_case((2, 4, 6, 3), 2, dtype=double),
        large_scores(),
    ]


def attention_case(shape, value_length, dtype=torch.float32):
    query, key = (randn(*shape, seed=seed, dtype=dtype) for seed in (1, 2))
    return case(query, key, randn(*shape[:-1], value_length, seed=3, dtype=dtype))


def large_scores():
    """Whole numbers, so that scores of some hundred are still exact in float32."""
    query, key = ((4 * randn(2, 3, 5, 4, seed=seed)).round() for seed in (4, 5))
    return case(5 * query, key, randn(2, 3, 5, 2, seed=6))


def attention_with(
    root=lambda query, value: math.sqrt(query.shape[-1]),
    weights=lambda score: score.softmax(dim=-1),
):
    """Attention that divides its scores by something else, or makes weights of them in another way."""

    def attempt(query, key, value):
        return weights(query @ key.transpose(-1, -2) / root(query, value)) @ value

    return attempt


def between_heads(query, key, value):
    return attention(*(each.transpose(1, 2) for each in (query, key, value))).transpose(1, 2)


ATTENTION = Exercise(
    name="unet.attention",
    notebook="03",
    finished=attention,
    cases=attention_cases,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            attention_with(lambda query, value: 1),
            "The scores are not divided by `sqrt(d)`. A sum of d products grows like `sqrt(d)`. With long vectors the "
            "softmax would put all its weight on one position and pass on hardly any gradient.",
        ),
        Mistake(
            attention_with(lambda query, value: query.shape[-1]),
            "The scores are divided by d, not by its square root. They come out too small, so every position gets "
            "nearly the same weight.",
        ),
        Mistake(
            attention_with(lambda query, value: math.sqrt(value.shape[-1])),
            "The scores are divided by the square root of the length of the *values*. They are products of queries "
            "and keys, so it is the length of those that counts. Here the two lengths may differ.",
        ),
        Mistake(
            attention_with(weights=lambda score: score.softmax(dim=-2)),
            "The softmax runs over the queries, `dim=-2`, so the weights that one query gives out do not add up to 1. "
            "Row i of the scores belongs to query i, so the softmax runs along the row: `dim=-1`.",
        ),
        Mistake(
            attention_with(weights=lambda score: score.softmax(dim=1)),
            "The softmax runs over axis 1. In the tiny example that was the axis of the keys, but here the shape is "
            "`(B, heads, N, N)`, and axis 1 is the heads. Counted from the end, it is always `dim=-1`.",
        ),
        Mistake(
            attention_with(weights=lambda score: score),
            "There is no softmax: the raw scores are used as weights. They can be negative, and they add up to "
            "anything. The softmax turns them into shares that add up to 1.",
        ),
        Mistake(
            attention_with(weights=lambda score: score.exp() / score.exp().sum(dim=-1, keepdim=True)),
            "For small scores this is right; for large ones you get NaN. In float32, `exp` of anything above 88 is "
            "infinite, and infinity divided by infinity is not a number. Subtract the largest score of the row first, "
            "or let `.softmax(dim=-1)` do it.",
        ),
        Mistake(
            lambda query, key, value: attention(key, query, value),
            "Queries and keys are swapped. Position i asks with its query, so row i of the scores is query i times "
            "every key: `query @ key.transpose(-1, -2)`.",
        ),
        Mistake(
            between_heads,
            "Here the heads at one position look at one another, and the positions never meet. The axis summed over "
            "in the end has to be N, the positions. The heads work side by side, like the images in a batch.",
        ),
    ),
    hints=(
        "The tiny example in the cell above is all there is to it, for one head of one image. `@` multiplies the last "
        "two axes and leaves those in front alone. But `key.T` reverses *all* the axes: which two do you want to "
        "swap?",
        "`score = query @ key.transpose(-1, -2)`, divided by the square root of `query.shape[-1]`, is "
        "`(B, heads, N, N)`. Row i holds the scores that query i gives to all the keys, and its weights have to add "
        "up to 1.",
        "The softmax turns the scores into weights. Return `score.softmax(dim=-1) @ value`.",
    ),
)


# Space to depth


def space_to_depth(x, patch):
    B, C, H, W = x.shape
    squares = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return squares.permute(0, 1, 3, 5, 2, 4).reshape(B, C * patch**2, H // patch, W // patch)


def folded_with(order, outer=False):
    """The axes of the squares in another order, or (`outer`) squares that are cut in another way."""

    def attempt(x, patch):
        B, C, H, W = x.shape
        h, w = H // patch, W // patch
        cut = x.reshape(B, C, patch, h, patch, w) if outer else x.reshape(B, C, h, patch, w, patch)
        return cut.permute(order).reshape(B, C * patch**2, h, w)

    return attempt


def only_reshaped(x, patch):
    B, C, H, W = x.shape
    return x.reshape(B, C * patch**2, H // patch, W // patch)


SPACE_TO_DEPTH = Exercise(
    name="unet.space_to_depth",
    notebook="03",
    finished=space_to_depth,
    cases=lambda: [
        case(torch.arange(16.0).reshape(1, 1, 4, 4), 2),
        case(randn(2, 3, 6, 4, seed=1), 2),
        case(randn(4, 2, 6, 9, seed=2), 3),
        case(randn(3, 2, 4, 5, seed=3, dtype=torch.float64), 1),
        case(torch.arange(48).reshape(2, 1, 4, 6), 2),
    ],
    mistakes=(
        Mistake(
            only_reshaped,
            "The shape is right, but the pixels are in the wrong places. `reshape` reads the picture row by row and "
            "cuts that line into pieces, so a channel holds strips. Split the height and the width first, then move "
            "the axes with `permute`, and only then merge them.",
        ),
        Mistake(
            folded_with((0, 1, 5, 3, 2, 4)),
            "Within each square the pixels are read column by column. Channel 1 should hold the upper *right* pixel "
            "of each square: the axis of the rows comes before that of the columns.",
        ),
        Mistake(
            folded_with((0, 3, 5, 1, 2, 4)),
            "The new channels are ordered by place first and by colour second. It should be the other way round: all "
            "the places of channel 0, then those of channel 1. The axis C stays in front of the two axes of the "
            "square.",
        ),
        Mistake(
            folded_with((0, 1, 2, 4, 3, 5), outer=True),
            "This cuts the picture into patch x patch large tiles and makes a channel of each. Neighbouring pixels "
            "should end up at the same place, in different channels: split H into `(H / patch, patch)`, in this "
            "order.",
        ),
        Mistake(
            lambda x, patch: F.avg_pool2d(x, patch),
            "Each square is averaged, so its details are gone for good. Keep all the pixels of a square, each in its "
            "own channel.",
        ),
        Mistake(
            lambda x, patch: x[:, :, ::patch, ::patch],
            "Only the upper left pixel of each square is kept, and the others are thrown away. This is just channel 0 "
            "of the answer.",
        ),
    ),
    hints=(
        "Splitting an axis is a reshape: H becomes `(H / patch, patch)`, a place and a row within the square. Do the "
        "same for W. Then there are six axes.",
        "`x.reshape(B, C, H // patch, patch, W // patch, patch)`. With `permute`, bring the two axes of length "
        "`patch` (numbers 3 and 5) behind C, rows first.",
        "A last reshape to `(B, C * patch**2, H // patch, W // patch)` merges C with those two axes.",
    ),
)
