import contextlib
import copy
import itertools
import math
import os
import re
import signal
import threading
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from course_utils import training
from course_utils.data import scale
from course_utils.schedule import NoiseSchedule, cosine_schedule, straight_path
from course_utils.training import (
    EMA,
    diffusion_loss,
    learning_rate,
    normal_log_snr,
    progress_line,
    steps_in,
    train,
    training_step,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background and a shell had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Spy(nn.Module):
    """Answers with one number everywhere, 0 at first, and keeps all that it is called with."""

    def __init__(self):
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(()))
        self.calls = []

    def forward(self, x_t, t, *labels):
        self.calls.append((x_t, t, *labels))
        return self.answer.to(x_t.dtype).expand(x_t.shape)


def no_noise(x_t, t):
    return torch.zeros_like(x_t)


# The loss


def test_loss_is_the_mean_squared_error_of_the_noise():
    # alpha_bar_1 = 0.64, so x_1 = 0.8 x_0 + 0.6 noise = (0.2, 1.4), and answering with x_1 is off by 1.2 and 0.4.
    schedule = NoiseSchedule(torch.tensor([0, 0.36], dtype=torch.float64))
    x_0 = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    noise = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    loss = diffusion_loss(lambda x_t, t: x_t, x_0, torch.tensor([1, 1]), noise, schedule)
    assert loss.shape == ()
    assert abs(loss.item() - (1.2**2 + 0.4**2) / 2) < 1e-15


def test_loss_shows_the_network_each_image_at_its_own_level(schedule):
    x_0, noise = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    t, spy = torch.tensor([1, 400, 1000]), Spy()
    diffusion_loss(spy, x_0, t, noise, schedule)
    [(x_t, seen_t)] = spy.calls
    assert torch.equal(seen_t, t)
    for i in range(3):
        alpha_bar = schedule.alpha_bar[t[i]].item()
        assert (x_t[i] - math.sqrt(alpha_bar) * x_0[i] - math.sqrt(1 - alpha_bar) * noise[i]).abs().max() < 1e-14


def test_loss_has_the_gradient_of_a_mean_of_squares(schedule):
    weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    x_0, noise = torch.randn(2, 3, 5, dtype=torch.float64)
    seen = []
    diffusion_loss(
        lambda x_t, t: seen.append(x_t) or weight * x_t, x_0, torch.tensor([1, 2, 3]), noise, schedule
    ).backward()
    by_hand = 2 * (seen[0] * (0.3 * seen[0] - noise)).mean()
    assert abs(weight.grad - by_hand) < 1e-14


def test_predicting_no_noise_costs_1(schedule):
    x_0, noise = torch.randn(2, 100_000, 1)
    loss = diffusion_loss(no_noise, x_0, torch.randint(1, 1001, (100_000,)), noise, schedule)
    assert abs(loss.item() - 1) < 5 * math.sqrt(2 / 100_000)  # the square of N(0, 1) has variance 2


def test_knowing_the_noise_costs_nothing(schedule):
    x_0, noise = torch.randn(2, 3, 5)
    assert diffusion_loss(lambda x_t, t: noise, x_0, torch.tensor([1, 2, 3]), noise, schedule) == 0


# One step of training


def spied_step(x_0, schedule, spy=None, lr=0.1, **options):
    """What the network saw in one training step, and the loss."""
    spy = spy or Spy()
    loss = training_step(spy, x_0, schedule, torch.optim.SGD(spy.parameters(), lr=lr), **options)
    return *spy.calls[-1], loss


def noise_in(x_t, x_0, t, schedule):
    alpha_bar = schedule.alpha_bar[t].reshape(-1, *[1] * (x_0.ndim - 1)).to(x_0.dtype)
    return (x_t - alpha_bar.sqrt() * x_0) / (1 - alpha_bar).sqrt()


@pytest.mark.parametrize("T", [1, 2, 5])
def test_step_draws_t_uniformly_from_1_to_T_both_included(T):
    N = 100_000
    _, t, _ = spied_step(torch.zeros(N, 1), cosine_schedule(T))
    count = torch.bincount(t, minlength=T + 1)
    assert len(count) == T + 1
    assert count[0] == 0
    assert ((count[1:] - N / T).abs() <= 5 * math.sqrt(N * (1 / T) * (1 - 1 / T))).all()


def test_step_reaches_both_ends_of_a_thousand_levels(schedule):
    _, t, _ = spied_step(torch.zeros(20_000, 1), schedule)  # an end is missed once in e^20 times
    assert (t.min(), t.max()) == (1, 1000)


def test_each_image_has_a_t_of_its_own(schedule):
    _, t, _ = spied_step(torch.zeros(8, 1, 4, 4), schedule)
    assert t.shape == (8,)
    assert len(t.unique()) > 4


def test_noise_is_normal():
    schedule, x_0, N = cosine_schedule(10), torch.rand(100, 1, 32, 32, dtype=torch.float64) * 2 - 1, 102_400
    x_t, t, _ = spied_step(x_0, schedule)
    noise = noise_in(x_t, x_0, t, schedule).flatten().sort().values
    # Kolmogorov and Smirnov: a distance above 2.75 / sqrt(N) comes once in a million times.
    below = torch.distributions.Normal(0, 1).cdf(noise)
    assert (below - (torch.arange(N) + 0.5) / N).abs().max() < 2.75 / math.sqrt(N)


def test_each_image_has_noise_of_its_own():
    schedule, x_0, pixels = cosine_schedule(10), torch.zeros(4, 1, 64, 64, dtype=torch.float64), 4096
    x_t, t, _ = spied_step(x_0, schedule)
    correlation = torch.corrcoef(noise_in(x_t, x_0, t, schedule).flatten(1))
    assert (correlation - torch.eye(4)).abs().max() < 5 / math.sqrt(pixels)


def test_every_step_draws_afresh(schedule):
    spy, x_0 = Spy(), torch.zeros(8, 1, 4, 4)
    x_t, t, _ = spied_step(x_0, schedule, spy)
    next_x_t, next_t, _ = spied_step(x_0, schedule, spy)
    assert not torch.equal(t, next_t)
    assert not (noise_in(x_t, x_0, t, schedule) - noise_in(next_x_t, x_0, next_t, schedule)).abs().max() < 1


def test_noise_is_drawn_in_the_dtype_of_the_images(schedule):
    drawn = []

    def loss(model, x_0, t, noise, schedule):
        drawn.append(noise)
        return model(x_0, t).sum()

    spied_step(torch.zeros(8, 1, dtype=torch.float64), schedule, loss=loss)
    assert drawn[0].dtype == torch.float64
    assert not torch.equal(drawn[0], drawn[0].float().double())  # not drawn in float32 and converted


def test_step_returns_the_loss_before_the_step_as_a_number_in_a_tensor():
    schedule, x_0 = cosine_schedule(10), torch.zeros(8, 1, 4, 4, dtype=torch.float64)
    x_t, t, loss = spied_step(x_0, schedule)
    assert loss.shape == ()
    assert not loss.requires_grad
    assert abs(loss.item() - noise_in(x_t, x_0, t, schedule).square().mean().item()) < 1e-6  # the answer was 0


def test_step_goes_down_the_gradient_of_its_own_batch_only():
    # With the answer w, the gradient of the loss is 2 (w - mean of the noise); nothing is left over from an old batch.
    schedule, x_0, spy, w = cosine_schedule(10), torch.zeros(8, 1, 4, 4, dtype=torch.float64), Spy().double(), 0.0
    for _ in range(3):
        x_t, t, _ = spied_step(x_0, schedule, spy)
        w -= 0.1 * 2 * (w - noise_in(x_t, x_0, t, schedule).mean().item())
        assert abs(spy.answer.item() - w) < 1e-12


def test_step_changes_every_weight(make_unet, schedule):
    model = make_unet(base_channels=16)
    before = copy.deepcopy(model.state_dict())
    training_step(model, torch.randn(4, 1, 16, 16), schedule, torch.optim.Adam(model.parameters()))
    assert [name for name, weight in model.state_dict().items() if torch.equal(weight, before[name])] == []


def test_step_passes_labels_on(schedule):
    labels = torch.tensor([3, 1])
    _, _, seen, _ = spied_step(torch.zeros(2, 1), schedule, condition=labels)
    assert torch.equal(seen, labels)


def test_step_uses_the_loss_that_it_is_given(schedule):
    x_0, calls = torch.zeros(2, 1), []

    def loss(model, x_0, t, noise, schedule):
        calls.append((x_0, t, noise, schedule))
        return 7 + 0 * model(x_0, t).sum()

    spy = Spy()
    assert training_step(spy, x_0, schedule, torch.optim.SGD(spy.parameters(), lr=1), loss=loss) == 7
    [(seen, t, noise, seen_schedule)] = calls
    assert seen is x_0
    assert t.shape == (2,)
    assert noise.shape == (2, 1)
    assert seen_schedule is schedule


def test_step_draws_from_its_generator_alone(schedule, generator):
    before = torch.get_rng_state()
    x_t, t, _ = spied_step(torch.zeros(8, 1), schedule, generator=generator)
    assert torch.equal(torch.get_rng_state(), before)
    again_x_t, again_t, _ = spied_step(torch.zeros(8, 1), schedule, generator=generator.manual_seed(0))
    assert torch.equal(again_t, t)
    assert torch.equal(again_x_t, x_t)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_not_finite_changes_nothing(schedule, value):
    spy = Spy()
    optimizer = torch.optim.Adam(spy.parameters(), lr=0.1)
    training_step(spy, torch.zeros(2, 1), schedule, optimizer)
    weights, state = copy.deepcopy(spy.state_dict()), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(FloatingPointError, match="loss"):
        training_step(spy, torch.zeros(2, 1), schedule, optimizer, loss=lambda *_: spy.answer * value)
    assert spy.state_dict() == weights
    assert optimizer.state_dict() == state


# The learning rate


def rates(steps, lr=2e-3):
    return torch.tensor([learning_rate(step, steps, lr) for step in range(1, steps + 1)], dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 37, 100, 1000, 2500])
def test_rate_is_never_zero_and_never_above_lr(steps):
    assert (rates(steps) > 0).all()
    assert rates(steps).max() == 2e-3


@pytest.mark.parametrize("steps", [1000, 2500])
def test_rate_rises_stays_and_falls(steps):
    change = rates(steps).diff()
    rise, fall = change > 0, change < 0
    assert rise[:99].all()  # over 100 steps
    assert not rise[99:].any()
    assert fall[int(0.6 * steps) + 1 :].all()  # over the last 40 %
    assert not fall[: int(0.6 * steps)].any()


def test_short_runs_rise_over_a_tenth_of_the_steps():
    assert (rates(50)[:5] / 2e-3 - torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0])).abs().max() < 1e-6


@pytest.mark.parametrize("steps", [100, 1000, 2500])
def test_rate_moves_by_small_equal_amounts(steps):
    change = rates(steps, lr=1.0).diff()
    assert (change[change > 0] - 1 / min(100, 0.1 * steps)).abs().max() < 1e-12
    assert change.min() > -1 / (0.4 * steps) - 1e-12
    assert change[int(0.6 * steps) + 1 :].diff().abs().max() < 1e-12


# The average of the weights


def linear():
    return nn.Linear(1, 1, bias=False).double()


def test_average_follows_the_recursion():
    model = linear()
    ema, expected, generator = EMA(model, decay=0.7), model.weight.item(), torch.Generator().manual_seed(0)
    for n in range(60):
        nn.init.normal_(model.weight, generator=generator)
        share = min(0.7, (n + 1) / (n + 10))
        expected = share * expected + (1 - share) * model.weight.item()
        ema.update(model)
        assert abs(ema.model.weight.item() - expected) < 1e-14
    assert ema.updates == 60


def test_average_forgets_the_start_quickly_however_large_the_decay():
    # What is left of the start after n updates is 1/10 * 2/11 * ... * n/(n + 9), one over "n + 9 choose 9".
    model = linear()
    nn.init.ones_(model.weight)
    ema = EMA(model, decay=0.9999)
    nn.init.zeros_(model.weight)
    for n in range(1, 30):
        ema.update(model)
        assert abs(ema.model.weight.item() * math.comb(n + 9, 9) - 1) < 1e-11


def test_average_keeps_its_decay_in_the_long_run():
    model = linear()
    ema = EMA(model)
    ema.updates = 10**6
    nn.init.ones_(ema.model.weight)
    nn.init.zeros_(model.weight)
    ema.update(model)
    assert abs(ema.model.weight.item() - 0.999) < 1e-15


def test_average_copies_buffers():
    model = nn.BatchNorm1d(2)
    ema = EMA(model)
    model(torch.randn(8, 2))
    ema.update(model)
    assert torch.equal(ema.model.running_mean, model.running_mean)
    assert ema.model.num_batches_tracked == 1


def test_average_is_in_eval_mode_and_without_gradients(make_unet):
    model = make_unet().train()
    ema = EMA(model)
    ema.update(model)
    assert not any(module.training for module in ema.model.modules())
    assert not any(weight.requires_grad for weight in ema.model.parameters())
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad for weight in model.parameters())


def test_average_shares_no_memory_with_the_model(make_unet):
    model = make_unet()
    ema = EMA(model)
    before = copy.deepcopy(ema.model.state_dict())
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1
    assert all(torch.equal(weight, before[name]) for name, weight in ema.model.state_dict().items())


def test_update_leaves_the_model_alone():
    model = linear()
    ema = EMA(model)
    nn.init.ones_(model.weight)
    ema.update(model)
    assert model.weight.item() == 1
    assert model.weight.grad is None


# The loop

SCHEDULE = cosine_schedule(10)
IMAGES = torch.randint(256, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(12) % 3
STEPS = 6


def learnt(model, ema):
    """A copy of all weights, and of all averages."""
    averages = {f"average of {name}": weight for name, weight in ema.model.state_dict().items()}
    return copy.deepcopy(dict(model.state_dict()) | averages | {"updates": torch.tensor(ema.updates)})


def same_tensors(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def run(make_unet):
    """A function that trains a small network: its history, and what was learnt after each step and in the end."""

    def run(images=IMAGES, seed=0, weights=0, callback=None, **options):
        model = make_unet(weights, condition=3)
        ema = EMA(model)
        after = [learnt(model, ema)]  # at the start

        def record(step, loss):
            after.append(learnt(model, ema))
            if callback is not None:
                callback(step, loss)

        torch.manual_seed(seed)
        options = dict(steps=STEPS, batch_size=4, condition=LABELS, ema=ema) | options
        history = train(model, images, SCHEDULE, callback=record, **options)
        return SimpleNamespace(history=history, after=after, learnt=learnt(model, ema))

    return run


def agree(a, b):
    """Whether two runs have the same history, weights and averages, bit for bit."""
    return a.history == b.history and same_tensors(a.learnt, b.learnt)


def test_history_has_the_loss_of_every_step(run):
    history = run().history
    assert [type(loss) for loss in history] == [float] * STEPS
    assert len(set(history)) == STEPS


def test_bytes_and_scaled_images_train_the_same_network(run):
    assert agree(run(IMAGES), run(scale(IMAGES)))


def test_seed_decides_the_run(run):
    assert agree(run(seed=1), run(seed=1))
    assert not agree(run(seed=1), run(seed=2))


def test_generator_decides_the_run_where_one_is_passed(run, generator):
    first = run(seed=1, generator=generator)
    assert agree(first, run(seed=2, generator=generator.manual_seed(0)))


def test_callback_is_told_every_step_and_its_loss(run):
    calls = []
    history = run(callback=lambda step, loss: calls.append((step, loss))).history
    assert calls == list(enumerate(history, start=1))


def test_network_trains_in_train_mode():
    spy, modes = Spy().eval(), []
    train(
        spy, IMAGES, SCHEDULE, steps=2, loss=lambda model, x_0, t, *_: modes.append(spy.training) or model(x_0, t).sum()
    )
    assert modes == [True, True]


def test_average_is_updated_once_after_every_step():
    spy, expected = Spy(), [0.0]
    ema = EMA(spy)

    def callback(step, loss):
        share = step / (step + 9)
        expected.append(share * expected[-1] + (1 - share) * spy.answer.item())

    train(spy, IMAGES, SCHEDULE, steps=20, ema=ema, callback=callback)
    assert ema.updates == 20
    assert abs(ema.model.answer.item() - expected[-1]) < 1e-8


def test_rate_of_each_step_is_that_of_learning_rate():
    # Adam moves a weight whose gradient is always 1 by exactly the rate.
    spy = Spy().double()
    before = [0.0]
    train(
        spy,
        IMAGES,
        SCHEDULE,
        steps=50,
        lr=0.1,
        loss=lambda model, x_0, t, *_: model(x_0.double(), t).mean(),
        callback=lambda *_: before.append(spy.answer.item()),
    )
    moved = -torch.tensor(before, dtype=torch.float64).diff()
    assert (moved - rates(50, lr=0.1)).abs().max() < 1e-8


def drawn_images(images, **options):
    """The batches that training draws, as (B,) values of the first pixel, and the labels that come with them."""
    values, spy = [], Spy()

    def loss(model, x_0, t, noise, schedule):
        values.append(x_0[:, 0, 0, 0])
        return model(x_0, t).square().mean()

    train(spy, images, SCHEDULE, loss=loss, **options)
    return values, [labels for _, _, *labels in spy.calls]


def numbered(N):
    """N images, each of which is its number, as bytes."""
    return torch.arange(N, dtype=torch.uint8)[:, None, None, None].expand(N, 1, 2, 2)


def test_labels_stay_with_their_images():
    values, labels = drawn_images(numbered(50), steps=20, batch_size=8, condition=1000 - torch.arange(50))
    for value, [label] in zip(values, labels, strict=True):
        assert torch.equal(1000 - label, ((value + 1) * 127.5).round().long())


def test_images_are_drawn_with_replacement_from_all():
    N, draws = 5, 20_000
    [values], _ = drawn_images(numbered(N), steps=1, batch_size=draws)
    count = torch.bincount(((values + 1) * 127.5).round().long(), minlength=N)
    assert count.shape == (N,)
    assert ((count - draws / N).abs() < 5 * math.sqrt(draws * (1 / N) * (1 - 1 / N))).all()


def test_every_step_draws_a_new_batch():
    values, _ = drawn_images(numbered(200), steps=3, batch_size=8)
    assert not torch.equal(values[0], values[1])
    assert not torch.equal(values[1], values[2])


def test_network_sees_images_scaled_to_minus_1_to_1():
    [values], _ = drawn_images(numbered(256), steps=1, batch_size=20_000)
    assert (values.min(), values.max()) == (-1, 1)


def test_diverging_run_leaves_the_model_as_the_last_good_step_left_it(run, make_unet):
    model, calls = make_unet(condition=3), []
    ema = EMA(model)

    def loss(*arguments):
        calls.append(arguments)
        return diffusion_loss(*arguments) * (math.nan if len(calls) == 4 else 1)

    torch.manual_seed(0)
    with pytest.raises(FloatingPointError, match="loss"):
        train(model, IMAGES, SCHEDULE, steps=STEPS, batch_size=4, condition=LABELS, ema=ema, loss=loss)
    assert same_tensors(learnt(model, ema), run().after[3])


# Stopping, and going on


def raise_interrupt():
    raise KeyboardInterrupt


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def press_ctrl_c_twice():
    press_ctrl_c()
    press_ctrl_c()


def in_callback(step, stop):
    """Options of `train` that stop it after the given step."""

    def callback(now, loss):
        if now == step:
            stop()

    return dict(callback=callback)


def in_network(step, stop):
    """Options of `train` that stop it in the middle of the given step."""
    calls = []

    def loss(*arguments):
        calls.append(arguments)
        value = diffusion_loss(*arguments)
        if len(calls) == step:
            stop()
        return value

    return dict(loss=loss)


# Where, how, and how many steps are kept of those that had begun
WAYS_TO_STOP = [
    pytest.param(in_callback, raise_interrupt, 0, id="KeyboardInterrupt in the callback"),
    pytest.param(in_callback, press_ctrl_c, 0, id="Ctrl-C in the callback"),
    pytest.param(in_network, press_ctrl_c, 0, id="Ctrl-C in the network"),
    pytest.param(in_network, press_ctrl_c_twice, -1, id="Ctrl-C twice in the network"),
    pytest.param(in_network, raise_interrupt, -1, id="KeyboardInterrupt in the network"),
]


@pytest.mark.parametrize("step", [1, 3, STEPS])
@pytest.mark.parametrize(("where", "stop", "unfinished"), WAYS_TO_STOP)
def test_stopping_keeps_the_whole_steps_in_model_average_and_history(run, where, stop, unfinished, step):
    whole, stopped, kept = run(), run(**where(step, stop)), step + unfinished
    assert stopped.history == whole.history[:kept]
    assert same_tensors(stopped.learnt, whole.after[kept])


@pytest.mark.parametrize("step", [1, 3, STEPS])
@pytest.mark.parametrize(("where", "stop", "unfinished"), WAYS_TO_STOP)
def test_run_that_goes_on_ends_as_one_that_was_never_stopped(run, tmp_path, where, stop, unfinished, step):
    whole = run(checkpoint=tmp_path / "whole")
    run(checkpoint=tmp_path / "stopped", **where(step, stop))
    # Another seed and other weights at the start: all that counts comes from the file.
    assert agree(run(checkpoint=tmp_path / "stopped", seed=1, weights=1), whole)
    assert same_tensors(load_file(tmp_path / "stopped"), load_file(tmp_path / "whole"))  # with Adam's state


@pytest.mark.parametrize(("where", "stop", "unfinished"), WAYS_TO_STOP)
def test_network_with_dropout_goes_on_as_if_never_stopped(tmp_path, where, stop, unfinished):
    def run(path, **options):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Dropout(), nn.Unflatten(1, (1, 8, 8)))
        model.forward = lambda x_t, t: nn.Sequential.forward(model, x_t)
        train(model, IMAGES, SCHEDULE, steps=STEPS, checkpoint=path, **options)
        return load_file(path)

    run(tmp_path / "stopped", **where(3, stop))
    assert same_tensors(run(tmp_path / "stopped"), run(tmp_path / "whole"))


def test_run_that_goes_on_counts_on(run, tmp_path):
    run(checkpoint=tmp_path / "file", **in_callback(4, raise_interrupt))
    calls = []
    history = run(checkpoint=tmp_path / "file", callback=lambda step, loss: calls.append((step, loss))).history
    assert calls == list(enumerate(history, start=1))[4:]


def test_finished_run_called_again_is_left_as_it_is(run, tmp_path):
    whole = run(checkpoint=tmp_path / "file")
    again = run(checkpoint=tmp_path / "file", seed=1, weights=1)
    assert len(again.after) == 1  # the start
    assert agree(again, whole)


def test_checkpoint_of_every_500_steps_outlives_a_crash(tmp_path):
    def run(path, **options):
        torch.manual_seed(0)
        spy = Spy()
        train(spy, IMAGES, SCHEDULE, steps=502, batch_size=1, checkpoint=path, **options)
        return spy.answer

    def crash():
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "crashed", **in_callback(501, crash))
    assert len(load_file(tmp_path / "crashed")["history"]) == 500
    assert torch.equal(run(tmp_path / "crashed"), run(tmp_path / "whole"))


def test_stopping_says_where(run, capsys):
    run(**in_callback(4, press_ctrl_c))
    assert f"step 4 of {STEPS}" in capsys.readouterr().out


def crash():
    raise RuntimeError("not of train's making")


@pytest.mark.parametrize("stop", [lambda: None, press_ctrl_c, raise_interrupt, crash])
def test_ctrl_c_means_what_it_meant_before_once_training_is_over(run, monkeypatch, stop):
    pressed = []

    def handler(*_):
        pressed.append(True)

    before = signal.signal(signal.SIGINT, handler)
    try:
        with contextlib.suppress(RuntimeError):
            run(**in_callback(3, stop))
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == []


def test_training_works_in_a_thread_of_its_own(run):
    # Handlers of signals can be set in the main thread only.
    results = []
    thread = threading.Thread(target=lambda: results.append(run()))
    thread.start()
    thread.join()
    assert agree(results[0], run())


# How many steps fit


@pytest.fixture
def half_a_second_a_step(monkeypatch):
    clock = itertools.count(step=0.5)
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: next(clock)))


@pytest.mark.usefixtures("half_a_second_a_step")
@pytest.mark.parametrize(("minutes", "steps"), [(1, 120), (2.5, 300), (1e-9, 1)])
def test_steps_fill_the_minutes(minutes, steps):
    assert steps_in(minutes, Spy(), IMAGES, SCHEDULE) == steps


def test_steps_in_is_a_whole_number_by_a_real_clock_too():
    steps = steps_in(0.01, Spy(), IMAGES, SCHEDULE)
    assert type(steps) is int
    assert steps >= 1


def test_steps_in_leaves_the_model_and_the_random_state_alone(make_unet):
    model = make_unet(condition=3).eval()
    weights, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    steps_in(0.01, model, IMAGES, SCHEDULE, condition=LABELS)
    assert same_tensors(model.state_dict(), weights)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module.training for module in model.modules())
    assert all(weight.grad is None for weight in model.parameters())


def test_steps_in_leaves_torchs_random_state_alone_though_the_network_draws():
    before = torch.get_rng_state()
    steps_in(0.01, Spy(), IMAGES, SCHEDULE, loss=lambda model, x_0, *_: (model(x_0, None) + torch.randn(1)).mean())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("step", [1, 15])
def test_stopping_steps_in_stops_it(step):
    with pytest.raises(KeyboardInterrupt):
        steps_in(0.01, Spy(), IMAGES, SCHEDULE, **in_network(step, raise_interrupt))


# The line of progress


@pytest.mark.usefixtures("half_a_second_a_step")
def test_progress_is_one_line_that_ends_as_text(capsys):
    callback = progress_line(3)
    for step, loss in enumerate([0.5, 0.3, 0.1], start=1):
        callback(step, loss)
    shown = capsys.readouterr().out
    assert shown.endswith("\n")
    assert shown.count("\n") == 1
    *earlier, last = shown.rstrip("\n").split("\r")
    assert re.fullmatch(r"step 3 of 3   loss 0\.3000   0:00 left *", last)
    assert all(len(line) <= len(last) for line in earlier)  # nothing of a longer line is left standing


@pytest.mark.usefixtures("half_a_second_a_step")
def test_progress_tells_the_time_left(capsys):
    callback = progress_line(1000)
    callback(1, 0.5)
    callback(2, 0.5)
    assert "8:19 left" in capsys.readouterr().out  # 998 steps of half a second


def test_progress_goes_with_train(run, capsys):
    run(callback=progress_line(STEPS))
    assert f"step {STEPS} of {STEPS}" in capsys.readouterr().out


@pytest.mark.parametrize("path", [straight_path(), cosine_schedule()], ids=["straight", "cosine"])
def test_levels_with_a_normal_log_snr_lie_where_the_normal_distribution_puts_them(path):
    draw_t = normal_log_snr(path, mean=0.5, std=1.5)
    t = draw_t(100_000, path.T, torch.Generator().manual_seed(0))
    assert t.dtype == torch.int64
    for level in (100, 300, 500, 800):  # as likely as a log SNR above the level's
        share = 1 - torch.distributions.Normal(0.5, 1.5).cdf(path.log_snr[level])
        assert ((t <= level).double().mean() - share).abs() < 5 * (share * (1 - share) / 100_000) ** 0.5
    extreme = normal_log_snr(path, std=100)(1000, path.T, torch.Generator().manual_seed(0))
    assert (extreme.min(), extreme.max()) == (1, path.T)


def test_on_the_straight_path_normal_log_snr_is_logit_normal():
    """The same draws, in closed form: t / T = sigmoid(z), up to the rounding to a level (arXiv 2403.03206, eq. 19)."""
    t = normal_log_snr(straight_path())(10_000, 1000, torch.Generator().manual_seed(0))
    z = -torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert (t - (1000 * z.sigmoid()).ceil()).abs().max() <= 1
    assert torch.equal(t, normal_log_snr(straight_path())(10_000, 1000, torch.Generator().manual_seed(0)))
