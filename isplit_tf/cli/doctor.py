"""What a bug report needs to know about the machine and what is installed on it."""

import importlib.metadata
import os
import platform
from typing import Any

_PACKAGES = ("isplit-tf", "tensorflow", "keras", "ai-edge-litert", "numpy", "tensorflow-datasets", "matplotlib")


def installation() -> dict[str, Any]:
    """Python, system, processor, GPUs, Keras' settings and versions, by name."""
    import keras
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "keras_backend": keras.backend.backend(),
        "float_type": keras.config.floatx(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
