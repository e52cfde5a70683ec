"""Tensors as the numbers of a JSON answer."""

import json

import numpy as np

from isplit_tf.server.tensors import as_lists


def test_float32_are_written_short_and_exactly():
    """Whatever a float32 is, it is the same one after JSON; few need more than nine digits."""
    rng = np.random.default_rng(0)
    wide = np.exp(rng.normal(0, 20, 5000)) * rng.choice([-1, 1], 5000)
    odd = [0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 1, 0.1]
    x = np.concatenate([wide, odd]).astype(np.float32)
    text = json.dumps(as_lists(x))
    np.testing.assert_array_equal(np.array(json.loads(text), np.float32), x)
    probabilities = rng.dirichlet(np.ones(1000)).astype(np.float32)
    assert len(json.dumps(as_lists(probabilities), separators=(",", ":"))) < 15 * 1000


def test_other_numbers_stay_as_they_are():
    """Whole numbers, booleans and float64 are written as Python writes them."""
    for array in (np.arange(3), np.array([True]), np.array([0.1, 1 / 3])):
        assert as_lists(array) == array.tolist()
