"""How much memory training and sampling take at their peak, each in a process of its own (bench.py adds the peak).

On a CPU it is the process's largest resident size. That includes Python and torch, and the first row says how much they
take by themselves. On a GPU there is, besides, the most that torch held there.
"""

from functools import partial

import torch

from course_utils.checkpoints import load_unet
from course_utils.data import DATA, fashion_mnist
from course_utils.device import best_device
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, train
from course_utils.unet import UNet


def importing(folder):
    return on_the_accelerator()


def training(folder, batch_size, **sizes):
    """Five steps of notebook 04's network, all images in memory."""
    device, (images, labels) = best_device(), fashion_mnist()
    model = UNet(condition=10, **sizes).to(device, memory_format=torch.channels_last)
    options = dict(steps=5, batch_size=batch_size, ema=EMA(model), condition=labels.to(device))
    train(model, images.to(device), cosine_schedule(), **options)
    return on_the_accelerator()


def sampling(folder, number, num_steps=5):
    """So many images at once, by the shipped network."""
    device, schedule = best_device(), cosine_schedule()
    network = load_unet(DATA / "weights" / "unet.safetensors").to(device)
    denoise = denoiser(network, schedule, torch.arange(number, device=device) % 10)
    sample(denoise, (number, 1, 28, 28), schedule, ddim_step, num_steps, device=device)
    return on_the_accelerator()


def on_the_accelerator():
    return {"cuda_mb": torch.cuda.max_memory_allocated() / 2**20} if torch.cuda.is_available() else {}


ROWS = {
    "nothing but the imports": importing,
    "training, batch 32 (notebook 04)": partial(training, batch_size=32),
    "training, batch 128": partial(training, batch_size=128),
    "training, batch 512": partial(training, batch_size=512),
    "training, batch 128, 128 base channels": partial(training, batch_size=128, base_channels=128),
    "sampling 16 images": partial(sampling, number=16),
    "sampling 250 images": partial(sampling, number=250),
    "sampling 1,000 images": partial(sampling, number=1000),
    "sampling 10,000 images": partial(sampling, number=10000, num_steps=2),
}
