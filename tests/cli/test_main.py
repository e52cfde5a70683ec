"""The command line: the story step by step in files, and what it says when it cannot."""

import argparse
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from isplit_edge.preprocessing import preprocess, resolve_preprocessing
from isplit_tf.cli.inputs import open_images
from isplit_tf.cli.main import parse, run
from isplit_tf.importance.curve import Curve
from isplit_tf.splitting import SplitModel


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small classifier of glyphs and an .npz of images."""
    folder = tmp_path_factory.mktemp("cli")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((28, 28, 1), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    for k in (1, 2, 3):
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"conv{k}")(x)
        x = layers.MaxPooling2D(name=f"pool{k}")(x)
    outputs = layers.Dense(10, activation="softmax", name="out")(layers.Flatten(name="flat")(x))
    keras.Model(inputs, outputs, name="tiny").save(folder / "tiny.keras")
    rng = np.random.default_rng(0)
    np.savez(folder / "images.npz", x=rng.integers(0, 256, (120, 28, 28, 1), np.uint8), y=np.arange(120) % 10)
    return folder


def isplit(*argv) -> int:
    return run(parse([str(part) for part in argv]))


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


@pytest.fixture(scope="module")
def few_candidates(place):
    """A smaller model for the same images, and the file of its two candidates: a peak, and a smaller last cut."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((28, 28, 1), name="image")
    for k, (filters, stride) in enumerate(((8, 2), (8, 2), (32, 1), (8, 2))):
        x = layers.Conv2D(filters, 3, stride, padding="same", activation="relu", name=f"conv{k + 1}")(x)
    outputs = layers.Dense(10, activation="softmax", name="out")(layers.Flatten(name="flat")(x))
    model, curve, candidates = place / "few.keras", place / "few.npz", place / "few.json"
    keras.Model(inputs, outputs, name="few").save(model)
    assert isplit("importance", model, "--data", place / "images.npz", "-o", curve) == 0
    assert isplit("propose", curve, "-o", candidates) == 0
    return model, candidates


def test_all_candidates_are_trained_and_an_early_end_goes_on(place, few_candidates, capsys):
    """Each candidate gets a folder and a row; a second call trains none again, and one that lost its row only that."""
    (model, candidates), data, output = few_candidates, place / "images.npz", place / "all"
    words = ["train", candidates, "--all-candidates", "--model", model, "--data", data, "--validation-data", data]
    words += ["--bottleneck-epochs", "1", "--fine-tune-epochs", "1", "--seed", "0", "-o", output, "--json"]
    capsys.readouterr()
    assert isplit(*words) == 0
    first = json.loads(capsys.readouterr().out)
    assert len(first) == len(json.loads(candidates.read_text())["candidates"])
    for row in first:
        assert SplitModel.load(output / row["folder"]).cut.name == row["cut"]
        assert 0 <= row["accuracy"] <= 1
    rows = (output / "results.jsonl").read_bytes()
    assert isplit(*words) == 0
    assert json.loads(capsys.readouterr().out) == first
    (output / "results.jsonl").write_bytes(rows[: rows.rindex(b"\n", 0, -1) + 9])  # killed while writing the last row
    assert isplit(*words) == 0
    again = json.loads(capsys.readouterr().out)
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in first]


def test_all_candidates_get_the_bottleneck_that_is_asked_for(place, few_candidates, capsys):
    """A projection of so many bytes at each of them; one that was trained otherwise is trained again."""
    (model, candidates), data, output = few_candidates, place / "images.npz", place / "projected"
    words = ["train", candidates, "--all-candidates", "--model", model, "--data", data, "--validation-data", data]
    words += ["--bottleneck", "projection", "--fine-tune-epochs", "1", "--keep-best", "-o", output, "--json"]
    for bound in (20, 30):
        capsys.readouterr()
        assert isplit(*words, "--payload-bytes", bound) == 0
        for row in json.loads(capsys.readouterr().out):
            halves = SplitModel.load(output / row["folder"])
            assert type(halves.bottleneck).__name__ == "Projection"
            assert halves.bottleneck.payload_bytes == bound
            assert row["latent_elements"] + 12 <= bound


def test_all_candidates_need_their_model(place, capsys):
    """The message says how to name it."""
    words = ["train", place / "none.json", "--all-candidates", "--data", place / "images.npz"]
    assert isplit(*words) == 2
    assert "Name it: --model classifier.keras" in capsys.readouterr().err


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Stripes of one pixel, of colour by class, in class folders of large pictures; and a model that tells them."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("a", "b", "c")):
        (folder / "data" / name).mkdir(parents=True)
        for k in range(16):
            picture = rng.integers(0, 256, (32, 32, 3), np.uint8)
            picture[1::2, 1::2] = 10 + 20 * label + rng.integers(0, 10)  # the pixels that "nearest" takes
            Image.fromarray(picture).save(folder / "data" / name / f"{k}.png")
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(2, 1, name="conv", kernel_initializer="ones")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 1, name="more", kernel_initializer="ones")(x))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="out")(x))
    # The pooled sum is 6 times the mean of a pixel, from 15, 35 and 55 of 255: the nearest of three lines.
    places = 6 * np.array([15, 35, 55]) / 255
    model.get_layer("out").set_weights([np.stack([500 * places, 500 * places]), -500 * places**2])
    model.save(folder / "model.keras")
    record = {"size": [16, 16], "resize": "nearest", "scale": 1 / 255}
    (folder / "form.json").write_text(json.dumps(record))
    return folder


def test_images_are_resized_as_the_preprocessing_says(stripes, tmp_path, capsys):
    """evaluate, export and predict from large pictures: what the device computes from them, not a bilinear guess."""
    form = ["--preprocessing", stripes / "form.json"]
    data = stripes / "data"
    assert isplit("evaluate", stripes / "model.keras", "--data", data, *form, "-o", tmp_path / "a.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1
    assert isplit("split", stripes / "model.keras", "--cut", "conv", "--no-bottleneck", "-o", tmp_path / "split") == 0
    export = ["export", tmp_path / "split", "--precision", "float32", "--evaluation-data", data, *form]
    capsys.readouterr()
    assert isplit(*export, "-o", tmp_path / "bundle", "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["accuracy"]["artefacts"] == manifest["accuracy"]["split"] == 1
    assert manifest["class_names"] == ["a", "b", "c"]
    assert isplit("evaluate", tmp_path / "bundle", "--data", data, "-o", tmp_path / "b.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1
    pictures = [data / name / "0.png" for name in "abc"]
    assert isplit("predict", tmp_path / "bundle", *pictures, "--json") == 0
    assert [row["class"] for row in json.loads(capsys.readouterr().out)] == ["a", "b", "c"]


@pytest.mark.parametrize("form", ["caffe", "tf", "torch"])
def test_images_are_prepared_by_the_devices_own_code(form, tmp_path):
    """To the last bit what the device makes of them, in batches whose shape stays known."""
    x = np.random.default_rng(0).integers(0, 256, (7, 6, 6, 3), np.uint8)
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(7) % 3)
    args = argparse.Namespace(preprocessing=form, batch_size=3)
    data, _ = open_images(str(tmp_path / "images.npz"), args, (6, 6, 3), split="test")
    assert data.element_spec[0].shape.as_list() == [None, 6, 6, 3]
    record = resolve_preprocessing(form, (6, 6, 3))
    found = np.concatenate([images.numpy() for images, _ in data])
    assert np.array_equal(found, np.stack([preprocess(image, record) for image in x]))


def test_classes_are_told_by_name(stripes, tmp_path, capsys):
    """A folder without the first class is counted as the bundle counts; one with another class is refused."""
    data = stripes / "data"
    assert isplit("split", stripes / "model.keras", "--cut", "conv", "--no-bottleneck", "-o", tmp_path / "split") == 0
    export = ["export", tmp_path / "split", "--precision", "float32", "--preprocessing", stripes / "form.json"]
    assert isplit(*export, "--representative-data", data, "-o", tmp_path / "bundle") == 0
    shutil.copytree(data / "b", tmp_path / "some" / "b")
    shutil.copytree(data / "c", tmp_path / "some" / "c")
    capsys.readouterr()
    ask = ["evaluate", tmp_path / "bundle", "--data", tmp_path / "some", "--json", "--overwrite"]
    assert isplit(*ask, "-o", tmp_path / "report.json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["accuracy"], report["class_names"]) == (1, ["a", "b", "c"])
    (tmp_path / "some" / "c").rename(tmp_path / "some" / "zz")
    assert isplit(*ask, "-o", tmp_path / "report.json") == 2
    assert "Unknown there: zz" in capsys.readouterr().err


def test_a_sorted_file_calibrates_from_all_classes(tmp_path, capsys):
    """600 dark images, then 600 bright ones: the int8 head covers both, and the first 90 of a curve are of both."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 20, (600, 8, 8, 1)), rng.integers(230, 256, (600, 8, 8, 1))]).astype(np.uint8)
    np.savez(tmp_path / "sorted.npz", x=x, y=np.repeat([0, 1], 600))
    inputs = keras.Input((8, 8, 1))
    pooled = keras.layers.AveragePooling2D(2, name="pool")(keras.layers.Rescaling(1 / 255)(inputs))
    hidden = keras.layers.Conv2D(2, 1, kernel_initializer="ones", name="conv")(pooled)
    out = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(inputs, out(keras.layers.GlobalAveragePooling2D()(hidden)))
    out.set_weights([np.full((2, 1), 40.0), np.array([-40.0])])
    model.save(tmp_path / "model.keras")
    data = ["--data", tmp_path / "sorted.npz"]
    assert isplit("importance", tmp_path / "model.keras", *data, "--max-images", 90, "-o", tmp_path / "c.npz") == 0
    assert min(Curve.load(tmp_path / "c.npz").counts) > 20
    assert isplit("split", tmp_path / "model.keras", "--cut", "pool", "--no-bottleneck", "-o", tmp_path / "split") == 0
    export = ["export", tmp_path / "split", "--representative-data", tmp_path / "sorted.npz", "--json"]
    capsys.readouterr()
    assert isplit(*export, "-o", tmp_path / "bundle") == 0
    assert 255 * json.loads(capsys.readouterr().out)["scale"] > 0.9


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
