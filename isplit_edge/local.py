"""The whole model on the device: it answers if the server cannot be reached."""

from pathlib import Path

import numpy as np

from .errors import BundleError
from .interpreter import Interpreted
from .manifest import Manifest
from .preprocessing import preprocess

LOCAL_FILE = "edge/local.tflite"
"""The file of the whole model in a bundle that was exported with local_fallback=True."""


class LocalModel:
    """Head and tail in one `.tflite` file, from an image in the model's own space to probabilities.

    One call runs at a time; threads that share a model wait for each other.

    Args:
        path: The file; its hash was checked.
        manifest: The bundle's manifest.
        num_threads: Threads of the interpreter; LiteRT's own choice by default.

    Raises:
        BundleError: If the file is not the whole model that the manifest describes.
        MissingDependencyError: If ai-edge-litert is not installed.
    """

    def __init__(self, path: Path, manifest: Manifest, *, num_threads: int | None = None):
        self._preprocessing = manifest.preprocessing
        self._model = Interpreted(path, num_threads)
        with self._model as interpreter:
            inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        ends = []
        for details in (inputs, outputs):
            ends.append([(tuple(int(n) for n in one["shape"]), np.dtype(one["dtype"]).name) for one in details])
        expected = [[((1, *manifest.shapes["input"]), "float32")], [((1, manifest.n_classes), "float32")]]
        if ends != expected:
            raise BundleError(
                f"{LOCAL_FILE} is not the whole model that the manifest describes: from {ends[0]} to {ends[1]}; "
                f"expected from {expected[0]} to {expected[1]}. Export the bundle again."
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]

    def predict(self, frames: np.ndarray, preprocessed: bool = False) -> np.ndarray:
        """Classify images from `Head.frames`, one by one.

        Args:
            frames: (N, ...).
            preprocessed: Whether they are in the model's own space.

        Returns:
            (N, n_classes) float32 probabilities.
        """
        return np.concatenate([self._one(frame, preprocessed) for frame in frames])

    def _one(self, frame: np.ndarray, preprocessed: bool) -> np.ndarray:
        x = frame if preprocessed else preprocess(frame, self._preprocessing)
        with self._model as interpreter:
            # The interpreter refuses to run while views of its memory exist.
            interpreter.tensor(self._input)()[...] = x
            interpreter.invoke()
            return interpreter.get_tensor(self._output)
