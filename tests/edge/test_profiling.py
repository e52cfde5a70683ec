"""Measuring a device with a kit: the numbers are those of the client's own way, and what fails is told."""

import dataclasses
import shutil

import numpy as np
import pytest

from isplit_edge import Head
from isplit_edge.device_profile import DeviceProfile
from isplit_edge.encoding import encoders
from isplit_edge.errors import ArgumentError, BundleError
from isplit_edge.kit import Kit
from isplit_edge.memory import ram_bytes
from isplit_edge.profiling import measure_device
from support.handmade import INPUT


@pytest.fixture
def kit(kit_folder):
    """The kit, loaded and checked."""
    return Kit.load(kit_folder)


def test_heads_whole_and_formats_are_measured(kit, tmp_path):
    """Each head has times of its parts and its bytes, the whole model and image formats theirs; the file keeps them."""
    lines = []
    profile = measure_device(kit, threads=1, seconds=0.02, memory=False, say=lines.append)
    assert profile.complete
    assert [cut.name for cut in profile.cuts] == ["conv1", "conv4"]
    payloads = Head(kit.directory / "heads/004").payloads(kit.read_images())
    assert profile.cuts[1].payload_bytes == np.mean([len(one) for one in payloads])
    assert all(cut.head.n >= 8 and cut.head.median_s > 0 and cut.request.n == cut.head.n for cut in profile.cuts)
    assert profile.whole.run.n >= 8
    assert {"RAW", "JPEG", "PNG"} <= {one.codec for one in profile.codecs}
    raw = next(one for one in profile.codecs if one.codec == "RAW")
    assert raw.mean_bytes == np.prod(INPUT)
    assert profile.threads == 1
    assert len(lines) == 4
    profile.save(tmp_path / "device.json")
    assert DeviceProfile.load(tmp_path / "device.json") == profile


def test_a_head_that_cannot_run_is_told_and_the_others_stay(kit, tmp_path):
    """A damaged model leaves the others measured, and the profile says that it is not complete."""
    shutil.copytree(kit.directory, tmp_path / "kit")
    damaged = tmp_path / "kit/heads/001/edge/head.tflite"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    with pytest.raises(BundleError, match="was changed or cut off"):
        Kit.load(tmp_path / "kit")
    broken = dataclasses.replace(kit, directory=tmp_path / "kit")
    profile = measure_device(broken, seconds=0.01, memory=False)
    assert not profile.complete
    assert [cut.name for cut in profile.cuts] == ["conv4"]
    assert profile.missing[0].startswith("head 1 conv1: ")


def test_an_interrupt_keeps_what_was_measured(kit):
    """Ctrl-C in the second pass leaves the first one's numbers."""

    def say(line):
        if line.startswith("pass 2"):
            raise KeyboardInterrupt

    profile = measure_device(kit, seconds=0.01, say=say)
    assert len(profile.cuts) == 2
    assert profile.missing == ("interrupted from the keyboard",)


def test_a_clock_that_jumps_loses_its_intervals_alone(kit):
    """A clock that is set back and forth is noticed: those runs are dropped and counted, and nothing is negative."""
    calls = 0

    def clock():
        nonlocal calls
        calls += 1
        jump = -3600.0 if calls % 97 == 0 else 7200.0 if calls % 131 == 0 else 0.0
        clock.now += 0.001 + jump
        return clock.now

    clock.now = 1e6
    profile = measure_device(kit, seconds=0.05, memory=False, clock=clock)
    assert profile.dropped >= 1
    assert all(0 < cut.head.p95_s < 1 for cut in profile.cuts)


@pytest.mark.parametrize(("option", "value"), [("threads", 0), ("threads", 1.5), ("seconds", 0), ("seconds", -1)])
def test_impossible_options_are_refused(kit, option, value):
    """Threads and seconds that cannot be."""
    with pytest.raises(ArgumentError, match=option):
        measure_device(kit, **{option: value})


def test_the_memory_of_a_model_is_that_of_a_process_of_its_own(kit):
    """The growth of a fresh process, for a head and for the whole model; None where a model cannot run."""
    for folder in ("heads/004", "whole/whole.tflite"):
        found = ram_bytes(kit.directory, folder, 1)
        assert found is None or 0 <= found < 1 << 30
    assert ram_bytes(kit.directory, "heads/999") is None


def test_only_pictures_have_formats():
    """Numbers of another shape or type are no pictures: nothing is encoded."""
    assert encoders(np.zeros((2, 8, 8, 3), np.float32)) == []
    assert encoders(np.zeros((2, 8, 8), np.uint8)) == []
    grey = np.zeros((2, 8, 8, 1), np.uint8)
    assert all(isinstance(one.encode(grey[0]), bytes) for one in encoders(grey))


def test_what_is_no_kit_is_told(tmp_path, kit):
    """A folder without kit.json, a bundle, and images of another shape."""
    with pytest.raises(BundleError, match="is not a kit: it has no kit.json"):
        Kit.load(tmp_path)
    with pytest.raises(BundleError, match="is not a kit"):
        Kit.load(kit.directory / "heads/001")
    with pytest.raises(BundleError, match="Expected .N, "):
        dataclasses.replace(kit, input_shape=(1, 2, 3)).read_images()
