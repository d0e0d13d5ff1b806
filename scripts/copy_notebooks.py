"""Copy the notebooks to my_work/, unless there is a copy already: yours are never overwritten.

python scripts/copy_notebooks.py
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    copies = ROOT / "my_work"
    copies.mkdir(exist_ok=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if not (copies / notebook.name).exists():
            shutil.copyfile(notebook, copies / notebook.name)


if __name__ == "__main__":
    main()
