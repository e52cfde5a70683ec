"""The parts of the long benchmark, and a small bundle to try them on."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from trouble.place import Place, Row, ServerProcess, make_place


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    """A bundle with its images and right answers."""
    return make_place(tmp_path_factory.mktemp("faults") / "bundle")


@pytest.fixture(scope="session")
def served(place: Place) -> Iterator[ServerProcess]:
    """The bundle's tail, served by a process of its own that must outlive all of this."""
    with ServerProcess(place.bundle) as server:
        yield server
        assert server.process.poll() is None
        assert "Traceback" not in server.said, server.said


@pytest.fixture
def check():
    """Whether nothing went wrong, and something was done at all."""

    def checked(row: Row, *expected: str) -> Row:
        assert row.wrong == []
        for name in expected:
            assert row.outcome[name] > 0, row.outcome
        return row

    return checked
