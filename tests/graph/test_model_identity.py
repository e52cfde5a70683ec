"""The identity by which a kit, a profile and a plan know that they are of one model."""

import keras
import pytest

from isplit_tf.graph.model_identity import model_sha256


def chain():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.add([keras.layers.Conv2D(4, 1)(x), x])
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x)))


def recurrent():
    layers = [keras.Input((5, 3)), keras.layers.GRU(4, return_sequences=True), keras.layers.LSTM(3)]
    return keras.Sequential([*layers, keras.layers.Dropout(0.5), keras.layers.Dense(2)])


def nested():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()])
    return keras.Sequential([keras.Input((8, 8, 3)), inner, keras.layers.Flatten(), keras.layers.Dense(3)])


@pytest.mark.parametrize("make", [chain, recurrent, nested])
def test_the_identity_is_of_weights_and_cuts(make, tmp_path):
    """A saved model keeps it, an equal one that is built again has it, and another weight changes it."""
    model = make()
    found = model_sha256(model)
    model.save(tmp_path / "net.keras")
    assert model_sha256(keras.models.load_model(tmp_path / "net.keras")) == found
    again = make()
    assert model_sha256(again) != found
    again.set_weights(model.get_weights())
    assert model_sha256(again) == found
    model.compile("adam", "mse")  # an optimizer's variables are not the model's
    assert model_sha256(model) == found


def test_another_network_of_the_same_weights_has_another():
    """The shapes of the cuts count: another stride is another model."""
    models = []
    for strides in (1, 2):
        models.append(
            keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 1, strides), keras.layers.ReLU()])
        )
    models[1].set_weights(models[0].get_weights())
    assert model_sha256(models[0]) != model_sha256(models[1])
