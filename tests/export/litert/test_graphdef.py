"""Graphs whose names do not depend on what else was built."""

import keras
import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from isplit_tf.export.litert.converter import convert
from isplit_tf.export.litert.float32 import in_float32
from isplit_tf.export.litert.graphdef import neutral
from isplit_tf.export.litert.trace import TracedHead, trace_head


def branches() -> keras.Model:
    """Twelve equal branches: enough for `conv2d_9` and `conv2d_10` to change places in an alphabet."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 5, 3))
    parts = [keras.layers.Conv2D(2, 3, activation="relu")(inputs) for _ in range(12)]
    return keras.Model(inputs, keras.layers.Concatenate()(parts))


def recurrent() -> keras.Model:
    """Two loops, whose bodies are functions of the graph."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7, 3))
    return keras.Model(inputs, keras.layers.Bidirectional(keras.layers.GRU(4))(inputs))


def traced(model: keras.Model) -> TracedHead:
    """A head as the converter gets it."""
    with in_float32(model) as answer:
        return trace_head(model, answer=answer)


def test_two_builds_give_the_same_graph():
    """Automatic layer names, function numbers and debug information leave no trace."""
    for build in (branches, recurrent):
        first, second = (traced(build()).graph.graph for _ in range(2))
        assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def loops(order: int) -> graph_pb2.GraphDef:
    """Nodes that name two functions each, the attributes put in in a given direction, among ever more others."""
    graph = graph_pb2.GraphDef()
    for k in range(64):
        node = graph.node.add(name=f"loop{k}", op="While")
        for key in [*(f"padding{j}" for j in range(k)), "body", "cond"][::order]:
            if key in ("body", "cond"):
                name = node.attr[key].func.name = f"{key}{k}"
                graph.library.function.add(signature={"name": name}).node_def.add(name="only", op=name)
            else:
                node.attr[key].i = 1
    return graph


def test_the_order_of_attributes_does_not_count():
    """Attributes are a map, whose order hangs on memory addresses: functions are numbered by the attributes' names."""
    first, second = (neutral(loops(order)).graph.SerializeToString(deterministic=True) for order in (1, -1))
    assert first == second


def test_the_graph_computes_what_the_model_does():
    """Renaming changes no number, loops included: the file made of the graph answers as the model does."""
    for build in (branches, recurrent):
        assert convert(build(), precision="float32").relative_error < 1e-6


def test_original_names_can_be_told():
    """An error about a node of the renamed graph names the layer that it came from."""
    function = tf.function(lambda x: tf.sin(x, name="wave")).get_concrete_function(tf.TensorSpec([2]))
    graph = neutral(function.graph.as_graph_def())
    assert graph.original(f"at {graph.names['wave']}!") == "at wave!"
    assert "wave" not in str(graph.graph)
