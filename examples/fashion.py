"""Train the course's network on clothes, save it, and draw 64 pictures with it.

python examples/fashion.py                        three minutes of training; the pictures are in runs/fashion/
python examples/fashion.py --minutes 30           better ones
python examples/fashion.py --weights FILE         only draw, with a network saved earlier
"""

import argparse
from pathlib import Path

import torch

from course_utils.checkpoints import load_unet, save_checkpoint
from course_utils.classroom.plotting import save_grid
from course_utils.data import CLASSES, fashion_mnist
from course_utils.device import best_device
from course_utils.sampling import denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, progress_line, steps_in, train
from course_utils.unet import UNet

DEVICE, SCHEDULE = best_device(), cosine_schedule()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3, help="how long to train (default: 3)")
    parser.add_argument("--steps", type=int, help="train for this many steps instead")
    parser.add_argument("--weights", type=Path, help="a saved network to draw with, instead of training one")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion"), help="folder (default: runs/fashion)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.weights or trained(options.out / "unet.safetensors", options.minutes, options.steps)
    save_grid(options.out / "samples.png", pictures(load_unet(weights)))
    print(f"wrote {options.out / 'samples.png'}")


def trained(path, minutes, steps):
    """Train a network that is told what each picture shows, and save the average of its weights."""
    images, labels = (tensor.to(DEVICE) for tensor in fashion_mnist())
    model = UNet(condition=len(CLASSES)).to(DEVICE, memory_format=torch.channels_last)
    steps, ema = steps or steps_in(minutes, model, images, SCHEDULE, condition=labels), EMA(model)
    callback = progress_line(steps)
    history = train(model, images, SCHEDULE, steps=steps, ema=ema, condition=labels, drop=0.1, callback=callback)
    save_checkpoint(path, ema.model, history=history)
    return path


def pictures(network, number=64):
    """Drawn by the network, each class in turn."""
    labels = torch.arange(number, device=DEVICE) % len(CLASSES)
    denoise = denoiser(network.to(DEVICE), SCHEDULE, condition=labels)
    return sample(denoise, (number, 1, 28, 28), SCHEDULE, num_steps=50, device=DEVICE)


if __name__ == "__main__":
    main()
