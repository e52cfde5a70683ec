"""The converters behind one call: from a SavedModel and representative images to the bytes of a `.tflite` file."""

from collections.abc import Callable, Iterable
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

import numpy as np

from ...errors import ArgumentError, MissingDependencyError
from .conversion import CONVERTERS, LITERT, TF_LITE, Task

_MODULES = {TF_LITE: "tf_lite", LITERT: "stablehlo"}
_PACKAGES: dict[str, tuple[str, ...]] = {TF_LITE: (), LITERT: ("litert_converter", "litert_quantizer")}


def check_converter(converter: str) -> None:
    """Check that a converter is known and installed.

    Raises:
        ArgumentError: If it is none of `CONVERTERS`.
        MissingDependencyError: If a package of it is not installed.
    """
    if converter not in CONVERTERS:
        raise ArgumentError(f"converter must be one of {', '.join(map(repr, CONVERTERS))}. Received: {converter!r}.")
    missing = [package for package in _PACKAGES[converter] if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(
            f"converter={converter!r} needs {' and '.join(missing)}, which this environment lacks: "
            "pip install 'isplit-tf[litert]'. Possible without: converter='tf.lite'."
        )


def converter_versions(converter: str) -> dict[str, str]:
    """Return the versions of the packages that a converter has of its own."""
    return {package: metadata.version(package) for package in _PACKAGES[converter]}


def run_converter(directory: str, task: Task, images: Iterable[np.ndarray], shown: Any) -> bytes:
    """Convert a SavedModel to the bytes of a `.tflite` file; converters print to the descriptors 1 and 2.

    Args:
        directory: What `save_graph` wrote.
        task: What to make of it, and with which converter.
        images: Representative images, float32 of `task.input_shape`; none where the precision needs none.
        shown: What has `update(1)` called after each image.

    Raises:
        ConversionFailed: If the converter fails.
    """
    engine: Callable[..., bytes] = import_module(f".{_MODULES[task.converter]}", __package__).run_engine
    return engine(directory, task, images, shown)
