"""Bring the minutes that the rule of workshop_minutes.py gives to every place that states them.

    python scripts/stamp_minutes.py

Those places are the README's table, the table in notebook 00, each notebook's own, and the workshop's page for each
notebook. The time to read counts words and code cells; the time for all of it counts guesses, exercises, sliders and
the quiz as well. Both are to five minutes. Running times are measured, and stay as they are.
"""

import re
from functools import cache
from pathlib import Path

import nbformat
from workshop_minutes import NOTEBOOKS, ROOT, running_minutes, sections

PAGES = {number: ROOT / "workshop" / "notebooks" / f"{number}.md" for number in NOTEBOOKS}


def to_five(minutes):
    return 5 * round(minutes / 5)


@cache
def parts(number):
    return sections(number).values()


def reading(number):
    return to_five(sum(part.words / 150 + part.code_cells / 2 for part in parts(number)))


def all_of_it(number):
    return to_five(sum(part.minutes() for part in parts(number)))


def in_table(text, folder):
    """A table's rows, which end in the two times: the link to each notebook says which times."""
    for number, path in NOTEBOOKS.items():
        times = f"| {reading(number)} min | {all_of_it(number)} min |"
        text = re.sub(rf"(\]\({folder}{path.name}\) .*?)\| \d+ min \| \d+ min \|", rf"\g<1>{times}", text)
    return text


def in_notebook(text, number):
    stated = f"about {reading(number)} minutes, {all_of_it(number)} with the exercises"
    return re.sub(r"(\| \*\*Reading\*\* \| ).* \|", rf"\g<1>{stated} |", text)


def in_page(text, number):
    everything = to_five(sum(part.minutes() for part in parts(number)) + running_minutes(number))
    exercises = to_five(sum(part.minutes() - part.minutes([]) for part in parts(number)))
    stated = f"about {everything} minutes with everything, {exercises} of them for exercises"
    return re.sub(r"about \d+ minutes with everything, \d+ of them for exercises", stated, text)


def stamped(path):
    """What a file should hold, as text."""
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        notebook = nbformat.reads(text, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = in_notebook(in_table(cell.source, ""), path.name[:2])
        return nbformat.writes(notebook) + "\n"
    if path in PAGES.values():
        return in_page(text, path.stem)
    return in_table(text, "notebooks/")


def main():
    for path in [ROOT / "README.md", *NOTEBOOKS.values(), *PAGES.values()]:
        text = stamped(path)
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"stamped {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
