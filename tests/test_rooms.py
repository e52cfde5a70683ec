"""The map of the code in CONTRIBUTING.md: the picture is that of today's imports, and the rooms are as few as agreed."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
pytest.importorskip("rooms", reason="the source archive comes without the tools")
import rooms


@pytest.fixture(scope="module")
def house():
    """The rooms of this checkout."""
    return rooms.House.read(ROOT)
