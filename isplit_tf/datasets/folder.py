"""Reading of images from a folder of class folders: DIR/cat/1.png, DIR/dog/2.jpg."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import tensorflow as tf

from isplit_edge.text import printable

from ..display.progress import bar
from ..errors import DataError
from .pixels import ImageForm, map_images, shuffled

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
_SPLIT_FOLDERS = frozenset(name for names in _SPLITS.values() for name in names)
_NAMED = 5  # unreadable files listed in a message


@dataclass(frozen=True)
class _Images:
    """The readable images of a folder: paths, labels, and shapes (H, W, C)."""

    paths: list[bytes]
    labels: list[int]
    shapes: Counter


def open_folder(
    directory: Path, *, split: str | None, form: ImageForm, shuffle: bool | str, seed: int | None
) -> tuple[tf.data.Dataset, tuple[str, ...]]:
    """Open a folder as single images and labels.

    Every image is decoded once beforehand, so that unreadable images are found before the work begins. Unless shuffled,
    the images are ordered by a hash of their paths: the order is always the same, and its first part contains images of
    all classes.

    Args:
        directory: The folder of class folders; class folders are searched to any depth.
        split: The folder to take, if there are the folders `train`, `validation` (or `val`) and `test`.
        form: Size, channels and dtype of the images.
        shuffle: As in `open_data`.
        seed: Seed for shuffling.

    Returns:
        A data set of `(image, label)` and the class names, which are the sorted names of the folders.

    Raises:
        DataError: If there are no class folders or readable images, or images differ in size and `form` gives no size.
    """
    if not os.access(directory, os.R_OK | os.X_OK):
        raise DataError(f"{directory} may not be read: permission denied.")
    directory = _enter_split(directory, split)
    folders = _subfolders(directory)
    names = tuple(folder.name for folder in folders)
    for name in names:
        if not name.isprintable() and printable(name) != name:
            raise DataError(
                f"The class folder '{printable(name)}' in {directory} has a name that no text can show: it is not "
                "UTF-8, or holds control characters. Rename it."
            )
    files = [(path, label) for label, folder in enumerate(folders) for path in _image_files(folder)]
    if not files:
        raise DataError(_no_images(directory, names))
    files.sort(key=lambda file: hashlib.sha256(os.fsencode(file[0].relative_to(directory).as_posix())).digest())
    images = _read_all(directory, files, channels=form.channels or 3)
    if form.size is None:
        form = replace(form, size=_common_size(directory, images.shapes))
    data = tf.data.Dataset.from_tensor_slices((images.paths, tf.constant(images.labels, tf.int64)))
    return map_images(shuffled(data, len(images.paths), shuffle, seed), _decoder(form)), names


def _decoder(form: ImageForm):
    channels = form.channels or 3
    height, width = form.size or (None, None)

    def decode(path: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(tf.io.read_file(path), channels=channels, expand_animations=False)
        image = tf.ensure_shape(image, (None, None, channels))
        return tf.ensure_shape(form.apply(image), (height, width, channels))

    return decode


def _enter_split(directory: Path, split: str | None) -> Path:
    """Return the folder that holds the class folders: `directory` itself, or its folder for the split."""
    folders = {path.name.lower(): path for path in _subfolders(directory)}
    if not folders or not set(folders) <= _SPLIT_FOLDERS:
        return directory
    for name in _SPLITS.get(split or "", (split,)):
        if name in folders:
            return folders[name]
    problem = "no split is asked for" if split is None else f"there is no split {split!r}"
    raise DataError(
        f"{directory} holds the splits {', '.join(sorted(folders))}, and {problem}. Name one, "
        f"or give the folder of that split: {directory / sorted(folders)[0]}."
    )


def _subfolders(directory: Path) -> list[Path]:
    """Return the subfolders, sorted by name, without hidden folders and those of archive programs."""
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _no_images(directory: Path, names: Sequence[str]) -> str:
    expected = f"Expected {directory / 'CLASS' / 'IMAGE'}, images as {', '.join(SUFFIXES)}."
    if names:
        return f"No images in the {len(names)} folders of {directory} ({', '.join(names[:_NAMED])}). {expected}"
    loose = sum(path.suffix.lower() in SUFFIXES for path in directory.iterdir())
    found = f"{loose} images that are in no class folder" if loose else "no folders"
    return f"{directory} holds {found}: the class of an image is the name of its folder. {expected}"


def _read_all(directory: Path, files: Sequence[tuple[Path, int]], channels: int) -> _Images:
    """Decode every file once; warn about files that cannot be read, and leave them out."""

    def shape_of(file: tuple[Path, int]) -> tuple[int, ...] | str:
        try:
            image = tf.io.decode_image(file[0].read_bytes(), channels=channels, expand_animations=False)
        except (tf.errors.OpError, OSError) as error:
            return str(error).splitlines()[0][:120]
        return tuple(image.shape)

    with ThreadPoolExecutor() as pool:
        results = list(bar(pool.map(shape_of, files), total=len(files), desc="checking images", unit="image"))
    bad = [(file[0], result) for file, result in zip(files, results, strict=True) if isinstance(result, str)]
    good = [(file, result) for file, result in zip(files, results, strict=True) if not isinstance(result, str)]
    if bad:
        named = "; ".join(
            f"{printable(str(path.relative_to(directory)))} ({why})" for path, why in sorted(bad)[:_NAMED]
        )
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        text = f"{len(bad)} of {len(files)} images in {directory} cannot be read: {named}{more}"
        if not good:
            raise DataError(f"{text}.")
        warnings.warn(f"{text}. They are left out.", stacklevel=5)
    return _Images(
        paths=[os.fsencode(file[0]) for file, _ in good],  # names that are not UTF-8 have no other form
        labels=[file[1] for file, _ in good],
        shapes=Counter(shape for _, shape in good),
    )


def _common_size(directory: Path, shapes: Counter) -> tuple[int, int]:
    sizes = Counter({shape[:2]: 0 for shape in shapes})
    for shape, count in shapes.items():
        sizes[shape[:2]] += count
    if len(sizes) > 1:
        examples = ", ".join(f"{h}x{w} ({count})" for (h, w), count in sizes.most_common(3))
        raise DataError(f"The images in {directory} differ in size: {examples}. Give image_size=(height, width).")
    return next(iter(sizes))
