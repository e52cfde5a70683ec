"""Access to Keras' private state of layers and operations, and functions that copy them."""

import contextlib
import copy
import functools
import random
import tempfile
import types
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from ..errors import ModelError


def is_masked(tensor: Any) -> bool:
    """Check whether a symbolic tensor carries a Keras mask."""
    return getattr(tensor, "_keras_mask", None) is not None


def reads_mask(operation: Any) -> bool:
    """Check whether an operation's `call` reads the mask of its input."""
    names = getattr(operation, "_call_signature", None)
    return names is not None and any(name == "mask" or name.endswith("_mask") for name in names.parameters)


def all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return a layer or model and all layers inside it, including the layers in wrappers and composite layers."""
    return list(layer._flatten_layers())


def variables_of(layer: Any) -> list:
    """Return the weights of a layer and its inner layers; an empty list for an operation that is not a layer."""
    return list(layer.weights) if isinstance(layer, keras.layers.Layer) else []


def describe_weight(variable: keras.Variable, autocast: str | None) -> dict[str, Any]:
    """Return a record of a weight: `shape`, `dtype`, `trainable`, and `enters_as`, the dtype seen by an operation."""
    own = variable._dtype
    enters_as = autocast if autocast and variable._autocast and "float" in own else own
    return {"shape": list(variable.shape), "dtype": own, "trainable": variable.trainable, "enters_as": enters_as}


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer, *, without: Any = None) -> None:
    """Copy weights, constants derived from them and vocabularies from one layer to another of the same configuration.

    Args:
        source: A built layer.
        target: A built layer of the same configuration; it is changed.
        without: A layer inside the source that the target does not have, if any.
    """
    left_out = {id(layer) for layer in all_layers(without)} if isinstance(without, keras.layers.Layer) else ()
    originals = [layer for layer in all_layers(source) if id(layer) not in left_out]
    for layer, twin in zip(originals, all_layers(target), strict=True):
        weights: dict = {}
        layer.save_own_variables(weights)
        if weights:
            twin.load_own_variables(weights)
        if hasattr(layer, "save_assets"):
            with tempfile.TemporaryDirectory() as directory:
                layer.save_assets(directory)
                twin.load_assets(directory)


def copy_operation(operation: Any, name: str) -> Any:
    """Copy an operation that is not a layer and has no weights. The copy has no nodes yet."""
    twin = copy.copy(operation)
    twin.name = name
    twin._inbound_nodes = []
    twin._outbound_nodes = []
    return twin


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Restore the state of Python's random generator at the end of the context.

    Keras draws the seeds of initializers from it. Copied layers get other weights anyway, so making them should not
    change the seeds of the user's next layers.
    """
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def copy_layer(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    """Return a new layer of the same configuration. It gets weights of its own when it is first called.

    Raises:
        ModelError: If the layer cannot be rebuilt from its configuration.
    """
    if isinstance(layer, keras.layers.Lambda) and callable(layer.function):
        return keras.layers.Lambda(
            layer.function,
            output_shape=layer._output_shape,
            mask=layer.mask,
            arguments=layer.arguments,
            name=name,
            dtype=layer.dtype_policy,
        )
    known = {type(inner).__name__: type(inner) for inner in all_layers(layer)}
    try:
        with keras.saving.custom_object_scope(known), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`", UserWarning)
            config = layer.get_config()
            if "name" in config:
                config["name"] = name
            with kept_random_state():
                twin = type(layer).from_config(config | _functions_of(layer, config))
    except NotImplementedError as error:
        raise ModelError(_why_no_copy(layer, "it has no get_config().")) from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ModelError(_why_no_copy(layer, (str(error).strip() or type(error).__name__).splitlines()[0])) from error
    twin.name = name
    return twin


def config_without_activation(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return a layer's configuration with a linear activation, also if its activation is a `functools.partial`."""
    activation = layer.activation
    if not isinstance(activation, functools.partial):
        return layer.get_config() | {"activation": "linear"}
    # Keras cannot serialize a partial, so it is replaced while the configuration is read.
    layer.activation = keras.activations.linear
    try:
        return layer.get_config()
    finally:
        layer.activation = activation


def _functions_of(layer: keras.layers.Layer, config: dict[str, Any]) -> dict[str, Any]:
    """Return the user's own functions in a layer, such as an activation, which need not be registered with Keras."""
    attributes = {key: getattr(layer, key, None) for key in config}
    return {
        key: value for key, value in attributes.items() if isinstance(value, types.FunctionType) and _is_foreign(value)
    }


def _is_foreign(function: types.FunctionType) -> bool:
    return not function.__module__.startswith("keras.")


def _why_no_copy(layer: keras.layers.Layer, reason: str) -> str:
    return (
        f"Layer '{layer.name}' of class {type(layer).__name__} cannot be copied from its configuration: {reason} "
        "A layer needs a get_config() that holds the arguments of its __init__ as plain values."
    )
