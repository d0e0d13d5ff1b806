"""Train the course's text-to-image model on the emoji at 32x32, and draw a sheet of samples.

    python scripts/train_text.py --minutes 180 --threads 2

It writes the averaged weights with their vocabulary, a checkpoint to continue from, a sheet of samples, and a card to
runs/text. Interrupt it when you like: the same command picks up where it stopped. How good the weights are is measured
by benchmarks/words.py.
"""

import argparse
import json
import platform
import time
from functools import partial
from pathlib import Path

import torch

from course_utils.checkpoints import load_unet, save_checkpoint
from course_utils.classroom.plotting import save_grid
from course_utils.data import ARTISTS, emoji
from course_utils.device import best_device
from course_utils.predictions import VELOCITY
from course_utils.sampling import sample
from course_utils.schedule import straight_path
from course_utils.solvers import dpm_solver_2m
from course_utils.text import TextEncoder, text_denoiser
from course_utils.training import EMA, diffusion_loss, normal_log_snr, progress_line, steps_in, train
from course_utils.unet import UNet

PATH = straight_path()
MULTIPLIERS = (1, 2, 2)
SHEET = ["red heart", "cat face", "hot pepper", "alarm clock", "purple heart", "orange book", "crying cat", "red apple"]


def main():
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    device = best_device()
    images, names, artists = emoji("train")
    encoder = TextEncoder(names, ARTISTS, 4 * arguments.channels, tokens=arguments.cross_attention)
    model = UNet(3, arguments.channels, MULTIPLIERS, condition=encoder).to(device, memory_format=torch.channels_last)
    told, images = encoder.prompts(names, artists).to(device), images.to(device)
    options = dict(batch_size=arguments.batch_size, lr=arguments.lr, condition=told, drop=arguments.drop, clip=1.0)
    options |= dict(loss=partial(diffusion_loss, predicts=VELOCITY), draw_t=normal_log_snr(PATH))

    plan = arguments.out / "plan.json"
    if not plan.exists():  # the number of steps is part of the recipe, so a run that continues must keep it
        arguments.out.mkdir(parents=True, exist_ok=True)
        steps = arguments.steps or steps_in(arguments.minutes, model, images, PATH, **options)
        plan.write_text(json.dumps({"steps": steps, "minutes": 0}))
    planned = json.loads(plan.read_text())

    start, ema = time.perf_counter(), EMA(model, arguments.average)
    options |= dict(checkpoint=arguments.out / "checkpoint.safetensors", callback=progress_line(planned["steps"]))
    history = train(model, images, PATH, steps=planned["steps"], ema=ema, **options)
    planned["minutes"] += (time.perf_counter() - start) / 60
    plan.write_text(json.dumps(planned))
    weights = arguments.out / "text.safetensors"
    save_checkpoint(weights, ema.model, history=every_hundredth(history))

    network = load_unet(weights).to(device, memory_format=torch.channels_last)
    rows = [*sheet(network, 1, 1, device), *sheet(network, 3, 1.5, device)]
    save_grid(arguments.out / "samples.png", torch.stack(rows), columns=len(ARTISTS))
    card = describe(arguments, network, planned, history, weights)
    (arguments.out / "card.md").write_text(card)
    print(card)


def every_hundredth(history):
    """The mean of each hundred losses: all of them would take up half a megabyte of the weights."""
    return [sum(part) / len(part) for part in (history[i : i + 100] for i in range(0, len(history), 100))]


def sheet(network, words_scale, artist_scale, device):
    """A row for each name in SHEET, a column for each artist; the start is the same for all artists."""
    condition = network.condition.prompts(
        [name for name in SHEET for _ in ARTISTS], [artist for _ in SHEET for artist in ARTISTS]
    )
    x_T = torch.randn(len(SHEET), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    x_T = x_T.repeat_interleave(len(ARTISTS), dim=0).to(device)
    denoise = text_denoiser(network, PATH, condition, words_scale, artist_scale)
    return sample(denoise, x_T.shape, PATH, dpm_solver_2m(), 30, x_T=x_T).cpu()


def describe(arguments, network, planned, history, weights):
    """The card, as Markdown."""
    config = network.config | dict(condition="TextEncoder", tokens=network.condition.tokens)
    recent = history[-1000:]
    steps = f"{len(history):,} of {planned['steps']:,} steps of {arguments.batch_size} pictures"
    settings = f"learning rate at most {arguments.lr:g}, gradient clipped to 1, EMA {arguments.average:g}, float32"
    return f"""| | |
| --- | --- |
| data | the emoji's training pictures at 32x32, -1 .. 1, not mirrored (letters, clocks) |
| condition | words and artist, each withheld from {arguments.drop:.0%} of the pictures, independently, at each step |
| network | `UNet`, {json.dumps(config)}, {sum(w.numel() for w in network.parameters()):,} weights |
| path, loss | `straight_path()`, T = 1000; `diffusion_loss` of VELOCITY, levels from `normal_log_snr` |
| training | `train`: {steps}, Adam, {settings}, seed {arguments.seed} |
| time | {planned["minutes"]:.0f} minutes, {arguments.threads or "all"} thread(s), {platform.processor() or "CPU"} |
| loss | {sum(recent) / len(recent):.4f}, the mean of the last {len(recent)} steps |
| file | {weights.stat().st_size / 1e6:.1f} MB, with a vocabulary of {len(network.condition.vocabulary):,} |

`samples.png` has a column for each of {", ".join(ARTISTS)}, and a row for each of {", ".join(SHEET)}: first without
guidance, then with 3 for the words and 1.5 for the artist.
"""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=180, help="minutes of training (default: 180)")
    parser.add_argument("--steps", type=int, help="training steps, instead of minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/text"), help="folder (default: runs/text)")
    parser.add_argument("--pooled", dest="cross_attention", action="store_false", help="words as a sum, not as tokens")
    parser.add_argument("--channels", type=int, default=48, help="base_channels of the UNet (default: 48)")
    parser.add_argument("--batch-size", type=int, default=32, help="pictures per step (default: 32)")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="the highest learning rate (default: 0.0015)")
    parser.add_argument("--average", type=float, default=0.9995, help="the decay of the EMA (default: 0.9995)")
    parser.add_argument("--drop", type=float, default=0.15, help="the share withheld, of each (default: 0.15)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of training (default: 0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
