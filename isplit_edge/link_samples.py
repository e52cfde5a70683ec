"""What was measured of a link, and the line through it."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from .link_fit import LinkFit, LinkPoint
from .times import Times, believable

# The bytes between which the way down is told: answers closer than that tell nothing.
_LEAST_BYTES = 256
PAYLOAD, STATE, SIGNATURES = "payload", "state", "signatures"
"""Kinds of requests: about a malformed payload, about the state of a model, about its signatures."""


@dataclasses.dataclass(eq=False)
class LinkSamples:
    """What was measured: kind of request, round, bytes sent, bytes received, seconds."""

    rows: list[tuple[str, int, int, int, float]] = dataclasses.field(default_factory=list)
    failures: int = 0

    def add(self, kind: str, round_: int, sent: int, received: int, seconds: float) -> None:
        """Keep a request."""
        self.rows.append((kind, round_, sent, received, seconds))

    def clean(self) -> int:
        """Leave out what no clock can have measured, and return how much that is."""
        good = [self.rows[k] for k in believable([row[-1] for row in self.rows])]
        dropped, self.rows = len(self.rows) - len(good), good
        return dropped

    def fit(self, url: str, scheme: str) -> LinkFit | None:
        """Fit the line; None where payloads of fewer than two sizes were answered."""
        served = [row for row in self.rows if row[0].startswith(PAYLOAD)]
        if len({row[2] for row in served}) < 2:
            return None
        down = self._down()
        up = slope([(row[1], row[2], row[4] - (down or 0) * row[3]) for row in served])
        rests = [row[4] - up * row[2] - (up if down is None else down) * row[3] for row in self.rows]
        of_served = [rest_s for row, rest_s in zip(self.rows, rests, strict=True) if row[0].startswith(PAYLOAD)]
        of_looks = [rest_s for row, rest_s in zip(self.rows, rests, strict=True) if row[0] == STATE]
        whole = max(0.0, float(np.median(of_served)))
        base = max(0.0, min(whole, float(np.median(of_looks)))) if of_looks else whole
        points = self._points()
        link = LinkFit(
            url=url,
            scheme=scheme,
            points=points,
            base_s=base,
            up_s_per_byte=up,
            down_s_per_byte=down,
            residual_s=0.0,
            p95_over_median=max(1.0, float(np.median([_tail(point.time) for point in points]))),
            served_s=whole - base,
            failures=self.failures,
        )
        distances = [
            abs(one.time.median_s - link.line_s(one.sent_bytes, one.received_bytes) - one.served * link.served_s)
            for one in points
        ]
        return dataclasses.replace(link, residual_s=float(np.median(distances)))

    def _down(self) -> float | None:
        """Return the seconds of a byte down, from the answers to looks, which differ in nothing else."""
        looks = [row for row in self.rows if row[0] in (STATE, SIGNATURES)]
        received = [row[3] for row in looks]
        if not looks or max(received) - min(received) < _LEAST_BYTES:
            return None
        return slope([(row[1], row[3], row[4]) for row in looks])

    def _points(self) -> tuple[LinkPoint, ...]:
        kinds: dict[str, list[tuple[str, int, int, int, float]]] = {}
        for row in self.rows:
            kinds.setdefault(row[0], []).append(row)
        return tuple(
            LinkPoint(
                sent_bytes=round(float(np.median([row[2] for row in rows]))),
                received_bytes=round(float(np.median([row[3] for row in rows]))),
                time=Times.of([row[4] for row in rows]),
                served=kind.startswith(PAYLOAD),
            )
            for kind, rows in kinds.items()
        )


def _tail(times: Times) -> float:
    return times.p95_s / times.median_s if times.median_s > 0 else 1.0


def slope(rows: Sequence[tuple[int, int, float]]) -> float:
    """Return the median slope of a line, each pair of points weighed by its distance; 0 where it would fall.

    Only points of the same round are compared (Theil and Sen's estimate), so that a link that changes slowly does not
    bend it, and no outlier does.

    Args:
        rows: Round, bytes and seconds of each point.
    """
    slopes, weights = [], []
    rounds: dict[int, list[tuple[int, float]]] = {}
    for round_, size, seconds in rows:
        rounds.setdefault(round_, []).append((size, seconds))
    for points in rounds.values():
        for k, (size, seconds) in enumerate(points):
            for other, others in points[:k]:
                if abs(size - other) > 0:
                    slopes.append((seconds - others) / (size - other))
                    weights.append(abs(size - other))
    if not slopes:
        return 0.0
    order = np.argsort(slopes)
    total = np.cumsum(np.asarray(weights, np.float64)[order])
    middle = int(np.searchsorted(total, total[-1] / 2))
    found = float(slopes[order[middle]])
    return found if math.isfinite(found) and found > 0 else 0.0
