"""Every exercise: what is accepted, what is refused and with which words; and what `check` leaves alone."""

import ast
import importlib
import inspect
import itertools
import json
import random
import re
import textwrap
from pathlib import Path

import numpy
import pytest
import torch

from course_utils.classroom.exercises import check, checking, hint, progress, solution, spelled_out
from course_utils.classroom.exercises.checking import EXERCISES, NOT_ATTEMPTED, RIGHT, WRONG, judge, observations
from course_utils.classroom.exercises.comparing import difference
from course_utils.forward import add_noise

ROOT = Path(__file__).parent.parent.parent
ANSWERS = {}
for file in (Path(__file__).parent / "right_answers").glob("*.py"):
    ANSWERS |= importlib.import_module(f"right_answers.{file.stem}").ANSWERS


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    """Tests leave the progress of whoever runs them alone."""
    monkeypatch.setattr(checking, "PROGRESS", tmp_path / "progress.json")
    monkeypatch.setattr(checking, "hints_shown", {})


@pytest.fixture(params=EXERCISES.values(), ids=EXERCISES)
def exercise(request):
    return request.param


def stub_of(finished):
    """What a notebook holds: the definition, with `...` for the body."""
    if inspect.isclass(finished):
        methods = [name for name, value in vars(finished).items() if inspect.isfunction(value)]
        return type(finished.__name__, (), {name: stub_of(vars(finished)[name]) for name in methods})

    def stub(*args, **kwargs): ...

    return stub


def test_answers_are_of_exercises():
    assert set(ANSWERS) == set(EXERCISES)


def test_stub_is_not_attempted(exercise):
    for stub in (None, ..., exercise.given or stub_of(exercise.finished)):
        assert judge(exercise, stub).status == NOT_ATTEMPTED


def test_finished_version_is_right(exercise):
    assert judge(exercise, exercise.finished).status == RIGHT


def test_at_least_two_answers_in_other_styles_are_right(exercise):
    assert len(ANSWERS[exercise.name]) >= 2
    for answer in ANSWERS[exercise.name]:
        verdict = judge(exercise, answer)
        assert verdict.status == RIGHT, (answer, verdict.text)


@pytest.mark.parametrize("name", spelled_out.FORMS)
def test_forms_that_are_spelled_out_are_right(name):
    for form in spelled_out.FORMS[name]:
        assert judge(EXERCISES[name], form).status == RIGHT


def test_each_mistake_fails_with_its_own_message(exercise):
    assert len(exercise.mistakes) >= 3
    for mistake in exercise.mistakes:
        verdict = judge(exercise, mistake.attempt)
        assert (verdict.status, verdict.text) == (WRONG, mistake.message), mistake.attempt


def test_no_two_mistakes_coincide(exercise):
    """Nor does one coincide with the finished version."""
    attempts = [exercise.finished, *(mistake.attempt for mistake in exercise.mistakes)]
    for one, other in itertools.combinations([observations(exercise, attempt)[0] for attempt in attempts], 2):
        pairs = zip(one, other, strict=True)
        assert any(difference(a, b, exercise.tolerance, same_dtype=False) is not None for a, b in pairs)


def test_messages_and_hints_say_something_of_their_own(exercise):
    texts = [mistake.message for mistake in exercise.mistakes] + list(exercise.hints)
    assert len(set(texts)) == len(texts)
    assert len(exercise.hints) >= 2
    for text in texts:
        assert len(text.split()) >= 6, text


def test_random_state_is_untouched(exercise):
    def draws():
        return torch.rand(3).tolist(), random.random(), numpy.random.rand()

    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    expected = draws()
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    numpy.random.set_state(states[2])
    judge(exercise, exercise.finished)
    judge(exercise, exercise.mistakes[0].attempt)
    assert draws() == expected


def test_an_answer_that_raises_is_shown_with_its_arguments(exercise):
    def broken(*args, **kwargs):
        raise RuntimeError("the sleeve is torn")

    verdict = judge(exercise, broken)
    assert verdict.status == WRONG
    assert "RuntimeError: the sleeve is torn" in verdict.text
    assert "It was called with" in verdict.text  # or "without arguments"


@pytest.mark.parametrize("useless", [42, "text", torch.zeros(3), [], print, dict], ids=repr)
def test_nonsense_is_never_right_and_never_raises(exercise, useless):
    assert judge(exercise, useless).status != RIGHT


def test_every_notebook_has_at_least_three_exercises():
    for number in ("01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11"):
        assert sum(exercise.notebook == number for exercise in EXERCISES.values()) >= 3


def test_name_is_module_and_function(exercise):
    """The module is one of the mathematics, or, for what no later notebook uses, one of the exercises."""
    module, function = exercise.name.split(".")
    homes = ROOT / "course_utils", ROOT / "course_utils" / "classroom" / "exercises"
    assert any((home / f"{module}.py").exists() for home in homes)
    assert exercise.finished.__name__ == function


# One exercise in detail


def by_hand(x_0, t, noise, schedule):
    return add_noise(x_0, t, noise, schedule)


def test_right_answer_is_returned_and_said_to_be_right(capsys):
    assert check("forward.add_noise", by_hand) is by_hand
    assert "forward.add_noise: right" in capsys.readouterr().out


def test_wrong_answer_gives_the_finished_version_and_the_diagnosis(capsys):
    mistake = EXERCISES["forward.add_noise"].mistakes[2]
    assert check("forward.add_noise", mistake.attempt) is add_noise
    printed = capsys.readouterr().out
    assert mistake.message in printed
    assert 'hint("forward.add_noise")' in printed


def test_stub_gives_the_finished_version(capsys):
    assert check("forward.add_noise", stub_of(add_noise)) is add_noise
    assert "not attempted" in capsys.readouterr().out


def test_a_forgotten_return_is_named():
    def forgets(x_0, t, noise, schedule):
        add_noise(x_0, t, noise, schedule)

    verdict = judge(EXERCISES["forward.add_noise"], forgets)
    assert verdict.status == NOT_ATTEMPTED
    assert "`return` is missing" in verdict.text


def wrong_add_noise(change):
    return lambda x_0, t, noise, schedule: change(add_noise(x_0, t, noise, schedule))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.double(), "float64, but should be torch.float32"),
        (lambda x: x[..., :1], "The shape is"),
        (lambda x: x * float("nan"), "NaN"),
        (lambda x: x.tolist(), "should return a float32 tensor"),
        (lambda x: x + 0.01 * x.sign(), "values are wrong, by up to 0.01. The first t at which it differs is 1."),
        (lambda x: x + 0.01, "Every value is off by the same 0.01."),
        (lambda x: 1.5 * x, "Every value is 1.5 times what it should be"),
        (lambda x: -x, "Everything has the wrong sign."),
    ],
    ids=["float64", "shape", "NaN", "list", "values", "offset", "factor", "sign"],
)
def test_what_is_no_typical_mistake_is_described(change, words):
    verdict = judge(EXERCISES["forward.add_noise"], wrong_add_noise(change))
    assert verdict.status == WRONG
    assert words in verdict.text


def test_first_t_that_differs_is_the_first_in_the_batch_that_does():
    def wrong_at_5(x_0, t, noise, schedule):
        x_t = add_noise(x_0, t, noise, schedule)
        x_t[torch.as_tensor(t).expand(len(x_0)) == 5] += 1
        return x_t

    assert "The first t at which it differs is 5." in judge(EXERCISES["forward.add_noise"], wrong_at_5).text


def test_an_answer_that_changes_its_input_is_told():
    def in_place(x_0, t, noise, schedule):
        x_t = add_noise(x_0, t, noise, schedule)
        x_0.zero_()
        return x_t

    verdict = judge(EXERCISES["forward.add_noise"], in_place)
    assert verdict.status == WRONG
    assert "changes its argument x_0" in verdict.text


def test_passing_the_result_for_the_function_is_told():
    assert "Pass the function itself" in judge(EXERCISES["forward.add_noise"], torch.zeros(2)).text


@pytest.mark.parametrize("call", [lambda: check("forward.ad_noise", by_hand), lambda: hint("forward.ad_noise")])
def test_unknown_name_suggests_the_nearest(call, capsys):
    call()
    assert 'Did you mean "forward.add_noise"?' in capsys.readouterr().out


def test_hints_come_one_by_one_and_the_last_is_repeated(capsys):
    hints = EXERCISES["forward.add_noise"].hints
    for number in (*range(len(hints)), len(hints) - 1):
        hint("forward.add_noise")
        printed = capsys.readouterr().out
        assert hints[number] in printed
        assert ("That was the last one" in printed) == (number == len(hints) - 1)


def test_solution_is_code_as_it_stands_in_a_notebook(exercise, capsys):
    """Without docstring, annotations and checks; and it says what the finished version says."""
    solution(exercise.name)
    printed = capsys.readouterr().out
    [node] = ast.parse(printed).body
    assert ast.get_docstring(node) is None
    assert not any(isinstance(part, ast.arg) and part.annotation for part in ast.walk(node))
    assert "checked" not in printed
    assert not re.search(r":\n\n", printed)
    finished = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(exercise.finished)))).body[0]
    assert bare(node) == bare(finished)


def bare(definition):
    """The names of the arguments, the defaults and the body, without docstrings."""
    methods = [part for part in ast.walk(definition) if isinstance(part, ast.FunctionDef)]
    arguments = [[argument.arg for argument in method.args.args] for method in methods]
    defaults = [[ast.dump(default) for default in method.args.defaults] for method in methods]
    bodies = [method.body[ast.get_docstring(method) is not None :] for method in methods]
    return arguments, defaults, [ast.dump(line) for body in bodies for line in body]


def test_solution_keeps_comments_layout_and_other_decorators(capsys):
    solution("schedule.linear_schedule")
    assert capsys.readouterr().out == (
        "def linear_schedule(T=1000, beta_1=1e-4, beta_T=0.02):\n"
        "    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)\n"
        "    return NoiseSchedule(F.pad(beta, (1, 0)))  # beta[0] = 0\n"
    )
    solution("training.EMA")
    assert "\n\n    @torch.no_grad()\n    def update(self, model):\n" in capsys.readouterr().out


def test_progress_is_kept(capsys):
    check("forward.add_noise", EXERCISES["forward.add_noise"].mistakes[0].attempt)
    check("forward.add_noise", by_hand)
    check("forward.jump", EXERCISES["forward.jump"].mistakes[0].attempt)
    check("schedule.snr_db", None)
    capsys.readouterr()
    progress()
    lines = capsys.readouterr().out.splitlines()
    [solved] = [line for line in lines if "forward.add_noise" in line]
    [opened] = [line for line in lines if "forward.jump" in line]
    [untouched] = [line for line in lines if "schedule.snr_db" in line]
    assert solved.split() == ["[x]", "forward.add_noise", "solved,", "2", "tries"]
    assert opened.split() == ["[", "]", "forward.jump", "open,", "1", "try"]
    assert untouched.split() == ["[", "]", "schedule.snr_db", "not", "attempted"]
    assert lines[-1] == f"1 of {len(EXERCISES)} solved"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"forward.add_noise": 3}', "null"])
def test_a_damaged_record_of_progress_stops_nothing(text, capsys):
    checking.PROGRESS.write_text(text)
    check("forward.add_noise", by_hand)
    assert json.loads(checking.PROGRESS.read_text())["forward.add_noise"]["tries"] == 1


def test_progress_that_cannot_be_written_stops_nothing(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(checking, "PROGRESS", tmp_path / "file" / "progress.json")
    assert check("forward.add_noise", by_hand) is by_hand
