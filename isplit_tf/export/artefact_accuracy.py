"""The accuracy in a manifest: of the exported files, of the split, and of the original model."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..batches import check_data
from ..errors import ArgumentError, DataError, ModelError, checked_integer
from ..evaluation.evaluation import evaluate
from ..graph.output_kinds import Output, to_probabilities
from ..graph.outputs import compiled_loss, find_logits
from ..graph.preprocessor import require_same_as_predict
from ..graph.program import Program, read_program
from .litert.representative import model_input
from .request import ExportRequest


class Prepared:
    """A Keras model that takes images as a bundle does: uint8 images are preprocessed first.

    Args:
        call: Gives the model's class scores for a batch, in inference mode.
        output: What they are.
        request: What shape the images have, and how they are preprocessed.
    """

    def __init__(self, call: Callable[[tf.Tensor], tf.Tensor], output: Output, request: ExportRequest):
        self._shape = request.input_shape
        self.output = output
        self._preprocessing = request.preprocessing
        # Traced once: `predict_on_batch` of several models warns of tracing too often.
        spec = tf.TensorSpec((None, *self._shape), tf.float32)
        function = tf.function(call, input_signature=[spec], autograph=False)
        self._run = function.get_concrete_function()

    def predict(self, images: Any) -> np.ndarray:
        """Return probabilities, float32 `(N, n_classes)`."""
        x = np.stack([model_input(image, self._shape, self._preprocessing) for image in np.asarray(images)])
        return to_probabilities(self._run(tf.constant(x)).numpy(), self.output)


def read_original(
    original: Any, output: str | int | None, request: ExportRequest, from_logits: bool | None
) -> Prepared:
    """Return the model that was split, as images of the bundle go through it.

    Args:
        original: A Keras model, functional or traceable, of one input.
        output: Name or index of the output with the class scores; by default that of the split, by its name.
        request: What is exported.
        from_logits: Says of its linear outputs whether they are logits.

    Raises:
        ArgumentError: If it is no model of the split's input and classes.
        ModelError: If it cannot be read, its output is not class scores, or its `predict` does more than its layers.
    """
    if not isinstance(original, keras.Model):
        raise ArgumentError(f"original: expected the Keras model that was split. Received: {type(original).__name__}.")
    program = read_program(original, training=False)
    output = _output_of(program, output, request.split.program.output_names)
    chosen = program if output is None else program.only(output)
    shapes = [program.tensors[tensor].sample_shape for tensor in program.inputs]
    expected = request.input_shape
    if (
        len(shapes) != 1
        or len(shapes[0]) != len(expected)
        or any(mine not in (None, theirs) for mine, theirs in zip(shapes[0], expected, strict=True))
    ):
        raise ArgumentError(f"original: expected a model of one input {expected}, as the split has. Found: {shapes}.")
    try:
        logits = find_logits(
            chosen, loss=compiled_loss(original, output), from_logits=from_logits, known=request.output
        )
    except ModelError as error:
        raise ModelError(f"original: {error}") from error
    if logits.output.n_classes != request.output.n_classes:
        raise ArgumentError(
            f"original: expected a model of {request.output.n_classes} classes, as the split has. "
            f"Found: {logits.output.n_classes}."
        )
    require_same_as_predict(original, program)
    return Prepared(_call_of(original, program, chosen), logits.output, request)


def _output_of(program: Program, output: str | int | None, of_split: tuple[str, ...]) -> str | int | None:
    """Return which of several outputs was kept in the split; None where there is one."""
    names = list(program.output_names)
    if output is not None or len(names) == 1:
        return output
    same = [index for index, name in enumerate(names) if name in of_split]
    if len(same) != 1:
        raise ArgumentError(
            f"original has {len(names)} outputs: {names}. Name the one that was kept in the split with "
            "original_output=NAME or original_output=INDEX."
        )
    return same[0]


def _call_of(model: keras.Model, program: Program, chosen: Program) -> Callable[[tf.Tensor], tf.Tensor]:
    entering = program.inputs[0]
    if chosen is program and not isinstance(program.input_structure, dict):
        return lambda x: model(x, training=False)

    def call(x: tf.Tensor) -> tf.Tensor:
        return chosen.run({entering: tf.cast(x, program.tensors[entering].dtype)})[chosen.outputs[0]]

    return call


def check_evaluation(request: ExportRequest, data: Any, max_images: int | None) -> None:
    """Read the first images of the evaluation data, and all labels that are arrays, before any work.

    Raises:
        ArgumentError: If `max_images` is no number of images.
        DataError: If an image or a label is not what the bundle takes.
    """
    if max_images is not None:
        checked_integer("max_evaluation_images", max_images, 1)
    if data is not None:
        output = request.output
        said: dict[str, Any] = {"n_classes": output.n_classes, "multi_label": output.is_multi_label}
        first = check_data(data, max_images=max_images, **said)
        if request.preprocessing is None or request.preprocessing["size"] is None:
            for image in np.asarray(first):
                model_input(image, request.input_shape, request.preprocessing)


def measure_accuracy(
    bundle: Any,
    request: ExportRequest,
    data: Any,
    *,
    original: Prepared | None,
    max_images: int | None,
    progress: bool,
) -> dict[str, Any]:
    """Measure the accuracy of the original, the split and the exported files on the same images.

    Args:
        bundle: The bundle, from its files.
        request: What was exported.
        data: Images with labels, as `evaluate` takes them.
        original: The model that was split, or None.
        max_images: Stop after as many.
        progress: Whether bars may show.

    Returns:
        The manifest's record of accuracy.
    """
    model, program = request.split.model, request.split.program
    predictors = {
        "original": original,
        "split": Prepared(_call_of(model, program, program), request.output, request),
        "artefacts": bundle,
    }
    found = {
        name: evaluate(predictor, data, max_images=max_images, progress=progress)
        for name, predictor in predictors.items()
        if predictor is not None
    }
    accuracy = {name: found[name].accuracy if name in found else None for name in predictors}
    return {**accuracy, "images": found["artefacts"].n_images}


def measure_artefacts(bundle: Any, request: ExportRequest, data: Any, **options: Any) -> dict[str, Any]:
    """Return what the manifest says of accuracy, and of the rates where payloads are coded.

    Args:
        bundle: The bundle, from its files.
        request: What was exported.
        data: Images with labels, as `evaluate` takes them.
        **options: `original`, `max_images` and `progress`, as in `measure_accuracy`.
    """
    accuracy = measure_accuracy(bundle, request, data, **options)
    rates = measure_rates(bundle, data, max_images=options["max_images"], progress=options["progress"])
    return {"accuracy": accuracy} if rates is None else {"accuracy": accuracy, "rates": rates}


class Weighed:
    """A bundle at a bound, which notes the bytes of each payload."""

    def __init__(self, bundle: Any):
        self._bundle = bundle
        self.manifest = bundle.manifest
        self.lengths: list[int] = []

    def predict(self, images: Any, preprocessed: bool = False) -> np.ndarray:
        """Return probabilities, float32 `(N, n_classes)`."""
        payloads = self._bundle.payloads(images, preprocessed)
        self.lengths += map(len, payloads)
        return self._bundle.answer(payloads)[0]


def measure_rates(bundle: Any, data: Any, *, max_images: int | None, progress: bool) -> list[dict[str, Any]] | None:
    """Measure the accuracy of a bundle with coded payloads at five bounds: the longest payload, the mean, and less.

    Args:
        bundle: The bundle, from its files.
        data: Images with labels, as `evaluate` takes them.
        max_images: Stop after as many.
        progress: Whether bars may show.

    Returns:
        For each bound, from the longest on: payload_bytes, the bound; mean_bytes, p95_bytes and most_bytes of the
        payloads; accuracy. Bounds within which not every image fits are left out. None if payloads are not coded.
    """
    manifest = bundle.manifest
    if manifest.form.code is None:
        return None
    mean = manifest.payload_bytes
    found = []
    for bound in dict.fromkeys([manifest.max_payload_bytes, *(math.ceil(mean / share) for share in (1, 1.5, 2.5, 4))]):
        weighed = Weighed(bundle.at(bound))
        try:
            accuracy = evaluate(weighed, data, max_images=max_images, progress=progress).accuracy
        except DataError:
            break
        lengths = np.array(weighed.lengths)
        found.append(
            {
                "payload_bytes": bound,
                "mean_bytes": float(lengths.mean()),
                "p95_bytes": float(np.quantile(lengths, 0.95)),
                "most_bytes": int(lengths.max()),
                "accuracy": accuracy,
            }
        )
    return found
