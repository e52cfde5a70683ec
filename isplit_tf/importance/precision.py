"""A model in lower precision, on copies of its layers."""

import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, ModelError
from ..graph.keras_layers import all_layers, copy_layer
from ..graph.layer_state import copy_state
from ..graph.program import Program, Step
from ..graph.weights import WeightedOperation

RUN_PRECISIONS = ("float32", "bfloat16", "float16")
# On a CPU, TensorFlow takes several times as long for the gradient of these layers in bfloat16 as in float32.
_SLOW_IN_BFLOAT16 = (
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_NAMED = 8  # number of layers that a warning names
# The errors that a layer written for float32 raises on a tensor in another precision.
_REFUSALS = (TypeError, ValueError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


def require_precision(precision: str) -> None:
    """Raise an error unless the precision exists and suits this machine.

    Raises:
        ArgumentError: If the precision is unknown, or if it is float16 and there is no GPU.
    """
    if precision not in RUN_PRECISIONS:
        raise ArgumentError(f"Unknown precision {precision!r}. Possible: {', '.join(map(repr, RUN_PRECISIONS))}.")
    if precision == "float16" and not tf.config.list_physical_devices("GPU"):
        raise ArgumentError(
            "precision='float16' needs a GPU, and TensorFlow sees none: processors convert every number of it to "
            "float32 and back, which takes longer than float32 itself. Possible here: 'bfloat16'."
        )


def lowered(
    program: Program, operation: Callable[[Step], Any], precision: str, *, crossing: Iterable[int] = ()
) -> dict[int, Any]:
    """Copy a program's float32 layers, with their weights, in lower precision.

    The copies are run once on an image of zeros. A layer that cannot be copied, that does not run in lower precision,
    or that would be slower, stays in float32. A normalization is folded into a linear layer before it.

    Args:
        program: The model.
        operation: Returns the operation to call for a step.
        precision: "bfloat16" or "float16".
        crossing: Indices of the tensors at the cuts.

    Returns:
        The operation to call instead of each original, by `id` of the original.

    Warns:
        UserWarning: If layers still give results in float32; the warning names them.
    """
    copier = _Copier(program, operation, precision, crossing)
    if tf.distribute.has_strategy():
        # A strategy's collectives do not support bfloat16. Its scope belongs to one thread, so copies that are made in
        # another thread are not distributed by them.
        with ThreadPoolExecutor(1) as executor:
            float32_steps = executor.submit(copier.copy_all).result()
    else:
        float32_steps = copier.copy_all()
    if float32_steps:
        more = f" and {len(float32_steps) - _NAMED} more" if len(float32_steps) > _NAMED else ""
        warnings.warn(
            f"precision='{precision}': of model '{program.name}' these stay in float32: "
            f"{', '.join(float32_steps[:_NAMED])}{more}.",
            stacklevel=4,
        )
    return copier.copies


def to_precision(value: tf.Tensor, precision: str) -> tf.Tensor:
    """Cast a float32 tensor to the precision; return any other tensor unchanged."""
    return tf.cast(value, precision) if value.dtype == tf.float32 else value


class _Copier:
    """A copier of operations, which copies each one when it is first called.

    Attributes:
        copies: The operation to call instead of each original, by `id` of the original.
    """

    def __init__(self, program: Program, operation: Callable[[Step], Any], precision: str, crossing: Iterable[int]):
        self._program = program
        self._operation = operation
        self._precision = precision
        self._norms = folded_norms(program, operation, crossing)
        self._own: dict[int, Any] = {}
        self.copies: dict[int, Any] = {}

    def copy_all(self) -> list[str]:
        """Fill `copies` and return descriptions of the steps that still give results in float32."""
        values = {tensor: _zeros(self._program, tensor, self._precision) for tensor in self._program.inputs}
        float32_steps = []
        for step in self._program.steps:
            self._run(step, values)
            if any(tf.as_dtype(values[tensor].dtype) == tf.float32 for tensor in step.makes):
                float32_steps.append(f"'{step.name}' ({step.layer_type})")
        for key, copy in self.copies.items():
            original = self._own[key]
            if key in self._norms:
                fold(original, self._norms[key], copy)
            elif copy is not original and copy is not unchanged:
                copy_state(original, copy)
        return float32_steps

    def _run(self, step: Step, values: dict[int, Any]) -> None:
        """Run a step on a copy of its operation, or on the operation itself if the copy does not run."""
        original = self._operation(step)
        if id(original) not in self._own:
            self._own[id(original)] = original
            self.copies[id(original)] = self._copy(original)
        try:
            self._program.run(values, [step], lambda _: self.copies[id(original)])
        except _REFUSALS:
            if self.copies[id(original)] is original:
                raise
            self.copies[id(original)] = original
            self._norms.pop(id(original), None)
            self._program.run(values, [step], self._operation)

    def _copy(self, own: Any) -> Any:
        """Return a copy, which gets weights when it is first called, or the operation itself if it stays in float32."""
        folds = id(own) in self._norms
        slow = isinstance(own, _SLOW_IN_BFLOAT16) and not tf.config.list_physical_devices("GPU")
        if own in self._norms.values():
            return unchanged
        if not isinstance(own, keras.layers.Layer) or own.dtype_policy.name != "float32" or (slow and not folds):
            return own
        if isinstance(own, WeightedOperation):
            return own.with_weights_as(self._precision)
        try:
            copy = copy_layer(own, own.name)
        except ModelError:
            return own
        if folds:
            copy.use_bias = True
        for inner in all_layers(copy):
            if inner.dtype_policy.name == "float32" and not slow:
                inner.dtype_policy = self._precision
        return copy


def _zeros(program: Program, tensor: int, precision: str) -> tf.Tensor:
    spec = program.tensors[tensor]
    return to_precision(tf.zeros([1, *(size or 1 for size in spec.sample_shape)], spec.dtype), precision)


_LINEAR = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


def folded_norms(
    program: Program, operation: Callable[[Step], Any], crossing: Iterable[int]
) -> dict[int, keras.layers.BatchNormalization]:
    """Return the normalizations that can be folded into the layer before them, by `id` of that layer.

    A normalization can be folded if the layer is linear and called once, and if only the normalization reads the
    output of the layer.

    Args:
        program: The model.
        operation: Returns the operation to call for a step.
        crossing: Indices of the tensors at the cuts, whose values must not change.
    """
    operations = [operation(step) for step in program.steps]
    used = [*crossing, *program.outputs, *(tensor for step in program.steps for tensor in step.reads)]
    norms = {}
    for step, norm in zip(program.steps, operations, strict=True):
        maker = program.makers.get(step.reads[0]) if type(norm) is keras.layers.BatchNormalization else None
        if maker is None:
            continue
        layer = operations[maker]
        alone = used.count(step.reads[0]) == 1 and operations.count(layer) == operations.count(norm) == 1
        rank = len(program.tensors[step.reads[0]].shape)
        axis = 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
        if alone and type(layer) in _LINEAR and _is_linear(layer) and norm.axis in (axis, axis - rank):
            norms[id(layer)] = norm
    return norms


def _is_linear(layer: keras.layers.Layer) -> bool:
    return layer.activation is keras.activations.linear and not getattr(layer, "lora_enabled", False)


def fold(layer: keras.layers.Layer, norm: keras.layers.BatchNormalization, target: keras.layers.Layer) -> None:
    """Fold a layer and the normalization after it into `target`, a built copy of the layer with a bias."""
    scale = 1 / np.sqrt(np.array(norm.moving_variance, np.float64) + norm.epsilon)
    if norm.scale:
        scale = scale * np.array(norm.gamma)
    shift = -np.array(norm.moving_mean, np.float64) * scale
    if norm.center:
        shift = shift + np.array(norm.beta)
    if layer.use_bias:
        shift = shift + np.array(layer.bias) * scale
    kernel = np.array(layer.kernel, np.float64)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    target.kernel.assign(kernel * (scale.reshape(kernel.shape[-2:]) if depthwise else scale))
    target.bias.assign(shift)


def unchanged(tensor: Any, **_: Any) -> Any:
    """Return the tensor; this is called in place of a normalization that was folded."""
    return tensor
