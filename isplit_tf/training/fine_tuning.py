"""Phase 2, which trains the whole split end to end: its preparation and its course."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from ..bottlenecks.coded import weighing_bits
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
    """Return the BatchNormalization layers of head and tail, nested ones included. Those of a bottleneck learn."""
    excluded = {id(layer) for half in (split.encoder, split.decoder) if half is not None for layer in all_layers(half)}
    kind = keras.layers.BatchNormalization
    return [layer for layer in all_layers(split.model) if isinstance(layer, kind) and id(layer) not in excluded]


@contextmanager
def frozen(layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Set `trainable` of BatchNormalization layers to False, which makes them run in inference mode during training."""
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
    """The loss and the data of phase 2.

    Attributes:
        objective: Loss, form of the labels and accuracy; with a teacher, the loss is the cross-entropy with the labels.
        feed: Training data for `fit`.
        validation: Validation data for `fit`, or None.
        teacher: Model that computes the targets instead of labels, or None.
        labelled: Whether all data have labels.
    """

    objective: Objective
    feed: Any
    validation: Any
    teacher: Teacher | None
    labelled: bool

    def taught(self, model: keras.Model) -> AbstractContextManager[None]:
        """Return a context in which a model learns from the teacher, if any."""
        return taught(model, self.teacher, self.objective.loss)

    def compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Compile a model for phase 2."""
        metrics = self.objective.metrics() if self.labelled else []
        model.compile(optimizer=optimizer, loss=None if self.teacher else self.objective.loss, metrics=metrics)

    def compile_plainly(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Compile a model for the user's own `fit` and `evaluate`, with labels and without a teacher."""
        model.compile(optimizer=optimizer, loss=self.objective.loss, metrics=self.objective.metrics())


def prepare(split: SplitModel, data: Any, validation_data: Any, *, loss: Any, batch_size: int) -> Tuning:
    """Prepare the loss and the data of phase 2.

    Raises:
        ArgumentError: If the loss is unknown or does not fit the output.
        DataError: If the data are of an unknown kind, empty or endless, or lack labels that the loss needs.
    """
    distillation = read_distillation(loss)
    teacher = None if distillation is None else Teacher(split, distillation)
    optional = distillation is not None and not distillation.label_weight
    shape_of_labels = labels_shape_if_any if optional else labels_shape
    parts = [part for part in (data, validation_data) if part is not None]
    shapes = [shape_of_labels(part, batch_size) for part in parts]
    labelled = None not in shapes
    objective = choose_objective(
        split.loss if loss is None else None if distillation else loss,
        output=split.output,
        labels_shape=shapes[0] or (None,),
    )

    def feed_of(part: Any) -> Any:
        return (
            pair_feed(part, objective, batch_size=batch_size) if labelled else image_feed(part, batch_size=batch_size)
        )

    feeds = [feed_of(part) for part in parts]
    return Tuning(objective, feeds[0], feeds[1] if len(feeds) > 1 else None, teacher, labelled)


def remember_teacher(run: Run, tuning: Tuning) -> None:
    """Save the weights of a teacher that is a copy of head and tail with the checkpoint, or restore them from there.

    Raises:
        ArgumentError: If head and tail were fine-tuned already, so that they are not the original model.
        BundleError: If the weights cannot be restored.
    """
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
    """Train the whole split, and compile it for the user's own `fit` and `evaluate` afterwards."""
    split, model, state = run.split, run.split.model, run.state
    optimizer = run.optimizers[FINE_TUNE]
    try:
        fixed = frozen(batch_norms(split) if run.freeze_batch_norm else [])
        with fixed, tuning.taught(model), weighing_bits(split.encoder, run.rate_weight):
            if run.goes_on(FINE_TUNE):
                tuning.compile(model, copied(optimizer))
                if run.keep_best and not state.done(FINE_TUNE):
                    _keep_start(run, tuning)
                fit_phase(run, FINE_TUNE, model, tuning.feed, tuning.validation, run.callbacks)
            _finish(run)
    except tf.errors.InvalidArgumentError as error:
        raise tuning.objective.label_error(error) or error from None
    finally:
        # The optimizer of this phase holds states only of the weights trained in it; a later `fit` would refuse it.
        tuning.compile_plainly(model, copied(optimizer))
        split.fine_tuned |= state.is_fine_tuned


def _keep_start(run: Run, tuning: Tuning) -> None:
    """Keep the weights before the first epoch as the best so far, with their metrics on the validation data."""
    model, state = run.split.model, run.state
    metrics = model.evaluate(tuning.validation, verbose=0, return_dict=True)
    state.start = {f"val_{name}": value for name, value in metrics.items()}
    state.weights = values_of(model.variables)
    keep_better(state, 0, state.start)


def _finish(run: Run) -> None:
    """Record the end of the phase with the best weights if they are kept, else with the weights that callbacks left."""
    variables, state = run.split.model.variables, run.state
    if FINE_TUNE in state.finished:
        return
    if state.kept_epoch is not None:
        assign(variables, state.best)
    state.weights = values_of(variables)
    state.finished.add(FINE_TUNE)
    if run.checkpoint is not None:
        run.checkpoint.write(state)
