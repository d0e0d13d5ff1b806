"""A table of all public functions, for test_properties.py.

A function's entry says what its valid calls are, in which ways each argument can be spoiled (spoiling.py has them, by
the kind of argument), and what a valid call gives.
"""

import atexit
import functools
import math
import pathlib
import shutil
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import torch
from hypothesis import strategies as st
from spoiling import (
    BATCH,
    DEVICE,
    FLAG,
    FLOATING,
    FLOATS,
    FUNCTION,
    GENERATOR,
    MODULE,
    NOT_LEVELS,
    NOTHING,
    OPTIMIZER,
    PATH,
    SCHEDULE,
    TENSORS,
    TEXT,
    THINGS,
    WHOLE,
    WORDS,
    Spoil,
    all_but,
    as_dtype,
    elsewhere,
    integer,
    is_tensor,
    level,
    like,
    number,
    on_meta,
    one_for_each,
    with_one,
    wrong_type,
    wrong_value,
)
from torch import nn

from course_utils import data, device, evaluation, plotting, quiz, sampling, training, unet, widgets
from course_utils.forward import add_noise, forward_step, posterior
from course_utils.mixture import GaussianMixture, exact_denoiser
from course_utils.schedule import NoiseSchedule, at, cast, cosine_schedule, linear_schedule, pick

# The table


@dataclass(frozen=True)
class Entry:
    """What there is to know of a function: `call(**arguments)` calls it, with arguments from `valid`."""

    name: str
    call: Callable
    valid: st.SearchStrategy
    spoils: dict  # {argument: a kind, that is a list of Spoil}
    gives: Callable  # gives(arguments, result) asserts what is documented
    unspoiled: dict = field(default_factory=dict)  # {argument: why there is no way to spoil it}
    examples: int = 8  # where a call takes long, fewer


TABLE = {}


def entry(name, call, valid, spoils, gives, **options):
    TABLE[name] = Entry(name, call, valid, spoils, gives, **options)


# What valid arguments are made of

sizes = st.integers(1, 3)
seeds = st.integers(0, 2**31)
CPU_MOSTLY = ("cpu", "cpu", "cpu", "meta")
tiny_or_not = st.one_of(st.integers(1, 20), st.just(1000))


def normal(shape, seed, dtype=torch.float32, where="cpu"):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype).to(where)


@st.composite
def batches(draw, shape=None, dtypes=FLOATS, devices=CPU_MOSTLY, holes=True):
    """A floating-point tensor (B, ...), some with values that are no numbers, some on the meta device."""
    shape = shape or tuple(draw(st.lists(sizes, min_size=1, max_size=4)))
    x = normal(shape, draw(seeds), draw(st.sampled_from(dtypes)), draw(st.sampled_from(devices)))
    if holes and not x.is_meta and draw(st.integers(0, 5)) == 5:
        x.view(-1)[draw(st.integers(0, x.numel() - 1))] = draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    return x


def like_it(draw, x):
    return normal(x.shape, draw(seeds), x.dtype, x.device)


@st.composite
def schedules(draw, least=1):
    """One of the package's, one from betas of any kind, or one that a learner wrote, with nothing but the tables."""
    kind = draw(st.sampled_from(["linear", "cosine", "betas", "own"]))
    T = draw(st.one_of(st.integers(least, least + 19), st.just(1000)))
    if kind in ("linear", "cosine"):
        return linear_schedule(T) if kind == "linear" else cosine_schedule(T)
    beta = 0.001 + 0.9 * torch.rand(min(T, least + 19), generator=torch.Generator().manual_seed(draw(seeds)))
    schedule = NoiseSchedule(torch.cat([torch.zeros(1), beta]))
    tables = dict(T=schedule.T, beta=schedule.beta, alpha=schedule.alpha, alpha_bar=schedule.alpha_bar)
    return schedule if kind == "betas" else types.SimpleNamespace(**tables)


def level_or_levels(draw, x, T, low=1):
    """An int, or a tensor (B,) beside x, within low .. T."""
    ints = st.integers(low, T)
    if draw(st.booleans()):
        return draw(ints)
    levels = draw(st.lists(ints, min_size=len(x), max_size=len(x)))
    return torch.tensor(levels, dtype=draw(st.sampled_from([torch.int32, torch.int64])), device=x.device)


# What results are


def same_kind(result, x, shape=None):
    """The dtype and the device of x, its shape or another, and finite where x is and can be looked at."""
    assert (result.dtype, result.device) == (x.dtype, x.device)
    assert result.shape == (x.shape if shape is None else shape)
    # In half precision what is divided by a small sqrt(alpha_bar) may leave the range, as documented.
    if not x.is_meta and x.isfinite().all() and x.dtype in (torch.float32, torch.float64):
        assert result.isfinite().all()


def gives_like(name):
    return lambda arguments, result: same_kind(result, arguments[name])


def coefficient_shape(x, t):
    return (len(x) if is_tensor(t) and t.ndim else 1, *[1] * (x.ndim - 1))


# schedule


def betas_with(*values):
    return lambda draw, good, arguments: torch.tensor(values, dtype=torch.float64)


BETA = [
    *FLOATING,
    wrong_value("without dimensions", lambda good, arguments: good[0]),
    wrong_value("in a column", lambda good, arguments: good[:, None]),
    wrong_value("T = 0", lambda good, arguments: good[:1]),
    wrong_value("empty", lambda good, arguments: good[:0]),
    wrong_value("no 0 in front", lambda good, arguments: good[1:].repeat(2)),
    wrong_value("elsewhere", on_meta),
    *[
        Spoil(f"{bad:g} in it", ValueError, lambda draw, good, a, bad=bad: torch.cat([good, torch.tensor([bad])]))
        for bad in (0.0, 1.0, -0.1, 1.5, math.nan, math.inf)
    ],
    Spoil("too small to count", ValueError, betas_with(0, 1e-17, 0.1)),
]


@st.composite
def beta_tables(draw):
    dtype = draw(st.sampled_from(FLOATS))
    inner = draw(st.lists(st.floats(0.01, 0.9), min_size=1, max_size=20))
    return dict(beta=torch.tensor([0.0, *inner], dtype=dtype))


def gives_schedule(arguments, schedule):
    T = schedule.T
    assert (len(arguments["beta"]) - 1 if "beta" in arguments else arguments["T"]) == T
    for table in (schedule.beta, schedule.alpha, schedule.alpha_bar):
        assert (table.shape, table.dtype, table.device.type) == ((T + 1,), torch.float64, "cpu")
    assert (schedule.beta[0], schedule.alpha_bar[0]) == (0, 1)
    assert (schedule.alpha_bar.diff() < 0).all()
    assert schedule.alpha_bar[-1] > 0


T_OF_SCHEDULE = integer(1, 1_000_000)
BETA_1 = number(0, 1, open_ends=True)
BELOW_BETA_1 = wrong_value("below beta_1", lambda good, arguments: arguments["beta_1"] / 2)

entry("schedule.NoiseSchedule", NoiseSchedule, beta_tables(), dict(beta=BETA), gives_schedule)
entry(
    "schedule.linear_schedule",
    linear_schedule,
    st.fixed_dictionaries(dict(T=tiny_or_not, beta_1=st.floats(1e-5, 0.01), beta_T=st.floats(0.01, 0.1))),
    dict(T=T_OF_SCHEDULE, beta_1=BETA_1, beta_T=[*BETA_1, BELOW_BETA_1]),
    gives_schedule,
)
entry(
    "schedule.cosine_schedule",
    cosine_schedule,
    st.fixed_dictionaries(dict(T=tiny_or_not, s=st.floats(0, 1))),
    dict(T=T_OF_SCHEDULE, s=number(0, 1)),
    gives_schedule,
)


@st.composite
def look_ups(draw):
    x = draw(batches())
    values = draw(schedules()).alpha_bar
    return dict(values=values, t=level_or_levels(draw, x, len(values) - 1, low=0), x=x)


def last_entry(arguments):
    return len(arguments["values"]) - 1


TABLE_OF_VALUES = [
    *FLOATING,
    wrong_value("without dimensions", lambda good, arguments: good[0]),
    wrong_value("in a column", lambda good, arguments: good[:, None]),
    wrong_value("empty", lambda good, arguments: good[:0]),
]
TABLE_BESIDE_X = [
    *TABLE_OF_VALUES,
    wrong_value("elsewhere", lambda good, a: NOTHING if a["x"].is_meta else good.to("meta")),
]

entry(
    "schedule.at",
    at,
    look_ups(),
    dict(values=TABLE_BESIDE_X, t=level(0, last_entry), x=BATCH),
    lambda a, result: same_kind(result, a["x"], coefficient_shape(a["x"], a["t"])),
)
entry(
    "schedule.pick",
    pick,
    look_ups().map(lambda a: dict(values=a["values"], t=a["t"])),
    dict(values=TABLE_OF_VALUES, t=level(0, last_entry, beside=False)),
    lambda a, result: same_kind(result, a["values"].to(result.device), getattr(a["t"], "shape", ())),
)


@st.composite
def casts(draw):
    x = draw(batches())
    shape = draw(st.sampled_from([(), (len(x),)]))
    return dict(coefficient=normal(shape, draw(seeds), torch.float64), x=x)


COEFFICIENT = [
    *FLOATING,
    wrong_value("too many", lambda good, arguments: torch.ones(len(arguments["x"]) + 1)),
    wrong_value("empty", lambda good, arguments: torch.ones(0)),
    wrong_value("in a row", lambda good, arguments: torch.ones(1, len(arguments["x"]))),
    wrong_value("elsewhere", lambda good, a: NOTHING if a["x"].is_meta else good.to("meta")),
]
entry(
    "schedule.cast",
    cast,
    casts(),
    dict(coefficient=COEFFICIENT, x=BATCH),
    lambda a, result: same_kind(result, a["x"], coefficient_shape(a["x"], a["coefficient"])),
)


# forward, and the two functions that solve for x_0 and for the noise


@st.composite
def jumps(draw, x_name, other_name, dtypes=FLOATS, devices=CPU_MOSTLY):
    x, schedule = draw(batches(dtypes=dtypes, devices=devices)), draw(schedules())
    t = level_or_levels(draw, x, schedule.T)
    return {x_name: x, "t": t, other_name: like_it(draw, x), "schedule": schedule}


for function, x_name, other_name in [
    (forward_step, "x_prev", "noise"),
    (add_noise, "x_0", "noise"),
    (sampling.predict_x_0, "x_t", "noise_hat"),
    (sampling.predict_noise, "x_t", "x_0_hat"),
]:
    entry(
        f"{function.__module__.split('.')[1]}.{function.__name__}",
        function,
        jumps(x_name, other_name),
        {x_name: BATCH, "t": level(), other_name: like(x_name), "schedule": SCHEDULE},
        gives_like(x_name),
    )


@st.composite
def posteriors(draw):
    arguments = draw(jumps("x_0", "x_t"))
    t, x_0 = arguments["t"], arguments["x_0"]
    choice = draw(st.sampled_from(["default", "an int", "a tensor"]))
    if choice == "default":
        return arguments | dict(s=None)
    lowest = t if not is_tensor(t) else 1 if t.is_meta else int(t.min())
    s = draw(st.integers(0, lowest - 1))
    if choice == "a tensor":
        s = torch.full((len(x_0),), s, device=x_0.device)
    return arguments | dict(s=s)


def highest_s(arguments):
    t = arguments["t"]
    return (arguments["schedule"].T if is_tensor(t) and t.is_meta else int(t.min()) if is_tensor(t) else t) - 1


def gives_mean_and_variance(arguments, result):
    x, levels = arguments["x_0"], [arguments["t"], arguments["s"]]
    same_kind(result[0], x)
    same_kind(result[1], x, coefficient_shape(x, next(filter(is_tensor, levels), None)))


LEVEL_S = [
    *[spoil for spoil in level(0, highest_s) if spoil.what not in ("None", "one too high")],
    Spoil("one too high", ValueError, with_one(lambda a: a["schedule"].T)),
    wrong_value("t itself", lambda good, a: a["t"] if not (is_tensor(a["t"]) and a["t"].is_meta) else NOTHING),
]
entry(
    "forward.posterior",
    posterior,
    posteriors(),
    dict(x_0=BATCH, x_t=like("x_0"), t=level(), schedule=SCHEDULE, s=LEVEL_S),
    gives_mean_and_variance,
)


# unet


def network_of(kind, *sizes, **options):
    """A network in which no weight is 0, so that nothing is hidden."""
    with torch.random.fork_rng(devices=[]):
        network = kind(*sizes, **options)
        for i, weight in enumerate(network.parameters()):
            nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(i))
    return network.requires_grad_(False)


@functools.cache
def network(kind, *sizes, dtype=torch.float32, where="cpu", **options):
    return network_of(kind, *sizes, **options).to(where, dtype)


@st.composite
def times(draw, x):
    dtype = draw(st.sampled_from([*FLOATS, *WHOLE]))
    values = draw(st.lists(st.integers(0, 100), min_size=len(x), max_size=len(x)))
    return torch.tensor(values, device=x.device).to(dtype)


TIMES_ALONE = [
    *all_but(*TENSORS),
    *map(as_dtype, [torch.bool, torch.complex64, torch.float8_e4m3fn]),
    *[
        Spoil(f"{bad} in it", ValueError, lambda draw, good, a, bad=bad: with_one(bad)(draw, good.float(), a))
        for bad in (math.nan, math.inf, -math.inf)
    ],
    wrong_value("in a column", lambda good, arguments: good[:, None]),
    wrong_value("without dimensions", lambda good, arguments: good[0]),
    wrong_value("empty", lambda good, arguments: good[:0]),
]
TIMES = [*TIMES_ALONE, *one_for_each("t", is_tensor), wrong_value("elsewhere", elsewhere)]


@st.composite
def embeddings(draw):
    x = draw(batches())
    return dict(t=draw(times(x)), dim=2 * draw(st.integers(1, 8)))


def gives_embedding(arguments, result):
    t = arguments["t"]
    expected = t if t.is_floating_point() else t.float()
    assert (result.shape, result.dtype, result.device) == ((len(t), arguments["dim"]), expected.dtype, t.device)
    assert t.is_meta or (result.abs() <= 1).all()


EVEN = [*integer(2), wrong_value("odd", 7)]
EIGHTS = [*integer(8), wrong_value("not a multiple of 8", 12)]
eights = st.sampled_from([8, 16])

entry(
    "unet.timestep_embedding",
    unet.timestep_embedding,
    embeddings(),
    dict(t=TIMES_ALONE, dim=EVEN),
    gives_embedding,
)
entry(
    "unet.ResBlock",
    unet.ResBlock,
    st.fixed_dictionaries(dict(in_channels=eights, out_channels=eights, time_dim=sizes)),
    dict(in_channels=EIGHTS, out_channels=EIGHTS, time_dim=integer(1)),
    lambda a, block: same_kind(
        block(torch.ones(2, a["in_channels"], 3, 5), torch.ones(2, a["time_dim"])).detach(),
        torch.ones(2, a["out_channels"], 3, 5),
    ),
)
entry(
    "unet.SelfAttention",
    unet.SelfAttention,
    st.fixed_dictionaries(dict(channels=eights, heads=st.sampled_from([1, 2, 4, 8]))),
    dict(channels=EIGHTS, heads=[*integer(1), wrong_value("no divisor of channels", 3)]),
    lambda a, part: same_kind(part(torch.ones(2, a["channels"], 3, 5)).detach(), torch.ones(2, a["channels"], 3, 5)),
)
for kind, factor in [(unet.Downsample, 0.5), (unet.Upsample, 2)]:

    def resized(a, part, factor=factor):
        half = (2, a["channels"], int(4 * factor), int(6 * factor))
        same_kind(part(torch.ones(2, a["channels"], 4, 6)).detach(), torch.ones(half))

    entry(
        f"unet.{kind.__name__}", kind, st.fixed_dictionaries(dict(channels=sizes)), dict(channels=integer(1)), resized
    )


@st.composite
def maps(draw, channels, kind, *sizes_of_kind, embedding=False):
    """A part of the network, and what it may be given."""
    where, dtype = draw(st.sampled_from(["cpu", "meta"])), draw(st.sampled_from([torch.float32, torch.float64]))
    part = network(kind, *sizes_of_kind, dtype=dtype, where=where)
    shape = (draw(sizes), channels, 2 * draw(sizes), 2 * draw(sizes))
    arguments = dict(part=part, x=draw(batches(shape, [dtype], [where], holes=False)))
    return arguments | dict(embedding=normal((shape[0], 4), draw(seeds), dtype, where) if embedding else None)


def another_float(draw, good, arguments):
    return good.double() if good.dtype == torch.float32 else good.float()


IMAGES_FOR_WEIGHTS = [
    *BATCH,
    Spoil("not the dtype of the weights", TypeError, another_float),
    wrong_value("elsewhere", elsewhere),
    wrong_value("a dimension less", lambda good, arguments: good[0]),
    wrong_value("a dimension more", lambda good, arguments: good[None]),
    wrong_value("too many channels", lambda good, arguments: torch.cat([good, good], dim=1)),
]
EMBEDDING = [*like("x"), wrong_value("too long", lambda good, arguments: torch.cat([good, good], dim=1))]
EMBEDDING = [spoil for spoil in EMBEDDING if spoil.what not in ("not the dtype of x", "a dimension less")]
IGNORED = "taken so that all parts are called alike, and ignored"

entry(
    "unet.ResBlock.forward",
    lambda part, x, embedding: part(x, embedding),
    maps(8, unet.ResBlock, 8, 16, 4, embedding=True),
    dict(x=IMAGES_FOR_WEIGHTS, embedding=EMBEDDING),
    lambda a, result: same_kind(result, a["x"], (len(a["x"]), 16, *a["x"].shape[2:])),
)
for kind, factor, more in [
    (unet.SelfAttention, 1, []),
    (unet.Upsample, 2, []),
    (unet.Downsample, 0.5, [wrong_value("an odd height", lambda good, arguments: good[:, :, 1:])]),
]:

    def gives_resized(a, result, factor=factor):
        B, C, H, W = a["x"].shape
        same_kind(result, a["x"], (B, C, int(H * factor), int(W * factor)))

    entry(
        f"unet.{kind.__name__}.forward",
        lambda part, x, embedding: part(x, embedding),
        maps(8, kind, 8),
        dict(x=[*IMAGES_FOR_WEIGHTS, *more]),
        gives_resized,
        unspoiled=dict(embedding=IGNORED),
    )

WIDTHS = [
    *all_but("a list"),
    wrong_value("empty", ()),
    wrong_value("a 0 in it", (1, 0)),
    wrong_type("a float in it", (1, 1.5)),
    wrong_type("text in it", (1, "2")),
    wrong_value("too many", [1] * 10_000),
]


@st.composite
def configurations(draw):
    return dict(
        in_channels=draw(sizes),
        base_channels=draw(eights),
        multipliers=draw(st.sampled_from([(1,), [1, 2], (2, 1)])),
        num_classes=draw(st.one_of(st.none(), sizes)),
        patch=draw(st.integers(1, 2)),
    )


def gives_unet(a, model):
    x = torch.ones(2, a["in_channels"], model.side, 2 * model.side)
    same_kind(model(x, torch.ones(2)).detach(), x)


entry(
    "unet.UNet",
    unet.UNet,
    configurations(),
    dict(
        in_channels=integer(1),
        base_channels=EIGHTS,
        multipliers=WIDTHS,
        num_classes=integer(1, none=True),
        patch=integer(1),
    ),
    gives_unet,
    examples=3,
)

CLASSES = 5


@st.composite
def network_calls(draw, dtypes=(torch.float32, torch.float64), where=("cpu", "meta")):
    """A UNet with classes, and images, times and labels for it."""
    where, dtype = draw(st.sampled_from(where)), draw(st.sampled_from(dtypes))
    model = network(unet.UNet, base_channels=16, num_classes=CLASSES, dtype=dtype, where=where)
    shape = (draw(sizes), 1, 4 * draw(sizes), 4 * draw(sizes))
    x = draw(batches(shape, [dtype], [where], holes=False))
    labels = draw(st.one_of(st.lists(st.integers(0, CLASSES), min_size=len(x), max_size=len(x)), st.none()))
    labels = labels if labels is None else torch.tensor(labels, device=where)
    return dict(model=model, x=x, t=draw(times(x)), labels=labels)


HALVED = [
    *IMAGES_FOR_WEIGHTS,
    wrong_value("a height that can't be halved", lambda good, arguments: good[:, :, 1:]),
    wrong_value("a width that can't be halved", lambda good, arguments: good[..., 1:]),
]


def labels_for(other, top=CLASSES):
    """One for each item of the argument `other`, the classes and "not told"."""
    return [
        *all_but("None", *TENSORS),
        *map(as_dtype, NOT_LEVELS),
        Spoil("one below 0", ValueError, with_one(-1)),
        Spoil("one too high", ValueError, with_one(top + 1)),
        *one_for_each("labels", is_tensor),
        wrong_value("too many", lambda good, arguments: torch.zeros(len(arguments[other]) + 1, dtype=torch.int64)),
        wrong_value("elsewhere", elsewhere),
    ]


entry(
    "unet.UNet.forward",
    lambda model, x, t, labels: model(x, t, labels),
    network_calls(),
    dict(x=HALVED, t=TIMES, labels=labels_for("x")),
    gives_like("x"),
    examples=4,
)


def gives_rows(a, rows):
    assert [name for name, _, _ in rows][:1] == ["entrance"]
    assert rows[-1] == ("exit", "PixelShuffle", tuple(a["x"].shape[1:])) or rows[-1][2] == tuple(a["x"].shape[1:])


entry(
    "unet.shapes_through",
    unet.shapes_through,
    network_calls().map(lambda a: dict(unet=a["model"], x=a["x"], t=a["t"])),
    dict(unet=[*all_but(), wrong_type("the class", unet.UNet)], x=HALVED, t=TIMES),
    gives_rows,
    examples=4,
)


# training


class Share(nn.Module):
    """The smallest network: it sees a share of x as noise."""

    def __init__(self, share=0.5):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, x_t, t, labels=None):
        return (self.share * x_t).to(x_t.dtype)


class Frozen(Share):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


def returns(value):
    """A network that returns something else than noise."""
    return lambda x_t, t, labels=None: value(x_t)


ANSWERS = [
    Spoil("returns None", TypeError, lambda draw, good, arguments: returns(lambda x: None)),
    Spoil("returns a list", TypeError, lambda draw, good, arguments: returns(lambda x: [x])),
    Spoil("returns what would broadcast", ValueError, lambda draw, good, arguments: returns(lambda x: x[None])),
]
MODEL = [*FUNCTION, *ANSWERS]
TRAINABLE = [
    *FUNCTION,
    wrong_value("a module without weights", lambda good, a: nn.Identity()),
    Spoil("frozen", ValueError, lambda draw, good, arguments: Frozen()),
]
TRAINABLE = [spoil for spoil in TRAINABLE if spoil.what != "a module"]


@st.composite
def losses(draw, devices=CPU_MOSTLY):
    arguments = draw(jumps("x_0", "noise", dtypes=[torch.float32, torch.float64], devices=devices))
    t = arguments["t"]
    x_0 = arguments["x_0"]
    t = t if is_tensor(t) else torch.full((len(x_0),), t, device=x_0.device)
    return dict(model=lambda x_t, t: x_t / 2) | arguments | dict(t=t)


T_BATCH = [*level(), *[wrong_type("an int", 7), wrong_type("the right int", 1)]]
for function in (training.diffusion_loss, training.bfloat16_loss):
    entry(
        f"training.{function.__name__}",
        function,
        losses(CPU_MOSTLY if function is training.diffusion_loss else ("cpu",)),  # meta has no autocast
        dict(
            model=[spoil for spoil in MODEL if function is training.diffusion_loss or spoil not in ANSWERS[:2]],
            x_0=BATCH,
            t=[
                spoil for spoil in T_BATCH if spoil.what not in ("too low", "too high", "just too low", "just too high")
            ],
            noise=like("x_0"),
            schedule=SCHEDULE,
        ),
        lambda a, result: same_kind(result, a["x_0"], ()),
    )


@st.composite
def training_steps(draw):
    x_0, model = draw(batches(dtypes=[torch.float32], devices=["cpu"], holes=False)), Share()
    return dict(
        model=model,
        x_0=x_0,
        schedule=draw(schedules()),
        optimizer=torch.optim.SGD(model.parameters(), lr=1e-3),
        generator=draw(st.sampled_from([None, torch.Generator().manual_seed(draw(seeds))])),
        labels=draw(st.sampled_from([torch.zeros(len(x_0), dtype=torch.int64), None])),
        loss=training.diffusion_loss,
    )


def gives_loss(arguments, loss):
    assert isinstance(loss, float)
    assert math.isfinite(loss)


LABELS = [spoil for spoil in labels_for("x_0") if not spoil.what.startswith("one ")]  # only the network knows the range
entry(
    "training.training_step",
    training.training_step,
    training_steps(),
    dict(
        model=TRAINABLE,
        x_0=BATCH,
        schedule=SCHEDULE,
        optimizer=OPTIMIZER,
        generator=GENERATOR,
        labels=LABELS,
        loss=FUNCTION,
    ),
    gives_loss,
)
entry(
    "training.EMA",
    training.EMA,
    st.fixed_dictionaries(dict(model=st.builds(Share), decay=st.floats(0, 0.9999))),
    dict(model=MODULE, decay=[*number(0, math.nextafter(1, 0)), wrong_value("1", 1)]),
    lambda a, ema: same_kind(ema.model.share, a["model"].share),
)
entry(
    "training.EMA.update",
    lambda ema, model: ema.update(model),
    st.builds(lambda: dict(ema=training.EMA(Share()), model=Share(0.25))),
    dict(
        model=[
            *MODULE,
            wrong_value("without weights", lambda good, a: nn.Identity()),
            wrong_value("with more weights", lambda good, a: network_of(nn.Linear, 2, 2)),
            wrong_value("with weights of another shape", lambda good, a: one_weight(torch.zeros(2))),
            wrong_value("with weights elsewhere", lambda good, a: Share().to("meta")),
            wrong_value("with a buffer", lambda good, a: with_buffer(Share())),
        ]
    ),
    lambda a, result: None,
)


def one_weight(weight):
    model = Share()
    model.share = nn.Parameter(weight)
    return model


def with_buffer(model):
    model.register_buffer("mean", torch.zeros(2))
    return model


@st.composite
def rates(draw):
    steps = draw(st.integers(1, 1000))
    return dict(step=draw(st.integers(1, steps)), steps=steps, lr=draw(st.floats(1e-6, 1)))


def within_lr(arguments, rate):
    assert 0 < rate <= arguments["lr"]


LR = number(0, open_ends=True)
entry(
    "training.learning_rate",
    training.learning_rate,
    rates(),
    dict(
        step=[*integer(1), wrong_value("after the end", lambda good, arguments: arguments["steps"] + 1)],
        steps=integer(1),
        lr=LR,
    ),
    within_lr,
)


@st.composite
def data_sets(draw, shape=None, devices=("cpu",)):
    shape = shape or (draw(sizes), 1, draw(sizes), draw(sizes))
    levels = torch.randint(256, shape, generator=torch.Generator().manual_seed(draw(seeds)))
    levels.view(-1)[0] = 0
    kind = draw(st.sampled_from([torch.uint8, *FLOATS]))
    return levels.byte() if kind == torch.uint8 else (levels / 127.5 - 1).to(kind)


def scaled_to(low, high):
    """Floating point that was scaled to another range, down to the ends."""

    def make(draw, good, arguments):
        bad = torch.rand(max(len(good), 2), *good.shape[1:], generator=torch.Generator().manual_seed(draw(seeds)))
        bad.view(-1)[0], bad.view(-1)[-1] = 0, 1
        return low + (high - low) * bad

    return make


DATA_SET = [
    *[spoil for spoil in FLOATING if spoil.what != "torch.uint8"],
    *[
        Spoil(f"from {low} to {high}", ValueError, scaled_to(low, high))
        for low, high in [(0, 1), (0, 255), (-1, 2), (-2, 1), (-255, 255), (0.5, 1)]
    ],
    wrong_value("all 0", lambda good, arguments: torch.zeros_like(good, dtype=torch.float32)),
    *[
        Spoil(f"{bad} in it", ValueError, lambda draw, good, a, bad=bad: with_one(bad)(draw, good.float(), a))
        for bad in (math.nan, math.inf, -math.inf)
    ],
    wrong_value("empty", lambda good, arguments: good[:0]),
    wrong_value("without pixels", lambda good, arguments: good[..., :0]),
    wrong_value("one image", lambda good, arguments: good[0]),
    wrong_value("a dimension more", lambda good, arguments: good[None]),
    wrong_value("elsewhere", on_meta),
]


@st.composite
def trainings(draw):
    images = draw(data_sets())
    model = network_of(unet.UNet, base_channels=16, num_classes=CLASSES, patch=1, multipliers=(1,)).requires_grad_()
    if images.is_floating_point():
        images = images.float()
    return dict(
        model=model,
        images=images,
        schedule=draw(schedules()),
        batch_size=draw(sizes),
        loss=training.diffusion_loss,
        labels=draw(st.sampled_from([torch.arange(len(images)) % CLASSES, None])),
    )


def gives_history(arguments, history):
    assert len(history) == arguments["steps"]
    assert all(isinstance(loss, float) and math.isfinite(loss) for loss in history)


EMA_OR_NONE = [*all_but("None"), Spoil("a model", TypeError, lambda draw, good, arguments: arguments["model"])]
TO_TRAIN = [
    *MODULE,
    wrong_value("without weights", lambda good, a: nn.Identity()),
    Spoil("frozen", ValueError, lambda draw, good, arguments: Frozen()),
    wrong_value("elsewhere", lambda good, arguments: Share().to("meta")),
]
SHARED = dict(
    model=TO_TRAIN,
    images=DATA_SET,
    schedule=SCHEDULE,
    batch_size=integer(1),
    loss=FUNCTION,
    labels=labels_for("images"),
)
entry(
    "training.train",
    training.train,
    trainings().map(
        lambda a: (
            a
            | dict(steps=2, lr=1e-3, ema=training.EMA(a["model"]), callback=None, checkpoint=None)
            | dict(generator=torch.Generator().manual_seed(0))
        )
    ),
    SHARED
    | dict(
        steps=integer(1),
        lr=LR,
        ema=EMA_OR_NONE,
        callback=all_but("None", "a function", "a module"),
        checkpoint=[spoil for spoil in PATH if spoil.what != "None"],
        generator=GENERATOR,
    ),
    gives_history,
    examples=2,
)


def gives_steps(arguments, steps):
    assert isinstance(steps, int)
    assert steps >= 1


entry(
    "training.steps_in",
    training.steps_in,
    trainings().map(lambda a: dict(minutes=0.001) | a),
    dict(minutes=number(0, training.A_YEAR, open_ends=True)) | SHARED,
    gives_steps,
    examples=1,
)
entry(
    "training.progress_line",
    training.progress_line,
    st.fixed_dictionaries(dict(steps=sizes)),
    dict(steps=integer(1)),
    lambda a, callback: callback(1, 0.5),
)

# Checkpoints: each valid call has a file of its own


FOLDER = pathlib.Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, FOLDER)


@st.composite
def checkpoints(draw):
    """What a run would save."""
    model = network_of(unet.UNet, base_channels=8)
    arguments = dict(
        path=FOLDER / f"{draw(seeds)}.safetensors",
        model=model,
        ema=training.EMA(model),
        optimizer=torch.optim.Adam(model.parameters()),
        generator=torch.Generator(),
    )
    return arguments | dict(history=draw(st.lists(st.floats(0, 1), max_size=3)))


def saved(arguments):
    training.save_checkpoint(**arguments)
    return {name: value for name, value in arguments.items() if name != "history"}


OPTIONAL_PARTS = dict(
    ema=EMA_OR_NONE,
    optimizer=[spoil for spoil in OPTIMIZER if spoil.what != "None"],
    generator=[spoil for spoil in GENERATOR if spoil.what != "elsewhere"],  # its state is saved, wherever it is
)
LOSSES = [
    *all_but("a list", "a long list"),
    wrong_type("text in it", ["0.5"]),
    wrong_type("a tensor in it", [torch.tensor(0.5)]),
]
NO_FILE = Spoil("no file there", FileNotFoundError, lambda draw, good, arguments: good.with_name("missing"))
PATH_TO_READ = [
    *[spoil for spoil in PATH if spoil.what != "a path"],
    wrong_value("a folder", lambda good, arguments: pathlib.Path(__file__).parent),
    wrong_value("no checkpoint", lambda good, arguments: pathlib.Path(__file__)),
]
entry(
    "training.save_checkpoint",
    training.save_checkpoint,
    checkpoints(),
    dict(path=PATH, model=MODULE, history=LOSSES) | OPTIONAL_PARTS,
    lambda a, result: torch.testing.assert_close(training.load_checkpoint(a["path"], a["model"]), a["history"]),
    examples=3,
)
entry(
    "training.load_checkpoint",
    training.load_checkpoint,
    checkpoints().map(saved),
    dict(path=PATH_TO_READ, model=[*MODULE, wrong_value("another model", lambda good, a: Share())]) | OPTIONAL_PARTS,
    lambda a, history: all(isinstance(loss, float) for loss in history),
    examples=3,
)
for function in (training.read_checkpoint, training.load_unet):
    entry(
        f"training.{function.__name__}",
        function,
        checkpoints().map(saved).map(lambda a: dict(path=a["path"])),
        dict(path=PATH_TO_READ),
        lambda a, result: None,
        examples=2,
    )


# sampling


@st.composite
def denoisers(draw):
    """A network, and the images that its denoiser is called with."""
    schedule, x_t = draw(schedules()), draw(batches(dtypes=[torch.float32, torch.float64]))
    labels = draw(st.sampled_from([None, torch.zeros(len(x_t), dtype=torch.int64)]))
    return dict(model=Share(), schedule=schedule, labels=labels, clip=draw(st.booleans()), x_t=x_t)


def gives_denoiser(arguments, denoise):
    x_0_hat = denoise(arguments["x_t"], 1)
    same_kind(x_0_hat, arguments["x_t"])
    assert not arguments["clip"] or x_0_hat.is_meta or not (x_0_hat.abs() > 1).any()


def make_denoiser(x_t, **arguments):
    return sampling.denoiser(**arguments)


def call_denoiser(t, x_t, **arguments):
    return sampling.denoiser(**arguments)(x_t, t)


ALONE = [spoil for spoil in labels_for("x_t") if spoil.what in THINGS or "torch." in spoil.what]
IN_A_ROW = [*ALONE, *[spoil for spoil in one_for_each("labels", is_tensor) if spoil.what.endswith(("column", "empty"))]]
entry(
    "sampling.denoiser",
    make_denoiser,
    denoisers(),
    dict(model=FUNCTION, schedule=SCHEDULE, labels=IN_A_ROW, clip=FLAG),
    gives_denoiser,
    unspoiled=dict(x_t="an argument of the denoiser, not of what makes it"),
)
entry(
    "sampling.denoiser.denoise",
    call_denoiser,
    st.tuples(denoisers(), st.just(dict(t=1))).map(lambda both: both[0] | both[1]),
    dict(x_t=BATCH, t=level(tensors=False), labels=one_for_each("labels", is_tensor), model=ANSWERS[2:]),
    gives_like("x_t"),
    unspoiled=dict.fromkeys(["schedule", "clip"], "arguments of what makes the denoiser"),
)


@st.composite
def steps(draw, **options):
    x_t, schedule = draw(batches()), draw(schedules())
    t = draw(st.integers(1, schedule.T))
    s = draw(st.integers(0, t - 1))
    generator = draw(st.sampled_from([None, torch.Generator().manual_seed(draw(seeds))]))
    arguments = dict(x_t=x_t, x_0_hat=like_it(draw, x_t), t=t, s=s, schedule=schedule, generator=generator)
    return arguments | {name: draw(strategy) for name, strategy in options.items()}


STEP = dict(
    x_t=BATCH,
    x_0_hat=like("x_t"),
    t=level(tensors=False),
    s=level(0, lambda arguments: arguments["t"] - 1, tensors=False),
    schedule=SCHEDULE,
    generator=GENERATOR,
)
entry("sampling.ddpm_step", sampling.ddpm_step, steps(), STEP, gives_like("x_t"))
entry(
    "sampling.ddim_step",
    sampling.ddim_step,
    steps(eta=st.floats(0, 1)),
    STEP | dict(eta=number(0, 1)),
    gives_like("x_t"),
)


def top_level(arguments):
    return arguments["schedule"].T


@st.composite
def spacings(draw):
    schedule = draw(schedules())
    return dict(schedule=schedule, num_steps=draw(st.integers(1, schedule.T)))


def gives_levels(arguments, levels):
    assert len(levels) == arguments["num_steps"] + 1
    assert (levels[0], levels[-1]) == (arguments["schedule"].T, 0)
    assert levels == sorted(set(levels), reverse=True)


NUM_STEPS = level(1, top_level, tensors=False)
entry(
    "sampling.spaced_levels",
    sampling.spaced_levels,
    spacings(),
    dict(schedule=SCHEDULE, num_steps=NUM_STEPS),
    gives_levels,
)


def shrink(x_t, t):
    return x_t / 2


@st.composite
def walks(draw):
    """A walk of a few steps, by their number or by levels, from noise or from x_T."""
    schedule, shape = draw(schedules()), tuple(draw(st.lists(sizes, min_size=1, max_size=4)))
    how = draw(st.sampled_from(["num_steps", "levels"]))
    levels = draw(st.sets(st.integers(0, schedule.T), max_size=4)) | {0, schedule.T}
    x_T = draw(st.one_of(st.none(), batches(shape)))
    return dict(
        denoise=shrink,
        shape=draw(st.sampled_from([shape, list(shape), torch.Size(shape)])),
        schedule=schedule,
        step=draw(st.sampled_from([sampling.ddpm_step, sampling.ddim_step])),
        num_steps=draw(st.integers(1, min(schedule.T, 5))) if how == "num_steps" else None,
        levels=sorted(levels, reverse=True) if how == "levels" else None,
        x_T=x_T,
        generator=draw(st.sampled_from([None, torch.Generator().manual_seed(draw(seeds))])),
        device=None if is_tensor(x_T) and x_T.is_meta else draw(st.sampled_from([None, "cpu", torch.device("cpu")])),
    )


def gives_images(arguments, x):
    x_T, device = arguments["x_T"], torch.device(arguments["device"] or "cpu")
    start = torch.zeros(arguments["shape"]) if x_T is None else x_T
    assert (x.shape, x.dtype) == (start.shape, start.dtype)
    assert x.device == (device if arguments["device"] else start.device)
    assert x_T is not None or x.isfinite().all()


def gives_steps_down(arguments, walk):
    walk = list(walk)
    assert walk[-1][0] == 0
    assert [s for s, _, _ in walk] == sorted({s for s, _, _ in walk}, reverse=True)
    gives_images(arguments, walk[-1][1])


def without_num_steps(what, error, levels):
    """Levels; they are refused beside num_steps anyway, so where num_steps is there they say nothing."""

    def make(draw, good, arguments):
        return NOTHING if good is None else levels(arguments)

    return Spoil(what, error, make)


LEVELS = [
    *all_but("None", "a list", "a long list"),
    wrong_type("floats", [1.0, 0.0]),
    wrong_type("bools", [True, False]),
    wrong_type("a tensor of levels", torch.tensor([1, 0])),
    wrong_type("a generator", (level for level in [1, 0])),
    without_num_steps("empty", ValueError, lambda a: []),
    without_num_steps("only 0", ValueError, lambda a: [0]),
    without_num_steps("not down to 0", ValueError, lambda a: [top_level(a) + 1, 1]),
    without_num_steps("rising", ValueError, lambda a: [0, top_level(a)]),
    without_num_steps("staying", ValueError, lambda a: [top_level(a), top_level(a), 0]),
    without_num_steps("above T", ValueError, lambda a: [top_level(a) + 1, 0]),
    without_num_steps("below 0", ValueError, lambda a: [top_level(a), 0, -1]),
    without_num_steps("endless", ValueError, lambda a: range(10**15, -1, -1)),
    wrong_value("beside num_steps", lambda good, a: [a["schedule"].T, 0] if good is None else NOTHING),
]
SHAPE = [
    *all_but("a list", "a long list"),
    wrong_type("a float in it", (2, 8.0)),
    wrong_type("a bool in it", (2, True)),
    wrong_value("a 0 in it", (2, 0)),
    wrong_value("below 0", (2, -1)),
    wrong_value("empty", ()),
    wrong_value("too large", (2, 10**30)),
    wrong_value("too large in all", (10**6, 10**6)),
]
X_T = [
    *[spoil for spoil in BATCH if spoil.what in THINGS and spoil.what != "None"],
    *[wrong_type(f"{dtype}", torch.ones(2).to(dtype)) for dtype in (torch.uint8, torch.int64, torch.bool)],
    wrong_value("one too many", lambda good, a: torch.zeros(a["shape"][0] + 1, *a["shape"][1:])),
    wrong_value("a dimension more", lambda good, a: torch.zeros(1, *a["shape"])),
    wrong_value("empty", lambda good, a: torch.zeros(0, *a["shape"][1:])),
]
WALK = dict(
    denoise=[*FUNCTION],
    shape=SHAPE,
    schedule=SCHEDULE,
    step=FUNCTION,
    num_steps=[spoil for spoil in NUM_STEPS if spoil.what != "None"],
    levels=LEVELS,
    x_T=X_T,
    generator=GENERATOR,
    device=DEVICE,
)
entry("sampling.sample", sampling.sample, walks(), WALK, gives_images)
entry("sampling.sample_steps", sampling.sample_steps, walks(), WALK, gives_steps_down)


@st.composite
def encodings(draw):
    schedule = draw(schedules())
    levels = sorted(draw(st.sets(st.integers(1, schedule.T), min_size=1, max_size=4)))
    return dict(denoise=shrink, x_0=draw(batches()), schedule=schedule, levels=levels)


RISING = [
    *all_but("a list", "a long list"),
    wrong_type("floats", [1.0, 2.0]),
    wrong_type("bools", [True]),
    wrong_value("empty", []),
    wrong_value("from 0", [0, 1]),
    wrong_value("below 0", [-1, 1]),
    wrong_value("above T", lambda good, a: [1, top_level(a) + 1]),
    wrong_value("staying", lambda good, a: [top_level(a), top_level(a)]),
    wrong_value("falling", lambda good, a: [top_level(a), 0]),
    wrong_value("endless", range(1, 10**15)),
]
entry(
    "sampling.ddim_encode",
    sampling.ddim_encode,
    encodings(),
    dict(denoise=FUNCTION, x_0=BATCH, schedule=SCHEDULE, levels=RISING),
    gives_like("x_0"),
)


# mixture


@st.composite
def mixtures(draw):
    K, D = draw(sizes), draw(sizes)
    weights = torch.rand(K, generator=torch.Generator().manual_seed(draw(seeds)), dtype=torch.float64) + 0.1
    root = normal((K, D, D), draw(seeds), torch.float64)
    covariances = root @ root.mT + 0.1 * torch.eye(D, dtype=torch.float64)
    return dict(weights=weights / weights.sum(), means=normal((K, D), draw(seeds)), covariances=covariances)


def gives_mixture(arguments, mixture):
    D = arguments["means"].shape[1]
    for values, shape in [(mixture.mean(), (D,)), (mixture.covariance(), (D, D))]:
        assert values.shape == shape
        assert values.isfinite().all()


def of_a_mixture(name, why="not finite"):
    return [
        *BATCH,
        Spoil("NaN in it", ValueError, with_one(math.nan)),
        Spoil("infinite", ValueError, with_one(math.inf)),
        wrong_value("too many", lambda good, arguments: torch.cat([good, good])),
        wrong_value("a dimension more", lambda good, arguments: good[None]),
        wrong_value("elsewhere", on_meta),
    ]


def as_double(make):
    return lambda good, arguments: make(good.double(), arguments)


entry(
    "mixture.GaussianMixture",
    GaussianMixture,
    mixtures(),
    dict(
        weights=[
            *of_a_mixture("weights"),
            wrong_value("that add up to 2", lambda good, a: 2 * good),
            wrong_value("one below 0", lambda good, a: torch.cat([good[:-1], -good[-1:]])),
            wrong_value("percent", lambda good, a: 100 * good),
        ],
        means=[*of_a_mixture("means"), wrong_value("of one dimension", lambda good, a: good[:, 0])],
        covariances=[
            *of_a_mixture("covariances"),
            wrong_value("negative", lambda good, a: -good),
            wrong_value("singular", lambda good, a: torch.zeros_like(good)),
            wrong_value("variances only", lambda good, a: good[:, 0]),
        ],
    ),
    gives_mixture,
)
built = mixtures().map(lambda arguments: GaussianMixture(**arguments))


@st.composite
def with_points(draw, name="x", **options):
    mixture = draw(built)
    x = draw(batches((draw(sizes), mixture.means.shape[1]), holes=False))
    return {"mixture": mixture, name: x} | {option: draw(strategy) for option, strategy in options.items()}


POINTS = [
    *BATCH,
    wrong_value("one point", lambda good, arguments: good[0]),
    wrong_value("a dimension more", lambda good, arguments: good[None]),
    wrong_value("too many coordinates", lambda good, arguments: torch.cat([good, good], dim=1)),
]
entry(
    "mixture.GaussianMixture.sample",
    lambda mixture, n, generator: mixture.sample(n, generator),
    built.map(lambda mixture: dict(mixture=mixture, n=5, generator=None)),
    dict(n=integer(1), generator=GENERATOR),
    lambda a, x: same_kind(x, torch.ones(a["n"], a["mixture"].means.shape[1])),
)
entry(
    "mixture.GaussianMixture.noised",
    lambda mixture, t, schedule: mixture.noised(t, schedule),
    st.tuples(built, spacings()).map(
        lambda both: dict(mixture=both[0], t=both[1]["num_steps"], schedule=both[1]["schedule"])
    ),
    dict(t=level(0, top_level, tensors=False), schedule=SCHEDULE),
    lambda a, mixture: gives_mixture(dict(means=a["mixture"].means), mixture),
)
for method, shape in [
    ("component_log_prob", lambda a: (len(a["x"]), len(a["mixture"].weights))),
    ("responsibilities", lambda a: (len(a["x"]), len(a["mixture"].weights))),
    ("log_prob", lambda a: (len(a["x"]),)),
]:
    entry(
        f"mixture.GaussianMixture.{method}",
        lambda mixture, x, method=method: getattr(mixture, method)(x),
        with_points(),
        dict(x=POINTS),
        lambda a, result, shape=shape: same_kind(result, a["x"], shape(a)),
    )
entry(
    "mixture.exact_denoiser",
    lambda mixture, schedule, x_t: exact_denoiser(mixture, schedule),
    with_points("x_t", schedule=schedules()),
    dict(mixture=all_but(), schedule=SCHEDULE),
    lambda a, denoise: same_kind(denoise(a["x_t"], 1), a["x_t"]),
    unspoiled=dict(x_t="an argument of the denoiser, not of what makes it"),
)
entry(
    "mixture.exact_denoiser.denoise",
    lambda mixture, schedule, x_t, t: exact_denoiser(mixture, schedule)(x_t, t),
    with_points("x_t", schedule=schedules(), t=st.just(1)),
    dict(x_t=POINTS, t=level(tensors=False)),
    gives_like("x_t"),
    unspoiled=dict.fromkeys(["mixture", "schedule"], "arguments of what makes the denoiser"),
)


# data and device

NOT_BYTES = [
    *all_but(),
    *map(as_dtype, [dtype for dtype in (torch.bool, *WHOLE, *FLOATS, torch.complex64) if dtype != torch.uint8]),
    wrong_value("empty", lambda good, arguments: good[:0]),
]
NO_FOLDER = Spoil("no folder there", FileNotFoundError, lambda draw, good, arguments: good / "missing")


def gives_clothes(a, result):
    N = 60_000 if a["train"] else 10_000
    assert [(part.shape, part.dtype) for part in result] == [((N, 1, 28, 28), torch.uint8), ((N,), torch.int64)]


entry(
    "data.fashion_mnist",
    data.fashion_mnist,
    st.fixed_dictionaries(dict(train=st.booleans(), root=st.just(data.DATA))),
    dict(train=FLAG, root=[*PATH, NO_FOLDER]),
    gives_clothes,
    examples=2,
)
entry(
    "data.scale",
    data.scale,
    st.fixed_dictionaries(dict(images=batches().map(lambda x: x.nan_to_num(0, 1, 1).abs().mul(50).byte()))),
    dict(images=NOT_BYTES),
    lambda a, result: same_kind(result, a["images"].float()),
)
entry(
    "data.unscale",
    data.unscale,
    st.fixed_dictionaries(dict(images=batches(holes=False))),
    dict(images=[*BATCH, Spoil("NaN in it", ValueError, with_one(math.nan))]),
    lambda a, result: same_kind(result, a["images"].byte() if not a["images"].is_meta else a["images"].to(torch.uint8)),
)


@st.composite
def rounded_calls(draw):
    return dict(model=Share(), x=draw(batches(dtypes=[torch.float32], holes=False, devices=["cpu"])))


entry(
    "device.bfloat16",
    lambda model, x: device.bfloat16(model),
    rounded_calls(),
    dict(model=FUNCTION),
    lambda a, rounded: same_kind(rounded(a["x"], None), a["x"]),
    unspoiled=dict(x="an argument of the function, not of what makes it"),
)
entry(
    "device.bfloat16.rounded",
    lambda model, x: device.bfloat16(model)(x, None),
    rounded_calls(),
    dict(x=BATCH),
    gives_like("x"),
    unspoiled=dict(model="an argument of what makes the function"),
)
entry("device.best_device", device.best_device, st.just({}), {}, lambda a, best: torch.empty(1, device=best))


# evaluation

CLOTHES = [
    *DATA_SET,
    wrong_value("of another size", lambda good, a: torch.cat([good, good], dim=-1)),
    wrong_value("in colour", lambda good, a: good.expand(-1, 3, -1, -1)),
]


@st.composite
def clothes(draw):
    return dict(images=draw(data_sets((4, 1, 28, 28))), batch_size=draw(sizes))


for function, width in [(evaluation.features, 64), (evaluation.class_probabilities, 10)]:
    entry(
        f"evaluation.{function.__name__}",
        function,
        clothes(),
        dict(images=CLOTHES, batch_size=integer(1)),
        lambda a, result, width=width: same_kind(result, torch.ones(4, width, dtype=torch.float64)),
        examples=3,
    )
FASHION_SIZED = [
    *BATCH,
    wrong_value("one image", lambda good, arguments: good[0]),
    wrong_value("of another size", lambda good, arguments: torch.cat([good, good], dim=-1)),
    wrong_value("in colour", lambda good, arguments: good.expand(-1, 3, -1, -1)),
]
for name, call, width in [
    ("features", lambda x: evaluation.load_classifier().features(x), 64),
    ("forward", lambda x: evaluation.load_classifier()(x), 10),
]:
    entry(
        f"evaluation.Classifier.{name}",
        call,
        st.fixed_dictionaries(dict(x=batches((2, 1, 28, 28), [torch.float32], ["cpu"], holes=False))),
        dict(x=FASHION_SIZED),
        lambda a, result, width=width: same_kind(result, torch.ones(2, width)),
        examples=2,
    )
entry("evaluation.Classifier", evaluation.Classifier, st.just({}), {}, lambda a, network: None, examples=1)
entry(
    "evaluation.load_classifier",
    evaluation.load_classifier,
    st.just(dict(path=evaluation.CLASSIFIER)),
    dict(path=[*PATH_TO_READ[:-2], NO_FILE, PATH_TO_READ[-1]]),
    lambda a, classifier: None,
    examples=1,
)


@st.composite
def feature_sets(draw, **options):
    D, dtype = draw(sizes), draw(st.sampled_from(FLOATS))
    arguments = {name: normal((draw(st.integers(2, 6)), D), draw(seeds), dtype) for name in ("real", "generated")}
    return arguments | {name: draw(strategy) for name, strategy in options.items()}


FEATURES = [
    *BATCH,
    wrong_value("one point", lambda good, arguments: good[:1]),
    wrong_value("of one dimension", lambda good, arguments: good[0]),
    wrong_value("without features", lambda good, arguments: good[:, :0]),
    wrong_value("elsewhere", on_meta),
    *[Spoil(f"{bad} in it", ValueError, with_one(bad)) for bad in (math.nan, math.inf)],
    wrong_value("beyond all measure", lambda good, arguments: torch.full_like(good, 1e200, dtype=torch.float64)),
]
AS_WIDE = [*FEATURES, wrong_value("too wide", lambda good, arguments: torch.cat([good, good], dim=1))]


def gives_distance(arguments, distance):
    assert isinstance(distance, float)
    assert 0 <= distance < math.inf


entry(
    "evaluation.frechet_distance",
    evaluation.frechet_distance,
    feature_sets(),
    dict(real=FEATURES, generated=AS_WIDE),
    gives_distance,
)
entry(
    "evaluation.precision_recall",
    evaluation.precision_recall,
    feature_sets(k=st.just(1)),
    dict(
        real=FEATURES,
        generated=AS_WIDE,
        k=[*integer(1), wrong_value("as many as points", lambda good, a: min(len(a["real"]), len(a["generated"])))],
    ),
    lambda a, shares: [gives_distance(a, share) for share in shares],
)


def never(arguments, result):
    raise AssertionError("there are no valid calls of this function here")


TOO_SLOW = "needs the features of 70,000 images: its valid calls are in test_evaluation.py"
entry(
    "evaluation.quality",
    evaluation.quality,
    clothes().map(lambda a: dict(images=a["images"])),
    dict(images=[*CLOTHES, wrong_value("too few", lambda good, a: good[:3])]),
    never,
    examples=2,
)
entry(
    "evaluation.floor",
    evaluation.floor,
    st.just(dict(number=100, repeats=1)),
    dict(number=integer(2, 60_000), repeats=integer(1)),
    never,
    examples=2,
)


# plotting


@st.composite
def pictures(draw, N=None):
    N, C = N or draw(sizes), draw(st.sampled_from([1, 3]))
    return draw(batches((N, C, draw(sizes), draw(sizes)), devices=["cpu"]))


PICTURES = [
    *BATCH,
    wrong_value("one picture", lambda good, arguments: good[0]),
    wrong_value("a dimension more", lambda good, arguments: good[None]),
    wrong_value("two channels", lambda good, arguments: good[:, :1].repeat(1, 2, 1, 1)),
    wrong_value("elsewhere", on_meta),
]
PICTURE = [
    *BATCH,
    wrong_value("several", lambda good, arguments: good[None]),
    wrong_value("without channels", lambda good, arguments: good[0]),
    wrong_value("two channels", lambda good, arguments: good[:1].repeat(2, 1, 1)),
    wrong_value("elsewhere", on_meta),
]
INCHES = number(0, 100, open_ends=True)
LIMIT = number(0, open_ends=True)
NO_TITLES = [*all_but("a list", "a long list"), wrong_value("empty", [])]
TITLES = [
    *NO_TITLES,
    wrong_value("too few", lambda good, a: good[1:]),
    wrong_value("too many", lambda good, a: [*good, "more"]),
]
TITLES_OR_NONE = [spoil for spoil in TITLES if spoil.what != "None"]


def titles_for(images):
    return [f"t = {i}" for i in range(len(images))]


def shown(arguments, result):
    """Nothing is left open: a figure that was drawn has been shown, and closed."""
    assert plt.get_fignums() == []


def an_array(arguments, result):
    assert ((result >= 0) & (result <= 1) | ~(result == result)).all()


entry(
    "plotting.show",
    plotting.show,
    st.builds(lambda: dict(figure=plotting.Figure(), description="words")),
    dict(figure=all_but(), description=WORDS),
    shown,
)
entry("plotting.pixels", plotting.pixels, pictures().map(lambda x: dict(image=x[0])), dict(image=PICTURE), an_array)
entry(
    "plotting.show_images",
    plotting.show_images,
    pictures().map(lambda x: dict(images=x, description="words", titles=titles_for(x), columns=2, size=1.1)),
    dict(images=PICTURES, description=WORDS, titles=TITLES_OR_NONE, columns=integer(1), size=INCHES),
    shown,
    examples=2,
)


def in_rows(spoils):
    """The same spoilings in the second of two rows."""

    def make(spoil):
        def spoilt(draw, good, arguments):
            bad = spoil.make(draw, good["b"], arguments)
            return NOTHING if bad is NOTHING else good | {"b": bad}

        return Spoil(f"a row {spoil.what}", spoil.error, spoilt)

    return [*map(make, spoils)]


DICT = [*all_but("a dict"), wrong_value("empty", {})]
ROW = [*PICTURES, wrong_value("longer", lambda good, arguments: torch.cat([good, good]))]
entry(
    "plotting.show_rows",
    plotting.show_rows,
    pictures().map(lambda x: dict(rows={"a": x, "b": -x}, description="words", titles=titles_for(x), size=1.1)),
    dict(rows=[*DICT, *in_rows(ROW)], description=WORDS, titles=NO_TITLES, size=INCHES),
    shown,
    examples=2,
)
entry(
    "plotting.growing_rows",
    plotting.growing_rows,
    st.just(dict(description="words", titles=["a", "b"], size=1.1)),
    dict(description=WORDS, titles=NO_TITLES, size=INCHES),
    lambda a, add: [add(name, torch.zeros(2, 1, 4, 4)) for name in "ab"],
    examples=2,
)
entry(
    "plotting.growing_rows.add",
    lambda name, images: plotting.growing_rows("words", ["a", "b"])(name, images),
    pictures(2).map(lambda x: dict(name="a", images=x)),
    dict(name=all_but("text", "an int", "a float", "a bool"), images=ROW),
    shown,
    examples=2,
)
CURVE = [
    *all_but("a list", "a long list", *TENSORS),
    *[wrong_type(f"{dtype}", torch.ones(2).to(dtype)) for dtype in (torch.bool, torch.complex64)],
    wrong_value("empty", []),
    wrong_value("an empty tensor", torch.ones(0)),
    wrong_value("a matrix", torch.ones(2, 2)),
    wrong_value("without dimensions", torch.tensor(1.0)),
    wrong_value("elsewhere", torch.ones(2, device="meta")),
    wrong_type("text in it", [1, "2"]),
    wrong_type("a tensor in it", [torch.ones(2)]),
    wrong_value("three of them", ([1], [1], [1])),
    wrong_value("x and y of different lengths", ([1, 2], [1])),
]


@st.composite
def curves(draw):
    y = draw(batches(tuple([draw(sizes)]), devices=["cpu"]))
    curve = draw(st.sampled_from([y, y.tolist(), (range(len(y)), y), range(5), y.clone().requires_grad_()]))
    panels = {"left": {"a": curve, "b": y}, "right": {"": [0.5, math.nan], "pair": ((1, 2), (0.5, 1.5))}}
    return dict(panels=panels, description="words", xlabel="t", height=2.8)


def in_panels(spoils):
    return [
        Spoil(
            f"a curve {spoil.what}",
            spoil.error,
            lambda draw, good, a, spoil=spoil: good | {"left": {"b": spoil.make(draw, None, a)}},
        )
        for spoil in spoils
    ]


entry(
    "plotting.show_curves",
    plotting.show_curves,
    curves(),
    dict(
        panels=[*DICT, wrong_type("one panel only", {"a": [1, 2]}), *in_panels(CURVE)],
        description=WORDS,
        xlabel=TEXT,
        height=INCHES,
    ),
    shown,
    unspoiled=dict(axes_options="matplotlib's own, which names them itself"),
    examples=3,
)
IN_THE_PLANE = [
    *BATCH,
    wrong_value("three coordinates", lambda good, arguments: torch.cat([good, good[..., :1]], dim=-1)),
    wrong_value("a dimension less", lambda good, arguments: good[0]),
    wrong_value("elsewhere", on_meta),
]


def finite(*shape):
    return batches(shape, devices=["cpu"], holes=False)


entry(
    "plotting.show_points",
    plotting.show_points,
    finite(5, 2).map(lambda x: dict(clouds={"a": [x, x], "b": x}, description="words", limit=3.0, size=2.0)),
    dict(
        clouds=[*DICT, *[spoil for spoil in in_rows(IN_THE_PLANE) if spoil.what not in ("a row a list",)]],
        description=WORDS,
        limit=LIMIT,
        size=INCHES,
    ),
    shown,
    examples=2,
)
entry(
    "plotting.show_paths",
    plotting.show_paths,
    finite(4, 3, 2).map(lambda x: dict(panels={"a": x, "b": x}, description="words", limit=3.0, size=3.2)),
    dict(panels=[*DICT, *in_rows(IN_THE_PLANE)], description=WORDS, limit=LIMIT, size=INCHES),
    shown,
    examples=2,
)
entry(
    "plotting.show_heatmap",
    plotting.show_heatmap,
    finite(3, 4).map(lambda x: dict(values=x, description="words", xlabel="t", ylabel="", height=2.6)),
    dict(
        values=[
            *BATCH,
            wrong_value("of one dimension", lambda good, arguments: good[0]),
            wrong_value("a dimension more", lambda good, arguments: good[None]),
            wrong_value("elsewhere", on_meta),
        ],
        description=WORDS,
        xlabel=TEXT,
        ylabel=TEXT,
        height=INCHES,
    ),
    shown,
    examples=2,
)
entry(
    "plotting.tile",
    plotting.tile,
    pictures().map(lambda x: dict(images=x, columns=2)),
    dict(images=PICTURES, columns=integer(1)),
    an_array,
)
entry(
    "plotting.save_grid",
    plotting.save_grid,
    finite(3, 1, 4, 4).map(lambda x: dict(path=FOLDER / "grid.png", images=x, columns=2, zoom=2)),
    dict(path=PATH, images=PICTURES, columns=integer(1), zoom=integer(1, 64)),
    lambda a, result: a["path"].read_bytes(),
    examples=3,
)
PARTS = [
    *all_but("a list", "a long list"),
    wrong_value("empty", []),
    wrong_type("a part that is none", [("entrance", "Sequential", 3)]),
    wrong_type("text only", ["entrance"]),
    wrong_value("a part of two sides", [("entrance", "Sequential", (1, 2))]),
    wrong_type("a side that is text", [("entrance", "Sequential", (1, 2, "3"))]),
]
entry(
    "plotting.show_unet",
    plotting.show_unet,
    st.builds(
        lambda: dict(
            rows=unet.shapes_through(network(unet.UNet, base_channels=8), torch.zeros(1, 1, 8, 8), torch.ones(1)),
            description="words",
        )
    ),
    dict(rows=PARTS, description=WORDS),
    shown,
    examples=1,
)
entry(
    "plotting.show_process",
    plotting.show_process,
    pictures(3).map(lambda x: dict(pictures=x, levels=[0, 1, 5], names=["x_0", "x_1", "x_T"], description="words")),
    dict(
        pictures=PICTURES,
        levels=[*TITLES[:-1], wrong_type("floats", [0.0, 1.0, 5.0]), wrong_value("below 0", [0, -1, 5])],
        names=[*TITLES, wrong_type("numbers", [0, 1, 5])],
        description=WORDS,
    ),
    shown,
    examples=1,
)


# widgets

ONE_PICTURE = [*PICTURES, wrong_value("two", lambda good, arguments: torch.cat([good, good]))]
FOR_THE_UNET = [*ONE_PICTURE, wrong_value("a height that can't be halved", lambda good, a: good[:, :, 1:])]
not_long = st.integers(50, 60).map(cosine_schedule)
one_picture = batches((1, 1, 8, 8), [torch.float32], ["cpu"], holes=False)


def widget(name, spoils, **strategies):
    strategies = {
        name: strategy if isinstance(strategy, st.SearchStrategy) else st.just(strategy)
        for name, strategy in strategies.items()
    }
    valid = st.fixed_dictionaries(strategies | dict(description=st.just("words")))
    entry(f"widgets.{name}", getattr(widgets, name), valid, spoils | dict(description=WORDS), shown, examples=1)


widget("noise_slider", dict(image=ONE_PICTURE, schedule=SCHEDULE), image=one_picture, schedule=not_long)
widget("schedule_designer", dict(image=ONE_PICTURE), image=one_picture)
widget(
    "unet_explorer",
    dict(unet=[*all_but(), wrong_type("the class", unet.UNet)], image=FOR_THE_UNET),
    unet=st.builds(lambda: network(unet.UNet, base_channels=8)),
    image=one_picture,
)
STATES = [
    *all_but("a list", "a long list"),
    wrong_value("empty", []),
    wrong_type("levels only", [1, 0]),
    wrong_type("pairs", [(0, torch.zeros(1, 1, 4, 4))]),
    wrong_type("a level that is a float", [(0.0, torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))]),
    wrong_value("a level below 0", [(-1, torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))]),
    wrong_value("images of different sizes", [(0, torch.zeros(1, 1, 4, 4), torch.zeros(2, 1, 4, 4))]),
    wrong_value("points", [(0, torch.zeros(3, 2), torch.zeros(3, 2))]),
    wrong_value(
        "on the meta device", [(0, torch.zeros(1, 1, 4, 4, device="meta"), torch.zeros(1, 1, 4, 4, device="meta"))]
    ),
]
widget(
    "trajectory_scrubber",
    dict(states=STATES),
    states=one_picture.map(lambda x: [(5, x, x), (0, x, x)]),
)
widget(
    "steps_and_eta",
    dict(
        denoise=FUNCTION,
        x_T=PICTURES,
        schedule=[*SCHEDULE, wrong_value("too short", cosine_schedule(49))],
    ),
    denoise=shrink,
    x_T=one_picture,
    schedule=not_long,
)


# quiz

QUIZ = [*WORDS, wrong_value("no quiz", "07_no_quiz"), wrong_value("a path", "../quizzes/03_unet")]
QUIZ = [spoil for spoil in [*QUIZ, wrong_value("text", "5")]]
for function in (quiz.show_quiz, quiz.load_quiz):
    entry(
        f"quiz.{function.__name__}",
        function,
        st.sampled_from(sorted(path.stem for path in quiz.QUIZZES.glob("*.toml"))).map(lambda name: dict(name=name)),
        dict(name=QUIZ),
        lambda a, result: None,
        examples=2,
    )
entry(
    "quiz.read_quiz",
    quiz.read_quiz,
    st.just(dict(path=quiz.QUIZZES / "03_unet.toml")),
    dict(path=[*PATH, NO_FILE, wrong_value("no quiz", pathlib.Path(__file__))]),
    lambda a, result: None,
    examples=2,
)
