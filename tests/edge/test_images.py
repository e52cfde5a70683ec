"""Images that may be handed in, and those that may not."""

import numpy as np
import pytest

from isplit_edge import DataError
from isplit_edge.images import frames
from isplit_edge.preprocessing import resolve_preprocessing

RGB, GREY = (4, 6, 3), (4, 6, 1)


def raw(*shape):
    """Raw images of a shape."""
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize(
    ("shape", "input_shape", "expected"),
    [
        ((4, 6, 3), RGB, (1, 4, 6, 3)),
        ((2, 4, 6, 3), RGB, (2, 4, 6, 3)),
        ((4, 6), GREY, (1, 4, 6, 1)),
        ((4, 6, 1), GREY, (1, 4, 6, 1)),
        ((5, 4, 6), GREY, (5, 4, 6, 1)),
        ((5, 4, 6, 1), GREY, (5, 4, 6, 1)),
        ((28, 28), (28, 28), (1, 28, 28)),
        ((3, 7), (7,), (3, 7)),
        ((7,), (7,), (1, 7)),
        ((1, 1, 1), (1, 1, 1), (1, 1, 1, 1)),
    ],
)
def test_shapes_that_are_taken(shape, input_shape, expected):
    """One image or a batch, grey with or without its channel, and inputs that are no images; none is copied."""
    images = raw(*shape)
    found = frames(images, input_shape, None, preprocessed=False)
    assert found.shape == expected
    assert np.shares_memory(found, images)


@pytest.mark.parametrize(
    ("images", "input_shape", "message"),
    [
        (raw(0, 4, 6, 3), RGB, r"There are no images to classify: received an array of shape \(0, 4, 6, 3\)"),
        ([], RGB, "There are no images to classify"),
        ([raw(4, 6, 3), raw(4, 5, 3)], RGB, "Images of one batch have one shape"),
        (
            raw(4, 6),
            RGB,
            r"must have the shape \(H, W, 3\) or \(N, H, W, 3\): .* has 3 channels. Received: shape \(4, 6\)",
        ),
        (raw(4, 6, 4), RGB, r"Received: shape \(4, 6, 4\)"),
        (raw(2, 4, 6, 1), RGB, r"Received: shape \(2, 4, 6, 1\)"),
        (raw(4, 6, 3), GREY, r"has 1 channels. Received: shape \(4, 6, 3\)"),
        (raw(5, 4, 7), GREY, "Images must be 4 x 6, .* Received: 4 x 7"),
        (raw(1, 2, 4, 6, 3), RGB, r"Received: shape \(1, 2, 4, 6, 3\)"),
        (raw(4, 7, 3), RGB, "Images must be 4 x 6, the size of the model's input: .* Received: 4 x 7. Resize them"),
        (raw(3, 8), (7,), r"Images must have the shape \(7,\), alone or as a batch. Received: shape \(3, 8\)"),
        (np.ones(RGB, np.float32), RGB, "must be uint8, .* float32 with values from 1 to 1. Pass preprocessed=True"),
        (np.full(RGB, 300), RGB, "must be uint8, from 0 to 255. Received: dtype int64 with values from 300 to 300"),
        (["a", "b"], RGB, "Raw images must be uint8"),
        (None, RGB, "Raw images must be uint8.* Received: dtype object"),
    ],
)
def test_raw_images_that_are_refused(images, input_shape, message):
    """Wrong shape, dtype, range or size: the message says what was found and what is possible."""
    with pytest.raises(DataError, match=message):
        frames(images, input_shape, None, preprocessed=False)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32])
def test_raw_numbers_of_a_sensor_are_whole(dtype):
    """Where the input is no image, any type of whole numbers is raw; floating-point numbers are not."""
    for shape in ((50, 6), (28, 28), (7,)):
        assert frames(np.zeros((2, *shape), dtype), shape, None, preprocessed=False).shape == (2, *shape)
        with pytest.raises(DataError, match="Raw numbers must be whole, of an integer type.*preprocessed=True"):
            frames(np.zeros((2, *shape)), shape, None, preprocessed=False)


def test_a_preprocessing_with_a_size_takes_any_size():
    """Only a record that resizes allows images of another size."""
    resizing = resolve_preprocessing({"size": [4, 6]}, RGB)
    assert frames(raw(2, 480, 640, 3), RGB, resizing, preprocessed=False).shape == (2, 480, 640, 3)
    plain = resolve_preprocessing("tf", RGB)
    with pytest.raises(DataError, match=r"does not resize. Received: 480 x 640"):
        frames(raw(2, 480, 640, 3), RGB, plain, preprocessed=False)


def test_a_colour_image_is_no_stack_of_grey_ones():
    """For a grey model that resizes, 480 x 640 x 3 is a mistake, not 480 images of 640 x 3.

    A stack of images that have the size of a narrow model stays a stack.
    """
    resizing = resolve_preprocessing({"size": [4, 6]}, GREY)
    with pytest.raises(DataError, match=r"has 1 channels. Received: shape \(480, 640, 3\)"):
        frames(raw(480, 640, 3), GREY, resizing, preprocessed=False)
    assert frames(raw(2, 480, 640), GREY, resizing, preprocessed=False).shape == (2, 480, 640, 1)
    assert frames(raw(9, 5, 3), (5, 3, 1), None, preprocessed=False).shape == (9, 5, 3, 1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros((4, 6)),
            r"Images must have the shape \(4, 6, 3\), as preprocessed=True, .* Received: shape \(4, 6\)",
        ),
        (np.full(RGB, np.nan, np.float32), "must be finite. Received: NaN or infinity among them"),
        (np.full(RGB, np.inf), "must be finite"),
        (np.zeros(RGB, complex), "must be numbers. Received: dtype complex128"),
    ],
)
def test_preprocessed_arrays_that_are_refused(x, message):
    """Arrays in the model's own space are checked for shape and finiteness."""
    with pytest.raises(DataError, match=message):
        frames(x, RGB, None, preprocessed=True)


def test_preprocessed_arrays_may_have_any_number_type():
    """float32, float64 and whole numbers go in."""
    for dtype in (np.float32, np.float64, np.float16, np.int64, np.uint8):
        assert frames(np.zeros((2, *RGB), dtype), RGB, None, preprocessed=True).shape == (2, *RGB)
