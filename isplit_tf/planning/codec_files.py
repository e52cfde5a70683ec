"""Images as files of a codec, and what decodes them on a server."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, features

QUALITIES = (10, 30, 50, 75, 90)
_LOSSLESS = "PNG"


def codec_points() -> list[tuple[str, int | None]]:
    """Return codec and quality of what is measured: JPEG, WebP where Pillow has it, and PNG."""
    lossy = ["JPEG", *(["WEBP"] if features.check("webp") else [])]
    return [*((codec, quality) for codec in lossy for quality in QUALITIES), (_LOSSLESS, None)]


def write_files(images: np.ndarray, codec: str, quality: int | None) -> list[bytes]:
    """Return each image as a file.

    Args:
        images: uint8 `(N, H, W, 3)` or `(N, H, W, 1)`.
        codec: "JPEG", "WEBP" or "PNG".
        quality: 1 to 100; None for PNG.
    """
    settings = {} if quality is None else {"quality": quality}
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, format=codec, **settings)
        files.append(file.getvalue())
    return files


def decoder(codec: str, channels: int) -> Callable[[Sequence[bytes]], None]:
    """Return what decodes files one after another: TensorFlow for JPEG and PNG, Pillow for WebP.

    TensorFlow reads no WebP, so a server that gets it decodes it before TensorFlow Serving.

    Args:
        codec: "JPEG", "WEBP" or "PNG".
        channels: 1 or 3.
    """
    import tensorflow as tf

    def with_pillow(file: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(file)).convert("L" if channels == 1 else "RGB"))

    def with_tensorflow(file: bytes) -> np.ndarray:
        return tf.io.decode_image(file, channels=channels, expand_animations=False).numpy()

    one = with_pillow if codec == "WEBP" else with_tensorflow

    def decode(files: Sequence[bytes]) -> None:
        for file in files:
            one(file)

    return decode
