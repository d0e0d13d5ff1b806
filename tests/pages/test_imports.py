"""What an import costs: the mathematics needs torch, and nothing that draws, downloads or talks to a notebook."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"torchvision", "matplotlib", "ipywidgets", "IPython", "pandas", "diffusers"}
NEEDS = {
    "annotations": set(),
    "schedule": set(),
    "forward": set(),
    "predictions": set(),
    "unet": set(),
    "sampling": set(),
    "guidance": set(),
    "solvers": set(),
    "text": set(),
    "editing": set(),
    "interop": set(),
    "mixture": set(),
    "device": set(),
    "training": set(),
    "checkpoints": set(),
    "evaluation": set(),
    "data": set(),
    "pictures": set(),
    "classroom.doctor": set(),
    "classroom.plotting": {"matplotlib"},
}


@pytest.mark.parametrize("module", NEEDS)
def test_import_brings_no_more_than_it_needs(module):
    code = f"import sys, course_utils.{module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - NEEDS[module] == set()


def test_every_module_of_the_mathematics_is_listed():
    modules = {path.stem for path in (ROOT / "course_utils").glob("[!_]*.py")}
    assert modules == {name for name in NEEDS if "." not in name}
