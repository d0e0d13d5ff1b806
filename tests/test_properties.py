"""What holds for every public function, whatever it is called with.

- A valid call gives what is documented, and leaves its arguments alone.
- A valid call with exactly one argument spoiled raises the documented error at once: it names the argument, says what
  was passed, comes from the package and not from inside torch, and nothing has changed.

public_functions.py has the table of all of them, and it is complete. `make stress` tries many more calls, other ones
each time.
"""

import ast
import contextlib
import importlib
import inspect
import json
import linecache
import math
import os
import pathlib
import re
import signal
import traceback
import types

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from public_functions import TABLE, never
from spoiling import NOTHING, THINGS, is_tensor
from torch import nn

from course_utils import doctor, sampling, training
from course_utils._checks import short
from course_utils.exercises import checking
from course_utils.forward import add_noise
from course_utils.schedule import NoiseSchedule, linear_schedule

STRESS = "STRESS" in os.environ
SECONDS = 20  # far more than any call takes, also on a busy machine: what takes longer hangs


def explore(body, examples):
    """Run body(data) on so many examples: always the same in `make test`, and many others in `make stress`."""
    options = settings(
        max_examples=examples * (25 if STRESS else 1),
        derandomize=not STRESS,
        database=None,
        deadline=None,  # see `at_once`
        suppress_health_check=[HealthCheck.too_slow],  # some arguments are networks
    )
    options(given(st.data())(body))()


@contextlib.contextmanager
def at_once():
    """TimeoutError where what is inside hangs. (Windows has no such alarm.)"""

    def ring(*_):
        raise TimeoutError(f"not done after {SECONDS} seconds")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    previous = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def contents(value, networks):
    """What must be the same afterwards."""
    if is_tensor(value):
        return "on meta" if value.is_meta else value.detach().clone()
    if isinstance(value, dict):
        return {key: contents(item, networks) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [contents(item, networks) for item in value]
    if isinstance(value, NoiseSchedule):
        return contents([value.beta, value.alpha, value.alpha_bar], networks)
    if isinstance(value, nn.Module) and networks:
        return contents(value.state_dict(), networks)
    return "looked at no further"


def same(one, other):
    if is_tensor(one):
        return torch.equal(one.nan_to_num(1234), other.nan_to_num(1234))
    if isinstance(one, dict):
        return all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list):
        return all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("name", [name for name, its in TABLE.items() if its.gives is not never])
def test_valid_call_gives_what_is_documented_and_leaves_its_arguments_alone(name):
    its = TABLE[name]

    def body(data):
        arguments = data.draw(its.valid)
        before = contents(arguments, networks=False)
        with at_once():
            result = its.call(**arguments)
            its.gives(arguments, result)
        assert same(before, contents(arguments, networks=False))

    explore(body, its.examples)
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, its in TABLE.items() for argument in its.spoils]
)
def test_spoiled_argument_ends_in_the_documented_error(name, argument):
    its, tried = TABLE[name], set()

    def body(data):
        arguments = data.draw(its.valid)
        before, random = contents(arguments, networks=True), torch.get_rng_state()
        for spoil in its.spoils[argument]:
            bad = spoil.make(data.draw, arguments[argument], arguments)
            if bad is not NOTHING:
                tried.add(spoil.what)
                note(f"{argument} spoiled: {spoil.what}")
                judge(error_of(its, arguments | {argument: bad}), argument, bad, spoil.error)
        assert same(before, contents(arguments, networks=True))
        assert torch.equal(random, torch.get_rng_state())

    wanted = {spoil.what for spoil in its.spoils[argument]}
    explore(body, its.examples)
    if tried != wanted:  # some ways are seldom possible: "one for all" where the batch has one item, say
        explore(body, 10 * its.examples)
    assert tried == wanted


def error_of(its, arguments):
    try:
        with at_once():
            result = its.call(**arguments)
    except (Exception, SystemExit) as error:
        return error
    pytest.fail(f"{its.name} gave {short(result)}")


def judge(error, argument, bad, expected):
    """The error is the documented one, names the argument, says what was passed, and is the package's own."""
    message = str(error)
    assert type(error) is expected, f"{type(error).__name__}: {message}"
    named = "model|noise_hat" if argument == "model" else argument  # noise_hat is what a model answers
    assert re.search(rf"\b({named})\b", message) or (is_path(bad) and pathlib.Path(bad).name in message), message
    assert any(piece in message for piece in pieces(bad)), message
    assert len(message) < 1000
    assert raised_on_purpose(error), f"from inside: {message}"


def is_path(value):
    return isinstance(value, (str, pathlib.Path))


def pieces(bad):
    """Texts of which a message that says what was passed has one."""
    if is_tensor(bad):
        seen = not bad.is_meta and bad.layout is torch.strided and bad.numel() > 0 and not bad.is_complex()
        values = bad.to(torch.float64).reshape(-1) if seen else None
        some = [*values[:20].tolist(), *(bound.item() for bound in values.aminmax())] if seen else []
        numbers = [str(len(bad)) if bad.ndim else str(bad.dtype), *map(str, some), *map("{:g}".format, some)]
        return [str(bad.dtype), str(tuple(bad.shape)), str(bad.device), "NaN", *numbers]
    if isinstance(bad, NoiseSchedule):
        return [f"T = {bad.T}"]
    if isinstance(bad, torch.Generator):
        return [type(bad).__name__, str(bad.device)]
    if isinstance(bad, type):
        return [bad.__name__, short(bad)]
    if isinstance(bad, pathlib.Path):
        return [str(bad), bad.name]
    if isinstance(bad, (nn.Module, types.FunctionType)):
        return [""]  # their names say nothing
    if isinstance(bad, dict):
        return [short(bad), "empty", *[piece for item in bad.values() for piece in pieces(item)]]
    if isinstance(bad, (list, tuple)):
        return [short(bad), str(bad), "empty", str(len(bad)), *[piece for item in bad[:5] for piece in pieces(item)]]
    return [short(bad), str(bad) if isinstance(bad, (str, float)) else short(bad), type(bad).__name__]


PACKAGE = pathlib.Path(training.__file__).parent


def raised_on_purpose(error):
    """Whether a `raise` of the package made the error, and not something inside torch, or inside Python."""
    *_, last = traceback.walk_tb(error.__traceback__)
    frame, line = last
    path = pathlib.Path(frame.f_code.co_filename)
    if path.name == "_checks.py" and frame.f_code.co_name == "wrapper":  # which passes on what a rule says
        return raised_on_purpose(error.__context__)
    return PACKAGE in path.parents and linecache.getline(str(path), line).strip().startswith("raise")


# The table is complete

MODULES = ["schedule", "forward", "unet", "training", "sampling", "mixture", "data", "device", "evaluation", "plotting"]
MODULES += ["widgets", "quiz", "doctor", "exercises.checking"]

LEFT_OUT = {  # {why: {module: names}}
    "a part of one of the others, which has checked what goes into it": {
        "schedule": "with_checked_beta last",
        "unet": "UNet.embed autocasts beside_weights more_than_one",
        "training": "new_generator stop_button minutes_and_seconds digest write_whole part_of check_same_shapes "
        "places_of check_same_optimizer optimizer_state save_or_say no_memory_for sync_folder remove_old_parts",
        "sampling": "evaluating labels_beside whole_levels",
        "mixture": "to check_mixture",
        "data": "unpacked raw whole md5 caches first_writable unpack",
        "evaluation": "convolution over_batches of_the_classifier covariance symmetric_root share_within distances",
        "plotting": "draw_rows drawable",
        "widgets": "live slider png in_colour enlarged fixed_noise nine_levels parts parts_at a_state noise_slider_box "
        "draw_noised schedule_designer_box draw_designed in_words_at_T fill designer_figure unet_explorer_box "
        "draw_part explore seen_in_words tinted receptive_fields convolutions_only trajectory_scrubber_box draw_state "
        "apart make_all steps_and_eta_box draw_made",
        "quiz": "as_question as_choice check_fields some_text some_tables true_or_false require one_line as_text "
        "question_as_text text_class marked_up verdict quiz_box question_box",
        "doctor": "ok slow problem declared installed_version release place memory_in_bytes restore run_nms difference "
        "in_one_line device_type answers shipped_network inputs bfloat16_rounding step_seconds examine impersonal "
        "report requirements_of",
        "exercises.checking": "known unknown at_most source is_check lines_of judge is_stub observations "
        "random_state_kept same diagnosis in_general in_tries keep read_progress is_entry",
    },
    "a few lines that a notebook shows by themselves; what goes in was checked by the piece around them": {
        "unet": "zeroed way_down middle way_up",
        "training": "check_finite same_shape with_labels",
        "sampling": "randn_like",
    },
    "a record, which the module itself fills": {
        "evaluation": "Quality",
        "quiz": "Choice Question",
        "doctor": "Finding",
        "exercises.checking": "Verdict",
    },
    "called without arguments": {
        "mixture": "GaussianMixture.mean GaussianMixture.covariance",
        "exercises.checking": "progress",
    },
    "a learner calls it without arguments; tests pass what a check is to measure": {
        "doctor": "check_up check_in main " + " ".join(check.__name__ for check in doctor.CHECKS.values()),
    },
    "never raises, whatever it is given: see the exercises below": {"exercises.checking": "check hint solution"},
}
LEFT_OUT = {
    f"{module}.{name}" for modules in LEFT_OUT.values() for module, names in modules.items() for name in names.split()
}
MADE_BY_OTHERS = {
    "sampling.denoiser.denoise",
    "mixture.exact_denoiser.denoise",
    "device.bfloat16.rounded",
    "plotting.growing_rows.add",
}


def is_rule(value):
    """Whether it is a rule of `checked`, or makes one."""
    if not inspect.isfunction(value):
        return True
    names = ("name", "value", "arguments")
    made = [constant for constant in value.__code__.co_consts if inspect.iscode(constant)]
    return tuple(inspect.signature(value).parameters) == names or any(
        code.co_name.startswith("rule") and code.co_varnames[:3] == names for code in made
    )


def public():
    """{module.name: the function or class} of all modules, with the public methods of classes as module.class.name."""
    found = {}
    for module_name in MODULES:
        module = importlib.import_module(f"course_utils.{module_name}")
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "") == module.__name__ and callable(value) and not name.startswith("_")
            if not own or (not inspect.isclass(value) and is_rule(value)):
                continue
            found[f"{module_name}.{name}"] = value
            methods = vars(value).items() if inspect.isclass(value) else []
            found |= {f"{module_name}.{name}.{key}": part for key, part in methods if is_method(key, part)}
    return found


def is_method(name, part):
    return inspect.isfunction(part) and not name.startswith("_")


PUBLIC = public()


def test_every_public_function_is_in_the_table_or_left_out_for_a_reason():
    assert set(PUBLIC) - set(TABLE) == LEFT_OUT
    assert set(TABLE) - set(PUBLIC) == MADE_BY_OTHERS


@pytest.mark.parametrize("name", TABLE)
def test_every_argument_is_spoiled_or_not_for_a_reason(name):
    its = TABLE[name]
    real = sampling.sample_steps if name == "sampling.sample" else PUBLIC.get(name, its.call)
    parameters = inspect.signature(real).parameters.values()
    parameters = {one.name for one in parameters if one.kind is not one.VAR_KEYWORD} - {"self"}
    covered = set(its.spoils) | set(its.unspoiled)
    assert parameters <= covered
    assert not set(its.spoils) & set(its.unspoiled)
    assert all(its.spoils.values())


def test_notebooks_import_nothing_that_is_left_out():
    imported = set()
    for path in (PACKAGE.parent / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code" and "mistake" not in cell["metadata"].get("tags", []):
                imported |= imports("".join(cell["source"]))
    assert len(imported) > 30
    assert {name for name in imported & LEFT_OUT if not name.startswith("exercises")} == set()


def imports(source):
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {
        f"{node.module.removeprefix('course_utils.')}.{part.name}"
        for node in nodes
        if (node.module or "").startswith("course_utils.")
        for part in node.names
    }


DOCUMENTED = {
    name: set(re.findall(r"\w+Error\b", re.split(r"Raises:?", inspect.getdoc(value), maxsplit=1)[1]))
    for name, value in PUBLIC.items()
    if "Raises" in (inspect.getdoc(value) or "")
}


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name in TABLE])
def test_documented_errors_are_those_that_are_raised(name):
    kinds = [TABLE[other].spoils for other in TABLE if other == name or other.startswith(f"{name}.")]
    raised = {spoil.error.__name__ for spoils in kinds for kind in spoils.values() for spoil in kind}
    assert DOCUMENTED[name] & {"TypeError", "ValueError"} == raised & {"TypeError", "ValueError"}


def test_errors_of_most_functions_are_documented():
    assert len(set(DOCUMENTED) & set(TABLE)) > 35


# The exercises never raise, whatever they are given


@pytest.fixture
def progress_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "PROGRESS", tmp_path / "progress.json")


names = st.one_of(st.sampled_from(list(THINGS.values())), st.text(), st.sampled_from(sorted(checking.EXERCISES)))


class NoRepr:
    def __repr__(self):
        raise RuntimeError("no repr")

    __eq__ = __bool__ = __len__ = __repr__
    __hash__ = None


def stop(*args, **kwargs):
    raise SystemExit


RESULTS = [*THINGS.values(), NoRepr(), NoRepr, math.nan, math.inf, 10**400, [[]], (None, None), {"a": NoRepr()}, ...]
RESULTS += [torch.ones(2).to(dtype) for dtype in (torch.bool, torch.complex64, torch.float8_e4m3fn, torch.int64)]
RESULTS += [torch.ones(2, 3, device="meta"), torch.eye(3).to_sparse(), torch.tensor(1j), torch.ones(0), NoiseSchedule]
RESULTS += [iter([1]), linear_schedule(3), torch.tensor(math.nan), torch.ones(4, 3, 6, 5, device="meta")]


def returning(result):
    return lambda *args, **kwargs: result


def like_its_argument(change):
    """Of the right shape, and odd."""
    return lambda *args, **kwargs: change(args[0]) if args and is_tensor(args[0]) else None


ODD_ATTEMPTS = [*RESULTS, *map(returning, RESULTS), stop]
ODD_ATTEMPTS += [like_its_argument(lambda x: x.to("meta")), like_its_argument(lambda x: x.to(torch.complex64))]
ODD_ATTEMPTS += [like_its_argument(lambda x: x.to_sparse()), like_its_argument(lambda x: (x, x.to("meta")))]


@pytest.mark.parametrize("function", [checking.hint, checking.solution])
def test_exercises_take_any_name(function, capsys):
    def body(data):
        name = data.draw(names)
        with at_once():
            function(name)
        said = capsys.readouterr().out
        assert said
        assert ("There is no exercise" in said) == (not isinstance(name, str) or name not in checking.EXERCISES)

    explore(body, 40)


def test_check_takes_any_name_and_gives_the_attempt_back(capsys):
    def body(data):
        name, attempt = data.draw(names), data.draw(st.sampled_from(ODD_ATTEMPTS))
        if not isinstance(name, str) or name not in checking.EXERCISES:
            assert checking.check(name, attempt) is attempt
            assert "There is no exercise" in capsys.readouterr().out

    explore(body, 40)


@pytest.mark.parametrize("name", sorted(checking.EXERCISES))
def test_check_takes_any_attempt(name, progress_kept, capsys):
    finished = checking.EXERCISES[name].finished

    def body(data):
        attempt = data.draw(st.sampled_from(ODD_ATTEMPTS))
        with at_once():
            assert checking.check(name, attempt) in (finished, attempt)
        said = capsys.readouterr().out
        assert "not right yet" in said or "not attempted yet" in said
        assert len(said) < 3000

    explore(body, 4)
    assert checking.check(name, stop) is finished


entries = st.one_of(
    st.none(),
    st.integers(),
    st.text(),
    st.just(["tries", "right"]),
    st.fixed_dictionaries(
        dict(tries=st.one_of(st.integers(), st.text(), st.none()), right=st.one_of(st.none(), st.text()))
    ),
)


def test_damaged_record_of_progress_stops_nothing(progress_kept, capsys):
    def body(data):
        kept = st.dictionaries(st.sampled_from(sorted(checking.EXERCISES)), entries)
        text = data.draw(st.one_of(st.text(), st.one_of(kept, entries).map(json.dumps)))
        checking.PROGRESS.write_text(text, encoding="utf-8", errors="replace")
        checking.progress()
        checking.check("forward.add_noise", add_noise)
        said = capsys.readouterr().out
        assert f"of {len(checking.EXERCISES)} solved" in said
        assert "right. The notebook goes on with your version." in said

    explore(body, 40)


# The doctor goes on, whatever a check does


def test_doctor_makes_a_problem_of_anything_that_is_no_finding():
    def body(data):
        result = data.draw(st.sampled_from(RESULTS))
        error = data.draw(st.sampled_from([ValueError("no"), ImportError("no"), SystemExit(1), RecursionError("no")]))

        def fails():
            raise error

        findings = list(
            doctor.examine({"returns": returning(result), "fails": fails, "good": lambda: doctor.ok("fine")})
        )
        assert [finding.status for finding in findings] == ["problem", "problem", "ok"]
        assert all(finding.advice for finding in findings[:2])

    explore(body, 20)
