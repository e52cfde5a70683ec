"""The kind of a model's output, its classes, and the logits before its final activation."""

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ..errors import ModelError
from .keras_layers import copy_layer
from .layer_state import copy_state
from .program import Program, Step, read_program

KINDS = ("softmax", "sigmoid", "sigmoids", "logits", "binary_logit")
_UNITS = ("sigmoid", "binary_logit")  # one unit for two classes
# Smaller probabilities are raised to this value, so that the logarithm and its gradient stay finite in float32.
_SMALLEST = 1e-12
# Sigmoids are clipped to this distance from 0 and 1: float32 has no values much closer to 1.
_MARGIN = 1e-7
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


@dataclass(frozen=True)
class Output:
    """The kind and number of classes of a model's output.

    Attributes:
        kind: "softmax"; "sigmoid" (one unit); "sigmoids" (several independent units); "logits" (several linear
            units); "binary_logit" (one linear unit).
        n_classes: Number of classes; 2 for one unit.
    """

    kind: str
    n_classes: int

    @classmethod
    def of(cls, kind: str, units: int) -> "Output":
        """Return the record of an output of the given kind and number of units.

        Raises:
            ModelError: If the kind is unknown.
        """
        if kind not in KINDS:
            raise ModelError(f"The model's output is of an unknown kind: {kind!r}. Known: {', '.join(KINDS)}.")
        return cls(kind, 2 if kind in _UNITS else int(units))

    @property
    def is_binary_unit(self) -> bool:
        """Return whether one unit stands for two classes."""
        return self.kind in _UNITS

    @property
    def units(self) -> int:
        """Return the number of units of the output."""
        return 1 if self.is_binary_unit else self.n_classes

    @property
    def holds_logits(self) -> bool:
        """Return whether the output holds logits and not probabilities."""
        return self.kind in ("logits", "binary_logit")

    @property
    def is_exclusive(self) -> bool:
        """Return whether several units share one softmax. Sigmoids are independent of each other."""
        return self.kind in ("softmax", "logits")

    def probabilities(self, outputs: Any) -> Any:
        """Turn the model's own outputs into probabilities: softmax for logits, `[1 - p, p]` for one unit.

        Args:
            outputs: `(N, units)`, a TensorFlow tensor or a symbolic Keras tensor.

        Returns:
            `(N, n_classes)` of the same dtype. Several sigmoids are returned unchanged and need not sum to 1.
        """
        if self.kind == "logits":
            return ops.softmax(outputs, axis=-1)
        if self.kind == "sigmoid":
            return ops.concatenate([1.0 - outputs, outputs], axis=-1)
        if self.kind == "binary_logit":
            # sigmoid(-x) stays precise for large x, where 1 - sigmoid(x) would round to 0.
            return ops.sigmoid(ops.concatenate([outputs * -1.0, outputs], axis=-1))
        return outputs

    def logits(self, outputs: Any) -> Any:
        """Turn the model's own outputs into logits, up to an additive constant, which a softmax ignores.

        Args:
            outputs: `(N, units)`.

        Returns:
            float32 `(N, units)`, finite also for probabilities of 0 and 1.
        """
        outputs = ops.cast(outputs, "float32")
        if self.kind == "softmax":
            return ops.log(ops.maximum(outputs, _SMALLEST))
        if self.kind in ("sigmoid", "sigmoids"):
            p = ops.clip(outputs, _MARGIN, 1 - _MARGIN)
            return ops.log(p) - ops.log1p(-p)
        return outputs


@dataclass(frozen=True, eq=False)
class Logits:
    """The place of the logits in a program.

    Attributes:
        output: Kind and classes of the output.
        tensor: Index of the tensor that holds the logits when `replacement` is called.
        step: The step whose activation is removed, or None.
        replacement: What to call for this step: the same layer without its activation, or None.
    """

    output: Output
    tensor: int
    step: Step | None = None
    replacement: Any = None

    def operation(self, step: Step) -> Any:
        """Return the operation to call for a step of the program, so that the output is the logits."""
        return self.replacement if step is self.step else step.operation


def describe_output(model: keras.Model, *, from_logits: bool | None = None) -> Output:
    """Return the kind and classes of a model's output.

    Args:
        model: A built model with one output.
        from_logits: As in `find_logits`.

    Raises:
        ModelError: If the output is not class scores.
    """
    return find_logits(read_program(model), loss=compiled_loss(model), from_logits=from_logits).output


def compiled_loss(model: keras.Model, output: str | int | None = None) -> Any:
    """Return the loss that the model was compiled with, or None; of one output, if each output has its own loss."""
    loss = getattr(model, "loss", None) if model.compiled else None
    if output is None or not isinstance(loss, dict | list | tuple):
        return loss
    names = list(getattr(model, "output_names", []))
    if isinstance(loss, dict):
        return loss.get(names[output] if isinstance(output, int) else output)
    return loss[output if isinstance(output, int) else names.index(output)]


def find_logits(program: Program, *, loss: Any = None, from_logits: bool | None = None) -> Logits:
    """Find the logits of a program. A final softmax or sigmoid is removed on a copy of the last layer.

    Args:
        program: A model with one output.
        loss: The loss that the model was compiled with, or None; see `compiled_loss`.
        from_logits: True if linear outputs are logits, False if not. None leaves it to the loss; several linear units
            then count as logits unless the loss is a regression loss.

    Raises:
        ModelError: If the output is not class scores.
    """
    if len(program.outputs) != 1:
        names = [program.tensors[tensor].name for tensor in program.outputs]
        raise ModelError(
            f"Model '{program.name}' has {len(names)} outputs: {names}. Name the one that holds the class scores "
            "with output=NAME or output=INDEX."
        )
    tensor = program.outputs[0]
    units = program.tensors[tensor].sample_shape
    if len(units) != 1 or units[0] is None:
        raise ModelError(
            f"The output of model '{program.name}' has shape {units} an image. Expected class scores: (n_classes,)."
        )
    squash, logits = _behind_activation(program, tensor)
    kind = _kind(program, squash, units[0], from_logits, loss)
    return Logits(Output.of(kind, units[0]), logits.tensor, logits.step, logits.replacement)


def _behind_activation(program: Program, tensor: int) -> tuple[str, Logits]:
    """Return the name of the final activation, "linear" if there is none, and the place of the tensor before it."""
    placeholder = Output("logits", 0)  # `find_logits` sets the real output
    reshaped, output = False, tensor
    while tensor in program.makers:
        step = program.steps[program.makers[tensor]]
        operation, kind = step.operation, type(step.operation).__name__
        function = _activation_name(getattr(operation, "activation", None))
        if isinstance(operation, keras.layers.Softmax) or kind in ("Softmax", "Sigmoid"):
            function = "sigmoid" if kind == "Sigmoid" else "softmax"
            return function, _before(step, output if reshaped else None)
        if isinstance(operation, keras.layers.Activation):
            if function in ("softmax", "sigmoid"):
                return function, _before(step, output if reshaped else None)
            if function != "linear":
                return function or kind, Logits(placeholder, output)
        elif function in ("softmax", "sigmoid"):
            logits = output if reshaped else tensor
            return function, Logits(placeholder, logits, step, _without_activation(program, step))
        elif _only_reshapes(program, step):
            reshaped = True
        elif not (kind in _PASSING and type(operation).__module__.startswith("keras.")):
            return function or "linear", Logits(placeholder, output)
        tensor = step.reads[0]
    return "linear", Logits(placeholder, output)


def _activation_name(activation: Any) -> str | None:
    """Return the name of an activation, which may be a Keras or TensorFlow function, a partial of one, or a layer."""
    if isinstance(activation, functools.partial):
        return _activation_name(activation.func)
    if isinstance(activation, keras.layers.Softmax):
        return "softmax"
    if isinstance(activation, keras.layers.Activation):
        return _activation_name(activation.activation)
    name = getattr(activation, "__name__", None)
    return "softmax" if name == "softmax_v2" else name


def _before(step: Step, output: int | None) -> Logits:
    """Return the place of the logits before a layer that is only an activation.

    They are the layer's input. If its result is reshaped afterwards, they are the tensor `output`, computed with the
    activation replaced by the identity.
    """
    placeholder = Output("logits", 0)
    if output is None:
        return Logits(placeholder, step.reads[0])
    return Logits(placeholder, output, step, _unchanged)


def _unchanged(x: Any, *_: Any, **__: Any) -> Any:
    return x


def _only_reshapes(program: Program, step: Step) -> bool:
    """Check whether a step only adds or removes axes of length 1 and leaves the last axis unchanged."""
    operation = step.operation
    if type(operation).__name__ not in _RESHAPING or not type(operation).__module__.startswith("keras."):
        return False
    before, after = (program.tensors[tensor].sample_shape for tensor in (step.reads[0], step.makes[0]))
    return before[-1:] == after[-1:] and [d for d in before if d != 1] == [d for d in after if d != 1]


def _without_activation(program: Program, step: Step) -> keras.layers.Layer:
    layer = step.operation
    twin = copy_layer(layer, layer.name, activation="linear")
    twin.build(program.tensors[step.reads[0]].shape)
    copy_state(layer, twin, without=layer.activation)
    return twin


def _kind(program: Program, squash: str, units: int, from_logits: bool | None, loss: Any) -> str:
    where = f"The output of model '{program.name}' ({units} unit{'s' if units > 1 else ''}, {squash})"
    if squash == "softmax" and units > 1:
        return "softmax"
    if squash == "sigmoid":
        return "sigmoid" if units == 1 else "sigmoids"
    if squash not in ("linear", "log_softmax", "softmax") and from_logits is not True:
        raise ModelError(
            f"{where} is not class scores. Expected a softmax, a sigmoid, or linear logits; from_logits=True says that "
            "the values are logits all the same."
        )
    are_logits = from_logits if from_logits is not None else bool(getattr(loss, "from_logits", False)) or None
    if squash == "softmax":
        raise ModelError(f"{where} is constant: a softmax needs at least 2 units.")
    if units == 1:
        if are_logits:
            return "binary_logit"
        raise ModelError(
            f"{where} is not class scores, as far as can be seen: a single linear unit is a regression unless "
            "the model is compiled with a loss with from_logits=True, or from_logits=True is given."
        )
    if are_logits is False or (are_logits is None and _is_regression(loss)):
        raise ModelError(
            f"{where} is not class scores, by its loss or by from_logits=False. Give from_logits=True if it is logits."
        )
    return "logits"


def _is_regression(loss: Any) -> bool:
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    return isinstance(name, str) and name.lower().startswith(_REGRESSION)


def to_probabilities(outputs: np.ndarray, output: Output) -> np.ndarray:
    """Turn an array of a model's outputs into probabilities; see `Output.probabilities`.

    Args:
        outputs: `(N, units)`; the computation is in float64.
        output: Kind and classes of the output.

    Returns:
        float32 `(N, n_classes)`.
    """
    return np.asarray(output.probabilities(ops.convert_to_tensor(outputs, "float64"))).astype(np.float32)
