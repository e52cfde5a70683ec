"""Phase 2, everything end to end: what it needs besides a split, and its course."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from ..errors import ArgumentError
from ..graph.keras_layers import all_layers
from ..splitting import SplitModel
from .callbacks import Run, fit_phase, keep_better
from .checkpoint import assign, values_of
from .data import image_feed, labels_shape, labels_shape_if_any, pair_feed
from .distillation import Teacher, read_distillation, taught
from .history import FINE_TUNE
from .objectives import Objective, choose_objective, copied


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


def remember_teacher(run: Run, tuning: Tuning) -> None:
    """Keep the weights of a teacher that is a copy of head and tail beside the checkpoint, or take those kept there."""
    teacher = tuning.teacher
    if teacher is None or not teacher.is_original:
        return
    if run.checkpoint is not None and run.state.epochs:
        run.checkpoint.restore_teacher(teacher.variables)
        return
    if run.split.fine_tuned:
        raise ArgumentError(
            "loss='distill' takes head and tail as the original model, but they were fine-tuned already. Give the "
            "original with Distillation(teacher=model), or split it anew."
        )
    if run.checkpoint is not None:
        run.checkpoint.write_teacher(teacher.variables)


def fine_tune(run: Run, tuning: Tuning) -> None:
    """Train the whole split, and leave it compiled for the user's own `fit` and `evaluate`."""
    split, model, state = run.split, run.split.model, run.state
    optimizer = run.optimizers[FINE_TUNE]
    try:
        with frozen(batch_norms(split) if run.freeze_batch_norm else []), tuning.taught(model):
            if run.goes_on(FINE_TUNE):
                tuning.compile(model, copied(optimizer))
                if run.keep_best and not state.done(FINE_TUNE):
                    _keep_start(run, tuning)
                fit_phase(run, FINE_TUNE, model, tuning.feed, tuning.validation, run.callbacks)
            _finish(run)
    except tf.errors.InvalidArgumentError as error:
        raise tuning.objective.label_error(error) or error from None
    finally:
        # The optimizer of this phase knows only what learned in it, which `fit` afterwards would refuse.
        tuning.compile_plainly(model, copied(optimizer))
        split.fine_tuned |= state.is_fine_tuned


def _keep_start(run: Run, tuning: Tuning) -> None:
    """Keep the weights before the first epoch as the best so far, with what the validation data say of them."""
    model, state = run.split.model, run.state
    metrics = model.evaluate(tuning.validation, verbose=0, return_dict=True)
    state.start = {f"val_{name}": value for name, value in metrics.items()}
    state.weights = values_of(model.variables)
    keep_better(state, 0, state.start)


def _finish(run: Run) -> None:
    """Record the end of the phase, with what callbacks did to the weights at its end, or with the best ones."""
    variables, state = run.split.model.variables, run.state
    if FINE_TUNE in state.finished:
        return
    if state.kept_epoch is not None:
        assign(variables, state.best)
    state.weights = values_of(variables)
    state.finished.add(FINE_TUNE)
    if run.checkpoint is not None:
        run.checkpoint.write(state)
