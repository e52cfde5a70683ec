"""Trains a saved net in a process of its own, in epochs in which there is time to kill it, and saves the weights.

python long_training.py NET CHECKPOINT_DIR OUTPUT
"""

import sys
from pathlib import Path

import keras
import numpy as np

import isplit_tf as isplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.splitnet import make_data, weights_of


def train_for_long(path, checkpoint_dir=None) -> list[np.ndarray]:
    """The weights at the end."""
    halves = isplit.split(keras.models.load_model(path), "pool", isplit.Autoencoder(0.8, seed=0))
    x, y = make_data()
    many = np.tile(x, (20, 1, 1, 1)), np.tile(y, 20)
    arguments = {"bottleneck_epochs": 3, "fine_tune_epochs": 3, "seed": 3, "batch_size": 8, "progress": False}
    isplit.train(halves, many, checkpoint_dir=checkpoint_dir, **arguments)
    return weights_of(halves.model)


if __name__ == "__main__":
    np.savez(sys.argv[3], *train_for_long(*sys.argv[1:3]))
