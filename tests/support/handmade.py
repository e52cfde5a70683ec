"""Bundles made by hand: a head, and a manifest that fits it."""

import hashlib
from pathlib import Path

from isplit_edge.local import LOCAL_FILE
from isplit_edge.manifest import HEAD_FILE, Manifest, bundle_id, contract

INPUT, LATENT, N_CLASSES = (8, 6, 3), (4, 3, 2), 3


def record_of(head: bytes, /, **changes) -> dict:
    """A whole manifest's record for a head of the shapes above, float32 unless `changes` say otherwise."""
    record = {
        "format_version": 1,
        "model_name": "tail",
        "version": 1,
        "wire_version": 1,
        "precision": "float32",
        "cut": {"name": "conv", "index": 0, "layer_type": "Conv2D", "shape": list(LATENT), "size": 24},
        "shapes": {"input": list(INPUT), "cut": list(LATENT), "latent": list(LATENT)},
        "n_classes": N_CLASSES,
        "class_names": ["ant", "bee", "cow"],
        "dtype": "float32",
        "scale": None,
        "zero_point": None,
        "byte_order": "little",
        "preprocessing": None,
        "output": {"kind": "softmax", "softmax_added": False},
        "accuracy": {"original": 0.9, "split": None, "artefacts": None, "images": None},
        "encoder": {"params": 0, "macs": 0},
        "head": {"params": 56, "macs": 648, "size_bytes": len(head)},
        "payload_bytes": 12 + 24 * 4,
        "versions": {"isplit_tf": "0.1.0"},
        "created": "2026-01-31T12:00:00+00:00",
        "files": {HEAD_FILE: {"sha256": hashlib.sha256(head).hexdigest(), "size_bytes": len(head)}},
    }
    record |= changes
    identity = bundle_id(head, weights=[], architecture={}, contract=contract(record))
    return {"bundle_id": identity} | record


def write_bundle(directory: Path, head: bytes, /, *, local: bytes | None = None, **changes) -> Path:
    """A bundle as a device has it: manifest.json, edge/head.tflite, and the whole model where it is given."""
    (directory / "edge").mkdir(parents=True)
    (directory / HEAD_FILE).write_bytes(head)
    record = record_of(head, **changes)
    if local is not None:
        (directory / LOCAL_FILE).write_bytes(local)
        record["files"][LOCAL_FILE] = {"sha256": hashlib.sha256(local).hexdigest(), "size_bytes": len(local)}
    Manifest.from_dict(record).write(directory)
    return directory
