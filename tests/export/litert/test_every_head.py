"""The head of every shape of graph as `.tflite`, compared with Keras on the same images."""

import numpy as np
import pytest

from isplit_tf import find_cuts, split
from isplit_tf.errors import ExportError
from isplit_tf.export.litert.converter import convert
from support.zoo import ZOO, random_input, randomize

REFUSED = {
    "two_inputs": "one input and one output can be exported. Found: 2 inputs",
    "dict_inputs": "one input and one output can be exported. Found: 2 inputs",
    "varying_size": r"needs a fixed shape on a device\. Found: \(None, None, 2\)",
}
STAYS = {"masks": "1 CAST", "nested_masks": "1 CAST"}
EXPORTED = sorted(set(ZOO) - {"no_cut"} - set(REFUSED))


def heads(name: str) -> list:
    """Heads of a model at its last cut and at the first behind which something was computed."""
    model = randomize(ZOO[name]())
    cuts = [cut for cut in find_cuts(model) if cut.head_macs]
    return [split(model, cut).head for cut in dict.fromkeys((cuts[0], cuts[-1]))]


def images(name: str) -> np.ndarray:
    """Batch of 24 as float32, which is what a device's input is."""
    return random_input(ZOO[name](), 24).astype("float32")


@pytest.mark.parametrize("name", EXPORTED)
def test_float32(name):
    """Every head runs on a device, with built-in operators alone, and gives what Keras gives."""
    for head in heads(name):
        found = convert(head, precision="float32", representative=images(name), progress=False)
        assert found.relative_error < 1e-5
        assert not found.contents.custom_operators


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXPORTED if name not in STAYS])
def test_int8(name):
    """Every head is int8 from input to output, and close to Keras."""
    for head in heads(name):
        found = convert(head, precision="int8", representative=images(name), progress=False)
        assert found.dtype == "int8"
        assert found.relative_error < (0.5 if name == "sequence" else 0.25)  # three recurrent layers of random weights
        assert not found.contents.float_counts


@pytest.mark.parametrize("name", STAYS)
def test_what_stays_in_float(name):
    """Tokens that are looked up by whole numbers: refused, operator by operator."""
    with pytest.raises(ExportError, match=f"These operators stay in float: {STAYS[name]}"):
        convert(heads(name)[-1], precision="int8", representative=images(name), progress=False)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    """What a device cannot take is refused with what was found."""
    with pytest.raises(ExportError, match=REFUSED[name]):
        convert(heads(name)[-1], precision="float32", progress=False)
