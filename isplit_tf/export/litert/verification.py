"""A check of the exported head: LiteRT runs it once, as a device will, for a comparison with Keras."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from isplit_edge.interpreter import quantize

from ...display.quiet import quiet
from ...errors import ExportError
from .conversion import INPUT_NAME, OUTPUT_NAME, SIGNATURE


@dataclass(frozen=True)
class Run:
    """The output of a `.tflite` file.

    Attributes:
        latents: float32 `(N, *latent_shape)`, dequantized.
        dtype: dtype of the file's own output: "int8", "int16" or "float32".
        scale: Scale of the output; None if it is float32.
        zero_point: Zero point of the output; None if it is float32.
    """

    latents: np.ndarray
    dtype: str
    scale: float | None
    zero_point: int | None


def run_file(content: bytes, images: np.ndarray) -> Run:
    """Run a `.tflite` file on float32 images `(N, *input_shape)`, one by one.

    Raises:
        ExportError: If LiteRT cannot load or run the file.
    """
    with quiet():  # LiteRT announces its delegate
        try:
            interpreter = Interpreter(model_content=content)
            interpreter.allocate_tensors()
            runner = interpreter.get_signature_runner(SIGNATURE)
            input_details, output_details = (
                runner.get_input_details()[INPUT_NAME],
                runner.get_output_details()[OUTPUT_NAME],
            )
            latents = [
                runner(**{INPUT_NAME: _quantized(image[np.newaxis], input_details)})[OUTPUT_NAME] for image in images
            ]
        except (RuntimeError, ValueError) as error:
            raise ExportError(
                f"The head was converted, but LiteRT cannot run it: {str(error).strip()} Possible: another cut or "
                "precision."
            ) from error
    quantized = np.dtype(output_details["dtype"]).kind != "f"
    scale, zero_point = output_details["quantization"]
    return Run(
        latents=np.concatenate([_dequantized(latent, output_details) for latent in latents]),
        dtype=np.dtype(output_details["dtype"]).name,
        scale=float(scale) if quantized else None,
        zero_point=int(zero_point) if quantized else None,
    )


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return ||found - expected|| / ||expected||, or ||found - expected|| if `expected` is all zero."""
    difference = np.linalg.norm(found.astype(np.float64) - expected)
    norm = np.linalg.norm(expected.astype(np.float64))
    return float(difference / norm) if norm else float(difference)


def _quantized(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return values.astype(dtype)
    scale, zero_point = details["quantization"]
    return quantize(values, np.float32(scale), int(zero_point), dtype)


def _dequantized(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    if values.dtype.kind == "f":
        return values
    scale, zero_point = details["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale)
