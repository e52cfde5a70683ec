"""Distillation: phase 2 with the original model as the teacher, without labels."""

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
from ..graph.output_kinds import Output
from ..graph.outputs import compiled_loss, find_logits
from ..graph.preprocessor import require_same_as_predict
from ..graph.program import read_program
from ..graph.surgery import copy_model
from ..splitting import SplitModel
from .strategy import replica_share

DISTILL = "distill"


@dataclass(frozen=True)
class Distillation:
    """A loss for `train` whose targets are the outputs of the original model instead of labels.

    With the logits s of the split and t of the teacher, the loss per image is T^2 KL(softmax(t / T) || softmax(s / T)).
    It is 0 if both agree; the factor T^2 keeps the size of its gradient at any T. For one or several sigmoids
    it is the mean over units of the divergence of [1 - p, p].

    Args:
        temperature: T, over 0. Higher temperatures emphasize the differences between unlikely classes.
        label_weight: Share of the cross-entropy with the labels, in [0, 1): the loss is
            `(1 - label_weight) * distillation + label_weight * cross_entropy`. At 0 no labels are needed.
        teacher: Model that computes the targets, with the same inputs and classes; it is not changed. By default a
            copy of head and tail from before phase 2, which are the original model.

    Raises:
        ArgumentError: If an argument is outside of its range.

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
        """Return plain values that identify this loss, for comparing two runs."""
        digest = None
        if self.teacher is not None:
            digest = hashlib.sha256(b"".join(np.asarray(w).tobytes() for w in self.teacher.get_weights())).hexdigest()
        return ["Distillation", self.temperature, self.label_weight, digest]


def read_distillation(loss: Any) -> Distillation | None:
    """Return the distillation that `loss` stands for, or None if it is another loss."""
    if isinstance(loss, Distillation):
        return loss
    return Distillation() if isinstance(loss, str) and loss == DISTILL else None


def divergence(student: Any, teacher: Any, *, output: Output, temperature: float) -> Any:
    """Return T^2 KL(teacher || student) per image.

    Args:
        student: Outputs of the split, `(N, units)`.
        teacher: Outputs of the teacher, `(N, units)`.
        output: Kind of both outputs.
        temperature: T.

    Returns:
        float32 `(N,)`.
    """
    s, t = (output.logits(outputs) / temperature for outputs in (student, teacher))
    if output.is_exclusive:
        terms = ops.softmax(t) * (ops.log_softmax(t) - ops.log_softmax(s))
        return temperature**2 * ops.sum(terms, axis=-1)
    positive, negative = (
        ops.sigmoid(sign * t) * (ops.log_sigmoid(sign * t) - ops.log_sigmoid(sign * s)) for sign in (1, -1)
    )
    return temperature**2 * ops.mean(positive + negative, axis=-1)


class Teacher:
    """The model that computes the targets. It runs in inference mode and does not learn.

    Args:
        split: The split to be trained.
        distillation: Settings of the loss.

    Raises:
        ArgumentError: If the given teacher has other outputs than the split.
        ModelError: If the output of the split is not class scores.
    """

    def __init__(self, split: SplitModel, distillation: Distillation):
        if split.output is None:
            raise ModelError("The model's output is not class scores: loss='distill' needs logits or probabilities.")
        self._distillation = distillation
        self._output = split.output
        teacher = distillation.teacher
        if teacher is None:
            # Copies, since head and tail are going to learn.
            self._parts = [copy_model(split.read(half), name=half.name)[0] for half in (split.head, split.tail)]
        else:
            self._parts = [teacher]
            _require_same_outputs(split.output, teacher)

    @property
    def is_original(self) -> bool:
        """Return whether the teacher is a copy of head and tail, and not a model given by the user."""
        return self._distillation.teacher is None

    @property
    def variables(self) -> list[Any]:
        """Return all variables of the teacher."""
        return [variable for part in self._parts for variable in part.variables]

    def __call__(self, x: Any) -> Any:
        """Return the targets of a batch, `(N, units)`, without a gradient."""
        for part in self._parts:
            x = part(x, training=False)
        return ops.stop_gradient(x)

    def loss(self, student: keras.Model, x: Any, y: Any, y_pred: Any, weights: Any, cross_entropy: Any) -> Any:
        """Return the mean loss over the images of a batch, plus the losses of the student's layers."""
        settings = self._distillation
        rows = divergence(y_pred, self(x), output=self._output, temperature=settings.temperature)
        if weights is not None:
            rows = rows * ops.reshape(ops.cast(weights, rows.dtype), (-1,))
        total = (1 - settings.label_weight) * ops.mean(rows)
        if settings.label_weight:
            total = total + settings.label_weight * cross_entropy(y, y_pred, sample_weight=weights)
        return replica_share(total + sum(student.losses))


@contextmanager
def taught(model: keras.Model, teacher: Teacher | None, cross_entropy: Any) -> Iterator[None]:
    """Make the distance to a teacher the loss in `fit` and `evaluate` of a model, for the duration of the context.

    The loss needs the images, and callbacks need the model itself. Therefore the model's own method is replaced for
    that time; a second model around it would break callbacks that save it or stop early.
    """
    if teacher is None:
        yield
        return

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return teacher.loss(model, x, y, y_pred, sample_weight, cross_entropy)

    vars(model)["compute_loss"] = compute_loss  # setattr would make Keras look for layers in it
    try:
        yield
    finally:
        del vars(model)["compute_loss"]


def _require_same_outputs(ours: Output, teacher: keras.Model) -> None:
    program = read_program(teacher)
    require_same_as_predict(teacher, program)
    theirs = find_logits(program, loss=compiled_loss(teacher)).output
    if theirs != ours:
        raise ArgumentError(
            f"The teacher '{teacher.name}' gives {theirs.units} values of the kind '{theirs.kind}', the split "
            f"{ours.units} of the kind '{ours.kind}'. Expected the same outputs of both."
        )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
