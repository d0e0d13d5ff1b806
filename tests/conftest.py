import os
import shutil

import pytest
import torch

from course_utils.schedule import cosine_schedule, linear_schedule
from course_utils.unet import UNet

# They fork, kill, limit and ask for the peak of memory, in ways that Windows does not have.
collect_ignore = ["mathematics/test_benchmarks.py", "mathematics/test_survival.py"] if os.name == "nt" else []


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium. Only the three files of tests/pages that drive a browser want one."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "There is no Chromium: install Debian's with `apt-get install chromium`."
    return path


@pytest.fixture(scope="session")
def browser(chromium):
    from playwright.sync_api import sync_playwright  # an extra, which the other tests do without

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(params=[linear_schedule, cosine_schedule], ids=["linear", "cosine"])
def schedule(request):
    """Each of the two schedules with 1000 steps."""
    return request.param()


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def make_unet():
    """A function that builds a small UNet whose weights are all random, so that no zero at the start hides anything."""

    def make(seed=0, **config):
        generator = torch.Generator().manual_seed(seed)
        model = UNet(**(dict(base_channels=8, multipliers=(1, 2)) | config))
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.2, generator=generator)
        return model

    return make
