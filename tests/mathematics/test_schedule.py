import dataclasses
import math

import pytest
import torch

from course_utils.schedule import NoiseSchedule, at, cosine_schedule, linear_schedule

SCHEDULES = [linear_schedule, cosine_schedule]
TABLES = ["beta", "alpha", "alpha_bar"]
FLOAT32_ROUNDING = 2**-24  # half the distance from 1 to the next float32


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


# The tables


@pytest.mark.parametrize("T", [1, 2, 50, 1000])
@pytest.mark.parametrize("make", SCHEDULES)
def test_tables_have_T_plus_1_float64_entries_on_the_cpu(make, T):
    schedule = make(T)
    assert schedule.T == T
    for table in (schedule.beta, schedule.alpha, schedule.alpha_bar, schedule.snr):
        assert table.shape == (T + 1,)
        assert table.dtype == torch.float64
        assert table.device.type == "cpu"


@pytest.mark.parametrize("make", SCHEDULES)
def test_index_0_means_clean(make):
    schedule = make()
    assert [schedule.beta[0], schedule.alpha[0], schedule.alpha_bar[0], schedule.snr[0]] == [0, 1, 1, math.inf]


@pytest.mark.parametrize("make", SCHEDULES)
def test_both_schedules_have_1000_steps_by_default(make):
    assert make().T == 1000


def test_alpha_is_1_minus_beta(schedule):
    assert (schedule.alpha + schedule.beta - 1).abs().max() < 1e-15


def test_alpha_bar_is_the_product_of_the_alphas_so_far(schedule):
    product = 1.0
    for t in range(1, schedule.T + 1):
        product *= 1 - schedule.beta[t].item()
        assert abs(schedule.alpha_bar[t].item() - product) < 1e-14


def test_alpha_bar_falls_at_every_step(schedule):
    assert (schedule.alpha_bar.diff() < 0).all()
    assert (schedule.alpha_bar > 0).all()


def test_snr_belongs_to_the_share_of_the_image(schedule):
    # The share of the signal is the sigmoid of the log signal-to-noise ratio.
    assert (schedule.snr.log().sigmoid() - schedule.alpha_bar).abs().max() < 1e-15


def test_almost_nothing_of_the_image_is_left_at_T(schedule):
    assert schedule.alpha_bar[-1].sqrt() < 0.05


# The two schedules


@pytest.mark.parametrize(("T", "beta_1", "beta_T"), [(1000, 1e-4, 0.02), (50, 1e-4, 0.02), (250, 4e-4, 0.08)])
def test_linear_betas_run_from_end_to_end_in_equal_steps(T, beta_1, beta_T):
    beta = linear_schedule(T, beta_1, beta_T).beta
    assert beta[1] == beta_1
    assert beta[T] == beta_T
    assert (beta[1:].diff() - (beta_T - beta_1) / (T - 1)).abs().max() < 1e-16


def test_linear_schedule_has_the_end_points_of_the_paper_by_default():
    beta = linear_schedule().beta
    assert [beta[1], beta[1000]] == [1e-4, 0.02]


def test_linear_schedule_may_be_constant():
    assert (linear_schedule(10, 0.1, 0.1).beta[1:] == 0.1).all()


def f(t, T, s):
    """The squared cosine of arXiv 2102.09672, eq. 17."""
    return math.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2


@pytest.mark.parametrize(("T", "s"), [(1000, 0.008), (50, 0.008), (100, 0.0), (100, 0.2)])
def test_cosine_alpha_bar_is_the_squared_cosine_until_beta_is_cut_off(T, s):
    schedule = cosine_schedule(T, s)
    for t in range(1, T):  # only beta_T would be above 0.999
        assert schedule.beta[t] < 0.999
        assert abs(schedule.alpha_bar[t].item() - f(t, T, s) / f(0, T, s)) < 1e-14


def test_cosine_shift_is_the_papers_by_default():
    assert abs(cosine_schedule().alpha_bar[1].item() - f(1, 1000, 0.008) / f(0, 1000, 0.008)) < 1e-15


@pytest.mark.parametrize("T", [1, 10, 1000])
def test_cosine_betas_end_with_the_cut_off_at_0_999(T):
    beta = cosine_schedule(T).beta
    assert beta.max() == 0.999
    assert beta[T] == 0.999


def test_the_betas_of_1000_steps_leave_much_of_the_image_when_there_are_only_50():
    assert round(linear_schedule(T=50).alpha_bar[-1].sqrt().item(), 3) == 0.776
    assert round(linear_schedule(T=1000).alpha_bar[-1].sqrt().item(), 3) == 0.006


# NoiseSchedule


@pytest.mark.parametrize("table", [*TABLES, "T", "snr"])
def test_a_schedule_is_frozen(schedule, table):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, table, getattr(schedule, table))


def test_schedules_can_be_compared_and_kept_in_a_dict():
    # A dataclass's own == would compare tensors, whose truth value is ambiguous.
    one, other = linear_schedule(), linear_schedule()
    assert one == one
    assert one != other
    assert {one: 1, other: 2}[one] == 1


def test_a_change_of_the_callers_betas_leaves_the_schedule_alone():
    beta = column(0, 0.1, 0.2)
    schedule = NoiseSchedule(beta)
    beta += 0.5
    assert (schedule.beta - column(0, 0.1, 0.2)).abs().max() == 0
    assert (schedule.alpha_bar - column(1, 0.9, 0.72)).abs().max() < 1e-15


def test_betas_of_any_floating_dtype_become_float64_without_gradient():
    schedule = NoiseSchedule(torch.tensor([0, 0.1, 0.2], requires_grad=True))
    for table in TABLES:
        assert getattr(schedule, table).dtype == torch.float64
        assert not getattr(schedule, table).requires_grad


# at


@pytest.mark.parametrize("ndim", [1, 2, 3, 4, 5])
def test_at_has_one_entry_for_each_item_and_broadcasts_over_the_rest(ndim):
    x = torch.zeros((3, 2, 5, 7, 4)[:ndim])
    coefficient = at(column(0, 10, 20, 30), torch.tensor([3, 0, 1]), x)
    assert coefficient.shape == (3, *[1] * (ndim - 1))
    assert coefficient.flatten().tolist() == [30, 0, 10]
    assert (coefficient * x).shape == x.shape


@pytest.mark.parametrize("ndim", [1, 2, 3, 4, 5])
def test_at_with_an_int_is_one_entry_for_the_whole_batch(ndim):
    coefficient = at(column(0, 10, 20, 30), 2, torch.zeros((3, 2, 5, 7, 4)[:ndim]))
    assert coefficient.shape == (1,) * ndim
    assert coefficient.item() == 20


@pytest.mark.parametrize("t", [1, torch.tensor([1, 2])])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_at_has_the_dtype_of_x(dtype, t):
    assert at(column(0, 0.1, 0.2), t, torch.zeros(2, 3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_at_takes_t_as_int32_or_int64(dtype):
    coefficient = at(column(0, 10, 20), torch.tensor([2, 1], dtype=dtype), torch.zeros(2, 3))
    assert coefficient.tolist() == [[20], [10]]


@pytest.mark.parametrize("t", [1, torch.tensor([1, 2], device="meta")])
def test_at_is_where_x_is(t):
    assert at(column(0, 0.1, 0.2), t, torch.zeros(2, 3, device="meta")).device.type == "meta"


def test_at_reaches_both_ends_of_the_table(schedule):
    x = torch.zeros(1, dtype=torch.float64)
    assert at(schedule.alpha_bar, 0, x).item() == 1
    assert at(schedule.alpha_bar, schedule.T, x).item() == schedule.alpha_bar[-1].item()


def test_at_casts_last_so_that_float32_coefficients_are_right_to_the_last_bit(schedule):
    # 1 - alpha_bar in float32 would be wrong by 1e-4 at t = 1.
    t = torch.arange(1, schedule.T + 1)
    exact = (1 - schedule.alpha_bar[1:]).sqrt()
    coefficient = at((1 - schedule.alpha_bar).sqrt(), t, torch.zeros(schedule.T))
    assert ((coefficient - exact) / exact).abs().max() <= FLOAT32_ROUNDING


@pytest.mark.parametrize(("t", "outside"), [(3, "3"), (-1, "-1"), ([0, 3], "3"), ([-1, 0], "-1")])
def test_at_refuses_a_level_that_is_not_in_the_table(t, outside):
    with pytest.raises(ValueError, match=rf"t must be within 0 \.\. 2, but .*{outside}"):
        at(column(0, 0.1, 0.2), torch.tensor(t) if isinstance(t, list) else t, torch.zeros(2, 3))
