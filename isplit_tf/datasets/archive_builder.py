"""Base of the builders for TensorFlow Datasets: reads an archive without unpacking and splits it without leaks."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ..errors import DataError
from .archives import Archive
from .grouping import LEFT_OUT, TEST, TRAIN, VALIDATION, divide, equal_pairs, join
from .inventory import take_inventory
from .originals import Original
from .registration import register
from .scanning import Layout, Picture, Scan, scan_archive

ORDER = (TRAIN, VALIDATION, TEST, LEFT_OUT)


@dataclasses.dataclass(eq=False)
class ArchiveConfig(tfds.core.BuilderConfig):
    """The configuration of one archive on this machine; `from_archive` names it after the archive's SHA-256.

    Attributes:
        archive: The archive, instead of a download.
    """

    archive: Archive | None = None


class ArchiveBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder that reads labelled images from one archive and puts images that belong together into one split.

    Every image is decoded once beforehand. Images that cannot be read are left out. These and all duplicates are listed
    in `builder.info.metadata`, which is saved as `metadata.json` beside the prepared data
    (`isplit_tf.datasets.inventory` describes it).

    A data set defines `ORIGINALS`, `SHARES` and `layout`, and if needed `TEST_PART`, `label_pictures`, `group`, `key`.
    """

    ORIGINALS: ClassVar[Mapping[str, Original]]
    """The published archives by name of the configuration, or by "" if there is only one."""

    SHARES: ClassVar[Mapping[str, float]]
    """Share of each split of the images that are not in the original's test set; the rest is train."""

    TEST_PART: ClassVar[str | None] = None
    """The part of the original that becomes the test split; None if test is taken by its share, like the others."""

    @classmethod
    def layout(cls) -> Layout:
        """Return the layout of the data set in its archive."""
        raise TypeError(f"{cls.__name__} has no layout.")

    def label_pictures(self, scan: Scan) -> list[Picture]:
        """Return the pictures whose class is known; here, those whose path contains the class."""
        return [picture for picture in scan.pictures if picture.label is not None]

    def group(self, pictures: Sequence[Picture]) -> tuple[list[int], dict[str, Any]]:
        """Group pictures that belong together; here, images with the same pixels.

        Returns:
            The group of each picture, as from `grouping.join`, and entries to add to the inventory.
        """
        return join(len(pictures), equal_pairs(picture.digest for picture in pictures)), {}

    def key(self, picture: Picture) -> str:
        """Return the key that decides the split of a picture; here its name."""
        return picture.name

    def original_of(self, root: str) -> tuple[Original | None, str]:
        """Return the published archive to compare with, and how it was determined."""
        if self.builder_config is not None and self.builder_config.name in self.ORIGINALS:
            return self.ORIGINALS[self.builder_config.name], "the configuration"
        return self.ORIGINALS.get(""), "the layout"

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(self._features()),
            supervised_keys=("image", "label"),
            metadata=tfds.core.MetadataDict(),
        )

    def _features(self) -> dict[str, Any]:
        """Return the features common to all data sets: `name` (in the archive) and `group` (never in two splits).

        Data sets add `image` and `label`.
        """
        return {"name": tfds.features.Text(), "group": tfds.features.Text()}

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        archive = self._archive(dl_manager)
        scan = scan_archive(archive, self.layout())
        pictures = self.label_pictures(scan)
        if not pictures:
            raise DataError(f"'{archive.path}' holds no readable, labelled image of {self.name}.")
        groups, notes = self.group(pictures)
        splits = divide(
            groups,
            [str(picture.label) for picture in pictures],
            [self.key(picture) for picture in pictures],
            shares=self.SHARES,
            is_test=[picture.part == self.TEST_PART for picture in pictures],
        )
        original, basis = self.original_of(scan.root)
        inventory = take_inventory(archive, scan, pictures, splits, original=original, basis=basis)
        self.info.metadata.update({**inventory, **notes})
        chosen: dict[str, dict[str, dict[str, Any]]] = {split: {} for split in ORDER}
        names: dict[int, str] = {}
        for picture, group in zip(pictures, groups, strict=True):
            names[group] = min(self.key(picture), names.get(group, self.key(picture)))
        for picture, group, split in zip(pictures, groups, splits, strict=True):
            values = {"label": picture.label, "name": picture.name, "group": names[group]}
            chosen[split][picture.path] = values
        return {split: self._generate_examples(archive, examples) for split, examples in chosen.items() if examples}

    def _generate_examples(
        self, archive: Archive, chosen: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for member in archive.members():
            if member.name in chosen:
                values = chosen[member.name]
                yield values["name"], {"image": member.read(), **values}

    def _archive(self, dl_manager: tfds.download.DownloadManager) -> Archive:
        if isinstance(self.builder_config, ArchiveConfig) and self.builder_config.archive is not None:
            return self.builder_config.archive
        original = self.ORIGINALS[self.builder_config.name if self.builder_config else ""]
        archive = Archive(dl_manager.download(original.url))
        original.check(archive)
        original.record(archive, Path(self.data_dir_root) / self.name)
        return archive


register()  # the builders import this module; if it is imported first, they are registered only now
