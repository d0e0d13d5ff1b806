"""A Gaussian mixture, and the denoiser that is exact for it, so that a sampler is judged without a network.

Noise added to a Gaussian mixture gives another Gaussian mixture, so everything that a network has to learn from
images is known here in closed form: the density at every level, the mean of x_0 given x_t, and the moments.
"""

from dataclasses import dataclass

import torch

from course_utils._checks import (
    a_schedule,
    batch,
    checked,
    cpu_generator,
    describe,
    given,
    instance,
    integer,
    optional,
    short,
    with_values,
)


def level_from(low):
    """A rule for a whole number within low .. T."""

    def rule(name, value, arguments):
        integer(low, arguments["schedule"].T)(name, value, arguments)

    return rule


def points(name, value, arguments):
    """Points in as many dimensions as the mixture has, which is an argument, or else `self`."""
    batch(name, value, arguments)
    D = (arguments.get("mixture") or arguments["self"]).means.shape[1]
    if value.ndim != 2 or value.shape[1] != D:
        raise ValueError(f"{name} must have shape (B, {D}), but is {describe(value)}.")


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """K Gaussians in D dimensions.

    Args:
        weights: (K,) above 0, adding up to 1.
        means: (K, D).
        covariances: (K, D, D), symmetric and positive definite.

    All are kept as float64 on the CPU.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: shapes that do not fit, weights that do not add up to 1, a matrix that is no covariance, or values
            that are not finite.
    """

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor

    def __post_init__(self):
        for name in ("weights", "means", "covariances"):
            value = getattr(self, name)
            batch(f"GaussianMixture: {name}", value, {})
            with_values(f"GaussianMixture: {name}", value)
            if not value.isfinite().all():
                raise ValueError(f"GaussianMixture: {name} must be finite numbers, but holds infinite ones or NaN.")
            object.__setattr__(self, name, value.detach().to("cpu", torch.float64, copy=True))
        check_mixture(self.weights, self.means, self.covariances)

    def mean(self):
        """The mean of the whole mixture, (D,)."""
        return self.weights @ self.means

    def covariance(self):
        """The covariance of the whole mixture, (D, D): within the components, plus between them."""
        apart = self.means - self.mean()
        within = torch.einsum("k,kij->ij", self.weights, self.covariances)
        return within + torch.einsum("k,ki,kj->ij", self.weights, apart, apart)

    @checked(n=integer(1), generator=optional(cpu_generator))
    def sample(self, n, generator=None):
        """n points, (n, D) float32 on the CPU, from a generator on the CPU (by default torch's own).

        Raises TypeError or ValueError for any other n or generator.
        """
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        root = torch.linalg.cholesky(self.covariances)
        return (self.means[component] + torch.einsum("nij,nj->ni", root[component], noise)).float()

    @checked(schedule=a_schedule, t=level_from(0))
    def noised(self, t, schedule):
        """The distribution of x_t where x_0 comes from this mixture: the mixture at level t, an int within 0 .. T.

        Raises TypeError or ValueError for any other t or schedule.
        """
        alpha_bar = schedule.alpha_bar[t]
        noise = (1 - alpha_bar) * torch.eye(self.means.shape[1], dtype=torch.float64)
        return GaussianMixture(self.weights, alpha_bar.sqrt() * self.means, alpha_bar * self.covariances + noise)

    @checked(x=points)
    def component_log_prob(self, x):
        """log(weight of k times the density of component k) at each point of x, (B, D) -> (B, K), in x's dtype."""
        precisions = torch.linalg.inv(self.covariances)
        constants = self.weights.log() - 0.5 * torch.logdet(2 * torch.pi * self.covariances)
        apart = x[:, None] - to(self.means, x)
        distance = torch.einsum("bki,kij,bkj->bk", apart, to(precisions, x), apart)
        return to(constants, x) - 0.5 * distance

    @checked(x=points)
    def responsibilities(self, x):
        """The probability that each point comes from each component, (B, D) -> (B, K).

        Raises TypeError where x is not floating point, ValueError where it has another shape.
        """
        return self.component_log_prob(x).softmax(dim=1)

    @checked(x=points)
    def log_prob(self, x):
        """The log density at each point, (B, D) -> (B,). Errors as in `responsibilities`."""
        return self.component_log_prob(x).logsumexp(dim=1)


def to(values, x):
    """Values worked out in float64, cast to x's dtype and then moved to its device."""
    return values.to(x.dtype).to(x.device)


def check_mixture(weights, means, covariances):
    K, D = len(weights), means.shape[-1]
    if weights.shape != (K,) or means.shape != (K, D) or covariances.shape != (K, D, D):
        raise ValueError(
            "GaussianMixture: the shapes must be weights (K,), means (K, D), covariances (K, D, D), but are "
            f"{tuple(weights.shape)}, {tuple(means.shape)}, {tuple(covariances.shape)}."
        )
    if not (weights > 0).all() or (weights.sum() - 1).abs() > 1e-6:
        raise ValueError(
            f"GaussianMixture: weights must be above 0 and add up to 1, but are {short(weights.tolist())}."
        )
    if not torch.allclose(covariances, covariances.mT) or not (torch.linalg.eigvalsh(covariances) > 0).all():
        raise ValueError(
            "GaussianMixture: all covariances must be symmetric and positive definite, but one of them is not: "
            f"{short(covariances.tolist())}."
        )


@checked(mixture=instance(GaussianMixture), schedule=a_schedule)
def exact_denoiser(mixture, schedule):
    """The best possible denoiser for points from the mixture: denoise(x_t, t) -> E[x_0 | x_t].

    For one Gaussian it is a linear regression; for several, the regressions are averaged, each weighted by how
    probable its component is, given x_t (Bishop, Pattern Recognition and Machine Learning, eqs. 2.116 and 2.192).

    Returns:
        denoise: x_t (B, D) in any floating dtype, t an int within 1 .. T -> x_0_hat like x_t. It raises what
        `predict_x_0` raises for a wrong x_t or t.
    """

    @checked(x_t=given(points, mixture=mixture), t=given(level_from(1), schedule=schedule))
    def denoise(x_t, t):
        noised = mixture.noised(t, schedule)
        gain = schedule.alpha_bar[t].sqrt() * mixture.covariances @ torch.linalg.inv(noised.covariances)
        apart = x_t[:, None] - to(noised.means, x_t)
        means = to(mixture.means, x_t) + torch.einsum("kij,bkj->bki", to(gain, x_t), apart)
        return torch.einsum("bk,bki->bi", noised.responsibilities(x_t), means)

    return denoise
