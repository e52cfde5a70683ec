"""The checks of plain arguments that several calls share."""

from types import SimpleNamespace

import numpy as np
import pytest

from isplit_tf.errors import ArgumentError, checked_class_names


def test_class_names_become_texts():
    """Lists, arrays and anything else in an order will do; without names, those of the data are taken, if any."""
    for names in (["a", "b"], ("a", "b"), np.array(["a", "b"]), dict.fromkeys("ab")):
        assert checked_class_names(names, 2) == ["a", "b"]
    assert checked_class_names([0, 1], 2) == ["0", "1"]
    data = SimpleNamespace(class_names=["x", "y"])
    assert checked_class_names(None, 2, source=data) == ["x", "y"]
    assert checked_class_names(["a", "b"], 2, source=data) == ["a", "b"]
    assert checked_class_names(None, 2, source=(1, 2)) is None
    assert checked_class_names(["a", "a"], None) == ["a", "a"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("ab", r"a list of 2 texts, or None\. Received: 'ab'"),
        (3, r"a list of 2 texts, or None\. Received: 3"),
        ({"a", "b"}, "a list of 2 texts"),
        (["a"], r"The model tells 2 classes apart\. Received: 1 class names"),
        (["a", "a"], r"must differ from each other\. Received: \['a', 'a'\]"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(names, message):
    """Whether given or the data's, with one message for every call."""
    for options in ({"names": names}, {"names": None, "source": SimpleNamespace(class_names=names)}):
        with pytest.raises(ArgumentError, match=message):
            checked_class_names(n_classes=2, distinct=True, **options)
