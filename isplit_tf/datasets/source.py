"""Opening of data named by a string: a folder, an .npz file, an archive, a TFDS name, or an embedded set."""

from pathlib import Path

import tensorflow as tf

from ..errors import ArgumentError, DataError
from .archives import is_archive
from .arrays import open_arrays, read_npz
from .catalog import open_builder, open_catalog
from .folder import open_folder
from .pixels import ImageForm, enlarge_whole
from .recognition import from_archive
from .splits import EMBEDDED, KINDS, SPLIT_NAMES, load


def open_data(
    spec: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    batch_size: int = 32,
    split: str | None = None,
    shuffle: bool | str = False,
    seed: int | None = None,
    dtype: str = "float32",
    resize: str = "bilinear",
    data_dir: str | None = None,
) -> tuple[tf.data.Dataset, tuple[str, ...] | None]:
    """Open labelled images by name.

    Args:
        spec: One of
            - a folder of class folders, `DIR/cat/1.png`; if it holds the folders `train`, `validation` (`val`) and
              `test`, `split` selects one. Images that cannot be read are left out with a warning that counts and
              names them.
            - an `.npz` file with `x` (N, ...), `y` (N,) and optionally `class_names`; or with `x_SPLIT` and
              `y_SPLIT`.
            - an archive of Tiny-ImageNet-200, notMNIST or Chest X-Ray Pneumonia, read with `from_archive`.
            - `tfds:NAME[/CONFIG][:VERSION][:SPLIT]`, a data set of TensorFlow Datasets.
            - `glyphs[:SPLIT]`, the embedded data set. For sizes above 28, images are enlarged by a whole factor and
              get a black border: 32x32 gives a border of 2. (Give a folder of this name as `./glyphs`.)
        image_size: Height and width of the images; None keeps their size.
        channels: 1 for grey, 3 for RGB; None keeps the channels (files in a folder are read as RGB).
        batch_size: Number of images in a batch.
        split: The split to take if the data have splits and `spec` names none.
        shuffle: True shuffles before every pass. "once" gives one order, the same in every pass and every run, so that
            the first part of data sorted by class contains all classes. False keeps the data's own order; files of
            a folder are ordered by a hash of their paths.
        seed: Seed for shuffling.
        dtype: "float32" (0 to 255), as models expect, or "uint8", as a camera gives and as `Client.predict` and
            `evaluate` on a bundle expect. Floating arrays of an .npz file keep their values and become float32.
        resize: How images are resized to `image_size`: "bilinear" or "nearest".
        data_dir: Folder of TensorFlow Datasets' data; its default if None.

    Returns:
        A batched data set of `(x, y)`, y int64 `(N,)` (an .npz file may hold one-hot labels), and the class names, or
        None if the data have none.

    Raises:
        DataError: If there are no data at `spec`, or no labelled images; the message says what was found.
        ArgumentError: If an argument is out of range.

    Example:
        >>> import isplit_tf as isplit
        >>> data, names = isplit.datasets.open_data("glyphs:test", image_size=(32, 32), batch_size=10)
        >>> x, y = next(iter(data))
        >>> tuple(x.shape), x.dtype.name, names[:3]
        ((10, 32, 32, 1), 'float32', ('A', 'B', 'C'))
    """
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1. Received: {batch_size}.")
    form = ImageForm(image_size, channels, dtype, resize)
    text = str(spec)
    name, _, named_split = text.partition(":")
    names: tuple[str, ...] | None
    if name == "tfds":
        data, names = open_catalog(named_split, split=split, form=form, shuffle=shuffle, seed=seed, data_dir=data_dir)
    elif name in EMBEDDED:
        data, names = _open_embedded(name, named_split or split, form=form, shuffle=shuffle, seed=seed)
    else:
        data, names = _open_path(Path(spec), split, form=form, shuffle=shuffle, seed=seed, data_dir=data_dir)
    return data.batch(batch_size).prefetch(tf.data.AUTOTUNE), names


def _open_embedded(
    name: str, split: str | None, *, form: ImageForm, shuffle: bool | str, seed: int | None
) -> tuple[tf.data.Dataset, tuple[str, ...]]:
    if split not in SPLIT_NAMES:
        problem = "none is asked for" if split is None else f"not {split!r}"
        raise DataError(
            f"{name} has the splits {', '.join(SPLIT_NAMES)}, and {problem}. Name one: {name}:{SPLIT_NAMES[0]}."
        )
    splits = load(name)
    x, y = getattr(splits, split)
    x = enlarge_whole(x, form.size)
    return open_arrays(x, y, form=form, shuffle=shuffle, seed=seed), splits.class_names


def _open_path(
    path: Path, split: str | None, *, form: ImageForm, shuffle: bool | str, seed: int | None, data_dir: str | None
) -> tuple[tf.data.Dataset, tuple[str, ...] | None]:
    if path.is_dir():
        return open_folder(path, split=split, form=form, shuffle=shuffle, seed=seed)
    if path.is_file() and path.suffix.lower() == ".npz":
        x, y, names = read_npz(path, split)
        return open_arrays(x, y, form=form, shuffle=shuffle, seed=seed), names
    if path.is_file() and is_archive(path):
        builder = from_archive(path, data_dir)
        return open_builder(builder, split, title=str(path), form=form, shuffle=shuffle, seed=seed)
    if path.is_file():
        raise DataError(f"{path} is no .npz file. Data are given as {KINDS}.")
    raise DataError(f"There is no '{path}'. Data are given as {KINDS}.")
