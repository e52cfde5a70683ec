"""The end of a model: its last activation, and what that, its values and its loss say of its output."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from ..errors import ModelError
from .keras_layers import variables_of
from .measured_output import Measured, measure_output
from .program import Program, Step

_REGRESSION = (
    "mean_squared",
    "mean_absolute",
    "huber",
    "log_cosh",
    "mse",
    "mae",
    "mape",
    "msle",
    "logcosh",
    "poisson",
)
# Layers that change no value in inference, and layers that change none if they only add or remove axes of length 1.
_PASSING = (
    "Identity",
    "Cast",
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
)
_RESHAPING = ("Flatten", "Reshape", "Squeeze")
SQUASHES = ("softmax", "sigmoid")
# The kind of an output behind a final activation, by whether it has several units.
KIND_OF = {("softmax", True): "softmax", ("sigmoid", False): "sigmoid", ("sigmoid", True): "multi_label"}
# Layers whose values are those of the layer before: what they give is as little bounded.
_POOLING = ("GlobalAveragePooling", "GlobalMaxPooling", "AveragePooling", "MaxPooling")
_SAY = (
    "output_kind='probabilities', 'logits' or 'multi_label' says what the values are, where neither the model's end "
    "nor they themselves tell"
)


@dataclass(frozen=True, eq=False)
class End:
    """The end of a program: its final activation, its number of units, and the loss that it was compiled with."""

    program: Program
    squash: str
    units: int
    loss: Any

    def found(self, from_logits: bool | None) -> str:
        """Return the kind of the output by its final activation, else as measured, else by the loss.

        Raises:
            ModelError: If the output is not class scores.
        """
        squash, units, loss = self.squash, self.units, self.loss
        if squash == "softmax" and units == 1:
            raise ModelError(f"{self._where} is constant: a softmax needs at least 2 units.")
        if squash in SQUASHES:
            return KIND_OF[squash, units > 1]
        if measured := self._measured_kind(self._measured):
            return measured
        if squash not in ("linear", "log_softmax"):
            raise ModelError(
                f"{self._where} is not class scores. Expected a softmax, a sigmoid, or linear logits; "
                f"from_logits=True says that the values are logits all the same, and {_SAY}."
            )
        are_logits = from_logits if from_logits is not None else bool(getattr(loss, "from_logits", False)) or None
        if units == 1:
            if are_logits:
                return "binary_logit"
            raise ModelError(
                f"{self._where} is not class scores, as far as can be seen: a single linear unit is a regression "
                "unless the model is compiled with a loss with from_logits=True, or from_logits=True is given."
            )
        if are_logits is False or (are_logits is None and _is_regression(loss)):
            raise ModelError(
                f"{self._where} is not class scores, by its loss or by from_logits=False. Give from_logits=True if it "
                f"is logits; {_SAY}."
            )
        return "multi_label_logits" if are_logits and _is_binary(loss) else "logits"

    def said(self, word: str) -> str:
        """Return the kind of the output that a word of the user stands for.

        Raises:
            ModelError: If the output is something else, by its end or as measured.
        """
        several, squash, asked = self.units > 1, self.squash, word
        if word == "multi_label" and squash not in SQUASHES and not self._may_be_sigmoids:
            word = "multi_label_logits"
        by_word = {
            "probabilities": "softmax" if several else "sigmoid",
            "logits": "logits" if several else "binary_logit",
        }
        kind = by_word.get(word, word)
        does_not_fit = (word.endswith("logits") and squash in SQUASHES) or (word.startswith("multi") and not several)
        if kind in ("softmax", "sigmoid", "multi_label") and kind != KIND_OF.get((squash, several)):
            measured = self._measured
            does_not_fit |= measured is not None and not (measured.add_up if kind == "softmax" else measured.bounded)
        if does_not_fit:
            raise ModelError(
                f"{self._where} is not what output_kind={asked!r} says. 'probabilities' add up to 1 for every image "
                "(one unit: lie between 0 and 1), 'logits' come before a softmax or a sigmoid, 'multi_label' has "
                "several units that are independent of each other."
            )
        return kind

    @property
    def _where(self) -> str:
        units = self.units
        return f"The output of model '{self.program.name}' ({units} unit{'s' if units > 1 else ''}, {self.squash})"

    @cached_property
    def _measured(self) -> Measured | None:
        return None if self.squash == "log_softmax" else measure_output(self.program)

    def _measured_kind(self, measured: Measured | None) -> str | None:
        if measured is None:
            return None
        if measured.add_up:
            return "softmax"
        if measured.bounded and measured.varies and self._may_be_sigmoids and not _is_regression(self.loss):
            return KIND_OF["sigmoid", self.units > 1]
        return None

    @property
    def _may_be_sigmoids(self) -> bool:
        """Return whether values between 0 and 1 are no chance: they come from no weights, and no known activation."""
        if self.squash != "linear":
            return self.squash == "hard_sigmoid" or not hasattr(keras.activations, self.squash)
        program, tensor = self.program, self.program.outputs[0]
        while tensor in program.makers:
            step = program.steps[program.makers[tensor]]
            if not (only_reshapes(program, step) or changes_nothing(step)):
                name = type(step.operation).__name__
                return not variables_of(step.operation) and not name.startswith(_POOLING)
            tensor = step.reads[0]
        return False


def only_reshapes(program: Program, step: Step) -> bool:
    """Check whether a step only adds or removes axes of length 1 and leaves the last axis unchanged."""
    operation = step.operation
    if type(operation).__name__ not in _RESHAPING or not type(operation).__module__.startswith("keras."):
        return False
    before, after = (program.tensors[tensor].sample_shape for tensor in (step.reads[0], step.makes[0]))
    return before[-1:] == after[-1:] and [d for d in before if d != 1] == [d for d in after if d != 1]


def _is_binary(loss: Any) -> bool:
    """Check whether a loss takes each unit as a label of its own."""
    return type(loss).__name__.startswith("Binary")


def changes_nothing(step: Step) -> bool:
    """Check whether a step is a layer that changes no value in inference."""
    operation = step.operation
    return type(operation).__name__ in _PASSING and type(operation).__module__.startswith("keras.")


def _is_regression(loss: Any) -> bool:
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    return isinstance(name, str) and name.lower().startswith(_REGRESSION)
