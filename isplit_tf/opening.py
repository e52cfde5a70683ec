"""What a command line names, opened: outputs that are free, models, data, predictors, single images."""

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import ArgumentError, BundleError, DataError, ExistsError, ModelError


def free_output(args: argparse.Namespace) -> Path:
    """The output's path; an error where it exists, before any work."""
    output = Path(args.output)
    if output.exists() and not args.overwrite:
        raise ExistsError(f"'{output}' exists. Give --overwrite, or another place with -o.")
    if not output.parent.is_dir():
        raise ArgumentError(f"'{output.parent}' is no folder: '{output}' cannot be written there.")
    return output


def read_cut(text: str) -> str | int:
    """A cut as it is typed: an index or a name."""
    return int(text) if text.strip().isdigit() else text.strip()


def make_bottleneck(args: argparse.Namespace) -> Any:
    """The bottleneck of `isplit split`."""
    from .bottleneck import Autoencoder
    from .projection import Projection

    common = {name: getattr(args, name) for name in ("compression", "latent_size", "payload_bytes", "latent_bits")}
    if args.bottleneck == "autoencoder":
        return Autoencoder(filters=args.filters, init=args.init or "random", seed=args.seed, **common)
    if args.filters is not None or args.init is not None:
        raise ArgumentError("--filters and --init are of an autoencoder. A projection has no hidden layer.")
    return Projection(seed=args.seed or 0, **common)


def open_model(path: str) -> Any:
    """The model in a `.keras` file."""
    from .graph.files import load_model

    if not Path(path).is_file():
        raise ModelError(
            f"There is no file '{path}'. A model saved by Keras is needed: model.save('classifier.keras')."
        )
    return load_model(path)


@contextlib.contextmanager
def open_predictor(args: argparse.Namespace) -> Iterator[tuple[Any, tuple, bool]]:
    """What is to be evaluated, the shape of its images, and whether it takes raw ones."""
    path = Path(args.predictor)
    if (path / "manifest.json").is_file():
        from isplit_edge import Client

        from .export.bundle import Bundle

        bundle = Bundle.load(path)
        shape = tuple(bundle.manifest.shapes["input"])
        if args.url:
            with Client(path, args.url) as client:
                yield client, shape, True
        else:
            yield bundle, shape, True
        return
    if args.url:
        raise BundleError(f"'{path}' is no bundle, so that --url has no head to run here. Make one with isplit export.")
    if path.is_dir():
        from .splitting import SplitModel

        halves = SplitModel.load(path)
        yield halves, tuple(halves.model.inputs[0].shape[1:]), False
    else:
        model = open_model(args.predictor)
        yield model, tuple(model.inputs[0].shape[1:]), False


def read_preprocessing(text: str | None) -> str | dict[str, Any] | None:
    """A form by name, or the record in a JSON file."""
    if text is None or not text.endswith(".json"):
        return text
    try:
        return json.loads(Path(text).read_text())
    except (OSError, ValueError) as error:
        raise ArgumentError(f"--preprocessing '{text}' cannot be read as JSON: {error}") from error


def open_images(
    spec: str, args: argparse.Namespace, shape: Any, *, split: str, shuffle: bool = False, dtype: str = "float32"
) -> tuple[Any, Any]:
    """Labelled images in the model's size and, unless they stay raw, in its value range."""
    from isplit_edge.preprocessing import resolve_preprocessing

    from .datasets.source import open_data

    height, width, channels = shape if len(shape) == 3 else (None, None, None)
    data, names = open_data(
        spec,
        image_size=(height, width) if height and width else None,
        channels=channels,
        batch_size=args.batch_size,
        split=split,
        shuffle=shuffle,
        seed=getattr(args, "seed", None),
        dtype=dtype,
    )
    record = resolve_preprocessing(read_preprocessing(args.preprocessing), tuple(shape))
    if record is None or dtype == "uint8":
        return data, names

    def prepare(x: Any, y: Any) -> tuple[Any, Any]:
        x = x[..., ::-1] if record["channel_order"] == "BGR" else x
        return (x * record["scale"] - record["mean"]) / record["std"], y

    return data.map(prepare), names


def read_image(path: Path, shape: tuple[int, ...]) -> Any:
    """One image file, or an array of images, as uint8 (N, H, W, C) in the model's size."""
    import numpy as np
    import tensorflow as tf

    if not path.is_file():
        raise DataError(f"There is no image '{path}'.")
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except ValueError as error:
            raise DataError(f"'{path}' cannot be read as an array: {error}") from error
    try:
        image = tf.io.decode_image(path.read_bytes(), channels=shape[-1], expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise DataError(f"'{path}' cannot be read as an image (.png, .jpg, .bmp, .gif).") from error
    if tuple(image.shape[:2]) != shape[:2]:
        image = tf.cast(tf.round(tf.image.resize(image, shape[:2])), tf.uint8)
    return image.numpy()[None]
