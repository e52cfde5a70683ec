"""The ways in which a head takes images and gives numbers, one bundle of each."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a bundle is exported, and the size of the raw images that it takes."""

    precision: str
    input_shape: tuple[int, int, int]
    preprocessing: str | Mapping[str, Any] | None
    raw_size: tuple[int, int]
    last: str | None = None
    units: int = 4
    latent_bits: int | None = None
    coded: bool = False


KINDS = {
    # As the demo has it: grey images, taken as they are.
    "grey int8": Kind("int8", (12, 12, 1), None, (12, 12)),
    # Odd sizes, shrunk on one axis and stretched on the other; one number for each channel.
    "caffe int8": Kind(
        "int8",
        (13, 11, 3),
        {"size": [13, 11], "mean": [103.939, 116.779, 123.68], "channel_order": "BGR"},
        (9, 31),
    ),
    "torch float32": Kind("float32", (13, 11, 3), "torch", (13, 11), last="softmax"),
    "nearest int16": Kind(
        "int16x8", (10, 14, 3), {"size": [10, 14], "resize": "nearest", "scale": 1 / 127.5, "mean": 1.0}, (23, 5)
    ),
    # Of each element of the latent the highest bits alone are sent.
    "four bits of int8": Kind("int8", (13, 11, 3), {"size": [13, 11], "scale": 1 / 255}, (13, 11), latent_bits=4),
    "two bits of int16": Kind("int16x8", (10, 10, 1), None, (10, 10), latent_bits=2),
    # Independent probabilities, which need not add up to one.
    "sigmoids float16": Kind(
        "float16",
        (8, 8, 3),
        {"size": [8, 8], "scale": 1 / 255, "mean": 0.5, "std": [0.3, 0.5, 0.7]},
        (19, 20),
        last="sigmoid",
        units=3,
    ),
}
CODED_KINDS = {
    # The latent is coded: payloads differ in length.
    "coded int8": Kind("int8", (13, 11, 3), {"size": [13, 11], "scale": 1 / 255}, (13, 11), coded=True),
}
