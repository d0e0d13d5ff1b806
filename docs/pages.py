"""What Sphinx does not do by itself to the course's pages; see conf.py."""

import base64
import hashlib
import inspect
import json
import re
import shutil
import struct
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).parent.parent

# The parts of the site as the side bar has them: patterns of pages in the repository, in this order.
PARTS = {
    "Notebooks": ["notebooks/*.ipynb"],
    "Workshop": [
        "workshop/README.md",
        "workshop/*_day.md",
        "workshop/two_days.md",
        "workshop/three_days.md",
        "workshop/*.md",
        "workshop/*/*.md",
    ],
    "Package": ["docs/reference.rst"],
    "More": ["benchmarks/README.md", "benchmarks/*.md", "data/README.md", "data/*/*.md", "*.md"],
}


def add_contents(app, docname, source):
    """The README carries the table of contents of the site, in a form that only the side bar shows."""
    if docname != app.config.root_doc:
        return
    for part, patterns in PARTS.items():
        files = [path.relative_to(ROOT) for pattern in patterns for path in sorted(ROOT.glob(pattern))]
        pages = ["/" + path.with_suffix("").as_posix() for path in dict.fromkeys(files)]
        listed = "\n".join(page for page in pages if page != f"/{docname}" and page[1:] in app.project.docnames)
        if listed:
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {part}\n\n{listed}\n```\n"


def fold_first_cell(app, doctree):
    """The cell that opens every notebook is for those who run it."""
    if app.env.docname.startswith("notebooks/"):
        cell = next(node for node in doctree.findall(nodes.container) if "cell" in node["classes"])
        cell["hide_mode"] = None  # MyST-NB would fold it once more
        parent, place = cell.parent, cell.parent.index(cell)
        parent.insert(place + 1, nodes.raw("", "</details>", format="html"))
        parent.insert(
            place, nodes.raw("", "<details><summary>The cell that opens every notebook</summary>", format="html")
        )


def describe_figures(app, doctree):
    """Give each figure of a notebook the alternative text that its output carries, and a film its width."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    outputs = [o for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] for o in cell.get("outputs", [])]
    described = {}  # by the name that MyST-NB gives the file, the hash of the picture; in order, if two are the same
    for output in outputs:
        if "image/png" in output.get("data", {}):
            picture = base64.b64decode("".join(output["data"]["image/png"]))
            said = output["metadata"].get("image/png", {})
            described.setdefault(hashlib.sha256(picture).hexdigest(), []).append(said)
    for image in doctree.findall(nodes.image):
        if Path(image["uri"]).stem in described:
            said = described[Path(image["uri"]).stem].pop(0)
            image["alt"] = said.get("alt", "")
            if "width" in said:
                image["width"] = f"{said['width']}px"


def mark_wide_pictures(app, doctree):
    """A row of pictures, or small print, shrunk to a phone's width shows nothing: site.css has it scroll there.

    A film does not scroll, because all of it moves at the same time.
    """
    for image in doctree.findall(nodes.image):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".png" and path.is_file() and "width" not in image:
            width, height = struct.unpack(">II", path.read_bytes()[16:24])
            image["classes"] += ["wide"] * (width > 2.5 * height or width > 640)


def mark_long_cells(app, doctree):
    """On a phone, a sentence in a table of three columns or more would be a word wide and a screen high."""
    for table in doctree.findall(nodes.tgroup):
        if table["cols"] > 2:
            for cell in table.findall(nodes.entry):
                cell["classes"] += ["long"] * (len(cell.astext()) > 40)


def replace_remote_pictures(app, doctree):
    """A picture on another server would be a hole without a network: show its words. So a badge becomes a button."""
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].startswith(("http:", "https:")):
            if isinstance(image.parent, nodes.reference):
                image.parent["classes"].append("button")
            image.replace_self(nodes.Text(image.get("alt") or image["uri"]))


PUNCTUATION = re.compile(r"[.,;:!?)’”-]+\w*")


def keep_punctuation(app, doctree):
    """No line begins with the comma that follows a formula, nor with the s of its genitive."""
    for formula in list(doctree.findall(nodes.math)):
        parent, place = formula.parent, formula.parent.index(formula)
        after = parent[place + 1] if place + 1 < len(parent) else None
        if isinstance(after, nodes.Text) and (found := PUNCTUATION.match(after)):
            parent[place + 1] = nodes.Text(after[found.end() :])
            parent[place] = nodes.inline("", "", formula, nodes.Text(found[0]), classes=["together"])


UNITS = re.compile(r"(?<=\d) (?=(%|ms|s|min|M|MB|GB|dB)(?!\w))")


def keep_units(app, doctree):
    """No line begins with the unit of the number before it."""
    for text in list(doctree.findall(nodes.Text)):
        if UNITS.search(text) and not isinstance(text.parent, nodes.literal | nodes.FixedTextElement | nodes.math):
            text.parent.replace(text, nodes.Text(UNITS.sub("\N{NO-BREAK SPACE}", text)))


def draw_dashes(app, doctree):
    """In the reference, between an argument and what is said of it."""
    for text in list(doctree.findall(nodes.Text)):
        if text.startswith(" -- "):
            text.parent.replace(text, nodes.Text(text.replace(" -- ", " – ", 1)))


SECTIONS = re.compile(r"^ *(Args|Returns|Yields|Attributes|Raises):$", flags=re.MULTILINE)


def leave_out_details(app, what, name, obj, skip, options):
    """The reference has what a learner meets: what checks its arguments, or is called in a notebook or a program."""
    if skip or what != "module" or not (inspect.isfunction(obj) or inspect.isclass(obj)):
        return None
    called = re.search(rf"(?<!def )(?<![\w.])({obj.__module__.split('.')[-1]}\.)?{name}\(", everything_that_calls())
    checked = hasattr(obj, "__wrapped__") and not inspect.isgeneratorfunction(inspect.unwrap(obj))
    a_kind = is_dataclass(obj) and ".classroom." not in obj.__module__
    return name == "main" or not (called or checked or a_kind or SECTIONS.search(inspect.getdoc(obj) or ""))


def take_literally(app, what, name, obj, options, lines):
    """Docstrings are plain text in which only backticks mean something; other signs of reStructuredText do not."""
    code = "    " if what == "module" else None  # an indented paragraph there; elsewhere Args and the like are indented
    for i, line in enumerate(lines):
        if code and line.startswith(code):
            continue
        parts = line.split("`")
        parts[::2] = [re.sub(r"[*|\\]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
        lines[i] = "`".join(parts)
    if code:
        lines[:] = re.sub(rf"(?<=\n\n)(?={code})", "::\n\n", "\n".join(lines)).split("\n")


@cache
def everything_that_calls():
    notebooks = [json.loads(path.read_text(encoding="utf-8")) for path in ROOT.glob("notebooks/*.ipynb")]
    cells = ["".join(cell["source"]) for notebook in notebooks for cell in notebook["cells"]]
    scripts = [path for folder in ("examples", "scripts", "benchmarks") for path in ROOT.glob(f"{folder}/*.py")]
    return "\n".join(cells + [path.read_text(encoding="utf-8") for path in scripts])


def name_front_page(app, exception):
    """A folder is opened at its index.html. It is the same page as README.html, which all links lead to."""
    if exception is None and app.builder.name == "html":
        shutil.copy(app.outdir / f"{app.config.root_doc}.html", app.outdir / "index.html")


def setup(app):
    app.connect("source-read", add_contents)
    for change in (
        replace_remote_pictures,
        fold_first_cell,
        describe_figures,
        mark_wide_pictures,
        mark_long_cells,
        keep_punctuation,
        keep_units,
        draw_dashes,
    ):
        app.connect("doctree-read", change)
    app.connect("autodoc-skip-member", leave_out_details)
    app.connect("autodoc-process-docstring", take_literally, priority=400)  # before napoleon writes signs of its own
    app.connect("build-finished", name_front_page)
    return {"parallel_read_safe": True}
