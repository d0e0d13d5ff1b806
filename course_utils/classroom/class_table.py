"""The progress of a class, without a server: everybody hands in one line, and the lines become a table.

In a notebook, `hand_in("Ada")` prints a line for the chat or a shared document, such as

    progress | Ada | 00 1 | 01 1o2 | 02 1nnn | 03 nnnn | 04 nnnn | 05 nnnnnnn | 06 nnnnn | 07 nnnnn | 08 nnn | 09 nnnnnn | 10 nnnn | 11 nnnn

with a sign for each exercise, in the order in which `progress()` lists them: 1 to 9, solved on that try (9 also stands
for later ones); o, tried but still open; n, not attempted. Letters and digits only, because chats turn dots, dashes and
quotation marks into other characters.

    python -m course_utils.classroom.class_table lines.txt

prints the table. lines.txt may be a whole chat: only such lines count. Anyone who hands in again, or from several
computers, is listed once, with their best result for each exercise. You can also pass copies of my_work/progress.json,
each named after its owner, as in Ada.json.
"""  # noqa: E501 (the line is handed in as a whole)

import argparse
import json
import re
import sys
from pathlib import Path

from course_utils.classroom.exercises.checking import EXERCISES, read_progress

SIGNS = "123456789on"  # from best to worst
MARK = re.compile(r"\bprogress\s*\|(.*)", flags=re.IGNORECASE)
BY_NOTEBOOK = {}  # {notebook: names of its exercises}
for one in sorted(EXERCISES.values(), key=lambda exercise: exercise.notebook):
    BY_NOTEBOOK.setdefault(one.notebook, []).append(one.name)


def hand_in(name):
    """Print the line to hand in.

    Args:
        name: how you want to be listed.

    Raises:
        TypeError: the name is not text.
        ValueError: it is empty, has more than one line, or contains a "|".
    """
    if not isinstance(name, str):
        raise TypeError(f'hand_in: the name must be text, as in hand_in("Ada"), not {name!r}.')
    if "|" in name or len(name.strip().splitlines()) != 1:
        raise ValueError(f'hand_in: say who you are, in one line without a "|", as in hand_in("Ada"), not {name!r}.')
    print(line(name.strip(), signs(read_progress())))


def signs(kept):
    """{exercise: sign}, from what my_work/progress.json holds."""
    return {name: sign(kept.get(name, {"tries": 0, "right": None})) for name in EXERCISES}


def sign(entry):
    if entry["right"]:
        return str(min(max(entry["tries"], 1), 9))
    return "o" if entry["tries"] else "n"


def line(name, its_signs):
    groups = [f"{notebook} {''.join(its_signs[one] for one in names)}" for notebook, names in BY_NOTEBOOK.items()]
    return " | ".join(["progress", name, *groups])


# Reading what was handed in


def parsed(text):
    """(name, {exercise: sign}) from one line, or None if it is not one. A broken one is a ValueError that says why."""
    found = MARK.search(text)
    if not found:
        return None
    name, *groups = (part.strip() for part in found[1].split("|"))
    if not name:
        raise ValueError("there is no name in it")
    given = dict(re.findall(r"^(\d\d) +(\S.*)$", "\n".join(groups), flags=re.MULTILINE))
    if missing := [notebook for notebook in BY_NOTEBOOK if notebook not in given]:
        raise ValueError(f"{name}: notebook {', '.join(missing)} is missing: was the line cut off, or broken in two?")
    its_signs = {}
    for notebook, names in BY_NOTEBOOK.items():
        row = given[notebook].lower()
        if len(row) != len(names) or set(row) - set(SIGNS):
            wanted = f"{len(names)} signs, each a digit from 1 to 9, o or n"
            raise ValueError(f"{name}: notebook {notebook} has {row!r}, not {wanted}: is it from another version?")
        its_signs |= dict(zip(names, row, strict=True))
    return name, its_signs


def collected(paths):
    """{name: {exercise: sign}} from some files, and a list of what is wrong with them."""
    people, faults = {}, []
    for path in map(Path, paths):
        try:
            entries = [(path.name, owned(path))] if path.suffix == ".json" else numbered(path)
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            faults.append(f"{path.name} can't be read ({type(error).__name__}: {error}).")
            continue
        for place, entry in entries:
            try:
                handed_in = entry if isinstance(entry, tuple) else parsed(entry)
            except ValueError as error:
                faults.append(f"{place}: {error}.")
                continue
            if handed_in:
                name, its_signs = handed_in
                before = people.setdefault(name, its_signs)
                people[name] = {one: min(before[one], its_signs[one], key=SIGNS.index) for one in EXERCISES}
    return people, faults


def numbered(path):
    """(place, line) for each line of a text file, even one that Windows wrote as UTF-16."""
    raw = path.read_bytes()
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    return [(f"{path.name}, line {number}", one) for number, one in enumerate(text.splitlines(), 1)]


def owned(path):
    """(name, {exercise: sign}) from a copy of progress.json that is named after its owner."""
    return path.stem, signs(json.loads(path.read_text("utf-8")))


# The table


def table(people):
    """Lines of text: a row for each person, then how many people solved each exercise."""
    width = max(map(len, people)) + 2
    heads = [f"{notebook:{max(len(names), 2) + 2}}" for notebook, names in BY_NOTEBOOK.items()]
    rows = [f"{'':{width}}{''.join(heads)}solved"]
    for name in sorted(people, key=str.casefold):
        groups = ["".join(people[name][one] for one in names) for names in BY_NOTEBOOK.values()]
        cells = [f"{group:{len(head)}}" for group, head in zip(groups, heads, strict=True)]
        rows.append(f"{name:{width}}{''.join(cells)}{solved(people[name].values())} of {len(EXERCISES)}")
    rows += ["", f"of {len(people)}:" + " " * 27 + "solved  open  not attempted"]
    for name in (one for names in BY_NOTEBOOK.values() for one in names):
        given = [its_signs[name] for its_signs in people.values()]
        rows.append(f"  {EXERCISES[name].notebook} {name:27}{solved(given):7}{given.count('o'):6}{given.count('n'):15}")
    return rows


def solved(its_signs):
    return sum(one.isdigit() for one in its_signs)


def main(arguments=None):
    """The command line. Returns the exit status: 1 if something could not be read, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m course_utils.classroom.class_table", description=__doc__.split("\n")[0]
    )
    parser.add_argument("paths", nargs="+", metavar="file", help="with lines that were handed in, or Ada.json")
    people, faults = collected(parser.parse_args(arguments).paths)
    print("\n".join(table(people) if people else ['There is no line with "progress |" in it.']))
    for fault in faults:
        print(f"Left out: {fault}", file=sys.stderr)
    return int(bool(faults) or not people)


if __name__ == "__main__":
    sys.exit(main())
