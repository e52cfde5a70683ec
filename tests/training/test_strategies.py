"""Training on several devices gives what one device gives; strategies that Keras' `fit` cannot use are refused."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from strategy_worker import net

from isplit_tf import split, train
from isplit_tf.errors import ArgumentError

WORKER = Path(__file__).with_name("strategy_worker.py")


@pytest.mark.slow
def test_two_devices_give_what_one_gives(tmp_path):
    """Losses, outputs and accuracy: both phases, few bits, and a teacher."""
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    found = []
    for kind in ("one", "mirrored"):
        done = subprocess.run(
            [sys.executable, WORKER, kind, tmp_path / f"{kind}.npz"], env=quiet, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / f"{kind}.npz") as file:
            found.append(dict(file))
    one, mirrored = found
    assert set(one) == set(mirrored)
    for name in one:
        np.testing.assert_allclose(mirrored[name], one[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_other_strategies_are_refused():
    """What is in use is named, whether by the scope or by the model; nothing is trained."""
    data = np.zeros((4, 8, 8, 3), "float32"), np.arange(4)
    halves = split(net(), "cut")
    central = tf.distribute.experimental.CentralStorageStrategy(["CPU:0"])
    message = "on those of a tf.distribute.MirroredStrategy.*Received: CentralStorage"
    with central.scope(), pytest.raises(ArgumentError, match=message):
        train(halves, data, progress=False)
    with central.scope():
        elsewhere = split(net(), "cut")
    with pytest.raises(ArgumentError, match=message):
        train(elsewhere, data, progress=False)
    keras.utils.set_random_seed(0)
    train(halves, data, fine_tune_epochs=1, progress=False)
