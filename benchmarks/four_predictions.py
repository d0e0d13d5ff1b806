"""What a network is asked to predict, and which levels it is trained on: what notebook 09 says about both.

    python benchmarks/four_predictions.py [--steps 1200]

Each row is a network of the course's size, trained on labels for so many steps of 32 pictures, with one kind of
prediction, path and draw of levels, and one seed. (1,200 steps are what three minutes were enough for on two cores.)
2,000 pictures are made with 20 steps of DDIM and scored as benchmarks/rows.py says. The network is the same, and so is
the time a step takes. Trained networks are kept in runs/four_predictions. On one core a row takes about five minutes.
"""

import argparse
from functools import cache, partial
from pathlib import Path

import torch

from course_utils.checkpoints import load_checkpoint, save_checkpoint
from course_utils.data import CLASSES, fashion_mnist
from course_utils.device import best_device
from course_utils.predictions import NOISE, VELOCITY, X_0, V
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule, straight_path
from course_utils.training import EMA, diffusion_loss, normal_log_snr, progress_line, train, uniform_t
from course_utils.unet import UNet
from rows import LABELS, SEEDS, SHAPE, fill

COSINE, STRAIGHT = cosine_schedule(), straight_path()
KINDS = {
    "noise, cosine, uniform": (NOISE, COSINE, uniform_t),
    "x_0, cosine, uniform": (X_0, COSINE, uniform_t),
    "v, cosine, uniform": (V, COSINE, uniform_t),
    "velocity, straight, uniform": (VELOCITY, STRAIGHT, uniform_t),
    "noise, cosine, middle": (NOISE, COSINE, normal_log_snr(COSINE)),
    "v, cosine, middle": (V, COSINE, normal_log_snr(COSINE)),
    "velocity, straight, middle": (VELOCITY, STRAIGHT, normal_log_snr(STRAIGHT)),
}
FOLDER = Path("runs/four_predictions")


@cache
def trained(kind, steps, seed):
    """The averaged network; one that was trained already is read from its file."""
    predicts, path, draw_t = KINDS[kind]
    file, device = FOLDER / f"{kind}, {steps}, {seed}.safetensors", best_device()
    torch.manual_seed(seed)
    model = UNet(condition=len(CLASSES)).to(device, memory_format=torch.channels_last)
    ema = EMA(model)
    if file.exists():
        load_checkpoint(file, ema.model)
        return ema.model
    images, labels = (tensor.to(device) for tensor in fashion_mnist())
    options = dict(condition=labels, drop=0.1, loss=partial(diffusion_loss, predicts=predicts), draw_t=draw_t)
    train(model, images, path, steps=steps, ema=ema, callback=progress_line(steps), **options)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(file, ema.model)
    return ema.model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200, help="training steps of each network (default: 1200)")
    steps = parser.parse_args().steps

    def pictures(kind, steps, seed):
        predicts, path, _ = KINDS[kind]
        network, generator = trained(kind, steps, seed), torch.Generator().manual_seed(seed)
        denoise = denoiser(network, path, LABELS, predicts)
        return sample(denoise, SHAPE, path, ddim_step, 20, generator=generator, device=best_device())

    kinds = list(KINDS)
    rows = [
        dict(kind=kind, steps=steps, seed=seed)
        for some in (kinds[:4], kinds[4:])  # the four first, then those that are trained in the middle
        for seed in SEEDS
        for kind in some
    ]
    fill(__file__, rows, pictures)


if __name__ == "__main__":
    main()
