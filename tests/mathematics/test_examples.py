"""The examples, as they are started from a terminal, for a few steps."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def run(name, *arguments):
    done = subprocess.run([sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion.py", "own_loop.py"])
def test_example_trains_and_draws(name, tmp_path):
    said = run(name, "--steps", "3", "--out", tmp_path / "new")
    assert "step 3 of 3" in said
    picture = tmp_path / "new" / "samples.png"
    assert f"wrote {picture}" in said
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert min(width, height) >= 8 * 28


@pytest.mark.slow
def test_fashion_draws_with_weights_that_were_saved(tmp_path):
    said = run("fashion.py", "--weights", EXAMPLES.parent / "data" / "weights" / "unet.safetensors", "--out", tmp_path)
    assert "step" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example_has_at_most_sixty_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
