"""The bundle as a whole: what is written, what it answers, what is refused."""

import json
import os
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import isplit_tf as isplit
from isplit_edge import wire
from isplit_edge.manifest import Manifest
from isplit_tf.errors import ArgumentError, BundleError, DataError, ExistsError, ExportError, ModelError, NumericsError
from isplit_tf.export.bundle import Bundle, export_bundle
from support import tiny


def unit(images: np.ndarray) -> np.ndarray:
    """uint8 images in the model's own space."""
    return images.astype(np.float32) / 255


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row by row."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_the_files_are_those_of_the_design(shared_bundle):
    """Everything is where a device and TensorFlow Serving look for it, and the manifest names every file."""
    root = shared_bundle.directory
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == {"manifest.json", *shared_bundle.manifest.files}
    assert {
        "edge/head.tflite",
        "edge/requirements.txt",
        "serving/models.config",
        "serving/batching.config",
        "serving/tail/3/saved_model.pb",
        "serving/tail/3/assets.extra/tf_serving_warmup_requests",
        "compose.yaml",
    } <= found
    requirements = (root / "edge/requirements.txt").read_text()
    assert "ai-edge-litert" in requirements
    assert "tensorflow" not in requirements
    assert os.listdir(root.parent) == ["bundle"]


def test_the_manifest_says_what_was_exported(shared_bundle, halves):
    """Cut, shapes, costs, classes, preprocessing and output are those of the split."""
    manifest = shared_bundle.manifest
    assert manifest == Manifest.load(shared_bundle.directory)
    assert (manifest.model_name, manifest.version, manifest.precision) == ("tail", 3, "int8")
    assert manifest.cut == {
        "name": "pool",
        "index": halves.cut.index,
        "layer_type": "MaxPooling2D",
        "shape": (6, 5, 8),
        "size": 240,
    }
    assert manifest.shapes == {"input": tiny.SHAPE, "cut": (6, 5, 8), "latent": halves.latent_shape}
    assert (manifest.n_classes, manifest.class_names) == (4, tiny.CLASSES)
    assert manifest.dtype == "int8"
    assert manifest.payload_bytes == 12 + np.prod(halves.latent_shape)
    assert manifest.head["params"] == halves.head.count_params() == 8 * 3 * 9 + 8
    assert manifest.head["macs"] == 13 * 11 * 8 * 3 * 9
    assert manifest.encoder["params"] == halves.encoder.count_params()
    assert manifest.preprocessing["scale"] == 1 / 255
    assert manifest.output["kind"] == "logits"
    assert manifest.output["softmax_added"] is True
    assert manifest.versions["keras"] == keras.__version__


def test_the_accuracy_is_that_of_the_artefacts(shared_bundle, original, halves, test_data):
    """Accuracy in the manifest is what the files, the split and the original reach on the evaluation data."""
    images, labels = test_data
    accuracy = shared_bundle.manifest.accuracy
    right = [
        np.mean(outputs.argmax(axis=1) == labels)
        for outputs in (
            original(unit(images)).numpy(),
            halves.predict(unit(images)),
            shared_bundle.predict(images),
        )
    ]
    assert [accuracy[key] for key in ("original", "split", "artefacts")] == pytest.approx(right)
    assert accuracy["images"] == len(labels)
    assert min(right) > 0.5


def test_it_answers_as_the_split_does(shared_bundle, halves, test_data):
    """Through int8 head, payload and SavedModel the probabilities are close to the float split's."""
    images = test_data[0][:20]
    found = shared_bundle.predict(images)
    assert (found.dtype, found.shape) == (np.float32, (20, 4))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, softmax(halves.predict(unit(images))), atol=0.1)
    np.testing.assert_array_equal(shared_bundle.predict(unit(images), preprocessed=True), found)
    np.testing.assert_allclose(shared_bundle.predict(images, batch_size=3), found, atol=1e-5)


def test_payloads_are_the_wire(shared_bundle, test_data):
    """A payload is the bundle's tag, a checksum, and the latent in the head's own integers."""
    manifest = shared_bundle.manifest
    payload = shared_bundle.payloads(test_data[0][:1])[0]
    assert len(payload) == manifest.payload_bytes
    assert payload[:8].hex() == manifest.bundle_id[:16]
    status, latent = wire.unpack(payload, manifest.tag, "int8", manifest.shapes["latent"])
    assert (status, latent.dtype) == (0, np.int8)


def test_bad_payloads_are_told_apart(shared_bundle, test_data):
    """`answer` gives the server's status for each payload; the good one among them is answered."""
    good = shared_bundle.payloads(test_data[0][:1])[0]
    probabilities, status = shared_bundle.answer([good[:-1], good, b"\0" * 8 + good[8:]])
    assert status.tolist() == [2, 0, 1]
    assert np.isnan(probabilities[[0, 2]]).all()
    np.testing.assert_allclose(probabilities[1:2], shared_bundle.predict(test_data[0][:1]), atol=1e-5)
    probabilities, status = shared_bundle.answer([])
    assert (probabilities.shape, status.shape) == ((0, 4), (0,))


def test_the_same_split_twice_is_the_same_bundle(shared_bundle, halves, original, train_images, tmp_path):
    """Exported again, the head is the same file and the identity the same; the accuracy is no part of it."""
    again = export_bundle(
        halves,
        tmp_path / "again",
        representative_data=(train_images, np.zeros(len(train_images), int)),
        class_names=tiny.CLASSES,
        preprocessing=tiny.PREPROCESSING,
        version=9,
    )
    assert again.manifest.bundle_id == shared_bundle.manifest.bundle_id
    head = "edge/head.tflite"
    assert again.manifest.files[head] == shared_bundle.manifest.files[head]
    assert again.manifest.accuracy == {"original": None, "split": None, "artefacts": None, "images": None}
    assert (tmp_path / "again/serving/tail/9/saved_model.pb").is_file()


@pytest.mark.parametrize("precision", ["int16x8", "float16", "dynamic", "float32"])
def test_without_a_bottleneck_in_every_other_precision(original, train_images, test_data, tmp_path, precision):
    """The cut's own tensor can be the latent; the pair answers as the model does."""
    split = tiny.make_split(original, "add", compression=None)
    made = export_bundle(
        split, tmp_path / "b", representative_data=unit(train_images), precision=precision, progress=False
    )
    assert made.manifest.shapes["latent"] == made.manifest.shapes["cut"] == (6, 5, 8)
    assert made.manifest.encoder == {"params": 0, "macs": 0}
    assert made.manifest.dtype == ("int16" if precision == "int16x8" else "float32")
    images = unit(test_data[0][:10])
    found = made.predict(images, preprocessed=True)
    bound = 1e-5 if precision == "float32" else 0.02
    np.testing.assert_allclose(found, softmax(original(images).numpy()), atol=bound)


def test_float_precisions_need_no_representative_images(original, tmp_path):
    """What learns no ranges needs no images."""
    split = tiny.make_split(original, "pool", compression=None)
    report = export_bundle(split, tmp_path / "b", precision="dynamic").directory / "edge/head.json"
    record = json.loads(report.read_text())
    assert record["operators"] == {"CONV_2D": 1, "MAX_POOL_2D": 1}
    assert record["float_weights"] == [[8, 3, 3, 3]]
    assert record["relative_error"] < 0.01


@pytest.mark.parametrize(
    ("last", "units", "kind"), [("sigmoid", 1, "sigmoid"), ("softmax", 3, "softmax"), ("sigmoid", 3, "multi_label")]
)
def test_every_kind_of_output(last, units, kind, tmp_path):
    """Probabilities are (N, n_classes) whatever the model's own output is, and the manifest says how."""
    model = tiny.make_original(last=last, units=units)
    made = export_bundle(tiny.make_split(model, compression=None), tmp_path / "b", precision="float32", progress=False)
    images = unit(tiny.make_images(3, seed=0)[0])
    outputs = model(images).numpy()
    expected = np.concatenate([1 - outputs, outputs], axis=1) if units == 1 else outputs
    np.testing.assert_allclose(made.predict(images, preprocessed=True), expected, atol=1e-5)
    assert made.manifest.n_classes == expected.shape[1]
    assert made.manifest.output["kind"] == kind


def test_a_linear_unit_needs_a_word(tmp_path):
    """One linear output is a regression unless it is said to be a logit."""
    split = tiny.make_split(tiny.make_original(units=1), compression=None)
    with pytest.raises(ModelError, match="from_logits=True"):
        export_bundle(split, tmp_path / "b", precision="float32")
    made = export_bundle(split, tmp_path / "b", precision="float32", from_logits=True)
    assert (made.manifest.output["kind"], made.manifest.n_classes) == ("binary_logit", 2)


BAD_REQUESTS = {
    "precision": ({"precision": "int4"}, ArgumentError, "one of int8, int16x8, float16, dynamic, float32"),
    "no images": ({"representative_data": None}, ArgumentError, "needs representative_data"),
    "few images": ({"representative_data": np.zeros((15, *tiny.SHAPE), np.float32)}, DataError, "Found: 15"),
    "shape": ({"representative_data": np.zeros((40, 5, 5, 3), np.uint8)}, DataError, r"uint8 \(5, 5, 3\)"),
    "target": ({"target": "toaster"}, ArgumentError, "one of None, 'microcontroller'. Received: 'toaster'"),
    "names": ({"class_names": ["a", "b"]}, ArgumentError, "tells 4 classes apart. Received: 2 class names"),
    "equal names": ({"class_names": ["a", "a", "b", "c"]}, ArgumentError, "differ from each other"),
    "no list": ({"class_names": "abcd"}, ArgumentError, "list of 4 texts"),
    "model name": ({"model_name": "a/b"}, ArgumentError, "model_name must be"),
    "version": ({"version": 0}, ArgumentError, "version must be"),
    "preprocessing": ({"preprocessing": "tiff"}, ArgumentError, "caffe, tf, torch"),
    "labels": ({"evaluation_data": (np.zeros((4, *tiny.SHAPE), np.uint8), [0, 1, 2, 4])}, DataError, "0 to 3"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests_write_nothing(case, halves, train_images, tmp_path):
    """Each is an error that says what is possible, and the disk is as it was."""
    changes, error, message = BAD_REQUESTS[case]
    arguments = {"representative_data": train_images} | changes
    with pytest.raises(error, match=message):
        export_bundle(halves, tmp_path / "new" / "bundle", **arguments)
    assert list(tmp_path.rglob("*.*")) == []


def test_what_is_no_split(original, tmp_path):
    """A whole model is not exported by mistake."""
    with pytest.raises(ArgumentError, match="Expected a SplitModel.*Received: Functional"):
        export_bundle(original, tmp_path / "b")


def test_several_inputs_are_refused(tmp_path):
    """A model of two inputs is named as what cannot be exported."""
    inputs = [keras.Input((4,), name="a"), keras.Input((4,), name="b")]
    x = keras.layers.Dense(5, name="joined")(keras.layers.Add()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    with pytest.raises(ExportError, match="A model of one input can be exported. Found: 2 inputs"):
        export_bundle(isplit.split(model, "joined"), tmp_path / "b", precision="float32")


def test_an_existing_directory_needs_overwrite(bundle, halves, train_images):
    """Without overwrite an existing bundle stays byte for byte; with it the new one takes its place."""
    before = (bundle.directory / "manifest.json").read_bytes()
    with pytest.raises(ExistsError, match="Give overwrite=True"):
        export_bundle(halves, bundle.directory, representative_data=train_images)
    assert (bundle.directory / "manifest.json").read_bytes() == before
    made = export_bundle(halves, bundle.directory, precision="float32", overwrite=True, model_name="other")
    assert made.manifest.model_name == "other"
    assert sorted(os.listdir(bundle.directory / "serving")) == ["batching.config", "models.config", "other"]


def test_foreign_files_are_never_deleted(bundle, halves, tmp_path):
    """A directory that is no bundle, or holds something beside it, is not replaced even with overwrite."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "manifest.json").write_text('{"name": "an extension"}')
    with pytest.raises(ExistsError, match="holds no bundle"):
        export_bundle(halves, tmp_path / "thesis", precision="float32", overwrite=True)
    (bundle.directory / "edge" / "notes.txt").write_text("mine")
    with pytest.raises(ExistsError, match=r"files that are not the bundle's: edge/notes\.txt"):
        export_bundle(halves, bundle.directory, precision="float32", overwrite=True)
    with pytest.raises(ExistsError, match="is a file"):
        export_bundle(halves, bundle.directory / "compose.yaml", precision="float32", overwrite=True)
    with pytest.raises(ArgumentError, match="is not a directory"):
        export_bundle(halves, bundle.directory / "compose.yaml" / "b", precision="float32")
    assert (bundle.directory / "edge" / "notes.txt").read_text() == "mine"


def test_the_current_folder_is_not_replaced(bundle, halves, monkeypatch):
    """The process would stand in a folder that is deleted; the bundle stays as it is."""
    before = (bundle.directory / "manifest.json").read_bytes()
    monkeypatch.chdir(bundle.directory)
    for place in (".", bundle.directory, bundle.directory.parent):
        with pytest.raises((ArgumentError, ExistsError)):
            export_bundle(halves, place, precision="float32", overwrite=True)
    assert (bundle.directory / "manifest.json").read_bytes() == before


def test_nan_in_a_weight_is_refused_before_any_work(halves, tmp_path):
    """In the tail it would come to light only in the answers."""
    weight = halves.tail.trainable_weights[-1]
    kept = weight.numpy()
    try:
        weight.assign(np.full_like(kept, np.inf))
        with pytest.raises(NumericsError, match=f"Weight '.*{weight.name}' holds NaN or infinity"):
            export_bundle(halves, tmp_path / "b", precision="float32")
    finally:
        weight.assign(kept)


@pytest.mark.parametrize("name", ["models.config", "batching.config", "a" * 201])
def test_the_name_of_a_file_of_the_bundle_is_no_models_name(halves, tmp_path, name):
    """It would lie in the same folder; a name that no file system takes is refused too."""
    with pytest.raises(ArgumentError, match="model_name must be"):
        export_bundle(halves, tmp_path / "b", precision="float32", model_name=name)


def test_numbers_of_numpy_are_numbers(halves, tmp_path):
    """A version or a scale that was computed; the manifest holds plain ones."""
    made = export_bundle(
        halves,
        tmp_path / "b",
        precision="float32",
        version=np.int64(3),
        preprocessing={"scale": np.float32(0.5), "mean": np.array([1.0, 2.0, 3.0])},
    )
    assert (made.manifest.version, made.manifest.preprocessing["scale"]) == (3, 0.5)
    assert list(made.manifest.preprocessing["mean"]) == [1.0, 2.0, 3.0]


def test_an_empty_directory_may_be_filled(halves, tmp_path):
    """A directory made beforehand holds nothing to lose, but is overwritten only on request."""
    (tmp_path / "b").mkdir()
    with pytest.raises(ExistsError, match="exists"):
        export_bundle(halves, tmp_path / "b", precision="float32")
    assert export_bundle(halves, tmp_path / "b", precision="float32", overwrite=True).directory.is_dir()


def test_every_changed_file_is_found_out(bundle):
    """One flipped bit in any file, a missing file, or a file cut short: the bundle is refused by the file's name."""
    for name in bundle.manifest.files:
        path = bundle.directory / name
        content = path.read_bytes()
        for spoiled in (bytes([content[0] ^ 1]) + content[1:], content[:-1], None):
            path.unlink()
            if spoiled is not None:
                path.write_bytes(spoiled)
            with pytest.raises(BundleError, match=re.escape(name)):
                Bundle.load(bundle.directory)
            path.unlink(missing_ok=True)
            path.write_bytes(content)
    assert Bundle.load(bundle.directory).manifest == bundle.manifest


def test_other_damage_is_found_out(bundle, tmp_path):
    """A newer format, a path that leads out, broken JSON, and no bundle at all are refused."""
    path = bundle.directory / "manifest.json"
    record = json.loads(path.read_text())
    for changed, message in (
        ({**record, "format_version": 2}, "newer than this isplit-edge knows"),
        ({**record, "files": {**record["files"], "../x": record["files"]["compose.yaml"]}}, "inside the bundle"),
        ({**record, "payload_bytes": 5}, "payload_bytes must be"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(BundleError, match=message):
            Bundle.load(bundle.directory)
    path.write_text("{")
    with pytest.raises(BundleError, match="manifest.json"):
        Bundle.load(bundle.directory)
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.load(tmp_path / "nowhere")


def test_the_split_is_left_as_it_was(halves, train_images, tmp_path):
    """Exporting changes no weight, no policy and no connection of the split."""

    def state():
        layers = halves.model.layers
        return [(layer.name, layer.dtype_policy.name, layer.trainable, len(layer._inbound_nodes)) for layer in layers]

    before, weights = state(), [one.numpy() for one in halves.model.weights]
    export_bundle(halves, tmp_path / "b", representative_data=train_images, progress=False)
    assert state() == before
    for old, new in zip(weights, halves.model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_mixed_precision_model_goes_through(tmp_path, precision, train_images):
    """A split of a mixed_float16 model is exported in float32, or in integers throughout, and answers close to it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = tiny.make_original()
        made = export_bundle(
            tiny.make_split(model),
            tmp_path / "b",
            precision=precision,
            representative_data=train_images,
            progress=False,
        )
        images = unit(tiny.make_images(4, seed=0)[0])
        expected = softmax(tiny.make_split(model).predict(images).astype(np.float32))
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_allclose(
        made.predict(images, preprocessed=True), expected, atol={"float32": 5e-3, "int8": 0.1}[precision]
    )
    tail = tf.saved_model.load(str(next(made.directory.glob("serving/*/*"))))
    assert "DT_HALF" not in str(tail.signatures["serving_default"].graph.as_graph_def())


@pytest.mark.parametrize("first", [keras.layers.Rescaling(1 / 255), keras.layers.Normalization(mean=120, variance=900)])
def test_a_model_of_uint8_images_goes_through(tmp_path, first):
    """The layer that makes them float is quantized like the others; the bundle takes what the model takes."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3), dtype="uint8")
    x = keras.layers.Conv2D(6, 3, activation="relu", name="conv")(first(inputs))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(x))
    halves = isplit.split(keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x)), "conv")
    images = np.random.default_rng(0).integers(0, 256, (100, 12, 12, 3), np.uint8)
    made = export_bundle(halves, tmp_path / "b", representative_data=images, progress=False)
    np.testing.assert_allclose(made.predict(images), halves.predict(images), atol=0.02)


def test_images_of_the_wrong_kind(shared_bundle):
    """Wrong shapes and dtypes are the caller's mistake, told as such."""
    with pytest.raises(DataError):
        shared_bundle.predict(np.zeros((2, 5, 5, 3), np.uint8))
    with pytest.raises(DataError):
        shared_bundle.predict(np.zeros((2, *tiny.SHAPE), np.float32))
    with pytest.raises(ArgumentError, match="batch_size"):
        shared_bundle.predict(np.zeros((2, *tiny.SHAPE), np.uint8), batch_size=0)


def test_it_says_what_it_is(shared_bundle):
    """The bundle shows its cut, precision and sizes."""
    assert "cut='pool', precision='int8'" in repr(shared_bundle)
