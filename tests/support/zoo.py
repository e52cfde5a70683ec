"""Small models, one for each shape that a graph can have."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from isplit_tf.graph.program import fill, read_program

ZOO: dict[str, Callable[[], keras.Model]] = {}


def zoo(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    """Put a model into the zoo under its function's name."""
    ZOO[build.__name__] = build
    return build


def random_input(model: keras.Model, n: int = 3, *, side: int = 8, scale: float = 1.0, seed: int = 0) -> Any:
    """A batch as a model takes it: normal numbers, or small integers for integer inputs; `side` where a size varies."""
    rng = np.random.default_rng(seed)

    def array(spec: Any) -> np.ndarray:
        shape = (n, *(side if d is None else d for d in spec.shape[1:]))
        if "int" in str(spec.dtype):
            return rng.integers(0, 6, shape).astype(spec.dtype)
        return (scale * rng.normal(size=shape)).astype("float32")

    program = read_program(model)
    values = {tensor: array(program.tensors[tensor]) for tensor in program.inputs}
    return fill(program.input_structure, values)


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Weights that are no longer those of a fresh model: biases, means and variances included."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.trainable or "moving" in weight.path:
            noise = rng.normal(size=tuple(weight.shape)) * 0.1
            weight.assign(np.abs(noise) + 0.5 if "variance" in weight.path else weight.numpy().astype("f8") + noise)
    return model


@zoo
def chain() -> keras.Model:
    """Convolutions, poolings and dense layers, one after the other."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(6, 3, padding="same", name="conv2"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("relu", name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(5, activation="softmax", name="scores"),
        ],
        name="chain",
    )


@zoo
def mlp() -> keras.Model:
    """Vectors only."""
    x = inputs = keras.Input((7,), name="features")
    x = layers.Dense(6, activation="relu", name="hidden1")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Dense(4, activation="tanh", name="hidden2")(x)
    return keras.Model(inputs, layers.Dense(3, name="scores")(x), name="mlp")


@zoo
def residual() -> keras.Model:
    """Two residual blocks and operators of keras.ops."""
    x = inputs = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    for k in (1, 2):
        y = layers.Conv2D(4, 3, padding="same", name=f"block{k}_conv")(x)
        y = layers.BatchNormalization(name=f"block{k}_norm")(y)
        x = layers.Add(name=f"block{k}_add")([x, y])
        x = ops.relu(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x * 2.0 + 1.0)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="residual")


@zoo
def branches() -> keras.Model:
    """An inception block, then one with a layer that gives two tensors."""
    x = inputs = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 1, name="stem")(x)
    parts = [layers.Conv2D(2, k, padding="same", name=f"branch{k}")(x) for k in (1, 3)]
    parts.append(layers.MaxPooling2D(3, 1, padding="same", name="branch_pool")(x))
    x = layers.Concatenate(name="mixed")(parts)
    left, right = ops.split(x, 2, axis=-1)
    x = layers.Multiply(name="gated")([left, ops.sigmoid(right)])
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="scores")(x), name="branches")


@zoo
def shared() -> keras.Model:
    """One convolution called three times in a row, and once more behind a pooling."""
    conv = layers.Conv2D(3, 3, padding="same", activation="relu", name="conv")
    x = inputs = keras.Input((8, 8, 3), name="image")
    for _ in range(3):
        x = conv(x)
    x = conv(layers.MaxPooling2D(name="pool")(x))
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="shared")


def _backbone(name: str, channels: int = 3) -> keras.Model:
    x = inputs = keras.Input((8, 8, channels), name="backbone_input")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    y = layers.Conv2D(4, 3, padding="same", name="inner")(x)
    x = layers.Add(name="add")([x, y])
    return keras.Model(inputs, layers.ReLU(name="relu")(x), name=name)


@zoo
def nested() -> keras.Model:
    """Transfer learning: preprocessing, a backbone, a new top, in a Sequential."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Rescaling(1 / 2, offset=0.1, name="scale"),
            _backbone("backbone"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(3, activation="softmax", name="scores"),
        ],
        name="nested",
    )


@zoo
def doubly_nested() -> keras.Model:
    """Models in models, with equal layer names in each."""
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), _backbone("conv", 4), layers.MaxPooling2D(name="pool")], name="inner"
    )
    outer = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 1, name="conv"), inner], name="outer")
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Flatten(name="flat")(outer(x))
    return keras.Model(inputs, layers.Dense(3, name="scores")(x), name="doubly_nested")


@zoo
def called_twice() -> keras.Model:
    """A nested model called twice in a row; one of its layers is called once more by itself."""
    layer = layers.Dense(5, activation="relu", name="dense")
    block_input = keras.Input((5,))
    block = keras.Model(block_input, layers.LayerNormalization(name="norm")(layer(block_input)), name="block")
    x = inputs = keras.Input((5,), name="features")
    x = layer(block(block(x)))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="called_twice")


@zoo
def shared_between_nested() -> keras.Model:
    """One layer in two nested models."""
    layer = layers.Dense(4, activation="tanh", name="common")
    blocks = []
    for k in (1, 2):
        entry = keras.Input((4,))
        blocks.append(keras.Model(entry, layer(layers.Dense(4, name="own")(entry)), name=f"block{k}"))
    x = inputs = keras.Input((4,), name="features")
    for block in blocks:
        x = block(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax", name="scores")(x), name="shared_between_nested")


@zoo
def unbuilt_nested() -> keras.Model:
    """A Sequential without an input shape, inside another model."""
    block = keras.Sequential([layers.Conv2D(3, 3, name="conv"), layers.ReLU(name="relu")], name="block")
    x = inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Flatten(name="flat")(block(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="unbuilt_nested")


@zoo
def two_inputs() -> keras.Model:
    """A list of two inputs, the second read late."""
    image, meta = keras.Input((6, 6, 2), name="image"), keras.Input((3,), name="meta")
    x = layers.Conv2D(3, 3, name="conv")(image)
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    x = layers.Concatenate(name="join")([x, meta])
    x = layers.Dense(5, activation="relu", name="hidden")(x)
    return keras.Model([image, meta], layers.Dense(3, activation="softmax", name="scores")(x), name="two_inputs")


@zoo
def dict_inputs() -> keras.Model:
    """A dict of inputs, one of integers."""
    inputs = {"tokens": keras.Input((5,), dtype="int32", name="tokens"), "meta": keras.Input((2,), name="meta")}
    x = layers.Embedding(6, 4, name="embed")(inputs["tokens"])
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(4, name="hidden")(ops.concatenate([x, inputs["meta"]], axis=-1))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="dict_inputs")


@zoo
def two_outputs() -> keras.Model:
    """Class scores and a reconstruction, with a trunk in common."""
    x = inputs = keras.Input((6,), name="features")
    x = layers.Dense(4, activation="relu", name="trunk")(x)
    scores = layers.Dense(3, activation="softmax", name="scores")(layers.Dense(4, name="hidden")(x))
    return keras.Model(inputs, {"scores": scores, "again": layers.Dense(6, name="again")(x)}, name="two_outputs")


@zoo
def no_cut() -> keras.Model:
    """The input is read again at the very end."""
    inputs = keras.Input((4,), name="features")
    x = layers.Dense(4, name="hidden")(inputs)
    return keras.Model(inputs, layers.Add(name="sum")([x, inputs]), name="no_cut")


@zoo
def skips() -> keras.Model:
    """A small U-Net with a classifier on top."""
    x = inputs = keras.Input((8, 8, 1), name="image")
    x1 = layers.Conv2D(3, 3, padding="same", activation="relu", name="down1")(x)
    x2 = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="down2")(x1)
    x = layers.Conv2DTranspose(3, 2, strides=2, name="up")(x2)
    x = layers.Concatenate(name="skip")([x, x1])
    x = layers.Conv2D(4, 3, padding="same", name="after")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="skips")


@zoo
def sequence() -> keras.Model:
    """1-D convolutions, a bidirectional LSTM and a GRU."""
    x = inputs = keras.Input((12, 2), name="signal")
    x = layers.Conv1D(4, 3, padding="causal", activation="relu", name="conv")(x)
    x = layers.MaxPooling1D(name="pool")(x)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(x)
    x = layers.TimeDistributed(layers.Dense(4, activation="relu"), name="each")(x)
    x = layers.GRU(4, name="gru")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="sequence")


@zoo
def states() -> keras.Model:
    """An LSTM whose states are read as well."""
    x = inputs = keras.Input((5, 3), name="signal")
    _, _, cell = layers.LSTM(4, return_state=True, name="lstm")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(cell), name="states")


@zoo
def masks() -> keras.Model:
    """Embedded tokens with a mask, which two recurrent layers read."""
    x = inputs = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(6, 4, mask_zero=True, name="embed")(x)
    x = layers.Dropout(0.2, name="drop")(x)
    x = layers.LSTM(4, return_sequences=True, name="lstm")(x)
    x = layers.GRU(3, name="gru")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="masks")


@zoo
def nested_masks() -> keras.Model:
    """A mask that enters a nested model, and an attention layer that reads it there."""
    entry = keras.Input((6, 4))
    x = layers.MultiHeadAttention(2, 3, name="attention")(entry, entry)
    x = layers.Add(name="add")([x, entry])
    block = keras.Model(entry, layers.GlobalAveragePooling1D(name="pool")(x), name="block")
    block.supports_masking = True  # without it, Keras warns
    x = inputs = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(6, 4, mask_zero=True, name="embed")(x)
    x = block(x)
    x = layers.Dense(4, activation="relu", name="hidden")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="nested_masks")


@zoo
def attention() -> keras.Model:
    """A ViT: patches, two encoder blocks, class scores."""
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 4, strides=4, name="patches")(x)
    x = layers.Reshape((4, 6), name="tokens")(x)
    for k, layer in enumerate(
        (
            layers.MultiHeadAttention(2, 3, name="block0_attention"),
            layers.GroupQueryAttention(4, 4, 2, name="block1_attention"),
        )
    ):
        y = layers.LayerNormalization(name=f"block{k}_norm1")(x)
        x = layers.Add(name=f"block{k}_add1")([x, layer(y, y)])
        y = layers.LayerNormalization(name=f"block{k}_norm2")(x)
        y = layers.Dense(8, activation="gelu", name=f"block{k}_up")(y)
        y = layers.EinsumDense("abc,cd->abd", (4, 6), name=f"block{k}_down")(y)
        x = layers.Add(name=f"block{k}_add2")([x, y])
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="attention")


@zoo
def constants() -> keras.Model:
    """Constant arrays, a large one and a small one, in operations of keras.ops."""
    x = inputs = keras.Input((20, 10), name="signal")
    x = layers.Dense(10, name="dense")(x)
    x = x + ops.reshape(ops.arange(200.0), (20, 10)) / 100.0
    x = ops.take(x, ops.convert_to_tensor([3, 1, 7]), axis=-1)
    x = ops.matmul(ops.ones((4, 20)), x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="constants")


@zoo
def preprocessing() -> keras.Model:
    """Augmentation, adapted normalization, resizing and padding in front."""
    normalize = layers.Normalization(name="normalize")
    normalize.adapt(np.random.default_rng(0).normal(3, 2, (20, 9, 9, 3)))
    x = inputs = keras.Input((9, 9, 3), name="image")
    x = layers.RandomFlip(name="flip")(x)
    x = layers.RandomRotation(0.1, name="rotate")(x)
    x = layers.Resizing(8, 8, name="resize")(x)
    x = normalize(x)
    x = layers.ZeroPadding2D(name="pad")(x)
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="preprocessing")


@zoo
def varying_size() -> keras.Model:
    """Height and width that the model leaves open."""
    x = inputs = keras.Input((None, None, 2), name="image")
    x = layers.Conv2D(3, 3, padding="same", activation="relu", name="conv1")(x)
    x = layers.SeparableConv2D(4, 3, padding="same", name="conv2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="varying_size")


@zoo
def mixed_precision() -> keras.Model:
    """bfloat16 layers, a nested float32 model among them, and a float32 output."""
    entry = keras.Input((4, 4, 3), dtype="float32")
    inner = keras.Model(entry, layers.Conv2D(3, 1, dtype="float32", name="conv")(entry), name="inner")
    x = inputs = keras.Input((4, 4, 3), name="image")
    x = layers.Conv2D(3, 3, padding="same", dtype="mixed_bfloat16", name="first")(x)
    x = layers.BatchNormalization(dtype="mixed_bfloat16", name="norm")(x)
    x = inner(x)
    x = layers.Flatten(dtype="mixed_bfloat16", name="flat")(x)
    x = layers.Dense(4, activation="relu", dtype="mixed_bfloat16", name="hidden")(x)
    x = layers.Dense(3, dtype="float32", activation="softmax", name="scores")(x)
    return keras.Model(inputs, x, name="mixed_precision")


@zoo
def told_to_train() -> keras.Model:
    """Layers that were called with `training=...`."""
    x = inputs = keras.Input((4, 4, 2), name="image")
    x = layers.Conv2D(3, 3, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x, training=False)
    x = layers.Dropout(0.5, name="drop")(x, training=False)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="told_to_train")


@zoo
def in_memory_lambda() -> keras.Model:
    """A Lambda with a Python lambda, and one with a function and arguments."""

    def scaled(x: Any, by: float) -> Any:
        return x * by

    x = inputs = keras.Input((4,), name="features")
    x = layers.Dense(4, name="hidden")(x)
    x = layers.Lambda(lambda t: ops.abs(t) + 1.0, name="absolute")(x)
    x = layers.Lambda(scaled, arguments={"by": 3.0}, name="scaled")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="in_memory_lambda")


class Shift(layers.Layer):
    """A custom layer that is not registered, with a weight and a layer inside."""

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.dense = layers.Dense(units)

    def build(self, shape: tuple) -> None:
        self.dense.build(shape)
        self.offset = self.add_weight(shape=(self.units,), initializer="ones", name="offset")

    def call(self, x: Any) -> Any:
        return self.dense(x) + self.offset

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape[:-1], self.units)

    def get_config(self) -> dict:
        return super().get_config() | {"units": self.units}


@zoo
def custom_layer() -> keras.Model:
    """A layer of the user's own, by class and by subclass of a Keras layer."""

    class Wide(layers.Dense):
        """Another user's layer."""

    x = inputs = keras.Input((4,), name="features")
    x = Shift(5, name="shift")(x)
    x = Wide(6, activation="relu", name="wide")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="custom_layer")


class Block(keras.Model):
    """A subclassed block with a weight of its own, used in keras.ops."""

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.dense = layers.Dense(units, activation="relu", name="dense")
        self.norm = layers.BatchNormalization(name="norm")
        self.position = self.add_weight(shape=(units,), initializer="ones", name="position")
        self.mix = self.add_weight(shape=(units, units), initializer="glorot_uniform", name="mix")

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.norm(self.dense(x), training=training)
        return ops.matmul(x + self.position, self.mix)


class Subclassed(keras.Model):
    """A subclassed model around a subclassed block."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.first, self.second = Block(4, name="first"), Block(4, name="second")
        self.scores = layers.Dense(3, activation="softmax", name="scores")

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.first(x, training=training)
        return self.scores(ops.relu(self.second(x) * 2.0))


@zoo
def subclassed() -> keras.Model:
    """Written with layers, keras.ops, and weights that belong to no layer."""
    model = Subclassed(name="subclassed")
    model(np.zeros((2, 5), "float32"))
    return model
