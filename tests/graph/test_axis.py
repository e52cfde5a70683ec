"""The paper's axis."""

import keras
import pytest
from keras import layers, ops

from isplit_tf.graph.axis import main_cuts
from isplit_tf.graph.cuts import list_cuts
from isplit_tf.graph.program import read_program
from support.zoo import ZOO


def axis(model: keras.Model) -> list[str]:
    """Names of the main cuts."""
    program = read_program(model)
    return [cut.name for cut in main_cuts(program, list_cuts(program))]


def test_vgg16(application):
    """13 convolutions and 5 poolings."""
    sizes = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    expected = [
        f"block{block}_{part}"
        for block, convs in sizes.items()
        for part in [*(f"conv{k + 1}" for k in range(convs)), "pool"]
    ]
    assert axis(application("VGG16")) == expected
    assert len(expected) == 18


def test_resnet50(application):
    """The stem's convolution with its activation, its pooling, and 16 block outputs."""
    blocks = [f"conv{stage}_block{k + 1}_out" for stage, n in {2: 3, 3: 4, 4: 6, 5: 3}.items() for k in range(n)]
    assert axis(application("ResNet50")) == ["conv1_relu", "pool1_pool", *blocks]
    assert len(blocks) == 16


def test_squeeze_and_excite_is_no_point(application):
    """On EfficientNet, gates move points and give none; preprocessing gives none."""
    names = axis(application("EfficientNetB0"))
    assert names[0] == "stem_activation"
    assert names[-1] == "top_activation"
    assert not [name for name in names if "squeeze" in name or "normalization" in name or "rescaling" in name]
    assert "block1a_se_excite" in names  # the depthwise convolution's point, moved behind the gate
    assert "block1a_dwconv" not in names


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("chain", "conv1 pool1 relu"),
        ("mlp", "drop hidden2"),
        ("residual", "stem relu add"),
        ("nested", "backbone/conv backbone/relu"),
        ("preprocessing", "conv"),
        ("skips", "down1 skip after"),
        ("attention", "patches block0_add1 block0_add2 block1_add1 norm"),
        ("custom_layer", "shift wide"),
    ],
)
def test_zoo(name, points):
    """Features give points, pointwise layers move them, layout gives none; the axis ends where space does."""
    keras.backend.clear_session()  # automatic names count from here
    assert axis(ZOO[name]()) == points.split()


def test_activation_as_output():
    """A last layer whose activation is the model's output is no point: nothing would be left for the tail."""
    x = inputs = keras.Input((4,))
    x = layers.Dense(3, activation="relu", name="hidden")(x)
    x = layers.Dense(3, name="logits")(x)
    assert axis(keras.Model(inputs, layers.Softmax()(x))) == ["hidden"]


def test_operations_of_keras_ops():
    """`x * sigmoid(x)` moves the point before it; a matrix product makes one."""
    x = inputs = keras.Input((6, 4))
    x = layers.Conv1D(4, 1, name="conv")(x)
    x = ops.multiply(x, ops.sigmoid(x))
    y = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    names = axis(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(y))))
    assert [name.split("_")[0] for name in names] == ["multiply", "matmul"]


def test_a_layer_of_the_users_is_no_pooling_by_its_name():
    """Keras' own `Global...` layers end the axis; GlobalResponseNorm of ConvNeXt V2 does not."""

    class GlobalResponseNorm(layers.Layer):
        def call(self, x):
            return 2 * x

    x = inputs = keras.Input((8, 8, 3))
    x = GlobalResponseNorm(name="grn")(layers.Conv2D(4, 3, name="c1")(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="c2")(x))
    assert axis(keras.Model(inputs, layers.Dense(2)(x))) == ["c1", "grn", "c2"]
