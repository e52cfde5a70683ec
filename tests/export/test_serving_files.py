"""Configuration and warm-up of TensorFlow Serving, read by its own message classes."""

import numpy as np
import pytest
import tensorflow as tf

from isplit_edge.client import MAX_BATCH
from isplit_tf.export.serving_files import batching_config, compose_yaml, models_config
from isplit_tf.export.warmup import prediction_log, warmup_batches


def test_models_config_is_read_by_the_official_proto():
    """Name, path, platform, exactly the versions asked for, and their labels."""
    pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format

    text = models_config("tail", [3, 4], {"stable": 3, "canary": 4})
    (config,) = text_format.Parse(text, pb2.ModelServerConfig()).model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("tail", "/models/tail", "tensorflow")
    assert list(config.model_version_policy.specific.versions) == [3, 4]
    assert dict(config.version_labels) == {"stable": 3, "canary": 4}
    assert (
        not text_format.Parse(models_config("a", [1]), pb2.ModelServerConfig())
        .model_config_list.config[0]
        .version_labels
    )


def test_warmup_requests_are_read_by_the_official_proto():
    """The bytes written by hand are a PredictionLog: model, version, and payloads of any content."""
    pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    payloads = [bytes(range(256)) * 3, b"", b"\0"]
    log = pb2.PredictionLog.FromString(prediction_log("tail", 2**40, "payload", payloads))
    assert log.WhichOneof("log_type") == "predict_log"
    request = log.predict_log.request
    assert (request.model_spec.name, request.model_spec.version.value) == ("tail", 2**40)
    assert list(request.inputs) == ["payload"]
    assert tf.make_ndarray(request.inputs["payload"]).tolist() == payloads


def test_warmup_stays_small():
    """Single requests and batches are warmed up, as far as the file stays below 1 MiB."""
    assert warmup_batches(100, 32) == [1, 2, 4, 8, 16, 32]
    assert warmup_batches(300_000, 32) == [1, 2]
    assert warmup_batches(5_000_000, 32) == [1]


def test_a_client_sends_no_more_than_the_server_joins(shared_bundle):
    """TensorFlow Serving refuses a request above max_batch_size: the bundle allows what the client sends."""
    text = (shared_bundle.directory / "serving" / "batching.config").read_text()
    assert text == batching_config(MAX_BATCH)
    assert f"max_batch_size {{ value: {MAX_BATCH} }}" in text


def test_the_compose_file_starts_the_official_image_on_the_bundle():
    """The image, both ports, the folder read-only, and both configurations where the image looks for them."""
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(compose_yaml())["services"]["serving"]
    assert service["image"].startswith("tensorflow/serving:")
    assert service["ports"] == ["8500:8500", "8501:8501"]
    assert service["volumes"] == ["./serving:/models:ro"]
    assert "--model_config_file=/models/models.config" in service["command"]
    assert "--batching_parameters_file=/models/batching.config" in service["command"]
    assert "--enable_batching=true" in service["command"]


def test_the_bundle_warms_its_own_tail_up(shared_bundle):
    """Every request in the file is answered with status 0 by the tail that it ships with."""
    path = shared_bundle.directory / "serving/tail/3/assets.extra/tf_serving_warmup_requests"
    records = [record.numpy() for record in tf.data.TFRecordDataset([str(path)])]
    pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    sizes = []
    for record in records:
        request = pb2.PredictionLog.FromString(record).predict_log.request
        assert (request.model_spec.name, request.model_spec.version.value) == ("tail", 3)
        payloads = tf.make_ndarray(request.inputs["payload"]).tolist()
        probabilities, status = shared_bundle.answer(payloads)
        assert status.tolist() == [0] * len(payloads)
        assert np.isfinite(probabilities).all()
        sizes.append(len(payloads))
    assert sizes == [1, 2, 4, 8, 16, 32]
