"""The seconds that something took, run again and again; intervals that no clock can have measured are left out."""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from . import schema
from .errors import ArgumentError
from .record import Record

# A second, and a hundred times the median: a machine that slept, not one that was busy.
_ABSURD_S, _ABSURD_TIMES = 1.0, 100.0
_SECONDS = schema.number(0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times(Record):
    """The seconds that something took.

    Attributes:
        n: How often it was measured; 0 for an estimate.
        median_s: The median.
        p95_s: The 95th percentile.
        mean_s: The mean.

    Example:
        >>> Times.of([0.010, 0.011, 0.012]).median_s
        0.011
    """

    n: int
    median_s: float
    p95_s: float
    mean_s: float

    RULES: ClassVar = {"n": schema.integer(0), "median_s": _SECONDS, "p95_s": _SECONDS, "mean_s": _SECONDS}

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times":
        """Summarize measured intervals, at least one.

        Raises:
            ArgumentError: If there is none.
        """
        if not len(seconds):
            raise ArgumentError("There is no interval to summarize: nothing was measured.")
        values = np.asarray(seconds, np.float64)
        median, p95 = np.percentile(values, [50, 95])
        return cls(n=len(values), median_s=float(median), p95_s=float(p95), mean_s=float(values.mean()))

    @classmethod
    def estimate(cls, seconds: float) -> "Times":
        """Return times that were not measured: every one is `seconds`."""
        return cls(n=0, median_s=seconds, p95_s=seconds, mean_s=seconds)


def believable(seconds: Sequence[float]) -> list[int]:
    """Return which intervals a clock can have measured, by their positions.

    Left out are those that are negative or no numbers, as when a clock is set back, and those of over a second that are
    a hundred times the median, as when the machine was suspended.
    """
    finite = [k for k, one in enumerate(seconds) if math.isfinite(one) and one >= 0]
    if not finite:
        return []
    limit = max(_ABSURD_S, _ABSURD_TIMES * float(np.median([seconds[k] for k in finite])))
    return [k for k in finite if seconds[k] <= limit]


def drift(relative: Sequence[float]) -> float:
    """Return the median of the last tenth over that of the first tenth; 1 where there are under ten values.

    Args:
        relative: Intervals in the order of the measurement, each over the median of its kind.
    """
    tenth = len(relative) // 10
    if not tenth:
        return 1.0
    first, last = float(np.median(relative[:tenth])), float(np.median(relative[-tenth:]))
    return last / first if first > 0 and last > 0 else 1.0
