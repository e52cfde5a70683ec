"""Candidates: the order, the reasons, the costs and the warnings."""

import dataclasses
import json
import math
import re
import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from isplit_tf.bottlenecks.autoencoder import Autoencoder
from isplit_tf.errors import ArgumentError, BundleError
from isplit_tf.graph.cuts import Cut, find_cuts
from isplit_tf.importance.curve import Curve
from isplit_tf.importance.measure import measure_importance
from isplit_tf.importance.statistics import ClassStatistics
from isplit_tf.selection.accuracy_curve import AccuracyCurve
from isplit_tf.selection.candidates import Candidates, PayloadWarning, propose
from isplit_tf.selection.costs import export_warning, jpeg_bytes


def curve_of(values, shapes=None, input_shape=(32, 32, 3)):
    """A curve whose values and shapes are given: two images of one class."""
    shapes = shapes or [(8, 8, 4)] * len(values)
    cuts = [
        Cut(f"layer{k}", 2 * k, "Conv2D", shape, math.prod(d or 1 for d in shape), 0, 100 * k, 0, 0, 0)
        for k, shape in enumerate(shapes)
    ]
    statistics = ClassStatistics(np.array([2]), np.array([values], float), np.zeros((1, len(values))))
    return Curve(cuts, statistics, None, "grad_cam", "mean", "label", "net", input_shape)


def names(candidates):
    return [c.cut.name for c in candidates]


def test_peaks_come_first_by_importance_then_what_cde_alone_names():
    """The order by hand.

    Peaks: 1 (value 5), 4 (value 7). Smaller than the cut before: 2 (value 3), 4 (a peak already), 6 (value
        4).
    """
    sizes = [(16, 16, 4), (16, 16, 4), (8, 8, 4), (8, 8, 4), (4, 4, 4), (4, 4, 8), (2, 2, 8)]
    found = propose(curve_of([1, 5, 3, 2, 7, 3, 4], sizes))
    assert names(found) == ["layer4", "layer1", "layer6", "layer2"]
    assert [c.is_peak for c in found] == [True, True, False, False]
    assert [c.size_drops for c in found] == [True, False, True, True]
    assert [c.importance for c in found] == [7.0, 5.0, 4.0, 3.0]
    assert [c.reason for c in found] == [
        "peak 1 of 2; 4 times smaller than layer3 before it",
        "peak 2 of 2",
        "CDE alone; 4 times smaller than layer5 before it",
        "CDE alone; 4 times smaller than layer1 before it",
    ]


@pytest.mark.parametrize("values", [[1, 5, 3, 2, 7, 3], [1, 4, 2, 4, 2], [1, 3, 3, 1], [0, 2, 2, 3, 3, 1]])
def test_first_candidate_is_the_curves_best(values):
    """propose(curve)[0].cut is curve.best, equal peaks and plateaus included."""
    curve = curve_of(values)
    assert propose(curve)[0].cut == curve.best


@pytest.mark.parametrize("values", [[1, 2], [2, 1], [1, 2, 3, 4], [3], [4, 3, 2]])
def test_without_a_peak_the_curves_best_still_comes_first(values):
    """A curve without a peak warns as it does itself, and its best comes first, not called a peak."""
    curve = curve_of(values)
    with pytest.warns(UserWarning, match="no peak"):
        found = propose(curve)
    with pytest.warns(UserWarning, match="no peak"):
        assert found[0].cut == curve.best
    assert len(found) == 1
    assert not found[0].is_peak
    assert found[0].reason == "the curve has no peak; highest but the last cut"


def test_costs_are_those_of_the_default_autoencoder():
    """Payload: 12 bytes and one for each element of the default latent; encoder costs as its plan says."""
    found = propose(curve_of([1, 2, 1], [(14, 14, 512)] * 3))[0]
    plan = Autoencoder().plan((14, 14, 512))
    assert found.payload_bytes == 12 + 4 * 4 * 627
    assert (found.encoder_params, found.encoder_macs) == (plan.encoder_params, plan.encoder_macs)


def test_costs_follow_the_bottleneck():
    """Another compression gives another payload; a bottleneck without a plan is built and counted."""
    curve = curve_of([1, 2, 1], [(8, 8, 16)] * 3)
    exact = Autoencoder(0.5)
    built = SimpleNamespace(build=exact.build)
    planned, counted = propose(curve, bottleneck=exact)[0], propose(curve, bottleneck=built)[0]
    assert planned == counted
    assert planned.payload_bytes == 12 + 512


def test_a_shape_without_a_bottleneck_is_proposed_with_a_warning():
    """Features of five axes, or a shape that varies, are named all the same; the costs are open and the field says
    why."""
    found = propose(curve_of([1, 2, 1], [(2, 4, 4, 4, 2)] * 3))[0]
    assert (found.payload_bytes, found.encoder_params, found.encoder_macs) == (None, None, None)
    assert "Expected features of the shape" in found.warning
    assert "where None varies" in propose(curve_of([1, 2, 1], [(None, 8)] * 3))[0].warning
    assert "no payload" in repr(found)


def test_a_payload_above_the_estimated_jpeg_fills_the_field_alone():
    """Without a figure of the user's an estimate is compared: the field warns, Python does not.

    32 x 32 in colour: 600 + 1024 * 2 / 8 = 856 bytes. (32, 32, 64) at 90 %: 12 + 8 * 8 * 102 = 6,540.
    """
    found = propose(curve_of([1, 2, 1], [(32, 32, 64)] * 3))[0]
    assert "payload of 6,540 bytes is more than an estimated JPEG of the input (856 bytes)" in found.warning
    assert propose(curve_of([1, 2, 1], [(4, 4, 64)] * 3))[0].warning is None


def test_a_payload_above_the_users_figure_is_a_python_warning_once():
    """With a figure of the user's, one warning for the best candidate, and the field for each."""
    curve = curve_of([1, 2, 1, 3, 1], [(32, 32, 64)] * 5)
    with pytest.warns(PayloadWarning, match=r"layer3: .* more than the compressed image \(900 bytes\)") as caught:
        found = propose(curve, image_bytes=900)
    assert len(caught) == 1
    assert all("900 bytes" in c.warning for c in found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert propose(curve, image_bytes=10_000)[0].warning is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((224, 224, 3), 13_144),
        ((28, 28, 1), 698),
        ((28, 28, 2), None),
        ((None, None, 3), None),
        ((100, 12), None),
        ((7,), None),
        (None, None),
    ],
)
def test_jpeg_is_estimated_only_for_images(shape, expected):
    """600 bytes and 2 bits per pixel in colour, 1 in grey; no estimate for what is no image of known size."""
    assert jpeg_bytes(shape) == expected


def test_jpeg_estimate_is_of_the_right_order():
    """The estimate is within a factor of two of what Pillow writes for a smooth image with some noise."""
    image = pytest.importorskip("PIL.Image")
    from io import BytesIO

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (8, 8, 3), np.uint8)
    picture = image.fromarray(coarse).resize((64, 64), image.Resampling.BICUBIC)
    noisy = np.clip(np.asarray(picture) + rng.normal(0, 6, (64, 64, 1)), 0, 255).astype(np.uint8)
    file = BytesIO()
    image.fromarray(noisy).save(file, "JPEG", quality=75)
    assert 0.5 < len(file.getvalue()) / jpeg_bytes((64, 64, 3)) < 2


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "900", True])
def test_image_bytes_must_be_a_positive_integer(wrong):
    """image_bytes is an integer of at least 1."""
    with pytest.raises(ArgumentError, match="image_bytes: expected an integer of at least 1"):
        propose(curve_of([1, 2, 1]), image_bytes=wrong)


def test_what_is_no_bottleneck_is_refused():
    """A bottleneck must have `build`."""
    with pytest.raises(ArgumentError, match=r"Expected a bottleneck such as Autoencoder\(\)\. Received: 0\.9"):
        propose(curve_of([1, 2, 1]), bottleneck=0.9)


def test_it_is_a_list_that_prints_as_a_table():
    """The result is a list; its table has a line each, with what it costs and why."""
    found = propose(curve_of([1, 5, 3, 2], [(16, 16, 4), (16, 16, 4), (8, 8, 4), (8, 8, 4)]))
    assert isinstance(found, list)
    lines = repr(found).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:6] == ["layer1", "16x16x4", "5.0000", "peak", "108", "100"]
    assert lines[2].endswith("CDE alone; 4 times smaller than layer1 before it")
    assert "<td>layer1</td>" in found._repr_html_()
    assert repr(found[0]) == "Candidate('layer1' (16, 16, 4), 108 bytes per frame: peak 1 of 1)"


def test_the_table_shows_warnings():
    """Warnings stand below the table, and in a column in HTML."""
    found = propose(curve_of([1, 2, 1], [(32, 32, 64)] * 3))
    assert repr(found).splitlines()[-1].startswith("layer1: a payload of 6,540 bytes")
    assert "a payload of 6,540 bytes" in found._repr_html_()


def test_save_and_load(tmp_path):
    """Saved candidates come back equal, cut and open costs included."""
    shapes = [(16, 16, 4), (16, 16, 4), (4, 4, 4, 2), (8, 8, 4)]
    found = propose(curve_of([1, 5, 3, 2], shapes))
    found.save(tmp_path / "candidates.json")
    back = Candidates.load(tmp_path / "candidates.json")
    assert back == found
    assert back[0].cut.shape == (16, 16, 4)
    assert json.loads((tmp_path / "candidates.json").read_text())["format_version"] == 2


def test_damaged_files_are_refused(tmp_path):
    """Files that hold no candidates, are damaged or have a newer format get an error that says so."""
    path = tmp_path / "candidates.json"
    propose(curve_of([1, 2, 1])).save(path)
    record = json.loads(path.read_text())
    for text, message in [
        ("nonsense", "cannot be read as a saved candidates"),
        (json.dumps(record | {"kind": "evaluation"}), "holds 'evaluation'"),
        (json.dumps(record | {"format_version": 9}), "format version 9; this release reads up to 3"),
        (json.dumps(record | {"candidates": [{}]}), "is damaged: KeyError"),
        (json.dumps(record | {"candidates": 3}), "is damaged: TypeError"),
    ]:
        path.write_text(text)
        with pytest.raises(BundleError, match=message):
            Candidates.load(path)


def test_on_a_measured_curve():
    """From a real network: the best of the curve comes first, and each pooling that shrinks is named."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1))
    x = inputs
    for block in (1, 2, 3):
        x = keras.layers.Conv2D(4 * block, 3, padding="same", activation="relu", name=f"conv{block}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{block}")(x)
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    data = (rng.random((12, 16, 16, 1), np.float32), np.arange(12) % 3)
    curve = measure_importance(model, data, progress=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The curve of")
        found = propose(curve)
        assert found[0].cut == curve.best
    assert {"pool1", "pool2", "pool3"} <= set(names(found))
    assert all(c.cut in find_cuts(model) for c in found)


def accuracy_of(curve, accuracies, latent_sizes):
    """An accuracy curve of the same cuts, of 100 images of which so many are right."""
    right = np.arange(100)[:, None] < 100 * np.array(accuracies)
    sizes = np.array(latent_sizes)
    return AccuracyCurve(
        cuts=curve.cuts,
        labels=np.zeros(100, np.int64),
        predictions=np.where(right, 0, 1),
        original_predictions=np.zeros(100, np.int64),
        latent_sizes=sizes,
        encoder_params=10 * sizes,
        encoder_macs=100 * sizes,
        relative_errors=np.zeros(len(sizes)),
        class_names=None,
        model_name="net",
        settings={"compression": 0.9, "weighting": "task"},
    )


CURVE = curve_of([1, 5, 3, 4, 2])
ACCURACY = accuracy_of(CURVE, [0.9, 0.7, 0.95, 0.8, 0.95], [40, 30, 20, 10, 5])


def test_predicted_accuracy_joins_as_a_column():
    """Order and best stay those of importance; costs are those of the projections that were predicted with."""
    found = propose(CURVE, accuracy=ACCURACY)
    assert names(found) == names(propose(CURVE)) == ["layer1", "layer3"]
    assert found[0].cut == CURVE.best
    assert [c.predicted_accuracy for c in found] == [0.7, 0.8]
    assert (found[0].payload_bytes, found[0].encoder_params, found[0].encoder_macs) == (42, 300, 3000)
    assert "predicted accuracy" in found.table()
    assert "predicted accuracy" not in propose(CURVE).table()
    assert "predicted accuracy 0.7000" in repr(found[0])
    own = propose(CURVE, accuracy=ACCURACY, bottleneck=Autoencoder(0.5))[0]
    assert own.encoder_params == Autoencoder(0.5).plan((8, 8, 4)).encoder_params


def test_ranked_by_accuracy_all_cuts_come():
    """The highest first, and of equal ones the smaller payload; peaks of importance are named."""
    found = propose(CURVE, accuracy=ACCURACY, rank="accuracy")
    assert names(found) == ["layer4", "layer2", "layer0", "layer3", "layer1"]
    assert found[0].reason == "predicted accuracy 1 of 5"
    assert found[-1].reason == "predicted accuracy 5 of 5; a peak"


def test_bounds_leave_cuts_out():
    """What keeps too little or sends too much is not proposed; where nothing is left, the error says what there is."""
    within = {"accuracy": ACCURACY, "rank": "accuracy"}
    assert names(propose(CURVE, min_accuracy=0.9, **within)) == ["layer4", "layer2", "layer0"]
    assert names(propose(CURVE, max_payload_bytes=32, **within)) == ["layer4", "layer2", "layer3"]
    assert names(propose(CURVE, accuracy=ACCURACY, min_accuracy=0.75)) == ["layer3"]
    costly = dataclasses.replace(
        CURVE, cuts=[dataclasses.replace(cut, head_macs=1000 * k) for k, cut in enumerate(CURVE.cuts)]
    )
    assert names(propose(costly, max_head_macs=1000, **within)) == ["layer0", "layer1"]
    with pytest.raises(ArgumentError, match="the smallest head 0 multiply-accumulates"):
        propose(costly, max_head_macs=0, min_accuracy=0.95, **within)
    with pytest.raises(
        ArgumentError, match=r"highest predicted accuracy is 0.9500, the smallest payload 17 bytes, the"
    ):
        propose(CURVE, min_accuracy=0.99, **within)


def test_without_an_accuracy_there_is_nothing_to_rank_or_bound_by():
    """Ranking and bounds by accuracy need the curve; of another model it has no cut in common."""
    for how in ({"rank": "accuracy"}, {"min_accuracy": 0.9}):
        with pytest.raises(ArgumentError, match="give accuracy=predict_accuracy"):
            propose(CURVE, **how)
    with pytest.raises(ArgumentError, match="rank: expected 'importance' or 'accuracy'"):
        propose(CURVE, rank="size")
    other = curve_of([1, 5, 3, 4, 2], [(4, 4, 4)] * 5)
    with pytest.raises(ArgumentError, match="no cut in common"):
        propose(other, accuracy=ACCURACY, rank="accuracy")
    assert propose(other, accuracy=ACCURACY)[0].predicted_accuracy is None


def test_predicted_accuracy_is_saved_and_older_files_are_read(tmp_path):
    """A file of an older release has no such field."""
    found = propose(CURVE, accuracy=ACCURACY)
    found.save(tmp_path / "candidates.json")
    assert Candidates.load(tmp_path / "candidates.json") == found
    record = json.loads((tmp_path / "candidates.json").read_text()) | {"format_version": 1}
    for one in record["candidates"]:
        del one["predicted_accuracy"]
    (tmp_path / "candidates.json").write_text(json.dumps(record))
    assert Candidates.load(tmp_path / "candidates.json")[0].predicted_accuracy is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_inputs": 2}, "the model has 2 inputs, .* not exported. Possible: a model of one input"),
        ({"input_shape": (None, None, 3)}, "a dimension varies: to be exported"),
    ],
)
def test_what_cannot_be_exported_is_said(changes, message):
    """Candidates say before any training that their split cannot be exported, or not in integers."""
    curve = curve_of([1, 3, 2])
    assert not any("export" in (candidate.warning or "") for candidate in propose(curve))
    found = propose(dataclasses.replace(curve, **changes))
    assert all(re.match(message, candidate.warning) for candidate in found)


def test_volumes_are_exported_in_float_alone():
    """A cut of three axes and channels says which precisions it has."""
    text = export_warning((4, 4, 4, 2), (8, 8, 8, 1), 1)
    assert "'float16', 'dynamic' or 'float32' alone" in text
    assert export_warning((8, 8, 2), (8, 8, 1), 1) is None
    assert Autoencoder().plan((4, 4, 4, 2)).latent_size > 0
