"""The original model as the teacher of its split."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.bottlenecks.autoencoder import Autoencoder
from isplit_tf.errors import ArgumentError, BundleError, DataError, ModelError
from isplit_tf.graph.outputs import Output
from isplit_tf.splitting import SplitModel, split
from isplit_tf.training import Distillation, train
from isplit_tf.training.checkpoint import FILE_NAME, TEACHER_FILE_NAME
from isplit_tf.training.distillation import divergence
from support.splitnet import EPOCHS, Stop, assert_same, build_net, differ, weights_of

STILL = {"bottleneck_epochs": 0, "fine_tune_epochs": 1, "optimizer": keras.optimizers.SGD(0.0)}


def squashed(outputs, kind, temperature):
    """Probabilities (N, n) at a temperature, for one unit those of both classes, by numpy alone."""
    outputs = np.asarray(outputs, np.float64)
    logits = outputs if "logit" in kind else np.log(outputs) - (np.log1p(-outputs) if "sigmoid" in kind else 0)
    if kind in ("sigmoid", "binary_logit"):
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    powers = np.exp(logits / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def test_divergence_by_hand():
    """At T = 1 with targets (0.5, 0.5) and outputs (0.8, 0.2) it is 0.5 ln(0.5/0.8) + 0.5 ln(0.5/0.2) = 0.2231.

    At T = 2 the outputs become (2/3, 1/3), since sqrt(0.8) : sqrt(0.2) = 2 : 1, and with T^2 = 4 it is
    4 (0.5 ln(0.75) + 0.5 ln(1.5)) = 0.2356. One sigmoid of 0.2 stands for the same two classes.
    """
    for temperature, expected in ((1.0, 0.2231), (2.0, 0.2356)):
        for kind, student, teacher in (
            ("softmax", [[0.8, 0.2]], [[0.5, 0.5]]),
            ("logits", np.log([[8.0, 2.0]]), [[3.0, 3.0]]),
            ("sigmoid", [[0.2]], [[0.5]]),
            ("binary_logit", np.log([[0.25]]), [[0.0]]),
            ("multi_label", [[0.2, 0.8]], [[0.5, 0.5]]),
        ):
            output = Output.of(kind, len(student[0]))
            found = divergence(np.float32(student), np.float32(teacher), output=output, temperature=temperature)
            np.testing.assert_allclose(found, [expected], atol=1e-4)


def test_gradient_stays_finite_where_a_probability_is_zero():
    """A saturated output has a finite loss and a finite gradient."""
    for kind, first, second in (("softmax", [[1.0, 0.0]], [[0.0, 1.0]]), ("sigmoid", [[1.0]], [[0.0]])):
        student = tf.constant(first)
        with tf.GradientTape() as tape:
            tape.watch(student)
            output = Output.of(kind, len(first[0]))
            loss = divergence(student, tf.constant(second), output=output, temperature=2.0)
        assert np.isfinite(loss).all()
        assert np.isfinite(tape.gradient(loss, student)).all()


@pytest.mark.parametrize(
    ("kind", "activation", "units"),
    [("softmax", "softmax", 3), ("logits", None, 3), ("sigmoid", "sigmoid", 1), ("binary_logit", None, 1)],
)
def test_loss_of_phase_2_is_the_divergence_from_the_original(data, kind, activation, units):
    """With a rate of 0 loss and validation loss are T^2 KL(original || split) by numpy, for every kind of output."""
    x = data[0]
    keras.utils.set_random_seed(0)
    model = build_net(activation, units)
    if units == 1:
        model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=activation is None))
    halves = split(model, "pool", Autoencoder(0.8, seed=0))
    assert halves.output_kind == kind
    metrics = train(halves, x, validation_data=x, loss=Distillation(3.0), **STILL).epochs[0].metrics
    teacher, student = (squashed(one.predict(x, verbose=0), kind, 3.0) for one in (model, halves))
    expected = 9 * (teacher * np.log(teacher / student)).sum(axis=1).mean()
    assert set(metrics) == {"loss", "val_loss"}
    assert metrics["val_loss"] == pytest.approx(expected, rel=1e-3)


def test_it_needs_no_labels_and_comes_nearer_to_the_original(net, data):
    """From images alone, in every form, the split's outputs come nearer to the original's."""
    x = data[0]

    class Images(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return x[index * 30 : index * 30 + 30]

    for images in (x, (x, None), tf.data.Dataset.from_tensor_slices(x).batch(30), Images()):
        halves = split(net, "pool", Autoencoder(0.8, seed=0))
        arguments = {"bottleneck_epochs": 0, "optimizer": keras.optimizers.Adam(3e-3), "seed": 0}
        history = train(halves, images, fine_tune_epochs=2, loss="distill", **arguments)
        losses = history.values("fine_tune", "loss")
        assert losses[-1] < losses[0]
        halves.model.evaluate(*data, verbose=0)  # compiled with a loss for labels


def test_labels_are_mixed_in_on_request(net, data):
    """The loss is (1 - w) times the divergence plus w times the cross-entropy; accuracy is shown beside it."""
    x, y = data
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    loss = Distillation(1.0, label_weight=0.25)
    metrics = train(halves, data, validation_data=data, loss=loss, **STILL).epochs[0].metrics
    teacher, student = (one.predict(x, verbose=0).astype(float) for one in (net, halves))
    distance = (teacher * np.log(teacher / student)).sum(axis=1).mean()
    entropy = -np.log(student[np.arange(len(y)), y]).mean()
    assert metrics["val_loss"] == pytest.approx(0.75 * distance + 0.25 * entropy, rel=1e-3)
    assert metrics["val_accuracy"] == pytest.approx((student.argmax(axis=1) == y).mean())


def test_labels_that_are_there_give_the_accuracy(net, data):
    """With labels and a weight of 0 the accuracy is shown; the loss does not depend on the labels."""
    found = []
    for labels in (data[1], np.roll(data[1], 1)):
        halves = split(net, "pool", Autoencoder(0.8, seed=0))
        found.append(train(halves, (data[0], labels), loss="distill", **STILL, seed=0).epochs[0].metrics)
    assert found[0]["loss"] == found[1]["loss"]
    assert found[0]["accuracy"] != found[1]["accuracy"]


def test_sample_weights_count(net, data):
    """Weights of images are taken: zero weights leave the split as it is."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    before = weights_of(halves.model)
    train(halves, (*data, np.zeros(90, np.float32)), bottleneck_epochs=0, fine_tune_epochs=1, loss="distill", seed=0)
    assert_same(before, weights_of(halves.model))


def test_callbacks_see_the_split_model_itself(net, data):
    """A callback's model is `split.model`, so that saving and early stopping work as in `fit`."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model)
            self.model.stop_training = True

    history = train(halves, data, bottleneck_epochs=0, fine_tune_epochs=3, loss="distill", callbacks=[Spy()])
    assert seen == [halves.model]
    assert len(history.epochs) == 1
    found = halves.model.evaluate(*data, verbose=0, return_dict=True)
    entropy = keras.losses.SparseCategoricalCrossentropy()(data[1], halves.predict(data[0]))
    assert found["loss"] == pytest.approx(float(entropy), rel=1e-5)


def test_a_run_that_was_interrupted_has_the_original_as_its_teacher(net, data, tmp_path):
    """Interrupted in phase 2, a run goes on with the original as its teacher: with a fresh split, and with the
    half-trained one, it ends with the weights of a run that nothing interrupted."""
    whole = split(net, "pool", Autoencoder(0.8, seed=0))
    train(whole, data, loss="distill", **EPOCHS)
    for name in ("fresh", "same"):
        halves = split(net, "pool", Autoencoder(0.8, seed=0))
        arguments = EPOCHS | {"loss": "distill", "checkpoint_dir": tmp_path / name}
        with pytest.raises(RuntimeError, match="disk full"):
            train(halves, data, callbacks=[Stop(1, RuntimeError("disk full"))], **arguments)
        if name == "fresh":
            halves = split(net, "pool", Autoencoder(0.8, seed=0))
        train(halves, data, **arguments)
        assert_same(weights_of(halves.model), weights_of(whole.model))
        assert sorted(p.name for p in (tmp_path / name).iterdir()) == sorted([FILE_NAME, TEACHER_FILE_NAME])


def test_a_lost_teacher_is_an_error(net, data, tmp_path):
    """A run does not go on with another teacher than its own."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    arguments = EPOCHS | {"loss": "distill", "checkpoint_dir": tmp_path}
    with pytest.raises(RuntimeError):
        train(halves, data, callbacks=[Stop(0, RuntimeError("out"))], **arguments)
    (tmp_path / TEACHER_FILE_NAME).unlink()
    with pytest.raises(BundleError, match="does not hold the teacher"):
        train(halves, data, **arguments)


def test_a_split_that_was_fine_tuned_is_no_teacher(net, data, tmp_path):
    """Head and tail that learned are not the original: an error, also after saving; the model itself can be given."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    assert not halves.fine_tuned
    train(halves, data, bottleneck_epochs=0, fine_tune_epochs=1, seed=0)
    halves.save(tmp_path / "split")
    for one in (halves, SplitModel.load(tmp_path / "split")):
        assert one.fine_tuned
        with pytest.raises(ArgumentError, match="fine-tuned already"):
            train(one, data, fine_tune_epochs=1, loss="distill")
        before, teacher = weights_of(one.model), weights_of(net)
        train(one, data[0], bottleneck_epochs=0, fine_tune_epochs=1, loss=Distillation(teacher=net), seed=0)
        assert any(differ(before, weights_of(one.model)))
        assert_same(teacher, weights_of(net))


def test_what_cannot_be_distilled_is_refused(net, data, halves, tmp_path):
    """Arguments out of range, labels that are missing, another teacher, and an output that is no class score."""
    for arguments, message in [
        ({"temperature": 0}, "temperature: expected a number over 0. Received: 0"),
        ({"temperature": "hot"}, "temperature: expected a number"),
        ({"label_weight": 1.0}, r"label_weight: expected a number in \[0, 1\)"),
        ({"teacher": "net"}, "teacher: expected a Keras model"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            Distillation(**arguments)
    with pytest.raises(DataError, match="loss='distill' fine-tunes all the same"):
        train(halves, data[0], loss=Distillation(label_weight=0.5))
    with pytest.raises(ArgumentError, match="gives 5 values of the kind 'softmax', the split 3"):
        train(halves, data, loss=Distillation(teacher=build_net(units=5)))
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    regression = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    with pytest.raises(ModelError, match="not class scores"):
        train(split(regression, "conv"), data[0], loss="distill")
    arguments = {"bottleneck_epochs": 1, "fine_tune_epochs": 1, "checkpoint_dir": tmp_path, "seed": 0}
    train(halves, data, loss="distill", **arguments)
    with pytest.raises(ArgumentError, match="loss: .*2.0.* there, .*4.0.* here"):
        train(split(net, "pool", Autoencoder(0.8, seed=0)), data, loss=Distillation(4.0), **arguments)
