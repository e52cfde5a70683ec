"""Comparison of the importance pass with a bare pass, with bfloat16, and with another tool."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from importance import measure as measure_pass
from isplit_tf import measure_importance

from .timing import taking_turns

MODELS = {"VGG16": 64, "ResNet50": 64, "MobileNetV2": 96, "EfficientNetB0": 96}
"""The models and their image sizes, pixels to a side."""

BATCH = 32
CLASSES = 200


def build(name: str, size: int | None = None) -> keras.Model:
    """Build one of the models without training, since times do not depend on the weights."""
    size = size or MODELS[name]
    keras.utils.set_random_seed(0)
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=CLASSES)


def images(size: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return random images that are smooth like real images, and labels."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 8, 8, 3)).astype("f4")
    x = tf.image.resize(coarse, (size, size), "bicubic").numpy()
    return x, rng.integers(0, CLASSES, count)


def against_bare(cuts: str, goals: dict[str, float]) -> dict[str, Any]:
    """Compare the importance pass with a bare pass, for each model."""
    found = {name: measure_pass(name, size, BATCH, 15, cuts) for name, size in MODELS.items()}
    return {
        "reached": {f"{name} {MODELS[name]}": round(one["ratio"], 3) for name, one in found.items()},
        "ok": {f"{name} {MODELS[name]}": one["ratio"] <= goals[name] for name, one in found.items()},
        "details": found,
    }


def bfloat16(faster: float, agreement: float) -> dict[str, Any]:
    """Measure how much faster the curve is in bfloat16, and whether it ranks the cuts in the same way."""
    reached, ok, details = {}, {}, {}
    for name, size in MODELS.items():
        model, data = build(name), images(size, 256)
        curves = {}

        def run(precision: str, model=model, data=data, curves=curves) -> None:
            curves[precision] = measure_importance(
                model, data, precision=precision, batch_size=BATCH, progress=False
            ).values

        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning names the layers that stay in float32
            times = taking_turns(lambda: run("bfloat16"), lambda: run("float32"), repeats=3, warm_up=1)
        rank = float(stats.spearmanr(curves["bfloat16"], curves["float32"]).statistic)
        reached[f"{name} {size}"] = f"{times['ratio']:.2f} times, {rank:.4f}"
        ok[f"{name} {size}"] = times["ratio"] >= faster and rank >= agreement
        details[name] = times | {"spearman": rank}
    return {"reached": reached, "ok": ok, "details": details}


def tf_keras_vis(faster: float) -> dict[str, Any]:
    """Measure Grad-CAM of tf-keras-vis at all main cuts of VGG16, with one call per layer."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.scores import CategoricalScore

    model = build("VGG16")
    x, y = images(MODELS["VGG16"], BATCH)
    curve = measure_importance(model, (x, y), progress=False)
    names = [cut.name for cut in curve.cuts]
    linear = keras.models.clone_model(model)
    linear.set_weights(model.get_weights())
    linear.layers[-1].activation = keras.activations.linear
    explain, score = Gradcam(linear, clone=False), CategoricalScore(list(map(int, y)))

    def theirs() -> None:
        for name in names:
            explain(score, x, penultimate_layer=name, expand_cam=False, normalize_cam=False)

    times = taking_turns(lambda: measure_importance(model, (x, y), progress=False), theirs, repeats=5, warm_up=1)
    return {
        "reached": {"VGG16 64": f"{times['ratio']:.1f} times"},
        "ok": {"VGG16 64": times["ratio"] >= faster},
        "details": times | {"cuts": len(names)},
    }
