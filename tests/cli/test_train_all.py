"""`isplit train --all-candidates`: every candidate is trained once, with the bottleneck that is asked for."""

import json

import keras
import pytest

from isplit_tf.splitting import SplitModel
from support.shell import isplit


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
    again, first = (sorted(rows, key=lambda row: row["cut"]) for rows in (json.loads(capsys.readouterr().out), first))
    # A second training rounds differently where threads add up in another order: an image may change its class.
    measured = {"seconds": 0, "accuracy": 0}
    assert [row | measured for row in again] == [row | measured for row in first]
    for row, before in zip(again, first, strict=True):
        assert row["accuracy"] == pytest.approx(before["accuracy"], abs=0.05)


def test_all_candidates_get_the_bottleneck_that_is_asked_for(place, few_candidates, capsys):
    """A projection of so many bytes at each of them; one that was trained otherwise is trained again."""
    (model, candidates), data, output = few_candidates, place / "images.npz", place / "projected"
    words = ["train", candidates, "--all-candidates", "--model", model, "--data", data, "--validation-data", data]
    words += ["--bottleneck", "projection", "--fine-tune-epochs", "1", "--keep-best", "-o", output, "--json"]
    words += ["--coding", "none"]
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
