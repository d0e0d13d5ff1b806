"""Time to quality: the course's recipe, its prototypes, and two well-known references, trained for the same time.

Every row starts from random weights, with the same seed and in float32, draws 300 samples with 50 DDIM steps, and
measures them. The first 16 samples of each row are kept as a picture.
"""

import time
from functools import partial

import torch
from torch import nn

from course_utils.classroom.plotting import save_grid
from course_utils.data import CLASSES, fashion_mnist, scale
from course_utils.device import best_device
from course_utils.evaluation import class_probabilities, quality
from course_utils.predictions import NOISE, V
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule, linear_schedule
from course_utils.training import EMA, diffusion_loss, steps_in, train, training_step
from course_utils.unet import UNet

IMAGES, STEPS = 300, 50


class Diffusers(nn.Module):
    """The network of Hugging Face's diffusion class, unit 1: diffusers' UNet2DModel."""

    def __init__(self):
        from diffusers import UNet2DModel

        super().__init__()
        self.network = UNet2DModel(
            sample_size=28,
            in_channels=1,
            out_channels=1,
            layers_per_block=2,
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )

    def forward(self, x, t):
        return self.network(x, t).sample


def annotated():
    """The network of the annotated diffusion model: denoising-diffusion-pytorch's Unet."""
    from denoising_diffusion_pytorch import Unet

    return Unet(dim=28, dim_mults=(1, 2, 4), channels=1)


class Plain(nn.Module):
    """The course's UNet without the shortcut from x to the predicted noise, as the prototypes were."""

    def __init__(self):
        super().__init__()
        self.network = UNet()
        nn.init.zeros_(self.network.shortcut.weight).requires_grad_(False)
        nn.init.zeros_(self.network.shortcut.bias).requires_grad_(False)

    def forward(self, x, t):
        return self.network(x, t)


class PredictsV(Plain):
    """The same, whose answer is taken for v."""


def by_course(model, images, schedule, seconds, **options):
    """The course's own training; returns the averaged model and the number of steps."""
    given = {name: value for name, value in options.items() if name in ("batch_size", "condition", "loss")}
    steps, ema = steps_in(seconds / 60, model, images, schedule, **given), EMA(model)
    train(model, images, schedule, steps=steps, ema=ema, **options)
    return ema.model, steps


def plainly(model, images, schedule, seconds, batch_size, lr):
    """Adam at a constant rate on plain batches, no averaging, until the time is over."""
    optimizer, steps, start = torch.optim.Adam(model.parameters(), lr=lr), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        x_0 = scale(images[torch.randint(len(images), (batch_size,), device=images.device)])
        training_step(model, x_0, schedule, optimizer).item()  # which waits for an accelerator
        steps += 1
    return model.eval(), steps


PLAIN = partial(plainly, batch_size=128, lr=1e-3)
LABELLED = partial(UNet, condition=len(CLASSES))
RUNS = {  # name: network, schedule, how it is trained, seconds
    "course, 60 s": (LABELLED, cosine_schedule, by_course, 60),
    "course, 150 s": (LABELLED, cosine_schedule, by_course, 150),
    "course, 300 s": (LABELLED, cosine_schedule, by_course, 300),
    "course without labels": (UNet, cosine_schedule, by_course, 150),
    "prototype, predicting noise": (Plain, cosine_schedule, by_course, 150),
    "prototype, predicting v": (
        PredictsV,
        cosine_schedule,
        partial(by_course, loss=partial(diffusion_loss, predicts=V)),
        150,
    ),
    "diffusers UNet2DModel, own configuration": (Diffusers, linear_schedule, PLAIN, 150),
    "diffusers UNet2DModel, our recipe": (Diffusers, cosine_schedule, partial(by_course, lr=1e-3), 150),
    "denoising-diffusion-pytorch Unet, own configuration": (annotated, linear_schedule, PLAIN, 150),
    "denoising-diffusion-pytorch Unet, our recipe": (annotated, cosine_schedule, partial(by_course, lr=1e-3), 150),
}


def measure(folder, name):
    """Train and measure one row: its figures; 16 of its samples go into the folder."""
    build, make_schedule, fit, seconds = RUNS[name]
    device, schedule = best_device(), make_schedule()
    torch.manual_seed(0)
    images, labels = (tensor.to(device) for tensor in fashion_mnist())
    model = build().to(device)
    if fit is not PLAIN:
        model = model.to(memory_format=torch.channels_last)
    start = time.perf_counter()
    model, steps = fit(model, images, schedule, seconds, **(dict(condition=labels) if build is LABELLED else {}))
    trained = time.perf_counter() - start
    start = time.perf_counter()
    samples = draw(model, schedule, device, build is LABELLED, V if build is PredictsV else NOISE)
    drawn = time.perf_counter() - start
    save_grid(folder / picture(name), samples[:16], columns=16)
    row = dict(parameters=sum(weight.numel() for weight in model.parameters()), steps=steps, seconds=trained)
    return row | dict(sampling_ms=1000 * drawn / IMAGES, sure=share_sure(samples), **quality(samples)._asdict())


def picture(name):
    return f"recipe_{list(RUNS).index(name)}.png"


def draw(model, schedule, device, told, predicts):
    generator, labels = torch.Generator().manual_seed(0), torch.arange(IMAGES) % len(CLASSES)
    denoise = denoiser(model, schedule, labels if told else None, predicts)
    return sample(denoise, (IMAGES, 1, 28, 28), schedule, ddim_step, STEPS, generator=generator, device=device).cpu()


def share_sure(images):
    """The share of the images of which the classifier is at least 0.8 sure."""
    return (class_probabilities(images).max(dim=1).values >= 0.8).double().mean().item()


ROWS = {name: partial(measure, name=name) for name in RUNS}
