"""What test_data_and_processes.py starts in one process and in two: a short training, told what to write where."""

import json
import sys

import torch
from accelerate import Accelerator
from torch import nn

from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, train
from course_utils.unet import UNet


def small_unet():
    """With random weights everywhere, so that no zero at the start hides anything."""
    torch.manual_seed(0)
    model = UNet(base_channels=8, condition=3)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)
    return model.double()  # Adam makes steps of any gradient, also of the rounding where it should be 0


def main(folder, steps):
    accelerator, model = Accelerator(), small_unet()
    torch.manual_seed(1)
    images = torch.randint(256, (40, 1, 8, 8)).double() / 127.5 - 1
    options = dict(batch_size=8, condition=torch.arange(40) % 3, drop=0.3, ema=EMA(model), accelerator=accelerator)
    checkpoint = f"{folder}/checkpoint.safetensors"
    history = train(model, images, cosine_schedule(10), steps=int(steps), checkpoint=checkpoint, **options)
    with open(f"{folder}/history_{accelerator.process_index}_of_{accelerator.num_processes}.json", "w") as file:
        json.dump(history, file)
    accelerator.end_training()  # or gloo threads may still run while Python ends: "terminate called"


if __name__ == "__main__":
    main(*sys.argv[1:])
