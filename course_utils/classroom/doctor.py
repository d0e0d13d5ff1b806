"""The doctor: does this computer have what the course needs, and does it compute correctly?

    python -m course_utils.classroom.doctor           one line for each check; exit status 1 if one is a problem
    python -m course_utils.classroom.doctor --json    the same plus versions, as one JSON object for a bug report
    python -m course_utils.classroom.doctor --line Ada    all of it in one line, for the teacher of a workshop

In a notebook, `check_up()` prints the same, in shorter lines, and `check_in("Ada")` the one line.

A check is a function that can be called without arguments and returns the result of ok(), slow() or problem(). It
imports torch, and the course's modules that do, inside the function: the doctor is there for the days when they can't
be imported. For the same reason, this file keeps to what an old Python understands. A new check is a function, and a
line in CHECKS.
"""

import argparse
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import textwrap
from pathlib import Path

COURSE = "diffusion-models-from-scratch"
ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = (3, 11)
REPORT = "report it, with the output of `python -m course_utils.classroom.doctor --json`"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a check found: status is "ok", "slow" or "problem", and the last two come with advice."""

    status: str
    found: str
    advice: str = ""
    title: str = ""

    def __str__(self):
        return f"[{self.status}] {self.title}: {self.found} {self.advice}".rstrip()


def ok(found):
    return Finding("ok", found)


def slow(found, advice):
    return Finding("slow", found, advice)


def problem(found, advice):
    return Finding("problem", found, advice)


# The computer, without torch


def python(version=sys.version_info):
    running, wanted = (".".join(map(str, numbers)) for numbers in (version[:3], PYTHON))
    if version[:2] < PYTHON:
        return problem(
            f"this is {running}, but the course needs {wanted} or newer.",
            f"Install a newer Python, and set up a new environment with it: `make lab PYTHON=python{wanted}`.",
        )
    return ok(running)


def packages(requirements=None, installed=None, at=None):
    """Each dependency that the course declares is installed, and not too old."""
    requirements = declared() if requirements is None else requirements
    installed, at = installed or installed_version, at or place()
    wanting = {}
    for name, least in requirements.items():
        version = installed(name)
        if at in BRINGS_ITS_OWN and name in BRINGS_ITS_OWN[at]:
            continue
        if version is None:
            wanting[name] = f"{name} is missing"
        elif release(version) < release(least):
            wanting[name] = f"{name} {version} is older than {least}"
    if not wanting:
        return ok(f"all {len(requirements)} that the course needs")
    pair = {"torch", "torchvision"}  # each release of one goes with one release of the other
    names = sorted(pair.union(wanting) if pair.intersection(wanting) else wanting)
    command = " ".join(f'"{name}>={requirements[name]}"' for name in names if name in requirements)
    return problem(
        f"{', '.join(wanting.values())}.", f"Run `python -m pip install --upgrade {command}`, and restart the kernel."
    )


def requirements_of(course):
    """What the installed course declares; in Colab, where it is fetched but not installed, what pyproject.toml does."""
    try:
        return importlib.metadata.requires(course)
    except importlib.metadata.PackageNotFoundError:
        if place() != "Colab":
            raise
        import tomllib  # since Python 3.11

        return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]


def declared(requires=requirements_of):
    """{name of a dependency: its lower bound}, from what the course declares, without the extras."""
    lines = [line for line in requires(COURSE) if "extra ==" not in line]
    return {re.match(r"[\w.-]+", line)[0]: (re.findall(r">=\s*([\w.]+)", line) or ["0"])[0] for line in lines}


def installed_version(name):
    """The version as text, or None where the package is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def release(version):
    """The numbers of a version, to compare: "2.4.0+cpu" gives (2, 4). A pre-release counts as its release."""
    numbers = [int(number) for number in re.match(r"\d+(\.\d+)*", version)[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


# Colab keeps its own, older ipywidgets; VS Code needs no JupyterLab.
BRINGS_ITS_OWN = {"Colab": {"jupyterlab", "ipywidgets"}, "VS Code": {"jupyterlab"}}


def place(environ=os.environ, modules=sys.modules):
    """Where this runs, in a word or two."""
    if "google.colab" in modules or "COLAB_RELEASE_TAG" in environ:
        return "Colab"
    if "VSCODE_PID" in environ or "VSCODE_CWD" in environ:
        return "VS Code"
    if "JPY_SESSION_NAME" in environ:  # set for the kernels of a Jupyter server, even one started in VS Code's terminal
        return "JupyterLab, or Jupyter Notebook"
    if environ.get("TERM_PROGRAM") == "vscode":
        return "VS Code"
    return "a kernel without a Jupyter server" if "ipykernel" in modules else "a plain terminal"


def where_it_runs(at=None):
    return ok(at or place())


def memory(measure=None):
    size, kind = (measure or memory_in_bytes)()
    if size is None:
        return ok("this system doesn't say how much is free")
    found = f"{size / 1e9:.1f} GB {kind}"
    if size < 1.5e9:
        return slow(
            f"{found}; a notebook takes about 1 GB, and the browser needs some too.",
            "Close other programs, and shut down kernels that you aren't using.",
        )
    return ok(found)


def memory_in_bytes():
    """How much memory is free, or at least how much there is, and which of the two; None if neither is known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        [free] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        return 1024 * int(free), "free"
    except (OSError, ValueError):  # not Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "in all"
    except (AttributeError, OSError, ValueError):  # Windows
        return None, ""


def disk(usage=shutil.disk_usage):
    free = usage(ROOT).free
    if free < 0.5e9:
        return problem(
            f"{free / 1e9:.2f} GB free where the course is; unpacked data, checkpoints and notebooks need 0.5 GB.",
            "Delete or move some files.",
        )
    return ok(f"{free / 1e9:.1f} GB free")


# What comes with the course


def data_files(root=None):
    """The four files of Fashion-MNIST are the published ones, by md5; nothing is unpacked."""
    from course_utils.data import DATA, FILES, md5, raw

    faults = []
    for name, (published, _) in FILES.items():
        found = md5(raw(root or DATA) / f"{name}.gz")
        if found != published:
            faults.append(f"{name}.gz is {'missing' if found is None else 'damaged'}")
    if faults:
        return problem(f"{', '.join(faults)}.", restore("data/FashionMNIST"))
    return ok(f"all {len(FILES)} as published")


def weights(folder=None):
    """The two files of trained weights are intact, by sha256."""
    from course_utils.checkpoints import read_checkpoint
    from course_utils.data import DATA
    from course_utils.evaluation import SHA256

    folder = Path(folder or DATA / "weights")
    unet, classifier = folder / "unet.safetensors", folder / "classifier.safetensors"
    faults = [f"{path.name} is missing" for path in (unet, classifier) if not path.is_file()]
    if unet.is_file():
        try:
            read_checkpoint(unet)
        except ValueError:
            faults.append(f"{unet.name} is damaged")
    if classifier.is_file() and hashlib.sha256(classifier.read_bytes()).hexdigest() != SHA256:
        faults.append(f"{classifier.name} is damaged")
    if faults:
        return problem(f"{', '.join(faults)}.", restore("data/weights"))
    return ok("both files intact")


def restore(folder):
    return f"In the course's folder, run `git checkout -- {folder}`, or clone the course again."


# torch, and whether it computes correctly


def torch_and_torchvision(run=None):
    """The two work together: an operator that torchvision adds to torch gives the right answer."""
    versions = " and ".join(f"{name} {installed_version(name) or '(missing)'}" for name in ("torch", "torchvision"))
    try:
        kept = (run or run_nms)()
        wrong = None if kept == [0, 2] else f"nms kept the boxes {kept}, not [0, 2]"
    except Exception as error:  # a mismatch shows as RuntimeError, ImportError, AttributeError or OSError
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        return problem(
            f"{versions} do not work together ({wrong}).",
            "Install the two together: `python -m pip install --force-reinstall torch torchvision`, with the "
            "same --index-url as the first time, if there was one; then restart the kernel. In Colab, choose Runtime, "
            "Disconnect and delete runtime instead: the versions that Colab ships work together.",
        )
    return ok(f"{versions} work together")


def run_nms():
    """The first and the third of three boxes: the second covers nearly the same as the first, with a lower score."""
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1.9], [5, 5, 6, 6]])
    return nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()


TOLERANCE = 0.01  # many GPUs multiply with 10 bits (TF32), which, imitated on a CPU, costs 0.003; float32 costs 2e-6


def device(best=None, compute=None):
    """The device that the course will use agrees with float64 on the CPU, on the course's own network."""
    import torch

    from course_utils.device import best_device

    best, compute = best or best_device(), compute or answers
    name = torch.cuda.get_device_name(best) if best.type == "cuda" else best.type
    advice = f"Update torch. If that does not help, {REPORT}."
    if best.type != "cpu":
        advice = f'Compute on the CPU: write `device = torch.device("cpu")` instead of `best_device()`. {advice}'
    right = answers(torch.device("cpu"), torch.float64)
    try:
        here = compute(best, torch.float32)
    except RuntimeError as error:  # also if something is not implemented, or memory runs out
        return problem(f"{name} can't run the network ({error}).", advice)
    off = {what: difference(here[what], right[what]) for what in right}
    found = f"{name} differs from float64 on the CPU by {', '.join(f'{off[what]:.1g} in {what}' for what in off)}"
    found += f" (as a share of the largest value; up to {TOLERANCE} is rounding)"
    if all(share <= TOLERANCE for share in off.values()):  # NaN is not
        return ok(found)
    return problem(f"WRONG RESULTS: {found}.", advice)


def difference(here, right):
    """The largest, over pairs of tensors, of max |here - right| / max |right|. A NaN on either side gives NaN."""
    import torch

    # Each pair has its own scale: gradients of one layer may be a thousand times those of another, and would hide them.
    shares = [(ours - exact).abs().max() / exact.abs().max() for ours, exact in zip(here, right, strict=True)]
    return torch.stack(shares).max().item()


def answers(device, dtype):
    """What the shipped network computes on a device: {what: list of tensors}, moved to float64 on the CPU to compare.

    This includes a few training steps, with the weights stored as in notebook 04: an Apple GPU once computed the right
    gradients, and then an update that never reached such weights.
    """
    import torch

    from course_utils.forward import add_noise
    from course_utils.schedule import cosine_schedule
    from course_utils.training import diffusion_loss, with_condition

    network = shipped_network().to(device, dtype, memory_format=torch.channels_last)
    x_0, t, noise, labels = inputs(device, dtype)
    model, path, weights = with_condition(network, labels), cosine_schedule(), list(network.parameters())
    predicted = model(add_noise(x_0, t, noise, path), t)
    gradients = torch.autograd.grad(predicted.square().mean(), weights)  # those of the loss are small after training
    optimizer, losses = torch.optim.Adam(weights, lr=5e-4), []
    for _ in range(4):
        loss = diffusion_loss(model, x_0, t, noise, path)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    found = {"the predicted noise": predicted.detach(), "the gradients": gradients, "the losses of four steps": losses}
    return {what: [tensor.cpu().double() for tensor in tensors] for what, tensors in found.items()}


def shipped_network():
    import torch

    from course_utils.checkpoints import load_unet
    from course_utils.data import DATA

    with torch.random.fork_rng(devices=[]):  # building it draws weights, but a check must leave no trace
        return load_unet(DATA / "weights" / "unet.safetensors")


def inputs(device, dtype):
    """x_0, t, noise, labels, the same everywhere: eight bright rectangles on black, much like shirts, at eight t.

    None of the t is very small: at t = 1, the noise is hardly larger than the error of rounding x_t to fewer bits, so
    no fast device could make it out.
    """
    import torch

    x_0 = torch.full((8, 1, 28, 28), -1.0)
    x_0[:, :, 4:24, 8:20] = 0.5
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([50, 100, 250, 400, 550, 700, 850, 1000])
    return x_0.to(device, dtype), t.to(device), noise.to(device, dtype), torch.arange(8, device=device)


# How fast


def bfloat16(seconds=None, rounding=None):
    """Whether training in bfloat16 would pay off; not a fault either way."""
    from course_utils.device import best_device
    from course_utils.training import bfloat16_loss, diffusion_loss

    best, seconds, rounding = best_device(), seconds or step_seconds, rounding or bfloat16_rounding
    try:
        speedup = seconds(best, diffusion_loss) / seconds(best, bfloat16_loss)
        off = rounding(best)
    except (RuntimeError, FloatingPointError) as error:
        return ok(f"can't be used on {best.type} ({error}); stay with float32")
    found = f"a training step takes {1 / speedup:.2g} times as long as in float32, and the predicted noise is off by "
    found += f"{off:.2g} (root mean square)"
    if not off <= 0.03:  # adds 0.001 to a loss of about 0.07
        return ok(f"{found}: not accurate enough, stay with float32")
    if speedup < 1.2:
        return ok(f"{found}: gains nothing, stay with float32")
    return ok(f"{found}: worth using, with `train(..., loss=bfloat16_loss)`")


def bfloat16_rounding(device):
    """How far bfloat16 moves the shipped network's predicted noise: the root mean square, a float."""
    import torch

    from course_utils.device import bfloat16 as in_bfloat16
    from course_utils.forward import add_noise
    from course_utils.schedule import cosine_schedule

    network = shipped_network().to(device)
    x_0, t, noise, labels = inputs(device, torch.float32)
    x_t = add_noise(x_0, t, noise, cosine_schedule())
    with torch.no_grad():
        exact, rounded = network(x_t, t, labels), in_bfloat16(network)(x_t, t, labels)
    return (rounded - exact).square().mean().sqrt().item()


def speed(seconds=None):
    """How many training steps notebook 04 would take in its three minutes."""
    from course_utils.device import best_device
    from course_utils.training import diffusion_loss

    steps = int(180 / (seconds or step_seconds)(best_device(), diffusion_loss))
    found = f"about {steps:,} training steps in three minutes"
    if steps < 1000:
        minutes = max(4, round(3 * 2000 / max(steps, 1)))
        return slow(
            f"{found}; notebook 04 wants 1,000 or more.",
            f"There, set `train_minutes = {minutes}`, or `train_minutes = 0` for the shipped weights. Close other "
            "programs. In Colab, choose Runtime, Change runtime type, and a GPU.",
        )
    return ok(found)


def step_seconds(device, loss):
    """How long a training step of notebook 04's network takes, in seconds."""
    import torch

    from course_utils.schedule import cosine_schedule
    from course_utils.training import steps_in
    from course_utils.unet import UNet

    with torch.random.fork_rng(devices=[]):  # building it draws weights, but a check must leave no trace
        model = UNet(condition=10).to(device, memory_format=torch.channels_last)
    images = torch.arange(64 * 28 * 28, device=device).reshape(64, 1, 28, 28).sin()
    labels, minutes = torch.arange(64, device=device) % 10, 10
    return 60 * minutes / steps_in(minutes, model, images, cosine_schedule(), condition=labels, loss=loss)


# In this order, because a fault in one often causes the faults after it.
CHECKS = {
    "Python": python,
    "packages": packages,
    "torch and torchvision": torch_and_torchvision,
    "where it runs": where_it_runs,
    "memory": memory,
    "disk": disk,
    "data files": data_files,
    "trained weights": weights,
    "device": device,
    "bfloat16": bfloat16,
    "speed": speed,
}


def examine(checks=None):
    """Yields the Finding of each check, {title: function}; one that raises is a problem, with the exception's text."""
    for title, check in (checks or CHECKS).items():
        try:
            finding = check()
            if not isinstance(finding, Finding):
                raise TypeError(f"it returned {type(finding).__name__}, not a Finding")
        except importlib.metadata.PackageNotFoundError:
            finding = problem(
                "the course is not installed in this Python.",
                "In the course's folder, run `python -m pip install --editable .` (`make lab` does it for you).",
            )
        except (Exception, SystemExit) as error:
            finding = problem(
                f"the check itself failed ({type(error).__name__}: {error}).",
                f"Fix the problems above first. If this one remains, {REPORT}.",
            )
        yield Finding(finding.status, impersonal(finding.found), impersonal(finding.advice), title)


def impersonal(text):
    """The text as one line, without the names of the course's and the user's folders."""
    for folder, sign in ((ROOT, "."), (Path.home(), "~"), (Path.home().resolve(), "~")):
        if folder != Path(folder.anchor):
            text = text.replace(str(folder), sign)
    return " ".join(text.split())


def check_up(checks=None):
    """Print what each check found, as soon as it is done: [ok], [slow] or [problem], and what to do.

    Long lines are broken here: a notebook would break them in the middle of a word.
    """
    for finding in examine(checks):
        print(textwrap.fill(str(finding), 84, subsequent_indent="    ", break_on_hyphens=False), flush=True)


def report(findings):
    """What a bug report needs, as a dict: versions, the platform, and the findings. No names of users or computers."""
    try:
        names = [COURSE, *declared()]
    except importlib.metadata.PackageNotFoundError:
        names = ["torch", "torchvision"]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": {name: installed_version(name) for name in names},
        "checks": [dataclasses.asdict(finding) for finding in findings],
    }


def check_in(name="-", checks=None):
    """Print one line, for the teacher of a workshop: whether this computer is ready, and what it is.

    Args:
        name: how you want to be listed. The doctor doesn't look up any names.
    """
    print(in_one_line(name, list(examine(checks))))


def in_one_line(name, findings):
    """Parts separated by bars (none has one inside): READY, SLOW or NOT READY, the name, the computer, the reason."""
    status = {finding.status for finding in findings}
    verdict, worst = (
        ("NOT READY", "problem") if "problem" in status else ("SLOW", "slow") if "slow" in status else ("READY", None)
    )
    steps = re.search(r"about ([\d,]+) training steps", " ".join(finding.found for finding in findings))
    parts = [
        verdict,
        impersonal(str(name)) or "-",
        f"Python {platform.python_version()}",
        f"torch {installed_version('torch') or 'missing'}",
        f"{device_type()}, {os.cpu_count()} cores, {place()}",
        f"{steps[1]} steps in 3 minutes" if steps else "speed unknown",
    ]
    reasons = [f"{finding.title}: {finding.found}" for finding in findings if finding.status == worst]
    if reasons:  # the first often causes the others
        parts.append(reasons[0] + (f" (and {len(reasons) - 1} more)" if reasons[1:] else ""))
    return " | ".join(part.replace("|", "/") for part in parts)


def device_type():
    try:
        from course_utils.device import best_device

        return best_device().type
    except Exception:  # torch can't be imported, say; a check has reported it
        return "no torch"


def main(arguments=None, checks=None):
    """The command line. Returns the exit status: 1 if there is a problem, else 0."""
    parser = argparse.ArgumentParser(prog="python -m course_utils.classroom.doctor", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object, for a bug report")
    parser.add_argument("--line", nargs="?", const="-", metavar="NAME", help="one line, for the teacher of a workshop")
    options, findings = parser.parse_args(arguments), []
    for finding in examine(checks):
        findings.append(finding)
        if not options.json and options.line is None:
            print(finding, flush=True)
    if options.json:
        print(json.dumps(report(findings), indent=2))
    elif options.line is not None:
        print(in_one_line(options.line, findings))
    return int(any(finding.status == "problem" for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
