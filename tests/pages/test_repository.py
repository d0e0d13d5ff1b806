"""Files that only other programs read: conda's, GitHub's and the citation. What they name is there."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pip_part import pip_part

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# environment.yml


def test_conda_installs_a_python_that_the_course_supports():
    [python] = [entry for entry in read(ROOT / "environment.yml")["dependencies"] if str(entry).startswith("python")]
    version = re.fullmatch(r"python=(3\.\d+)", python)[1]
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.0")


def test_conda_installs_the_course_with_extras_that_there_are():
    [line] = pip_part(ROOT / "environment.yml")
    extras = re.fullmatch(r"--editable \.\[([\w,]+)\]", line)[1]
    assert set(extras.split(",")) == {"dev", "parity"}
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_readme_names_condas_environment():
    assert f"conda activate {read(ROOT / 'environment.yml')['name']}" in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )


# GitHub


def commands(workflow):
    """The lines of all `run` steps."""
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def test_there_are_workflows():
    assert {path.stem for path in WORKFLOWS} == {"test"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_runs_on_every_change_and_every_week(path):
    """YAML reads the key `on` as true."""
    started = read(path)[True]
    assert {"push", "pull_request", "schedule"} <= set(started)
    [weekly] = started["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", weekly["cron"])


def test_workflow_covers_what_the_course_promises():
    jobs = read(WORKFLOWS[0])["jobs"]
    runs = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    assert "make test\n" in runs["everything"] + "\n"
    assert {"macos-latest", "windows-latest"} <= set(jobs["fast"]["strategy"]["matrix"]["os"])
    assert "--resolution lowest-direct" in runs["lowest"]


def test_lowest_versions_are_tested_on_the_lowest_python():
    steps = read(WORKFLOWS[0])["jobs"]["lowest"]["steps"]
    [python] = [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")]
    assert PROJECT["requires-python"] == f">={python}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_names_make_targets_and_extras_that_there_are(path):
    text = "\n".join(commands(read(path)))
    targets = re.findall(r"^([\w/-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"\bmake ([\w-]+)", text)) <= set(targets)
    extras = {extra for found in re.findall(r"\.\[([\w,]+)\]", text) for extra in found.split(",")}
    assert extras
    assert extras <= set(PROJECT["optional-dependencies"])


def test_every_dependency_has_a_lower_bound_and_no_upper():
    """So that the course fits beside what people have, in Colab for one."""
    for line in chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        [bound] = Requirement(line).specifier
        assert bound.operator == ">=", line


# Citation and changelog


def test_citation_and_changelog_have_the_projects_version():
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_citation_has_what_its_format_requires():
    """Of the Citation File Format, version 1.2.0: https://github.com/citation-file-format/citation-file-format."""
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["license"] == "MIT"
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]


# Credit


def test_credit_for_the_emoji_stands_beside_their_picture():
    """The licences ask for it: the line in LICENSES.md, word for word, right below the picture."""
    licences = (ROOT / "data" / "emoji" / "LICENSES.md").read_text(encoding="utf-8")
    [credit] = re.findall(r"^> (Emoji: .+?)\n\n", licences, re.M | re.S)
    words = credit.replace("> ", "").replace("(LICENSES.md)", "(data/emoji/LICENSES.md)").split()
    _, below = (ROOT / "README.md").read_text(encoding="utf-8").split("(data/emoji.png)")
    assert " ".join(words) in " ".join(below.split("\n\n")[1].split())
