"""Tiny-ImageNet-200 for TensorFlow Datasets."""

import re
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ..archive_builder import ArchiveBuilder
from ..grouping import VALIDATION
from ..originals import Original
from ..scanning import Layout, Picture, Place, Scan

_ANNOTATIONS, _WORDS = "val/val_annotations.txt", "words.txt"
_PATH = re.compile(
    r"(?P<root>(?:.+/)?)(?:"
    r"train/(?P<train>n\d{8})/(?:images/)?[^/]+"
    r"|val/(?:(?P<sorted>n\d{8})/)?(?:images/)?[^/]+"
    r"|(?P<test>test)/images/[^/]+"
    r")\.jpe?g",
    re.IGNORECASE,
)


@cache
def class_names() -> tuple[str, ...]:
    """Return the WordNet ids of the 200 classes, in the order of the data set's `wnids.txt`."""
    return tuple(files(__package__).joinpath("labels.txt").read_text().split())


class Builder(ArchiveBuilder):
    """200 classes of ImageNet at 64x64 pixels."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    ORIGINALS: ClassVar = {
        "": Original(
            url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            size_bytes=248_100_043,
            md5="90528d7ca1a48142e341f4ef8d21d0de",
            images={
                "train": dict.fromkeys(class_names(), 500),
                "val": dict.fromkeys(class_names(), 50),
                "test": 10_000,
            },
        )
    }
    SHARES: ClassVar = {VALIDATION: 0.1}
    TEST_PART = "val"

    @classmethod
    def layout(cls) -> Layout:
        return Layout(
            locate=_locate,
            channels=3,
            unlabelled=frozenset({"test"}),
            texts=frozenset({_ANNOTATIONS, _WORDS}),
        )

    def label_pictures(self, scan: Scan) -> list[Picture]:
        lines = (line.split("\t") for line in scan.texts.get(_ANNOTATIONS, "").splitlines())
        labels = {words[0]: words[1] for words in lines if len(words) > 1 and words[1] in class_names()}
        pictures = (
            picture if picture.label else replace(picture, label=labels.get(picture.name.rsplit("/", 1)[-1]))
            for picture in scan.pictures
        )
        return [picture for picture in pictures if picture.label is not None]

    def _features(self) -> dict[str, Any]:
        return {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=list(class_names())),
            **super()._features(),
        }


def _locate(path: str) -> Place | None:
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    if match["test"]:
        return Place(match["root"], "test")
    label = (match["train"] or match["sorted"] or "").lower() or None
    if label is not None and label not in class_names():
        return None
    return Place(match["root"], "train" if match["train"] else "val", label)
