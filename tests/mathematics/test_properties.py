"""What holds for the forward and the reverse process on every path, in every shape and dtype, at every level.

The arguments are hypothesis's: the same in every `make test`, and many others in `make stress`.
"""

import importlib.util
import os
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course_utils.annotations import WrongArgument
from course_utils.forward import add_noise, forward_step, posterior, predict_noise, predict_x_0
from course_utils.predictions import NOISE, VELOCITY, X_0, V
from course_utils.sampling import ddim_step, ddpm_step
from course_utils.schedule import NoiseSchedule, at, cosine_schedule, linear_schedule, straight_path
from course_utils.training import diffusion_loss

STRESS = "STRESS" in os.environ
many = settings(
    max_examples=2500 if STRESS else 100,
    derandomize=not STRESS,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
KINDS = (linear_schedule, cosine_schedule, straight_path)
PREDICTIONS = (NOISE, X_0, V, VELOCITY)


@st.composite
def paths(draw, kinds=KINDS, least=2):
    return draw(st.sampled_from(kinds))(draw(st.sampled_from([10, 50, 1000]) | st.integers(least, 1000)))


@dataclass
class Case:
    """Two images that go together, and their levels: t, and s below it."""

    path: object
    x: torch.Tensor
    other: torch.Tensor
    t: object
    s: object

    def exact(self, table):
        """The coefficients at t, in float64."""
        return at(table, self.t, self.x.double())


@st.composite
def cases(draw, dtypes=DTYPES, kinds=KINDS, below=0, ints=True):
    """t is within 1 .. T - below: on the straight path nothing is left of the image at T."""
    path = draw(paths(kinds))
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    x, other = torch.randn(2, *shape, generator=generator, dtype=torch.float64).to(draw(st.sampled_from(dtypes)))
    if ints and draw(st.booleans()):
        t = draw(st.integers(1, path.T - below))
        return Case(path, x, other, t, draw(st.integers(0, t - 1)))
    levels = [draw(st.integers(1, path.T - below)) for _ in range(shape[0])]
    s = [draw(st.integers(0, t - 1)) for t in levels]
    kind = draw(st.sampled_from([torch.int64, torch.int32]))
    return Case(path, x, other, torch.tensor(levels, dtype=kind), torch.tensor(s, dtype=kind))


def seeded():
    return torch.Generator().manual_seed(0)


def all_results(path, x, other, t, s, steps=True):
    """{function: what it gives for x and another batch, from t, or from t to s}."""
    results = {function: function(x, t, other, path) for function in (add_noise, predict_x_0, predict_noise)}
    results["mean"], results["variance"] = posterior(x, other, t, path, s)
    for prediction in PREDICTIONS:
        results[f"{prediction.name}'s target"] = prediction.target(x, other, t, path)
        results[f"{prediction.name}'s x_0"] = prediction.x_0(x, t, other, path)
    if isinstance(path, NoiseSchedule):
        results[forward_step] = forward_step(x, t, other, path)
    if steps and isinstance(t, int):
        results[ddpm_step] = ddpm_step(x, other, t, s, path, generator=seeded())
        for eta in (0, 0.5):
            results[ddim_step, eta] = ddim_step(x, other, t, s, path, eta, generator=seeded())
    return results


def same(one, other):
    """Bit for bit; where float16 has no number for it, both are NaN or infinite."""
    return one.shape == other.shape and torch.equal(one.nan_to_num(1234), other.nan_to_num(1234))


# What comes out, and what stays as it was


@many
@given(case=cases())
def test_results_keep_dtype_and_shape_and_change_nothing_else(case):
    given_before = [value.clone() for value in (case.x, case.other, case.path.signal_rate, case.path.noise_rate)]
    t, random = torch.as_tensor(case.t).clone(), torch.get_rng_state()
    for name, result in all_results(case.path, case.x, case.other, case.t, case.s).items():
        assert result.dtype == case.x.dtype, name
        broadcast = torch.broadcast_shapes(result.shape, case.x.shape)
        assert (broadcast if name == "variance" else result.shape) == case.x.shape, name
    given_after = case.x, case.other, case.path.signal_rate, case.path.noise_rate
    assert all(map(torch.equal, given_before, given_after))
    assert torch.equal(torch.as_tensor(case.t), t)
    assert torch.equal(torch.get_rng_state(), random)


@many
@given(case=cases(), data=st.data())
def test_an_int_means_the_same_as_a_tensor_full_of_it(case, data):
    t = data.draw(st.integers(1, case.path.T))
    s = data.draw(st.integers(0, t - 1))
    one = all_results(case.path, case.x, case.other, t, s, steps=False)
    full = [torch.full((len(case.x),), level) for level in (t, s)]
    for name, result in all_results(case.path, case.x, case.other, *full, steps=False).items():
        assert same(result, one[name].expand(result.shape)), name


@many
@given(case=cases(ints=False))
def test_a_batch_gives_what_its_images_give_one_at_a_time(case):
    together = all_results(case.path, case.x, case.other, case.t, case.s)
    for i in range(len(case.x)):
        one = slice(i, i + 1)
        for name, result in all_results(case.path, case.x[one], case.other[one], case.t[one], case.s[one]).items():
            assert same(result, together[name][one]), name


# There and back


@many
@given(case=cases())
def test_at_level_0_the_image_is_left_as_it_is(case):
    for t in (0, torch.zeros(len(case.x), dtype=torch.int64)):
        assert torch.equal(add_noise(case.x, t, case.other, case.path), case.x)


@many
@given(case=cases(below=1))
def test_predictions_invert_add_noise_to_the_precision_of_the_dtype(case):
    x_t = add_noise(case.x, case.t, case.other, case.path)
    kind = torch.finfo(case.x.dtype)
    rates = [at(table, case.t, case.x).double() for table in (case.path.signal_rate, case.path.noise_rate)]
    parts = [rate * part.double().abs() for rate, part in zip(rates, (case.x, case.other), strict=True)]
    rounding = 4 * (kind.eps * sum(parts) + kind.smallest_normal * kind.eps)
    for predict, given_part, wanted, rate in (
        (predict_x_0, case.other, case.x, rates[0]),
        (predict_noise, case.x, case.other, rates[1]),
    ):
        wrong = (predict(x_t, case.t, given_part, case.path).double() - wanted.double()).abs()
        assert (wrong <= rounding / rate + kind.eps * wanted.double().abs()).all()


@many
@given(case=cases(dtypes=[torch.float64], below=1))
def test_predictions_convert_into_one_another(case):
    x_0, noise, t, path = case.x, case.other, case.t, case.path
    x_t = add_noise(x_0, t, noise, path)
    signal, noise_rate = case.exact(path.signal_rate), case.exact(path.noise_rate)
    rounding = 1e-14 * (1 + x_0.abs() + noise.abs()) / (signal * noise_rate)
    for one in PREDICTIONS:
        x_0_hat = one.x_0(x_t, t, one.target(x_0, noise, t, path), path)
        assert ((x_0_hat - x_0).abs() <= rounding).all(), one.name
        noise_hat = predict_noise(x_t, t, x_0_hat, path)
        for other in PREDICTIONS:
            converted, wanted = other.target(x_0_hat, noise_hat, t, path), other.target(x_0, noise, t, path)
            assert ((converted - wanted).abs() <= rounding).all(), f"{one.name} into {other.name}"


# The way back, where the image is known


@many
@given(case=cases())
def test_the_posterior_at_level_0_is_the_image_and_has_no_variance(case):
    for s in (0, torch.zeros(len(case.x), dtype=torch.int64)):
        mean, variance = posterior(case.x, case.other, case.t, case.path, s)
        assert torch.equal(mean, case.x)
        assert (variance == 0).all()


@many
@given(case=cases(dtypes=[torch.float64]))
def test_the_posterior_keeps_the_marginals(case):
    """With x_t = signal_t x_0 + noise_t noise, x_s is to be signal_s x_0 plus noise of the size noise_s."""
    one, zero = torch.ones(len(case.x), dtype=torch.float64), torch.zeros(len(case.x), dtype=torch.float64)
    x_0_share, variance = posterior(one, zero, case.t, case.path, case.s)
    x_t_share, _ = posterior(zero, one, case.t, case.path, case.s)
    signal_t, noise_t = case.path.signal_rate[case.t], case.path.noise_rate[case.t]
    signal_s, noise_s = case.path.signal_rate[case.s], case.path.noise_rate[case.s]
    assert ((x_0_share + x_t_share * signal_t - signal_s).abs() <= 1e-12).all()
    assert ((x_t_share**2 * noise_t**2 + variance - noise_s**2).abs() <= 1e-12).all()
    assert (variance >= 0).all()


@many
@given(case=cases(dtypes=[torch.float64, torch.float32], kinds=[straight_path]), data=st.data())
def test_ddim_on_the_straight_path_is_a_step_of_eulers_method(case, data):
    t = data.draw(st.integers(1, case.path.T))
    s = data.draw(st.integers(0, t - 1))
    x_t, x_0_hat = case.x, case.other
    velocity = (x_t - x_0_hat).double() / (t / case.path.T)
    euler = x_t + (s - t) / case.path.T * velocity
    rounding = 8 * torch.finfo(x_t.dtype).eps * (1 + x_t.abs() + x_0_hat.abs()) / (t / case.path.T)
    assert ((ddim_step(x_t, x_0_hat, t, s, case.path) - euler).abs() <= rounding).all()
    target = VELOCITY.target(x_0_hat, predict_noise(x_t, t, x_0_hat, case.path), t, case.path)
    assert ((target - velocity).abs() <= rounding / (t / case.path.T)).all()


# What torch would broadcast in silence


@many
@given(case=cases(), data=st.data())
def test_noise_that_would_broadcast_is_refused(case, data):
    shape = list(case.x.shape)
    ways = {i: [*shape[:i], 1, *shape[i + 1 :]] for i, length in enumerate(shape) if length > 1}
    ways |= {"more": [1, *shape], "less": shape[1:], "one": [1] * len(shape) if max(shape) > 1 else []}
    spoiled = torch.zeros(ways[data.draw(st.sampled_from(list(ways)))], dtype=case.x.dtype)
    assert torch.broadcast_shapes(spoiled.shape, case.x.shape)  # torch would not mind
    x, t, path = case.x, case.t, case.path
    for call in (
        lambda: add_noise(x, t, spoiled, path),
        lambda: predict_x_0(x, t, spoiled, path),
        lambda: predict_noise(x, t, spoiled, path),
        lambda: posterior(x, spoiled, t, path),
        lambda: ddpm_step(x, spoiled, 2, 1, path),
        lambda: ddim_step(x, spoiled, 2, 1, path),
        lambda: diffusion_loss(lambda x_t, t: x_t, x, torch.ones(len(x), dtype=torch.int64), spoiled, path),
    ):
        with pytest.raises(WrongArgument, match=r"(noise|noise_hat|x_t|x_0_hat) must"):
            call()


# Networks for other programs: no check is in their way


@pytest.fixture
def unet(make_unet):
    return make_unet(condition=10).eval().requires_grad_(False)


def inputs(seed):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(2, 1, 8, 8, generator=generator),
        torch.randint(1, 1001, (2,), generator=generator),
        torch.randint(10, (2,), generator=generator),
    )


def test_unet_compiles_in_one_piece(unet):
    compiled = torch.compile(unet, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*inputs(0)), unet(*inputs(0)))
    assert torch.equal(compiled(*inputs(0)[:2]), unet(*inputs(0)[:2]))


def test_unet_is_exported_for_batches_of_any_size(unet):
    """By torch.export, which the newer exporter to ONNX runs first."""
    exported = torch.export.export(unet, inputs(0), dynamic_shapes=[{0: torch.export.Dim("B")}] * 3).module()
    assert torch.equal(exported(*inputs(1)), unet(*inputs(1)))
    twice = [torch.cat([part, part.flip(0)]) for part in inputs(1)]
    assert torch.allclose(exported(*twice), unet(*twice), atol=1e-5)


OF_TORCH = ("DeprecationWarning", "FutureWarning", "torch.jit.TracerWarning")
ignored = pytest.mark.filterwarnings(*(f"ignore::{warning}" for warning in OF_TORCH))


@ignored
def test_unet_is_traced(unet):
    """As the older exporter to ONNX does first."""
    traced = torch.jit.trace(unet, inputs(0))
    assert torch.equal(traced(*inputs(1)), unet(*inputs(1)))


if all(map(importlib.util.find_spec, ("onnx", "onnxscript"))):  # the course does without them

    @ignored
    @pytest.mark.parametrize("newer", [False, True])
    def test_unet_goes_through_both_exporters_to_onnx(unet, newer, tmp_path):
        from onnx.reference import ReferenceEvaluator

        torch.onnx.export(unet, inputs(0), tmp_path / "unet.onnx", dynamo=newer)
        program = ReferenceEvaluator(str(tmp_path / "unet.onnx"))
        named = zip(program.input_names, inputs(1), strict=True)
        [answer] = program.run(None, {name: value.numpy() for name, value in named})
        assert torch.allclose(torch.from_numpy(answer), unet(*inputs(1)), atol=1e-5)
