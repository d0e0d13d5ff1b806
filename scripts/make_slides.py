"""Make slides of the notebooks, and the hand-out as two pages to print: `make slides`.

    python scripts/make_slides.py [folder]      writes to build/slides, unless another folder is given

Each file holds all it needs: it can be mailed, copied to a USB stick, and opened anywhere without a network.

The slides are the cells that have a slide type (in JupyterLab: the gear on the right, Slide Type):

    Slide, Sub-Slide    begins a slide
    Fragment            appears on the same slide, at the next key press
    Notes               goes into the teacher's notes for the slide
    Skip, and none      is left out

Text that is written to be read is too long for a slide, so a slide shows only the essence of a cell: of text, the
heading, the first paragraph, displayed formulas, and what begins with "Predict", "Exercise" or "Your turn", each with
the list that follows it; of code that draws, the figures and a few printed lines; of an exercise, the empty function;
of other code, all of it (if it is not long) and what it prints. The full text is in the notes.
"""

import base64
import importlib.metadata
import json
import math
import re
import struct
import sys
from html import escape, unescape
from pathlib import Path

import nbformat
from nbconvert.filters.highlight import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HANDOUT = ROOT / "workshop" / "handout.md"
STYLE, SCRIPT = ROOT / "scripts" / "slides.css", ROOT / "scripts" / "slides.js"
BEGINS = {"slide", "subslide"}
TYPES = {*BEGINS, "fragment", "notes", "skip"}
PRINTED = 4  # lines of text that fit below a figure
LONG = 12  # code with more lines than this shows only what it prints
TALL = 1.6  # figures whose width is less than this times their height stand beside the text, not below it
LESS_TALL = 1.9  # the same if there is text above and below, which leaves less room
HALF = 45  # letters of code that fit into a line beside a figure


def mathjax():
    """MathJax in one file, which draws formulas as SVG and so needs no fonts."""
    try:
        files = importlib.metadata.files("sphinx-mathjax-offline")
    except importlib.metadata.PackageNotFoundError:
        sys.exit("The slides need MathJax: run `make slides`, or python -m pip install --editable '.[slides]'")
    [path] = [file for file in files if file.name == "tex-svg.js"]
    return Path(path.locate()).read_text(encoding="utf-8")


# Which cells, and what of them


def slides(notebook):
    """Lists of cells, one for each slide."""
    chosen = []
    for cell in notebook.cells:
        kind = slide_type(cell)
        if kind not in TYPES | {None, "-", ""}:
            raise ValueError(
                f"{kind!r} is not a slide type: {', '.join(sorted(TYPES))}. The cell begins: {cell.source:.60}"
            )
        if kind in BEGINS:
            chosen.append([cell])
        elif kind in {"fragment", "notes"}:
            if not chosen:
                raise ValueError(f"There is no slide yet to put this cell on: {cell.source:.60}")
            chosen[-1].append(cell)
    return chosen


def slide_type(cell):
    return cell.metadata.get("slideshow", {}).get("slide_type")


BLOCK = re.compile(r"\$\$.*?\$\$|```.*?```|<details>.*?</details>|\S(?:(?!\n\s*\n).)*", flags=re.DOTALL)


def blocks(text):
    """Paragraphs, formulas, lists, code and folded parts of a Markdown text, each as written."""
    pieces = [block.strip() for block in BLOCK.findall(text)]
    return [piece for block in pieces if block for piece in with_formulas_apart(block)]


def with_formulas_apart(block):
    """A formula may follow a line of text with no blank line between."""
    if block.startswith(("```", "<details>")):
        return [block]
    return [part.strip() for part in re.split(r"(\$\$.*?\$\$)", block, flags=re.DOTALL) if part.strip()]


ALWAYS = re.compile(r"#|\$\$|\*\*(Exercise|Your turn)|.*\*\*Predict", flags=re.DOTALL)
NEVER_FIRST = re.compile(r"<details>|\[!\[")  # a folded answer, the "Open in Colab" button


def essence(text):
    """What a slide shows of a text cell: a list of blocks."""
    kept, first, before = [], True, ""
    for block in blocks(text):
        wanted = ALWAYS.match(block) or (re.match(r"[-*] |1\. ", block) and before in kept)
        if first and not block.startswith(("#", "$$")) and not NEVER_FIRST.match(block):
            wanted, first = True, False
        if wanted:
            kept.append(block)
        before = block
    return kept


def heading(text):
    """The text of its last heading, or None."""
    found = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return found[-1] if found else None


# To HTML


def to_html(text):
    page = MarkdownWithMath(renderer=IPythonRenderer(escape=False, exclude_anchor_links=True)).render(text)
    page = FORMULA.sub(lambda found: f"<span class='together'>{found[0]}</span>" if found["dot"] else found[0], page)
    return re.sub(r'<a href="(?!https?:)([^"]*)"[^>]*>(.*?)</a>', linked, page, flags=re.DOTALL)


# A formula with the punctuation after it, which must not begin a line; or what has no formulas
FORMULA = re.compile(r"<pre.*?</pre>|<code.*?</code>|\$\$.*?\$\$|\$[^$]+\$(?P<dot>[.,;:!?)]+)?", flags=re.DOTALL)


def linked(match):
    """A link to another notebook leads to its slides; what is not beside the slides becomes plain text."""
    target, words = match.groups()
    if re.fullmatch(r"\d\d_\w+\.ipynb", target):
        return f'<a href="{target.removesuffix(".ipynb")}.html">{words}</a>'
    return words


def code_to_html(source):
    return Highlight2HTML(pygments_lexer="python")(source)


def figures(cell):
    """The figures of a cell, each as (base64 of a PNG, its description, how wide it asks to be shown or None)."""
    pages = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    described = [re.sub(r"<.*?>", "", page.split("</summary>")[1]) for page in pages if "figure in words" in page]
    drawn = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    return [
        (output.data["image/png"].replace("\n", ""), unescape(text), output.metadata.get("image/png", {}).get("width"))
        for output, text in zip(drawn, described, strict=True)
    ]


def printed(cell):
    """What a cell printed, or its value. What a figure parts stands on two lines."""
    texts = [
        output.text.strip("\n").rstrip(" ")
        if output.output_type == "stream"
        else output.get("data", {}).get("text/plain", "")
        for output in cell.get("outputs", [])
        if not {"image/png", "text/html"} & set(output.get("data", {}))
    ]
    return "\n".join(texts).strip()


def shown(cell, letters=None):
    """What a slide shows of a cell, as HTML. The slide itself has the heading. letters: that fit into a line."""
    if cell.cell_type == "markdown":
        return to_html("\n\n".join(block for block in essence(cell.source) if not block.startswith("#")))
    if "exercise" in cell.metadata.get("tags", []):
        return code_to_html(re.sub(r"\n{3,}", "\n\n", cell.source))
    text = printed(cell)
    output = f"<pre class='printed'>{escape(text)}</pre>" if text else ""
    if not figures(cell):
        return (code_to_html(cell.source) if len(cell.source.splitlines()) <= LONG else "") + output
    lines = sum(math.ceil(len(line) / letters) if letters else 1 for line in text.splitlines())
    return "".join(map(figure_to_html, *zip(*figures(cell), strict=True))) + (output if lines <= PRINTED else "")


def figure_to_html(picture, words, stated=None):
    """A figure. A film says how wide it is shown, which is wider than it is stored."""
    width, height = size(picture)
    width, height = (stated, height * stated / width) if stated else (width, height)
    image = f'<img src="data:image/png;base64,{picture}" alt="{escape(words)}">'
    return f'<figure style="aspect-ratio: {width} / {height}; max-width: {2.6 * width:.0f}px">{image}</figure>'


def size(picture):
    """Width and height of a PNG, from its first bytes."""
    return struct.unpack(">II", base64.b64decode(picture[:44])[16:24])


def slide_to_html(cells, section):
    """One slide. `section` is the heading it falls under, shown small if its first cell has none of its own."""
    title = f"<p class='section'>{inline(section)}</p>"
    if cells[0].cell_type == "markdown" and heading(cells[0].source):
        level = 1 if cells[0].source.lstrip().startswith("# ") else 2
        title = f"<h{level}>{inline(section)}</h{level}>"
    projected = [cell for cell in cells if slide_type(cell) != "notes"]
    half = HALF if beside(projected) else None
    parts = [f"<div class='{classes(cell)}'>{shown(cell, half)}</div>" for cell in projected]
    if half:
        at = next(i for i, cell in enumerate(projected) if cell.cell_type == "code" and figures(cell))
        before, after = "".join(parts[:at]), "".join(parts[at + 1 :])
        columns = [f"<div class='words'>{words}</div>" if words else "" for words in (before, after)]
        kind = "beside around" if before and after else "beside"
        parts = [f"<div class='{kind}'>{columns[0]}{parts[at]}{columns[1]}</div>"]
    body = title + "".join(parts) + f"<aside class='notes'>{notes(cells)}</aside>"
    return f"<section aria-label='{escape(re.sub(r'[$`*]', '', section), quote=True)}'>{body}</section>"


def classes(cell):
    return "part fragment" if slide_type(cell) == "fragment" else "part"


def beside(cells):
    """Whether one cell of a slide draws, there are words too, and its figures are tall."""
    drawn = [i for i, cell in enumerate(cells) if cell.cell_type == "code" and figures(cell)]
    if len(drawn) != 1 or len(cells) == 1:
        return False
    sizes = [size(picture) for picture, _, _ in figures(cells[drawn[0]])]
    tall = LESS_TALL if 0 < drawn[0] < len(cells) - 1 else TALL
    return tall * sum(height / width for width, height in sizes) > 1


def notes(cells):
    """For the teacher: the full text of each text cell, whether the slide shows part of it or nothing."""
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    return "".join(to_html("\n\n".join(block for block in blocks(text) if "![" not in block)) for text in texts)


def inline(text):
    return re.search(r"<h1[^>]*>(.*?)</h1>", to_html(f"# {text}"), flags=re.DOTALL)[1]  # "1. Title" alone is a list


def deck(notebook, mathjax):
    """The slides of a notebook, as one page of HTML."""
    title, section, place, pages = heading(notebook.cells[0].source), "", {}, []
    for cell in notebook.cells:
        section = (heading(cell.source) or section) if cell.cell_type == "markdown" else section
        place[id(cell)] = section
    for cells in slides(notebook):
        pages.append(slide_to_html(cells, place[id(cells[0])]))
    body = f"<main>{''.join(pages)}</main><p id='place' aria-live='polite'></p>"
    return page(title, body + f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>", mathjax, "deck")


def handout(text, mathjax):
    """The hand-out: a line of `---` begins its second page."""
    sheets = [f"<article>{to_html(sheet)}</article>" for sheet in re.split(r"^---$", text, flags=re.MULTILINE)]
    return page(heading(text.splitlines()[0]), "".join(sheets), mathjax, "sheets")


def index(titles):
    """The page that leads to the others. titles: {name of the file: title}."""
    links = "".join(f"<li><a href='{name}'>{escape(title)}</a></li>" for name, title in titles.items())
    keys = "Arrow keys or space: forward and back. N: the notes, in their own window. F: full screen. Home, End."
    return page("Slides", f"<h1>Slides</h1><ul>{links}</ul><p>{keys}</p>", "", "index")


MATHJAX_SETTINGS = {
    "tex": {"inlineMath": [["$", "$"]], "displayMath": [["$$", "$$"]], "processEscapes": True},
    "svg": {"fontCache": "local", "scale": 0.88},  # so that a formula can be copied to the notes window
    "options": {"enableMenu": False},
}


def page(title, body, mathjax, kind):
    style = STYLE.read_text(encoding="utf-8") + HtmlFormatter(style="friendly").get_style_defs(".highlight")
    settings = f"MathJax = {json.dumps(MATHJAX_SETTINGS)};" if mathjax else ""
    return (
        f'<!DOCTYPE html><html lang="en-GB"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f'<body class="{kind}">{body}<script>{settings}</script><script>{mathjax}</script></body></html>\n'
    )


def main(folder=ROOT / "build" / "slides"):
    folder.mkdir(parents=True, exist_ok=True)
    script, titles = mathjax(), {}
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        (folder / f"{path.stem}.html").write_text(deck(notebook, script), encoding="utf-8")
        titles[f"{path.stem}.html"] = heading(notebook.cells[0].source)
    (folder / "handout.html").write_text(handout(HANDOUT.read_text(encoding="utf-8"), script), encoding="utf-8")
    titles["handout.html"] = "The hand-out, two pages to print"
    (folder / "index.html").write_text(index(titles), encoding="utf-8")
    print(f"{folder}: {', '.join(['index.html', *titles])}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
