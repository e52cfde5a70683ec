"""Numbers for sets of labels, so that the sets of a multi-label model are compared as classes are."""

import numpy as np


class LabelSets:
    """Numbers for sets of labels: the same set always has the same number, in the order in which they were seen."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of each set, int64 `(N,)`.

        Args:
            rows: `(N, n_labels)`, true for the labels of the set.
        """
        keys = [row.tobytes() for row in np.packbits(rows.astype(bool), axis=1)]
        return np.array([self._numbers.setdefault(key, len(self._numbers)) for key in keys], np.int64)
