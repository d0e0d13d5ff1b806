"""`check`, `hint`, `solution` and `progress`: what a notebook calls.

`check` is kind to a notebook: it never raises, leaves the random state and its arguments alone, and always returns
something the notebook can go on with.
"""

import ast
import contextlib
import copy
import dis
import inspect
import json
import random
import textwrap
import traceback
import types
import warnings
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import numpy
import torch

from course_utils.annotations import WrongArgument, describe
from course_utils.checkpoints import write_whole
from course_utils.classroom import cards
from course_utils.classroom.exercises import (
    editing,
    encoding,
    families,
    forward,
    guidance,
    judging,
    loss,
    predicting,
    predictions,
    schedule,
    scheduler,
    solvers,
    spelled_out,
    start,
    steps,
    structure,
    training,
    unet,
    walks,
)
from course_utils.classroom.exercises.comparing import (
    Raised,
    described,
    difference,
    how_far,
    in_words,
    is_number,
    named,
    side_by_side,
    where,
)
from course_utils.data import DATA

EXERCISES = {  # in the order in which the notebooks ask for them
    exercise.name: exercise
    for exercise in (
        start.BLEND,
        *(forward.FORWARD_STEP, forward.ADD_NOISE, forward.JUMP),
        *(schedule.LINEAR, schedule.COSINE, schedule.SNR_DB, schedule.BETAS_FOR),
        *(unet.TIMESTEP_EMBEDDING, unet.ATTENTION, unet.RES_BLOCK, unet.SPACE_TO_DEPTH),
        *(loss.DIFFUSION_LOSS, training.TRAINING_STEP, training.AVERAGED_WEIGHTS, loss.WEIGHTED_LOSS),
        *(predictions.PREDICT_X_0, forward.POSTERIOR, steps.DDPM_STEP, walks.SPACED_LEVELS, walks.SAMPLING_LOOP),
        *(scheduler.ONE_PAGE_SCHEDULER, predictions.MEAN_FROM_NOISE),
        *(predictions.PREDICT_NOISE, steps.DDIM_STEP, encoding.ENCODE_STEP, encoding.BETWEEN, walks.SAMPLE_SAFELY),
        *(judging.DISTANCE_OF_NUMBERS, judging.FRECHET_DISTANCE, judging.FLOOR_WITH_ERROR, judging.SHARE_WITHIN),
        judging.NEAREST,
        *(guidance.CLASSIFIER_GRADIENT, guidance.GUIDED, guidance.WITHHOLD),
        *(predicting.X_0_FROM_V, predicting.CONVERTED, predicting.V_WEIGHT, predicting.X_0_FROM_SCORE),
        *(predicting.FLOW_STEP, predicting.CHANGE_TRAINS),
        *(solvers.EULER_STEP, solvers.HEUN_STEP, solvers.ORDER, solvers.DPM_SOLVER_2M),
        *(editing.SDEDIT, editing.PUT_BACK, editing.NOISE_FURTHER, editing.ANAGRAM),
    )
}
LONGEST = 2000  # characters of what is said about an attempt: some exceptions are a novel
PROGRESS = DATA.parent / "my_work" / "progress.json"
RIGHT, WRONG, NOT_ATTEMPTED = "right", "not right yet", "not attempted yet"
PRAISE = ("Well done.", "That's it.", "Nicely done.", "Exactly so.")
hints_shown = {}


def check(name, attempt):
    """Check an answer, say what is wrong with it, and return what the notebook can go on with.

    Args:
        name: of the exercise, as in "forward.add_noise".
        attempt: your function or class.

    Returns:
        The attempt if it is right, otherwise the finished version. Nothing is raised.
    """
    if not known(name):
        print(unknown(name))
        return attempt
    exercise = EXERCISES[name]
    try:
        verdict = judge(exercise, attempt)
    except Exception as error:  # what it returns is so odd that it can't even be compared
        verdict = Verdict(WRONG, f"What it returns can't be compared: {type(error).__name__}: {error}")
    keep(name, verdict)
    right = verdict.status == RIGHT
    text = PRAISE[list(EXERCISES).index(name) % len(PRAISE)] if right else at_most(LONGEST, verdict.text)
    goes_on = f"The notebook goes on with {'your' if right else 'the finished'} version."
    hints = () if right else exercise.hints
    cards.show(cards.verdict(name, verdict.status, text, goes_on, verdict.values, hints))
    return attempt if right else exercise.finished


def at_most(length, text):
    return text if len(text) <= length else text[:length] + " ..."


def hint(name):
    """Print the next hint for an exercise, from a nudge to nearly all of it."""
    if not known(name):
        return print(unknown(name))
    hints = EXERCISES[name].hints
    number = hints_shown[name] = min(hints_shown.get(name, 0) + 1, len(hints))
    print(f"Hint {number} of {len(hints)}: {hints[number - 1]}")
    if number == len(hints):
        print(f'That was the last one. solution("{name}") shows the finished version.')


def solution(name):
    """Print the finished version of an exercise."""
    print(source(EXERCISES[name].finished) if known(name) else unknown(name))


def known(name):
    return isinstance(name, str) and name in EXERCISES


def unknown(name):
    if not isinstance(name, str):
        return 'Name the exercise in quotes, as in "forward.add_noise". progress() lists them all.'
    name = name[:80]
    near = get_close_matches(name, EXERCISES, n=1, cutoff=0)[0]
    return f'There is no exercise "{name}". Did you mean "{near}"? progress() lists them all.'


def source(finished):
    """The source as it looks in a notebook: without checks, docstrings and annotations."""
    text = textwrap.dedent(inspect.getsource(inspect.unwrap(finished)))
    lines = text.splitlines()
    parts = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    for node in sorted(parts, key=first_line, reverse=True):  # from the last one up, so that line numbers stay valid
        begins = node.body[1] if ast.get_docstring(node) is not None else node.body[0]
        lines[first_line(node) - 1 : first_line(begins) - 1] = head(node, text)
    return "\n".join(lines)


def first_line(node):
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def head(node, text):
    """The lines of a definition before its body."""
    decorators = [ast.get_source_segment(text, decorator) for decorator in node.decorator_list]
    decorators = [f"@{decorator}" for decorator in decorators if not decorator.endswith("checked")]
    if isinstance(node, ast.ClassDef):
        line = text.splitlines()[node.lineno - 1].strip()
    else:
        arguments = [argument.arg for argument in node.args.args]
        for i, default in enumerate(reversed(node.args.defaults), 1):
            arguments[-i] += f"={ast.get_source_segment(text, default)}"
        line = f"def {node.name}({', '.join(arguments)}):"
    return [" " * node.col_offset + line for line in (*decorators, line)]


# Judging


@dataclass(frozen=True)
class Verdict:
    status: str
    text: str = ""
    values: tuple[str, str] | None = None  # what came back and what should have, where that helps


def judge(exercise, attempt):
    """The verdict on an attempt. Nothing is raised, and no random state is touched."""
    if attempt is None or attempt is Ellipsis or is_stub(attempt):
        return Verdict(NOT_ATTEMPTED)
    if not callable(attempt):
        return Verdict(WRONG, f"Pass the function itself, not what it returns: this is {describe(attempt)}.")
    found, changed = observations(exercise, attempt)
    if all(value is None or value is Ellipsis for value in found):
        return Verdict(NOT_ATTEMPTED, "It returns None: if you wrote something already, a `return` is missing. ")
    if exercise.given is not None and same(exercise, found, exercise.given):
        return Verdict(NOT_ATTEMPTED, "It still does what it did when you were given it. ")
    expected, _ = observations(exercise, exercise.finished)
    wrong = [i for i, pair in enumerate(zip(found, expected, strict=True)) if is_wrong(exercise, *pair)]
    if wrong:
        i = max(wrong, key=lambda i: how_far(found[i], expected[i]))  # the case in which it shows most
        said = specifically(exercise, attempt, found, expected) or in_general(exercise, i, found[i], expected[i])
        return Verdict(WRONG, said, side_by_side(found[i], expected[i]))
    if changed is not None:
        return Verdict(WRONG, f"What it returns is right, but it changes its argument {changed}. Work on a copy.")
    return Verdict(RIGHT)


def is_wrong(exercise, value, right):
    return isinstance(value, Raised) or difference(value, right, exercise.tolerance) is not None


def is_stub(attempt):
    """Whether a function, or every method of a class, does nothing but return None or `...`."""
    if inspect.isclass(attempt):
        methods = [method for method in vars(attempt).values() if isinstance(method, types.FunctionType)]
        return all(map(is_stub, methods))
    if not isinstance(attempt, types.FunctionType):
        return False
    instructions = [step for step in dis.get_instructions(attempt) if step.opname not in ("RESUME", "NOP")]
    empty = {"LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
    return all(step.opname in empty and step.argval in (None, ...) for step in instructions)


def observations(exercise, attempt):
    """What the attempt does in each case, and the name of an argument that it changed, or None."""
    found, changed = [], None
    with random_state_kept():
        cases = exercise.cases()
    for case in cases:
        arguments = named(exercise.finished, case)
        watched = (torch.Tensor, list, dict)
        before = {name: copy.deepcopy(value) for name, value in arguments.items() if isinstance(value, watched)}
        found.append(observed(exercise, attempt, case))
        for name, value in before.items():
            if difference(arguments[name], value, 0) is not None:
                changed = changed or name
    return found, changed


def observed(exercise, attempt, case, seed=0):
    """What the attempt does in one case; what it raises is an observation, too."""
    with random_state_kept(seed), warnings.catch_warnings(action="ignore"):
        try:
            return exercise.observe(attempt, case)
        except (Exception, SystemExit) as error:
            return Raised(error)


@contextlib.contextmanager
def random_state_kept(seed=0):
    """The same random numbers for every attempt, and afterwards the random states as they were."""
    states = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        numpy.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            numpy.random.set_state(states[1])


def same(exercise, found, attempt, same_dtype=True):
    """Whether `attempt` does what was found, in every case."""
    others, _ = observations(exercise, attempt)
    pairs = zip(found, others, strict=True)
    return all(difference(value, other, exercise.tolerance, same_dtype) is None for value, other in pairs)


def diagnosis(exercise, found):
    """The message of the typical mistake that does exactly what was found, or None."""
    for mistake in exercise.mistakes:
        if same(exercise, found, mistake.attempt, same_dtype=False):
            return mistake.message
    return None


def specifically(exercise, attempt, found, expected):
    """What is wrong, by the first of three ways that finds something, or None."""
    if all(agree(exercise, one, other) for one, other in zip(found, expected, strict=True)):
        return None  # only the dtype differs, which `difference` says
    if said := diagnosis(exercise, found):
        return said
    if all(tells_much(one, other) for one, other in zip(found, expected, strict=True)):
        for right in (exercise.finished, *spelled_out.FORMS.get(exercise.name, ())):
            if said := families.diagnosis(source(right), right, partial(does, exercise, found)):
                return said
    return structure.diagnosis(found, expected, exercise, partial(observed, exercise, attempt))


def tells_much(value, right):
    """Whether a value can tell one mistake from another: most exceptions and NaN are the end of many."""
    if isinstance(value, Raised):
        return isinstance(value.error, WrongArgument)  # ours say what was passed
    if isinstance(value, torch.Tensor) and not value.isfinite().any():
        return False
    return isinstance(value, type(right)) or is_number(value)


def does(exercise, found, version):
    """Whether a version does in every case what was found; it stops at the first in which it does not."""
    with random_state_kept():
        cases = exercise.cases()
    pairs = zip(cases, found, strict=True)
    return all(agree(exercise, observed(exercise, version, case), value) for case, value in pairs)


def agree(exercise, one, other):
    if isinstance(one, Raised) and isinstance(other, Raised) and isinstance(one.error, WrongArgument):
        return str(one.error) == str(other.error)
    return difference(one, other, exercise.tolerance, same_dtype=False) is None


def in_general(exercise, i, found, expected):
    """What is wrong in case i, if nothing more specific is known."""
    with random_state_kept():
        case = exercise.cases()[i]
    arguments = named(exercise.finished, case)
    called = f"\nIt was called with {in_words(arguments)}." if arguments else "\nIt was called without arguments."
    if isinstance(found, Raised) and within_the_checker(found.error):
        return f"What it returns doesn't have the right form: it should be {described(expected)}.{called}"
    if isinstance(found, Raised):
        return f"It raised {type(found.error).__name__}: {found.error}{called}"
    text = difference(found, expected, exercise.tolerance)
    return f"{text}{where(found, expected, arguments, exercise.tolerance)}{called}"


def within_the_checker(error):
    """Whether the checker failed when it took apart what the answer returned, and not the answer itself."""
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    here = Path(__file__).parent
    return isinstance(error, (TypeError, ValueError)) and last is not None and Path(last.filename).parent == here


# Progress


def progress():
    """Show which exercises are solved, by notebook. The record is kept from one day to the next, in my_work/."""
    kept, notebooks = read_progress(), {}
    for name, exercise in sorted(EXERCISES.items(), key=lambda item: item[1].notebook):
        entry = kept.get(name, {"tries": 0, "right": None})
        solved = bool(entry["right"])
        notebooks.setdefault(exercise.notebook, []).append((name, solved, in_tries(solved, entry["tries"])))
    cards.show(cards.progress(notebooks))


def in_tries(solved, tries):
    if tries == 0:
        return "not attempted"
    return f"{'solved' if solved else 'open'}, {tries} {'try' if tries == 1 else 'tries'}"


def keep(name, verdict):
    """Add a try to the record; if it can't be written, go on without."""
    if verdict.status == NOT_ATTEMPTED:
        return
    kept = read_progress()
    entry = kept.setdefault(name, {"tries": 0, "right": None})
    if entry["right"]:
        return  # solved already; anything after that is play
    entry["tries"] += 1
    entry["right"] = date.today().isoformat() if verdict.status == RIGHT else None
    with contextlib.suppress(OSError):
        write_whole(PROGRESS, lambda part: part.write_text(json.dumps(kept, indent=1) + "\n"))


def read_progress():
    try:
        kept = json.loads(PROGRESS.read_text())
        return {name: entry for name, entry in kept.items() if is_entry(entry)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}  # there is none yet, or it is damaged: not worth stopping a lesson for


def is_entry(entry):
    return isinstance(entry, dict) and {"tries", "right"} <= entry.keys() and isinstance(entry["tries"], int)
