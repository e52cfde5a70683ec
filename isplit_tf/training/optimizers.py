"""Optimizers as the user gives them, of which each phase gets its own copy."""

from typing import Any

import keras

from ..errors import ArgumentError


def read_optimizer(name: str, given: Any, defaults: dict[str, float]) -> keras.optimizers.Optimizer:
    """A new optimizer, from an optimizer, the name of one, or None for Adam with `defaults`.

    Raises:
        ArgumentError: It is none of these; `name` says which argument it was.
    """
    if given is None:
        return keras.optimizers.Adam(**defaults)
    if isinstance(given, keras.optimizers.Optimizer):
        return copied(given)
    try:
        return keras.optimizers.get(given)
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            f"{name}: expected a keras.optimizers.Optimizer, the name of one, or None. Received: {given!r}"
        ) from error


def copied(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """A new one of the same configuration: an optimizer serves one set of weights only."""
    return type(optimizer).from_config(optimizer.get_config())


def optimizer_identity(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Class and configuration, for comparing two runs; the name is left out, which Keras numbers anew each time."""
    config = {key: value for key, value in optimizer.get_config().items() if key != "name"}
    return [type(optimizer).__name__, config]
