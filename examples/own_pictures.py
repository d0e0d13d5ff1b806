"""Train on a folder of your own pictures, and draw new ones. Subfolders, if there are any, are kinds to tell apart.

python examples/own_pictures.py cats                 ten minutes of training; everything goes to runs/cats/
python examples/own_pictures.py cats --minutes 60    goes on from there

Look at data.png first: it shows what the network gets to see. In samples.png, below each row of drawn pictures you find
the pictures of yours that are nearest to them. With ten pictures, the two rows soon look the same, because the network
learns them by heart. If you want new pictures, give it hundreds or, better, thousands.
"""

import argparse
from pathlib import Path

import torch

from course_utils.classroom.plotting import save_grid
from course_utils.data import picture_folder, scale
from course_utils.device import best_device
from course_utils.sampling import denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, progress_line, steps_in, train
from course_utils.unet import UNet

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path, help="where the pictures are")
parser.add_argument("--size", type=int, default=32, help="height and width to train at, a multiple of 8 (default: 32)")
parser.add_argument("--fit", choices=["crop", "pad"], default="crop", help="how to make them square (default: crop)")
parser.add_argument("--minutes", type=float, default=10, help="how long to train (default: 10)")
parser.add_argument("--steps", type=int, help="train for this many steps instead")
parser.add_argument("--out", type=Path, help="folder for the results (default: one in runs/, with the name of yours)")
options = parser.parse_args()
out = options.out or Path("runs") / options.folder.resolve().name
out.mkdir(parents=True, exist_ok=True)

device, schedule = best_device(), cosine_schedule()
images, labels = (tensor.to(device) for tensor in picture_folder(options.folder, options.size, options.fit))
save_grid(out / "data.png", scale(images[:64]))
print(f"wrote {out / 'data.png'}: the first 64 of them, as the network gets to see them")

kinds = int(labels.max()) + 1
model = UNet(in_channels=3, base_channels=48, multipliers=(1, 2, 2), condition=kinds if kinds > 1 else None)
model = model.to(device, memory_format=torch.channels_last)
told = dict(condition=labels, drop=0.1) if kinds > 1 else {}
steps, ema = options.steps or steps_in(options.minutes, model, images, schedule, **told), EMA(model)
saved = dict(checkpoint=out / "run.safetensors", callback=progress_line(steps))
train(model, images, schedule, steps=steps, ema=ema, **told, **saved)

condition = torch.arange(32, device=device) % kinds if kinds > 1 else None
denoise = denoiser(ema.model, schedule, condition)
drawn = sample(denoise, (32, *images.shape[1:]), schedule, num_steps=50, device=device)
distance = torch.cdist(drawn.flatten(1), scale(images).flatten(1))  # (32, N)
nearest = scale(images)[distance.argmin(dim=1)]
rows = torch.stack([drawn.unflatten(0, (4, 8)), nearest.unflatten(0, (4, 8))], dim=1)  # each above its nearest
save_grid(out / "samples.png", rows.flatten(0, 2))
print(f"wrote {out / 'samples.png'}")
