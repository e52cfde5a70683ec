"""The pass over the data: all of it, or until the curve is settled."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..batches import Batch, batches, count_images
from ..display.progress import bar
from .ordering import at_hand, in_order
from .settling import Settling
from .statistics import ClassStatistics

Score = Callable[[Any, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Collected:
    """What a pass gave.

    Attributes:
        statistics: Of the images that were seen.
        confidence: How sure best cut and peaks are; None where it was not asked.
        settled: Whether that is enough; None where it was not asked.
    """

    statistics: ClassStatistics
    confidence: float | None = None
    settled: bool | None = None


class Collector:
    """Goes through data and keeps the statistics of what `score` gives for each batch.

    Args:
        score: x and int64 labels `(N,)` to float64 `(N, n_cuts)`.
        n_classes: Number of classes.
        n_cuts: Number of cuts.
        batch_size: Images in a batch, where it is ours to choose.
        max_images: The data are their first images, as many at most.
        progress: Whether to show a bar.
    """

    def __init__(
        self, score: Score, *, n_classes: int, n_cuts: int, batch_size: int, max_images: int | None, progress: bool
    ):
        self._score = score
        self._n_classes = n_classes
        self._n_cuts = n_cuts
        self._batch_size = batch_size
        self._max_images = max_images
        self._progress = progress

    def all_of(self, data: Any) -> Collected:
        """The statistics of all images."""
        return Collected(self._take_in(self._stream(data), count_images(data, self._max_images)))

    def until_settled(self, data: Any, confidence: float) -> Collected:
        """The statistics of as many images as the confidence takes, each class among them in its share.

        Where those of a stream that fit into memory do not suffice, all images are gone through.
        """
        x, labels, complete = at_hand(data, n_classes=self._n_classes, max_images=self._max_images)
        rule = Settling(self._n_cuts, self._n_classes, confidence)
        stream = in_order(x, labels, batch_size=self._batch_size)
        statistics = self._take_in(stream, len(labels), rule, stop=True)
        if not (complete or rule.settled):
            rule = Settling(self._n_cuts, self._n_classes, confidence)
            statistics = self._take_in(self._stream(data), count_images(data, self._max_images), rule)
        return Collected(statistics, rule.reached, rule.settled)

    def _stream(self, data: Any) -> Iterable[Batch]:
        return batches(data, n_classes=self._n_classes, batch_size=self._batch_size, max_images=self._max_images)

    def _take_in(
        self, stream: Iterable[Batch], total: int | None, rule: Settling | None = None, *, stop: bool = False
    ) -> ClassStatistics:
        statistics = ClassStatistics.empty(self._n_classes, self._n_cuts)
        with bar(total=total, desc="importance", unit="image", enabled=self._progress) as shown:
            for batch in stream:
                labels = batch.labels if batch.labels is not None else np.zeros(0, np.int64)
                values = self._score(batch.x, labels)
                statistics = statistics.merge(ClassStatistics.of(labels, values, self._n_classes))
                shown.update(batch.size)
                if rule is not None:
                    rule.add(labels, values)
                    if stop and rule.settled:
                        break
        return statistics
