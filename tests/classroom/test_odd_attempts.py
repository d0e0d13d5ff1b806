"""The exercises and the doctor never raise, whatever they are given.

The arguments are hypothesis's: the same in every `make test`, and many others where STRESS is set.
"""

import json
import math
import os
import re

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course_utils.classroom import doctor
from course_utils.classroom.exercises import checking
from course_utils.forward import add_noise
from course_utils.schedule import NoiseSchedule, linear_schedule

STRESS = "STRESS" in os.environ


def some(examples):
    return settings(
        max_examples=examples * (25 if STRESS else 1),
        derandomize=not STRESS,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


class NoRepr:
    def __repr__(self):
        raise RuntimeError("no repr")

    __eq__ = __bool__ = __len__ = __repr__
    __hash__ = None


def stop(*args, **kwargs):
    raise SystemExit


THINGS = [
    None,
    "5",
    b"5",
    True,
    7,
    0.5,
    1j,
    np.ones((2, 3)),
    [0.5] * 10_000,
    {},
    torch.nn.Identity,
    torch.nn.Identity(),
]
THINGS += [NoRepr(), NoRepr, math.nan, math.inf, 10**400, [[]], (None, None), {"a": NoRepr()}, ..., NoiseSchedule]
THINGS += [torch.ones(2).to(kind) for kind in (torch.bool, torch.complex64, torch.float8_e4m3fn, torch.int64)]
THINGS += [torch.ones(2, 3, device="meta"), torch.eye(3).to_sparse(), torch.tensor(1j), torch.ones(0)]
THINGS += [iter([1]), linear_schedule(3), torch.tensor(math.nan), torch.ones(4, 3, 6, 5, device="meta")]


def returning(result):
    return lambda *args, **kwargs: result


def like_its_argument(change):
    """Of the right shape, and odd."""
    return lambda *args, **kwargs: change(args[0]) if args and isinstance(args[0], torch.Tensor) else None


ATTEMPTS = [*THINGS, *map(returning, THINGS), stop]
ATTEMPTS += [like_its_argument(lambda x: x.to("meta")), like_its_argument(lambda x: x.to(torch.complex64))]
ATTEMPTS += [like_its_argument(lambda x: x.to_sparse()), like_its_argument(lambda x: (x, x.to("meta")))]
NO_NAME = re.compile("There is no exercise|Name the exercise in quotes")
names = st.sampled_from(THINGS) | st.text() | st.sampled_from(sorted(checking.EXERCISES))


def is_name(thing):
    return isinstance(thing, str) and thing in checking.EXERCISES


@pytest.fixture
def progress_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "PROGRESS", tmp_path / "progress.json")


@pytest.mark.parametrize("function", [checking.hint, checking.solution])
def test_exercises_take_any_name(function, capsys):
    @some(40)
    @given(name=names)
    def look(name):
        function(name)
        said = capsys.readouterr().out
        assert said
        assert (NO_NAME.search(said) is None) == is_name(name)

    look()


def test_check_takes_any_name_and_gives_the_attempt_back(capsys):
    @some(40)
    @given(name=names, attempt=st.sampled_from(ATTEMPTS))
    def look(name, attempt):
        if not is_name(name):
            assert checking.check(name, attempt) is attempt
            assert NO_NAME.search(capsys.readouterr().out)

    look()


@pytest.mark.parametrize("name", sorted(checking.EXERCISES))
def test_check_takes_any_attempt(name, progress_kept, capsys):
    finished = checking.EXERCISES[name].finished

    @some(2)
    @given(attempt=st.sampled_from(ATTEMPTS))
    def look(attempt):
        result = checking.check(name, attempt)
        assert result is finished or result is attempt
        said = capsys.readouterr().out
        assert "not right yet" in said or "not attempted yet" in said
        assert len(said) < 3000

    look()
    assert checking.check(name, stop) is finished


ENTRIES = (
    st.none()
    | st.integers()
    | st.text()
    | st.just(["tries", "right"])
    | st.fixed_dictionaries(dict(tries=st.integers() | st.text() | st.none(), right=st.none() | st.text()))
)


def test_damaged_record_of_progress_stops_nothing(progress_kept, capsys):
    @some(40)
    @given(
        text=st.text()
        | (st.dictionaries(st.sampled_from(sorted(checking.EXERCISES)), ENTRIES) | ENTRIES).map(json.dumps)
    )
    def look(text):
        checking.PROGRESS.write_text(text, encoding="utf-8", errors="replace")
        checking.progress()
        checking.check("forward.add_noise", add_noise)
        said = capsys.readouterr().out
        assert f"of {len(checking.EXERCISES)} solved" in said
        assert "The notebook goes on with your version." in said

    look()


@some(20)
@given(
    result=st.sampled_from(THINGS),
    error=st.sampled_from([ValueError("no"), ImportError("no"), SystemExit(1), RecursionError("no")]),
)
def test_doctor_makes_a_problem_of_anything_that_is_no_finding(result, error):
    def fails():
        raise error

    findings = list(doctor.examine({"returns": returning(result), "fails": fails, "good": lambda: doctor.ok("fine")}))
    assert [finding.status for finding in findings] == ["problem", "problem", "ok"]
    assert all(finding.advice for finding in findings[:2])
