"""Records: what was changed since it was written is told when it is read, not where it is used."""

import json
import os
import random

import numpy as np
import pytest

from isplit_edge.errors import StorageError
from isplit_edge.files import open_atomic, write_atomic, writing
from isplit_tf.errors import BundleError
from isplit_tf.graph.cuts import Cut
from isplit_tf.importance.curve import Curve
from isplit_tf.importance.statistics import ClassStatistics
from isplit_tf.selection.accuracy_curve import AccuracyCurve
from isplit_tf.storage.directories import replacing
from isplit_tf.storage.records import read_json

CUTS = [Cut(f"conv{k}", k, "Conv2D", (4, 4, 2), 32, 128, 10, 10, 100, 100) for k in range(3)]


def make_curve() -> Curve:
    """Three cuts, two classes."""
    statistics = ClassStatistics.of(np.array([0, 1, 1]), np.arange(9.0).reshape(3, 3), 2)
    return Curve(CUTS, statistics, ["ant", "bee"], "grad_cam", "mean", "label", "net", (8, 8, 3))


def make_accuracy() -> AccuracyCurve:
    """Three cuts, five images."""
    one = np.zeros(5, np.int64)
    few = np.ones(3, np.int64)
    return AccuracyCurve(CUTS, one, np.zeros((5, 3), np.int64), one, few, few, few, np.ones(3), None, "net", {})


KINDS = {"curve": (make_curve, Curve.load), "accuracy": (make_accuracy, AccuracyCurve.load)}


def use(found) -> None:
    """All that is made of a curve without a model."""
    found.table()
    repr(found)


def parts_of(path) -> dict:
    """The arrays of a file."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_told(kind, tmp_path):
    """Bytes changed and cut off: a curve that can be used, or a BundleError."""
    make, load = KINDS[kind]
    make().save(tmp_path / "a.npz")
    whole, rng, told = (tmp_path / "a.npz").read_bytes(), random.Random(0), 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        (tmp_path / "b.npz").write_bytes(content[: rng.choice([None, None, rng.randrange(len(content))])])
        try:
            use(load(tmp_path / "b.npz"))
        except BundleError:
            told += 1
    assert told > 100


def changed_arrays(parts: dict) -> list[dict]:
    """The same file with another array in the place of each."""
    changed = []
    for name, array in parts.items():
        if name == "record":
            continue
        for other in (array[:0], array[..., :1], array[..., None], array.astype("S5"), np.array(3), None):
            if other is not None and other.shape == array.shape and other.dtype == array.dtype:
                continue
            changed.append({k: v for k, v in {**parts, name: other}.items() if v is not None})
        if array.dtype.kind == "f" and name != "relative_errors":
            changed.append({**parts, name: np.full_like(array, np.nan)})
    return changed


def changed_records(record: dict) -> list[dict]:
    """The same record with another value in the place of each, of the cuts too."""
    values = [None, 3, "x", [], {}, [1], -1, True, [["x"]], 1e9]
    changed = [record | {name: value} for name in record for value in values]
    first = record["cuts"][0]
    return changed + [
        record | {"cuts": [first | {name: value}, *record["cuts"][1:]]} for name in first for value in values
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_tampered_shapes_and_values_are_told(kind, tmp_path):
    """Every array and every value of the record, replaced by others: usable, or refused when it is loaded."""
    make, load = KINDS[kind]
    make().save(tmp_path / "a.npz")
    parts = parts_of(tmp_path / "a.npz")
    record, told = json.loads(parts["record"].tobytes()), 0
    texts = [json.dumps(one).encode() for one in changed_records(record)] + [b"[" * 100_000, b"{}", b"\xff", b"[1]"]
    files = changed_arrays(parts) + [{**parts, "record": np.frombuffer(text, np.uint8)} for text in texts]
    for arrays in files:
        np.savez(tmp_path / "b.npz", **arrays)
        try:
            found = load(tmp_path / "b.npz")
        except BundleError:
            told += 1
            continue
        use(found)
    assert told > len(files) / 3


@pytest.mark.parametrize("content", [b"[" * 200_000, b"{", b"\xff", b"[]", b"3"])
def test_json_that_is_no_record(content, tmp_path):
    """Also where it is nested without end, or the file is a pipe or a link to itself."""
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(BundleError):
        read_json(tmp_path / "a.json", 1, fault="it cannot be read")
    (tmp_path / "b.json").symlink_to(tmp_path / "b.json")
    os.mkfifo(tmp_path / "c.json")
    for name in ("b.json", "c.json"):
        with pytest.raises(BundleError, match="it cannot be read"):
            read_json(tmp_path / name, 1, fault="it cannot be read")


def test_what_cannot_be_written_is_told_and_kept(tmp_path, monkeypatch):
    """Errors of the system while a file or a folder is written are one error of ours, and the old content stays."""
    write_atomic(tmp_path / "a", b"old")
    with replacing(tmp_path / "d") as folder:
        (folder / "x").write_text("old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(StorageError, match="a' cannot be written, and what was there is still there: No space"):
                write_atomic(tmp_path / "a", b"new")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space") as caught, replacing(tmp_path / "d") as folder:
            (folder / "x").write_text("new")
    assert (caught.value.errno, (tmp_path / "a").read_bytes(), (tmp_path / "d/x").read_text()) == (28, b"old", "old")
    with pytest.raises(StorageError, match="another library's"), writing(tmp_path / "a", KeyError):
        raise KeyError("another library's")
    with pytest.raises(KeyError), open_atomic(tmp_path / "a"):
        raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]
