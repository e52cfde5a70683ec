"""The record of how well a predictor does: accuracy with its uncertainty, and the figures of each class."""

import base64
import binascii
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..display.tables import html_table, text_table
from ..errors import BundleError, DataError, checked_class_names, checked_integer, checked_share
from ..storage.records import number_or_none, read_record, write_record
from .metrics import confusion_matrix, f1_scores, rank_auc, recall, wilson_interval

FORMAT_VERSION = 2
_KIND = "evaluation"
_BY_RANK: dict[int, type["Evaluation"]] = {}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a predictor said about N images, and the figures that follow from it.

    Attributes:
        labels: int64 `(N,)`.
        predictions: int64 `(N,)`, the classes that the predictor named.
        n_classes: Number of classes.
        class_names: Their names, or None.
        probabilities: float32 `(N, n_classes)`, or None where they were too many to keep.

    The arrays are read-only.
    """

    labels: np.ndarray
    predictions: np.ndarray
    n_classes: int
    class_names: tuple[str, ...] | None = None
    probabilities: np.ndarray | None = None

    def __init_subclass__(cls, *, rank: int) -> None:
        """Keep the class for labels of this rank, which `load` and `evaluate` then take."""
        _BY_RANK[rank] = cls

    def __post_init__(self) -> None:
        for name, kind in (("labels", np.int64), ("predictions", np.int64), ("probabilities", np.float32)):
            if getattr(self, name) is not None:
                array = np.array(getattr(self, name), kind)
                array.flags.writeable = False
                object.__setattr__(self, name, array)
        _check_shapes(self)

    @property
    def n_images(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def right(self) -> np.ndarray:
        """Return which images are classified correctly, bool `(N,)`."""
        return self.labels == self.predictions

    @cached_property
    def confusion(self) -> np.ndarray:
        """Return the number of images by label (row) and prediction (column), int64 `(n_classes, n_classes)`."""
        return confusion_matrix(self.labels, self.predictions, self.n_classes)

    @cached_property
    def accuracy(self) -> float:
        """Return the share of images that are classified correctly."""
        return float(np.mean(self.right))

    @cached_property
    def balanced_accuracy(self) -> float:
        """Return the mean recall over the classes; classes without images are left out."""
        return float(np.nanmean(recall(self.confusion)))

    @cached_property
    def f1(self) -> np.ndarray:
        """Return F1 per class, float64 `(n_classes,)`; NaN for a class without images."""
        return f1_scores(self.confusion)

    @cached_property
    def auc(self) -> float | None:
        """Return the area under the ROC curve, with class 1 as the positive class.

        None for more than two classes; NaN if the images are all of one class.
        """
        if self.n_classes != 2 or self.probabilities is None:
            return None
        return rank_auc(self.labels == 1, self.probabilities[:, 1])

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return Wilson's confidence interval of the accuracy.

        Args:
            confidence: Between 0 and 1.

        Returns:
            Its lower and upper end, in [0, 1].

        Raises:
            ArgumentError: The confidence is not between 0 and 1.

        Reference:
            Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
        """
        return wilson_interval(
            int(np.count_nonzero(self.right)), self.n_images, checked_share("confidence", confidence)
        )

    def resampled(self, sets: int = 15, images: int = 800, seed: int = 0) -> np.ndarray:
        """Return the accuracy on random subsets of the images, as in the paper's box plots.

        Images are drawn without replacement within a set. The sets depend on `seed` and the number of images alone, so
        predictors that were evaluated on the same data in the same order are compared on the same sets. The spread
        shows the sampling of the test set, not the noise of training.

        Args:
            sets: Number of sets.
            images: Images per set; all of them if there are fewer.
            seed: Seed of the random draws.

        Returns:
            float64 `(sets,)`.

        Raises:
            ArgumentError: If a number is not an integer or too small.

        Reference:
            I-Split, Fig. 3: 15 sets of 800 images.
        """
        n_sets, requested = checked_integer("sets", sets, 1), checked_integer("images", images, 1)
        rng = np.random.default_rng(checked_integer("seed", seed, 0))
        right = self.right
        chosen = min(requested, self.n_images)
        return np.array([right[rng.permutation(self.n_images)[:chosen]].mean() for _ in range(n_sets)])

    def table(self) -> str:
        """Return the figures as a text table, one row per class, with a summary below."""
        return f"{text_table(*self._rows())}\n\n{self._summary()}"

    def __repr__(self) -> str:
        return f"Evaluation({self._summary()})"

    def _repr_html_(self) -> str:
        return f"<p>{self._summary()}</p>{html_table(*self._rows())}"

    def _summary(self) -> str:
        low, high = self.interval()
        auc = "" if self.auc is None else f", AUC {self.auc:.4f}"
        return (
            f"{self.n_images:,} images, {self.n_classes} classes: accuracy {self.accuracy:.4f} "
            f"({low:.4f} to {high:.4f} at 95 %), balanced {self.balanced_accuracy:.4f}{auc}"
        )

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        names = self.class_names or tuple(str(index) for index in range(self.n_classes))
        counts = self.confusion.sum(axis=1)
        figures = zip(names, counts, recall(self.confusion), recall(self.confusion.T), self.f1, strict=True)
        rows = [[name, int(n), float(r), float(p), float(f)] for name, n, r, p, f in figures]
        return ["class", "images", "recall", "precision", "F1"], rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figures, and all that `load` needs, to a JSON file.

        Args:
            path: The file, usually `report.json`; an existing file is replaced. The folder must exist.
        """
        version = 1 if self.labels.ndim == 1 else FORMAT_VERSION  # 1 is what release 0.1.0 reads
        write_record(path, _KIND, version, self._to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Evaluation":
        """Read a file that `save` wrote; the figures are computed again from labels and predictions.

        Raises:
            BundleError: The file is not there, is none of an evaluation, is damaged, or has a newer format.
        """
        record = read_record(path, _KIND, FORMAT_VERSION)
        try:
            labels = _integers(record["labels"])
            return class_for(labels)(
                labels=labels,
                predictions=_integers(record["predictions"]),
                n_classes=int(record["n_classes"]),
                class_names=None if record["class_names"] is None else tuple(record["class_names"]),
                probabilities=_decoded(record["probabilities"]),
            )
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise BundleError(f"'{path}' is damaged: {error!r}") from error

    def _to_json(self) -> dict[str, Any]:
        return {
            "n_images": self.n_images,
            "n_classes": self.n_classes,
            "class_names": None if self.class_names is None else list(self.class_names),
            "accuracy": self.accuracy,
            "interval_95": list(self.interval()),
            "balanced_accuracy": self.balanced_accuracy,
            "auc": number_or_none(self.auc),
            "f1": [number_or_none(value) for value in self.f1.tolist()],
            "confusion": self.confusion.tolist(),
            "labels": self.labels.tolist(),
            "predictions": self.predictions.tolist(),
            "probabilities": _encoded(self.probabilities),
        }


def class_for(labels: np.ndarray) -> type[Evaluation]:
    """Return the class of an evaluation with such labels."""
    return _BY_RANK.get(labels.ndim, Evaluation)


def _check_shapes(evaluation: Evaluation) -> None:
    n, n_classes, names = len(evaluation.labels), evaluation.n_classes, evaluation.class_names
    several = evaluation.labels.ndim == 2
    expected = (n, n_classes) if several else (n,)
    if n == 0 or evaluation.predictions.shape != expected or evaluation.labels.shape != expected:
        raise DataError(
            f"Expected as many predictions as labels, and at least one. Received: {evaluation.labels.shape} "
            f"labels and {evaluation.predictions.shape} predictions."
        )
    highest = 1 if several else n_classes - 1
    for name in ("labels", "predictions"):
        values = getattr(evaluation, name)
        if values.min() < 0 or values.max() > highest:
            raise DataError(f"Expected {name} from 0 to {highest}. Received: {values.min()} to {values.max()}.")
    checked_class_names(names, n_classes)
    shape = (n, n_classes)
    if evaluation.probabilities is not None and evaluation.probabilities.shape != shape:
        raise DataError(f"Expected probabilities {shape}. Received: {evaluation.probabilities.shape}.")


def _integers(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind != "i":
        raise ValueError(f"expected integers, found {array.dtype}")
    return array


def _encoded(array: np.ndarray | None) -> dict[str, Any] | None:
    if array is None:
        return None
    data = base64.b64encode(array.astype("<f4").tobytes()).decode()
    return {"dtype": "<f4", "shape": list(array.shape), "base64": data}


def _decoded(record: dict[str, Any] | None) -> np.ndarray | None:
    if record is None:
        return None
    data = base64.b64decode(record["base64"], validate=True)
    return np.frombuffer(data, "<f4").reshape(record["shape"])
