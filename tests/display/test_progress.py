"""Progress bars: their totals, where data tell them, and their end."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.batches.watched import expected_images, watched
from isplit_tf.display.progress import Bar, bar
from isplit_tf.display.quiet import without_saving_lines, without_tracing_advice

X, Y = np.zeros((50, 2), np.float32), np.zeros(50, np.int64)


class Batches(keras.utils.PyDataset):
    """Seven batches of eight."""

    @property
    def num_batches(self):
        return 7

    def __getitem__(self, index):
        return X[:8], Y[:8]


def stream(size=8):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size)


@pytest.mark.parametrize(
    ("data", "most", "expected"),
    [
        ((X, Y), None, 50),
        ((X, Y), 20, 20),
        (stream(), None, 56),
        (stream(), 20, 20),
        (stream().map(lambda x, y: (x, y)).prefetch(1), 2000, 56),
        (stream().repeat(), 30, 30),
        (stream().filter(lambda x, y: True), None, None),
        (stream().filter(lambda x, y: True), 2000, None),
        (Batches(), None, 56),
        (Batches(), 10, 10),
    ],
    ids=lambda value: str(value) if value is None or isinstance(value, int) else type(value).__name__,
)
def test_what_the_data_tell_is_expected(data, most, expected):
    """Batches times the images of the first, at most as many as are asked for; nothing where nobody knows."""
    assert expected_images(data, 8, most) == expected


@pytest.mark.parametrize(("data", "most"), [(stream(), 2000), (stream().filter(lambda x, y: True), 2000), ((X, Y), 50)])
def test_a_bar_ends_at_its_total(data, most):
    """A bound that was too high becomes the number that was read; each batch advances the bar once."""
    with bar(desc="read", unit="image", delay_s=0) as shown:
        sizes = [batch.size for batch in watched(shown, data, max_images=most)]
    assert sum(sizes) == shown.n == shown.total == 50


def test_a_bar_that_is_broken_off_keeps_what_was_left():
    """An error does not look like the end of the work."""

    def broken_off():
        with bar(total=10, desc="read", delay_s=0) as shown:
            bars.append(shown)
            shown.update(3)
            raise KeyError

    bars = []
    with pytest.raises(KeyError):
        broken_off()
    assert (bars[0].n, bars[0].total) == (3, 10)


def test_bars_need_no_widgets():
    """Plain bars of tqdm, which warn of nothing in a notebook."""
    assert Bar.__mro__[1].__module__ == "tqdm.std"


def test_lines_of_tensorflow_that_help_nobody_are_left_out(caplog):
    """Where a temporary SavedModel went, and advice on retracing; other lines stay, and come back afterwards."""
    logger = logging.getLogger("tensorflow")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, "tensorflow"), without_saving_lines(), without_tracing_advice():
            logger.info("Assets written to: %s", "/tmp/x/assets")
            logger.warning("5 calls triggered tf.function retracing")
            logger.info("something else")
        logger.warning("Assets written to: y")
    finally:
        logger.removeHandler(caplog.handler)
    said = {record.getMessage() for record in caplog.records}
    assert said == {"something else", "Assets written to: y"}
