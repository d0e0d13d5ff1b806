"""Exercises on how good samples are (notebook 07)."""

import torch

from course_utils.classroom.exercises.cases import DOUBLE, randn
from course_utils.classroom.exercises.record import Exercise, Mistake, case
from course_utils.evaluation import covariance, distances, frechet_distance, share_within, symmetric_root

# Two heaps of sand


def distance_of_numbers(a, b):
    return ((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2).item()


def heaps():
    return [
        case(randn(9, seed=1), 2 + 0.5 * randn(14, seed=2)),
        case(3 * randn(30, seed=3) - 1, randn(20, seed=4)),
        case(randn(6, seed=5, dtype=DOUBLE), 4 * randn(6, seed=6, dtype=DOUBLE)),
        case(torch.tensor([0.0, 2.0]), torch.tensor([5.0, 5.0, 5.0])),
    ]


def of_moments(formula):
    """A wrong distance; formula(m_1, s_1, m_2, s_2)."""
    return lambda a, b: formula(a.mean(), a.std(), b.mean(), b.std()).item()


DISTANCE_OF_NUMBERS = Exercise(
    name="judging.distance_of_numbers",
    notebook="07",
    finished=distance_of_numbers,
    cases=heaps,
    mistakes=(
        Mistake(
            of_moments(lambda m_1, s_1, m_2, s_2: (m_1 - m_2) ** 2 + (s_1**2 - s_2**2) ** 2),
            "The second part compares the variances. Stretching a heap moves each grain in proportion to the *standard "
            "deviation*, so compare those.",
        ),
        Mistake(
            of_moments(lambda m_1, s_1, m_2, s_2: (m_1 - m_2) ** 2 + (s_1**2 - s_2**2).abs()),
            "The second part is the difference of the squares, but it should be the square of the difference: first "
            "subtract the two standard deviations, then square.",
        ),
        Mistake(
            of_moments(lambda m_1, s_1, m_2, s_2: (m_1 - m_2) ** 2),
            "Only the means are compared. A narrow heap and a wide one with the same middle would then be the same. "
            "Add the part that compares the standard deviations.",
        ),
        Mistake(
            of_moments(lambda m_1, s_1, m_2, s_2: (s_1 - s_2) ** 2),
            "Only the widths are compared, so a heap could be moved a mile away for free. Add the squared difference "
            "of the means.",
        ),
        Mistake(
            of_moments(lambda m_1, s_1, m_2, s_2: (m_1 - m_2).abs() + (s_1 - s_2).abs()),
            "The differences are not squared. Carrying a grain costs the *square* of the way, and so both parts are "
            "squares.",
        ),
        Mistake(
            of_moments(lambda m_1, s_1, m_2, s_2: ((m_1 - m_2) ** 2 + (s_1 - s_2) ** 2) ** 0.5),
            "This takes the root at the end. The course, like most papers, gives the *squared* distance, so leave the "
            "root away.",
        ),
        Mistake(
            of_moments(lambda m_1, s_1, m_2, s_2: (m_1 - m_2) ** 2 + s_1**2 + s_2**2),
            "The two variances are added. That is what it costs to carry each grain to a random place. The cheapest "
            "plan only has to make up for the *difference* of the standard deviations.",
        ),
    ),
    hints=(
        "You need four numbers: `mean()` and `std()` of each heap. The formula has two parts, one for each kind.",
        "Square the difference of the means, square the difference of the standard deviations, and add. `.item()` "
        "turns the result into a plain number.",
    ),
)


# In many dimensions


def clouds():
    """Two with different shapes, one that shares its axes, one that is flat, one with a single number for a point."""
    lean = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.6, 0.3], [0.0, 0.0, 2.0]])
    line = randn(12, 1, seed=7) @ torch.tensor([[1.0, 2.0]])
    return [
        case(randn(40, 3, seed=1), randn(25, 3, seed=2) @ lean + 0.5),
        case(randn(30, 3, seed=3) @ lean, randn(30, 3, seed=4) @ lean.flip(0).contiguous()),
        case(randn(20, 2, seed=5, dtype=DOUBLE), 3 * randn(50, 2, seed=6, dtype=DOUBLE) - 1),
        case(line, line.flip(1).contiguous()),
        case(randn(15, 1, seed=8), 2 * randn(15, 1, seed=9) + 1),
    ]


def frechet_with(trace_of_root=None, means=lambda apart: apart.square().sum(), factor=2, finish=lambda value: value):
    """A distance some part of which is another; trace_of_root(C_1, C_2)."""

    def attempt(real, generated):
        real, generated = real.double(), generated.double()
        C_1, C_2 = covariance(real), covariance(generated)
        part = (trace_of_root or right_trace)(C_1, C_2)
        apart = real.mean(dim=0) - generated.mean(dim=0)
        return finish((means(apart) + C_1.trace() + C_2.trace() - factor * part).item())

    return attempt


def right_trace(C_1, C_2):
    root = symmetric_root(C_1)
    return torch.linalg.eigvalsh(root @ C_2 @ root).clamp(min=0).sqrt().sum()


def without_the_root(C_1, C_2):
    root = symmetric_root(C_1)
    return torch.linalg.eigvalsh(root @ C_2 @ root).sum()


FRECHET_DISTANCE = Exercise(
    name="evaluation.frechet_distance",
    notebook="07",
    finished=frechet_distance,
    cases=clouds,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            frechet_with(lambda C_1, C_2: (C_1.diagonal() * C_2.diagonal()).sqrt().sum()),
            "This compares the standard deviations along each axis and ignores everything off the diagonal. Two clouds "
            "that lean in different directions would then be the same. Use the whole matrices.",
        ),
        Mistake(
            frechet_with(lambda C_1, C_2: (C_1 @ C_2).clamp(min=0).sqrt().trace()),
            "`.sqrt()` takes the root of each *entry*. The root of a matrix is another thing: add up the square roots "
            "of the eigenvalues of `root @ covariance_2 @ root`.",
        ),
        Mistake(
            frechet_with(without_the_root),
            "The eigenvalues are added up without their square roots. What you need is the trace of the *root* of that "
            "matrix.",
        ),
        Mistake(
            frechet_with(lambda C_1, C_2: torch.linalg.eigvalsh(C_1 @ C_2).clamp(min=0).sqrt().sum()),
            "`eigvalsh` is meant for symmetric matrices, and the product of two covariances is not one. It reads half "
            "of the matrix, and says nothing. Put the root on both sides: `root @ covariance_2 @ root`.",
        ),
        Mistake(
            frechet_with(factor=1),
            "The trace of the root should be subtracted twice, like the mixed term in the square of a "
            "difference. As it is, a cloud is far from itself.",
        ),
        Mistake(
            frechet_with(means=lambda apart: 0 * apart.sum()),
            "The means are missing, so a cloud could be anywhere. Add the squared length of their difference.",
        ),
        Mistake(
            frechet_with(means=lambda apart: apart.norm()),
            "The means' part is the length of their difference. It should be the *squared* length: the sum of the "
            "squares.",
        ),
        Mistake(
            frechet_with(means=lambda apart: apart.square().mean()),
            "The squares of the means' differences are averaged over the features. They should be added up, like the "
            "variances in the traces.",
        ),
        Mistake(
            frechet_with(finish=lambda value: max(value, 0.0) ** 0.5),
            "This takes the root at the end. Papers, and the course, give the squared distance.",
        ),
    ),
    hints=(
        "The distance has two parts: one for the means, and one for the covariances. Work in float64: "
        "`real.double()`. `covariance(points)` and `symmetric_root(matrix)` are yours to use.",
        "For the second part you need three traces. Two are `covariance_1.trace()` and `covariance_2.trace()`. For the "
        "third, `torch.linalg.eigvalsh(root @ covariance_2 @ root)` gives the eigenvalues, where `root` is the "
        "symmetric root of `covariance_1`.",
        "Rounding can leave an eigenvalue slightly below 0, so use `.clamp(min=0).sqrt().sum()`. Then subtract twice "
        "that sum, and return a plain number that is not below 0: `max(distance.item(), 0.0)`.",
    ),
)


# The floor's error bar


def floor_with_error(real, others, number):
    draws = [draw for draw in others.split(number) if len(draw) == number]
    scores = torch.tensor([frechet_distance(real, draw) for draw in draws])
    return scores.mean().item(), scores.std().item() / len(scores) ** 0.5


def floors():
    return [
        case(randn(60, 3, seed=1), randn(80, 3, seed=2), 20),
        case(randn(40, 2, seed=3), randn(39, 2, seed=4) + 0.3, 6),
        case(randn(50, 4, seed=5), 2 * randn(33, 4, seed=6), 10),
    ]


def floor_by(draws_of=None, spread=lambda scores: scores.std() / len(scores) ** 0.5, score=frechet_distance):
    """A wrong floor: other draws, another spread, or another way to score."""

    def attempt(real, others, number):
        whole = [draw for draw in others.split(number) if len(draw) == number]
        draws = draws_of(others, number) if draws_of else whole
        scores = torch.tensor([score(real, draw) for draw in draws])
        return scores.mean().item(), float(spread(scores))

    return attempt


FLOOR_WITH_ERROR = Exercise(
    name="judging.floor_with_error",
    notebook="07",
    finished=floor_with_error,
    cases=floors,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            floor_by(spread=lambda scores: scores.std()),
            "The second number is the standard deviation of the scores: how much *one* score varies. The mean of n "
            "scores varies less, by the square root of n. Divide by it.",
        ),
        Mistake(
            floor_by(spread=lambda scores: scores.std() / len(scores)),
            "The standard deviation is divided by the number of draws. The error of a mean only shrinks with its "
            "square root.",
        ),
        Mistake(
            floor_by(spread=lambda scores: scores.var() / len(scores) ** 0.5),
            "The second number starts from the variance. Take the standard deviation, `scores.std()`, which has the "
            "unit of a score.",
        ),
        Mistake(
            floor_by(draws_of=lambda others, number: others.split(number)),
            "The last, incomplete draw is scored with the others. It has fewer points, so its score is higher, and it "
            "pulls up the mean. Leave it out.",
        ),
        Mistake(
            floor_by(draws_of=lambda others, number: [others[i::number] for i in range(number)]),
            "The points are cut into `number` draws. They should be cut into draws of `number` points each, as "
            "`others.split(number)` does.",
        ),
        Mistake(
            floor_by(draws_of=lambda others, number: [others[i : i + number] for i in range(len(others) - number + 1)]),
            "The draws overlap. They share most of their points, so their scores are nearly the same, and the error "
            "bar comes out far too small. Use each point at most once.",
        ),
        Mistake(
            lambda real, others, number: floor_with_error(others, real, number),
            "`real` and `others` are swapped: this cuts up the reference. Keep `real` whole, and score draws from "
            "`others` against it.",
        ),
    ),
    hints=(
        "`others.split(number)` cuts the points into draws. Which of them has the wrong length?",
        "Make a tensor of the scores `frechet_distance(real, draw)`. Its `mean()` is the floor.",
        "The standard error is `scores.std() / len(scores) ** 0.5`. Return both as plain numbers, the mean first.",
    ),
)


# Within the region of others


def regions():
    spread = 0.4 * randn(15, 2, seed=1)
    return [
        case(spread, randn(11, 2, seed=2), 3),
        case(randn(11, 2, seed=3), spread, 1),
        case(randn(20, 5, seed=4, dtype=DOUBLE), randn(9, 5, seed=5, dtype=DOUBLE) + 0.5, 2),
        case(randn(6, 3, seed=6) + 9, randn(8, 3, seed=7), 3),
        case(randn(8, 1, seed=8), 2 * randn(30, 1, seed=9), 4),
    ]


def within(radius=None, decide=None, share=lambda inside: inside.double().mean().item()):
    """A wrong share: other radii, another way to decide who is inside, or another count."""

    def attempt(points, others, k):
        radii = radius(points, others, k) if radius else distances(others, others).kthvalue(k + 1, dim=1).values
        apart = distances(points, others)
        return share(decide(apart, radii) if decide else (apart <= radii).any(dim=1))

    return attempt


SHARE_WITHIN = Exercise(
    name="evaluation.share_within",
    notebook="07",
    finished=share_within,
    cases=regions,
    mistakes=(
        Mistake(
            within(lambda points, others, k: distances(others, others).kthvalue(k, dim=1).values),
            "The balls are too small. In `distances(others, others)` the nearest of all is the point itself, at "
            "distance 0, so the k-th neighbour is the value number `k + 1`.",
        ),
        Mistake(
            within(decide=lambda apart, radii: (apart <= radii).all(dim=1)),
            "This asks for points that lie in *all* the balls at once. A region is made of all its balls together, so "
            "lying in any one of them is enough.",
        ),
        Mistake(
            within(decide=lambda apart, radii: (apart <= radii).any(dim=0)),
            "This counts the balls that have a point in them, over the wrong axis. Count the points that lie in a "
            "ball: `any(dim=1)`.",
        ),
        Mistake(
            within(decide=lambda apart, radii: apart <= radii),
            "This is the share of all pairs of a point and a ball. First ask for each point whether it is in any "
            "ball, then take the share of the points.",
        ),
        Mistake(
            within(
                decide=lambda apart, radii: apart.min(dim=1).values <= radii[apart.argmin(dim=1)],
            ),
            "Only the ball of the nearest point is looked at. A point can lie outside that small ball and still inside "
            "a wide one that belongs to a point further away. Look at all the balls.",
        ),
        Mistake(
            within(decide=lambda apart, radii: (apart <= radii.mean()).any(dim=1)),
            "All the balls have the same, average radius. Each should reach to the k-th neighbour of its own centre, "
            "so that they are wide where points are rare.",
        ),
        Mistake(
            within(lambda points, others, k: distances(others, points).kthvalue(k, dim=1).values),
            "The balls around `others` reach to their k-th neighbour among `points`. They should know nothing of "
            "`points`: measure from `others` to `others`.",
        ),
        Mistake(
            lambda points, others, k: share_within(others, points, k),
            "The roles are swapped: the balls belong around `others`, and `points` are asked whether they lie inside. "
            "(What you have is recall in place of precision.)",
        ),
        Mistake(
            within(share=lambda inside: inside.double().sum().item()),
            "This is how many points lie inside. Divide by the number of points to get a share.",
        ),
    ),
    hints=(
        "First the radius of each ball: the distance from each of `others` to its k-th neighbour in `others`. "
        "`kthvalue(k, dim=1).values` gives the k-th smallest value of each row, but watch out for the point itself.",
        "`distances(points, others) <= radius` has a row for each point, and tells for each ball whether the point is "
        "inside.",
        "A point counts if `any(dim=1)`. The mean of these, as float64, is the share: `.double().mean().item()`.",
    ),
)


# The nearest neighbour


def nearest(pictures, others):
    apart = torch.cdist(pictures.flatten(1), others.flatten(1))
    distance, place = apart.min(dim=1)
    return place, distance


def galleries():
    kept = randn(12, 1, 5, 4, seed=1)
    return [
        case(randn(6, 1, 5, 4, seed=2), kept),
        case(kept[[7, 2, 2]] + 0.01 * randn(3, 1, 5, 4, seed=3), kept),
        case(randn(9, 3, seed=4, dtype=DOUBLE), randn(4, 3, seed=5, dtype=DOUBLE)),
    ]


def nearest_by(measure, finish=lambda values, places: (places, values), pick=torch.min, ways=lambda a, b: (a, b)):
    """A wrong search: measure(pairwise differences), another end, another choice, or other roles."""

    def attempt(pictures, others):
        asked, kept = ways(pictures, others)
        apart = measure(asked.flatten(1)[:, None] - kept.flatten(1)[None])
        return finish(*pick(apart, dim=1))

    return attempt


def euclidean(differences):
    return differences.square().sum(dim=2).sqrt()


NEAREST = Exercise(
    name="judging.nearest",
    notebook="07",
    finished=nearest,
    cases=galleries,
    tolerance=1e-3,
    mistakes=(
        Mistake(
            nearest_by(euclidean, pick=torch.max),
            "This finds the *farthest* picture. Use `min`, not `max`.",
        ),
        Mistake(
            nearest_by(euclidean, ways=lambda pictures, others: (others, pictures)),
            "The roles are swapped: this finds the nearest of `pictures` for each of `others`. There should be one "
            "answer for each of `pictures`.",
        ),
        Mistake(
            nearest_by(euclidean, finish=lambda values, places: (values, places)),
            "The distance comes first. Return the place first, and then the distance. (`min(dim=1)` gives them in the "
            "other order.)",
        ),
        Mistake(
            nearest_by(lambda differences: differences.square().sum(dim=2)),
            "The distances are squared. The right pictures are found, but give the distance itself: take the root.",
        ),
        Mistake(
            nearest_by(lambda differences: differences.sum(dim=2).abs()),
            "Differences are added up with their signs, so too dark here and too bright there cancel out. Square them "
            "first.",
        ),
        Mistake(
            nearest_by(lambda differences: differences.abs().sum(dim=2)),
            "These are sums of absolute differences. The task asks for the Euclidean distance: the root of the sum of "
            "the squares, as `torch.cdist` gives it.",
        ),
        Mistake(
            nearest_by(lambda differences: differences.square().mean(dim=2).sqrt()),
            "The squares are averaged over the pixels. For the Euclidean distance, add them up, and take the root.",
        ),
    ),
    hints=(
        "A picture is one point: `flatten(1)` turns (N, 1, 28, 28) into (N, 784).",
        "`torch.cdist(a, b)` gives all the distances, with a row for each of `a`. `min(dim=1)` returns two things: the "
        "smallest value in each row, and where it is.",
    ),
)
