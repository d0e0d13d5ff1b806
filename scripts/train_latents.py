"""Train an autoencoder on the emoji at 64x64, and then a diffusion model that draws from words, in its latents.

    python scripts/train_latents.py autoencoder --minutes 60 --threads 1
    python scripts/train_latents.py diffusion --minutes 90 --threads 1

Each part writes its weights, a checkpoint to continue from, a sheet of pictures and a card to runs/latents. Interrupt
it when you like: the same command picks up where it stopped. The second part needs the weights of the first. How good
both are is measured by benchmarks/latents_and_pixels.py.
"""

import argparse
import json
import platform
import time
from functools import partial
from pathlib import Path

import torch

from course_utils.autoencoder import Autoencoder, autoencoder_loss, kl
from course_utils.checkpoints import load_autoencoder, load_unet, save_checkpoint
from course_utils.classroom.plotting import save_grid
from course_utils.data import ARTISTS, emoji, scale
from course_utils.device import best_device
from course_utils.latents import decode, encode, measure_scale
from course_utils.predictions import VELOCITY
from course_utils.sampling import sample
from course_utils.schedule import straight_path
from course_utils.solvers import dpm_solver_2m
from course_utils.text import TextEncoder, text_denoiser
from course_utils.training import EMA, diffusion_loss, normal_log_snr, progress_line, steps_in, train
from course_utils.unet import UNet

PATH = straight_path()
SHEET = ["red heart", "cat face", "hot pepper", "alarm clock", "purple heart", "orange book", "crying cat", "red apple"]


def main():
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    card = PARTS[arguments.part](arguments, best_device())
    (arguments.out / f"{arguments.part}.md").write_text(card)
    print(card)


def reconstruction_loss(autoencoder, x_0, t, noise, path):
    """The autoencoder's loss, for `train`: it has no use for the level and the noise that diffusion needs."""
    return autoencoder_loss(autoencoder, x_0)


def train_autoencoder(arguments, device):
    images, held_out = emoji("train", size=64)[0], emoji("pairs", size=64)[0]
    model = Autoencoder(base_channels=arguments.channels or 32).to(device, memory_format=torch.channels_last)
    mirrored_too = torch.cat([images, images.flip(-1)]).to(device)
    file, run = fit(arguments, model, mirrored_too, scaled_by=images, loss=reconstruction_loss)

    autoencoder = load_autoencoder(file).to(device)
    again = {name: there_and_back(autoencoder, its) for name, its in (("training", images), ("held-out", held_out))}
    rows = zip(scale(held_out[:32]).split(8), again["held-out"][:32].split(8), strict=True)  # each above its own copy
    save_grid(arguments.out / "reconstructions.png", torch.cat([part for row in rows for part in row]), columns=8)
    card = describe(arguments, autoencoder, run, "the pictures and their mirror images; `autoencoder_loss`")
    with torch.no_grad():
        information = kl(*autoencoder.encode(scale(held_out).to(device))).mean()
    card += f"| latents | scale {autoencoder.scale:.3f}, measured; KL {information:.0f} nats a held-out picture |\n"
    for name, its in (("training", images), ("held-out", held_out)):
        card += f"| PSNR, {len(its):,} {name} pictures | {psnr(scale(its), again[name]):.2f} dB |\n"
    return card


def there_and_back(autoencoder, images):
    """The pictures as the decoder draws them from their latents."""
    return decode(autoencoder, encode(autoencoder, images, "mean")).cpu()


def psnr(x, x_hat):
    """Peak signal-to-noise ratio, 10 log10(2^2 / mean squared error), in dB: the values span -1 .. 1."""
    return 10 * (4 / (x - x_hat).square().mean()).log10().item()


def train_diffusion(arguments, device):
    autoencoder = load_autoencoder(arguments.out / "autoencoder.safetensors").to(device)
    images, names, artists = emoji("train", size=64)
    z, channels = encode(autoencoder, images, "mean"), arguments.channels or 48
    encoder = TextEncoder(names, ARTISTS, 4 * channels, tokens=True)
    model = UNet(z.shape[1], channels, condition=encoder, patch=1).to(device, memory_format=torch.channels_last)
    options = dict(condition=encoder.prompts(names, artists).to(device), drop=0.15, latents=True)
    options |= dict(loss=partial(diffusion_loss, predicts=VELOCITY), draw_t=normal_log_snr(PATH))
    file, run = fit(arguments, model, z, **options)

    network = load_unet(file).to(device)
    pictures = torch.cat([sheet(autoencoder, network, 1, 1), sheet(autoencoder, network, 3, 1.5)])
    save_grid(arguments.out / "samples.png", pictures, columns=len(ARTISTS))
    card = describe(arguments, network, run, "the latents' means; `diffusion_loss` of `VELOCITY`, a text condition")
    size = sum((arguments.out / f"{name}.safetensors").stat().st_size for name in PARTS) / 1e6
    return card + f"| both files | {size:.2f} MB together, of at most 12 |\n"


def sheet(autoencoder, network, words_scale, artist_scale):
    """A row of pictures for each name in SHEET, with a column for each artist."""
    condition = network.condition.prompts([name for name in SHEET for _ in ARTISTS], [*ARTISTS] * len(SHEET))
    return draw(autoencoder, network, condition, words_scale, artist_scale)


def draw(autoencoder, network, condition, words_scale=1, artist_scale=1, seed=0, num_steps=30):
    """A picture for each condition: sampled in the latents, unclipped, and decoded."""
    device, config = autoencoder.scale.device, autoencoder.config
    shape = (len(condition), config["latent_channels"], 64 // autoencoder.side, 64 // autoencoder.side)
    denoise = text_denoiser(network, PATH, condition, words_scale, artist_scale, clip=False)
    generator = torch.Generator().manual_seed(seed)
    z = sample(denoise, shape, PATH, dpm_solver_2m(), num_steps, generator=generator, device=device)
    return decode(autoencoder, z).cpu()


def fit(arguments, model, data, scaled_by=None, **options):
    """Train for as many steps as the plan says, which the first run makes. Returns the file, and how it went."""
    options |= dict(batch_size=arguments.batch_size, lr=arguments.lr, clip=1.0)
    plan, file = (arguments.out / f"{arguments.part}.{kind}" for kind in ("json", "safetensors"))
    if not plan.exists():  # the number of steps is part of the recipe, so a run that continues must keep it
        steps = arguments.steps or steps_in(arguments.minutes, model, data, PATH, **options)
        plan.write_text(json.dumps({"steps": steps, "minutes": 0}))
    planned, start, ema = json.loads(plan.read_text()), time.perf_counter(), EMA(model)
    options |= dict(checkpoint=arguments.out / f"{arguments.part}_checkpoint.safetensors", ema=ema)
    history = train(model, data, PATH, steps=planned["steps"], callback=progress_line(planned["steps"]), **options)
    planned["minutes"] += (time.perf_counter() - start) / 60
    plan.write_text(json.dumps(planned))
    if scaled_by is not None:
        measure_scale(ema.model, scaled_by, "mean")
    run = dict(minutes=planned["minutes"], steps=len(history), loss=sum(history[-500:]) / len(history[-500:]))
    save_checkpoint(file, ema.model, history=every_hundredth(history), run=run)
    return file, run


def every_hundredth(history):
    """The mean of each hundred losses: all of them would take up a tenth of the file."""
    return [sum(part) / len(part) for part in (history[i : i + 100] for i in range(0, len(history), 100))]


def describe(arguments, network, run, what):
    """The card's table, as Markdown; more rows may follow."""
    config = {name: value for name, value in network.config.items() if name != "condition"}
    weights = sum(weight.numel() for weight in network.parameters())
    settings = f"learning rate at most {arguments.lr:g}, gradient clipped to 1, EMA 0.999, seed {arguments.seed}"
    return f"""| | |
| --- | --- |
| data, loss | the emoji's training pictures at 64x64: {what} |
| network | `{type(network).__name__}`, {json.dumps(config)}, {weights:,} weights |
| training | `train`: {run["steps"]:,} steps of {arguments.batch_size} pictures, Adam, {settings} |
| time | {run["minutes"]:.0f} minutes, {arguments.threads or "all"} thread(s), {platform.processor() or "CPU"} |
| loss | {run["loss"]:.4f}, the mean of the last 500 steps |
"""


PARTS = {"autoencoder": train_autoencoder, "diffusion": train_diffusion}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS, help="what to train")
    parser.add_argument("--minutes", type=float, default=60, help="minutes of training (default: 60)")
    parser.add_argument("--steps", type=int, help="training steps, instead of minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/latents"), help="folder (default: runs/latents)")
    parser.add_argument("--channels", type=int, help="base_channels (default: 32 in the autoencoder, 48 in the UNet)")
    parser.add_argument("--batch-size", type=int, default=32, help="pictures per step (default: 32)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="the highest learning rate (default: 0.0015)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of training (default: 0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
