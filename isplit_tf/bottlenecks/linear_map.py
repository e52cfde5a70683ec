"""The arithmetic of projections: moments in, weights out; numpy and scipy alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

# Share of the mean Fisher information by which every direction counts, whatever the gradients say: it keeps the
# metric definite where channels are dead, and what the gradients of a few thousand images did not see.
RIDGE = 0.1
# Latents of a variance below this share of the greatest are scaled up no further.
_FLOOR = 1e-8
# Up to this size, matrices are taken apart in float64 and as a whole; above, in float32, and as far as is wanted.
_SMALL = 512
# Spare columns of the random block, at least, and rounds.
_SPARE, _ROUNDS = 32, 4


@dataclass(frozen=True, eq=False)
class LinearMap:
    """Encoder and decoder of one patch, `z = encode (x - mean)` and `x = decode z + mean`.

    Attributes:
        encode: `(k, d)`.
        decode: `(d, k)`.
        variances: `(k,)`, of each latent before it was scaled, in the metric; falling.
    """

    encode: np.ndarray
    decode: np.ndarray
    variances: np.ndarray


@dataclass(frozen=True, eq=False)
class Fitted:
    """A projection, fitted.

    Attributes:
        map: The linear map of a patch.
        mean: float64 `(C,)`, of each channel.
        lost: Mean over patches of ||F - restored||^2.
        energy: Mean over patches of ||F||^2.
    """

    map: LinearMap
    mean: np.ndarray
    lost: float
    energy: float


def metric_of(fisher: np.ndarray | None, size: int, ridge: float = RIDGE) -> np.ndarray:
    """The metric in which an error of the features counts: their Fisher information, and `ridge` of its mean.

    Args:
        fisher: `(d, d)`, E[g g^T] over gradients g of the log-likelihood; None for the features' own metric.
        size: d.
        ridge: Share of the mean diagonal that is added to it.

    Returns:
        `(d, d)`, positive definite; the identity without gradients, and where all of them are zero.
    """
    level = 0.0 if fisher is None else float(np.trace(fisher)) / size
    if fisher is None or level <= 0:
        return np.eye(size)
    metric = fisher / fisher.dtype.type(level)
    metric[np.diag_indices(size)] += ridge
    return metric


def solve(covariance: np.ndarray, metric: np.ndarray, k: int) -> LinearMap:
    """The best linear map through k numbers, where an error e costs `e^T metric e`.

    With metric = M^2, the rows of `encode` are the k leading eigenvectors of M Cov M applied after M, and `decode`
    is their inverse. A triangular factor L^T with L L^T = M^2 stands in for M: it differs by a rotation, which turns
    the eigenvectors along. Signs and scales are those of `scaled`.

    Args:
        covariance: `(d, d)`.
        metric: `(d, d)`, positive definite.
        k: Latents, at most d.
    """
    kind = np.float64 if len(covariance) <= _SMALL else np.float32
    covariance, metric = covariance.astype(kind, copy=False), metric.astype(kind, copy=False)
    factor = linalg.cholesky(metric, lower=True)  # L
    values, vectors = leading(
        lambda block: factor.T @ (covariance @ (factor @ block)), len(covariance), k, covariance.dtype
    )
    return scaled(vectors.T @ factor.T, linalg.solve_triangular(factor, vectors, trans="T", lower=True), values)


def solve_rows(features: np.ndarray, gradients: np.ndarray | None, k: int, ridge: float = RIDGE) -> LinearMap:
    """The same from rows, where there are fewer of them than elements: no matrix of all elements is formed.

    With A the transposed features over the root of their number, Cov = A A^T, and the eigenvectors v of A A^T M^2 are
    A u for the eigenvectors u of A^T M^2 A.

    Args:
        features: float32 `(n, d)`, about their mean.
        gradients: float32 `(m, d)`, or None for the features' own metric.
        k: Latents. Where there are more than n, the further ones are nothing.
    """
    n, size = features.shape
    level = 0.0 if gradients is None else float(np.sum(np.square(gradients, dtype=np.float64))) / gradients.size
    if gradients is None or level <= 0:
        gradients, ridge, level = np.zeros((1, size), np.float32), 1.0, 1.0
    slopes = gradients / np.float32(np.sqrt(len(gradients) * level))
    through = (slopes @ features.T).astype(np.float64)
    inner = (through.T @ through + ridge * (features @ features.T)) / n
    found = min(k, n)
    values, vectors = linalg.eigh(inner, subset_by_index=[n - found, n - 1])
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    held = values > _FLOOR * values[0]
    roots = np.where(held, np.sqrt(np.where(held, values, 1.0)), np.inf)  # nothing comes of the others
    decode = features.T.astype(np.float64) @ (vectors / roots) / np.sqrt(n)
    encode = (slopes.T @ (slopes @ decode)).T + ridge * decode.T
    spare = k - found
    return scaled(
        np.pad(encode, [(0, spare), (0, 0)]), np.pad(decode, [(0, 0), (0, spare)]), np.pad(values, (0, spare))
    )


def scaled(encode: np.ndarray, decode: np.ndarray, values: np.ndarray) -> LinearMap:
    """Gives the latents of a map, of the variances `values`, a sign and a scale.

    Signs are such that the element of each row of `encode` that is largest is positive. All latents cross the wire with
    one int8 scale, so they are brought nearer to each other: where their standard deviations were s_1 to s_k, they
    become sqrt(s_i / s_1). With equal ones, what the features lost by rounding before would be blown up in those that
    hardly vary; as they were, these would drown in the steps. Through int8 bundles of a VGG16 on glyphs, at four cuts
    and compressions, this changed the probabilities least.

    All together are then brought to the scale at which the weights of encoder and decoder are equally large. To int8
    it makes no difference, to training much: a step of Adam is as large for weights of 1e-5, to which features in the
    hundreds would lead, as for any others.
    """
    largest = np.take_along_axis(encode, np.abs(encode).argmax(axis=1)[:, None], axis=1)[:, 0]
    spread = (values[0] * np.maximum(values, _FLOOR * values[0])) ** 0.25 if values[0] > 0 else np.ones(len(values))
    scale = np.where(largest < 0, -1.0, 1.0) / spread
    encode, decode = encode * scale[:, None], decode / scale
    sizes = [float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))) for one in (encode, decode)]
    balance = math.sqrt(sizes[1] / sizes[0]) if min(sizes) > 0 else 1.0
    return LinearMap(encode * balance, decode / balance, values)


def leading(
    apply: Callable[[np.ndarray], np.ndarray], size: int, k: int, dtype: Any = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues of a symmetric matrix that has no negative ones, falling, and their eigenvectors.

    Some of a large matrix are found without forming it: a random block, wider than k, is multiplied by it a few times
    and made orthogonal in between, and the matrix is taken apart within what this block spans. What is lost against
    the exact eigenvectors are directions near the k-th, which count as much as those that are found in their place.

    Args:
        apply: The product of the matrix with `(size, n)`.
        size: Of the matrix.
        k: Eigenvalues wanted.
        dtype: In which to compute.

    Returns:
        `(k,)` and `(size, k)`.

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
        values, turn = linalg.eigh(block.T @ apply(block), subset_by_index=[width - k, width - 1])
        vectors = block @ turn
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _orthonormal(block: np.ndarray) -> np.ndarray:
    """Orthonormal columns of the same span, by Cholesky's factor of their products, twice.

    That is products of matrices for the most part, where Householder's way is many small steps: under load, with as
    many threads as cores, these took 30 times as long.
    """
    for _ in range(2):
        exact = block.astype(np.float64)
        products = exact.T @ exact
        products[np.diag_indices(len(products))] += 1e-14 * np.trace(products)
        factor = linalg.cholesky(products, lower=True)
        block = linalg.solve_triangular(factor, exact.T, lower=True).T.astype(block.dtype)
    return block


def lost_variance(covariance: np.ndarray, found: LinearMap) -> float:
    """E||x - decode encode x||^2 of a patch about the mean."""
    through = found.encode @ covariance
    kept = np.sum((found.decode.T @ found.decode) * (through @ found.encode.T))
    return max(float(np.trace(covariance) - 2 * np.sum(found.decode.T * through) + kept), 0.0)
