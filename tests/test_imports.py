"""What an import costs: the mathematics needs torch, and nothing that draws, downloads or talks to a notebook."""

import subprocess
import sys

import pytest

HEAVY = {"torchvision", "matplotlib", "ipywidgets", "IPython", "pandas", "diffusers"}
NEEDS = {
    "schedule": set(),
    "forward": set(),
    "unet": set(),
    "sampling": set(),
    "mixture": set(),
    "device": set(),
    "doctor": set(),
    "training": set(),
    "evaluation": set(),
    "data": set(),
    "plotting": {"matplotlib"},
}


@pytest.mark.parametrize("module", NEEDS)
def test_import_brings_no_more_than_it_needs(module):
    code = f"import sys, course_utils.{module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - NEEDS[module] == set()
