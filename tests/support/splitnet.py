"""A small classifier to split, and comparisons of weights."""

import keras
import numpy as np

EPOCHS = {"bottleneck_epochs": 2, "fine_tune_epochs": 3, "seed": 3, "progress": False}


class Stop(keras.callbacks.Callback):
    """Ends the training with an exception at the end of one epoch of phase 2, or in the middle of it."""

    def __init__(self, epoch, error, *, batch=None):
        super().__init__()
        self.epoch, self.error, self.batch, self.now = epoch, error, batch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.batch):
            raise self.error

    def on_epoch_end(self, epoch, logs=None):
        if self.batch is None and epoch == self.epoch:
            raise self.error


def build_net(activation="softmax", units=3):
    """Two convolutions with BatchNormalization and Dropout, and a pooling between them to cut after."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(6, 3, padding="same", name="conv1")(inputs)
    x = keras.layers.BatchNormalization(name="norm1")(x)
    x = keras.layers.ReLU(name="relu1")(x)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv2")(x)
    x = keras.layers.BatchNormalization(name="norm2")(x)
    x = keras.layers.Dropout(0.2, name="drop")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(units, activation=activation, name="scores")(x))


def make_data():
    """90 images of three classes: a bright column where the class says."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 8, 8, 1)).astype(np.float32), np.arange(90) % 3
    x[np.arange(90), :, y * 2] += 1.5
    return x, y


def weights_of(model):
    """Copies of all weights."""
    return [np.array(weight) for weight in model.get_weights()]


def assert_same(first, second):
    """All arrays equal to the bit."""
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def differ(first, second):
    """Which arrays differ at all."""
    return [not np.array_equal(one, other) for one, other in zip(first, second, strict=True)]
