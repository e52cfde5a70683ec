"""Measure the importance of every cut of a model."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np

from ..errors import ArgumentError, checked_class_names, checked_share
from ..graph.axis import choose_cuts
from ..graph.cuts import Cut, place_of
from ..graph.outputs import compiled_loss, find_logits
from ..graph.passes import require_runnable
from ..graph.program import read_program
from .curve import Curve
from .data_pass import Collector
from .kernels import METHODS
from .precision import require_precision
from .probe import Probe
from .strategy import Replicas, chosen_strategy

_CHOICES = {
    "method": tuple(METHODS),
    "reduction": ("mean", "sum"),
    "target": ("label", "predicted"),
}


def measure_importance(
    model: keras.Model,
    data: Any,
    *,
    method: str = "grad_cam",
    reduction: Literal["mean", "sum"] = "mean",
    target: Literal["label", "predicted"] = "label",
    cuts: Literal["main", "all"] | Sequence[Cut | int | str] = "main",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    class_names: Sequence[str] | None = None,
    max_images: int | None = None,
    confidence: float | None = None,
    batch_size: int = 32,
    from_logits: bool | None = None,
    output: str | int | None = None,
    strategy: Any = None,
    progress: bool = True,
) -> Curve:
    """The cumulated importance (CUI) of cuts, one backward pass an image for all of them.

    With F of shape `(H, W, C)` at a cut and y the logit of the image's class, `alpha_c` is the mean over h, w of
    dy/dF_hwc, the map is ReLU(sum_c alpha_c F_hwc), and the importance its sum over h, w, which `reduction="mean"`
    divides by the cut's size. Sequences `(T, D)` average over T; vectors need no average.

    Args:
        model: A built classifier; it stays as it is.
        data: Validation images: a batched `tf.data.Dataset` of `(x, y)`, a pair of arrays, or a
            `keras.utils.PyDataset`. Labels are integers `(N,)` or `(N, 1)`, or one-hot. Weights are not used.
        method: "grad_cam"; "gradients", which leaves F out (the paper's Fig. 4); "grad_cam++", "hires_cam",
            "layer_cam", "gradient_x_activation"; or "layer_integrated_gradients", which takes 33 passes.
        reduction: "mean" (comparable between layers of different size) or "sum" (the paper's text).
        target: Score of the "label" (the paper) or of the "predicted" class (the authors' released code).
        cuts: "main", a point for each layer that makes new features; "all"; or a list of cuts, for instance
            `find_cuts(model, max_tensors=2)`. Where several tensors cross, their maps are summed up.
        precision: "float32" runs the model as it is; "bfloat16", or "float16" on a GPU, copies of its float32 layers. A
            warning names those that stay in float32.
        class_names: Names of the classes, for the curve.
        max_images: Take the first ones, as many at most; an endless data set needs it.
        confidence: Stop as soon as best cut and peaks are as sure as this, 0.95 for instance, not to change with
            more images: `isplit_tf.importance.settling` states the test. Images then come in an order of ours, each
            class in its share; of a stream, which is read through once for that, those that fit into 256 MiB.
        batch_size: Images in a batch, where `data` are arrays.
        from_logits: True where linear outputs are logits and the compiled loss does not say so.
        output: Name or index of the output with the class scores, where the model has several.
        strategy: A `tf.distribute.MirroredStrategy` or `MultiWorkerMirroredStrategy` whose devices share the images of
            each batch; that of the open scope by default. Every worker is given the same data in the same order, and
            gets the whole curve, the same as on one device.
        progress: Whether to show a bar on standard error, if it takes over a second.

    Returns:
        The curve; its values are float64 and raw, not normalized.

    Raises:
        ArgumentError: A choice that there is not, or a number out of range.
        ModelError: The model has no cut, or its output is not class scores.
        CutError: A cut in the list does not exist.
        DataError: The data are empty, endless, or do not fit the model.
        NumericsError: NaN or infinity in an image, or made by a layer, which is named.

    Example:
        >>> curve = measure_importance(model, (images, labels), progress=False)
        >>> curve.best.name

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Eq. 1 and 2, read as one layer.
    """
    require_choices(method=method, reduction=reduction, target=target)
    require_precision(precision)
    strategy = chosen_strategy(strategy)
    confidence = None if confidence is None else checked_share("confidence", confidence)
    program = read_program(model, output=output, training=False)
    require_runnable(program)
    chosen = choose_cuts(program, cuts)
    logits = find_logits(program, loss=compiled_loss(model, output), from_logits=from_logits)
    classes = logits.output.n_classes
    names = checked_class_names(class_names, classes, source=data)
    places = [place_of(program, cut) for cut in chosen]
    probe = Probe(program, places, logits, method=method, target=target, precision=precision)
    measure = probe if strategy is None else Replicas(probe, strategy)
    scale = np.array([1.0 / cut.size if reduction == "mean" else 1.0 for cut in chosen])
    collector = Collector(
        lambda x, labels: measure(x, labels) * scale,
        n_classes=classes,
        n_cuts=len(chosen),
        batch_size=batch_size,
        max_images=max_images,
        progress=progress,
    )
    found = collector.all_of(data) if confidence is None else collector.until_settled(data, confidence)
    return Curve(
        cuts=chosen,
        statistics=found.statistics,
        class_names=names,
        method=method,
        reduction=reduction,
        target=target,
        model_name=model.name,
        input_shape=program.tensors[program.inputs[0]].sample_shape,
        precision=precision,
        confidence=found.confidence,
        settled=found.settled,
    )


def require_choices(**choices: str) -> None:
    """Raise `ArgumentError` for a method, reduction or target that there is not."""
    for name, value in choices.items():
        if value not in _CHOICES[name]:
            raise ArgumentError(f"Unknown {name} {value!r}. Possible: {', '.join(map(repr, _CHOICES[name]))}.")
