"""The repository's address is the same everywhere, and the notebooks' first cell fetches the course where need be."""

import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch

ROOT = Path(__file__).parent.parent.parent
stamp_links = SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "stamp_links.py")))
NOTEBOOKS, TEXTS, address = stamp_links.NOTEBOOKS, stamp_links.TEXTS, stamp_links.address

NAME = "diffusion-models-from-scratch"  # the folder that the first cell makes


@pytest.mark.parametrize("path", NOTEBOOKS + TEXTS, ids=lambda path: path.name)
def test_links_are_those_of_pyproject(path):
    assert path.read_text(encoding="utf-8") == stamp_links.stamped(path, address()), "`make links` brings it up to date"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_opens_itself_in_colab(path):
    """The badge is a picture with a text in its place, and links to this very notebook."""
    first = nbformat.read(path, as_version=4).cells[0]
    repository = address().removeprefix("https://github.com/")
    [(alt, target)] = re.findall(r"^\[!\[(.+?)\]\(https://\S+\.svg\)\]\((\S+)\)$", first.source, flags=re.MULTILINE)
    assert alt == "Open in Colab"
    assert target == f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{path.name}"


@pytest.fixture
def fork(tmp_path):
    """A copy of everything that holds the address, and a function that stamps it."""
    for path in [*NOTEBOOKS, *TEXTS, ROOT / "pyproject.toml", ROOT / "scripts" / "stamp_links.py"]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)

    def stamp(*arguments):
        command = [sys.executable, tmp_path / "scripts" / "stamp_links.py", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    return tmp_path, stamp


def test_a_fork_is_stamped_in_one_go_and_back_again(fork):
    folder, stamp = fork
    ours = address().removeprefix("https://github.com/")
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    changed = stamp("some-body/their.course")
    assert len(changed) >= len(NOTEBOOKS) + 2  # at least the README and the citation
    for path, content in before.items():
        if path.name != "stamp_links.py":
            assert ours.encode() not in path.read_bytes(), path
            assert path.read_bytes() == content.replace(ours.encode(), b"some-body/their.course")
    assert stamp("some-body/their.course") == stamp() == []
    assert stamp(ours) == changed
    assert {path: path.read_bytes() for path in before} == before


def test_one_link_that_disagrees_is_put_right(fork):
    folder, stamp = fork
    readme = folder / "README.md"
    right = readme.read_text(encoding="utf-8")
    readme.write_text(right.replace(address().removeprefix("https://github.com/"), "else/where", 1), encoding="utf-8")
    assert stamp() == ["stamped README.md"]
    assert readme.read_text(encoding="utf-8") == right


@pytest.mark.parametrize("repository", ["name", "https://github.com/owner/name", "owner/name/", "ow ner/name", ""])
def test_what_is_no_repository_is_refused(repository):
    with pytest.raises(SystemExit, match="not of the form OWNER/NAME"):
        stamp_links.write_address(repository)


def test_other_links_to_github_stay():
    text = "[data](https://github.com/zalandoresearch/fashion-mnist), `git clone https://github.com/a/b`"
    stamped = "[data](https://github.com/zalandoresearch/fashion-mnist), `git clone https://github.com/c/d`"
    assert stamp_links.stamp_text(text, "https://github.com/c/d") == stamped


def test_a_new_notebook_gets_the_badge_and_the_first_cell():
    cells = [nbformat.v4.new_markdown_cell("# 7. New\n\nText."), nbformat.v4.new_code_cell("")]
    notebook = stamp_links.stamp_notebook(nbformat.v4.new_notebook(cells=cells), "07_new.ipynb", address())
    first = nbformat.read(NOTEBOOKS[0], as_version=4).cells
    assert notebook.cells[0].source.splitlines()[2] == (
        first[0].source.splitlines()[2].replace(NOTEBOOKS[0].name, "07_new.ipynb")
    )
    assert notebook.cells[0].source.endswith("\n\nText.")
    assert notebook.cells[1].source == next(cell for cell in first if cell.cell_type == "code").source


# The first cell


def test_first_cell_is_folded_in_every_notebook():
    for path in NOTEBOOKS:
        first = next(cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        assert first.metadata == stamp_links.FOLDED


@pytest.fixture
def missing(monkeypatch):
    """The packages that seem not to be installed: a set that a test may change."""
    names, find_spec = {"course_utils"}, importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find_spec(name))
    return names


@pytest.fixture
def run_first_cell(missing, tmp_path, monkeypatch):
    """A function that runs the cell in an empty folder, as if there were no course; returns sys.path after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run():
        exec(stamp_links.FIRST_CELL.format(address=address()), {})
        return sys.path

    return run


def redirect(monkeypatch, target):
    """Have git find the course's address somewhere else."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{target}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", address())


@pytest.fixture
def remote(tmp_path_factory):
    """A repository with a course_utils in it: its address."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "course_utils").mkdir()
    (folder / "course_utils" / "__init__.py").touch()
    for command in ("init", "add .", "-c user.name=test -c user.email=test@localhost commit --message=first"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder.as_uri()


def test_first_cell_fetches_the_course_once_and_says_nothing(run_first_cell, remote, monkeypatch, tmp_path, capfd):
    before = list(sys.path)
    redirect(monkeypatch, remote)
    assert run_first_cell() == [*before, str(tmp_path / NAME)]  # last: nothing that was there is hidden
    assert (tmp_path / NAME / "course_utils" / "__init__.py").is_file()
    redirect(monkeypatch, "file:///nowhere")  # after a restart of the kernel it is there, network or not
    monkeypatch.setattr(sys, "path", list(before))
    assert run_first_cell() == [*before, str(tmp_path / NAME)]
    assert capfd.readouterr() == ("", "")


def test_first_cell_takes_the_checkout_around_it(run_first_cell, monkeypatch, tmp_path):
    (tmp_path / "course_utils").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    redirect(monkeypatch, "file:///nowhere")
    assert run_first_cell()[-1] == str(tmp_path)
    assert list((tmp_path / "notebooks").iterdir()) == []


def test_first_cell_without_a_way_to_the_course_says_so(run_first_cell, monkeypatch, tmp_path):
    redirect(monkeypatch, "file:///nowhere")
    with pytest.raises(ModuleNotFoundError, match=f"`git clone .*{address()}.*` failed.*run this cell again"):
        run_first_cell()
    assert list(tmp_path.iterdir()) == []  # so that it can be run again


def test_first_cell_without_git_says_so(run_first_cell, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ModuleNotFoundError, match=r"`git clone .*` failed. With git and a network, run this cell again"
    ):
        run_first_cell()


@pytest.fixture
def pip(monkeypatch):
    """The commands by which the cell calls pip, which does not run; the test may have it fail."""
    calls, run = SimpleNamespace(commands=[], returncode=0), subprocess.run

    def instead(command, **options):
        if "pip" not in command:
            return run(command, **options)
        calls.commands.append(command)
        return SimpleNamespace(returncode=calls.returncode, stderr="no network")

    monkeypatch.setattr(subprocess, "run", instead)
    return calls


def test_first_cell_adds_only_the_packages_that_are_missing_and_nothing_with_them(
    run_first_cell, missing, pip, remote, monkeypatch
):
    redirect(monkeypatch, remote)
    missing |= {"jaxtyping", "wadler_lindig"}
    run_first_cell()
    [command] = pip.commands
    assert command[1:] == ["-m", "pip", "install", "--quiet", "--no-deps", "jaxtyping", "wadler_lindig"]


def test_first_cell_that_cannot_add_a_package_says_so_and_can_run_again(
    run_first_cell, missing, pip, remote, monkeypatch
):
    redirect(monkeypatch, remote)
    missing.add("beartype")
    pip.returncode = 1
    with pytest.raises(ModuleNotFoundError, match=r"(?s)needs beartype.*no network"):
        run_first_cell()
    pip.returncode = 0
    run_first_cell()
    assert len(pip.commands) == 2


def test_first_cell_does_nothing_where_the_course_is_installed(
    run_first_cell, missing, pip, monkeypatch, tmp_path, capfd
):
    missing |= {"jaxtyping", "beartype"}  # of an installed course the environment is somebody else's business
    missing.remove("course_utils")
    before, environ = list(sys.path), dict(os.environ)
    assert run_first_cell() == before
    assert dict(os.environ) == environ
    assert list(tmp_path.iterdir()) == []
    assert pip.commands == []
    assert capfd.readouterr() == ("", "")


def test_first_cell_seeds_the_random_numbers(run_first_cell, missing):
    missing.clear()
    run_first_cell()
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
