"""The quality figure: against closed forms, plain loops, and torchmetrics; and the classifier behind it."""

import math

import pytest
import torch

from course_utils import evaluation
from course_utils.data import fashion_mnist, scale
from course_utils.evaluation import (
    class_probabilities,
    features,
    frechet_distance,
    load_classifier,
    precision_recall,
    quality,
)


@pytest.fixture(scope="module")
def test_images():
    return fashion_mnist(train=False)


def exact_sample(mean, covariance, number=400):
    """Points whose sample mean and sample covariance are exactly these."""
    points = torch.randn(number, len(mean), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = points - points.mean(dim=0)
    whitened = torch.linalg.solve_triangular(
        torch.linalg.cholesky(points.T.cov().reshape(len(mean), -1)), points.T, upper=False
    ).T
    return mean + whitened @ torch.linalg.cholesky(covariance).T


# Frechet distance: closed forms for Gaussians


def test_distance_of_a_set_from_itself_is_0():
    points = exact_sample(torch.tensor([1.0, 2.0, 3.0]).double(), torch.diag(torch.tensor([1.0, 4.0, 9.0]).double()))
    assert frechet_distance(points, points) <= 1e-12


def test_distance_of_gaussians_that_share_their_axes():
    """sum (m_1 - m_2)^2 + (s_1 - s_2)^2, the closed form where the covariances commute."""
    mean_1, mean_2 = torch.tensor([0.0, 1.0]).double(), torch.tensor([3.0, -1.0]).double()
    sd_1, sd_2 = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.5, 5.0]).double()
    turn = torch.tensor([[math.cos(0.4), -math.sin(0.4)], [math.sin(0.4), math.cos(0.4)]], dtype=torch.float64)
    a = exact_sample(mean_1, turn @ torch.diag(sd_1**2) @ turn.T)
    b = exact_sample(mean_2, turn @ torch.diag(sd_2**2) @ turn.T)
    expected = (mean_1 - mean_2).square().sum() + (sd_1 - sd_2).square().sum()
    assert abs(frechet_distance(a, b) - expected.item()) <= 1e-11


def test_distance_of_two_by_two_covariances_that_do_not_commute():
    """For 2x2 matrices tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB))."""
    A = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double()
    B = torch.tensor([[1.0, -0.7], [-0.7, 3.0]]).double()
    zero = torch.zeros(2).double()
    root = math.sqrt((A @ B).trace().item() + 2 * math.sqrt((A @ B).det().item()))
    expected = A.trace().item() + B.trace().item() - 2 * root
    assert abs(frechet_distance(exact_sample(zero, A), exact_sample(zero, B)) - expected) <= 1e-12


def test_distance_of_singular_covariances():
    """Points on a line against the same points on a line at a right angle: nothing is shared, so the traces add up."""
    line = exact_sample(torch.zeros(1).double(), torch.ones(1, 1).double())
    nothing = torch.zeros_like(line)
    across, along = torch.cat([line, nothing], dim=1), torch.cat([nothing, line], dim=1)
    assert abs(frechet_distance(across, along) - 2) <= 1e-12


def test_distance_is_symmetric_and_does_not_depend_on_the_order_of_the_points(generator):
    a = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    b = torch.randn(70, 4, generator=generator, dtype=torch.float64) * 2 + 1
    assert abs(frechet_distance(a, b) - frechet_distance(b, a)) <= 1e-12
    assert abs(frechet_distance(a, b) - frechet_distance(a.flip(0), b)) <= 1e-12


def test_distance_agrees_with_torchmetrics_in_the_same_features(test_images):
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Features(torch.nn.Module):
        num_features = 64

        def forward(self, images):
            return features(images)

    real, fake = test_images[0][:300], test_images[0][300:600].roll(3, dims=-1)
    metric = FrechetInceptionDistance(feature=Features()).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    assert abs(metric.compute().item() - frechet_distance(features(real), features(fake))) <= 1e-6


# Precision and recall


def by_loops(points, others, k):
    def distance(a, b):
        return math.dist(a, b)

    others, points = others.tolist(), points.tolist()
    radius = [sorted(distance(a, b) for j, b in enumerate(others) if j != i)[k - 1] for i, a in enumerate(others)]
    inside = [any(distance(p, o) <= r for o, r in zip(others, radius, strict=True)) for p in points]
    return sum(inside) / len(inside)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_agree_with_plain_loops(generator, k):
    real = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    generated = 1.5 * torch.randn(30, 2, generator=generator, dtype=torch.float64) + 0.5
    precision, recall = precision_recall(real, generated, k)
    assert (precision, recall) == (by_loops(generated, real, k), by_loops(real, generated, k))
    assert 0 < precision < 1
    assert 0 < recall < 1


def test_precision_and_recall_of_a_set_with_itself_are_1(generator):
    points = torch.randn(30, 5, generator=generator)
    assert precision_recall(points, points) == (1.0, 1.0)


def test_dropping_a_mode_costs_recall_and_not_precision(generator):
    near, far = torch.randn(40, 2, generator=generator), torch.randn(40, 2, generator=generator) + 100
    precision, recall = precision_recall(torch.cat([near, far]), near + 0.001)
    assert precision == 1
    assert recall == 0.5


def test_inventing_a_mode_costs_precision_and_not_recall(generator):
    near, far = torch.randn(40, 2, generator=generator), torch.randn(40, 2, generator=generator) + 100
    precision, recall = precision_recall(near, torch.cat([near + 0.001, far]))
    assert precision == 0.5
    assert recall == 1


# The classifier


@pytest.mark.slow
def test_classifier_is_right_on_at_least_92_percent_of_the_test_images(test_images):
    images, labels = test_images
    assert (class_probabilities(images).argmax(dim=1) == labels).double().mean() >= 0.92


def test_classifier_is_small():
    assert evaluation.CLASSIFIER.stat().st_size <= 2_000_000


def test_other_weights_are_refused(tmp_path):
    other = tmp_path / "classifier.safetensors"
    content = bytearray(evaluation.CLASSIFIER.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    with pytest.raises(ValueError, match="does not hold the weights"):
        load_classifier(other)
    with pytest.raises(FileNotFoundError, match="missing"):
        load_classifier(tmp_path / "nothing.safetensors")


def test_features_do_not_depend_on_the_batch_or_on_the_dtype_of_the_images(test_images):
    images = test_images[0][:50]
    expected = features(images)
    assert expected.shape == (50, 64)
    assert expected.dtype == torch.float64
    assert (features(images, batch_size=7) - expected).abs().max() <= 1e-5
    assert torch.equal(features(scale(images)), expected)
    assert torch.equal(features(scale(images).double()), expected)


def test_class_probabilities_add_up_to_1(test_images):
    total = class_probabilities(test_images[0][:20]).sum(dim=1)
    assert (total - 1).abs().max() <= 1e-12


# The figure


@pytest.mark.slow
def test_real_images_score_like_the_floor_and_worse_ones_worse():
    real = fashion_mnist()[0][-300:]
    found = quality(real)
    assert found.number == 300
    assert abs(found.fcd - found.floor) <= 0.5 * found.floor
    assert found.precision > 0.7
    assert found.recall > 0.7
    grainy = (real.float() + 40 * torch.randn(real.shape)).clamp(0, 255).byte()
    assert quality(grainy).fcd > 3 * found.fcd
    one_class = fashion_mnist()[0][fashion_mnist()[1] == 1][:300]
    assert quality(one_class).fcd > 3 * found.fcd
    assert quality(one_class).recall < 0.3


@pytest.mark.slow
def test_the_floor_is_printed_beside_the_distance():
    found = quality(fashion_mnist()[0][:100])
    assert f"FCD {found.fcd:.2f} (floor {found.floor:.2f} at N = 100)" in str(found)


@pytest.mark.slow
def test_the_floor_falls_with_the_number_of_images():
    assert evaluation.floor(100) > evaluation.floor(400) > 0


# Bad input: images are in test_bad_input.py


@pytest.mark.parametrize("function", [frechet_distance, precision_recall])
@pytest.mark.parametrize(
    ("real", "generated", "name"),
    [
        (torch.zeros(8, 3), torch.zeros(8, 4), "generated"),
        (torch.zeros(8), torch.zeros(8), "real"),
        (torch.zeros(8, 3).int(), torch.zeros(8, 3), "real"),
        (torch.zeros(8, 3), [[0.0]], "generated"),
    ],
)
def test_features_must_be_of_one_kind(function, real, generated, name):
    with pytest.raises(TypeError, match=f"{function.__name__}: {name} must"):
        function(real, generated)


def test_more_images_than_test_images_are_refused_and_fewer_than_four(monkeypatch):
    monkeypatch.setattr(evaluation, "test_features", lambda: torch.rand(10, 64).double())
    with pytest.raises(ValueError, match=r"images must number at least 4 .* but there are 3"):
        quality(torch.zeros(3, 1, 28, 28, dtype=torch.uint8))
    with pytest.raises(ValueError, match="at most 10, the number of test images, but there are 11"):
        quality(torch.zeros(11, 1, 28, 28, dtype=torch.uint8))


def test_more_neighbours_than_points_are_refused():
    with pytest.raises(ValueError, match="k must be below"):
        precision_recall(torch.rand(3, 2), torch.rand(9, 2))
