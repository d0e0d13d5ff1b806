"""The site, made by Sphinx: `make site`.

Its pages are the course's own files, where they lie: the README is the front page, and notebooks, CONTRIBUTING and the
rest follow. Only the reference is made for the site, from the docstrings. So Sphinx's source folder is the repository.

What is made must work from a plain folder without a network. So nothing is fetched from elsewhere: MathJax comes with
the site, and a picture on another server (a badge) gives way to its words.
"""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # course_utils, and pages.py

DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MATHJAX = "tex-svg-full.js"  # SVG, since Firefox loads no fonts from a plain folder; full, since it can't fetch parts

# What is in it

project = "Diffusion models from scratch"
author = "the authors of the course"
version = release = DECLARED["version"]
language = "en-GB"
root_doc = "README"
include_patterns = [
    "*.md",
    "notebooks/*.ipynb",
    "benchmarks/*.md",
    "data/**.md",
    "docs/*.rst",
    "docs/reference/*.rst",
    "workshop/**.md",
]
exclude_patterns = [".*", "my_work", "runs", "build", "tests", "course_utils", "**.ipynb_checkpoints"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "pages",
]

# Notebooks and Markdown

nb_execution_mode = "off"  # they are committed with the outputs of a real run
highlight_language = "text"  # a block says so where it is Python
nb_merge_streams = True
nb_ipywidgets_js = {}  # widgets need a kernel; each stands beside a figure that says the same
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
smartquotes_action = "q"  # two hyphens are an option, not a dash
myst_update_mathjax = False  # mathjax3_config says it

# The reference

default_role = "code"
autosummary_generate = True
add_module_names = False  # each module has a page
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
autodoc_typehints = "none"  # the docstrings give shapes, which say more
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Mathematics

[mathjax] = [path for path in importlib.metadata.files("sphinx-mathjax-offline") if path.name == MATHJAX]
mathjax_path = MATHJAX
mathjax3_config = {
    "tex": {
        "inlineMath": [[r"\(", r"\)"]],
        "displayMath": [[r"\[", r"\]"]],
        "packages": {"[-]": ["noerrors", "noundefined"]},  # a mistake is shown, and found by the tests
    },
    "svg": {"fontCache": "global"},
    "options": {"enableMenu": False},  # it would fetch what it offers
}

# How it looks

html_theme = "furo"
html_title = project
html_static_path = ["static", str(mathjax.locate())]
html_css_files = ["site.css"]
templates_path = [str(ROOT / "docs" / "templates")]
html_use_index = html_domain_indices = False  # the search finds more
html_show_search_summary = False  # it would be fetched, which no browser does from a plain folder
html_copy_source = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"
copybutton_selector = "div.highlight:not(.cell_output *) pre"  # what is to be typed, not what it prints
