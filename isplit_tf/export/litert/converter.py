"""Conversion of head and encoder to one `.tflite` file, in exactly the precision that was asked for."""

import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from isplit_edge.manifest import PRECISIONS

from ...bottlenecks.coded import symbol_layer
from ...bottlenecks.quantizer import unrounded
from ...display.progress import bar
from ...display.quiet import quiet
from ...errors import ArgumentError, DataError, ExportError, NumericsError
from .contents import Contents, Operator, read_contents
from .float32 import Answer, Read, in_float32, in_inference
from .output_scale import with_output_scale
from .representative import LEAST_IMAGES
from .trace import INPUT_NAME, SIGNATURE, TracedHead, trace_head
from .verification import relative_error, run_file

QUANTIZED = ("int8", "int16x8")
_CHECKED_IMAGES = 8


@dataclass(frozen=True)
class ConvertedHead:
    """A converted head.

    Attributes:
        content: The bytes of head.tflite.
        precision: As asked for.
        dtype: Of its output: "int8", "int16" or "float32".
        scale: Of its output, None where that is float32: value = scale * (integer - zero_point).
        zero_point: Of its output, None where that is float32.
        input_shape: Without the batch.
        latent_shape: Without the batch.
        contents: The operators in the file.
        relative_error: ||head.tflite(x) - Keras(x)|| / ||Keras(x)|| over a few images, dequantized.
        checked_images: How many; they are representative ones, or random ones where there are none.
    """

    content: bytes
    precision: str
    dtype: str
    scale: float | None
    zero_point: int | None
    input_shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    contents: Contents
    relative_error: float
    checked_images: int


def convert(
    head: keras.Model,
    encoder: keras.Model | None = None,
    *,
    precision: str = "int8",
    representative: np.ndarray | None = None,
    read: Read = in_inference,
    progress: bool = True,
) -> ConvertedHead:
    """Convert head and encoder to one `.tflite` of batch 1, with input `input` and output `latent`.

    The same weights give the same bytes in every process, however often the model was built. While the converter runs,
    output on the process's file descriptors 1 and 2 is collected and not shown.

    Args:
        head: The head; one input of a fixed shape, one output.
        encoder: The encoder; None for a split without a bottleneck.
        precision: "int8" (integers of 8 bit from input to output), "int16x8" (activations of 16 bit, weights of 8),
            "float16" (weights), "dynamic" (weights of 8 bit, activations in float), "float32".
        representative: float32 `(N, *input_shape)` of at least 16 images, as `representative_images` gives them;
            needed for int8 and int16x8.
        read: What reads a model; a split knows the programs of its parts.
        progress: Whether a bar may show.

    Returns:
        The file with what is in it.

    Raises:
        ArgumentError: If the precision is unknown.
        DataError: If representative images are needed and not given.
        ExportError: If an operation has no built-in operator, or cannot be as precise as asked.
        NumericsError: If the head gives NaN or infinity.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {precision!r}.")
    n_images = 0 if representative is None else len(representative)
    if precision in QUANTIZED and n_images < LEAST_IMAGES:
        raise DataError(
            f"precision={precision!r} needs representative_data of at least {LEAST_IMAGES} images, from which the "
            f"ranges are learned. Received: {n_images}."
        )
    with unrounded(encoder), in_float32(head, encoder, read=read) as answer:
        traced = trace_head(head, encoder, answer=answer)
        images = _checked_images(representative, traced.input_shape)
        expected = _keras_latents(head, encoder, images, answer)
    content = _run_converter(traced, precision, representative, progress)
    contents = read_contents(content)
    _check_operators(contents, precision, traced)
    if precision == "int8" and symbol_layer(encoder) is not None:
        content = with_output_scale(content, 1.0, 0)
    run = run_file(content, images)
    if not np.isfinite(run.latents).all():
        raise NumericsError(
            f"LiteRT gives NaN or infinity for the head in {precision} on {np.sum(~np.isfinite(run.latents))} of "
            f"{run.latents.size} elements of its output, where Keras gives none: it cannot be exported like that."
        )
    if precision in QUANTIZED and run.dtype == "float32":
        raise ExportError(
            f"precision={precision!r} asks for a head of integers, and this one computes nothing that could be "
            "quantized. Possible: a later cut, or precision 'float32'."
        )
    return ConvertedHead(
        content=content,
        precision=precision,
        dtype=run.dtype,
        scale=run.scale,
        zero_point=run.zero_point,
        input_shape=traced.input_shape,
        latent_shape=traced.latent_shape,
        contents=contents,
        relative_error=relative_error(run.latents, expected),
        checked_images=len(images),
    )


def _checked_images(representative: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if representative is None:
        return np.random.default_rng(0).random((_CHECKED_IMAGES, *shape), np.float32)
    return representative[:_CHECKED_IMAGES]


def _keras_latents(head: keras.Model, encoder: keras.Model | None, images: np.ndarray, answer: Answer) -> np.ndarray:
    outputs = answer(head, tf.constant(images))
    if encoder is not None:
        outputs = answer(encoder, outputs)
    latents = outputs.numpy().astype(np.float32)
    if not np.isfinite(latents).all():
        raise NumericsError(
            f"The head gives NaN or infinity on {np.sum(~np.isfinite(latents))} of {latents.size} elements of its "
            f"output '{head.name if encoder is None else encoder.name}': it cannot be exported like that."
        )
    return latents


def _run_converter(traced: TracedHead, precision: str, representative: np.ndarray | None, progress: bool) -> bytes:
    if precision in QUANTIZED:
        # Quantizing a loop ends the whole process in TensorFlow 2.21.
        _refuse(precision, traced.control_flow, "")
    with tempfile.TemporaryDirectory() as directory:
        module = traced.as_module()
        tf.saved_model.save(module, directory, signatures={SIGNATURE: module.head})
        images: Sequence[np.ndarray] = [] if representative is None else list(representative)
        with bar(
            total=len(images) or None, desc=f"converting to {precision}", enabled=progress, unit="image"
        ) as progress_bar:
            return _convert(directory, precision, _one_by_one(images, progress_bar), traced)


def _one_by_one(images: Iterable[np.ndarray], shown: Any) -> Iterator[dict[str, np.ndarray]]:
    for image in images:
        yield {INPUT_NAME: image[np.newaxis]}
        shown.update(1)


def _convert(directory: str, precision: str, samples: Iterable[dict[str, np.ndarray]], traced: TracedHead) -> bytes:
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
    try:
        with quiet() as printed, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"tensorflow\.")
            return converter.convert()
    except (ConverterError, RuntimeError, ValueError) as error:
        raise _conversion_failed(str(error), printed.text, precision, traced) from error


def _conversion_failed(message: str, printed: str, precision: str, traced: TracedHead) -> ExportError:
    matches = re.findall(r"(?:TF Select|Flex|Custom) ops: (.*)", message)
    if not matches:
        start = "\n".join(message.strip().splitlines()[:3])
        failure = ExportError(f"The head cannot be converted to {precision}: {traced.graph.original(start)}")
        failure.add_note(traced.graph.original(f"{message}\n{printed}"))
        return failure
    names = sorted({name.strip() for group in matches for name in group.split(",")})
    places = dict(re.findall(r'fused\["(\w+):", "(node_\d+)@', message))
    named = [f"{name} ('{traced.graph.original(places[name])}')" if name in places else name for name in names]
    return ExportError(
        f"The head cannot be exported: LiteRT has no built-in operator for {', '.join(named)}. Flex operators, "
        "which need TensorFlow on the device, are never used. Possible: a cut before it, or a model without it."
    )


def _check_operators(contents: Contents, precision: str, traced: TracedHead) -> None:
    if contents.custom_operators:
        names = sorted({operator.name for operator in contents.custom_operators})
        raise ExportError(f"The head holds operators that LiteRT has not built in: {', '.join(names)}.")
    if precision in QUANTIZED:
        _refuse(precision, contents.float_counts, _places(contents.float_operators, traced))


def _refuse(precision: str, counts: Mapping[str, int], places: str) -> None:
    if counts:
        named = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ExportError(
            f"precision={precision!r} asks for a head of integers from input to output. These operators stay in "
            f"float: {named}.{places} Possible: another cut, or precision 'float16', 'dynamic' or 'float32'."
        )


def _places(operators: Iterable[Operator], traced: TracedHead) -> str:
    """Return the layers that operators come from, without conversions to float and back."""
    names = {
        operator.outputs[0].name: operator.name
        for operator in operators
        if operator.name not in ("QUANTIZE", "DEQUANTIZE")
    }
    places = [f"{name} is '{traced.graph.original(tensor)}'" for tensor, name in names.items() if "node_" in tensor]
    return f" {'; '.join(places[:5])}{' ...' if len(places) > 5 else ''}." if places else ""
