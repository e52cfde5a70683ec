"""Conversion of head and encoder to one `.tflite` file, in exactly the precision that was asked for."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from isplit_edge.manifest import PRECISIONS

from ...bottlenecks.coded import symbol_layer
from ...bottlenecks.quantizer import unrounded
from ...display.progress import bar
from ...errors import ArgumentError, DataError, ExportError, NumericsError
from .contents import Contents, read_contents
from .conversion import QUANTIZED, TF_LITE, ConversionFailed, Task
from .engines import check_converter
from .float32 import Answer, Read, in_float32, in_inference
from .output_scale import with_output_scale
from .process import convert_graph
from .refusals import check_operators, conversion_error, refuse_impossible
from .representative import LEAST_IMAGES
from .rewriting import rewritten
from .trace import TracedHead, trace_head, unrolled
from .verification import Run, relative_error, run_file

_CHECKED_IMAGES = 8
_MOST_ERROR = 0.5


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
    converter: str = TF_LITE,
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
        converter: "tf.lite", TensorFlow's own, or "litert", LiteRT's (needs `isplit-tf[litert]`).
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
    check_converter(converter)
    n_images = 0 if representative is None else len(representative)
    if precision in QUANTIZED and n_images < LEAST_IMAGES:
        raise DataError(
            f"precision={precision!r} needs representative_data of at least {LEAST_IMAGES} images, from which the "
            f"ranges are learned. Received: {n_images}."
        )
    with unrounded(encoder), in_float32(head, encoder, read=read, dequantize=True) as answer:
        # LiteRT has loops in float alone, and the converter ends the whole process where one is to be quantized.
        with unrolled(head, encoder) if precision in QUANTIZED else contextlib.nullcontext():
            traced = trace_head(head, encoder, answer=answer)
        images = _checked_images(representative, traced.input_shape)
        expected = _keras_latents(head, encoder, images, answer)
    refuse_impossible(traced, precision)
    content, other = _run_converter(traced, precision, converter, representative, progress), None
    contents = read_contents(content)
    if precision in QUANTIZED:
        other = rewritten(traced.graph.graph, precision, contents.counts.keys(), contents.float_counts.keys())
    if other is not None:
        traced = traced.with_graph(other)
        content = _run_converter(traced, precision, converter, representative, progress)
        contents = read_contents(content)
    check_operators(contents, precision, traced)
    if precision == "int8" and symbol_layer(encoder) is not None:
        content = with_output_scale(content, 1.0, 0)
    run = run_file(content, images)
    _check_shape(run, expected)
    if precision == "int8" and symbol_layer(encoder) is not None:
        expected = np.rint(expected)
    error = relative_error(run.latents, expected)
    _check_run(run, precision, error, is_rewritten=other is not None)
    return ConvertedHead(
        content=content,
        precision=precision,
        dtype=run.dtype,
        scale=run.scale,
        zero_point=run.zero_point,
        input_shape=traced.input_shape,
        latent_shape=traced.latent_shape,
        contents=contents,
        relative_error=error,
        checked_images=len(images),
    )


def _check_shape(run: Run, expected: np.ndarray) -> None:
    """Raise where a converter mistook a shape."""
    if run.latents.shape != expected.shape:
        raise ExportError(
            f"The converter gives the head an output {run.latents.shape[1:]}, where Keras gives {expected.shape[1:]}: "
            "it mistook a layer's shape. Possible: the other converter, or another cut."
        )


def _check_run(run: Run, precision: str, error: float, *, is_rewritten: bool) -> None:
    """Raise where a file gives no numbers, or other ones than it should."""
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
    if is_rewritten and error > _MOST_ERROR:
        raise ExportError(
            f"The head in {precision} differs from Keras by {error:.0%} of its output: it holds squares, perhaps with "
            "logarithms of them, whose range is too wide for integers. Possible: a cut before them, or precision "
            "'float16', 'dynamic' or 'float32'."
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


def _run_converter(
    traced: TracedHead, precision: str, converter: str, representative: np.ndarray | None, progress: bool
) -> bytes:
    images: Sequence[np.ndarray] = [] if representative is None else list(representative)
    task = Task(precision, traced.input_ref, traced.output_ref, traced.input_shape, converter)
    with bar(
        total=len(images) or None, desc=f"converting to {precision}", enabled=progress, unit="image"
    ) as progress_bar:
        try:
            return convert_graph(traced.graph.graph, task, images, progress_bar)
        except ConversionFailed as error:
            raise conversion_error(error, precision, traced) from error
