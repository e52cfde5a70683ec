"""Layers that Keras cannot rebuild alone, copied out of a copy of what is around them: a nested model, or the whole."""

import contextlib
import functools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from ..errors import ModelError, keras_reason
from .keras_layers import REFUSALS, all_layers, also_known, copy_layer, detach, kept_random_state, known_classes


@dataclass(frozen=True, eq=False)
class Source:
    """A model that Keras can rebuild from its configuration, without its weights.

    Attributes:
        record: What `keras.saving.serialize_keras_object` returned for it.
        kinds: Class names of the layers inside it, in order.
        classes: The user's classes by name, which need not be registered with Keras.
    """

    record: dict[str, Any]
    kinds: tuple[str, ...]
    classes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: keras.Model) -> "Source":
        """Describe a model.

        Raises:
            ModelError: If it has no configuration.
        """
        try:
            record = keras.saving.serialize_keras_object(model)
        except (NotImplementedError, *REFUSALS) as error:
            raise ModelError(keras_reason(error)) from error
        record.pop("compile_config", None)
        return cls(record, _kinds(model), known_classes(model))

    def rebuild(self) -> list[keras.layers.Layer]:
        """Return the layers of a new model of this configuration.

        Raises:
            ModelError: If Keras cannot rebuild the model, or rebuilds another one.
        """
        try:
            with also_known(self.classes), kept_random_state():
                model = keras.saving.deserialize_keras_object(self.record, safe_mode=True)
        except (NotImplementedError, *REFUSALS) as error:
            raise ModelError(keras_reason(error)) from error
        if _kinds(model) != self.kinds:
            raise ModelError("Keras rebuilds it with other layers")
        return all_layers(model)


def _kinds(model: keras.Model) -> tuple[str, ...]:
    return tuple(type(layer).__name__ for layer in all_layers(model))


# Where a copied layer comes from, so that the copy can be copied and saved in its turn.
_ORIGINS: "weakref.WeakKeyDictionary[keras.layers.Layer, tuple[Source, int]]" = weakref.WeakKeyDictionary()


class Copier:
    """Makes copies of layers; each model around them is rebuilt once at most."""

    def __init__(self) -> None:
        self._sources: dict[int, Source] = {}
        self._rebuilt: dict[Source, list[keras.layers.Layer] | ModelError] = {}

    def copy(
        self,
        layer: keras.layers.Layer,
        name: str,
        around: Sequence[keras.Model] = (),
        *,
        refusal: ModelError | None = None,
    ) -> keras.layers.Layer:
        """Return a new layer like another: from its own configuration, else out of the nearest model around it.

        Args:
            layer: The layer.
            name: Name of the copy.
            around: The models around the layer, the nearest first.
            refusal: Why its own configuration does not do, if that is known.

        Raises:
            ModelError: If neither the layer nor a model around it can be rebuilt from its configuration.
        """
        if layer in _ORIGINS:
            return self._take(*_ORIGINS[layer], name)
        if refusal is None:
            try:
                return copy_layer(layer, name)
            except ModelError as error:
                refusal = error
        tried = []
        for model in filter(_has_own_configuration, around):
            try:
                return self._take(self._source(model), _position(layer, model), name)
            except ModelError as error:
                tried.append(f"'{model.name}' of class {type(model).__name__}: {str(error).rstrip('.')}.")
        if not tried:
            raise refusal
        raise ModelError(f"{refusal} Nor can Keras rebuild what is around it, {' '.join(tried)}") from refusal

    def _source(self, model: keras.Model) -> Source:
        if id(model) not in self._sources:
            self._sources[id(model)] = Source.of(model)
        return self._sources[id(model)]

    def _take(self, source: Source, position: int, name: str) -> keras.layers.Layer:
        """Take a layer out of a rebuilt model; the layer does not belong to that model afterwards."""
        if source not in self._rebuilt:
            try:
                self._rebuilt[source] = source.rebuild()
            except ModelError as error:
                self._rebuilt[source] = error
        layers = self._rebuilt[source]
        if isinstance(layers, ModelError):
            raise layers
        return _lend(layers[position], name, source, position)


def _has_own_configuration(model: keras.Model) -> bool:
    """Check whether a model is more than its layers' configurations, of which Keras would rebuild the same."""
    return not type(model).__module__.startswith("keras.src.models.")


def _position(layer: keras.layers.Layer, model: keras.Model) -> int:
    for position, inner in enumerate(all_layers(model)):
        if inner is layer:
            return position
    raise ModelError("it holds the layer no longer")


def _lend(layer: keras.layers.Layer, name: str, source: Source, position: int) -> keras.layers.Layer:
    detach(layer)
    layer.name = name
    try:
        keras.saving.serialize_keras_object(layer)
    except (NotImplementedError, *REFUSALS):
        layer.get_config = functools.partial(dict, name=name)  # all that `lending` needs of a file
    _ORIGINS[layer] = (source, position)
    return layer


def record_origins(model: keras.Model) -> list[dict[str, Any]]:
    """Return where the layers of a model come from that Keras cannot rebuild alone, as plain values; empty for most."""
    records: dict[Source, dict[str, Any]] = {}
    for layer in model.layers:
        if layer in _ORIGINS:
            source, position = _ORIGINS[layer]
            record = records.setdefault(source, {"model": source.record, "kinds": list(source.kinds), "layers": {}})
            record["layers"][layer.name] = position
    return list(records.values())


@contextlib.contextmanager
def lending(records: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Let Keras take the layers that `record_origins` recorded, where it reads a file that holds them.

    Raises:
        ModelError: If Keras cannot rebuild the models that they come from.
        KeyError: If the records are not of `record_origins`.
    """
    lent: dict[str, keras.layers.Layer] = {}
    for record in records:
        layers = Source(record["model"], tuple(record["kinds"])).rebuild()
        source = Source(record["model"], tuple(record["kinds"]), known_classes(layers[0]))
        lent |= {name: _lend(layers[at], name, source, at) for name, at in record["layers"].items()}
    kinds = {keras.saving.get_registered_name(type(layer)): type(layer) for layer in lent.values()}
    lenders = {name: _Lender(kind, lent) for name, kind in kinds.items()}
    # What is registered takes precedence over a scope.
    registry = keras.saving.get_custom_objects()
    registered = {name: registry[name] for name in lenders if name in registry}
    try:
        registry.update((name, lenders[name]) for name in registered)
        with also_known(lenders):
            yield
    finally:
        registry.update(registered)


class _Lender:
    """Stands for a class while Keras reads a file: it gives out the lent layers, and makes the others."""

    def __init__(self, kind: type[keras.layers.Layer], lent: Mapping[str, keras.layers.Layer]):
        self._kind = kind
        self._lent = lent

    def from_config(self, config: dict[str, Any]) -> keras.layers.Layer:
        """Return the layer of a configuration."""
        layer = self._lent.get(config.get("name", ""))
        if layer is None or type(layer) is not self._kind:
            return self._kind.from_config(config)
        layer.trainable = config.get("trainable", True)
        return layer
