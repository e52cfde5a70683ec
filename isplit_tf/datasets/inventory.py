"""Comparison of an archive with the original: a record beside the prepared data, and a summary in words."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from .archives import Archive
from .originals import WHOLE, Original
from .scanning import Picture, Scan

FORMAT_VERSION = 1
_NAMED = 5


def take_inventory(
    archive: Archive,
    scan: Scan,
    pictures: Sequence[Picture],
    splits: Sequence[str],
    *,
    original: Original | None,
    basis: str,
) -> dict[str, Any]:
    """Describe an archive as plain JSON.

    Args:
        archive: The archive.
        scan: The content of the archive.
        pictures: The labelled images.
        splits: The split of each labelled image.
        original: The published archive to compare with; None if it is not known which one applies.
        basis: How the original was determined, in words.

    Returns:
        `archive` (file, size_bytes, md5, sha256, is_original); `images` (their number); `parts` (images by part and
        class); `unlabelled` (images by part); `original` (the archive compared with, and how it was determined);
        `missing` and `extra` images compared with the original, by part; `unreadable` and `refused` (count, and the
        reason for each file); `elsewhere` (images of a second copy in the archive); `duplicates` (images with the same
        pixels); `splits` (images by split and class).
    """
    digests = archive.digests
    missing, extra = _compare(scan, pictures, original)
    return {
        "format_version": FORMAT_VERSION,
        "archive": {
            "file": archive.path.name,
            "size_bytes": digests.size_bytes,
            "md5": digests.md5,
            "sha256": digests.sha256,
            "is_original": original is not None and original.md5 == digests.md5,
        },
        "images": len(pictures),
        "parts": _count([(picture.part, str(picture.label)) for picture in pictures]),
        "unlabelled": dict(Counter(scan.unlabelled) + _parts(scan.pictures) - _parts(pictures)),
        "original": {"url": original.url if original else None, "told_by": basis},
        "missing": missing,
        "extra": extra,
        "unreadable": _named(scan.unreadable),
        "refused": _named(scan.refused),
        "elsewhere": scan.elsewhere,
        "duplicates": _duplicates(pictures),
        "splits": _count([(split, str(picture.label)) for split, picture in zip(splits, pictures, strict=True)]),
    }


def summarize(inventory: Mapping[str, Any]) -> str:
    """Return the differences from the original in words; an empty text if there are none.

    Args:
        inventory: The result of `take_inventory`, as in `builder.info.metadata`.
    """
    sentences = []
    for key, verb in (("missing", "missing"), ("extra", "too many")):
        for name, part in inventory[key].items():
            where = "" if name == WHOLE else f" in {name}"
            sentences.append(f"{part['images']:,} images {verb}{where}, where the original has {part['of']:,}")
    if inventory["original"]["url"] is None:
        sentences.append(f"which original it comes from is told by {inventory['original']['told_by']}")
    for key in ("unreadable", "refused"):
        entry = inventory[key]
        if entry["count"]:
            named = "; ".join(f"{name} ({why})" for name, why in list(entry["files"].items())[:_NAMED])
            more = f"; and {entry['count'] - _NAMED} more" if entry["count"] > _NAMED else ""
            sentences.append(f"{entry['count']:,} files {key}: {named}{more}")
    return ". ".join(sentences)


def _compare(
    scan: Scan, pictures: Sequence[Picture], original: Original | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Count by part the original's images that are missing, and the images that the original does not have."""
    missing: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if original is None:
        return missing, extra
    by_part: dict[str, Counter[str]] = defaultdict(Counter)
    for picture in pictures:
        by_part[picture.part][str(picture.label)] += 1
    for part, expected in original.images.items():
        if isinstance(expected, int):
            shortfall = {"": expected - by_part[part].total() - scan.unlabelled.get(part, 0)}
        else:
            shortfall = {label: count - by_part[part][label] for label, count in expected.items()}
        for entry, sign in ((missing, 1), (extra, -1)):
            counts = {label: sign * count for label, count in shortfall.items() if sign * count > 0}
            if counts:
                classes = {} if isinstance(expected, int) else {"classes": counts}
                total = expected if isinstance(expected, int) else sum(expected.values())
                entry[part] = {"images": sum(counts.values()), "of": total, **classes}
    return missing, extra


def _duplicates(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Describe the groups of images with the same pixels, and count those with several labels or parts."""
    items_by_digest: dict[bytes, list[int]] = defaultdict(list)
    for item, picture in enumerate(pictures):
        items_by_digest[picture.digest].append(item)
    groups = [items for items in items_by_digest.values() if len(items) > 1]
    return {
        "groups": len(groups),
        "images": sum(map(len, groups)),
        "surplus": sum(len(items) - 1 for items in groups),
        "with_several_labels": sum(len({pictures[item].label for item in items}) > 1 for items in groups),
        "across_parts": sum(len({pictures[item].part for item in items}) > 1 for items in groups),
        "files": sorted(sorted(pictures[item].name for item in items) for items in groups),
    }


def _parts(pictures: Sequence[Picture]) -> Counter[str]:
    return Counter(picture.part for picture in pictures)


def _named(reasons: Mapping[str, str]) -> dict[str, Any]:
    return {"count": len(reasons), "files": dict(sorted(reasons.items()))}


def _count(pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outer, inner in pairs:
        counts[outer][inner] += 1
    return {outer: dict(sorted(counts[outer].items())) for outer in sorted(counts)}
