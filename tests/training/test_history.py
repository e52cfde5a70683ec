"""The history of a training: its values, how it prints, plots, and comes back from a file."""

import dataclasses
import json
import math

import matplotlib as mpl
import numpy as np
import pytest

from isplit_tf.errors import ArgumentError, BundleError
from isplit_tf.training import Epoch, History

mpl.use("Agg")

HISTORY = History(
    (
        Epoch("bottleneck", 1, {"loss": 12.5, "relative_error": 0.5, "val_loss": 13.0, "val_relative_error": 0.6}, 2.0),
        Epoch("bottleneck", 2, {"loss": 10.0, "relative_error": 0.4}, 1.5),
        Epoch("fine_tune", 1, {"loss": 0.7, "accuracy": 0.8, "val_loss": math.nan, "val_accuracy": 0.75}, 4.0),
    ),
    seed=7,
)


def test_values_of_a_phase():
    """A metric comes as an array over the epochs of its phase, NaN where an epoch lacks it."""
    np.testing.assert_array_equal(HISTORY.values("bottleneck", "loss"), [12.5, 10.0])
    np.testing.assert_array_equal(HISTORY.values("bottleneck", "val_loss"), [13.0, math.nan])
    np.testing.assert_array_equal(HISTORY.values("fine_tune", "accuracy"), [0.8])
    assert [epoch.number for epoch in HISTORY.of_phase("bottleneck")] == [1, 2]
    assert HISTORY.duration_s == 7.5
    with pytest.raises(ArgumentError, match="No phase 'tuning'. Phases are"):
        HISTORY.values("tuning", "loss")


def test_it_prints_well():
    """The record reads as a sentence; its table has a line an epoch and a column a metric."""
    assert repr(HISTORY) == (
        "History(bottleneck alone: 2 epochs, loss 10, relative_error 0.4; "
        "end to end: 1 epochs, loss 0.7, accuracy 0.8, val_loss nan, val_accuracy 0.75; 7.5 s)"
    )
    lines = HISTORY.table().splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:4] == ["phase", "epoch", "loss", "relative_error"]
    assert lines[2].split()[:6] == ["bottleneck", "alone", "2", "10.0000", "0.4000", "-"]
    assert HISTORY._repr_html_().count("<tr>") == 4
    assert repr(History()) == "History(0.0 s)"


def test_it_cannot_be_changed():
    """The record is frozen, its metrics too."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        HISTORY.seed = 1
    with pytest.raises(TypeError, match="does not support item assignment"):
        HISTORY.epochs[0].metrics["loss"] = 0.0


def test_it_plots_a_picture_for_each_phase():
    """Phase 1 shows the relative error, phase 2 loss and accuracy, validation dashed."""
    axes = HISTORY.plot()
    assert [ax.get_title() for ax in axes] == ["bottleneck alone", "end to end"]
    assert [line.get_label() for line in axes[0].get_lines()] == ["relative_error", "val_relative_error"]
    assert [line.get_label() for line in axes[1].get_lines()] == ["loss", "accuracy", "val_accuracy"]
    mpl.pyplot.close("all")
    single = History(HISTORY.of_phase("fine_tune"))
    _, ax = mpl.pyplot.subplots()
    assert single.plot(axes=ax) == [ax]
    mpl.pyplot.close("all")
    with pytest.raises(ArgumentError, match="nothing to plot"):
        History().plot()
    with pytest.raises(ArgumentError, match="Expected 2 axes"):
        HISTORY.plot(axes=[ax])


def test_save_and_load(tmp_path):
    """A saved history comes back, NaN included."""
    HISTORY.save(tmp_path / "history.json")
    back = History.load(tmp_path / "history.json")
    assert back.seed == 7
    assert back.table() == HISTORY.table()
    assert math.isnan(back.epochs[2].metrics["val_loss"])
    assert json.loads((tmp_path / "history.json").read_text())["format_version"] == 2


def test_damaged_files_are_refused(tmp_path):
    """Files that are no history, are damaged or have a newer format get an error that says so."""
    path = tmp_path / "history.json"
    HISTORY.save(path)
    record = json.loads(path.read_text())
    for text, message in [
        ("", "cannot be read as a saved history"),
        (json.dumps(record | {"kind": "evaluation"}), "holds 'evaluation'"),
        (json.dumps(record | {"format_version": 3}), "format version 3"),
        (json.dumps(record | {"epochs": [{"phase": "lunch"}]}), "is damaged"),
        (json.dumps(record | {"epochs": [3]}), "is damaged"),
        (json.dumps({"format_version": 1, "kind": "history"}), "is damaged"),
    ]:
        path.write_text(text)
        with pytest.raises(BundleError, match=message):
            History.load(path)
