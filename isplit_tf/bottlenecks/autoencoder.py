"""The paper's under-complete autoencoder between head and tail.

The encoder runs on the device and is kept small; the decoder runs on the server and mirrors it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from ..errors import ArgumentError, checked_integer
from .base import Bottleneck, LatentPlan, checked_shape
from .quantizer import with_rounding

__all__ = ["Autoencoder", "LatentPlan"]

INITS = ("random", "projection")

# With a stride of 2, three taps on an axis reach into the neighbouring windows; more taps cost more than they gain.
_TAPS = 3
# In a narrower hidden layer all units can die behind the ReLU, and a narrower layer saves nothing.
_FEWEST_FILTERS = 8
# The encoder has at most as many weights as one convolution from C to min(C, 256) channels; this is the 256.
_BUDGET_CHANNELS = 256
_LAYERS_BY_RANK = {
    1: (keras.layers.Dense, keras.layers.Dense, None),
    2: (keras.layers.Conv1D, keras.layers.Conv1DTranspose, keras.layers.Cropping1D),
    3: (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Cropping2D),
}


@dataclass(frozen=True)
class Autoencoder(Bottleneck):
    """The paper's bottleneck: two convolutions down, two transposed convolutions and a crop back up.

    A convolution has 3 taps and stride 2 on each axis on which its input has at least 2 elements. On a shorter
    axis it has as many taps as there are elements, since further taps would only see padding. ReLU follows the
    first convolution and the first transposed one. The latent is linear: its elements can have either sign, none
    can die, and since int8 has a zero point, the 256 steps cover the range from the lowest to the highest value.
    The last layer is linear too, so that features of any sign can be restored. Vectors `(D,)` get dense layers,
    sequences `(T, D)` get convolutions along T, and maps `(H, W, C)` get convolutions along H and W.

    The latent holds `max(1, round((1 - compression) * size))` elements or the nearest number that its grid allows:
    a grid of h x w positions holds multiples of h w. `plan(shape)` tells both numbers. Compression counts elements;
    int8 saves a further factor of 4 over float32.

    Args:
        compression: Share of the features' elements that is left out, in [0, 1); 0.9 if neither `compression`,
            `latent_size` nor `payload_bytes` is given.
        filters: Hidden width. The default is the largest width (at least 8) at which the encoder has no more weights
            than one convolution from C to min(C, 256) channels with the same taps. Since the encoder works at half
            the resolution, it then takes about a quarter of that convolution's multiply-accumulates. A head that ends
            in C channels usually contains such a layer, so the encoder does not outweigh the head: 1.2 M weights at
            VGG16's block4_pool (head 7.6 M), 4.7 M at (7, 7, 2048) of ResNet50 (head 23.6 M; a width of C/2
            would make 42 M). The encoder can outweigh the very first layers of a network and heads of 1x1
            convolutions; set `filters` there.
        latent_size: Elements of the latent, instead of `compression`: the same payload at every cut. The latent has
            the nearest size that the grid allows, and never more elements than the features.
        payload_bytes: Bytes per frame at most, header included, with a latent of int8 or of `latent_bits`, instead of
            `compression`. The payload is larger only if one number for each position of the grid, which has a quarter
            of the features' positions on each axis, already takes more bytes.
        latent_bits: 8, 4 or 2: the number of bits sent of each element. The second phase of `train` learns with this
            rounding, over ranges that it observes first (one per channel; they are not counted as weights). None
            sends the latent as the head gives it.
        coding: "entropy" codes the latent without loss: `train` chooses one step for all its elements, for
            `payload_bytes` so that frames take so many bytes in the mean over the images that it looks at, else so
            fine that it hardly rounds. "none", the default, sends each element with as many bits as another.
        init: "random" or "projection". With "projection", `train` starts from the weights of two `Projection`s in
            sequence, each of patches of 2 x 2 elements, fitted in the Fisher metric from 2,000 images; see
            `isplit_tf.bottlenecks.embedding`. The hidden layer then has at least two units for each number of the
            latent, one for its positive and one for its negative part, so that ReLU changes nothing. Untrained, this
            is a linear bottleneck; `bottleneck_epochs` and `fine_tune_epochs` continue from there.
        seed: Makes the initial weights repeatable; None draws new ones each time.

    Raises:
        ArgumentError: If an argument is outside of its range, or more than one amount is given.

    Example:
        >>> encoder, decoder = Autoencoder(0.9, seed=0).build((14, 14, 512))
        >>> encoder.output_shape, decoder.output_shape
        ((None, 4, 4, 627), (None, 14, 14, 512))

    Reference:
        Cunico, Capogrosso et al., "I-Split", ICPR 2022, Section III.
    """

    filters: int | None = None
    init: str = field(default="random", kw_only=True)
    seed: int | None = field(default=None, kw_only=True)

    _ALWAYS = ("filters", "seed")  # in the records of every release

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init not in INITS:
            raise ArgumentError(f"init: expected one of {INITS}. Received: {self.init!r}")
        if self.filters is not None:
            self._set("filters", checked_integer("filters", self.filters, 1))
        if self.seed is not None:
            self._set("seed", checked_integer("seed", self.seed, 0))

    def plan(self, shape: Sequence[int]) -> LatentPlan:
        """Return the latent's shape and the cost for features of one shape, without building anything.

        Args:
            shape: Features without the batch: `(H, W, C)`, `(T, D)` or `(D,)`.

        Returns:
            The plan; the models that `build` makes have exactly these numbers.

        Raises:
            ArgumentError: If a dimension is open or below 1, or the rank is not 1, 2 or 3.

        Example:
            >>> Autoencoder(0.9).plan((8, 8, 64)).latent_shape
            (2, 2, 102)
        """
        shape = checked_shape(shape)
        *space, channels = shape
        middle, grid = _halved(space), _halved(_halved(space))
        size, positions = math.prod(shape), math.prod(grid)
        requested = self.requested_size(size)
        latent = self.channels(requested, positions)
        outer, inner = _taps(space), _taps(middle)
        filters = self.filters or _default_filters(outer, inner, channels, latent)
        if self.filters is None and self.init == "projection":
            filters = max(filters, 2 * math.ceil(latent * positions / math.prod(middle)))
        first, second = outer * channels * filters, inner * filters * latent
        return LatentPlan(
            shape=shape,
            latent_shape=(*grid, latent),
            latent_size=positions * latent,
            requested_size=requested,
            compression=1 - positions * latent / size,
            filters=filters,
            encoder_params=first + second + filters + latent,
            encoder_macs=math.prod(middle) * first + positions * second,
            decoder_params=first + second + filters + channels,
        )

    def build(self, shape: Sequence[int]) -> tuple[keras.Model, keras.Model]:
        """Build an encoder and a decoder for features of one shape.

        The layers compute in the dtype of the weights in Keras' dtype policy. With a mixed policy this is float32,
        since the latent is quantized later.

        Args:
            shape: Features without the batch: `(H, W, C)`, `(T, D)` or `(D,)`, channels last.

        Returns:
            Two functional models of static shapes. The encoder has an input named `features`; the decoder has an
            input named `latent` and restores the exact shape. They share nothing.

        Raises:
            ArgumentError: As in `plan`.

        Example:
            >>> encoder, decoder = Autoencoder(0.5).build((9, 5))
            >>> decoder.output_shape
            (None, 9, 5)
        """
        plan = self.plan(shape)
        *space, channels = plan.shape
        middle, latent = _halved(space), plan.latent_shape[-1]
        encode = _Stage("encoder", len(plan.shape), self.seed, 0)
        features = encode.input(plan.shape, "features")
        hidden = encode.down(features, space, plan.filters, activation="relu")
        encoder = keras.Model(features, encode.down(hidden, middle, latent), name="encoder")

        decode = _Stage("decoder", len(plan.shape), self.seed, 2)
        code = decode.input(plan.latent_shape, "latent")
        hidden = decode.up(code, middle, plan.filters, activation="relu")
        decoder = keras.Model(code, decode.up(hidden, space, channels), name="decoder")
        return with_rounding(encoder, decoder, self.latent_bits, coded=self.is_coded)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain JSON values; `from_config` makes an equal record of them."""
        config = super().get_config()
        return config if self.init != "random" else {name: value for name, value in config.items() if name != "init"}


class _Stage:
    """The layers of one half, numbered and seeded."""

    def __init__(self, name: str, rank: int, seed: int | None, first_seed: int):
        self._name = name
        self._down, self._up, self._crop = _LAYERS_BY_RANK[rank]
        self._seed, self._next_seed = seed, first_seed
        self._count = 0
        self._dtype = keras.config.dtype_policy().variable_dtype

    def input(self, shape: tuple[int, ...], name: str) -> Any:
        """Return a new symbolic input of the given shape."""
        return keras.Input(shape, name=name, dtype=self._dtype)

    def down(self, tensor: Any, space: Sequence[int], filters: int, *, activation: str | None = None) -> Any:
        """Apply a convolution that halves each axis of `space`, or a dense layer if `space` is empty."""
        return self._down(filters, **self._window(space), **self._common(activation))(tensor)

    def up(self, tensor: Any, space: Sequence[int], filters: int, *, activation: str | None = None) -> Any:
        """Apply the inverse of `down`: a transposed convolution, and a crop to `space`."""
        tensor = self._up(filters, **self._window(space), **self._common(activation))(tensor)
        # An odd axis comes back one element too long. With padding "same", a convolution's first window starts one
        # element before an odd axis, and at the start of an even one. So the first element is cropped, and the others
        # are aligned.
        excess = [(actual - target, 0) for actual, target in zip(tensor.shape[1:-1], space, strict=True)]
        if any(before for before, _ in excess):
            cropping = excess[0] if len(excess) == 1 else tuple(excess)
            tensor = self._crop(cropping, name=f"{self._name}_crop_{self._count}", dtype=self._dtype)(tensor)
        return tensor

    def _window(self, space: Sequence[int]) -> dict[str, Any]:
        if not space:
            return {}
        kernel, strides = tuple(min(_TAPS, n) for n in space), tuple(min(2, n) for n in space)
        return {"kernel_size": kernel, "strides": strides, "padding": "same"} | (
            {} if self._down is keras.layers.Dense else {"data_format": "channels_last"}
        )

    def _common(self, activation: str | None) -> dict[str, Any]:
        self._count += 1
        seed = None if self._seed is None else self._seed + self._next_seed + self._count
        return {
            "activation": activation,
            "kernel_initializer": keras.initializers.GlorotUniform(seed=seed),
            "name": f"{self._name}_{self._down.__name__.lower()}_{self._count}",
            "dtype": self._dtype,
        }


def _halved(space: Sequence[int]) -> list[int]:
    return [math.ceil(n / 2) for n in space]


def _taps(space: Sequence[int]) -> int:
    return math.prod(min(_TAPS, n) for n in space)


def _default_filters(outer: int, inner: int, channels: int, latent: int) -> int:
    """Return the largest width at which the encoder stays within its budget of weights.

    Args:
        outer: Taps of its first layer.
        inner: Taps of its second layer.
        channels: Channels of the features.
        latent: Channels of the latent.
    """
    budget = outer * channels * min(channels, _BUDGET_CHANNELS)
    return max(_FEWEST_FILTERS, budget // (outer * channels + inner * latent))
