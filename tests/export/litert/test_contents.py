"""What is in a `.tflite` file is read from the file."""

import keras

from isplit_tf.export.litert.contents import read_contents
from isplit_tf.export.litert.converter import convert


def dense(units: int) -> keras.Model:
    """Two dense layers of `units` units: kernels of units**2 elements."""
    inputs = keras.Input((units,))
    x = keras.layers.Dense(units, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(units)(x))


def test_counts_operators_and_weights():
    """A float file of two dense layers holds two matrix products, and their two kernels in float."""
    contents = read_contents(convert(dense(5), precision="float32").content)
    assert contents.counts == {"FULLY_CONNECTED": 2}
    assert contents.float_counts == contents.counts
    assert [tensor.shape for tensor in contents.weights] == [(5, 5), (5, 5)]
    assert contents.float_weights == contents.weights
    assert contents.custom_operators == ()


def test_tells_which_weights_dynamic_leaves_in_float():
    """The converter leaves weights of under 1,024 elements in float32 without a word; the report says so."""
    small, large = (read_contents(convert(dense(n), precision="dynamic").content) for n in (31, 32))
    assert [tensor.size for tensor in small.float_weights] == [961, 961]
    assert large.float_weights == ()
    assert {tensor.type for tensor in large.weights} == {"INT8"}
