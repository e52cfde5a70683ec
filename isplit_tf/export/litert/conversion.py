"""The request for a conversion, and the graph as the converters read it. It knows no Keras: a worker starts fast."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from ...display.quiet import without_saving_lines

INPUT_NAME = "input"
OUTPUT_NAME = "latent"
SIGNATURE = "serving_default"
QUANTIZED = ("int8", "int16x8")
TF_LITE, LITERT = "tf.lite", "litert"
CONVERTERS = (TF_LITE, LITERT)
"""The converters by name; `engines` has what each does."""


@dataclass(frozen=True)
class Task:
    """The request that goes with a graph.

    Attributes:
        precision: As `convert` takes it.
        input_ref: The graph's input tensor, float32 `(1, *input_shape)`.
        output_ref: Its output tensor.
        input_shape: Without the batch.
        converter: One of `CONVERTERS`.
    """

    precision: str
    input_ref: str
    output_ref: str
    input_shape: tuple[int, ...]
    converter: str = TF_LITE


class ConversionFailed(Exception):
    """The converter gave up; the text is what it said."""


def save_graph(graph: graph_pb2.GraphDef, task: Task, directory: str) -> None:
    """Write a frozen graph as the SavedModel that the converters read."""
    module = _as_module(graph, task)
    with without_saving_lines():
        tf.saved_model.save(module, directory, signatures={SIGNATURE: module.head})


def _as_module(graph: graph_pb2.GraphDef, task: Task) -> tf.Module:
    """Return a module without variables whose function `head` computes `{"latent": ...}` from `input`."""

    def head(input: tf.Tensor) -> dict[str, tf.Tensor]:
        (latent,) = tf.graph_util.import_graph_def(
            graph, input_map={task.input_ref: input}, return_elements=[task.output_ref], name=""
        )
        return {OUTPUT_NAME: latent}

    module = tf.Module()
    spec = tf.TensorSpec((1, *task.input_shape), tf.float32, name=INPUT_NAME)
    module.head = tf.function(head, input_signature=[spec], autograph=False)
    return module


def one_by_one(images: Iterable[np.ndarray], shown: Any) -> Iterator[dict[str, np.ndarray]]:
    """Yield representative images as a converter takes them, and count them."""
    for image in images:
        yield {INPUT_NAME: image[np.newaxis]}
        shown.update(1)
