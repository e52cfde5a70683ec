"""The page on choosing bytes says what a protocol adds, and the command that measured it gives the same again."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "choosing_bytes.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the source archive comes without the documentation")


def rows_of(text):
    """Protocol, connection, frames, bytes up and down of each row."""
    found = re.findall(r"^\| (REST|gRPC) \| (new|kept) \| (\d+) \| ([\d,]+) B \| ([\d,]+) B \|$", text, re.MULTILINE)
    return {(a, b, int(n)): (int(up), int(down)) for a, b, n, up, down in found}


def test_the_page_says_what_is_measured(tmp_path):
    """A frame at a time and eight at once, over both protocols, within a tenth of the page's figures."""
    pytest.importorskip("grpc")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import wire_bytes
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    frames = wire_bytes.make_bundle(tmp_path / "bundle")
    records = wire_bytes.measure(tmp_path / "bundle", frames, (1, 8))
    assert {record["payload"] for record in records} == {wire_bytes.PAYLOAD}
    stated, found = rows_of(PAGE.read_text()), rows_of(wire_bytes.table(records))
    assert set(found) <= set(stated)
    for row, measured in found.items():
        assert measured == pytest.approx(stated[row], rel=0.1, abs=15), row


def test_what_the_page_concludes_follows_from_its_table():
    """gRPC sends fewer bytes than REST, batches fewer than frames alone, a kept connection no more than a new one."""
    rows = rows_of(PAGE.read_text())
    assert len(rows) == 12
    for (protocol, connection, frames), sent in rows.items():
        if protocol == "REST":
            assert sum(rows["gRPC", connection, frames]) < sum(sent) or connection == "new"
        if frames > 1:
            assert sum(sent) < sum(rows[protocol, connection, 1])
        if connection == "kept":
            assert sum(sent) <= sum(rows[protocol, "new", frames])
