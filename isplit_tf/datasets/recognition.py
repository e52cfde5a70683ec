"""Archives that the user already has: which data set they hold, and their prepared data."""

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

_LOOKED_AT = 50_000  # files that tell what an archive is: more than the unlabelled ones that one of them begins with
_HASH_DIGITS = 16


def from_archive(path: str | Path, data_dir: str | Path | None = None) -> Any:
    """Prepare a data set from an archive that is already there, a part of the original included.

    Which data set it is shows in its folders, not in its file's name. Nothing is unpacked. What differs from the
    original is said in a warning, and in full in `builder.info.metadata`.

    Args:
        path: A .zip or .tar archive of Tiny-ImageNet-200, notMNIST or Chest X-Ray Pneumonia.
        data_dir: Where to keep prepared data; TensorFlow Datasets' own place if None. Each archive has its own there,
            under its SHA-256: `notmnist/archive_0123456789abcdef`.

    Returns:
        A builder of TensorFlow Datasets, prepared: `builder.as_dataset(split="train", as_supervised=True)`. The splits
        are `train`, `validation`, `test` and `left_out` (what would leak from test), those of them that hold images.

    Raises:
        DataError: There is no archive, it is damaged, or it holds none of these data sets.

    Example:
        ```python
        builder = isplit.datasets.from_archive("ChestXRay2017.zip")
        builder.info.metadata["missing"]      # {'train': {'images': 16, 'of': 5232, 'classes': {...}}}
        test = builder.as_dataset(split="test", as_supervised=True)
        ```
    """
    from .archive_builder import ArchiveConfig

    archive = Archive(path)
    make = builder_class(recognize(archive))
    sha256 = archive.digests.sha256
    config = ArchiveConfig(
        name=f"archive_{sha256[:_HASH_DIGITS]}", description="An archive of the user's own.", archive=archive
    )
    with _quiet():
        builder = make(data_dir=data_dir, config=config)
    prepare(builder)
    inventory = builder.info.metadata
    if inventory["archive"]["sha256"] != sha256:
        raise DataError(
            f"'{builder.data_path}' was prepared from another archive, {inventory['archive']['file']}, with the "
            f"SHA-256 {inventory['archive']['sha256']}; '{path}' has {sha256}. Give another data_dir."
        )
    if differs := summarize(inventory):
        warnings.warn(f"{archive.path.name} ({builder.name}): {differs}.", stacklevel=2)
    return builder


def recognize(archive: Archive) -> str:
    """The name of the data set that an archive holds.

    Raises:
        DataError: It is none that is known here.
    """
    names = [member.name for member in itertools.islice(archive.members(), _LOOKED_AT)]
    ranks = {}
    for name in BUILDERS:
        locate = builder_class(name).layout().locate
        places = [place for place in map(locate, names) if place is not None]
        ranks[name] = sum(place.label is not None for place in places), len(places)
    best = max(ranks, key=lambda name: ranks[name])
    if not any(ranks[best]):
        seen = ", ".join(names[:3]) or "no files"
        raise DataError(
            f"'{archive.path}' holds none of the data sets {', '.join(BUILDERS)}. Found: {seen}. Expected the layout "
            f"of the original: train/n01443537/images/*.JPEG, A/*.png to J/*.png, or train/NORMAL/*.jpeg."
        )
    return best


def prepare(builder: Any) -> None:
    """Prepare a builder's data where that has not been done; its messages go to standard error."""
    import tensorflow_datasets as tfds

    is_local = getattr(builder.builder_config, "archive", None) is not None
    config = tfds.download.DownloadConfig(try_download_gcs=not is_local)
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare(download_config=config)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without TensorFlow Datasets' warning about configurations that are not its own."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
