"""The image formats that a device can send in place of a payload, as far as it has Pillow."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

QUALITIES = (10, 30, 50, 75, 90)


class Format(NamedTuple):
    """A format in which an image can be sent."""

    codec: str
    quality: int | None
    encode: Callable[[np.ndarray], bytes]


def encoders(images: np.ndarray) -> list[Format]:
    """Return the formats in which this device can send some images.

    Args:
        images: `(N, ...)` as the device gets them. Only uint8 `(N, H, W, 1)` and `(N, H, W, 3)` are pictures; others
            have no format, and of pictures RAW is always there.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        return []
    found = [Format("RAW", None, np.ndarray.tobytes)]
    try:
        from PIL import Image, features
    except ImportError:
        return found
    Image.init()
    for codec in ("JPEG", "WEBP"):
        if codec != "WEBP" or features.check("webp"):
            found += [Format(codec, quality, _encoder(Image, codec, {"quality": quality})) for quality in QUALITIES]
    return [*found, Format("PNG", None, _encoder(Image, "PNG", {}))]


def _encoder(module: Any, codec: str, settings: dict[str, int]) -> Callable[[np.ndarray], bytes]:
    def encode(image: np.ndarray) -> bytes:
        picture = module.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        file = io.BytesIO()
        picture.save(file, format=codec, **settings)
        return file.getvalue()

    return encode
