"""Type words, get pictures: four of each thing that you name. Train the network first, in three hours on two cores:

python scripts/train_text.py
python examples/text_to_image.py "blue heart" "sleepy cat" --artist twemoji

It learns from the emoji in data/emoji/, so whoever publishes its pictures gives credit as LICENSES.md says there.
"""

import argparse
from pathlib import Path

import torch

from course_utils.checkpoints import load_unet
from course_utils.classroom.plotting import save_grid
from course_utils.data import ARTISTS
from course_utils.device import best_device
from course_utils.sampling import sample
from course_utils.schedule import straight_path
from course_utils.solvers import dpm_solver_2m
from course_utils.text import text_denoiser, tokenise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", help="what to draw: a few words each, in quotation marks")
    parser.add_argument("--artist", choices=ARTISTS, help="in whose style (default: nobody's in particular)")
    parser.add_argument("--guidance", type=float, default=3, help="how closely to follow the words (default: 3)")
    parser.add_argument("--style", type=float, default=1.5, help="how closely to follow the artist (default: 1.5)")
    parser.add_argument("--steps", type=int, default=30, help="steps of DPM-Solver++ (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pictures (default: 0)")
    parser.add_argument("--weights", type=Path, default=Path("runs/text/text.safetensors"), help="a saved network")
    parser.add_argument("--out", type=Path, default=Path("runs/text_to_image.png"), help="the file for the pictures")
    options = parser.parse_args()

    device, path = best_device(), straight_path()
    model = load_unet(options.weights).to(device)
    encoder = model.condition
    unknown = [word for word in tokenise(" ".join(options.texts)) if word not in encoder.vocabulary.number]
    if unknown:
        print(f"The network has never read these words, and ignores them: {', '.join(unknown)}")

    condition = encoder.prompts([text for text in options.texts for _ in range(4)], options.artist).to(device)
    denoise = text_denoiser(model, path, condition, options.guidance, options.style)
    noise = torch.Generator().manual_seed(options.seed)
    shape = len(condition), model.config["in_channels"], 32, 32
    pictures = sample(denoise, shape, path, dpm_solver_2m(), options.steps, generator=noise, device=device)

    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_grid(options.out, pictures, columns=4, zoom=4)
    print(f"wrote {options.out}, with a row for each of {', '.join(options.texts)}")


if __name__ == "__main__":
    main()
