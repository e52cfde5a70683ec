"""Training on several devices: the strategies that `train` supports, and the share of each replica in the loss."""

from typing import Any

import keras
import tensorflow as tf

from ..errors import ArgumentError

_SUPPORTED = (tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy)


def check_strategy(model: keras.Model) -> None:
    """Check that a model is built and trained inside the scope of one supported strategy, or of none.

    With other strategies Keras' `fit` does not work, or was not tested.

    Raises:
        ArgumentError: If the strategy is not supported, or the model was built in another scope than that of training.
    """
    inside = tf.distribute.has_strategy()
    strategy = tf.distribute.get_strategy() if inside else model.distribute_strategy
    with strategy.scope():
        if not tf.distribute.has_strategy():
            return  # neither the model nor the training has a strategy
    if not isinstance(strategy, _SUPPORTED):
        raise ArgumentError(
            "A split is trained on one device, or on those of a tf.distribute.MirroredStrategy, in whose scope the "
            f"model, the split and the training are. Received: {type(strategy).__name__}."
        )
    of_scope = strategy.extended.variable_created_in_scope
    if not (inside and all(of_scope(weight.value) for weight in model.weights)):
        made, called = ("outside", "inside") if inside else ("inside", "outside")
        raise ArgumentError(
            f"The split was made {made} of the scope of the {type(strategy).__name__}, and train was called {called}. "
            "Make the split and call train both inside of its scope, or both outside."
        )


def replica_share(loss: Any) -> Any:
    """Return a replica's share of the loss from the mean over its images. Keras sums the gradients of all replicas."""
    return loss / tf.distribute.get_strategy().num_replicas_in_sync
