"""Predicting the accuracy of every cut: the same numbers as splitting, fitting and evaluating one by one."""

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, DataError, ModelError
from isplit_tf.selection.accuracy_curve import AccuracyCurve
from support import zoo


@pytest.fixture(scope="module")
def net():
    """A small classifier of three classes, trained for a moment, and its data."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(240, 8, 8, 1)).astype(np.float32), np.arange(240) % 3
    x[np.arange(240), :, y * 2] += 1.0
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv1")(inputs)
    h = keras.layers.MaxPooling2D(name="pool1")(h)
    h = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(h)
    h = keras.layers.GlobalAveragePooling2D(name="average")(h)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="scores")(h), name="net")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x[:180], y[:180], epochs=8, verbose=0)
    return model, (x[:180], y[:180]), (x[180:], y[180:])


def predict(model, data, **how):
    """Without bars."""
    return isplit.predict_accuracy(model, data, progress=False, **how)


@pytest.mark.parametrize(
    "how", [{"compression": 0.9}, {"latent_size": 8}, {"compression": 0.8, "weighting": "features"}]
)
def test_each_cut_is_what_a_split_with_a_fitted_projection_keeps(net, how):
    """One pass for all cuts gives what a split, a fit and an evaluation at each of them would."""
    model, train_data, test_data = net
    before = [np.array(w) for w in model.get_weights()]
    curve = predict(model, test_data, fit_data=train_data[0], **how)
    assert [cut.name for cut in curve.cuts] == ["conv1", "pool1", "conv2"]
    for k, cut in enumerate(curve.cuts):
        halves = isplit.split(model, cut, isplit.Projection(**how))
        history = isplit.train(halves, train_data[0], fine_tune_epochs=0, progress=False)
        report = isplit.evaluate(halves, test_data, progress=False)
        assert np.mean(report.predictions == curve.predictions[:, k]) > 0.98
        assert abs(report.accuracy - curve.accuracy[k]) < 0.02
        np.testing.assert_allclose(curve.relative_errors[k], history.values("fit", "relative_error")[0], rtol=1e-3)
        assert curve.latent_sizes[k] == np.prod(halves.latent_shape)
        assert curve.encoder_params[k] == halves.encoder.count_params()
    original = isplit.evaluate(model, test_data, progress=False)
    assert curve.original == original.accuracy
    np.testing.assert_array_equal(curve.original_predictions, original.predictions)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_at_full_rank_every_cut_keeps_everything(net):
    """Nothing is left out, so every answer is the model's own."""
    model, train_data, test_data = net
    curve = predict(model, test_data, fit_data=train_data, compression=0.0, patch=2, cuts="all")
    np.testing.assert_array_equal(curve.agreement, 1)
    assert (curve.accuracy == curve.original).all()


@pytest.mark.parametrize("bound", [13, 20, 45, 100])
def test_a_payload_is_a_bound(net, bound):
    """No cut sends more than that, unless its grid cannot hold fewer numbers than it has positions."""
    curve = predict(net[0], net[2], payload_bytes=bound, coding="none", cuts="all", fit_images=20)
    for cut, size, payload in zip(curve.cuts, curve.latent_sizes, curve.payload_bytes, strict=True):
        assert payload == 12 + size
        least = isplit.Projection(latent_size=1).plan(cut.shape).latent_size
        assert payload <= bound or size == least


def test_several_tensors_share_a_payload():
    """Where two tensors cross, each gets its share of the bytes, and a projection of its own."""
    model = zoo.residual()
    x = zoo.random_input(model, 12)
    data = (x, model.predict(x, verbose=0).argmax(axis=1))
    (cut,) = [one for one in isplit.find_cuts(model, max_tensors=2) if len(one.shapes) == 2][:1]
    curve = predict(model, data, payload_bytes=76, cuts=[cut])
    assert curve.payload_bytes[0] <= 76
    whole = predict(model, data, compression=0.0, patch=2, cuts=[cut])
    assert whole.accuracy[0] == 1.0


@pytest.mark.parametrize("name", ["mlp", "nested", "shared", "sequence", "preprocessing"])
def test_any_model(name):
    """Vectors, sequences, nested and shared layers: at full rank what the model itself says."""
    model = zoo.ZOO[name]()
    x = zoo.random_input(model, 40)
    labels = model.predict(x, verbose=0).argmax(axis=1)
    curve = predict(model, (x, labels), compression=0.0, cuts="all")
    assert (curve.accuracy > 0.9).all()


def test_few_images_and_parts_of_the_data(net):
    """`max_images` bounds those that are classified, `fit_images` those of the fit; the curve says how many."""
    model, train_data, test_data = net
    curve = predict(model, test_data, fit_data=train_data, max_images=25, fit_images=30, class_names=["a", "b", "c"])
    assert (curve.n_images, curve.settings["fit_images"], curve.class_names) == (25, 30, ["a", "b", "c"])
    same = predict(model, test_data, fit_data=train_data, max_images=25, fit_images=30, batch_size=7)
    assert np.mean(same.predictions == curve.predictions) > 0.95


def test_intervals_best_and_text(net):
    """Wilson's interval as an evaluation gives it; the best is the highest, then the smallest; all is shown."""
    model, train_data, test_data = net
    curve = predict(model, test_data, fit_data=train_data)
    low, high = curve.interval()
    report = isplit.evaluate(model, test_data, progress=False)
    k = int(np.argmax(curve.accuracy))
    assert low[k] <= curve.accuracy[k] <= high[k]
    if curve.accuracy[k] == report.accuracy:
        assert (low[k], high[k]) == report.interval()
    assert curve.accuracy[[c.index for c in curve.cuts].index(curve.best.index)] == curve.accuracy.max()
    with pytest.raises(ArgumentError, match="confidence"):
        curve.interval(1.5)
    text = repr(curve)
    assert "Accuracy of 'net' behind a projection at 3 cuts: compression 0.9, weighting 'task', 60 images" in text
    assert text.count("\n") == 4
    assert "points lost" in curve._repr_html_()
    ax = curve.plot()
    assert len(ax.get_lines()) == 2


def test_ties_are_broken_by_the_payload(net):
    """Of cuts that keep as much, the one that sends least is the best."""
    curve = predict(net[0], net[2], compression=0.0, patch=2)
    assert curve.best.name == "pool1"


def test_save_and_load(net, tmp_path):
    """A saved curve comes back; what is none is refused."""
    curve = predict(net[0], net[2])
    curve.save(tmp_path / "accuracy.npz")
    back = AccuracyCurve.load(tmp_path / "accuracy.npz")
    assert back.table() == curve.table()
    assert (back.cuts, back.settings) == (curve.cuts, curve.settings)
    (tmp_path / "nonsense").write_bytes(b"nonsense")
    with pytest.raises(isplit.errors.BundleError, match="is not a curve that AccuracyCurve.save wrote"):
        AccuracyCurve.load(tmp_path / "nonsense")
    importance = isplit.measure_importance(net[0], net[2], progress=False)
    importance.save(tmp_path / "curve.npz")
    with pytest.raises(isplit.errors.BundleError, match="it holds something else"):
        AccuracyCurve.load(tmp_path / "curve.npz")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"compression": 0.9, "payload_bytes": 50}, "Give one of"),
        ({"compression": 0.9, "latent_size": 50}, "Give one of"),
        ({"payload_bytes": 12, "coding": "none"}, "payload_bytes: expected an integer of at least 13"),
        ({"payload_bytes": 19}, "payload_bytes: expected an integer of at least 20"),
        ({"payload_bytes": ()}, "the list of rates is empty"),
        ({"payload_bytes": (100, 3)}, "payload_bytes: expected an integer of at least 20"),
        ({"payload_bytes": (100, 200.5)}, "payload_bytes: expected an integer"),
        ({"payload_bytes": "100"}, "payload_bytes: expected an integer"),
        ({"payload_bytes": (100,), "compression": 0.5}, "Give one of"),
        ({"payload_bytes": (100,), "max_loss": 1.5}, "max_loss: expected a number between 0 and 1"),
        ({"weighting": "labels"}, "weighting: expected one of"),
        ({"fit_images": 0}, "fit_images"),
        ({"class_names": ["a"]}, "tells 3 classes apart"),
        ({"cuts": []}, "list of cuts is empty"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(net, how, message):
    """Before anything is computed."""
    with pytest.raises(ArgumentError, match=message):
        predict(net[0], net[2], **how)


def test_models_and_data_that_do_not_fit_are_refused(net):
    """A regression has no accuracy, and without labels there is none either."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(3, name="hidden")(inputs)))
    with pytest.raises(ModelError, match="is not class scores"):
        predict(model, (np.zeros((4, 4), np.float32), np.zeros(4, int)))
    with pytest.raises(DataError):
        predict(net[0], net[2][0])


def test_tensorflow_has_nothing_to_warn_of(net, caplog):
    """Many cuts, called again and again: nothing is traced more than once, and TensorFlow does not say that it is."""
    caplog.set_level("WARNING", "tensorflow")
    for _ in range(3):
        predict(net[0], net[2], cuts="all", fit_images=20, max_images=20)
    assert "retracing" not in caplog.text
