"""Chest X-Ray Pneumonia for TensorFlow Datasets."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ..archive_builder import ArchiveBuilder
from ..grouping import VALIDATION, equal_pairs, join
from ..originals import Original
from ..scanning import Layout, Picture, Place

CLASSES = ("NORMAL", "PNEUMONIA")
_PATH = re.compile(
    r"(?P<root>(?:.+/)?)(?P<part>train|val|test)/(?P<label>NORMAL|PNEUMONIA)/[^/]+\.jpe?g", re.IGNORECASE
)
_PATIENT = re.compile(r"(?P<person>person\d+)_.*|(?P<film>(?:NORMAL\d*-)?IM-\d+)-.*", re.IGNORECASE)


def patient_of(name: str) -> str | None:
    """Return the patient of an image, as far as the file's name contains it.

    Args:
        name: Name or path of the file.

    Returns:
        `person123` for cases; for controls the prefix and IM number, which probably identify a patient; None for other
        names.

    Example:
        >>> patient_of("train/PNEUMONIA/person123_bacteria_456.jpeg"), patient_of("NORMAL2-IM-0441-0001-0002.jpeg")
        ('person123', 'normal2-im-0441')
    """
    match = _PATIENT.fullmatch(name.rsplit("/", 1)[-1])
    return (match["person"] or match["film"]).lower() if match else None


class Builder(ArchiveBuilder):
    """Chest X-rays of children, with and without pneumonia, grouped by patient."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    ORIGINALS: ClassVar = {
        "": Original(
            url=(
                "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/"
                "f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded"
            ),
            size_bytes=None,  # one source says 1,235,512,464: not certain enough to refuse a download
            md5=None,
            images={
                "train": {"NORMAL": 1349, "PNEUMONIA": 3883},
                "test": {"NORMAL": 234, "PNEUMONIA": 390},
            },
        )
    }
    SHARES: ClassVar = {VALIDATION: 0.15}
    TEST_PART = "test"

    @classmethod
    def layout(cls) -> Layout:
        return Layout(locate=_locate, channels=3)

    def group(self, pictures: Sequence[Picture]) -> tuple[list[int], dict[str, Any]]:
        patients = [patient_of(picture.name) for picture in pictures]
        groups = join(len(pictures), chain(equal_pairs(patients), equal_pairs(picture.digest for picture in pictures)))
        tested = {patient for patient, picture in zip(patients, pictures, strict=True) if picture.part == "test"}
        trained = {patient for patient, picture in zip(patients, pictures, strict=True) if picture.part != "test"}
        unknown = sorted(picture.name for patient, picture in zip(patients, pictures, strict=True) if patient is None)
        notes = {
            "patients": {
                "train": len(trained - {None}),
                "test": len(tested - {None}),
                "in_both": len(tested & trained - {None}),
                "unknown": {"count": len(unknown), "files": unknown},
            }
        }
        return groups, notes

    def key(self, picture: Picture) -> str:
        return patient_of(picture.name) or picture.name

    def _features(self) -> dict[str, Any]:
        return {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=list(CLASSES)),
            **super()._features(),
        }


def _locate(path: str) -> Place | None:
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    # Some copies have 16 images of train in a folder `val`: too few for validation, so they count as train.
    part = "test" if match["part"].lower() == "test" else "train"
    return Place(match["root"], part, match["label"].upper())
