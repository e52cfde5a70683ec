"""What phase 2 needs besides a split: looked at before anything is trained."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from ..graph.keras_layers import all_layers
from ..splitting import SplitModel
from .data import image_feed, labels_shape, labels_shape_if_any, pair_feed
from .distillation import Teacher, read_distillation, taught
from .objectives import Objective, choose_objective


def batch_norms(split: SplitModel) -> list[keras.layers.Layer]:
    """BatchNormalization of head and tail, wherever it is nested; that of a bottleneck is to learn."""
    own = {id(layer) for half in (split.encoder, split.decoder) if half is not None for layer in all_layers(half)}
    kinds = keras.layers.BatchNormalization
    return [layer for layer in all_layers(split.model) if isinstance(layer, kinds) and id(layer) not in own]


@contextmanager
def frozen(layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """With `trainable` off, BatchNormalization runs in inference mode, also while the model trains."""
    flags = [layer.trainable for layer in layers]
    try:
        for layer in layers:
            layer.trainable = False
        yield
    finally:
        for layer, flag in zip(layers, flags, strict=True):
            layer.trainable = flag


@dataclass(frozen=True)
class Tuning:
    """The loss of phase 2 and its data.

    Attributes:
        objective: Loss, labels' form and accuracy; beside a teacher the cross-entropy with the labels.
        feed: Training data as `fit` takes them.
        validation: Validation data likewise, or None.
        teacher: What gives the targets in place of labels, or None.
        labelled: Whether all data have labels.
    """

    objective: Objective
    feed: Any
    validation: Any
    teacher: Teacher | None
    labelled: bool

    def taught(self, model: keras.Model) -> AbstractContextManager[None]:
        """The time in which a model learns from the teacher, where there is one."""
        return taught(model, self.teacher, self.objective.loss)

    def compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Makes a model ready for phase 2."""
        metrics = self.objective.metrics() if self.labelled else []
        model.compile(optimizer=optimizer, loss=None if self.teacher else self.objective.loss, metrics=metrics)

    def compile_plainly(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Makes a model ready for the user's own `fit` and `evaluate`, with labels and no teacher."""
        model.compile(optimizer=optimizer, loss=self.objective.loss, metrics=self.objective.metrics())


def prepare(split: SplitModel, data: Any, validation_data: Any, *, loss: Any, batch_size: int) -> Tuning:
    """Reads loss, data and labels.

    Raises:
        ArgumentError: There is no such loss, or it does not fit the output.
        DataError: The data are of another kind, empty or endless, or lack labels that the loss needs.
    """
    distillation = read_distillation(loss)
    teacher = None if distillation is None else Teacher(split, distillation)
    optional = distillation is not None and not distillation.label_weight
    look = labels_shape_if_any if optional else labels_shape
    given = [one for one in (data, validation_data) if one is not None]
    shapes = [look(one, batch_size) for one in given]
    labelled = None not in shapes
    objective = choose_objective(
        split.loss if loss is None else None if distillation else loss,
        output=split.output,
        labels_shape=shapes[0] or (None,),
    )

    def feed_of(one: Any) -> Any:
        return pair_feed(one, objective, batch_size=batch_size) if labelled else image_feed(one, batch_size=batch_size)

    feeds = [feed_of(one) for one in given]
    return Tuning(objective, feeds[0], feeds[1] if len(feeds) > 1 else None, teacher, labelled)
