"""Moments of patches: what numpy makes of all patches at once, whatever the batches."""

import numpy as np
import pytest

from isplit_tf.bottlenecks.moments import Moments, Sample, collector, grid_of, padding_of, patch_rows

pytestmark = pytest.mark.numerical

CASES = [((6, 4, 3), (2, 2)), ((5, 3, 2), (2, 2)), ((7, 4), (3,)), ((5,), ()), ((1, 1, 4), (1, 1))]


def generators(n, first=0):
    """As a fit has them: one for each image."""
    return [np.random.default_rng((0, first + k)) for k in range(n)]


def test_patches_by_hand():
    """A 3 x 2 map of one channel in patches of 2 x 2: the last row is padded below."""
    features = np.arange(1, 7, dtype=np.float32).reshape(1, 3, 2, 1)
    np.testing.assert_array_equal(patch_rows(features, (2, 2)), [[1, 2, 3, 4], [5, 6, 0, 0]])
    assert grid_of((3, 2), (2, 2)) == (2, 1)
    assert padding_of((3, 2), (2, 2)) == [(0, 1), (0, 0)]
    assert padding_of((5,), (8,)) == [(1, 2)]


@pytest.mark.parametrize(
    ("shape", "patch"), [((7, 5, 3), (2, 2)), ((8, 9, 2), (3, 4)), ((9, 5), (2,)), ((3, 5, 4, 2), (2, 2, 3))], ids=str
)
def test_chosen_patches_are_those_among_all(shape, patch, rng):
    """Patches taken by their positions, padded ones among them, are to the bit those of all patches."""
    features = rng.normal(size=(4, *shape)).astype(np.float32)
    every = patch_rows(features, patch).reshape(4, -1, np.prod(patch) * shape[-1])
    chosen = np.stack([rng.permutation(every.shape[1])[:3] for _ in features])
    expected = np.take_along_axis(every, chosen[..., np.newaxis], axis=1)
    np.testing.assert_array_equal(patch_rows(features, patch, chosen), expected.reshape(12, -1))


@pytest.mark.parametrize(("shape", "patch"), CASES, ids=str)
def test_patches_are_what_a_convolution_sees(shape, patch, rng):
    """A convolution with kernel and stride of a patch and padding of `same` is a product with these rows."""
    keras = pytest.importorskip("keras")
    features = rng.normal(size=(2, *shape)).astype(np.float32)
    kind = {1: keras.layers.Dense, 2: keras.layers.Conv1D, 3: keras.layers.Conv2D}[len(shape)]
    window = {"kernel_size": patch, "strides": patch, "padding": "same"} if patch else {}
    layer = kind(3, use_bias=False, **window)
    seen = np.asarray(layer(features)).reshape(-1, 3)
    kernel = layer.kernel.numpy().reshape(-1, 3)
    np.testing.assert_allclose(patch_rows(features, patch) @ kernel, seen, atol=1e-5)


@pytest.mark.parametrize(("shape", "patch"), CASES, ids=str)
@pytest.mark.parametrize("sizes", [(24,), (1, 7, 16)], ids=str)
def test_streamed_moments_are_those_of_the_whole(shape, patch, sizes, rng):
    """In one batch or in several, the mean, covariance and gradient products are numpy's on all patches."""
    features = (5 + rng.normal(size=(24, *shape)) * 2).astype(np.float32)
    gradients = rng.normal(size=(24, *shape)).astype(np.float32)
    moments = Moments(shape, patch, weighted=True)
    for start, stop in zip(np.cumsum((0, *sizes)), np.cumsum(sizes), strict=False):
        moments.add(features[start:stop], gradients[start:stop], generators(stop - start, start))

    mean = features.reshape(-1, shape[-1]).mean(axis=0, dtype=float)
    rows = patch_rows(features, patch).astype(float)
    away = rows - np.tile(mean, rows.shape[1] // shape[-1])
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(moments.covariance(), away.T @ away / len(rows), atol=1e-4)
    np.testing.assert_allclose(moments.energy, np.mean(np.sum(rows**2, axis=1)), rtol=1e-6)
    slopes = patch_rows(gradients, patch).astype(float)
    np.testing.assert_allclose(moments.fisher(), slopes.T @ slopes / len(slopes), atol=1e-5)


def test_of_a_large_map_some_positions_are_looked_at_whatever_the_batches(rng):
    """Which positions are chosen depends on the image alone, and they stand for all of them."""
    features = rng.normal(size=(40, 20, 20, 2)).astype(np.float32) + np.float32([1, -2])
    whole, parts = (Moments((20, 20, 2), (1, 1), weighted=False) for _ in range(2))
    whole.add(features, None, generators(40))
    for start in range(0, 40, 8):
        parts.add(features[start : start + 8], None, generators(8, start))
    np.testing.assert_allclose(whole.covariance(), parts.covariance(), atol=1e-5)
    np.testing.assert_allclose(whole.mean, [1, -2], atol=0.1)
    np.testing.assert_allclose(whole.covariance(), np.eye(2), atol=0.1)
    assert whole.fisher() is None


def test_a_sample_of_large_patches_is_fair_and_bounded(monkeypatch, rng):
    """Of more patches than are kept, early ones and late ones stay alike, and what is fitted from them is close."""
    monkeypatch.setattr("isplit_tf.bottlenecks.moments._KEPT_ROWS", 64)
    sample, moments = Sample((4, 4, 2), (2, 2)), Moments((4, 4, 2), (2, 2), weighted=False)
    features = rng.normal(size=(400, 4, 4, 2)).astype(np.float32) * np.float32([3, 1]) + np.float32([1, 0])
    features[..., 1] += np.arange(400)[:, None, None]  # tells the images apart
    for start in range(0, 400, 50):
        sample.add(features[start : start + 50], None, generators(50, start))
    numbers = np.array([row[1] for row, _, _ in sample._kept.items])
    assert len(numbers) == 64
    assert 130 < numbers.mean() < 270
    small = features[:60] * 1
    small[..., 1] %= 1.0
    few = Sample((4, 4, 2), (2, 2))
    few.add(small, None, generators(60))
    moments.add(small, None, generators(60))
    one, other = few.fit(8), moments.fit(8)
    np.testing.assert_allclose(one.map.decode @ one.map.encode, np.eye(8), atol=1e-3)
    np.testing.assert_allclose(one.energy, other.energy, rtol=0.2)
    assert isinstance(collector((4097,), (), weighted=True), Sample)
    assert isinstance(collector((4096,), (), weighted=True), Moments)
