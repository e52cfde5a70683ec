"""The arithmetic of a plan: sums of times that vary, interpolation, the Pareto front and the envelope. Arrays only."""

from collections.abc import Sequence

import numpy as np

DRAWS = 4096
# How many standard deviations above the mean the 95th percentile of a normal distribution is.
_Z95 = 1.6448536269514722


def spread_of(median: float, p95: float) -> float:
    """Return the sigma of the lognormal distribution with this median and 95th percentile; 0 where there is none.

    Example:
        >>> spread_of(0.01, 0.01)
        0.0
    """
    return float(np.log(p95 / median) / _Z95) if 0 < median < p95 else 0.0


def draw_times(median: float, p95: float, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """Draw times of one part, lognormal through its median and its 95th percentile.

    Args:
        median: Seconds.
        p95: Seconds.
        rng: The source of randomness.
        draws: How many.

    Returns:
        float64 `(draws,)`.
    """
    return median * np.exp(spread_of(median, p95) * rng.standard_normal(draws))


def draw_states(shares: np.ndarray, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """Draw states of a link, each as often as its share says, in random order.

    Args:
        shares: `(S,)`, which add up to 1.
        rng: The source of randomness.
        draws: How many.

    Returns:
        int64 `(draws,)`, from 0 to S - 1.
    """
    at = (np.arange(draws) + 0.5) / draws
    states = np.searchsorted(np.cumsum(shares), at, side="right")
    return rng.permutation(np.minimum(states, len(shares) - 1))


def middle_state(seconds: np.ndarray, shares: np.ndarray) -> int:
    """Return the state whose time is the median over all the time, `(S,)` seconds and shares.

    Example:
        >>> middle_state(np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.2, 0.6]))
        2
    """
    order = np.argsort(seconds, kind="stable")
    passed = np.cumsum(shares[order])
    return int(order[np.searchsorted(passed, 0.5 * passed[-1] - 1e-12)])


def interpolate(at: float, points: Sequence[tuple[float, float]]) -> float:
    """Return the value at a place between points, level beyond the last; values are made to rise with the place.

    Args:
        at: The place, such as multiply-accumulates.
        points: Pairs of place and value, in any order; at least one.

    Example:
        >>> interpolate(150, [(100, 1.0), (200, 3.0)])
        2.0
    """
    ordered = np.array(sorted(points), np.float64)
    return float(np.interp(at, ordered[:, 0], np.maximum.accumulate(ordered[:, 1])))


def shift_along(own: float, at: float, to: float, points: Sequence[tuple[float, float]]) -> float:
    """Return a measured value moved from one place to another, by as much as the points between rise.

    Args:
        own: The value measured at `at`.
        at: Its place.
        to: Where the value is wanted.
        points: Pairs of place and value.

    Returns:
        `own` itself where both places are the same; never less than 0.
    """
    return own if at == to else max(0.0, own + interpolate(to, points) - interpolate(at, points))


def pareto_front(accuracy: np.ndarray, latency: np.ndarray) -> list[int]:
    """Return the options that no other is better than: none has at least their accuracy in less time.

    Args:
        accuracy: `(n,)`; NaN is never on the front.
        latency: `(n,)` seconds.

    Returns:
        Their positions, from fast to slow; of equal ones the first.
    """
    front: list[int] = []
    for k in np.lexsort((np.arange(len(latency)), -np.nan_to_num(accuracy, nan=-1.0), latency)).tolist():
        if not np.isnan(accuracy[k]) and (not front or accuracy[k] > accuracy[front[-1]]):
            front.append(k)
    return front


def lower_envelope(fixed: np.ndarray, slopes: np.ndarray) -> list[tuple[float, int]]:
    """Return which of the lines `fixed + slope * x` is lowest, from x = 0 on.

    Args:
        fixed: `(n,)`, at x = 0.
        slopes: `(n,)`, of at least 0.

    Returns:
        Pairs of the x from which a line is lowest and its position, with rising x; the first x is 0. Of equal lines
        the first is taken.

    Example:
        >>> lower_envelope(np.array([1.0, 3.0]), np.array([2.0, 0.0]))
        [(0.0, 0), (1.0, 1)]
    """
    current = int(np.lexsort((np.arange(len(fixed)), slopes, fixed))[0])
    found = [(0.0, current)]
    while True:
        flatter = np.flatnonzero(slopes < slopes[current])
        if not len(flatter):
            return found
        crossings = (fixed[flatter] - fixed[current]) / (slopes[current] - slopes[flatter])
        best = np.lexsort((flatter, slopes[flatter], crossings))[0]
        current = int(flatter[best])
        found.append((max(float(crossings[best]), found[-1][0]), current))
