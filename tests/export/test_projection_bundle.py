"""Projections on a device: int8 throughout, and the same answers through the wire."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import isplit_tf as isplit
from support import tiny

pytestmark = pytest.mark.numerical


def build_sequence():
    """A convolution along time, of odd length."""
    inputs = keras.Input((9, 4))
    x = keras.layers.Conv1D(6, 3, padding="same", activation="relu", name="cut")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x)))


def build_vector():
    """Dense layers."""
    inputs = keras.Input((10,))
    x = keras.layers.Dense(12, activation="relu", name="cut")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


def build_map():
    """A map of 7 x 5."""
    inputs = keras.Input((7, 5, 2))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="cut")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("build", [build_sequence, build_vector, build_map])
@pytest.mark.parametrize("bottleneck", [isplit.Projection(0.6, patch=2), isplit.Autoencoder(0.6, init="projection")])
def test_every_kind_is_int8_throughout_and_answers_alike(build, bottleneck, tmp_path):
    """No float tensor is left in the head, and through the wire the answers are those of the split in float."""
    keras.utils.set_random_seed(0)
    model = build()
    x = np.random.default_rng(0).normal(size=(200, *model.input_shape[1:])).astype(np.float32)
    halves = isplit.split(model, "cut", bottleneck)
    isplit.train(halves, x, bottleneck_epochs=0, fine_tune_epochs=0, progress=False)
    bundle = isplit.export_bundle(halves, tmp_path / "bundle", representative_data=x, precision="int8")

    interpreter = Interpreter(model_path=str(bundle.directory / "edge" / "head.tflite"))
    interpreter.allocate_tensors()
    assert {np.dtype(t["dtype"]).name for t in interpreter.get_tensor_details()} <= {"int8", "int32"}
    assert tuple(interpreter.get_output_details()[0]["shape"]) == (1, *bottleneck.plan(halves.cut.shape).latent_shape)
    exported = bundle.predict(x, preprocessed=True)
    assert np.abs(exported - halves.predict(x)).mean() < 0.03


def test_a_whole_bundle_of_a_projection(tmp_path):
    """Accuracy in the manifest is measured through the wire, and the payload is one byte for each number kept."""
    model = tiny.train_briefly(tiny.make_original())
    images, labels = tiny.make_images(60, seed=3)
    train = tiny.make_images(128, seed=2)[0]
    halves = isplit.split(model, "pool", isplit.Projection(0.9))
    isplit.train(halves, train / np.float32(255), fine_tune_epochs=0, progress=False)
    bundle = isplit.export_bundle(
        halves,
        tmp_path / "bundle",
        representative_data=train,
        evaluation_data=(images, labels),
        class_names=tiny.CLASSES,
        preprocessing=tiny.PREPROCESSING,
        original=model,
    )
    accuracy = bundle.manifest.accuracy
    assert bundle.manifest.payload_bytes == 12 + np.prod(halves.latent_shape)
    assert abs(accuracy["artefacts"] - accuracy["split"]) < 0.06
    assert accuracy["split"] > accuracy["original"] - 0.1
