"""The arithmetic of projections, from moments to weights, with numpy and scipy alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg

# Share of the mean Fisher information that is added for every direction: it keeps the metric definite where channels
# are dead, and keeps some weight on directions that the gradients of a few thousand images did not show.
RIDGE = 0.1
# Latents whose variance is below this share of the largest are scaled as if they had this share.
_FLOOR = 1e-8
# Up to this size, matrices are decomposed in full and in float64; above it, in float32 and only in part.
_SMALL = 512
# Least number of spare columns of the random block, and number of rounds.
_SPARE, _ROUNDS = 32, 4


@dataclass(frozen=True, eq=False)
class LinearMap:
    """Encoder and decoder of one patch, `z = encode (x - mean)` and `x = decode z + mean`.

    Attributes:
        encode: `(k, d)`.
        decode: `(d, k)`.
        variances: `(k,)`, the variance of each latent in the metric, before scaling; in descending order.
    """

    encode: np.ndarray
    decode: np.ndarray
    variances: np.ndarray

    def in_metric(self) -> "LinearMap":
        """Return the map with latents whose variances are as those in the metric, up to one factor for all.

        One step for all latents then costs the same error in each.
        """
        spread = _spread(self.variances)
        return LinearMap(self.encode * spread[:, None], self.decode / spread, self.variances)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted projection.

    Attributes:
        map: The linear map of a patch.
        mean: float64 `(C,)`, the mean of each channel.
        lost: Mean over patches of ||F - restored||^2.
        energy: Mean over patches of ||F||^2.
    """

    map: LinearMap
    mean: np.ndarray
    lost: float
    energy: float

    def in_metric(self) -> "Fitted":
        """Return the projection with its map in the metric; see `LinearMap.in_metric`."""
        return replace(self, map=self.map.in_metric())


def metric_of(fisher: np.ndarray | None, size: int, ridge: float = RIDGE) -> np.ndarray:
    """Return the metric that weighs an error of the features: their Fisher information, and `ridge` of its mean.

    Args:
        fisher: `(d, d)`, E[g g^T] over gradients g of the log-likelihood; None for the features' own metric.
        size: d.
        ridge: Share of the mean of the diagonal that is added to the diagonal.

    Returns:
        `(d, d)`, positive definite; the identity without gradients, or if all of them are zero.
    """
    level = 0.0 if fisher is None else float(np.trace(fisher)) / size
    if fisher is None or level <= 0:
        return np.eye(size)
    metric = fisher / fisher.dtype.type(level)
    metric[np.diag_indices(size)] += ridge
    return metric


def solve(covariance: np.ndarray, metric: np.ndarray, k: int) -> LinearMap:
    """Return the best linear map through k numbers, where an error e costs `e^T metric e`.

    With metric = M^2, the rows of `encode` are the k leading eigenvectors of M Cov M applied after M, and `decode`
    is their inverse. A triangular factor L^T with L L^T = M^2 replaces M: it differs by a rotation, which also rotates
    the eigenvectors. Signs and scales are those of `scaled`.

    Args:
        covariance: `(d, d)`.
        metric: `(d, d)`, positive definite.
        k: Latents, at most d.
    """
    dtype = np.float64 if len(covariance) <= _SMALL else np.float32
    covariance, metric = covariance.astype(dtype, copy=False), metric.astype(dtype, copy=False)
    factor = linalg.cholesky(metric, lower=True)  # L
    values, vectors = leading(
        lambda block: factor.T @ (covariance @ (factor @ block)), len(covariance), k, covariance.dtype
    )
    return scaled(vectors.T @ factor.T, linalg.solve_triangular(factor, vectors, trans="T", lower=True), values)


def solve_rows(features: np.ndarray, gradients: np.ndarray | None, k: int, ridge: float = RIDGE) -> LinearMap:
    """Return the map of `solve` from rows, for fewer rows than elements, without forming a matrix of d x d.

    With A the transposed features over the root of their number, Cov = A A^T, and the eigenvectors v of A A^T M^2 are
    A u for the eigenvectors u of A^T M^2 A.

    Args:
        features: float32 `(n, d)`, about their mean.
        gradients: float32 `(m, d)`, or None for the features' own metric.
        k: Latents. If k is larger than n, the further latents are zero.
    """
    n, size = features.shape
    level = 0.0 if gradients is None else float(np.sum(np.square(gradients, dtype=np.float64))) / gradients.size
    if gradients is None or level <= 0:
        gradients, ridge, level = np.zeros((1, size), np.float32), 1.0, 1.0
    slopes = gradients / np.float32(np.sqrt(len(gradients) * level))
    products = (slopes @ features.T).astype(np.float64)
    inner = (products.T @ products + ridge * (features @ features.T)) / n
    n_found = min(k, n)
    values, vectors = linalg.eigh(inner, subset_by_index=[n - n_found, n - 1])
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    nonzero = values > _FLOOR * values[0]
    roots = np.where(nonzero, np.sqrt(np.where(nonzero, values, 1.0)), np.inf)  # the others become zero
    decode = features.T.astype(np.float64) @ (vectors / roots) / np.sqrt(n)
    encode = (slopes.T @ (slopes @ decode)).T + ridge * decode.T
    spare = k - n_found
    return scaled(
        np.pad(encode, [(0, spare), (0, 0)]), np.pad(decode, [(0, 0), (0, spare)]), np.pad(values, (0, spare))
    )


def scaled(encode: np.ndarray, decode: np.ndarray, values: np.ndarray) -> LinearMap:
    """Return a map whose latents, of the variances `values`, have a fixed sign and scale.

    Signs are such that the element of largest magnitude in each row of `encode` is positive. All latents cross the wire
    with one int8 scale, so their standard deviations are brought nearer to each other: s_1 to s_k become sqrt(s_i /
    s_1). Equal deviations would amplify earlier rounding errors of the features in latents that hardly vary;
    with unchanged deviations, these latents would be lost in the int8 steps. Through int8 bundles of a VGG16 on glyphs,
    at four cuts and compressions, this choice changed the probabilities least.

    All latents are then brought to the scale at which the weights of encoder and decoder are equally large. For int8
    this makes no difference, but it matters in training: Adam's steps have the same size for any weights, also for
    weights of 1e-5, to which features in the hundreds would lead.
    """
    largest = np.take_along_axis(encode, np.abs(encode).argmax(axis=1)[:, None], axis=1)[:, 0]
    spread = _spread(values)
    scale = np.where(largest < 0, -1.0, 1.0) / spread
    encode, decode = encode * scale[:, None], decode / scale
    magnitudes = [float(np.sqrt(np.mean(np.square(weights, dtype=np.float64)))) for weights in (encode, decode)]
    balance = math.sqrt(magnitudes[1] / magnitudes[0]) if min(magnitudes) > 0 else 1.0
    return LinearMap(encode * balance, decode / balance, values)


def _spread(values: np.ndarray) -> np.ndarray:
    """Return what latents of the variances `values` are divided by, so that their deviations come nearer."""
    return (values[0] * np.maximum(values, _FLOOR * values[0])) ** 0.25 if values[0] > 0 else np.ones(len(values))


def leading(
    apply: Callable[[np.ndarray], np.ndarray], size: int, k: int, dtype: Any = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest eigenvalues and eigenvectors of a positive semidefinite matrix, descending.

    For a large matrix, they are found without forming it: a random block, wider than k, is multiplied by it a few times
    and made orthogonal in between, and the matrix is decomposed within the span of this block. Compared with the exact
    eigenvectors, only directions near the k-th are lost, which count about as much as those found in their place.

    Args:
        apply: The product of the matrix with `(size, n)`.
        size: Rows of the matrix.
        k: Number of eigenvalues.
        dtype: dtype of the computation.

    Returns:
        Eigenvalues `(k,)` and eigenvectors `(size, k)`.

    Reference:
        Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 2011, Algorithm 4.4.
    """
    width = k + max(_SPARE, k // 4)
    if size <= _SMALL or 2 * width > size:
        values, vectors = linalg.eigh(apply(np.eye(size, dtype=dtype)), subset_by_index=[size - k, size - 1])
    else:
        block = np.random.default_rng(0).normal(size=(size, width)).astype(dtype)
        for _ in range(_ROUNDS):
            block = _orthonormal(apply(block))
        values, rotation = linalg.eigh(block.T @ apply(block), subset_by_index=[width - k, width - 1])
        vectors = block @ rotation
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _orthonormal(block: np.ndarray) -> np.ndarray:
    """Return orthonormal columns of the same span, from the Cholesky factor of their products, applied twice.

    This takes mainly products of matrices, while Householder's method takes many small steps: under load, with as many
    threads as cores, these took 30 times as long.
    """
    for _ in range(2):
        exact = block.astype(np.float64)
        products = exact.T @ exact
        products[np.diag_indices(len(products))] += 1e-14 * np.trace(products)
        factor = linalg.cholesky(products, lower=True)
        block = linalg.solve_triangular(factor, exact.T, lower=True).T.astype(block.dtype)
    return block


def lost_variance(covariance: np.ndarray, found: LinearMap) -> float:
    """Return E||x - decode encode x||^2 of a patch about the mean."""
    encoded = found.encode @ covariance
    restored = np.sum((found.decode.T @ found.decode) * (encoded @ found.encode.T))
    return max(float(np.trace(covariance) - 2 * np.sum(found.decode.T * encoded) + restored), 0.0)
