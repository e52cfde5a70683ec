"""What a device's profile holds, and what it refuses."""

import copy
import json
import pickle

import pytest

from isplit_edge.device_profile import DeviceProfile
from isplit_edge.errors import ArgumentError, BundleError
from isplit_edge.link_fit import LinkFit, LinkPoint
from isplit_edge.times import Times, believable, drift


def times(seconds=0.01):
    return {"n": 3, "median_s": seconds, "p95_s": 2 * seconds, "mean_s": seconds}


def record(**changes):
    head = {
        "index": 3,
        "name": "conv",
        "head_macs": 1000,
        "encoder_macs": 10,
        "preprocess": times(),
        "head": times(),
        "coding": times(),
        "request": None,
        "payload_bytes": 99.5,
        "size_bytes": 2000,
        "ram_bytes": None,
    }
    link = {
        "url": "http://127.0.0.1:8501",
        "scheme": "http",
        "points": [{"sent_bytes": 100, "received_bytes": 50, "time": times(0.02)}],
        "base_s": 0.01,
        "up_s_per_byte": 1e-6,
        "down_s_per_byte": None,
        "residual_s": 0.0,
        "p95_over_median": 1.5,
    }
    return {
        "format_version": 1,
        "kind": "device_profile",
        "kit_id": "1" * 64,
        "model_name": "net",
        "model_sha256": "2" * 64,
        "precision": "int8",
        "created": "2026-01-31T12:00:00+00:00",
        "source": "measured",
        "note": None,
        "machine": {"system": "Linux", "cores": 4},
        "threads": None,
        "whole": {"preprocess": times(), "run": times(), "size_bytes": 9000, "ram_bytes": 100},
        "cuts": [head],
        "codecs": [{"codec": "JPEG", "quality": 75, "size": [8, 8], "encode": times(), "mean_bytes": 400.0}],
        "link": link,
        "drift": 1.02,
        "complete": True,
        "missing": [],
        **changes,
    }


def written(tmp_path, **changes):
    path = tmp_path / "device.json"
    path.write_text(json.dumps(record(**changes)))
    return path


def test_a_profile_comes_back_as_it_was_saved(tmp_path):
    """Every value survives saving and loading, copying and pickling, and fields with a default may be missing."""
    profile = DeviceProfile.load(written(tmp_path))
    profile.save(tmp_path / "again.json")
    assert DeviceProfile.load(tmp_path / "again.json") == profile == pickle.loads(pickle.dumps(profile))
    assert copy.deepcopy(profile).cuts[0].head == Times(n=3, median_s=0.01, p95_s=0.02, mean_s=0.01)
    assert profile.dropped == 0
    assert profile.link.points[0].served
    assert "3 conv" in str(profile)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "server_profile"}, "holds 'server_profile', expected a device profile"),
        ({"format_version": 2}, "newer than this release knows"),
        ({"format_version": True}, "format_version must be a whole number"),
        ({"threads": 0}, "device profile.threads must be a whole number from 1 on"),
        ({"cuts": [{"index": 1}]}, r"device profile.cuts\[0\] lacks name, head_macs"),
        ({"drift": 0}, "drift must be a number above 0"),
        ({"created": "yesterday"}, "date and time in UTC"),
        ({"extra": 1}, "unknown keys: extra"),
        ({"whole": {"preprocess": times(-1), "run": times(), "size_bytes": 1, "ram_bytes": None}}, "median_s must be"),
    ],
)
def test_another_file_is_refused_with_the_key(tmp_path, changes, said):
    """A file of another kind, a newer format, or a value that cannot be is told with its place."""
    with pytest.raises(BundleError, match=said):
        DeviceProfile.load(written(tmp_path, **changes))


def test_no_file_and_no_json_are_told(tmp_path):
    """A missing file and one that is no JSON are errors of our tree."""
    with pytest.raises(BundleError, match="cannot be read as a device profile"):
        DeviceProfile.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{'a'")
    with pytest.raises(BundleError, match="no JSON"):
        DeviceProfile.load(tmp_path / "bad.json")


def test_a_profile_of_something_else_is_refused(tmp_path):
    """Another model, precision or kit, and a device with no head measured, are told apart."""
    profile = DeviceProfile.load(written(tmp_path))
    profile.require(model_sha256="2" * 64, precision="int8", kit_id="1" * 64)
    for other, said in (
        ({"model_sha256": "3" * 64}, "of another model"),
        ({"precision": "float32"}, "of another precision: precision is int8, expected float32"),
        ({"kit_id": "4" * 64}, "of another kit"),
    ):
        with pytest.raises(ArgumentError, match=said):
            profile.require(**other)
    empty = DeviceProfile.load(written(tmp_path, cuts=[], missing=["the heads: no memory"]))
    with pytest.raises(ArgumentError, match="holds no head: nothing was measured .the heads: no memory"):
        empty.require()


def test_times_are_median_and_percentile():
    """Median, 95th percentile and mean of what was measured; an estimate counts nothing."""
    found = Times.of([1.0, 2.0, 3.0, 4.0, 90.0])
    assert (found.n, found.median_s, found.mean_s) == (5, 3.0, 20.0)
    assert 4.0 < found.p95_s <= 90.0
    assert Times.estimate(0.5).n == 0
    with pytest.raises(ArgumentError, match="nothing was measured"):
        Times.of([])


def test_intervals_of_a_jumping_clock_are_left_out():
    """A negative interval, none, and one over which the machine slept are left out; a slow one stays."""
    assert believable([0.01, -3.0, 0.02, float("nan"), 4000.0, 0.9]) == [0, 2, 5]
    assert believable([5.0, 5.1, 30.0]) == [0, 1, 2]
    assert believable([float("inf"), -1.0]) == []


def test_drift_is_last_over_first():
    """A device that gets a tenth slower drifts by that; a few values tell nothing."""
    assert drift([1.0] * 10 + [1.05] * 80 + [1.1] * 10) == pytest.approx(1.1)
    assert drift([1.0, 2.0]) == 1.0


def link(points, **changes):
    fields = {"url": "u", "scheme": "http", "base_s": 0.01, "up_s_per_byte": 1e-5, "down_s_per_byte": 2e-5}
    made = [LinkPoint(sent_bytes=s, received_bytes=r, time=Times.estimate(t)) for s, r, t in points]
    return LinkFit(points=made, residual_s=0.0, p95_over_median=1.0, **(fields | changes))


def test_a_link_answers_by_its_line_and_its_points():
    """The line in the bytes of both ways, bent through what was measured; beyond it the bend stays."""
    straight = link([(0, 0, 0.01), (1000, 0, 0.02)])
    assert straight.answer_s(2000, 500) == pytest.approx(0.04)
    bent = link([(0, 0, 0.01), (1000, 0, 0.03)])  # a point 10 ms above the line
    assert bent.answer_s(500) == pytest.approx(0.02)
    assert bent.answer_s(3000) == pytest.approx(0.05)
    assert link([], down_s_per_byte=None).answer_s(0, 1000) == pytest.approx(0.02)
