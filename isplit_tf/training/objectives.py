"""The objective of phase 2: its loss, the form of the labels, the accuracy and the optimizers."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ..batches.labels import read_labels
from ..errors import ArgumentError, DataError
from ..graph.output_kinds import Output

Form = Literal["integers", "one_hot", "unit"]
SQUARED_ERROR = "squared_error"
# Marks by which `label_error` recognizes the assertions of `labels_in_graph` in messages of TensorFlow.
_LABEL_MARK = "isplit_tf: label out of range"
_FORM_MARK = "isplit_tf: label of no class"


@keras.saving.register_keras_serializable("isplit_tf")
class SquaredError(keras.losses.Loss):
    """Eq. 4 of the paper: mean over images of ||probabilities - one_hot||^2, summed over classes.

    Labels may be integers `(N,)` or `(N, 1)`, or one-hot `(N, n_classes)`.

    Args:
        kind: Kind of the model's output, as in `graph.outputs.Output`: a softmax is applied to "logits", a sigmoid to
            "binary_logit", and a single p stands for [1 - p, p].
        n_classes: Number of classes; 2 for one unit.
    """

    def __init__(self, kind: str, n_classes: int, reduction: str = "sum_over_batch_size", name: str = SQUARED_ERROR):
        super().__init__(name=name, reduction=reduction)
        self.kind = kind
        self.n_classes = n_classes

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the squared distance per image, `(N,)`."""
        y_pred = ops.cast(y_pred, "float32")
        y_pred = Output(self.kind, self.n_classes).probabilities(y_pred)
        if len(y_true.shape) < 2 or y_true.shape[-1] != self.n_classes:
            y_true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), self.n_classes)
        return ops.sum(ops.square(y_pred - ops.cast(y_true, "float32")), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain values."""
        return super().get_config() | {"kind": self.kind, "n_classes": self.n_classes}


@keras.saving.register_keras_serializable("isplit_tf")
class SubsetAccuracy(keras.metrics.Mean):
    """The share of images that have all labels right, where each may have several.

    Args:
        threshold: Of the outputs, above which a label counts as predicted: 0.5 for probabilities, 0 for logits.
    """

    def __init__(self, threshold: float = 0.5, name: str = "accuracy", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: labels and outputs `(N, n_classes)`."""
        right = ops.equal(ops.cast(y_pred, "float32") > self.threshold, ops.cast(y_true, "float32") > 0.5)
        super().update_state(ops.cast(ops.all(right, axis=-1), self.dtype), sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain values."""
        return super().get_config() | {"threshold": self.threshold}


@dataclass(frozen=True)
class Objective:
    """The loss and the metric with which a model is compiled for phase 2.

    Attributes:
        loss: A Keras loss.
        form: Form of the labels for the loss: "integers" `(N,)`, "one_hot" `(N, n_classes)` or "unit" `(N, 1)`; None
            if labels are passed on without conversion.
        n_classes: Number of classes, if `form` is given.
        accuracy: Class and arguments of the metric, or None if the output is not class scores.
    """

    loss: Any
    form: Form | None
    n_classes: int | None
    accuracy: tuple[type[keras.metrics.Metric], dict[str, Any]] | None

    def metrics(self) -> list[keras.metrics.Metric]:
        """Return new metrics: one named "accuracy", or none."""
        return [] if self.accuracy is None else [self.accuracy[0](name="accuracy", **self.accuracy[1])]

    def labels(self, y: Any) -> Any:
        """Convert an array of labels into the form that the loss needs.

        Raises:
            DataError: If the labels have another shape or are out of range.
        """
        if self.form is None:
            return y
        y = np.asarray(y)
        if self._is_distribution(y.shape):
            if y.dtype.kind not in "iufb" or not np.isfinite(y.astype(float)).all():
                raise DataError(f"Expected finite labels (N, {self.n_classes}). Received: {y.dtype} {y.shape}.")
            return y.astype(np.float32)
        labels = read_labels(y, self.n_classes, len(y) if y.ndim else 0)
        if self.form == "integers":
            return labels
        if self.form == "unit":
            return labels[:, np.newaxis].astype(np.float32)
        return np.eye(self.n_classes or 0, dtype=np.float32)[labels]

    def labels_in_graph(self, y: Any, rank: int) -> Any:
        """Convert a tensor of labels of known rank in a `tf.data` pipeline; for wrong labels see `label_error`."""
        if self.form is None:
            return y
        y = tf.ensure_shape(y, [None] * rank)
        if self._is_distribution(tuple(y.shape)):
            return tf.cast(y, tf.float32)
        is_class = tf.constant(True)
        if rank == 2 and y.shape[-1] != 1:
            rows = tf.cast(tf.ensure_shape(y, [None, self.n_classes]), tf.float32)
            is_class = tf.reduce_all((rows == 0) | (rows == 1)) & tf.reduce_all(tf.reduce_sum(rows, axis=-1) == 1)
            y = tf.argmax(rows, axis=-1)
        labels = tf.cast(tf.reshape(y, [-1]), tf.int64)
        if y.dtype.is_floating:
            is_class = tf.reduce_all(tf.cast(labels, y.dtype) == tf.reshape(y, [-1]))
        in_range = tf.reduce_all((labels >= 0) & (labels < self.n_classes))
        limits = [_LABEL_MARK, tf.reduce_min(labels), tf.reduce_max(labels)]
        with tf.control_dependencies([tf.debugging.Assert(is_class, [_FORM_MARK])]):
            range_check = tf.debugging.Assert(in_range, limits)
        with tf.control_dependencies([range_check]):
            labels = tf.identity(labels)
        if self.form == "integers":
            return labels
        if self.form == "unit":
            return tf.cast(labels[:, tf.newaxis], tf.float32)
        return tf.one_hot(labels, self.n_classes)

    def label_error(self, error: Exception) -> DataError | None:
        """Return a DataError for an error of TensorFlow that labels or images caused, else None."""
        if match := re.search(r"DataError: ([^\n]+)", str(error)):  # raised by `labels` in a thread of Keras
            return DataError(match[1])
        if _FORM_MARK in str(error):
            return DataError(
                f"Expected labels as integers (N,) or (N, 1), or one-hot (N, {self.n_classes}). Received: others among "
                "them, such as soft labels or fractions."
            )
        if _LABEL_MARK not in str(error):
            return None
        limits = [int(number) for number in re.findall(r"-?\d+", str(error).split(_LABEL_MARK, 1)[1])[:2]]
        return DataError(
            f"Expected labels from 0 to {(self.n_classes or 0) - 1}. Received: labels from {limits[0]} to {limits[1]}."
        )

    def _is_distribution(self, shape: tuple[int | None, ...]) -> bool:
        """Return whether labels of this shape are one-hot or soft already, and the loss needs them so."""
        return self.form == "one_hot" and len(shape) == 2 and shape[1] == self.n_classes != 1


def choose_objective(
    loss: Any, *, output: Output | None, labels_shape: tuple[int | None, ...], multi_hot: bool = False
) -> Objective:
    """Return the objective of a loss: the Keras loss with the form of its labels and its accuracy.

    Args:
        loss: A loss, its name, `"squared_error"`, or None for the cross-entropy that fits output and labels.
        output: Kind of the model's output; None if it is not class scores.
        labels_shape: Shape of a batch of labels before any conversion.
        multi_hot: Whether an image may have several labels, or none; the accuracy is then that of all its labels.

    Raises:
        ArgumentError: If the loss is unknown, or the output is not class scores and no loss is given for it.
    """
    if output is None:
        if loss is None or loss == SQUARED_ERROR:
            raise ArgumentError(
                "The model's output is not class scores, so that no loss is chosen for it. Give loss=, for instance "
                "'mean_squared_error'."
            )
        return Objective(_resolved(loss), None, None, None)
    objective = _objective(loss, output, labels_shape)
    if not (multi_hot and output.is_multi_label):
        return objective
    threshold = 0.0 if output.holds_logits else 0.5
    return dataclasses.replace(objective, accuracy=(SubsetAccuracy, {"threshold": threshold}))


def _objective(loss: Any, output: Output, labels_shape: tuple[int | None, ...]) -> Objective:
    kind, n_classes = output.kind, output.n_classes
    given_form: Form = "one_hot" if len(labels_shape) == 2 and labels_shape[1] != 1 else "integers"
    own_form: Form = "unit" if output.is_binary_unit else given_form
    if loss == SQUARED_ERROR:
        return Objective(SquaredError(kind, n_classes), own_form, n_classes, _accuracy(own_form, kind))
    if loss is None:
        loss, form = _cross_entropy(output, given_form)
        return Objective(loss, form, n_classes, _accuracy(form, kind))
    loss = _resolved(loss)
    loss_form = _wanted(loss, output)
    return Objective(loss, loss_form, n_classes if loss_form else None, _accuracy(loss_form or own_form, kind))


def loss_identity(loss: Any) -> Any:
    """Return plain values that identify a loss, for comparing two runs."""
    if loss is None or isinstance(loss, str):
        return loss
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    return [name, loss.get_config() if hasattr(loss, "get_config") else None]


def _cross_entropy(output: Output, given: Form) -> tuple[keras.losses.Loss, Form]:
    logits = output.holds_logits
    if output.is_binary_unit:
        return keras.losses.BinaryCrossentropy(from_logits=logits), "unit"
    if not output.is_exclusive:
        return keras.losses.BinaryCrossentropy(from_logits=logits), "one_hot"
    if given == "one_hot":
        return keras.losses.CategoricalCrossentropy(from_logits=logits), given
    return keras.losses.SparseCategoricalCrossentropy(from_logits=logits), given


def _accuracy(form: Form, kind: str) -> tuple[type[keras.metrics.Metric], dict[str, Any]]:
    if form == "unit":
        return keras.metrics.BinaryAccuracy, {"threshold": 0.0 if kind == "binary_logit" else 0.5}
    if form == "one_hot":
        return keras.metrics.CategoricalAccuracy, {}
    return keras.metrics.SparseCategoricalAccuracy, {}


def _resolved(loss: Any) -> Any:
    if isinstance(loss, list | tuple | dict) and len(loss) == 1:  # how a model with one output may be compiled
        (loss,) = loss.values() if isinstance(loss, dict) else loss
    if not isinstance(loss, str):
        if callable(loss):
            return loss
        raise ArgumentError(f"loss: expected a Keras loss, its name, 'squared_error' or None. Received: {loss!r}")
    try:
        return keras.losses.get(loss)
    except ValueError as error:
        raise ArgumentError(
            f"There is no loss {loss!r}. Possible are the names of Keras' losses, for instance "
            "'sparse_categorical_crossentropy', 'squared_error' (Eq. 4), a keras.losses.Loss, or None."
        ) from error


# Losses of Keras that need integers, although their names do not say so.
_OF_INTEGERS = ("circle", "categoricalgeneralizedcrossentropy")


def _wanted(loss: Any, output: Output) -> Form | None:
    """Return the form of the labels for a loss of Keras; None for any other loss, which gets them unconverted."""
    function = loss if hasattr(loss, "__name__") else type(loss)
    if not function.__module__.startswith("keras."):
        return None
    name = function.__name__.lower().replace("_", "")
    if "sparse" in name or name in _OF_INTEGERS:
        if output.is_binary_unit:
            raise ArgumentError(
                f"loss {function.__name__} needs a score for each class, and the model's output is one."
            )
        return "integers"
    return "unit" if output.is_binary_unit else "one_hot"


def read_optimizer(name: str, given: Any, defaults: dict[str, float]) -> keras.optimizers.Optimizer:
    """Return a new optimizer, given an optimizer, its name, or None for Adam with `defaults`.

    Raises:
        ArgumentError: If `given` is none of these; the message calls the argument `name`.
    """
    if given is None:
        return keras.optimizers.Adam(**defaults)
    if isinstance(given, keras.optimizers.Optimizer):
        return copied(given)
    try:
        return keras.optimizers.get(given)
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            f"{name}: expected a keras.optimizers.Optimizer, the name of one, or None. Received: {given!r}"
        ) from error


def copied(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return a new optimizer of the same configuration, since an optimizer serves only one set of weights."""
    return type(optimizer).from_config(optimizer.get_config())


def optimizer_identity(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return class and configuration, for comparing two runs, without the name, which Keras numbers anew each time."""
    config = {key: value for key, value in optimizer.get_config().items() if key != "name"}
    return [type(optimizer).__name__, config]
