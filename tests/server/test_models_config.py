"""TensorFlow Serving's list of models, held against its own message classes."""

import pytest
from google.protobuf import text_format

from isplit_tf.errors import ArgumentError, BundleError
from isplit_tf.server.models_config import ModelEntry, ModelsConfig

TEXT = """
model_config_list {
  config {
    name: "other"
    base_path: "s3://bucket/other"
    model_platform: "tensorflow"
    model_version_policy { all {} }
  }
  config {
    name: "tail"
    base_path: "/models/tail"
    model_version_policy { specific { versions: 7 versions: 3 } }
    version_labels { key: "stable" value: 3 }
  }
}
"""


def test_what_is_written_is_the_official_message():
    """The official class parses it and finds the same models, versions and labels."""
    pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    written = ModelsConfig.parse(TEXT).with_version("tail", 9, labels={"canary": 9, "stable": 7})
    ours = text_format.Parse(str(written), pb2.ModelServerConfig())
    other, tail = ours.model_config_list.config
    assert (
        other.SerializeToString()
        == text_format.Parse(TEXT, pb2.ModelServerConfig()).model_config_list.config[0].SerializeToString()
    )
    assert list(tail.model_version_policy.specific.versions) == [3, 7, 9]
    assert dict(tail.version_labels) == {"stable": 7, "canary": 9}


def test_a_new_model_joins_those_that_are_there():
    """An empty list becomes a list of one; the list it came from stays."""
    empty = ModelsConfig()
    one = empty.with_version("a", 2)
    assert empty.models == ()
    assert one.models == (ModelEntry("a", "/models/a", (2,), {}),)
    assert [entry.name for entry in one.with_version("b", 1).models] == ["a", "b"]
    assert one.find("a") == one.models[0]
    assert one.find("b") is None


def test_versions_that_come_and_go_by_themselves_are_not_touched():
    """Under 'latest' or 'all' a further version could end an old one: refused."""
    assert ModelsConfig.parse(TEXT).find("other").versions is None
    with pytest.raises(ArgumentError, match="versions of 'other' by another policy than 'specific'"):
        ModelsConfig.parse(TEXT).with_version("other", 1)


def test_labels_are_for_versions_that_are_served():
    """A label of another version would stop the server."""
    with pytest.raises(ArgumentError, match=r"versions that are served, \[1\]\. Received: \{'stable': 2\}"):
        ModelsConfig().with_version("a", 1, labels={"stable": 2})


@pytest.mark.parametrize(
    "text", ["model_config_list {", "rubbish", "model_config_list { config { logging_config {} } }"]
)
def test_what_is_not_known_is_refused(text):
    """Nothing that somebody wrote into the file is dropped silently."""
    with pytest.raises(BundleError, match=r"models\.config cannot be read: .*Known are a model_config_list"):
        ModelsConfig.parse(text)
