"""The command line: the story step by step in files, and what it says when it cannot."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from isplit_tf.cli.main import parse
from isplit_tf.importance.curve import Curve
from support.shell import isplit


def test_every_step_reads_and_writes_files(place, capsys):
    """cuts, importance, propose, split, train, evaluate, export, predict, one after the other, JSON on stdout."""
    model, data = place / "tiny.keras", place / "images.npz"
    assert isplit("cuts", model, "-o", place / "cuts.json", "--json") == 0
    assert [cut["name"] for cut in json.loads(capsys.readouterr().out)][:2] == ["rescaling", "conv1"]
    assert json.loads((place / "cuts.json").read_text())["format_version"] == 1

    steps = ["importance", model, "--data", data, "-o", place / "curve.npz", "--plot", place / "curve.svg", "--json"]
    assert isplit(*steps) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["n_images"] == 120
    assert [cut["name"] for cut in measured["cuts"]] == ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3"]
    assert (place / "curve.svg").read_text().startswith("<?xml")
    curve = Curve.load(place / "curve.npz")

    assert isplit("propose", place / "curve.npz", "-o", place / "candidates.json", "--json") == 0
    candidates = json.loads(capsys.readouterr().out)
    assert candidates[0]["cut"]["name"] == curve.best.name

    split = ["split", model, "--candidates", place / "candidates.json", "--latent-bits", 4, "-o", place / "split"]
    assert isplit(*split) == 0
    assert curve.best.name in capsys.readouterr().out
    train = ["train", place / "split", "--data", data, "-o", place / "trained", "--seed", 1]
    more = ["--loss", "distill", "--tensorboard-dir", place / "logs"]
    assert isplit(*train, "--bottleneck-epochs", 1, "--fine-tune-epochs", 1, *more) == 0
    assert list((place / "logs" / "train").iterdir())
    assert (place / "trained" / "history.json").is_file()

    assert isplit("evaluate", place / "trained", "--data", data, "-o", place / "float.json", "--json") == 0
    capsys.readouterr()
    export = ["export", place / "trained", "--representative-data", data, "--evaluation-data", data]
    assert isplit(*export, "--original", model, "-o", place / "bundle", "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["accuracy"]["images"] == 120
    assert manifest["latent_bits"] == 4
    assert isplit("evaluate", place / "bundle", "--data", data, "-o", place / "report.json", "--json") == 0
    assert json.loads((place / "report.json").read_text())["kind"] == "evaluation"

    np.save(place / "frames.npy", np.load(data)["x"][:3])
    (place / "torn.npy").touch()
    assert isplit("predict", place / "bundle", place / "torn.npy") == 2
    assert "torn.npy' cannot be read as an array" in capsys.readouterr().err
    assert isplit("predict", place / "bundle", place / "frames.npy", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_cuts_are_printed_and_written_only_on_request(place, tmp_path, monkeypatch, capsys):
    """Without -o nothing is written, with or without --json."""
    monkeypatch.chdir(tmp_path)
    assert isplit("cuts", place / "tiny.keras") == 0
    assert "conv1" in capsys.readouterr().out
    assert isplit("cuts", place / "tiny.keras", "--json", "--max-tensors", 2) == 0
    assert json.loads(capsys.readouterr().out)[0]["index"] == 0
    assert list(tmp_path.iterdir()) == []


def test_importance_by_another_method_in_lower_precision_until_settled(place, tmp_path, capsys):
    """What the options asked for stands in the result."""
    ask = ["importance", place / "tiny.keras", "--data", place / "images.npz", "-o", tmp_path / "curve.npz", "--json"]
    assert isplit(*ask, "--method", "hires_cam", "--precision", "bfloat16", "--confidence", 0.5) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["precision"]) == ("hires_cam", "bfloat16")
    assert found["settled"] == (found["confidence"] >= 0.5)


def test_accuracy_is_predicted_ranked_by_and_split_at_without_training(place, tmp_path, capsys):
    """accuracy, propose --rank accuracy, split --bottleneck projection, train without epochs: all by files."""
    model, data = place / "tiny.keras", place / "images.npz"
    ask = ["accuracy", model, "--data", data, "--fit-data", data, "--payload-bytes", 40, "--fit-images", 50, "--json"]
    assert isplit(*ask, "-o", tmp_path / "accuracy.npz", "--plot", tmp_path / "accuracy.svg") == 0
    predicted = json.loads(capsys.readouterr().out)
    assert [cut["name"] for cut in predicted["cuts"]] == ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3"]
    assert (tmp_path / "accuracy.svg").read_text().startswith("<?xml")

    assert isplit("importance", model, "--data", data, "-o", tmp_path / "curve.npz", "--max-images", 20) == 0
    capsys.readouterr()
    rank = ["propose", tmp_path / "curve.npz", "--accuracy", tmp_path / "accuracy.npz", "--rank", "accuracy"]
    assert isplit(*rank, "--max-payload-bytes", 60, "-o", tmp_path / "candidates.json", "--json") == 0
    candidates = json.loads(capsys.readouterr().out)
    assert candidates[0]["predicted_accuracy"] == max(c["predicted_accuracy"] for c in candidates)
    assert all(c["payload_bytes"] <= 60 for c in candidates)

    halves = ["split", model, "--candidates", tmp_path / "candidates.json", "--bottleneck", "projection"]
    assert isplit(*halves, "--latent-size", 28, "-o", tmp_path / "split") == 0
    assert "Projection(" in capsys.readouterr().out
    train = ["train", tmp_path / "split", "--data", data, "--fine-tune-epochs", 0, "-o", tmp_path / "fitted"]
    assert isplit(*train, "--json") == 0
    assert [epoch["phase"] for epoch in json.loads(capsys.readouterr().out)["epochs"]] == ["fit"]
    assert isplit(*halves, "--filters", 8, "-o", tmp_path / "other") == 2
    assert "A projection has no hidden layer" in capsys.readouterr().err


def test_accuracy_at_several_rates(place, tmp_path, capsys):
    """Rates with commas give a map, of which propose takes one rate; one that it has not is named."""
    model, data = place / "tiny.keras", place / "images.npz"
    ask = ["accuracy", model, "--data", data, "--payload-bytes", "24,40", "--max-loss", 0.5, "--json"]
    assert isplit(*ask, "-o", tmp_path / "map.npz", "--plot", tmp_path / "map.svg") == 0
    rows = json.loads(capsys.readouterr().out)["cuts"]
    assert len(rows) == 12
    assert {row["payload_bytes"] for row in rows} == {24, 40}
    assert all((row["accuracy"] is None) == (row["n_images"] < 120) for row in rows)
    assert isplit(*ask, "--no-race", "--coding", "none", "-o", tmp_path / "all.npz") == 0
    rows = json.loads(capsys.readouterr().out)["cuts"]
    assert all(row["mean_bytes"] == row["most_bytes"] for row in rows)

    assert isplit("importance", model, "--data", data, "-o", tmp_path / "curve.npz", "--max-images", 20) == 0
    rank = ["propose", tmp_path / "curve.npz", "--accuracy", tmp_path / "map.npz", "--rank", "accuracy"]
    assert isplit(*rank, "--payload-bytes", 40, "-o", tmp_path / "candidates.json") == 0
    capsys.readouterr()
    assert isplit(*rank, "--payload-bytes", 41, "-o", tmp_path / "other.json") == 2
    assert "the map was made for [24, 40]" in capsys.readouterr().err


def test_an_output_that_exists_is_kept(place, capsys):
    """Without --overwrite nothing is done, exit status 2."""
    (place / "kept.json").write_text("mine")
    assert isplit("cuts", place / "tiny.keras", "-o", place / "kept.json") == 2
    assert "Give --overwrite" in capsys.readouterr().err
    assert (place / "kept.json").read_text() == "mine"
    assert isplit("cuts", place / "tiny.keras", "-o", place / "kept.json", "--overwrite") == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["cuts", "missing.keras"], "There is no file 'missing.keras'"),
        (["cuts", "{place}/images.npz"], "cannot be loaded as a Keras model"),
        (["importance", "{place}/tiny.keras", "--data", "nowhere"], "There is no 'nowhere'"),
        (
            ["importance", "{place}/tiny.keras", "--data", "{place}/images.npz", "--method", "lime"],
            "Possible: 'grad_cam'",
        ),
        (
            ["importance", "{place}/tiny.keras", "--data", "{place}/images.npz", "--cuts", "conv9"],
            "No cut named 'conv9'",
        ),
        (["propose", "{place}/images.npz"], "is not a curve"),
        (["split", "{place}/tiny.keras", "--cut", "out"], "It is the model's output"),
        (["split", "{place}/tiny.keras", "--cut", "99"], "0 to 7"),
        (["split", "{place}/tiny.keras", "--cut", "pool1", "--compression", "1.5"], "compression"),
        (["train", "{place}", "--data", "glyphs:train"], "holds no split"),
        (["evaluate", "{place}/tiny.keras", "--data", "glyphs:test", "--url", "http://localhost:1"], "is no bundle"),
        (["predict", "{place}", "photo.png"], "manifest.json"),
        (["cuts", "{place}/tiny.keras", "-o", "{place}/no/where.json"], "is no folder"),
        (["cuts", "{place}/tiny.keras", "-o", "{place}", "--overwrite"], "is a folder. Name a file"),
        (["split", "{place}/tiny.keras", "--cut", "pool1", "-o", "{place}/tiny.keras", "--overwrite"], "is a file"),
        (["split", "{place}/tiny.keras", "--cut", "pool1", "-o", "{place}", "--overwrite"], "holds no split"),
        (["export", "{place}", "-o", "{place}", "--overwrite"], "holds no bundle"),
        (["split", "{place}/tiny.keras", "--cut", "pool1", "-o", ".", "--overwrite"], "is the current folder"),
        (
            ["importance", "{place}/tiny.keras", "--data", "{place}/images.npz", "--plot", "curve.bmp"],
            "written as .png, .svg or .pdf",
        ),
        (
            ["importance", "{place}/tiny.keras", "--data", "{place}/images.npz", "--plot", "no/curve.png"],
            "'no' is no folder",
        ),
        (
            ["split", "{place}/tiny.keras", "--cut", "pool1", "--no-bottleneck", "--payload-bytes", "64"],
            "--payload-bytes: of a bottleneck, and --no-bottleneck asks for none",
        ),
    ],
)
def test_a_bad_request_is_named_and_writes_nothing(place, tmp_path, monkeypatch, capsys, argv, text):
    """Exit status 2, the reason on standard error, nothing on standard output, no file."""
    monkeypatch.chdir(tmp_path)
    assert isplit(*(part.replace("{place}", str(place)) for part in argv)) == 2
    out, err = capsys.readouterr()
    assert text in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_help_has_an_example_for_each_command(capsys):
    """--help of every command shows how it is called."""
    commands = "demo cuts importance accuracy propose split train evaluate export publish serve predict doctor".split()
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            parse([command, "--help"])
        assert stop.value.code == 0
        assert f"example:\n  isplit {command}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        parse(["nonsense"])
    assert stop.value.code == 2


def test_a_command_line_is_read_without_heavy_packages():
    """Neither TensorFlow nor Keras nor NumPy is imported for the options, so that --help is fast."""
    heavy = "{'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    code = f"import sys; from isplit_tf.cli.main import parse; parse(['doctor']); print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_standard_output_is_the_result_alone():
    """In a process of its own, `doctor --json` prints JSON and nothing of TensorFlow's, on either stream."""
    done = subprocess.run([sys.executable, "-m", "isplit_tf", "doctor", "--json"], capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["keras_backend"] == "tensorflow"
    assert done.stderr == ""


def test_a_reader_that_has_enough_is_no_error():
    """Standard output closed at its other end, as by `head`: nothing on standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "isplit_tf", "doctor"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.returncode == 0
    assert done.stderr == b""


def test_another_backend_is_named():
    """Keras on another backend is an error that says what to set."""
    code = "import isplit_tf.cli.main as c; c.main(['cuts', 'x.keras'])"
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.environ['KERAS_BACKEND'] = 'numpy'; {code}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "TensorFlow backend" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="folders are write-protected by their mode")
def test_a_place_that_may_not_be_written_is_named_before_any_work(place, tmp_path):
    """One line, exit status 2; the superuser is tried without the right to write everywhere."""
    tmp_path.chmod(0o500)
    plainly = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if plainly and shutil.which("setpriv") is None:
        pytest.skip("the superuser may write everywhere, and setpriv is not here")
    ask = ["cuts", place / "tiny.keras", "-o", tmp_path / "cuts.json"]
    done = subprocess.run([*plainly, sys.executable, "-m", "isplit_tf", *map(str, ask)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "permission denied. Give another place with -o" in done.stderr
    assert done.stdout == ""
