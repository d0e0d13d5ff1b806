"""What the benchmarks have written, and what they are made of: short enough for every test run."""

import json
from pathlib import Path

import pytest
import torch

import recipe
import sampler_cost
from course_utils.schedule import cosine_schedule

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def read(name):
    return json.loads((FOLDER / name).read_text())


def test_v_loss_is_the_squared_error_of_v(generator):
    """v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0, for a model that is off by a known amount."""
    schedule, t = cosine_schedule(), torch.tensor([1, 300, 900])
    x_0, noise, error = torch.randn(3, 3, 1, 4, 4, generator=generator, dtype=torch.float64)
    alpha_bar = schedule.alpha_bar[t].reshape(3, 1, 1, 1)
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
    v = alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * x_0
    as_noise = (1 - alpha_bar).sqrt() * x_t + alpha_bar.sqrt() * (v + error)
    found = recipe.v_loss(lambda x_t, t: as_noise, x_0, t, noise, schedule)
    assert abs(found - error.square().mean()) <= 1e-9


def test_prototypes_are_the_unet_without_its_shortcut():
    torch.manual_seed(0)
    plain = recipe.Plain()
    x, t = torch.randn(2, 1, 28, 28), torch.tensor([3, 900])
    assert (plain(x, t) == 0).all()
    assert not any(weight.requires_grad for weight in plain.network.shortcut.parameters())


@pytest.mark.parametrize("sampler", ["DDPM", "DDIM"])
def test_diffusers_visits_the_same_levels_in_the_comparison_of_costs(sampler):
    calls = []

    def network(x, t, labels):
        calls.append(t[0].item())
        return torch.zeros_like(x)

    sampler_cost.of_diffusers(sampler)(network, cosine_schedule(), 5)
    assert calls == [1000, 800, 600, 400, 200]


def test_quality_was_measured_for_all_the_steps_that_notebook_06_names():
    rows = {(row["sampler"], row["steps"]): row for row in read("sampling_quality.json")["rows"]}
    assert {("DDPM", 1000), *(("DDIM", steps) for steps in (1000, 250, 100, 50, 20, 10, 5))} <= set(rows)
    for row in rows.values():
        assert row["floor"] > 0  # beside the FCD, always
        assert 0 < row["fcd"] < 10
