"""Trains splits on one device, or in a process of its own on two logical ones, and says what came out.

python strategy_worker.py OUTPUT
"""

import sys

import keras
import numpy as np
import tensorflow as tf

import isplit_tf as isplit


def cases() -> dict[str, tuple[object, dict[str, object]]]:
    """Bottlenecks, and how each is trained."""
    latent = {"compression": 0.5, "seed": 0}
    sgd = keras.optimizers.SGD  # whose steps, unlike Adam's, depend on the scale of the loss
    return {
        "cached": (isplit.Autoencoder(**latent), {"bottleneck_optimizer": sgd(1e-3), "optimizer": sgd(1e-2)}),
        "four_bits": (isplit.Projection(latent_bits=4, **latent), {"optimizer": sgd(1e-2), "loss": "squared_error"}),
        "distilled": (isplit.Projection(**latent), {"optimizer": sgd(1e-2), "loss": "distill"}),
    }


def net() -> keras.Model:
    """A small net; the same weights wherever it is built."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="cut"),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )


def outcomes() -> dict[str, np.ndarray]:
    """Losses, outputs and accuracy of each case, in whatever scope this is called."""
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")
    data = x, np.arange(64) % 4
    found = {}
    for name, (bottleneck, options) in cases().items():
        halves = isplit.split(net(), "cut", bottleneck)
        history = isplit.train(
            halves, data, validation_data=data, bottleneck_epochs=2, fine_tune_epochs=1, seed=0, progress=False,
            batch_size=16, **options,
        )  # fmt: skip
        losses = [epoch.metrics[m] for epoch in history.epochs for m in sorted(epoch.metrics)]
        found[f"{name} losses"] = np.array(losses)
        found[f"{name} outputs"] = halves.model.predict(x, verbose=0)
        found[f"{name} accuracy"] = np.array(isplit.evaluate(halves, data, progress=False).accuracy)
    return found


def main() -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        found = outcomes()
    np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
