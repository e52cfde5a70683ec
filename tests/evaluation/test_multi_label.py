"""Multi-label models: figures by hand, every kind of predictor, labels that are read as they are meant."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import isplit_tf as isplit
from isplit_tf.errors import DataError
from isplit_tf.evaluation.evaluation import Evaluation, evaluate
from isplit_tf.evaluation.multi_label import MultiLabelEvaluation
from isplit_tf.graph.output_kinds import Output

# Four images of three labels; the third label is on no image.
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]])
ROWS = np.array([[0.9, 0.2, 0.1], [0.4, 0.8, 0.1], [0.1, 0.3, 0.6], [0.2, 0.7, 0.4]])


def says(rows):
    """A predictor with fixed answers, which knows that they are of independent labels."""
    answers = np.asarray(rows, np.float32)
    predict = lambda x: answers[np.asarray(x)[:, 0].astype(int)]  # noqa: E731
    return SimpleNamespace(predict=predict, output=Output("multi_label", answers.shape[1]))


def indexed(labels):
    """Images that hold their own index, with labels."""
    return np.arange(len(labels), dtype=np.float32)[:, np.newaxis], np.asarray(labels)


def test_figures_by_hand():
    """Predicted are {0}, {1}, {2}, {1}: the first and the last image are right.

    Label 0: one of two found, nothing else: F1 2/3; its images score 0.9, 0.4 against 0.1, 0.2. Label 1: both of two:
    F1 1. Label 2 is on no image: F1 and AUC NaN, which the means leave out.
    """
    found = evaluate(says(ROWS), indexed(LABELS), batch_size=3, progress=False)
    assert isinstance(found, MultiLabelEvaluation)
    assert (found.n_images, found.n_classes, found.accuracy) == (4, 3, 0.5)
    np.testing.assert_allclose(found.f1, [2 / 3, 1.0, math.nan])
    np.testing.assert_allclose(found.label_auc, [1.0, 1.0, math.nan])
    assert (found.mean_auc, found.auc) == (1.0, 1.0)
    np.testing.assert_array_equal(found.confusion, [[[2, 0], [1, 1]], [[2, 0], [0, 2]], [[3, 1], [0, 0]]])
    np.testing.assert_allclose(found.label_accuracy, [0.75, 1.0, 0.75])
    assert found.balanced_accuracy == 0.75
    assert found.interval() == evaluate_two_of_four().interval()
    np.testing.assert_array_equal(found.resampled(2, 4), [0.5, 0.5])
    assert "4 images, 3 labels: all labels right for 0.5000" in found.table()


def evaluate_two_of_four() -> Evaluation:
    return Evaluation(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), 2)


def test_saved_and_loaded(tmp_path):
    """All figures come back; a file of single labels keeps the format of the first release."""
    found = evaluate(says(ROWS), indexed(LABELS), class_names=["a", "b", "c"], progress=False)
    found.save(tmp_path / "report.json")
    back = Evaluation.load(tmp_path / "report.json")
    assert isinstance(back, MultiLabelEvaluation)
    assert (back.accuracy, back.class_names) == (0.5, ("a", "b", "c"))
    np.testing.assert_array_equal(back.label_auc, found.label_auc)
    assert '"format_version": 2' in (tmp_path / "report.json").read_text()
    evaluate_two_of_four().save(tmp_path / "plain.json")
    assert '"format_version": 1' in (tmp_path / "plain.json").read_text()


@pytest.mark.parametrize("kind", ["float", "bool", "dataset", "int8"])
def test_every_form_of_labels(kind):
    """Numbers of any type, and streams, some of whose batches happen to be one-hot."""
    x, y = indexed(LABELS)
    if kind == "dataset":
        data = tf.data.Dataset.from_tensor_slices((x, y.astype("float32"))).batch(1)
    else:
        data = x, y.astype(kind)
    assert evaluate(says(ROWS), data, progress=False).accuracy == 0.5


def test_one_label_each_is_a_class_unless_it_is_said():
    """Labels that are one-hot throughout, or integers, are classes, as ever; `output_kind` says otherwise."""
    y = np.array([0, 1, 0, 1])
    for labels in (y, np.eye(3)[y]):
        single = evaluate(says(ROWS), indexed(labels), progress=False)
        assert type(single) is Evaluation
        assert single.accuracy == np.mean(ROWS.argmax(axis=1) == y)
        several = evaluate(says(ROWS), indexed(labels), output_kind="multi_label", progress=False)
        assert several.accuracy == 0.75


def test_models_splits_and_bundles_agree(tmp_path):
    """Sigmoids, their mean and independent logits: the same answers from the model, the split and the bundle."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((20, 6, 6, 1), "float32"), (rng.random((20, 3)) < 0.5).astype("float32")
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(2, 3, activation="relu", name="first")(inputs)
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, activation="relu", name="second")(x))
    mean = keras.layers.Average()([keras.layers.Dense(3, "sigmoid")(x) for _ in range(2)])
    linear = keras.Model(inputs, keras.layers.Dense(3)(x))
    linear.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    models = [keras.Model(inputs, keras.layers.Dense(3, "sigmoid")(x)), keras.Model(inputs, mean), linear]
    for k, model in enumerate(models):
        halves = isplit.split(model, "first")
        bundle = isplit.export_bundle(
            halves,
            tmp_path / str(k),
            precision="float32",
            evaluation_data=(images, labels),
            original=model,
            local_fallback=True,
            progress=False,
        )
        expected = model.predict(images, verbose=0)
        if model is linear:
            expected = 1 / (1 + np.exp(-expected))
        np.testing.assert_allclose(bundle.predict(images, preprocessed=True), expected, atol=1e-6)
        assert bundle.manifest.output["kind"] == "multi_label"
        assert bundle.manifest.multi_label
        found = [evaluate(one, (images, labels), progress=False) for one in (model, halves, bundle)]
        assert len({one.accuracy for one in found} | {bundle.manifest.accuracy["artefacts"]}) == 1
        assert all(isinstance(one, MultiLabelEvaluation) for one in found)


def test_labels_that_do_not_fit():
    """Soft labels and too many columns say what is expected; a model of one label says how it is told otherwise."""
    x, y = indexed(LABELS)
    with pytest.raises(DataError, match=r"multi-hot.*other values than 0 and 1"):
        evaluate(says(ROWS), (x, y * 0.5), progress=False)
    with pytest.raises(DataError, match=r"Expected labels \(N, 3\), as the predictor has\. Received: \(4, 2\)"):
        evaluate(says(ROWS), (x, y[:, :2]), progress=False)
    with pytest.raises(DataError, match=r"single 1 among zeros.*output_kind='multi_label'"):
        evaluate(SimpleNamespace(predict=says(ROWS).predict), (x, y), progress=False)
    with pytest.raises(DataError, match=r"multi-hot \(N, 4\)\. Received: int64 \(4, 3\)"):
        evaluate(says(ROWS), (x, y), class_names=list("abcd"), output_kind="multi_label", progress=False)
