"""What is said before an export about the data and the model that it is measured on."""

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, DataError
from isplit_tf.export import bundle
from support import tiny


class Written(keras.Model):
    """A classifier written as a class."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Conv2D(4, 3, activation="relu", name="first")
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool")
        self.last = keras.layers.Dense(4, activation="softmax", name="scores")

    def call(self, x):
        """From images to probabilities."""
        return self.last(self.pool(self.first(x)))


def two_outputs(name: str = "scores", classes: int = 4) -> keras.Model:
    """A classifier that also gives a number."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(tiny.SHAPE)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    scores = keras.layers.Dense(classes, activation="softmax", name=name)(x)
    return keras.Model(inputs, [scores, keras.layers.Dense(1, name="size")(x)])


def in_a_dict() -> keras.Model:
    """A classifier whose input is a dict of one."""
    inputs = {"image": keras.Input(tiny.SHAPE, name="image")}
    x = keras.layers.Conv2D(4, 3, activation="relu", name="first")(inputs["image"])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax", name="scores")(x))


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Images in the model's own space, and labels."""
    images, labels = tiny.make_images(32, seed=5)
    return images.astype(np.float32) / 255, labels


@pytest.fixture
def no_conversion(monkeypatch):
    """Whoever converts fails the test."""

    def convert(*_, **__):
        raise AssertionError("work was done before the arguments were checked")

    monkeypatch.setattr(bundle, "convert", convert)


@pytest.mark.parametrize("make", ["written", "two outputs", "dict"])
def test_originals_of_every_form_are_measured(make, data, tmp_path):
    """Subclassed, with several outputs, with a dict of inputs: the original's accuracy is that of its own answers."""
    original = {"written": Written, "two outputs": two_outputs, "dict": in_a_dict}[make]()
    original(data[0][:1] if make != "dict" else {"image": data[0][:1]})
    halves = isplit.split(original, "first", output=0 if make == "two outputs" else None)
    made = isplit.export_bundle(
        halves, tmp_path / "b", precision="float32", evaluation_data=data, original=original, progress=False
    )
    found = original.predict({"image": data[0]} if make == "dict" else data[0], verbose=0)
    scores = found[0] if make == "two outputs" else found
    assert made.manifest.accuracy["original"] == np.mean(scores.argmax(axis=1) == data[1])


def test_the_output_can_be_named(data, tmp_path, no_conversion):
    """Where no name says which output was kept, the error lists them, and the argument chooses."""
    halves = isplit.split(two_outputs(), "first", output="scores")
    other = two_outputs(name="classes")
    with pytest.raises(ArgumentError, match=r"2 outputs: \['classes', 'size'\]\. .*original_output=NAME"):
        isplit.export_bundle(halves, tmp_path / "b", precision="float32", evaluation_data=data, original=other)
    with pytest.raises(ArgumentError, match="original: expected a model of 4 classes.*Found: 1"):
        isplit.export_bundle(
            halves, tmp_path / "b", precision="float32", evaluation_data=data, original=other, original_output="size"
        )
    with pytest.raises(AssertionError, match="work was done"):
        isplit.export_bundle(
            halves, tmp_path / "b", precision="float32", evaluation_data=data, original=other, original_output="classes"
        )


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda x, y: {"original": "model.keras"}, ArgumentError, "Keras model that was split. Received: str"),
        (lambda x, y: {"original": two_outputs(classes=5)}, ArgumentError, "a model of 4 classes.*Found: 5"),
        (
            lambda x, y: {"original": keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])},
            ArgumentError,
            r"one input \(13, 11, 3\), as the split has. Found: \[\(3,\)\]",
        ),
        (lambda x, y: {"evaluation_data": (x, np.r_[y[:-1], 4])}, DataError, "Expected labels from 0 to 3"),
        (lambda x, y: {"evaluation_data": (x[:, :5], y)}, DataError, r"\(13, 11, 3\). Received: .*5, 11, 3"),
        (lambda x, y: {"evaluation_data": (x, y[:-1])}, DataError, "equally many"),
        (lambda x, y: {"evaluation_data": x}, DataError, "Expected a batched"),
        (lambda x, y: {"max_evaluation_images": 0}, ArgumentError, "max_evaluation_images: expected an integer"),
        (lambda x, y: {"representative_data": x[0], "precision": "int8"}, DataError, "Single images are batched first"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(wrong, error, message, data, tmp_path, no_conversion):
    """Original, labels, images and numbers are checked before the conversion, which would be lost."""
    halves = isplit.split(two_outputs(), "first", output="scores")
    arguments = {"evaluation_data": data, "precision": "float32"} | wrong(*data)
    with pytest.raises(error, match=message):
        isplit.export_bundle(halves, tmp_path / "b", progress=False, **arguments)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("shape", [(28, 28), (20, 6), (5, 4, 3, 2)])
def test_inputs_that_are_no_images_are_scaled_throughout(shape, tmp_path):
    """Representative and evaluation data of whole numbers are scaled by the record, as the client does it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    x = keras.layers.Dense(8, activation="relu", name="hidden")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    raw = np.random.default_rng(0).integers(-900, 900, (120, *shape)).astype(np.int16)
    labels = model.predict(raw / np.float32(900), verbose=0).argmax(axis=1)
    made = isplit.export_bundle(
        isplit.split(model, "hidden"),
        tmp_path / "b",
        representative_data=raw,
        evaluation_data=(raw, labels),
        original=model,
        preprocessing={"scale": 1 / 900},
        progress=False,
    )
    assert made.manifest.accuracy["original"] == 1
    assert made.manifest.accuracy["artefacts"] > 0.9
    np.testing.assert_allclose(made.predict(raw), made.predict(raw / np.float32(900), preprocessed=True), atol=0.05)
