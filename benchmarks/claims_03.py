"""What notebook 03 says a part of the network is worth: with it and without it, three seeds each.

    python benchmarks/claims_03.py      writes claims_03.json beside it, and goes on where it was stopped

"trained": 200 steps of 16 training pictures, and then the loss on 1,000 test pictures, one level each, from 1 to 1000.
"by heart": the notebook's test, one batch of eight pictures for 200 steps, and its loss after 50, 100, 150 and 200;
then the same for each picture, and with fresh noise in the same pictures at the same levels.
About five minutes on one core.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.data import fashion_mnist, scale
from course_utils.forward import add_noise
from course_utils.schedule import cosine_schedule
from course_utils.training import train
from course_utils.unet import ResBlock, UNet

FILE = Path(__file__).with_suffix(".json")
SEEDS, STEPS, BATCH = (0, 1, 2), 200, 16
SCHEDULE = cosine_schedule()


class ToldAnotherTime(nn.Module):
    """The course's UNet, told t times a factor: 1 / 1000 stops the clocks, 0 is not being told at all."""

    def __init__(self, factor):
        super().__init__()
        self.network, self.factor = UNet(), factor

    def forward(self, x, t):
        return self.network(x, t * self.factor)


def without_shortcut():
    network = UNet()
    network.shortcut.requires_grad_(False)  # it starts at 0, and stays there
    return network


def without_skips(build=UNet):
    """Each residual block on the way up is handed zeros where the skip would be."""
    network = build()

    def forget(block, inputs):
        h, embedding = inputs
        kept = h.shape[1] - skips[block]
        return torch.cat([h[:, :kept], torch.zeros_like(h[:, kept:])], dim=1), embedding

    width, skips = network.down[-1].conv2.out_channels, {}
    for block in network.up:
        if isinstance(block, ResBlock):
            skips[block] = block.conv1.in_channels - width
            width = block.conv2.out_channels
            block.register_forward_pre_hook(forget)
    return network


TRAINED = {
    "as built": UNet,
    "no shortcut": without_shortcut,
    "told t / 1000": lambda: ToldAnotherTime(1 / 1000),
    "never told t": lambda: ToldAnotherTime(0),
    "no skips": without_skips,
}
BY_HEART = {
    "as built": UNet,
    "no skips": without_skips,
    "no skips, no shortcut": lambda: without_skips(without_shortcut),
}


def trained(build, seed):
    images, _ = fashion_mnist()
    torch.manual_seed(seed)
    model = build()
    train(model, images, SCHEDULE, steps=STEPS, batch_size=BATCH, generator=torch.Generator().manual_seed(seed))
    return held_out(model)


@torch.no_grad()
def held_out(model):
    """The loss on 1,000 test pictures, the same levels and noise for every network; and that of five ranges of t."""
    x_0, t = scale(fashion_mnist(train=False)[0][:1000]), torch.arange(1, 1001)
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    x_t = add_noise(x_0, t, noise, SCHEDULE)
    pairs = zip(x_t.split(100), t.split(100), strict=True)
    errors = (torch.cat([model(x, level) for x, level in pairs]) - noise).square().mean(dim=(1, 2, 3))
    return {"loss": errors.mean().item(), "by level": errors.reshape(5, 200).mean(dim=1).tolist()}


def by_heart(build, seed, steps=200):
    torch.manual_seed(seed)
    x_0, t = scale(fashion_mnist()[0][:8]), torch.tensor([50, 150, 300, 450, 600, 750, 900, 1000])
    noise = torch.randn(x_0.shape)
    x_t, model = add_noise(x_0, t, noise, SCHEDULE), build()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    slower, losses = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps), []
    for _ in range(steps):
        loss = F.mse_loss(model(x_t, t), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        slower.step()
        losses.append(loss.item())
    fresh = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(100 + seed))
    with torch.no_grad():
        each = (model(x_t, t) - noise).square().mean(dim=(1, 2, 3)).tolist()
        in_fresh = F.mse_loss(model(add_noise(x_0, t, fresh, SCHEDULE), t), fresh).item()
    return {str(step): losses[step - 1] for step in (50, 100, 150, 200)} | {"each": each, "fresh noise": in_fresh}


def main():
    results = json.loads(FILE.read_text()) if FILE.exists() else {"trained": {}, "by heart": {}}
    for part, measure, networks in (("by heart", by_heart, BY_HEART), ("trained", trained, TRAINED)):
        for seed in SEEDS:
            for name, build in networks.items():
                runs = results[part].setdefault(name, {})
                if str(seed) not in runs:
                    runs[str(seed)] = measure(build, seed)
                    FILE.write_text(json.dumps(results, indent=1) + "\n")
                    print(part, name, seed, runs[str(seed)], flush=True)


if __name__ == "__main__":
    main()
