"""The builders on the small archives beside them, by TensorFlow Datasets' own test case and by ours."""

import contextlib
import functools
import hashlib
import http.server
import threading
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

import isplit_tf.datasets
from isplit_tf.datasets.registration import builder_class
from isplit_tf.errors import DataError
from support.archive_kit import examples

DATASETS = Path(isplit_tf.datasets.__file__).parent
Tiny, NotMnist, ChestXray = map(builder_class, ("tiny_imagenet200", "notmnist", "chest_xray_pneumonia"))
Case = tfds.testing.DatasetBuilderTestCase


def dummy(name, file):
    return DATASETS / name / "dummy_data" / file


def patch_original(builder, config, path, **changes):
    """The size and MD5 of a small archive in place of the original's."""
    content = path.read_bytes()
    known = {"size_bytes": len(content), "md5": hashlib.md5(content).hexdigest(), **changes}
    originals = {**builder.ORIGINALS, config: replace(builder.ORIGINALS[config], **known)}
    return mock.patch.object(builder, "ORIGINALS", originals)


class DummyCase:
    """Checks of size and MD5 are those of the small archive. No SHA-256 of the originals is published."""

    SKIP_CHECKSUMS = True
    CONFIG = ""

    def setUp(self):
        path = dummy(self.DATASET_CLASS.name, self.DL_DOWNLOAD_RESULT)
        self.enterContext(patch_original(self.DATASET_CLASS, self.CONFIG, path))
        super().setUp()


class TinyImagenet200Test(DummyCase, Case):
    """tiny_imagenet200 is registered, described, prepared and read."""

    DATASET_CLASS = Tiny
    DL_DOWNLOAD_RESULT = "tiny-imagenet-200.zip"
    SPLITS = {"train": 35, "validation": 4, "test": 8, "left_out": 1}  # noqa: RUF012


class ChestXrayPneumoniaTest(DummyCase, Case):
    """chest_xray_pneumonia is registered, described, prepared and read."""

    DATASET_CLASS = ChestXray
    DL_DOWNLOAD_RESULT = "ChestXRay2017.zip"
    SPLITS = {"train": 19, "validation": 3, "test": 4, "left_out": 2}  # noqa: RUF012


class NotMnistSmallTest(DummyCase, Case):
    """notmnist/small is registered, described, prepared and read."""

    DATASET_CLASS = NotMnist
    CONFIG = "small"
    BUILDER_CONFIG_NAMES_TO_TEST = ["small"]  # noqa: RUF012
    DL_DOWNLOAD_RESULT = "notMNIST_small.tar.gz"
    SPLITS = {"train": 70, "validation": 10, "test": 20}  # noqa: RUF012


class NotMnistLargeTest(NotMnistSmallTest):
    """notmnist/large is registered, described, prepared and read."""

    CONFIG = "large"
    BUILDER_CONFIG_NAMES_TO_TEST = ["large"]  # noqa: RUF012
    DL_DOWNLOAD_RESULT = "notMNIST_large.tar.gz"


del Case  # else it is collected as a test


@pytest.fixture(scope="module")
def server():
    """The small archives over HTTP on this machine: the URL of each data set's folder."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(DATASETS))
    with (
        mock.patch.object(http.server.SimpleHTTPRequestHandler, "log_message"),
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running,
    ):
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@contextlib.contextmanager
def served(server, builder, config, file, **changes):
    path = dummy(builder.name, file)
    url = f"{server}/{builder.name}/dummy_data/{file}"
    with patch_original(builder, config, path, url=url, **changes):
        yield path


@pytest.fixture(scope="module")
def prepared(server, tmp_path_factory):
    """All three by `tfds.load`'s own way, downloads included: builders by name."""
    data_dir = tmp_path_factory.mktemp("tfds")
    builders = {}
    for builder, config, file in (
        (Tiny, "", "tiny-imagenet-200.zip"),
        (ChestXray, "", "ChestXRay2017.zip"),
        (NotMnist, "small", "notMNIST_small.tar.gz"),
    ):
        with served(server, builder, config, file):
            made = tfds.builder(builder.name, data_dir=data_dir)
            made.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
            builders[builder.name] = made
    return builders


@pytest.mark.parametrize("name", ["tiny_imagenet200", "chest_xray_pneumonia", "notmnist"])
def test_nothing_crosses_splits(prepared, name):
    """No group and no image, pixel by pixel, is in two of train, validation and test."""
    builder = prepared[name]
    seen = {}
    for split, rows in examples(builder).items():
        for row in rows:
            for mark in (row["group"], row["image"].tobytes() + bytes(row["image"].shape)):
                if split != "left_out":
                    assert seen.setdefault(mark, split) == split, row["name"]


def test_tiny_imagenet_labels(prepared):
    """Val gets its labels from the annotations; labels are numbered as in wnids.txt; grey files come as RGB."""
    rows = examples(prepared["tiny_imagenet200"])
    names = prepared["tiny_imagenet200"].info.features["label"].names
    assert (len(names), names[0], names[-1]) == (200, "n02124075", "n02504458")
    wnids = ("n01443537", "n01629819", "n02124075", "n04540053")
    assert {row["name"]: names[row["label"]] for row in rows["test"]} == {
        f"val/images/val_{i}.JPEG": wnids[i % 4] for i in range(8)
    }
    for row in [*rows["train"], *rows["validation"], *rows["left_out"]]:
        assert row["name"].split("/")[1] == names[row["label"]]
        assert row["image"].shape == (8, 8, 3)
    assert [row["name"] for row in rows["left_out"]] == ["train/n01443537/images/n01443537_9.JPEG"]
    assert sorted(row["label"] for row in rows["validation"]) == sorted(names.index(wnid) for wnid in wnids)


def test_chest_xray_patients(prepared):
    """A patient is in one split; who is in the test folder too is left out of training."""
    builder = prepared["chest_xray_pneumonia"]
    rows = examples(builder)
    assert sorted(row["name"] for row in rows["left_out"]) == [
        "train/PNEUMONIA/person3_bacteria_7.jpeg",
        "train/PNEUMONIA/person3_bacteria_8.jpeg",
    ]
    groups = {row["name"]: row["group"] for split in rows.values() for row in split}
    assert groups["train/PNEUMONIA/person1_bacteria_1.jpeg"] == groups["train/PNEUMONIA/person1_virus_5.jpeg"]
    assert groups["train/NORMAL/IM-0001-0001.jpeg"] == groups["train/NORMAL/IM-0002-0001.jpeg"] == "im-0001"
    assert builder.info.metadata["patients"] == {
        "train": 17,
        "test": 3,
        "in_both": 1,
        "unknown": {"count": 0, "files": []},
    }


def test_notmnist_near_duplicates(prepared):
    """Near duplicates share a group; broken files are named with the reason."""
    builder = prepared["notmnist"]
    groups = {row["name"]: row["group"] for split in examples(builder).values() for row in split}
    assert groups["B/0.png"] == groups["B/1.png"]
    assert groups["C/0.png"] == groups["C/1.png"] != groups["C/2.png"]
    found = builder.info.metadata
    assert found["near_duplicates"] == {"levels": 12.0, "pairs": 1, "with_several_labels": 0}
    assert found["duplicates"]["files"] == [["C/0.png", "C/1.png"]]
    assert found["groups"] == {
        "count": 2,
        "images": 4,
        "largest": 2,
        "files": [["B/0.png", "B/1.png"], ["C/0.png", "C/1.png"]],
    }
    assert found["unreadable"]["count"] == 2
    assert found["unreadable"]["files"]["F/empty.png"] == "empty"
    assert found["missing"] == {"all": {"images": 18_624, "of": 18_724}}


def test_inventory_lies_beside_the_data(prepared):
    """Who opens the prepared data later finds the inventory, through a builder and as a file."""
    builder = prepared["tiny_imagenet200"]
    again = tfds.builder("tiny_imagenet200", data_dir=builder.data_dir_root).info.metadata
    assert again["splits"] == builder.info.metadata["splits"]
    assert again["archive"]["is_original"] is True
    assert again["missing"]["train"]["images"] == 99_960
    assert again["missing"]["train"]["classes"]["n01443537"] == 490
    assert again["missing"]["test"] == {"images": 9_998, "of": 10_000}
    assert again["duplicates"]["across_parts"] == 1
    assert (builder.data_path / "metadata.json").exists()


def test_preparation_is_repeatable(prepared, server, tmp_path):
    """The same archive gives the same examples in the same order."""
    with served(server, NotMnist, "small", "notMNIST_small.tar.gz"):
        again = NotMnist(data_dir=tmp_path, config="small")
        again.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    for split, rows in examples(prepared["notmnist"]).items():
        other = examples(again)[split]
        assert [row["name"] for row in rows] == [row["name"] for row in other]
        np.testing.assert_array_equal([row["image"] for row in rows], [row["image"] for row in other])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"md5": "0" * 32}, r"not the archive that it was\. MD5: expected 0{32}, found [0-9a-f]{32}\. It lies at"),
        ({"size_bytes": 7}, r"bytes: expected 7, found \d+\. It lies at"),
    ],
)
def test_another_download_than_expected(server, tmp_path, changes, message):
    """A download of another size or MD5 is refused; the message says what was expected, found and possible."""
    with served(server, Tiny, "", "tiny-imagenet-200.zip", **changes), pytest.raises(DataError, match=message):
        Tiny(data_dir=tmp_path).download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    assert not list(tmp_path.rglob("dataset_info.json"))


def test_first_download_is_recorded(server, tmp_path):
    """Where no MD5 is known, the first download's SHA-256 is what later ones must have."""
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    with served(server, ChestXray, "", "ChestXRay2017.zip", md5=None) as path:
        ChestXray(data_dir=tmp_path).download_and_prepare(download_config=config)
        record = tmp_path / "chest_xray_pneumonia" / "downloads.tsv"
        url, size, sha256, _ = record.read_text().split("\t")
        assert url.endswith("/chest_xray_pneumonia/dummy_data/ChestXRay2017.zip")
        assert (int(size), sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        assert tfds.builder("chest_xray_pneumonia", data_dir=tmp_path).info.splits["test"].num_examples == 4
        record.write_text(record.read_text().replace(sha256, "f" * 64))
        for folder in (tmp_path / "chest_xray_pneumonia").glob("1.0.0*"):
            folder.rename(tmp_path / "away")
        with pytest.raises(DataError, match=r"has changed\. SHA-256: expected f{64}, as recorded in .*downloads\.tsv"):
            ChestXray(data_dir=tmp_path).download_and_prepare(download_config=config)
