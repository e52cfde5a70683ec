"""Models besides keras.applications, one for each shape of graph that a user's model may have."""

from collections.abc import Callable

import keras
from keras import layers, ops

MODELS: dict[str, Callable[[], keras.Model]] = {}


def model(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    """Add a model to the list under the name of its function."""
    MODELS[build.__name__] = build
    return build


def _scores(x: keras.KerasTensor, classes: int = 10) -> keras.KerasTensor:
    return layers.Dense(classes, activation="softmax", name="scores")(x)


@model
def vision_transformer() -> keras.Model:
    """Build a vision transformer: 8x8 patches of 64x64 images, 6 encoder blocks, width 96."""
    x = inputs = keras.Input((64, 64, 3), name="image")
    x = layers.Conv2D(96, 8, strides=8, name="patches")(x)
    x = layers.Reshape((64, 96), name="tokens")(x)
    x = x + layers.Embedding(64, 96, name="position")(ops.arange(64))
    for k in range(6):
        y = layers.LayerNormalization(name=f"block{k}_norm1")(x)
        y = layers.MultiHeadAttention(4, 24, name=f"block{k}_attention")(y, y)
        x = layers.Add(name=f"block{k}_add1")([x, y])
        y = layers.LayerNormalization(name=f"block{k}_norm2")(x)
        y = layers.Dense(192, activation="gelu", name=f"block{k}_mlp1")(y)
        x = layers.Add(name=f"block{k}_add2")([x, layers.Dense(96, name=f"block{k}_mlp2")(y)])
    x = layers.LayerNormalization(name="norm")(x)
    return keras.Model(inputs, _scores(layers.GlobalAveragePooling1D(name="pool")(x)), name="vision_transformer")


@model
def convolution_1d() -> keras.Model:
    """Build a convolutional classifier of signals."""
    x = inputs = keras.Input((128, 6), name="signal")
    for k, filters in enumerate((16, 32, 64)):
        x = layers.Conv1D(filters, 5, padding="same", activation="relu", name=f"conv{k}")(x)
        x = layers.MaxPooling1D(name=f"pool{k}")(x)
    return keras.Model(inputs, _scores(layers.GlobalAveragePooling1D(name="pool")(x)), name="convolution_1d")


@model
def lstm() -> keras.Model:
    """Build a recurrent classifier of signals, whose first layer is bidirectional."""
    x = inputs = keras.Input((24, 6), name="signal")
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True), name="both")(x)
    x = layers.LSTM(24, return_sequences=True, name="lstm")(x)
    x = layers.GRU(24, name="gru")(x)
    return keras.Model(inputs, _scores(layers.Dense(16, activation="relu", name="hidden")(x)), name="lstm")


@model
def masked_text() -> keras.Model:
    """Build a classifier of token sequences with a mask."""
    x = inputs = keras.Input((24,), dtype="int32", name="tokens")
    x = layers.Embedding(500, 16, mask_zero=True, name="embed")(x)
    x = layers.LSTM(16, return_sequences=True, name="lstm")(x)
    x = layers.Bidirectional(layers.GRU(8), name="both")(x)
    return keras.Model(inputs, _scores(layers.Dense(16, activation="relu", name="hidden")(x)), name="masked_text")


@model
def u_net() -> keras.Model:
    """Build an encoder and a decoder with skip connections, followed by class scores."""
    x = inputs = keras.Input((32, 32, 3), name="image")
    skips = []
    for k, filters in enumerate((8, 16, 32)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"down{k}_conv")(x)
        skips.append(x)
        x = layers.MaxPooling2D(name=f"down{k}_pool")(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu", name="middle")(x)
    for k, skip in reversed(list(enumerate(skips))):
        x = layers.Conv2DTranspose(skip.shape[-1], 2, strides=2, name=f"up{k}")(x)
        x = layers.Concatenate(name=f"up{k}_skip")([x, skip])
        x = layers.Conv2D(skip.shape[-1], 3, padding="same", activation="relu", name=f"up{k}_conv")(x)
    x = layers.Conv2D(32, 3, strides=2, activation="relu", name="after")(x)
    return keras.Model(inputs, _scores(layers.GlobalAveragePooling2D(name="pool")(x)), name="u_net")


@model
def shared_layer() -> keras.Model:
    """Build a model that calls one residual convolution four times, with pooling between."""
    conv = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv")
    x = inputs = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", name="stem")(x)
    for k in range(4):
        x = layers.Add(name=f"add{k}")([x, conv(x)])
        x = layers.MaxPooling2D(name=f"pool{k}")(x)
    return keras.Model(inputs, _scores(layers.Flatten(name="flat")(x)), name="shared_layer")


@model
def two_inputs() -> keras.Model:
    """Build a model of an image and a few numbers, joined before the last convolutions."""
    image, numbers = keras.Input((32, 32, 3), name="image"), keras.Input((4,), name="numbers")
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="conv1")(image)
    y = layers.Reshape((1, 1, 16), name="spread")(layers.Dense(16, name="encode")(numbers))
    x = layers.Multiply(name="join")([x, y])
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv2")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv3")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model([image, numbers], _scores(x), name="two_inputs")


@model
def doubly_nested() -> keras.Model:
    """Build a MobileNet nested in two models, with preprocessing in front."""
    backbone = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.25)
    entry = keras.Input((32, 32, 3))
    inner = keras.Model(entry, layers.Dropout(0.2, name="drop")(backbone(entry)), name="inner")
    x = inputs = keras.Input((40, 40, 3), name="image")
    x = layers.Resizing(32, 32, name="resize")(x)
    x = layers.Rescaling(1 / 2, name="rescale")(x)
    x = keras.Sequential([keras.Input((32, 32, 3)), inner, layers.GlobalAveragePooling2D(name="pool")], name="outer")(x)
    return keras.Model(inputs, _scores(x), name="doubly_nested")


class Block(keras.Model):
    """A residual block with a weight that belongs to no layer."""

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(filters, 3, padding="same", name="conv")
        self.norm = layers.BatchNormalization(name="norm")
        self.gain = self.add_weight(shape=(filters,), initializer="ones", name="gain")

    def call(self, x, training=None):
        return ops.relu(x + self.norm(self.conv(x), training=training) * self.gain)


class Subclassed(keras.Model):
    """Blocks in a loop, written with layers and keras.ops."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(16, 3, strides=2, padding="same", name="stem")
        self.blocks = [Block(16, name=f"block{k}") for k in range(3)]
        self.scores = layers.Dense(10, activation="softmax", name="scores")

    def call(self, x, training=None):
        x = self.stem(x)
        for block in self.blocks:
            x = ops.max_pool(block(x, training=training), 2)
        return self.scores(ops.mean(x, axis=(1, 2)))


@model
def subclassed() -> keras.Model:
    """Build a subclassed model of subclassed blocks."""
    net = Subclassed(name="subclassed")
    net(keras.ops.zeros((1, 32, 32, 3)))
    return net


@model
def efficientnet_in_sequential() -> keras.Model:
    """Build a transfer-learning model on EfficientNet, which contains its own preprocessing."""
    backbone = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 32, 3))
    top = [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(10, activation="softmax", name="scores")]
    return keras.Sequential([keras.Input((32, 32, 3)), backbone, *top], name="efficientnet_in_sequential")


@model
def mixed_precision() -> keras.Model:
    """Build a MobileNetV2 under the policy mixed_bfloat16, with float32 scores."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    backbone = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg")
    keras.config.set_dtype_policy("float32")
    x = inputs = keras.Input((32, 32, 3), name="image")
    return keras.Model(
        inputs, layers.Dense(10, activation="softmax", name="scores")(backbone(x)), name="mixed_precision"
    )
