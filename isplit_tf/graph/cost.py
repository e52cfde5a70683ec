"""The cost of layers: weights, and multiply-accumulates per image.

A multiply-accumulate (MAC) is one multiplication of a matrix product or convolution with its addition. Operations on
single elements (activations, normalization, pooling, additions, biases) count as none, as is usual in the field.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from ..errors import ModelError
from .keras_layers import variables_of
from .program import Program, Ref, Step, read_program

Shape = tuple[int, ...]
Rule = Callable[[Any, Sequence[Shape], Sequence[Shape]], int]


@dataclass(frozen=True)
class Cost:
    """Weights (elements) and multiply-accumulates per image."""

    params: int
    macs: int


class CostTable:
    """The costs of a program's steps, summed up before and after any position.

    A weight that is used on both sides counts on both.
    """

    def __init__(self, program: Program):
        self._macs = [step_macs(program, step) for step in program.steps]
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._size: dict[int, int] = {}
        for index, step in enumerate(program.steps):
            for variable in variables_of(step.operation):
                self._first.setdefault(id(variable), index)
                self._last[id(variable)] = index
                self._size[id(variable)] = math.prod(variable.shape)

    def around(self, position: int) -> tuple[Cost, Cost]:
        """Return the cost of the steps before `position`, and the cost of the steps from `position` on."""
        before = sum(size for key, size in self._size.items() if self._first[key] < position)
        after = sum(size for key, size in self._size.items() if self._last[key] >= position)
        return Cost(before, sum(self._macs[:position])), Cost(after, sum(self._macs[position:]))


def count_macs(model: keras.Model) -> int:
    """Return the multiply-accumulates of a whole model per image.

    Args:
        model: A built model; a varying dimension other than the batch counts as 1.

    Returns:
        The number of multiply-accumulates of its convolutions, matrix products, attention and recurrent layers.

    Raises:
        ModelError: If the model cannot be read, or if an unknown layer does not run in a TensorFlow graph.

    Example:
        >>> inputs = keras.Input((5,))
        >>> count_macs(keras.Model(inputs, keras.layers.Dense(3)(inputs)))
        15
    """
    return program_macs(read_program(model))


def program_macs(program: Program) -> int:
    """Return the multiply-accumulates of a whole program per image; see `count_macs`."""
    return sum(step_macs(program, step) for step in program.steps)


def step_macs(program: Program, step: Step) -> int:
    """Return the multiply-accumulates of one step per image."""

    def shapes(tensors: Sequence[int]) -> list[Shape]:
        return [tuple(d or 1 for d in program.tensors[tensor].sample_shape) for tensor in tensors]

    operation = step.operation
    for kind in type(operation).__mro__:
        if kind.__module__.startswith("keras.") and kind.__name__ in _RULES:
            return _RULES[kind.__name__](operation, shapes(step.reads), shapes(step.makes))
    if step.layer_type in ("Matmul", "Einsum", "Dot", "Tensordot") or (
        not type(operation).__module__.startswith("keras.src.layers") and variables_of(operation)
    ):
        return _traced_macs(program, step)
    return 0


def _space(shape: Shape, layer: Any) -> int:
    return math.prod(shape[1:] if getattr(layer, "data_format", None) == "channels_first" else shape[:-1])


def _channels(shape: Shape, layer: Any) -> int:
    return shape[0] if getattr(layer, "data_format", None) == "channels_first" else shape[-1]


def _conv(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    taps = math.prod(layer.kernel_size) * _channels(ins[0], layer) // layer.groups
    return _space(outs[0], layer) * taps * layer.filters


def _depthwise(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return _space(outs[0], layer) * math.prod(layer.kernel_size) * _channels(outs[0], layer)


def _separable(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    middle = _channels(ins[0], layer) * layer.depth_multiplier
    return _space(outs[0], layer) * middle * (math.prod(layer.kernel_size) + layer.filters)


def _conv_transpose(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return math.prod(ins[0]) * math.prod(layer.kernel_size) * layer.filters


def _dense(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return math.prod(ins[0]) * layer.units


def _einsum_dense(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    """Return the product of the lengths of all letters of the equation, without the batch."""
    first, second = layer.equation.replace(" ", "").split("->")[0].split(",")
    before, _, after = first.partition("...")
    shape = (1, *ins[0])
    lengths = dict(zip(second, layer.kernel.shape, strict=True))
    lengths |= dict(zip(before, shape, strict=False)) | dict(zip(reversed(after), reversed(shape), strict=False))
    ellipsis_shape = shape[len(before) : len(shape) - len(after)] if "..." in first else ()
    return math.prod(lengths.values()) * math.prod(ellipsis_shape)


def _recurrent(gates: int) -> Rule:
    def rule(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
        steps, features = ins[0][0], ins[0][-1]
        return steps * gates * layer.units * (features + layer.units)

    return rule


def _rnn(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    cells = layer.cell.cells if hasattr(layer.cell, "cells") else [layer.cell]
    steps, features, total = ins[0][0], ins[0][-1], 0
    for cell in cells:
        gates = {"LSTMCell": 4, "GRUCell": 3, "SimpleRNNCell": 1}.get(type(cell).__name__, 0)
        total += steps * gates * cell.units * (features + cell.units)
        features = cell.units
    return total


def _conv_lstm(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    steps = ins[0][0]
    cell = layer.cell
    space = outs[0][-1 - cell.rank : -1] if layer.data_format != "channels_first" else outs[0][-cell.rank :]
    channels = ins[0][1] if layer.data_format == "channels_first" else ins[0][-1]
    taps = math.prod(cell.kernel_size)
    return steps * math.prod(space) * taps * 4 * cell.filters * (channels + cell.filters)


def _inner(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    for kind in type(layer).__mro__:
        if kind.__name__ in _RULES:
            return _RULES[kind.__name__](layer, ins, outs)
    if isinstance(layer, keras.Model) or not type(layer).__module__.startswith("keras."):  # inside a wrapper of Keras
        return _graph_macs(layer, [tf.TensorSpec([1, *shape]) for shape in ins])
    return 0


def _wrapped(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return _inner(layer.layer, ins, outs)


def _at_each_step(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return ins[0][0] * _inner(layer.layer, [ins[0][1:]], [outs[0][1:]])


def _bidirectional(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return sum(_inner(inner, ins, outs) for inner in (layer.forward_layer, layer.backward_layer))


def _multi_head_attention(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    query, value = ins[0], ins[1] if len(ins) > 1 else ins[0]
    key = ins[2] if len(ins) > 2 else value
    width = layer.num_heads * layer.key_dim
    value_width = layer.num_heads * (layer.value_dim or layer.key_dim)
    q, k = math.prod(query[:-1]), math.prod(value[:-1])
    projections = q * query[-1] * width + k * key[-1] * width + k * value[-1] * value_width
    return projections + q * k * (width + value_width) + q * value_width * outs[0][-1]


def _grouped_attention(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    query, value = ins[0], ins[1] if len(ins) > 1 else ins[0]
    width, narrow = layer.num_query_heads * layer.head_dim, layer.num_key_value_heads * layer.head_dim
    q, k = query[0], value[0]
    return q * query[-1] * width + 2 * k * value[-1] * narrow + 2 * q * k * width + q * width * outs[0][-1]


def _attention(layer: Any, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    query, value = ins[0], ins[1]
    return query[0] * value[0] * (query[-1] + value[-1])


_RULES: dict[str, Rule] = {
    "BaseConv": _conv,
    "BaseDepthwiseConv": _depthwise,
    "BaseSeparableConv": _separable,
    "BaseConvTranspose": _conv_transpose,
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "SimpleRNN": _recurrent(1),
    "ConvLSTM": _conv_lstm,
    "RNN": _rnn,
    "Bidirectional": _bidirectional,
    "TimeDistributed": _at_each_step,
    "Wrapper": _wrapped,
    "MultiHeadAttention": _multi_head_attention,
    "GroupedQueryAttention": _grouped_attention,
    "AdditiveAttention": lambda layer, ins, outs: ins[0][0] * ins[1][0] * ins[1][-1],
    "Attention": _attention,
}


def _traced_macs(program: Program, step: Step) -> int:
    """Return the multiply-accumulates of an unknown layer, counted in the TensorFlow graph that it runs."""
    specs = {
        tensor: tf.TensorSpec([1, *(d or 1 for d in spec.sample_shape)], spec.dtype)
        for tensor, spec in ((t, program.tensors[t]) for t in step.reads)
    }
    names = list(specs)

    def call(*values: Any) -> Any:
        by_name = dict(zip(names, values, strict=True))
        args, kwargs = tree.map_structure(
            lambda leaf: by_name[leaf.tensor] if isinstance(leaf, Ref) else leaf, (step.args, step.kwargs)
        )
        return step.operation(*args, **kwargs)

    try:
        return _graph_macs(call, list(specs.values()))
    except (TypeError, ValueError, AttributeError, NotImplementedError, tf.errors.OpError) as error:
        raise ModelError(
            f"Layer '{step.name}' ({step.layer_type}) of model '{program.name}' does not run in a TensorFlow graph: "
            f"{(str(error).strip() or type(error).__name__).splitlines()[0]} Write its `call` with keras.ops or tf.*, "
            "without NumPy and without conditions on values."
        ) from error


def _graph_macs(call: Callable, specs: Sequence[tf.TensorSpec]) -> int:
    """Return the multiply-accumulates of a call, counted in its TensorFlow graph."""
    graph = tf.function(call, autograph=False).get_concrete_function(*specs).graph
    return sum(_operation_macs(operation) for operation in _operations(graph))


def _operations(graph: Any) -> list[Any]:
    inner = [function.graph for function in getattr(graph, "_functions", {}).values() if hasattr(function, "graph")]
    return [*graph.get_operations(), *(operation for g in inner for operation in g.get_operations())]


def _operation_macs(operation: Any) -> int:
    kind = operation.type
    if kind in ("MatMul", "BatchMatMulV2", "BatchMatMul"):
        transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        contracted = operation.inputs[0].shape[-2 if transposed else -1]
        return math.prod(d or 1 for d in operation.outputs[0].shape) * (contracted or 1)
    if kind in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        *window, channels, _ = operation.inputs[1].shape
        taps = math.prod(window) * (1 if kind.startswith("Depthwise") else channels)
        return math.prod(d or 1 for d in operation.outputs[0].shape) * taps
    if kind == "Einsum":
        operands = operation.get_attr("equation").decode().split("->")[0].split(",")
        lengths: dict[str, int] = {}
        for letters, tensor in zip(operands, operation.inputs, strict=True):
            if "." not in letters:
                lengths.update(zip(letters, [d or 1 for d in tensor.shape], strict=True))
        return math.prod(lengths.values()) if len(operands) > 1 else 0
    return 0
