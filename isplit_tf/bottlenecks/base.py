"""The size of a bottleneck's latent: what the caller asks for, and what the bottleneck's grid allows."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from isplit_edge.wire import HEADER_BYTES, LATENT_BITS

from ..errors import ArgumentError, checked_integer

DEFAULT_COMPRESSION = 0.9
CODINGS = ("entropy", "none")
# Fewest bytes of a coded frame: header, number of channels, number of lanes, one lane's state, and something to say.
LEAST_CODED_BYTES = HEADER_BYTES + 8
# Bits per element for which a coded latent is made: most symbols are zero.
_CODED_BITS = 4


@dataclass(frozen=True)
class LatentPlan:
    """The sizes and costs of a bottleneck for features of one shape: pure arithmetic, no Keras.

    Attributes:
        shape: Shape of the features at the cut, without the batch.
        latent_shape: Shape of the latent, without the batch.
        latent_size: Elements of the latent.
        requested_size: The elements that were asked for, which the grid may not allow exactly.
        compression: The compression reached: `1 - latent_size / size`.
        filters: Hidden width of encoder and decoder; 0 if they have no hidden layer.
        encoder_params: Weights of the encoder (elements).
        encoder_macs: Multiply-accumulates of the encoder per image.
        decoder_params: Weights of the decoder (elements).
        patch: Elements on each axis that one latent position stands for; empty if the patches overlap.
    """

    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    latent_size: int
    requested_size: int
    compression: float
    filters: int
    encoder_params: int
    encoder_macs: int
    decoder_params: int
    patch: tuple[int, ...] = ()

    def __repr__(self) -> str:
        size = math.prod(self.shape)
        hidden = [f"{self.filters} filters"] if self.filters else []
        patches = [f"patches of {'x'.join(map(str, self.patch))}"] if self.patch else []
        parts = [
            f"compression {self.compression:.4f}",
            *hidden,
            *patches,
            f"encoder {self.encoder_params:,} weights, {self.encoder_macs:,} MACs",
            f"decoder {self.decoder_params:,} weights",
        ]
        return (
            f"LatentPlan({self.shape} -> {self.latent_shape}: {self.latent_size:,} of {size:,} elements, "
            f"{self.requested_size:,} asked; {'; '.join(parts)})"
        )


@dataclass(frozen=True)
class Bottleneck:
    """The arguments of every bottleneck: how much of the features it keeps, and in how many bits.

    Exactly one of `compression`, `latent_size` and `payload_bytes` is not None.

    Attributes:
        compression: Share of the features' elements that is left out, or None.
        latent_size: Elements of the latent, or None.
        payload_bytes: Bytes per frame, or None.
        latent_bits: Bits of each element that are sent, or None to send all bits of the head's output.
        coding: "entropy" if the symbols of the latent are coded without loss, so that frames differ in length; "none"
            if each element takes as many bits as another. None means the bottleneck's own default.
    """

    compression: float | None = None
    latent_size: int | None = field(default=None, kw_only=True)
    payload_bytes: int | None = field(default=None, kw_only=True)
    latent_bits: int | None = field(default=None, kw_only=True)
    coding: str | None = field(default=None, kw_only=True)

    # Arguments that every record holds, also if they are None; the others are left out if they are None.
    _ALWAYS: ClassVar[tuple[str, ...]] = ()
    # Whether a latent of `payload_bytes` is coded unless `coding` says otherwise.
    _CODES_BYTES: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._set("latent_bits", checked_bits(self.latent_bits))
        amounts = {name: getattr(self, name) for name in _AMOUNTS if getattr(self, name) is not None}
        if len(amounts) > 1:
            raise ArgumentError(
                "Give one of compression, the share of elements left out, latent_size, the elements kept, and "
                f"payload_bytes, the bytes per frame. Received: {', '.join(f'{k}={v!r}' for k, v in amounts.items())}"
            )
        self._set("coding", self._checked_coding())
        if self.latent_size is not None:
            self._set("latent_size", checked_integer("latent_size", self.latent_size, 1))
        elif self.payload_bytes is not None:
            least = LEAST_CODED_BYTES if self.is_coded else HEADER_BYTES + 1
            self._set("payload_bytes", checked_integer("payload_bytes", self.payload_bytes, least))
        else:
            share = DEFAULT_COMPRESSION if self.compression is None else self.compression
            self._set("compression", checked_compression(share))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _checked_coding(self) -> str:
        if self.coding is None:
            in_bytes = self.payload_bytes is not None and self.latent_bits is None
            return "entropy" if in_bytes and self._CODES_BYTES else "none"
        if self.coding not in CODINGS:
            raise ArgumentError(f"coding: expected one of {CODINGS}, or None. Received: {self.coding!r}")
        if self.coding == "entropy" and self.latent_bits is not None:
            raise ArgumentError(
                f"latent_bits={self.latent_bits} gives each element as many bits as another, and coding='entropy' as "
                "many as it needs. Give one of them."
            )
        return self.coding

    @property
    def is_coded(self) -> bool:
        """Return whether the latent is coded without loss, so that frames differ in length."""
        return self.coding == "entropy"

    @property
    def elements(self) -> int | None:
        """Return the requested elements of the latent; None if they are a share of the features."""
        if self.payload_bytes is not None:
            bits = _CODED_BITS if self.is_coded else self.latent_bits or 8
            return (self.payload_bytes - HEADER_BYTES) * 8 // bits
        return self.latent_size

    def requested_size(self, size: int) -> int:
        """Return the elements asked for, at least 1 and at most `size`, the elements of the features."""
        if self.elements is not None:
            return min(self.elements, size)
        return max(1, round((1 - (self.compression or 0.0)) * size))

    def channels(self, requested: int, positions: int) -> int:
        """Return how many numbers each position of the grid holds, at least 1.

        It is the number nearest to the request; for `payload_bytes`, an upper bound, it is rounded down.
        """
        return max(1, requested // positions if self.payload_bytes is not None else round(requested / positions))

    def for_parts(self, shapes: Sequence[tuple[int | None, ...]]) -> list[Self]:
        """Return a bottleneck for each of several tensors at a cut; they share the elements by their sizes.

        Several tensors cross as one vector, which is not coded.
        """
        if len(shapes) == 1:
            return [self]
        if self.is_coded:
            return replace(self, coding="none").for_parts(shapes)
        if self.elements is None:
            return [self] * len(shapes)
        sizes = [math.prod(checked_shape(shape)) for shape in shapes]
        total = self.elements if self.payload_bytes is None else self.payload_bytes - HEADER_BYTES
        shares = [1 + max(0, total - len(sizes)) * size // sum(sizes) for size in sizes]  # each gets at least one
        if self.payload_bytes is None:
            return [replace(self, latent_size=share) for share in shares]
        return [replace(self, payload_bytes=HEADER_BYTES + share) for share in shares]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain JSON values; `from_config` makes an equal record of them."""
        config = {name: value for name, value in asdict(self).items() if value is not None or name in self._ALWAYS}
        if not self.is_coded:  # as in the records of releases without a coder
            del config["coding"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the bottleneck whose arguments `get_config` gave.

        Raises:
            ArgumentError: If a name is not an argument of this bottleneck, or a value is outside of its range.
        """
        known = [argument.name for argument in fields(cls)]
        unknown = sorted(set(config) - set(known))
        if unknown:
            raise ArgumentError(f"{cls.__name__} has no arguments {unknown}; possible are {str(known)[1:-1]}")
        return cls(**{"coding": "none", **config})


_AMOUNTS = ("compression", "latent_size", "payload_bytes")


def for_parts(bottleneck: Any, shapes: Sequence[tuple[int | None, ...]]) -> list[Any]:
    """Return a bottleneck for each tensor at the cut; a user's own bottleneck is used for each unchanged."""
    return bottleneck.for_parts(shapes) if isinstance(bottleneck, Bottleneck) else [bottleneck] * len(shapes)


def checked_bits(value: Any) -> int | None:
    """Return `latent_bits`.

    Raises:
        ArgumentError: If it is neither one of `LATENT_BITS` nor None.
    """
    if value is not None and (isinstance(value, bool) or value not in LATENT_BITS):
        raise ArgumentError(
            f"latent_bits: expected 8, 4 or 2, or None for a latent as the head gives it. Received: {value!r}"
        )
    return None if value is None else int(value)


def checked_compression(value: Any) -> float:
    """Return `value` as a float.

    Raises:
        ArgumentError: If it is not a number in [0, 1).
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < 1:
        raise ArgumentError(
            f"compression is the share of elements left out: expected a number in [0, 1). Received: {value!r}"
        )
    return float(value)


def checked_shape(shape: Sequence[Any]) -> tuple[int, ...]:
    """Return a shape of features without the batch, from `(D,)` to `(D, H, W, C)`, as a tuple of integers.

    Raises:
        ArgumentError: If a dimension is open or below 1, or the rank is not 1 to 4.
    """
    shape = tuple(shape)
    if None in shape:
        raise ArgumentError(
            f"The features have the shape {shape}, where None varies: a bottleneck needs fixed dimensions. "
            "Build the model with a fixed input shape, or cut where the shape is fixed."
        )
    if not all(isinstance(n, numbers.Integral) and not isinstance(n, bool) and int(n) >= 1 for n in shape):
        raise ArgumentError(f"Expected a shape of integers of at least 1, without the batch. Received: {shape!r}")
    if not 1 <= len(shape) <= 4:
        raise ArgumentError(
            "Expected features of the shape (D,), (T, D), (H, W, C) or (D, H, W, C), batch left out. "
            f"Received: {shape}."
        )
    return tuple(int(n) for n in shape)
