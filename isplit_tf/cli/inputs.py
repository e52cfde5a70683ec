"""Readers of what a command line names: cuts, models, predictors, data, preprocessing and images."""

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, DataError
from .files import read_preprocessing, require_model


def read_cut(text: str) -> str | int:
    """Return a cut as it was typed: an index or a name."""
    return int(text) if text.strip().isdigit() else text.strip()


def first_candidate(path: str) -> Any:
    """Return the first candidate's cut from a file of `isplit propose`."""
    from ..selection.candidates import Candidates

    candidates = Candidates.load(path)
    if not candidates:
        raise ArgumentError(f"'{path}' names no candidate. Name a cut with --cut.")
    return candidates[0].cut


def open_model(path: str) -> Any:
    """Return the model in a `.keras` or `.h5` file, compiled with its loss alone."""
    from ..storage.models import load_model

    require_model(path)
    return load_model(path)


@contextlib.contextmanager
def open_predictor(args: argparse.Namespace) -> Iterator[tuple[Any, tuple, Any]]:
    """Yield the predictor to evaluate, the shape of its images, and the manifest, None unless it is a bundle."""
    path = Path(args.predictor)
    if (path / "manifest.json").is_file():
        from isplit_edge import Client

        from ..export.bundle import Bundle

        bundle = Bundle.load(path)
        shape = tuple(bundle.manifest.shapes["input"])
        if args.url:
            with Client(path, args.url) as client:
                yield client, shape, bundle.manifest
        else:
            yield bundle, shape, bundle.manifest
        return
    if path.is_dir():
        from ..splitting import SplitModel

        halves = SplitModel.load(path)
        yield halves, tuple(halves.model.inputs[0].shape[1:]), None
    else:
        model = open_model(args.predictor)
        yield model, tuple(model.inputs[0].shape[1:]), None


def open_images(
    spec: str,
    args: argparse.Namespace,
    shape: Any,
    *,
    split: str,
    shuffle: bool | str = False,
    manifest: Any = None,
) -> tuple[Any, Any]:
    """Return labelled images and the names of their classes.

    Images are in the model's own space: resized as the preprocessing says, else by bilinear interpolation. Images for a
    bundle whose preprocessing has no size stay raw uint8, since the bundle preprocesses them.

    Args:
        spec: The data, as `open_data` takes them.
        args: The command line, with `batch_size`, and with `preprocessing` unless a manifest is given.
        shape: The model's input shape without the batch.
        split: The split to use if `spec` names none.
        shuffle: As in `open_data`.
        manifest: The manifest of the bundle that the images are for, or None.
    """
    import tensorflow as tf

    from isplit_edge.preprocessing import preprocess, resolve_preprocessing

    from ..datasets.source import open_data

    if manifest is None:
        record = resolve_preprocessing(read_preprocessing(args.preprocessing), tuple(shape))
    else:
        record = manifest.preprocessing
    raw = manifest is not None and (record is None or record["size"] is None)
    height, width, channels = shape if len(shape) == 3 else (None, None, None)
    data, names = open_data(
        spec,
        image_size=(height, width) if height and width else None,
        channels=channels,
        batch_size=args.batch_size,
        split=split,
        shuffle=shuffle,
        seed=getattr(args, "seed", None),
        dtype="uint8" if raw else "float32",
        resize="bilinear" if record is None else record["resize"],
    )
    if record is None or raw:
        return data, names

    resized = record | {"size": None}  # `open_data` has resized the images

    def prepare(x: Any, y: Any) -> tuple[Any, Any]:
        prepared = tf.numpy_function(lambda images: preprocess(images, resized), [x], tf.float32)
        return tf.ensure_shape(prepared, x.shape), y

    return data.map(prepare), names


def in_order_of(names: Sequence[str] | None, data: Any, found: Sequence[str] | None, *, of: str, spec: str) -> Any:
    """Return the data with labels renumbered in the order of `names`; a class may have no image.

    Raises:
        DataError: If the data has a class that is not in `names`.
    """
    import tensorflow as tf

    if names is None or found is None or list(names) == list(found):
        return data
    if unknown := [name for name in found if name not in names]:
        raise DataError(
            f"The classes of '{spec}' are not those of {of}. Found: {', '.join(found)}. Those of {of}: "
            f"{', '.join(names)}. Unknown there: {', '.join(unknown)}."
        )
    positions = tf.constant([list(names).index(name) for name in found], tf.int64)

    def renumber(x: Any, y: Any) -> tuple[Any, Any]:
        if y.shape.rank == 1:
            return x, tf.gather(positions, tf.cast(y, tf.int64))
        rows = tf.one_hot(positions, len(names), dtype=tf.float32)  # an image may have several labels, or none
        return x, tf.matmul(tf.cast(y, tf.float32), rows)

    return data.map(renumber)


def open_for_training(args: argparse.Namespace, shape: Any) -> tuple[Any, Any]:
    """Return training data and validation data (or None) with the same numbering of classes."""
    data, names = open_images(args.data, args, shape, split="train", shuffle=True)
    if not args.validation_data:
        return data, None
    validation, validation_names = open_images(args.validation_data, args, shape, split="validation")
    return data, in_order_of(names, validation, validation_names, of=f"'{args.data}'", spec=args.validation_data)


def read_image(path: Path, manifest: Any) -> Any:
    """Return an image file, or a file of an array of images, as uint8 `(N, H, W, C)`.

    A picture is resized to the model's input by bilinear interpolation, unless the bundle's preprocessing resizes it.
    """
    import tensorflow as tf

    from isplit_edge.images import ARRAYS
    from isplit_edge.npy import read_array
    from isplit_edge.pictures import check_picture

    shape, record = tuple(manifest.shapes["input"]), manifest.preprocessing
    if not path.is_file():
        raise DataError(f"There is no image '{path}'.")
    if path.suffix.lower() in ARRAYS:
        try:
            return read_array(path)
        except (OSError, DataError) as error:
            raise DataError(f"'{path}' cannot be read as an array: {error}") from error
    if len(shape) != 3:
        raise DataError(f"'{path}' is a picture, and the model's input is {shape}. Give an .npy or .npz of that.")
    try:
        check_picture(path, ("BMP", "GIF", "JPEG", "PNG"))  # before its pixels take memory
        image = tf.io.decode_image(path.read_bytes(), channels=shape[-1], expand_animations=False)
    except (tf.errors.OpError, OSError, DataError) as error:
        raise DataError(
            f"'{path}' cannot be read as an image (.png, .jpg, .bmp, .gif): {str(error).splitlines()[0][:200]}"
        ) from error
    resizes = record is not None and record["size"] is not None
    if tuple(image.shape[:2]) != shape[:2] and not resizes:
        image = tf.cast(tf.round(tf.image.resize(image, shape[:2])), tf.uint8)
    return image.numpy()[None]
