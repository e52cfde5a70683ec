"""The profile of a microcontroller: from cycles that are given or estimated, and never passed off as measured."""

import importlib.util

import pytest

from isplit_edge.device_profile import DeviceProfile
from isplit_tf import estimate_device
from isplit_tf.errors import ArgumentError
from support.kits import kit_of

__all__ = ["kit_of"]


@pytest.mark.parametrize("kind", ["colour", "grey", "series"])
def test_cycles_for_a_multiply_accumulate(kit_of, tmp_path, kind):
    """Seconds are MACs times cycles over the clock, encoder included; the file says that nothing was measured."""
    kit = kit_of(kind)
    profile = estimate_device(kit.directory, clock_hz=1e6, cycles_per_mac=2.0)
    assert [cut.head.median_s for cut in profile.cuts] == [2e-6 * (c.head_macs + c.encoder_macs) for c in kit.cuts]
    assert profile.whole.run.p95_s == 2e-6 * kit.whole.macs
    assert all(cut.head.n == 0 and cut.preprocess.median_s == cut.coding.median_s == 0 for cut in profile.cuts)
    assert (profile.source, profile.complete, profile.link) == ("estimate", True, None)
    assert "nothing was measured" in profile.note
    profile.save(tmp_path / "device.json")
    assert DeviceProfile.load(tmp_path / "device.json") == profile


def test_cycles_that_were_counted(kit_of):
    """By index, by name and for the whole model; what has no cycles is named as missing."""
    kit = kit_of("colour")
    first, second = kit.cuts[:2]
    profile = estimate_device(kit, clock_hz=2e6, cycles={first.index: 500, second.name: 3000, "whole": 8000})
    assert [cut.head.median_s for cut in profile.cuts[:2]] == [500 / 2e6, 3000 / 2e6]
    assert profile.whole.run.median_s == 8000 / 2e6
    profile = estimate_device(kit, clock_hz=2e6, cycles={second.index: 3000})
    assert [cut.name for cut in profile.cuts] == [second.name]
    assert not profile.complete
    assert f"head {first.index} '{first.name}': no cycles are given" in profile.missing
    assert "the whole model: no cycles are given" in profile.missing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Expected one of ethos_u, cycles_per_mac and cycles. Received: none"),
        ({"cycles": {0: 1}, "cycles_per_mac": 1, "clock_hz": 1}, "Received: cycles_per_mac, cycles"),
        ({"cycles_per_mac": 1}, "clock_hz belongs to cycles"),
        ({"ethos_u": "ethos-u55-128", "clock_hz": 1}, "clock_hz belongs to cycles"),
        ({"ethos_u": "ethos-u1"}, "accelerator must be one of"),
        ({"cycles_per_mac": 0, "clock_hz": 1}, "cycles_per_mac must be a number above 0"),
        ({"cycles_per_mac": 1, "clock_hz": float("nan")}, "clock_hz must be a number above 0"),
        ({"cycles": {"none": 1}, "clock_hz": 1}, "the kit has no head at 'none'. Possible: "),
    ],
)
def test_what_is_not_possible_is_refused(kit_of, options, message):
    """No way or several, a clock without cycles, numbers that are none, and cuts that the kit has not."""
    with pytest.raises(ArgumentError, match=message):
        estimate_device(kit_of("colour"), **options)


@pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="ethos-u-vela is not installed")
def test_an_estimate_of_the_compiler(kit_of):
    """Each head and the whole model have the compiler's seconds and memory, and the note names the NPU."""
    profile = estimate_device(kit_of("colour"), ethos_u="ethos-u55-64")
    assert all(cut.head.median_s > 0 and cut.ram_bytes > 0 for cut in profile.cuts)
    assert profile.whole.run.median_s > 0
    assert "estimate for ethos-u55-64" in profile.note
