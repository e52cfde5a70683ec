"""kit.json: the record of a kit, with which a device and a server are measured."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from . import schema
from .device_profile import read_profile, write_profile
from .errors import ArgumentError, BundleError
from .files import BAD_FILE, check_file, relative_path
from .manifest import PRECISIONS
from .npy import open_npz
from .preprocessing import RECORD
from .record import Record

FORMAT_VERSION = 1
KIND = "kit"
KIT_FILE = "kit.json"
IMAGES_FILE = "images.npz"
WHOLE_FILE = "whole/whole.tflite"
SERVED_NAME, SERVED_VERSION = "kit", 1
WHOLE_MODEL = "the whole model"
ON_DEVICE = ("heads", "whole", IMAGES_FILE)
"""What a device needs of a kit besides kit.json."""
_COUNT = schema.integer(0)
_ENTRY = schema.record({"sha256": schema.hexadecimal(64), "size_bytes": _COUNT})


def _path(key: str, value: Any) -> str:
    return str(relative_path(schema.text(key, value)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitCut(Record):
    """A head of a kit.

    Attributes:
        index, name, shape: Of the cut in `find_cuts(model)`.
        head_macs, tail_macs, encoder_macs: Multiply-accumulates.
        payload_bytes: As asked for; what is measured stands in the head's own manifest.
        directory: Where the head is, as `isplit_edge.Head` loads it.
        size_bytes: Of head.tflite.
        signature: Of the served model: the tail of this cut.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    head_macs: int
    tail_macs: int
    encoder_macs: int
    payload_bytes: int
    directory: str
    size_bytes: int
    signature: str

    RULES: ClassVar = {
        "index": _COUNT,
        "name": schema.text,
        "shape": schema.shape,
        "head_macs": _COUNT,
        "tail_macs": _COUNT,
        "encoder_macs": _COUNT,
        "payload_bytes": _COUNT,
        "directory": _path,
        "size_bytes": _COUNT,
        "signature": schema.text,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitWhole(Record):
    """The whole model of a kit.

    Attributes:
        macs: Multiply-accumulates.
        params: Weights.
        file: The `.tflite` file in the kit.
        size_bytes: Of it.
    """

    macs: int
    params: int
    file: str
    size_bytes: int

    RULES: ClassVar = {"macs": _COUNT, "params": _COUNT, "file": _path, "size_bytes": _COUNT}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kit(Record):
    """A folder to measure a device and a server with: heads at many cuts, the whole model, some images, all tails.

    `isplit_tf.build_kit` writes it.

    Attributes:
        kit_id: 64 hexadecimal digits: of the model, the settings and the files of the device.
        model_name: Of the Keras model.
        model_sha256: The model's identity.
        precision: Of the heads and the whole model.
        created: Date and time in UTC, ISO 8601.
        versions: Of the packages that made it.
        input_shape: Of the model, without the batch.
        n_classes: The classes.
        preprocessing: None, or the record that turns uint8 images into inputs.
        bottleneck: What the heads end with, as a record; None for no bottleneck.
        whole: The whole model; None where it cannot be converted.
        cuts: The heads, in the order of the cuts.
        images: The file of the images in the kit.
        serving: The SavedModel in the kit.
        refused: Cuts without a head, or "the whole model", and why they cannot be converted.
        files: sha256 and size_bytes of each file except kit.json itself.
        directory: Where the kit was loaded from; not in the file.

    Example:
        >>> kit = Kit.load("kit/")
        >>> [cut.name for cut in kit.cuts]
    """

    kit_id: str
    model_name: str
    model_sha256: str
    precision: str
    created: str
    versions: Mapping[str, str]
    input_shape: tuple[int, ...]
    n_classes: int
    preprocessing: Mapping[str, Any] | None
    bottleneck: Mapping[str, Any] | None
    whole: KitWhole | None
    cuts: tuple[KitCut, ...]
    images: str
    serving: str
    refused: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    directory: Path = dataclasses.field(default=Path(), compare=False)

    RULES: ClassVar = {
        "kit_id": schema.hexadecimal(64),
        "model_name": schema.text,
        "model_sha256": schema.hexadecimal(64),
        "precision": schema.choice(*PRECISIONS),
        "created": schema.utc,
        "versions": schema.mapping(schema.text),
        "input_shape": schema.shape,
        "n_classes": schema.integer(2),
        "preprocessing": schema.nullable(RECORD),
        "bottleneck": schema.nullable(schema.mapping(lambda key, value: value)),
        "whole": schema.nullable(KitWhole.check),
        "cuts": schema.sequence(KitCut.check),
        "images": _path,
        "serving": _path,
        "refused": schema.mapping(schema.text),
        "files": schema.mapping(_ENTRY),
    }

    @classmethod
    def load(cls, directory: str | os.PathLike[str], check: Iterable[str] = ON_DEVICE) -> "Kit":
        """Read kit.json, and compare the files below some folders with their hashes.

        Args:
            directory: The kit.
            check: Folders and files of the kit. By default those that a device needs; the others may be missing there.

        Raises:
            BundleError: If it is no kit, is incomplete, was changed, or has a newer format.
        """
        root = Path(directory)
        if not (root / KIT_FILE).is_file():
            raise BundleError(f"'{root}' is not a kit: it has no {KIT_FILE}. Make one with isplit kit.")
        kit = dataclasses.replace(read_profile(root / KIT_FILE, KIND, FORMAT_VERSION, cls), directory=root)
        kit.check_files(check)
        return kit

    def check_files(self, below: Iterable[str]) -> None:
        """Compare the files below some folders of the kit with their sizes and hashes.

        Raises:
            BundleError: If a file is missing, differs, or leads out of the kit.
        """
        wanted = [relative_path(folder) for folder in below]
        for name, entry in self.files.items():
            try:
                if any(relative_path(name).is_relative_to(folder) for folder in wanted):
                    check_file(self.directory, name, **entry)
            except ArgumentError as error:
                raise BundleError(f"'{self.directory}': {error}") from error

    def save(self) -> None:
        """Write kit.json into the kit's directory."""
        write_profile(self.directory / KIT_FILE, KIND, FORMAT_VERSION, self)

    def read_images(self) -> np.ndarray:
        """Return the images, `(N, *input_shape)`, uint8 as a camera gives them or float32 as the model takes them.

        Raises:
            BundleError: If they cannot be read.
        """
        path = self.directory / self.images
        try:
            with open_npz(path) as file:
                images = file.read("images")
        except BAD_FILE as error:
            raise BundleError(f"'{path}' cannot be read as the images of a kit: {error}") from error
        if images.shape[1:] != self.input_shape or not len(images):
            raise BundleError(f"'{path}' holds images {images.shape}. Expected (N, *{self.input_shape}).")
        return images

    def __str__(self) -> str:
        lines = [f"kit of {self.model_name} in {self.precision}: {len(self.cuts)} heads, to measure a device with"]
        for cut in self.cuts:
            lines.append(
                f"  {cut.index:>4} {cut.name:<40} {cut.head_macs + cut.encoder_macs:>14,} MACs {cut.size_bytes:>12,} B"
            )
        if self.whole is not None:
            lines.append(f"       {WHOLE_MODEL:<40} {self.whole.macs:>14,} MACs {self.whole.size_bytes:>12,} B")
        lines += [f"  without {name}: {why}" for name, why in self.refused.items()]
        return "\n".join(lines)
