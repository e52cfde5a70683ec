"""Selection of fonts for the data set and its splits: arithmetic on images, without files."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

SPLITS = ("train", "validation", "test")


def distances(images: np.ndarray) -> np.ndarray:
    """Return distances of fonts: the mean over letters of the root mean squared difference of the pixels.

    Args:
        images: uint8 (N, letters, H, W).

    Returns:
        float32 (N, N), from 0 (the same) to 1 (black against white everywhere).
    """
    count, letters = images.shape[:2]
    total = np.zeros((count, count), np.float64)
    for letter in range(letters):
        flat = images[:, letter].reshape(count, -1).astype(np.float64) / 255
        squares = (flat**2).sum(axis=1)
        gaps = np.maximum(squares[:, None] + squares[None] - 2 * flat @ flat.T, 0)
        total += np.sqrt(gaps / flat.shape[1])
    return (total / letters).astype(np.float32)


def join_designs(keys: Sequence[str], near: np.ndarray, limit: float) -> dict[str, str]:
    """Join families that hold the same design under different names.

    Two families are one design if any font of one is nearer than `limit` to any font of the other, or if they are
    connected through other families.

    Args:
        keys: Family of each font, (N,).
        near: Distances of the fonts, (N, N).
        limit: Largest distance of fonts of one design.

    Returns:
        For each family its design, named after the alphabetically first family of the design.
    """
    parent = {key: key for key in keys}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for first, second in zip(*np.nonzero(near < limit), strict=True):
        one, other = sorted((root(keys[first]), root(keys[second])))
        parent[other] = one
    return {key: root(key) for key in parent}


def spread(near: np.ndarray, count: int, gap: float) -> list[int]:
    """Choose at most `count` fonts of one design that differ as much as possible.

    The first is the font in the middle. Each further font is the farthest from those chosen, if it is at least `gap`
    away from them.

    Args:
        near: Distances of the design's fonts, (N, N).
        count: Largest number of fonts to choose.
        gap: Least distance between two chosen fonts.

    Returns:
        Positions of the chosen fonts, in the order of choice.
    """
    taken = [int(near.sum(axis=1).argmin())]
    while len(taken) < count:
        away = near[taken].min(axis=0)
        farthest = int(away.argmax())
        if away[farthest] < gap:
            break
        taken.append(farthest)
    return taken


def assign(sizes: Mapping[str, int], shares: Sequence[float] = (0.70, 0.15, 0.15)) -> dict[str, str]:
    """Assign each design to a split, by the number of its fonts.

    Designs are visited in the order of the hash of their names; each goes to the split that is least filled relative
    to its share.

    Args:
        sizes: Number of fonts of each design.
        shares: Intended share of the fonts for each of `SPLITS`.

    Returns:
        The split of each design.
    """
    filled = dict.fromkeys(SPLITS, 0)
    result = {}
    for design in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest()):
        split = min(SPLITS, key=lambda s: filled[s] / shares[SPLITS.index(s)])
        result[design] = split
        filled[split] += sizes[design]
    return result


def shared_images(images: np.ndarray, splits: Iterable[str]) -> list[int]:
    """Find fonts with an image that is identical to one in another split; the later split keeps its fonts.

    Args:
        images: uint8 (N, letters, H, W).
        splits: Split of each font, (N,).

    Returns:
        Positions of the fonts to leave out, in ascending order.
    """
    splits = list(splits)
    last: dict[bytes, int] = {}
    for font, letters in enumerate(images):
        rank = SPLITS.index(splits[font])
        for image in letters:
            key = image.tobytes()
            last[key] = max(rank, last.get(key, rank))
    return [
        font
        for font, letters in enumerate(images)
        if any(last[image.tobytes()] > SPLITS.index(splits[font]) for image in letters)
    ]
