"""Every notebook from top to bottom with its exercises answered, first wrongly and then rightly, as learners do.

What nbval runs is the notebook as it is given out, with nothing attempted, and so with the finished versions. A wrong
answer must get these, too, and then the pass would be the same: so each exercise gets a typical mistake first, then a
right answer in another style than the finished version, with which the notebook goes on. To save time, this pass loads
the shipped weights and leaves out the cells tagged `lab`.
"""

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ANSWER = """
assert check("{name}", EXERCISES["{name}"].mistakes[0].attempt) is EXERCISES["{name}"].finished
{target} = check("{name}", ANSWERS["{name}"][0])
"""
SAID = "not right yet.", "right."  # in this order
PREPARE = """
import importlib, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from course_utils.classroom.exercises import checking
from course_utils.classroom.exercises.checking import EXERCISES
checking.PROGRESS = Path({progress!r})
ANSWERS = {{}}
for path in Path({tests!r}).glob("right_answers/*.py"):
    ANSWERS |= importlib.import_module(f"right_answers.{{path.stem}}").ANSWERS
"""


def checks(source):
    """What an exercise cell assigns: [(name in the notebook, name of the exercise)]."""
    calls = [
        node for node in ast.parse(source).body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    ]
    made = [node for node in calls if getattr(node.value.func, "id", "") == "check"]
    return [(node.targets[0].id, node.value.args[0].value) for node in made]


def answered(notebook):
    """The notebook with its exercises answered, without labs, with the shipped weights."""
    cells = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "lab" in tags:
            continue
        if "exercise" in tags:
            cell.source = "".join(ANSWER.format(name=name, target=target) for target, name in checks(cell.source))
        cell.source = cell.source.replace("train_minutes = 3 ", "train_minutes = 0 ")
        cells.append(cell)
    notebook.cells = cells
    return notebook


def run(path, folder):
    """Run one notebook in a process of its own; returns it as it was run."""
    notebook, file = answered(nbformat.read(path, as_version=4)), folder / path.name
    prepare = PREPARE.format(tests=str(ROOT / "tests" / "classroom"), progress=str(folder / "progress.json"))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(prepare))
    nbformat.write(notebook, file)
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(file)]
    with tempfile.TemporaryDirectory(prefix="kernel") as sockets:
        done = subprocess.run(command + on_its_own_sockets(sockets), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return nbformat.read(file, as_version=4)


def on_its_own_sockets(folder):
    """Options that have a kernel listen in a folder: two that start at once can be given the same TCP port."""
    return ["--KernelManager.transport=ipc", f"--KernelManager.ip={folder}/socket"] if os.name == "posix" else []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS[::-1], ids=lambda path: path.stem)  # the later ones take longer
def test_notebook_runs_to_the_end(tmp_path, path):
    for cell in run(path, tmp_path).cells:
        if cell.cell_type != "code":
            continue
        shown = [output.data.get("text/plain", "") for output in cell.outputs if output.output_type == "display_data"]
        for _, name in checks(cell.source):
            said = [text for text in shown if text.startswith(f"{name}: ")]
            assert len(said) == 2, shown
            assert all(text.startswith(f"{name}: {verdict}") for text, verdict in zip(said, SAID, strict=True)), said
