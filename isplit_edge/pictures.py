"""Picture files as arrays, with Pillow: few formats, recognized by content, and of a bounded size."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError, MissingDependencyError
from .files import BAD_FILE, open_plain
from .images import ARRAYS
from .npy import read_array

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
"""What is decoded, whatever a file's name ends with: other formats of Pillow start programs, or are rarely tried."""

MOST_PIXELS = 50_000_000


def read_images_file(path: Path, *, grey: bool) -> np.ndarray:
    """Read a file of images, .npy, .npz or a picture.

    Args:
        path: The file.
        grey: Whether a picture is turned into a grey one.

    Returns:
        The array in the file; of a picture (H, W, 3) uint8, or (H, W) if grey.

    Raises:
        DataError: If the file cannot be read, for whatever reason; the message names it.
        MissingDependencyError: If it is a picture, and Pillow is not installed.
    """
    try:
        return read_array(path) if path.suffix.lower() in ARRAYS else read_picture(path, grey=grey)
    except (OSError, DataError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_picture(path: Path, *, grey: bool) -> np.ndarray:
    """Read a picture.

    Returns:
        (H, W, 3) uint8, or (H, W) if grey.

    Raises:
        DataError: If it is none, or too large; the caller adds the file's name.
        MissingDependencyError: If Pillow is not installed.
        OSError: If the file cannot be opened.
    """
    with open_plain(path) as file:
        try:
            with _opened(file, path.name, FORMATS) as image:
                return np.asarray(image.convert("L" if grey else "RGB"))
        except BAD_FILE as error:
            raise DataError(str(error) or type(error).__name__) from error


def check_picture(path: Path, formats: tuple[str, ...] = FORMATS) -> None:
    """Check format and size of a picture that another program decodes, by its first bytes.

    Raises:
        DataError: If it is no picture of these formats, or too large.
        OSError: If the file cannot be opened.
    """
    with open_plain(path) as file:
        try:
            _opened(file, path.name, formats).close()
        except BAD_FILE as error:
            raise DataError(str(error) or type(error).__name__) from error


def _opened(file: Any, name: str, formats: tuple[str, ...]) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading {name} needs Pillow: pip install pillow; .npy files need nothing"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own limit, which is larger
        try:
            image = Image.open(file, formats=formats)
        except Image.DecompressionBombError as error:
            raise DataError(f"it has far more than {MOST_PIXELS} pixels") from error
        except Image.UnidentifiedImageError as error:
            raise DataError(f"it is no picture, or a damaged one: {', '.join(formats)} are read") from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        image.close()
        raise DataError(f"it has {width} x {height} pixels; {MOST_PIXELS} are possible")
    return image
