"""The linear algebra of projections, against the textbook's way on small matrices."""

import numpy as np
import pytest

from isplit_tf.bottlenecks import linear_map
from isplit_tf.bottlenecks.linear_map import leading, lost_variance, metric_of, solve, solve_rows

pytestmark = pytest.mark.numerical


@pytest.fixture
def covariance(rng):
    """Of 60 rows of 12 elements."""
    rows = rng.normal(size=(60, 12)) * np.geomspace(3, 0.1, 12)
    return np.cov(rows.T)


def root(metric):
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(metric)
    return vectors * np.sqrt(values) @ vectors.T


def test_encoder_and_decoder_are_the_eigenvectors_in_the_metric(covariance, rng):
    """Leading eigenvectors of M Cov M after M, and their inverse, worked out with the square root itself."""
    gradients = rng.normal(size=(12, 5))
    metric = metric_of(gradients @ gradients.T, 12)
    found = solve(covariance, metric, 4)

    m = root(metric)
    values, vectors = np.linalg.eigh(m @ covariance @ m)
    values, vectors = values[::-1][:4], vectors[:, ::-1][:, :4]
    np.testing.assert_allclose(found.variances, values)
    scale = np.sign(np.sum(vectors.T @ m * found.encode, axis=1)) / (values[0] * values) ** 0.25
    encode, decode = scale[:, None] * (vectors.T @ m), np.linalg.inv(m) @ vectors / scale
    balance = (np.mean(decode**2) / np.mean(encode**2)) ** 0.25
    np.testing.assert_allclose(found.encode, balance * encode, atol=1e-10)
    np.testing.assert_allclose(found.decode, decode / balance, atol=1e-10)


def test_without_gradients_it_is_principal_component_analysis(covariance):
    """In the features' own metric nothing else of the same rank loses less variance."""
    found = solve(covariance, metric_of(None, 12), 3)
    np.testing.assert_allclose(lost_variance(covariance, found), np.linalg.eigvalsh(covariance)[:-3].sum())


def test_latents_are_brought_nearer_to_each_other_and_have_a_fixed_sign(covariance):
    """Their standard deviations are as the roots of what they were; two fits give the same numbers."""
    found = solve(covariance, metric_of(None, 12), 5)
    deviations = np.sqrt(np.linalg.eigvalsh(covariance)[::-1][:5])
    scaled = np.sqrt(np.diag(found.encode @ covariance @ found.encode.T))
    np.testing.assert_allclose(scaled / scaled[0], np.sqrt(deviations / deviations[0]))
    largest = np.take_along_axis(found.encode, np.abs(found.encode).argmax(axis=1)[:, None], axis=1)
    assert (largest > 0).all()


@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
def test_weights_of_encoder_and_decoder_are_equally_large(covariance, scale):
    """Whatever the features' scale: an optimizer's steps then change both by the same share, and never by all."""
    found = solve(covariance * scale**2, metric_of(None, 12), 5)
    same = solve(covariance, metric_of(None, 12), 5)
    assert np.mean(found.encode**2) == pytest.approx(np.mean(found.decode**2))
    np.testing.assert_allclose(found.encode, same.encode, rtol=1e-6)


def test_as_many_latents_as_elements_lose_nothing(covariance, rng):
    """At full rank the decoder is the encoder's inverse, whatever the metric."""
    gradients = rng.normal(size=(12, 2))
    found = solve(covariance, metric_of(gradients @ gradients.T, 12), 12)
    np.testing.assert_allclose(found.decode @ found.encode, np.eye(12), atol=1e-9)


def test_the_metric_prefers_what_matters_to_what_varies():
    """Element 0 varies most and means nothing to the output; element 1 hardly varies and decides: it is kept."""
    covariance = np.diag([20.0, 1.0, 10.0])
    fisher = np.diag([0.0, 1e4, 0.0])
    plain, weighted = solve(covariance, metric_of(None, 3), 1), solve(covariance, metric_of(fisher, 3), 1)
    assert np.abs(plain.encode[0]).argmax() == 0
    assert np.abs(weighted.encode[0]).argmax() == 1


def test_dead_channels_and_few_images_give_finite_weights():
    """Covariances of less than full rank, features that are constant, and gradients that vanish are no trouble."""
    rank_two = np.zeros((6, 6))
    rank_two[:2, :2] = np.eye(2)
    for covariance in (rank_two, np.zeros((6, 6))):
        for fisher in (np.zeros((6, 6)), rank_two):
            found = solve(covariance, metric_of(fisher, 6), 4)
            assert np.isfinite(found.encode).all()
            assert np.isfinite(found.decode).all()
            assert lost_variance(covariance, found) < 1e-12
    np.testing.assert_array_equal(metric_of(np.zeros((6, 6)), 6), np.eye(6))


@pytest.mark.parametrize("weighted", [True, False])
def test_rows_give_what_their_moments_give(weighted, rng):
    """Without a matrix of all elements, the same map; more latents than rows are nothing."""
    rows = rng.normal(size=(9, 30)).astype(np.float32) * np.geomspace(3, 0.3, 30, dtype=np.float32)
    gradients = rng.normal(size=(7, 30)).astype(np.float32) if weighted else None
    fisher = None if gradients is None else gradients.T @ gradients / 7
    wanted, found = solve(rows.T @ rows / 9, metric_of(fisher, 30), 4), solve_rows(rows, gradients, 4)
    np.testing.assert_allclose(found.variances, wanted.variances, rtol=1e-4)
    np.testing.assert_allclose(found.encode, wanted.encode, atol=1e-3)
    np.testing.assert_allclose(found.decode, wanted.decode, atol=1e-3)
    every = solve_rows(rows, gradients, 12)
    np.testing.assert_allclose(rows @ every.encode.T @ every.decode.T, rows, atol=1e-3)
    assert not every.encode[9:].any()
    assert not every.decode[:, 9:].any()


@pytest.mark.parametrize("decay", [0.5, 1.5])
def test_few_directions_of_a_large_matrix_keep_what_the_exact_ones_keep(decay, monkeypatch, rng):
    """The random block misses less than a thousandth of what the leading eigenvectors hold, and repeats itself."""
    values = np.arange(1, 201) ** -decay
    basis = np.linalg.qr(rng.normal(size=(200, 200)))[0]
    matrix = basis * values @ basis.T
    monkeypatch.setattr(linear_map, "_SMALL", 100)
    found, vectors = leading(lambda block: matrix @ block, 200, 8)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(8), atol=1e-10)
    assert 0 <= 1 - found.sum() / values[:8].sum() < 1e-3
    np.testing.assert_array_equal(leading(lambda block: matrix @ block, 200, 8)[1], vectors)
