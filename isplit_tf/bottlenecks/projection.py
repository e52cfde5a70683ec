"""A bottleneck that is fitted in closed form and needs no training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import keras

from ..errors import ArgumentError, checked_integer, checked_share
from .base import Bottleneck, LatentPlan, checked_shape
from .layers import build_halves
from .moments import LARGE, grid_of
from .quantizer import with_rounding

WEIGHTINGS = ("task", "features")
# Most elements of a patch: an encoder of one number per patch then takes 64 KiB at int8.
_MOST_ELEMENTS = 2**16
# A patch grows as long as its encoder has at most this many C^2 weights, since a wider patch keeps more in as many
# numbers. 45 C^2 are the weights of five convolutions of 3 x 3 taps from C to C channels. They allow patches of 4
# elements on each axis of a map at a compression of 0.9, and of 8 at 0.99. On VGG16 at 0.9, patches of 2 lost up to one
# point of accuracy at the cuts before poolings.
_BUDGET = 45
# Least latent numbers per position, even if the encoder then has more weights: with fewer, rounding to a whole number
# misses the requested size.
_FEWEST_CHANNELS = 8
# Coded latents. Patches grow until this many bytes are left for each, within the same budget of weights, or within 128
# KiB at int8. On EfficientNet-Lite1, maps of 15 x 15 and 30 x 30 kept most with 25 to 60 bytes per patch; wider patches
# than needed keep less of images that were not seen.
_BYTES_PER_PATCH = 25
_LIGHT = 2**17
# With fewer bytes for each patch the budget does not count: on glyphs at 24 bytes per frame it cost two points.
_FEW_BYTES = 8
# Latents for each bit of a patch: at the step that the rate allows, channels behind these are zero nearly always.
_LATENTS_PER_BIT = 0.8
_FEWEST_LATENTS = 4


@dataclass(frozen=True)
class Projection(Bottleneck):
    """The best linear bottleneck, in closed form: one strided convolution, and one transposed convolution back.

    Features are cut into patches, and each patch is projected onto its most important directions. With C the covariance
    of the patches and M^2 the metric that weighs an error, these are the leading eigenvectors of M C M, applied
    after M; the decoder is their inverse. With `weighting="features"`, M is the identity, and this is principal
    component analysis. With `weighting="task"`, M^2 is the Fisher information of the features, E[g g^T] with g the
    gradient of the log-likelihood of a label drawn from the model's own output, plus a tenth of its mean on the
    diagonal. It needs no labels, since it measures how much the output would change.

    `train` fits the projection from `fit_images` images, which replaces the first phase, in constant memory: from sums
    of products of up to 64 patches per image, or, if a patch holds more than 4,096 elements, from up to 2,048 patches.
    The features are maps `(H, W, C)`, sequences `(T, D)` (patches along T) or vectors `(D,)` (one patch). If a patch
    does not divide an axis, the axis is padded with zeros, and the decoder crops them.

    Args:
        compression: Share of the features' elements that is left out, in [0, 1); 0.9 if neither `compression`,
            `latent_size` nor `payload_bytes` is given.
        patch: Elements of a patch on each axis, or "auto": 1, doubled as long as a patch holds at most 4,096 elements
            and the encoder at most 45 C^2 weights, those of five 3 x 3 convolutions from C to C channels. A wider patch
            keeps more in as many numbers, but has more weights. It can outweigh a small head; set `patch` there.
            For `payload_bytes` the patch is the smallest that leaves 25 bytes per patch, within the same bounds, or
            131,072 weights if that is more; where a patch has less than 8 bytes, only its elements are bounded. With
            `coding="none"` it grows further, to at most 65,536 elements, until each position has a number.
        weighting: "task" or "features".
        latent_size: Elements of the latent, instead of `compression`; rounded to the nearest that the grid allows.
        payload_bytes: Instead of `compression`, the bytes per frame in the mean over the images of the fit, header
            included. With `coding="none"`, the bytes of each frame at most, with a latent of int8 or of `latent_bits`;
            the payload is larger only if patches of 65,536 elements, a number each, are too small for so few bytes.
        coding: "entropy" for many latents, which are rounded with one step and coded without loss, so that most of them
            take a small part of a bit; "none" for as many bits in each element. The default is "entropy" for
            `payload_bytes`, which keeps far more in as many bytes, and "none" for the other amounts.
        encoder_share: Multiply-accumulates of the encoder at most, as a share of those of the head; fewer latents are
            then taken. At least one is. None sets no bound.
        head_macs: Multiply-accumulates of the head, which `split` and `predict_accuracy` fill in for `encoder_share`.
        latent_bits: 8, 4 or 2: the number of bits sent of each element. The second phase of `train` learns with this
            rounding, over ranges that it observes first (one per channel; they are not counted as weights). None
            sends the latent as the head gives it.
        fit_images: Number of images to fit from, spread over the data; all images if there are fewer.
        seed: Seed of the choice of these images and of the random signs for the Fisher information.

    Raises:
        ArgumentError: If an argument is outside of its range, or more than one amount is given.

    Example:
        >>> Projection(0.9).plan((14, 14, 512)).latent_shape
        (7, 7, 205)

    Reference:
        Pearson, "On lines and planes of closest fit", 1901; Amari, "Natural gradient works efficiently in learning",
        1998 (the Fisher information as a metric).
    """

    patch: int | str = "auto"
    weighting: str = "task"
    fit_images: int = field(default=2000, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    encoder_share: float | None = field(default=None, kw_only=True)
    head_macs: int | None = field(default=None, kw_only=True)

    _CODES_BYTES = True
    _ALWAYS = ("patch", "weighting", "fit_images", "seed")  # in the records of every release

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch != "auto":
            if isinstance(self.patch, str):
                raise ArgumentError(f"patch: expected 'auto' or an integer of at least 1. Received: {self.patch!r}")
            self._set("patch", checked_integer("patch", self.patch, 1))
        if self.weighting not in WEIGHTINGS:
            raise ArgumentError(f"weighting: expected one of {WEIGHTINGS}. Received: {self.weighting!r}")
        self._set("fit_images", checked_integer("fit_images", self.fit_images, 1))
        self._set("seed", checked_integer("seed", self.seed, 0))
        if self.encoder_share is not None:
            self._set("encoder_share", checked_share("encoder_share", self.encoder_share))

    def behind(self, head_macs: int) -> "Projection":
        """Return this projection for a head of so many multiply-accumulates; itself without `encoder_share`."""
        return self if self.encoder_share is None else replace(self, head_macs=int(head_macs))

    def plan(self, shape: Sequence[int]) -> LatentPlan:
        """Return the latent's shape and the cost for features of one shape, without building anything.

        Args:
            shape: Features without the batch: `(D, H, W, C)`, `(H, W, C)`, `(T, D)` or `(D,)`.

        Returns:
            The plan; the models that `build` makes have exactly these numbers.

        Raises:
            ArgumentError: If a dimension is open or below 1, the rank is not 1 to 4, or a patch would hold more
                than 65,536 elements.
        """
        shape = checked_shape(shape)
        *space, channels = shape
        size = math.prod(shape)
        requested = self.requested_size(size)
        patch = self._patch(space, channels, requested)
        elements = math.prod(patch) * channels
        if elements > _MOST_ELEMENTS:
            raise ArgumentError(
                f"A patch of {'x'.join(map(str, (*patch, channels)))} of features {shape} holds {elements:,} elements; "
                f"a projection takes at most {_MOST_ELEMENTS:,}. "
                + ("Give a smaller patch." if math.prod(patch) > 1 else "Use an Autoencoder there.")
            )
        grid = grid_of(space, patch)
        positions = math.prod(grid)
        latent = self._latents(requested, positions, elements, max(1, size // positions))
        return LatentPlan(
            shape=shape,
            latent_shape=(*grid, latent),
            latent_size=positions * latent,
            requested_size=requested,
            compression=1 - positions * latent / size,
            filters=0,
            encoder_params=elements * latent + latent,
            encoder_macs=positions * elements * latent,
            decoder_params=elements * latent + channels,
            patch=patch,
        )

    def _latents(self, requested: int, positions: int, elements: int, most: int) -> int:
        """Return the latents of a patch, at most `most`."""
        latents = self.channels(requested, positions)
        if self.is_coded and self.payload_bytes is not None:
            bits = 8 * self.payload_bytes / positions
            latents = min(most, _coded_latents(bits))
        if self.encoder_share is not None and self.head_macs is not None:
            latents = min(latents, max(1, int(self.encoder_share * self.head_macs / (positions * elements))))
        return latents

    def _patch(self, space: Sequence[int], channels: int, requested: int) -> tuple[int, ...]:
        if not isinstance(self.patch, str):
            return tuple(min(self.patch, n) for n in space)
        if self.is_coded and self.payload_bytes is not None:
            return _coded_patch(space, channels, self.payload_bytes)
        side, budget = 1, _BUDGET * channels**2
        while side < max(space, default=1):
            elements = math.prod(_balanced(space, 2 * side)) * channels
            positions = math.prod(grid_of(space, _balanced(space, side)))
            too_few = requested < _FEWEST_CHANNELS * positions
            weights = elements * requested / math.prod(grid_of(space, _balanced(space, 2 * side)))
            exceeds_bytes = self.payload_bytes is not None and requested < positions  # bytes are a bound
            if elements > (_MOST_ELEMENTS if exceeds_bytes else LARGE) or not (too_few or weights <= budget):
                break
            side *= 2
        return _balanced(space, side)

    def build(self, shape: Sequence[int]) -> tuple[keras.Model, keras.Model]:
        """Build an encoder and a decoder for features of one shape: a random orthogonal projection, not yet fitted.

        Args:
            shape: Features without the batch: `(D, H, W, C)`, `(H, W, C)`, `(T, D)` or `(D,)`, channels last.

        Returns:
            Two functional models of static shapes. The encoder has an input named `features`; the decoder has an
            input named `latent` and restores the exact shape. They share nothing, and compute in float32.

        Raises:
            ArgumentError: As in `plan`.

        Example:
            >>> encoder, decoder = Projection(0.5, patch=2).build((9, 5))
            >>> encoder.output_shape, decoder.output_shape
            ((None, 5, 4), (None, 9, 5))
        """
        plan = self.plan(shape)
        encoder, decoder = build_halves(plan, plan.latent_shape[-1], seed=self.seed)
        return with_rounding(encoder, decoder, self.latent_bits, coded=self.is_coded)


def _coded_latents(bits: float) -> int:
    """Return the latents of a patch that has so many bits."""
    return max(_FEWEST_LATENTS, math.ceil(_LATENTS_PER_BIT * bits))


def _coded_patch(space: Sequence[int], channels: int, payload_bytes: int) -> tuple[int, ...]:
    """Return the smallest patch that leaves enough bytes for each, or the largest that is allowed."""
    best = _balanced(space, 1)
    for side in range(2, max(space, default=1) + 1):
        if math.prod(grid_of(space, best)) * _BYTES_PER_PATCH <= payload_bytes:
            break
        patch = _balanced(space, side)
        elements, positions = math.prod(patch) * channels, math.prod(grid_of(space, patch))
        bytes_each = payload_bytes / math.prod(grid_of(space, best))
        weights = elements * _coded_latents(8 * payload_bytes / positions)
        is_heavy = weights > max(_LIGHT, _BUDGET * channels**2) and bytes_each >= _FEW_BYTES
        if is_heavy or elements > (_MOST_ELEMENTS if bytes_each < 1 else LARGE):
            break
        best = patch
    return best


def _balanced(space: Sequence[int], side: int) -> tuple[int, ...]:
    """Return patches of at most `side` elements on each axis that share out the axis evenly.

    An axis of 5 is covered by patches of 3 and 3 (one of them padded), not by 4 and 1.
    """
    return tuple(-(-n // -(-n // side)) for n in space)
