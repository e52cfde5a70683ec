"""A model as a chain of segments: what each place holds, and the output, for rows in parts of any size."""

import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.graph import chain as module
from isplit_tf.graph.chain import Chain
from isplit_tf.graph.cuts import list_cuts, place_of
from isplit_tf.graph.inputs import feed
from isplit_tf.graph.program import read_program
from support import zoo


@pytest.mark.parametrize(
    "name", ["mlp", "nested", "called_twice", "sequence", "residual", "branches", "two_inputs", "masks"]
)
@pytest.mark.parametrize("rows", [3, 8])
def test_a_chain_is_the_model(name, rows, monkeypatch):
    """From the inputs to the output through every cut, and from every cut alone."""
    monkeypatch.setattr(module, "_ENTERING", 1)
    monkeypatch.setattr(module, "_FEWEST_ROWS", rows)
    model = zoo.ZOO[name]()
    program = read_program(model, training=False)
    cuts = list_cuts(program, max_tensors=2)
    chain = Chain(program, [place_of(program, cut) for cut in cuts[::-1] + cuts[:1]])
    assert len(chain.places) == len(cuts)
    x = zoo.random_input(model, 8)
    expected = np.asarray(tf.nest.flatten(model(x, training=False))[0])
    tensors, kept = feed(program, x), []
    for index in range(len(chain.places)):
        tensors = chain.run(index, tensors)
        kept.append(tensors)
    for index, place in enumerate(kept, 1):
        rest = place
        for segment in range(index, len(kept) + 1):
            rest = chain.run(segment, rest)
        np.testing.assert_allclose(rest[0].numpy(), expected, atol=1e-5)
