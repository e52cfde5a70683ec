"""Classes grouped by their own peaks."""

import numpy as np
import pytest

from isplit_tf.experiments.groups import best_positions, class_groups, own_peak_effect
from isplit_tf.experiments.page import reproduction_page


def test_groups_are_of_equal_size_and_hold_the_clearest_classes():
    """Three classes peak at 1, two at 3: of the three, the two whose peak leads most are taken."""
    rows = np.array(
        [
            [0, 5, 0, 1, 0],
            [0, 2, 0, 1, 0],
            [0, 4, 0, 1, 0],
            [0, 1, 0, 3, 0],
            [0, 1, 0, 2, 0],
        ],
        float,
    )
    found = class_groups(rows)
    assert found.peaks == (1, 3)
    assert found.counts == {1: 3, 3: 2}
    assert found.groups["first"] == (0, 2)
    assert found.groups["second"] == (3, 4)
    assert len(found.groups["random_a"]) == len(found.groups["random_b"]) == 2


def test_classes_without_a_peak_or_without_images_are_in_no_group():
    """A curve that only rises has no peak; a class that was not seen has NaN."""
    rows = np.array([[0, 1, 2, 3], [np.nan] * 4, [0, 2, 1, 3]], float)
    assert best_positions(rows) == [None, None, 1]
    assert class_groups(rows).groups == {}


def accuracies(**cells):
    return {name: {"here": {"accuracy": a}, "there": {"accuracy": b}} for name, (a, b) in cells.items()}


def test_the_effect_of_the_own_peak_takes_off_what_all_groups_share():
    """All keep more at the first place; 0.3 and 0.1 differ by 0.2, random groups 0.2 and 0.05 by 0.15."""
    measured = accuracies(first=(0.8, 0.5), second=(0.6, 0.5), random_a=(0.6, 0.4), random_b=(0.5, 0.45))
    effect = own_peak_effect(measured, ("here", "there"))
    assert effect == pytest.approx({"first": 30, "second": -10, "groups": 20, "random": 15})
    del measured["random_b"]
    assert own_peak_effect(measured, ("here", "there")) == {}


@pytest.mark.parametrize(
    ("random", "conclusion"),
    [((0.5, 0.45), "differ by more than random ones"), ((0.5, 0.6), "does not show here")],
)
def test_the_page_says_what_follows_from_the_groups(random, conclusion):
    """Beside the table stands whether the groups differ by more than random ones."""
    measured = accuracies(first=(0.8, 0.5), second=(0.6, 0.5), random_a=(0.6, 0.4), random_b=random)
    for cells in measured.values():
        for cell in cells.values():
            cell.update(low=0.0, high=1.0)
    study = {
        "peaks_of_classes": {"here": 3, "there": 2},
        "same_peak_on_the_other_half": None,
        "cuts": ["here", "there"],
        "accuracy": measured,
        "own_peak": own_peak_effect(measured, ("here", "there")),
    }
    page = reproduction_page({"fig8": {"studies": {"one": study}, "runs": {}, "jobs_left": {}}}, "cpu", "pictures")
    assert "the first group keeps 30.00 points more (here), the second 10.00 points less (there)" in page
    assert conclusion in page
