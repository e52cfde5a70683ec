"""Random graphs: exactly the cuts that brute force finds, and exact recomposition at each."""

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.random_graphs import Grower, check


@pytest.mark.slow
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_random_graphs(data):
    """No wrong cut, none missed, none that does not recompose: branches, merges, shared layers, nested models."""
    model = Grower(lambda n: data.draw(st.integers(0, n - 1))).model()
    found = check(model)
    keras.backend.clear_session(free_memory=False)
    assert not found.problem
