"""What notebook 04 claims about training and can't measure in its own time.

    python benchmarks/claims_04.py          on one thread about eleven minutes; goes on where it was stopped

A run of the notebook's loop: the loss, the loss at each level, and the FCD along the way. The lab: a small network
trained rightly (from two seeds) and with each of its mistakes. And half a run, with and without the average of the
weights. Writes claims_04.json, and claims_04.png with samples: a row of ten, one of each kind, for each moment of the
run and for each run of the lab.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from course_utils.classroom.figures import learning
from course_utils.data import fashion_mnist, scale
from course_utils.evaluation import features, frechet_distance, test_features
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, diffusion_loss, learning_rate, train, training_step, with_condition
from course_utils.unet import UNet

HERE = Path(__file__).parent
FILE, SHEET = HERE / "claims_04.json", HERE / "claims_04.png"
STEPS, LAB_STEPS, N = 1500, 400, 300
SCHEDULE, LEVELS = cosine_schedule(), (1, 10, 30, 60, 100, 200, 300, 400, 500, 600, 700, 800, 900, 990)


def draw(network, labels, seed=0):
    denoise, generator = denoiser(network, SCHEDULE, labels), torch.Generator().manual_seed(seed)
    step = partial(ddim_step, eta=1.0)
    return sample(denoise, (len(labels), 1, 28, 28), SCHEDULE, step, 20, generator=generator)


def fcd(images):
    return frechet_distance(test_features(), features(images))


@torch.no_grad()
def loss_by_level(network):
    """On 256 test pictures, with the same noise each time."""
    images, labels = fashion_mnist(train=False)
    x_0, model = scale(images[:256]), with_condition(network, labels[:256])
    found = []
    for level in LEVELS:
        noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(level))
        found.append(diffusion_loss(model, x_0, torch.full((256,), level), noise, SCHEDULE).item())
    return found


def loop(seed, last=None):
    """The notebook's loop, with the package's pieces; yields step, model, average and loss after each step."""
    torch.manual_seed(seed)
    images, labels = fashion_mnist()
    model = UNet(condition=10).to(memory_format=torch.channels_last)
    ema, optimizer = EMA(model), torch.optim.Adam(model.parameters(), lr=2e-3)
    yield 0, model, ema, None
    for step in range(1, (last or STEPS) + 1):
        optimizer.param_groups[0]["lr"] = learning_rate(step, STEPS, lr=2e-3)
        chosen = torch.randint(len(images), (32,))
        told = torch.where(torch.rand(32) < 0.1, 10, labels[chosen])
        loss = training_step(model, scale(images[chosen]), SCHEDULE, optimizer, condition=told)
        ema.update(model)
        yield step, model, ema, loss.item()


def one_run():
    """The FCD, the loss, and samples along the way."""
    history, rows, start = [], [], time.perf_counter()
    moments = [round(STEPS * share) for share in learning.MOMENTS]
    film, found = learning.film_steps(STEPS), dict(fcd={}, by_level={})
    for step, _, ema, loss in loop(0):
        history += [loss] if step else []
        if step in (0, *film):
            rows.append(draw(ema.model, torch.arange(10)))
        if step in moments:
            found["fcd"][step] = fcd(draw(ema.model, torch.arange(N) % 10, seed=1))
            if step >= STEPS // 4:
                found["by_level"][step] = loss_by_level(ema.model)
            print(step, f"{time.perf_counter() - start:.0f} s", found["fcd"][step], flush=True)
    return found | dict(steps=STEPS, loss=[round(value, 5) for value in history]), rows


def half_a_run():
    """Half-way: the FCD with the average of the weights, and with the latest."""
    *_, (_, model, ema, _) = loop(1, last=STEPS // 2)
    return dict(fcd=[fcd(draw(one, torch.arange(N) % 10, seed=1)) for one in (ema.model, model)]), []


def lab_run(name, seed=0):
    torch.manual_seed(seed)
    images, labels = fashion_mnist()
    small = UNet(base_channels=16, condition=10).to(memory_format=torch.channels_last)
    ema = EMA(small)
    loss = learning.MISTAKES.get(name, diffusion_loss)
    losses = train(small, images, SCHEDULE, steps=LAB_STEPS, condition=labels, ema=ema, loss=loss)
    made = draw(ema.model, torch.arange(100) % 10)
    found = dict(loss=[round(value, 5) for value in losses], fcd=fcd(made))
    print(name, sum(losses[-100:]) / 100, found["fcd"], flush=True)
    return found, [made[:10]]


ROWS = {
    "run": one_run,
    "right": partial(lab_run, "right"),
    **{name: partial(lab_run, name) for name in learning.MISTAKES},
    "right, seed 1": partial(lab_run, "right", 1),
    "half a run": half_a_run,
}


def main(seconds=float("inf")):
    start = time.perf_counter()
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name, measure in ROWS.items():
        if name in found or time.perf_counter() - start > seconds:
            continue
        row, pictures = measure()
        before = found.get("pictures", 0)
        found |= {name: row | (dict(row=before) if pictures else {}), "pictures": before + len(pictures)}
        if pictures:
            sheet = torch.cat([torch.cat(list(row), dim=2) for row in pictures], dim=1)[0]
            sheet = ((sheet + 1) * 127.5).round().clamp(0, 255).byte()
            if before:
                sheet = torch.cat([torch.tensor(list(Image.open(SHEET).tobytes())).byte().reshape(-1, 280), sheet])
            Image.fromarray(sheet.numpy()).save(SHEET, optimize=True)
        FILE.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))  # after so many seconds, nothing new is begun
