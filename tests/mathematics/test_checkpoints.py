import copy
import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from course_utils import checkpoints
from course_utils.checkpoints import load_checkpoint, load_dit, load_unet, save_checkpoint
from course_utils.training import EMA
from course_utils.transformer import DiT

HISTORY = [0.1, 1 / 3, 1e-30]


class Run:
    """All that a checkpoint can hold: after one step of training, or, as yet, untrained."""

    def __init__(self, model, seed=None):
        self.model, self.ema = model, EMA(model)
        self.optimizer, self.generator = torch.optim.Adam(model.parameters()), torch.Generator()
        if seed is not None:
            self.generator.manual_seed(seed)
            torch.rand(5, generator=self.generator)
            self.step(seed)
            self.ema.update(self.model)

    def step(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        for weight in self.model.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        self.optimizer.step()

    def parts(self):
        return dict(ema=self.ema, optimizer=self.optimizer, generator=self.generator)

    def state(self):
        """A copy of it, as {name: tensor or number}."""
        state = {f"model.{name}": weight for name, weight in self.model.state_dict().items()}
        state |= {f"ema.{name}": weight for name, weight in self.ema.model.state_dict().items()}
        for i, of_weight in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{i}.{name}": tensor for name, tensor in of_weight.items()}
        state |= {"updates": torch.tensor(self.ema.updates), "generator": self.generator.get_state()}
        return copy.deepcopy(state | {"torch": torch.get_rng_state()})


def same(a, b):
    return a.keys() == b.keys() and all(a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def trained(make_unet):
    return Run(make_unet(seed=1), seed=1)


@pytest.fixture
def fresh(make_unet):
    return Run(make_unet(seed=2))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


@pytest.fixture
def saved(trained, path):
    """The path of a checkpoint of `trained`."""
    save_checkpoint(path, trained.model, **trained.parts(), history=HISTORY)
    return path


def naming(path):
    """The pattern of a message that names the file."""
    return re.escape(str(path))


# There and back


def test_loading_gives_everything_back_bit_for_bit(trained, fresh, saved):
    before = trained.state()
    torch.rand(1)  # torch's own generator has moved on
    assert load_checkpoint(saved, fresh.model, **fresh.parts()) == HISTORY
    assert same(fresh.state(), before)


def test_loaded_optimizer_takes_the_same_next_step(trained, fresh, saved):
    load_checkpoint(saved, fresh.model, **fresh.parts())
    trained.step()
    fresh.step()
    assert same(fresh.state(), trained.state())


def test_model_alone_can_be_saved_and_loaded(trained, fresh, path):
    save_checkpoint(path, trained.model)
    fresh.model.train()
    assert load_checkpoint(path, fresh.model) == []
    assert same(fresh.model.state_dict(), trained.model.state_dict())


def test_parts_that_are_not_asked_for_are_left_alone(fresh, saved):
    before = fresh.state()
    load_checkpoint(saved, fresh.model)
    after = fresh.state()
    assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("model."))


def test_buffers_are_saved_too(path):
    model = nn.BatchNorm1d(2)
    model(torch.randn(8, 2))
    save_checkpoint(path, model)
    again = nn.BatchNorm1d(2)
    load_checkpoint(path, again)
    assert same(again.state_dict(), model.state_dict())


def test_optimizer_without_a_step_can_be_saved_and_loaded(make_unet, fresh, path):
    start = Run(make_unet(seed=1))
    save_checkpoint(path, start.model, **start.parts())
    load_checkpoint(path, fresh.model, **fresh.parts())
    start.step()
    fresh.step()
    assert same(fresh.state(), start.state())


def test_optimizer_other_than_adam_can_be_saved_and_loaded(path):
    runs = [nn.Linear(2, 2), nn.Linear(2, 2)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in runs]
    runs[0](torch.ones(1, 2)).sum().backward()
    optimizers[0].step()
    save_checkpoint(path, runs[0], optimizer=optimizers[0])
    load_checkpoint(path, runs[1], optimizer=optimizers[1])
    momenta = [[state["momentum_buffer"] for state in optimizer.state.values()] for optimizer in optimizers]
    assert all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))


def test_weights_that_lie_across_memory_are_saved(path):
    model = nn.Linear(3, 2)
    model.weight.data = torch.arange(6.0).reshape(3, 2).T
    save_checkpoint(path, model)
    again = nn.Linear(3, 2)
    load_checkpoint(path, again)
    assert torch.equal(again.weight, model.weight)


def test_file_is_safetensors_with_the_configuration_as_metadata(trained, saved):
    with safe_open(saved, "pt") as file:
        config = json.loads(file.metadata()["config"])
        weights = {name: file.get_tensor(f"model.{name}") for name in trained.model.state_dict()}
    assert config == trained.model.config
    assert same(weights, dict(trained.model.state_dict()))


def test_path_may_be_text_and_its_folders_are_made(trained, fresh, tmp_path):
    path = str(tmp_path / "new" / "folders" / "file")
    save_checkpoint(path, trained.model)
    load_checkpoint(path, fresh.model)
    assert same(fresh.model.state_dict(), trained.model.state_dict())


def test_nothing_but_the_checkpoint_is_left_in_the_folder(saved):
    assert list(saved.parent.iterdir()) == [saved]


# A UNet from a file


def test_load_unet_builds_the_network_of_the_file(make_unet, path):
    model = make_unet(in_channels=3, multipliers=(2, 1), condition=4, patch=1)
    save_checkpoint(path, model)
    again = load_unet(path)
    assert again.config == model.config
    assert same(again.state_dict(), model.state_dict())


def test_load_unet_prefers_the_average(trained, saved):
    assert same(load_unet(saved).state_dict(), trained.ema.model.state_dict())
    assert not same(load_unet(saved).state_dict(), trained.model.state_dict())


def test_load_unet_is_ready_to_sample(saved):
    assert not any(module.training for module in load_unet(saved).modules())


def test_load_dit_builds_the_network_of_the_file(path):
    model = DiT(in_channels=3, width=8, depth=1, heads=2, condition=4, patch=2)
    save_checkpoint(path, model)
    again = load_dit(path)
    assert again.config == model.config
    assert same(again.state_dict(), model.state_dict())
    assert not any(module.training for module in again.modules())


class Other(nn.Linear):
    """A network with a configuration, but no UNet."""

    def __init__(self):
        super().__init__(2, 2)
        self.config = dict(width=2)


@pytest.mark.parametrize("model", [nn.Linear(2, 2), Other(), DiT(width=8, depth=1)], ids=["none", "another", "DiT"])
def test_load_unet_of_a_model_that_is_no_unet_says_so(path, model):
    save_checkpoint(path, model)
    with pytest.raises(ValueError, match=f"{naming(path)} holds no UNet"):
        load_unet(path)


def test_load_dit_of_a_unet_says_so(saved):
    with pytest.raises(ValueError, match=f"{naming(saved)} holds no DiT"):
        load_dit(saved)


# A save that dies half-way


def half_a_file(tensors, path, metadata=None):
    Path(path).write_bytes(b"half a file")
    raise OSError("no space left")


def fail(*_):
    raise OSError("no space left")


def interrupt(*_):
    raise KeyboardInterrupt


WAYS_TO_DIE = [
    pytest.param(checkpoints, "save_file", half_a_file, OSError, id="while writing"),
    pytest.param(checkpoints, "save_file", interrupt, KeyboardInterrupt, id="Ctrl-C"),
    pytest.param(os, "fsync", fail, OSError, id="before all is on the disk"),
    pytest.param(os, "replace", fail, OSError, id="before it has its name"),
]


@pytest.mark.parametrize(("place", "name", "death", "error"), WAYS_TO_DIE)
def test_save_that_dies_leaves_the_old_checkpoint_and_no_litter(fresh, saved, monkeypatch, place, name, death, error):
    before = saved.read_bytes()
    monkeypatch.setattr(place, name, death)
    with pytest.raises(error):
        save_checkpoint(saved, fresh.model)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_file_gets_its_name_only_once_it_is_whole_and_on_the_disk(trained, fresh, saved, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def spied_fsync(handle):
        events.append("fsync")
        fsync(handle)

    def spied_replace(part, path):
        events.append("replace")
        load_checkpoint(part, trained.model)  # already whole
        assert os.path.dirname(part) == os.path.dirname(path)  # elsewhere a rename may be a copy
        replace(part, path)

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(os, "replace", spied_replace)
    save_checkpoint(saved, fresh.model)
    assert events == ["fsync", "replace", "fsync"]  # the file, its name, the folder that holds the name
    assert same(trained.model.state_dict(), fresh.model.state_dict())


# Files that are damaged, foreign, or of something else


class Payload:
    """What a pickle can do: unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def damage(path, how):
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    if how == "truncated in the weights":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "truncated in the header":
        path.write_bytes(whole[: 8 + header // 2])
    elif how == "one byte short":
        path.write_bytes(whole[:-1])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("These are not the weights that you are looking for.")
    elif how == "header of a wrong length":
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    elif how == "header that is no JSON":
        path.write_bytes(whole[:8] + b"[" + whole[9:])
    elif how == "foreign safetensors":
        save_file({"weight": torch.zeros(2)}, path)
    elif how == "foreign safetensors with metadata":
        save_file({"weight": torch.zeros(2)}, path, {"format": "pt"})
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Payload(path.parent / "executed")))
    elif how == "torch.save":
        torch.save({"model": Payload(path.parent / "executed")}, path)


HOW = [
    "truncated in the weights",
    "truncated in the header",
    "one byte short",
    "empty",
    "text",
    "header of a wrong length",
    "header that is no JSON",
    "foreign safetensors",
    "foreign safetensors with metadata",
    "pickle",
    "torch.save",
]


@pytest.mark.parametrize("how", HOW)
def test_damaged_or_foreign_file_is_named_and_nothing_is_changed(fresh, saved, how):
    damage(saved, how)
    before = fresh.state()
    with pytest.raises(ValueError, match=naming(saved)):
        load_checkpoint(saved, fresh.model, **fresh.parts())
    assert same(fresh.state(), before)
    with pytest.raises(ValueError, match=naming(saved)):
        load_unet(saved)


@pytest.mark.parametrize("how", ["pickle", "torch.save"])
def test_nothing_in_a_pickle_is_executed(fresh, saved, how):
    damage(saved, how)
    for load in (lambda: load_checkpoint(saved, fresh.model), lambda: load_unet(saved)):
        with pytest.raises(ValueError, match="not a checkpoint"):
            load()
    assert list(saved.parent.iterdir()) == [saved]


def error_of(call):
    try:
        call()
    except Exception as error:
        return error


@pytest.mark.parametrize("what", ["metadata", "names, shapes and places of the tensors"])
def test_flipped_bit_in_the_header_does_no_harm_or_is_reported_and_nothing_is_changed(fresh, saved, what):
    whole, generator = saved.read_bytes(), torch.Generator().manual_seed(0)
    end_of_metadata, end = whole.index(b"},") + 1, 8 + int.from_bytes(whole[:8], "little")
    first, last = (8, end_of_metadata) if what == "metadata" else (end_of_metadata, end)
    for bit in torch.randint(8 * first, 8 * last, (100,), generator=generator).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(damaged)
        before = fresh.state()
        error = error_of(lambda: load_checkpoint(saved, fresh.model, **fresh.parts()))
        assert error is None or (isinstance(error, ValueError) and str(saved) in str(error))
        assert error is None or same(fresh.state(), before)
        error = error_of(lambda: load_unet(saved))
        assert error is None or (isinstance(error, ValueError) and str(saved) in str(error))


def test_flipped_bit_in_a_weight_is_reported_and_nothing_is_changed(fresh, saved):
    whole, before = bytearray(saved.read_bytes()), fresh.state()
    whole[len(whole) // 2] ^= 1
    saved.write_bytes(whole)
    with pytest.raises(ValueError, match=naming(saved)):
        load_checkpoint(saved, fresh.model, **fresh.parts())
    assert same(fresh.state(), before)
    with pytest.raises(ValueError, match=naming(saved)):
        load_unet(saved)


def test_missing_file_is_named(fresh, path):
    with pytest.raises(FileNotFoundError, match=naming(path)):
        load_checkpoint(path, fresh.model)
    with pytest.raises(FileNotFoundError, match=naming(path)):
        load_unet(path)


OTHER_ARCHITECTURES = {
    "wider": (dict(base_channels=16), r"conv_in\.1\.bias"),
    "with labels": (dict(condition=3), r"condition\.weight"),
    "one resolution less": (dict(multipliers=(1,)), r"down\.1\.conv\.bias"),
}


@pytest.mark.parametrize(("config", "differs"), OTHER_ARCHITECTURES.values(), ids=OTHER_ARCHITECTURES.keys())
def test_other_architecture_is_refused_by_what_differs_and_nothing_is_changed(make_unet, saved, config, differs):
    other = Run(make_unet(**config), seed=3)
    before = other.state()
    with pytest.raises(ValueError, match=differs) as caught:
        load_checkpoint(saved, other.model, **other.parts())
    assert str(saved) in str(caught.value)
    assert same(other.state(), before)


def test_model_alone_of_another_architecture_is_refused_and_is_not_changed(make_unet, saved):
    model = make_unet(base_channels=16)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=naming(saved)):
        load_checkpoint(saved, model)
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("part", ["ema", "optimizer"])
def test_part_of_another_architecture_is_refused_and_nothing_is_changed(make_unet, fresh, saved, part):
    other, before = Run(make_unet(base_channels=16), seed=3), fresh.state()
    other_before = other.state()
    with pytest.raises(ValueError, match=naming(saved)):
        load_checkpoint(saved, fresh.model, **fresh.parts() | {part: getattr(other, part)})
    assert same(fresh.state(), before)
    assert same(other.state(), other_before)


class GeneratorElsewhere(torch.Generator):
    """A generator as on a GPU: its state has another size."""

    def get_state(self):
        return torch.zeros(16, dtype=torch.uint8)


def test_generator_of_another_device_is_refused_and_nothing_is_changed(trained, fresh, path):
    save_checkpoint(path, trained.model, **trained.parts() | {"generator": GeneratorElsewhere()})
    before = fresh.state()
    with pytest.raises(ValueError, match=naming(path)):
        load_checkpoint(path, fresh.model, **fresh.parts())
    assert same(fresh.state(), before)


@pytest.mark.parametrize("part", ["ema", "optimizer", "generator"])
def test_part_that_the_file_lacks_is_named_and_nothing_is_changed(trained, fresh, path, part):
    save_checkpoint(path, trained.model, **{name: value for name, value in trained.parts().items() if name != part})
    before = fresh.state()
    with pytest.raises(ValueError, match=part) as caught:
        load_checkpoint(path, fresh.model, **fresh.parts())
    assert str(path) in str(caught.value)
    assert same(fresh.state(), before)


def test_tied_weights_are_saved_and_stay_tied(tmp_path):
    def tied():
        model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        model[1].weight = model[0].weight
        return model

    saved, loaded = tied(), tied()
    save_checkpoint(tmp_path / "tied.safetensors", saved)
    load_checkpoint(tmp_path / "tied.safetensors", loaded)
    assert torch.equal(loaded[0].weight, saved[0].weight)
    assert loaded[1].weight is loaded[0].weight
