"""The list that `find_cuts` gives: a list like any other, which prints as a table."""

import keras
import pytest

from isplit_tf.errors import CutError
from isplit_tf.graph.cut_list import CutList
from isplit_tf.graph.cuts import find_cuts, resolve_cut
from isplit_tf.graph.program import read_program

layers = keras.layers


@pytest.fixture(scope="module")
def model():
    """Two numbered blocks of three layers, a tenth block, and a layer with `<` in its name is not possible."""
    x = inputs = keras.Input((None, 8, 3))
    for block in (1, 6, 10):
        for part in ("expand", "depthwise", "project_BN"):
            x = layers.Conv2D(2, 1, name=f"block_{block}_{part}")(x)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D(name="pool")(x)))


def test_it_is_a_list_that_prints_as_a_table(model):
    """A header, a line for each cut, in text and HTML; equality, indexing and concatenation are those of a list."""
    found = find_cuts(model)
    lines = str(found).splitlines()
    assert isinstance(found, list)
    assert lines[0].split()[:3] == ["cut", "index", "layer"]
    assert [line.split()[0] for line in lines[1:]] == [cut.name for cut in found]
    assert repr(found) == str(found) == f"{found}" == found.table()
    assert found._repr_html_().count("<tr>") == len(found) + 1
    plain = list(found)
    assert found == plain
    assert plain == found
    assert [*found, found[0]] == found + found[:1]
    assert isinstance(found[0], type(plain[0]))


def test_a_part_of_it_prints_too_and_nothing_is_an_empty_list(model):
    """Slices stay tables; a model without a cut shows []."""
    found = find_cuts(model)
    assert isinstance(found[2:4], CutList)
    assert len(str(found[:3]).splitlines()) == 4
    assert str(found[:0]) == "[]"
    assert found[-1].name == "pool"
    assert "?x8x2" in str(found)


@pytest.mark.parametrize(
    ("wanted", "first"),
    [("block_6", "block_6_project_BN"), ("block_1", "block_1_project_BN"), ("Block_10", "block_10_project_BN")],
)
def test_the_end_of_a_block_is_suggested_for_its_name(model, wanted, first):
    """The start of several names suggests the last of them, and not those of block 10 for block 1."""
    with pytest.raises(CutError, match=f"No layer has this name. Similar: '{first}'"):
        resolve_cut(read_program(model), wanted)


@pytest.mark.parametrize(("wanted", "first"), [("blok_6_expand", "block_6_expand"), ("poool", "pool")])
def test_a_misspelt_name_suggests_the_nearest(model, wanted, first):
    """A letter too few or too many is found by likeness."""
    with pytest.raises(CutError, match=f"Similar: '{first}'"):
        resolve_cut(read_program(model), wanted)
