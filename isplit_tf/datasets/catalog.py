"""Opening of data sets of TensorFlow Datasets by name."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from ..errors import DataError
from .pixels import ImageForm, map_images, shuffled
from .recognition import prepare

# NAME[/CONFIG][:VERSION][:SPLIT]; a version begins with a digit, a split with a letter
_SPEC = re.compile(r"(?P<name>[^:]+(?::\d[^:]*)?)(?::(?P<split>[A-Za-z].*))?")
_SHUFFLE_BUFFER = 10_000  # images; the order of the files is shuffled separately


def open_catalog(
    spec: str, *, split: str | None, form: ImageForm, shuffle: bool | str, seed: int | None, data_dir: str | None
) -> tuple[tf.data.Dataset, tuple[str, ...] | None]:
    """Open a data set of TensorFlow Datasets as single images and labels, and prepare it if necessary.

    Args:
        spec: `NAME[/CONFIG][:VERSION][:SPLIT]`, for instance `mnist:test` or `mnist:train[:80%]`.
        split: The split, if `spec` names none.
        form: Size, channels and dtype of the images.
        shuffle: As in `open_data`.
        seed: Seed for shuffling.
        data_dir: Folder of prepared data; TensorFlow Datasets' default if None.

    Returns:
        A data set of `(image, label)`, and the class names, or None if the data set has none.

    Raises:
        DataError: If there is no such data set or split, it has no labels, or it cannot be prepared.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise DataError(f"'tfds:{spec}' is not of the form tfds:NAME[/CONFIG][:VERSION][:SPLIT].")
    builder = _builder(match["name"], data_dir)
    requested = match["split"] or split
    _supervised(builder)
    if builder.info.splits:
        _split(builder, requested)  # a wrong split is reported before the download, if the splits are known
    _prepare(builder)
    return open_builder(builder, requested, title=f"tfds:{spec}", form=form, shuffle=shuffle, seed=seed)


def open_builder(
    builder: Any, split: str | None, *, title: str, form: ImageForm, shuffle: bool | str, seed: int | None
) -> tuple[tf.data.Dataset, tuple[str, ...] | None]:
    """Open a prepared data set as single images and labels.

    Args:
        builder: A prepared builder of TensorFlow Datasets.
        split: The split; None if there is only one.
        title: Name of the data set in messages.
        form: Size, channels and dtype of the images.
        shuffle: As in `open_data`.
        seed: Seed for shuffling.

    Returns:
        As `open_catalog`.

    Raises:
        DataError: If there is no such split or no labels, or the images differ in size and `form` gives no size.
    """
    image, label = _supervised(builder)
    chosen = _split(builder, split)
    data = builder.as_dataset(split=chosen, as_supervised=True, shuffle_files=shuffle is True)
    data = shuffled(data, max(1, min(len(data), _SHUFFLE_BUFFER)), shuffle, seed)
    shape = builder.info.features[image].shape
    if form.size is None and len(shape) == 3 and None in shape[:2]:
        raise DataError(f"The images of {title} differ in size. Give image_size=(height, width).")
    data = map_images(data, lambda x: _image(x, shape, form))
    if data.element_spec[1].dtype.is_integer:
        data = data.map(lambda x, y: (x, tf.cast(y, tf.int64)))
    names = getattr(builder.info.features[label], "names", None)
    return data, tuple(names) if names else None


def _image(x: tf.Tensor, shape: tuple[int | None, ...], form: ImageForm) -> tf.Tensor:
    return form.apply(tf.ensure_shape(x, shape)) if len(shape) == 3 else tf.cast(x, form.dtype)


def _builder(name: str, data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        names = tfds.list_builders(with_community_datasets=False)
        base_name = re.split(r"[/:]", name)[0]
        if base_name in names:
            raise DataError(f"tfds:{name} cannot be opened: {str(error).splitlines()[0]}") from error
        raise DataError(f"TensorFlow Datasets has no data set {base_name!r}. {_suggest(base_name, names)}") from error


def _suggest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=3)
    if matches:
        return f"Did you mean {' or '.join(map(repr, matches))}?"
    return "tfds.list_builders() lists those that there are; a builder of your own registers when it is imported."


def _prepare(builder: Any) -> None:
    try:
        prepare(builder)
    except OSError as error:  # no network, no space, a missing manual download
        raise DataError(f"tfds:{builder.info.full_name} cannot be prepared: {error}") from error


def _split(builder: Any, wanted: str | None) -> str:
    splits = list(builder.info.splits)
    if wanted is None and len(splits) == 1:
        return splits[0]
    split_list = ", ".join(splits)
    if wanted is None:
        raise DataError(
            f"tfds:{builder.info.full_name} has the splits {split_list}, and none is asked for. Name one: "
            f"tfds:{builder.name}:{splits[0]}."
        )
    bases = [re.split(r"\[", part)[0].strip() for part in wanted.split("+")]
    if not all(base in splits or base == "all" for base in bases):
        raise DataError(f"tfds:{builder.info.full_name} has no split {wanted!r}. It has: {split_list}.")
    return wanted


def _supervised(builder: Any) -> tuple[str, str]:
    keys = builder.info.supervised_keys
    if keys is None or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        raise DataError(
            f"tfds:{builder.info.full_name} does not say which features are image and label. "
            f"Its features: {', '.join(builder.info.features)}."
        )
    dtype = tf.as_dtype(builder.info.features[keys[0]].np_dtype)
    if not (dtype.is_integer or dtype.is_floating):
        raise DataError(f"tfds:{builder.info.full_name} holds {keys[0]} of type {dtype.name}. Expected numbers.")
    return keys
