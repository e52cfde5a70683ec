"""Bottlenecks whose weights are found in closed form, by `train` in place of phase 1 or before it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, DataError, ModelError, NumericsError
from isplit_tf.training.history import History
from support.splitnet import assert_same, build_net, make_data, weights_of


def fitted(model, cut, bottleneck, data, **how):
    """A split after its fit alone."""
    halves = isplit.split(model, cut, bottleneck)
    how = {"bottleneck_epochs": 0, "fine_tune_epochs": 0, "progress": False} | how
    return halves, isplit.train(halves, data, **how)


def restored(halves, x):
    """Features, and what comes back of them."""
    features = halves.head(x)
    return np.asarray(features), np.asarray(halves.decoder(halves.encoder(features)))


@pytest.mark.numerical
@pytest.mark.parametrize("cut", ["pool", "conv2", "flat"])
def test_at_full_rank_nothing_is_lost(cut):
    """With as many latents as elements the split answers as the model does: all weights stand where they belong."""
    model, (x, y) = build_net(), make_data()
    halves, history = fitted(model, cut, isplit.Projection(0.0, patch=2), (x, y))
    np.testing.assert_allclose(halves.predict(x), model.predict(x, verbose=0), atol=1e-4)
    assert history.values("fit", "relative_error")[0] < 1e-8


def test_on_an_odd_map_at_full_rank_nothing_is_lost():
    """Patches that hang over the edge are padded with zeros, and the copy is cropped: 7 x 5 in patches of 2 and 3."""
    inputs = keras.Input((7, 5, 2))
    x = keras.layers.Conv2D(3, 1, name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).normal(size=(60, 7, 5, 2)).astype(np.float32)
    for patch in (2, 3, 4):
        halves, _ = fitted(model, "conv", isplit.Projection(latent_size=1000, patch=patch), images)
        features, back = restored(halves, images)
        kept = halves.latent_shape[-1] / (patch**2 * 3)
        if kept == 1:
            np.testing.assert_allclose(back, features, atol=1e-4)
        assert np.square(features - back).sum() / np.square(features).sum() < 0.2 * (1 - kept) + 1e-6


@pytest.mark.numerical
def test_the_relative_error_is_that_of_the_images():
    """What the history tells of the fit is what comes of the features that were fitted."""
    model, (x, y) = build_net(), make_data()
    for weighting in ("task", "features"):
        halves, history = fitted(model, "pool", isplit.Projection(0.8, patch=2, weighting=weighting), (x, y))
        features, back = restored(halves, x)
        told = history.values("fit", "relative_error")[0]
        np.testing.assert_allclose(told, np.square(features - back).sum() / np.square(features).sum(), rtol=1e-3)
        assert history.values("fit", "fit_images")[0] == 90


def test_features_weighting_loses_less_and_task_weighting_answers_better():
    """One number of two: the one that varies most, or the one that the output depends on."""
    inputs = keras.Input((2,))
    x = keras.layers.Dense(2, name="features")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="scores")(x))
    model.get_layer("features").set_weights([np.eye(2), np.zeros(2)])
    model.get_layer("scores").set_weights([np.array([[0, 0], [3.0, -3.0]]), np.zeros(2)])
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32) * [3, 1]
    errors, agreements = {}, {}
    for weighting in ("features", "task"):
        halves, _ = fitted(model, "features", isplit.Projection(0.5, weighting=weighting), x)
        features, back = restored(halves, x)
        errors[weighting] = np.square(features - back).sum()
        agreements[weighting] = np.mean(halves.predict(x).argmax(1) == model.predict(x, verbose=0).argmax(1))
    assert errors["features"] < errors["task"]
    assert agreements["features"] < 0.7
    assert agreements["task"] > 0.95


def test_it_needs_no_labels_and_leaves_head_and_tail_alone():
    """Images alone are enough; arrays, streams and batches of another kind give a fit; labels change nothing."""
    model, (x, y) = build_net(), make_data()
    first, _ = fitted(model, "pool", isplit.Projection(), x)
    assert_same(weights_of(first.tail), weights_of(isplit.split(model, "pool").tail))
    for data in ((x, y), (x, None), tf.data.Dataset.from_tensor_slices(x).batch(32)):
        other, _ = fitted(model, "pool", isplit.Projection(), data)
        for one, two in zip(weights_of(first.encoder), weights_of(other.encoder), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.mark.numerical
def test_the_fit_does_not_depend_on_batches():
    """Image by image or in one batch, the same numbers."""
    model, (x, _) = build_net(), make_data()
    one, _ = fitted(model, "pool", isplit.Projection(), x, batch_size=1)
    many, _ = fitted(model, "pool", isplit.Projection(), x, batch_size=90)
    np.testing.assert_allclose(restored(one, x)[1], restored(many, x)[1], atol=1e-4)


def test_fit_images_are_spread_over_data_sorted_by_class():
    """A part of the data stands for all of it, though the first images are all of one class."""
    model, (x, y) = build_net(), make_data()
    order = np.argsort(y, kind="stable")
    halves, history = fitted(model, "pool", isplit.Projection(fit_images=30, seed=1), (x[order], y[order]))
    assert history.values("fit", "fit_images")[0] == 30
    chosen = np.sort(np.random.default_rng(1).choice(90, 30, replace=False))
    assert set(y[order][chosen]) == {0, 1, 2}
    direct, _ = fitted(model, "pool", isplit.Projection(fit_images=30, seed=1), x[order][chosen])
    np.testing.assert_allclose(restored(halves, x)[1], restored(direct, x)[1], atol=1e-4)


def test_phase_1_is_left_out_and_phase_2_goes_on_from_the_fit():
    """The history has one entry for the fit, none for the bottleneck alone, and those of the fine-tuning."""
    model, data = build_net(), make_data()
    halves, history = fitted(model, "pool", isplit.Projection(), data, bottleneck_epochs=4, fine_tune_epochs=2)
    assert [epoch.phase for epoch in history.epochs] == ["fit", "fine_tune", "fine_tune"]
    assert "in closed form: relative_error" in repr(history)
    assert halves.model.compiled
    assert len(history.plot()) == 1


def test_an_interrupted_run_is_not_fitted_twice(tmp_path):
    """After the end it gives the same result from the checkpoint, and a history with a fit is saved and loaded."""
    model, data = build_net(), make_data()
    how = {"checkpoint_dir": tmp_path, "seed": 0}
    first, _ = fitted(model, "pool", isplit.Projection(), data, **how)
    again, history = fitted(model, "pool", isplit.Projection(), data, **how)
    assert_same(weights_of(first.model), weights_of(again.model))
    history.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json").epochs[0].phase == "fit"


def test_a_fitted_split_is_saved_and_loaded(tmp_path):
    """The record comes back, and so do the weights; a loaded split can be fitted again."""
    model, (x, _) = build_net(), make_data()
    halves, _ = fitted(model, "pool", isplit.Projection(0.8, patch=2), x)
    halves.save(tmp_path / "split")
    back = isplit.SplitModel.load(tmp_path / "split")
    assert back.bottleneck == isplit.Projection(0.8, patch=2)
    np.testing.assert_array_equal(back.predict(x), halves.predict(x))
    isplit.train(back, x, fine_tune_epochs=0, progress=False)
    np.testing.assert_allclose(back.predict(x), halves.predict(x), atol=1e-4)


def build_residual():
    """A block with a path around it, and two tensors open inside."""
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(inputs)
    y = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="branch")(x)
    x = keras.layers.Add(name="add")([x, y])
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


def test_several_tensors_get_a_projection_each():
    """Inside of a residual block two tensors cross; each is fitted, and at full rank nothing is lost."""
    model = build_residual()
    x = np.random.default_rng(0).normal(size=(50, 8, 8, 2)).astype(np.float32)
    (cut,) = [one for one in isplit.find_cuts(model, max_tensors=2) if one.name == "stem+branch"]
    for bottleneck in (isplit.Projection(0.0, patch=2), isplit.Autoencoder(0.0, filters=200, init="projection")):
        halves, _ = fitted(model, cut, bottleneck, x)
        np.testing.assert_allclose(halves.predict(x), model.predict(x, verbose=0), atol=1e-3)


def build_sequence():
    """A convolution along time, read as a whole."""
    inputs = keras.Input((9, 4))
    x = keras.layers.Conv1D(6, 3, padding="same", activation="relu", name="conv")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("bottleneck", [isplit.Projection(0.6, patch=2), isplit.Autoencoder(0.6, init="projection")])
def test_sequences_and_a_single_sigmoid(bottleneck):
    """Along time as on maps, and with one unit for two classes."""
    model, x = build_sequence(), np.random.default_rng(0).normal(size=(80, 9, 4)).astype(np.float32)
    halves, _ = fitted(model, "conv", bottleneck, x)
    assert np.abs(halves.predict(x) - model.predict(x, verbose=0)).max() < 0.1


def test_vectors_of_many_elements():
    """Where a matrix of all elements would be too large, patches themselves are kept: the answers stay."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(80, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    x, _ = make_data()
    for how in ({}, {"weighting": "features"}):
        halves, history = fitted(model, "flat", isplit.Projection(latent_size=90, **how), x)
        np.testing.assert_allclose(halves.predict(x), model.predict(x, verbose=0), atol=1e-2)
        features, back = restored(halves, x)
        lost = np.square(features - back).sum() / np.square(features).sum()
        np.testing.assert_allclose(history.values("fit", "relative_error")[0], lost, atol=1e-4)


def test_what_cannot_be_weighted_by_the_task_says_so():
    """A regression has no class scores; features weighting takes it."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(4, name="features")(inputs)))
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    with pytest.raises(ModelError, match="is not class scores"):
        fitted(model, "features", isplit.Projection(), x)
    fitted(model, "features", isplit.Projection(weighting="features"), x)


def test_a_failed_fit_leaves_the_split_as_it_was():
    """NaN in the images is told from NaN that a layer makes at the cut; the weights are those before."""
    model, (x, _) = build_net(), make_data()
    kernel, bias = model.get_layer("conv1").get_weights()
    for wrong, images, message in (
        (0.0, np.full_like(x, np.nan), "Image 0 of a batch holds NaN"),
        (np.nan, x, "features at 'conv1' holds NaN"),
    ):
        model.get_layer("conv1").set_weights([kernel, bias + wrong])
        halves = isplit.split(model, "conv1", isplit.Projection())
        before = weights_of(halves.model)
        with pytest.raises(NumericsError, match=message):
            isplit.train(halves, images, fine_tune_epochs=0, progress=False)
        assert_same(before, weights_of(halves.model))
    with pytest.raises(DataError):
        isplit.train(halves, x[:0], fine_tune_epochs=0, progress=False)


# Autoencoders that start as projections.


@pytest.mark.parametrize(("cut", "shape"), [("conv", (8, 8, 5)), ("odd", (7, 5, 3))])
def test_an_autoencoder_starts_as_two_projections(cut, shape):
    """Untrained, its four layers with ReLU do what the two linear projections do that it was given, on any input."""
    inputs = keras.Input(shape)
    x = keras.layers.Conv2D(shape[-1], 3, padding="same", activation="tanh", name=cut)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).normal(size=(70, *shape)).astype(np.float32)
    halves, _ = fitted(model, cut, isplit.Autoencoder(0.7, init="projection"), images)
    features, back = restored(halves, images)
    zero, _ = (np.asarray(halves.decoder(halves.encoder(f))) for f in (np.zeros_like(features), features))
    # A linear (affine) map: what is between two inputs comes out between their outputs, ReLU or not.
    between = np.asarray(halves.decoder(halves.encoder(0.5 * features)))
    np.testing.assert_allclose(between, 0.5 * (back + zero), atol=1e-4)


@pytest.mark.numerical
def test_an_autoencoder_starts_where_the_projection_ends():
    """With a hidden width of no more than its latent it is the projection of 2 x 2 patches, as good on features."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    x, _ = make_data()
    projection, _ = fitted(model, "conv", isplit.Projection(0.5, patch=2), x)
    plan = isplit.Autoencoder(0.5, filters=24, init="projection").plan((8, 8, 6))
    assert plan.latent_size == projection.latent_shape[-1] * 16
    autoencoder, _ = fitted(model, "conv", isplit.Autoencoder(0.5, filters=24, init="projection"), x)
    features, wanted = restored(projection, x)
    _, found = restored(autoencoder, x)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    np.testing.assert_allclose(autoencoder.predict(x), projection.predict(x), atol=1e-3)
    wider, _ = fitted(model, "conv", isplit.Autoencoder(0.5, filters=48, init="projection"), x)
    lost = [np.square(features - restored(halves, x)[1]).sum() for halves in (wider, projection)]
    assert lost[0] <= lost[1] * 1.05


def test_training_goes_on_from_such_a_start():
    """Phase 1 begins at the error where the fit ended, far below that of a random start, and lowers it."""
    model, data = build_net(), make_data()
    starts = {}
    for init in ("projection", "random"):
        bottleneck = isplit.Autoencoder(0.5, init=init, seed=0)
        _, history = fitted(model, "pool", bottleneck, data, bottleneck_epochs=3, seed=0)
        assert [e.phase for e in history.epochs] == ["fit"] * (init == "projection") + ["bottleneck"] * 3
        starts[init] = history.values("bottleneck", "relative_error")
    assert starts["projection"][0] < starts["random"][0] / 2
    assert starts["projection"][-1] < starts["projection"][0]


def test_arguments_of_the_start():
    """Another start is refused; the default is left out of the record, which older releases then read."""
    with pytest.raises(ArgumentError, match="init: expected one of"):
        isplit.Autoencoder(init="zeros")
    assert "init" not in isplit.Autoencoder().get_config()
    chosen = isplit.Autoencoder(init="projection")
    assert isplit.Autoencoder.from_config(chosen.get_config()) == chosen
    assert chosen.plan((8, 8, 16)).filters >= 2 * 8 * 8 * 16 * 0.1 // 16
