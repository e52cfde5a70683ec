"""A folder of published versions, served while it changes."""

import logging
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from isplit_edge.client import Client
from isplit_tf.errors import ArgumentError, BundleError, ServerError
from isplit_tf.export.publication import publish
from isplit_tf.server import Server
from isplit_tf.server.folder import ModelsFolder
from isplit_tf.server.models_config import ModelsConfig
from support.tiny import renumbered


@pytest.fixture
def models(bundle, tmp_path) -> Path:
    """A folder with version 3."""
    publish(bundle, tmp_path / "models", labels=["stable"])
    return tmp_path / "models"


def until(condition, seconds: float = 20.0) -> None:
    """Waits for something to become true."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds
        time.sleep(0.05)


def test_old_devices_go_on_while_new_ones_come(bundle, models, images, tmp_path):
    """A version published under load is served soon after; devices of the old version never see a failure, then each
    asks for its own; a version that is taken out of the list ends."""
    second = renumbered(bundle, tmp_path / "second", 4)
    expected, wrong, stop = bundle.predict(images[:8]), [], threading.Event()
    with Server(models, port=0, grpc_port=0) as server:

        def ask(url: str) -> None:
            with Client(bundle.directory, url, retries=0) as client:
                while not stop.is_set():
                    answer = client.run(images[:8])
                    if not np.allclose(answer.probabilities, expected, atol=1e-5):
                        wrong.append(answer)

        threads = [threading.Thread(target=ask, args=(url,)) for url in (server.url, server.grpc_url)]
        for thread in threads:
            thread.start()
        with Client(second, server.url) as client:
            with pytest.raises(ServerError, match=r"does not have version 4 .* It has: version 3 \(AVAILABLE\)"):
                client.check()
            publish(second, models)
            until(lambda: client.run(images[:1]).source == "server")
            np.testing.assert_allclose(client.predict(images[:8]), expected, atol=1e-5)
        stop.set()
        for thread in threads:
            thread.join(30)
        assert wrong == []
        (models / "models.config").write_text(str(ModelsConfig().with_version("tail", 4)))
        with Client(bundle.directory, server.grpc_url, retries=0) as old:
            until(lambda: "It has: version 4" in str(old.run(images[:1]).reasons))


def test_what_cannot_be_followed_changes_nothing(models, bundle, images, caplog):
    """A list that is damaged, or names what is not there, is logged; the versions that are served stay."""
    folder = ModelsFolder(models)
    assert not folder.reload()
    for text, message in (
        ("rubbish {", "cannot be read"),
        (str(ModelsConfig().with_version("tail", 3, 9)), "is not a SavedModel that can be loaded"),
        ('model_config_list { config { name: "tail" base_path: "/models/tail" } }', "must be a list"),
        (str(ModelsConfig().with_version("tail", 3)).replace("/models/", "/else/"), "must be below /models"),
        (str(ModelsConfig().with_version("tail", 3)).replace("/models/tail", "/models/../x"), "must be below /models"),
    ):
        (models / "models.config").write_text(text)
        with pytest.raises(BundleError, match=message):
            folder.reload()
        assert folder.catalogue.versions("tail") == [3]
    with caplog.at_level(logging.ERROR):
        folder.watch(0.05)
        until(lambda: "The models stay as they are" in caplog.text)
        folder.close()
    assert folder.catalogue.find("tail", label="stable").version == 3


def test_a_version_that_stays_is_not_loaded_again(models, bundle, tmp_path):
    """Only what is new is loaded."""
    folder = ModelsFolder(models)
    before = folder.catalogue.find("tail", 3)
    publish(renumbered(bundle, tmp_path / "second", 4), models, labels=["stable"])
    assert folder.reload()
    assert folder.catalogue.find("tail", 3) is before
    assert folder.catalogue.find("tail", label="stable").version == 4


def test_labels_of_a_folder_are_in_its_list(models, tmp_path):
    """Labels cannot come from two places; a folder without a list is none."""
    with pytest.raises(ArgumentError, match=r"set in its models\.config, by isplit publish"):
        Server(models, port=0, labels={"x": 3})
    shutil.rmtree(models / "tail")
    with pytest.raises(BundleError, match="is not a SavedModel that can be loaded"):
        Server(models, port=0)
    with pytest.raises(BundleError, match="is not a bundle"):
        Server(tmp_path / "nothing", port=0)
