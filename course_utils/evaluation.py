"""How good samples are: a Fréchet distance, precision and recall, in the features of a small classifier.

The figures are comparable with each other only because the classifier never changes. Its weights are in the
repository, and `load_classifier` refuses any others. They are not comparable with the FID of papers, which is the
same distance in the features of another network; so the distance is called FCD here.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import nn

from course_utils._checks import (
    a_data_set,
    a_path,
    batch,
    checked,
    describe,
    floating,
    integer,
    is_uint8,
    with_values,
)
from course_utils.data import DATA, fashion_mnist, scale, unscale

CLASSIFIER = DATA / "weights" / "classifier.safetensors"
LARGE = 1e100  # of features, whose squares are added up
SHA256 = "bab7e365d6f3301df514fb8950900815dcf7497fc019134ddaed7de98cf77b5c"


def fashion_sized(name, value, arguments):
    batch(name, value, arguments)
    of_the_classifier(name, value)


def of_the_classifier(name, value):
    if value.shape[1:] != (1, 28, 28):
        raise ValueError(f"{name} must have shape (N, 1, 28, 28), as the classifier's, but is {describe(value)}.")


class Classifier(nn.Module):
    """A small convolutional network for Fashion-MNIST, whose last 64 numbers before the classes are its features.

    Shapes: x (B, 1, 28, 28) within -1 .. 1 -> (B, 10), a score for each class.

    Raises:
        TypeError: x is not a floating-point tensor.
        ValueError: x has another shape.
    """

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.PixelUnshuffle(2),  # 2x2 squares of pixels become 4 channels: four times cheaper, as in the UNet
            *convolution(4, 64),
            *convolution(64, 64),
            nn.MaxPool2d(2),
            *convolution(64, 128),
            *convolution(128, 64),
        )
        self.head = nn.Linear(64, 10)

    @checked(x=fashion_sized)
    def features(self, x):
        """(B, 1, 28, 28) -> (B, 64): what the network sees in each image, averaged over the positions."""
        return self.body(x).mean(dim=(2, 3))

    def forward(self, x):
        return self.head(self.features(x))


def convolution(in_channels, out_channels):
    return nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()


@checked(path=a_path)
@cache
def load_classifier(path=CLASSIFIER):
    """The course's classifier, in eval mode, on the CPU.

    Raises:
        TypeError: path is not a path.
        FileNotFoundError: there is no such file.
        ValueError: the file is not the one that all figures of the course were measured with.
    """
    path = Path(path)
    advice = f"Restore it with `git checkout -- {path}`, or clone the course again."
    if not path.is_file():
        raise FileNotFoundError(f"The classifier's weights {path} are missing. {advice}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{path} does not hold the weights that the course's figures were measured with. {advice}")
    classifier = Classifier()
    classifier.load_state_dict(load_file(path))
    return classifier.eval().requires_grad_(False)


def images_to_judge(name, value, arguments):
    a_data_set(name, value, arguments)
    of_the_classifier(name, value)


@checked(images=images_to_judge, batch_size=integer(1))
def features(images, batch_size=500):
    """What the classifier sees in each image.

    Args:
        images: (N, 1, 28, 28), uint8, or floating point within -1 .. 1, which is rounded to the 256 levels that a
            saved picture has, so that real and generated images are treated alike.
        batch_size: how many the classifier is given at a time.

    Returns:
        (N, 64) float64, on the CPU.

    Raises:
        TypeError, ValueError: images of another type or shape, or not scaled to -1 .. 1.
    """
    return over_batches(load_classifier().features, images, batch_size)


@checked(images=images_to_judge, batch_size=integer(1))
def class_probabilities(images, batch_size=500):
    """How sure the classifier is of each class: (N, 10) float64 on the CPU, adding up to 1 for each image.

    Args and errors: as `features`.
    """
    return over_batches(load_classifier(), images, batch_size).softmax(dim=1)


def over_batches(network, images, batch_size):
    images = images.cpu() if is_uint8(images) else unscale(images.cpu())
    return torch.cat([network(scale(part)).double() for part in images.split(batch_size)])


def two_features(name, value, arguments):
    """Features: floating point, (N, D) with at least two rows, so that they have a covariance."""
    floating(name, value)
    if value.ndim != 2 or len(value) < 2 or value.shape[1] == 0:
        raise ValueError(f"{name} must have shape (N, D) with N at least 2, but is {describe(value)}.")
    with_values(name, value)
    if not (value.double().abs() < LARGE).all():  # NaN ends here too
        raise ValueError(
            f"{name} must be finite and below {LARGE:g}, but {describe(value)} is not: look for NaN in it."
        )


def features_as_wide(name, value, arguments):
    two_features(name, value, arguments)
    if value.shape[1] != arguments["real"].shape[1]:
        raise ValueError(
            f"{name} must have as many features as real, {arguments['real'].shape[1]}, but is {describe(value)}."
        )
    if value.device != arguments["real"].device:
        raise ValueError(f"{name} must be where real is, but is {describe(value)}. Use .to().")


@checked(real=two_features, generated=features_as_wide)
def frechet_distance(real, generated):
    """The squared Fréchet (Wasserstein-2) distance of the Gaussians with these sets' means and covariances.

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)) (Dowson and Landau 1982; arXiv 1706.08500, eq. 6). The trace of
    the root is the sum of the square roots of the eigenvalues of R C_2 R, where R is the symmetric root of C_1; that
    product is symmetric, so its eigenvalues are real also where a covariance is singular.

    Args:
        real: (N, D) floating point.
        generated: (M, D) floating point.

    Returns:
        A float, 0 where means and covariances agree.

    Raises:
        TypeError, ValueError: not floating point, of other shapes, or not finite.
    """
    real, generated = real.double(), generated.double()
    mean_1, mean_2 = real.mean(dim=0), generated.mean(dim=0)
    covariance_1, covariance_2 = covariance(real), covariance(generated)
    root = symmetric_root(covariance_1)
    eigenvalues = torch.linalg.eigvalsh(root @ covariance_2 @ root)
    trace_of_root = eigenvalues.clamp(min=0).sqrt().sum()  # rounding can leave a little less than 0
    distance = (mean_1 - mean_2).square().sum() + covariance_1.trace() + covariance_2.trace() - 2 * trace_of_root
    return max(distance.item(), 0.0)


def covariance(points):
    D = points.shape[1]
    return points.T.cov().reshape(D, D)  # of a single feature, torch gives a bare number


def symmetric_root(covariance):
    """The symmetric matrix whose square is the covariance."""
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return vectors * eigenvalues.clamp(min=0).sqrt() @ vectors.T


@checked(real=two_features, generated=features_as_wide, k=integer(1))
def precision_recall(real, generated, k=3):
    """Precision and recall of Kynkäänniemi et al. (arXiv 1904.06991, eqs. 1 and 2).

    A set's points, each with a ball that reaches to its k-th nearest neighbour in the set, cover a region. Precision
    is the share of generated points in the region of the real ones: how many could be real. Recall is the share of
    real points in the region of the generated ones: how much of the variety was reached. Use sets of equal size.

    Args:
        real: (N, D) floating point, N above k.
        generated: (M, D) floating point, M above k.
        k: which neighbour.

    Returns:
        precision, recall: floats within 0 .. 1.

    Raises:
        TypeError, ValueError: not floating point, of other shapes, not finite, or k not below N and M.
    """
    if k >= min(len(real), len(generated)):
        raise ValueError(
            f"precision_recall: k must be below the number of points in each set, but is {k}, with {len(real)} real "
            f"and {len(generated)} generated."
        )
    real, generated = real.double(), generated.double()
    return share_within(generated, real, k), share_within(real, generated, k)


def share_within(points, others, k):
    """The share of `points` that lie in the region of `others`."""
    radius = distances(others, others).kthvalue(k + 1, dim=1).values  # the nearest of all is the point itself
    return (distances(points, others) <= radius).any(dim=1).double().mean().item()


def distances(a, b):
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")  # the other way loses half the digits


class Quality(NamedTuple):
    """What `quality` found for `number` images. As text, the FCD stands beside its floor."""

    fcd: float
    floor: float
    precision: float
    recall: float
    number: int

    def __str__(self):
        return (
            f"FCD {self.fcd:.2f} (floor {self.floor:.2f} at N = {self.number}), "
            f"precision {self.precision:.2f}, recall {self.recall:.2f}"
        )


def enough_images(name, value, arguments):
    images_to_judge(name, value, arguments)
    if len(value) < 4:
        raise ValueError(f"{name} must be at least 4, so that each has three neighbours, but are {len(value)}.")


@checked(images=enough_images)
def quality(images):
    """FCD, its floor, precision and recall of generated images, against the test images of Fashion-MNIST.

    FCD is the Fréchet distance between the features of the images and of all 10,000 test images. A finite number of
    images never reaches 0: the floor is what real training images reach, as many as there are images here. Compare
    figures with the same number of images only.

    Args:
        images: (N, 1, 28, 28), N within 4 .. 10,000, uint8, or floating point within -1 .. 1.

    Returns:
        A Quality: fcd, floor, precision, recall, number.

    Raises:
        TypeError, ValueError: as `features`; also for fewer than 4 images, or more than there are test images.
    """
    real = test_features()
    if len(images) > len(real):
        raise ValueError(
            f"quality: images must be at most {len(real)}, the number of test images, but are {len(images)}."
        )
    generated = features(images)
    precision, recall = precision_recall(real[: len(images)], generated)
    return Quality(frechet_distance(real, generated), floor(len(images)), precision, recall, len(images))


@cache
def test_features():
    return features(fashion_mnist(train=False)[0])


@checked(number=integer(2, 60_000), repeats=integer(1))
@cache
def floor(number, repeats=5):
    """The FCD of `number` real training images: the mean over `repeats` disjoint draws, or as many as there are.

    Args:
        number: 2 .. 60,000, the number of training images.
        repeats: at least 1.

    Raises:
        TypeError, ValueError: not whole numbers, or out of range.
    """
    images = fashion_mnist()[0]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    draws = order[: repeats * number].split(number)
    scores = [frechet_distance(test_features(), features(images[draw])) for draw in draws if len(draw) == number]
    return sum(scores) / len(scores)
