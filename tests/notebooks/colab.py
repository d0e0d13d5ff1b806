"""The notebooks as in Colab, without Colab: `make test-colab`. (Not part of `make test`: it needs an environment.)

The environment holds what Colab ships, as far as the course needs it, but not the course. Each notebook lies alone in
an empty folder. Its first cell fetches the course from its public address, which git is told to find in a repository
made of this checkout as it is, changes that are not committed included; and it adds the packages of ADDED, which pip is
told to find in a folder. The way to any other address is closed. Every cell runs, the training in 04 too.

`make test-colab-short`, which `.ci/run` calls, runs only the notebooks of WHOLE like this, and of the others the first
cell and every import.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import nbformat
import pytest
from test_answered_notebooks import on_its_own_sockets

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
WHOLE = "00", "04", "08"  # the first, the one that trains, and one of part two
REST = [path for path in NOTEBOOKS if not path.stem.startswith(WHOLE)]
ADDED = {"jaxtyping", "beartype", "wadler_lindig"}  # the only packages that may appear
PYTHON = ROOT / "build" / "colab" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def output_of(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """A repository with one commit, this checkout as it is."""
    path = tmp_path_factory.mktemp("repository") / "course.git"
    git = ["git", f"--git-dir={path}", f"--work-tree={ROOT}", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    output_of(*git, "init", "--quiet", "--initial-branch=main")
    output_of(*git, "add", "--all")
    output_of(*git, "commit", "--quiet", "--message=The course")
    return path


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """A folder with the packages that may be added."""
    folder = tmp_path_factory.mktemp("wheels")
    output_of(PYTHON, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *sorted(ADDED))
    return folder


@pytest.fixture(scope="session")
def environ(repository, wheels, tmp_path_factory):
    """The environment of a kernel that believes to be in Colab. Git and pip find what they need on the disk."""
    kernels, closed = tmp_path_factory.mktemp("jupyter"), "http://127.0.0.1:9"
    spec = {
        "argv": [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "as in Colab",
        "language": "python",
    }
    (kernels / "kernels" / "as_in_colab").mkdir(parents=True)
    (kernels / "kernels" / "as_in_colab" / "kernel.json").write_text(json.dumps(spec))
    left_out = {"PYTHONPATH", "VIRTUAL_ENV", "OMP_NUM_THREADS"}  # one notebook at a time, so it may have all cores
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return inherited | {
        "JUPYTER_PATH": str(kernels),
        "COLAB_RELEASE_TAG": "none",
        **{"http_proxy": closed, "https_proxy": closed, "no_proxy": ""},
        **{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": ADDRESS},
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)},
    }


def packages():
    """{name: version} of all that is installed."""
    lines = output_of(PYTHON, "-m", "pip", "freeze", "--all").splitlines()
    return dict(line.replace("-", "_").split("==") for line in lines)


@pytest.fixture
def shipped():
    """What Colab ships: what a notebook before this one added is taken away."""
    output_of(PYTHON, "-m", "pip", "uninstall", "--quiet", "--yes", *sorted(ADDED))
    return packages()


def test_the_environment_does_not_have_the_course(shipped):
    assert not {"diffusion_models_from_scratch", *ADDED} & set(shipped)


def run(path, content, environ):
    """Run the notebook in its folder; returns it as it was run."""
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", path.name]
    command += ["--ExecutePreprocessor.kernel_name=as_in_colab"]
    with tempfile.TemporaryDirectory(prefix="kernel") as sockets:
        command += on_its_own_sockets(sockets)
        done = subprocess.run(command, cwd=content, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return nbformat.read(content / path.name, as_version=4)


def check_run(notebook, name, content, shipped):
    """Every cell ran without a complaint, and nothing was added but the course and the packages of ADDED."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert cells[0].outputs == []
    texts = [output for cell in cells for output in cell.outputs if output.output_type == "stream"]
    assert [output.text for output in texts if output.name == "stderr" or "[problem]" in output.text] == []
    assert sorted(file.name for file in content.iterdir()) == sorted([name, "diffusion-models-from-scratch"])
    after = packages()
    assert set(after) - set(shipped) == ADDED
    assert after.items() >= shipped.items()  # and nothing that was there is gone, or has another version


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.weekly] if path in REST else []) for path in NOTEBOOKS],
)
def test_notebook_runs_alone(path, environ, shipped, tmp_path):
    shutil.copy(path, tmp_path)
    check_run(run(path, tmp_path, environ), path.name, tmp_path, shipped)


def imports_of(cells):
    """Every import in these cells, a line each."""
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    return "\n".join(ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


@pytest.mark.parametrize("path", REST, ids=lambda path: path.stem)
def test_first_cell_and_imports(path, environ, shipped, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    first, *others = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = [first, nbformat.v4.new_code_cell(imports_of(others))]
    nbformat.write(notebook, tmp_path / path.name)
    check_run(run(path, tmp_path, environ), path.name, tmp_path, shipped)
