"""Right answers to the exercises on the parts of the UNet, in other styles than the finished versions."""

import copy
import math

import numpy
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.unet import timestep_embedding


def embedding_by_loops(t, dim):
    rows = []
    for level in t.tolist():
        angles = [level / 10000 ** (i / (dim / 2)) for i in range(dim // 2)]
        rows.append([math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])
    return torch.tensor(rows, dtype=t.dtype if t.is_floating_point() else torch.float32)


def embedding_with_logarithms(timesteps, dim):
    """As most programs have it, all in float32, the exponents from every second number below dim."""
    t = timesteps.float() if not timesteps.is_floating_point() else timesteps
    exponent = -math.log(10000.0) * torch.arange(0, dim, 2) / dim
    angles = torch.einsum("b,f->bf", t, torch.exp(exponent).to(t.dtype))
    out = torch.empty(len(t), dim, dtype=t.dtype)
    out[:, : dim // 2] = torch.sin(angles)
    out[:, dim // 2 :] = torch.cos(angles)
    return out


def embedding_with_complex_numbers(t, dim):
    angle = numpy.outer(t.numpy().astype(numpy.float64), 1e4 ** -numpy.linspace(0, 1, dim // 2, endpoint=False))
    hands = torch.from_numpy(numpy.exp(1j * angle))
    return torch.hstack([hands.imag, hands.real]).to(t.dtype if t.is_floating_point() else torch.float32)


def block_in_place_on_a_copy(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    silu = nn.SiLU(inplace=True)
    h = conv1(silu(norm1(x)))
    h += time(silu(embedding.clone())).unsqueeze(-1).unsqueeze(-1)
    h = conv2(silu(norm2(h)))
    h += skip(x)
    return h


def block_image_by_image(x, embedding, norm1, conv1, time, norm2, conv2, skip):
    def silu(values):
        return values * torch.sigmoid(values)

    results = []
    for picture, told in zip(x.split(1), embedding, strict=True):
        h = conv1(silu(norm1(picture)))
        shift = time.weight @ silu(told) + time.bias
        for channel in range(h.shape[1]):
            h[:, channel] += shift[channel]
        results.append(skip(picture) + conv2(silu(norm2(h))))
    return torch.cat(results)


def block_in_float64(x, embedding, *layers):
    norm1, conv1, time, norm2, conv2, skip = (copy.deepcopy(layer).double() for layer in layers)
    B, _, H, W = x.shape
    first = nn.Sequential(norm1, nn.SiLU(), conv1)(x.double())
    shift = time(F.silu(embedding.double())).view(B, -1, 1, 1).expand(-1, -1, H, W)
    return (nn.Sequential(norm2, nn.SiLU(), conv2)(first + shift) + skip(x.double())).to(x.dtype)


def attention_by_loops(query, key, value):
    B, heads, N, d = query.shape
    out = torch.zeros(B, heads, N, value.shape[-1], dtype=value.dtype)
    for b in range(B):
        for head in range(heads):
            for i in range(N):
                score = torch.stack([query[b, head, i].dot(key[b, head, j]) for j in range(N)]) / d**0.5
                weight = torch.exp(score - score.max())
                weight /= weight.sum()
                for j in range(N):
                    out[b, head, i] += weight[j] * value[b, head, j]
    return out


def attention_by_einsum(q, k, v):
    weights = torch.einsum("bhid,bhjd->bhij", q * q.size(3) ** -0.5, k).softmax(3)
    return torch.einsum("bhij,bhjd->bhid", weights, v)


def attention_in_float64(query, key, value):
    """Both sides are divided by the fourth root, and one long batch holds all heads of all images."""
    root = query.shape[-1] ** 0.25
    query, key, values = (each.double().flatten(0, 1) for each in (query, key, value))
    score = torch.bmm(query / root, (key / root).mT)
    return torch.bmm(torch.softmax(score, 2), values).reshape(value.shape).to(value.dtype)


def folded_by_slices(x, patch):
    B, C, H, W = x.shape
    out = x.new_empty(B, C * patch * patch, H // patch, W // patch)
    for c in range(C):
        for row in range(patch):
            for column in range(patch):
                out[:, (c * patch + row) * patch + column] = x[:, c, row::patch, column::patch]
    return out


def folded_by_unfold(x, patch):
    height, width = x.shape[2] // patch, x.shape[3] // patch
    columns = F.unfold(x.double(), kernel_size=patch, stride=patch)  # which knows no whole numbers
    return columns.unflatten(2, (height, width)).to(x.dtype)


ANSWERS = {
    "unet.timestep_embedding": [
        embedding_by_loops,
        embedding_with_logarithms,
        embedding_with_complex_numbers,
        lambda t, dim: timestep_embedding(t, dim),
    ],
    "unet.res_block": [block_in_place_on_a_copy, block_image_by_image, block_in_float64],
    "unet.attention": [
        attention_by_einsum,  # the first one goes into notebook 03's network, which loops would slow down too much
        attention_by_loops,
        attention_in_float64,
        lambda query, key, value: F.scaled_dot_product_attention(query, key, value),
    ],
    "unet.space_to_depth": [folded_by_slices, folded_by_unfold, F.pixel_unshuffle],
}
