"""Measures a curve in a process of its own, on two logical devices or as one of two workers, and saves it.

python replica_worker.py mirrored|worker OUTPUT
"""

import sys
import warnings

import keras
import numpy as np
import tensorflow as tf

from isplit_tf import measure_importance
from isplit_tf.errors import DataError


def net() -> keras.Model:
    """A small net with weights that are not trivial."""
    layers = keras.layers
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="conv1")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(6, 3, activation="relu", name="conv2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="small")
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(-0.5, 1.0, w.shape) ** 2 + 0.1 * ("kernel" not in w.path) for w in model.weights])
    return model


def images(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fifty-one of them: batches of 8 do not come out even."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(51, 8, 8, 2)).astype("float32"), rng.integers(0, 3, 51)


def main() -> None:
    kind, output = sys.argv[1:]
    if kind == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == 2
    options = {"batch_size": 8, "progress": False, "cuts": "all"}
    curve = measure_importance(net(), images(), strategy=strategy, **options)
    curve.save(f"{output}_all.npz")
    with strategy.scope():  # variables on every device, and the strategy of the scope
        mirrored = net()
        measure_importance(mirrored, images(), **options).save(f"{output}_scope.npz")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing stays in float32
            some = measure_importance(mirrored, images(), confidence=0.6, precision="bfloat16", **options)
    some.save(f"{output}_some.npz")
    if kind == "worker":
        try:
            measure_importance(net(), images(seed=strategy.cluster_resolver.task_id), strategy=strategy, **options)
        except DataError as error:
            print(error)


if __name__ == "__main__":
    main()
