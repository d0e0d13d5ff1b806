"""Copy the notebooks to my_work/, without their outputs, so that a learner's guess is a guess.

python scripts/copy_notebooks.py

A notebook that is in my_work/ already is yours, and is never overwritten.
"""

from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def main():
    copies = ROOT / "my_work"
    copies.mkdir(exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if not (copies / path.name).exists():
            nbformat.write(without_outputs(nbformat.read(path, as_version=4)), copies / path.name)


def without_outputs(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


if __name__ == "__main__":
    main()
