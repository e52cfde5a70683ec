"""Normalization with fixed statistics, taken into the weights of the layer before it."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from ..graph.program import Program, Step

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
