r"""Train on clothes with as many GPUs as you have, in one machine or in several: one process for each of them.

python examples/several_gpus.py                                             one GPU, or the CPU
accelerate launch --multi_gpu --num_processes 4 examples/several_gpus.py    four GPUs in one machine

Two machines with four each: start this on both, and say --machine_rank 1 on the second. ADDRESS is the first one's.

accelerate launch --multi_gpu --num_machines 2 --num_processes 8 --machine_rank 0 \
    --main_process_ip ADDRESS --main_process_port 29500 examples/several_gpus.py

`accelerate config` asks for all of these once; after that, `accelerate launch examples/several_gpus.py` is enough. To
try it without a GPU, put ACCELERATE_USE_CPU=true before the second command, and 2 for 4. (With `--cpu` instead of
`--multi_gpu`, accelerate starts a single process, and doesn't tell you.)
"""

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator

from course_utils.classroom.plotting import save_grid
from course_utils.data import CLASSES, fashion_mnist
from course_utils.sampling import denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, progress_line, train
from course_utils.unet import UNet

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=3000, help="training steps (default: 3000)")
parser.add_argument("--batch-size", type=int, default=128, help="images a step, of all processes (default: 128)")
parser.add_argument("--out", type=Path, default=Path("runs/several_gpus"), help="folder (default: runs/several_gpus)")
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)

accelerator, schedule = Accelerator(), cosine_schedule()
P, device, first = accelerator.num_processes, accelerator.device, accelerator.is_main_process
print(f"process {accelerator.process_index + 1} of {P} computes on {device}")

torch.manual_seed(0)  # so that all start with the same weights
images, labels = (tensor.to(device) for tensor in fashion_mnist())
model = UNet(condition=len(CLASSES)).to(device, memory_format=torch.channels_last)
ema, checkpoint = EMA(model), options.out / "run.safetensors"  # where it goes on next time, with any number of them
settings = dict(steps=options.steps, batch_size=options.batch_size, condition=labels, drop=0.1, checkpoint=checkpoint)
callback = progress_line(options.steps) if first else None
train(model, images, schedule, ema=ema, callback=callback, accelerator=accelerator, **settings)

share = -(-64 // P)  # of 64 pictures. To draw them, nobody needs to know about the others.
noise = torch.Generator().manual_seed(accelerator.process_index)
denoise = denoiser(ema.model, schedule, condition=torch.arange(share, device=device) % len(CLASSES))
drawn = sample(denoise, (share, 1, 28, 28), schedule, num_steps=50, generator=noise, device=device)
pictures = accelerator.gather(drawn)
if first:
    save_grid(options.out / "samples.png", pictures)
    print(f"wrote {options.out / 'samples.png'}")
accelerator.end_training()
