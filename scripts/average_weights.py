"""Average the weights of networks that went on from the same one: often better than each (arXiv 2203.05482).

    python scripts/average_weights.py first.safetensors second.safetensors --out runs/mean

It writes the mean, which keeps the losses of the first network's training, and a grid of samples; then it measures it.
"""

import argparse
from pathlib import Path

import torch
from train_weights import drawn_and_measured

from course_utils.checkpoints import load_checkpoint, load_unet, save_checkpoint


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="weights of UNets of the same shape")
    parser.add_argument("--out", type=Path, required=True, help="the folder for their mean")
    parser.add_argument("--samples", type=int, default=5000, help="samples to measure quality with (default: 5000)")
    arguments = parser.parse_args()
    networks = [load_unet(file) for file in arguments.files]
    mean = load_unet(arguments.files[0])
    history = load_checkpoint(arguments.files[0], mean)
    for weight, *others in zip(mean.parameters(), *(network.parameters() for network in networks), strict=True):
        weight.data.copy_(torch.stack(others).mean(0))
    save_checkpoint(arguments.out / "unet.safetensors", mean, history=history)
    print(drawn_and_measured(arguments.out, arguments.samples))


if __name__ == "__main__":
    main()
