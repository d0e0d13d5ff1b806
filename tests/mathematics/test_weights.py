"""The weights in data/weights: that they are the course's own, small, and as good as their card says."""

import re
from functools import partial

import pytest
import torch

from course_utils.checkpoints import load_checkpoint, load_unet
from course_utils.data import CLASSES, DATA
from course_utils.evaluation import class_probabilities, quality
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule

UNET = DATA / "weights" / "unet.safetensors"
CARD = (DATA / "weights" / "README.md").read_text()


@pytest.fixture(scope="module")
def samples():
    """300 images, every class in turn, in 20 steps with eta = 1."""
    labels, generator, schedule = torch.arange(300) % 10, torch.Generator().manual_seed(0), cosine_schedule()
    denoise = denoiser(load_unet(UNET), schedule, labels)
    step = partial(ddim_step, eta=1.0)
    return sample(denoise, (300, 1, 28, 28), schedule, step, 20, generator=generator), labels


def test_all_weights_together_are_at_most_8_mb():
    assert sum(path.stat().st_size for path in (DATA / "weights").glob("*.safetensors")) <= 8_000_000


def test_the_card_states_the_configuration_and_the_steps():
    model = load_unet(UNET)
    history = load_checkpoint(UNET, model)
    assert f"{sum(weight.numel() for weight in model.parameters()):,} weights" in CARD
    assert f"{len(history):,} of {len(history):,} steps" in CARD
    assert f"{sum(history[-500:]) / 500:.4f}" in CARD


def test_the_card_states_the_figure_with_its_floor():
    [row] = re.findall(r"^\| DDIM, 50 steps \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", CARD, re.MULTILINE)
    fcd, floor, precision, recall = map(float, row)
    assert fcd > floor > 0
    assert 0 < precision < 1
    assert 0 < recall < 1


@pytest.mark.slow
def test_samples_are_what_was_asked_for(samples):
    images, labels = samples
    probabilities = class_probabilities(images)
    assert (probabilities.argmax(dim=1) == labels).double().mean() > 0.8
    assert (probabilities.max(dim=1).values >= 0.8).double().mean() > 0.7
    assert set(probabilities.argmax(dim=1).tolist()) == set(range(len(CLASSES)))


@pytest.mark.slow
def test_samples_are_near_the_data(samples):
    found = quality(samples[0])
    assert found.fcd < 5 * found.floor
    assert found.precision > 0.6
    assert found.recall > 0.5
