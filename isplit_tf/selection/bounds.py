"""Bounds on what a candidate may cost, and the orders in which candidates come."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ..display.tables import cell_text
from ..errors import ArgumentError, checked_integer, checked_share
from ..graph.cuts import Cut

RANKS = ("importance", "accuracy", "cheapest")
# What is above this share of the model's multiply-accumulates leaves little to a server.
HEAVY_SHARE = 0.7
# Accuracy that rank="cheapest" gives up for a cheaper head, unless `within` says otherwise.
WITHIN = 0.01


@dataclass(frozen=True)
class Bounds:
    """What a candidate has to keep and may cost; None for no bound. See `propose`."""

    min_accuracy: float | None = None
    max_payload_bytes: int | None = None
    max_head_macs: int | None = None
    max_head_share: float | None = None
    max_latency_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_accuracy", "max_head_share"):
            if (value := getattr(self, name)) is not None:
                checked_share(name, value)
        for name, least in (("max_payload_bytes", 1), ("max_head_macs", 0)):
            if (value := getattr(self, name)) is not None:
                checked_integer(name, value, least)

    def admits(self, candidate: Any) -> bool:
        """Check whether a candidate is within all bounds; a figure that is not known is not within a bound on it."""
        accuracy, payload = candidate.predicted_accuracy, candidate.payload_bytes
        latency = candidate.latency_s
        return (
            (self.min_accuracy is None or (accuracy is not None and accuracy >= self.min_accuracy))
            and (self.max_payload_bytes is None or (payload is not None and payload <= self.max_payload_bytes))
            and (self.max_head_macs is None or candidate.cut.head_macs <= self.max_head_macs)
            and (self.max_head_share is None or candidate.head_share <= self.max_head_share)
            and (self.max_latency_s is None or (latency is not None and latency <= self.max_latency_s))
        )

    def select(self, found: Sequence[Any]) -> list[Any]:
        """Return the candidates within the bounds, in their order.

        Raises:
            ArgumentError: If there is none; the message says what is possible.
        """
        if within := [candidate for candidate in found if self.admits(candidate)]:
            return within
        given = [f"{field.name}={value}" for field in fields(self) if (value := getattr(self, field.name)) is not None]
        highest = max((c.predicted_accuracy for c in found if c.predicted_accuracy is not None), default=None)
        smallest = min((c.payload_bytes for c in found if c.payload_bytes is not None), default=None)
        fastest = min((c.latency_s for c in found if c.latency_s is not None), default=None)
        shortest = "" if self.max_latency_s is None else f" The shortest latency is {cell_text(fastest)} s."
        raise ArgumentError(
            f"No cut is within {' and '.join(given)}. The highest predicted accuracy is {cell_text(highest)}, the "
            f"smallest payload {cell_text(smallest)} bytes, the smallest head "
            f"{min(c.cut.head_macs for c in found):,} multiply-accumulates, "
            f"{_percent(min(c.head_share for c in found))} of the model's.{shortest}"
        )


def share_of(macs: int, cut: Cut) -> float:
    """Return multiply-accumulates as a share of the whole model's; 0.0 for a model in which nothing was counted."""
    whole = cut.head_macs + cut.tail_macs
    return macs / whole if whole else 0.0


def heavy_warning(head_share: float, device_share: float) -> str | None:
    """Return a warning if the device computes most of the model, else None.

    Args:
        head_share: The multiply-accumulates of the head, as a share of the whole model's.
        device_share: The same of head and encoder together.
    """
    if device_share <= HEAVY_SHARE:
        return None
    taken = f"{_percent(device_share)} of the model's multiply-accumulates"
    if head_share > HEAVY_SHARE:
        return (
            f"head and encoder take {taken}, so that little is left for the server. Possible: max_head_share=0.5, or "
            "rank='cheapest'"
        )
    return f"head and encoder take {taken}, the head {_percent(head_share)}. encoder_share=0.1 bounds a projection's"


def by_accuracy(found: Iterable[Any]) -> list[Any]:
    """Return the candidates with a predicted accuracy, the highest first; of equal ones, the smaller payload.

    Raises:
        ArgumentError: If none has one.
    """
    predicted = [candidate for candidate in found if candidate.predicted_accuracy is not None]
    if not predicted:
        raise ArgumentError("The two curves have no cut in common: they seem to be of different models.")
    ranked = sorted(predicted, key=lambda c: (-c.predicted_accuracy, c.payload_bytes or 0, c.cut.index))
    return [
        replace(c, reason=f"predicted accuracy {place} of {len(ranked)}{'; a peak' if c.is_peak else ''}")
        for place, c in enumerate(ranked, 1)
    ]


def by_work(found: Iterable[Any], within: float) -> list[Any]:
    """Return first the candidates whose predicted accuracy is near the highest, the cheapest for the device first.

    Args:
        found: The candidates.
        within: The accuracy that they may fall behind the highest. The others follow, by accuracy.
    """
    ranked = by_accuracy(found)
    least = ranked[0].predicted_accuracy - within
    near = [c for c in ranked if c.predicted_accuracy >= least or math.isclose(c.predicted_accuracy, least)]
    cheapest = sorted(near, key=lambda c: c.device_macs)
    named = [
        replace(c, reason=f"head {place} of {len(near)} by work, within {within:g} of the best accuracy; {c.reason}")
        for place, c in enumerate(cheapest, 1)
    ]
    return named + ranked[len(near) :]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
