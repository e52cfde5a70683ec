"""Recognition and preparation of data sets in archives that the user already has."""

import contextlib
import itertools
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from ..errors import DataError
from .archives import Archive
from .inventory import summarize
from .registration import BUILDERS, builder_class

_LOOKED_AT = 50_000  # files to inspect: more than the unlabelled files at the start of one of the archives
_HASH_DIGITS = 16


def from_archive(path: str | Path, data_dir: str | Path | None = None) -> Any:
    """Prepare a data set from a local archive, which may hold only part of the original.

    The data set is recognized by its folders, not by the file's name. Nothing is unpacked. A warning sums up the
    differences from the original; `builder.info.metadata` lists them in full.

    Args:
        path: A .zip or .tar archive of Tiny-ImageNet-200, notMNIST or Chest X-Ray Pneumonia.
        data_dir: Folder for prepared data; TensorFlow Datasets' default if None. Each archive has its own folder there,
            named after its SHA-256: `notmnist/archive_0123456789abcdef`.

    Returns:
        A prepared builder of TensorFlow Datasets: `builder.as_dataset(split="train", as_supervised=True)`. The splits
        are `train`, `validation`, `test` and `left_out` (images that would leak from test); empty ones are omitted.

    Raises:
        DataError: If there is no archive, it is damaged, or it holds none of these data sets.

    Example:
        ```python
        builder = isplit.datasets.from_archive("ChestXRay2017.zip")
        builder.info.metadata["missing"]      # {'train': {'images': 16, 'of': 5232, 'classes': {...}}}
        test = builder.as_dataset(split="test", as_supervised=True)
        ```
    """
    from .archive_builder import ArchiveConfig

    archive = Archive(path)
    builder_type = builder_class(recognize(archive))
    sha256 = archive.digests.sha256
    config = ArchiveConfig(
        name=f"archive_{sha256[:_HASH_DIGITS]}", description="An archive of the user's own.", archive=archive
    )
    with _quiet():
        builder = builder_type(data_dir=data_dir, config=config)
    prepare(builder)
    inventory = builder.info.metadata
    if inventory["archive"]["sha256"] != sha256:
        raise DataError(
            f"'{builder.data_path}' was prepared from another archive, {inventory['archive']['file']}, with the "
            f"SHA-256 {inventory['archive']['sha256']}; '{path}' has {sha256}. Give another data_dir."
        )
    if differences := summarize(inventory):
        warnings.warn(f"{archive.path.name} ({builder.name}): {differences}.", stacklevel=2)
    return builder


def recognize(archive: Archive) -> str:
    """Return the name of the data set in an archive.

    Raises:
        DataError: If it is none of the known data sets.
    """
    names = [member.name for member in itertools.islice(archive.members(), _LOOKED_AT)]
    ranks = {}
    for name in BUILDERS:
        locate = builder_class(name).layout().locate
        places = [place for place in map(locate, names) if place is not None]
        ranks[name] = sum(place.label is not None for place in places), len(places)
    best = max(ranks, key=lambda name: ranks[name])
    if not any(ranks[best]):
        sample = ", ".join(names[:3]) or "no files"
        raise DataError(
            f"'{archive.path}' holds none of the data sets {', '.join(BUILDERS)}. Found: {sample}. Expected the layout "
            f"of the original: train/n01443537/images/*.JPEG, A/*.png to J/*.png, or train/NORMAL/*.jpeg."
        )
    return best


def prepare(builder: Any) -> None:
    """Prepare a builder's data unless they are already prepared; messages go to standard error."""
    import tensorflow_datasets as tfds

    is_local = getattr(builder.builder_config, "archive", None) is not None
    config = tfds.download.DownloadConfig(try_download_gcs=not is_local)
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare(download_config=config)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress TensorFlow Datasets' warning about configurations that the builder does not list."""
    previous = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(previous)
