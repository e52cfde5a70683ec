"""Where the time of a pass goes: each kind of layer alone, in float32 and in bfloat16."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .passes import BATCH, MODELS, build
from .timing import taking_turns

_KINDS = {
    "Conv2D": "convolution",
    "DepthwiseConv2D": "depthwise convolution",
    "BatchNormalization": "normalization",
    "Activation": "activation",
    "ReLU": "activation",
}


def bfloat16_parts() -> dict[str, Any]:
    """Forward and backward pass of every layer of each model, summed by kind: share of the time, and the gain."""
    reached, details = {}, {}
    for name, size in MODELS.items():
        kinds = _seconds_by_kind(build(name))
        whole = sum(one["float32_s"] for one in kinds.values())
        details[name] = kinds
        reached[f"{name} {size}"] = "; ".join(
            f"{kind} {one['float32_s'] / whole:.0%} of it, {one['float32_s'] / one['bfloat16_s']:.2f} times faster"
            for kind, one in sorted(kinds.items(), key=lambda item: -item[1]["float32_s"])
            if one["float32_s"] / whole >= 0.01
        )
    return {"reached": reached, "ok": {}, "details": details}


def _seconds_by_kind(model: keras.Model) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(lambda: {"float32_s": 0.0, "bfloat16_s": 0.0, "layers": 0})
    known: dict[str, tuple[float, float]] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer | keras.layers.Dropout):
            continue
        shapes = [tensor.shape[1:] for tensor in keras.tree.flatten(layer.input)]
        config = {key: value for key, value in layer.get_config().items() if key != "name"}
        same = f"{type(layer).__name__} {config} {shapes}"
        if same not in known:
            times = taking_turns(_pass(layer, shapes, "bfloat16"), _pass(layer, shapes, "float32"), repeats=5)
            known[same] = times["second_s"], times["first_s"]
        kind = found[_KINDS.get(type(layer).__name__, "the rest")]
        kind["float32_s"] += known[same][0]
        kind["bfloat16_s"] += known[same][1]
        kind["layers"] += 1
    return dict(found)


def _pass(layer: keras.layers.Layer, shapes: list[tuple[int, ...]], precision: str) -> Callable[[], object]:
    """A layer's forward pass and the gradient to its input, in one precision."""
    config = layer.get_config() | {"dtype": precision}
    twin = type(layer).from_config(config)
    twin.trainable = False
    rng = np.random.default_rng(0)
    inputs = [tf.constant(rng.normal(size=(BATCH, *shape)), getattr(tf, precision)) for shape in shapes]
    given = inputs if isinstance(layer.input, list) else inputs[0]
    above = tf.constant(rng.normal(size=twin(given).shape), getattr(tf, precision))

    @tf.function
    def run() -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            output = twin(given)
        return [tf.reduce_sum(part) for part in tape.gradient(output, inputs, output_gradients=above)]

    return lambda: [part.numpy() for part in run()]
