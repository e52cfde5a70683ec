"""How many bytes a payload may have on a link that changes, told from what earlier requests took.

Pure arithmetic: no clock, no socket. The time to an answer is taken as `base + bytes / rate`, times a disturbance. What
is believed of base, rate and disturbance is a weight for each cell of a grid. An answer moves the weight to the cells
that explain it, a time-out to those that would have been late, and time spreads it again: a recursive Bayesian filter
(a histogram filter; Thrun, Burgard and Fox, Probabilistic Robotics, 2005, section 4.1). The bytes chosen are those of
the highest accuracy times chance to be back in time.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .form import PayloadForm

# Beyond so many scales the logistic functions are as good as 0 or 1.
_FAR = 30.0
# Neighbouring rungs differ by this factor at most, neighbouring rates and bases of the grid by about the others.
_RUNG, _RATE, _BASE = 1.2, 1.3, 1.2
# Scales of the logistic disturbance of a time's logarithm: a steady link, a usual one, a restless one.
_SCALES = np.array([0.04, 0.12, 0.36])
# Rate and base wander to a neighbour within such a time; and the link becomes another one, as in a handover.
_WANDER_S, _SETTLED_S, _ANOTHER_S = 1.0, 5.0, 20.0
# A link that was not seen for so long may be any, and is tried.
_KNOWN_S = 60.0
# What one answer says is doubted so far: single delays have causes beside the link.
_DOUBT = 0.02
# Another rung is only taken if it is better by this factor.
_BETTER = 1.01
# What is worth a smaller share of the largest payload's accuracy is too late.
_LATE = 0.5
# Without measured accuracies a payload is worth its share of the mean one, down to a quarter of it.
_LEAST_SHARE = 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class Ladder:
    """The sizes of payload among which a choice is made, from small to large.

    Attributes:
        bounds: (K,) int64, the most bytes of a payload.
        sizes: (K,) float64, the bytes that nearly all payloads need under this bound.
        worth: (K,) float64 from 0 to 1, the accuracy under this bound; it nowhere falls.
    """

    bounds: np.ndarray
    sizes: np.ndarray
    worth: np.ndarray

    @classmethod
    def of(cls, form: PayloadForm, rates: Sequence[Mapping[str, Any]] | None) -> "Ladder":
        """Make the ladder of a bundle.

        Args:
            form: The form of its payloads; those that are not coded have one size.
            rates: What the manifest says was measured at several bounds; without it more bytes count as better in
                proportion.
        """
        if form.max_payload_bytes is None:
            one = np.array([form.payload_bytes])
            return cls(one, one.astype(np.float64), np.ones(1))
        if rates:
            rows = sorted((row["payload_bytes"], row["p95_bytes"], row["accuracy"]) for row in rates)
        else:
            mean = form.payload_bytes
            rows = [(max(1, int(_LEAST_SHARE * mean)), _LEAST_SHARE * mean, _LEAST_SHARE), (mean, float(mean), 1.0)]
        bounds, sizes, worth = (np.array(column, np.float64) for column in zip(*rows, strict=True))
        bounds, sizes = np.maximum(bounds, 1), np.maximum(sizes, 1)
        pairs = [(low, high) for low, high in itertools.pairwise(bounds) if high > low]
        steps = [np.geomspace(low, high, 1 + math.ceil(math.log(high / low, _RUNG))) for low, high in pairs]
        rungs = np.unique(np.rint(np.concatenate([*steps, bounds])).astype(np.int64))
        found = np.interp(rungs, bounds, np.maximum.accumulate(worth))
        return cls(rungs, np.minimum(rungs, np.interp(rungs, bounds, sizes)), found)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was chosen for one request.

    Attributes:
        payload_bytes: The most bytes of each of its payloads.
        chance: How probable it is that the answer comes in time, from 0 to 1.
        expected_s: Seconds to the answer, the middle of what is believed.
        late: Whether even this choice is worth less than half of an answer to the largest payload, by accuracy times
            chance; False where nothing was seen of the link for a minute.
        reason: All this in words.
    """

    payload_bytes: int
    chance: float
    expected_s: float
    late: bool
    reason: str


class Pace:
    """A filter that believes something of the link, and chooses the bytes of the next payloads.

    Args:
        ladder: The sizes that are possible.
        deadline_s: About the time that there is for an answer, in seconds; it sets the limits of the grid.

    Example:
        ```python
        pace = Pace(Ladder.of(manifest.form, manifest.rates), deadline_s=0.1)
        choice = pace.choose(images=1, left_s=0.08, now_s=0.0)
        pace.observe(sent_bytes=choice.payload_bytes, took_s=0.05, now_s=0.05)
        ```
    """

    def __init__(self, ladder: Ladder, deadline_s: float):
        self.ladder = ladder
        slowest, fastest = ladder.sizes[0] / (4 * deadline_s), ladder.sizes[-1] / (0.002 * deadline_s)
        rates = np.geomspace(slowest, fastest, 1 + math.ceil(math.log(fastest / slowest, _RATE)))
        bases = np.geomspace(0.02 * deadline_s, 1.5 * deadline_s, 1 + math.ceil(math.log(75, _BASE)))
        self._rate, self._base = rates[:, np.newaxis], bases
        self._unknown = np.full((len(_SCALES), len(rates), len(bases)), 1 / (len(_SCALES) * len(rates) * len(bases)))
        self._weight, self._now_s, self._seen_s = self._unknown, -math.inf, -math.inf
        self._rung = len(ladder.bounds) - 1

    def choose(self, images: int, left_s: float, now_s: float, most_bytes: int | None = None) -> Choice:
        """Choose the bytes of each payload of a request.

        Args:
            images: How many payloads the request carries.
            left_s: Seconds until its answer has to be there.
            now_s: The time, in seconds of any clock that does not jump back.
            most_bytes: A bound that the payloads must not exceed; below the smallest rung it is the choice itself.
        """
        self._forget(now_s)
        ladder = self.ladder
        possible = len(ladder.bounds)
        if most_bytes is not None:
            possible = max(1, int(np.searchsorted(ladder.bounds, most_bytes, side="right")))
        sizes = images * ladder.sizes[:possible]
        chances = np.array([self._chance(size, left_s) for size in sizes])
        values = ladder.worth[:possible] * chances
        rung, best = min(self._rung, possible - 1), int(values.argmax())
        if values[best] > _BETTER * values[rung]:
            rung = best
        self._rung = rung
        bound, chance = int(ladder.bounds[rung]), float(chances[rung])
        bound = bound if most_bytes is None else min(bound, most_bytes)
        expected_s = self._middle(sizes[rung])
        reason = (
            f"at most {bound} bytes: about {1000 * expected_s:.0f} ms to the answer, {1000 * left_s:.0f} ms are left, "
            f"a chance of {chance:.0%}"
        )
        known = now_s - self._seen_s < _KNOWN_S
        late = known and bool(values[rung] < _LATE * ladder.worth[possible - 1])
        return Choice(bound, chance, expected_s, late, reason)

    def observe(self, sent_bytes: float, took_s: float, now_s: float, *, answered: bool = True) -> None:
        """Learn from a request.

        Args:
            sent_bytes: The bytes of its payloads.
            took_s: Seconds from sending to the answer, or until the wait for it was given up.
            now_s: The time, on the clock of `choose`.
            answered: Whether an answer came.
        """
        self._forget(now_s)
        if not took_s > 0:
            return
        self._seen_s = now_s
        off = self._off(took_s, sent_bytes)
        likely = _density(off) / _SCALES[:, np.newaxis, np.newaxis] if answered else _share_below(-off)
        weight = self._weight * (likely + _DOUBT * likely.max())
        self._weight = weight / weight.sum()

    def _forget(self, now_s: float) -> None:
        """Spread the weight for the time since the last call."""
        passed_s, self._now_s = now_s - self._now_s, now_s
        if math.isinf(passed_s) or passed_s <= 0:
            return
        weight = _spread(self._weight, 1, 1 - math.exp(-passed_s / _WANDER_S))
        weight = _spread(weight, 2, 1 - math.exp(-passed_s / _SETTLED_S))
        other = 1 - math.exp(-passed_s / _ANOTHER_S)
        self._weight = (1 - other) * weight + other * self._unknown

    def _log_times(self, n_bytes: float) -> np.ndarray:
        return np.log(self._base + n_bytes / self._rate)

    def _chance(self, n_bytes: float, left_s: float) -> float:
        return float((self._weight * _share_below(self._off(left_s, n_bytes))).sum()) if left_s > 0 else 0.0

    def _off(self, time_s: float, n_bytes: float) -> np.ndarray:
        """Return how many scales of each cell a time is above the one that the cell expects."""
        off = (math.log(time_s) - self._log_times(n_bytes)) / _SCALES[:, np.newaxis, np.newaxis]
        return np.clip(off, -_FAR, _FAR, dtype=np.float32, casting="same_kind")

    def _middle(self, n_bytes: float) -> float:
        times, weight = self._log_times(n_bytes).ravel(), self._weight.sum(axis=0).ravel()
        order = times.argsort()
        return math.exp(times[order][int(np.searchsorted(weight[order].cumsum(), 0.5))])


def _share_below(off: np.ndarray) -> np.ndarray:
    """Return the logistic distribution's share below a value."""
    return 1 / (1 + np.exp(-off))


def _density(off: np.ndarray) -> np.ndarray:
    return _share_below(off) * _share_below(-off)


def _spread(weight: np.ndarray, axis: int, share: float) -> np.ndarray:
    """Move a share of each weight to its two neighbours along an axis; at the ends it stays."""
    moved = np.moveaxis(weight, axis, 0)
    up, down = np.concatenate([moved[:1], moved[:-1]]), np.concatenate([moved[1:], moved[-1:]])
    return np.moveaxis((1 - share) * moved + share / 2 * (up + down), 0, axis)
