"""The demo, whole: it leaves what it promises, keeps the accuracy, and replaces nothing unasked."""

import json
import subprocess
import sys

import pytest

from isplit_tf import AccuracyCurve, Bundle, Candidates, Curve, SplitModel
from isplit_tf.demo.run import PAYLOAD_BYTES, run_demo
from isplit_tf.errors import ExistsError


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """`isplit demo --json`, as a process of its own."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "isplit_tf", "demo", "--json", "--output", str(folder / "demo")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "demo", json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_the_exported_pair_keeps_the_accuracy(demo):
    """Through .tflite, wire and SavedModel within a point of the float split; the split within one of the original."""
    _, report, _ = demo
    accuracy = {name: values[0] for name, values in report["accuracy"].items()}
    assert accuracy["original"] > 0.97
    assert abs(accuracy["exported"] - accuracy["split"]) <= 0.01
    assert accuracy["split"] >= accuracy["original"] - 0.01
    assert "control" not in accuracy


@pytest.mark.slow
def test_it_leaves_what_it_says(demo):
    """Model, curve, candidates, split, bundle, pictures, and a page that opens with the question."""
    folder, report, said = demo
    curve = Curve.load(folder / "curve.npz")
    accuracy = AccuracyCurve.load(folder / "accuracy.npz")
    chosen = Candidates.load(folder / "candidates.json")[0].cut
    assert chosen.name == report["cut"] == SplitModel.load(folder / "split").cut.name
    assert chosen.name in {cut.name for cut in accuracy.cuts} <= {cut.name for cut in curve.cuts}
    assert 0 < chosen.head_macs <= report["model_macs"] / 2
    bundle = Bundle.load(folder / "bundle")
    assert bundle.manifest.accuracy["artefacts"] == pytest.approx(report["accuracy"]["exported"][0], abs=0.02)
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "src=" not in page
    assert page.index("Should I split?") < page.index("<svg") < page.index("Where to split")
    named = [line.split("-> ")[1] for line in said.splitlines() if "-> " in line]
    assert {path.name for path in folder.iterdir()} == {name.rsplit("/")[-1] for name in named} | {"kit"}
    for name in ("importance.png", "curve.png", "bytes.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_it_says_what_each_step_took(demo):
    """The clock and the processor time of every step, in the report; nothing of TensorFlow's own on the screen."""
    _, report, said = demo
    steps = ["classifier", "importance", "prediction", "image formats", "plan", "split", "export", "serve"]
    assert list(report["seconds"]) == steps
    assert list(report["processor_seconds"]) == ["start", *steps]
    assert said.count(" s of processor time") == len(steps)
    assert "0000 00:" not in said


@pytest.mark.slow
def test_the_payload_is_the_smallest_thing_sent(demo):
    """The coded payload is below the features, the raw image and its files, and near the bytes that were asked."""
    _, report, _ = demo
    sizes = report["frame_bytes"]
    assert sizes["payload"] == pytest.approx(PAYLOAD_BYTES, rel=0.25)
    assert sizes["payload"] < min(sizes[name] for name in ("features", "raw", "png", "jpeg", "webp"))


@pytest.mark.parametrize("name", ["report.html", "mine.txt"])
def test_it_replaces_nothing_unasked(tmp_path, name):
    """A folder with anything in it is left as it is, and the way out is named."""
    (tmp_path / name).write_text("mine")
    with pytest.raises(ExistsError, match=r"exists\. Give --overwrite, or another place"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
