"""The preprocessing of raw numbers, such as a camera's uint8 RGB images: a record in the manifest, never code.

x = (resize(image with its channels in order) * scale - mean) / std, in float32. Inputs that are no images, of any shape
but (H, W, C), have scale, mean and std alone; mean and std may be lists with a number for each place of the last axis.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from . import schema
from .errors import ArgumentError

NAMED_FORMS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "caffe": MappingProxyType(
            {"scale": 1.0, "mean": (103.939, 116.779, 123.68), "std": 1.0, "channel_order": "BGR"}
        ),
        "tf": MappingProxyType({"scale": 1 / 127.5, "mean": 1.0, "std": 1.0, "channel_order": "RGB"}),
        "torch": MappingProxyType(
            {
                "scale": 1 / 255,
                "mean": (0.485, 0.456, 0.406),
                "std": (0.229, 0.224, 0.225),
                "channel_order": "RGB",
            }
        ),
    }
)
"""The `mode`s of `keras.applications.imagenet_utils.preprocess_input`, as records."""

_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "name": None,
        "size": None,
        "resize": "bilinear",
        "scale": 1.0,
        "mean": 0.0,
        "std": 1.0,
        "channel_order": "RGB",
    }
)


def _per_channel(item: schema.Check) -> schema.Check:
    """Return the check of a number for all channels, or of a list with a number for each channel."""

    def check(key: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, list | tuple):
            values = schema.sequence(item)(key, value)
            if not values:
                raise schema.wrong(key, value, "a number, or one for each channel")
            return values
        return item(key, value)

    return check


RECORD = schema.record(
    {
        "name": schema.nullable(schema.text),
        "size": schema.nullable(schema.sequence(schema.integer(1), 2)),
        "resize": schema.choice("bilinear", "nearest"),
        "scale": schema.number(),
        "mean": _per_channel(schema.number()),
        "std": _per_channel(schema.number(above=0)),
        "channel_order": schema.choice("RGB", "BGR"),
    }
)
"""The check of a whole record, as a manifest holds it."""


def resolve_preprocessing(
    preprocessing: str | Mapping[str, Any] | None, input_shape: tuple[int, ...]
) -> dict[str, Any] | None:
    """Complete a user's preprocessing to the whole record that a manifest holds.

    Args:
        preprocessing: None (images are only cast to float32); the name of a form of Keras: `"caffe"`, `"tf"`,
            `"torch"`; or a record. Keys that a record leaves out are taken from the form of its `name`; without such
            a form, their defaults change nothing.
        input_shape: The shape of the model's input without the batch: (H, W, C) for images, or any other, such as
            (28, 28) or (T, D).

    Returns:
        None, or a dict with the keys name, size, resize, scale, mean, std, channel_order.

    Raises:
        ArgumentError: If the name or a key is unknown, a value is impossible, or the record does not fit the input's
            shape.

    Example:
        >>> resolve_preprocessing("tf", (32, 32, 3))["mean"]
        1.0
    """
    if preprocessing is None:
        return None
    if isinstance(preprocessing, str):
        if preprocessing not in NAMED_FORMS:
            raise schema.wrong("preprocessing", preprocessing, f"None, a record, or one of {', '.join(NAMED_FORMS)}")
        preprocessing = {"name": preprocessing}
    if not isinstance(preprocessing, Mapping):
        raise schema.wrong("preprocessing", preprocessing, f"None, a record, or one of {', '.join(NAMED_FORMS)}")
    form = NAMED_FORMS.get(preprocessing.get("name") or "", {})
    complete = RECORD("preprocessing", {**_DEFAULTS, **form, **preprocessing})
    check_fits(complete, input_shape)
    changed = [key for key in form if complete[key] != form[key]]
    if changed:
        raise ArgumentError(
            f"preprocessing.name is {complete['name']!r}, whose {', '.join(changed)} is fixed by Keras. "
            "Give the record another name, or leave these keys out."
        )
    return schema.plain(complete)


def check_fits(record: Mapping[str, Any], input_shape: tuple[int, ...]) -> None:
    """Raise ArgumentError unless a whole record can make inputs of `input_shape` (without the batch)."""
    channels = input_shape[-1] if input_shape else 1
    if len(input_shape) != 3:
        changed = [key for key in ("size", "channel_order") if record[key] != _DEFAULTS[key]]
        if changed:
            raise ArgumentError(
                f"preprocessing.{changed[0]} is for images, (H, W, C). The model's input has the shape {input_shape}: "
                "possible are scale, mean and std"
            )
    elif record["size"] is not None and tuple(record["size"]) != input_shape[:2]:
        raise ArgumentError(
            f"preprocessing.size must be the model's own, {list(input_shape[:2])}. Received: {list(record['size'])}"
        )
    if record["channel_order"] == "BGR" and channels != 3:
        raise ArgumentError(f"preprocessing.channel_order 'BGR' needs 3 channels. The model's input has {channels}")
    for key in ("mean", "std"):
        if isinstance(record[key], tuple | list) and len(record[key]) not in (1, channels):
            raise ArgumentError(
                f"preprocessing.{key} must be a number or a list of {channels}. Received: {len(record[key])} values"
            )


def preprocess(image: np.ndarray, record: Mapping[str, Any] | None) -> np.ndarray:
    """Apply a whole record to one image, or to other raw numbers.

    Args:
        image: (H, W, C), of any number type; three channels are in the order R, G, B. If the record has no size, it
            may also be a batch of images, or numbers of any shape.
        record: A result of `resolve_preprocessing`, or None.

    Returns:
        float32, the same shape, or with the height and width of `record["size"]`.
    """
    if record is None:
        return image.astype(np.float32)
    if record["channel_order"] == "BGR":
        image = image[..., ::-1]
    x = image if record["size"] is None else resize(image, tuple(record["size"]), record["resize"])
    x = x.astype(np.float32)
    if record["scale"] != 1:
        x *= np.float32(record["scale"])
    if record["mean"] != 0:
        x -= np.asarray(record["mean"], np.float32)
    if record["std"] != 1:
        x /= np.asarray(record["std"], np.float32)
    return x


def resize(image: np.ndarray, size: tuple[int, int], method: str = "bilinear") -> np.ndarray:
    """Resize one image as `tf.image.resize(image, size, method)` does: half-pixel centres, no antialiasing.

    Args:
        image: (H, W, C).
        size: The new (height, width).
        method: `"bilinear"` (the result is float32) or `"nearest"` (the dtype stays).

    Returns:
        (height, width, C); `image` itself if its size is already right.
    """
    if image.shape[:2] == size:
        return image
    if method == "nearest":
        rows, columns = (_nearest(old, new) for old, new in zip(image.shape[:2], size, strict=True))
        return image[rows[:, None], columns]
    (top, bottom, y), (left, right, x) = (_linear(old, new) for old, new in zip(image.shape[:2], size, strict=True))
    upper = _between(image, top[:, None], left, right, x[:, None])
    lower = _between(image, bottom[:, None], left, right, x[:, None])
    return upper + (lower - upper) * y[:, None, None]


def _between(image: np.ndarray, rows: np.ndarray, left: np.ndarray, right: np.ndarray, x: np.ndarray) -> np.ndarray:
    start = image[rows, left].astype(np.float32)
    return start + (image[rows, right].astype(np.float32) - start) * x


# A camera's images have one size, so the grids of an axis are the same for every image.
@functools.lru_cache(maxsize=16)
def _linear(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two neighbours of each new pixel along an axis, and its distance from the first."""
    place = _places(old, new) - np.float32(0.5)
    below = np.floor(place)
    lower = np.maximum(below, 0).astype(np.intp)
    upper = np.minimum(np.ceil(place), old - 1).astype(np.intp)
    return lower, upper, place - below


@functools.lru_cache(maxsize=16)
def _nearest(old: int, new: int) -> np.ndarray:
    return np.minimum(np.floor(_places(old, new)), old - 1).astype(np.intp)


def _places(old: int, new: int) -> np.ndarray:
    return (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new)
