"""Picture files: few formats, told by content, never more pixels than a device can hold, one error for all others."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from isplit_edge import DataError
from isplit_edge.pictures import check_picture, read_images_file, read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)


def written(kind: str, mode: str = "RGB") -> bytes:
    """A picture in a format."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    """A small PNG that claims a size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 16)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "P"), ("PNG", "1"), ("BMP", "RGB"), ("WEBP", "RGB")]
)
def test_pictures_are_arrays(kind, mode, tmp_path):
    """In colour and in grey, whatever the file is called."""
    (tmp_path / "a.jpg").write_bytes(written(kind, mode))
    found = read_picture(tmp_path / "a.jpg", grey=False)
    assert (found.shape, found.dtype) == ((9, 7, 3), np.uint8)
    assert read_picture(tmp_path / "a.jpg", grey=True).shape == (9, 7)
    if (kind, mode) in (("PNG", "RGB"), ("BMP", "RGB")):
        np.testing.assert_array_equal(found, PIXELS)
    check_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(w) file\n",
        b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100),
        written("GIF"),
        written("TIFF"),
        written("PPM"),
        written("ICO"),
        written("PNG")[:60],
        written("JPEG")[:300],
        png(30_000, 30_000),
        png(2**31 - 1, 2**31 - 1),
        png(9_000, 9_000),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_not_read(content, tmp_path):
    """Other formats, torn files, and sizes that only a claim has: refused before anything is decoded."""
    for name in ("a.png", "a.webp"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be read: .+"):
            read_images_file(tmp_path / name, grey=False)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_mutated_pictures_raise_nothing_else(kind, tmp_path):
    """Bytes changed and cut off: a picture or a DataError."""
    rng, whole, raised = random.Random(1), written(kind), 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(min(len(content), 150))] = rng.randrange(256)
        (tmp_path / "a.png").write_bytes(content[: rng.choice([None, None, rng.randrange(len(content))])])
        try:
            read_images_file(tmp_path / "a.png", grey=False)
        except DataError:
            raised += 1
    assert raised > 20
