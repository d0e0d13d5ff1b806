"""Figures: helpers that take tensors, so that a figure costs a notebook a line or two."""

import matplotlib.pyplot as plt
import torch


def tile(images, columns):
    """Put images side by side, with a margin of 2 pixels: (N, C, h, w) within -1 .. 1 -> (H, W, C), 0 .. 1."""
    N, C, h, w = images.shape
    rows = -(-N // columns)
    sheet = torch.ones(rows * (h + 2) - 2, columns * (w + 2) - 2, C)
    for i, image in enumerate(((images.detach().cpu().float() + 1) / 2).clamp(0, 1)):
        top, left = i // columns * (h + 2), i % columns * (w + 2)
        sheet[top : top + h, left : left + w] = image.permute(1, 2, 0)
    return sheet


def save_grid(path, images, columns=8, zoom=2):
    """Write images, (N, C, h, w) within -1 .. 1, as one PNG file, each pixel zoom pixels wide."""
    sheet = tile(images, columns).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    plt.imsave(path, sheet.expand(-1, -1, 3).numpy())
