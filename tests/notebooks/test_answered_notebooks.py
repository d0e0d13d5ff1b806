"""Every notebook from top to bottom with all exercises solved, and with all of them answered wrongly.

What nbval runs is the notebook as it is given out, with nothing attempted. Here the cells tagged `exercise` are
answered: by a right answer in another style than the finished version, or by a typical mistake. To save time, these
passes load the shipped weights and leave out the cells tagged `lab`.
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
ANSWERED = {
    "solved": 'ANSWERS["{name}"][0]',
    "wrong": 'EXERCISES["{name}"].mistakes[0].attempt',
}
SAYS = {"solved": "right.", "wrong": "not right yet."}
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


def answered(notebook, how):
    """The notebook with its exercises answered, without labs, with the shipped weights."""
    cells = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "lab" in tags:
            continue
        if "exercise" in tags:
            answer = ANSWERED[how]
            cell.source = "\n".join(
                f'{target} = check("{name}", {answer.format(name=name)})' for target, name in checks(cell.source)
            )
        cell.source = cell.source.replace("train_minutes = 3 ", "train_minutes = 0 ")
        cells.append(cell)
    notebook.cells = cells
    return notebook


def run(path, how, folder):
    """Run one notebook in a process of its own; returns it as it was run."""
    notebook, file = answered(nbformat.read(path, as_version=4), how), folder / path.name
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
@pytest.mark.parametrize("how", ANSWERED)
@pytest.mark.parametrize("path", NOTEBOOKS[::-1], ids=lambda path: path.stem)  # the later ones take longer
def test_notebook_runs_to_the_end(tmp_path, path, how):
    for cell in run(path, how, tmp_path).cells:
        if cell.cell_type != "code":
            continue
        shown = [output.data.get("text/plain", "") for output in cell.outputs if output.output_type == "display_data"]
        for _, name in checks(cell.source):
            assert any(text.startswith(f"{name}: {SAYS[how]}") for text in shown), shown
