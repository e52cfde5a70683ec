"""What holds in every test: fixed seeds, and a quiet TensorFlow."""

import gc
import os
import random
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


def _set_aside() -> None:
    """Take all objects that there are out of the sight of the garbage collector.

    TensorFlow's converter asks for a full collection at each conversion. Among a million objects of imported modules,
    and what TensorFlow itself keeps of each graph, that is half of what the conversion of a small head costs.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """What the imports of all tests left."""
    _set_aside()


@pytest.fixture(scope="module", autouse=True)
def _end_of_module():
    """What the tests of a module left."""
    yield
    _set_aside()


@pytest.fixture(autouse=True)
def _fixed_seeds(request):
    """The same numbers in each run, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:  # tests of the device package do without
        import keras

        keras.utils.set_random_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers of the test's own."""
    return np.random.default_rng(0)
