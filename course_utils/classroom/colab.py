"""What the first cell of a notebook does where the course is not installed, as in Colab."""

import importlib.util
import subprocess
import sys

NEEDED = ("jaxtyping", "beartype", "wadler_lindig")  # pure Python; everything else stays as it is


def add_packages():
    """Install the packages that are missing, without what they depend on: torch stays as Colab ships it."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *missing], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise ModuleNotFoundError(
                f"The course needs {', '.join(missing)}, and pip could not install them:\n{done.stderr}"
                "With a network, run this cell again. On your own computer, open the course with `make lab`."
            )
