"""The doctor: every fault that it is there to find, made on purpose, and what it then says."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import namedtuple
from functools import partial
from pathlib import Path

import pytest
import torch

from course_utils.classroom import doctor
from course_utils.classroom.doctor import CHECKS, check_in, check_up, examine, main, ok, problem, slow
from course_utils.data import DATA, FILES
from course_utils.training import bfloat16_loss, diffusion_loss

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CPU = torch.device("cpu")


def only(check, *args, **kwargs):
    """What the doctor finds with this check alone."""
    [finding] = examine({"it": partial(check, *args, **kwargs)})
    return finding


# The data and the weights


@pytest.fixture
def data_folder(tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(DATA / "FashionMNIST" / "raw" / f"{name}.gz", folder)
    return folder


@pytest.fixture
def weights_folder(tmp_path):
    return Path(shutil.copytree(DATA / "weights", tmp_path / "weights"))


def damage(path):
    """Flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_data_that_come_with_the_course_are_as_published(data_folder):
    assert only(doctor.data_files).status == "ok"
    assert only(doctor.data_files, data_folder.parent.parent).status == "ok"
    assert {path.suffix for path in data_folder.iterdir()} == {".gz"}  # nothing was unpacked


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("fault", "word"), [(damage, "damaged"), (Path.unlink, "missing")])
def test_a_faulty_data_file_is_named_with_the_remedy(data_folder, name, fault, word):
    fault(data_folder / f"{name}.gz")
    finding = only(doctor.data_files, data_folder.parent.parent)
    assert finding.status == "problem"
    assert finding.found == f"{name}.gz is {word}."
    assert "git checkout -- data/FashionMNIST" in finding.advice


def test_the_weights_that_come_with_the_course_are_whole(weights_folder):
    assert only(doctor.weights).status == only(doctor.weights, weights_folder).status == "ok"


@pytest.mark.parametrize("name", ["unet.safetensors", "classifier.safetensors"])
@pytest.mark.parametrize(("fault", "word"), [(damage, "damaged"), (Path.unlink, "missing")])
def test_faulty_weights_are_named_with_the_remedy(weights_folder, name, fault, word):
    fault(weights_folder / name)
    finding = only(doctor.weights, weights_folder)
    assert finding.status == "problem"
    assert finding.found == f"{name} is {word}."
    assert "git checkout -- data/weights" in finding.advice


def test_weights_cut_short_are_damaged(weights_folder):
    unet = weights_folder / "unet.safetensors"
    unet.write_bytes(unet.read_bytes()[:1000])
    assert only(doctor.weights, weights_folder).found == "unet.safetensors is damaged."


# The computer, without torch


@pytest.mark.parametrize(("version", "status"), [((3, 10, 14), "problem"), ((3, 11, 0), "ok"), ((4, 0, 1), "ok")])
def test_an_old_python_is_a_problem(version, status):
    finding = only(doctor.python, version)
    assert finding.status == status
    assert ".".join(map(str, version)) in finding.found
    assert ("3.11" in finding.advice) == (status == "problem")


def test_python_and_packages_are_those_that_the_project_declares():
    assert PROJECT["requires-python"] == ">=" + ".".join(map(str, doctor.PYTHON))
    extras = [f'{line}; extra == "dev"' for line in PROJECT["optional-dependencies"]["dev"]]
    declared = doctor.declared(lambda name: PROJECT["dependencies"] + extras if name == PROJECT["name"] else None)
    assert [f"{name}>={least}" for name, least in declared.items()] == PROJECT["dependencies"]


REQUIREMENTS = {"matplotlib": "3.8", "torch": "2.4", "torchvision": "0.19", "jupyterlab": "4.2", "ipywidgets": "8.1"}
INSTALLED = {"matplotlib": "3.10.1", "torch": "2.4.0+cpu", "torchvision": "0.19.1", "ipywidgets": "8.1.5"}
INSTALLED["jupyterlab"] = "4.2.0rc0"


def packages_with(at="a plain terminal", **versions):
    return only(doctor.packages, REQUIREMENTS, (INSTALLED | versions).get, at)


def test_packages_that_are_new_enough():
    assert packages_with().status == "ok"
    assert only(doctor.packages).status == "ok"  # in the Python that runs this test


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("matplotlib", "3.7.9", "matplotlib 3.7.9 is older than 3.8."),
        ("matplotlib", "3", "matplotlib 3 is older than 3.8."),
        ("matplotlib", None, "matplotlib is missing."),
        ("jupyterlab", None, "jupyterlab is missing."),
    ],
)
def test_a_package_that_is_too_old_or_missing(name, version, words):
    finding = packages_with(**{name: version})
    assert finding.status == "problem"
    assert finding.found == words
    assert f'pip install --upgrade "{name}>={REQUIREMENTS[name]}"`' in finding.advice


def test_versions_are_compared_as_numbers():
    assert doctor.release("2.4") == doctor.release("2.4.0+cpu") < doctor.release("2.10.0a0+git1") < doctor.release("3")


def test_torch_is_never_advised_without_torchvision():
    finding = packages_with(torch="2.3.1")
    assert finding.found == "torch 2.3.1 is older than 2.4."
    assert '"torch>=2.4" "torchvision>=0.19"' in finding.advice


def test_colab_and_vs_code_bring_their_own_notebook_server():
    assert packages_with(jupyterlab=None, ipywidgets="7.7.1", at="Colab").status == "ok"
    assert packages_with(jupyterlab=None, at="VS Code").status == "ok"
    assert packages_with(ipywidgets="7.7.1", at="VS Code").status == "problem"


@pytest.mark.parametrize(
    ("environ", "modules", "words"),
    [
        ({"COLAB_RELEASE_TAG": "x", "JPY_PARENT_PID": "1"}, {}, "Colab"),
        ({}, {"google.colab": None, "ipykernel": None}, "Colab"),
        ({"JPY_SESSION_NAME": "a.ipynb", "TERM_PROGRAM": "vscode"}, {"ipykernel": None}, "JupyterLab"),
        ({"VSCODE_PID": "1"}, {"ipykernel": None}, "VS Code"),
        ({"TERM_PROGRAM": "vscode"}, {}, "VS Code"),
        ({}, {"ipykernel": None}, "a kernel"),
        ({}, {}, "a plain terminal"),
    ],
)
def test_where_it_runs(environ, modules, words):
    assert only(doctor.where_it_runs, doctor.place(environ, modules)).found.startswith(words)


@pytest.mark.parametrize(
    ("measured", "status", "words"),
    [((8e9, "free"), "ok", "8.0 GB free"), ((1e9, "free"), "slow", "1.0 GB free"), ((None, ""), "ok", "doesn't say")],
)
def test_memory(measured, status, words):
    finding = only(doctor.memory, lambda: measured)
    assert finding.status == status
    assert words in finding.found


def test_memory_is_measured_here():
    size, kind = doctor.memory_in_bytes()
    assert size is None or 1e8 < size < 1e14
    assert kind in ("free", "in all", "")


def test_a_full_disk_is_a_problem():
    usage = namedtuple("usage", "free")
    assert only(doctor.disk, lambda path: usage(10e9)).status == "ok"
    finding = only(doctor.disk, lambda path: usage(0.1e9))
    assert finding.status == "problem"
    assert "0.10 GB free" in finding.found


# torch and torchvision


def test_torch_and_torchvision_work_together_here():
    assert only(doctor.torch_and_torchvision).status == "ok"


def raises(error):
    def function(*args):
        raise error

    return function


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (raises(RuntimeError("operator torchvision::nms does not exist")), "operator torchvision::nms does not exist"),
        (raises(ImportError("libcudart.so.12: cannot open shared object file")), "libcudart.so.12"),
        (lambda: [0, 1, 2], "nms kept the boxes [0, 1, 2]"),
    ],
)
def test_torch_and_torchvision_that_do_not_match(run, words):
    finding = only(doctor.torch_and_torchvision, run)
    assert finding.status == "problem"
    assert words in finding.found
    assert "pip install --force-reinstall torch torchvision" in finding.advice


# The device


def wrong(what, change):
    """Answers of a device that gets one thing wrong; `change` is given the list of right tensors."""

    def compute(device, dtype):
        answers = doctor.answers(CPU, dtype)
        return answers | {what: change(answers[what])}

    return compute


def test_the_difference_has_a_scale_for_each_pair():
    large, small = torch.tensor([1000.0, -500.0]), torch.tensor([-0.1, 0.05])
    assert doctor.difference([large, small], [large, small]) == 0
    assert doctor.difference([large, small + 0.001], [large, small]) == pytest.approx(0.01, rel=1e-5)


def test_the_device_here_is_right():
    finding = only(doctor.device)
    assert finding.status == "ok"
    assert f"up to {doctor.TOLERANCE} is rounding" in finding.found


def test_a_right_device_is_far_within_the_tolerance():
    here, right = doctor.answers(CPU, torch.float32), doctor.answers(CPU, torch.float64)
    for what in right:
        assert 0 < doctor.difference(here[what], right[what]) < 1e-3


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("the predicted noise", lambda right: [*right[:-1], right[-1] + 0.1]),
        ("the predicted noise", lambda right: [right[0] * float("nan"), *right[1:]]),
        ("the predicted noise", lambda right: right[1:] + right[:1]),
        ("the gradients", lambda right: [*right[:20], 1.05 * right[20], *right[21:]]),  # of a single layer
        ("the losses of four steps", lambda right: right[:1] * 4),  # the weights never move
    ],
)
def test_a_device_with_wrong_results(what, change):
    finding = only(doctor.device, torch.device("mps"), wrong(what, change))
    assert finding.status == "problem"
    assert "WRONG RESULTS: mps" in finding.found
    shares = {name: float(share) for share, name in re.findall(r"(\S+) in (the (?:\w+ )*\w+)", finding.found)}
    assert [name for name, share in shares.items() if not share <= doctor.TOLERANCE] == [what]
    assert 'torch.device("cpu")' in finding.advice
    assert "Update torch" in finding.advice


def test_an_optimizer_whose_update_gets_lost_is_found(monkeypatch):
    def lost(device, dtype):
        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.Adam, "step", lambda self: None)
            return doctor.answers(device, dtype)

    assert only(doctor.device, CPU, lost).status == "problem"


def test_a_device_that_cannot_run_the_network():
    error = NotImplementedError("The operator 'aten::x' is not implemented for the MPS device")
    finding = only(doctor.device, torch.device("mps"), raises(error))
    assert finding.status == "problem"
    assert "aten::x" in finding.found
    assert 'torch.device("cpu")' in finding.advice


# bfloat16 and speed


@pytest.mark.parametrize(
    ("seconds", "off", "words"),
    [
        (0.4, 0.01, "worth using, with `train(..., loss=bfloat16_loss)`"),
        (0.4, 0.2, "not accurate enough"),
        (0.4, float("nan"), "not accurate enough"),
        (1.1, 0.01, "gains nothing"),
    ],
)
def test_bfloat16_is_recommended_where_it_is_faster_and_accurate(seconds, off, words):
    times = {diffusion_loss: 1.0, bfloat16_loss: seconds}
    finding = only(doctor.bfloat16, lambda device, loss: times[loss], lambda device: off)
    assert finding.status == "ok"
    assert words in finding.found
    assert f"{seconds:.2g} times as long" in finding.found


def test_a_device_without_bfloat16_is_not_a_problem():
    finding = only(doctor.bfloat16, raises(RuntimeError("no bfloat16")))
    assert finding.status == "ok"
    assert "stay with float32" in finding.found


def test_bfloat16_rounds():
    assert 1e-4 < doctor.bfloat16_rounding(CPU) < 0.1


@pytest.mark.parametrize(("seconds", "status"), [(0.1, "ok"), (0.179, "ok"), (0.181, "slow"), (200, "slow")])
def test_speed(seconds, status):
    finding = only(doctor.speed, lambda device, loss: seconds)
    assert finding.status == status
    assert f"about {int(180 / seconds):,} training steps" in finding.found
    assert ("train_minutes = 0" in finding.advice) == (status == "slow")


def test_the_advised_minutes_are_enough_for_two_thousand_steps():
    assert "`train_minutes = 10`" in only(doctor.speed, lambda device, loss: 0.3).advice


def test_a_step_is_timed():
    assert 1e-4 < doctor.step_seconds(CPU, diffusion_loss) < 10


def test_the_random_state_is_untouched():
    before = torch.get_rng_state()
    doctor.answers(CPU, torch.float32)
    doctor.bfloat16_rounding(CPU)
    doctor.step_seconds(CPU, diffusion_loss)
    assert torch.equal(torch.get_rng_state(), before)


# The report


WELL = {"this": lambda: ok("fine"), "that": lambda: slow("late.", "Wait.")}
ILL = WELL | {"those": lambda: problem("gone.", "Fetch them.")}


def test_one_line_for_each_check(capsys):
    assert check_up(ILL) is None
    lines = ["[ok] this: fine", "[slow] that: late. Wait.", "[problem] those: gone. Fetch them."]
    assert capsys.readouterr().out.splitlines() == lines


def test_long_lines_are_broken_between_words(capsys):
    advice = (
        "Set `train_minutes = 13`, or close other programs and run this cell again, some five or ten minutes later."
    )
    check_up({"speed": lambda: slow("about 476 training steps in three minutes.", advice)})
    first, *others = capsys.readouterr().out.splitlines()
    assert others
    assert all(line.startswith("    ") for line in others)
    assert " ".join([first, *map(str.strip, others)]).endswith(f"in three minutes. {advice}")


@pytest.mark.parametrize(("checks", "status"), [(WELL, 0), (ILL, 1)])
@pytest.mark.parametrize("arguments", [[], ["--json"], ["--line", "Ada"]])
def test_the_exit_status_is_1_where_there_is_a_problem(capsys, checks, status, arguments):
    assert main(arguments, checks) == status


def test_the_line_for_a_teacher_begins_with_the_verdict_and_the_name(capsys):
    fine = {"speed": lambda: ok("about 3,120 training steps in three minutes")}
    tight = {"memory": lambda: slow("1.0 GB free.", "Close other programs.")}
    for checks, begin, end in (
        (fine, "READY | Ada | ", " | 3,120 steps in 3 minutes"),
        (fine | tight, "SLOW | Ada | ", " | 3,120 steps in 3 minutes | memory: 1.0 GB free."),
        (tight | ILL, "NOT READY | Ada | ", " | speed unknown | those: gone."),
        (ILL | {"more": lambda: problem("gone, too.", "")}, "NOT READY | Ada | ", " | those: gone. (and 1 more)"),
    ):
        assert check_in("Ada", checks) is None
        assert main(["--line", "Ada"], checks) == int(begin.startswith("NOT"))
        [in_a_notebook, in_a_terminal] = capsys.readouterr().out.splitlines()
        assert in_a_notebook == in_a_terminal
        assert in_a_terminal.startswith(begin)
        assert in_a_terminal.endswith(end)
        assert f" | Python {sys.version_info[0]}.{sys.version_info[1]}." in in_a_terminal
        assert f" | torch {torch.__version__.split('+')[0]}" in in_a_terminal


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Ada\nof \tLondon", "Ada of London"), ("Ada | Bob", "Ada / Bob"), ("  ", "-"), ("", "-"), (3, "3")],
)
def test_no_name_breaks_the_line(capsys, name, shown):
    check_in(name, {"this": lambda: problem("a | b\nc", "")})
    [line] = capsys.readouterr().out.splitlines()
    parts = line.split(" | ")
    assert (parts[0], parts[1], parts[-1]) == ("NOT READY", shown, "this: a / b c")
    assert len(parts) == 7


def test_without_a_name_there_is_a_line_all_the_same(capsys):
    main(["--line"], WELL)
    assert capsys.readouterr().out.startswith("SLOW | - | ")


def test_json_holds_every_check_and_the_versions(capsys):
    main(["--json"], ILL)
    report = json.loads(capsys.readouterr().out)
    assert [(check["status"], check["title"]) for check in report["checks"]] == [
        ("ok", "this"),
        ("slow", "that"),
        ("problem", "those"),
    ]
    assert report["checks"][2] == {"status": "problem", "found": "gone.", "advice": "Fetch them.", "title": "those"}
    assert report["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert report["packages"]["matplotlib"]
    assert report["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize("error", [ValueError("two\nlines"), ImportError("no torch"), KeyError("x"), AssertionError()])
def test_a_check_that_crashes_is_a_problem_with_the_text_of_the_exception(capsys, error):
    assert main([], {"it": raises(error), "next": lambda: ok("fine")}) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"[problem] it: the check itself failed ({type(error).__name__}: ")
    assert " ".join(str(error).split()) in first
    assert "doctor --json" in first
    assert second == "[ok] next: fine"


def test_a_course_that_is_not_installed():
    finding = only(raises(doctor.importlib.metadata.PackageNotFoundError("course")))
    assert finding.status == "problem"
    assert "pip install --editable ." in finding.advice


def test_in_colab_a_course_that_was_only_fetched_knows_what_it_needs(monkeypatch):
    def missing(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", missing)
    with pytest.raises(doctor.importlib.metadata.PackageNotFoundError):
        doctor.declared()
    monkeypatch.setattr(doctor, "place", lambda: "Colab")
    assert [f"{name}>={least}" for name, least in doctor.declared().items()] == PROJECT["dependencies"]


def test_folders_of_the_user_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    finding = only(raises(OSError(f"{tmp_path}/secret and {doctor.ROOT}/data")))
    assert "~/secret and ./data" in finding.found
    assert str(tmp_path) not in finding.found


def test_a_home_at_the_root_of_the_disk_takes_nothing_away(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("USERPROFILE", "/")
    assert doctor.impersonal("/a/b") == "/a/b"


def test_an_old_python_can_read_the_file():
    ast.parse(Path(doctor.__file__).read_text(), feature_version=(3, 8))


def test_bug_reports_are_asked_for_what_it_prints():
    template = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.md").read_text()
    assert "\npython -m course_utils.classroom.doctor --json\n" in template


# As a command


def run(*arguments, **environment):
    command = [sys.executable, "-m", "course_utils.classroom.doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_whole_as_a_command():
    result = run("--json")
    report = json.loads(result.stdout)
    assert [check["title"] for check in report["checks"]] == list(CHECKS)
    assert [check for check in report["checks"] if check["status"] == "problem"] == []
    assert result.returncode == 0
    assert str(Path.home()) not in result.stdout


def test_without_torch_the_one_line_says_why(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    result = run("--line", "Ada", PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr == ""
    [line] = result.stdout.splitlines()
    assert line.startswith("NOT READY | Ada | ")
    assert "no torch" in line
    assert line.endswith("(and 5 more)")  # every check that needs torch; the first says how to mend it
    assert line.count("libtorch_cpu.so") == 1


def test_without_torch_each_check_still_has_its_line(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    result = run(PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr == ""
    lines = dict(zip(CHECKS, result.stdout.splitlines(), strict=True))
    for title in ("Python", "packages", "where it runs", "disk"):
        assert lines[title].startswith(f"[ok] {title}: ")
    for title in ("torch and torchvision", "data files", "trained weights", "device", "bfloat16", "speed"):
        assert lines[title].startswith(f"[problem] {title}: ")
        assert "libtorch_cpu.so" in lines[title]
    assert "force-reinstall torch torchvision" in lines["torch and torchvision"]


def test_a_torchvision_that_cannot_be_imported_spoils_no_other_check(tmp_path):
    (tmp_path / "torchvision").mkdir()
    error = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(error)
    code = (
        "from course_utils.classroom.doctor import CHECKS, main\n"
        "names = 'packages', 'torch and torchvision', 'data files', 'trained weights'\n"
        "raise SystemExit(main([], {name: CHECKS[name] for name in names}))"
    )
    command, environment = [sys.executable, "-c", code], os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["[ok]", "[problem]", "[ok]", "[ok]"]
    assert "operator torchvision::nms does not exist" in result.stdout
