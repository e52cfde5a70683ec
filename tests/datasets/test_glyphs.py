"""The embedded data set: what its README promises."""

import csv
import hashlib
import subprocess
import sys
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from isplit_tf import datasets
from isplit_tf.datasets import glyphs
from isplit_tf.errors import DataError

ROOT = Path(__file__).parents[2]
SPLITS = ("train", "validation", "test")
SHA256 = {
    "train": "757088ee41fd6d89435b3987818e236290ee49e239d838472dd8a939c0c3eeff",
    "validation": "f718ecaa0c688012758b446317600eae78abdf45258e8da00fff61636069717e",
    "test": "094f6469fde558f0692e1cae48b5fe7ef033d7557d1eaa5859840fe2ae6a9bc0",
}


@pytest.fixture(scope="module")
def splits():
    return datasets.load("glyphs")


@pytest.fixture(scope="module")
def families():
    return glyphs.load_families()


@pytest.fixture(scope="module")
def fonts():
    with (ROOT / "tools" / "glyphs" / "fonts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def images(splits, name):
    return getattr(splits, name)[0]


def labels(splits, name):
    return getattr(splits, name)[1]


@pytest.mark.parametrize("name", SPLITS)
def test_arrays_are_those_that_were_rendered(splits, families, name):
    """The images, labels and families are pinned by their hash."""
    parts = (images(splits, name), labels(splits, name), families.of_images[name])
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).astype(part.dtype.newbyteorder("<")).tobytes())
    assert digest.hexdigest() == SHA256[name]


@pytest.mark.parametrize(("name", "count"), [("train", 8350), ("validation", 1830), ("test", 1810)])
def test_shapes_and_dtypes(splits, name, count):
    """Each split is a pair as Keras takes it: uint8 (N, 28, 28, 1) and int64 (N,)."""
    x, y = getattr(splits, name)
    assert (x.shape, x.dtype) == ((count, 28, 28, 1), np.uint8)
    assert (y.shape, y.dtype) == ((count,), np.int64)
    assert splits.class_names == tuple("ABCDEFGHIJ")


@pytest.mark.parametrize("name", SPLITS)
def test_classes_are_balanced(splits, name):
    """Every class has as many images as every other."""
    assert len(set(np.bincount(labels(splits, name), minlength=10))) == 1


def test_no_family_is_in_two_splits(families):
    """What is learned of a family says nothing of the others: no family crosses splits."""
    of = {name: set(families.of_images[name].tolist()) for name in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not of[one] & of[other]
    assert set().union(*of.values()) == set(range(len(families.names)))
    assert min(map(len, of.values())) >= 45


def test_splits_hold_about_70_15_15_percent(splits):
    """Training gets most, and what measures gets enough."""
    counts = np.array([len(labels(splits, name)) for name in SPLITS])
    np.testing.assert_allclose(counts / counts.sum(), [0.70, 0.15, 0.15], atol=0.02)


def test_no_image_is_in_two_splits(splits):
    """No image of one split is equal to an image of another, to the pixel."""
    of = {name: {image.tobytes() for image in images(splits, name)} for name in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not of[one] & of[other]


def test_no_font_is_nearly_the_same_in_two_splits(splits):
    """The nearest letter of another split is, at the median, as far as letters of different designs are."""
    train = images(splits, "train").reshape(8350, -1).astype(np.float32) / 255
    test = images(splits, "test").reshape(1810, -1).astype(np.float32) / 255
    keep = labels(splits, "test") != 8  # an I may well be a bar in both
    test = test[keep]
    gaps = (test**2).sum(1)[:, None] + (train**2).sum(1)[None] - 2 * test @ train.T
    nearest = np.sqrt(np.maximum(gaps.min(axis=1), 0) / 784)
    assert np.median(nearest) > 0.1
    assert (nearest < 0.02).mean() < 0.01


@pytest.mark.parametrize("name", SPLITS)
def test_a_first_part_holds_all_classes_and_many_families(splits, families, name):
    """Whoever takes the first 200 images has a fair sample."""
    assert min(np.bincount(labels(splits, name)[:200], minlength=10)) >= 8
    assert len(set(families.of_images[name][:200].tolist())) >= 35


def test_images_are_white_letters_that_fill_their_square_on_black(splits):
    """Polarity and framing are those of notMNIST."""
    x = np.concatenate([images(splits, name) for name in SPLITS])[..., 0]
    y = np.concatenate([labels(splits, name) for name in SPLITS])
    assert x.max(axis=(1, 2)).min() >= 96
    cover = x.mean(axis=(1, 2)) / 255
    assert cover.min() > 0.02
    assert cover.max() < 0.96
    assert (x[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).mean() > 0.3  # corners: A, C, G, J leave some black
    rows, columns = x.any(axis=2), x.any(axis=1)
    assert (rows[:, 0] & rows[:, -1]).mean() > 0.98  # from the first row to the last
    wide = columns[:, 0] & columns[:, -1]
    assert wide[y == 7].mean() > 0.9  # H: from the first column to the last
    assert wide[y == 8].mean() < 0.7  # I: often a bar


def test_file_is_small_and_holds_no_pickle():
    """The file that ships has at most 4 MB and loads without pickle."""
    resource = files("isplit_tf.datasets.glyphs") / "glyphs.npz"
    assert len(resource.read_bytes()) <= 4_000_000
    with resource.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        assert not any(arrays[key].dtype.hasobject for key in arrays.files)


def test_list_of_fonts_is_complete_and_allows_only_free_licences(fonts):
    """Every font is listed with where it came from, and under OFL, Apache or public domain."""
    assert len(fonts) == 1199
    assert {row["licence"] for row in fonts} == {"OFL-1.0", "OFL-1.1", "Apache-2.0", "CC0-1.0", "public-domain"}
    assert len({row["sha256"] for row in fonts}) == len(fonts)
    for row in fonts:
        assert len(row["sha256"]) == 64
        assert all(row[key] for key in ("split", "design", "family", "registry", "package", "version", "path"))
        assert "gpl" not in f"{row['copyright']} {row['licence']}".lower()


def test_every_font_is_of_a_reviewed_package_in_the_same_version(fonts):
    """The licence of a font is that which was read in its package."""
    with (ROOT / "tools" / "glyphs" / "packages.csv").open(encoding="utf-8", newline="") as file:
        reviewed = {(row["package"], row["version"], row["licence"]) for row in csv.DictReader(file)}
    assert {(row["package"], row["version"], row["licence"]) for row in fonts} <= reviewed


def test_list_of_fonts_agrees_with_the_arrays(fonts, families, splits):
    """Designs and splits in the list are those of the images."""
    for name in SPLITS:
        rows = [row for row in fonts if row["split"] == name]
        assert 10 * len(rows) == len(labels(splits, name))
        shipped = {families.names[i] for i in families.of_images[name]}
        assert shipped == {row["design"] for row in rows}


def test_notice_names_every_family_with_its_licence(fonts):
    """NOTICE gives credit to every family that was drawn from."""
    lines = (files("isplit_tf.datasets.glyphs") / "NOTICE").read_text(encoding="utf-8").splitlines()
    named = {tuple(line.split(" | ")[:2]) for line in lines if " | " in line}
    assert named == {(row["family"], row["licence"]) for row in fonts}
    for row in fonts:
        if row["copyright"]:
            assert f"{row['family']} | {row['licence']} | {row['copyright']}" in lines


def test_arrays_are_the_callers_own(splits):
    """Changing what was loaded does not change what the next caller loads."""
    again = datasets.load("glyphs")
    again.train[0][:] = 0
    assert datasets.load("glyphs").train[0].any()
    assert splits.train[0].any()


def test_splits_say_what_they_hold(splits):
    """A terminal shows counts and shapes, not thousands of pixels."""
    assert repr(splits) == ("Splits(train 8350, validation 1830, test 1810; images (28, 28, 1) uint8; 10 classes)")


def test_unknown_name_is_refused_with_what_there_is():
    """The message names the embedded sets and the way to others."""
    message = r"named 'glyph'\. Did you mean 'glyphs'\? Embedded: 'glyphs'.*TensorFlow Datasets.*tfds:NAME"
    with pytest.raises(DataError, match=message):
        datasets.load("glyph")
    with pytest.raises(DataError, match=r"named 'mnist'\. Embedded"):
        datasets.load("mnist")


def test_loading_needs_no_tensorflow():
    """The embedded data set loads without TensorFlow and Keras."""
    code = (
        "import sys, isplit_tf; isplit_tf.datasets.load('glyphs');"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
