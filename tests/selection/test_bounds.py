"""Candidates within what a device can compute: the head's share, the cheapest head, and the warning above 70 %."""

import dataclasses
import math
import warnings

import numpy as np
import pytest

from isplit_tf.errors import ArgumentError
from isplit_tf.graph.cuts import Cut
from isplit_tf.importance.curve import Curve
from isplit_tf.importance.statistics import ClassStatistics
from isplit_tf.selection.accuracy_curve import AccuracyCurve
from isplit_tf.selection.candidates import HeadWarning, propose

WHOLE = 10_000
HEADS = [1000, 3000, 4500, 6500, 9000]


def curve_with(heads=HEADS, whole=WHOLE):
    """A curve of cuts whose heads take so many multiply-accumulates of the whole."""
    cuts = [
        Cut(f"layer{k}", 2 * k, "Conv2D", (8, 8, 4), 256, 0, 100 * k, 0, macs, whole - macs)
        for k, macs in enumerate(heads)
    ]
    values = np.array([[1, 5, 3, 4, 2][: len(cuts)]], float)
    statistics = ClassStatistics(np.array([2]), values, np.zeros((1, len(cuts))))
    return Curve(cuts, statistics, None, "grad_cam", "mean", "label", "net", (32, 32, 3))


def accuracy_with(curve, accuracies, encoder_macs=500):
    """The predicted accuracy of the same cuts, of 1,000 images of which so many are right."""
    n = len(curve.cuts)
    right = np.arange(1000)[:, None] < np.rint(1000 * np.array(accuracies))
    return AccuracyCurve(
        cuts=curve.cuts,
        labels=np.zeros(1000, np.int64),
        predictions=np.where(right, 0, 1),
        original_predictions=np.zeros(1000, np.int64),
        latent_sizes=np.full(n, 20),
        encoder_params=np.full(n, 7),
        encoder_macs=np.full(n, encoder_macs),
        relative_errors=np.zeros(n),
        class_names=None,
        model_name="net",
        settings={"compression": 0.9, "weighting": "task"},
    )


CURVE = curve_with()
ACCURACY = accuracy_with(CURVE, [0.80, 0.945, 0.943, 0.94, 0.95])


def names(found):
    return [candidate.cut.name for candidate in found]


def test_head_and_encoder_are_counted_and_shown():
    """The work of the device is the head's and the encoder's, as a number, as a share, and in text and HTML."""
    with pytest.warns(HeadWarning):
        found = propose(CURVE, accuracy=ACCURACY, rank="accuracy")
    assert [c.device_macs for c in found] == [9500, 3500, 5000, 7000, 1500]
    assert [c.device_share for c in found] == [0.95, 0.35, 0.5, 0.7, 0.15]
    for shown in (found.table(), found._repr_html_()):
        for text in ("head + encoder MACs", "of all MACs", "9,500", "95 %", "35 %"):
            assert text in shown
    uncounted = propose(curve_with([0] * 5, 0))[0]
    assert uncounted.device_share == 0


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.5, ["layer1", "layer2", "layer0"]),
        (0.3, ["layer1", "layer0"]),
        (0.65, ["layer1", "layer2", "layer3", "layer0"]),
    ],
)
def test_the_share_of_the_head_is_bounded(share, expected):
    """A bound that binds on any model, however small, with each order."""
    assert names(propose(CURVE, accuracy=ACCURACY, rank="accuracy", max_head_share=share)) == expected
    kept = propose(CURVE, accuracy=ACCURACY, max_head_share=share)
    assert all(candidate.head_share <= share for candidate in kept)


def test_a_bound_that_no_cut_meets_says_what_there_is():
    """Only the bounds that were given are named, and the smallest share is."""
    with pytest.raises(ArgumentError, match=r"No cut is within max_head_share=0\.05\. .* 10 % of the model's"):
        propose(CURVE, accuracy=ACCURACY, rank="accuracy", max_head_share=0.05)
    for share in (0, 1, 1.5, "half"):
        with pytest.raises(ArgumentError, match="max_head_share: expected a number between 0 and 1"):
            propose(CURVE, max_head_share=share)


def test_the_cheapest_head_near_the_best_accuracy_comes_first():
    """Within a point of the best, the least work first; the others follow by accuracy."""
    found = propose(CURVE, accuracy=ACCURACY, rank="cheapest")
    assert names(found) == ["layer1", "layer2", "layer3", "layer4", "layer0"]
    assert found[0].reason.startswith("head 1 of 4 by work, within 0.01 of the best accuracy; predicted accuracy 2 of")
    close = propose(CURVE, accuracy=ACCURACY, rank="cheapest", within=0.005)
    assert names(close) == ["layer1", "layer4", "layer2", "layer3", "layer0"]
    far = propose(CURVE, accuracy=ACCURACY, rank="cheapest", within=0.2)
    assert names(far) == [f"layer{k}" for k in range(5)]
    with pytest.warns(HeadWarning):
        assert names(propose(CURVE, accuracy=ACCURACY, rank="cheapest", within=0))[0] == "layer4"
    below = propose(CURVE, accuracy=ACCURACY, rank="cheapest", max_head_share=0.4, within=0.2)
    assert names(below) == ["layer0", "layer1"]


def test_what_cheapest_needs_is_asked_for():
    """An accuracy to be near to, and a margin that is for this order alone."""
    with pytest.raises(ArgumentError, match="give accuracy=predict_accuracy"):
        propose(CURVE, rank="cheapest")
    with pytest.raises(ArgumentError, match="within=0.01 is for rank='cheapest'. Received: rank='accuracy'"):
        propose(CURVE, accuracy=ACCURACY, rank="accuracy", within=0.01)
    for margin in (-0.1, 1, math.nan, True):
        with pytest.raises(ArgumentError, match="within: expected a number between 0 and 1"):
            propose(CURVE, accuracy=ACCURACY, rank="cheapest", within=margin)


@pytest.mark.parametrize(("head", "is_heavy"), [(6500, False), (7100, True), (9900, True)])
def test_a_head_that_is_nearly_the_whole_model_is_said(head, is_heavy):
    """Above 70 % the candidate has a warning, and one that comes first by accuracy issues it; a bound says it all."""
    curve = curve_with([head, 100, 200])
    accuracy = accuracy_with(curve, [0.95, 0.5, 0.6])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = propose(curve, accuracy=accuracy, rank="accuracy")[0]
    assert (first.warning is not None) is is_heavy
    assert [one.category for one in caught] == [HeadWarning] * is_heavy
    if is_heavy:
        assert f"{(head + 500) / 100:.0f} % of the model's multiply-accumulates" in first.warning
        assert "max_head_share=0.5" in str(caught[0].message)
    assert not [c.warning for c in propose(curve, accuracy=accuracy, rank="accuracy", max_head_share=0.5) if c.warning]


def test_a_costly_encoder_counts_as_the_heads_work():
    """A small head with an encoder as large as the model is within a bound on the head; the encoder's work is said."""
    heavy = accuracy_with(CURVE, [0.9] * 5, encoder_macs=12_000)
    first = propose(CURVE, accuracy=heavy, rank="accuracy")[0]
    assert (first.head_share, first.device_share) == (0.1, 1.3)
    assert "130 % of the model's multiply-accumulates, the head 10 %. encoder_share=0.1" in first.warning
    assert propose(CURVE, accuracy=heavy, rank="accuracy", max_head_share=0.1)[0].cut == first.cut
    alone = dataclasses.replace(heavy, encoder_macs=np.zeros(5, np.int64))
    assert propose(CURVE, accuracy=alone, rank="accuracy", max_head_share=0.1)[0].warning is None
