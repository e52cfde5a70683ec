"""Evaluation: the figures by hand, every kind of predictor, the same test sets, and rubbish that is
refused."""

import json
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.errors import ArgumentError, BundleError, DataError, ModelError, NumericsError
from isplit_tf.evaluation.evaluation import Evaluation, evaluate
from isplit_tf.evaluation.metrics import confusion_matrix, f1_scores, rank_auc, wilson_interval
from isplit_tf.splitting import split

# Ten images of three classes: class 0 four right of five, class 1 one right of three, class 2 both right.
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
SAID = np.array([0, 0, 0, 0, 1, 1, 0, 2, 2, 2])


def says(rows):
    """A predictor whose answers are fixed: images hold their own index."""
    return SimpleNamespace(predict=lambda x: np.asarray(rows)[np.asarray(x)[:, 0].astype(int)])


def indexed(labels):
    """Images that hold their own index, with labels."""
    return np.arange(len(labels), dtype=np.float32)[:, np.newaxis], np.asarray(labels)


def one_hot(classes, n_classes):
    return np.eye(n_classes, dtype=np.float32)[classes]


@pytest.fixture
def example():
    """The ten images, evaluated."""
    return evaluate(says(one_hot(SAID, 3)), indexed(LABELS), batch_size=4)


def test_figures_by_hand(example):
    """Accuracy, balanced accuracy, confusion and F1 are those worked out by hand.

    Right: 4 + 1 + 2 of 10. Recall: 4/5, 1/3, 1. F1 = 2 TP / (labelled + predicted): 8/10, 2/5, 4/5.
    """
    assert example.n_images == 10
    assert example.accuracy == 0.7
    assert example.balanced_accuracy == pytest.approx((4 / 5 + 1 / 3 + 1) / 3)
    np.testing.assert_array_equal(example.confusion, [[4, 1, 0], [1, 1, 1], [0, 0, 2]])
    np.testing.assert_allclose(example.f1, [0.8, 0.4, 0.8])
    assert example.auc is None


def test_classes_without_images_count_for_nothing():
    """A class that the data does not hold has F1 NaN and is left out of the balanced accuracy."""
    found = evaluate(says(one_hot([0, 0, 3, 1], 4)), indexed([0, 0, 1, 1]))
    np.testing.assert_allclose(found.f1, [1.0, 2 / 3, math.nan, math.nan])
    assert found.balanced_accuracy == 0.75


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_the_published_one(successes, trials, low, high):
    """The interval has the values that Newcombe (1998) prints for Wilson's method, to their four digits."""
    np.testing.assert_allclose(wilson_interval(successes, trials, 0.95), [low, high], atol=5e-5)
    assert wilson_interval(trials, trials, 0.95)[1] == 1.0


def test_interval_widens_with_confidence(example):
    """The interval encloses the accuracy and grows with the confidence, which lies between 0 and 1."""
    low, high = example.interval()
    wider_low, wider_high = example.interval(0.99)
    assert wider_low < low < 0.7 < high < wider_high
    for wrong in (0, 1, 95, "high", True, math.nan):
        with pytest.raises(ArgumentError, match="confidence: expected a number between 0 and 1"):
            example.interval(wrong)


def test_auc_is_the_share_of_pairs_in_order():
    """The rank statistic equals the count over all pairs, ties by half, and is NaN for a single class."""
    rng = np.random.default_rng(0)
    positive, scores = rng.random(60) < 0.4, rng.integers(0, 8, 60) / 8
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]]
    assert rank_auc(positive, scores) == pytest.approx(np.mean(pairs))
    assert math.isnan(rank_auc(np.ones(3, bool), np.arange(3.0)))


def test_two_classes_have_an_auc():
    """AUC by hand: of the four pairs (0.8, 0.3) x (0.6, 0.2) three are in order."""
    found = evaluate(says([[0.4], [0.8], [0.7], [0.2]]), indexed([0, 0, 1, 1]))
    # Class 1 scores: negatives 0.4 and 0.8, positives 0.7 and 0.2; only 0.7 > 0.4 is in order.
    assert found.auc == pytest.approx(0.25)
    assert found.n_classes == 2


def test_test_sets_are_the_same_for_every_predictor():
    """Two predictors are compared on the same images: where both fail on the same ones, all sets agree."""
    labels = np.arange(500) % 2
    wrong = np.arange(500) % 5 == 0
    first = evaluate(says(one_hot(np.where(wrong, 1 - labels, labels), 2)), indexed(labels))
    second = evaluate(says(one_hot(np.where(wrong, 1 - labels, labels), 2) * 0.9 + 0.05), indexed(labels))
    np.testing.assert_array_equal(first.resampled(images=100), second.resampled(images=100))
    assert first.resampled(images=100).std() > 0


def test_test_sets_are_drawn_without_replacement():
    """A set holds an image once at most: sets of all images all have the overall accuracy."""
    found = evaluate(says(one_hot(SAID, 3)), indexed(LABELS))
    np.testing.assert_allclose(found.resampled(), np.full(15, 0.7))
    # With nine of ten, of which seven are right, a set has six or seven right.
    assert set(np.round(found.resampled(sets=50, images=9) * 9).astype(int)) == {6, 7}


def test_test_sets_depend_on_the_seed_alone(example):
    """The same seed gives the same sets, another seed others, and more sets begin with the same ones."""
    few, many = example.resampled(5, 4), example.resampled(9, 4)
    np.testing.assert_array_equal(few, many[:5])
    assert not np.array_equal(few, example.resampled(5, 4, seed=1))
    for arguments in ({"sets": 0}, {"images": 0}, {"seed": -1}, {"sets": 2.5}):
        with pytest.raises(ArgumentError, match="expected an integer of at least"):
            example.resampled(**arguments)


def net(units, activation, n_inputs=1):
    """A Keras model with weights by hand: unit k scores k * x."""
    inputs = keras.Input((n_inputs,))
    dense = keras.layers.Dense(units, activation=activation, name="scores")
    hidden = keras.layers.Dense(n_inputs, name="hidden", kernel_initializer="identity")(inputs)
    model = keras.Model(inputs, dense(hidden))
    dense.set_weights([np.arange(1, units + 1, dtype=np.float32)[np.newaxis], np.zeros(units, np.float32)])
    return model


X = np.array([[-2.0], [-1.0], [1.0], [2.0]], np.float32)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_keras_models_with_softmax_or_logits(activation):
    """A softmax model and the same model of logits get the same evaluation, probabilities included."""
    found = evaluate(net(3, activation), (X, np.array([0, 1, 2, 2])))
    np.testing.assert_array_equal(found.predictions, [0, 0, 2, 2])
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert found.accuracy == 0.75


def test_keras_model_with_one_sigmoid():
    """One sigmoid unit p is two classes, [1 - p, p]."""
    found = evaluate(net(1, "sigmoid"), (X, np.array([0, 1, 1, 1])))
    assert (found.n_classes, found.accuracy, found.auc) == (2, 0.75, 1.0)
    np.testing.assert_allclose(found.probabilities[:, 1], 1 / (1 + np.exp(-X[:, 0])), rtol=1e-5)


def test_single_linear_unit_needs_a_word():
    """A single linear unit is a binary logit only when from_logits says so."""
    with pytest.raises(ModelError, match="from_logits=True"):
        evaluate(net(1, None), (X, np.array([0, 1, 1, 1])))
    assert evaluate(net(1, None), (X, np.array([0, 1, 1, 1])), from_logits=True).accuracy == 0.75


def test_split_model_is_evaluated_as_the_model_that_was_split():
    """A split without a bottleneck says what the original says: in a graph of its own, to 1e-5."""
    model = net(3, "softmax")
    whole, halves = (evaluate(p, (X, np.array([0, 1, 2, 2]))) for p in (model, split(model, "hidden")))
    np.testing.assert_allclose(whole.probabilities, halves.probabilities, atol=1e-5)


def test_a_model_in_bfloat16_is_evaluated(example):
    """Its outputs are of a dtype that numpy does not know."""
    x, y = np.ones((6, 4), np.float32), np.arange(6) % 3
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3, activation="softmax", dtype="bfloat16")(inputs)
    found = evaluate(keras.Model(inputs, outputs), (x, y), progress=False)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=0.02)


def test_one_of_several_outputs_is_evaluated():
    """By name or index; without it the error says that it can be given."""
    inputs = keras.Input((4,))
    boxes = keras.layers.Dense(2, name="box")(inputs)
    scores = keras.layers.Dense(3, activation="softmax", name="scores")(inputs)
    model = keras.Model(inputs, [boxes, scores])
    data = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6) % 3
    expected = model.predict(data[0], verbose=0)[1]
    for output in ("scores", 1):
        found = evaluate(model, data, output=output, progress=False)
        np.testing.assert_allclose(found.probabilities, expected, rtol=1e-6)
    with pytest.raises(ModelError, match=r"output=NAME"):
        evaluate(model, data, progress=False)
    with pytest.raises(ArgumentError, match="for a Keras model of several outputs"):
        evaluate(says(expected), data, output="scores")


def test_outputs_that_add_up_to_one_are_probabilities():
    """A softmax that cannot be seen, here before a clip: taken as what it is."""
    inputs = keras.Input((4,))
    squashed = keras.layers.Dense(3, activation="softmax")(inputs)
    model = keras.Model(inputs, keras.ops.clip(squashed, 1e-7, 1.0))
    data = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6) % 3
    found = evaluate(model, data, progress=False)
    np.testing.assert_allclose(found.probabilities, model.predict(data[0], verbose=0), rtol=1e-6)


def test_all_kinds_of_data_give_the_same(example):
    """Arrays, tf.data with and without weights, PyDataset and one-hot labels are read alike."""
    predictor = says(one_hot(SAID, 3))
    x, y = indexed(LABELS)

    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return x[index * 5 : index * 5 + 5], y[index * 5 : index * 5 + 5]

    for data in (
        (x, one_hot(y, 3)),
        (x, y[:, np.newaxis]),
        tf.data.Dataset.from_tensor_slices((x, y)).batch(3),
        tf.data.Dataset.from_tensor_slices((x, y, np.ones(10))).batch(3),
        Pairs(),
    ):
        np.testing.assert_array_equal(evaluate(predictor, data).confusion, example.confusion)


def test_endless_data_needs_a_limit():
    """Endless data are refused without max_images, and stop exactly there with it."""
    endless = tf.data.Dataset.from_tensor_slices(indexed(LABELS)).repeat().batch(4)
    with pytest.raises(DataError, match="never ends"):
        evaluate(says(one_hot(SAID, 3)), endless)
    assert evaluate(says(one_hot(SAID, 3)), endless, max_images=7).n_images == 7


def test_raw_images_are_told_from_preprocessed_ones():
    """Where `predict` has the parameter, uint8 goes as raw images and floats as preprocessed."""
    seen = []

    class Client:
        def predict(self, images, preprocessed=False):
            seen.append(preprocessed)
            return np.tile([[0.2, 0.8]], (len(images), 1))

    for dtype in (np.uint8, np.float32):
        evaluate(Client(), (np.zeros((3, 4, 4, 3), dtype), np.array([1, 1, 0])))
    assert seen == [False, True]


def test_names_come_from_the_manifest_or_the_caller():
    """A bundle brings its class names; the caller's come first."""
    predictor = says(one_hot(SAID, 3))
    predictor.manifest = SimpleNamespace(class_names=["a", "b", "c"], n_classes=3)
    assert evaluate(predictor, indexed(LABELS)).class_names == ("a", "b", "c")
    assert evaluate(predictor, indexed(LABELS), class_names=["x", "y", "z"]).class_names == ("x", "y", "z")
    with pytest.raises(ArgumentError, match=r"tells 3 classes apart\. Received: 2 class names"):
        evaluate(predictor, indexed(LABELS), class_names=["x", "y"])


def test_wrong_number_of_rows_is_refused():
    """A predictor that answers for another number of images is refused, and the images are named."""
    predictor = SimpleNamespace(predict=lambda x: np.full((len(x) - (x[0, 0] > 3), 2), 0.5))
    with pytest.raises(ModelError, match=r"images 4 to 7\. The predictor gave float64 of shape \(3, 2\)"):
        evaluate(predictor, indexed([0, 1] * 5), batch_size=4)


def test_nan_is_refused_with_the_images():
    """NaN and infinity are refused; the first images that have them are named."""
    rows = one_hot(SAID, 3)
    rows[[2, 5, 6, 7, 8, 9], 1] = math.nan
    with pytest.raises(NumericsError, match=r"NaN or infinity for images 2, 5, 6, 7, 8 and 1 more"):
        evaluate(says(rows), indexed(LABELS))


def test_scores_that_are_no_probabilities_are_refused():
    """Scores outside of [0, 1] are refused unless they are called logits, and classes by number always."""
    with pytest.raises(ModelError, match=r"from 0 to 30.*outside of \[0, 1\] for images 0, 1, 2.*from_logits=True"):
        evaluate(says(one_hot(SAID, 3) * 30), indexed(LABELS))
    assert evaluate(says(one_hot(SAID, 3) * 30), indexed(LABELS), from_logits=True).accuracy == 0.7
    with pytest.raises(ModelError, match=r"class scores \(10, n_classes\).*int64 of shape \(10,\)"):
        evaluate(says(SAID), indexed(LABELS))


def test_number_of_classes_must_not_change():
    """Batches that tell different numbers of classes apart are refused."""
    predictor = SimpleNamespace(predict=lambda x: np.full((len(x), 2 + (x[0, 0] > 3)), 0.25))
    with pytest.raises(ModelError, match=r"scores of 2 classes for images 4 to 7\. The predictor gave 3"):
        evaluate(predictor, indexed([0, 1] * 4), batch_size=4)


def test_labels_beyond_the_predictor_are_refused():
    """Labels that the predictor has no class for are refused, in the first batch as later."""
    with pytest.raises(DataError, match=r"tells 3 classes apart.* labels up to 5, at images 8, 9"):
        evaluate(says(one_hot(SAID, 3)), indexed(np.where(LABELS == 2, 5, LABELS)))


def test_what_cannot_predict_is_refused():
    """Something without predict gets an error that lists what can be evaluated."""
    with pytest.raises(ArgumentError, match=r"a Keras model, a SplitModel, a Bundle, a client.*builtins\.dict"):
        evaluate({}, indexed(LABELS))


def test_save_and_load(example, tmp_path):
    """A saved evaluation comes back with the same figures, test sets and probabilities."""
    named = evaluate(says(one_hot(SAID, 3)), indexed(LABELS), class_names=["ä", "<b>", "c"])
    named.save(tmp_path / "report.json")
    back = Evaluation.load(tmp_path / "report.json")
    assert back.class_names == ("ä", "<b>", "c")
    np.testing.assert_array_equal(back.confusion, example.confusion)
    np.testing.assert_array_equal(back.probabilities, named.probabilities)
    np.testing.assert_array_equal(back.resampled(images=5), named.resampled(images=5))
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_report_is_plain_json(tmp_path):
    """Other programs find the figures by name; NaN is null."""
    evaluate(says(one_hot([0, 0, 3, 1], 4)), indexed([0, 0, 1, 1])).save(tmp_path / "report.json")
    record = json.loads((tmp_path / "report.json").read_text())
    assert record["format_version"] == 1
    assert (record["accuracy"], record["n_images"], record["auc"]) == (0.75, 4, None)
    assert record["f1"][2:] == [None, None]


def test_damaged_reports_are_refused(example, tmp_path):
    """Files that are no report, are damaged or have a newer format get an error that says so."""
    path = tmp_path / "report.json"
    example.save(path)
    record = json.loads(path.read_text())
    for text, message in [
        ("{", "cannot be read as a saved evaluation"),
        ("[]", "holds 'list'"),
        ("\udcff".encode("utf-8", "surrogateescape"), "cannot be read as a saved evaluation"),
        (json.dumps(record | {"kind": "history"}), "holds 'history'"),
        (json.dumps(record | {"format_version": 3}), "format version 3; this release reads up to 2"),
        (json.dumps(record | {"labels": [0.5] * 10}), "is damaged"),
        (json.dumps(record | {"labels": [7] * 10}), "is damaged"),
        (json.dumps(record | {"labels": [0]}), "is damaged"),
        (json.dumps({k: v for k, v in record.items() if k != "predictions"}), "is damaged: KeyError"),
    ]:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(BundleError, match=message):
            Evaluation.load(path)
    with pytest.raises(BundleError, match=r"cannot be read as a saved evaluation.*No such file"):
        Evaluation.load(tmp_path / "nothing.json")


def test_prints_well(example):
    """The record reads as a sentence, its table has a line a class, and HTML is escaped."""
    assert repr(example) == (
        "Evaluation(10 images, 3 classes: accuracy 0.7000 (0.3968 to 0.8922 at 95 %), balanced 0.7111)"
    )
    lines = example.table().splitlines()
    assert lines[0].split() == ["class", "images", "recall", "precision", "F1"]
    assert lines[1].split() == ["0", "5", "0.8000", "0.8000", "0.8000"]
    named = evaluate(says(one_hot(SAID, 3)), indexed(LABELS), class_names=["a", "<b>", "c"])
    assert "&lt;b&gt;" in named._repr_html_()
    assert "<b>" not in named._repr_html_()


def test_arrays_cannot_be_changed(example):
    """The record is frozen, its arrays too."""
    with pytest.raises(ValueError, match="read-only"):
        example.labels[0] = 1


def test_nothing_on_standard_output(capsys):
    """Evaluation writes nothing to standard output."""
    evaluate(net(3, "softmax"), (X, np.array([0, 1, 2, 2])))
    assert capsys.readouterr().out == ""


def test_kernels_agree_on_random_data():
    """Confusion and F1 agree with a count by loops."""
    rng = np.random.default_rng(1)
    labels, said = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    confusion = confusion_matrix(labels, said, 4)
    for row in range(4):
        assert f1_scores(confusion)[row] == pytest.approx(
            2 * np.sum((labels == row) & (said == row)) / (np.sum(labels == row) + np.sum(said == row))
        )
        for column in range(4):
            assert confusion[row, column] == np.sum((labels == row) & (said == column))
