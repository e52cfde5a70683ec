"""What holds in every test: fixed seeds, and a quiet TensorFlow."""

import os
import random
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


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
