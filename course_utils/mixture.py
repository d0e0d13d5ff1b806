"""A Gaussian mixture and its exact denoiser, so that a sampler can be judged without a network.

Noise added to a Gaussian mixture gives another Gaussian mixture, so everything that a network would have to
learn from images is known here in closed form: the density at every level, the mean of x_0 given x_t, and the moments.
"""

from dataclasses import dataclass
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.annotations import Count, checked
from course_utils.schedule import check_level


@checked
@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """K Gaussians in D dimensions: weights (K,) above 0 that add up to 1, means (K, D), covariances (K, D, D)."""

    weights: Float[Tensor, " K"]
    means: Float[Tensor, "K D"]
    covariances: Float[Tensor, "K D D"]

    def __post_init__(self):
        for name in ("weights", "means", "covariances"):
            vars(self)[name] = getattr(self, name).to("cpu", torch.float64, copy=True)
        if not (self.weights > 0).all() or (self.weights.sum() - 1).abs() > 1e-6:
            raise ValueError(f"weights must be above 0 and add up to 1, but are {self.weights.tolist()}.")
        symmetric = torch.allclose(self.covariances, self.covariances.mT)
        if not symmetric or not (torch.linalg.eigvalsh(self.covariances) > 0).all():
            raise ValueError(f"covariances must be symmetric and positive definite, not {self.covariances.tolist()}.")

    def mean(self):
        """The mean of the whole mixture, (D,)."""
        return self.weights @ self.means

    def covariance(self):
        """The covariance of the whole mixture, (D, D): within the components, plus between them."""
        apart = self.means - self.mean()
        within = torch.einsum("k,kij->ij", self.weights, self.covariances)
        return within + torch.einsum("k,ki,kj->ij", self.weights, apart, apart)

    def sample(self, n: Count, generator: torch.Generator | None = None) -> Float[Tensor, "n D"]:
        """n points, float32 on the CPU, from a generator on the CPU (by default torch's own)."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        root = torch.linalg.cholesky(self.covariances)
        return (self.means[component] + torch.einsum("nij,nj->ni", root[component], noise)).float()

    def noised(self, t, path):
        """The distribution of x_t when x_0 comes from this mixture: another mixture, for a level t within 0 .. T.

        Its means are signal_t mean, its covariances signal_t^2 covariance + noise_t^2 I.
        """
        check_level(t, len(path.signal_rate) - 1)
        signal, noise = path.signal_rate[t], path.noise_rate[t]
        identity = torch.eye(self.means.shape[1], dtype=torch.float64)
        return GaussianMixture(self.weights, signal * self.means, signal**2 * self.covariances + noise**2 * identity)

    @checked
    def component_log_prob(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """log(weight of k times the density of component k) at each point of x."""
        precisions = torch.linalg.inv(self.covariances)
        constants = self.weights.log() - 0.5 * torch.logdet(2 * torch.pi * self.covariances)
        apart = x[:, None] - to(self.means, x)
        distance = torch.einsum("bki,kij,bkj->bk", apart, to(precisions, x), apart)
        return to(constants, x) - 0.5 * distance

    def responsibilities(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """The probability that each point comes from each component."""
        return self.component_log_prob(x).softmax(dim=1)

    def log_prob(self, x: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """The log density at each point."""
        return self.component_log_prob(x).logsumexp(dim=1)


def to(values, x):
    """Values computed in float64, cast to x's dtype and then moved to its device."""
    return values.to(x.dtype).to(x.device)


def exact_denoiser(mixture, path):
    """The best possible denoiser for points from the mixture, on any path: denoise(x_t, t) -> E[x_0 | x_t].

    For one Gaussian it is a linear regression; for several, the regressions are averaged, each weighted by how
    probable its component is, given x_t (Bishop, Pattern Recognition and Machine Learning, eqs. 2.116 and 2.192).
    """

    def denoise(x_t: Float[Tensor, "B D"], t: Integral) -> Float[Tensor, "B D"]:
        noised = mixture.noised(t, path)
        gain = path.signal_rate[t] * mixture.covariances @ torch.linalg.inv(noised.covariances)
        apart = x_t[:, None] - to(noised.means, x_t)
        means = to(mixture.means, x_t) + torch.einsum("kij,bkj->bki", to(gain, x_t), apart)
        return torch.einsum("bk,bki->bi", noised.responsibilities(x_t), means)

    return denoise
