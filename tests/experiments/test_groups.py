"""Classes grouped by their own peaks."""

import numpy as np

from isplit_tf.experiments.groups import best_positions, class_groups


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
