"""What a user does first, short enough to be run with the lowest and with the newest versions of what it stands on."""

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.edge import Client
from isplit_tf.server.service import Server
from support import tiny

pytestmark = pytest.mark.versions


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> isplit.Bundle:
    """A split behind a coded projection, exported in int8."""
    images, labels = tiny.make_images(128, seed=1)
    model = tiny.make_original(last="softmax")
    before = [np.asarray(weight).copy() for weight in model.weights]
    data = (images.astype(np.float32) / 255, labels)
    curve = isplit.measure_importance(model, data, progress=False)
    assert np.isfinite(curve.values).all()
    split = isplit.split(model, "pool", isplit.Projection(payload_bytes=60), fit_data=data[0])
    assert all(np.array_equal(one, np.asarray(other)) for one, other in zip(before, model.weights, strict=True))
    return isplit.export_bundle(
        split,
        tmp_path_factory.mktemp("versions") / "bundle",
        representative_data=images,
        evaluation_data=(images[:32], labels[:32]),
        preprocessing=tiny.PREPROCESSING,
        progress=False,
    )


def test_the_halves_are_exact():
    """At every cut, tail and head together give what the model gives."""
    model = tiny.make_original()
    images = tiny.make_images(8, seed=2)[0].astype(np.float32)
    expected = np.asarray(model(images, training=False))
    for cut in isplit.find_cuts(model):
        split = isplit.split(model, cut)
        found = np.asarray(split.tail(split.head(images, training=False), training=False))
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))


def test_a_client_gets_the_answers_of_the_bundle(bundle):
    """Through REST and the local server, images get the probabilities that both halves give in one process."""
    images = tiny.make_images(8, seed=3)[0]
    with Server(bundle.directory, port=0) as server, Client(bundle.directory, url=server.url) as client:
        found = client.predict(images)
    np.testing.assert_allclose(found, bundle.predict(images), atol=1e-5)
    assert bundle.manifest.versions["keras"] == keras.__version__
