"""How well `check` deals with answers that were written without a look at its records.

    python scripts/measure_diagnoses.py            the figures
    python scripts/measure_diagnoses.py --all      and every answer with what is said of it, to read

The answers are in tests/classroom/fresh_answers/. What is said counts as general if it only says which values, which
shape or which exception came out; everything else counts as a specific diagnosis.
"""

import re
import runpy
import sys
from pathlib import Path

from course_utils.classroom.exercises import checking

FRESH = Path(__file__).resolve().parent.parent / "tests" / "classroom" / "fresh_answers"


GENERAL = re.compile(r"values are (wrong|NaN)|It raised |[Ii]t is [-\d. ]+, (but|not)|The shape is|It returns ")


def main(show_all):
    for path in sorted(FRESH.glob("*.py")):
        batch = runpy.run_path(str(path))
        wrong = [(name, *answer) for name, answers in batch["WRONG"].items() for answer in answers]
        right = [(name, answer) for name, answers in batch["RIGHT"].items() for answer in answers]
        verdicts = [checking.judge(checking.EXERCISES[name], answer) for name, answer, _ in wrong]
        refused = [verdict.status != checking.RIGHT for verdict in verdicts]
        told = [well and not GENERAL.search(verdict.text) for well, verdict in zip(refused, verdicts, strict=True)]
        accepted = [checking.judge(checking.EXERCISES[name], answer).status == checking.RIGHT for name, answer in right]
        for (name, answer, what), verdict, known in zip(wrong, verdicts, told, strict=True):
            if show_all or verdict.status == checking.RIGHT:
                kind = "ACCEPTED" if verdict.status == checking.RIGHT else "specific" if known else "general"
                print(f"{name} {answer.__name__}\n  wrong:   {what}\n  {kind}: {verdict.text}")
        for (name, answer), well in zip(right, accepted, strict=True):
            if not well:
                print(f"{name} {answer.__name__} is right, but refused")
        print(
            f"{path.stem}: {sum(refused)} of {len(wrong)} wrong answers refused, {sum(told)} diagnosed specifically; ",
            end="",
        )
        print(f"{sum(accepted)} of {len(right)} right ones accepted")


if __name__ == "__main__":
    main("--all" in sys.argv)
