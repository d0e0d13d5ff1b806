"""Print the pip part of an environment.yml, as the requirements file that conda makes from it.

python scripts/pip_part.py environment.yml
"""

import sys
from pathlib import Path

import yaml


def pip_part(path):
    """The lines below `- pip:`."""
    dependencies = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["dependencies"]
    [part] = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    return part


if __name__ == "__main__":
    print(*pip_part(sys.argv[1]), sep="\n")
