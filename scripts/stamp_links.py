"""Copy the repository's public address from pyproject.toml to every other place that needs it.

    python scripts/stamp_links.py               the address as it is in pyproject.toml
    python scripts/stamp_links.py OWNER/NAME    for a fork: writes this address there first

Those places are each notebook's badge and first code cell (a new notebook gets both), and the links in TEXTS. Stamping
twice changes nothing more.
"""

import re
import sys
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CITATION.cff", *sorted((ROOT / "workshop").glob("*.md"))]
GITHUB = "https://github.com/"
# What comes before the repository's OWNER/NAME in a text: other links to GitHub are not ours.
BEFORE = rf"https://colab\.research\.google\.com/github/|git clone {GITHUB}|repository-code: {GITHUB}"

FIRST_CELL = """\
# @title Getting ready: run this first
import importlib.util
import subprocess
import sys
from pathlib import Path

import torch

if importlib.util.find_spec("course_utils") is None:  # as in Colab: fetch the course, and the packages it lacks
    course = Path("..") if Path("../course_utils").is_dir() else Path("diffusion-models-from-scratch")
    clone = f"git clone --quiet --depth=1 {address} {{course}}"
    if not course.is_dir() and subprocess.run(clone, shell=True, stdin=subprocess.DEVNULL).returncode != 0:
        raise ModuleNotFoundError(f"`{{clone}}` failed. With git and a network, run this cell again.")
    sys.path.append(str(course.resolve()))
    from course_utils.classroom.colab import add_packages

    add_packages()
torch.manual_seed(0);"""
# Folded in JupyterLab, in Colab and on the site
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
TITLE = re.compile(rf"\A(# .*)\n\n(?:{re.escape(BADGE)}.*\n\n)?")


def address():
    """The repository's public address, as in pyproject.toml: https://github.com/OWNER/NAME."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


def write_address(repository):
    """Write OWNER/NAME to pyproject.toml."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SystemExit(f"{repository!r} is not of the form OWNER/NAME, as in github.com/OWNER/NAME.")
    path = ROOT / "pyproject.toml"
    text = re.sub(r'(?m)^Repository = ".*?"', f'Repository = "{GITHUB}{repository}"', path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8", newline="\n")


def in_colab(name, address):
    """Where Colab opens a notebook of the repository's main branch."""
    return f"https://colab.research.google.com/github/{address.removeprefix(GITHUB)}/blob/main/notebooks/{name}"


def stamp_notebook(notebook, name, address):
    """Put the badge under the title, and fill the first code cell. Changes the notebook in place, and returns it."""
    title, code = notebook.cells[0], next(cell for cell in notebook.cells if cell.cell_type == "code")
    badge = f"{BADGE}({in_colab(name, address)})"
    title.source = TITLE.sub(lambda found: f"{found[1]}\n\n{badge}\n\n", title.source)
    code.source = FIRST_CELL.format(address=address)
    code.metadata |= FOLDED
    return notebook


def stamp_text(text, address):
    """The text, with our own links pointing to the address."""
    repository = address.removeprefix(GITHUB)
    return re.sub(rf"({BEFORE})[\w.-]+/[\w.-]+", lambda found: f"{found[1]}{repository}", text)


def stamped(path, address):
    """What a file should hold, as text."""
    if path.suffix != ".ipynb":
        return stamp_text(path.read_text(encoding="utf-8"), address)
    notebook = nbformat.read(path, as_version=4)
    return nbformat.writes(stamp_notebook(notebook, path.name, address)) + "\n"


def main(arguments):
    for repository in arguments[:1]:
        write_address(repository)
    for path in NOTEBOOKS + TEXTS:
        text = stamped(path, address())
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"stamped {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
