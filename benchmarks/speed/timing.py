"""Timing of two calls in alternation, so that other load on the machine affects both."""

import statistics
import time
from collections.abc import Callable


def taking_turns(one: Callable[[], object], other: Callable[[], object], *, repeats: int, warm_up: int = 2) -> dict:
    """Time two calls in alternation, and compute the ratio of the second to the first for each pair.

    Returns:
        Medians in seconds, the median ratio and its quartiles.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + warm_up):
        for side, call in zip(times, (one, other), strict=True):
            start = time.perf_counter()
            call()
            if turn >= warm_up:
                side.append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "first_s": statistics.median(times[0]),
        "second_s": statistics.median(times[1]),
        "ratio": statistics.median(ratios),
        "quartiles": [low, high],
    }


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
