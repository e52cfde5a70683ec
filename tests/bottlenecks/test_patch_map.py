"""A projection as arithmetic on arrays: what the Keras layers of a `Projection` compute."""

import numpy as np
import pytest

from isplit_tf.bottlenecks.fit import put
from isplit_tf.bottlenecks.layers import Patches, build_halves
from isplit_tf.bottlenecks.moments import collector, patch_rows
from isplit_tf.bottlenecks.patch_map import PatchMap, join_patches

SHAPES = [((6, 6, 2), (2, 3)), ((5, 7, 3), (2, 3)), ((9, 4), (4,)), ((6,), ())]


@pytest.mark.parametrize(("shape", "patch"), SHAPES)
def test_patches_are_joined_again(shape, patch):
    """Whatever was padded is cut off again."""
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    np.testing.assert_array_equal(join_patches(patch_rows(x, patch), shape, patch), x)


@pytest.mark.parametrize(("shape", "patch"), SHAPES)
def test_it_computes_what_the_layers_compute(shape, patch):
    """Encoder and decoder as strided and transposed convolutions or dense layers; a prefix is the rest at zero."""
    x = np.random.default_rng(1).normal(size=(40, *shape)).astype(np.float32) + 2
    moments = collector(shape, patch, weighted=False)
    moments.add(x, None, [np.random.default_rng(k) for k in range(40)])
    fitted = moments.fit(4)
    encoder, decoder = build_halves(Patches(shape, patch), 4)
    put(fitted, encoder, decoder)
    found = PatchMap(fitted, shape, patch)
    latents = encoder(x).numpy()
    np.testing.assert_allclose(found.encode(x), latents.reshape(40, -1, 4), atol=1e-4)
    np.testing.assert_allclose(found.decode(found.encode(x)), decoder(latents).numpy(), atol=1e-4)
    latents[..., 2:] = 0
    np.testing.assert_allclose(found.decode(found.encode(x)[..., :2]), decoder(latents).numpy(), atol=1e-4)
