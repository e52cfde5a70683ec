"""The bundle: one directory with all that a device and a server need of a split."""

import copy
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_edge.interpreter import Head
from isplit_edge.manifest import Manifest
from isplit_edge.wire import STATUS_MEANINGS, STATUS_OK

from ..display.quiet import quiet
from ..errors import ArgumentError, BundleError
from ..planning.option import Option
from ..splitting import SplitModel
from .artefact_accuracy import check_evaluation, measure_artefacts, read_original
from .chosen_split import chosen_split
from .coded_lengths import measure_lengths
from .layout import check_place, write_bundle
from .litert.converter import QUANTIZED, ConvertedHead, convert
from .litert.representative import representative_images
from .local_fallback import convert_fallback, measure_fallback
from .micro.fit import fitted_micro_head, micro_request
from .micro.search import Ranking
from .request import ExportRequest, make_request
from .serving.saved_model import SERVING_DEFAULT

_BATCH = 32


class Bundle:
    """Both halves of an exported split in this process: the head in LiteRT, the tail as its SavedModel.

    Every image goes through the wire format, so that the answers are those of a device and a server.

    Attributes:
        directory: Where the bundle is.
        manifest: What it says about itself.

    Example:
        >>> bundle = Bundle.load("bundle/")
        >>> bundle.predict(images)      # (N, n_classes)
    """

    def __init__(self, directory: str | os.PathLike[str], manifest: Manifest):
        self.directory = Path(directory)
        self.manifest = manifest
        with quiet():  # LiteRT announces its delegate
            self._head = Head(self.directory, manifest=manifest)
        self._payload_bytes: int | None = None
        self._loading = threading.Lock()
        self._tail: Any = None

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> "Bundle":
        """Open a bundle after comparing every file with its hash in the manifest.

        Args:
            directory: The bundle; all of it, where a device needs only manifest.json and edge/.

        Returns:
            The bundle.

        Raises:
            BundleError: If it is incomplete, was changed, or has a newer format.
        """
        manifest = Manifest.load(directory, check=())
        manifest.check_files(directory, {name.split("/")[0] for name in manifest.files})
        return cls(directory, manifest)

    def at(self, payload_bytes: int) -> "Bundle":
        """Return the same bundle with payloads of at most so many bytes each, as a client sends them that has a bound.

        Args:
            payload_bytes: The most bytes of a payload, header included.

        Returns:
            A bundle that shares head and tail with this one.

        Raises:
            ArgumentError: If the latent is not coded, and its payloads are longer.
        """
        self.manifest.form.bound(payload_bytes)
        self._loaded_tail()
        other = copy.copy(self)
        other._payload_bytes = payload_bytes
        return other

    def payloads(self, images: Any, preprocessed: bool = False) -> list[bytes]:
        """Return the payloads that a device sends for images.

        Args:
            images: Raw uint8 images `(N, H, W, C)`; with `preprocessed`, arrays `(N, *input_shape)` in the model's
                own space.
            preprocessed: Whether the bundle's preprocessing was already done.

        Returns:
            N payloads of `manifest.payload_bytes` each; if they are coded, at most `manifest.max_payload_bytes`.

        Raises:
            DataError: If the images are of a wrong shape, dtype or range, or cannot be coded in so few bytes as `at`
                asks for.
        """
        return self._head.payloads(images, preprocessed, self._payload_bytes)

    def answer(self, payloads: Sequence[bytes], batch_size: int = _BATCH) -> tuple[np.ndarray, np.ndarray]:
        """Return the server's answers to payloads, valid or not.

        Args:
            payloads: N of them, of any length; N may be 0.
            batch_size: Payloads in one call of the tail.

        Returns:
            Probabilities, float32 `(N, n_classes)`, NaN in the rows of bad payloads; and status, int32 `(N,)`: 0
            answered, 1 made by the head of another bundle, 2 malformed.
        """
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1. Received: {batch_size}.")
        tail = self._loaded_tail().signatures[SERVING_DEFAULT]
        strings = np.array(payloads, object)
        starts = range(0, max(1, len(payloads)), batch_size)
        parts = [tail(payload=tf.constant(strings[k : k + batch_size], tf.string)) for k in starts]
        probabilities = np.concatenate([part["probabilities"].numpy() for part in parts])
        return probabilities, np.concatenate([part["status"].numpy() for part in parts])

    def predict(self, images: Any, preprocessed: bool = False, batch_size: int = _BATCH) -> np.ndarray:
        """Classify images through head, payload and tail.

        Args:
            images: As in `payloads`.
            preprocessed: As in `payloads`.
            batch_size: Payloads in one call of the tail.

        Returns:
            float32 `(N, n_classes)` probabilities.

        Raises:
            DataError: If the images are of a wrong shape, dtype or range.
            BundleError: If the tail refuses a payload of its own head.
        """
        probabilities, status = self.answer(self.payloads(images, preprocessed), batch_size)
        refused = np.flatnonzero(status != STATUS_OK)
        if refused.size:
            first = int(status[refused[0]])
            raise BundleError(
                f"The tail of {self.directory} refused {refused.size} of {len(status)} payloads of its own head. Image "
                f"{refused[0]}: status {first}, {STATUS_MEANINGS.get(first, 'unknown')}."
            )
        return probabilities

    def _loaded_tail(self) -> Any:
        with self._loading:
            if self._tail is None:
                path = self.directory / "serving" / self.manifest.model_name / str(self.manifest.version)
                try:
                    self._tail = tf.saved_model.load(os.fspath(path))
                except (OSError, ValueError, tf.errors.OpError) as error:
                    raise BundleError(f"{path} is not a SavedModel that can be loaded: {error}") from error
        return self._tail

    def __repr__(self) -> str:
        manifest = self.manifest
        return (
            f"Bundle('{self.directory}', cut='{manifest.cut['name']}', precision='{manifest.precision}', "
            f"head {manifest.head['size_bytes']:,} bytes, payload {manifest.payload_bytes:,} bytes, "
            f"{manifest.n_classes} classes)"
        )


def export_bundle(
    split: SplitModel | Option,
    directory: str | os.PathLike[str],
    *,
    representative_data: Any = None,
    evaluation_data: Any = None,
    class_names: Sequence[str] | None = None,
    preprocessing: str | Mapping[str, Any] | None = None,
    precision: str = "int8",
    target: str | None = None,
    flash_bytes: int | None = None,
    ram_bytes: int | None = None,
    curve: Ranking | None = None,
    ethos_u: str | None = None,
    local_fallback: bool = False,
    max_payload_bytes: int | None = None,
    model_name: str = "tail",
    version: int = 1,
    overwrite: bool = False,
    original: keras.Model | None = None,
    original_output: str | int | None = None,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    converter: str = "tf.lite",
    max_evaluation_images: int | None = None,
    progress: bool = True,
) -> Bundle:
    """Write the bundle of a split: what a device and TensorFlow Serving need.

    If the process is killed, the directory holds the complete old bundle or the complete new one (for Windows, and for
    file systems that cannot exchange directories, see `isplit_tf.storage.directories`). While the converter runs,
    output on the process's file descriptors 1 and 2 is collected and not shown.

    Args:
        split: The split, which stays as it is, or the option of a plan, from which it is made: of `original`, with the
            bottleneck fitted from `representative_data`. Both halves are exported in float32 arithmetic.
        directory: Where to.
        representative_data: Images for quantization, labels ignored; needed for "int8" and "int16x8". At least 16,
            better 100; at most 500 are used, taken from all of the data. uint8 images get the preprocessing, and where
            the input is no image any whole numbers; others are in the model's own space.
        evaluation_data: Images with labels, for the accuracy in the manifest; the same rule for uint8 images.
        class_names: One for each class; by default the `class_names` of the evaluation or representative data.
        preprocessing: What turns a camera's uint8 RGB image into the model's input: None, "caffe", "tf", "torch", or a
            record (size, resize, scale, mean, std, channel_order). For inputs that are no images, (H, W, C), such as
            (28, 28) or (T, D), a record of scale, mean and std.
        precision: Of the head: "int8", "int16x8", "float16", "dynamic" or "float32".
        target: "microcontroller" also writes edge/head.h and edge/head.cc: the head as an aligned array for TensorFlow
            Lite Micro, the operators to register, and the arena, measured by running it (needs `isplit-tf[micro]`).
        flash_bytes: Flash that a microcontroller has for the array; a larger head is refused, and the best cut that
            fits is named.
        ram_bytes: RAM that it has for arena and payload; the same.
        curve: Predicted accuracy of the cuts, or their importance, to say which of those that fit is best.
        ethos_u: An NPU such as "ethos-u55-128" to estimate for (needs `isplit-tf[ethos-u]`).
        local_fallback: Also writes the whole model as edge/local.tflite, from which `Client.run` answers where the
            server cannot be reached.
        max_payload_bytes: For a bottleneck that codes its latent: the longest payload. What does not fit is left out,
            from the channel on that is worth least. By default a quarter above the longest of the representative
            images.
        model_name: What TensorFlow Serving will call the tail.
        version: Its version there, from 1 on.
        overwrite: Whether a bundle that is there may be replaced; anything else never is.
        original: The model that was split, to measure its accuracy beside: functional or subclassed.
        original_output: Name or index of its output with the class scores, if it has several and none has the name of
            the split's output.
        from_logits: Says of linear outputs whether they are logits, where the model does not.
        output_kind: What the output is, "probabilities", "logits" or "multi_label"; by default as the split says.
        converter: What makes the `.tflite` files: "tf.lite", TensorFlow's own, or "litert", LiteRT's (needs
            `isplit-tf[litert]`).
        max_evaluation_images: Stop measuring after as many.
        progress: Whether bars may show, on standard error.

    Returns:
        The bundle, loaded.

    Raises:
        ArgumentError: If an argument is outside of what is possible.
        DataError: If there are too few representative images, or images or labels are of a wrong shape or range.
        ExistsError: If the directory exists and `overwrite` was not given, or holds something else than a bundle.
        ExportError: If the head cannot be converted as asked; the message names the operators. Or it does not fit.
        MissingDependencyError: If the target needs a package that is not installed.
        ModelError: If the model's output is not class scores.
        NumericsError: If a weight, or what the head gives, is NaN or infinite.

    Example:
        >>> export_bundle(split, "bundle/", representative_data=train, evaluation_data=test, overwrite=True)
        >>> export_bundle(plan.best(kind="split"), "chosen/", original=model, representative_data=train)
    """
    split = chosen_split(split, original, representative_data, preprocessing, precision)
    request = make_request(
        split,
        precision=precision,
        class_names=class_names,
        preprocessing=preprocessing,
        model_name=model_name,
        version=version,
        target=target,
        from_logits=from_logits,
        output_kind=output_kind,
        converter=converter,
        data=(evaluation_data, representative_data),
    )
    micro_settings = micro_request(
        target, precision, flash_bytes=flash_bytes, ram_bytes=ram_bytes, curve=curve, ethos_u=ethos_u
    )
    check_place(directory, overwrite)
    if max_payload_bytes is not None and request.code is None:
        raise ArgumentError(
            f"max_payload_bytes={max_payload_bytes} is for a latent that is coded. The bottleneck of this split does "
            "not code its own."
        )
    check_evaluation(request, evaluation_data, max_evaluation_images)
    whole = None if original is None else read_original(original, original_output, request, from_logits)
    head, images = _converted(request, representative_data, progress)
    if request.code is not None and images is not None:
        request = request.with_lengths(measure_lengths(head, images, request.code), max_payload_bytes)
    micro = (
        None
        if micro_settings is None
        else fitted_micro_head(
            micro_settings,
            head,
            split,
            images=images,
            code=request.code,
            max_payload_bytes=request.record.get("max_payload_bytes"),
            progress=progress,
        )
    )
    fallback = convert_fallback(request, progress=progress) if local_fallback else None
    options: dict[str, Any] = {"max_images": max_evaluation_images, "progress": progress}

    def measure_whole(manifest: Manifest) -> Mapping[str, Any]:
        return {} if fallback is None else measure_fallback(fallback, manifest, evaluation_data, **options)

    def measure(written: Path) -> Mapping[str, Any]:
        return measure_artefacts(Bundle.load(written), request, evaluation_data, original=whole, **options)

    evaluated = evaluation_data is not None
    write_bundle(
        directory,
        request,
        head,
        micro=micro,
        fallback=fallback,
        measure_fallback=measure_whole if evaluated else None,
        measure=measure if evaluated else None,
    )
    return Bundle.load(directory)


def _converted(
    request: ExportRequest, representative_data: Any, progress: bool
) -> tuple[ConvertedHead, np.ndarray | None]:
    """Return the converted head, and the images that it was quantized with."""
    quantizing = request.precision in QUANTIZED
    if quantizing and representative_data is None:
        raise ArgumentError(
            f"precision={request.precision!r} needs representative_data, images from which the ranges are learned. "
            "Possible without: 'float16', 'dynamic', 'float32'."
        )
    images = None
    if representative_data is not None:
        images = representative_images(
            representative_data,
            request.input_shape,
            preprocessing=request.preprocessing,
            quantizing=quantizing,
            progress=progress,
        )
    split = request.split
    head = convert(
        split.head,
        split.encoder,
        precision=request.precision,
        representative=images,
        read=split.read,
        converter=request.converter,
        progress=progress,
    )
    return head, images
