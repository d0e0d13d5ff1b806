"""A training loop and a sampling loop of your own, made from the course's pieces. Change whatever you like.

python examples/own_loop.py --steps 3000
"""

import argparse
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F

from course_utils.classroom.plotting import save_grid
from course_utils.data import CLASSES, fashion_mnist, scale
from course_utils.device import best_device
from course_utils.forward import add_noise, predict_x_0
from course_utils.sampling import ddim_step, spaced_levels
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA
from course_utils.unet import UNet

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=3000, help="training steps, 32 images each (default: 3000)")
parser.add_argument("--out", type=Path, default=Path("runs/own_loop"), help="folder (default: runs/own_loop)")
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)

device, schedule = best_device(), cosine_schedule()
images, labels = (tensor.to(device) for tensor in fashion_mnist())
model = UNet(condition=len(CLASSES)).to(device, memory_format=torch.channels_last)
optimizer, ema = torch.optim.Adam(model.parameters(), lr=1e-3), EMA(model)

for step in range(1, options.steps + 1):
    chosen = torch.randint(len(images), (32,), device=device)
    x_0 = scale(images[chosen])
    t = torch.randint(1, schedule.T + 1, (len(x_0),), device=device)
    noise = torch.randn_like(x_0)
    x_t = add_noise(x_0, t, noise, schedule)
    loss = F.mse_loss(model(x_t, t, labels[chosen]), noise)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ema.update(model)
    if step % 100 == 0 or step == options.steps:
        print(f"\rstep {step:,} of {options.steps:,}   loss {loss.item():.4f}", end="", flush=True)

x, wanted = torch.randn(64, 1, 28, 28, device=device), torch.arange(64, device=device) % len(CLASSES)
with torch.no_grad():
    for t, s in pairwise(spaced_levels(schedule, 50)):
        noise_hat = ema.model(x, torch.full((len(x),), t, device=device), wanted)
        x_0_hat = predict_x_0(x, t, noise_hat, schedule).clamp(-1, 1)
        x = ddim_step(x, x_0_hat, t, s, schedule, eta=1.0)

save_grid(options.out / "samples.png", x)
print(f"\nwrote {options.out / 'samples.png'}")
