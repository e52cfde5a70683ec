"""The identity of a model: what says that a kit, a profile and a plan are of the same one."""

import keras
import numpy as np

from isplit_edge.identity import array_sha256, canonical_json, tagged_sha256

from .cuts import Cut, list_cuts
from .program import Program, read_program


def model_sha256(model: keras.Model, *, output: str | int | None = None) -> str:
    """Return the identity of a model: a hash of its weights and of its cuts.

    It is the same before and after the model is saved and loaded, and in every process. Names are not hashed, since an
    automatic name such as `add_3` counts the layers that a process has built.

    Args:
        model: A built Keras 3 model.
        output: Name or index of the output to keep, if the model has several; all by default.

    Returns:
        64 lowercase hexadecimal digits.

    Raises:
        ModelError: If it is no model that can be read.
    """
    return program_sha256(read_program(model, output=output), model)


def program_sha256(program: Program, model: keras.Model, cuts: list[Cut] | None = None) -> str:
    """Return the identity of a model that was read; see `model_sha256`."""
    places = [[cut.layer_type, list(cut.shape)] for cut in (list_cuts(program) if cuts is None else cuts)]
    parts: list[tuple[str, bytes | memoryview]] = [("isplit-model", b"1"), ("cuts", canonical_json(places))]
    digests = sorted(array_sha256(np.asarray(weight.value)) for weight in model.weights)
    return tagged_sha256([*parts, *(("weight", bytes.fromhex(digest)) for digest in digests)])
