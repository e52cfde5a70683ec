"""The local server's gRPC port, asked by TensorFlow Serving's own stubs, by an independent client, and by ours."""

import json
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from isplit_edge.client import Client
from isplit_tf.errors import ArgumentError, MissingDependencyError, ServerError, ServerUnreachableError
from isplit_tf.server import Server


@pytest.fixture(scope="module")
def rpc(bundle):
    """A server with both ports."""
    with Server(bundle, port=0, grpc_port=0, labels={"stable": 3}, max_body_bytes=1 << 20) as running:
        yield running


@pytest.fixture(scope="module")
def channel(rpc):
    """A connection to it."""
    with grpc.insecure_channel(rpc.grpc_url.removeprefix("grpc://")) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    """TensorFlow Serving's own client of predictions."""
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    """TensorFlow Serving's own client of models."""
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(payloads, *, name="tail", **spec) -> predict_pb2.PredictRequest:
    """A request of the official class."""
    made = predict_pb2.PredictRequest()
    made.model_spec.name = name
    if "version" in spec:
        made.model_spec.version.value = spec.pop("version")
    for key, value in spec.items():
        setattr(made.model_spec, key, value)
    if payloads is not None:
        made.inputs["payload"].CopyFrom(tf.make_tensor_proto(np.array(payloads, object), tf.string))
    return made


@pytest.mark.parametrize(
    "spec", [{}, {"version": 3}, {"version_label": "stable"}, {"signature_name": "serving_default"}]
)
def test_the_official_stub_gets_the_bundles_answers(stub, bundle, images, spec):
    """By newest version, number, label and signature; a bad payload costs its own row, as the status says."""
    payloads = [*bundle.payloads(images[:4]), b"short"]
    answer = stub.Predict(request(payloads, **spec), timeout=20)
    expected, status = bundle.answer(payloads)
    assert tf.make_ndarray(answer.outputs["status"]).tolist() == status.tolist() == [0, 0, 0, 0, 2]
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["probabilities"]), expected)
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("tail", 3)
    assert answer.model_spec.signature_name == "serving_default"


def test_outputs_can_be_chosen(stub, bundle, images):
    """An output filter gives these outputs alone."""
    made = request(bundle.payloads(images[:1]))
    made.output_filter.append("status")
    assert list(stub.Predict(made, timeout=20).outputs) == ["status"]


def test_from_latent(stub, bundle):
    """The debugging signature takes numbers."""
    made = request(None, signature_name="from_latent")
    made.inputs["latent"].CopyFrom(tf.make_tensor_proto(np.zeros((2, *bundle.manifest.shapes["latent"]), np.float32)))
    answer = stub.Predict(made, timeout=20)
    assert tf.make_ndarray(answer.outputs["probabilities"]).shape == (2, 4)


def tensor(dtype=tf.string.as_datatype_enum, shape=(1,), **values):
    """A request whose tensor is written by hand."""
    made = request(None)
    made.inputs["payload"].dtype = dtype
    for axis in shape:
        made.inputs["payload"].tensor_shape.dim.add(size=axis)
    for key, value in values.items():
        getattr(made.inputs["payload"], key).extend(value)
    return made


def unknown_rank():
    """A tensor that does not say its shape."""
    made = tensor(shape=(), string_val=[b"x"])
    made.inputs["payload"].tensor_shape.unknown_rank = True
    return made


def filtered():
    """A request for an output that is not there."""
    made = request([b""])
    made.output_filter.append("logits")
    return made


REFUSED = [
    (lambda: request([b""], name=""), "INVALID_ARGUMENT", "no name specified"),
    (lambda: request([b""], name="other"), "NOT_FOUND", r"Servable not found for request: Latest\(other\)"),
    (lambda: request([b""], version=4), "NOT_FOUND", r"Specific\(tail, 4\)"),
    (lambda: request([b""], version_label="canary"), "INVALID_ARGUMENT", "version label: canary"),
    (lambda: request([b""], signature_name="x"), "INVALID_ARGUMENT", '"x" not found in signature def'),
    (lambda: request(None), "INVALID_ARGUMENT", "input size does not match signature: 0!=1"),
    (lambda: request([[b""]]), "INVALID_ARGUMENT", r"has shape \[1, 1\], which does not fit"),
    (lambda: request([b""] * 33), "INVALID_ARGUMENT", "Task size 33 is larger than maximum input batch size 32"),
    (lambda: tensor(dtype=1, float_val=[1]), "INVALID_ARGUMENT", "Expects payload to be string but DT_FLOAT"),
    (lambda: tensor(dtype=999), "INVALID_ARGUMENT", "Expects payload to be string but 999"),
    (lambda: tensor(shape=(2**40,), string_val=[b""]), "INVALID_ARGUMENT", "larger than maximum input batch size"),
    (lambda: tensor(shape=(-1,), string_val=[b""]), "INVALID_ARGUMENT", "does not fit"),
    (lambda: tensor(shape=(1,), string_val=[b"", b""]), "INVALID_ARGUMENT", "Tensor payload cannot be read"),
    (unknown_rank, "INVALID_ARGUMENT", "does not fit"),
    (filtered, "INVALID_ARGUMENT", r"in the set \{probabilities,status\}"),
    (lambda: request([bytes(2 << 20)]), "RESOURCE_EXHAUSTED", "larger than max"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_is_wrong_is_refused_with_its_code(stub, case):
    """Every malformed request gets TensorFlow Serving's code; the server goes on."""
    make, code, text = REFUSED[case]
    with pytest.raises(grpc.RpcError, match=text) as refused:
        stub.Predict(make(), timeout=20)
    assert refused.value.code().name == code
    assert tf.make_ndarray(stub.Predict(request([b""]), timeout=20).outputs["status"]).tolist() == [2]


def test_bytes_that_are_no_message(channel):
    """What is no protocol buffer is an error of the call alone."""
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    for content in (b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"{}"):
        with pytest.raises(grpc.RpcError) as refused:
            call(content, timeout=20)
        assert refused.value.code().name in ("INTERNAL", "UNKNOWN", "INVALID_ARGUMENT")
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/tensorflow.serving.PredictionService/Nothing")(b"", timeout=20)
    assert refused.value.code().name == "UNIMPLEMENTED"


def test_metadata(stub, bundle):
    """The signatures, packed as the official message."""
    made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    made.model_spec.name = "tail"
    answer = stub.GetModelMetadata(made, timeout=20)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    payload = found.signature_def["serving_default"].inputs["payload"]
    assert (payload.dtype, payload.tensor_shape.dim[0].size) == (tf.string.as_datatype_enum, -1)
    assert answer.model_spec.version.value == 3
    for fields, text in (([], "at least one metadata_field"), (["graph"], "Metadata field graph is not supported")):
        made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        made.model_spec.name = "tail"
        with pytest.raises(grpc.RpcError, match=text):
            stub.GetModelMetadata(made, timeout=20)


def test_model_status(models):
    """All versions, one by number or label, and what is not there."""
    for spec in ({}, {"version": 3}, {"version_label": "stable"}):
        made = get_model_status_pb2.GetModelStatusRequest(model_spec=request(None, **spec).model_spec)
        (found,) = models.GetModelStatus(made, timeout=20).model_version_status
        assert (found.version, found.state, found.status.error_code) == (3, 30, 0)
    for spec in ({"version": 4}, {"name": "other"}):
        made = get_model_status_pb2.GetModelStatusRequest(model_spec=request(None, **spec).model_spec)
        with pytest.raises(grpc.RpcError, match="Could not find") as refused:
            models.GetModelStatus(made, timeout=20)
        assert refused.value.code().name == "NOT_FOUND"


def test_other_calls_are_refused(stub, models):
    """A tail classifies by its own signature only, and its list of models is changed on disk."""
    spec = request(None).model_spec
    calls = [
        (stub.Classify, classification_pb2.ClassificationRequest(model_spec=spec), "Expected classify signature"),
        (stub.Regress, regression_pb2.RegressionRequest(model_spec=spec), "Expected regress signature"),
        (stub.MultiInference, inference_pb2.MultiInferenceRequest(), "MultiInference"),
        (models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest(), "by their models.config"),
    ]
    for call, made, text in calls:
        with pytest.raises(grpc.RpcError, match=text):
            call(made, timeout=20)


def test_our_client_over_both(rpc, bundle, images):
    """REST and gRPC give the same answers to the bit, those of the bundle."""
    expected = bundle.predict(images)
    for url in (rpc.url, rpc.grpc_url):
        with Client(bundle.directory, url) as client:
            assert client.check() == "AVAILABLE"
            np.testing.assert_array_equal(client.predict(images), expected)


OVMS = """
import sys
import numpy as np
from ovmsclient import make_grpc_client, make_http_client
payloads = [bytes.fromhex(line) for line in sys.stdin.read().split()]
for make, url in ((make_grpc_client, sys.argv[1]), (make_http_client, sys.argv[2])):
    client = make(url)
    state = client.get_model_status("tail", 3, timeout=20)[3]["state"]
    assert state == "AVAILABLE", state
    if make is make_grpc_client:  # over REST it reads the metadata in OpenVINO's spelling, not TensorFlow Serving's
        inputs = client.get_model_metadata("tail", 3, timeout=20)["inputs"]
        assert inputs == {"payload": {"shape": [-1], "dtype": "DT_STRING"}}, inputs
    found = client.predict({"payload": payloads}, "tail", 3, timeout=20)
    print(found["probabilities"].astype(np.float64).tolist(), found["status"].tolist())
assert not [name for name in sys.modules if name.split(".")[0] in ("tensorflow", "isplit_tf", "isplit_edge")]
"""


def test_an_independent_client(rpc, bundle, images):
    """ovmsclient, which shares no code with us or with TensorFlow, asks over gRPC and REST and reads the same."""
    pytest.importorskip("ovmsclient")
    payloads = bundle.payloads(images[:3])
    done = subprocess.run(
        [sys.executable, "-c", OVMS, rpc.grpc_url.removeprefix("grpc://"), rpc.url.removeprefix("http://")],
        input="\n".join(one.hex() for one in payloads),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        rows, status = line[: line.rindex("[") - 1], line[line.rindex("[") :]
        assert status == "[0, 0, 0]"
        np.testing.assert_array_equal(np.array(json.loads(rows), np.float32), bundle.predict(images[:3]))


def test_many_clients_are_joined(rpc, bundle, images):
    """Sixteen clients at once, half over either port, get their own right answers."""
    expected, wrong = bundle.predict(images), []

    def classify(start: int) -> None:
        with Client(bundle.directory, rpc.grpc_url if start % 2 else rpc.url) as client:
            for index in range(start, start + 8):
                rows = [index % len(images), index * 7 % len(images)]
                if not np.allclose(client.predict(images[rows]), expected[rows], atol=1e-5):
                    wrong.append(rows)

    threads = [threading.Thread(target=classify, args=(start,)) for start in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_close_lets_calls_end(bundle, images):
    """Calls that came before the closing are answered; afterwards nobody listens."""
    server = Server(bundle, port=0, grpc_port=0).start().start()
    url, found = server.grpc_url, []
    with Client(bundle.directory, url, retries=0) as client:
        asking = threading.Thread(target=lambda: found.extend(client.run(images[:1]).source for _ in range(20)))
        asking.start()
        time.sleep(0.05)
        server.close()
        asking.join(30)
        assert set(found) <= {"server", "none"}
        with pytest.raises(ServerUnreachableError):
            client.predict(images[:1])
    server.close()


def test_ports_and_what_is_missing(bundle, monkeypatch):
    """A port in use, one that is none, and a server without the stubs, are told."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"Cannot listen for gRPC on 127.0.0.1:{port}"):
            Server(bundle, port=0, grpc_port=port)
    with pytest.raises(ArgumentError, match="port from 0 to 65535"):
        Server(bundle, port=0, grpc_port=70000)
    monkeypatch.setitem(sys.modules, "isplit_tf.server.rpc", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'isplit-tf\[grpc\]'"):
        Server(bundle, port=0, grpc_port=0)
