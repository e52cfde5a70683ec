"""The whole model of a kit on the device."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BundleError
from .interpreter import Interpreted, only_slot
from .preprocessing import preprocess


class WholeModel:
    """A `.tflite` file from an image to probabilities, in any precision.

    Args:
        path: The file.
        preprocessing: What turns raw images into the model's input, or None.
        input_shape: Of the model, without the batch.
        num_threads: Threads of the interpreter; LiteRT's own choice by default.

    Raises:
        BundleError: If the file is no such model.
        MissingDependencyError: If ai-edge-litert is not installed.
    """

    def __init__(
        self,
        path: Path,
        preprocessing: Mapping[str, Any] | None,
        input_shape: tuple[int, ...],
        num_threads: int | None = None,
    ):
        self._preprocessing = preprocessing
        self._model = Interpreted(path, num_threads)
        with self._model as interpreter:
            self._input = only_slot(interpreter.get_input_details(), "input", path.name)
            self._output = only_slot(interpreter.get_output_details(), "output", path.name)
        if self._input.shape != (1, *input_shape):
            raise BundleError(f"{path} takes an input of {self._input.shape}, expected {(1, *input_shape)}")

    def prepare(self, frame: np.ndarray, preprocessed: bool = False) -> np.ndarray:
        """Turn one image into the model's input, in the model's own dtype."""
        return self._input.filled(frame if preprocessed else preprocess(frame, self._preprocessing))

    def run(self, x: np.ndarray) -> np.ndarray:
        """Run the model on one input of `prepare`, and return its output in the model's own dtype."""
        return self._model.run(self._input.tensor, x, self._output.tensor)
