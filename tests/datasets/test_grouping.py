"""Groups and splits, on numbers; near duplicates against the plain comparison of all pairs."""

from collections import Counter

import numpy as np
import pytest

from isplit_tf.datasets.grouping import divide, equal_pairs, join
from isplit_tf.datasets.nearness import near_pairs


def test_join():
    """What is connected through others is one group, named after its smallest item."""
    assert join(7, [(6, 2), (5, 6), (0, 3), (3, 0)]) == [0, 1, 2, 0, 4, 2, 2]
    assert join(0, []) == []


def test_equal_pairs():
    """Equal values are connected; None equals nothing, itself included."""
    assert list(equal_pairs(["a", None, "b", "a", None, "a"])) == [(0, 3), (0, 5)]


def test_divide_by_class_and_exactly():
    """Each class gives its share; single images fill it exactly."""
    labels = ["a"] * 100 + ["b"] * 20
    splits = divide(range(120), labels, [str(i) for i in range(120)], shares={"test": 0.2, "validation": 0.1})
    assert Counter(zip(labels, splits, strict=True)) == {
        ("a", "train"): 70,
        ("a", "test"): 20,
        ("a", "validation"): 10,
        ("b", "train"): 14,
        ("b", "test"): 4,
        ("b", "validation"): 2,
    }


def test_divide_keeps_groups_whole():
    """No group crosses a split, and shares are missed by less than a group."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 150, 600).tolist()
    splits = divide(groups, ["a"] * 600, [str(g) for g in groups], shares={"validation": 0.1})
    assert all(len({s for g, s in zip(groups, splits, strict=True) if g == group}) == 1 for group in set(groups))
    assert 50 < splits.count("validation") <= 60


def test_divide_does_not_depend_on_the_order():
    """The same images in another order go to the same splits."""
    groups, labels = [0, 0, 2, 3, 4, 4, 6, 7, 8, 9], list("aabbabbaab")
    keys = [f"k{i}" for i in range(10)]
    straight = divide(groups, labels, keys, shares={"validation": 0.4})
    order = [7, 2, 9, 4, 0, 5, 1, 8, 3, 6]
    moved = divide(
        [groups[i] for i in order], [labels[i] for i in order], [keys[i] for i in order], shares={"validation": 0.4}
    )
    assert moved == [straight[i] for i in order]
    assert "validation" in straight


def test_too_large_a_group_goes_to_train():
    """A group that does not fit into a split does not fill it; smaller ones do."""
    groups = [0] * 30 + list(range(30, 100))
    splits = divide(groups, ["a"] * 100, [str(g) for g in groups], shares={"test": 0.2, "validation": 0.1})
    assert set(splits[:30]) == {"train"}
    assert (splits.count("test"), splits.count("validation")) == (20, 10)


def test_what_belongs_to_test_is_left_out():
    """Images that are grouped with one of test are neither in train nor in validation."""
    splits = divide(
        [0, 0, 0, 3, 4], ["a", "b", "a", "a", "a"], list("12345"), shares={"validation": 0.5}, is_test=[1, 0, 1, 0, 0]
    )
    assert splits[:3] == ["test", "left_out", "test"]
    assert sorted(splits[3:]) == ["train", "validation"]


@pytest.mark.parametrize("shape", [(28, 28), (5, 9), (1, 3)])
@pytest.mark.parametrize("limit", [0.5, 8.0, 30.0])
def test_near_pairs_are_all_pairs(shape, limit):
    """The search misses no pair and finds no other than comparing all with all."""
    rng = np.random.default_rng(1)
    base = rng.integers(0, 256, (12, *shape))
    copies = base[rng.integers(0, 12, 150)] + rng.normal(0, 1, (150, *shape)) * rng.uniform(0, 40, (150, 1, 1))
    pixels = np.unique(np.clip(np.concatenate([base, copies]), 0, 255).astype(np.uint8), axis=0)
    differences = pixels[:, np.newaxis].astype(np.int64) - pixels
    squares = (differences**2).sum(axis=(2, 3))
    first, second = np.nonzero(squares <= limit**2 * shape[0] * shape[1])
    expected = {(i, j) for i, j in zip(first.tolist(), second.tolist(), strict=True) if i < j}
    assert set(near_pairs(pixels, limit)) == expected
    assert limit < 8 or expected


def test_near_pairs_at_the_limit():
    """A difference of exactly the limit is near; one grey level more in one pixel is not."""
    pixels = np.full((3, 28, 28), 100, np.uint8)
    pixels[1] += 12
    pixels[2] += 12
    pixels[2, 0, 0] += 1
    assert list(near_pairs(pixels, 12.0)) == [(0, 1), (1, 2)]


def test_near_pairs_of_nothing_and_of_one():
    """One image has no near duplicate."""
    assert list(near_pairs(np.zeros((1, 28, 28), np.uint8), 12.0)) == []
