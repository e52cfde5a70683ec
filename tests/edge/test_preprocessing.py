"""Preprocessing as data, against Keras and TensorFlow themselves."""

import numpy as np
import pytest

from isplit_edge import ArgumentError
from isplit_edge.preprocessing import preprocess, resize, resolve_preprocessing


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_named_forms_are_those_of_keras(mode):
    """The record written out for a name does what preprocess_input of that mode does."""
    from keras.applications import imagenet_utils

    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    expected = imagenet_utils.preprocess_input(image.astype(np.float32), mode=mode)
    found = preprocess(image, resolve_preprocessing(mode, (5, 7, 3)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((1, 1), (5, 7)),
        ((5, 7), (1, 1)),
        ((37, 23), (32, 32)),
        ((3, 4), (9, 2)),
        ((28, 28), (32, 32)),
        ((48, 64), (224, 224)),
        ((480, 640), (96, 96)),
        ((6, 6), (6, 6)),
    ],
)
def test_resizing_is_that_of_tensorflow(old, new, method):
    """Half-pixel centres, no antialiasing: equal to tf.image.resize, nearest to the bit."""
    import tensorflow as tf

    image = np.random.default_rng(1).integers(0, 256, (*old, 3), np.uint8)
    expected = tf.image.resize(image, new, method).numpy()
    found = resize(image, new, method)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=0 if method == "nearest" else 1e-4)


def test_the_order_is_resize_scale_mean_std():
    """x = (resize(image, channels in order) * scale - mean) / std, on numbers worked out by hand.

    Both pixels of the row are averaged to (20, 30, 40); B, G, R at half scale is (20, 15, 10); minus 4 and over
    (1, 2, 4) that is (16, 5.5, 1.5).
    """
    record = {"size": [1, 1], "scale": 0.5, "mean": 4, "std": [1, 2, 4], "channel_order": "BGR"}
    image = np.array([[[10, 20, 30], [30, 40, 50]]], np.uint8)
    found = preprocess(image, resolve_preprocessing(record, (1, 1, 3)))
    assert found.tolist() == [[[16.0, 5.5, 1.5]]]


@pytest.mark.parametrize("shape", [(28, 28), (50, 6), (7,), (4, 5, 6, 2), (3, 4, 5, 6, 2)])
def test_inputs_that_are_no_images_are_scaled(shape):
    """Scale, mean and std work on any shape; lists have a number for each place of the last axis."""
    x = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    mean, std = list(range(shape[-1])), list(range(1, shape[-1] + 1))
    found = preprocess(x, resolve_preprocessing({"scale": 0.5, "mean": mean, "std": std}, shape))
    assert (found.dtype, found.shape) == (np.float32, shape)
    np.testing.assert_allclose(found, (x * 0.5 - mean) / std, rtol=1e-6)
    halved = preprocess(x, resolve_preprocessing({"scale": 1 / 255, "mean": [0.5]}, shape))
    np.testing.assert_allclose(halved, x / 255 - 0.5, rtol=1e-5, atol=1e-6)


def test_without_preprocessing_images_are_cast():
    """None hands the pixels over as float32."""
    assert resolve_preprocessing(None, (2, 2, 3)) is None
    found = preprocess(np.full((1, 1, 1), 255, np.uint8), None)
    assert (found.dtype, found.item()) == (np.float32, 255.0)


def test_a_name_and_a_size_make_a_whole_record():
    """A named form can be given a size, and is written out whole."""
    assert resolve_preprocessing({"name": "tf", "size": (4, 4)}, (4, 4, 3)) == {
        "name": "tf",
        "size": [4, 4],
        "resize": "bilinear",
        "scale": 1 / 127.5,
        "mean": 1.0,
        "std": 1.0,
        "channel_order": "RGB",
    }


@pytest.mark.parametrize(
    ("asked", "shape", "message"),
    [
        ("vgg", (4, 4, 3), "preprocessing must be None, a record, or one of caffe, tf, torch. Received: 'vgg'"),
        (3, (4, 4, 3), "preprocessing must be None, a record"),
        ({"sise": [4, 4]}, (4, 4, 3), "preprocessing has unknown keys: sise. Expected keys: name, size"),
        ({"std": 0}, (4, 4, 3), "preprocessing.std must be a number above 0. Received: 0"),
        ({"std": [1, 0, 1]}, (4, 4, 3), r"preprocessing.std\[1\] must be a number above 0"),
        ({"mean": []}, (4, 4, 3), "preprocessing.mean must be a number, or one for each channel"),
        ({"mean": [1, 2]}, (4, 4, 3), "preprocessing.mean must be a number or a list of 3. Received: 2 values"),
        ({"scale": float("nan")}, (4, 4, 3), "preprocessing.scale must be a finite number"),
        ({"size": [4, 5]}, (4, 4, 3), r"preprocessing.size must be the model's own, \[4, 4\]. Received: \[4, 5\]"),
        ({"resize": "cubic"}, (4, 4, 3), "preprocessing.resize must be one of 'bilinear', 'nearest'"),
        ({"channel_order": "BGR"}, (4, 4, 1), "'BGR' needs 3 channels. The model's input has 1"),
        (
            {"size": [4, 4]},
            (4, 4),
            r"preprocessing.size is for images, .H, W, C.. .* shape \(4, 4\): possible are scale",
        ),
        ("caffe", (10,), r"preprocessing.channel_order is for images, .H, W, C.. The model's input has .* \(10,\)"),
        ("torch", (10, 6), "preprocessing.mean must be a number or a list of 6. Received: 3 values"),
        ({"std": [1, 2]}, (5, 4, 4, 3), "preprocessing.std must be a number or a list of 3. Received: 2 values"),
        ({"name": "caffe", "scale": 2}, (4, 4, 3), "preprocessing.name is 'caffe', whose scale is fixed by Keras"),
    ],
)
def test_a_wrong_record_is_named(asked, shape, message):
    """Each mistake in a record says the key, what was found and what is possible."""
    with pytest.raises(ArgumentError, match=message):
        resolve_preprocessing(asked, shape)
