"""Pictures of plans: what they show, from arrays alone."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from isplit_tf.plots.plan import draw_accuracy_by_latency, draw_latency_by_rate, draw_parts


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def labels(ax):
    """The texts of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_latency_against_rate_marks_where_another_one_takes_over():
    """A line an option on two logarithmic axes, with the points and this link."""
    rates = np.array([1e6, 1e7])
    ax = draw_latency_by_rate(
        rates, {"here": [0.04, 0.04], "there": [0.1, 0.01]}, takeovers=[(2e6, 0.04)], now=4e6, title="t"
    )
    assert labels(ax) == ["here", "there", "another option takes over", "this link"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.lines[1].get_ydata() == pytest.approx([100, 10])
    assert ax.lines[1].get_xdata() == pytest.approx([1, 10])


def test_accuracy_against_latency_has_the_front_as_steps():
    """Marks by kind; the whole model as a level line."""
    points = {"local": ([0.04], [0.9]), "split": ([0.02, 0.03], [0.8, 0.7])}
    ax = draw_accuracy_by_latency(points, front=([0.02, 0.04], [0.8, 0.9], ["a", "b"]), original=0.9)
    assert labels(ax) == ["local", "split", "nothing is better", "the whole model"]
    assert [text.get_text() for text in ax.texts] == ["a", "b"]
    assert ax.lines[1].get_ydata() == pytest.approx([80, 70])


def test_parts_add_up_to_the_latency():
    """Bars one behind the other, the first option at the top; drawn on axes that are given."""
    ax = plt.subplots()[1]
    assert draw_parts(["a", "b" * 50], {"head": [0.01, 0.02], "up": [0.03, 0.0]}, ax=ax) is ax
    ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
    assert ends == pytest.approx([10, 20, 40, 20])
    assert [text.get_text() for text in ax.get_yticklabels()][1].endswith("...")
    assert ax.yaxis_inverted()
