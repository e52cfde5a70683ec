"""Profiles that break down the times of the other measures."""

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from importance import bare_pass
from isplit_tf.graph.cuts import place_of
from isplit_tf.graph.program import read_program
from isplit_tf.importance import kernels
from isplit_tf.importance.measure import choose_cuts

from .passes import BATCH, CLASSES, MODELS, build
from .timing import taking_turns

_KINDS = {
    "Conv2D": "convolution",
    "DepthwiseConv2D": "depthwise convolution",
    "BatchNormalization": "normalization",
    "Activation": "activation",
    "ReLU": "activation",
}


def bfloat16_parts() -> dict[str, Any]:
    """Measure forward and backward pass of each layer, summed by kind: share of the time, and gain by bfloat16."""
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
    """Return a function for a layer's forward pass and the gradient to its input, in one precision."""
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


def cut_parts() -> dict[str, Any]:
    """Measure the cost of the cuts alone, on given tensors, as shares of a bare pass.

    `reading` sums every element of every tensor at a cut and of its gradient once: no method that reads all of them can
    be faster. `arithmetic` is the arithmetic of Grad-CAM without the pass.
    """
    reached, details = {}, {}
    for name, size in MODELS.items():
        model = build(name)
        rng = np.random.default_rng(0)
        bare = _bare(model, size, rng)
        for cuts in ("main", "all"):
            pairs = _pairs(model, cuts, rng)
            found = {}
            for part, call in (("reading", _reading(pairs)), ("arithmetic", _arithmetic(pairs))):
                times = taking_turns(bare, lambda call=call: call().numpy(), repeats=9)
                found[part] = times["ratio"]
            found["mib"] = sum(2 * a.shape.num_elements() * 4 for a, _ in pairs) / 2**20
            details.setdefault(name, {})[cuts] = found
        reached[f"{name} {size}"] = "; ".join(
            f"{cuts} cuts, {one['mib']:,.0f} MiB: reading {one['reading']:.1%}, arithmetic {one['arithmetic']:.1%}"
            for cuts, one in details[name].items()
        )
    return {"reached": reached, "ok": {}, "details": details}


def _bare(model: keras.Model, size: int, rng: np.random.Generator) -> Callable[[], Any]:
    run = bare_pass(model)
    x = tf.constant(rng.normal(size=(BATCH, size, size, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, CLASSES, BATCH))
    return lambda: run(x, labels).numpy()


def _pairs(model: keras.Model, cuts: str, rng: np.random.Generator) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Return tensors `(N, P, C)` with the shapes at the cuts, each with a tensor for its gradient."""
    program = read_program(model)
    pairs = []
    for cut in choose_cuts(program, cuts):
        for tensor in place_of(program, cut):
            shape = (BATCH, *program.tensors[tensor].sample_shape)
            whole = tf.constant(rng.standard_normal(shape, np.float32))
            pairs.append((kernels.by_position(whole), kernels.by_position(tf.identity(whole[::-1]))))
    return pairs


def _reading(pairs: list[tuple[tf.Tensor, tf.Tensor]]) -> Callable[[], tf.Tensor]:
    @tf.function
    def run(tensors: Any) -> tf.Tensor:
        return tf.add_n([tf.reduce_sum(one) for one in tf.nest.flatten(tensors)])

    return lambda: run(pairs)


def _arithmetic(pairs: list[tuple[tf.Tensor, tf.Tensor]]) -> Callable[[], tf.Tensor]:
    @tf.function
    def run(tensors: Any) -> tf.Tensor:
        return tf.stack([kernels.cumulate(kernels.grad_cam(a, g)) for a, g in tensors])

    return lambda: run(pairs)


_FIRST_PARTS = """
import json, sys, time
import numpy as np, keras, tensorflow as tf
from isplit_tf import measure_importance
import isplit_tf.importance.probe as probe
name, size = sys.argv[1], int(sys.argv[2])
model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
x, y = np.random.default_rng(0).normal(size=(64, size, size, 3)).astype("f4"), np.arange(64) % 10
found = {}
def timed(key, call, *args):
    start = time.perf_counter()
    result = call(*args)
    found[key] = time.perf_counter() - start
    return result
trace = probe.Probe._call.func
class Traced:
    def __get__(self, owner, kind=None):
        if "_traced" not in vars(owner):
            owner._traced = timed("trace", trace, owner)
        return owner._traced
probe.Probe._call = Traced()
timed("first", lambda: measure_importance(model, (x, y), progress=False))
trace_s = found["trace"]
timed("second", lambda: measure_importance(model, (x, y), progress=False))
passes = found["second"] - found["trace"]
print(json.dumps({"first": found["first"], "trace": trace_s, "again": passes}))
"""


def first_parts() -> dict[str, Any]:
    """Break down the time of the first curve in a fresh process: tracing, the passes, and other one-time work."""
    reached, details = {}, {}
    for name, size in MODELS.items():
        turns = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", _FIRST_PARTS, name, str(size)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
            turns.append(json.loads(done.stdout.splitlines()[-1]))
        one = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
        details[name] = one
        once = one["first"] - one["trace"] - one["again"]
        reached[f"{name} {size}"] = (
            f"tracing {one['trace'] / one['first']:.0%}, the passes {one['again'] / one['first']:.0%}, "
            f"else {once / one['first']:.0%}"
        )
    return {"reached": reached, "ok": {}, "details": details}
