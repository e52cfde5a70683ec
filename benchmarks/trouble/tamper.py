"""Tests with bundles whose manifest or files were changed after the export."""

import json
import random
import shutil
import time
from pathlib import Path

from isplit_edge import BundleError, Client
from isplit_edge.manifest import Manifest

from .place import Place, Row


def tampered(place: Place, directory: Path, count: int, seed: int = 0) -> Row:
    """Change manifests and files; every way to open the bundle must refuse them."""
    from isplit_tf import Bundle

    row = Row("bundles that were tampered with", count)
    rng, begin = random.Random(seed), time.monotonic()
    whole = Manifest.load(place.bundle).to_dict()
    names = sorted(whole["files"])
    for k in range(count):
        copy = shutil.copytree(place.bundle, directory / f"copy{k}")
        kind, edge = _tamper(copy, json.loads(json.dumps(whole)), names, rng)
        opened = [Bundle.load, lambda path: Client(path, "http://127.0.0.1:9")] if edge else [Bundle.load]
        for way in opened:
            try:
                way(copy)
                row.fail(f"{kind}: opened")
            except BundleError:
                row.outcome[kind] += 1
        shutil.rmtree(copy)
    row.seconds = time.monotonic() - begin
    return row


def _tamper(copy: Path, record: dict, names: list[str], rng: random.Random) -> tuple[str, bool]:
    """Change a copy; return the kind of change, and whether a device can detect it."""
    name = rng.choice(names)
    way = rng.randrange(8)
    edge = name.startswith("edge/")
    if way == 0:
        content = bytearray((copy / name).read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (copy / name).write_bytes(bytes(content))
        return "a bit of a file", edge
    if way == 1:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: rng.randrange(len(content))])
        return "a file cut off", edge
    if way == 2:
        (copy / name).unlink()
        return "a file missing", edge
    if way == 3:
        digest = record["files"][name]["sha256"]
        record["files"][name]["sha256"] = digest[::-1] if digest != digest[::-1] else "0" * 64
        kind = "hash"
    elif way == 4:
        record["files"][name]["size_bytes"] += rng.choice([-1, 1, 2**40])
        kind = "size"
    elif way == 5:
        path = rng.choice(["../../etc/passwd", "/etc/passwd", "edge/../../x", "C:\\x", "edge//x", "", "edge/\0"])
        record["files"][path], kind, edge = record["files"][name], "path out of the bundle", True
    elif way == 6:
        key = rng.choice(["format_version", "wire_version"])
        record[key], kind, edge = rng.choice([0, 2, 99, "1", None, -1, 1.5]), "unknown format", True
    else:
        kind, edge = _contradict(record, rng), True
    (copy / "manifest.json").write_text(json.dumps(record))
    return kind, edge


def _contradict(record: dict, rng: random.Random) -> str:
    key, value = rng.choice(
        [
            ("bundle_id", "x" * 64),
            ("payload_bytes", record["payload_bytes"] + 1),
            ("payload_bytes", -1),
            ("n_classes", 1),
            ("dtype", "float64"),
            ("scale", None),
            ("scale", -1.0),
            ("zero_point", 1000),
            ("model_name", "../x"),
            ("version", 0),
            ("shapes", {}),
            ("byte_order", "big"),
            ("surprise", 1),
        ]
    )
    record[key] = value
    return "a value that cannot be"
