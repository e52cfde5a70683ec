"""The pass over the data: over all of it, or until the curve is settled."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import tree

from ..batches import Batch, batches
from ..batches.sampling import Reservoir
from ..batches.watched import expect
from ..display.progress import bar
from ..errors import DataError
from .settling import Settling
from .statistics import ClassStatistics, image_means

Score = Callable[[Any, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Collected:
    """The result of a pass.

    Attributes:
        statistics: Statistics of the images of the pass.
        confidence: Confidence in best cut and peaks; None if none was requested.
        settled: Whether the requested confidence is reached; None if none was requested.
    """

    statistics: ClassStatistics
    confidence: float | None = None
    settled: bool | None = None


class Collector:
    """A pass over data that collects the statistics of the scores.

    Args:
        score: Function from x and int64 labels `(N,)` to scores, float64 `(N, n_cuts)`.
        n_classes: Number of classes.
        n_cuts: Number of cuts.
        batch_size: Images per batch if the data are not batched yet.
        max_images: Use at most this number of images, the first ones.
        progress: Whether to show a bar.
        multi_label: Whether an image may have several labels: it then has the mean of its labels' scores.
    """

    def __init__(
        self,
        score: Score,
        *,
        n_classes: int,
        n_cuts: int,
        batch_size: int,
        max_images: int | None,
        progress: bool,
        multi_label: bool = False,
    ):
        self._score = score
        self._multi_label = multi_label
        self._n_classes = n_classes
        self._n_cuts = n_cuts
        self._batch_size = batch_size
        self._max_images = max_images
        self._progress = progress

    def all_of(self, data: Any) -> Collected:
        """Return the statistics of all images."""
        return Collected(self._take_in(self._stream(data), data))

    def until_settled(self, data: Any, confidence: float) -> Collected:
        """Return the statistics of as many images as the confidence needs, each class in its share.

        If the images of a stream that fit into memory do not suffice, all images are used.
        """
        x, labels, complete = at_hand(
            data, n_classes=self._n_classes, max_images=self._max_images, multi_label=self._multi_label
        )
        rule = Settling(self._n_cuts, self._n_classes, confidence)
        stream = in_order(x, labels, batch_size=self._batch_size)
        statistics = self._take_in(stream, (x, labels), rule, stop=True)
        if not (complete or rule.settled):
            rule = Settling(self._n_cuts, self._n_classes, confidence)
            statistics = self._take_in(self._stream(data), data, rule)
        return Collected(statistics, rule.reached, rule.settled)

    def _stream(self, data: Any) -> Iterable[Batch]:
        return batches(
            data,
            n_classes=self._n_classes,
            batch_size=self._batch_size,
            max_images=self._max_images,
            multi_label=self._multi_label,
        )

    def _take_in(
        self, stream: Iterable[Batch], data: Any, rule: Settling | None = None, *, stop: bool = False
    ) -> ClassStatistics:
        statistics = ClassStatistics.empty(self._n_classes, self._n_cuts)
        with bar(desc="importance", unit="image", enabled=self._progress) as progress_bar:
            for batch in stream:
                expect(progress_bar, data, batch.size, self._max_images)
                labels = batch.labels if batch.labels is not None else np.zeros(0, np.int64)
                if labels.ndim == 2:
                    of_pairs = self._of_pairs(batch)
                    statistics = statistics.merge(ClassStatistics.of_label_sets(labels, of_pairs))
                    values, labels = image_means(labels, of_pairs), strata(labels[labels.any(axis=1)])
                else:
                    values = self._score(batch.x, labels)
                    statistics = statistics.merge(ClassStatistics.of(labels, values, self._n_classes))
                progress_bar.update(batch.size)
                if rule is not None:
                    rule.add(labels, values)
                    if stop and rule.settled:
                        break
        if not statistics.counts.sum():
            raise DataError("No image of the data has a label: importance is that of the labels that are present.")
        return statistics

    def _of_pairs(self, batch: Batch) -> np.ndarray:
        """Return the scores of each label of each image, float64 `(n_pairs, n_cuts)`."""
        parts = [self._score(part.x, np.asarray(part.labels)) for part in single_labels(batch)]
        return np.concatenate([np.zeros((0, self._n_cuts)), *parts])


def single_labels(batch: Batch) -> Iterator[Batch]:
    """Yield the labels of a batch one by one, each with its image: labels `(N, n_classes)` become int64 `(N,)`.

    Images without a label are left out, and the order is that of `np.nonzero(batch.labels)`. A batch with one label
    for each image is yielded as it is.
    """
    labels = np.asarray(batch.labels)
    if labels.ndim == 1:
        yield batch
        return
    rows, classes = np.nonzero(labels)
    for start in range(0, len(rows), batch.size):
        chosen = rows[start : start + batch.size]
        x = tree.map_structure(lambda leaf, chosen=chosen: np.asarray(leaf)[chosen], batch.x)
        yield Batch(x, classes[start : start + batch.size], len(chosen))


def strata(labels: np.ndarray) -> np.ndarray:
    """Return one class for each image, int64 `(N,)`: of several labels the first, 0 where there is none."""
    return labels if labels.ndim == 1 else labels.argmax(axis=1)


KEPT_BYTES = 256 * 2**20


def stratified_order(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return an order in which, among the first n images, each class has its share of n, to within one or two.

    Within a class the order is random, but the same for one seed. Classes of equal size take turns.

    Args:
        labels: int64 `(N,)`.
        seed: Seed of the random numbers.

    Returns:
        int64 `(N,)`, the positions of the images in their new order.
    """
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    # Each image has its own random offset, so that classes of equal size change places in each turn.
    return by_class[np.argsort((rank + rng.random(len(labels))) / np.repeat(counts, counts))]


def in_order(x: Any, labels: np.ndarray, *, batch_size: int) -> Iterator[Batch]:
    """Yield batches of arrays in stratified order.

    Args:
        x: A numpy array `(N, ...)`, or a structure of such arrays.
        labels: int64 `(N,)`, or `(N, n_classes)` of 0 and 1.
        batch_size: Images per batch.
    """
    order = stratified_order(strata(labels))
    for start in range(0, len(order), batch_size):
        positions = order[start : start + batch_size]
        yield Batch(
            tree.map_structure(lambda leaf, positions=positions: leaf[positions], x), labels[positions], len(positions)
        )


def at_hand(
    data: Any, *, n_classes: int, max_images: int | None = None, multi_label: bool = False
) -> tuple[Any, np.ndarray, bool]:
    """Return images that can be taken in any order: all of arrays, and from a stream a sample that fits into memory.

    A stream is read through once, since later images may be of other classes.

    Args:
        data: As `batches` takes it.
        n_classes: Labels must be below this number.
        max_images: Read at most this number of images, the first ones.
        multi_label: As in `batches`.

    Returns:
        x as numpy arrays; labels as `batches` gives them; whether these are all images.

    Raises:
        DataError: As `batches` does.
    """
    options: dict[str, Any] = {"n_classes": n_classes, "max_images": max_images, "multi_label": multi_label}
    if isinstance(data, tuple | list):
        whole = next(batches(data, batch_size=sys.maxsize, **options))
        return tree.map_structure(np.asarray, whole.x), np.asarray(whole.labels), True
    return _kept(batches(data, **options))


def _kept(stream: Iterator[Batch]) -> tuple[Any, np.ndarray, bool]:
    """Return a random sample of the images of a stream, each with the same probability."""
    rng = np.random.default_rng(0)
    reservoir: Reservoir | None = None
    for batch in stream:
        x = tree.map_structure(np.asarray, batch.x)
        if reservoir is None:
            reservoir = Reservoir(max(1, KEPT_BYTES // sum(leaf[0].nbytes for leaf in tree.flatten(x))))
        for k, label in enumerate(np.asarray(batch.labels)):
            if (place := reservoir.draw(rng)) is not None:
                reservoir.put(place, (tree.map_structure(lambda leaf, k=k: leaf[k].copy(), x), label))
    assert reservoir is not None  # `batches` refuses data without images
    images, labels = zip(*reservoir.items, strict=True)
    return tree.map_structure(lambda *leaves: np.stack(leaves), *images), np.array(labels, np.int64), reservoir.is_whole
