"""Multiply-accumulates as TensorFlow's own profiler counts them."""

import contextlib
import math
import os
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from isplit_tf.graph.program import fill, read_program

KNOWN = ["MatMul", "BatchMatMul", "BatchMatMulV2", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput"]


def profiled_macs(model: keras.Model) -> tuple[int, dict[str, int]]:
    """Half the float operations of convolutions and matrix products in a model's frozen graph, for one image.

    Returns:
        What the profiler counts, and by name the products that it does not know, counted by hand.
    """
    program = read_program(model)
    specs = {k: tf.TensorSpec([1, *program.tensors[k].sample_shape], program.tensors[k].dtype) for k in program.inputs}
    inputs = fill(program.input_structure, specs)
    call = tf.function(lambda x: model(x, training=False))
    graph = convert_variables_to_constants_v2(call.get_concrete_function(inputs)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    options = options.with_accounted_types([f"^{kind}$" for kind in KNOWN]).with_empty_output().build()
    with graph.as_default(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        flops = tf.compat.v1.profiler.profile(graph, cmd="op", options=options).total_float_ops
    by_hand: dict[str, int] = {}
    for operation in graph.get_operations():
        if operation.type == "Einsum":
            by_hand[operation.name] = _einsum(operation)
        elif operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            by_hand[operation.name] = _grouped_convolutions(graph, operation)
    return flops // 2, by_hand


def _grouped_convolutions(graph: Any, call: Any) -> int:
    """Keras compiles grouped convolutions into functions of their own, which are not looked into."""
    name = call.get_attr("f").name
    definition = next(f for f in graph.as_graph_def().library.function if f.signature.name == name)
    inner = function_def_to_graph(definition, input_shapes=[tensor.shape for tensor in call.inputs])
    return sum(
        math.prod(one.outputs[0].shape) * math.prod(one.inputs[1].shape[:-1])
        for one in inner.get_operations()
        if one.type == "Conv2D"
    )


def _einsum(operation: Any) -> int:
    """The product of the lengths of all letters."""
    lengths: dict[str, int] = {}
    terms = operation.get_attr("equation").decode().split("->")[0].split(",")
    for letters, tensor in zip(terms, operation.inputs, strict=True):
        lengths.update(zip(letters, tensor.shape, strict=True))
    return math.prod(lengths.values())
