"""What to expect from more processes: how long a training step takes if they share its batch (notebook 15)."""

from numbers import Real

from course_utils.annotations import Count, checked


@checked
def step_seconds(
    processes: Count, alone: Real, weights: Real, bandwidth: Real, latency: Real = 0.0, fixed: Real = 0.0
) -> float:
    """Seconds for a step of the same batch on P processes: fixed + (alone - fixed) / P + the time to add up gradients.

    Each process computes the gradient of its share. To add them up in a ring, in P - 1 rounds to sum and P - 1 to pass
    the sums on, each sends its neighbour one P-th of the gradient at a time (Patarasuk and Yuan, "Bandwidth optimal
    all-reduce algorithms for clusters of workstations", 2009): 2 (P - 1) (bytes / (P bandwidth) + latency).

    The model assumes that all processes are equally fast, that a smaller share takes proportionally less time (a GPU
    with little to do is slower than that), and that nothing is sent before all is computed (torch sends earlier, and
    is faster than that).

    Args:
        processes: P.
        alone: seconds of a step of one process by itself, with the whole batch.
        weights: how many weights the network has; each has a gradient of 4 bytes.
        bandwidth: bytes a second from one process to the next.
        latency: seconds until the first byte of a message arrives.
        fixed: the part of `alone` that doesn't get shorter, since every process does it: optimizer, EMA, Python itself.
    """
    rounds = 2 * (processes - 1)
    return fixed + (alone - fixed) / processes + rounds * (4 * weights / (processes * bandwidth) + latency)
