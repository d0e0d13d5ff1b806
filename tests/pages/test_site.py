"""What the site's table of contents holds. (The site itself: tests/pages/website.py, which needs it built.)"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def parts():
    """PARTS of docs/pages.py: {part of the side bar: patterns of pages}. Read, since importing it needs Sphinx."""
    assigned = [
        node for node in ast.parse((ROOT / "docs" / "pages.py").read_text()).body if isinstance(node, ast.Assign)
    ]
    [value] = [node.value for node in assigned if node.targets[0].id == "PARTS"]
    return ast.literal_eval(value)


def pages(patterns):
    return {path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)}


def test_every_notebook_is_in_the_sites_contents():
    notebooks = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert len(notebooks) > 6
    assert pages(parts()["Notebooks"]) == notebooks


def test_every_page_of_text_is_in_the_sites_contents():
    """Every Markdown file that is not GitHub's alone; README.md is the front page."""
    folders = ("", "benchmarks", "data", "workshop")
    found = {path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).glob("*.md")}
    found |= {path.relative_to(ROOT).as_posix() for folder in folders[1:] for path in (ROOT / folder).rglob("*.md")}
    assert {"README.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md"} <= found
    assert found <= set().union(*map(pages, parts().values()))


def test_every_public_module_is_in_the_reference_once():
    """All but course_utils.annotations, whose names are types; exercises is a package, and shown as one page."""
    mathematics = {path.stem for path in (ROOT / "course_utils").glob("[!_]*.py")} - {"annotations"}
    classroom = {path.stem for path in (ROOT / "course_utils" / "classroom").glob("[!_]*.py")} | {"exercises"}
    modules = mathematics | {f"classroom.{name}" for name in classroom}
    listed = re.findall(
        r"^ +~course_utils\.([\w.]+)$", (ROOT / "docs" / "reference.rst").read_text(), flags=re.MULTILINE
    )
    assert sorted(listed) == sorted(modules)
