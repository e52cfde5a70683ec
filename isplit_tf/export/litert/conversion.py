"""The converter's work on one graph, in any process. It knows no Keras, so that a worker process starts fast."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.lite.python.convert_phase import ConverterError

from ...display.quiet import without_saving_lines

INPUT_NAME = "input"
OUTPUT_NAME = "latent"
SIGNATURE = "serving_default"
QUANTIZED = ("int8", "int16x8")


@dataclass(frozen=True)
class Task:
    """The request that goes with a graph.

    Attributes:
        precision: As `convert` takes it.
        input_ref: The graph's input tensor, float32 `(1, *input_shape)`.
        output_ref: Its output tensor.
        input_shape: Without the batch.
    """

    precision: str
    input_ref: str
    output_ref: str
    input_shape: tuple[int, ...]


class ConversionFailed(Exception):
    """The converter gave up; the text is what it said."""


def save_graph(graph: graph_pb2.GraphDef, task: Task, directory: str) -> None:
    """Write a frozen graph as the SavedModel that `run_converter` reads."""
    module = _as_module(graph, task)
    with without_saving_lines():
        tf.saved_model.save(module, directory, signatures={SIGNATURE: module.head})


def run_converter(directory: str, task: Task, images: Iterable[np.ndarray], shown: Any) -> bytes:
    """Convert a SavedModel to the bytes of a `.tflite` file; the converter prints to the descriptors 1 and 2.

    Args:
        directory: What `save_graph` wrote.
        task: What to make of it.
        images: Representative images, float32 of `task.input_shape`; none where the precision needs none.
        shown: What has `update(1)` called after each image.

    Raises:
        ConversionFailed: If the converter fails.
    """
    try:
        converter = _converter(directory, task.precision, _one_by_one(images, shown))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"tensorflow\.")
            return converter.convert()
    except (ConverterError, RuntimeError, ValueError) as error:
        raise ConversionFailed(str(error)) from error


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


def _one_by_one(images: Iterable[np.ndarray], shown: Any) -> Iterator[dict[str, np.ndarray]]:
    for image in images:
        yield {INPUT_NAME: image[np.newaxis]}
        shown.update(1)


def _converter(directory: str, precision: str, samples: Iterable[dict[str, np.ndarray]]) -> Any:
    converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE])
    operators = tf.lite.OpsSet
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision in QUANTIZED:
        operator_set, dtype = {
            "int8": (operators.TFLITE_BUILTINS_INT8, tf.int8),
            "int16x8": (
                operators.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                tf.int16,
            ),
        }[precision]
        # Float operators are let in so that all of them can be named, and then refused.
        converter.target_spec.supported_ops = [operator_set, operators.TFLITE_BUILTINS]
        converter.inference_input_type = converter.inference_output_type = dtype
        converter.representative_dataset = lambda: samples
    return converter
