"""Pictures for papers: what they show, and that they can be read without colour."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from isplit_tf import plots
from isplit_tf.errors import ArgumentError
from isplit_tf.evaluation.evaluation import Evaluation

NAMES = ["a/conv1", "a/pool1", "a/conv2", "a/pool2"]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_fig3_has_three_axes_over_the_same_cuts():
    """Importance in log10 with its peaks, sizes with their drops, boxes where the accuracy was measured."""
    figure = plots.importance_sizes_accuracy(
        NAMES,
        np.array([1.0, 100.0, 10.0, 1000.0]),
        [64, 16, 32, 8],
        np.array([[0.5, 0.6, 0.7], [0.8, 0.8, 0.9]]),
        positions=[1, 3],
        peaks=[1],
        references={"original": 0.95, "control": float("nan")},
    )
    importance, sizes, accuracy = figure.axes
    assert importance.lines[0].get_ydata().tolist() == [0, 2, 1, 3]
    assert importance.lines[1].get_xdata().tolist() == [1]
    assert sizes.lines[1].get_xdata().tolist() == [1, 3]
    assert labels(accuracy) == ["original"], "what was not measured is not drawn"
    medians = [line.get_ydata()[0] for line in accuracy.lines if len(set(line.get_ydata())) == 1]
    assert {60.0, 80.0, 95.0} <= {round(value, 6) for value in medians}
    assert [tick.get_text() for tick in accuracy.get_xticklabels()] == ["conv1", "pool1", "conv2", "pool2"]


def test_curves_are_scaled_to_one():
    """Shapes compare, whatever the units."""
    figure = plots.curves(NAMES, {"one": [1, 2, 4, 2], "other": [10, 30, 20, 5]})
    for line in figure.axes[0].lines:
        assert max(line.get_ydata()) == 1


def test_f1_is_in_descending_order_of_the_original():
    """Both bars of a class stand together, classes as the original ranks them."""
    truth = np.array([0, 0, 1, 1, 2, 2])
    before = Evaluation(truth, np.array([0, 1, 1, 1, 2, 2]), 3, ("x", "y", "z"))
    after = Evaluation(truth, np.array([0, 0, 1, 0, 2, 1]), 3, ("x", "y", "z"))
    ax = plots.f1_before_and_after(before.f1, after.f1, names=before.class_names).axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["z", "y", "x"]
    heights = [bar.get_height() for bar in ax.patches]
    assert heights[:3] == pytest.approx(sorted(100 * before.f1, reverse=True))
    assert heights[3:] == pytest.approx(100 * after.f1[[2, 1, 0]])
    assert ax.patches[0].get_hatch() != ax.patches[3].get_hatch()


def test_scatter_has_an_interval_at_each_point_and_the_controls():
    """Points, whiskers, names and level lines."""
    figure = plots.score_against_accuracy(
        [1, 2, 3],
        [0.5, 0.6, 0.7],
        names=["a", "b", "c"],
        label="depth",
        intervals=[[0.4, 0.5, 0.6], [0.6, 0.7, 0.8]],
        references={"original": 0.9},
    )
    ax = figure.axes[0]
    assert ax.get_xlabel() == "depth"
    assert {text.get_text() for text in ax.texts} == {"a", "b", "c"}
    assert labels(ax) == ["original"]
    segments = ax.containers[0].lines[2][0].get_segments()
    assert segments[0][:, 1].tolist() == pytest.approx([40, 60])


def test_rates_are_on_a_logarithmic_axis():
    """Splits with marks, compressed images as grey lines."""
    figure = plots.rate_and_accuracy(
        {"split": [(20, 0.8), (200, 0.9)]}, {"JPEG": [(300, 0.7), (900, 0.9)]}, references={"original": 0.92}
    )
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    (legend,) = figure.legends  # beside the axes: it would cover the lines
    assert [text.get_text() for text in legend.get_texts()] == ["original", "JPEG", "split"]
    drawn = {line.get_label(): line for line in ax.lines}
    assert drawn["split"].get_ydata().tolist() == [80, 90]
    assert len(set(to_rgb(drawn["JPEG"].get_color()))) == 1


def test_lines_differ_without_colour():
    """No two lines of a figure have the same mark and the same style."""
    figure = plots.accuracies(NAMES, {str(k): [0.1 * k] * 4 for k in range(5)}, references={})
    looks = [(line.get_marker(), line.get_linestyle()) for line in figure.axes[0].lines]
    assert len(set(looks)) == 5


def test_a_file_of_another_kind_is_refused(tmp_path):
    """The message says which kinds there are."""
    with pytest.raises(ArgumentError, match=r"\.png, \.svg or \.pdf"):
        plots.save_figure(plt.figure(), tmp_path / "figure.bmp")


@pytest.mark.parametrize("ending", plots.FORMATS)
def test_the_same_picture_is_the_same_file(tmp_path, ending):
    """A picture made again is no change in a repository."""
    files = [tmp_path / f"{name}.{ending}" for name in ("first", "second")]
    for file in files:
        plots.save_figure(plots.curves(NAMES, {"one": [1, 2, 4, 2]}), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    again = [plots.svg(plots.curves(NAMES, {"one": [1, 2, 4, 2]})) for _ in range(2)]
    assert again[0] == again[1]


def test_plots_are_reached_by_the_package():
    """As documented, `isplit_tf.plots.NAME`, without an import of its own; each has a description."""
    code = "import isplit_tf; print(*[n for n in isplit_tf.plots.__all__ if getattr(isplit_tf.plots, n).__doc__])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"curve_and_sizes", "curves", "rate_and_accuracy", "save_figure"} <= set(done.stdout.split())
