"""Sets of labels are compared as classes are; the predicted accuracy of a multi-label model is that of all labels."""

import keras
import numpy as np

import isplit_tf as isplit
from isplit_tf.selection.label_sets import LabelSets

QUIET = {"progress": False}


def test_the_same_set_has_the_same_number():
    """Also in a later batch, and for more labels than a number has bits."""
    sets = LabelSets()
    rows = np.random.default_rng(0).random((5, 100)) < 0.5
    first = sets.numbers(np.concatenate([rows, rows[::-1]]))
    np.testing.assert_array_equal(first, [0, 1, 2, 3, 4, 4, 3, 2, 1, 0])
    np.testing.assert_array_equal(sets.numbers(rows[2:]), [2, 3, 4])
    assert sets.numbers(~rows).min() == 5


def test_predicted_accuracy_is_that_of_all_labels(tmp_path):
    """The whole model's is that of `evaluate`, without a loss at the cut the predicted one is too; files keep it."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 1))
    for k in range(2):
        x = keras.layers.Conv2D(3, 3, activation="relu", name=f"conv{k}")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, "sigmoid")(keras.layers.Flatten()(x)))
    rng = np.random.default_rng(0)
    images = rng.random((40, 6, 6, 1), "float32")
    said = (model.predict(images, verbose=0) > 0.5).astype(int)
    labels = np.where(rng.random((40, 3)) < 0.2, 1 - said, said)
    curve = isplit.predict_accuracy(model, (images, labels), compression=0.3, batch_size=7, **QUIET)
    assert curve.original == isplit.evaluate(model, (images, labels), **QUIET).accuracy
    assert curve.original == np.mean((said == labels).all(axis=1))
    assert (curve.accuracy <= 1).all()
    curve.save(tmp_path / "accuracy.npz")
    assert isplit.AccuracyCurve.load(tmp_path / "accuracy.npz").original == curve.original
    classes = labels.argmax(axis=1)
    for form in (classes, np.eye(3)[classes]):
        single = isplit.predict_accuracy(model, (images, form), compression=0.3, **QUIET)
        assert single.original == isplit.evaluate(model, (images, form), **QUIET).accuracy
        several = isplit.predict_accuracy(model, (images, form), compression=0.3, output_kind="multi_label", **QUIET)
        assert several.original == isplit.evaluate(model, (images, form), output_kind="multi_label", **QUIET).accuracy
