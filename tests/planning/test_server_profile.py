"""The record of a server's profile: what is written is read, and what is no profile is refused."""

import dataclasses
import json

import pytest

from isplit_edge.times import Times
from isplit_tf import ServerProfile
from isplit_tf.errors import ArgumentError, BundleError
from isplit_tf.planning.server_profile import DecodingTimes, TailTimes


def _times(n: int, median_s: float, p95_s: float, mean_s: float) -> Times:
    return Times(n=n, median_s=median_s, p95_s=p95_s, mean_s=mean_s)


def make_profile(**changes) -> ServerProfile:
    """A profile of two tails over REST."""
    times = {1: _times(9, 0.01, 0.012, 0.0105), 8: _times(5, 0.05, 0.06, 0.051)}
    profile = ServerProfile(
        kit_id="a" * 64,
        model_name="net",
        model_sha256="b" * 64,
        created="2026-11-27T12:00:00+00:00",
        machine={"system": "Linux", "cores": 2},
        transport="rest",
        url="http://server:8501",
        batches=(1, 8),
        tails=(
            TailTimes(index=2, name="conv", payload_bytes=1000.5, times=times),
            TailTimes(index=5, name="block/pool", payload_bytes=250.0, times=times),
        ),
        whole=times,
        encoded={},
        decoding=(
            DecodingTimes(codec="JPEG", quality=75, size=(32, 48), times=times),
            DecodingTimes(codec="PNG", quality=None, size=(32, 48), times=times),
        ),
        overhead_s=0.001,
        complete=True,
        missing=(),
    )
    return dataclasses.replace(profile, **changes)


@pytest.fixture
def written(tmp_path):
    """The JSON of a profile, to be changed, and where it goes."""
    path = tmp_path / "server.json"
    make_profile().save(path)
    return json.loads(path.read_text()), path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"transport": "in_process", "url": None, "overhead_s": 0.0},
        {"transport": "grpc", "url": "grpc://[::1]:8500", "encoded": {1: _times(5, 1.0, 2.0, 1.5)}},
        {"complete": False, "missing": ("whole model: connection refused",), "whole": {}, "tails": (), "decoding": ()},
    ],
)
def test_a_profile_is_read_as_it_was_written(tmp_path, changes):
    """Every value comes back, numbers of images as numbers; of a profile that is not complete too."""
    profile = make_profile(**changes)
    profile.save(tmp_path / "server.json")
    assert ServerProfile.load(tmp_path / "server.json") == profile
    assert ServerProfile.from_json(profile.to_json()) == profile


def test_the_file_has_the_documented_form(written):
    """Kind, version, and seconds by part and number of images, as docs/formats.md has them."""
    record, _ = written
    assert (record["format_version"], record["kind"]) == (1, "server_profile")
    assert record["tails"][1]["times"]["8"] == {"n": 5, "median_s": 0.05, "p95_s": 0.06, "mean_s": 0.051}
    assert record["whole"]["times"].keys() == {"1", "8"}
    assert record["encoded"] == {"times": {}}
    assert record["decoding"][0]["size"] == [32, 48]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format_version=2), "its format version is 2, newer than this release knows"),
        (lambda r: r.update(kind="device_profile"), "holds 'device_profile', expected a server profile"),
        (lambda r: r.pop("tails"), "server profile lacks tails"),
        (lambda r: r.update(kit_id="x"), "kit_id must be 64"),
        (lambda r: r.update(transport="http"), "transport must be one of 'in_process', 'rest', 'grpc'"),
        (lambda r: r.update(url=None), "url is the server's address"),
        (lambda r: r.update(created="yesterday"), "created must be a date and time"),
        (lambda r: r.update(batches=[8, 1]), "batches must be different and ascend"),
        (lambda r: r.update(batches=[0, 1]), r"batches\[0\] must be a whole number from 1 on"),
        (lambda r: r.update(missing=["whole"]), "complete says that nothing is missing. Received: whole"),
        (lambda r: r.update(overhead_s=-1), "overhead_s must be a number from 0"),
        (lambda r: r["tails"][0].update(index=5), "tails holds a cut twice"),
        (lambda r: r["tails"][0]["times"]["1"].update(median_s=-0.1), "times.1.median_s must be a number from 0"),
        (lambda r: r["tails"][0]["times"]["1"].update(n=-1), "times.1.n must be a whole number from 0"),
        (lambda r: r["whole"].update(times={"01": r["whole"]["times"]["1"]}), "keys are numbers of images"),
        (lambda r: r["whole"].update(times={"0": r["whole"]["times"]["1"]}), "keys are numbers of images"),
        (lambda r: r["decoding"][0].update(quality=101), "quality must be a whole number from 0 to 100"),
    ],
)
def test_what_is_no_profile_is_refused(written, change, message):
    """Newer, foreign and damaged files are told apart, with the value that is wrong."""
    record, path = written
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(BundleError, match=message):
        ServerProfile.load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"kind": "server_profile"}'])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    """Nothing that is cut off or no JSON is read, and the error names the file."""
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"x\.json"):
        ServerProfile.load(tmp_path / "x.json")
    with pytest.raises(BundleError, match="No such file"):
        ServerProfile.load(tmp_path / "none.json")


def test_a_tail_is_found_by_its_cut():
    """By index, by name, and by anything with an index; another cut is refused with those that there are."""
    profile = make_profile()
    assert profile.tail(5) is profile.tail("block/pool") is profile.tail(profile.tails[1])
    with pytest.raises(ArgumentError, match=r"No tail of the cut 3 .* Measured: 2 \('conv'\), 5 \('block/pool'\)"):
        profile.tail(3)


def test_a_profile_prints_as_a_table():
    """A row for each part, a column for each number of images, and what is missing."""
    text = repr(make_profile(complete=False, missing=("encoded: refused",)))
    assert "over rest at http://server:8501" in text
    assert "conv                  10.0000  50.0000" in text
    assert "decoding JPEG 75" in text
    assert "missing: encoded: refused" in text
