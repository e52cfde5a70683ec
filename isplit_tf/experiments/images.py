"""The images of a study, as arrays for its network."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets.source import open_data
from ..errors import DataError
from .recipes import DataRecipe

Part = tuple[np.ndarray, np.ndarray]

_ARCHIVES = {
    "tiny_imagenet200": ("tiny-imagenet-200.zip",),
    "notmnist": ("notMNIST_small.tar.gz",),
    "chest_xray_pneumonia": ("ChestXRay2017.zip",),
}
PHOTOS = "imagenet_photos"
_CATALOG = {"notmnist": "notmnist/small"}
_PHOTO_CLASSES = 1000
_SUBSET_SEED = 0  # a reduced study takes the same images for every seed of the training


@dataclass(frozen=True)
class Images:
    """The parts of a data set; x float32 `(N, H, W, 3)` from 0 to 255 before preprocessing, y int64 `(N,)`.

    Attributes:
        original_train: Training images of the original.
        train: Training images of the splits, the first part of `original_train`.
        validation: Images for the choice of the learning rate, for importance and for the choice of cuts.
        test: Images for all reported accuracies.
        test_pixels: The test images before preprocessing, uint8 `(N, H, W, 3)`, as a camera gives them.
        class_names: Names of the classes, by label.
    """

    original_train: Part
    train: Part
    validation: Part
    test: Part
    test_pixels: np.ndarray
    class_names: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)


def open_images(
    recipe: DataRecipe, prepare: Callable[[np.ndarray], np.ndarray], *, archives: Path | None, data_dir: Path | None
) -> Images:
    """Read the images of a study.

    Args:
        recipe: Which images, and how many.
        prepare: Turns RGB images from 0 to 255 into the network's input.
        archives: A folder that may hold the data set's archive under its original name. Without the archive, the
            data set is loaded from its authors' address.
        data_dir: The folder where TensorFlow Datasets keeps prepared data sets.

    Returns:
        The parts. A reduced part is drawn at random with a fixed seed.

    Raises:
        DataError: If the data cannot be loaded.
    """
    if recipe.name == PHOTOS:
        return _photos(recipe, prepare, archives)
    parts: dict[str, Part] = {}
    names: tuple[str, ...] = ()
    for part in ("train", "validation", "test"):
        (x, y), names = _read(recipe, part, archives, data_dir)
        parts[part] = _chosen_classes(x, y, recipe.classes, len(names))
    if recipe.classes is not None:
        names = tuple(names[k] for k in _class_numbers(recipe.classes, len(names)))
    original = _some(parts["train"], recipe.original_train)
    chosen = {
        "original_train": original,
        "train": _first(original, recipe.train),
        "validation": _some(parts["validation"], recipe.validation),
        "test": _some(parts["test"], recipe.test),
    }
    pixels = np.clip(np.rint(chosen["test"][0]), 0, 255).astype(np.uint8)
    parts = {name: (prepare(x), y) for name, (x, y) in chosen.items()}
    return Images(**parts, test_pixels=pixels, class_names=names)


def _photos(recipe: DataRecipe, prepare: Callable[[np.ndarray], np.ndarray], archives: Path | None) -> Images:
    """Read photos of ImageNet's classes, whose names begin with the number of the class: every second one is for tests.

    There are none for validation, since nothing is trained or chosen.
    """
    path = None if archives is None else archives / f"{PHOTOS}.zip"
    if path is None or not path.is_file():
        raise DataError(
            f"The study needs {PHOTOS}.zip, photos NNN_NAME.jpg of {recipe.size} x {recipe.size} pixels with NNN the "
            f"number of their class. Found: none in {archives}. Possible: --archives DIR, a folder that holds it."
        )
    with zipfile.ZipFile(path) as archive:
        files = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in files])
    labels = np.array([int(name[:3]) for name in files], np.int64)
    tested = slice(0, None if recipe.test is None else 2 * recipe.test, 2)
    fitted = slice(1, None if recipe.train is None else 2 * recipe.train, 2)
    train, test = ((prepare(pixels[part].astype(np.float32)), labels[part]) for part in (fitted, tested))
    none = (train[0][:0], train[1][:0])
    names = tuple(map(str, range(_PHOTO_CLASSES)))
    return Images(none, train, none, test, test_pixels=pixels[tested], class_names=names)


def _read(recipe: DataRecipe, part: str, archives: Path | None, data_dir: Path | None) -> tuple[Part, tuple[str, ...]]:
    size = (recipe.size, recipe.size)
    where = f"glyphs:{part}" if recipe.name == "glyphs" else str(_source(recipe.name, archives))
    if where.startswith("tfds:"):
        where = f"{where}:{part}"
    data, names = open_data(
        where, image_size=size, channels=3, split=part, data_dir=None if data_dir is None else str(data_dir)
    )
    batches = [(x.astype(np.float32), y) for x, y in data.as_numpy_iterator()]
    if not batches or names is None:
        raise DataError(f"{where} holds no labelled images in its part {part!r}.")
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return (x, y.astype(np.int64)), names


def _source(name: str, archives: Path | None) -> str | Path:
    if archives is not None:
        if not archives.is_dir():
            raise DataError(f"There is no folder '{archives}' to look for archives in.")
        for file in _ARCHIVES[name]:
            if (archives / file).is_file():
                return archives / file
    return f"tfds:{_CATALOG.get(name, name)}"


def _class_numbers(wanted: int, found: int) -> list[int]:
    return [k * found // wanted for k in range(wanted)]


def _chosen_classes(x: np.ndarray, y: np.ndarray, wanted: int | None, found: int) -> Part:
    if wanted is None:
        return x, y
    numbers = _class_numbers(wanted, found)
    renumbered = np.full(found, -1)
    renumbered[numbers] = np.arange(wanted)
    is_chosen = renumbered[y] >= 0
    return x[is_chosen], renumbered[y[is_chosen]]


def _some(part: Part, wanted: int | None) -> Part:
    """Return the first images of a random order that is always the same."""
    order = np.random.default_rng(_SUBSET_SEED).permutation(len(part[1]))
    return _first((part[0][order], part[1][order]), wanted)


def _first(part: Part, wanted: int | None) -> Part:
    return part[0][:wanted], part[1][:wanted]
