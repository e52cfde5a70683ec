"""What a predictor says about each image of a data set: Keras models, splits, bundles and clients alike."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from isplit_edge.images import is_raw

from ..batches import check_data, predict_rows
from ..batches.labels import is_multi_hot
from ..batches.watched import watched
from ..display.progress import bar
from ..errors import ArgumentError, DataError, ModelError, NumericsError, checked_class_names
from ..graph.inputs import feed
from ..graph.output_kinds import Output, checked_word, to_probabilities
from ..graph.outputs import compiled_loss, find_logits
from ..graph.passes import require_runnable
from ..graph.program import Program, read_program

# Room for rounding in probabilities that a predictor gives.
_SLACK = 1e-4

# Probabilities of more images and classes than fill this are not kept; two classes always are, for the AUC.
_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions for N images, in the order of the data.

    Attributes:
        labels: int64 `(N,)`; `(N, n_classes)` of 0 and 1 where an image may have several.
        classes: int64 `(N,)`, the class of the highest score; the first of them in a tie. Of several labels, those
            whose probability is above 1/2, in the form of `labels`.
        probabilities: float32 `(N, n_classes)`; None for over two classes where they would fill more than
            256 MiB.
        n_classes: Number of classes.
    """

    labels: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray | None
    n_classes: int


@dataclass(frozen=True)
class _Source:
    """A way to ask a predictor, what its outputs mean, and how many classes it has, where that is known."""

    ask: Callable[[Any], Any]
    kind: str | None
    n_classes: int | None


def predict_all(
    predictor: Any,
    data: Any,
    *,
    batch_size: int = 32,
    max_images: int | None = None,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    output: str | int | None = None,
    class_names: Sequence[str] | None = None,
    progress: bool = True,
) -> Predictions:
    """Ask a predictor about every image; arguments and errors are those of `evaluation.evaluate`."""
    source = _source(predictor, from_logits, output_kind, output)
    known = source.n_classes or (None if class_names is None else len(class_names))
    checked_class_names(class_names, known)
    labels: list[np.ndarray] = []
    classes: list[np.ndarray] = []
    sets: list[np.ndarray] = []
    of_labels = source.kind in ("multi_label", "multi_label_logits")
    if isinstance(data, tuple | list):  # all labels are at hand
        check_data(data, n_classes=known, max_images=max_images, multi_label=of_labels)
    kept_rows: list[np.ndarray] | None = []
    n_images = 0
    reading: dict[str, Any] = {"batch_size": batch_size, "max_images": max_images, "multi_label": of_labels}
    with bar(desc="evaluate", enabled=progress, unit="image") as progress_bar:
        for batch in watched(progress_bar, data, n_classes=known, **reading):
            outputs = np.asarray(source.ask(batch.x))
            rows = _checked(outputs, source.kind, known, n_images, batch.size)
            known = rows.shape[1]
            labels.append(_checked_labels(batch.labels, known, n_images))
            classes.append(rows.argmax(axis=1))
            if of_labels:
                sets.append(rows > 0.5)
            n_images += batch.size
            if kept_rows is not None and (known == 2 or n_images * known * rows.itemsize <= _KEPT_BYTES):
                kept_rows.append(rows)
            else:
                kept_rows = None
    probabilities = None if kept_rows is None else np.concatenate(kept_rows)
    all_labels, n_classes = np.concatenate(labels), int(known or 0)
    if of_labels and (is_multi_hot(all_labels) or output_kind is not None):
        if all_labels.ndim == 1:
            all_labels = np.eye(n_classes, dtype=np.int64)[all_labels]
        return Predictions(all_labels, np.concatenate(sets), probabilities, n_classes)
    if all_labels.ndim == 2:
        all_labels = all_labels.argmax(axis=1)
    return Predictions(all_labels, np.concatenate(classes), probabilities, n_classes)


def _source(predictor: Any, from_logits: bool | None, output_kind: str | None, output: str | int | None) -> _Source:
    """Return how to ask a predictor, and what it answers.

    Raises:
        ArgumentError: If it cannot be asked, or the arguments contradict each other.
    """
    word = checked_word(output_kind, from_logits)
    said: dict[str, Any] = {"from_logits": from_logits, "output_kind": output_kind}
    if output is not None and not isinstance(predictor, keras.Model):
        raise ArgumentError(
            f"output= is for a Keras model of several outputs. Received: {type(predictor).__name__}, which has one."
        )
    program = getattr(predictor, "program", None)
    if isinstance(program, Program):  # a SplitModel, which knows what its output is
        predictor.require_fitted()
        return _of_model(predictor.model, program, predictor.output if word is None else None, said)
    if isinstance(predictor, keras.Model):
        return _of_model(predictor, read_program(predictor), None, said, output)
    predict = getattr(predictor, "predict", None)
    if not callable(predict):
        raise ArgumentError(
            "Expected a predictor: a Keras model, a SplitModel, a Bundle, a client, or anything with "
            f"predict(images). Received: {type(predictor).__module__}.{type(predictor).__qualname__}."
        )
    manifest = getattr(predictor, "manifest", None)
    n_classes = getattr(manifest, "n_classes", None)
    meaning = _meaning(word, predictor, manifest)
    if "preprocessed" in inspect.signature(predict).parameters:
        shape = tuple(getattr(manifest, "shapes", {}).get("input", (None, None, None)))
        return _Source(lambda x: predict(x, preprocessed=not is_raw(np.asarray(x), shape)), meaning, n_classes)
    return _Source(predict, meaning, n_classes)


def _meaning(word: str | None, predictor: Any, manifest: Any) -> str | None:
    """Return the kind of what `predict` of something else than a Keras model gives; None for any probabilities."""
    if word is not None:
        return None if word == "probabilities" else word
    own = getattr(predictor, "output", None)
    independent = own.is_multi_label if isinstance(own, Output) else getattr(manifest, "multi_label", False)
    return "multi_label" if independent else None


def _of_model(
    model: keras.Model,
    program: Program,
    known: Output | None,
    said: dict[str, Any],
    output: str | int | None = None,
) -> _Source:
    """Ask a Keras model for one of its outputs, with our error where images do not fit it."""
    require_runnable(program)
    single_output = program if output is None else program.only(output)
    meaning = known or find_logits(single_output, loss=compiled_loss(model, output), **said).output
    place = program.outputs.index(single_output.outputs[0])

    def ask(x: Any) -> np.ndarray:
        feed(program, x)
        return predict_rows(model, x, place)

    return _Source(ask, meaning.kind, meaning.n_classes)


def _checked(outputs: np.ndarray, kind: str | None, n_classes: int | None, first: int, size: int) -> np.ndarray:
    """Return the outputs for images `first` to `first + size - 1` as probabilities `(size, n_classes)`."""
    if outputs.dtype.name == "bfloat16":
        outputs = outputs.astype(np.float32)
    if outputs.ndim == 1 and outputs.dtype.kind == "f":
        outputs = outputs[:, np.newaxis]
    images = f"images {first} to {first + size - 1}"
    if outputs.ndim != 2 or len(outputs) != size or outputs.dtype.kind not in "fiu":
        raise ModelError(
            f"Expected class scores ({size}, n_classes) for {images}. The predictor gave {outputs.dtype} "
            f"of shape {outputs.shape}."
        )
    invalid = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if invalid.size:
        raise NumericsError(f"The predictor gave NaN or infinity for {_indices(first + invalid)}.")
    if kind in (None, "multi_label"):
        invalid = np.flatnonzero(((outputs < -_SLACK) | (outputs > 1 + _SLACK)).any(axis=1))
        if invalid.size:
            raise ModelError(
                f"Expected probabilities. The predictor gave values from {outputs.min():.4g} to "
                f"{outputs.max():.4g}, outside of [0, 1] for {_indices(first + invalid)}. "
                "Give from_logits=True if they are logits."
            )
    if outputs.shape[1] == 1:
        kind = "binary_logit" if kind in ("logits", "binary_logit") else "sigmoid"
    rows = to_probabilities(outputs, Output.of(kind or "softmax", outputs.shape[1]))
    if n_classes is not None and rows.shape[1] != n_classes:
        raise ModelError(f"Expected scores of {n_classes} classes for {images}. The predictor gave {rows.shape[1]}.")
    return rows


def _checked_labels(labels: Any, n_classes: int, first: int) -> np.ndarray:
    """Check labels against the number of classes, which for some predictors is known only from their first answer."""
    if labels.ndim == 2:
        if labels.shape[1] != n_classes:
            raise DataError(f"Expected labels (N, {n_classes}), as the predictor has. Received: {labels.shape}.")
        return labels
    invalid = np.flatnonzero(labels >= n_classes)
    if invalid.size:
        raise DataError(
            f"The predictor tells {n_classes} classes apart, but there are labels up to {labels.max()}, at "
            f"{_indices(first + invalid)}."
        )
    return labels


def _indices(found: np.ndarray) -> str:
    listed = ", ".join(str(index) for index in found[:5])
    remainder = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"image{'s' if len(found) > 1 else ''} {listed}{remainder}"
