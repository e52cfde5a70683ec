"""Layers that are to stay as they are for a while."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras

from ..graph.keras_layers import all_layers
from ..splitting import SplitModel


def batch_norms(split: SplitModel) -> list[keras.layers.Layer]:
    """BatchNormalization of head and tail, wherever it is nested; that of a bottleneck is to learn."""
    own = {id(layer) for half in (split.encoder, split.decoder) if half is not None for layer in all_layers(half)}
    kinds = keras.layers.BatchNormalization
    return [layer for layer in all_layers(split.model) if isinstance(layer, kinds) and id(layer) not in own]


@contextmanager
def frozen(layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """With `trainable` off, BatchNormalization runs in inference mode, also while the model trains."""
    flags = [layer.trainable for layer in layers]
    try:
        for layer in layers:
            layer.trainable = False
        yield
    finally:
        for layer, flag in zip(layers, flags, strict=True):
            layer.trainable = flag
