"""Which points of a curve lead: its peaks, and the best of them."""

from collections.abc import Sequence

import numpy as np


def peak_positions(values: Sequence[float] | np.ndarray) -> list[int]:
    """Positions of the local maxima; a plateau counts by its first, the ends are none."""
    found = []
    k = 1
    while k < len(values) - 1:
        end = k
        while end + 1 < len(values) and values[end + 1] == values[k]:
            end += 1
        if end < len(values) - 1 and values[k - 1] < values[k] > values[end + 1]:
            found.append(k)
        k = end + 1
    return found


def best_position(values: np.ndarray, peaks: Sequence[int]) -> int:
    """Position of the highest peak; where there is none, of the highest value but the last."""
    if peaks:
        return max(peaks, key=lambda k: values[k])
    return int(np.argmax(values[:-1])) if len(values) > 1 else 0
