"""The formula of the authors' released code, out of `method`, `reduction` and `target`."""

import keras
import matplotlib
import numpy as np
import pytest

from isplit_tf import measure_importance

IMAGES = np.array([[1.0, 3.0], [-1.0, -3.0]], np.float32).reshape(2, 2, 1, 1)
LABELS = [1, 0]  # neither is what the net predicts
RELEASED = {"method": "grad_cam", "reduction": "mean", "target": "predicted"}


@pytest.fixture(scope="module")
def net():
    """Two pixels x; F = x (2, -1) in two channels; G = F_1 + F_2; logit 0 = G_1 + 3 G_2, logit 1 = -G_1 + 0.5 G_2."""
    inputs = keras.Input((2, 1, 1))
    x = keras.layers.Conv2D(2, 1, use_bias=False, name="two")(inputs)
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="one")(x)
    x = keras.layers.Flatten(name="flat")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, activation="softmax", name="scores")(x))
    model.get_layer("two").set_weights([np.array([2.0, -1.0]).reshape(1, 1, 1, 2)])
    model.get_layer("one").set_weights([np.ones((1, 1, 2, 1))])
    model.get_layer("scores").set_weights([np.array([[1.0, -1.0], [3.0, 0.5]])])
    return model


def test_the_released_formula_by_hand(net):
    """The gradient of the predicted class, alpha its mean over space; the mean over channels of alpha F, then ReLU,
    then the mean over space; the mean over images.

    Image (1, 3): F = (2, -1), (6, -3); G = (1, 3); logits (10, 0.5): class 0 is predicted, dlogit/dG = (1, 3).
        At G: alpha = (1 + 3) / 2 = 2; map = (2, 6); mean 4.
        At F: alpha = (2, 2); mean over channels (2*2 - 2*1)/2 = 1 and (2*6 - 2*3)/2 = 3; mean 2.
    Image (-1, -3): F = (-2, 1), (-6, 3); G = (-1, -3); logits (-10, -0.5): class 1, dlogit/dG = (-1, 0.5).
        At G: alpha = -0.25; map = (0.25, 0.75); mean 0.5.
        At F: alpha = (-0.25, -0.25); channels (0.5 - 0.25)/2 = 0.125 and (1.5 - 0.75)/2 = 0.375; mean 0.25.
    Over both images: F (2 + 0.25)/2 = 1.125, G (4 + 0.5)/2 = 2.25.
    """
    curve = measure_importance(net, (IMAGES, LABELS), **RELEASED, cuts=["two", "one"], progress=False)
    np.testing.assert_allclose(curve.values, [1.125, 2.25], rtol=1e-6)
    np.testing.assert_allclose(curve.of_classes([1]).values, [2.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(curve.of_classes([0]).values, [0.25, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # Class 1 for the first image: alpha = -0.25 and no positive map. Class 0 for the second: alpha = 2, none.
        ({"target": "label"}, [0.0, 0.0]),
        # Sums over 2 x 2 and 2 x 1 elements in place of means.
        ({"reduction": "sum"}, [4.5, 4.5]),
        # Without F: ReLU of the mean of alpha, 2 for the first image, and -0.25 for the second.
        ({"method": "gradients"}, [1.0, 1.0]),
    ],
)
def test_each_of_the_three_makes_a_difference(net, changed, expected):
    """With one of the three as in the paper, or as in its Fig. 4, the numbers are others, worked out likewise.

    "gradients" at F: the sum over channels of alpha is 4, at two positions, over 4 elements: 2; at G: 2 at two
    positions over 2 elements: 2. The second image gives 0, so the mean over images is 1.
    """
    curve = measure_importance(net, (IMAGES, LABELS), **RELEASED | changed, cuts=["two", "one"], progress=False)
    np.testing.assert_allclose(curve.values, expected, rtol=1e-6)


def test_plots_show_log10_as_the_authors_do(net):
    """log10(1.125) = 0.0512 and log10(2.25) = 0.3522."""
    matplotlib.use("Agg")
    curve = measure_importance(net, (IMAGES, LABELS), **RELEASED, cuts=["two", "one"], progress=False)
    axes = curve.plot(log=True)
    drawn = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 2]
    assert any(np.allclose(line, [0.0512, 0.3522], atol=1e-4) for line in drawn)
    matplotlib.pyplot.close(axes.figure)
