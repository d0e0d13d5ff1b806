"""The model of a step's time, against a ring of processes that is played through, message by message."""

import numpy as np
import pytest

from course_utils.scaling import step_seconds


def ring_all_reduce(gradients):
    """The sum, as every process has it at the end, and for each round the numbers in its largest message."""
    P, rounds = len(gradients), []
    parts = [np.array_split(gradient.copy(), P) for gradient in gradients]
    for turn in range(2 * (P - 1)):
        summing = turn < P - 1
        messages = [(p, (p - turn) % P, parts[p][(p - turn) % P].copy()) for p in range(P)]
        for p, part, numbers in messages:
            neighbour = parts[(p + 1) % P]
            neighbour[part] = neighbour[part] + numbers if summing else numbers
        rounds.append(max(len(numbers) for _, _, numbers in messages))
    return [np.concatenate(its) for its in parts], rounds


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_talking_takes_what_a_ring_takes_message_by_message(processes):
    gradients = list(np.random.default_rng(0).integers(100, size=(processes, 240)))
    sums, rounds = ring_all_reduce(gradients)
    assert all((its == sum(gradients)).all() for its in sums)
    seconds = sum(4 * numbers / 1000 + 0.25 for numbers in rounds)  # 1000 bytes a second, and a quarter of a second
    expected = 2 + 10 / processes + seconds
    assert step_seconds(processes, alone=12, fixed=2, weights=240, bandwidth=1000, latency=0.25) == pytest.approx(
        expected, rel=1e-12
    )


def test_one_process_takes_what_it_takes_alone():
    assert step_seconds(1, alone=0.3, weights=1e6, bandwidth=1e9, latency=1, fixed=0.1) == pytest.approx(0.3, rel=1e-15)
