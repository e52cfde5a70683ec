"""All that is read of Keras' private state of layers and operations, and how they are copied."""

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
    """Whether a Keras mask travels with a symbolic tensor."""
    return getattr(tensor, "_keras_mask", None) is not None


def reads_mask(operation: Any) -> bool:
    """Whether an operation's `call` looks at the mask of its input."""
    names = getattr(operation, "_call_signature", None)
    return names is not None and any(name == "mask" or name.endswith("_mask") for name in names.parameters)


def all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer or model and every layer in it, those inside of wrappers and composite layers too."""
    return list(layer._flatten_layers())


def variables_of(layer: Any) -> list:
    """The weights of a layer and of all in it; none for an operation that is not a layer."""
    return list(layer.weights) if isinstance(layer, keras.layers.Layer) else []


def describe_weight(variable: keras.Variable, autocast: str | None) -> dict[str, Any]:
    """Shape, dtype, whether it is trainable, and the dtype in which the weight enters an operation."""
    own = variable._dtype
    enters_as = autocast if autocast and variable._autocast and "float" in own else own
    return {"shape": list(variable.shape), "dtype": own, "trainable": variable.trainable, "enters_as": enters_as}


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer, *, without: Any = None) -> None:
    """Copy weights, constants derived from them and vocabularies between two layers of one configuration.

    Args:
        source: A built layer.
        target: The other one, built.
        without: A layer in the source that the target has not.
    """
    left_out = {id(one) for one in all_layers(without)} if isinstance(without, keras.layers.Layer) else ()
    ours = [one for one in all_layers(source) if id(one) not in left_out]
    for one, other in zip(ours, all_layers(target), strict=True):
        weights: dict = {}
        one.save_own_variables(weights)
        if weights:
            other.load_own_variables(weights)
        if hasattr(one, "save_assets"):
            with tempfile.TemporaryDirectory() as directory:
                one.save_assets(directory)
                other.load_assets(directory)


def copy_operation(operation: Any, name: str) -> Any:
    """A copy of an operation without weights that is not a layer, with no nodes of its own yet."""
    twin = copy.copy(operation)
    twin.name = name
    twin._inbound_nodes = []
    twin._outbound_nodes = []
    return twin


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Lets layers be made whose weights are replaced, without drawing from the generator that Keras seeds them from."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def copy_layer(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    """A new layer of the same configuration, with weights of its own once it is called.

    Raises:
        ModelError: Its configuration does not give it back.
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
    """A layer's configuration with a linear activation; a partial is one that Keras cannot write down."""
    activation = layer.activation
    if not isinstance(activation, functools.partial):
        return layer.get_config() | {"activation": "linear"}
    layer.activation = keras.activations.linear
    try:
        return layer.get_config()
    finally:
        layer.activation = activation


def _functions_of(layer: keras.layers.Layer, config: dict[str, Any]) -> dict[str, Any]:
    """Functions of the user's own, such as an activation: they go along as they are, registered or not."""
    own = {key: getattr(layer, key, None) for key in config}
    return {key: value for key, value in own.items() if isinstance(value, types.FunctionType) and _is_foreign(value)}


def _is_foreign(function: types.FunctionType) -> bool:
    return not function.__module__.startswith("keras.")


def _why_no_copy(layer: keras.layers.Layer, reason: str) -> str:
    return (
        f"Layer '{layer.name}' of class {type(layer).__name__} cannot be copied from its configuration: {reason} "
        "A layer needs a get_config() that holds the arguments of its __init__ as plain values."
    )
