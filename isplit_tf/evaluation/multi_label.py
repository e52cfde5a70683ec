"""How well a multi-label model does: subset accuracy, and the figures of each label."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .metrics import f1_scores, rank_auc, recall
from .record import Evaluation


@dataclass(frozen=True, eq=False, repr=False)
class MultiLabelEvaluation(Evaluation, rank=2):
    """What a predictor said about N images, each of which may have several labels, or none.

    Attributes:
        labels: int64 `(N, n_classes)`, 1 for each label that an image has.
        predictions: int64 `(N, n_classes)`, 1 for each label whose probability is above 1/2.
        n_classes: Number of labels.
        class_names: Their names, or None.
        probabilities: float32 `(N, n_classes)`, or None where they were too many to keep.
    """

    @property
    def right(self) -> np.ndarray:
        """Return for which images all labels are right, bool `(N,)`; their share is the subset accuracy."""
        return (self.labels == self.predictions).all(axis=1)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Return for each label the images without (row 0) and with it (row 1), by what was predicted.

        int64 `(n_classes, 2, 2)`.
        """
        pairs = 2 * self.labels + self.predictions
        return np.stack([(pairs == k).sum(axis=0) for k in range(4)], axis=1).reshape(-1, 2, 2)

    @cached_property
    def balanced_accuracy(self) -> float:
        """Return the mean recall over the labels; labels that no image has are left out."""
        return _mean(np.array([recall(table)[1] for table in self.confusion]))

    @cached_property
    def f1(self) -> np.ndarray:
        """Return F1 per label, float64 `(n_classes,)`; NaN for a label that no image has."""
        return np.array([f1_scores(table)[1] for table in self.confusion])

    @cached_property
    def label_accuracy(self) -> np.ndarray:
        """Return the share of images that are right about each label, float64 `(n_classes,)`."""
        return (self.labels == self.predictions).mean(axis=0)

    @cached_property
    def label_auc(self) -> np.ndarray | None:
        """Return the area under the ROC curve of each label, float64 `(n_classes,)`.

        NaN for a label that all images have, or none; None where the probabilities were too many to keep.
        """
        if self.probabilities is None:
            return None
        columns = zip(self.labels.T, self.probabilities.T, strict=True)
        return np.array([rank_auc(present == 1, scores) for present, scores in columns])

    @property
    def auc(self) -> float | None:
        """Return the mean area under the ROC curve over the labels; None where the probabilities were not kept."""
        return None if self.label_auc is None else _mean(self.label_auc)

    @property
    def mean_auc(self) -> float | None:
        """Return `auc` by its full name."""
        return self.auc

    @property
    def mean_f1(self) -> float:
        """Return the mean F1 over the labels."""
        return _mean(self.f1)

    def _summary(self) -> str:
        low, high = self.interval()
        auc = "" if self.auc is None else f", mean AUC {self.auc:.4f}"
        return (
            f"{self.n_images:,} images, {self.n_classes} labels: all labels right for {self.accuracy:.4f} "
            f"({low:.4f} to {high:.4f} at 95 %){auc}, mean F1 {self.mean_f1:.4f}"
        )

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        names = self.class_names or tuple(str(index) for index in range(self.n_classes))
        aucs = np.full(self.n_classes, np.nan) if self.label_auc is None else self.label_auc
        rows: list[list[Any]] = [
            [name, int(table[1].sum()), float(recall(table)[1]), float(recall(table.T)[1]), float(f1), float(auc)]
            for name, table, f1, auc in zip(names, self.confusion, self.f1, aucs, strict=True)
        ]
        return ["label", "images", "recall", "precision", "F1", "AUC"], rows


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "Mean of empty slice"
        return float(np.nanmean(values))
