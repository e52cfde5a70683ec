"""The builders on real archives, where they are at hand: counts as they were found, and nothing across splits."""

import hashlib
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from isplit_tf.datasets import from_archive
from isplit_tf.datasets.chest_xray_pneumonia.chest_xray_pneumonia_dataset_builder import patient_of

ARCHIVES = Path(__file__).parents[3] / "shared" / "data"
SHA256 = {
    "notMNIST_small.tar.gz": "4eaee3754fe66e56c228696320b0c56ff4aaea2691dd8d510221b49061140bf1",
    "ChestXRay2017.zip": "87921679c6087161953712b931c655291e738b1e566c664d9306c7120351fd2a",
    "tiny-imagenet-200.zip": "69c2406a478802c04cb17dc0895e06bdbe92ba08ca9d2d459f18d65c8b161e05",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    """Prepares an archive; each once."""
    data_dir = tmp_path_factory.mktemp("tfds")

    def make(file):
        path = ARCHIVES / file
        if not path.is_file():
            pytest.skip(f"the reduced archive {file} is not in ../shared/data beside the project")
        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256[file]:
            pytest.skip(f"{path} is another archive than the one whose counts are pinned here")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return from_archive(path, data_dir)

    return make


def images_by_split(builder):
    return {split: info.num_examples for split, info in builder.info.splits.items()}


def where(builder, mark):
    """For each mark of an image the splits that it is in."""
    found = defaultdict(set)
    for split in builder.info.splits:
        for row in builder.as_dataset(split=split).as_numpy_iterator():
            found[mark(row)].add(split)
    return found


def pixels(row):
    return row["image"].tobytes()


def crossing(found):
    return [mark for mark, splits in found.items() if len(splits - {"left_out"}) > 1]


def test_notmnist(prepare):
    """10,000 glyphs: all readable, 57 groups of equal ones, none of them across splits, nor near duplicates."""
    builder = prepare("notMNIST_small.tar.gz")
    found = builder.info.metadata
    assert images_by_split(builder) == {"train": 7000, "validation": 1000, "test": 2000}
    assert {name: set(counts.values()) for name, counts in found["splits"].items()} == {
        "train": {700},
        "validation": {100},
        "test": {200},
    }
    assert found["missing"] == {"all": {"images": 8724, "of": 18724}}
    assert found["unreadable"]["count"] == 0
    assert (found["duplicates"]["groups"], found["duplicates"]["images"], found["duplicates"]["surplus"]) == (
        57,
        253,
        196,
    )
    assert found["near_duplicates"]["pairs"] == 491
    assert (found["groups"]["count"], found["groups"]["images"], found["groups"]["largest"]) == (224, 644, 176)
    assert crossing(where(builder, pixels)) == []
    train, test = (
        np.stack([row["image"] for row in builder.as_dataset(split=split).as_numpy_iterator()])
        .reshape(-1, 28 * 28)
        .astype(np.float32)
        for split in ("train", "test")
    )
    squares = (train**2).sum(1)[:, np.newaxis] + (test**2).sum(1) - 2 * train @ test.T
    assert np.sqrt(squares.min() / 28**2) > 12 - 1e-3


def test_chest_xray(prepare):
    """5,840 X-rays: no patient and no image across splits; 170 patient numbers are in both folders."""
    builder = prepare("ChestXRay2017.zip")
    found = builder.info.metadata
    assert images_by_split(builder) == {"train": 4045, "validation": 714, "test": 624, "left_out": 457}
    assert found["splits"]["train"] == {"NORMAL": 1140, "PNEUMONIA": 2905}
    assert found["splits"]["validation"] == {"NORMAL": 201, "PNEUMONIA": 513}
    assert found["missing"] == {"train": {"images": 16, "of": 5232, "classes": {"NORMAL": 8, "PNEUMONIA": 8}}}
    assert found["unreadable"]["count"] == 0
    assert (found["duplicates"]["groups"], found["duplicates"]["images"]) == (30, 62)
    assert found["duplicates"]["across_parts"] == 0
    assert found["patients"] == {"train": 2846, "test": 427, "in_both": 170, "unknown": {"count": 0, "files": []}}
    assert crossing(where(builder, pixels)) == []
    assert crossing(where(builder, lambda row: patient_of(row["name"].decode()))) == []


def test_tiny_imagenet(prepare):
    """30,000 images: one of train is also in val and left out, one is in train under two labels."""
    builder = prepare("tiny-imagenet-200.zip")
    found = builder.info.metadata
    assert images_by_split(builder) == {"train": 17_999, "validation": 2000, "test": 10_000, "left_out": 1}
    assert set(found["splits"]["validation"].values()) == {10}
    assert set(found["splits"]["test"].values()) == {50}
    assert found["missing"]["train"]["images"] == 80_000
    assert set(found["missing"]["train"]["classes"].values()) == {400}
    assert found["missing"]["test"] == {"images": 10_000, "of": 10_000}
    assert "val" not in found["missing"]
    assert found["unreadable"]["count"] == 0
    assert found["duplicates"]["files"] == [
        ["train/n01855672/images/n01855672_44.JPEG", "val/images/val_2157.JPEG"],
        ["train/n07747607/images/n07747607_20.JPEG", "train/n07753592/images/n07753592_63.JPEG"],
    ]
    assert crossing(where(builder, pixels)) == []
    assert {row["image"].shape for row in builder.as_dataset(split="test").take(2000).as_numpy_iterator()} == {
        (64, 64, 3)
    }
