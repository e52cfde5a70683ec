"""The whole state of layers, also what Keras' own files merge or leave out: LoRA, late quantization, single flags."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..errors import ModelError, keras_reason
from .keras_layers import REFUSALS, all_layers, is_usually_trainable, own_weights

# Attributes that a layer gets after it was made, and that its configuration or `build` may lose.
_LATE = ("lora_alpha", "is_gptq_calibrated", "is_awq_calibrated")


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer, *, without: Any = None) -> None:
    """Copy the state of one layer to another of the same configuration, bit for bit.

    The state is the weights, the constants derived from them, vocabularies, and the `trainable` flag of each weight.
    A layer that was quantized or given LoRA after it was made has this done to its copy first.

    Args:
        source: A built layer.
        target: A built layer of the same configuration; it is changed.
        without: A layer inside the source that the target does not have, if any.

    Raises:
        ModelError: If the target has other weights.
    """
    left_out = {id(layer) for layer in all_layers(without)} if isinstance(without, keras.layers.Layer) else ()
    originals = [layer for layer in all_layers(source) if id(layer) not in left_out]
    twins = all_layers(target)
    if len(originals) != len(twins):
        raise ModelError(_why_other(source, f"it has {len(originals)} layers inside, and its copy {len(twins)}"))
    for layer, twin in zip(originals, twins, strict=True):
        _take_form(twin, form_of(layer))
        weights = own_weights(layer)
        pairs = _pair([(weight.name, tuple(weight.shape)) for weight in weights], twin)
        _load(layer, twin)
        if twin.trainable != layer.trainable:
            twin.trainable = layer.trainable
        for weight, copy in zip(weights, pairs, strict=True):
            copy.assign(weight)
            copy.trainable = weight.trainable
            # Keras may have built the copy before it was handed the user's own objects.
            copy.regularizer = copy.regularizer or weight.regularizer
            copy.constraint = copy.constraint or weight.constraint


def _load(layer: keras.layers.Layer, twin: keras.layers.Layer) -> None:
    """Let a layer that has a form of its own for files read it, for constants that it derives from its weights."""
    if type(layer).load_own_variables is not keras.layers.Layer.load_own_variables:
        weights: dict = {}
        layer.save_own_variables(weights)
        if weights:
            twin.load_own_variables(weights)
    if hasattr(layer, "save_assets"):
        with tempfile.TemporaryDirectory() as directory:
            layer.save_assets(directory)
            twin.load_assets(directory)


def form_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return what was done to a layer after it was made, as plain values; empty for most layers.

    `quantization` (the mode) and `quantization_config`, `lora_rank` and `lora_alpha`, and whether it is calibrated.
    """
    form: dict[str, Any] = {}
    if getattr(layer, "quantization_mode", None):
        settings = getattr(layer, "quantization_config", None)
        form["quantization"] = layer.quantization_mode
        form["quantization_config"] = keras.saving.serialize_keras_object(settings)
    if getattr(layer, "lora_enabled", False):
        form["lora_rank"] = layer.lora_rank
    return form | {name: getattr(layer, name) for name in _LATE if form and getattr(layer, name, None) is not None}


def _take_form(layer: keras.layers.Layer, form: Mapping[str, Any]) -> None:
    """Quantize a layer and enable LoRA as a form says, unless its configuration has done so already."""
    try:
        mode = form.get("quantization")
        if mode and layer.quantization_mode != mode:
            layer.quantize(mode, config=keras.saving.deserialize_keras_object(form["quantization_config"]))
        if "lora_rank" in form and not layer.lora_enabled:
            layer.enable_lora(form["lora_rank"])
    except (NotImplementedError, *REFUSALS) as error:
        raise ModelError(_why_other(layer, f"its copy cannot be made the same ({keras_reason(error)})")) from error
    for name in _LATE:
        if name in form:
            setattr(layer, name, form[name])


def _pair(specs: Sequence[tuple[str, tuple]], layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return the weights of a layer in the order of the names and shapes of another's.

    Names decide where they are the same in both. Names that Keras counts up are not: then the order decides.
    """
    weights = own_weights(layer)
    names = [name for name, _ in specs]
    by_name = {weight.name: weight for weight in weights}
    if len(set(names)) == len(names) and set(names) == set(by_name):
        weights = [by_name[name] for name in names]
    shapes = [shape for _, shape in specs], [tuple(weight.shape) for weight in weights]
    if shapes[0] != shapes[1]:
        raise ModelError(_why_other(layer, f"its weights have the shapes {shapes[0]}, those of its copy {shapes[1]}"))
    return weights


def _why_other(layer: keras.layers.Layer, difference: str) -> str:
    return (
        f"Layer '{layer.name}' of class {type(layer).__name__} cannot be copied: {difference}. "
        "Its get_config() leaves out something that its __init__ or build() takes."
    )


def record_state(model: keras.Model) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Return what Keras' file of a functional model merges or leaves out.

    Returns:
        A record for each layer that has such state, of plain values, and arrays by name; both empty for most models.
    """
    records: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for outer, inner, layer in _walk(model):
        weights, form, merged = own_weights(layer), form_of(layer), _is_merged(layer)
        if not (merged or (form and inner) or _has_lost_flags(outer, layer)):
            continue
        if merged:
            arrays |= {f"{len(records)}/{k}": np.asarray(weight) for k, weight in enumerate(weights)}
        records.append(
            {
                "layer": outer.name,
                "inner": inner,
                "form": form,
                "trainable": layer.trainable,
                "weights": [[weight.name, list(weight.shape)] for weight in weights],
                "flags": [weight.trainable for weight in weights],
            }
        )
    return records, arrays


def _has_lost_flags(outer: keras.layers.Layer, layer: keras.layers.Layer) -> bool:
    """Check whether Keras' file of a model would lose the `trainable` flags of a layer, or of single weights of it."""
    written = outer.get_config().get("trainable", True) if layer is outer else True
    if layer.trainable != written:
        return True
    return [weight.trainable for weight in own_weights(layer)] != is_usually_trainable(layer)


def take_forms(model: keras.Model, records: Sequence[Mapping[str, Any]]) -> None:
    """Quantize layers and enable LoRA as the records of `record_state` say; before the weights are read."""
    layers = {(outer.name, inner): layer for outer, inner, layer in _walk(model)}
    for record in records:
        _take_form(layers[record["layer"], record["inner"]], record["form"])


def restore_state(model: keras.Model, records: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> None:
    """Set the state that `record_state` recorded, after the weights were read.

    Raises:
        ModelError: If a layer has other weights.
        KeyError: If there is no such layer, or the records are not of `record_state`.
    """
    layers = {(outer.name, inner): layer for outer, inner, layer in _walk(model)}
    for number, record in enumerate(records):
        layer = layers[record["layer"], record["inner"]]
        _take_form(layer, record["form"])
        layer.trainable = record["trainable"]
        weights = _pair([(name, tuple(shape)) for name, shape in record["weights"]], layer)
        for k, (weight, flag) in enumerate(zip(weights, record["flags"], strict=True)):
            weight.trainable = flag
            if f"{number}/{k}" in arrays:
                weight.assign(arrays[f"{number}/{k}"])


def _walk(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, int, keras.layers.Layer]]:
    """Yield each layer of a functional model: the outermost layer around it, its number inside that, and itself."""
    for outer in model.layers:
        for inner, layer in enumerate(all_layers(outer)):
            yield outer, inner, layer


def _is_merged(layer: keras.layers.Layer) -> bool:
    """Check whether a layer's own form for files lacks some of its weights, as that of a layer with LoRA does."""
    if getattr(layer, "lora_enabled", False):
        return True
    saves = type(layer).save_own_variables
    if saves is keras.layers.Layer.save_own_variables or saves.__module__.startswith("keras."):
        return False
    stored: dict[str, Any] = {}
    layer.save_own_variables(stored)
    values = [np.asarray(value) for value in stored.values()]
    weights = [np.asarray(weight) for weight in own_weights(layer)]
    return any(all(not np.array_equal(weight, value) for value in values) for weight in weights)
