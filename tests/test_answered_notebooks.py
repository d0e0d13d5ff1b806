"""Every notebook from top to bottom with all exercises solved, and with all of them answered wrongly.

What nbval runs is the notebook as it is given out, with nothing attempted. Here the cells tagged `exercise` are
answered: by a right answer in another style than the finished version, or by a typical mistake. To save time, these
passes load the shipped weights and leave out the cells tagged `lab`, and two notebooks run at a time, on one thread
each.
"""

import ast
import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from course_utils.exercises.checking import EXERCISES

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ANSWERED = {
    "solved": 'ANSWERS["{name}"][0]',
    "wrong": 'EXERCISES["{name}"].mistakes[0].attempt',
}
SAYS = {"solved": "right. The notebook goes on with your version.", "wrong": "not right yet."}
PREPARE = """
import importlib, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from course_utils.exercises import checking
from course_utils.exercises.checking import EXERCISES
checking.PROGRESS = Path({progress!r})
ANSWERS = {{}}
for module in ("forward", "schedule", "unet", "training", "sampling"):
    ANSWERS |= importlib.import_module(f"right_answers.{{module}}").ANSWERS
"""


def checks(source):
    """What an exercise cell assigns: [(name in the notebook, name of the exercise)]."""
    return [
        (node.targets[0].id, node.value.args[0].value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and getattr(node.value, "func", None) and node.value.func.id == "check"
    ]


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
    """Run one notebook; returns it, or the exception that stopped it."""
    notebook = answered(nbformat.read(path, as_version=4), how)
    progress = folder / f"{path.stem}_{how}.json"
    notebook.cells.insert(
        0, nbformat.v4.new_code_cell(PREPARE.format(tests=str(ROOT / "tests"), progress=str(progress)))
    )
    try:
        NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    except Exception as error:
        return error
    return notebook


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, threads = tmp_path_factory.mktemp("answered"), os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernels inherit it
    try:
        with ThreadPoolExecutor(2) as pool:
            longest_first = sorted(((path, how) for path in NOTEBOOKS for how in ANSWERED), reverse=True)
            waiting = {(path.stem, how): pool.submit(run, path, how, folder) for path, how in longest_first}
            return {key: future.result() for key, future in waiting.items()}
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads


@pytest.mark.slow
@pytest.mark.parametrize("how", ANSWERED)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_to_the_end(runs, path, how):
    result = runs[path.stem, how]
    if isinstance(result, Exception):
        raise result
    for cell in result.cells:
        if cell.cell_type != "code":
            continue
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for _, name in checks(cell.source):
            assert f"{name}: {SAYS[how]}" in printed, printed


def test_answers_come_from_the_files_that_the_exercises_tests_use():
    found = {}
    for module in ("forward", "schedule", "unet", "training", "sampling"):
        found |= importlib.import_module(f"right_answers.{module}").ANSWERS
    assert set(found) == set(EXERCISES)
