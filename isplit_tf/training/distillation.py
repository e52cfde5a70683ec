"""Phase 2 with the original model as the teacher, so that no labels are needed."""

import hashlib
import math
import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ..errors import ArgumentError, ModelError
from ..graph.outputs import Output, describe_output
from ..graph.surgery import copy_model
from ..splitting import SplitModel
from .strategy import replica_share

DISTILL = "distill"


@dataclass(frozen=True)
class Distillation:
    """A loss for `train`: the outputs of the model before the split as targets, instead of labels.

    With s and t the logits of the split and of its teacher, the loss of an image is
    T^2 KL(softmax(t / T) || softmax(s / T)), which is 0 where both agree, and T^2 keeps the size of its
    gradient. Sigmoids, one or several, take the mean over units of the divergence of [1 - p, p].

    Args:
        temperature: T, over 0. Higher ones make more of the differences between unlikely classes.
        label_weight: Share of the cross-entropy with the labels, in [0, 1): the loss is
            `(1 - label_weight) * distillation + label_weight * cross_entropy`. At 0 no labels are needed.
        teacher: The model that gives the targets, of the same inputs and classes; it stays as it is. By
            default head and tail of the split as they were before phase 2, which are the original model.

    Raises:
        ArgumentError: An argument is outside of its range.

    Example:
        >>> from isplit_tf import train
        >>> loss = Distillation(temperature=4.0, teacher=model)
        >>> history = train(halves, images, bottleneck_epochs=0, fine_tune_epochs=1, loss=loss)

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, Sec. 2.
    """

    temperature: float = 2.0
    label_weight: float = 0.0
    teacher: keras.Model | None = None

    def __post_init__(self) -> None:
        temperature, weight = _number(self.temperature), _number(self.label_weight)
        if not 0 < temperature < math.inf:
            raise ArgumentError(f"temperature: expected a number over 0. Received: {self.temperature!r}")
        if not 0 <= weight < 1:
            raise ArgumentError(
                f"label_weight: expected a number in [0, 1), the labels' share. Received: {self.label_weight!r}"
            )
        if self.teacher is not None and not isinstance(self.teacher, keras.Model):
            raise ArgumentError(f"teacher: expected a Keras model or None. Received: {type(self.teacher).__name__}")
        object.__setattr__(self, "temperature", temperature)
        object.__setattr__(self, "label_weight", weight)

    def identity(self) -> list[Any]:
        """Plain values that tell one such loss from another, for comparing two runs."""
        digest = None
        if self.teacher is not None:
            digest = hashlib.sha256(b"".join(np.asarray(w).tobytes() for w in self.teacher.get_weights())).hexdigest()
        return ["Distillation", self.temperature, self.label_weight, digest]


def read_distillation(loss: Any) -> Distillation | None:
    """The distillation that a `loss` asks for, or None where it is another loss."""
    if isinstance(loss, Distillation):
        return loss
    return Distillation() if isinstance(loss, str) and loss == DISTILL else None


def divergence(student: Any, teacher: Any, *, output: Output, temperature: float) -> Any:
    """T^2 KL(teacher || student) of each image.

    Args:
        student: Outputs `(N, units)`.
        teacher: Outputs `(N, units)`, likewise.
        output: What they are.
        temperature: T.

    Returns:
        float32 `(N,)`.
    """
    ours, theirs = (output.logits(outputs) / temperature for outputs in (student, teacher))
    if output.is_exclusive:
        distance = ops.softmax(theirs) * (ops.log_softmax(theirs) - ops.log_softmax(ours))
        return temperature**2 * ops.sum(distance, axis=-1)
    first, second = (
        ops.sigmoid(sign * theirs) * (ops.log_sigmoid(sign * theirs) - ops.log_sigmoid(sign * ours)) for sign in (1, -1)
    )
    return temperature**2 * ops.mean(first + second, axis=-1)


class Teacher:
    """The model that gives the targets: it runs in inference mode and never learns.

    Args:
        split: What is to be trained.
        distillation: What was asked for.

    Raises:
        ArgumentError: Head and tail are not the original any more, and no other teacher was given; or the
            teacher's classes are others.
        ModelError: The output is not class scores.
    """

    def __init__(self, split: SplitModel, distillation: Distillation):
        if split.output is None:
            raise ModelError("The model's output is not class scores: loss='distill' needs logits or probabilities.")
        self._distillation = distillation
        self._output = split.output
        given = distillation.teacher
        if given is None:
            # Copies, since head and tail are about to learn.
            self._parts = [copy_model(split.read(half), name=half.name)[0] for half in (split.head, split.tail)]
        else:
            self._parts = [given]
            _require_same_outputs(split.output, given)

    @property
    def is_original(self) -> bool:
        """Whether it is a copy of the split's own halves, and not a model that was given."""
        return self._distillation.teacher is None

    @property
    def variables(self) -> list[Any]:
        """All its variables."""
        return [variable for part in self._parts for variable in part.variables]

    def __call__(self, x: Any) -> Any:
        """The targets for a batch, `(N, units)`, without a gradient."""
        for part in self._parts:
            x = part(x, training=False)
        return ops.stop_gradient(x)

    def loss(self, student: keras.Model, x: Any, y: Any, y_pred: Any, weights: Any, cross_entropy: Any) -> Any:
        """The mean over the images of a batch, with what the student's layers add."""
        chosen = self._distillation
        rows = divergence(y_pred, self(x), output=self._output, temperature=chosen.temperature)
        if weights is not None:
            rows = rows * ops.reshape(ops.cast(weights, rows.dtype), (-1,))
        total = (1 - chosen.label_weight) * ops.mean(rows)
        if chosen.label_weight:
            total = total + chosen.label_weight * cross_entropy(y, y_pred, sample_weight=weights)
        return replica_share(total + sum(student.losses))


@contextmanager
def taught(model: keras.Model, teacher: Teacher | None, cross_entropy: Any) -> Iterator[None]:
    """While it lasts, `fit` and `evaluate` of a model minimise the distance to a teacher.

    The loss has to see the images, and callbacks the model itself: so its own method is replaced for a
    while, where a model around it would do for neither saving nor early stopping.
    """
    if teacher is None:
        yield
        return

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return teacher.loss(model, x, y, y_pred, sample_weight, cross_entropy)

    vars(model)["compute_loss"] = compute_loss  # not by setattr, where Keras would look for layers in it
    try:
        yield
    finally:
        del vars(model)["compute_loss"]


def _require_same_outputs(ours: Output, teacher: keras.Model) -> None:
    theirs = describe_output(teacher)
    if theirs != ours:
        raise ArgumentError(
            f"The teacher '{teacher.name}' gives {theirs.units} values of the kind '{theirs.kind}', the split "
            f"{ours.units} of the kind '{ours.kind}'. Expected the same outputs of both."
        )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
