"""Measure the importance of every cut of a model."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np

from ..batches import check_data, first_images
from ..batches.class_names import known_class_names
from ..errors import ArgumentError, checked_share
from ..graph.axis import choose_cuts
from ..graph.cuts import Cut, place_of
from ..graph.inputs import feed
from ..graph.outputs import compiled_loss, find_logits
from ..graph.passes import require_runnable
from ..graph.preprocessor import require_same_as_predict
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
    output_kind: str | None = None,
    output: str | int | None = None,
    strategy: Any = None,
    progress: bool = True,
) -> Curve:
    """Measure the cumulated importance (CUI) of all cuts, with one backward pass per image.

    With F of shape `(H, W, C)` at a cut and y the logit of the image's class, `alpha_c` is the mean over h, w of
    dy/dF_hwc, the map is ReLU(sum_c alpha_c F_hwc), and the importance is the map's sum over h, w, which
    `reduction="mean"` divides by the cut's size. For sequences `(T, D)` the mean is over T; vectors need no mean. An
    image with several labels has the mean of their importances, with one backward pass for each; one without a label
    is left out.

    Args:
        model: A built classifier; it is not changed.
        data: Validation images: a batched `tf.data.Dataset` of `(x, y)`, a pair of arrays, or a
            `keras.utils.PyDataset`. Labels are integers `(N,)` or `(N, 1)`, or one-hot; of a multi-label model also
            multi-hot. Weights are not used.
        method: "grad_cam"; "gradients", which leaves F out (the paper's Fig. 4); "grad_cam++", "hires_cam",
            "layer_cam", "gradient_x_activation"; or "layer_integrated_gradients", which takes 33 passes.
        reduction: "mean" (comparable between layers of different size) or "sum" (the paper's text).
        target: Score of the "label" (the paper) or of the "predicted" class (the authors' released code).
        cuts: "main", one cut for each layer that makes new features; "all"; or a list of cuts, for instance
            `find_cuts(model, max_tensors=2)`. If a cut has several tensors, their maps are summed up.
        precision: "float32" runs the model unchanged; "bfloat16", or "float16" on a GPU, runs copies of its float32
            layers in this precision. A warning names the layers that stay in float32.
        class_names: Names of the classes, for the curve; by default the `class_names` of the data.
        max_images: Use at most this number of images, the first ones; required for an endless data set.
        confidence: Stop as soon as more images would not change best cut and peaks, at this confidence (0.95 for
            instance); `isplit_tf.importance.settling` states the test. The images are then reordered, so that each
            class has its share. A stream is read through once for that, and a sample within 256 MiB is used.
        batch_size: Images per batch if `data` are arrays.
        from_logits: True if linear outputs are logits and the compiled loss does not say so.
        output_kind: What the output is, where neither the model's end nor its values tell: "probabilities" (that add up
            to 1), "logits", or "multi_label" (each unit a label of its own, of which an image may have several).
        output: Name or index of the output with the class scores, if the model has several outputs.
        strategy: A `tf.distribute.MirroredStrategy` or `MultiWorkerMirroredStrategy` whose devices share the images of
            each batch; by default the strategy of the open scope. Every worker needs the same data in the same order,
            and gets the whole curve, the same as on one device.
        progress: Whether to show a bar on standard error, if the measurement takes over a second.

    Returns:
        The curve; its values are float64 and raw, not normalized.

    Raises:
        ArgumentError: If a choice does not exist, or a number is out of range.
        ModelError: If the model has no cut, its output is not class scores, or `predict` does more than the model's
            layers; the message names the preprocessor.
        CutError: If a cut in the list does not exist.
        DataError: If the data are empty, endless, or do not fit the model.
        NumericsError: If an image holds NaN or infinity, or a layer, which is named, gives them.

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
    require_same_as_predict(model, program, lambda: first_images(data))
    chosen = choose_cuts(program, cuts)
    logits = find_logits(program, loss=compiled_loss(model, output), from_logits=from_logits, output_kind=output_kind)
    classes = logits.output.n_classes
    names = known_class_names(class_names, data, classes)
    if isinstance(data, tuple | list):
        feed(
            program,
            check_data(data, n_classes=classes, max_images=max_images, multi_label=logits.output.is_multi_label),
        )
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
        multi_label=logits.output.is_multi_label,
    )
    collected = collector.all_of(data) if confidence is None else collector.until_settled(data, confidence)
    return Curve(
        cuts=chosen,
        statistics=collected.statistics,
        class_names=names,
        method=method,
        reduction=reduction,
        target=target,
        model_name=model.name,
        input_shape=program.tensors[program.inputs[0]].sample_shape,
        precision=precision,
        confidence=collected.confidence,
        settled=collected.settled,
        n_inputs=len(program.inputs),
    )


def require_choices(**choices: str) -> None:
    """Raise `ArgumentError` if a method, reduction or target does not exist."""
    for name, value in choices.items():
        if value not in _CHOICES[name]:
            raise ArgumentError(f"Unknown {name} {value!r}. Possible: {', '.join(map(repr, _CHOICES[name]))}.")
