"""The best epoch by the validation data, the start included, in place of the last one."""

import json

import keras
import numpy as np
import pytest

from isplit_tf import Projection
from isplit_tf.errors import ArgumentError
from isplit_tf.splitting import split
from isplit_tf.training import History, train
from isplit_tf.training.checkpoint import FILE_NAME
from support.splitnet import assert_same, build_net, differ, weights_of

EPOCHS = {"bottleneck_epochs": 1, "fine_tune_epochs": 4, "seed": 3, "progress": False}


class Ruin(keras.callbacks.Callback):
    """From one epoch of phase 2 on, sets the weights of the scores to zero at its end, before it is validated."""

    def __init__(self, model, epoch):
        super().__init__()
        self._scores, self._epoch = model.get_layer("scores"), epoch

    def on_test_begin(self, logs=None):
        if self.now >= self._epoch:
            for weight in self._scores.trainable_variables:
                weight.assign(np.zeros(weight.shape))

    def on_train_begin(self, logs=None):
        self.now = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch + 1


class Stop(keras.callbacks.Callback):
    """Fails at the end of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._epoch:
            raise RuntimeError("power cut")


@pytest.fixture(scope="module")
def good(data):
    """A classifier that knows its images."""
    keras.utils.set_random_seed(0)
    model = build_net()
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*data, epochs=40, verbose=0)
    assert model.evaluate(*data, verbose=0, return_dict=True)["accuracy"] > 0.95
    return model


@pytest.mark.parametrize("keep_best", [True, False])
def test_a_split_that_only_becomes_worse_stays_as_it_was(good, data, keep_best):
    """A ruinous rate: the weights are those from before the first epoch, and the history says so; unless not asked."""
    untouched, halves = (split(good, "pool", Projection(0.5, patch=2)) for _ in range(2))
    train(untouched, data, fine_tune_epochs=0, progress=False)
    history = train(
        halves,
        data,
        validation_data=data,
        fine_tune_epochs=2,
        optimizer=keras.optimizers.SGD(1e3, clipnorm=1.0),
        keep_best=keep_best,
        seed=0,
        progress=False,
    )
    assert len(history.of_phase("fine_tune")) == 2
    assert history.kept_epoch == (0 if keep_best else None)
    assert ("before the first epoch" in repr(history)) == keep_best
    same = [
        np.allclose(one, other, rtol=1e-4, atol=1e-5)
        for one, other in zip(weights_of(untouched.model), weights_of(halves.model), strict=True)
    ]
    assert all(same) == keep_best
    assert halves.fine_tuned != keep_best


def test_the_best_epoch_is_kept_and_not_the_last(good, data, tmp_path):
    """Epochs 3 and 4 are ruined, the start is bad: the weights are those that a run of fewer epochs ends with."""
    arguments = {"validation_data": data, "optimizer": keras.optimizers.Adam(1e-2)} | EPOCHS

    def begin():
        halves = split(good, "pool", Projection(0.9))
        for layer in halves.model.layers:
            if layer.name == "scores":
                layer.kernel.assign(0 * layer.kernel)
        return halves

    halves = begin()
    history = train(halves, data, keep_best=True, callbacks=[Ruin(halves.model, 3)], **arguments)
    accuracy, loss = (history.values("fine_tune", f"val_{name}") for name in ("accuracy", "loss"))
    kept = history.kept_epoch
    assert kept in (1, 2)
    assert (accuracy[kept - 1], -loss[kept - 1]) == max(zip(accuracy, -loss, strict=True))
    assert accuracy[kept - 1] > history.start["val_accuracy"]
    shorter = begin()
    train(shorter, data, **arguments | {"fine_tune_epochs": kept})
    assert_same(weights_of(halves.model), weights_of(shorter.model))
    assert halves.fine_tuned
    assert f"kept epoch {kept}: accuracy" in repr(history)
    rows = [row for row in history.table().splitlines() if "end to end" in row]
    assert [row.rstrip().endswith("kept") for row in rows].index(True) == kept
    history.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json") == history


def run_with_ruin(good, data, directory, *others):
    """A run whose epochs are ruined from the second on, with a checkpoint."""
    halves = split(good, "pool", Projection(0.8))
    arguments = {"validation_data": data, "keep_best": True, "checkpoint_dir": directory}
    return halves, train(halves, data, callbacks=[Ruin(halves.model, 2), *others], **arguments, **EPOCHS)


@pytest.fixture(scope="module")
def whole(good, data, tmp_path_factory):
    """Weights and kept epoch of such a run that nothing interrupted."""
    halves, history = run_with_ruin(good, data, tmp_path_factory.mktemp("whole"))
    return weights_of(halves.model), history.kept_epoch


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_run_keeps_what_the_whole_one_keeps(good, data, whole, tmp_path, epoch):
    """The best weights so far are in the checkpoint: found before the interruption, they are not lost."""
    weights, kept = whole
    with pytest.raises(RuntimeError, match="power cut"):
        run_with_ruin(good, data, tmp_path, Stop(epoch))
    for _ in ("resumed", "once more"):
        halves, history = run_with_ruin(good, data, tmp_path)
        assert history.kept_epoch == kept
        assert_same(weights_of(halves.model), weights)


def test_without_labels_the_loss_decides(good, data):
    """The teacher's outputs are the targets; a rate of 0 leaves every epoch as good as the start, which is kept."""
    halves = split(good, "pool", Projection(0.8))
    history = train(
        halves,
        data[0],
        validation_data=data[0],
        loss="distill",
        optimizer=keras.optimizers.SGD(0.0),
        keep_best=True,
        **EPOCHS,
    )
    assert history.kept_epoch == 0
    assert not any(differ(weights_of(halves.head), weights_of(split(good, "pool").head)))


def test_it_needs_validation_data(good, data):
    """There is nothing to choose by; nothing is trained."""
    halves = split(good, "pool", Projection(0.8))
    before = weights_of(halves.model)
    with pytest.raises(ArgumentError, match="keep_best=True takes the best epoch by validation_data"):
        train(halves, data, keep_best=True, **EPOCHS)
    assert_same(before, weights_of(halves.model))


def test_latents_of_few_bits(good, data):
    """The ranges of a quantizer are among the weights that are kept."""
    halves = split(good, "pool", Projection(0.5, patch=2, latent_bits=4))
    history = train(halves, data, validation_data=data, keep_best=True, callbacks=[Ruin(halves.model, 1)], **EPOCHS)
    assert history.kept_epoch == 0
    found = halves.model.evaluate(*data, verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(history.start["val_accuracy"])


def test_a_checkpoint_from_before_goes_on(good, data, tmp_path):
    """A record that does not know of it is one of a run without it."""
    arguments = {"checkpoint_dir": tmp_path} | EPOCHS
    with pytest.raises(RuntimeError, match="power cut"):
        train(split(good, "pool", Projection(0.8)), data, callbacks=[Stop(2)], **arguments)
    with np.load(tmp_path / FILE_NAME) as file:
        arrays = dict(file)
    record = json.loads(arrays["record"].tobytes())
    for name in ("best", "start"):
        del record[name]
    del record["arguments"]["keep_best"]
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    np.savez(tmp_path / FILE_NAME, **arrays)
    assert len(train(split(good, "pool", Projection(0.8)), data, **arguments).of_phase("fine_tune")) == 4
    with pytest.raises(ArgumentError, match="keep_best"):
        train(split(good, "pool", Projection(0.8)), data, validation_data=data, keep_best=True, **arguments)
