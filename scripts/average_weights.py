"""Average the weights of networks that went on from the same one: often better than each (arXiv 2203.05482).

    python scripts/average_weights.py first.safetensors second.safetensors --out mean.safetensors

The losses of the first network's training are kept.
"""

import argparse
from pathlib import Path

import torch

from course_utils.checkpoints import load_checkpoint, load_unet, save_checkpoint


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="weights of UNets of the same shape")
    parser.add_argument("--out", type=Path, required=True, help="where to write their mean")
    arguments = parser.parse_args()
    networks = [load_unet(file) for file in arguments.files]
    mean = load_unet(arguments.files[0])
    history = load_checkpoint(arguments.files[0], mean)
    for weight, *others in zip(mean.parameters(), *(network.parameters() for network in networks), strict=True):
        weight.data.copy_(torch.stack(others).mean(0))
    save_checkpoint(arguments.out, mean, history=history)


if __name__ == "__main__":
    main()
