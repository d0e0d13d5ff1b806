"""Wrong arguments are refused at the call: the message names the argument and says what was passed."""

import contextlib
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from course_utils import evaluation
from course_utils.checkpoints import load_checkpoint
from course_utils.data import scale, unscale
from course_utils.forward import add_noise, forward_step, posterior, predict_noise, predict_x_0
from course_utils.predictions import NOISE, VELOCITY, X_0, V
from course_utils.sampling import ddim_encode, ddim_step, ddpm_step, denoiser, sample, sample_steps
from course_utils.schedule import NoiseSchedule, cosine_schedule, linear_schedule, straight_path
from course_utils.training import EMA, diffusion_loss, steps_in, train, training_step
from course_utils.transformer import DiT
from course_utils.unet import UNet, shapes_through

PATH, SHAPE = cosine_schedule(10), (2, 1, 8, 8)
X = torch.zeros(SHAPE)
T = torch.tensor([1, 10])
IMAGES = torch.linspace(-1, 1, 4 * 64).reshape(1, 8, 8, 4).permute(3, 0, 1, 2)  # each from dark to bright
LABELS = torch.tensor([0, 1, 2, 3])


@contextlib.contextmanager
def refused(argument, *pieces, error=(TypeError, ValueError)):
    """A TypeError or ValueError whose message has the argument in it, and all the pieces."""
    with pytest.raises(error) as caught:
        yield
    message = str(caught.value)
    assert re.search(rf"(?<!\w){re.escape(argument)}", message), message
    for piece in pieces:
        assert piece in message, message


def in_words(value):
    """What a message says of a value."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype).removeprefix("torch."), str(tuple(value.shape))
    if isinstance(value, np.ndarray):
        return "numpy", str(value.shape)
    return (repr(value),)


def answer_0(x_t, t, condition=None):
    return torch.zeros_like(x_t)


def never(x_t, t):
    raise AssertionError("the walk began")


# The arithmetic on batches: {function: (call(x, t, other, path), the name of x, the name of other)}

ARITHMETIC = {
    "add_noise": (add_noise, "x_0", "noise"),
    "forward_step": (forward_step, "x_prev", "noise"),
    "predict_x_0": (predict_x_0, "x_t", "noise_hat"),
    "predict_noise": (predict_noise, "x_t", "x_0_hat"),
    "posterior": (lambda x, t, other, path: posterior(x, other, t, path), "x_0", "x_t"),
    "ddpm_step": (lambda x, t, other, path: ddpm_step(x, other, t, 0, path), "x_t", "x_0_hat"),
    "ddim_step": (lambda x, t, other, path: ddim_step(x, other, t, 0, path), "x_t", "x_0_hat"),
    "diffusion_loss": (lambda *arguments: diffusion_loss(answer_0, *arguments), "x_0", "noise"),
}
STEPS = ("ddpm_step", "ddim_step")
T_OF = dict.fromkeys(ARITHMETIC, T) | dict.fromkeys(STEPS, 5)

OTHERS = {
    "one for all images": X[:1],
    "one for every row": X[..., :1],
    "one number": X[:1, :, :1, :1],
    "a dimension more": X[None],
    "a dimension less": X[0],
    "one too many": torch.zeros(3, 1, 8, 8),
    "float64": X.double(),
    "bfloat16": X.bfloat16(),
    "whole numbers": X.long(),
    "bytes": X.byte(),
    "a numpy array": X.numpy(),
    "a list": [0.0, 0.0],
    "None": None,
}


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("what", OTHERS)
def test_batch_beside_another_must_be_like_it(name, what):
    call, _, other = ARITHMETIC[name]
    with refused(f"{other} must", *in_words(OTHERS[what])):
        call(X, T_OF[name], OTHERS[what], PATH)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_bytes_are_sent_to_scale(name):
    call, x, _ = ARITHMETIC[name]
    with refused(f"{x} must", "uint8", "course_utils.data.scale"):
        call(X.byte(), T_OF[name], X.byte(), PATH)


WRONG_T = {
    "floats": T.float(),
    "bools": T.bool(),
    "bytes": T.byte(),  # with which torch would index as with a mask
    "one for all images": T[:1],
    "one too many": torch.tensor([1, 2, 3]),
    "a column": T[:, None],
    "no dimensions": T[0],
    "a float": 1.0,
    "a list": [1, 10],
    "None": None,
}


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("what", WRONG_T)
def test_t_must_be_whole_numbers_one_for_each_image(name, what):
    with refused("t must", *in_words(WRONG_T[what])):
        ARITHMETIC[name][0](X, WRONG_T[what], X, PATH)


@pytest.mark.parametrize("t", [-1, -10, 11, [1, -1], [11, 1]], ids=str)
@pytest.mark.parametrize("name", [name for name in ARITHMETIC if name not in STEPS])
def test_t_must_be_within_the_table(name, t):
    """A negative one would wrap round, in silence."""
    if isinstance(t, list) or name != "diffusion_loss":  # which takes a tensor only
        with refused("t must", "0 .. 10", "11" if "11" in str(t) else "-1"):
            ARITHMETIC[name][0](X, torch.tensor(t) if isinstance(t, list) else t, X, PATH)


@pytest.mark.parametrize(("t", "s"), [(5, -1), (-1, -2), (-1, 0), (11, 4), (5, 5), (5, 6), (0, 0)])
@pytest.mark.parametrize("step", [ddpm_step, ddim_step])
def test_a_step_goes_down_within_the_table(step, t, s):
    with refused("a step goes down", "0 .. 10", f"t = {t}", f"s = {s}"):
        step(X, X, t, s, PATH)


@pytest.mark.parametrize("path", [None, 10, PATH.alpha_bar, cosine_schedule], ids=["None", "T", "table", "function"])
@pytest.mark.parametrize("name", [name for name in ARITHMETIC if name != "forward_step"])
def test_path_must_have_the_two_rates(name, path):
    with refused("path must", "cosine_schedule"):
        ARITHMETIC[name][0](X, T_OF[name], X, path)


# Schedules

BETAS = {
    "a list": [0, 0.1],
    "a numpy array": np.array([0, 0.1]),
    "whole numbers": torch.tensor([0, 1]),
    "two dimensions": torch.zeros(2, 2),
    "T = 0": torch.tensor([0.0]),
    "empty": torch.tensor([]),
    "no 0 in front": torch.tensor([0.1, 0.2]),
    "a second 0": torch.tensor([0, 0, 0.1]),
    "a 1": torch.tensor([0, 0.1, 1]),
    "below 0": torch.tensor([0, -0.1]),
    "NaN": torch.tensor([0, math.nan]),
    "NaN in front": torch.tensor([math.nan, 0.1]),
}


@pytest.mark.parametrize("beta", BETAS.values(), ids=BETAS)
def test_betas_must_be_0_and_then_between_0_and_1(beta):
    with refused("NoiseSchedule: beta must", "between 0 and 1", *in_words(beta)):
        NoiseSchedule(beta)


@pytest.mark.parametrize("beta", [0, 1, -0.1, math.nan])
@pytest.mark.parametrize("end", ["beta_1", "beta_T"])
def test_ends_of_the_linear_schedule_must_be_between_0_and_1(end, beta):
    with refused("beta", "0"):
        linear_schedule(10, **{end: beta})


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule, straight_path])
def test_T_must_be_at_least_1(make):
    with refused(f"{make.__name__}: T must"):
        make(0)


# Conditions

UNTOLD, TOLD = UNet(base_channels=8), UNet(base_channels=8, condition=5)
UNTOLD_DIT, TOLD_DIT = (DiT(width=8, depth=1, heads=1, condition=condition) for condition in (None, 5))
TELL = {
    "denoiser": lambda model, condition: denoiser(model, PATH, condition=condition),
    "train": lambda model, condition: train(model, IMAGES[:2], PATH, steps=1, condition=condition),
    "train on batches": lambda model, condition: train(model, [(IMAGES[:2], condition)], PATH, steps=1, condition=True),
}
CONDITIONS = {
    "below the classes": (torch.tensor([0, -1]), "0 .. 4", "-1"),
    "above the classes": (torch.tensor([0, 6]), "0 .. 4", "6"),
    "the null label among others": (torch.tensor([0, 5]), "0 .. 4", "null label, 5"),
    "floats": (torch.tensor([0.0, 1.0]), "float32"),
    "a column": (torch.tensor([[0], [1]]), "(2, 1)"),
    "a list": ([0, 1], "[0, 1]"),
    "a numpy array": (np.array([0, 1]), "numpy"),
}


@pytest.mark.parametrize("name", TELL)
@pytest.mark.parametrize("what", CONDITIONS)
def test_labels_must_be_of_the_classes(name, what):
    condition, *pieces = CONDITIONS[what]
    for network in (TOLD, TOLD_DIT):
        with refused("condition must", *pieces):
            TELL[name](network, condition)


@pytest.mark.parametrize("name", TELL)
def test_condition_is_refused_where_the_network_takes_none(name):
    for network in (UNTOLD, UNTOLD_DIT):
        with refused("condition", f"this {type(network).__name__} takes none"):
            TELL[name](network, torch.tensor([0, 1]))


@pytest.mark.parametrize("number", [1, 3])
def test_condition_must_have_one_entry_for_each_image(number):
    labels = LABELS[:number]
    with refused("condition must", "each of 2 images", f"({number},)"):
        denoiser(TOLD, PATH, condition=labels)(X, 5)
    with refused("condition must", "each of 2 images", f"({number},)"):
        train(TOLD, IMAGES[:2], PATH, steps=1, condition=labels)
    with refused("condition must", "each of 2 images", f"({number},)"):
        train(TOLD, [(IMAGES[:2], labels)], PATH, steps=1, condition=True)


# Training


class Scaled(nn.Module):
    """x, times its only weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, t, condition=None):
        return self.weight * x


def run(data=IMAGES, model=None, steps=1, path=PATH, **options):
    return train(model or Scaled(), data, path, steps=steps, **options)


def test_drop_needs_a_condition_and_a_network_that_has_a_null_one():
    for model, condition in ((TOLD, None), (Scaled(), LABELS)):
        with refused("drop must", "0.1", "without a condition or a null one"):
            run(model=model, condition=condition, drop=0.1)
    for drop in (-0.1, 1.1, math.nan):
        with refused("drop must", "within 0 .. 1", str(drop)):
            run(model=TOLD, condition=LABELS, drop=drop)


INFINITE = {
    "loss": lambda model: model.weight * math.inf,
    "NaN": lambda model: model.weight * math.nan,
    "gradient": lambda model: (model.weight - model.weight.detach()).sqrt(),
}


@pytest.mark.parametrize("what", INFINITE)
def test_loss_and_gradient_must_be_finite_or_nothing_changes(what):
    model = Scaled()
    ema, optimizer = EMA(model), torch.optim.Adam(model.parameters())
    for call in (
        lambda: training_step(model, X, PATH, optimizer, loss=lambda *_: INFINITE[what](model)),
        lambda: run(model=model, ema=ema, loss=lambda *_: INFINITE[what](model)),
    ):
        with refused("the loss is", "norm of its gradient", "Lower lr", error=FloatingPointError):
            call()
    assert model.weight == ema.model.weight == 1
    assert ema.updates == 0


BROADCASTING = {
    "one for all": lambda x, t: x[:1],
    "one column": lambda x, t: x[..., :1],
    "one more dimension": lambda x, t: x[None],
}


@pytest.mark.parametrize("model", BROADCASTING.values(), ids=BROADCASTING)
def test_answer_of_a_network_must_have_the_shape_of_its_input(model):
    answered = str(tuple(model(X, T).shape))
    with refused("the model must return", str(SHAPE), answered):
        diffusion_loss(model, X, T, X, PATH)
    for predicts in (NOISE, X_0, V, VELOCITY):
        with refused("the model must return", str(SHAPE), answered):
            denoiser(model, PATH, predicts=predicts)(X, 5)
    for step in (ddpm_step, ddim_step):
        with refused(f"{step.__name__}: x_0_hat must", answered):
            sample(model, SHAPE, PATH, step)

    class Network(Scaled):
        def forward(self, x, t):
            return self.weight * model(x, t)

    with refused("the model must return", "(4, 1, 8, 8)"):
        run(model=Network(), batch_size=4)


@pytest.mark.parametrize("answer", [None, (X, X), 0.0], ids=str)
def test_answer_of_a_network_must_be_a_tensor(answer):
    with refused("the model must return", type(answer).__name__):
        diffusion_loss(lambda x_t, t: answer, X, T, X, PATH)


DATA = {
    "0 to 1": ((IMAGES + 1) / 2, "-1 .. 1", "from 0 to 1"),
    "0 to 255": ((IMAGES + 1) * 127.5, "-1 .. 1", "from 0 to 255"),
    "-1 to 2": (1.5 * IMAGES + 0.5, "-1 .. 1", "from -1 to 2"),
    "NaN": (IMAGES * math.nan, "256 of 256 are NaN"),
    "infinite": (IMAGES * math.inf, "inf"),
    "whole numbers": (IMAGES.long(), "int64", str(tuple(IMAGES.shape))),
    "three dimensions": (IMAGES[:, 0], "(N, C, H, W)", "(4, 8, 8)"),
    "no images": (IMAGES[:0], "at least one", "(0, 1, 8, 8)"),
    "sides that can't be halved": (IMAGES[..., :6], "multiples of 4", "(4, 1, 8, 6)"),
    "a numpy array": (IMAGES.numpy(), "numpy", "torch.from_numpy"),
    "a data set": (TensorDataset(IMAGES, LABELS), "TensorDataset", "DataLoader("),
    "a list of images": (list(IMAGES), "(1, 8, 8)"),
    "a dictionary": ([{"image": IMAGES}], "dict"),
    "None": (None, "None"),
}


@pytest.mark.parametrize("what", DATA)
def test_data_must_be_scaled_images_or_batches_of_them(what):
    data, *pieces = DATA[what]
    for passed in (data, [data]) if isinstance(data, torch.Tensor) else (data,):
        with refused("data must", *pieces):
            run(passed, UNTOLD)
        with refused("data must", *pieces):
            steps_in(1, UNTOLD, passed, PATH)


def test_data_must_give_batches_again_and_again():
    for data in ((batch for batch in [IMAGES] * 3), [], iter([IMAGES])):
        with refused("data gives no batches", "DataLoader"):
            run(data, steps=5)


def test_condition_beside_batches_is_in_the_batches():
    with refused("condition", "True", "None"):
        run(DataLoader(TensorDataset(IMAGES, LABELS), batch_size=2), TOLD, condition=LABELS)
    with refused("condition must"):
        run(DataLoader(IMAGES, batch_size=2), TOLD, condition=True)


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (DataLoader(IMAGES, batch_size=2), None),
        (DataLoader(TensorDataset(IMAGES, LABELS), batch_size=3, shuffle=True), None),
        (DataLoader(TensorDataset(IMAGES, LABELS), batch_size=3, shuffle=True), True),
        ([IMAGES[:2], IMAGES[2:]], None),
        ([(IMAGES, LABELS)], True),
        (IMAGES, LABELS),
        (scale(unscale(IMAGES)).half().float(), LABELS),
        (unscale(IMAGES), LABELS),
    ],
)
def test_tensors_loaders_and_lists_of_batches_are_taken(data, condition):
    assert len(run(data, TOLD, steps=5, condition=condition, drop=0.5 if condition is not None else 0)) == 5


# Going on from a checkpoint


@pytest.fixture
def begun(tmp_path):
    """A checkpoint after two steps of v on the cosine schedule, with labels."""
    file = tmp_path / "begun"
    run(model=Scaled(), steps=2, checkpoint=file, **TOLD_V)
    return file


TOLD_V = dict(condition=LABELS, loss=partial(diffusion_loss, predicts=V))
OTHER_RUNS = {
    "another schedule": (dict(path=linear_schedule(10)), "another path", "T = 10"),
    "another kind of path": (dict(path=straight_path(10)), "another path", "T = 10"),
    "another T": (dict(path=cosine_schedule(11)), "another path", "T = 11"),
    "the noise": (dict(loss=diffusion_loss), "another prediction", "v, but now it is noise"),
    "the velocity": (
        dict(loss=partial(diffusion_loss, predicts=VELOCITY)),
        "another prediction",
        "v, but now it is velocity",
    ),
    "no condition": (dict(condition=None), "another condition", "none"),
    "vectors": (dict(condition=torch.zeros(4, 7)), "another condition", "(7,)"),
}


@pytest.mark.parametrize("what", OTHER_RUNS)
def test_run_of_another_kind_does_not_go_on(begun, what):
    (options, *pieces), before, model = OTHER_RUNS[what], begun.read_bytes(), Scaled()
    with refused(str(begun), *pieces, error=ValueError):
        run(model=model, steps=4, checkpoint=begun, **TOLD_V | options)
    assert begun.read_bytes() == before
    assert model.weight == 1


def test_run_without_a_condition_does_not_go_on_with_one(tmp_path):
    run(steps=2, checkpoint=tmp_path / "file")
    with refused("another condition", "none, but now"):
        run(steps=4, checkpoint=tmp_path / "file", condition=LABELS)


def test_other_learning_rate_is_applied_and_said(begun, capsys):
    model = Scaled()
    run(model=model, steps=2, checkpoint=begun, **TOLD_V)
    assert capsys.readouterr().out == ""
    before = model.weight.item()
    run(model=model, steps=4, lr=1e-20, checkpoint=begun, **TOLD_V)
    assert "lr = 1e-20; so far it was 0.002" in capsys.readouterr().out
    assert model.weight == before


def test_other_batch_size_is_applied_and_said(begun, capsys):
    sizes, model = [], Scaled()
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    run(model=model, steps=4, batch_size=7, checkpoint=begun, **TOLD_V)
    assert "batch_size = 7; so far it was 32" in capsys.readouterr().out
    assert sizes == [7, 7]


def test_fewer_steps_than_were_taken_are_said(begun, capsys):
    model = Scaled()
    assert len(run(model=model, steps=1, checkpoint=begun, **TOLD_V)) == 2
    assert "already has 2 steps, more than steps = 1" in capsys.readouterr().out
    assert load_checkpoint(begun, Scaled()) == run(steps=2, checkpoint=begun, **TOLD_V)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04N."], ids=["empty", "text", "pickle"])
def test_training_does_not_go_on_from_a_damaged_file(tmp_path, content):
    """See test_checkpoints.py for all the ways in which a file can be damaged."""
    file = tmp_path / "damaged"
    file.write_bytes(content)
    with refused(str(file), "damaged", error=ValueError):
        run(checkpoint=file)
    with refused(str(file), error=OSError):
        run(checkpoint=file / "in a file")
    assert file.read_bytes() == content


def test_full_memory_is_met_with_a_smaller_batch():
    def full(*_):
        raise torch.cuda.OutOfMemoryError

    with refused("batch_size = 32", error=torch.cuda.OutOfMemoryError):
        run(loss=full)


# Evaluation

PICTURES = torch.linspace(-1, 1, 4 * 784).reshape(4, 1, 28, 28)
JUDGED = {
    "black": (-torch.ones(4, 1, 28, 28), "constant", "-1"),
    "grey": (torch.zeros(4, 1, 28, 28), "constant", "0"),
    "too bright": (5 * torch.ones(4, 1, 28, 28), "constant", "5"),
    "black bytes": (torch.zeros(4, 1, 28, 28, dtype=torch.uint8), "constant", "0"),
    "NaN": (PICTURES * math.nan, "NaN", "3136 of 3136"),
    "one NaN": (PICTURES.index_fill(0, torch.tensor([2]), math.nan), "NaN", "784 of 3136"),
    "0 to 1": ((PICTURES + 1) / 2, "-1 .. 1", "from 0 to 1"),
    "0 to 255": ((PICTURES + 1) * 127.5, "-1 .. 1", "from 0 to 255"),
    "beyond": (1.5 * PICTURES, "-1 .. 1", "from -1.5 to 1.5"),
    "infinite": (PICTURES * math.inf, "inf"),
    "whole numbers": (PICTURES.long(), "int64", "(4, 1, 28, 28)"),
    "another size": (PICTURES[..., :14], "(N, 1, 28, 28)", "(4, 1, 28, 14)"),
    "colours": (PICTURES.expand(4, 3, 28, 28), "(N, 1, 28, 28)", "(4, 3, 28, 28)"),
    "a numpy array": (PICTURES.numpy(), "numpy", "torch.from_numpy"),
    "a list": ([0.0] * 4, "[0.0"),
}


@pytest.mark.parametrize("judge", [evaluation.features, evaluation.class_probabilities, evaluation.quality])
@pytest.mark.parametrize("what", JUDGED)
def test_pictures_must_be_what_the_classifier_knows(judge, what, monkeypatch):
    monkeypatch.setattr(evaluation, "test_features", lambda: torch.zeros(10, 64))
    images, *pieces = JUDGED[what]
    with refused("images", *pieces):
        judge(images)


@pytest.mark.parametrize("what", ["black", "grey", "too bright", "black bytes", "NaN", "one NaN"])
def test_constant_pictures_and_nan_are_not_called_unscaled(what):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        evaluation.features(JUDGED[what][0])
    assert "scale" not in str(caught.value)


# Levels of a walk

LEVELS = [[0, 5, 10], [10, 5, 6, 0], [10, 5, 5, 0], [11, 5, 0], [10, 5, 1], [5, 0, -1], [0], [10.0, 0.0]]


@pytest.mark.parametrize("walk", [sample, sample_steps])
@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_levels_must_fall_from_T_or_below_to_0_and_are_looked_at_before_the_walk(walk, levels):
    with refused("levels must", str(levels)):
        walk(never, SHAPE, PATH, levels=levels)


@pytest.mark.parametrize("walk", [sample, sample_steps])
def test_a_walk_has_at_most_T_steps_and_starts_in_its_shape(walk):
    with refused("num_steps, at most T = 10", "11"):
        walk(never, SHAPE, PATH, num_steps=11)
    with refused("num_steps", "levels"):
        walk(never, SHAPE, PATH, levels=[10, 0], num_steps=1)
    for wrong in (X[:1], X[..., :1], X[0]):
        with refused("x_T must", str(SHAPE), str(tuple(wrong.shape))):
            walk(never, SHAPE, PATH, x_T=wrong)


def test_levels_of_encoding_must_be_in_the_table():
    with refused("", "0 .. 10", "11"):
        ddim_encode(answer_0, X, PATH, [1, 11])


# Values of all other kinds: {argument: (a call with it, wrong values)}

walk = partial(sample_steps, never, SHAPE, PATH)
VALUES = {
    "cosine_schedule: T": (cosine_schedule, 0, -5, 10.0),
    "cosine_schedule: s": (lambda s: cosine_schedule(10, s), -0.1, 8, None),
    "straight_path: T": (straight_path, 0, -5, 10.0),
    "posterior: s": (lambda s: posterior(X, X, T, PATH, s), 1.0, T[:1] - 1, T.float()),
    "ddim_step: eta": (lambda eta: ddim_step(X, X, 5, 4, PATH, eta), -0.1, 1.1, math.nan, "0", None),
    "ddim_step: generator": (lambda generator: ddim_step(X, X, 5, 4, PATH, 1, generator), 0),
    "sample_steps: denoise": (lambda denoise: sample_steps(denoise, SHAPE, PATH), None),
    "sample_steps: shape": (lambda shape: sample_steps(never, shape, PATH), 2),
    "sample_steps: path": (lambda path: sample_steps(never, SHAPE, path), 1000),
    "sample_steps: levels": (lambda levels: walk(levels=levels), T),
    "sample_steps: num_steps": (lambda number: walk(num_steps=number), 0, -1, 5.0),
    "sample_steps: x_T": (lambda x_T: walk(x_T=x_T), X.byte(), "noise"),
    "sample_steps: step": (lambda step: walk(step=step), "ddim"),
    "sample_steps: generator": (lambda generator: walk(generator=generator), 0),
    "ddim_encode: levels": (
        lambda levels: ddim_encode(never, X, PATH, levels),
        *([0, 5], [-1, 5], [10, 5, 1], [1, 5, 5], [], [1.0, 10.0], 10),
    ),
    "denoiser: model": (lambda model: denoiser(model, PATH), None),
    "denoiser: predicts": (lambda predicts: denoiser(answer_0, PATH, predicts=predicts), "v"),
    "denoise: x_t": (lambda x_t: denoiser(answer_0, PATH)(x_t, 1), X.byte()),
    "denoise: t": (lambda t: denoiser(answer_0, PATH)(X, t), T, 1.0),
    "train: model": (lambda model: train(model, IMAGES, PATH, steps=1), answer_0),
    "train: path": (lambda path: run(path=path), None, 1000),
    "train: steps": (lambda steps: run(steps=steps), 0, -1, 1e3),
    "train: batch_size": (lambda size: run(batch_size=size), 0, 8.0),
    "train: loss": (lambda loss: run(loss=loss), None, "mse"),
    "train: draw_t": (lambda draw_t: run(draw_t=draw_t), 5),
    "train: callback": (lambda callback: run(callback=callback), 10),
    "train: generator": (lambda generator: run(generator=generator), 0),
    "training_step: x_0": (lambda x_0: training_step(Scaled(), x_0, PATH, None), X.byte()),
    "training_step: optimizer": (lambda optimizer: training_step(Scaled(), X, PATH, optimizer), 1e-3),
    "scale: images": (scale, X, X.long(), X.numpy(), [0, 255]),
    "UNet: condition": (lambda condition: UNet(condition=condition), 0, "10"),
    "UNet: base_channels": (lambda channels: UNet(base_channels=channels), 0, 8.0),
    "UNet: multipliers": (lambda multipliers: UNet(multipliers=multipliers), 2),
    "shapes_through: unet": (lambda unet: shapes_through(unet, X, T), Scaled()),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, (_, *values) in VALUES.items() for value in values],
    ids=lambda part: part if isinstance(part, str) else getattr(part, "__name__", " ".join(in_words(part))),
)
def test_value_must_be_of_its_kind(name, value):
    with refused(f"{name} must", *in_words(value)):
        VALUES[name][0](value)
