"""manifest.json: the record of a bundle, which the export writes and every client reads first."""

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from . import micro, schema, wire
from .code import RECORD as CODE
from .code import Code
from .errors import ArgumentError, BundleError
from .files import check_file, file_record, read_limited, relative_path, write_atomic
from .form import RATES, PayloadForm
from .identity import array_sha256, bundle_id, canonical_json, contract, tagged_sha256
from .preprocessing import RECORD, check_fits

__all__ = [
    "DEVICE_REQUIREMENTS",
    "FORMAT_VERSION",
    "HEAD_FILE",
    "MANIFEST_FILE",
    "PRECISIONS",
    "Manifest",
    "array_sha256",
    "bundle_id",
    "canonical_json",
    "check_fields",
    "contract",
    "file_record",
    "tagged_sha256",
]

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
HEAD_FILE = "edge/head.tflite"
PRECISIONS = ("int8", "int16x8", "float16", "dynamic", "float32")
DEVICE_REQUIREMENTS = ("ai-edge-litert>=2.0", "isplit-edge>=0.1.0", "numpy>=1.26")
"""The lines of a bundle's edge/requirements.txt."""

# Far more than any bundle has, and little enough for the memory and the time of a device.
_MOST_BYTES, _MOST_FILES, _MOST_CLASSES = 4 << 20, 1000, 1 << 17
_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
_COUNT = schema.integer(0)
_INDEPENDENT = ("multi_label", "sigmoids")  # the latter in bundles of isplit-tf 0.1.0
_BESIDE_THE_MODEL = ("batching.config", "models.config")


def _model_name(key: str, value: Any) -> str:
    # The name becomes a folder and a part of a URL, where TensorFlow Serving gives "/" and ":" a meaning.
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", value) is None:
        raise schema.wrong(key, value, "letters, digits, '_', '.' and '-', not beginning with '.' or '-', 200 at most")
    if value in _BESIDE_THE_MODEL:
        raise schema.wrong(key, value, f"another name than {' and '.join(_BESIDE_THE_MODEL)}, which lie beside it")
    return value


def _files(key: str, value: Any) -> Mapping[str, Any]:
    files = schema.mapping(schema.record({"sha256": schema.hexadecimal(64), "size_bytes": _COUNT}))(key, value)
    if len(files) > _MOST_FILES:
        raise ArgumentError(f"{key} names {len(files)} files. A bundle has at most {_MOST_FILES}")
    for name in files:
        relative_path(name)
    if HEAD_FILE not in files:
        raise ArgumentError(f"{key} lacks {HEAD_FILE}, the head. It names: {', '.join(files) or 'nothing'}")
    return files


_FRACTION = schema.nullable(schema.number(0, 1))
_FIELDS: dict[str, schema.Check] = {
    "format_version": schema.choice(FORMAT_VERSION),
    "bundle_id": schema.hexadecimal(64),
    "model_name": _model_name,
    "version": schema.integer(1, 2**63 - 1),
    "wire_version": schema.choice(wire.WIRE_VERSION, wire.PACKED_WIRE_VERSION, wire.CODED_WIRE_VERSION),
    "precision": schema.choice(*PRECISIONS),
    "cut": schema.record(
        {
            "name": schema.text,
            "index": _COUNT,
            "layer_type": schema.text,
            "shape": schema.shape,
            "size": _COUNT,
        }
    ),
    "shapes": schema.record({"input": schema.shape, "cut": schema.shape, "latent": schema.shape}),
    "n_classes": schema.integer(2, _MOST_CLASSES),
    "class_names": schema.nullable(schema.sequence(schema.text)),
    "dtype": schema.choice(*wire.DTYPES),
    "scale": schema.nullable(schema.number(above=0)),
    "zero_point": schema.nullable(schema.integer(-(2**31), 2**31 - 1)),
    "byte_order": schema.choice("little"),
    "preprocessing": schema.nullable(RECORD),
    "output": schema.record({"kind": schema.text, "softmax_added": schema.flag}, more=schema.scalar),
    "accuracy": schema.record(
        {"original": _FRACTION, "split": _FRACTION, "artefacts": _FRACTION, "images": schema.nullable(_COUNT)}
    ),
    "encoder": schema.record({"params": _COUNT, "macs": _COUNT}),
    "head": schema.record({"params": _COUNT, "macs": _COUNT, "size_bytes": _COUNT}),
    "payload_bytes": _COUNT,
    "versions": schema.mapping(schema.text),
    "created": schema.utc,
    "files": _files,
}
_OPTIONAL: dict[str, schema.Check] = {
    "latent_bits": schema.nullable(schema.choice(*wire.LATENT_BITS)),
    "code": schema.nullable(CODE),
    "max_payload_bytes": schema.nullable(_COUNT),
    "rates": schema.nullable(RATES),
    "microcontroller": schema.nullable(micro.RECORD),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The record of a bundle, checked when it is made; JSON objects are read-only mappings, and lists are tuples.

    Attributes:
        format_version: Version of this file's format; a newer one than `FORMAT_VERSION` is refused.
        bundle_id: 64 hexadecimal digits; head and tail of one export share it.
        model_name, version: Name and version of the tail in TensorFlow Serving.
        wire_version: Version of the payload's layout: 1; 2 if `latent_bits` is given, 3 if `code` is.
        precision: One of `PRECISIONS`, as the head was exported.
        cut: name, index, layer_type, shape (without the batch) and size (elements) of the cut.
        shapes: input, cut and latent, without the batch.
        n_classes, class_names: The classes; names may be None.
        dtype, scale, zero_point: Those of the head's output; scale and zero point are None if it is float32.
        byte_order: Byte order of the latent on the wire.
        preprocessing: None, or the record that turns uint8 images into inputs.
        output: kind, softmax_added and more: how probabilities are made from the model's own output.
        accuracy: original, split and artefacts (fractions, or None if not measured); number of images.
        encoder, head: params and macs (multiply-accumulates) of each; size_bytes of head.tflite.
        payload_bytes: Size of the whole payload, header and latent; if they are coded, the mean over images of the
            export.
        versions: Versions of the packages that made the bundle.
        created: Date and time in UTC, ISO 8601.
        files: sha256 and size_bytes of each file of the bundle except manifest.json itself.
        latent_bits: The number of bits sent of each element of the head's output. None if the output is sent unchanged;
            the file then lacks the key.
        code: The record of `isplit_edge.code.Code`, by which the latent is coded. None if it is not; the
            file then lacks the key.
        max_payload_bytes: The longest coded payload: what does not fit is left out at the end of the channels. Else
            None; the file then lacks the key.
        rates: What was measured at bounds of a coded payload: the bound, mean, 95th percentile and most of the bytes,
            accuracy. None if nothing was; the file then lacks the key.
        microcontroller: The record that `isplit_edge.micro.RECORD` describes, if the bundle has edge/head.h. Else None;
            the file then lacks the key.

    Raises:
        ArgumentError: If a key may not hold its value, or two values contradict each other.
    """

    format_version: int = FORMAT_VERSION
    bundle_id: str
    model_name: str
    version: int
    wire_version: int = wire.WIRE_VERSION
    precision: str
    cut: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    n_classes: int
    class_names: tuple[str, ...] | None
    dtype: str
    scale: float | None
    zero_point: int | None
    byte_order: str = "little"
    preprocessing: Mapping[str, Any] | None
    output: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    encoder: Mapping[str, int]
    head: Mapping[str, int]
    payload_bytes: int
    versions: Mapping[str, str]
    created: str
    files: Mapping[str, Mapping[str, Any]]
    latent_bits: int | None = None
    code: Mapping[str, Any] | None = None
    max_payload_bytes: int | None = None
    rates: tuple[Mapping[str, Any], ...] | None = None
    microcontroller: Mapping[str, Any] | None = None

    def __post_init__(self):
        for key, check in (_FIELDS | _OPTIONAL).items():
            object.__setattr__(self, key, check(key, getattr(self, key)))
        _check_together(self)

    def __reduce__(self):
        # Read-only mappings can neither be pickled nor copied.
        return Manifest.from_dict, (self.to_dict(),)

    @property
    def tag(self) -> bytes:
        """Return the 8 bytes that mark this bundle's payloads."""
        return wire.tag_of(self.bundle_id)

    @property
    def multi_label(self) -> bool:
        """Return whether each probability is that of a label of its own, so that they need not add up to 1."""
        return self.output["kind"] in _INDEPENDENT

    @cached_property
    def form(self) -> PayloadForm:
        """Return what makes payloads of latents, and reads them."""
        code = None if self.code is None else Code.from_json(self.code, self.shapes["latent"])
        return PayloadForm(
            tag=self.tag,
            payload_bytes=self.payload_bytes,
            dtype=self.dtype,
            shape=self.shapes["latent"],
            bits=self.latent_bits,
            code=code,
            max_payload_bytes=self.max_payload_bytes,
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Manifest":
        """Make a manifest from the record of `to_dict` or of a JSON reader.

        Raises:
            ArgumentError: If the format is newer, a key is missing or unknown, or a value is wrong.
        """
        if not isinstance(record, Mapping):
            raise schema.wrong("manifest", record, "an object")
        for key, known in (("format_version", FORMAT_VERSION), ("wire_version", wire.CODED_WIRE_VERSION)):
            _refuse_newer(record, key, known)
        missing = [key for key in _FIELDS if key not in record]
        unknown = [str(key) for key in record if key not in _FIELDS | _OPTIONAL]
        if missing or unknown:
            what = f"lacks {', '.join(missing)}" if missing else f"has unknown keys: {', '.join(unknown)}"
            raise ArgumentError(f"manifest {what}. Format {FORMAT_VERSION} has: {', '.join(_FIELDS)}")
        return cls(**record)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain dicts and lists, in the order of the fields."""
        record = {field.name: schema.plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {key: value for key, value in record.items() if value is not None or key not in _OPTIONAL}

    @classmethod
    def load(cls, directory: str | os.PathLike[str], check: Iterable[str] = ("edge",)) -> "Manifest":
        """Read and check manifest.json, and check the files below some folders of the bundle.

        Args:
            directory: The bundle's directory.
            check: Folders whose files are compared with the sizes and hashes in the manifest; a device has
                only "edge". The other folders may be missing.

        Returns:
            The manifest.

        Raises:
            BundleError: If the bundle is incomplete, was changed, or has a newer format; the message names
                the file and the key.
        """
        root = Path(directory)
        path = root / MANIFEST_FILE
        try:
            manifest = cls.from_dict(schema.parse_json(read_limited(path, _MOST_BYTES)))
        except FileNotFoundError as error:
            raise BundleError(f"{root} is not a bundle: it has no {MANIFEST_FILE}") from error
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(f"{path}: {error}") from error
        manifest.check_files(root, check)
        return manifest

    def check_files(self, directory: str | os.PathLike[str], folders: Iterable[str] = ("edge",)) -> None:
        """Compare the files below some folders of a bundle with their sizes and hashes.

        Raises:
            BundleError: If a file is missing, differs, or leads out of the bundle.
        """
        root = Path(directory)
        wanted = [relative_path(folder) for folder in ([folders] if isinstance(folders, str) else folders)]
        for name, entry in self.files.items():
            if any(relative_path(name).is_relative_to(folder) for folder in wanted):
                check_file(root, name, **entry)

    def write(self, directory: str | os.PathLike[str]) -> Path:
        """Write manifest.json into a directory, in one step: a reader finds the old file or the new one.

        Returns:
            The path of the file.
        """
        path = Path(directory) / MANIFEST_FILE
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)
        write_atomic(path, f"{text}\n".encode())
        return path


def check_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Check each value of a part of a manifest's record by the rule of its key.

    Args:
        record: Some keys of a manifest and their values, known before the files of the bundle exist.

    Returns:
        The same values as plain dicts and lists.

    Raises:
        ArgumentError: If a key may not hold its value.
    """
    rules = _FIELDS | _OPTIONAL
    return {key: schema.plain(rules[key](key, value)) for key, value in record.items()}


def _refuse_newer(record: Mapping[str, Any], key: str, known: int) -> None:
    found = record.get(key)
    if isinstance(found, int) and not isinstance(found, bool) and found > known:
        raise ArgumentError(
            f"{key} is {found}, newer than this isplit-edge knows ({known}): update isplit-edge, or export "
            "again with the isplit-tf of the same release"
        )


def _check_together(manifest: Manifest) -> None:
    cut = manifest.cut
    manifest.form.check(manifest.wire_version)
    schema.equal("cut.size", cut["size"], math.prod(cut["shape"]), "the product of cut.shape")
    schema.equal("shapes.cut", manifest.shapes["cut"], cut["shape"], "cut.shape")
    schema.equal("head.size_bytes", manifest.head["size_bytes"], manifest.files[HEAD_FILE]["size_bytes"], HEAD_FILE)
    if manifest.class_names is not None:
        schema.equal("class_names", len(manifest.class_names), manifest.n_classes, "names: one for each of n_classes")
    if manifest.preprocessing is not None:
        check_fits(manifest.preprocessing, manifest.shapes["input"])
    limits = _LIMITS.get(manifest.dtype)
    for key in ("scale", "zero_point"):
        value = getattr(manifest, key)
        if (value is None) != (limits is None):
            expected = "null" if limits is None else "a number"
            raise schema.wrong(key, value, f"{expected}, as dtype is {manifest.dtype}")
    if limits is not None:
        schema.integer(*limits)("zero_point", manifest.zero_point)
