"""The converter of TensorFlow, `tf.lite.TFLiteConverter`."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from .conversion import QUANTIZED, SIGNATURE, ConversionFailed, Task, one_by_one


def run_engine(directory: str, task: Task, images: Iterable[np.ndarray], shown: Any) -> bytes:
    """Convert a SavedModel; see `engines.run_converter`."""
    try:
        converter = _converter(directory, task.precision, one_by_one(images, shown))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"tensorflow\.")
            return converter.convert()
    except (ConverterError, RuntimeError, ValueError) as error:
        raise ConversionFailed(str(error)) from error


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
