"""Versions that do not load: told once, tried again when they change, and no other version is concerned."""

import logging
import os
import shutil
import time

import pytest

from isplit_edge.client import Client
from isplit_tf.errors import BundleError
from isplit_tf.export.publication import publish
from isplit_tf.server import Server
from isplit_tf.server.folder import ModelsFolder
from isplit_tf.server.models_config import ModelsConfig

LIST = "models.config"


@pytest.fixture
def models(bundle, tmp_path):
    """A folder with version 3, and version 4 beside it that is not yet in the list."""
    publish(bundle, tmp_path / "models", labels=["stable"])
    shutil.copytree(tmp_path / "models/tail/3", tmp_path / "models/tail/4")
    return tmp_path / "models"


def until(condition) -> None:
    """Waits for something to become true."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < 30
        time.sleep(0.02)


def data_of(version):
    """The file of weights."""
    return next(version.glob("variables/variables.data*"))


DAMAGE = {
    "half of the weights": lambda path: os.truncate(data_of(path), data_of(path).stat().st_size // 2),
    "no weights": lambda path: os.truncate(data_of(path), 0),
    "no index": lambda path: (path / "variables/variables.index").unlink(),
    "half of the index": lambda path: os.truncate(path / "variables/variables.index", 100),
    "half of the graph": lambda path: os.truncate(
        path / "saved_model.pb", (path / "saved_model.pb").stat().st_size // 2
    ),
    "a tenth of the graph": lambda path: os.truncate(
        path / "saved_model.pb", (path / "saved_model.pb").stat().st_size // 10
    ),
    "no graph": lambda path: os.truncate(path / "saved_model.pb", 0),
    "another file": lambda path: (path / "saved_model.pb").write_bytes(b"\xff" * 1000),
    "a pipe": lambda path: (data_of(path).unlink(), os.mkfifo(path / "variables/variables.data-00000-of-00001")),
    "a link to itself": lambda path: (
        (path / "saved_model.pb").unlink(),
        (path / "saved_model.pb").symlink_to(path / "saved_model.pb"),
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_version_that_is_half_copied(models, case):
    """It is one error of ours; the version that is there goes on with its label, and the new one comes when whole."""
    folder = ModelsFolder(models)
    whole = shutil.copytree(models / "tail/4", models.parent / "whole")
    DAMAGE[case](models / "tail/4")
    (models / LIST).write_text(str(ModelsConfig().with_version("tail", 3, 4, labels={"stable": 4})))
    with pytest.raises(BundleError, match="is not a SavedModel that can be loaded"):
        folder.reload()
    assert folder.catalogue.versions("tail") == [3]
    assert folder.catalogue.find("tail", label="stable").version == 3
    assert not folder.reload()
    shutil.rmtree(models / "tail/4")
    shutil.copytree(whole, models / "tail/4")
    assert folder.reload()
    assert folder.catalogue.find("tail", label="stable").version == 4


def test_other_models_go_on(models, caplog):
    """A new version of one model, and the end of another's, happen although a third does not load."""
    shutil.copytree(models / "tail", models / "second")
    shutil.copytree(models / "tail", models / "third")
    config = ModelsConfig().with_version("tail", 3).with_version("second", 3).with_version("third", 3)
    (models / LIST).write_text(str(config))
    folder = ModelsFolder(models)
    DAMAGE["no graph"](models / "third/4")
    config = ModelsConfig().with_version("tail", 4).with_version("third", 4)
    (models / LIST).write_text(str(config))
    with pytest.raises(BundleError, match="third/4"):
        folder.reload()
    assert sorted(folder.catalogue.models) == [("tail", 4), ("third", 3)]
    with caplog.at_level(logging.ERROR):
        again = ModelsFolder(models)
    assert sorted(again.catalogue.models) == [("tail", 4)]
    assert "these are not served" in caplog.text


@pytest.mark.slow
def test_the_list_becomes_a_pipe_or_a_link_to_itself(models, bundle, images, caplog):
    """The server goes on, says why, follows the list once it is one again, and ends when it is told to."""
    text = (models / LIST).read_text()
    with Server(models, port=0) as server, Client(bundle.directory, server.url) as client:
        for spoil in (
            lambda: os.mkfifo(models / LIST),
            lambda: (models / LIST).symlink_to(models / LIST),
            lambda: (models / LIST).mkdir(),
            lambda: (models / LIST).write_bytes(b"\xff"),
            lambda: (models / LIST).write_bytes(b"#" * (5 << 20)),
        ):
            caplog.clear()
            (models / LIST).rmdir() if (models / LIST).is_dir() else (models / LIST).unlink()
            spoil()
            until(lambda: "models.config cannot be read" in caplog.text)
            assert not client.run(images[:1]).status.any()
        (models / LIST).unlink()
        (models / LIST).write_text(text.replace("versions: 3", "versions: 3 versions: 4"))
        until(lambda: server._catalogue.versions("tail") == [3, 4])
        (models / LIST).unlink()
        os.mkfifo(models / LIST)
        begin = time.monotonic()
    assert time.monotonic() - begin < 10
