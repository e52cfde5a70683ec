"""Measurement on several devices, each of which runs its part of every batch."""

from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, DataError
from .probe import Probe

_SUPPORTED = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)


def chosen_strategy(strategy: Any) -> Any:
    """Return the strategy to measure with: the argument, else the strategy of the open scope, else None (one device).

    Raises:
        ArgumentError: If the strategy is neither a `MirroredStrategy` nor a `MultiWorkerMirroredStrategy`.
    """
    if strategy is None and tf.distribute.has_strategy():
        strategy = tf.distribute.get_strategy()
    if strategy is not None and not isinstance(strategy, _SUPPORTED):
        raise ArgumentError(
            "Importance is measured with tf.distribute.MirroredStrategy or MultiWorkerMirroredStrategy, or on one "
            f"device without a strategy. Received: {type(strategy).__name__}."
        )
    return strategy


class Replicas:
    """A probe that runs on all replicas of a strategy.

    Every worker is given the same images in the same order. Each replica runs its part of them, and each worker gets
    the importance of all images. Every worker therefore computes the same results, and the same as on one device.

    Args:
        probe: The probe that runs on each replica.
        strategy: A `MirroredStrategy` or `MultiWorkerMirroredStrategy`.
    """

    def __init__(self, probe: Probe, strategy: tf.distribute.Strategy):
        self._probe = probe
        self._strategy = strategy
        self._run = tf.function(
            lambda inputs, labels: strategy.run(self._one_part, args=(inputs, labels)),
            reduce_retracing=True,
            autograph=False,
        )

    def _one_part(self, inputs: list[tf.Tensor], labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Run this replica's part and return importance and labels, gathered from all replicas."""
        context = tf.distribute.get_replica_context()
        devices = self._strategy.extended.worker_devices
        # Gathering needs the device of a tensor. A replica that is alone in its process does not set one.
        with tf.device(devices[0] if len(devices) == 1 else None):
            values, labels = tf.identity(self._probe.values(inputs, labels)), tf.identity(labels)
        return context.all_gather(values, axis=0), context.all_gather(labels, axis=0)

    def __call__(self, x: Any, labels: np.ndarray) -> np.ndarray:
        """Return the importance of each image at each cut, float64 `(N, n_cuts)`, as sums over the map's positions.

        Raises:
            DataError: If x does not fit the model's inputs, or if the workers do not read the same images.
            NumericsError: If a value is not finite; the message names the layer.
        """
        inputs = self._probe.feed(x)
        replicas = self._strategy.num_replicas_in_sync
        # All parts have the same size: copies of the last image fill them up.
        parts = np.minimum(np.arange(-(-len(labels) // replicas) * replicas), len(labels) - 1).reshape(replicas, -1)

        def spread(whole: tf.Tensor) -> Any:
            return self._strategy.experimental_distribute_values_from_function(
                lambda context: tf.gather(whole, parts[context.replica_id_in_sync_group])
            )

        gathered = self._run([spread(whole) for whole in inputs], spread(tf.constant(labels)))
        values, gathered_labels = (self._strategy.experimental_local_results(result)[0].numpy() for result in gathered)
        if not np.array_equal(gathered_labels, labels[parts.ravel()]):
            raise DataError(
                "The workers read different images. Give every worker the same data in the same order: unshuffled, or "
                "shuffled with one seed; each runs its part of every batch."
            )
        return self._probe.checked(inputs, values[: len(labels)])
