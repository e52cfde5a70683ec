"""Splits of a data set, and the data sets that ship with the package."""

import difflib
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from ..errors import DataError

EMBEDDED = ("glyphs",)
"""Names of the data sets that ship with the package; each is a folder here with a function `load`."""

SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set cut into three parts that share nothing.

    Each part is a pair `(x, y)` as Keras takes it: `model.fit(*splits.train)`.

    Attributes:
        train: x uint8 `(N, H, W, C)` from 0 to 255, y int64 `(N,)`; to learn from.
        validation: The same, to choose with.
        test: The same, to measure with.
        class_names: The name of each class, by label.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        x = self.train[0]
        counts = ", ".join(f"{name} {len(getattr(self, name)[1])}" for name in SPLIT_NAMES)
        return f"Splits({counts}; images {x.shape[1:]} {x.dtype}; {len(self.class_names)} classes)"


def load(name: str) -> Splits:
    """Load a data set that ships with the package.

    Args:
        name: `"glyphs"`: the letters A to J in 1,199 fonts, 28x28 grey, 8,350 + 1,830 + 1,810 images, split by
            font family; see the README in `isplit_tf/datasets/glyphs`.

    Returns:
        The splits, as arrays that are the caller's own.

    Raises:
        DataError: There is no such data set.

    Example:
        >>> import isplit_tf as isplit
        >>> splits = isplit.datasets.load("glyphs")
        >>> x, y = splits.train
        >>> x.shape, x.dtype, y.dtype
        ((8350, 28, 28, 1), dtype('uint8'), dtype('int64'))
        >>> "".join(splits.class_names)
        'ABCDEFGHIJ'
    """
    if name not in EMBEDDED:
        close = difflib.get_close_matches(str(name), EMBEDDED, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"No embedded data set is named {name!r}.{guess} Embedded: {', '.join(map(repr, EMBEDDED))}. Others come "
            f"from TensorFlow Datasets: tfds.load(NAME), or open_data('tfds:NAME') and --data tfds:NAME here."
        )
    return import_module(f".{name}", __package__).load()
