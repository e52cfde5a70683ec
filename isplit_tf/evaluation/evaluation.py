"""The public verb `evaluate`: how well a predictor does on labelled images."""

from collections.abc import Sequence
from typing import Any

from ..batches.class_names import class_names_of
from ..errors import checked_class_names, checked_integer
from .multi_label import MultiLabelEvaluation
from .predictions import predict_all
from .record import Evaluation, class_for

__all__ = ["Evaluation", "MultiLabelEvaluation", "evaluate"]


def evaluate(
    predictor: Any,
    data: Any,
    *,
    batch_size: int = 32,
    max_images: int | None = None,
    class_names: Sequence[str] | None = None,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    output: str | int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Measure the accuracy of a predictor on labelled images.

    Args:
        predictor: A Keras model (softmax, sigmoid or logits), a `SplitModel`, a `Bundle`, a client, or
            anything whose `predict(x)` gives probabilities `(N, n_classes)`, or `(N, 1)` of class 1 of two.
            Where `predict` has the parameter `preprocessed`, arrays of uint8 go to it as raw images and
            others with `preprocessed=True`.
        data: A batched `tf.data.Dataset` of `(x, y)` or `(x, y, weight)`, a pair of arrays, or a
            `keras.utils.PyDataset`; labels as integers `(N,)` or `(N, 1)`, or one-hot; of a multi-label model also
            multi-hot `(N, n_classes)`, of which an image may have several or none. Weights are not used. For
            `Evaluation.resampled` to compare predictors, the data must keep its order: do not shuffle it.
        batch_size: Images asked about at once, where the data are arrays.
        max_images: Stop after as many; needed for endless data.
        class_names: Names of the classes; by default those of the bundle, if it is one.
        from_logits: Whether the outputs are logits; by default as the model says, or as measured.
        output_kind: What the outputs are, where neither the model's end nor its values tell: "probabilities" (that add
            up to 1), "logits", or "multi_label"; the last also for labels that happen to be one-hot.
        output: Name or index of the output that holds the class scores, where a Keras model has several.
        progress: Whether to show a bar on standard error when it takes over a second.

    Returns:
        The evaluation. Of a multi-label model whose labels are multi-hot it is a `MultiLabelEvaluation`: its `accuracy`
        is the share of images that have all labels right, beside it stand `mean_auc` and `f1` of each label.

    Raises:
        ArgumentError: The predictor has no `predict`, or the names are not as many as the classes.
        DataError: Labels or images are not as above, or there are none.
        ModelError: The outputs are not class scores; the message names the images.
        NumericsError: The outputs of some images are NaN or infinite; the message names the images.

    Example:
        >>> evaluate(split, test_data)
    """
    names = checked_class_names(class_names, None, source=getattr(predictor, "manifest", None))
    predictions = predict_all(
        predictor,
        data,
        batch_size=checked_integer("batch_size", batch_size, 1),
        max_images=max_images,
        from_logits=from_logits,
        output_kind=output_kind,
        output=output,
        class_names=names,
        progress=progress,
    )
    if names is None:
        names = class_names_of(data, predictions.n_classes)
    return class_for(predictions.labels)(
        predictions.labels,
        predictions.classes,
        predictions.n_classes,
        None if names is None else tuple(names),
        predictions.probabilities,
    )
