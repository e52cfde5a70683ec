"""The costs of a bottleneck, and of sending the compressed image that its payload replaces."""

import math
from collections.abc import Sequence
from typing import Any

from ..graph.cost import count_macs

# A JPEG of quality 75 written by Pillow has 623 bytes of header and tables in colour. Measured were 2.5 bits per pixel
# on Tiny-ImageNet at 64 pixels, less on larger photographs, and 1.0 on grey chest X-rays.
_JPEG_HEADER_BYTES = 600
_JPEG_BITS_PER_PIXEL = {1: 1, 3: 2, 4: 2}


def latent_cost(bottleneck: Any, shape: tuple[int | None, ...]) -> tuple[int, int, int]:
    """Return the latent's elements and the encoder's weights and multiply-accumulates for one shape."""
    if hasattr(bottleneck, "plan"):
        plan = bottleneck.plan(shape)
        return plan.latent_size, plan.encoder_params, plan.encoder_macs
    encoder, _ = bottleneck.build(shape)
    return math.prod(encoder.outputs[0].shape[1:]), encoder.count_params(), count_macs(encoder)


def export_warning(shape: Sequence[int | None], input_shape: Sequence[int | None], n_inputs: int) -> str | None:
    """Return why a split at a cut cannot be exported, or not in integers; None where nothing is known against it.

    Args:
        shape: The cut's shape without the batch.
        input_shape: Shape of the model's first input without the batch.
        n_inputs: How many inputs the model has.
    """
    if n_inputs > 1:
        return (
            f"the model has {n_inputs} inputs, and a device's client sends one: the split can be trained and "
            "evaluated, not exported. Possible: a model of one input that takes it apart inside"
        )
    if None in input_shape or None in shape:
        return "a dimension varies: to be exported, the model needs an input of fixed size"
    if len(shape) > 3:
        return "a volume: it is exported in 'float16', 'dynamic' or 'float32' alone, since LiteRT has no 3D in integers"
    return None


def payload_warning(payload: int, image_bytes: int | None, input_shape: Sequence[int | None] | None) -> str | None:
    """Return a warning if the payload is larger than the compressed image, else None.

    Args:
        payload: Bytes per frame.
        image_bytes: Bytes of the compressed image; None for an estimate.
        input_shape: The model's input shape, for the estimate.
    """
    limit = image_bytes if image_bytes is not None else jpeg_bytes(input_shape)
    if limit is None or payload <= limit:
        return None
    image = "the compressed image" if image_bytes is not None else "an estimated JPEG of the input"
    return (
        f"a payload of {payload:,} bytes is more than {image} ({limit:,} bytes). The compressed image is smaller. "
        "Split only for privacy, or to take work off the server"
    )


def jpeg_bytes(shape: Sequence[int | None] | None) -> int | None:
    """Return an estimate of a JPEG's bytes for an image of shape (H, W, C); None if it is no image of known size.

    Example:
        >>> jpeg_bytes((224, 224, 3))
        13144
    """
    if shape is None or len(shape) != 3 or shape[-1] not in _JPEG_BITS_PER_PIXEL:
        return None
    height, width, channels = shape
    if height is None or width is None or channels is None:
        return None
    return _JPEG_HEADER_BYTES + math.ceil(height * width * _JPEG_BITS_PER_PIXEL[channels] / 8)
