"""What the jobs of a study share: images, originals, training and testing."""

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, DataError
from ..evaluation.evaluation import Evaluation, evaluate
from ..graph.axis import main_cuts
from ..graph.cuts import Cut, list_cuts
from ..graph.program import read_program
from ..splitting import SplitModel
from ..training import train
from .images import Images, Part, open_images
from .jobs import Job, packed, rated_images
from .recipes import ORIGINAL_BATCH, TOP_LEARNING_RATE, ModelRecipe, Series, Study

_EVALUATED_AT_ONCE = 64
_CACHE_BYTES = 2**31  # features of 2,000 images at block1 of VGG16 at 64 pixels


class Workshop:
    """The images and the original of a seed, kept for the next job.

    Attributes:
        study: The study.
    """

    def __init__(
        self,
        study: Study,
        work: Path,
        *,
        archives: Path | None = None,
        weights: Path | None = None,
        data_dir: Path | None = None,
    ):
        """Keep the settings; images and originals are read when they are first needed.

        Args:
            study: The study.
            work: A folder for the originals; an original that is missing there is trained again.
            archives: A folder that may hold the data set's archive.
            weights: A file of ImageNet weights of VGG16's base, or a folder that holds `VGG16_FILE` and networks that
                are trained already.
            data_dir: The folder where TensorFlow Datasets keeps prepared data sets.
        """
        # Each new model has to be traced, and TensorFlow warns if there are many.
        tf.get_logger().setLevel("ERROR")
        self.study = study
        self._work = work
        self._archives, self._weights, self._data_dir = archives, weights, data_dir
        self._original: tuple[int, keras.Model] | None = None

    @cached_property
    def images(self) -> Images:
        """Return the images of the study, read at the first access."""
        return open_images(
            self.study.data, preparation(self.study.model), archives=self._archives, data_dir=self._data_dir
        )

    @cached_property
    def cuts(self) -> list[Cut]:
        """Return the main cuts in the order of the axis."""
        program = read_program(self.original_of(0))
        return main_cuts(program, list_cuts(program))

    def original_of(self, seed: int) -> keras.Model:
        """Return the original of a seed, read from the work folder if it is there, else trained now."""
        if self._original is None or self._original[0] != seed:
            recipe = hashlib.sha256(repr((self.study.data, self.study.model)).encode()).hexdigest()[:8]
            path = self._work / self.study.name / f"original_{recipe}_seed{seed}.keras"
            if self.study.model.name in _TRAINED:
                path = _trained(self.study.model.name, self._weights)
            model = keras.models.load_model(path) if path.exists() else self._train_original(seed, path)
            self._original = (seed, model)
        return self._original[1]

    def _train_original(self, seed: int, path: Path) -> keras.Model:
        recipe = self.study.model
        size = self.study.data.size
        model = build_network(recipe, size, self.images.n_classes, seed=seed, weights=self._weights)
        if recipe.top_epochs:
            self._train_top(model, seed)
        self._fit(model, self.images.original_train, recipe.epochs, recipe.learning_rate, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}")
        model.save(scratch.with_suffix(".new.keras"))
        scratch.with_suffix(".new.keras").replace(path)
        return keras.models.load_model(path)

    def _train_top(self, model: keras.Model, seed: int) -> None:
        """Train only the layers behind the base, on features that are computed once."""
        first = top_start(model)
        base = keras.Model(model.input, first.input)
        x, y = self.images.original_train
        features = base.predict(x, batch_size=_EVALUATED_AT_ONCE, verbose=0)
        behind = model.layers[model.layers.index(first) :]
        top = keras.Sequential([keras.Input(features.shape[1:]), *behind])
        self._fit(top, (features, y), self.study.model.top_epochs, TOP_LEARNING_RATE, seed)

    def _fit(self, model: keras.Model, part: Part, epochs: int, learning_rate: float, seed: int) -> None:
        falling = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * -(-len(part[1]) // ORIGINAL_BATCH))
        model.compile(keras.optimizers.Adam(falling), "sparse_categorical_crossentropy", metrics=["accuracy"])
        keras.utils.set_random_seed(seed)
        model.fit(*part, epochs=epochs, batch_size=ORIGINAL_BATCH, verbose=0)

    def part(self, name: str) -> Part:
        """Return the images of a part: `validation`, its `first_half` or `second_half`, or `test`."""
        if name == "test":
            return self.images.test
        x, y = self.images.validation
        half = len(y) // 2
        where = {"validation": slice(None), "first_half": slice(half), "second_half": slice(half, None)}[name]
        return x[where], y[where]

    def series(self, name: str | None) -> Series:
        """Return the series of that name."""
        return next(series for series in self.study.series if series.name == name)

    def train(self, halves: SplitModel, job: Job, part: Part, **changes: Any) -> dict[str, list[float]]:
        """Train a split in both phases, with the settings of the study.

        Args:
            halves: The split; it is changed.
            job: The job, for its seed and learning rate.
            part: The training images.
            **changes: Arguments of `isplit_tf.train` that differ for this job.

        Returns:
            The loss of each epoch, by phase.
        """
        assert job.learning_rate is not None
        retraining = self.study.retraining
        settings: dict[str, Any] = {
            "bottleneck_epochs": retraining.bottleneck_epochs,
            "fine_tune_epochs": retraining.fine_tune_epochs,
            "loss": retraining.loss,
        } | changes
        history = train(
            halves,
            part,
            optimizer=keras.optimizers.Adam(job.learning_rate),
            batch_size=retraining.batch_size,
            cache_bytes=_CACHE_BYTES,
            seed=job.seed,
            progress=False,
            **settings,
        )
        losses: dict[str, list[float]] = {}
        for epoch in history.epochs:
            value = epoch.metrics.get("loss", next(iter(epoch.metrics.values())))  # a fit in closed form has no loss
            losses.setdefault(epoch.phase, []).append(float(value))
        return losses

    def evaluate(self, predictor: Any, part: Part) -> Evaluation:
        """Evaluate a predictor on images."""
        return evaluate(predictor, part, batch_size=_EVALUATED_AT_ONCE, progress=False)

    @property
    def rated(self) -> np.ndarray:
        """Return the positions of the test images that the rate-accuracy figure uses."""
        return rated_images(self.study, len(self.images.test[1]))

    def tested(self, predictor: Any, where: Any = slice(None)) -> dict[str, Any]:
        """Return figures and predictions for a row, on all test images or on those at some positions."""
        x, y = self.images.test
        report = self.evaluate(predictor, (x[where], y[where]))
        return {
            "accuracy": report.accuracy,
            "balanced_accuracy": report.balanced_accuracy,
            "auc": report.auc,
            "predictions": packed(report.predictions),
            "test_images": report.n_images,
        }


def fingerprint(model: keras.Model) -> str:
    """Return a hash of the weights: originals of one recipe differ between machines that round differently."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:16]


VGG16_FILE = "vgg16_imagenet_notop.weights.h5"
"""The file of VGG16's base in a folder of weights."""
# Networks that are trained already, by their file in the folder of weights: what turns an image into their input.
_TRAINED = {"efficientnet_lite1_imagenet.keras": {"mean": 127.0, "std": 128.0}}


def _trained(name: str, weights: Path | None) -> Path:
    """Return the file of a network that is trained already.

    Raises:
        DataError: If it is not in the folder of weights.
    """
    path = None if weights is None else weights / name
    if path is None or not path.is_file():
        raise DataError(
            f"The study needs {name}, a network that is trained already. Found: none in {weights}. Possible: "
            "--weights DIR, a folder that holds it."
        )
    return path


_VGG16_LAYOUT = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width and convolutions of each block
_NARROW = 16
_TOP_NAMES = ("pooled", "flatten")


def preparation(recipe: ModelRecipe) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that turns RGB images from 0 to 255 into the network's input.

    It is the preprocessing of the ImageNet weights if the network starts from them, else a scaling to -1 to 1.
    """
    if recipe.name in _TRAINED:
        mean, std = (np.float32(_TRAINED[recipe.name][key]) for key in ("mean", "std"))
        return lambda x: (x - mean) / std
    if recipe.imagenet:
        module = {"vgg16": keras.applications.vgg16, "resnet50": keras.applications.resnet}[recipe.name]
        return lambda x: np.asarray(module.preprocess_input(x.copy()), np.float32)
    return lambda x: x / np.float32(127.5) - np.float32(1)


def form_of(recipe: ModelRecipe) -> str | dict[str, float]:
    """Return that preprocessing, as `export_bundle` takes it."""
    if recipe.name in _TRAINED:
        return dict(_TRAINED[recipe.name])
    return "caffe" if recipe.imagenet else "tf"


def build_network(
    recipe: ModelRecipe, size: int, n_classes: int, *, seed: int, weights: Path | None = None
) -> keras.Model:
    """Build an untrained classifier on the base that the recipe names.

    Args:
        recipe: The recipe of the network.
        size: Height and width of the images in pixels.
        n_classes: Number of outputs, a softmax.
        seed: Seed of the initial weights.
        weights: A file of the base's ImageNet weights without the top, or a folder with `VGG16_FILE`; None for the
            file that Keras loads from the internet.

    Raises:
        ArgumentError: If there is no network of that name.
    """
    keras.utils.set_random_seed(seed)
    shape = (size, size, 3)
    if recipe.name in _NARROW_NETWORKS:
        base = _NARROW_NETWORKS[recipe.name](shape)
    else:
        makers = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}
        if recipe.name not in makers:
            raise ArgumentError(f"No network {recipe.name!r}. There are: {', '.join([*makers, *_NARROW_NETWORKS])}.")
        if weights is not None and weights.is_dir():
            weights = weights / VGG16_FILE
        start = (str(weights) if weights is not None else "imagenet") if recipe.imagenet else None
        base = makers[recipe.name](include_top=False, weights=start, input_shape=shape)
    layers = keras.layers
    if recipe.name in ("resnet50", "residual_narrow"):
        x = layers.GlobalAveragePooling2D(name="pooled")(base.output)
    else:
        x = layers.Dense(base.output.shape[-1] // 2, activation="relu", name="fc1")(
            layers.Flatten(name="flatten")(base.output)
        )
    return keras.Model(base.input, layers.Dense(n_classes, activation="softmax", name="predictions")(x))


def top_start(model: keras.Model) -> keras.Layer:
    """Return the first layer behind the base of a model from `build_network`."""
    return next(layer for layer in model.layers if layer.name in _TOP_NAMES)


def _narrow_vgg16(shape: tuple[int, int, int]) -> keras.Model:
    """Build VGG16's layers by name and size, narrow, and with one convolution per block.

    Poolings of stride 1 take the place of the other convolutions: there are as many cuts, and tracing the network, on
    which jobs of the smallest scale spend their time, takes half as long.
    """
    inputs = x = keras.Input(shape)
    for block, (width, convolutions) in enumerate(_VGG16_LAYOUT, 1):
        x = keras.layers.Conv2D(
            width // _NARROW,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"block{block}_conv1",
        )(x)
        for k in range(2, convolutions + 1):
            x = keras.layers.MaxPooling2D(2, strides=1, padding="same", name=f"block{block}_conv{k}")(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(inputs, x)


def _narrow_residual(shape: tuple[int, int, int]) -> keras.Model:
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_bn")(x))
    x = layers.MaxPooling2D(name="stem_pool")(x)
    for k, (width, stride) in enumerate(((8, 1), (16, 2), (16, 1), (32, 2)), 1):
        y = layers.Conv2D(width, 3, strides=stride, padding="same", name=f"block{k}_conv1")(x)
        y = layers.ReLU(name=f"block{k}_relu1")(layers.BatchNormalization(name=f"block{k}_bn1")(y))
        y = layers.Conv2D(width, 3, padding="same", name=f"block{k}_conv2")(y)
        y = layers.BatchNormalization(name=f"block{k}_bn2")(y)
        if stride > 1:
            x = layers.Conv2D(width, 1, strides=stride, name=f"block{k}_shortcut")(x)
        x = layers.ReLU(name=f"block{k}_out")(layers.Add(name=f"block{k}_add")([x, y]))
    return keras.Model(inputs, x)


_NARROW_NETWORKS = {"vgg16_narrow": _narrow_vgg16, "residual_narrow": _narrow_residual}
