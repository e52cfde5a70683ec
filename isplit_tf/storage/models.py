"""Reading of Keras models in safe mode, so that no code from a file is executed, and records of their losses."""

import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from isplit_edge.files import BAD_FILE

from ..errors import ModelError

_NOT_LOADED: tuple[type[Exception], ...] = (*BAD_FILE, ImportError)


def load_model(
    path: str | os.PathLike[str], *, custom_objects: dict[str, Any] | None = None, compiled: bool = True
) -> keras.Model:
    """Read a `.keras` file.

    Args:
        path: The file, as `model.save` wrote it.
        custom_objects: Classes of custom layers by name, unless they are registered with Keras.
        compiled: Whether to compile the model as it was compiled when saved.

    Raises:
        ModelError: If the file is missing or no model, needs unknown classes, or holds Python lambdas; the message
            names the layers that hold lambdas.
    """
    try:
        return keras.models.load_model(path, custom_objects=custom_objects, compile=compiled, safe_mode=True)
    except _NOT_LOADED as error:
        names = _lambdas_in_file(path)
        if names:
            raise ModelError(
                f"'{path}' holds Python lambdas, which are code: they are not read from a file. Layers: "
                f"{', '.join(map(repr, names))}. If you trust it, load it with keras.models.load_model(path, "
                "safe_mode=False) and pass the model; or build it with a keras.layers.Layer in their place."
            ) from error
        reason = _why_unreadable(path) or error
        raise ModelError(f"'{path}' cannot be loaded as a Keras model in safe mode: {reason}") from error


def _why_unreadable(path: str | os.PathLike[str]) -> str | None:
    """Return why a file cannot be read, since Keras calls all these cases "not found"; None if the file is whole."""
    if not os.path.exists(path):
        return "there is no such file."
    if not os.access(path, os.R_OK):
        return "it may not be read (permission denied)."
    if os.fspath(path).endswith(".keras") and not zipfile.is_zipfile(path):
        return f"its {os.path.getsize(path):,} bytes are no .keras file, or a torn one. Save it again."
    return None


def lambda_layers(model: keras.Model) -> list[str]:
    """Return the names of a functional model's layers with Python lambdas, which safe mode cannot load from a file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`", UserWarning)
        return [layer.name for layer in model.layers if _holds_lambda(layer.get_config())]


def _lambdas_in_file(path: str | os.PathLike[str]) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except BAD_FILE:
        return []
    return list(dict.fromkeys(_layers_with_lambda(config)))


def _layers_with_lambda(item: Any) -> Iterator[str]:
    """Yield the names of the innermost named records that hold a lambda."""
    if isinstance(item, list):
        for part in item:
            yield from _layers_with_lambda(part)
    elif isinstance(item, dict):
        inner = [name for value in item.values() for name in _layers_with_lambda(value)]
        yield from inner
        name = (item.get("config") or {}).get("name") if isinstance(item.get("config"), dict) else None
        if not inner and name and _holds_lambda(item):
            yield str(name)


def _holds_lambda(item: Any) -> bool:
    if isinstance(item, dict):
        return item.get("class_name") == "__lambda__" or any(map(_holds_lambda, item.values()))
    return isinstance(item, list | tuple) and any(map(_holds_lambda, item))


def loss_to_json(loss: Any) -> Any:
    """Return the record of a loss; None, with a warning, for a lambda, which could only be read by running its code."""
    if loss is None:
        return None
    if getattr(loss, "__name__", "") == "<lambda>":
        warnings.warn(
            "The model's loss is a Python lambda, which is not saved. Give train(loss=...) after SplitModel.load.",
            stacklevel=4,
        )
        return None
    return keras.saving.serialize_keras_object(loss)


def loss_from_json(record: Any, source: Path) -> Any:
    """Return the loss of a record; None, with a warning, if the loss is unknown here, since only `train` needs it."""
    try:
        return record and keras.saving.deserialize_keras_object(record, safe_mode=True)
    except (ValueError, TypeError) as error:
        warnings.warn(
            f"The loss of the split '{source}' is not known here. Give it in custom_objects, or train(loss=...). "
            f"Keras: {str(error).splitlines()[0]}",
            stacklevel=3,
        )
        return None
