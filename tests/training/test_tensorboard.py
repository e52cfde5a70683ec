"""What TensorBoard shows of a training."""

import pytest
import tensorflow as tf

from isplit_tf.bottlenecks.autoencoder import Autoencoder
from isplit_tf.errors import ArgumentError
from isplit_tf.splitting import split
from isplit_tf.training import train
from support.splitnet import EPOCHS, Stop, weights_of


def scalars(directory):
    """Values by tag and step, from the event files of one run; each pair must be there once."""
    found = {}
    for file in sorted(directory.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    return found


def test_both_phases_are_shown_also_after_an_interruption(net, data, tmp_path):
    """The metrics of every epoch of both phases are in the event files, once each, validation in a run of its own."""
    halves = split(net, "pool", Autoencoder(0.8, seed=0))
    arguments = EPOCHS | {"checkpoint_dir": tmp_path / "run", "tensorboard_dir": tmp_path / "logs"}
    with pytest.raises(RuntimeError):
        train(halves, data, validation_data=data, callbacks=[Stop(1, RuntimeError("power cut"))], **arguments)
    history = train(halves, data, validation_data=data, **arguments)
    for run, prefix in (("train", ""), ("validation", "val_")):
        found = scalars(tmp_path / "logs" / run)
        names = {"bottleneck": ("loss", "relative_error"), "fine_tune": ("loss", "accuracy")}
        expected = {
            (f"{epoch.phase}/{name}", epoch.number): epoch.metrics[prefix + name]
            for epoch in history.epochs
            for name in names[epoch.phase]
        }
        assert {key: found[key] for key in expected} == pytest.approx(expected)
        assert {tag for tag, _ in set(found) - set(expected)} <= {"bottleneck/duration_s", "fine_tune/duration_s"}


def test_a_file_is_no_directory(halves, data, tmp_path):
    """A tensorboard_dir that is a file is refused before anything is trained."""
    (tmp_path / "file").write_text("")
    before = weights_of(halves.model)
    with pytest.raises(ArgumentError, match="tensorboard_dir: .* is a file"):
        train(halves, data, tensorboard_dir=tmp_path / "file")
    assert all((one == other).all() for one, other in zip(before, weights_of(halves.model), strict=True))
