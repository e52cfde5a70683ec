"""A small trained classifier, its data, and splits of it."""

import keras
import pytest

from isplit_tf.bottlenecks.autoencoder import Autoencoder
from isplit_tf.splitting import split
from support.splitnet import build_net, make_data


@pytest.fixture(scope="session")
def data():
    """Images and integer labels."""
    return make_data()


@pytest.fixture(scope="session")
def net(data):
    """The classifier, trained for a moment and compiled; no test may change it."""
    keras.utils.set_random_seed(0)
    model = build_net()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy())
    model.fit(*data, epochs=3, verbose=0)
    return model


@pytest.fixture
def halves(net):
    """A fresh split, the same each time."""
    return split(net, "pool", Autoencoder(0.8, seed=0))
