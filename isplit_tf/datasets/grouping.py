"""Groups of images that belong together, and splits that keep each group whole."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left_out"


def join(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Join items into groups of directly or indirectly connected items.

    Args:
        count: Number of items.
        pairs: Pairs of items that belong together.

    Returns:
        For each item, the smallest item of its group.

    Example:
        >>> join(5, [(1, 3), (3, 4)])
        [0, 1, 2, 1, 1]
    """
    parents = list(range(count))

    def find(item: int) -> int:
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        parents[high] = low
    return [find(item) for item in range(count)]


def equal_pairs(values: Iterable) -> Iterable[tuple[int, int]]:
    """Yield pairs that connect all items of equal value; None equals nothing."""
    first_items: dict = {}
    for item, value in enumerate(values):
        if value is not None and first_items.setdefault(value, item) != item:
            yield first_items[value], item


def divide(
    groups: Sequence[int],
    labels: Sequence[str],
    keys: Sequence[str],
    *,
    shares: Mapping[str, float],
    is_test: Sequence[bool] | None = None,
) -> list[str]:
    """Assign whole groups to splits, class by class.

    A group counts for the class of its smallest key. The groups of a class are visited in the order of the SHA-256 of
    that key. Each is put into the first split of `shares` that has room for the whole group, or else into train.
    So the result does not depend on the order of the images, and no split takes a group that is too large for it.

    Args:
        groups: The group of each image, `(N,)`.
        labels: The class of each image.
        keys: For each image a key that is the same in every copy of the data set, such as its name. Images of a group
            may share a key.
        shares: Share of each split, of the images without a fixed split.
        is_test: Whether the image belongs to the original's test set. Such images stay in test; other images of their
            groups are left out.

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
        representative = min(items, key=lambda item: keys[item])
        strata[labels[representative]].append((hashlib.sha256(keys[representative].encode()).digest(), items))
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
