"""Runs images through a bundle's head and its server, and saves all that came out; part of `emulate.py`.

It runs on two machines, the emulated one among them, so that their outputs can be compared.
"""

import platform
import sys
from importlib.metadata import version

import numpy as np

from isplit_edge import Client


def main(bundle: str, url: str, images_file: str, output_file: str) -> None:
    """Save what came out, and the machine that made it, as an .npz file.

    The payloads are (N, bytes of the longest), and `lengths` has the bytes of each.
    """
    images = np.load(images_file, allow_pickle=False)
    with Client(bundle, url, num_threads=1, timeout_s=60) as client:
        payloads = client.head.payloads(images)
        answer = client.run(images)
    longest = max(map(len, payloads))
    np.savez(
        output_file,
        payloads=np.stack([np.frombuffer(payload.ljust(longest, b"\0"), np.uint8) for payload in payloads]),
        lengths=np.array([len(payload) for payload in payloads]),
        probabilities=answer.probabilities,
        status=answer.status,
        reasons=np.array([answer.reasons.get(row, "") for row in range(len(images))]),
        machine=platform.machine(),
        litert=version("ai-edge-litert"),
        numpy=np.__version__,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
