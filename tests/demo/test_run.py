"""The demo, whole: it leaves what it promises and keeps the accuracy."""

import json
import subprocess
import sys

import pytest

from isplit_tf import AccuracyCurve, Bundle, Candidates, Curve, SplitModel
from isplit_tf.demo.run import PAYLOAD_BYTES


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """`isplit demo --quick --json`, as a process of its own."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "isplit_tf", "demo", "--quick", "--json", "--output", str(folder / "demo")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "demo", json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_the_exported_pair_keeps_the_accuracy(demo):
    """Through .tflite, wire and SavedModel within a point of the float split; the split within two of the control."""
    _, report, _ = demo
    accuracy = {name: values[0] for name, values in report["accuracy"].items()}
    assert accuracy["original"] > 0.9
    assert abs(accuracy["exported"] - accuracy["split"]) <= 0.01
    assert accuracy["split"] >= accuracy["control"] - 0.02


@pytest.mark.slow
def test_it_leaves_what_it_says(demo):
    """Model, curve, candidates, split, bundle, picture and a page without links to a network."""
    folder, report, said = demo
    curve = Curve.load(folder / "curve.npz")
    accuracy = AccuracyCurve.load(folder / "accuracy.npz")
    chosen = Candidates.load(folder / "candidates.json")[0].cut.name
    assert chosen == report["cut"] == SplitModel.load(folder / "split").cut.name
    assert chosen in {cut.name for cut in accuracy.cuts} <= {cut.name for cut in curve.cuts}
    bundle = Bundle.load(folder / "bundle")
    assert bundle.manifest.accuracy["images"] == report["n_test"] == 1810
    assert bundle.manifest.accuracy["artefacts"] == pytest.approx(report["accuracy"]["exported"][0], abs=1e-9)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "src=" not in page
    assert "importance" in said.lower()


@pytest.mark.slow
def test_the_payload_is_the_smallest_thing_sent(demo):
    """The coded payload is below the features, the raw image and its PNG, and near the bytes that were asked."""
    _, report, _ = demo
    sizes = report["frame_bytes"]
    assert sizes["payload"] == pytest.approx(PAYLOAD_BYTES, rel=0.25)
    assert sizes["payload"] < min(sizes["features"], sizes["raw"], sizes["png"], sizes["jpeg"])
