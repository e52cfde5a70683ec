"""The frozen float32 graph of a head for one image, the same for two builds of a network."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ...errors import ExportError
from ...graph.keras_layers import all_layers
from .conversion import INPUT_NAME
from .float32 import Answer
from .graphdef import NeutralGraph, neutral
from .rewriting import volume_pools, without_volume_pools

MOST_STEPS = 256
_CONTROL_FLOW = {
    **dict.fromkeys(("While", "StatelessWhile"), "WHILE"),
    **dict.fromkeys(("If", "StatelessIf", "Case", "StatelessCase"), "IF"),
}


@dataclass(frozen=True)
class TracedHead:
    """Head and encoder as one graph with the weights inside.

    Attributes:
        graph: The graph, with neutral names.
        input_ref: Its input tensor, float32 `(1, *input_shape)`.
        output_ref: Its output tensor, float32 `(1, *latent_shape)`.
        input_shape: Without the batch.
        latent_shape: Without the batch.
        layers: The class of each layer by its name.
    """

    graph: NeutralGraph
    input_ref: str
    output_ref: str
    input_shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    layers: Mapping[str, str]

    @property
    def control_flow(self) -> list[tuple[str, str]]:
        """Return the nodes that are loops and branches, with LiteRT's name for each."""
        graph = self.graph.graph
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        return [(node.name, _CONTROL_FLOW[node.op]) for node in nodes if node.op in _CONTROL_FLOW]

    def with_graph(self, graph: graph_pb2.GraphDef) -> "TracedHead":
        """Return the same head with another graph, whose nodes have the names of this one's or new ones."""
        return dataclasses.replace(self, graph=NeutralGraph(graph, self.graph.names))

    def place(self, node: str) -> str:
        """Return where a node comes from: its name when it was traced, and the layer that it belongs to."""
        name = self.graph.original(node)
        for part in reversed(name.split("/")):
            for layer in (part, re.sub(r"_\d+$", "", part)):  # TensorFlow numbers the calls of a layer
                if layer in self.layers:
                    return f"'{name}' in layer '{layer}' ({self.layers[layer]})"
        return f"'{name}'"


def trace_head(head: keras.Model, encoder: keras.Model | None = None, *, answer: Answer) -> TracedHead:
    """Record what head and encoder compute for one image.

    Args:
        head: The head, of one input and one output.
        encoder: The encoder, or None for a split without a bottleneck.
        answer: What `in_float32` yields for these models.

    Returns:
        The graph; the models are as before.

    Raises:
        ExportError: If the head has several inputs or outputs, or a shape that is not fixed.
    """
    models: Sequence[keras.Model] = [head] if encoder is None else [head, encoder]
    input_shape = _one_fixed_shape(head.inputs, head, "input")
    weights = [(weight, weight.numpy()) for model in models for weight in model.variables]

    def run(x: tf.Tensor) -> tf.Tensor:
        constants = [(variable, tf.constant(value)) for variable, value in weights]
        with keras.StatelessScope(state_mapping=constants):
            for model in models:
                x = answer(model, x)
        return tf.cast(x, tf.float32)

    spec = tf.TensorSpec((1, *input_shape), tf.float32, name=INPUT_NAME)
    function = tf.function(run, autograph=False).get_concrete_function(spec)
    output = function.structured_outputs
    if not output.shape.is_fully_defined():
        raise ExportError(
            f"The latent of one image needs a fixed shape. Found: {tuple(output.shape[1:])} after "
            f"{' and '.join(repr(model.name) for model in models)}. Possible: a cut whose shape has no None."
        )
    pools = volume_pools(function.graph)
    if any(tensor.dtype == tf.resource for tensor in function.inputs):
        # A function of a SavedModel, as in a TFSMLayer, reads its variables itself, not through Keras.
        function = convert_variables_to_constants_v2(function, lower_control_flow=False)
        (output,) = function.outputs
    graph = neutral(_without_negation(without_volume_pools(function.graph.as_graph_def(), pools)))
    return TracedHead(
        graph=graph,
        input_ref=f"{graph.names[function.inputs[0].op.name]}:0",
        output_ref=f"{graph.names[output.op.name]}:{output.value_index}",
        input_shape=input_shape,
        latent_shape=tuple(output.shape[1:]),
        layers={
            layer.name: type(layer).__name__
            for model in models
            for layer in all_layers(model)
            if not isinstance(layer, keras.Model)
        },
    )


@contextlib.contextmanager
def unrolled(*models: keras.Model | None) -> Iterator[None]:
    """Let recurrent layers write out their steps while they are traced, in place of a loop; the numbers are the same.

    Sequences of more than `MOST_STEPS` steps keep their loop: the graph would be too large for the converter.
    """
    layers = {
        id(layer): layer
        for model in models
        if model is not None
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.RNN) and not layer.unroll
    }
    try:
        for layer in layers.values():
            vars(layer)["call"] = _unrolling(layer)
        yield
    finally:
        for layer in layers.values():
            vars(layer).pop("call", None)
            layer.unroll = False


def _unrolling(layer: keras.layers.RNN) -> Callable[..., Any]:
    def call(sequences: Any, *args: Any, **kwargs: Any) -> Any:
        layer.unroll = sequences.shape[1] <= MOST_STEPS
        return type(layer).call(layer, sequences, *args, **kwargs)

    return call


def _one_fixed_shape(tensors: Sequence[keras.KerasTensor], model: keras.Model, side: str) -> tuple[int, ...]:
    if len(tensors) != 1 or len(model.outputs) != 1:
        raise ExportError(
            f"A head with one input and one output can be exported. Found: {len(tensors)} inputs and "
            f"{len(model.outputs)} outputs in '{model.name}'."
        )
    shape = tuple(tensors[0].shape[1:])
    if not shape or None in shape:
        raise ExportError(
            f"The head's {side} needs a fixed shape on a device. Found: {shape} in '{model.name}'. Possible: the same "
            "model built with keras.Input of the size that the device will use."
        )
    return shape


def _without_negation(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """Replace -x by x * -1, which is the same number: LiteRT negates in float only, and normalization layers negate.

    The negation inside of GELU stays: the converter knows the activation by its whole pattern.
    """
    result = graph_pb2.GraphDef(versions=graph.versions, library=graph.library)
    inside_gelu = _negations_before_erfc(graph)
    for node in graph.node:
        if node.op == "Neg" and node.name not in inside_gelu:
            factor = result.node.add(op="Const", name=f"{node.name}/minus_one")
            factor.attr["dtype"].CopyFrom(node.attr["T"])
            minus_one = tf.make_tensor_proto(-1, tf.as_dtype(node.attr["T"].type))
            factor.attr["value"].tensor.CopyFrom(minus_one)
            product = result.node.add(op="Mul", name=node.name, device=node.device)
            product.attr["T"].CopyFrom(node.attr["T"])
            product.input[:] = [node.input[0], factor.name, *node.input[1:]]
        else:
            result.node.add().CopyFrom(node)
    return result


def _negations_before_erfc(graph: graph_pb2.GraphDef) -> set[str]:
    """Return the names of the negations in x / 2 * erfc(-x / sqrt(2)), which is GELU."""
    nodes = {node.name: node for node in graph.node}
    scaled = {name.split(":")[0] for node in graph.node if node.op == "Erfc" for name in node.input}
    sources = {name.split(":")[0] for node in scaled if nodes[node].op == "Mul" for name in nodes[node].input}
    return {name for name in scaled | sources if nodes[name].op == "Neg"}
