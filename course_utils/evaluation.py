"""How good samples are: a Fréchet distance, precision and recall, in the features of a small classifier.

The figures are comparable with each other only because the classifier never changes. Its weights are in the
repository, and `load_classifier` refuses any others. The distance is not comparable with the FID in papers, which uses
the features of another network; that is why it is called FCD here.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from course_utils.annotations import Count, WrongArgument, checked, describe
from course_utils.data import DATA, check_images, fashion_mnist, scale, unscale

CLASSIFIER = DATA / "weights" / "classifier.safetensors"
SHA256 = "bab7e365d6f3301df514fb8950900815dcf7497fc019134ddaed7de98cf77b5c"


class Classifier(nn.Module):
    """A small convolutional network for Fashion-MNIST, whose last 64 numbers before the classes are its features.

    x (B, 1, 28, 28) within -1 .. 1 -> (B, 10), a score for each class.
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

    def features(self, x: Float[Tensor, "B 1 28 28"]) -> Float[Tensor, "B 64"]:
        """(B, 1, 28, 28) -> (B, 64): what the network sees in each image, averaged over the positions."""
        return self.body(x).mean(dim=(2, 3))

    def forward(self, x):
        return self.head(self.features(x))


def convolution(in_channels, out_channels):
    return nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()


@cache
def load_classifier(path=CLASSIFIER):
    """The course's classifier, in eval mode, on the CPU. Any file other than the course's own is refused."""
    path = Path(path)
    advice = f"Restore it with `git checkout -- {path}`, or clone the course again."
    if not path.is_file():
        raise FileNotFoundError(f"The classifier's weights {path} are missing. {advice}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{path} does not hold the weights that the course's figures were measured with. {advice}")
    classifier = Classifier()
    classifier.load_state_dict(load_file(path))
    return classifier.eval().requires_grad_(False)


def features(images: Tensor, batch_size: Count = 500) -> Float[Tensor, "N 64"]:
    """What the classifier sees in each image: (N, 64) float64, on the CPU.

    The images are (N, 1, 28, 28), uint8, or floating point within -1 .. 1, which is rounded to the 256 levels that a
    saved picture has, so that real and generated images are treated alike.
    """
    return over_batches(load_classifier().features, images, batch_size)


def class_probabilities(images: Tensor, batch_size: Count = 500) -> Float[Tensor, "N 10"]:
    """How sure the classifier is of each class: float64 on the CPU, adding up to 1 for each image."""
    return over_batches(load_classifier(), images, batch_size).softmax(dim=1)


def over_batches(network, images, batch_size):
    check_pictures(images)
    images = images.cpu() if images.dtype == torch.uint8 else unscale(images.cpu())
    return torch.cat([network(scale(part)).double() for part in images.split(batch_size)])


def check_pictures(images):
    """Refuse what the classifier was not trained on: another shape, unscaled values, a single flat grey."""
    if isinstance(images, Tensor) and images.shape[1:] != (1, 28, 28):
        raise WrongArgument(f"images must have shape (N, 1, 28, 28) for the classifier, but is {describe(images)}.")
    if isinstance(images, Tensor) and len(images) > 1 and images.min() == images.max():
        raise WrongArgument(f"images are constant: all values are {images.min().item():g}. Has the sampler diverged?")
    check_images("images", images)


@checked
def frechet_distance(real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"]) -> float:
    """The squared Fréchet (Wasserstein-2) distance between the Gaussians with these sets' means and covariances.

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)) (Dowson and Landau 1982; arXiv 1706.08500, eq. 6). The trace of
    the root is the sum of the square roots of the eigenvalues of R C_2 R, where R is the symmetric root of C_1; that
    product is symmetric, so its eigenvalues are real even if a covariance is singular.
    """
    real, generated = real.double(), generated.double()
    mean_1, mean_2 = real.mean(dim=0), generated.mean(dim=0)
    covariance_1, covariance_2 = covariance(real), covariance(generated)
    root = symmetric_root(covariance_1)
    eigenvalues = torch.linalg.eigvalsh(root @ covariance_2 @ root)
    trace_of_root = eigenvalues.clamp(min=0).sqrt().sum()  # rounding can leave slightly less than 0
    distance = (mean_1 - mean_2).square().sum() + covariance_1.trace() + covariance_2.trace() - 2 * trace_of_root
    return max(distance.item(), 0.0)


def covariance(points):
    D = points.shape[1]
    return points.T.cov().reshape(D, D)  # for a single feature, torch gives a bare number


def symmetric_root(covariance):
    """The symmetric matrix whose square is the covariance."""
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return vectors * eigenvalues.clamp(min=0).sqrt() @ vectors.T


@checked
def precision_recall(real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"], k: Count = 3) -> tuple:
    """Precision and recall of Kynkäänniemi et al. (arXiv 1904.06991, eqs. 1 and 2).

    The points of a set, each with a ball that reaches its k-th nearest neighbour in the set, cover a region. Precision
    is the share of generated points that lie in the real ones' region: how many could be real. Recall is the share of
    real points that lie in the generated ones' region: how much of the variety is covered. Use sets of equal size.
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
    """What `quality` found for `number` images. Printed, the FCD comes with its floor."""

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


def quality(images: Tensor) -> Quality:
    """FCD, its floor, precision and recall of generated images, against the test images of Fashion-MNIST.

    FCD is the Fréchet distance between the features of the images and those of all 10,000 test images. With finitely
    many images it never reaches 0: the floor is what the same number of real training images reach. Only compare
    figures for the same number of images.

    The images are (N, 1, 28, 28), N within 4 .. 10,000, uint8, or floating point within -1 .. 1.
    """
    real = test_features()
    if isinstance(images, Tensor) and not 4 <= len(images) <= len(real):
        raise WrongArgument(
            f"images must number at least 4 (each needs three neighbours) and at most {len(real)}, the number of test "
            f"images, but there are {len(images)}."
        )
    generated = features(images)
    precision, recall = precision_recall(real[: len(images)], generated)
    return Quality(frechet_distance(real, generated), floor(len(images)), precision, recall, len(images))


@cache
def test_features():
    return features(fashion_mnist(train=False)[0])


@cache
def floor(number: int, repeats: int = 5) -> float:
    """The FCD of `number` real training images: the mean over `repeats` disjoint draws, or as many as there are."""
    images = fashion_mnist()[0]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    draws = order[: repeats * number].split(number)
    scores = [frechet_distance(test_features(), features(images[draw])) for draw in draws if len(draw) == number]
    return sum(scores) / len(scores)
