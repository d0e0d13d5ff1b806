"""Turn a trained network into a pipeline of diffusers, and see that it draws what it drew before.

python examples/to_diffusers.py                     the course's network; the pipeline is in runs/to_diffusers/
python examples/to_diffusers.py --weights FILE      one that you trained with the noise as its target, and saved

To publish the pipeline, you need an account on huggingface.co (this program sends nothing):

hf auth login
hf upload NAME/clothes runs/to_diffusers
"""

import argparse
from pathlib import Path

import torch
from diffusers import DDIMPipeline

from course_utils.checkpoints import load_unet
from course_utils.classroom.plotting import save_grid
from course_utils.data import DATA
from course_utils.interop import to_diffusers
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=DATA / "weights" / "unet.safetensors", help="a saved network")
    parser.add_argument("--size", type=int, default=28, help="height and width of its pictures (default: 28)")
    parser.add_argument("--steps", type=int, default=50, help="steps of DDIM (default: 50)")
    parser.add_argument("--out", type=Path, default=Path("runs/to_diffusers"), help="folder for the pipeline")
    options = parser.parse_args()
    unet, schedule = load_unet(options.weights), cosine_schedule()

    to_diffusers(unet, schedule, options.size).save_pretrained(options.out)
    pipeline = DDIMPipeline.from_pretrained(options.out)
    print(f"wrote {options.out}, and read it back")

    shape = 16, unet.config["in_channels"], options.size, options.size
    seed = torch.Generator().manual_seed
    ours = sample(denoiser(unet, schedule), shape, schedule, ddim_step, options.steps, generator=seed(0)).clamp(-1, 1)
    theirs = pipeline(
        batch_size=len(ours),
        generator=seed(0),
        num_inference_steps=options.steps,
        use_clipped_model_output=True,
        output_type="pt",
    ).images
    print(f"largest difference of two pixels, within -1 .. 1: {(2 * theirs - 1 - ours).abs().max():.1g}")
    save_grid(options.out / "samples.png", torch.cat([ours, 2 * theirs - 1]))
    print(f"wrote {options.out / 'samples.png'}: drawn by the course in the upper half, by diffusers in the lower")


if __name__ == "__main__":
    main()
