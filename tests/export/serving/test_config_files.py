"""Configuration and warm-up of TensorFlow Serving, read by its own message classes."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from isplit_edge.client import MAX_BATCH
from isplit_tf.export.serving.config_files import batching_config, compose_yaml, models_config
from isplit_tf.export.serving.warmup import prediction_log, warmup_batches


def test_models_config_is_read_by_the_official_proto(shared_bundle):
    """Name, path, platform, exactly the bundle's version, and its label."""
    pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text = (shared_bundle.directory / "serving" / "models.config").read_text()
    assert text == models_config("tail", 3)
    (config,) = text_format.Parse(text, pb2.ModelServerConfig()).model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("tail", "/models/tail", "tensorflow")
    assert list(config.model_version_policy.specific.versions) == [3]
    assert dict(config.version_labels) == {"stable": 3}


def batching_parameters():
    """An empty `BatchingParameters`, described as TensorFlow Serving's session_bundle_config.proto has it."""
    wrappers_pb2.Int64Value.DESCRIPTOR.file  # into the default pool
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="test.serving", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name="BatchingParameters")
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    for number, name in enumerate(names, 1):
        message.field.add(name=name, number=number, label=1, type=11, type_name=".google.protobuf.Int64Value")
    message.field.add(name="allowed_batch_sizes", number=6, label=3, type=3)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.serving.BatchingParameters"))()


def test_batching_parameters_are_of_the_official_form(shared_bundle):
    """The text parses into the fields of TensorFlow Serving's BatchingParameters: what is joined, how long it waits,
    how many wait."""
    text = (shared_bundle.directory / "serving" / "batching.config").read_text()
    found = text_format.Parse(text, batching_parameters())
    assert found.max_batch_size.value == MAX_BATCH
    assert found.batch_timeout_micros.value == 2000
    assert found.max_enqueued_batches.value == 1000


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


@pytest.fixture(scope="module")
def objects() -> dict:
    """What the Kubernetes manifest describes, by kind."""
    yaml = pytest.importorskip("yaml")
    path = Path(__file__).parents[3] / "export" / "serving" / "kubernetes.yaml"
    return {one["kind"]: one for one in yaml.safe_load_all(path.read_text())}


def test_the_kubernetes_manifest_has_what_a_fleet_needs(objects):
    """Every kind in its API's version; they refer to each other by the right names, labels and ports."""
    assert {kind: one["apiVersion"] for kind, one in objects.items()} == {
        "PersistentVolumeClaim": "v1",
        "Deployment": "apps/v1",
        "Service": "v1",
        "HorizontalPodAutoscaler": "autoscaling/v2",
        "PodDisruptionBudget": "policy/v1",
    }
    deployment, service = objects["Deployment"]["spec"], objects["Service"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == service["selector"] == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    target = objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": objects["Deployment"]["metadata"]["name"]}
    (container,) = deployment["template"]["spec"]["containers"]
    named = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert named == {"grpc": 8500, "rest": 8501}
    assert {one["targetPort"]: one["port"] for one in service["ports"]} == named
    (volume,) = deployment["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == objects["PersistentVolumeClaim"]["metadata"]["name"]


def test_kubernetes_replaces_servers_only_when_their_successors_answer(objects):
    """Readiness asks the model itself, no server goes before the next is ready, and the load decides how many there
    are; the number is not fixed beside it."""
    deployment = objects["Deployment"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v1/models/tail", "port": "rest"}
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in deployment
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert scaler["metrics"][0]["resource"]["name"] == "cpu"
    assert container["resources"]["requests"]["cpu"]  # what the utilization is a share of


def test_kubernetes_runs_what_compose_runs(objects):
    """The same image with the same options on the same folder."""
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(compose_yaml())["services"]["serving"]
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == service["image"]
    assert container["args"] == service["command"]
    assert container["volumeMounts"] == [{"name": "models", "mountPath": "/models", "readOnly": True}]


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
