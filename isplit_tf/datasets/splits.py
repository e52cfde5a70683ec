"""The splits of a data set, and loading of the data sets that ship with the package."""

import difflib
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from ..errors import DataError

EMBEDDED = ("glyphs",)
"""Names of the data sets that ship with the package; each has a folder here with a function `load`."""

KINDS = (
    "a folder of class folders, an .npz file with 'x' and 'y', an archive of a known data set, tfds:NAME[:SPLIT], "
    f"or {', '.join(f'{name}[:SPLIT]' for name in EMBEDDED)}"
)
"""How labelled images are named, for messages."""

SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set divided into three disjoint splits.

    Each split is a pair `(x, y)` as Keras expects it: `model.fit(*splits.train)`.

    Attributes:
        train: Data for training: x uint8 `(N, H, W, C)` from 0 to 255, y int64 `(N,)`.
        validation: Data for choices between models, in the same form.
        test: Data for the final measurement, in the same form.
        class_names: Names of the classes; the index is the label.
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
        The splits; the arrays are not shared with other callers.

    Raises:
        DataError: If there is no such data set.

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
        matches = difflib.get_close_matches(str(name), EMBEDDED, n=1)
        hint = f" Did you mean {matches[0]!r}?" if matches else ""
        raise DataError(
            f"No embedded data set is named {name!r}.{hint} Embedded: {', '.join(map(repr, EMBEDDED))}. Others come "
            f"from TensorFlow Datasets: tfds.load(NAME), or open_data('tfds:NAME') and --data tfds:NAME here."
        )
    return import_module(f".{name}", __package__).load()
