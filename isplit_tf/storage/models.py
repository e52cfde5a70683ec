"""Reading of Keras models in safe mode, so that no code from a file is executed, and records of their losses."""

import contextlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

from isplit_edge.files import BAD_FILE

from ..errors import ModelError, keras_reason

_NOT_LOADED: tuple[type[Exception], ...] = (*BAD_FILE, ImportError)


def load_model(
    path: str | os.PathLike[str],
    *,
    custom_objects: dict[str, Any] | None = None,
    compiled: bool = True,
    before_weights: Callable[[keras.Model], None] | None = None,
) -> keras.Model:
    """Read a `.keras` or `.h5` file.

    Args:
        path: The file, as `model.save` wrote it.
        custom_objects: Classes of custom layers by name, unless they are registered with Keras.
        compiled: Whether to compile the model with the loss that it was compiled with when saved, since the loss says
            what linear outputs are and what to train with. A loss that is unknown here is left out, with a warning.
            The optimizer and the metrics, which only `fit` of the original needs, are never read.
        before_weights: Changes the model before its weights are read; it is then not compiled.

    Raises:
        ModelError: If the file is missing or no model, needs unknown classes, or holds Python lambdas; the message
            names the layers that hold lambdas.
    """
    try:
        if before_weights is not None:
            return _load_in_steps(path, custom_objects, before_weights)
        model = keras.models.load_model(path, custom_objects=custom_objects, compile=False, safe_mode=True)
    except _NOT_LOADED as error:
        names = _lambdas_in_file(path)
        if names:
            raise ModelError(
                f"'{path}' holds Python lambdas, which are code: they are not read from a file. Layers: "
                f"{', '.join(map(repr, names))}. If you trust it, load it with keras.models.load_model(path, "
                "safe_mode=False) and pass the model; or build it with a keras.layers.Layer in their place."
            ) from error
        reason = _why_unreadable(path) or _why_unknown(error) or keras_reason(error)
        raise ModelError(f"'{path}' cannot be loaded as a Keras model in safe mode: {reason}") from error
    if compiled:
        with scope_of(custom_objects):
            _compile_with_loss(model, path)
    return model


def scope_of(custom_objects: dict[str, Any] | None) -> contextlib.AbstractContextManager:
    """Return a scope in which Keras finds these objects; an empty one would hide the objects of a scope around it."""
    return keras.saving.custom_object_scope(custom_objects) if custom_objects else contextlib.nullcontext()


def _compile_with_loss(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Compile a model that was read from a file with the loss in this file, if there is one, and nothing else."""
    try:
        loss = _read_losses(_saved_loss(path))
        if loss is not None:
            model.compile(loss=loss)
    except (ValueError, TypeError, AttributeError, KeyError, ImportError) as error:
        reason = (_why_unknown(error) or str(error) or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"The loss that '{path}' was compiled with is left out: {reason} Where it matters, say what linear outputs "
            "are (from_logits=True, --from-logits), and what to train with (loss=..., --loss).",
            stacklevel=3,
        )


def _saved_loss(path: str | os.PathLike[str]) -> Any:
    """Return the record of the loss in a `.keras` or `.h5` file, as Keras wrote it; None if there is none."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return (json.loads(archive.read("config.json")).get("compile_config") or {}).get("loss")
    import h5py  # Keras depends on it

    with h5py.File(path) as file:
        return json.loads(file.attrs.get("training_config") or "{}").get("loss")


def _read_losses(record: Any) -> Any:
    """Return the loss of a record, or a list or dict of the losses of several outputs."""
    if isinstance(record, str):
        known = keras.saving.get_registered_object(record)
        if known is None:
            keras.losses.get(record)  # raises an error for an unknown name
        return known or record
    if isinstance(record, dict) and record.get("class_name") == "__tuple__":
        return _read_losses(record["config"])
    if isinstance(record, list):
        return [_read_losses(part) for part in record]
    if not isinstance(record, dict):
        return record
    if "class_name" not in record:
        return {name: _read_losses(part) for name, part in record.items()}
    config, name = record.get("config"), record["class_name"]
    if name == "function" and (found := keras.saving.get_registered_object(config)) is not None:
        return found
    known = hasattr(keras.losses, name)
    if known and isinstance(config, dict):  # as Keras 2 wrote it
        reduction = "sum_over_batch_size" if config.get("reduction") == "auto" else config.get("reduction")
        record = record | {"config": {key: config[key] for key in config if key != "fn"} | {"reduction": reduction}}
    try:
        return keras.losses.get(record)
    except (ValueError, TypeError) as error:
        raise error if known else ValueError(f"Unknown loss: '{config if name == 'function' else name}'") from error


def _why_unknown(error: Exception) -> str | None:
    """Return which class or function of the user's own a file needs; None if the error says nothing of the kind."""
    found = re.search(
        r"(?:Could not locate (?:class|function)|Unknown [a-z ]+:|loss identifier:) '?([\w>.]+)", str(error)
    )
    if found is None:
        return None
    name = found[1].rpartition(">")[2]
    return (
        f"it needs '{name}', which is not known here. Import the module that registers it with "
        f"keras.saving.register_keras_serializable(), or give custom_objects={{'{name}': {name}}}; on the command "
        "line --custom-objects MODULE.py, which runs this file."
    )


def _load_in_steps(
    path: str | os.PathLike[str], custom_objects: dict[str, Any] | None, before_weights: Callable[[keras.Model], None]
) -> keras.Model:
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    config.pop("compile_config", None)
    model = keras.saving.deserialize_keras_object(config, custom_objects=custom_objects, safe_mode=True)
    before_weights(model)
    model.load_weights(path)
    return model


def _why_unreadable(path: str | os.PathLike[str]) -> str | None:
    """Return why a file cannot be read, since Keras calls all these cases "not found"; None if the file is whole."""
    if not os.path.exists(path):
        return "there is no such file."
    if not os.access(path, os.R_OK):
        return "it may not be read (permission denied)."
    if os.fspath(path).endswith(".keras") and not zipfile.is_zipfile(path):
        return f"its {os.path.getsize(path):,} bytes are no .keras file, or a torn one. Save it again."
    return None


def require_savable(model: keras.Model) -> None:
    """Check that a functional model can be read back from a file in safe mode, as far as its own layers say.

    Raises:
        ModelError: If layers hold Python lambdas, external SavedModels, or what Keras cannot write down.
    """
    lambdas, external = [], []
    for layer in model.layers:
        record = _record_of(layer)
        if _holds(record, "__lambda__"):
            lambdas.append(layer.name)
        if _holds(record, "TFSMLayer"):
            external.append(layer.name)
    if lambdas:
        raise ModelError(
            f"Layers with Python lambdas cannot be saved so that they can be read back without running code from a "
            f"file: {', '.join(map(repr, lambdas))}. Use a keras.layers.Layer, or a function registered with "
            "keras.saving.register_keras_serializable()."
        )
    if external:
        raise ModelError(
            f"Layers that run a SavedModel outside of the file cannot be saved so that they can be read back without "
            f"running its code: {', '.join(map(repr, external))}. Export the bundle from this process, or build the "
            "layers with Keras."
        )


def _record_of(layer: keras.layers.Layer) -> Any:
    """Return what Keras would write down of a layer."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`", UserWarning)
            return keras.saving.serialize_keras_object(layer)
    except (NotImplementedError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"Layer '{layer.name}' of class {type(layer).__name__} cannot be saved: {keras_reason(error).rstrip('.')}. "
            "Give what Keras cannot write down a get_config() or, if it is a function, register it with "
            "keras.saving.register_keras_serializable()."
        ) from error


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
        if not inner and name and _holds(item, "__lambda__"):
            yield str(name)


def _holds(item: Any, class_name: str) -> bool:
    """Check whether a record holds that of an object of a class, however deep."""
    if isinstance(item, dict):
        return item.get("class_name") == class_name or any(_holds(part, class_name) for part in item.values())
    return isinstance(item, list | tuple) and any(_holds(part, class_name) for part in item)


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
