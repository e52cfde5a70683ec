"""The curve as a record: peaks, parts, intervals, files and how it shows itself."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from isplit_tf.errors import ArgumentError, BundleError
from isplit_tf.graph.cuts import Cut
from isplit_tf.importance.curve import Curve, peak_positions
from isplit_tf.importance.statistics import ClassStatistics
from isplit_tf.selection.candidates import propose

NAMES = ["a", "b", "c"]


def make_curve(values, labels=None, **changes) -> Curve:
    """A curve of images whose importance at each cut is given, one row an image."""
    values = np.atleast_2d(np.asarray(values, float))
    labels = np.zeros(len(values), int) if labels is None else np.asarray(labels)
    cuts = [Cut(f"conv{k}", k, "Conv2D", (4, 4, 2), 32, 128, 10, 20, 30, 40) for k in range(values.shape[1])]
    curve = Curve(cuts, ClassStatistics.of(labels, values, 3), NAMES, "grad_cam", "mean", "label", "net", (8, 8, 3))
    return dataclasses.replace(curve, **changes)


@pytest.mark.parametrize(
    ("values", "peaks"),
    [
        ([1, 2, 1], [1]),
        ([3, 2, 1], []),
        ([1, 2, 3], []),
        ([1, 2, 2, 1], [1]),
        ([1, 2, 2, 3], []),
        ([1, 3, 1, 2, 1], [1, 3]),
        ([2, 2, 1, 2, 2], []),
        ([1, 2], []),
        ([1], []),
        ([0, 0, 0], []),
    ],
)
def test_peaks(values, peaks):
    """Local maxima; a plateau counts by its first, the ends are no peaks, a shoulder is none."""
    assert peak_positions(values) == peaks


def test_best_is_the_highest_peak_and_not_the_highest_value():
    """As in the paper's figures the end of the curve is no peak, however high."""
    assert make_curve([1, 3, 2, 4, 3, 9]).best.index == 3


def test_best_without_a_peak_is_the_highest_but_the_last_and_warns():
    """A head that is the whole network splits nothing."""
    with pytest.warns(UserWarning, match="no peak between its ends"):
        assert make_curve([1, 2, 3]).best.index == 1
    with pytest.warns(UserWarning, match="no peak"):
        assert make_curve([5, 9]).best.index == 0
    with pytest.warns(UserWarning, match="no peak"):
        assert make_curve([5]).best.index == 0


def test_values_are_means_over_images_and_balanced_over_classes():
    """Three images of class 0 at 1, one of class 2 at 9: 3 over images, 5 over classes; class 1 is NaN."""
    curve = make_curve([[1.0], [1.0], [1.0], [9.0]], [0, 0, 0, 2])
    assert curve.values.tolist() == [3.0]
    assert curve.balanced().values.tolist() == [5.0]
    np.testing.assert_array_equal(curve.per_class, [[1.0], [np.nan], [9.0]])
    assert curve.counts.tolist() == [3, 0, 1]
    assert curve.n_images == 4


def test_of_classes_takes_numbers_and_names():
    """The curve of a set of classes is the mean over their images."""
    curve = make_curve([[1.0], [2.0], [6.0]], [0, 1, 2])
    assert curve.of_classes(["b", 2]).values.tolist() == [4.0]
    assert np.isnan(curve.of_classes([1]).per_class[0, 0])
    with pytest.raises(ArgumentError, match="No class named 'z'. Classes: \\['a', 'b', 'c'\\]"):
        curve.of_classes(["z"])
    with pytest.raises(ArgumentError, match="No class 3: classes go from 0 to 2"):
        curve.of_classes([3])
    with pytest.raises(ArgumentError, match="No image of the classes"):
        make_curve([[1.0]], [0]).of_classes([1])
    with pytest.raises(ArgumentError, match="No image of the classes"):
        curve.of_classes([])


def test_merge_of_shards_equals_the_whole():
    """Curves of parts of the images make the curve of all, intervals included."""
    rng = np.random.default_rng(0)
    values, labels = rng.gamma(2.0, size=(40, 5)), rng.integers(0, 3, 40)
    whole = make_curve(values, labels)
    merged = Curve.merge([make_curve(values[part], labels[part]) for part in np.array_split(np.arange(40), 3)])
    np.testing.assert_allclose(merged.values, whole.values, rtol=1e-14)
    np.testing.assert_allclose(merged.interval(), whole.interval(), rtol=1e-12)


def test_merge_refuses_what_does_not_belong_together():
    """Another method, other cuts, or nothing."""
    one = make_curve([[1.0, 2.0]])
    with pytest.raises(ArgumentError, match="method: 'grad_cam' and 'gradients'"):
        Curve.merge([one, dataclasses.replace(one, method="gradients")])
    with pytest.raises(ArgumentError, match="precision: 'float32' and 'bfloat16'"):
        Curve.merge([one, dataclasses.replace(one, precision="bfloat16")])
    with pytest.raises(ArgumentError, match="same cuts"):
        Curve.merge([one, make_curve([[1.0]])])
    with pytest.raises(ArgumentError, match="Nothing to merge"):
        Curve.merge([])


def test_interval_is_students_t():
    """The interval of a mean, as scipy computes it."""
    values = np.random.default_rng(1).gamma(2.0, size=(12, 3))
    low, high = make_curve(values).interval(0.9)
    wanted = stats.t.interval(0.9, 11, loc=values.mean(axis=0), scale=stats.sem(values, axis=0))
    np.testing.assert_allclose((low, high), wanted, rtol=1e-12)


def test_interval_of_a_balanced_curve_is_welchs():
    """Two classes: half the sum of the means, with Welch's degrees of freedom (scipy's of a difference is the same)."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(3, 1, 9), rng.normal(5, 2, 14)
    low, high = make_curve(np.concatenate([a, b])[:, None], [0] * 9 + [1] * 14).balanced().interval()
    wanted = stats.ttest_ind(a, -b, equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose([low[0], high[0]], np.array(wanted) / 2, rtol=1e-10)


def test_interval_of_one_image_is_not_known():
    """One image has no spread; a confidence outside (0, 1) is refused."""
    assert np.isnan(make_curve([[1.0]]).interval()).all()
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        make_curve([[1.0]]).interval(95)


def test_save_and_load_round_trip(tmp_path):
    """A saved curve is the same curve, and the file holds no pickle."""
    curve = make_curve(np.random.default_rng(0).gamma(2.0, size=(9, 4)), [0, 1, 2] * 3).balanced()
    curve.save(tmp_path / "here" / "curve.npz")
    again = Curve.load(tmp_path / "here" / "curve.npz")
    assert again.cuts == curve.cuts
    np.testing.assert_array_equal(again.values, curve.values)
    np.testing.assert_array_equal(again.interval(), curve.interval())
    assert (again.class_names, again.input_shape, again.weighting) == (NAMES, (8, 8, 3), "classes")
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["curve.npz"]


def test_how_sure_it_is_is_kept_in_the_file_and_printed(tmp_path):
    """Confidence, and whether it is what was asked for; a curve of another mean has none."""
    curve = make_curve(np.ones((4, 3)), [0, 0, 1, 2], confidence=0.9997, settled=True, precision="bfloat16")
    curve.save(tmp_path / "curve.npz")
    again = Curve.load(tmp_path / "curve.npz")
    assert (again.confidence, again.settled, again.precision) == (0.9997, True, "bfloat16")
    assert "in bfloat16; best cut and peaks settled, 99.9 % sure" in repr(curve)
    assert "not settled, 12.3 % sure" in repr(dataclasses.replace(curve, settled=False, confidence=0.1239))
    for other in (curve.balanced(), curve.of_classes([0]), Curve.merge([curve, curve])):
        assert (other.confidence, other.settled) == (None, None)
        assert other.precision == "bfloat16"
        assert "sure" not in repr(other)


def test_a_file_of_the_first_release_loads(tmp_path):
    """It has no word on precision and confidence: float32, and none."""
    make_curve(np.ones((4, 3))).save(tmp_path / "curve.npz")
    with np.load(tmp_path / "curve.npz") as file:
        arrays = dict(file)
    record = json.loads(arrays["record"].tobytes())
    for name in ("precision", "confidence", "settled"):
        del record[name]
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    np.savez(tmp_path / "old.npz", **arrays)
    old = Curve.load(tmp_path / "old.npz")
    assert (old.precision, old.confidence, old.settled) == ("float32", None, None)


def test_load_refuses_what_is_not_a_curve(tmp_path):
    """Another file, a missing one, and a newer format are refused by name."""
    other = tmp_path / "other.npz"
    np.savez(other, x=np.zeros(3))
    for path in (other, tmp_path / "missing.npz", tmp_path / "text.npz"):
        (tmp_path / "text.npz").write_text("hello")
        with pytest.raises(BundleError, match="is not a curve"):
            Curve.load(path)
    np.savez(
        other, record=np.frombuffer(b'{"format_version": 99}', np.uint8), counts=[1], means=[[1.0]], squares=[[0.0]]
    )
    with pytest.raises(BundleError, match="format version 99; this release reads up to 2"):
        Curve.load(other)


def test_it_shows_itself():
    """Text for the terminal and HTML for a notebook name every cut, the peak and what was measured."""
    curve = make_curve([[1.0, 3.0, 2.0], [1.1, 3.1, 2.2]])
    text, page = repr(curve), curve._repr_html_()
    for wanted in ("conv0", "conv2", "best", "Grad-CAM", "2 images"):
        assert wanted in text
        assert wanted in page
    assert "<script" not in make_curve([[1.0]], model_name="<script>")._repr_html_()


@pytest.mark.parametrize("log", [False, True])
def test_plot_marks_the_peak(log):
    """The picture holds the curve, raw or as log10, and its peak."""
    import matplotlib

    matplotlib.use("Agg")
    ax = make_curve([[1.0, 100.0, 10.0], [1.0, 100.0, 10.0]]).plot(log=log, per_class=True)
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["CUI"], [0, 2, 1] if log else [1, 100, 10])
    np.testing.assert_allclose(lines["peak"], [2 if log else 100])


def test_what_is_no_class_curve_or_confidence_is_named(tmp_path):
    """Each error says what was given; a damaged file is a BundleError, whatever is wrong in it."""
    curve = make_curve([[1, 2, 1], [2, 3, 2]])
    for call, text in [
        (lambda: curve.of_classes(0), r"Give of_classes\(\[0\]\)"),
        (lambda: curve.of_classes([0.5]), "No class 0.5"),
        (lambda: curve.interval("x"), "between 0 and 1. Received: 'x'"),
        (lambda: Curve.merge([curve, 3]), "int among them"),
        (lambda: propose(3), "Expected a curve"),
    ]:
        with pytest.raises(ArgumentError, match=text):
            call()
    statistics = {"counts": np.ones(4, int), "means": np.zeros((4, 3)), "squares": np.zeros((4, 3))}
    for record in (b'{"format_version": 1}', b"[1]", b'{"format_version": 1, "cuts": [3], "input_shape": [1]}'):
        np.savez(tmp_path / "damaged.npz", record=np.frombuffer(record, np.uint8), **statistics)
        with pytest.raises(BundleError, match=r"damaged\.npz"):
            Curve.load(tmp_path / "damaged.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(BundleError, match="is not a curve"):
        Curve.load(tmp_path / "array.npy")
