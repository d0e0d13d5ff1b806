"""Checkpoints: one safetensors file, which holds tensors and text but can't hold code (a pickle can)."""

import contextlib
import glob
import hashlib
import inspect
import json
import os
import time
import uuid
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from course_utils.text import TextEncoder
from course_utils.unet import UNet


def save_checkpoint(path, model: nn.Module, *, ema=None, optimizer=None, generator=None, history=(), run=None):
    """Write the model and whatever else is passed; there is never half a file at `path`.

    Missing folders are created, and an existing file is replaced only once the new one is complete. The model's
    `config` is saved with it, if it has one, and a TextEncoder's within it. `run`, a dict of text and numbers, says how
    it is trained, as `train` notes it. OSError if the file can't be written, say because the disk is full; an existing
    file is left untouched.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors["history"] = torch.tensor(history, dtype=torch.float64)
    if ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in ema.model.state_dict().items()}
        tensors["ema updates"] = torch.tensor(ema.updates)
    if optimizer is not None:
        for i, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(value) for name, value in state.items()}
    if generator is not None:
        tensors |= {"generator": generator.get_state(), "torch generator": torch.get_rng_state()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # tied ones, too
    parts = {"ema": ema, "optimizer": optimizer, "generator": generator}
    metadata = {
        "format": "course_utils checkpoint",
        "config": json.dumps(getattr(model, "config", None), default=in_config),
        "holds": " ".join(name for name, part in parts.items() if part is not None),
        "run": json.dumps(run or {}),
    }
    metadata["sha256"] = digest(tensors, metadata)
    write_whole(Path(path), lambda part: save_file(tensors, part, metadata))


def load_checkpoint(path, model: nn.Module, *, ema=None, optimizer=None, generator=None) -> list:
    """Read back, in place, what `save_checkpoint` wrote, and return the history. If it does not fit, nothing changes.

    With a generator, torch's own is restored too. FileNotFoundError if there is no such file; ValueError if it is
    damaged, is from another model (it says what differs), or lacks something that was asked for.
    """
    tensors, metadata = read_checkpoint(path)
    wanted = {"ema": ema, "optimizer": optimizer, "generator": generator}
    missing = [name for name, part in wanted.items() if part is not None and name not in metadata["holds"].split()]
    if missing:
        raise ValueError(f"{path} does not contain {', '.join(missing)}. Save them too, or don't ask for them.")
    check_same_shapes(path, part_of(tensors, "model."), model)
    if ema is not None:
        check_same_shapes(path, part_of(tensors, "ema."), ema.model)
    if optimizer is not None:
        check_same_optimizer(path, optimizer_state(tensors), optimizer)
    if generator is not None and generator.get_state().shape != tensors["generator"].shape:
        raise ValueError(f"{path} holds a generator from another kind of device. Continue on the kind it trained on.")

    model.load_state_dict(part_of(tensors, "model."))
    if ema is not None:
        ema.model.load_state_dict(part_of(tensors, "ema."))
        ema.updates = tensors["ema updates"].item()
    if optimizer is not None:
        optimizer.load_state_dict(optimizer.state_dict() | {"state": optimizer_state(tensors)})
    if generator is not None:
        generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["torch generator"])
    return tensors["history"].tolist()


def load_unet(path) -> UNet:
    """The UNet in a checkpoint, built from the configuration in the file, in eval mode; the EMA if there is one."""
    tensors, metadata = read_checkpoint(path)
    config = json.loads(metadata["config"])
    if config is None or set(config) != set(inspect.signature(UNet).parameters):
        raise ValueError(f"{path} does not hold a UNet from this course. Build its model and use load_checkpoint.")
    if isinstance(config["condition"], str):
        needs = f"needs a {config['condition']} for its condition, which is not in the file"
        raise ValueError(f"The UNet in {path} {needs}. Build the UNet with one, and use load_checkpoint.")
    if isinstance(config["condition"], dict):
        config["condition"] = TextEncoder(**config["condition"])
    model = UNet(**config)
    weights = part_of(tensors, "ema.") or part_of(tensors, "model.")
    check_same_shapes(path, weights, model)
    model.load_state_dict(weights)
    return model.eval()


def in_config(module):
    """What the configuration says about a condition's module: all that it takes to build it, or only its kind."""
    return module.config if isinstance(module, TextEncoder) else type(module).__name__


def read_checkpoint(path):
    """All tensors of a checkpoint, and its metadata. ValueError if it is damaged, or not a checkpoint."""
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, but a checkpoint is a file: name a file in it.")
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}. Save one with save_checkpoint, or check the path.")
    try:
        with safe_open(path, "pt") as file:
            names, metadata = file.keys(), file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged, or not a checkpoint: {error}. Use another copy, or delete it.") from None
    if metadata.get("format") != "course_utils checkpoint" or not {"config", "holds", "run", "sha256"} <= set(metadata):
        raise ValueError(f"{path} is a safetensors file, but not a checkpoint from this version of the course.")
    if metadata["sha256"] != digest(tensors, metadata):
        raise ValueError(f"{path} is damaged: its contents have changed. Use another copy, or delete it.")
    return tensors, metadata


def read_run(path):
    """How the checkpoint was trained, as `train` noted it; empty if no step was taken yet."""
    tensors, metadata = read_checkpoint(path)
    return json.loads(metadata["run"]) if len(tensors["history"]) else {}


def digest(tensors, metadata):
    """A checksum of everything in a checkpoint, to detect damage. The tensors are on the CPU."""
    total = hashlib.sha256(f"{metadata['config']} {metadata['holds']} {metadata['run']}".encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def write_whole(path, write):
    """Let `write` fill a temporary file in the same folder, and rename it only once all of it is on the disk."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, (OSError, SafetensorError)):
            do = "Free some space there, or choose another path. Any earlier file is untouched"
            raise OSError(f"{path} could not be written ({error}). {do}.") from error
        raise
    tidy(path)


def tidy(path):
    """Get the new name onto the disk too, and remove what killed saves left behind: parts over an hour old."""
    if os.name == "posix":  # only there can folders be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


def part_of(tensors, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def check_same_shapes(path, weights, model):
    saved = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    built = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    differing = [name for name in sorted(saved | built) if saved.get(name) != built.get(name)]
    if differing:
        first = differing[0]
        shapes = f"{saved.get(first)} in the file and {built.get(first)} in the model"
        raise ValueError(
            f"{path} is from another model: {len(differing)} of its weights differ, first {first}, which has shape "
            f"{shapes}. Build the model as it was when it was saved."
        )


def check_same_optimizer(path, state, optimizer):
    shapes = [weight.shape for group in optimizer.param_groups for weight in group["params"]]
    for i, values in state.items():
        if i >= len(shapes) or any(value.ndim > 0 and value.shape != shapes[i] for value in values.values()):
            raise ValueError(f"{path} holds the state of an optimizer for other weights. Build it as it was then.")


def optimizer_state(tensors):
    """{index of the parameter: {name: tensor}}, as torch's optimizers have it."""
    state = {}
    for key, tensor in part_of(tensors, "optimizer.").items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    return state
