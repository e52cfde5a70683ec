"""Training on several devices gives what one device gives; strategies that Keras' `fit` cannot use are refused."""

import os
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf

from isplit_tf import split, train
from isplit_tf.errors import ArgumentError
from support import strategy_worker
from support.strategy_worker import net

WORKER = strategy_worker.__file__


@pytest.mark.slow
def test_two_devices_give_what_one_gives(tmp_path):
    """Losses, outputs and accuracy: both phases, few bits, and a teacher."""
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, WORKER, tmp_path / "mirrored.npz"], env=quiet, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "mirrored.npz") as file:
        mirrored = dict(file)
    with tf.device("CPU:0"):
        one = strategy_worker.outcomes()
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


@pytest.mark.parametrize("made", ["outside", "inside"])
def test_the_split_and_the_training_belong_to_one_scope(made):
    """Variables of one device do not train on several, nor the other way round; the message says what was where."""
    data = np.zeros((4, 8, 8, 3), "float32"), np.arange(4)
    scope = tf.distribute.MirroredStrategy(["CPU:0"]).scope()
    with scope if made == "inside" else nullcontext():
        halves = split(net(), "cut")
    message = f"made {made} of the scope of the MirroredStrategy, and train was called"
    with scope if made == "outside" else nullcontext(), pytest.raises(ArgumentError, match=message):
        train(halves, data, progress=False)
