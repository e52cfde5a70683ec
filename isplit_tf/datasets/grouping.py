"""Groups of images that belong together, and splits that no group crosses."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left_out"


def join(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Join what pairs connect, directly or through others.

    Args:
        count: Number of items.
        pairs: Items that belong together.

    Returns:
        For each item the smallest item of its group.

    Example:
        >>> join(5, [(1, 3), (3, 4)])
        [0, 1, 2, 1, 1]
    """
    first = list(range(count))

    def find(item: int) -> int:
        while first[item] != item:
            first[item] = first[first[item]]
            item = first[item]
        return item

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        first[high] = low
    return [find(item) for item in range(count)]


def equal_pairs(values: Iterable) -> Iterable[tuple[int, int]]:
    """Pairs that connect all items of equal value; None equals nothing."""
    first: dict = {}
    for item, value in enumerate(values):
        if value is not None and first.setdefault(value, item) != item:
            yield first[value], item


def divide(
    groups: Sequence[int],
    labels: Sequence[str],
    keys: Sequence[str],
    *,
    shares: Mapping[str, float],
    is_test: Sequence[bool] | None = None,
) -> list[str]:
    """Put whole groups into splits, class by class.

    A group counts for the class of its smallest key. The groups of a class are gone through in the order of the
    SHA-256 of that key; each goes to the first split of `shares` that still has room for all of it, else to train.
    So nothing depends on the order of the images, and a group too large for a split does not fill it.

    Args:
        groups: The group of each image, `(N,)`.
        labels: The class of each image.
        keys: What stays the same for an image, or a group, in every copy of the data set: a name, say.
        shares: Split and its share of the images that are to be divided.
        is_test: Images whose split is test from the outset. Others of their groups are left out.

    Returns:
        For each image "train", "validation", "test" or "left_out".
    """
    members = defaultdict(list)
    for item, group in enumerate(groups):
        members[group].append(item)
    splits = [TRAIN] * len(groups)
    strata: dict[str, list[tuple[bytes, list[int]]]] = defaultdict(list)
    for items in members.values():
        if is_test is not None and any(is_test[item] for item in items):
            for item in items:
                splits[item] = TEST if is_test[item] else LEFT_OUT
            continue
        head = min(items, key=lambda item: keys[item])
        strata[labels[head]].append((hashlib.sha256(keys[head].encode()).digest(), items))
    for stratum in strata.values():
        total = sum(len(items) for _, items in stratum)
        room = {split: round(share * total) for split, share in shares.items()}
        for _, items in sorted(stratum):
            split = next((split for split, free in room.items() if free >= len(items)), TRAIN)
            if split in room:
                room[split] -= len(items)
            for item in items:
                splits[item] = split
    return splits
