"""The paper's under-complete autoencoder, which stands between head and tail.

The encoder runs on the device and is kept small; the decoder runs on the server and mirrors it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from ..errors import ArgumentError, checked_integer
from .base import Bottleneck, LatentPlan, checked_shape
from .quantizer import with_levels

__all__ = ["Autoencoder", "LatentPlan"]

INITS = ("random", "projection")

# Three taps on an axis see past one step of a stride of 2 on either side; more cost more than they bring
# here.
_TAPS = 3
# A hidden width below this can die as a whole behind its ReLU, and saves nothing.
_FEWEST_FILTERS = 8
# Channels of the convolution that the encoder may weigh at most: one of C to min(C, 256) channels.
_BUDGET_CHANNELS = 256
_LAYERS_BY_RANK = {
    1: (keras.layers.Dense, keras.layers.Dense, None),
    2: (keras.layers.Conv1D, keras.layers.Conv1DTranspose, keras.layers.Cropping1D),
    3: (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Cropping2D),
}


@dataclass(frozen=True)
class Autoencoder(Bottleneck):
    """The paper's bottleneck: two convolutions down, two transposed convolutions and a crop back up.

    A convolution has 3 taps and stride 2 on each axis where the map that it reads has at least 2 elements
    (on a shorter axis it has as many taps as elements, since further ones would only see padding). ReLU
    follows the first convolution and the first transposed one. The latent is linear: each of its elements
    then carries a sign as well as a size, none can die, and since int8 has a zero point, its 256 steps
    cover the range from the lowest to the highest value whatever its signs are. The last layer is linear
    too, so that features of any sign can be restored. Vectors `(D,)` get dense layers, sequences `(T, D)`
    convolutions along T, maps are `(H, W, C)`.

    The latent holds `max(1, round((1 - compression) * size))` elements or the nearest that its grid allows:
    a grid of h x w positions holds multiples of h w. `plan(shape)` tells both. Compression counts elements;
    int8 saves a further factor of 4 of float32.

    Args:
        compression: Share of the features' elements that is left out, in [0, 1); 0.9 where neither it,
            `latent_size` nor `payload_bytes` is given.
        filters: Hidden width. By default the widest (8 at least) with which the encoder has no more weights
            than one convolution from C to min(C, 256) channels with the same taps, and so, as it works at
            half the resolution, about a quarter of its multiply-accumulates. A head that ends in C channels
            holds at least such a layer as a rule, so the encoder does not outweigh it: 1.2 M weights at
            VGG16's block4_pool (head 7.6 M), 4.7 M at (7, 7, 2048) of ResNet50 (head 23.6 M; a width of C/2
            would make 42 M). It can outweigh the very first layers of a network and heads of 1x1
            convolutions; `filters` is there for those.
        latent_size: Elements of the latent, in place of `compression`: the same payload at every cut. The
            grid gives the nearest that it allows, and never more than the features have.
        payload_bytes: Bytes a frame at most, header included, with a latent of int8 or of `latent_bits`, in place of
            `compression`; more where its grid, a quarter of the features' positions on each axis,
            does not have so few.
        latent_bits: 8, 4 or 2: so many bits of each element are sent, and the second phase of `train` learns with their
            steps, over ranges that it observes before (one a channel; they are not counted as weights). None for a
            latent that is sent as the head gives it.
        init: "random", or "projection": `train` first gives it the weights of two `Projection`s, one behind the other,
            each of patches of 2 x 2 elements, fitted in the Fisher metric from 2,000 images; see
            `isplit_tf.bottlenecks.embedding`. The hidden width is then at least what lets all of the latent through,
            twice over: a unit for the positive part of each number and one for the negative, so that ReLU changes
            nothing. Untrained, it is a linear bottleneck; `bottleneck_epochs` and `fine_tune_epochs` go on from there.
        seed: Makes the initial weights repeatable; None for new ones each time.

    Raises:
        ArgumentError: An argument is outside of its range, or more than one amount is given.

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
        """Latent and cost for features of one shape, without building anything.

        Args:
            shape: Features without the batch: `(H, W, C)`, `(T, D)` or `(D,)`.

        Returns:
            The plan; the models that `build` makes have exactly its numbers.

        Raises:
            ArgumentError: A dimension is open or below 1, or the rank is not 1, 2 or 3.

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
        """Makes an encoder and a decoder for features of one shape.

        The layers compute in the precision of the weights of Keras' dtype policy: in float32 also where the
        policy is mixed, since what passes here is quantized later.

        Args:
            shape: Features without the batch: `(H, W, C)`, `(T, D)` or `(D,)`, channels last.

        Returns:
            Two functional models of static shapes: the encoder from an input named `features`, the decoder
            from one named `latent`, to the exact shape again. They share nothing.

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
        return with_levels(encoder, decoder, self.latent_bits)

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain JSON values; `from_config` makes an equal record of them."""
        kept = super().get_config()
        return kept if self.init != "random" else {name: value for name, value in kept.items() if name != "init"}


class _Stage:
    """Makes the layers of one half, numbered and seeded."""

    def __init__(self, name: str, rank: int, seed: int | None, first_seed: int):
        self._name = name
        self._down, self._up, self._crop = _LAYERS_BY_RANK[rank]
        self._seed, self._next_seed = seed, first_seed
        self._count = 0
        self._dtype = keras.config.dtype_policy().variable_dtype

    def input(self, shape: tuple[int, ...], name: str) -> Any:
        return keras.Input(shape, name=name, dtype=self._dtype)

    def down(self, tensor: Any, space: Sequence[int], filters: int, *, activation: str | None = None) -> Any:
        """A convolution that halves each axis of `space`, or a dense layer where there is none."""
        return self._down(filters, **self._window(space), **self._common(activation))(tensor)

    def up(self, tensor: Any, space: Sequence[int], filters: int, *, activation: str | None = None) -> Any:
        """The way back from `down`: a transposed convolution, and a crop to `space`."""
        tensor = self._up(filters, **self._window(space), **self._common(activation))(tensor)
        # An odd axis comes back one too long. Padding of `same` puts a convolution's first window one
        # before an odd axis and none before an even one, so it is the first element that goes: the rest is
        # then aligned.
        excess = [(have - wanted, 0) for have, wanted in zip(tensor.shape[1:-1], space, strict=True)]
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
    """The widest encoder within its budget of weights; `outer` and `inner` are the taps of its two
    layers."""
    budget = outer * channels * min(channels, _BUDGET_CHANNELS)
    return max(_FEWEST_FILTERS, budget // (outer * channels + inner * latent))
