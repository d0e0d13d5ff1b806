"""Train the small classifier whose features samples are judged by (course_utils/evaluation.py).

    python scripts/train_classifier.py --out runs/classifier.safetensors

It ran once. Its weights are in data/weights and stay as they are, because a figure measured with other weights could
not be compared with the figures in the course.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from course_utils.data import fashion_mnist, scale
from course_utils.evaluation import Classifier

EPOCHS, BATCH_SIZE, LR = 12, 128, 3e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/classifier.safetensors"), help="the file to write")
    out = parser.parse_args().out
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = fashion_mnist()
    classifier = Classifier()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.02)
    steps = EPOCHS * (len(images) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)

    start = time.perf_counter()
    for epoch in range(EPOCHS):
        classifier.train()
        for chosen in torch.randperm(len(images))[: steps // EPOCHS * BATCH_SIZE].split(BATCH_SIZE):
            loss = F.cross_entropy(classifier(flipped(scale(images[chosen]))), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}: test accuracy {accuracy(classifier):.2%} after {seconds:.0f} s", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(classifier.state_dict(), out)
    print(f"wrote {out}, {out.stat().st_size / 1e6:.2f} MB")


def flipped(images):
    """Half of the images, at random, mirrored: no kind of garment is left- or right-handed."""
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, images.flip(-1), images)


@torch.no_grad()
def accuracy(classifier):
    images, labels = fashion_mnist(train=False)
    guesses = torch.cat([classifier.eval()(scale(part)).argmax(dim=1) for part in images.split(500)])
    return (guesses == labels).double().mean().item()


if __name__ == "__main__":
    main()
