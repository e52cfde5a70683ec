"""manifest.json: it comes back as written, and nothing wrong in it or beside it goes unnamed."""

import copy
import json
import os
import pickle
import re
import tomllib
from pathlib import Path

import pytest

import isplit_edge
from isplit_edge import ArgumentError, BundleError, Manifest, wire
from isplit_edge.files import inside, relative_path, write_atomic
from isplit_edge.manifest import DEVICE_REQUIREMENTS, contract
from support.handmade import record_of

HEAD = b"not run in these tests"
INT8 = {"dtype": "int8", "scale": 0.5, "zero_point": -3}
ROOT = Path(isplit_edge.__file__).parent


@pytest.fixture
def written(tmp_path):
    """A directory with a manifest and the file that it names, which need not be a head here."""
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge/head.tflite").write_bytes(HEAD)
    Manifest.from_dict(record_of(HEAD)).write(tmp_path)
    return tmp_path


def test_a_manifest_comes_back_as_written(written):
    """Record, file and record again are equal, and the file is JSON that people can read."""
    manifest = Manifest.load(written)
    assert manifest.to_dict() == record_of(HEAD) == json.loads((written / "manifest.json").read_text())
    assert manifest.shapes["latent"] == (4, 3, 2)
    assert manifest.tag.hex() == manifest.bundle_id[:16]


def test_a_latent_of_fewer_bits_is_a_contract_of_its_own(written):
    """A manifest whose latent travels in 4 bits comes back as written; head and tail agree upon the bits, and without
    them the identity is what it was before there was a choice."""
    packed = record_of(HEAD, **INT8, wire_version=2, latent_bits=4, payload_bytes=12 + 12)
    manifest = Manifest.from_dict(packed)
    assert manifest.to_dict() == packed
    assert (manifest.latent_bits, manifest.wire_version, manifest.payload_bytes) == (4, 2, 24)
    assert contract(packed)["latent_bits"] == 4
    plain = record_of(HEAD, **INT8, payload_bytes=12 + 24)
    assert "latent_bits" not in contract(plain) | Manifest.from_dict(plain).to_dict()
    assert plain["bundle_id"] != packed["bundle_id"]


def coded(**changes):
    """A record whose latent is coded by tables that give every symbol but the last one part of 4096."""
    code = {"tables": [list(range(17))], "runs": [0, 0], "magnitudes": [0, 0], "centres": [3, -3]}
    own = {"wire_version": 3, "code": code, "payload_bytes": 30, "max_payload_bytes": 40}
    return record_of(HEAD, **INT8, **(own | changes))


def test_a_coded_latent_is_read_back(written):
    """The code and the longest payload go through the file; other records lack both keys."""
    record = coded()
    manifest = Manifest.from_dict(record)
    assert manifest.to_dict() == record
    assert manifest.form.longest_bytes == 40
    assert manifest.form.code.centres.tolist() == [3, -3]
    assert not {"code", "max_payload_bytes"} & set(Manifest.from_dict(record_of(HEAD)).to_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wire_version": 2}, "wire_version must be 3"),
        ({"code": None}, "wire_version must be 1"),
        ({"latent_bits": 4}, "latent_bits must be None"),
        ({"max_payload_bytes": None}, "max_payload_bytes must be a whole number from 30 on"),
        ({"max_payload_bytes": 29}, "max_payload_bytes must be a whole number from 30 on"),
        ({"code": {}}, "code lacks tables"),
    ],
)
def test_a_coded_latent_that_contradicts_itself_is_refused(changes, message):
    """Version, bits, bounds and tables have to fit."""
    with pytest.raises(ArgumentError, match=message):
        Manifest.from_dict(coded(**changes))


def test_a_client_of_an_earlier_release_refuses_a_coded_latent(monkeypatch):
    """Where versions 1 and 2 of the wire are known, the bundle is refused for its version."""
    monkeypatch.setattr(wire, "CODED_WIRE_VERSION", 2)
    with pytest.raises(ArgumentError, match=r"wire_version is 3, newer than this isplit-edge knows \(2\)"):
        Manifest.from_dict(coded())


def test_a_client_of_an_earlier_release_refuses_a_latent_of_fewer_bits(written, monkeypatch):
    """Where only version 1 of the wire is known, the bundle is refused for its version, before anything is sent."""
    record = record_of(HEAD, **INT8, wire_version=2, latent_bits=4, payload_bytes=12 + 12)
    Manifest.from_dict(record).write(written)
    monkeypatch.setattr(wire, "CODED_WIRE_VERSION", 1)
    with pytest.raises(BundleError, match=r"wire_version is 2, newer than this isplit-edge knows \(1\)"):
        Manifest.load(written)


def test_a_manifest_cannot_be_changed(written):
    """Neither its fields nor the mappings and lists in them."""
    manifest = Manifest.load(written)
    with pytest.raises(AttributeError):
        manifest.version = 2
    with pytest.raises(TypeError):
        manifest.cut["name"] = "other"
    assert isinstance(manifest.cut["shape"], tuple)


def test_a_manifest_can_be_copied_and_sent_to_another_process(written):
    """Copies are equal to it."""
    manifest = Manifest.load(written, check="edge")
    assert copy.deepcopy(manifest) == pickle.loads(pickle.dumps(manifest)) == manifest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format_version is 2, newer than this isplit-edge knows .1.: update isplit-edge"),
        ({"wire_version": 9}, "wire_version is 9, newer than"),
        ({"format_version": True}, "format_version must be one of 1. Received: True"),
        ({"bundle_id": "A" * 64}, "bundle_id must be 64 lowercase hexadecimal digits"),
        ({"model_name": "a/b"}, "model_name must be letters, digits"),
        ({"model_name": ".."}, "model_name must be letters, digits"),
        ({"version": 0}, "version must be a whole number from 1"),
        ({"version": 1.0}, "version must be a whole number from 1 .* Received: 1.0"),
        ({"precision": "int4"}, "precision must be one of 'int8', .* Received: 'int4'"),
        ({"cut": {"name": "c"}}, "cut lacks index, layer_type, shape, size"),
        ({"n_classes": 4}, "class_names must be 4 .* Received: 3"),
        ({"class_names": ["a", "", "c"]}, r"class_names\[1\] must be a text that is not empty"),
        ({"dtype": "float64"}, "dtype must be one of 'float32', 'int8', 'int16'. Received: 'float64'"),
        ({"dtype": "int8", "payload_bytes": 36}, "scale must be a number, as dtype is int8. Received: None"),
        ({"scale": 0.5}, "scale must be null, as dtype is float32. Received: 0.5"),
        ({"byte_order": "big"}, "byte_order must be one of 'little'"),
        ({"payload_bytes": 96}, "payload_bytes must be 108 .header and latent.. Received: 96"),
        ({"latent_bits": 4}, "wire_version must be 2 .latent_bits is 4.. Received: 1"),
        ({"wire_version": 2}, "wire_version must be 1 .latent_bits is not given.. Received: 2"),
        ({"wire_version": 2, "latent_bits": 4}, "Levels have 2, 4, 8 bits, .* Received: 4 bits of float32"),
        ({**INT8, "wire_version": 2, "latent_bits": 3}, "latent_bits must be one of 2, 4, 8. Received: 3"),
        ({**INT8, "wire_version": 2, "latent_bits": 4, "payload_bytes": 36}, "payload_bytes must be 24"),
        ({"accuracy": {"original": 1.5, "split": None, "artefacts": None, "images": 3}}, "accuracy.original must be"),
        ({"created": "yesterday"}, "created must be a date and time in UTC"),
        ({"created": "2026-01-31T12:00:00"}, "created must be a date and time in UTC"),
        ({"preprocessing": "tf"}, "preprocessing must be an object with the keys name, size"),
        ({"surprise": 1}, "manifest has unknown keys: surprise. Format 1 has: format_version"),
        ({"files": {}}, "files lacks edge/head.tflite"),
        ({"files": {"../x": {"sha256": "0" * 64, "size_bytes": 1}}}, "'../x' is not a path inside the bundle"),
        (
            {"shapes": {"input": [8, 6, 3], "cut": [4, 3, 2], "latent": [4, 0, 2]}},
            r"shapes.latent\[1\] must be a whole number from 1 on. Received: 0",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_possible(written, change, message):
    """Each key is checked: the message holds the file, the key, what was found and what may stand there."""
    (written / "manifest.json").write_text(json.dumps(record_of(HEAD) | change))
    with pytest.raises(BundleError, match=message) as caught:
        Manifest.load(written)
    assert str(written / "manifest.json") in str(caught.value)
    with pytest.raises(ArgumentError, match=message):
        Manifest.from_dict(record_of(HEAD) | change)


def test_a_quantized_manifest_is_held_to_the_limits_of_its_dtype():
    """A zero point outside of int8 cannot be that of an int8 output."""
    change = {"dtype": "int8", "precision": "int8", "scale": 0.5, "payload_bytes": 36}
    assert Manifest.from_dict(record_of(HEAD, zero_point=-128, **change)).zero_point == -128
    with pytest.raises(ArgumentError, match=r"zero_point must be a whole number from -128 to 127. Received: 200"):
        Manifest.from_dict(record_of(HEAD, zero_point=200, **change))


@pytest.mark.parametrize("key", sorted(record_of(HEAD)))
def test_no_key_may_be_missing(key):
    """A record without one of its keys names it."""
    record = record_of(HEAD)
    del record[key]
    with pytest.raises(ArgumentError, match=rf"manifest lacks {key}\."):
        Manifest.from_dict(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", r"manifest must be an object. Received: \[\]"),
        ('{"scale": NaN}', "NaN is not a number that a manifest may hold"),
        ("[" * 100_000, "recursion"),
        (b"\xff\xfe\x00".decode("latin-1"), "manifest.json"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, text, message):
    """Whatever the file holds, the answer is a BundleError that names it."""
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=message):
        Manifest.load(tmp_path)


def test_a_directory_without_manifest_is_no_bundle(tmp_path):
    """The message says what is missing."""
    with pytest.raises(BundleError, match=r"is not a bundle: it has no manifest.json"):
        Manifest.load(tmp_path / "nowhere")


def test_a_changed_file_is_refused(written):
    """One byte changed, the size kept."""
    (written / "edge/head.tflite").write_bytes(b"N" + HEAD[1:])
    with pytest.raises(BundleError, match=r"head.tflite was changed: its SHA-256 is not that in the manifest"):
        Manifest.load(written)


def test_a_file_cut_short_is_refused(written):
    """A copy that broke off is told by its size."""
    (written / "edge/head.tflite").write_bytes(HEAD[:5])
    with pytest.raises(BundleError, match=r"changed or cut off: 5 bytes, 22 in the manifest"):
        Manifest.load(written)


def test_a_missing_file_is_refused(written):
    """The message names the file."""
    (written / "edge/head.tflite").unlink()
    with pytest.raises(BundleError, match=r"is incomplete: edge/head.tflite is missing"):
        Manifest.load(written)


def test_a_folder_in_place_of_a_file_is_refused(written):
    """What cannot be read is a broken bundle, not another kind of error."""
    (written / "edge/head.tflite").unlink()
    (written / "edge/head.tflite").mkdir()
    with pytest.raises(BundleError, match=r"head.tflite"):
        Manifest.load(written)


def test_only_the_folders_asked_for_are_checked(written):
    """A device has no serving/; a server asks for it and learns that it is missing."""
    files = record_of(HEAD)["files"] | {"serving/tail/1/saved_model.pb": {"sha256": "0" * 64, "size_bytes": 1}}
    Manifest.from_dict(record_of(HEAD, files=files)).write(written)
    assert Manifest.load(written).version == 1
    with pytest.raises(BundleError, match=r"serving/tail/1/saved_model.pb is missing"):
        Manifest.load(written, check=("edge", "serving"))


def test_a_link_out_of_the_bundle_is_refused(written, tmp_path_factory):
    """A file that is really a link to another place is not followed, even where the bytes are right."""
    outside = tmp_path_factory.mktemp("outside") / "head.tflite"
    outside.write_bytes(HEAD)
    (written / "edge/head.tflite").unlink()
    (written / "edge/head.tflite").symlink_to(outside)
    with pytest.raises(BundleError, match=r"'edge/head.tflite' leads out of the bundle"):
        Manifest.load(written)


def test_a_link_to_the_bundle_is_followed(written, tmp_path_factory):
    """The bundle as a whole may be reached by a link, as mounted volumes are."""
    link = tmp_path_factory.mktemp("link") / "bundle"
    link.symlink_to(written)
    assert Manifest.load(link).version == 1


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/../x", "/etc/passwd", "a//b", "a/", "./a", "a\\b", "C:/x", "C:x", "a\0b"]
)
def test_paths_that_could_leave_the_bundle_are_refused(name, tmp_path):
    """Absolute, upward, Windows' or merely unusual: none is taken."""
    with pytest.raises(ArgumentError, match=r"is not a path inside the bundle"):
        relative_path(name)
    with pytest.raises(ArgumentError, match=r"is not a path inside the bundle"):
        inside(tmp_path, name)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    """The old content stays whole, and nothing temporary is left."""
    write_atomic(tmp_path / "f", b"old")

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"disk full"):
        write_atomic(tmp_path / "f", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"f": b"old"}


def test_the_device_installs_what_the_small_distribution_needs():
    """A bundle's requirements are the small distribution and what it depends upon; no TensorFlow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    others = [line for line in DEVICE_REQUIREMENTS if not line.startswith("isplit-edge")]
    assert sorted(project["dependencies"]) == sorted(others)
    assert [re.split("[>=<~]", line)[0] for line in DEVICE_REQUIREMENTS] == ["ai-edge-litert", "isplit-edge", "numpy"]
    assert (ROOT / "LICENSE").read_bytes() == (ROOT.parent / "LICENSE").read_bytes()


def edited(directory, change) -> None:
    """Changes the text of a bundle's manifest."""
    path = directory / "manifest.json"
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"version": 1,', '"version": 1, "version": 2,', 1), "'version' is there twice"),
        (lambda text: text.replace('"index": 0,', '"index": 0, "index": 0,', 1), "'index' is there twice"),
        (
            lambda text: text.replace('"n_classes": 3', f'"n_classes": {10**12}'),
            "n_classes must be a whole number from",
        ),
        (lambda text: text.replace('"n_classes": 3', f'"n_classes": {"9" * 5000}'), "integer string conversion"),
        (lambda text: text + " " * (4 << 20), "more than 4194304 bytes"),
        (lambda text: text.replace('"isplit_tf": "0.1.0"', '"isplit_tf": ' + "[" * 3000), "recursion"),
    ],
)
def test_a_manifest_that_two_readers_read_in_two_ways_or_in_no_time(written, change, message):
    """A key twice, more classes, digits, bytes or levels than can be: refused by name, before it takes memory."""
    edited(written, change)
    with pytest.raises(BundleError, match=message):
        Manifest.load(written)


def test_a_manifest_of_files_without_end(written):
    """No bundle names thousands of files, each of which would be opened."""
    entry = json.dumps({"sha256": "0" * 64, "size_bytes": 1})
    more = ", ".join(f'"edge/{k}": {entry}' for k in range(1001))
    edited(written, lambda text: text.replace('"files": {', f'"files": {{{more}, ', 1))
    with pytest.raises(BundleError, match="files names 1002 files. A bundle has at most 1000"):
        Manifest.load(written)


@pytest.mark.parametrize("name", ["manifest.json", "edge/head.tflite"])
def test_files_that_are_links_to_themselves_pipes_or_folders(written, name):
    """None keeps the reader waiting, and each is a BundleError."""
    path = written / name
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(BundleError, match=path.name):
        Manifest.load(written)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BundleError, match=path.name):
        Manifest.load(written)
    path.unlink()
    path.mkdir()
    with pytest.raises(BundleError, match=path.name):
        Manifest.load(written)
