"""The figures' descriptions in words, in a file for each notebook, and drawings that only one notebook needs."""

import re
import tomllib
from functools import cache
from pathlib import Path


def words(key, **values):
    """The description that goes by a key, such as "01.boot": entry `boot` of 01.toml, with the values put in.

    What doesn't look like a key is a description already, and comes back as it is.
    """
    if not re.fullmatch(r"\d\d\.\w+", key):
        return key
    notebook, name = key.split(".")
    if name not in entries(notebook):
        raise KeyError(
            f"figures/{notebook}.toml has no description called {name}. It has: {', '.join(entries(notebook))}."
        )
    return " ".join(entries(notebook)[name].split()).format(**values)


@cache
def entries(notebook):
    """All descriptions of a notebook, {name: text}."""
    file = Path(__file__).with_name(f"{notebook}.toml")
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
