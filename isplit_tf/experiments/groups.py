"""Groups of classes whose own curves peak at the same place (Fig. 8)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..importance.statistics import best_position, peak_positions

_SEED = 0


@dataclass(frozen=True)
class ClassGroups:
    """Groups of classes by the cut where their own curves peak.

    Attributes:
        peaks: The two places where most classes peak, the more frequent first; empty if there are no two.
        groups: Classes by the group's name: those of `first` and `second` peak at the first and second place, those
            of `random_a` and `random_b` are drawn at random. All groups have the same size.
        counts: How many classes peak at each place.
    """

    peaks: tuple[int, ...]
    groups: dict[str, tuple[int, ...]]
    counts: dict[int, int]


def best_positions(per_class: np.ndarray) -> list[int | None]:
    """Return the highest peak of each class's curve `(n_classes, n_cuts)`; None for a curve without a peak."""
    positions: list[int | None] = []
    for values in per_class:
        peaks = peak_positions(values) if np.all(np.isfinite(values)) else []
        positions.append(best_position(values, peaks) if peaks else None)
    return positions


def class_groups(per_class: np.ndarray) -> ClassGroups:
    """Group the classes that peak at the two most frequent places.

    Args:
        per_class: `(n_classes, n_cuts)`: the curve of each class.

    Returns:
        Groups of the size of the smaller of the two. From the larger, the classes are taken whose peak stands out
        most. No groups if all classes peak at one place.
    """
    best = best_positions(per_class)
    counts = Counter(place for place in best if place is not None)
    ranked = sorted(counts, key=lambda place: (-counts[place], place))[:2]
    if len(ranked) < 2:
        return ClassGroups((), {}, dict(counts))
    size = counts[ranked[1]]
    members = {}
    for name, place, other_place in (("first", ranked[0], ranked[1]), ("second", ranked[1], ranked[0])):
        own = [k for k, peak in enumerate(best) if peak == place]
        lead = {k: per_class[k, place] - per_class[k, other_place] for k in own}
        members[name] = tuple(sorted(sorted(own, key=lambda k: -lead[k])[:size]))
    rng = np.random.default_rng(_SEED)
    for name in ("random_a", "random_b"):
        members[name] = tuple(sorted(rng.choice(len(per_class), size, replace=False).tolist()))
    return ClassGroups(tuple(ranked), members, dict(counts))


def own_peak_effect(accuracy: Mapping[str, Mapping[str, Mapping[str, Any]]], cuts: Sequence[str]) -> dict[str, float]:
    """Compare how much accuracy groups keep where their own classes peak, less the difference common to all groups.

    Args:
        accuracy: By group and name of the cut: `accuracy`, a fraction.
        cuts: Where the first and the second group peak.

    Returns:
        Differences of accuracy in points. `first`, `second`: the group's accuracy at its own place minus that at the
        other group's place. `groups`: the accuracy at the first place minus that at the second, of the first group
        minus the same of the second group. `random`: the same for the two random groups, without a sign. Empty until
        everything is measured.
    """
    here, there = cuts
    lead = {
        name: 100 * (cells[here]["accuracy"] - cells[there]["accuracy"])
        for name, cells in accuracy.items()
        if here in cells and there in cells
    }
    if not lead.keys() >= {"first", "second", "random_a", "random_b"}:
        return {}
    return {
        "first": lead["first"],
        "second": -lead["second"],
        "groups": lead["first"] - lead["second"],
        "random": abs(lead["random_a"] - lead["random_b"]),
    }
