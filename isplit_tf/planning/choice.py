"""The choice among the options of a plan: what keeps the bounds, the best of it, or the nearest and what it fails."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isplit_edge import schema

from ..errors import ArgumentError, PlanError
from .option import KINDS, Option

TIE = 0.05
"""Options whose latencies differ by no more than this share count as equally fast; the simpler one is then taken."""
GIVEN_UP = 0.01
"""The accuracy below the highest one that may be given up where no least accuracy is asked for."""
# What a bound such as `original - 0.01` may be off by.
_ROUNDING = 1e-9

_BOUNDS = {
    "min_accuracy": schema.number(0, 1),
    "max_latency_s": schema.number(above=0),
    "max_energy_j": schema.number(above=0),
    "max_head_bytes": schema.integer(0),
    "max_payload_bytes": schema.integer(0),
    "min_frames_s": schema.number(above=0),
}
_VALUES = {
    "min_accuracy": "accuracy",
    "max_latency_s": "latency_s",
    "max_energy_j": "energy_j",
    "max_head_bytes": "device_bytes",
    "max_payload_bytes": "mean_bytes",
    "min_frames_s": "frames_s",
}


@dataclass(frozen=True)
class Miss:
    """A bound that an option fails.

    Attributes:
        bound: Its name.
        limit: What was asked for.
        found: What the option has; None where it is not known.
    """

    bound: str
    limit: float
    found: float | None

    @property
    def share(self) -> float:
        """Return by how much of the bound it is missed; 1 where the value is not known."""
        if self.found is None:
            return 1.0
        return abs(self.found - self.limit) / max(abs(self.limit), abs(self.found), 1e-300)

    def __str__(self) -> str:
        found = "not known" if self.found is None else f"{self.found:,.4g}"
        return f"{_VALUES[self.bound]} is {found}, {self.bound}={self.limit:,.4g}"


def checked_bounds(bounds: Mapping[str, Any]) -> dict[str, float]:
    """Return the bounds that are given.

    Raises:
        ArgumentError: If one is not possible.
    """
    return {name: _BOUNDS[name](name, value) for name, value in bounds.items() if value is not None}


def misses(option: Option, bounds: Mapping[str, float]) -> list[Miss]:
    """Return the bounds that an option fails; a value that is not known fails its bound."""
    found = []
    for name, limit in bounds.items():
        value = getattr(option, _VALUES[name])
        slack = _ROUNDING * abs(limit)
        if value is None or (value < limit - slack if name.startswith("min") else value > limit + slack):
            found.append(Miss(name, limit, value))
    return found


def choose(options: Sequence[Option], bounds: Mapping[str, float], kind: str | None = None) -> Option:
    """Return the fastest option within the bounds, the simpler one of a tie.

    Args:
        options: To choose from.
        bounds: As `checked_bounds` gives them. Without `min_accuracy`, an option may keep at most `GIVEN_UP` less than
            the most accurate one within the other bounds.
        kind: Look at options of this kind alone.

    Raises:
        ArgumentError: If the kind is none.
        PlanError: If no option keeps the bounds; it names the nearest one and what this one fails.
    """
    if kind not in (None, *KINDS):
        raise ArgumentError(f"kind: expected one of {', '.join(map(repr, KINDS))}, or None. Received: {kind!r}")
    if "max_energy_j" in bounds and all(option.energy_j is None for option in options):
        raise ArgumentError(
            "max_energy_j: the plan has no energies, since no watts were given. Plan with watts={'compute': ..., "
            "'send': ..., 'wait': ...} of the device."
        )
    known = [option for option in options if option.accuracy is not None and kind in (None, option.kind)]
    if not known:
        raise PlanError(
            f"The plan has no {'option' if kind is None else repr(kind) + ' option'} whose accuracy is known. It has: "
            + ", ".join(sorted({option.kind for option in options}) or ["none"])
        )
    within = [option for option in known if not misses(option, bounds)]
    if not within:
        raise _nothing(known, bounds)
    if "min_accuracy" not in bounds:
        least = max(option.accuracy or 0.0 for option in within) - GIVEN_UP
        within = [option for option in within if (option.accuracy or 0.0) >= least - _ROUNDING]
    return _fastest(within)


def _fastest(options: Sequence[Option]) -> Option:
    """Return the fastest, or a simpler one that is about as fast and not surely less accurate."""
    first = min(options, key=lambda option: (option.latency_s, _simplicity(option)))
    ties = [
        option
        for option in options
        if option.latency_s <= (1 + TIE) * first.latency_s
        and KINDS.index(option.kind) < KINDS.index(first.kind)
        and not surely_less(option, first)
    ]
    return min(ties, key=_simplicity) if ties else first


def _simplicity(option: Option) -> tuple[int, float]:
    return KINDS.index(option.kind), option.latency_s


def surely_less(option: Option, other: Option) -> bool:
    """Return whether an option is less accurate than another one by more than their intervals leave open."""
    if option.accuracy is None or other.accuracy is None:
        return option.accuracy is None and other.accuracy is not None
    if option.accuracy_interval is None or other.accuracy_interval is None:
        return option.accuracy < other.accuracy
    return option.accuracy_interval[1] < other.accuracy_interval[0]


def _nothing(options: Sequence[Option], bounds: Mapping[str, float]) -> PlanError:
    def miss(option: Option) -> tuple[float, float]:
        return math.fsum(one.share for one in misses(option, bounds)), option.latency_s

    nearest = min(options, key=miss)
    fails = misses(nearest, bounds)
    asked = ", ".join(f"{name}={limit:,.4g}" for name, limit in bounds.items())
    return PlanError(
        f"No option keeps {asked}. The nearest is '{nearest.name}': {'; '.join(map(str, fails))}.",
        nearest=nearest,
        fails=tuple(fails),
    )
