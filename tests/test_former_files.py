"""Files that an earlier release saved, read by this one; `tests/support/former_files/make.py` made them."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_edge.manifest import contract
from isplit_tf.export.bundle import Bundle
from isplit_tf.export.fingerprint import bundle_id

FORMER = Path(__file__).parent / "support/former_files"


@pytest.fixture(scope="module", params=["0.1.0"])
def former(request, tmp_path_factory):
    """The files of a release, and what they hold by its own word."""
    folder = tmp_path_factory.mktemp("former")
    shutil.unpack_archive(FORMER / f"{request.param}.zip", folder)
    return folder, json.loads((FORMER / f"{request.param}.json").read_text())


@pytest.fixture(scope="module")
def data(former):
    """The images on which all was measured, and their labels."""
    with np.load(former[0] / "data.npz") as file:
        return file["pixels"] / np.float32(16), file["y"]


def test_a_curve(former):
    """Every value, statistic and name is as it was."""
    curve, expected = isplit.Curve.load(former[0] / "curve.npz"), former[1]["curve"]
    assert [cut.name for cut in curve.cuts] == expected["cuts"]
    assert curve.values.tolist() == expected["values"]
    assert curve.statistics.means.tolist() == expected["means"]
    assert list(curve.class_names) == expected["class_names"]
    assert (curve.method, curve.n_images) == (expected["method"], expected["n_images"])


def test_an_accuracy_curve(former):
    """Accuracies, predictions of every image, errors and sizes are as they were."""
    accuracy, expected = isplit.AccuracyCurve.load(former[0] / "accuracy.npz"), former[1]["accuracy"]
    assert [cut.name for cut in accuracy.cuts] == expected["cuts"]
    assert accuracy.accuracy.tolist() == expected["accuracy"]
    assert accuracy.predictions.ravel().tolist() == expected["predictions"]
    assert accuracy.original == expected["original"]
    assert accuracy.relative_errors.tolist() == expected["relative_errors"]
    assert accuracy.payload_bytes.tolist() == expected["payload_bytes"]


def test_candidates_and_an_evaluation(former):
    """Cuts, importance and reasons, accuracy and confusion are as they were."""
    candidates = isplit.Candidates.load(former[0] / "candidates.json")
    found = [{"cut": c.cut.name, "importance": c.importance, "reason": c.reason} for c in candidates]
    assert found == former[1]["candidates"]
    evaluation = isplit.Evaluation.load(former[0] / "evaluation.json")
    assert evaluation.accuracy == former[1]["evaluation"]["accuracy"]
    assert evaluation.confusion.tolist() == former[1]["evaluation"]["confusion"]


@pytest.mark.parametrize("name", ["split_projection", "split_autoencoder"])
def test_a_split(former, data, name):
    """A split predicts what it predicted; saved again it is the same record."""
    halves, expected = isplit.SplitModel.load(former[0] / name), former[1][name]
    assert (halves.cut.name, list(halves.latent_shape)) == (expected["cut"], expected["latent_shape"])
    since = r", (coding='none'|encoder_share=None|head_macs=None)"  # arguments of later releases, as they were
    assert re.sub(since, "", repr(halves.bottleneck)) == expected["bottleneck"]
    wanted = np.array(expected["predictions"])
    np.testing.assert_allclose(halves.predict(data[0][: len(wanted)]), wanted, rtol=1e-5, atol=1e-6)
    halves.save(former[0] / f"{name}_again", overwrite=True)
    records = [json.loads((former[0] / folder / "split.json").read_text()) for folder in (name, f"{name}_again")]
    assert records[0] == records[1]


def test_a_bundle(former, data):
    """The manifest is read whole, the device sends the same bytes, and the tail answers the same to them."""
    bundle, expected = Bundle.load(former[0] / "bundle"), former[1]["bundle"]
    assert bundle.manifest.to_dict() == json.loads((former[0] / "bundle/manifest.json").read_text())
    assert (bundle.manifest.bundle_id, bundle.manifest.scale) == (expected["bundle_id"], expected["scale"])
    payloads = bundle.payloads(data[0][: len(expected["payloads"])], preprocessed=True)
    assert [payload.hex() for payload in payloads] == expected["payloads"]
    probabilities, status = bundle.answer([bytes.fromhex(payload) for payload in expected["payloads"]])
    np.testing.assert_allclose(probabilities, expected["predictions"], rtol=1e-5, atol=1e-6)
    assert not status.any()


def test_a_bundle_still_has_the_id_of_its_split(former):
    """Head, weights, architecture and contract give the number that the former release gave them."""
    halves = isplit.SplitModel.load(former[0] / "split_autoencoder")
    record = json.loads((former[0] / "bundle/manifest.json").read_text())
    head = (former[0] / "bundle/edge/head.tflite").read_bytes()
    # Keras of another version describes the same layers with other arguments: take the description of that time.
    decoder, tail = (
        SimpleNamespace(
            name=name, weights=getattr(halves, name).weights, to_json=(former[0] / f"{name}.json").read_text
        )
        for name in ("decoder", "tail")
    )
    assert bundle_id(head, tail, decoder, contract(record)) == record["bundle_id"]


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint_distilled"])
def test_an_interrupted_training_goes_on(former, data, tmp_path, name):
    """Taken up by this release, it does the epochs that are left and ends with the weights of the former one."""
    folder, expected = former[0], former[1][name]
    net = keras.models.load_model(folder / "net.keras")
    halves = isplit.split(net, "pool", isplit.Autoencoder(**expected["bottleneck"]))
    trained = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: trained.append(epoch))
    history = isplit.train(
        halves,
        data,
        validation_data=data,
        checkpoint_dir=shutil.copytree(folder / name, tmp_path / name),
        callbacks=[count],
        progress=False,
        **expected["train"],
    )
    assert trained == list(range(2, expected["train"]["fine_tune_epochs"]))
    whole = isplit.History.load(folder / f"{name}_history.json")
    assert [(epoch.phase, epoch.number) for epoch in history.epochs] == [(e.phase, e.number) for e in whole.epochs]
    assert [dict(epoch.metrics) for epoch in whole.epochs] == expected["metrics"]
    # The former run was on another processor: what kernels round differently grows with each step of Adam.
    for epoch, former_epoch in zip(history.epochs, whole.epochs, strict=True):
        assert dict(epoch.metrics) == {
            name: pytest.approx(value, rel=1e-3, abs=0.05 if "accuracy" in name else 1e-4)
            for name, value in former_epoch.metrics.items()
        }
    assert history.kept_epoch == whole.kept_epoch == expected["kept_epoch"]
    with np.load(folder / f"{name}_weights.npz") as file:
        wanted = [file[key] for key in file.files]
    for weight, former_weight in zip(halves.model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(weight, former_weight, rtol=1e-3, atol=1e-4)
