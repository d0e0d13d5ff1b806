"""How many minutes the blocks of an agenda need, by a rule that counts what is in the notebooks.

    python scripts/workshop_minutes.py workshop/half_day.md      for each block: what it needs, and what it has
    python scripts/workshop_minutes.py                           for each section of the notebooks: what it needs

The rule:

    telling     150 words a minute, and half a minute for each code cell (the README's rule for reading)
    predicting  1 minute for each "Predict": a guess, hands up
    exercises   4 minutes, and 1 more for each line of the finished version after the first
    sliders     2 minutes for each widget
    quiz        1 minute for each question
    breaking    5 minutes for a "Break it"
    running     the README's time for the whole notebook, without the training where `train_minutes = 0`

tests/pages/test_workshop.py makes sure that no block of an agenda has less than it needs.
"""

import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from course_utils.classroom.exercises.checking import EXERCISES, source

ROOT = Path(__file__).resolve().parent.parent
QUIZZES = ROOT / "course_utils" / "classroom" / "quizzes"
NOTEBOOKS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
TOP = "Top"  # what comes before the first second-level heading
TRAINING = 3.0  # minutes of notebook 04


# The notebooks


@dataclass
class Section:
    words: int = 0
    code_cells: int = 0
    predictions: int = 0
    widgets: int = 0
    questions: int = 0
    labs: int = 0
    exercises: list = field(default_factory=list)

    def minutes(self, exercises=None):
        """With the exercises named, or with all of them."""
        wanted = self.exercises if exercises is None else [name for name in self.exercises if name in exercises]
        told = self.words / 150 + self.code_cells / 2
        extra = self.predictions + 2 * self.widgets + self.questions + 5 * self.labs
        return told + extra + sum(map(exercise_minutes, wanted))


def sections(number):
    """{heading: Section} of a notebook."""
    notebook, found, name = nbformat.read(NOTEBOOKS[number], as_version=4), {}, TOP
    for cell in notebook.cells:
        headings = re.findall(r"^#{2,} (.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        name = headings[0] if headings else name
        section = found.setdefault(name, Section())
        if cell.cell_type == "markdown":
            section.words += len(cell.source.split())
            section.predictions += cell.source.count("**Predict")
            section.labs += cell.source.startswith("## Break it")
        else:
            section.code_cells += 1
            section.widgets += "from course_utils.classroom.widgets import" in cell.source
            section.exercises += re.findall(r' = check\("([\w.]+)"', cell.source)
            section.questions += sum(map(questions, re.findall(r'^show_quiz\("(\w+)"\)', cell.source, re.MULTILINE)))
    return found


def questions(stem):
    return len(tomllib.loads((QUIZZES / f"{stem}.toml").read_text("utf-8"))["question"])


def exercise_minutes(name):
    lines = [line for line in source(EXERCISES[name].finished).splitlines() if line.strip()]
    return 4 + len(lines) - 1


def running_minutes(number):
    """The README's figure for a notebook."""
    [row] = [line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if f"(notebooks/{number}_" in line]
    time = row.split("|")[5]
    minutes, seconds = (re.search(rf"(\d+) {unit}\b", time) for unit in ("min", "s"))
    return (int(minutes[1]) if minutes else 0) + (int(seconds[1]) if seconds else 0) / 60


# The agendas


@dataclass
class Block:
    """A block of an agenda: begin and end in minutes after midnight, {number of a notebook: headings}, exercises."""

    title: str
    begin: int
    end: int
    text: str
    chosen: dict
    exercises: list
    no_training: bool

    @property
    def has(self):
        return self.end - self.begin

    @property
    def needs(self):
        total = 0.0
        for number, headings in self.chosen.items():
            found = sections(number)
            total += sum(found[heading].minutes(self.exercises) for heading in headings)
            total += running_minutes(number) - (TRAINING if number == "04" and self.no_training else 0)
        return total


BLOCK = re.compile(r"^## (\d\d):(\d\d) to (\d\d):(\d\d), (.+)$", re.MULTILINE)


def blocks(agenda):
    """The blocks of an agenda: headings such as "## 09:00 to 09:20, Welcome", and the lists below them."""
    found, text = [], Path(agenda).read_text("utf-8")
    starts = list(BLOCK.finditer(text))
    for match, after in zip(starts, [*starts[1:], None], strict=True):
        hours = list(map(int, match.groups()[:4]))
        body = text[
            match.end() : after.start() if after else re.compile(r"^## |\Z", re.M).search(text, match.end()).start()
        ]
        lines = {key: value for key, value in re.findall(r"^- \*\*(.+?):?\*\*:? (.+(?:\n  .+)*)", body, re.MULTILINE)}
        chosen = {}
        for key, value in lines.items():
            if linked := re.fullmatch(r"\[(\d\d)\]\(.+\)", key.rstrip(":")):
                chosen[linked[1]] = re.findall(r"\*([^*]+)\*", " ".join(value.split()))
        exercises = re.findall(r"`([a-z]+\.\w+)`", lines.get("Exercises", ""))
        found.append(
            Block(
                title=match[5],
                begin=60 * hours[0] + hours[1],
                end=60 * hours[2] + hours[3],
                text=body,
                chosen=chosen,
                exercises=exercises,
                no_training="train_minutes = 0" in lines.get("Training", ""),
            )
        )
    return found


def main(agenda=None):
    if agenda is None:
        for number in NOTEBOOKS:
            print(f"{number}, running {running_minutes(number):.1f}")
            for heading, section in sections(number).items():
                print(f"  {section.minutes([]):5.1f}  {heading}", end="")
                print("".join(f", {name} {exercise_minutes(name)}" for name in section.exercises))
        return
    print("needs  has")
    for block in blocks(agenda):
        print(f"{block.needs:5.1f}  {block.has:3}  {block.title}")


if __name__ == "__main__":
    main(*sys.argv[1:])
