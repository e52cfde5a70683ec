"""The loss of phase 2: Eq. 4 by hand, the cross-entropy that fits, and the forms of labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.errors import ArgumentError, DataError
from isplit_tf.graph.outputs import Output
from isplit_tf.training.objectives import Objective, SquaredError, choose_objective, loss_identity


@pytest.mark.parametrize("labels", [[2, 0], [[2], [0]], [[0, 0, 1], [1, 0, 0]]])
def test_squared_error_by_hand(labels):
    """Eq. 4 on two images of three classes.

    (0.2, 0.3, 0.5) for class 2: 0.04 + 0.09 + 0.25 = 0.38. (0.6, 0.4, 0) for class 0: 0.16 + 0.16 = 0.32.
    Mean 0.35.
    """
    probabilities = np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]], np.float32)
    found = SquaredError("softmax", 3)(np.array(labels), probabilities)
    assert float(found) == pytest.approx(0.35)


def test_squared_error_of_logits_is_that_of_their_softmax():
    """Logits are made probabilities first."""
    logits = np.log(np.array([[0.2, 0.3, 0.5], [0.6, 0.399, 0.001]], np.float32)) + 7
    found = SquaredError("logits", 3)(np.array([2, 0]), logits)
    assert float(found) == pytest.approx((0.38 + 0.16 + 0.399**2 + 0.001**2) / 2, rel=1e-5)


@pytest.mark.parametrize("labels", [[1, 0], [[1.0], [0.0]], [[0, 1], [1, 0]]])
def test_squared_error_of_one_unit_is_that_of_two_classes(labels):
    """One p is [1 - p, p]: (1 - 0.8)^2 twice and 0.3^2 twice, mean 0.13; a logit gets a sigmoid."""
    p = np.array([[0.8], [0.3]], np.float32)
    assert float(SquaredError("sigmoid", 2)(np.array(labels), p)) == pytest.approx(0.13)
    assert float(SquaredError("binary_logit", 2)(np.array(labels), np.log(p / (1 - p)))) == pytest.approx(0.13)


def test_squared_error_is_saved_by_keras_without_code():
    """The loss goes through Keras' own serialization in safe mode."""
    loss = SquaredError("logits", 4)
    back = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss), safe_mode=True)
    assert (back.kind, back.n_classes, back.name) == ("logits", 4, "squared_error")


@pytest.mark.parametrize(
    ("kind", "units", "shape", "loss", "from_logits", "form", "accuracy"),
    [
        ("softmax", 3, (8,), "SparseCategoricalCrossentropy", False, "integers", "SparseCategoricalAccuracy"),
        ("softmax", 3, (8, 1), "SparseCategoricalCrossentropy", False, "integers", "SparseCategoricalAccuracy"),
        ("softmax", 3, (8, 3), "CategoricalCrossentropy", False, "one_hot", "CategoricalAccuracy"),
        ("logits", 3, (8,), "SparseCategoricalCrossentropy", True, "integers", "SparseCategoricalAccuracy"),
        ("logits", 3, (8, 3), "CategoricalCrossentropy", True, "one_hot", "CategoricalAccuracy"),
        ("sigmoid", 1, (8, 2), "BinaryCrossentropy", False, "unit", "BinaryAccuracy"),
        ("binary_logit", 1, (8,), "BinaryCrossentropy", True, "unit", "BinaryAccuracy"),
        ("multi_label", 3, (8,), "BinaryCrossentropy", False, "one_hot", "CategoricalAccuracy"),
        ("multi_label", 3, (8, 3), "BinaryCrossentropy", False, "one_hot", "CategoricalAccuracy"),
        ("multi_label_logits", 3, (8, 3), "BinaryCrossentropy", True, "one_hot", "CategoricalAccuracy"),
    ],
)
def test_cross_entropy_fits_output_and_labels(kind, units, shape, loss, from_logits, form, accuracy):
    """Without a loss, the cross-entropy that fits the kind of output and the form of the labels is
    taken."""
    found = choose_objective(None, output=Output.of(kind, units), labels_shape=shape)
    assert type(found.loss).__name__ == loss
    assert found.loss.get_config()["from_logits"] is from_logits
    assert found.form == form
    assert [type(metric).__name__ for metric in found.metrics()] == [accuracy]
    assert found.metrics()[0].name == "accuracy"


def test_the_accuracy_of_several_labels_is_that_of_all_of_them():
    """Two of four images have all labels right; outputs are probabilities above 1/2, or logits above 0.

    With weights (3, 1, 0, 0) the share is that of the weights: the first image is right and the second is not.
    """
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], np.float32)
    said = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 0], [1, 1, 0]], np.float32)
    for kind, outputs in (("multi_label", 0.2 + 0.6 * said), ("multi_label_logits", 4 * said - 1)):
        objective = choose_objective(None, output=Output.of(kind, 3), labels_shape=(4, 3), multi_hot=True)
        (metric,) = objective.metrics()
        metric.update_state(labels, outputs)
        assert (metric.name, float(metric.result())) == ("accuracy", 0.5)
        metric.reset_state()
        metric.update_state(labels, outputs, sample_weight=[3, 1, 0, 0])
        assert float(metric.result()) == 0.75
        back = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric), safe_mode=True)
        assert back.threshold == metric.threshold


@pytest.mark.parametrize(
    ("loss", "form"),
    [
        ("sparse_categorical_crossentropy", "integers"),
        (keras.losses.SparseCategoricalCrossentropy(), "integers"),
        ("CategoricalCrossentropy", "one_hot"),
        (keras.losses.CategoricalFocalCrossentropy(), "one_hot"),
        ("mse", "one_hot"),
        (["mse"], "one_hot"),
        ({"scores": keras.losses.MeanSquaredError()}, "one_hot"),
        (lambda y_true, y_pred: y_pred, None),
    ],
)
def test_labels_are_brought_to_the_form_that_a_loss_wants(loss, form):
    """Keras' sparse losses get integers, its others one-hot labels, and a function what the data hold."""
    for shape in [(8,), (8, 3)]:
        assert choose_objective(loss, output=Output.of("softmax", 3), labels_shape=shape).form == form


def test_threshold_of_a_logit_is_zero():
    """The accuracy of a binary logit has its threshold at 0, of a sigmoid at 0.5."""
    for kind, threshold in (("binary_logit", 0.0), ("sigmoid", 0.5)):
        found = choose_objective(None, output=Output.of(kind, 1), labels_shape=(8,))
        assert found.metrics()[0].threshold == threshold


LABELS = np.array([2, 0, 1])
ONE_HOT = np.eye(3)[LABELS]


@pytest.mark.parametrize("given", [LABELS, LABELS[:, np.newaxis], LABELS.astype(np.float32), ONE_HOT])
@pytest.mark.parametrize(
    ("form", "expected"), [("integers", LABELS), ("one_hot", ONE_HOT)], ids=["integers", "one_hot"]
)
def test_labels_from_arrays_and_in_a_graph(given, form, expected):
    """Integers, columns and one-hot labels come out in the form wanted, from arrays as in a tf.data
    graph."""
    objective = Objective(None, form, 3, None)
    np.testing.assert_array_equal(objective.labels(given), expected)
    graph = tf.function(lambda y: objective.labels_in_graph(y, given.ndim))
    np.testing.assert_array_equal(graph(tf.constant(given)), expected)


@pytest.mark.parametrize("given", [np.array([1, 0]), np.array([[1], [0]]), np.array([[0, 1], [1, 0]])])
def test_labels_for_one_unit(given):
    """One unit gets a column of 0 and 1, from any form of labels of two classes."""
    objective = Objective(None, "unit", 2, None)
    np.testing.assert_array_equal(objective.labels(given), [[1.0], [0.0]])
    np.testing.assert_array_equal(objective.labels_in_graph(tf.constant(given), given.ndim), [[1.0], [0.0]])


def test_soft_labels_pass():
    """Labels that are distributions, as from mixing images, reach a loss that takes them."""
    soft = np.array([[0.1, 0.9, 0.0]])
    objective = Objective(None, "one_hot", 3, None)
    np.testing.assert_array_equal(objective.labels(soft), soft.astype(np.float32))
    with pytest.raises(DataError, match="Expected finite labels"):
        objective.labels(soft * np.nan)
    with pytest.raises(DataError, match="not every row is a single 1"):
        Objective(None, "integers", 3, None).labels(soft)


def test_labels_out_of_range_in_a_graph():
    """A label out of range in a graph is an error whose text is that of arrays; other errors are left
    alone."""
    objective = Objective(None, "integers", 3, None)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        objective.labels_in_graph(tf.constant([1, -1, 3]), 1)
    assert str(objective.label_error(caught.value)) == "Expected labels from 0 to 2. Received: labels from -1 to 3."
    assert objective.label_error(ValueError("something else")) is None


def test_labels_as_they_come():
    """Without a form nothing is looked at."""
    label = {"any": object()}
    assert Objective(None, None, None, None).labels(label) is label


def test_wrong_losses_are_refused():
    """A name that is no loss, a number, and no loss for an output that is no class score: errors that say
    so."""
    arguments = {"output": Output.of("softmax", 3), "labels_shape": (8,)}
    with pytest.raises(ArgumentError, match=r"no loss 'nonsense'.*'squared_error' \(Eq\. 4\)"):
        choose_objective("nonsense", **arguments)
    with pytest.raises(ArgumentError, match="expected a Keras loss"):
        choose_objective(0.5, **arguments)
    for loss in (None, "squared_error"):
        with pytest.raises(ArgumentError, match="not class scores"):
            choose_objective(loss, **arguments | {"output": None})


def test_identities_tell_losses_apart():
    """Losses of another class or configuration have another identity, equal ones the same."""
    first, second = (keras.losses.BinaryCrossentropy(from_logits=flag) for flag in (True, False))
    assert loss_identity(first) != loss_identity(second)
    assert loss_identity(first) == loss_identity(keras.losses.BinaryCrossentropy(from_logits=True))
    assert loss_identity(None) is None
    assert loss_identity("mse") == "mse"
    assert loss_identity(test_labels_as_they_come)[0] == "test_labels_as_they_come"
