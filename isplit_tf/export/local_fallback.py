"""The fallback: the whole split model as one `.tflite` file, used on the device if the server cannot be reached."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from isplit_edge.images import frames
from isplit_edge.local import LOCAL_FILE, LocalModel
from isplit_edge.manifest import Manifest

from ..display.quiet import quiet
from ..errors import ExportError
from ..evaluation.evaluation import evaluate
from ..graph.output_kinds import Output
from .litert.converter import QUANTIZED, ConvertedHead, convert
from .request import ExportRequest

__all__ = ["LOCAL_FILE", "convert_fallback", "fallback_precision", "fallback_report", "measure_fallback"]


def fallback_precision(precision: str) -> str:
    """Return the precision of the fallback for the precision of the head.

    Probabilities of 8 bit would be multiples of 1/256. So for an integer head the fallback has weights of 8 bit and
    computes in float, which also needs no representative images.
    """
    return "dynamic" if precision in QUANTIZED else precision


def convert_fallback(request: ExportRequest, *, progress: bool = True) -> ConvertedHead:
    """Convert head, encoder, decoder, tail and the step to probabilities into one file of batch 1.

    Args:
        request: The bundle's; its split stays as it is.
        progress: Whether a bar may show.

    Returns:
        The file: float32 `(1, *input_shape)` to float32 probabilities `(1, n_classes)`.

    Raises:
        ExportError: If an operation of the tail has no built-in operator of LiteRT.
    """
    last, precision = probability_model(request.output), fallback_precision(request.precision)
    try:
        return convert(request.split.model, last, precision=precision, converter=request.converter, progress=progress)
    except ExportError as error:
        raise ExportError(
            f"local_fallback=True puts the whole model on the device, and it cannot go there. {error} Possible too: "
            "local_fallback=False."
        ) from error


def probability_model(output: Output) -> keras.Model:
    """Return the step from a network's own outputs `(N, units)` to probabilities `(N, n_classes)` as a model."""
    outputs = keras.Input((output.units,), name="outputs")
    probabilities = output.probabilities(keras.layers.Identity(name="own_outputs")(outputs))
    return keras.Model(outputs, probabilities, name="probabilities")


def measure_fallback(
    fallback: ConvertedHead, manifest: Manifest, data: Any, *, max_images: int | None, progress: bool
) -> dict[str, Any]:
    """Measure the accuracy of the exported file, run as on a device.

    Args:
        fallback: The file.
        manifest: Of the bundle that it goes into; only its shapes, classes and preprocessing are read.
        data: Images with labels, as `evaluate` takes them.
        max_images: Stop after as many.
        progress: Whether bars may show.

    Returns:
        accuracy and images.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "local.tflite"
        path.write_bytes(fallback.content)
        with quiet():  # LiteRT announces its delegate
            model = _Predictor(LocalModel(path, manifest), manifest)
        evaluation = evaluate(model, data, max_images=max_images, progress=progress)
    return {"accuracy": evaluation.accuracy, "images": evaluation.n_images}


class _Predictor:
    """A fallback that takes images as a client does."""

    def __init__(self, model: LocalModel, manifest: Manifest):
        self._model, self.manifest = model, manifest

    def predict(self, images: Any, preprocessed: bool = False) -> np.ndarray:
        """Return probabilities, float32 `(N, n_classes)`."""
        shape, record = self.manifest.shapes["input"], self.manifest.preprocessing
        return self._model.predict(frames(images, shape, record, preprocessed=preprocessed), preprocessed)


def fallback_report(fallback: ConvertedHead, measured: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the file contains, its deviation from Keras, and its accuracy if it was measured."""
    return {
        **(measured or {"accuracy": None, "images": None}),
        "precision": fallback.precision,
        "size_bytes": len(fallback.content),
        "operators": dict(fallback.contents.counts),
        "relative_error": fallback.relative_error,
        "checked_images": fallback.checked_images,
    }
