"""Versions put beside each other: what is written, what is refused, and what a killed run leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.errors import ArgumentError, BundleError, ExistsError
from isplit_tf.export.publication import publish, published_bundle_id
from isplit_tf.server.models_config import ModelsConfig
from support.tiny import renumbered


@pytest.fixture
def models(tmp_path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "models"


def listed(models: Path) -> tuple[int, ...]:
    """The versions that a server is told to load."""
    return ModelsConfig.parse((models / "models.config").read_text()).find("tail").versions


def test_versions_stand_beside_each_other(shared_bundle, models, tmp_path, test_data):
    """Each published tail is served as it was exported, models.config names all, and each tells its bundle."""
    second = renumbered(shared_bundle, tmp_path / "second", 12, bundle_id="ab" * 32)
    first = publish(shared_bundle.directory, models)
    assert (first.version, first.versions) == (3, {3: shared_bundle.manifest.bundle_id})
    both = publish(second, models, labels=["canary"])
    assert both.versions == {3: shared_bundle.manifest.bundle_id, 12: "ab" * 32}
    assert both.labels == {"canary": 12}
    assert "version 12  bundle abababababababab  canary" in repr(both)
    assert listed(models) == (3, 12)
    assert (models / "batching.config").read_bytes() == (
        shared_bundle.directory / "serving/batching.config"
    ).read_bytes()
    tail = tf.saved_model.load(str(models / "tail/12")).signatures["serving_default"]
    payloads = shared_bundle.payloads(test_data[0][:4])
    expected, _ = shared_bundle.answer(payloads)
    np.testing.assert_array_equal(tail(payload=tf.constant(payloads))["probabilities"], expected)
    assert (models / "tail/12/assets.extra/tf_serving_warmup_requests").exists()
    assert sorted(one.name for one in models.iterdir()) == ["batching.config", "models.config", "tail"]


def test_a_number_is_used_once(shared_bundle, models, tmp_path):
    """Another bundle under a used number is refused, the same one too, with the next free number; nothing changes."""
    publish(shared_bundle, models)
    before = (models / "models.config").read_bytes()
    other = renumbered(shared_bundle, tmp_path / "other", 3, bundle_id="cd" * 32)
    with pytest.raises(ExistsError, match=r"Version 3 of 'tail' is in use .*\(of bundle .*Export with version=4"):
        publish(other, models)
    with pytest.raises(ExistsError, match="of this very bundle"):
        publish(shared_bundle, models)
    assert (models / "models.config").read_bytes() == before
    assert published_bundle_id(models / "tail/3") == shared_bundle.manifest.bundle_id


def test_labels_move(shared_bundle, models, tmp_path):
    """A label goes from one version to the next, and back by publishing the same bundle with it."""
    second = renumbered(shared_bundle, tmp_path / "second", 4)
    publish(shared_bundle, models, labels=["stable"])
    assert publish(second, models, labels=["stable", "canary"]).labels == {"canary": 4, "stable": 4}
    again = publish(shared_bundle, models, labels="stable")
    assert (again.labels, list(again.versions)) == ({"canary": 4, "stable": 3}, [3, 4])
    with pytest.raises(ArgumentError, match=r"letters, digits.*Received: 'a/b'"):
        publish(shared_bundle, models, labels=["a/b"])


def test_what_others_wrote_stays(shared_bundle, models, tmp_path):
    """Other models and retired versions stay as they are; a folder without a list keeps serving what it had."""
    (models / "tail/1").mkdir(parents=True)
    (models / "tail/1/saved_model.pb").write_bytes(b"")
    (models / "tail/notes").mkdir()
    assert list(publish(shared_bundle, models).versions) == [1, 3]
    text = str(ModelsConfig().with_version("other", 5).with_version("tail", 3))  # version 1 taken out by hand
    (models / "models.config").write_text(text)
    (models / "batching.config").write_text("max_batch_size { value: 7 }")
    publish(renumbered(shared_bundle, tmp_path / "b", 4), models)
    config = ModelsConfig.parse((models / "models.config").read_text())
    assert [(one.name, one.versions) for one in config.models] == [("other", (5,)), ("tail", (3, 4))]
    assert (models / "batching.config").read_text() == "max_batch_size { value: 7 }"
    with pytest.raises(ExistsError, match=r"Version 1 .*unknown"):
        publish(renumbered(shared_bundle, tmp_path / "c", 1), models)


def test_what_cannot_be_read_is_refused(bundle, models, tmp_path):
    """A list that somebody else wrote in an unknown form, a damaged bundle, a file in the way: nothing is written."""
    models.mkdir()
    (models / "models.config").write_text("model_config_list { config { name: 'x' logging_config {} } }")
    with pytest.raises(BundleError, match=r"no folder to publish into: models\.config cannot be read"):
        publish(bundle, models)
    (models / "models.config").unlink()
    (bundle.directory / "serving/tail/3/saved_model.pb").write_bytes(b"x")
    with pytest.raises(BundleError, match="saved_model.pb"):
        publish(bundle, models)
    assert list(models.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"changed|saved_model"):
        publish(bundle, tmp_path / "file")


def test_a_file_in_the_way(shared_bundle, tmp_path):
    """A folder that cannot be made is told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="is no folder and cannot be made"):
        publish(shared_bundle, tmp_path / "file")


def names(folder: Path) -> set[str]:
    """The files below a folder."""
    return {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}


KILLED = """
import sys
from isplit_tf.export import publication
print("ready", flush=True)
sys.stdin.readline()
publication.publish(sys.argv[1], sys.argv[2])
print("done", flush=True)
"""


def test_killed_anywhere_it_leaves_the_old_or_the_new(shared_bundle, models, tmp_path):
    """Whenever the process dies, every version that the list names is whole, and the next run ends the work."""
    publish(shared_bundle, models)
    whole = names(models / "tail/3")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    outcomes = set()
    for attempt in range(6):
        version = 10 + attempt
        second = renumbered(shared_bundle, tmp_path / f"b{version}", version)
        before = listed(models)
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(second), str(models)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(0.004 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = listed(models)
        outcomes.add(found == before)
        assert found in (before, (*before, version))
        for one in found:
            folder = models / "tail" / str(one)
            assert names(folder) == whole
            assert json.loads((folder / "assets.extra/manifest.json").read_bytes())["version"] == one
        if found == before:
            publish(second, models)
        assert listed(models) == (*before, version)
        assert sorted(one.name for one in (models / "tail").iterdir()) == sorted(map(str, listed(models)))
    assert True in outcomes
