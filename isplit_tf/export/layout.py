"""The files of a bundle: written into a new directory, which then replaces the old one in one step."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isplit_edge import wire
from isplit_edge.client import MAX_BATCH
from isplit_edge.manifest import (
    DEVICE_REQUIREMENTS,
    HEAD_FILE,
    MANIFEST_FILE,
    Manifest,
    contract,
    file_record,
)

from ..errors import ArgumentError, ExistsError
from ..server.models_config import MODELS_CONFIG
from ..storage.directories import check_not_current, replacing
from .fingerprint import bundle_id
from .litert.converter import ConvertedHead
from .litert.gpu_delegate import gpu_report
from .local_fallback import LOCAL_FILE, fallback_report
from .micro.head import MicroHead, write_micro
from .request import ExportRequest
from .serving import saved_model
from .serving.config_files import BATCHING_CONFIG, batching_config, compose_yaml, models_config
from .serving.warmup import warmup_batches, write_warmup

HEAD_REPORT_FILE = "edge/head.json"
LOCAL_REPORT_FILE = "edge/local.json"
REQUIREMENTS_FILE = "edge/requirements.txt"
COMPOSE_FILE = "compose.yaml"
_REQUIREMENTS_NOTE = (
    "# isplit-edge is the folder isplit_edge/ of the project's source; before it is on a package index:\n"
    "#   pip install ./isplit_edge"
)


def check_place(directory: str | os.PathLike[str], overwrite: bool) -> None:
    """Raise unless a bundle may be written to a directory.

    Raises:
        ExistsError: If it exists and `overwrite` is false, or it is not a bundle, or holds files that are none of the
            bundle's.
        ArgumentError: If it cannot be made.
    """
    path = Path(directory)
    if os.path.lexists(path):
        if not overwrite:
            raise ExistsError(f"'{path}' exists. Give overwrite=True to replace the bundle, or another directory.")
        if path.exists():
            _check_replaceable(path)
            check_not_current(path)
    parent = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        obstacle = "is not a directory" if not parent.is_dir() else "cannot be written to"
        raise ArgumentError(f"'{path}' cannot be made: '{parent}' {obstacle}.")


def _check_replaceable(path: Path) -> None:
    if not path.is_dir():
        raise ExistsError(f"'{path}' is a file: not replaced. Give another directory.")
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())
    if not files:
        return
    known = _known_files(path)
    if known is None:
        raise ExistsError(
            f"'{path}' holds no bundle ({MANIFEST_FILE} is missing or is none): not replaced. Give another directory."
        )
    unknown = [name for name in files if name not in known]
    if unknown:
        remainder = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ExistsError(
            f"'{path}' holds files that are not the bundle's: {', '.join(unknown[:5])}{remainder}. Not replaced: move "
            "them away, or give another directory."
        )


def _known_files(path: Path) -> set[str] | None:
    """Return the files that the manifest in a directory names; None if there is no manifest of a bundle.

    A damaged bundle and one of a newer format count as bundles.
    """
    try:
        record = json.loads((path / MANIFEST_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not {"format_version", "bundle_id", "files"} <= set(record):
        return None
    return {MANIFEST_FILE, *record["files"]} if isinstance(record["files"], dict) else None


def write_bundle(
    directory: str | os.PathLike[str],
    request: ExportRequest,
    head: ConvertedHead,
    *,
    micro: MicroHead | None = None,
    fallback: ConvertedHead | None = None,
    measure_fallback: Callable[[Manifest], Mapping[str, Any]] | None = None,
    measure: Callable[[Path], Mapping[str, Any]] | None = None,
) -> Manifest:
    """Write a bundle; if the process is killed, the old bundle or the complete new one is there.

    Args:
        directory: Where to; `check_place` was asked before.
        request: What is exported.
        head: Its converted head.
        micro: The same head as TensorFlow Lite Micro runs it, or None.
        fallback: The whole model for the device, or None.
        measure_fallback: Given the manifest, returns the measured accuracy of the fallback.
        measure: Given the written bundle, returns what the manifest says of its accuracy, by keys of the manifest.

    Returns:
        The manifest.
    """
    record = request.filled(head)
    identity = bundle_id(head.content, request.split.tail, request.split.decoder, contract(record))
    record = {**record, "bundle_id": identity}
    with replacing(directory) as scratch:
        _write_edge(scratch, head)
        if micro is not None:
            write_micro(scratch, micro, record)
            record["microcontroller"] = micro.record()
        if fallback is not None:
            (scratch / LOCAL_FILE).write_bytes(fallback.content)
        _write_serving(scratch, request, head, record)
        (scratch / COMPOSE_FILE).write_text(compose_yaml())
        names = [file.relative_to(scratch).as_posix() for file in scratch.rglob("*") if file.is_file()]
        record["files"] = {name: file_record(scratch / name) for name in sorted(names)}
        manifest = Manifest.from_dict(record)
        if fallback is not None:
            fallback_accuracy = None if measure_fallback is None else measure_fallback(manifest)
            report = json.dumps(fallback_report(fallback, fallback_accuracy), indent=2)
            (scratch / LOCAL_REPORT_FILE).write_text(f"{report}\n")
            files = {**record["files"], LOCAL_REPORT_FILE: file_record(scratch / LOCAL_REPORT_FILE)}
            record["files"] = dict(sorted(files.items()))
            manifest = Manifest.from_dict(record)
        manifest.write(scratch)
        if measure is not None:
            manifest = Manifest.from_dict({**record, **measure(scratch)})
            manifest.write(scratch)
    return manifest


def _write_edge(root: Path, head: ConvertedHead) -> None:
    (root / HEAD_FILE).parent.mkdir()
    (root / HEAD_FILE).write_bytes(head.content)
    (root / REQUIREMENTS_FILE).write_text("\n".join((_REQUIREMENTS_NOTE, *DEVICE_REQUIREMENTS, "")))
    (root / HEAD_REPORT_FILE).write_text(json.dumps(head_report(head), indent=2) + "\n")


def head_report(head: ConvertedHead) -> dict[str, Any]:
    """Return what head.tflite contains, read from the file, and its deviation from Keras."""
    contents = head.contents
    return {
        "precision": head.precision,
        "operators": dict(contents.counts),
        "float_operators": dict(contents.float_counts),
        "weights": len(contents.weights),
        "float_weights": [list(tensor.shape) for tensor in contents.float_weights],
        "relative_error": head.relative_error,
        "checked_images": head.checked_images,
        "gpu_delegate": gpu_report(contents).to_json(),
    }


def _write_serving(root: Path, request: ExportRequest, head: ConvertedHead, record: Mapping[str, Any]) -> None:
    name, version, tag = record["model_name"], record["version"], wire.tag_of(record["bundle_id"])
    model = root / "serving" / name / str(version)
    model.mkdir(parents=True)
    bits, code = record.get("latent_bits"), request.code
    most = record.get("max_payload_bytes")
    latent = saved_model.LatentFormat(head.dtype, head.latent_shape, head.scale, head.zero_point, bits, code, most)
    split = request.split
    saved_model.write(model, split.tail, split.decoder, latent=latent, output=request.output, tag=tag, read=split.read)
    if code is None:
        payload = wire.pack(tag, np.zeros(head.latent_shape, head.dtype), bits)
    else:
        payload = wire.pack_coded(tag, np.broadcast_to(code.centres, code.shape), code, most)
    write_warmup(
        model,
        payload,
        batches=warmup_batches(len(payload), MAX_BATCH),
        model_name=name,
        version=version,
    )
    (root / "serving" / MODELS_CONFIG).write_text(models_config(name, version))
    (root / "serving" / BATCHING_CONFIG).write_text(batching_config(MAX_BATCH))
