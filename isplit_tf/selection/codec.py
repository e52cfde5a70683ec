"""Accuracy of the whole model on compressed images: what a payload is compared with."""

import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
from PIL import Image, features

from isplit_edge.preprocessing import preprocess, resize, resolve_preprocessing

from ..batches.labels import read_labels
from ..display.progress import bar
from ..errors import ArgumentError, DataError, checked_class_names, checked_integer
from ..evaluation.predictions import Predictions, predict_all
from .codec_curve import CodecCurve

LOSSLESS = ("PNG",)
CODECS = ("JPEG", "WEBP", "AVIF", *LOSSLESS)
QUALITIES = (1, 5, 10, 20, 30, 40, 50, 60, 75, 90)


def measure_codecs(
    model: keras.Model,
    images: np.ndarray,
    labels: Any,
    *,
    codecs: Sequence[str] = ("JPEG", "WEBP"),
    qualities: Sequence[int] = QUALITIES,
    sizes: Sequence[int | tuple[int, int]] | None = None,
    preprocessing: str | Mapping[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
    from_logits: bool | None = None,
    output: str | int | None = None,
    progress: bool = True,
) -> CodecCurve:
    """Measure bytes and accuracy of the whole model on compressed images, the alternative to any split.

    A device without a head would send a compressed image to a server that runs the whole model. Here, every image is
    made smaller if `sizes` says so, compressed, decoded, resized to the model's input and classified, for every codec,
    size and quality.

    Args:
        model: A built classifier; it is not changed.
        images: uint8 RGB `(N, H, W, 3)`, as a camera gives them, before any preprocessing; also grey `(N, H, W, 1)`.
            RGB images whose channels are all equal are compressed as grey.
        labels: Integers `(N,)` or `(N, 1)`, or one-hot.
        codecs: "JPEG", "WEBP", "AVIF" (if Pillow has it) and "PNG", which is lossless and has no quality.
        qualities: From 1 to 100, as Pillow takes them; JPEG's colours are subsampled, as is usual.
        sizes: Sizes at which images are sent: the shorter side in pixels, or (height, width), at most the images' own.
            By default, images are sent in their own size.
        preprocessing: What turns a uint8 image into the model's input, as in `export_bundle`: None, "caffe", "tf",
            "torch", or a record.
        class_names: Names of the classes, for the record.
        batch_size: Images per batch.
        from_logits: True if linear outputs are logits and the compiled loss does not say so.
        output: Name or index of the output with the class scores, if the model has several outputs.
        progress: Whether to show a bar on standard error.

    Returns:
        The bytes of every image and the classes predicted from it, for each codec, size and quality.

    Raises:
        ArgumentError: If a codec, quality or size is not possible, or the preprocessing does not fit the model.
        DataError: If the images are not uint8 `(N, H, W, 3)`, or the labels do not fit them.
        ModelError: If the model's output is not class scores.

    Example:
        >>> codecs = measure_codecs(model, images, labels, qualities=(10, 50), sizes=(28, 14), progress=False)
        >>> fewest = codecs.bytes_at(codecs.original - 0.01)
    """
    images = _checked_images(images)
    shape = tuple(model.inputs[0].shape[1:])
    record = resolve_preprocessing(preprocessing, shape)
    points = _points(codecs, qualities, sizes, images.shape[1:3])
    height, width = (own or given for own, given in zip(shape[:2], images.shape[1:3], strict=True))
    truth = read_labels(labels, None, len(images))
    options: dict[str, Any] = {"batch_size": checked_integer("batch_size", batch_size, 1)}
    options |= {"from_logits": from_logits, "output": output, "class_names": class_names}

    def classified(pixels: np.ndarray) -> Predictions:
        data = _Prepared(pixels, truth, (height, width), record, options["batch_size"])
        return predict_all(model, data, progress=False, **options)

    whole = classified(images)
    sent, predictions = [], []
    with bar(total=len(points), desc="codecs", unit="point", enabled=progress) as progress_bar:
        for codec, quality, size in points:
            decoded, n_bytes = through_codec(images, codec, quality, size)
            sent.append(n_bytes)
            is_same = np.array_equal(decoded, images)  # as a lossless codec leaves it
            predictions.append((whole if is_same else classified(decoded)).classes)
            progress_bar.update()
    names, levels, pixels = zip(*points, strict=True)
    return CodecCurve(
        codecs=list(names),
        qualities=list(levels),
        sizes=np.array(pixels, np.int64),
        sent_bytes=np.stack(sent),
        labels=truth,
        predictions=np.stack(predictions),
        original_predictions=whole.classes,
        class_names=checked_class_names(class_names, whole.n_classes),
        model_name=model.name,
    )


def through_codec(
    pixels: np.ndarray, codec: str, quality: int | None, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compress images, and decode them again.

    Args:
        pixels: uint8 `(N, H, W, 3)` or `(N, H, W, 1)`. RGB images whose channels are all equal are compressed as grey.
        codec: A name in `CODECS`, in letters of any case.
        quality: 1 to 100; None for a lossless codec.
        size: Height and width to make them smaller before; None for their own.

    Returns:
        The decoded images, uint8 `(N, h, w, 3)` or `(N, h, w, 1)`, and the size of each file in bytes, int64 `(N,)`.
    """
    channels = pixels.shape[-1]
    is_grey = channels == 1 or bool(np.all(pixels == pixels[..., :1]))
    settings = {} if quality is None else {"quality": quality}
    height, width = size or pixels.shape[1:3]

    def one(image: np.ndarray) -> tuple[np.ndarray, int]:
        picture = Image.fromarray(image[..., 0] if is_grey else image)
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        picture.save(file, format=codec, **settings)
        decoded = np.asarray(Image.open(file).convert("L" if channels == 1 else "RGB"))
        return decoded.reshape(height, width, channels), len(file.getvalue())

    Image.init()
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow's codecs let go of the interpreter
        decoded, n_bytes = zip(*threads.map(one, pixels), strict=True)
    return np.stack(decoded), np.array(n_bytes, np.int64)


def _checked_images(images: Any) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise DataError(
            "Codecs take the images of a camera, before any preprocessing: uint8 (N, H, W, 3), or grey (N, H, W, 1). "
            f"Received: {images.dtype} {images.shape}."
        )
    return images


def _points(
    codecs: Sequence[str], qualities: Sequence[int], sizes: Sequence[Any] | None, space: tuple[int, int]
) -> list[tuple[str, int | None, tuple[int, int]]]:
    """Return the codec, quality and size of each point; a lossless codec has one quality, None."""
    names = [_checked_codec(name) for name in ([codecs] if isinstance(codecs, str) else codecs)]
    levels = [checked_integer("qualities", quality, 1) for quality in qualities]
    if not names or not levels or max(levels) > 100:
        raise ArgumentError(
            f"Expected at least one codec, and qualities from 1 to 100. Received: codecs={list(names)}, "
            f"qualities={list(qualities)}"
        )
    scaled = [_checked_size(size, space) for size in ([space] if sizes is None else sizes)]
    if not scaled:
        raise ArgumentError("sizes: the list is empty. Leave it out to send images in their own size.")
    return [
        (name, level, size)
        for name in dict.fromkeys(names)
        for size in dict.fromkeys(scaled)
        for level in ([None] if name in LOSSLESS else sorted(set(levels)))
    ]


def _checked_codec(name: Any) -> str:
    found = str(name).upper()
    if found not in CODECS:
        raise ArgumentError(f"codecs: expected some of {CODECS}. Received: {name!r}")
    if found in ("WEBP", "AVIF") and not features.check(found.lower()):
        raise ArgumentError(f"The Pillow installed here has no {found}: pip install --upgrade 'pillow>=11.3'")
    return found


def _checked_size(size: Any, space: tuple[int, int]) -> tuple[int, int]:
    """Return height and width, from both or from the shorter side."""
    if isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2:
        height, width = (checked_integer("sizes", side, 1) for side in size)
    else:
        side = checked_integer("sizes", size, 1)
        height, width = (max(1, round(side * own / min(space))) for own in space)
    if height > space[0] or width > space[1]:
        raise ArgumentError(
            f"sizes: expected at most the images' own, {space[0]} x {space[1]}. Received: {size!r}. A larger image "
            "holds no more, and takes more bytes."
        )
    return height, width


class _Prepared(keras.utils.PyDataset):
    """Images in the model's own space, resized and preprocessed batch by batch, with their labels."""

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        size: tuple[int, int],
        record: Mapping[str, Any] | None,
        batch_size: int,
    ):
        super().__init__()
        self._pixels, self._labels, self._batch_size = pixels, labels, batch_size
        self._size, self._method = size, "bilinear" if record is None else record["resize"]
        self._record = None if record is None else {**record, "size": None}  # they are resized here

    def __len__(self) -> int:
        return -(-len(self._pixels) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        resized = np.stack([resize(image, self._size, self._method) for image in self._pixels[part]])
        return preprocess(resized, self._record), self._labels[part]
