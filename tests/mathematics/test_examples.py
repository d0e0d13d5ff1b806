"""The examples, as they are started from a terminal, for a few steps."""

import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from course_utils.checkpoints import read_checkpoint, save_checkpoint
from course_utils.text import TextEncoder
from course_utils.unet import UNet

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


@pytest.mark.slow
def test_a_folder_of_pictures_is_shown_and_trained_on(tmp_path):
    for kind in ("red", "blue"):
        (tmp_path / "my pictures" / kind).mkdir(parents=True)
        for width in (20, 30, 40):
            Image.new("RGB", (width, 30), kind).save(tmp_path / "my pictures" / kind / f"{width}.png")
    said = run("own_pictures.py", tmp_path / "my pictures", "--size", "8", "--steps", "3", "--out", tmp_path / "new")
    assert "6 pictures in" in said
    assert "step 3 of 3" in said
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"data.png", "samples.png", "run.safetensors"}
    with Image.open(tmp_path / "new" / "data.png") as sheet:  # by name: blue, blue, blue, red, red, red
        assert [sheet.convert("RGB").getpixel((20 * n + 8, 8)) for n in (0, 5)] == [(0, 0, 255), (255, 0, 0)]


@pytest.mark.slow
def test_words_are_drawn_and_unknown_ones_are_named(tmp_path):
    encoder = TextEncoder(["red heart", "blue heart", "cat"], ["twemoji", "noto"], 32, tokens=True)
    save_checkpoint(tmp_path / "text.safetensors", UNet(3, base_channels=8, condition=encoder))
    texts, options = ["blue heart", "a cat"], ["--artist", "noto", "--steps", "3"]
    files = ["--weights", tmp_path / "text.safetensors", "--out", tmp_path / "new" / "drawn.png"]
    said = run("text_to_image.py", *texts, *options, *files)
    assert said.splitlines()[0].endswith("ignores them: a")
    with Image.open(tmp_path / "new" / "drawn.png") as sheet:
        assert sheet.size == (4 * (4 * 34 - 2), 4 * (2 * 34 - 2))


@pytest.mark.slow
def test_two_machines_train_one_network_and_each_draws_its_share(tmp_path):
    """Both of them are this one; each runs a process. test_data_and_processes.py compares what they learn."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = ["--main_process_ip", "127.0.0.1", "--main_process_port", str(free.getsockname()[1])]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "2"]
    command += ["--num_processes", "2", *address]
    example = [EXAMPLES / "several_gpus.py", "--steps", "3", "--batch-size", "8", "--out", tmp_path]
    options = dict(env=os.environ | {"ACCELERATE_USE_CPU": "true"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    machines = [
        subprocess.Popen([*command, "--machine_rank", rank, *example], text=True, **options) for rank in ("0", "1")
    ]
    try:
        said = [machine.communicate(timeout=600)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert "process 1 of 2 computes on cpu" in said[0]
    assert "process 2 of 2 computes on cpu" in said[1]
    assert [f"wrote {tmp_path / 'samples.png'}" in text for text in said] == [True, False]
    assert len(read_checkpoint(tmp_path / "run.safetensors")[0]["history"]) == 3


@pytest.mark.slow
def test_diffusers_draws_with_our_network_what_we_do(tmp_path):
    said = run("to_diffusers.py", "--steps", "5", "--out", tmp_path)
    assert float(re.search(r"largest difference .*: (\S+)", said)[1]) < 1e-4
    assert {"model_index.json", "unet", "scheduler", "samples.png"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example_has_at_most_sixty_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
