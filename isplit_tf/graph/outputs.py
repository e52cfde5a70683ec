"""The kind of a model's output, its classes, and the logits before its final activation."""

import functools
from dataclasses import dataclass, replace
from typing import Any

import keras

from ..errors import ModelError
from .keras_layers import copy_layer
from .layer_state import copy_state
from .output_end import KIND_OF, SQUASHES, End, changes_nothing, only_reshapes
from .output_kinds import KINDS, Output, checked_word, to_probabilities
from .program import Program, Step, read_program

__all__ = [
    "KINDS",
    "Logits",
    "Output",
    "compiled_loss",
    "describe_output",
    "find_kind",
    "find_logits",
    "to_probabilities",
]


@dataclass(frozen=True, eq=False)
class Logits:
    """The place of the logits in a program.

    Attributes:
        output: Kind and classes of the output.
        tensor: Index of the tensor that holds the logits when `replacement` is called.
        step: The step whose activation is removed, or None.
        replacement: What to call for this step: the same layer without its activation, or None.
        hidden: Whether the tensor holds the output itself, because it is probabilities whose logits are in no tensor.
    """

    output: Output
    tensor: int
    step: Step | None = None
    replacement: Any = None
    hidden: bool = False

    def scores(self, values: Any) -> Any:
        """Return the score of each class, whose gradient importance takes, from the tensor `(N, units)`."""
        return self.output.log_odds(values) if self.hidden else values

    def of(self, values: Any) -> Any:
        """Return the logits, up to a constant for each image, from the tensor `(N, units)`."""
        return self.output.logits(values) if self.hidden else values

    def operation(self, step: Step) -> Any:
        """Return the operation to call for a step of the program, so that the output is the logits."""
        return self.replacement if step is self.step else step.operation


def describe_output(model: keras.Model, **said: Any) -> Output:
    """Return the kind and classes of a model's output.

    Args:
        model: A built model with one output.
        **said: `from_logits` and `output_kind`, as in `find_logits`.

    Raises:
        ModelError: If the output is not class scores.
    """
    return find_logits(read_program(model), loss=compiled_loss(model), **said).output


def compiled_loss(model: keras.Model, output: str | int | None = None) -> Any:
    """Return the loss that the model was compiled with, or None; of one output, if each output has its own loss."""
    loss = getattr(model, "loss", None) if model.compiled else None
    if output is None or not isinstance(loss, dict | list | tuple):
        return loss
    names = list(getattr(model, "output_names", []))
    if isinstance(loss, dict):
        return loss.get(names[output] if isinstance(output, int) else output)
    return loss[output if isinstance(output, int) else names.index(output)]


def find_logits(
    program: Program,
    *,
    loss: Any = None,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    known: Output | None = None,
) -> Logits:
    """Find the logits of a program. A final softmax or sigmoid is removed on a copy of the last layer.

    An output without such an end is measured: values that add up to 1 for every image are probabilities, however they
    are computed. Their logits are in no tensor; see `Logits.scores`.

    Args:
        program: A model with one output.
        loss: The loss that the model was compiled with, or None; see `compiled_loss`.
        from_logits: True if linear outputs are logits, False if not. None leaves it to the measurement and the loss;
            several linear units then count as logits unless the loss is a regression loss.
        output_kind: What the output is, where the user says it, one of `WORDS`; it overrides all else but a final
            softmax or sigmoid.
        known: The output, where it was found before on the whole model; nothing is measured then.

    Raises:
        ArgumentError: If `output_kind` is unknown, or contradicts `from_logits`.
        ModelError: If the output is not class scores, or not what `output_kind` says.
    """
    word = checked_word(output_kind, from_logits)
    if len(program.outputs) != 1:
        names = [program.tensors[tensor].name for tensor in program.outputs]
        raise ModelError(
            f"Model '{program.name}' has {len(names)} outputs: {names}. Name the one that holds the class scores "
            "with output=NAME or output=INDEX."
        )
    tensor = program.outputs[0]
    shape = program.tensors[tensor].sample_shape
    if len(shape) != 1 or shape[0] is None:
        raise ModelError(
            f"The output of model '{program.name}' has shape {shape} an image. Expected class scores: (n_classes,)."
        )
    squash, place = _behind_activation(program, tensor)
    end = End(program, squash, shape[0], loss)
    if known is not None:
        kind = known.kind
    elif word is None or (output_kind is None and squash in SQUASHES):
        kind = end.found(from_logits)
    else:
        kind = end.said(word)
    output = Output.of(kind, shape[0])
    if output.holds_logits or kind == KIND_OF.get((squash, shape[0] > 1)):
        return replace(place, output=output)
    return Logits(output, tensor, hidden=True)


def find_kind(program: Program, *, loss: Any = None, output_kind: str | None = None) -> str | None:
    """Return the kind of a program's output as `find_logits` finds it; None if it is not class scores.

    Raises:
        ArgumentError: As `find_logits`.
        ModelError: If the output is not what `output_kind` says.
    """
    try:
        return find_logits(program, loss=loss, output_kind=output_kind).output.kind
    except ModelError:
        if output_kind is not None:
            raise
        return None


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
        elif only_reshapes(program, step):
            reshaped = True
        elif not changes_nothing(step):
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


def _without_activation(program: Program, step: Step) -> keras.layers.Layer:
    layer = step.operation
    twin = copy_layer(layer, layer.name, activation="linear")
    twin.build(program.tensors[step.reads[0]].shape)
    copy_state(layer, twin, without=layer.activation)
    return twin
