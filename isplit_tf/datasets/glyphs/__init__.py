"""The letters A to J in many fonts, similar to notMNIST; README.md in this folder describes the data set."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from ..splits import SPLIT_NAMES, Splits


@dataclass(frozen=True, eq=False)
class Families:
    """The font family of each image, so that the split by family can be checked or repeated.

    Families that are one design under different names ("Lato" and "Carlito") count as one.

    Attributes:
        names: Names of the families; the index is the number of the family.
        of_images: For each split, the family number of each image, int64 `(N,)`, in the order of the images.
    """

    names: tuple[str, ...]
    of_images: Mapping[str, np.ndarray]


def load() -> Splits:
    """Load the images and labels; see `isplit_tf.datasets.load`."""
    with _open() as arrays:
        pairs = {
            name: (arrays[f"x_{name}"][..., np.newaxis], arrays[f"y_{name}"].astype(np.int64)) for name in SPLIT_NAMES
        }
        return Splits(**pairs, class_names=tuple(arrays["class_names"].tolist()))


def load_families() -> Families:
    """Load the font family of each image.

    Example:
        >>> from isplit_tf.datasets import glyphs
        >>> families = glyphs.load_families()
        >>> set(families.of_images["train"]) & set(families.of_images["test"])
        set()
    """
    with _open() as arrays:
        of_images = {name: arrays[f"family_{name}"].astype(np.int64) for name in SPLIT_NAMES}
        return Families(tuple(arrays["families"].tolist()), of_images)


@contextmanager
def _open() -> Iterator[Mapping[str, np.ndarray]]:
    with files(__name__).joinpath("glyphs.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        yield arrays
