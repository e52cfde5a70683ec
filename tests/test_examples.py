"""The examples in docstrings and on the pages run, on a small model and the embedded glyphs."""

import dataclasses
import doctest
import importlib
import pkgutil
import re
import shutil
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import isplit_edge
import isplit_tf
from isplit_tf.export.litert.contents import read_contents
from isplit_tf.server import Server
from support import profiles

MODULES = sorted(
    name
    for package in (isplit_tf, isplit_edge)
    for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not name.endswith("__main__")
)
ROOT = Path(__file__).parent.parent
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.is_file()]
SERVER = "http://server:8501"


class Lenient(doctest.OutputChecker):
    """Where an example says nothing of its output, any is right."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What the examples take for granted: a model, data, a split, a curve, a plan, and bundles, a kit, profiles and a
    model as files in the current folder."""
    folder = tmp_path_factory.mktemp("examples")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = x = keras.Input((28, 28, 1), name="image")
    for block in range(1, 5):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"block{block}_conv")(x)
        x = layers.MaxPooling2D(padding="same", name=f"block{block}_pool")(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Flatten()(x)), name="example")
    model.save(folder / "classifier.keras")
    images, labels = (part[:128] for part in isplit_tf.datasets.load("glyphs").train)
    data = images.astype("float32"), labels
    halves = isplit_tf.split(model, "block3_pool", isplit_tf.Autoencoder(compression=0.9, seed=0))
    isplit_tf.export_bundle(halves, folder / "bundle", representative_data=data, progress=False)
    shutil.copytree(folder / "bundle", folder / "bundle2")
    isplit_tf.build_kit(model, folder / "kit", cuts=[1], representative_data=images[:32], progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curve = isplit_tf.measure_importance(model, data, progress=False)
    device, server, accuracy = profiles.profiles_of(model)
    device.save(folder / "device.json")
    server.save(folder / "server.json")
    public = {name: getattr(isplit_tf, name) for name in isplit_tf.__all__ if name != "split"}
    names = public | {
        "Client": isplit_edge.Client,
        "Path": Path,
        "read_contents": read_contents,
        "keras": keras,
        "np": np,
        "model": model,
        "images": images,
        "labels": labels,
        "curve": curve,
        "accuracy": accuracy,
        "plan": isplit_tf.plan_deployment(model, accuracy, device=device, server=server),
    }
    data_names = ("train", "test", "train_data", "validation_data", "test_data")
    return folder, names | {"halves": halves, "split": halves} | dict.fromkeys(data_names, data)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, request, monkeypatch):
    """Every `>>>` of the module, in order; what it says of the output is what comes out."""
    try:
        module = importlib.import_module(name)
    except isplit_tf.errors.MissingDependencyError as error:
        pytest.skip(str(error))
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for test in finder.find(module, name) if test.examples]
    if not examples:
        return
    folder, names = request.getfixturevalue("world")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    runner = doctest.DocTestRunner(checker=Lenient(), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for test in examples:
            test.globs = {**names, **vars(module)}
            runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def photos(folder, splits):
    """A folder of class folders with a few glyphs of each class."""
    for k, (image, label) in enumerate(zip(splits.train[0][:60], splits.train[1], strict=False)):
        place = folder / splits.class_names[label]
        place.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(place / f"{k}.png", image, scale=False)


def run_block(block, names, page):
    """Run a block of a page; where it asks the server, there is one, with another name."""
    if SERVER in block:
        with Server("bundle/", port=0) as server:
            exec(compile(block.replace(SERVER, server.url), page, "exec"), names)
    else:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page, request, tmp_path, monkeypatch):
    """Every block of a page, one after the other, with models, data and bundles as docstrings have them."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    if not blocks:
        return
    folder, names = request.getfixturevalue("world")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    if 'export_bundle(split, "bundle/"' in "".join(blocks):
        shutil.rmtree(tmp_path / "bundle")  # the page makes it
    splits = isplit_tf.datasets.load("glyphs")
    parts = {part: tuple(array[:128] for array in getattr(splits, part)) for part in ("train", "validation", "test")}
    few = dataclasses.replace(splits, **parts)
    monkeypatch.setattr(isplit_tf.datasets, "load", lambda name: few)
    photos(tmp_path / "photos", few)
    names["model"].save(tmp_path / "classifier.keras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = names | {"isplit": isplit_tf, "splits": few}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in blocks:
            run_block(block, names, str(page))
