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
# The same cell opens every notebook, so that each one runs from a fresh kernel. Where the course is not installed, as
# in Colab, it fetches the course, into a folder beside the notebook, and three small packages, if they are missing.
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import torch

if importlib.util.find_spec("course_utils") is None:
    address = "{address}"
    course = Path("..") if Path("../course_utils").is_dir() else Path("diffusion-models-from-scratch")
    missing = [name for name in ("jaxtyping", "beartype", "wadler_lindig") if importlib.util.find_spec(name) is None]
    commands = []
    if not course.is_dir():
        commands.append(f"git clone --quiet --depth=1 {{address}} {{course}}")
    if missing:  # only these: torch and everything else stay as they are
        commands.append(f'"{{sys.executable}}" -m pip install --quiet --no-deps {{" ".join(missing)}}')
    for command in commands:
        silent = os.environ | {{"GIT_TERMINAL_PROMPT": "0"}}  # rather fail than ask for a password
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=silent)
        if done.returncode != 0:
            raise ModuleNotFoundError(
                f"This kernel has no course_utils, and it could not be fetched. `{{command}}` says: {{done.stderr}}"
                "With git and a network, run this cell again. Where the course is installed, open it with `make lab`."
            )
    sys.path.append(str(course.resolve()))
torch.manual_seed(0);"""
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
