"""Answers that were written without a look at the records: wrong ones are refused, and right ones are not.

How many of them are diagnosed specifically, `scripts/measure_diagnoses.py` counts.
"""

import runpy
from pathlib import Path

import pytest

from course_utils.classroom.exercises import checking
from course_utils.classroom.exercises.checking import EXERCISES, RIGHT, judge

BATCHES = [runpy.run_path(str(path)) for path in sorted((Path(__file__).parent / "fresh_answers").glob("*.py"))]


@pytest.mark.parametrize("name", sorted(set().union(*(batch["WRONG"] for batch in BATCHES))))
def test_wrong_ones_are_refused_and_right_ones_accepted(name, monkeypatch):
    monkeypatch.setattr(checking, "specifically", lambda *everything: None)  # which takes a second for each answer
    for batch in BATCHES:
        for answer, what in batch["WRONG"].get(name, []):
            assert judge(EXERCISES[name], answer).status != RIGHT, (answer, what)
        for answer in batch["RIGHT"].get(name, []):
            verdict = judge(EXERCISES[name], answer)
            assert verdict.status == RIGHT, (answer, verdict.text)
