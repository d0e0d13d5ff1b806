"""Diffusion in latents and in pixels, at the same training time, and what the autoencoder costs: for notebook 14.

    python benchmarks/latents_and_pixels.py [--minutes 20]

Each row is 1,000 emoji of 64x64 pixels, for names and artists of as many training drawings, in one of these ways:

- drawings: the drawings themselves. Their FCD is the floor.
- reconstructions: the drawings, encoded and decoded. No model in these latents can be expected to do better.
- latents: a UNet trained in the latents, whose pictures are then decoded.
- pixels, patches of 2 or 4: a UNet trained on the pixels, with so many pixels along the side of the squares that it
  folds into channels. Small squares keep more detail, large ones are cheaper.
- pixels for longer: the same with patches of 4, for the autoencoder's training time as well.

All networks are told words and artist, and are trained for the same time with the same recipe; 30 steps of
DPM-Solver++(2M) make the pictures, without guidance. "train_seconds" is what training took, "draw_ms" the time for one
picture, decoding included. fcd, precision and recall are in the features of benchmarks/emoji_judge.py, against the
training drawings that no prompt is about. The judge sees pictures at 32x32, so it is blind to the finest detail.
What becomes of that is under "decoder": for drawings that the autoencoder was trained on and for held-out ones, the
PSNR, and the share of the detail that is lost, by its size in pixels, where more than 1 would be worse than leaving it
out. latents_and_pixels.png has the held-out drawings that suffer most above their reconstructions.

Rows are added to the JSON beside the script one by one, so it can be stopped and started again. Delete the JSON to
measure afresh. On one core it takes about five hours.
"""

import argparse
import json
import time
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F

from course_utils.checkpoints import load_autoencoder, read_run
from course_utils.classroom.plotting import save_grid
from course_utils.data import ARTISTS, DATA, emoji, scale, unscale
from course_utils.device import best_device
from course_utils.evaluation import frechet_distance, precision_recall
from course_utils.latents import decode, encode
from course_utils.predictions import VELOCITY
from course_utils.sampling import denoiser, sample
from course_utils.schedule import straight_path
from course_utils.solvers import dpm_solver_2m
from course_utils.text import TextEncoder
from course_utils.training import EMA, diffusion_loss, normal_log_snr, progress_line, steps_in, train
from course_utils.unet import UNet
from emoji_judge import WEIGHTS, load_judge
from machine import machine

PATH, STEPS, NUMBER, SEEDS = straight_path(), 30, 1000, (0, 1, 2)
CHANNELS = 48
NETWORKS = {
    "latents": dict(multipliers=(1, 2), patch=1),
    "pixels, patches of 4": dict(multipliers=(1, 2, 2), patch=4),
    "pixels, patches of 2": dict(multipliers=(1, 2, 2), patch=2),
    "pixels for longer": dict(multipliers=(1, 2, 2), patch=4),
}
SIZES = (64, 16, 8, 4, 0)  # of details, in pixels: the wavelengths between which they count as one kind


@cache
def drawings():
    """All training drawings, in an order of their own: images, names, artists. The first NUMBER are the prompts."""
    images, names, artists = emoji("train", size=64)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))
    return images[order], [names[i] for i in order.tolist()], artists[order]


def seen(judge, images):
    """The judge's features of pictures, 64x64 or 32x32, within -1 .. 1: rounded first, as saved pictures are."""
    return torch.cat([judge.features(scale(unscale(F.adaptive_avg_pool2d(part, 32)))) for part in images.split(500)])


def score(judge, pictures):
    rest = seen(judge, scale(drawings()[0][NUMBER:]))
    found = seen(judge, pictures)
    precision, recall = precision_recall(rest[: len(found)], found)
    return dict(fcd=frechet_distance(rest, found), precision=precision, recall=recall)


def measure(autoencoder, judge, kind, minutes, seed):
    """One row: the pictures of its kind, made and scored."""
    if kind == "drawings":
        return score(judge, scale(drawings()[0][:NUMBER]))
    if kind == "reconstructions":
        return score(judge, there_and_back(autoencoder, drawings()[0][:NUMBER]))
    network, figures = trained(kind, autoencoder, minutes, seed)
    start = time.perf_counter()
    pictures = draw(kind, autoencoder, network, seed)
    return figures | dict(draw_ms=1000 * (time.perf_counter() - start) / NUMBER) | score(judge, pictures)


def trained(kind, autoencoder, minutes, seed):
    """The averaged network, trained for so many minutes, and what that took."""
    (images, names, artists), device = drawings(), best_device()
    torch.manual_seed(seed)
    data = encode(autoencoder, images, "mean") if kind == "latents" else images.to(device)
    encoder = TextEncoder(names, ARTISTS, 4 * CHANNELS, tokens=True)
    model = UNet(data.shape[1], CHANNELS, condition=encoder, **NETWORKS[kind])
    model = model.to(device, memory_format=torch.channels_last)
    options = dict(condition=encoder.prompts(names, artists).to(device), drop=0.15, clip=1.0, lr=1.5e-3)
    options |= dict(loss=partial(diffusion_loss, predicts=VELOCITY), draw_t=normal_log_snr(PATH))
    options |= dict(latents=kind == "latents")
    steps, ema, start = steps_in(minutes, model, data, PATH, **options), EMA(model), time.perf_counter()
    train(model, data, PATH, steps=steps, ema=ema, callback=progress_line(steps), **options)
    weights = sum(weight.numel() for weight in model.parameters())
    return ema.model, dict(weights=weights, steps=steps, train_seconds=time.perf_counter() - start)


def draw(kind, autoencoder, network, seed):
    """A picture for each prompt, within -1 .. 1."""
    _, names, artists = drawings()
    condition = network.condition.prompts(names[:NUMBER], artists[:NUMBER])
    denoise = denoiser(network, PATH, condition, VELOCITY, clip=kind != "latents")
    side = autoencoder.side if kind == "latents" else 1
    shape = (len(condition), network.config["in_channels"], 64 // side, 64 // side)
    generator = torch.Generator().manual_seed(seed)
    x = sample(denoise, shape, PATH, dpm_solver_2m(), STEPS, generator=generator, device=best_device())
    return (decode(autoencoder, x) if kind == "latents" else x).cpu()


# What the decoder gets wrong


def there_and_back(autoencoder, images):
    return decode(autoencoder, encode(autoencoder, images, "mean")).cpu()


def psnr(x, x_hat):
    """Peak signal-to-noise ratio, 10 log10(2^2 / mean squared error), in dB: the values span -1 .. 1."""
    return 10 * (4 / (x - x_hat).square().mean()).log10().item()


def power(x):
    """How much of x (N, C, H, H) varies at each size of SIZES: sums of |F.T.|^2 / (H * H) over rings of wavelengths."""
    frequency = torch.fft.fftfreq(x.shape[-1])
    wavelength = 1 / (frequency[:, None] ** 2 + frequency**2).sqrt()  # infinite for the mean, which is no detail
    spectrum = torch.fft.fft2(x, norm="ortho").abs().square().sum(dim=(0, 1))
    rings = [(wavelength <= large) & (wavelength > small) for large, small in pairwise(SIZES)]
    return torch.stack([spectrum[ring].sum() for ring in rings])


def errors(autoencoder, images):
    """PSNR, and the power of the error over that of the drawings at each size."""
    x, x_hat = scale(images), there_and_back(autoencoder, images)
    lost = (power(x_hat - x) / power(x)).tolist()
    names = [f"{small} to {large} pixels" if small else f"below {large}" for large, small in pairwise(SIZES)]
    return dict(number=len(images), psnr=psnr(x, x_hat), lost=dict(zip(names, lost, strict=True)))


def save_worst(autoencoder, images, number=12):
    """The drawings with the largest errors, above their reconstructions."""
    x, x_hat = scale(images), there_and_back(autoencoder, images)
    worst = (x_hat - x).square().mean(dim=(1, 2, 3)).argsort(descending=True)[:number]
    save_grid(Path(__file__).with_suffix(".png"), torch.cat([x[worst], x_hat[worst]]), columns=number)


# The rows


def rows_of(minutes, autoencoders_minutes):
    once = [dict(kind=kind, minutes=0, seed=0) for kind in ("drawings", "reconstructions")]
    networks = [dict(kind=kind, minutes=minutes, seed=seed) for seed in SEEDS for kind in [*NETWORKS][:3]]
    return [*once, *networks, dict(kind="pixels for longer", minutes=minutes + autoencoders_minutes, seed=0)]


def fill(file, rows, start, measure):
    """Add to the file what it lacks: first `start`, what is measured once, and then each row."""
    results = json.loads(file.read_text()) if file.exists() else dict(machine=machine(), **start(), rows=[])
    for row in rows:
        if any(row.items() <= done.items() for done in results["rows"]):
            continue
        results["rows"].append(row | measure(**row))
        part = file.with_suffix(".part")
        part.write_text(json.dumps(results, indent=1) + "\n")
        part.replace(file)
        print(results["rows"][-1], flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="training of each network (default: 20)")
    parser.add_argument("--autoencoder", type=Path, default=DATA / "weights" / "autoencoder.safetensors")
    parser.add_argument("--judge", type=Path, default=WEIGHTS)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    autoencoder, judge = load_autoencoder(arguments.autoencoder).to(best_device()), load_judge(arguments.judge)
    its_minutes = read_run(arguments.autoencoder)["minutes"]
    held_out = emoji("pairs", size=64)[0]

    def start():
        save_worst(autoencoder, held_out)
        found = {name: errors(autoencoder, its) for name, its in (("training", drawings()[0]), ("held out", held_out))}
        return dict(number=NUMBER, autoencoders_minutes=its_minutes, decoder=found)

    rows = rows_of(arguments.minutes, its_minutes)
    fill(Path(__file__).with_suffix(".json"), rows, start, partial(measure, autoencoder, judge))


if __name__ == "__main__":
    main()
