"""Results that only grow, and survive whatever ends a run."""

import pytest

from isplit_tf.errors import BundleError
from isplit_tf.sweep.store import Store


def test_rows_come_back(tmp_path):
    """What was appended is there for the next run, in order, and can be asked for by its fields."""
    path = tmp_path / "new" / "study.jsonl"
    store = Store(path)
    for k in range(3):
        store.append({"key": f"k{k}", "kind": "split", "seed": k % 2})
    again = Store(path)
    assert len(again) == 3
    assert "k1" in again
    assert "k9" not in again
    assert [row["key"] for row in again.rows(kind="split", seed=0)] == ["k0", "k2"]


def test_a_line_that_broke_off_is_done_again(tmp_path):
    """A kill in the middle of a line loses that line alone, wherever it breaks."""
    path = tmp_path / "study.jsonl"
    store = Store(path)
    store.append({"key": "one", "text": "ä"})
    whole = path.read_bytes()
    store.append({"key": "two"})
    full = path.read_bytes()
    for size in range(len(whole), len(full)):
        path.write_bytes(full[:size])
        again = Store(path)
        assert "one" in again
        assert "two" not in again
        again.append({"key": "two"})
        assert path.read_bytes() == full


def test_another_file_is_refused(tmp_path):
    """What is no row is named with its line, and nothing is written into the file."""
    path = tmp_path / "study.jsonl"
    path.write_text('{"key": "a"}\n[1, 2]\n')
    with pytest.raises(BundleError, match="Line 2 of"):
        Store(path)
    assert path.read_text() == '{"key": "a"}\n[1, 2]\n'
