"""Accuracy at every cut and rate: the numbers of splits at these rates, from one fit, and a race that hides no best."""

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, BundleError
from support import zoo

RATES = (24, 32, 60)


@pytest.fixture(scope="module")
def net():
    """A small classifier of three classes, trained for a moment, and its data."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 8, 8, 1)).astype(np.float32), rng.integers(0, 3, 600)
    x[np.arange(600), :, y * 2] += 1.5
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv1")(inputs)
    h = keras.layers.MaxPooling2D(name="pool1")(h)
    h = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(h)
    h = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv3")(h)
    h = keras.layers.GlobalAveragePooling2D(name="average")(h)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="scores")(h), name="net")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x[:300], y[:300], epochs=6, verbose=0)
    return model, (x[:300], y[:300]), (x[300:], y[300:])


@pytest.fixture(scope="module")
def whole(net):
    """The map with every cut measured at every rate."""
    return predict(net, payload_bytes=RATES, race=False)


def predict(net, **how):
    """Without bars, fitted from the training images."""
    model, train_data, test_data = net
    return isplit.predict_accuracy(model, test_data, fit_data=train_data[0], progress=False, **how)


def test_each_rate_is_what_a_split_at_that_rate_keeps(net, whole):
    """One fit for all rates gives what a split, a fit and an evaluation at each cut and rate would."""
    model, train_data, test_data = net
    assert whole.payload_bytes.tolist() == list(RATES)
    assert whole.accuracy.shape == whole.mean_bytes.shape == whole.n_images.shape == (4, 3)
    assert (whole.n_images == 300).all()
    for k, r in ((0, 2), (1, 0), (2, 1), (3, 2)):
        halves = isplit.split(model, whole.cuts[k], isplit.Projection(payload_bytes=RATES[r]))
        halves.fit_bottleneck(train_data[0], progress=False)
        report = isplit.evaluate(halves, test_data, progress=False)
        assert np.mean(report.predictions == whole.predictions[k, r]) > 0.95
        assert np.prod(halves.latent_shape) == whole.latent_sizes[k, r]
        assert halves.encoder.layers[1].count_params() == whole.encoder_params[k, r]
    assert whole.original == isplit.evaluate(model, test_data, progress=False).accuracy


def test_bytes_are_near_to_what_was_asked(whole):
    """The mean over images of the same kind as those of the fit, or fewer where nothing is left to be said."""
    np.testing.assert_allclose(whole.mean_bytes[0], whole.payload_bytes, rtol=0.1)
    assert (whole.mean_bytes <= 1.1 * whole.payload_bytes).all()
    assert (whole.mean_bytes <= whole.p95_bytes).all()
    assert (whole.p95_bytes <= whole.most_bytes).all()
    assert whole.sent_bytes.min() > 12


def test_one_rate_gives_the_curve_of_the_map(net, whole):
    """A number gives the curve that the map has at that rate; its bytes are those measured."""
    curve = predict(net, payload_bytes=32)
    at = whole.at(32)
    assert isinstance(curve, isplit.AccuracyCurve)
    assert np.mean(curve.predictions == at.predictions) > 0.97
    np.testing.assert_array_equal(at.accuracy, whole.accuracy[:, 1])
    np.testing.assert_array_equal(at.payload_bytes, np.rint(whole.mean_bytes[:, 1]))
    np.testing.assert_array_equal(curve.latent_sizes, at.latent_sizes)
    assert (at.settings["payload_bytes"], curve.settings["payload_bytes"]) == (32, 32)
    assert isplit.propose(importance(net), accuracy=at, rank="accuracy")[0].payload_bytes in at.payload_bytes


def importance(net):
    """The importance of the cuts on some images."""
    return isplit.measure_importance(net[0], net[2], max_images=20, progress=False)


def test_a_race_hides_no_best_and_changes_no_number(net, whole):
    """What stays has the numbers of a map without a race; the best at each rate stays or differs by a tie."""
    raced = predict(net, payload_bytes=RATES)
    stays = raced.is_measured
    np.testing.assert_array_equal(np.isnan(raced.accuracy), ~stays)
    np.testing.assert_array_equal(np.isnan(raced.mean_bytes), ~stays)
    assert stays.any(axis=0).all()
    np.testing.assert_allclose(raced.accuracy[stays], whole.accuracy[stays], atol=0.01)
    assert (raced.n_images[~stays] < 300).all()
    assert (raced.n_images[~stays] >= 8).all()
    assert (np.nanmax(raced.accuracy, axis=0) > whole.accuracy.max(axis=0) - 0.05).all()
    for k, rate in enumerate(RATES):
        curve = raced.at(rate)
        np.testing.assert_array_equal(curve.accuracy, raced.accuracy[:, k])
        assert curve.accuracy[[cut.index for cut in curve.cuts].index(curve.best.index)] == np.nanmax(curve.accuracy)
        assert curve.table().count("dropped out") == np.count_nonzero(~stays[:, k])
        ranked = isplit.propose(importance(net), accuracy=curve, rank="accuracy")
        assert len(ranked) == np.count_nonzero(stays[:, k])
        assert ranked[0].predicted_accuracy == np.nanmax(curve.accuracy)
    low, high = raced.interval()
    np.testing.assert_array_equal(np.isnan(low), ~stays)
    assert (low[stays] <= raced.accuracy[stays]).all()
    assert (high[stays] >= raced.accuracy[stays]).all()


def test_labels_that_nothing_predicts_end_a_race_early(net):
    """A cut that never answers as the whole model does is out after the first images."""
    model, train_data, (x, _) = net
    labels = model.predict(x, verbose=0).argmax(axis=1)
    shuffled = isplit.predict_accuracy(
        model,
        (x, labels),
        fit_data=np.zeros_like(train_data[0][:16]),
        weighting="features",
        payload_bytes=(20, 30),
        progress=False,
    )
    assert shuffled.original == 1.0
    assert (shuffled.n_images < 300).any()


@pytest.mark.parametrize("name", ["mlp", "nested", "shared", "sequence", "preprocessing", "residual"])
def test_any_model(name):
    """Vectors, sequences, nested and shared layers: with enough bytes what the model itself says."""
    model = zoo.ZOO[name]()
    x = zoo.random_input(model, 40)
    labels = model.predict(x, verbose=0).argmax(axis=1)
    found = isplit.predict_accuracy(
        model, (x, labels), payload_bytes=(40, 4000), cuts="all", race=False, progress=False
    )
    assert found.original == 1.0
    assert (found.accuracy[:, 1] > 0.8).all()
    assert (found.mean_bytes[:, 0] < 60).all()


def test_several_tensors_at_a_cut():
    """Two tensors cross side by side, not coded, among cuts of one tensor."""
    model = zoo.residual()
    x = zoo.random_input(model, 24)
    data = (x, model.predict(x, verbose=0).argmax(axis=1))
    cuts = [cut for cut in isplit.find_cuts(model, max_tensors=2) if len(cut.shapes) <= 2][::-1]
    found = isplit.predict_accuracy(model, data, payload_bytes=[100, 76], cuts=cuts, race=False, progress=False)
    assert found.payload_bytes.tolist() == [76, 100]
    assert [cut.name for cut in found.cuts] == [cut.name for cut in cuts[::-1]]
    for k, cut in enumerate(found.cuts):
        if len(cut.shapes) == 2:
            assert (found.sent_bytes[k, 0] == 12 + found.latent_sizes[k, 0]).all()
            assert found.mean_bytes[k, 0] <= 76


def test_plain_latents_at_several_rates(net):
    """Without a code every frame has the bytes of its latent."""
    found = predict(net, payload_bytes=(28, 76), coding="none", race=False)
    np.testing.assert_array_equal(found.mean_bytes, 12 + found.latent_sizes)
    assert (found.mean_bytes <= [28, 76]).all()


def test_codes_of_other_amounts(net):
    """A share of the elements can be coded too, with a step that loses nothing."""
    curve = predict(net, compression=0.5, coding="entropy")
    plain = predict(net, compression=0.5)
    np.testing.assert_array_equal(curve.latent_sizes, plain.latent_sizes)
    assert np.mean(curve.predictions == plain.predictions) > 0.97
    assert curve.settings["compression"] == 0.5


def test_an_encoder_has_its_share_of_the_head(net):
    """With a bound on the encoder fewer latents are taken."""
    found = predict(net, payload_bytes=(60,), encoder_share=0.1, race=False)
    heads = np.array([cut.head_macs for cut in found.cuts])
    assert (found.encoder_macs[:, 0] <= np.maximum(0.1 * heads, found.latent_sizes[:, 0] * 65536)).all()
    assert (found.latent_sizes <= predict(net, payload_bytes=(60,), race=False).latent_sizes).all()


def test_batches_change_nothing(net, whole):
    """Batches of another size, and a data set of batches, give the same answers."""
    model, train_data, (x, y) = net
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(77)
    found = isplit.predict_accuracy(
        model, data, fit_data=train_data[0], payload_bytes=RATES, race=False, progress=False
    )
    assert np.mean(found.predictions == whole.predictions) > 0.99
    np.testing.assert_allclose(found.mean_bytes, whole.mean_bytes, rtol=1e-2)
    few = predict(net, payload_bytes=RATES, race=False, max_images=33, batch_size=10)
    np.testing.assert_array_equal(few.labels, y[:33])


def test_save_load_and_show(whole, net, tmp_path):
    """A saved map comes back; what is none is refused; a table has a line for each cut, a plot a line as well."""
    whole.save(tmp_path / "made" / "map.npz")
    back = isplit.AccuracyMap.load(tmp_path / "made" / "map.npz")
    assert back.table() == whole.table()
    assert (back.cuts, back.settings) == (whole.cuts, whole.settings)
    assert whole.table().count("\n") == 5
    assert "32 B" in whole._repr_html_()
    assert len(whole.rows()) == 12
    pixels = np.zeros((6, 8, 8, 1), np.uint8)
    codecs = isplit.measure_codecs(net[0], pixels, np.zeros(6, int), qualities=(1, 50), progress=False)
    labels = [text.get_text() for text in whole.plot(codecs).figure.legends[0].get_texts()]
    assert labels[:3] == ["the whole model", "JPEG", "WEBP"]
    assert len(labels) == 3 + len(whole.cuts)
    with pytest.raises(ArgumentError, match=r"the map was made for \[24, 32, 60\]"):
        whole.at(33)
    with pytest.raises(ArgumentError, match="confidence"):
        whole.interval(0.0)
    whole.at(32).save(tmp_path / "curve.npz")
    curve = isplit.AccuracyCurve.load(tmp_path / "curve.npz")
    np.testing.assert_array_equal(curve.payload_bytes, whole.at(32).payload_bytes)
    for name in ("curve.npz", "nonsense"):
        (tmp_path / "nonsense").write_bytes(b"nonsense")
        with pytest.raises(BundleError, match=r"is not a map that AccuracyMap\.save wrote"):
            isplit.AccuracyMap.load(tmp_path / name)
