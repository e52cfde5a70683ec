"""Estimates for Ethos-U."""

import sys

import pytest

from isplit_tf.errors import ArgumentError, ExportError, MissingDependencyError
from isplit_tf.export.micro.ethos_u import estimate_ethos_u


def test_an_estimate(micro_bundle):
    """An int8 head runs on the NPU as a whole, and a larger one has fewer cycles to go."""
    pytest.importorskip("ethosu", reason="ethos-u-vela is not installed: pip install 'isplit-tf[ethos-u]'")
    head = (micro_bundle.directory / "edge" / "head.tflite").read_bytes()
    small, large = (estimate_ethos_u(head, name) for name in ("ethos-u55-32", "ethos-u55-256"))
    assert (small.accelerator, large.accelerator) == ("ethos-u55-32", "ethos-u55-256")
    assert small.npu_operators > 0
    assert (small.cpu_operators, large.cpu_operators) == (0, 0)
    assert small.cycles > large.cycles > 0
    assert small.inference_s == pytest.approx(small.cycles / small.clock_hz)
    weights = micro_bundle.manifest.head["params"] + micro_bundle.manifest.encoder["params"]
    assert min(small.sram_bytes, small.flash_bytes) > 0.3 * weights
    assert small.to_json()["memory_mode"]


def test_an_unknown_npu(micro_bundle):
    """The accelerators that there are, are named."""
    with pytest.raises(ArgumentError, match="one of ethos-u55-32, .*ethos-u85-2048. Received: 'ethos-u77'"):
        estimate_ethos_u(b"", "ethos-u77")


def test_no_head(tmp_path):
    """What the compiler says about a file that is no head is in the error."""
    pytest.importorskip("ethosu", reason="ethos-u-vela is not installed: pip install 'isplit-tf[ethos-u]'")
    with pytest.raises(ExportError, match="ethos-u-vela refuses the head: "):
        estimate_ethos_u(b"no flatbuffer" * 10)


def test_without_the_package_its_line_is_named(monkeypatch):
    """Where ethos-u-vela is not installed, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "ethosu", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'isplit-tf\[ethos-u\]'"):
        estimate_ethos_u(b"")
