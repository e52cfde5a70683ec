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
    """What `class_groups` found.

    Attributes:
        peaks: The two places where most classes peak, the more frequent first.
        groups: Classes by the group's name: `first` and `second` peak at the first and second place, `random_a`
            and `random_b` are as many at random; all of the same size.
        counts: How many classes peak at each place.
    """

    peaks: tuple[int, ...]
    groups: dict[str, tuple[int, ...]]
    counts: dict[int, int]


def best_positions(per_class: np.ndarray) -> list[int | None]:
    """The highest peak of each class's curve `(n_classes, n_cuts)`; None where it has none."""
    found: list[int | None] = []
    for values in per_class:
        peaks = peak_positions(values) if np.all(np.isfinite(values)) else []
        found.append(best_position(values, peaks) if peaks else None)
    return found


def class_groups(per_class: np.ndarray) -> ClassGroups:
    """Groups for the two places where most classes peak.

    Args:
        per_class: `(n_classes, n_cuts)`.

    Returns:
        Groups as large as the smaller of the two allows; the classes of the larger whose peak stands out most. None
        where all classes peak at one place.
    """
    best = best_positions(per_class)
    counts = Counter(place for place in best if place is not None)
    ranked = sorted(counts, key=lambda place: (-counts[place], place))[:2]
    if len(ranked) < 2:
        return ClassGroups((), {}, dict(counts))
    size = counts[ranked[1]]
    members = {}
    for name, place, other in (("first", ranked[0], ranked[1]), ("second", ranked[1], ranked[0])):
        own = [k for k, found in enumerate(best) if found == place]
        lead = {k: per_class[k, place] - per_class[k, other] for k in own}
        members[name] = tuple(sorted(sorted(own, key=lambda k: -lead[k])[:size]))
    rng = np.random.default_rng(_SEED)
    for name in ("random_a", "random_b"):
        members[name] = tuple(sorted(rng.choice(len(per_class), size, replace=False).tolist()))
    return ClassGroups(tuple(ranked), members, dict(counts))


def own_peak_effect(accuracy: Mapping[str, Mapping[str, Mapping[str, Any]]], cuts: Sequence[str]) -> dict[str, float]:
    """Whether a group keeps more where its own classes peak, once what all groups share is taken off.

    Args:
        accuracy: By group and name of the cut: `accuracy`, a fraction.
        cuts: Where the first and the second group peak.

    Returns:
        `first`, `second`: what each keeps more at its own place than at the other's, in points. `groups`: by how
        many points the two differ in what the first place keeps more than the second. `random`: the same for the
        two random groups, without a sign. Empty until everything is measured.
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
