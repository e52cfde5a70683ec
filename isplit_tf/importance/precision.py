"""A model in lower precision, on copies of its layers."""

import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, ModelError
from ..graph.keras_layers import all_layers, copy_layer, copy_state
from ..graph.program import Program, Step
from ..graph.weights import WeightedOperation

RUN_PRECISIONS = ("float32", "bfloat16", "float16")
# On processors TensorFlow takes several times as long for their gradient in bfloat16 as in float32.
_SLOW_IN_BFLOAT16 = (
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_NAMED = 8  # layers that a warning names one by one
# What a layer that was written for float32 raises on a tensor in another precision.
_REFUSALS = (TypeError, ValueError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


def require_precision(precision: str) -> None:
    """Refuse a precision that there is not, and float16 where there is no GPU.

    Raises:
        ArgumentError: It is refused.
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
    """Copies of a program's float32 layers in lower precision, weights included.

    One image of zeros is run through them. A layer that cannot be copied, that does not run in lower precision, or
    that would be slower, stays in float32. A normalization is folded into a linear layer before it.

    Args:
        program: The model.
        operation: What is called for a step.
        precision: "bfloat16" or "float16".
        crossing: Tensors that are looked at.

    Returns:
        What to call by `id` of the operation that it stands for.

    Warns:
        UserWarning: Of the layers whose results are in float32 all the same.
    """
    copier = _Copier(program, operation, precision, crossing)
    if tf.distribute.has_strategy():
        # The scope of a strategy is that of a thread. Outside of it, copies are not spread by its collectives, which
        # do not know bfloat16.
        with ThreadPoolExecutor(1) as outside:
            high = outside.submit(copier.copy_all).result()
    else:
        high = copier.copy_all()
    if high:
        more = f" and {len(high) - _NAMED} more" if len(high) > _NAMED else ""
        warnings.warn(
            f"precision='{precision}': of model '{program.name}' these stay in float32: "
            f"{', '.join(high[:_NAMED])}{more}.",
            stacklevel=4,
        )
    return copier.copies


def to_precision(value: tf.Tensor, precision: str) -> tf.Tensor:
    """A float32 tensor in lower precision; any other as it is."""
    return tf.cast(value, precision) if value.dtype == tf.float32 else value


class _Copier:
    """Copies operations as they are first called.

    Attributes:
        copies: What to call by `id` of the operation that it stands for.
    """

    def __init__(self, program: Program, operation: Callable[[Step], Any], precision: str, crossing: Iterable[int]):
        self._program = program
        self._operation = operation
        self._precision = precision
        self._norms = folded_norms(program, operation, crossing)
        self._own: dict[int, Any] = {}
        self.copies: dict[int, Any] = {}

    def copy_all(self) -> list[str]:
        """Fill `copies`; returns the names of the steps whose results are in float32 all the same."""
        values = {tensor: _zeros(self._program, tensor, self._precision) for tensor in self._program.inputs}
        high = []
        for step in self._program.steps:
            self._run(step, values)
            if any(tf.as_dtype(values[tensor].dtype) == tf.float32 for tensor in step.makes):
                high.append(f"'{step.name}' ({step.layer_type})")
        for key, copy in self.copies.items():
            own = self._own[key]
            if key in self._norms:
                fold(own, self._norms[key], copy)
            elif copy is not own and copy is not unchanged:
                copy_state(own, copy)
        return high

    def _run(self, step: Step, values: dict[int, Any]) -> None:
        """Run a step, on a copy of its operation where there can be one."""
        own = self._operation(step)
        if id(own) not in self._own:
            self._own[id(own)] = own
            self.copies[id(own)] = self._copy(own)
        try:
            self._program.run(values, [step], lambda _: self.copies[id(own)])
        except _REFUSALS:
            if self.copies[id(own)] is own:
                raise
            self.copies[id(own)] = own
            self._norms.pop(id(own), None)
            self._program.run(values, [step], self._operation)

    def _copy(self, own: Any) -> Any:
        """A copy, whose weights come to be once it is called; the operation itself where it is to be called."""
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
    """The normalizations that the layer before them can do, by `id` of that layer.

    It can where it is linear and called once, and where nothing but the normalization sees its output.

    Args:
        program: The model.
        operation: What is called for a step.
        crossing: Tensors that are looked at, which must stay what they are.
    """
    operations = [operation(step) for step in program.steps]
    seen = [*crossing, *program.outputs, *(tensor for step in program.steps for tensor in step.reads)]
    found = {}
    for step, norm in zip(program.steps, operations, strict=True):
        maker = program.makers.get(step.reads[0]) if type(norm) is keras.layers.BatchNormalization else None
        if maker is None:
            continue
        layer = operations[maker]
        alone = seen.count(step.reads[0]) == 1 and operations.count(layer) == operations.count(norm) == 1
        rank = len(program.tensors[step.reads[0]].shape)
        axis = 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
        if alone and type(layer) in _LINEAR and _is_linear(layer) and norm.axis in (axis, axis - rank):
            found[id(layer)] = norm
    return found


def _is_linear(layer: keras.layers.Layer) -> bool:
    return layer.activation is keras.activations.linear and not getattr(layer, "lora_enabled", False)


def fold(layer: keras.layers.Layer, norm: keras.layers.BatchNormalization, target: keras.layers.Layer) -> None:
    """Put into a built copy of a layer, which has a bias, what the layer and the normalization after it compute."""
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
    """What is left of a normalization that was folded."""
    return tensor
