"""The stages of a row of the compatibility table, run for one model in this process."""

import gc
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_models import build_hub, hub_names

SIDES = (32, 71, 75, 96, 224, 331)
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))


def names() -> list[str]:
    """Return the names of all models, those of keras.applications first."""
    import keras
    from models import MODELS

    found = [name for name in dir(keras.applications) if name[0].isupper()]
    return [*sorted(found), *MODELS]


def build(name: str) -> Any:
    """Build a model with random weights, as small as its architecture allows."""
    import keras
    from models import MODELS

    if name in MODELS:
        return MODELS[name]()
    if name in hub_names():
        return build_hub(name)
    for side in SIDES:
        try:
            return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10)
        except ValueError as error:
            reason = error
    raise reason


class Row:
    """The results for one model, printed after each stage, so that a killed process leaves the finished stages."""

    def __init__(self, name: str):
        self.start = time.monotonic()
        self.values: dict[str, Any] = {"model": name, "failures": {}}

    def stage(self, name: str, run: Callable[[], dict[str, Any]]) -> None:
        """Run one stage; an error is recorded in the row."""
        gc.collect()  # models are part of reference cycles, and the largest need the memory
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            self.values |= run()
        except Exception as error:  # every error belongs into the table
            traceback.print_exc()
            self.values["failures"][name] = f"{type(error).__name__}: {error}"[:600]
        self.values["seconds"] = round(time.monotonic() - self.start, 1)
        print(json.dumps(self.values), flush=True)


def run_model(name: str) -> None:
    """Run all stages for one model in this process."""
    import keras
    import numpy as np
    from models import MODELS

    from isplit_tf.graph.axis import main_cuts
    from isplit_tf.graph.cuts import list_cuts
    from isplit_tf.graph.program import read_program
    from support.zoo import random_input

    row = Row(name)
    keras.utils.set_random_seed(0)
    model = build(name)
    row.values |= versions()
    scale = 1.0 if name in MODELS else pixels(model)
    settle(model, random_input(model, 32, scale=scale))
    x = random_input(model, 2, scale=scale)
    if getattr(model, "preprocessor", None) is not None:
        row.stage("preprocessor", lambda: preprocessed(model))
        return
    program = read_program(model)
    cuts = list_cuts(program)
    main = main_cuts(program, cuts)
    row.values |= {
        "inputs": [list(program.tensors[tensor].sample_shape) for tensor in program.inputs],
        "parameters": model.count_params(),
        "cuts": len(cuts),
        "main_cuts": len(main),
    }
    row.stage("recompose", lambda: recomposed(model, x))
    row.stage("cost", lambda: cost(model))
    row.stage("importance", lambda: importance(model, random_input(model, 8, scale=scale)))
    best = row.values.get("best")
    chosen = sorted({0, len(cuts) // 2, len(cuts) - 1, *([best["index"]] if best else [])})
    row.stage("split", lambda: splits(model, x, [cuts[k] for k in chosen if 0 <= k < len(cuts)]))
    if best and len(program.inputs) == 1:
        images = np.asarray(random_input(model, 24, scale=scale))
        row.stage("float32 head", lambda: head(model, cuts[best["index"]], images, "float32"))
        row.stage("int8 head", lambda: head(model, cuts[best["index"]], images, "int8"))


def pixels(model: Any) -> float:
    """Return the scale of random inputs: that of pixels if the model rescales its input itself."""
    import keras

    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return 64.0 if any(isinstance(layer, kinds) for layer in model._flatten_layers()) else 1.0


def settle(model: Any, x: Any) -> None:
    """Set the statistics of BatchNormalization from a batch; with a fresh model's, deep feature maps shrink to zero."""
    import keras

    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(x, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def versions() -> dict[str, Any]:
    """Return the versions of the software that made the row."""
    import keras
    import tensorflow as tf

    found = {"tensorflow": tf.__version__, "keras": keras.__version__, "date": time.strftime("%Y-%m-%d", time.gmtime())}
    if "keras_hub" in sys.modules:
        found["keras_hub"] = sys.modules["keras_hub"].__version__
    return found


def recomposed(model: Any, x: Any) -> dict[str, Any]:
    """Cut the model at every cut, and run the parts as a chain in which each part sees only the previous output."""
    from support.recompose import recompose

    found = recompose(model, x)
    return {
        "recomposed": found.cuts if found.exact else 0,
        "difference": found.difference,
        "repeat": found.repeat,
        "largest": found.largest,
    }


def splits(model: Any, x: Any, cuts: list[Any]) -> dict[str, Any]:
    """Test `split`, head and tail at some cuts through the public interface."""
    from isplit_tf import split
    from support.recompose import difference

    expected = model(x, training=False)
    worst = 0.0
    for cut in cuts:
        halves = split(model, cut)
        worst = max(worst, difference(halves.tail(halves.head(x, training=False), training=False), expected))
    return {"split_at": [cut.name for cut in cuts], "split_difference": worst}


def importance(model: Any, x: Any) -> dict[str, Any]:
    """Measure the importance of the main cuts on random images."""
    import warnings

    import numpy as np

    from isplit_tf import measure_importance
    from isplit_tf.graph.outputs import describe_output

    labels = np.arange(8) % describe_output(model).n_classes
    curve = measure_importance(model, (x, labels), progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        best = curve.best
    return {
        "curve_finite": bool(np.isfinite(curve.values).all()),
        "best": {"index": best.index, "name": best.name, "shape": list(best.shape)},
    }


def preprocessed(model: Any) -> dict[str, Any]:
    """Compare `predict`, which preprocesses, with the call, and record what is said of a model with two meanings.

    Importance and a split of it are asked for on uint8 images, as a user would.
    """
    import numpy as np

    from isplit_tf import ISplitError, find_cuts, measure_importance, split

    shape = tuple(model.inputs[0].shape[1:])
    images = np.random.default_rng(0).integers(0, 256, (20, *shape), np.uint8)
    predicted = model.predict(images, verbose=0)
    difference = float(np.abs(predicted - np.asarray(model(images.astype("float32"), training=False))).max())
    said = {}
    verbs: dict[str, Callable[[], Any]] = {
        "measure_importance": lambda: measure_importance(model, (images, np.arange(20) % 10), progress=False),
        "split": lambda: split(model, find_cuts(model)[-1]),
    }
    for name, run in verbs.items():
        try:
            run()
            said[name] = "answers"
        except ISplitError as error:
            said[name] = f"{type(error).__name__}: {error}"[:600]
    found = {"inputs": [list(shape)], "parameters": model.count_params(), "predict_difference": difference}
    return found | {"said": said}


def cost(model: Any) -> dict[str, Any]:
    """Count multiply-accumulate operations, and compare with TensorFlow's profiler."""
    from isplit_tf.graph.cost import count_macs
    from support.profiler import profiled_macs

    counted, by_hand = profiled_macs(model)
    kinds: dict[str, int] = {}
    for name, macs in by_hand.items():
        kind = "Einsum" if "einsum" in name.lower() else "grouped convolution"
        kinds[kind] = kinds.get(kind, 0) + macs
    return {"macs": count_macs(model), "profiler_macs": counted, "profiler_by_hand": kinds}


def head(model: Any, cut: Any, images: Any, precision: str) -> dict[str, Any]:
    """Convert the head at the best cut to `.tflite`, and compare it with Keras on the same images."""
    from isplit_tf import split
    from isplit_tf.export.litert.converter import convert

    found = convert(
        split(model, cut).head,
        precision=precision,
        representative=images.astype("float32"),
        progress=False,
    )
    return {precision: {"error": found.relative_error, "size_bytes": len(found.content)}}
