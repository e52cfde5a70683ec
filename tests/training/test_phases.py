"""The two phases: what learns, what is minimised, and what is left behind."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.bottlenecks.autoencoder import Autoencoder
from isplit_tf.errors import ArgumentError, DataError, NumericsError
from isplit_tf.splitting import SplitModel, split
from isplit_tf.training import train
from support.splitnet import assert_same, build_net, differ, weights_of

STILL = {"bottleneck_optimizer": keras.optimizers.SGD(0.0), "optimizer": keras.optimizers.SGD(0.0)}


def one_hot(labels, n_classes=3):
    return np.eye(n_classes, dtype=np.float32)[labels]


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_phase_1_loss_is_equation_3(halves, data, cache_bytes):
    """With a rate of 0, loss and relative error are those of Eq. 3 by numpy, whether features are cached or
    not."""
    x, y = data
    history = train(
        halves,
        (x, y),
        validation_data=(x[:40], y[:40]),
        bottleneck_epochs=1,
        fine_tune_epochs=0,
        cache_bytes=cache_bytes,
        **STILL,
    )
    features = halves.head.predict(x, verbose=0)
    squares = (features - halves.decoder.predict(halves.encoder.predict(features, verbose=0), verbose=0)) ** 2
    squares, energy = squares.reshape(90, -1).sum(axis=1), (features**2).reshape(90, -1).sum(axis=1)
    metrics = history.epochs[0].metrics
    assert metrics["loss"] == pytest.approx(squares.mean(), rel=1e-5)
    assert metrics["relative_error"] == pytest.approx(squares.sum() / energy.sum(), rel=1e-5)
    assert metrics["val_loss"] == pytest.approx(squares[:40].mean(), rel=1e-5)
    assert metrics["val_relative_error"] == pytest.approx(squares[:40].sum() / energy[:40].sum(), rel=1e-5)


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_phase_1_changes_the_bottleneck_alone(halves, data, cache_bytes):
    """Head and tail keep every bit, moving statistics included; all of the bottleneck learns, and gets
    better."""
    head, tail = weights_of(halves.head), weights_of(halves.tail)
    bottleneck = weights_of(halves.encoder) + weights_of(halves.decoder)
    history = train(halves, data, bottleneck_epochs=3, fine_tune_epochs=0, cache_bytes=cache_bytes, seed=0)
    assert_same(head, weights_of(halves.head))
    assert_same(tail, weights_of(halves.tail))
    assert all(differ(bottleneck, weights_of(halves.encoder) + weights_of(halves.decoder)))
    losses = history.values("bottleneck", "loss")
    assert losses[2] < losses[1] < losses[0]


def test_cached_features_train_as_well_as_the_head_run_each_epoch(net, data):
    """Features computed once give the training that running the head in each epoch gives."""
    ends = []
    for cache_bytes in (2**30, 0):
        halves = split(net, "pool", Autoencoder(0.8, seed=0))
        train(halves, data, bottleneck_epochs=2, fine_tune_epochs=0, cache_bytes=cache_bytes, seed=0)
        ends.append(weights_of(halves.encoder))
    for cached, run in zip(*ends, strict=True):
        np.testing.assert_allclose(cached, run, atol=2e-4)


def test_phase_1_needs_no_labels(halves, data):
    """Images alone are enough for the bottleneck: an array, or a data set of x."""
    x, _ = data
    for images in (x, tf.data.Dataset.from_tensor_slices(x).batch(30)):
        for cache_bytes in (2**30, 0):
            history = train(halves, images, bottleneck_epochs=1, fine_tune_epochs=0, cache_bytes=cache_bytes)
            assert len(history.epochs) == 1


def test_phase_1_learns_features_of_any_scale(data):
    """Features a thousand times larger are restored as well: the steps do not depend on their scale."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="features")(inputs)
    scores = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(features))
    model = keras.Model(inputs, scores)
    kernel = np.array(model.get_layer("features").kernel)
    errors = []
    for scale in (1.0, 1e3):
        model.get_layer("features").kernel.assign(kernel * scale)
        halves = split(model, "features", Autoencoder(0.5, seed=0))
        history = train(halves, data, bottleneck_epochs=40, fine_tune_epochs=0, seed=0)
        errors.append(history.values("bottleneck", "relative_error")[-1])
    assert max(errors) < 0.8
    np.testing.assert_allclose(errors[1], errors[0], rtol=0.05)


def test_phase_2_minimises_equation_4(halves, data):
    """With a rate of 0, loss="squared_error" is Eq. 4 by numpy: squares summed over classes, mean over
    images."""
    x, y = data
    for labels in (y, y[:, np.newaxis], one_hot(y)):
        history = train(
            halves,
            (x, labels),
            validation_data=(x, labels),
            bottleneck_epochs=0,
            fine_tune_epochs=1,
            loss="squared_error",
            **STILL,
        )
        probabilities = halves.model.predict(x, verbose=0)
        expected = ((probabilities - one_hot(y)) ** 2).sum(axis=1).mean()
        assert history.epochs[-1].metrics["val_loss"] == pytest.approx(expected, rel=1e-5)
        accuracy = (probabilities.argmax(axis=1) == y).mean()
        assert history.epochs[-1].metrics["val_accuracy"] == pytest.approx(accuracy)


def test_both_phases_by_default(halves, data):
    """The default is the bottleneck alone, then everything: both phases are in the history, and accuracy
    rises."""
    history = train(
        halves, data, bottleneck_epochs=2, fine_tune_epochs=4, optimizer=keras.optimizers.Adam(3e-3), seed=0
    )
    assert [epoch.phase for epoch in history.epochs] == ["bottleneck"] * 2 + ["fine_tune"] * 4
    accuracy = history.values("fine_tune", "accuracy")
    assert accuracy[-1] > accuracy[0]


def test_phase_2_changes_everything_but_frozen_statistics(halves, data):
    """End to end all weights learn; BatchNormalization of head and tail keeps every bit by default."""
    before = weights_of(halves.model)
    train(halves, data, bottleneck_epochs=0, fine_tune_epochs=1, seed=0)
    frozen = ["norm" in weight.path for weight in halves.model.weights]
    assert differ(before, weights_of(halves.model)) == [not still for still in frozen]
    assert sum(frozen) == 8


def test_batch_norm_may_learn(halves, data):
    """With batch_norm="update" the statistics move and the scales learn."""
    before = weights_of(halves.model)
    train(halves, data, bottleneck_epochs=0, fine_tune_epochs=1, batch_norm="update", seed=0)
    assert all(differ(before, weights_of(halves.model)))


@pytest.mark.parametrize("batch_norm", ["frozen", "update"])
def test_trainable_flags_are_respected_and_restored(net, data, batch_norm):
    """A layer that the user froze does not learn; every flag is afterwards what it was before."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    halves.model.get_layer("conv2").trainable = False
    flags = [layer.trainable for layer in halves.model.layers]
    kernel = np.array(halves.model.get_layer("conv2").kernel)
    train(halves, data, bottleneck_epochs=1, fine_tune_epochs=1, batch_norm=batch_norm, seed=0)
    assert [layer.trainable for layer in halves.model.layers] == flags
    np.testing.assert_array_equal(halves.model.get_layer("conv2").kernel, kernel)


def test_without_a_bottleneck_there_is_no_phase_1(net, data):
    """A split without a bottleneck is fine-tuned at once."""
    halves = split(net, "pool")
    history = train(halves, data, fine_tune_epochs=1, seed=0)
    assert [epoch.phase for epoch in history.epochs] == ["fine_tune"]
    assert train(halves, data, fine_tune_epochs=0).epochs == ()


def test_the_users_model_is_left_alone(net, data, halves):
    """Training a split changes neither weights nor flags of the model that was split."""
    before, flags = weights_of(net), [layer.trainable for layer in net.layers]
    train(halves, data, bottleneck_epochs=1, fine_tune_epochs=1, seed=0)
    assert_same(before, weights_of(net))
    assert [layer.trainable for layer in net.layers] == flags


@pytest.mark.parametrize("batch_norm", ["frozen", "update"])
def test_the_model_is_ready_for_fit_afterwards(halves, data, batch_norm):
    """Afterwards split.model evaluates to loss and accuracy, and fits on, all weights included."""
    history = train(
        halves, data, validation_data=data, bottleneck_epochs=0, fine_tune_epochs=1, batch_norm=batch_norm, seed=0
    )
    found = halves.model.evaluate(*data, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(history.epochs[-1].metrics["val_loss"], rel=1e-5)
    assert found["accuracy"] == pytest.approx(history.epochs[-1].metrics["val_accuracy"])
    before = weights_of(halves.model)
    halves.model.fit(*data, epochs=1, verbose=0)
    assert all(differ(before, weights_of(halves.model)))


def test_a_trained_split_saves_and_loads(halves, data, tmp_path):
    """A split trained with Eq. 4 is saved and read again with the same output."""
    train(halves, data, bottleneck_epochs=0, fine_tune_epochs=1, loss="squared_error", seed=0)
    halves.save(tmp_path / "split")
    back = SplitModel.load(tmp_path / "split")
    np.testing.assert_array_equal(back.predict(data[0]), halves.predict(data[0]))


@pytest.mark.parametrize("loss", [None, "squared_error"])
@pytest.mark.parametrize("kind", ["sigmoid", "binary_logit"])
def test_one_unit_stands_for_two_classes(data, loss, kind):
    """A net with one unit minimises the binary cross-entropy or Eq. 4 of [1 - p, p], worked out here by
    numpy."""
    x, y = data[0], data[1] % 2
    keras.utils.set_random_seed(0)
    model = build_net("sigmoid" if kind == "sigmoid" else None, units=1)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=kind == "binary_logit"))
    halves = split(model, "pool", Autoencoder(0.8, seed=0))
    labels = y if loss else one_hot(y, 2)
    arguments = {"bottleneck_epochs": 0, "fine_tune_epochs": 1, "loss": loss}
    metrics = train(halves, (x, labels), validation_data=(x, labels), **arguments, **STILL).epochs[-1].metrics
    scores = halves.predict(x)[:, 0]
    p = scores if kind == "sigmoid" else 1 / (1 + np.exp(-scores))
    expected = 2 * ((p - y) ** 2).mean() if loss else -np.log(np.where(y == 1, p, 1 - p)).mean()
    assert metrics["val_loss"] == pytest.approx(expected, rel=1e-4)
    assert metrics["val_accuracy"] == pytest.approx(((p > 0.5) == y).mean())


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_streams_train_like_arrays(halves, data, cache_bytes):
    """A data set with weights and a PyDataset with two workers have the losses of arrays at a rate of 0."""
    x, y = data

    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return x[index * 30 : index * 30 + 30], y[index * 30 : index * 30 + 30]

    losses = []
    stream = tf.data.Dataset.from_tensor_slices((x, one_hot(y), np.ones(90, np.float32))).batch(30)
    for source in ((x, y.tolist()), stream, Pairs(workers=2)):
        arguments = {"bottleneck_epochs": 1, "fine_tune_epochs": 1, "cache_bytes": cache_bytes}
        history = train(halves, source, validation_data=source, **arguments, **STILL)
        losses.append([epoch.metrics["val_loss"] for epoch in history.epochs])
    np.testing.assert_allclose(losses, np.broadcast_to(losses[0], (3, 2)), rtol=1e-5)


def test_sample_weights_count_in_phase_2(halves, data):
    """Weights of images are taken by the loss of phase 2: zero weights leave the split as it is."""
    before = weights_of(halves.model)
    weighted = (*data, np.zeros(90, np.float32))
    train(halves, weighted, bottleneck_epochs=0, fine_tune_epochs=1, batch_norm="frozen", seed=0)
    assert_same(before, weights_of(halves.model))


def test_the_same_seed_gives_the_same_weights(net, data):
    """Order and Dropout follow the seed alone; the seed that was drawn is in the history and repeats the
    run."""

    def run(seed):
        halves = split(net, "pool", Autoencoder(0.8, seed=0))
        seed = train(halves, data, bottleneck_epochs=1, fine_tune_epochs=1, seed=seed).seed
        return seed, weights_of(halves.model)

    drawn, first = run(None)
    seed, again = run(drawn)
    assert seed == drawn
    assert_same(first, again)
    assert any(differ(first, run(drawn + 1)[1]))


def test_callbacks_are_for_phase_2_and_may_end_it(halves, data):
    """Callbacks of the user see phase 2 alone; EarlyStopping ends it early."""
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

    stop = keras.callbacks.EarlyStopping("loss", patience=0, mode="max")  # as soon as it falls
    history = train(halves, data, bottleneck_epochs=2, fine_tune_epochs=5, callbacks=[Spy(), stop], seed=0)
    assert seen == [0, 1]
    assert [epoch.phase for epoch in history.epochs] == ["bottleneck"] * 2 + ["fine_tune"] * 2


def test_an_optimizer_of_the_users_is_copied(halves, data):
    """The user's optimizer gives its configuration and is not built, so that it can be given again."""
    optimizer = keras.optimizers.SGD(0.0, momentum=0.5)
    for _ in range(2):
        before = weights_of(halves.model)
        train(halves, data, bottleneck_epochs=0, fine_tune_epochs=1, optimizer=optimizer)
        assert_same(before, weights_of(halves.model))
    assert not optimizer.built
    assert halves.model.optimizer.momentum == 0.5
    train(halves, data, bottleneck_epochs=0, fine_tune_epochs=1, optimizer="sgd")
    assert isinstance(halves.model.optimizer, keras.optimizers.SGD)


def test_a_loss_of_the_users_gets_labels_as_they_come(halves, data):
    """A function as a loss is called with the labels that the data hold."""
    seen = []

    def my_loss(y_true, y_pred):
        seen.append(y_true.shape)
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    x, y = data
    train(halves, (x, one_hot(y) * 0.9), bottleneck_epochs=0, fine_tune_epochs=1, loss=my_loss)
    assert {tuple(shape)[1:] for shape in seen} == {(3,)}


def test_progress_goes_to_standard_error_and_nothing_to_standard_output(halves, data, capfd, monkeypatch):
    """Bars are on standard error, and none with progress=False; standard output stays empty."""
    monkeypatch.setattr("isplit_tf.display.progress._DELAY_S", 0)
    train(halves, data, bottleneck_epochs=1, fine_tune_epochs=1)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "bottleneck 1/1" in shown.err
    assert "fine_tune 1/1" in shown.err
    train(halves, data, bottleneck_epochs=1, fine_tune_epochs=1, progress=False)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "/1" not in shown.err


def test_nan_in_the_images_stops_phase_1(net, data):
    """A loss that is no number ends the training with its phase and epoch, and leaves the split as it
    was."""
    halves = split(net, "conv1", Autoencoder(0.8, seed=0))
    x, y = data[0].copy(), data[1]
    x[3, 0, 0] = np.nan
    before = weights_of(halves.model)
    with pytest.raises(NumericsError, match="Image 3 of a batch holds NaN"):  # in the first batch
        train(halves, (x, y))
    x[[3, 60]] = x[[60, 3]]
    with pytest.raises(NumericsError, match="Image 28 of a batch holds NaN"):  # in the second, as features are kept
        train(halves, (x, y))
    with pytest.raises(NumericsError, match=r"loss became nan in epoch 1 of 5 of phase 'bottleneck'"):
        train(halves, (x, y), cache_bytes=0)
    assert_same(before, weights_of(halves.model))


def test_nan_in_phase_2_leaves_the_last_good_epoch(halves, data):
    """A training that blows up in the second epoch leaves the weights of the first."""
    ends = []

    class BlowUp(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                ends.append(weights_of(self.model))
                self.model.optimizer.learning_rate.assign(1e30)

    arguments = {"bottleneck_epochs": 1, "fine_tune_epochs": 3, "callbacks": [BlowUp()], "seed": 0}
    with pytest.raises(NumericsError, match=r"in epoch 2.* of phase 'fine_tune'"):
        train(halves, data, **arguments)
    assert_same(ends[0], weights_of(halves.model))
    halves.model.fit(*data, epochs=1, verbose=0)  # and it can be trained on


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bottleneck_epochs": -1}, "bottleneck_epochs: expected an integer of at least 0"),
        ({"fine_tune_epochs": 1.5}, "fine_tune_epochs: expected an integer"),
        ({"batch_norm": "thaw"}, "batch_norm: expected 'frozen' or 'update'. Received: 'thaw'"),
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1"),
        ({"cache_bytes": -1}, "cache_bytes: expected an integer of at least 0"),
        ({"seed": -3}, "seed: expected an integer of at least 0"),
        ({"loss": "crosentropy"}, "There is no loss 'crosentropy'"),
        ({"loss": 3}, "loss: expected a Keras loss, its name"),
        ({"optimizer": "adamm"}, "optimizer: expected a keras.optimizers.Optimizer"),
        ({"bottleneck_optimizer": 3}, "bottleneck_optimizer: expected a keras.optimizers.Optimizer"),
    ],
)
def test_senseless_arguments_are_refused_before_anything_is_trained(halves, data, arguments, message):
    """Arguments out of range name what was given and what is possible, and nothing is trained."""
    before = weights_of(halves.model)
    with pytest.raises(ArgumentError, match=message):
        train(halves, data, **arguments)
    assert_same(before, weights_of(halves.model))


def test_what_is_no_split_is_refused(net, data):
    """A plain Keras model gets an error that says what is needed."""
    with pytest.raises(ArgumentError, match="Expected a SplitModel"):
        train(net, data)


def test_bad_data_is_refused_before_anything_is_trained(halves, data):
    """Labels out of range or missing, no data, endless data and unequal lengths: an error, and nothing
    trained."""
    x, y = data
    before = weights_of(halves.model)
    endless = tf.data.Dataset.from_tensor_slices(data).repeat().batch(10)
    undeclared = tf.data.Dataset.from_generator(lambda: iter([(x, y)]), output_types=("float32", "int64"))
    for wrong, message in [
        ((x, y + 1), "Expected labels from 0 to 2. Received: labels from 1 to 3"),
        ((x, y - 1), "Received: labels from -1 to 1"),
        ((x, y + 0.5), "float64, 0.5 among them"),
        ((x, one_hot(y, 4)), r"or one-hot \(N, 3\)"),
        ((x, y[:50]), r"equally many. Received: \[50, 90\]"),
        ((x[:0], y[:0]), "holds no image"),
        (x, "Fine-tuning needs labels"),
        (tf.data.Dataset.from_tensor_slices(x).batch(10), "Fine-tuning needs labels"),
        (endless, "never ends"),
        (undeclared, "does not declare the shapes"),
        ("images/", "Received: builtins.str"),
        (tf.data.Dataset.from_tensor_slices((x, y)), r"call .batch\(32\)"),
        ((x[:, :5], y), r"takes \(N, 8, 8, 1\). Received: \(32, 5, 8, 1\)"),
    ]:
        for arguments in ({"data": wrong}, {"data": data, "validation_data": wrong}):
            with pytest.raises(DataError, match=message):
                train(halves, **arguments)
    assert_same(before, weights_of(halves.model))


def test_several_inputs_come_as_a_list(data):
    """As `keras.Model.fit` takes them, from arrays and from a PyDataset, in both phases."""
    first, second = keras.Input((8, 8, 1)), keras.Input((2,))
    x = keras.layers.Concatenate()([keras.layers.Flatten()(first), second])
    x = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    net = keras.Model([first, second], keras.layers.Dense(3, activation="softmax")(x))
    x, y = data
    both = [x, np.zeros((90, 2), np.float32)]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            part = slice(30 * index, 30 * index + 30)
            return [one[part] for one in both], y[part]

    for given in ((both, y), Batches()):
        halves = split(net, "hidden", Autoencoder(0.5))
        history = train(halves, given, bottleneck_epochs=1, fine_tune_epochs=1, cache_bytes=0, progress=False)
        assert [epoch.phase for epoch in history.epochs] == ["bottleneck", "fine_tune"]


def test_bad_labels_in_a_stream_are_an_error_too(halves, data):
    """A label out of range that only comes up in phase 2 is named as in arrays; the split keeps phase 1."""
    x, y = data
    late = np.where(np.arange(90) > 80, 7, y)
    stream = tf.data.Dataset.from_tensor_slices((x, late)).batch(10)
    with pytest.raises(DataError, match="Expected labels from 0 to 2. Received: labels from 2 to 7"):
        train(halves, stream, bottleneck_epochs=1, fine_tune_epochs=1)


@pytest.mark.parametrize(
    ("loss", "change", "message"),
    [
        (None, lambda y: y + 0.5, r"Expected labels as integers \(N,\).* one-hot \(N, 3\)"),
        (None, lambda y: np.where(y == 2, np.nan, y), "Expected labels as integers"),
        (None, lambda y: y.astype(str), "labels that are numbers. Received: string"),
        ("sparse_categorical_crossentropy", lambda y: np.full((90, 3), 1 / 3, "f4"), "such as soft labels"),
    ],
)
def test_labels_of_a_stream_are_checked_as_those_of_arrays(halves, data, loss, change, message):
    """Fractions, NaN, words, and soft labels where classes are wanted: nothing is cut off or guessed."""
    x, y = data
    stream = tf.data.Dataset.from_tensor_slices((x, change(y))).batch(10)
    with pytest.raises(DataError, match=message):
        train(halves, stream, bottleneck_epochs=0, fine_tune_epochs=1, loss=loss)


def test_bad_labels_of_a_py_dataset_are_named(halves, data):
    """They come up in a thread of Keras, within TensorFlow's graph."""
    x, y = data

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 9

        def __getitem__(self, index):
            return x[10 * index : 10 * index + 10], y[10 * index : 10 * index + 10] + 5 * (index == 6)

    with pytest.raises(DataError, match=r"^Expected labels from 0 to 2. Received: labels from 5 to 7.$"):
        train(halves, Batches(), bottleneck_epochs=0, fine_tune_epochs=1)


def test_an_image_of_another_size_is_named(halves, data):
    """In the third batch, while the features at the cut are computed."""
    parts = [data[0][:30], data[0][30:60], data[0][60:, :5]]
    stream = tf.data.Dataset.from_generator(
        lambda: iter([(part, data[1][:30]) for part in parts]),
        output_signature=(tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((None,), tf.int64)),
    )
    with pytest.raises(DataError, match=r"takes \(N, 8, 8, 1\). Received: \(30, 5, 8, 1\)"):
        train(halves, stream, bottleneck_epochs=1, fine_tune_epochs=0)


@pytest.mark.parametrize("loss", ["circle", keras.losses.CategoricalGeneralizedCrossEntropy()])
def test_losses_of_integers_that_do_not_say_so(halves, data, loss):
    """Two of Keras' losses take integers as the sparse ones do."""
    history = train(halves, data, bottleneck_epochs=0, fine_tune_epochs=1, loss=loss, progress=False)
    assert np.isfinite(history.epochs[0].metrics["loss"])


def test_callbacks_are_one_or_several(halves, data):
    """As `fit` takes them; anything else is named."""
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    train(halves, data, bottleneck_epochs=0, fine_tune_epochs=1, callbacks=callback, progress=False)
    assert seen == [0]
    with pytest.raises(ArgumentError, match="expected Keras callbacks. Received: 3"):
        train(halves, data, callbacks=[3])


def test_an_output_that_is_no_class_score_needs_a_loss(data):
    """A regression is trained with the loss that is given, and gets an error without one."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    halves = split(model, "conv", Autoencoder(0.5, seed=0))
    target = data[1].astype(np.float32)[:, np.newaxis] * 0.3
    with pytest.raises(ArgumentError, match="not class scores, so that no loss is chosen"):
        train(halves, (data[0], target))
    history = train(halves, (data[0], target), bottleneck_epochs=0, fine_tune_epochs=1, loss="mean_squared_error")
    assert set(history.epochs[0].metrics) == {"loss"}


def test_sequences_and_vectors_are_trained(data):
    """Splits with a sequence or a vector at the cut go through both phases."""
    inputs = keras.Input((8, 8))
    x = keras.layers.Conv1D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(6, activation="relu", name="dense")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    for cut in ("conv", "dense"):
        halves = split(model, cut, Autoencoder(0.5, seed=0))
        history = train(halves, (data[0][..., 0], data[1]), bottleneck_epochs=1, fine_tune_epochs=1, seed=0)
        assert len(history.epochs) == 2
