"""Access to Keras' private state of layers and operations, and functions that copy them."""

import contextlib
import copy
import functools
import inspect
import random
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.backend.common import global_state

from ..errors import ModelError, keras_reason

# What Keras and the code of layers raise where a layer cannot be rebuilt.
REFUSALS = (TypeError, ValueError, AttributeError, LookupError, RuntimeError, OSError)


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


def is_of_keras(operation: Any) -> bool:
    """Check whether an operation, and every layer inside it, is one that comes with Keras and needs no other file."""
    inside = all_layers(operation) if isinstance(operation, keras.layers.Layer) else [operation]
    return all(type(one).__module__.startswith("keras.src.") for one in inside) and not any(
        isinstance(one, keras.layers.TFSMLayer) for one in inside
    )


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return the weights of a layer itself, without those of the layers inside it."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def is_usually_trainable(layer: keras.layers.Layer) -> list[bool]:
    """Return for each of `own_weights` whether it is trainable as long as nothing but the layer's own flag was set."""
    learning = layer.trainable
    return [learning] * len(layer._trainable_variables) + [False] * len(layer._non_trainable_variables)


def variables_of(layer: Any) -> list:
    """Return the weights of a layer and its inner layers; an empty list for an operation that is not a layer."""
    return list(layer.weights) if isinstance(layer, keras.layers.Layer) else []


def describe_weight(variable: keras.Variable, autocast: str | None) -> dict[str, Any]:
    """Return a record of a weight: `shape`, `dtype`, `trainable`, and `enters_as`, the dtype seen by an operation."""
    own = variable._dtype
    enters_as = autocast if autocast and variable._autocast and "float" in own else own
    return {"shape": list(variable.shape), "dtype": own, "trainable": variable.trainable, "enters_as": enters_as}


def copy_operation(operation: Any, name: str) -> Any:
    """Copy an operation that is not a layer and has no weights. The copy has no nodes yet."""
    twin = copy.copy(operation)
    twin.name = name
    detach(twin)
    return twin


def detach(operation: Any) -> None:
    """Make an operation forget all symbolic calls of it."""
    operation._inbound_nodes = []
    operation._outbound_nodes = []


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


@keras.saving.register_keras_serializable("isplit_tf")
class KerasFunction:
    """A function of `keras.ops` by its name, as an activation.

    Keras saves such a function under its bare name. Of `sin` it then finds none, and of `gelu` another one.
    """

    def __init__(self, name: str):
        if not callable(getattr(keras.ops, name, None)):
            raise ModelError(f"keras.ops has no function '{name}'.")
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return getattr(keras.ops, self.__name__)(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the name."""
        return {"name": self.__name__}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KerasFunction":
        """Return the function that `get_config` describes."""
        return cls(**config)


@dataclass(frozen=True, eq=False)
class _Part:
    """A function or object that a layer was given, such as an activation, a regularizer or an initializer."""

    owner: keras.layers.Layer
    attribute: str
    value: Any

    @property
    def placeholder(self) -> Any:
        """Return what stands in its place while the configuration is read."""
        kinds = (keras.Regularizer, keras.constraints.Constraint, keras.Initializer)
        return None if isinstance(self.value, kinds) else keras.activations.linear


def copy_layer(layer: keras.layers.Layer, name: str, **changes: Any) -> keras.layers.Layer:
    """Return a new layer of the same configuration. It gets weights of its own when it is first called.

    The user's own functions, regularizers, constraints and initializers are taken over as they are: they need not be
    registered with Keras.

    Args:
        layer: The layer.
        name: Name of the copy.
        **changes: Arguments of the copy that differ, for instance `activation="linear"`.

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
    try:
        with also_known(known_classes(layer)), warnings.catch_warnings(), kept_random_state():
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`", UserWarning)
            parts = [part for part in _parts(layer) if not _is_rebuilt(part.value)]
            try:
                twin = _maker(layer)(_configuration(layer, name, parts) | changes)
            except REFUSALS:
                if not parts:
                    raise
                # The class wants records of the parts, and makes them itself.
                twin = _maker(layer)(_configuration(layer, name, ()) | changes)
    except NotImplementedError as error:
        raise ModelError(_why_no_copy(layer, "it has no get_config().")) from error
    except REFUSALS as error:
        raise ModelError(_why_no_copy(layer, keras_reason(error))) from error
    twin.name = name
    _hand_over([part for part in parts if part.owner is not layer or part.attribute not in changes], layer, twin)
    return twin


@contextlib.contextmanager
def also_known(objects: Mapping[str, Any]) -> Iterator[None]:
    """Let Keras find classes and functions by name, and still those of an outer scope, which its own scope hides."""
    outer = global_state.get_global_attribute("custom_objects_scope_dict", {})
    with keras.saving.custom_object_scope({**outer, **objects}):
        yield


def known_classes(layer: keras.layers.Layer) -> dict[str, type]:
    """Return the classes of a layer and the layers inside it by name: the user's need not be registered with Keras."""
    return {type(inner).__name__: type(inner) for inner in all_layers(layer)}


def _maker(layer: keras.layers.Layer) -> Callable[[dict[str, Any]], keras.layers.Layer]:
    """Return what makes a layer from a configuration."""
    if type(layer) is keras.layers.TFSMLayer:
        # `from_config` refuses it, because a file must not name a SavedModel to run. This one the user has loaded.
        return lambda config: keras.layers.TFSMLayer(**config)
    return type(layer).from_config


def _configuration(layer: keras.layers.Layer, name: str, parts: Sequence[_Part]) -> dict[str, Any]:
    """Return a layer's configuration under another name, with the parts themselves in place of their records.

    Keras cannot write down some of the parts, so they are taken out of the layer while its configuration is read.
    """
    try:
        for part in parts:
            vars(part.owner)[part.attribute] = part.placeholder
        config = layer.get_config()
    finally:
        for part in parts:
            vars(part.owner)[part.attribute] = part.value
    if "name" in config:
        config["name"] = name
    carried = {id(part.value) for part in parts}
    own = {key: getattr(layer, key, None) for key in config}
    return config | {key: value for key, value in own.items() if id(value) in carried}


def _parts(layer: keras.layers.Layer) -> Iterator[_Part]:
    """Yield the functions and objects that a layer, and the layers inside it, were given as arguments."""
    for owner in all_layers(layer):
        for argument in _argument_names(owner.__class__):
            for attribute in (argument, f"_{argument}"):
                value = vars(owner).get(attribute)
                if callable(value) and not isinstance(value, type | keras.Operation):
                    yield _Part(owner, attribute, value)


@functools.cache
def _argument_names(kind: type) -> tuple[str, ...]:
    """Return the names of the arguments that a class and its bases take."""
    makers = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base) and base is not object]
    return tuple(dict.fromkeys(name for maker in makers for name in inspect.signature(maker).parameters))


def _is_rebuilt(part: Any) -> bool:
    """Check whether Keras rebuilds the same function, or an equal object, from what it writes down of it."""
    if not isinstance(part, types.FunctionType):
        return type(part).__module__.startswith("keras.")
    try:
        return keras.activations.get(keras.activations.serialize(part)) is part
    except (TypeError, ValueError):
        return False


def _hand_over(parts: Sequence[_Part], layer: keras.layers.Layer, twin: keras.layers.Layer) -> None:
    """Give a copy the parts of the original. Layers that the copy makes only when it is built get theirs from it."""
    owners, twins = all_layers(layer), all_layers(twin)
    if [type(owner) for owner in owners] != [type(one) for one in twins]:
        owners, twins = [layer], [twin]
    of = {id(owner): one for owner, one in zip(owners, twins, strict=True)}
    for part in parts:
        if id(part.owner) in of:
            vars(of[id(part.owner)])[part.attribute] = _named(part.value)


def _named(part: Any) -> Any:
    """Return a function of `keras.ops` in a form that can be saved; any other part unchanged."""
    name = part.__name__ if isinstance(part, types.FunctionType) else ""
    return KerasFunction(name) if name and getattr(keras.ops, name, None) is part else part


def _why_no_copy(layer: keras.layers.Layer, reason: str) -> str:
    return (
        f"Layer '{layer.name}' of class {type(layer).__name__} cannot be copied from its configuration: "
        f"{reason.rstrip('.')}. A layer needs a get_config() that holds the arguments of its __init__ as plain values."
    )
