"""Requests joined into one run: who gets which rows, how long it waits, how much it takes. No TensorFlow."""

import threading
import time

import numpy as np
import pytest

from isplit_tf.server.batching import Batcher, Batching
from isplit_tf.server.refusal import Refusal


class Doubler:
    """Doubles numbers, notes the sizes of its runs, and fails at 13."""

    def __init__(self):
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, inputs):
        self.gate.wait(20)
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] == 13).any():
            raise Refusal("INVALID_ARGUMENT", "13")
        return {"y": inputs["x"] * 2, "n": np.arange(len(inputs["x"]))}


@pytest.fixture
def model():
    """A model that counts."""
    return Doubler()


def together(batcher: Batcher, requests: list[list[int]]) -> list:
    """What callers at the same time get: their outputs, or what was raised."""
    found: list = [None] * len(requests)

    def ask(index: int) -> None:
        try:
            found[index] = batcher.submit({"x": np.array(requests[index])})["y"].tolist()
        except Refusal as refusal:
            found[index] = refusal.message

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(requests))]
    for thread in threads:
        thread.start()
        time.sleep(0.002)  # so that they arrive in order
    for thread in threads:
        thread.join(20)
    return found


def test_each_caller_gets_its_own_rows(model):
    """Requests of several sizes that come together are run together and told apart."""
    batcher = Batcher(model, Batching(max_size=8, wait_s=0.5))
    requests = [[1], [2, 3], [4, 5, 6], [7, 8]]
    assert together(batcher, requests) == [[2], [4, 6], [8, 10, 12], [14, 16]]
    assert model.sizes == [8]
    batcher.close()


def test_the_wait_is_bounded(model):
    """A request that stays alone is answered after the wait."""
    batcher = Batcher(model, Batching(max_size=8, wait_s=0.05))
    begin = time.monotonic()
    assert batcher.submit({"x": np.array([4])})["y"].tolist() == [8]
    assert 0.04 < time.monotonic() - begin < 5
    batcher.close()


def test_a_full_run_does_not_wait(model):
    """What fills a run starts it, and what does not fit goes into the next one, in order."""
    batcher = Batcher(model, Batching(max_size=4, wait_s=60))
    begin = time.monotonic()
    assert together(batcher, [[1, 2], [3, 4], [5, 6, 7], [8]]) == [[2, 4], [6, 8], [10, 12, 14], [16]]
    assert model.sizes == [4, 4]
    assert time.monotonic() - begin < 20
    batcher.close()


def test_a_failure_is_the_fault_of_one(model):
    """The request that fails is told, its neighbours are answered."""
    batcher = Batcher(model, Batching(max_size=8, wait_s=0.3))
    assert together(batcher, [[1], [13], [3]]) == [[2], "13", [6]]
    assert model.sizes == [3, 1, 1, 1]
    batcher.close()


def test_bounds_are_told(model):
    """Too many instances in one request, and too many requests that wait."""
    batcher = Batcher(model, Batching(max_size=2, wait_s=0, max_waiting=2))
    with pytest.raises(Refusal, match="Task size 3 is larger than maximum input batch size 2") as refused:
        batcher.submit({"x": np.zeros(3)})
    assert refused.value.code == "INVALID_ARGUMENT"
    model.gate.clear()
    opening = threading.Timer(0.5, model.gate.set)
    opening.start()
    found = together(batcher, [[1, 1]] * 6)
    full = [one for one in found if one == "The batch scheduling queue to which this task was submitted is full"]
    assert len(full) == 3
    assert found.count([2, 2]) == 3
    batcher.close()


def test_nothing_and_what_cannot_be_joined(model):
    """An empty request is run alone, and requests of different forms in different runs."""
    batcher = Batcher(lambda inputs: {"y": inputs["x"]}, Batching(wait_s=0.1))
    assert batcher.submit({"x": np.zeros((0, 3))})["y"].shape == (0, 3)
    shapes = []

    def ask(width: int) -> None:
        shapes.append(batcher.submit({"x": np.zeros((1, width))})["y"].shape)

    threads = [threading.Thread(target=ask, args=(width,)) for width in (1, 2, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(shapes) == [(1, 1), (1, 1), (1, 2)]
    batcher.close()


def test_closing_answers_what_waits(model):
    """Requests under way are answered, later ones are run alone, and closing twice is harmless."""
    batcher = Batcher(model, Batching(max_size=8, wait_s=60))
    found = []
    asking = threading.Thread(target=lambda: found.append(batcher.submit({"x": np.array([5])})["y"].tolist()))
    asking.start()
    time.sleep(0.1)
    batcher.close()
    asking.join(20)
    assert found == [[10]]
    assert batcher.submit({"x": np.array([6])})["y"].tolist() == [12]
    batcher.close()
