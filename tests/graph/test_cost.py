"""What layers cost, against hand counts and against TensorFlow's own profiler."""

import keras
import pytest
from keras import layers, ops

from isplit_tf import find_cuts
from isplit_tf.errors import ModelError
from isplit_tf.graph.cost import count_macs
from support.profiler import profiled_macs
from support.zoo import ZOO

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow")


def macs(layer, *shapes: tuple, twice: bool = False) -> int:
    """Multiply-accumulates of one layer on inputs of some shapes."""
    inputs = [keras.Input(shape) for shape in shapes]
    args = inputs * 2 if twice else inputs
    model = keras.Model(inputs, layer(*args))
    assert model.count_params() == find_params(model)
    return count_macs(model)


def find_params(model: keras.Model) -> int:
    """Parameters as a cut behind the model would count them."""
    outputs = [layers.Flatten()(x) if len(x.shape) > 2 else x for x in model.outputs]
    longer = keras.Model(model.inputs, layers.Identity()(layers.Identity()(outputs[0])))
    return find_cuts(longer)[-1].head_params


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (lambda: layers.Conv2D(6, 3), (9, 9, 4), 7 * 7 * 3 * 3 * 4 * 6),
        (lambda: layers.Conv2D(6, 3, groups=2), (9, 9, 4), 7 * 7 * 3 * 3 * 2 * 6),
        (lambda: layers.Conv2D(6, (3, 2), strides=2, padding="same"), (9, 9, 4), 5 * 5 * 3 * 2 * 4 * 6),
        (lambda: layers.Conv2D(6, 3, dilation_rate=2), (9, 9, 4), 5 * 5 * 3 * 3 * 4 * 6),
        (lambda: layers.Conv2D(6, 3, data_format="channels_first"), (4, 9, 9), 7 * 7 * 3 * 3 * 4 * 6),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (9, 9, 4), 7 * 7 * 3 * 3 * 4 * 2),
        (lambda: layers.SeparableConv2D(6, 3, depth_multiplier=2), (9, 9, 4), 7 * 7 * (3 * 3 * 8 + 8 * 6)),
        (lambda: layers.Conv2DTranspose(6, 3, strides=2), (4, 5, 4), 4 * 5 * 3 * 3 * 4 * 6),
        (lambda: layers.Conv1D(6, 3, padding="causal"), (9, 4), 9 * 3 * 4 * 6),
        (lambda: layers.Conv1DTranspose(6, 3), (9, 4), 9 * 3 * 4 * 6),
        (lambda: layers.SeparableConv1D(6, 3), (9, 4), 7 * (3 * 4 + 4 * 6)),
        (lambda: layers.DepthwiseConv1D(3), (9, 4), 7 * 3 * 4),
        (lambda: layers.Conv3D(2, 2), (4, 5, 6, 3), 3 * 4 * 5 * 8 * 3 * 2),
        (lambda: layers.Dense(7), (5,), 35),
        (lambda: layers.Dense(7), (3, 5), 105),
        (lambda: layers.EinsumDense("abc,cd->abd", (3, 7)), (3, 5), 105),
        (lambda: layers.EinsumDense("...x,xy->...y", 7), (3, 5), 105),
        (lambda: layers.SimpleRNN(4), (6, 3), 6 * 4 * (3 + 4)),
        (lambda: layers.LSTM(4), (6, 3), 6 * 4 * 4 * (3 + 4)),
        (lambda: layers.GRU(4), (6, 3), 6 * 3 * 4 * (3 + 4)),
        (lambda: layers.Bidirectional(layers.LSTM(4)), (6, 3), 2 * 6 * 4 * 4 * (3 + 4)),
        (lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)]), (6, 3), 6 * (16 * 7 + 15 * 9)),
        (lambda: layers.ConvLSTM2D(2, 3, padding="same"), (4, 5, 5, 3), 4 * 25 * 9 * 4 * 2 * (3 + 2)),
        (lambda: layers.TimeDistributed(layers.Conv2D(2, 3)), (4, 5, 5, 3), 4 * 9 * 9 * 3 * 2),
        (lambda: layers.TimeDistributed(layers.Dense(2)), (4, 5), 4 * 5 * 2),
        (lambda: layers.MaxPooling2D(), (8, 8, 3), 0),
        (lambda: layers.BatchNormalization(), (8, 8, 3), 0),
        (lambda: layers.Embedding(10, 4), (5,), 0),
        (lambda: layers.SpectralNormalization(layers.Dense(7)), (5,), 35),
    ],
)
def test_layers(layer, shape, count):
    """Each kind of layer, counted by hand for one image."""
    assert macs(layer(), shape) == count


def test_attention():
    """Projections, scores and weighted sums; fewer keys and values where heads share them."""
    q, d, heads, width = 4, 6, 2, 3
    projections = 4 * q * d * heads * width
    assert macs(layers.MultiHeadAttention(heads, width), (q, d), twice=True) == projections + 2 * q * q * heads * width
    grouped = 2 * q * d * 16 + 2 * q * d * 8
    assert macs(layers.GroupQueryAttention(4, 4, 2), (q, d), twice=True) == grouped + 2 * q * q * 16


@pytest.mark.parametrize("kind", [layers.Attention, layers.AdditiveAttention])
def test_plain_attention(kind):
    """Attention without projections, on a list of query and value."""
    query, value = keras.Input((4, 6)), keras.Input((5, 6))
    expected = 4 * 5 * (6 + 6) if kind is layers.Attention else 4 * 5 * 6
    assert count_macs(keras.Model([query, value], kind()([query, value]))) == expected


def test_operations():
    """Matrix products of keras.ops count, additions do not."""
    inputs = keras.Input((4, 6))
    x = ops.matmul(inputs, ops.transpose(inputs, (0, 2, 1)))
    x = ops.einsum("bij,bjk->bik", x, inputs)
    assert count_macs(keras.Model(inputs, x + 1.0)) == 4 * 4 * 6 + 4 * 4 * 6


def test_unknown_layer():
    """For a layer that we do not know, the products in the graph that it runs are counted."""

    class Own(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 5))

        def call(self, x):
            return ops.relu(x @ self.kernel)

        def compute_output_shape(self, shape):
            return (*shape[:-1], 5)

    assert macs(Own(), (3, 4)) == 3 * 4 * 5


def test_layer_that_runs_eagerly_only():
    """A layer that needs values while it runs cannot be measured, trained or exported: the error names it."""

    class Eager(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 5))

        def call(self, x):
            return x @ self.kernel * float(x.numpy().max())

        def compute_output_shape(self, shape):
            return (*shape[:-1], 5)

    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(Eager(name="eager")(inputs)))
    with pytest.raises(ModelError, match=r"Layer 'eager' \(Eager\) of model '.*' does not run in a TensorFlow graph"):
        find_cuts(model)


def test_either_side():
    """Head and tail add up; a layer called on both sides counts on both."""
    model = ZOO["chain"]()
    for cut in find_cuts(model):
        assert cut.head_params + cut.tail_params == model.count_params()
        assert cut.head_macs + cut.tail_macs == count_macs(model)
    conv = 3 * 3 * 3 * 3 + 3
    second = find_cuts(ZOO["shared"]())[1]
    assert (second.head_params, second.tail_params) == (conv, conv + 48 * 3 + 3)


@pytest.mark.parametrize(
    "name",
    sorted(set(ZOO) - {"sequence", "states", "masks", "varying_size"}),  # loops, which the profiler does not enter
)
def test_zoo_against_profiler(name):
    """Every feed-forward shape of graph costs what TensorFlow's profiler says, to 1 %."""
    _compare(ZOO[name]())


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_applications_against_profiler(application, name):
    """Known architectures cost what TensorFlow's profiler says, to 1 %."""
    _compare(application(name))


def _compare(model: keras.Model) -> None:
    counted, by_hand = profiled_macs(model)
    assert count_macs(model) == pytest.approx(counted + sum(by_hand.values()), rel=0.01)
