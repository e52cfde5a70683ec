"""A training that was interrupted goes on, and ends where one that was not ends."""

import json
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from isplit_tf.bottlenecks.autoencoder import Autoencoder
from isplit_tf.errors import ArgumentError, BundleError
from isplit_tf.splitting import split
from isplit_tf.training import train
from isplit_tf.training.checkpoint import FILE_NAME
from support import long_training
from support.splitnet import EPOCHS, Stop, assert_same, build_net, differ, weights_of


@pytest.fixture(scope="module")
def whole(net, data):
    """Weights and losses of a run that nothing interrupted."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    history = train(halves, data, **EPOCHS)
    return weights_of(halves.model), [epoch.metrics["loss"] for epoch in history.epochs]


@pytest.mark.numerical
def test_a_run_that_failed_goes_on_in_the_same_process(net, data, whole, tmp_path):
    """After an exception the split has the last whole epoch's weights; called again, it ends as if
    uninterrupted."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    with pytest.raises(RuntimeError, match="disk full"):
        train(halves, data, checkpoint_dir=tmp_path, callbacks=[Stop(1, RuntimeError("disk full"))], **EPOCHS)
    history = train(halves, data, checkpoint_dir=tmp_path, **EPOCHS)
    assert_same(weights_of(halves.model), whole[0])
    assert [epoch.metrics["loss"] for epoch in history.epochs] == whole[1]
    assert [(epoch.phase, epoch.number) for epoch in history.epochs] == [
        ("bottleneck", 1),
        ("bottleneck", 2),
        ("fine_tune", 1),
        ("fine_tune", 2),
        ("fine_tune", 3),
    ]


@pytest.mark.numerical
def test_an_interrupted_cell_goes_on_with_a_fresh_split(net, data, whole, tmp_path):
    """Ctrl-C in the middle of an epoch loses that epoch alone, also where the split is made anew."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    stop = Stop(2, KeyboardInterrupt(), batch=1)
    with pytest.raises(KeyboardInterrupt):
        train(halves, data, checkpoint_dir=tmp_path, callbacks=[stop], **EPOCHS)
    fresh = split(net, "pool", Autoencoder(0.8, seed=0))
    began = []

    class Spy(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            began.append(epoch)

    train(fresh, data, checkpoint_dir=tmp_path, callbacks=[Spy()], **EPOCHS)
    assert began == [2]
    assert_same(weights_of(fresh.model), whole[0])


def test_a_run_goes_on_within_phase_1(net, data, whole, tmp_path, monkeypatch):
    """A run that ends between two epochs of the bottleneck goes on there."""
    from isplit_tf.training import callbacks

    keep = callbacks.Keep.on_epoch_end

    def die(self, epoch, logs=None):
        keep(self, epoch, logs)
        raise RuntimeError("power cut")

    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    monkeypatch.setattr(callbacks.Keep, "on_epoch_end", die)
    with pytest.raises(RuntimeError, match="power cut"):
        train(halves, data, checkpoint_dir=tmp_path, **EPOCHS)
    monkeypatch.undo()
    history = train(halves, data, checkpoint_dir=tmp_path, **EPOCHS)
    assert len(history.of_phase("bottleneck")) == 2
    assert_same(weights_of(halves.model), whole[0])


def test_without_a_checkpoint_a_failed_run_keeps_the_last_whole_epoch(net, data):
    """Without a checkpoint_dir the weights of the last whole epoch are kept in memory."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    before = weights_of(halves.model)
    with pytest.raises(RuntimeError):
        train(halves, data, callbacks=[Stop(0, RuntimeError("early"), batch=1)], **EPOCHS | {"bottleneck_epochs": 0})
    assert_same(before, weights_of(halves.model))


def test_a_finished_run_gives_its_result_again(net, data, tmp_path):
    """Called again after its end, nothing is trained: weights and history are those of the run."""
    arguments = {"bottleneck_epochs": 1, "fine_tune_epochs": 1, "checkpoint_dir": tmp_path}
    halves = split(net, "pool", Autoencoder(0.8))
    history = train(halves, data, **arguments)
    fresh = split(net, "pool", Autoencoder(0.8))  # whose encoder starts otherwise

    class Never(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise AssertionError("trained")

    again = train(fresh, data, callbacks=[Never()], **arguments)
    assert again == history
    assert_same(weights_of(fresh.model), weights_of(halves.model))
    fresh.model.evaluate(*data, verbose=0)


def test_a_phase_that_a_callback_ended_stays_ended(net, data, tmp_path):
    """EarlyStopping with restored weights is taken down as it ended; called again, nothing goes on."""
    stop = keras.callbacks.EarlyStopping("loss", patience=0, mode="max", restore_best_weights=True)
    arguments = {"bottleneck_epochs": 0, "fine_tune_epochs": 5, "checkpoint_dir": tmp_path, "seed": 0}
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    history = train(halves, data, callbacks=[stop], **arguments)
    fresh = split(net, "pool", Autoencoder(0.8, seed=0))
    assert len(train(fresh, data, **arguments).epochs) == len(history.epochs) == 2
    assert_same(weights_of(fresh.model), weights_of(halves.model))


@pytest.fixture(scope="module")
def checkpoint(net, data, tmp_path_factory):
    """The file that a short run left, as bytes."""
    directory = tmp_path_factory.mktemp("run")
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    train(halves, data, checkpoint_dir=directory, bottleneck_epochs=1, fine_tune_epochs=0, seed=0)
    return (directory / FILE_NAME).read_bytes()


def resume(halves, data, directory, checkpoint, **changes):
    (directory / FILE_NAME).write_bytes(checkpoint)
    arguments = {"bottleneck_epochs": 1, "fine_tune_epochs": 0, "seed": 0} | changes
    return train(halves, data, checkpoint_dir=directory, **arguments)


def test_the_checkpoint_of_other_arguments_is_refused(halves, data, tmp_path, checkpoint):
    """A run with other arguments does not take up the checkpoint; the message says which, and nothing
    changes."""
    before = weights_of(halves.model)
    for changes, message in [
        ({"bottleneck_epochs": 2}, "other arguments .bottleneck_epochs: 1 there, 2 here"),
        ({"batch_size": 8}, "batch_size: 32 there, 8 here"),
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"seed": None}, "seed: 0 there, None here"),
        ({"batch_norm": "update"}, "batch_norm: 'frozen' there, 'update' here"),
        ({"bottleneck_optimizer": keras.optimizers.Adam(0.5)}, "bottleneck_optimizer: .*0.001.* there, .*0.5.* here"),
        ({"loss": "squared_error"}, "loss: .* there, 'squared_error' here"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            resume(halves, data, tmp_path, checkpoint, **changes)
    assert_same(before, weights_of(halves.model))


def test_the_checkpoint_of_another_split_is_refused(net, data, tmp_path, checkpoint):
    """Another cut, another compression, and the same network trained otherwise are not mixed up with this
    one."""
    other = build_net()
    other.compile("adam", keras.losses.SparseCategoricalCrossentropy())
    for halves, message in [
        (split(net, "conv1", Autoencoder(0.8, seed=0)), "of another split: its weights have other shapes"),
        (split(net, "pool", Autoencoder(0.5, seed=0)), "of another split: its weights have other shapes"),
        (split(net, "pool", Autoencoder(0.801, seed=0)), "other arguments .bottleneck: .*0.8"),
        (split(other, "pool", Autoencoder(0.8, seed=0)), "head and tail had other weights when that run began"),
    ]:
        before = weights_of(halves.model)
        with pytest.raises(ArgumentError, match=message):
            resume(halves, data, tmp_path, checkpoint)
        assert_same(before, weights_of(halves.model))
    assert len(resume(split(net, "pool", Autoencoder(0.8, seed=0)), data, tmp_path, checkpoint).epochs) == 1


def test_damaged_checkpoints_are_refused(halves, data, tmp_path, checkpoint):
    """A file that is no checkpoint, torn, or of a newer format: an error that says so."""
    newer = tmp_path / "newer.npz"
    with np.load(_written(tmp_path / "old.npz", checkpoint)) as file:
        record = json.loads(file["record"].tobytes()) | {"format_version": 99}
        np.savez(newer, record=np.frombuffer(json.dumps(record).encode(), np.uint8))
    for content, message in [
        (b"", "cannot be read as a checkpoint"),
        (checkpoint[:-40], "cannot be read as a checkpoint"),
        (checkpoint[:100], "cannot be read as a checkpoint"),
        (newer.read_bytes(), "format version 99; this release reads up to 2"),
    ]:
        with pytest.raises(BundleError, match=message):
            resume(halves, data, tmp_path, content)


def _written(path, content):
    path.write_bytes(content)
    return path


def test_a_torn_file_is_no_obstacle(halves, data, tmp_path, checkpoint):
    """What a process left that died while it wrote is taken away; the checkpoint before it counts."""
    torn = _written(tmp_path / f".{FILE_NAME}.0123456789abcdef", checkpoint[:50])
    assert len(resume(halves, data, tmp_path, checkpoint).epochs) == 1
    assert not torn.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME]


def test_a_file_is_no_directory(halves, data, tmp_path):
    """A checkpoint_dir that is a file is refused."""
    with pytest.raises(ArgumentError, match="is a file. Expected a directory"):
        train(halves, data, checkpoint_dir=_written(tmp_path / "file", b""))


@pytest.mark.slow
def test_a_killed_process_goes_on(net, tmp_path):
    """Killed with SIGKILL in phase 1 and in phase 2, the run ends with the weights of one that was left
    alone."""
    net.save(tmp_path / "net.keras")
    run, end = tmp_path / "run", tmp_path / "end.npz"
    command = [sys.executable, long_training.__file__, tmp_path / "net.keras", run, end]
    alone = long_training.train_for_long(tmp_path / "net.keras")
    kills = 0
    for reached in (1, 4):  # epochs in the checkpoint when the process dies
        with subprocess.Popen(command) as child:
            while child.poll() is None and _epochs(run) < reached:
                time.sleep(0.02)
            if child.poll() is None:
                time.sleep(0.05)  # into the next epoch
                child.send_signal(signal.SIGKILL)
                kills += 1
    assert kills == 2
    assert not end.exists()
    subprocess.run(command, check=True, timeout=300)
    with np.load(end) as resumed:
        assert not any(differ(alone, resumed.values()))


def _epochs(run):
    """Whole epochs in a checkpoint; it is replaced in one step, so it can be read at any time."""
    if not (run / FILE_NAME).exists():
        return 0
    with np.load(run / FILE_NAME) as file:
        return len(json.loads(file["record"].tobytes())["epochs"])
