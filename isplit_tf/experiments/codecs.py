"""Images through an image format and back, as a device would send them to a server that runs the whole model."""

import io

import numpy as np
from PIL import Image


def through_codec(pixels: np.ndarray, codec: str, quality: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Compress images, and open them again.

    Args:
        pixels: uint8 `(N, H, W, 3)`. Grey ones, all channels equal, are compressed as grey.
        codec: `jpeg`, `webp` or `png`.
        quality: 1 to 100; None for `png`.

    Returns:
        uint8 `(N, H, W, 3)`, and the bytes of each file `(N,)`.
    """
    is_grey = bool(np.all(pixels == pixels[..., :1]))
    settings = {} if quality is None else {"quality": quality}
    opened, sizes = np.empty_like(pixels), np.empty(len(pixels), np.int64)
    for k, image in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if is_grey else image).save(file, format=codec, **settings)
        sizes[k] = file.tell()
        opened[k] = np.asarray(Image.open(file).convert("RGB"))
    return opened, sizes
