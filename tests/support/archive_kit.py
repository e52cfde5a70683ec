"""Small archives for tests."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image


def image(value, *, size=(8, 8), form="JPEG"):
    """A picture of one value, grey or RGB, or of the array given, as a file's bytes."""
    pixels = np.asarray(value, np.uint8)
    if pixels.ndim < 2:
        pixels = np.broadcast_to(pixels, (*size, *pixels.shape))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, form)
    return buffer.getvalue()


def glyph(value):
    """A 28x28 grey PNG."""
    return image(value, size=(28, 28), form="PNG")


def make_zip(path, files):
    """A zip of these files, in this order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name) if isinstance(name, str) else name, content)
    return path


def make_tar(path, files, mode="w:gz"):
    """A tar of these files, in this order."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def examples(builder):
    """All examples of a prepared builder, by split: lists of dicts."""
    return {
        split: [
            {key: value.decode() if isinstance(value, bytes) else value for key, value in example.items()}
            for example in builder.as_dataset(split=split).as_numpy_iterator()
        ]
        for split in builder.info.splits
    }
