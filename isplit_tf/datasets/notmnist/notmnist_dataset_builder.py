"""notMNIST for TensorFlow Datasets."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from ..archive_builder import ArchiveBuilder
from ..grouping import TEST, VALIDATION, equal_pairs, join
from ..nearness import near_pairs
from ..originals import WHOLE, Original
from ..scanning import Layout, Picture, Place

CLASSES = tuple("ABCDEFGHIJ")
SHAPE = (28, 28)
NEAR_LEVELS = 12.0
"""Largest root mean square difference, in grey levels from 0 to 255, at which two images are near duplicates."""

_PATH = re.compile(r"(?P<root>(?:.+/)?)(?P<label>[A-J])/[^/]+\.png", re.IGNORECASE)
_URL = "http://yaroslavvb.com/upload/notMNIST/notMNIST_{}.tar.gz"


class Builder(ArchiveBuilder):
    """The letters A to J in many fonts, 28x28 pixels, grey."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="small", description="18,724 images, cleaned by hand."),
        tfds.core.BuilderConfig(name="large", description="529,114 images, not cleaned."),
    ]
    ORIGINALS: ClassVar = {
        "small": Original(
            url=_URL.format("small"),
            size_bytes=8_458_043,
            md5="c9890a473a9769fda4bdf314aaf500dd",
            images={WHOLE: 18_724},
        ),
        "large": Original(
            url=_URL.format("large"),
            size_bytes=247_336_696,
            md5="70a95b805ecfb6592c48e196df7c1499",
            images={WHOLE: 529_114},
        ),
    }
    SHARES: ClassVar = {TEST: 0.2, VALIDATION: 0.1}

    @classmethod
    def layout(cls) -> Layout:
        return Layout(locate=_locate, channels=1, shape=SHAPE, keep_pixels=True)

    def original_of(self, root: str) -> tuple[Original | None, str]:
        if self.builder_config.name in self.ORIGINALS:
            return super().original_of(root)
        for name, original in self.ORIGINALS.items():
            if f"notmnist_{name}/" in root.lower():
                return original, f"the name of its folder, {root.rstrip('/')}"
        return None, "nothing: its folder is not named notMNIST_small or notMNIST_large"

    def group(self, pictures: Sequence[Picture]) -> tuple[list[int], dict[str, Any]]:
        digests = [picture.digest for picture in pictures]
        first_items = {digest: item for item, digest in reversed(list(enumerate(digests)))}
        distinct = sorted(first_items.values())
        pixels = np.stack([np.asarray(pictures[item].pixels)[..., 0] for item in distinct])
        counts: Counter[str] = Counter(pairs=0, with_several_labels=0)

        def near() -> Iterator[tuple[int, int]]:
            for i, j in near_pairs(pixels, NEAR_LEVELS):
                a, b = distinct[i], distinct[j]
                counts["pairs"] += 1
                counts["with_several_labels"] += pictures[a].label != pictures[b].label
                yield a, b

        groups = join(len(pictures), chain(equal_pairs(digests), near()))
        files: dict[int, list[str]] = defaultdict(list)
        for picture, group in zip(pictures, groups, strict=True):
            files[group].append(picture.name)
        several = [sorted(names) for names in files.values() if len(names) > 1]
        notes = {
            "near_duplicates": {"levels": NEAR_LEVELS, **counts},
            "groups": {
                "count": len(several),
                "images": sum(map(len, several)),
                "largest": max(map(len, several), default=1),
                "files": sorted(several),
            },
        }
        return groups, notes

    def key(self, picture: Picture) -> str:
        return picture.digest.hex()  # not its name: names differ between copies of this data set

    def _features(self) -> dict[str, Any]:
        return {
            "image": tfds.features.Image(shape=(*SHAPE, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(CLASSES)),
            **super()._features(),
        }


def _locate(path: str) -> Place | None:
    match = _PATH.fullmatch(path)
    return Place(match["root"], WHOLE, match["label"].upper()) if match else None
