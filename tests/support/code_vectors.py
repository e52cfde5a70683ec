"""Latents and their codes, which the encoders in Python, C and Kotlin give alike: `code_vectors.json`.

`python tests/support/code_vectors.py` writes the file anew from the Python reference.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from isplit_edge.code import Code
from isplit_edge.geometric import geometric_tables

FILE = Path(__file__).with_suffix(".json")
# Shape of the latent, width of the first channel, how much of it each next channel has, and shares of the whole length.
_CASES = [
    ((5, 5, 12), 6.0, 0.8, (None, 0.4, 0.7, 0.95)),
    ((3, 7, 6), 90.0, 0.9, (None, 0.5)),
    ((1, 1, 40), 3.0, 0.97, (None, 0.3)),
    ((70,), 1.0, 0.98, (None, 0.5)),
    ((14, 14, 2), 0.4, 1.0, (None,)),
    ((4, 4, 1), 0.0, 1.0, (None,)),
    ((17, 5, 3), 30.0, 0.1, (None, 0.8)),
]


def vectors() -> Iterator[dict]:
    """Each stored vector, with its code as `Code` in place of the numbers of its tables."""
    stored = json.loads(FILE.read_text())
    for one in stored["vectors"]:
        record = {"tables": stored["tables"], **{key: one[key] for key in ("runs", "magnitudes", "centres")}}
        yield {
            "code": Code.from_json(record, one["shape"]),
            "latent": np.array(one["latent"], np.int8).reshape(one["shape"]),
            "max_bytes": one["max_bytes"],
            "expected": bytes.fromhex(one["expected"]),
        }


def _write() -> None:
    rng = np.random.default_rng(0)
    found = []
    for shape, top, decay, shares in _CASES:
        scale = top * decay ** np.arange(shape[-1])
        values = np.rint(rng.laplace(size=(9, *shape)) * scale + rng.integers(-20, 20, shape[-1]))
        symbols = np.clip(values, -128, 127).astype(np.int8)
        code = Code.fit(symbols)
        whole = len(code.encode(symbols[0]))
        for share in shares:
            bound = 2 * whole + 10 if share is None else round(share * whole)
            record = {key: value for key, value in code.to_json().items() if key != "tables"}
            expected = code.encode(symbols[0], bound).hex()
            latent = symbols[0].ravel().tolist()
            found.append({"shape": shape, **record, "latent": latent, "max_bytes": bound, "expected": expected})
    tables = json.dumps(geometric_tables().tolist())
    lines = ",\n".join(json.dumps(one) for one in found)
    FILE.write_text(f'{{"tables": {tables},\n"vectors": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    _write()
