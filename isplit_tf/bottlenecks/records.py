"""The record of a bottleneck in a saved split or checkpoint."""

from typing import Any

from ..errors import BundleError
from .autoencoder import Autoencoder
from .projection import Projection

_CLASSES: dict[str, Any] = {"Autoencoder": Autoencoder, "Projection": Projection}


def bottleneck_to_json(bottleneck: Any) -> dict[str, Any] | None:
    """Return the class and configuration of a bottleneck as a record."""
    return None if bottleneck is None else {"class": type(bottleneck).__name__, "config": bottleneck.get_config()}


def bottleneck_from_json(record: dict[str, Any] | None) -> Any:
    """Make a bottleneck of this package from its record; the inverse of `bottleneck_to_json`."""
    if record is None:
        return None
    if record["class"] not in _CLASSES:
        raise BundleError(f"Unknown bottleneck '{record['class']}'. This version knows: {sorted(_CLASSES)}.")
    return _CLASSES[record["class"]].from_config(record["config"])
