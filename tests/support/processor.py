"""What the processor that the tests run on can do, asked of TensorFlow itself."""

import functools

import tensorflow as tf


@functools.cache
def has_channels_first() -> bool:
    """Check whether TensorFlow has channels-first convolutions here: on a CPU, only with oneDNN."""
    try:
        tf.nn.conv2d(tf.zeros((1, 3, 4, 4)), tf.zeros((2, 2, 3, 1)), 1, "VALID", data_format="NCHW")
    except tf.errors.UnimplementedError:
        return False
    return True
