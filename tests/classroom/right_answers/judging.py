"""Right answers to the exercises on how good samples are, in other styles than the finished versions."""

import math

import numpy
import torch


def distance_in_plain_python(a, b):
    def moments(values):
        values = values.tolist()
        mean = sum(values) / len(values)
        return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))

    (m_1, s_1), (m_2, s_2) = moments(a), moments(b)
    return (m_1 - m_2) ** 2 + (s_1 - s_2) ** 2


def distance_in_one_go(a, b):
    """As the squared length of a vector, and as a tensor."""
    there, here = torch.std_mean(a.double()), torch.std_mean(b.double())
    return (torch.stack(there) - torch.stack(here)).square().sum().float()


def frechet_by_eigenvalues_of_the_product(real, generated):
    """The product's eigenvalues are those of the symmetric one, so their roots have the same sum."""
    a, b = real.double(), generated.double()
    C_1, C_2 = numpy.atleast_2d(numpy.cov(a.numpy().T)), numpy.atleast_2d(numpy.cov(b.numpy().T))
    roots = numpy.sqrt(numpy.clip(numpy.linalg.eigvals(C_1 @ C_2).real, 0, None)).sum()
    means = ((a.mean(0) - b.mean(0)) ** 2).sum().item()
    return float(max(means + numpy.trace(C_1) + numpy.trace(C_2) - 2 * roots, 0))


def frechet_by_singular_values(x, y):
    """The nuclear norm of the product of the centred points is the trace of the root."""
    x, y = x.double(), y.double()
    a, b = ((points - points.mean(dim=0)) / (len(points) - 1) ** 0.5 for points in (x, y))
    root_a, root_b = (torch.linalg.svd(points, full_matrices=False) for points in (a, b))
    both = root_a.S[:, None] * (root_a.Vh @ root_b.Vh.T) * root_b.S
    spread = a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(both).sum()
    return (spread + (x.mean(dim=0) - y.mean(dim=0)).norm() ** 2).clamp(min=0)


def frechet_of(real, generated):
    return frechet_by_singular_values(real, generated).item()


def floor_in_a_loop(real, others, number):
    scores, start = [], 0
    while start + number <= len(others):
        scores.append(frechet_of(real, others[start : start + number]))
        start += number
    mean = sum(scores) / len(scores)
    variance = sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
    return mean, math.sqrt(variance / len(scores))


def floor_with_numpy(real, others, number):
    draws = others[: len(others) // number * number].reshape(-1, number, others.shape[1])
    scores = numpy.array([frechet_of(real, draw) for draw in draws])
    return scores.mean(), scores.std(ddof=1) / numpy.sqrt(len(scores))


def within_point_by_point(points, others, k):
    count = 0
    for point in points:
        for other in others:
            radius = (others - other).square().sum(dim=1).sqrt().sort().values[k]
            if (point - other).square().sum().sqrt() <= radius:
                count += 1
                break
    return count / len(points)


def within_by_topk(points, others, k):
    own = (others[:, None] - others).norm(dim=2)
    own.fill_diagonal_(float("inf"))
    radius = own.topk(k, largest=False).values[:, -1]
    inside = ((points[:, None] - others).norm(dim=2) - radius).min(dim=1).values <= 0
    return torch.mean(inside.double())


def nearest_by_expanding_the_square(pictures, others):
    a, b = pictures.flatten(1).double(), others.flatten(1).double()
    squares = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T
    distance, place = squares.clamp(min=0).sqrt().min(dim=1)
    return place, distance.to(pictures.dtype)


def nearest_by_broadcasting(pictures, others):
    apart = (pictures.flatten(1)[:, None] - others.flatten(1)).norm(dim=2)
    place = apart.argmin(dim=1)
    return place, apart[range(len(place)), place]


def nearest_one_by_one(pictures, others):
    places, found = [], []
    for picture in pictures:
        differences = (others - picture).flatten(1).square().sum(dim=1)
        places.append(differences.argmin())
        found.append(differences.min().sqrt())
    return torch.stack(places), torch.stack(found)


ANSWERS = {
    "judging.distance_of_numbers": [distance_in_plain_python, distance_in_one_go],
    "evaluation.frechet_distance": [frechet_by_eigenvalues_of_the_product, frechet_by_singular_values],
    "judging.floor_with_error": [floor_in_a_loop, floor_with_numpy],
    "evaluation.share_within": [within_by_topk, within_point_by_point],
    "judging.nearest": [nearest_by_expanding_the_square, nearest_by_broadcasting, nearest_one_by_one],
}
