"""What a bundle's identity depends upon, and what it does not."""

import hashlib

import numpy as np
import pytest

from isplit_edge import ArgumentError
from isplit_edge.identity import array_sha256, bundle_id, canonical_json, tagged_sha256


def test_parts_are_tagged_and_length_prefixed():
    """The hashed bytes are the documented ones."""
    spelled = (4).to_bytes(8, "little") + b"head" + (3).to_bytes(8, "little") + b"abc"
    assert tagged_sha256([("head", b"abc")]) == hashlib.sha256(spelled).hexdigest()


def test_moving_a_boundary_changes_the_hash():
    """No two lists of parts give the hash the same bytes."""
    lists = [[("a", b"bc")], [("ab", b"c")], [("a", b"b"), ("c", b"")], [("a", b"bc"), ("", b"")]]
    assert len({tagged_sha256(parts) for parts in lists}) == len(lists)


def test_canonical_json_has_one_form():
    """Key order, blanks, tuples and non-ASCII letters do not matter; NaN and foreign types are refused."""
    assert canonical_json({"b": (1, 2.5), "a": "é"}) == b'{"a":"\\u00e9","b":[1,2.5]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
    for value in (float("nan"), float("inf"), np.float32(1), {1, 2}):
        with pytest.raises(ArgumentError, match="Not a value that JSON can hold exactly"):
            canonical_json({"x": value})


def test_weights_differ_by_dtype_shape_and_bytes_alone():
    """Byte order in memory and contiguity do not change a weight's hash; dtype and shape do."""
    weight = np.arange(6, dtype="<f4").reshape(2, 3)
    same = [weight.astype(">f4"), np.asfortranarray(weight), weight.copy()]
    assert {array_sha256(one) for one in same} == {array_sha256(weight)}
    others = [weight.astype("f8"), weight.reshape(3, 2), weight + 1, weight.view(np.int32)]
    assert len({array_sha256(one) for one in [weight, *others]}) == 5


def test_every_part_of_a_bundle_changes_its_identity():
    """Head, weights, architecture and contract each count; the order of the weights does not."""
    weights = ["11" * 32, "22" * 32]
    base = {"weights": weights, "architecture": {"layers": 2}, "contract": {"dtype": "int8"}}
    first = bundle_id(b"head", **base)
    assert len(first) == 64
    assert bundle_id(b"head", **(base | {"weights": weights[::-1]})) == first
    changed = [
        bundle_id(b"haed", **base),
        bundle_id(b"head", **(base | {"weights": weights[:1]})),
        bundle_id(b"head", **(base | {"architecture": {"layers": 3}})),
        bundle_id(b"head", **(base | {"contract": {"dtype": "int16"}})),
    ]
    assert len({first, *changed}) == 5
