"""The Android application measures a kit as isplit_edge does, and writes the same device.json."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from isplit_edge import Head
from isplit_edge.device_profile import DeviceProfile
from isplit_edge.kit import Kit
from support import jvm
from support.kits import KINDS, kit_of

__all__ = ["kit_of"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The application in a Java machine."""
    try:
        application = jvm.Application(jvm.compile_application(tmp_path_factory.mktemp("android")))
    except jvm.NoCompilerError as error:
        pytest.skip(str(error))
    yield application
    application.close()


def _measured(application: jvm.Application, kit: Kit, seconds: float = 0.02, clock: str = "steady") -> bytes:
    """Lets the application measure a kit; its models are described to it, and answer zeros."""
    lines = [str(kit.directory)]
    for path in sorted(kit.directory.rglob("*.tflite")):
        interpreter = Interpreter(model_path=str(path))
        ends = (interpreter.get_input_details()[0], interpreter.get_output_details()[0])
        lines.append("|".join([hashlib.sha256(path.read_bytes()).hexdigest(), *map(_described, ends)]))
    return application.ask(f"profile {seconds} {clock}", "\n".join(lines).encode())


def _described(detail: dict) -> str:
    dtype, (scale, zero_point) = np.dtype(detail["dtype"]), detail["quantization"]
    size = int(np.prod(detail["shape"])) * dtype.itemsize
    return " ".join(map(str, [dtype.name.upper(), size, float(scale), zero_point, *detail["shape"]]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_a_device_profile(running, kit_of, tmp_path, kind):
    """isplit_edge reads it; every head and the whole model is there, with the kit's own figures."""
    kit = kit_of(kind)
    (tmp_path / "device.json").write_bytes(_measured(running, kit))
    profile = DeviceProfile.load(tmp_path / "device.json")
    profile.require(model_sha256=kit.model_sha256, precision=kit.precision, kit_id=kit.kit_id)
    assert (profile.source, profile.complete, profile.missing) == ("measured", True, ())
    for name in ("index", "name", "head_macs", "encoder_macs", "size_bytes"):
        assert [getattr(cut, name) for cut in profile.cuts] == [getattr(cut, name) for cut in kit.cuts]
    assert profile.whole.size_bytes == kit.whole.size_bytes
    for times in (profile.whole.run, *(part for cut in profile.cuts for part in (cut.head, cut.coding, cut.request))):
        assert times.n >= 8
        assert 0 < times.median_s <= times.p95_s
    assert profile.machine["system"] == 'Java "machine"\n'
    assert profile.drift > 0
    assert {one.codec for one in profile.codecs} == (set() if kind == "series" else {"RAW", "JPEG"})
    for cut, found in zip(kit.cuts, profile.cuts, strict=True):
        form = Head(kit.directory / cut.directory).manifest.form
        latent = np.zeros(form.shape, form.dtype)
        assert found.payload_bytes == len(form.pack(latent))


def test_a_clock_that_jumps(running, kit_of):
    """Intervals that no clock can have measured are left out and counted."""
    record = json.loads(_measured(running, kit_of("colour"), 0.2, "jumps"))
    assert record["dropped"] > 0
    assert all(0 <= cut["head"]["p95_s"] < 1 for cut in record["cuts"])


def test_an_interrupt_keeps_what_was_measured(running, kit_of, tmp_path):
    """The file is whole, says that it is not complete, and what is missing."""
    (tmp_path / "device.json").write_bytes(_measured(running, kit_of("colour"), clock="interrupted"))
    profile = DeviceProfile.load(tmp_path / "device.json")
    assert not profile.complete
    assert profile.missing[-1] == "interrupted"
    assert len(profile.cuts) == 1
    assert any("not measured" in text for text in profile.missing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format_version=2), "format_version is 2, newer than this application knows"),
        (lambda r: r.update(kind="bundle"), "kind must be one of kit"),
        (lambda r: r.update(kit_id="x"), "kit_id must be"),
        (lambda r: r.pop("cuts"), "lacks cuts"),
        (lambda r: r["cuts"][0].update(directory="../other"), "leads out of the kit"),
        (lambda r: r["files"]["images.npz"].update(sha256="0" * 64), "images.npz is not the one"),
    ],
)
def test_a_kit_that_is_not_right_is_refused(running, kit_of, tmp_path, change, message):
    """A kit that is newer, is none, leads elsewhere or was changed is an error, and no profile."""
    kit = kit_of("grey")
    shutil.copytree(kit.directory, tmp_path / "kit")
    record = json.loads((tmp_path / "kit/kit.json").read_text())
    change(record)
    (tmp_path / "kit/kit.json").write_text(json.dumps(record))
    with pytest.raises(jvm.KotlinError, match=f"BundleException: .*{message}"):
        running.ask("profile 0.01 steady", str(tmp_path / "kit").encode())


def test_a_head_that_cannot_run_is_named(running, kit_of, tmp_path):
    """The others are measured, and the profile says which is missing and why."""
    kit = kit_of("grey")
    shutil.copytree(kit.directory, tmp_path / "kit")
    head = tmp_path / "kit" / kit.cuts[0].directory / "edge/head.tflite"
    head.write_bytes(head.read_bytes() + b"x")
    record = json.loads(_measured(running, Kit.load(tmp_path / "kit", check=()), 0.02))
    assert len(record["cuts"]) == len(kit.cuts) - 1
    assert not record["complete"]
    assert "is not the one that the manifest names" in record["missing"][0]
