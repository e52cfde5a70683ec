"""The lengths of a bundle's coded payloads, measured on the head that ships."""

import numpy as np

from isplit_edge.code import Code
from isplit_edge.wire import HEADER_BYTES

from .litert.converter import ConvertedHead
from .litert.verification import run_file

MEASURED_IMAGES = 200


def measure_lengths(head: ConvertedHead, images: np.ndarray, code: Code) -> np.ndarray:
    """Measure the payloads of images, header included.

    Args:
        head: The converted head, whose output is int8.
        images: float32 `(n, *input_shape)` in the model's own space; at most 200 are used.
        code: By which its latent is coded.

    Returns:
        int `(n,)`, bytes.
    """
    found = run_file(head.content, images[:MEASURED_IMAGES])
    integers = np.rint(found.latents / np.float32(found.scale or 1)) + (found.zero_point or 0)
    return np.array([HEADER_BYTES + len(code.encode(latent)) for latent in integers.astype(np.int8)])
