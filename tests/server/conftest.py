"""A real bundle, its tail as a catalogue, and a server on a free port."""

from collections.abc import Iterator

import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.export.bundle import Bundle
from isplit_tf.server import Server
from isplit_tf.server.model import Catalogue
from support import tiny


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Raw uint8 images."""
    return tiny.make_images(40, seed=5)[0]


@pytest.fixture(scope="session")
def halves() -> isplit.SplitModel:
    """A split with a bottleneck, trained for a moment."""
    split = tiny.make_split(tiny.make_original())
    tiny.train_briefly(split.model)
    return split


@pytest.fixture(scope="session")
def bundle(halves, tmp_path_factory) -> Bundle:
    """An int8 bundle of it."""
    return isplit.export_bundle(
        halves,
        tmp_path_factory.mktemp("server") / "bundle",
        representative_data=tiny.make_images(100, seed=4)[0],
        preprocessing=tiny.PREPROCESSING,
        version=3,
    )


@pytest.fixture(scope="session")
def catalogue(bundle: Bundle) -> Catalogue:
    """Its tail, with a label."""
    return Catalogue.of_bundle(bundle.directory, {"stable": 3})


@pytest.fixture
def server(bundle: Bundle) -> Iterator[Server]:
    """A server that answers."""
    with Server(bundle, port=0, labels={"stable": 3}, request_timeout_s=5.0) as running:
        yield running
