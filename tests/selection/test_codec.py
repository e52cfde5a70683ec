"""Codecs: bytes of compressed images and the whole model's accuracy on them, as sending and decoding each gives it."""

import io
import math

import keras
import numpy as np
import pytest
from PIL import Image, features

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, BundleError, DataError
from isplit_tf.selection.codec import through_codec


@pytest.fixture(scope="module")
def photos():
    """Twelve images of 16 x 24, of two kinds: bright above, or bright below."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 90, (12, 16, 24, 3))
    labels = np.arange(12) % 2
    for image, label in zip(pixels, labels, strict=True):
        image[8 * label : 8 * label + 8] += 120
    return pixels.astype(np.uint8), labels


def classifier(shape=(16, 24, 3)):
    """A net with weights by hand that tells the two kinds apart: rows above count for class 0."""
    inputs = keras.Input(shape)
    rows = keras.layers.AveragePooling2D((8, 24), name="rows")(inputs)
    layer = keras.layers.Dense(2, use_bias=False, activation="softmax", name="scores")
    model = keras.Model(inputs, layer(keras.layers.Flatten()(rows)), name="net")
    kernel = np.zeros(layer.kernel.shape, np.float32)
    kernel[: shape[-1], 0] = kernel[shape[-1] :, 1] = 0.1
    layer.kernel.assign(kernel)
    return model


def measure(model, photos, **how):
    """Without a bar."""
    return isplit.measure_codecs(model, *photos, progress=False, **how)


def test_bytes_and_answers_are_those_of_files(photos):
    """Each point has the bytes of Pillow's file and the model's answer to the decoded image."""
    model, (pixels, labels) = classifier(), photos
    curve = measure(model, photos, codecs=("JPEG", "WEBP"), qualities=(5, 80))
    assert list(zip(curve.codecs, curve.qualities, strict=True)) == [
        ("JPEG", 5),
        ("JPEG", 80),
        ("WEBP", 5),
        ("WEBP", 80),
    ]
    for k, (codec, quality) in enumerate(zip(curve.codecs, curve.qualities, strict=True)):
        decoded = []
        for image, n_bytes in zip(pixels, curve.sent_bytes[k], strict=True):
            file = io.BytesIO()
            Image.fromarray(image).save(file, format=codec, quality=quality)
            assert n_bytes == len(file.getvalue())
            decoded.append(np.asarray(Image.open(file).convert("RGB")))
        expected = model.predict(np.stack(decoded).astype(np.float32), verbose=0).argmax(axis=1)
        np.testing.assert_array_equal(curve.predictions[k], expected)
    assert curve.original == np.mean(model.predict(pixels.astype(np.float32), verbose=0).argmax(axis=1) == labels)
    assert (curve.mean_bytes <= curve.most_bytes).all()
    assert (curve.p95_bytes <= curve.most_bytes).all()


def test_smaller_images_are_resized_back_to_the_models_input(photos):
    """A shorter side keeps the shape of the image; the model sees its own size, and fewer bytes are sent."""
    curve = measure(classifier(), photos, codecs=["png"], sizes=(16, 8, (4, 6)))
    np.testing.assert_array_equal(curve.sizes, [[16, 24], [8, 12], [4, 6]])
    assert curve.qualities == [None, None, None]
    assert curve.mean_bytes[0] > curve.mean_bytes[1] > curve.mean_bytes[2]
    assert curve.accuracy.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "preprocessing", [None, "tf", "caffe", {"size": [8, 12], "resize": "nearest"}, {"scale": 1 / 255}]
)
def test_preprocessing_is_that_of_a_bundle(photos, preprocessing):
    """Images larger than the model's input are resized and scaled as a device would do it."""
    from isplit_edge.preprocessing import preprocess, resize, resolve_preprocessing

    inputs = keras.Input((8, 12, 3))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(inputs)))
    curve = measure(model, photos, codecs=("PNG",), preprocessing=preprocessing)
    record = resolve_preprocessing(preprocessing, (8, 12, 3))
    images = [preprocess(image if record and record["size"] else resize(image, (8, 12)), record) for image in photos[0]]
    expected = model.predict(np.stack(images), verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(curve.predictions[0], expected)
    np.testing.assert_array_equal(curve.original_predictions, expected)


def test_grey_images(photos):
    """A model of one channel takes grey images; RGB images that are grey are compressed as grey."""
    grey = photos[0][..., :1]
    curve = measure(classifier((16, 24, 1)), (grey, photos[1]), qualities=(50,))
    assert curve.accuracy.tolist() == [1.0, 1.0]
    (_, as_rgb), (_, alone) = (through_codec(images, "jpeg", 50) for images in (np.repeat(grey, 3, axis=-1), grey))
    np.testing.assert_array_equal(as_rgb, alone)


def test_fewest_bytes_at_an_accuracy(photos):
    """The envelope has the best codec at each rate; what no point keeps needs infinitely many bytes."""
    curve = measure(classifier(), photos, qualities=(1, 30, 90), sizes=(16, 2))
    best = curve.envelope
    assert (np.diff(best.mean_bytes) > 0).all()
    assert (np.diff(best.accuracy) > 0).all()
    for accuracy in (0.0, 0.5, 1.0):
        reached = curve.accuracy >= accuracy
        expected = curve.mean_bytes[reached].min() if reached.any() else math.inf
        assert curve.bytes_at(accuracy) == expected == best.bytes_at(accuracy)
        assert min(curve.bytes_at(accuracy, codec=codec) for codec in ("jpeg", "WEBP")) == expected
    assert curve.bytes_at(1.01) == math.inf
    with pytest.raises(ArgumentError, match="codec: expected one of"):
        curve.bytes_at(0.5, codec="AVIF")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif(photos):
    """Where Pillow has AVIF, it is measured as the others."""
    curve = measure(classifier(), photos, codecs=("AVIF",), qualities=(60,))
    assert curve.accuracy.tolist() == [1.0]
    assert curve.sent_bytes.min() > 0


def test_save_load_and_show(photos, tmp_path):
    """A saved curve comes back; what is none is refused; a table has a line for each point."""
    curve = measure(classifier(), photos, codecs=("JPEG", "PNG"), qualities=(5, 80), class_names=["above", "below"])
    curve.save(tmp_path / "made" / "codecs.npz")
    back = isplit.CodecCurve.load(tmp_path / "made" / "codecs.npz")
    assert back.table() == curve.table()
    assert (back.qualities, back.class_names) == ([5, 80, None], ["above", "below"])
    assert curve.table().count("\n") == 4
    assert "points lost" in curve._repr_html_()
    labels = [text.get_text() for text in curve.plot().figure.legends[0].get_texts()]
    assert labels == ["not compressed", "JPEG", "PNG"]
    low, high = curve.interval()
    assert ((low <= curve.accuracy) & (curve.accuracy <= high)).all()
    (tmp_path / "nonsense").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match=r"is not a curve that CodecCurve\.save wrote"):
        isplit.CodecCurve.load(tmp_path / "nonsense")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"codecs": ("GIF",)}, "codecs: expected some of"),
        ({"codecs": ()}, "at least one codec"),
        ({"qualities": (0,)}, "qualities: expected an integer of at least 1"),
        ({"qualities": (101,)}, "qualities from 1 to 100"),
        ({"sizes": (17,)}, "at most the images' own, 16 x 24"),
        ({"sizes": ((8, 0),)}, "sizes: expected an integer of at least 1"),
        ({"sizes": ()}, "the list is empty"),
        ({"preprocessing": "keras"}, "preprocessing"),
    ],
)
def test_what_cannot_be_is_refused(photos, how, message):
    """Before anything is computed."""
    with pytest.raises(ArgumentError, match=message):
        measure(classifier(), photos, **how)


@pytest.mark.parametrize("change", [lambda x: x.astype(np.float32), lambda x: x[0], lambda x: x[..., :2]])
def test_images_are_those_of_a_camera(photos, change):
    """Floats, a single image or two channels are no images to compress."""
    with pytest.raises(DataError, match="Codecs take the images of a camera"):
        measure(classifier(), (change(photos[0]), photos[1]))
