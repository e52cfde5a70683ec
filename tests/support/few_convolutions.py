"""The command `isplit`, where the narrow VGG16 of the experiments' smallest scale has one convolution a block.

Poolings that leave the size as it is stand in the others' places, so that there are as many cuts; a network of five
convolutions is traced in half the time of one of thirteen, which is what these jobs spend their time on.

python few_convolutions.py reproduce ...
"""

import keras

from isplit_tf.cli.main import main
from isplit_tf.experiments import originals


def few_convolutions(shape: tuple[int, int, int]) -> keras.Model:
    """Thirteen layers and five poolings, as in VGG16."""
    layers = keras.layers
    inputs = x = keras.Input(shape)
    for block, (width, count) in enumerate(((4, 2), (8, 2), (16, 3), (32, 3), (32, 3)), 1):
        x = layers.Conv2D(
            width, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"block{block}_conv1"
        )(x)
        for k in range(2, count + 1):
            x = layers.MaxPooling2D(2, strides=1, padding="same", name=f"block{block}_conv{k}")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(inputs, x)


if __name__ == "__main__":
    originals._NARROW_NETWORKS["vgg16_narrow"] = few_convolutions
    main()
