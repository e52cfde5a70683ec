"""The identity of a tail: its weights and its architecture, without the names of its layers."""

import json
from collections.abc import Mapping
from typing import Any

import keras

from isplit_edge import identity
from isplit_edge.manifest import array_sha256

from ..errors import ExportError

_TRAINING_ONLY = ("trainable",)


def bundle_id(head: bytes, tail: keras.Model, decoder: keras.Model | None, contract: Mapping[str, Any]) -> str:
    """Compute the identity of a bundle.

    The name of the cut is not hashed: an automatic name such as `add_3` counts the layers that a process has built and
    does not say where the model is cut. Index, layer type and shape of the cut are hashed.

    Args:
        head: The bytes of head.tflite.
        tail: The tail.
        decoder: The decoder, or None.
        contract: `isplit_edge.manifest.contract` of the manifest's record.

    Returns:
        64 lowercase hexadecimal digits; the same for two exports of one split, in any process.
    """
    models = [model for model in (decoder, tail) if model is not None]
    cut = {key: value for key, value in contract["cut"].items() if key != "name"}
    return identity.bundle_id(
        head,
        weights=[array_sha256(weight.numpy()) for model in models for weight in model.weights],
        architecture=[architecture(model) for model in models],
        contract={**contract, "cut": cut},
    )


def architecture(model: keras.Model) -> Any:
    """Return a model's configuration as a JSON value, with layers named by position and without training options.

    Args:
        model: A functional model.

    Returns:
        Equal values for two builds of one architecture.

    Raises:
        ExportError: If a layer has no configuration that JSON can hold.
    """
    try:
        record = json.loads(model.to_json())
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ExportError(
            f"'{model.name}' cannot be identified: a layer's configuration cannot be written as JSON ({error}). "
            "Possible: layers whose get_config() returns plain values."
        ) from error
    entry = {key: record[key] for key in ("class_name", "config")}
    return _neutral(entry, {})


def _neutral(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_neutral(entry, names) for entry in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("layers"), list) and "output_layers" in value:
        names = {_name(layer) or "": f"layer_{k}" for k, layer in enumerate(value["layers"])}
    result = {}
    for key, entry in value.items():
        if key in ("keras_history", "input_layers", "output_layers"):
            result[key] = _references(entry, names)
        else:
            result[key] = _neutral(entry, names)
    return _without_names(result, names) if _is_layer(value) else result


def _is_layer(value: Mapping[str, Any]) -> bool:
    # The name of a dtype policy says what it does.
    named = isinstance(value.get("config"), dict) and _name(value) is not None
    return named and "DTypePolicy" not in str(value.get("class_name", "DTypePolicy"))


def _name(layer: Mapping[str, Any]) -> str | None:
    """Return a layer's name; None for the configuration of a custom layer's argument, which has no name."""
    return layer.get("name") or layer["config"].get("name")


def _without_names(layer: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    config = {key: value for key, value in layer["config"].items() if key not in _TRAINING_ONLY}
    config["name"] = names.get(_name(layer) or "", "")
    record = {key: value for key, value in layer.items() if key != "name"}
    return {**record, "config": config}


def _references(value: Any, names: Mapping[str, str]) -> Any:
    """Rename the layers in references `[layer, call, output]`, alone or in lists and objects."""
    if isinstance(value, list):
        return [_references(entry, names) for entry in value]
    if isinstance(value, dict):
        return {key: _references(entry, names) for key, entry in value.items()}
    return names.get(value, value) if isinstance(value, str) else value
