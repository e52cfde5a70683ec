"""What TensorFlow Serving's REST API asks for and how it is answered, without a socket."""

import base64
import json
import re

import numpy as np
import pytest

from isplit_tf.server.model import Catalogue
from isplit_tf.server.refusal import Refusal
from isplit_tf.server.rest import handle

pytestmark = pytest.mark.numerical

PREDICT = "/v1/models/tail:predict"


@pytest.fixture(scope="module")
def payloads(bundle, images) -> list[dict]:
    """Three good payloads as the API writes bytes."""
    return [{"b64": base64.b64encode(one).decode()} for one in bundle.payloads(images[:3])]


@pytest.fixture(scope="module")
def ask(catalogue):
    """Sends a request and returns status and parsed answer."""

    def send(method: str, target: str, body: object = None) -> tuple[int, dict]:
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        response = handle(catalogue, method, target, body or b"")
        return response.status, json.loads(response.body)

    return send


def test_row_format(ask, payloads, bundle, images):
    """A list of instances, named or plain, is answered with an object for each, equal to the bundle's own answer."""
    expected = bundle.predict(images[:3])
    for instances in ([{"payload": one} for one in payloads], payloads):
        status, answer = ask("POST", PREDICT, {"instances": instances})
        assert status == 200
        rows = answer["predictions"]
        assert [row["status"] for row in rows] == [0, 0, 0]
        np.testing.assert_array_equal(np.array([row["probabilities"] for row in rows], np.float32), expected)


def test_column_format(ask, payloads, bundle, images):
    """An object of lists, or the one list, is answered with an object of lists."""
    for inputs in ({"payload": payloads}, payloads):
        status, answer = ask("POST", PREDICT, {"inputs": inputs, "signature_name": "serving_default"})
        assert status == 200
        assert answer["outputs"]["status"] == [0, 0, 0]
        found = np.array(answer["outputs"]["probabilities"], np.float32)
        np.testing.assert_array_equal(found, bundle.predict(images[:3]))
    assert ask("POST", PREDICT, {"inputs": []}) == (200, {"outputs": {"status": [], "probabilities": []}})


def test_from_latent(ask, bundle):
    """The debugging signature takes numbers; its one output comes without a name, as TensorFlow Serving gives it.

    A row of a batch is what it is alone to 1e-5, as promised; the same batch gives the same bits in either format.
    """
    zeros = np.zeros((2, *bundle.manifest.shapes["latent"])).tolist()
    request = {"signature_name": "from_latent", "instances": zeros}
    status, rows = ask("POST", PREDICT, request)
    assert status == 200
    assert np.shape(rows["predictions"]) == (2, 4)
    alone = ask("POST", PREDICT, request | {"instances": [{"latent": zeros[0]}]})[1]["predictions"]
    np.testing.assert_allclose(alone, rows["predictions"][:1], atol=1e-5)
    columns = ask("POST", PREDICT, {"signature_name": "from_latent", "inputs": zeros})[1]
    assert columns["outputs"] == rows["predictions"]


def test_a_bad_payload_is_a_bare_nan(catalogue, payloads):
    """NaN goes out as TensorFlow Serving writes it, and the neighbour is answered."""
    body = json.dumps({"instances": [{"b64": ""}, payloads[0]]}).encode()
    text = handle(catalogue, "POST", PREDICT, body).body.decode()
    assert "[NaN,NaN,NaN,NaN]" in text
    first, second = json.loads(text)["predictions"]
    assert (first["status"], second["status"]) == (2, 0)


@pytest.mark.parametrize("which", ["", "/versions/3", "/labels/stable"])
def test_versions_and_labels(ask, payloads, which):
    """The model is found with and without its version, by label, and whatever the case of the fixed words."""
    assert ask("POST", f"/v1/models/tail{which}:predict", {"instances": payloads})[0] == 200
    status, answer = ask("GET", f"/V1/Models/tail{which}")
    fine = {"error_code": "OK", "error_message": ""}
    assert status == 200
    assert answer == {"model_version_status": [{"version": "3", "state": "AVAILABLE", "status": fine}]}
    status, answer = ask("GET", f"/v1/models/tail{which}/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "tail", "signature_name": "", "version": "3"}


def test_labels_of_the_bundle(bundle):
    """Without labels of one's own those of the bundle's models.config hold, as under TensorFlow Serving."""
    assert Catalogue.of_bundle(bundle.directory).find("tail", label="stable").version == 3
    with pytest.raises(Refusal, match="label: stable"):
        Catalogue.of_bundle(bundle.directory, {}).find("tail", label="stable")


def test_metadata(ask, bundle):
    """The signatures are shown as the proto that they are, in JSON."""
    signatures = ask("GET", "/v1/models/tail/metadata")[1]["metadata"]["signature_def"]["signature_def"]
    payload = signatures["serving_default"]["inputs"]["payload"]
    assert payload["dtype"] == "DT_STRING"
    assert payload["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
    axes = [axis["size"] for axis in signatures["from_latent"]["inputs"]["latent"]["tensor_shape"]["dim"]]
    assert axes == ["-1", *map(str, bundle.manifest.shapes["latent"])]


REFUSED = [
    ("GET", "/", None, 404, "Not found"),
    ("GET", "/v2/models/tail", None, 404, "Not found"),
    ("GET", "/v1/models", None, 400, "Missing model name in request."),
    ("GET", "/v1/foo", None, 400, "Malformed request: GET /v1/foo"),
    ("GET", PREDICT, None, 400, "Malformed request"),
    ("POST", "/v1/models/tail", b"{}", 400, "Malformed request"),
    ("PUT", "/v1/models/tail", b"{}", 400, "Malformed request: PUT"),
    ("POST", "/v1/models/tail/versions/x:predict", b"{}", 400, "Malformed request"),
    ("POST", "/v1/models/tail/versions/3/labels/stable:predict", b"{}", 400, "Malformed request"),
    ("POST", f"/v1/models/tail/versions/{2**64}:predict", b"{}", 400, "Failed to convert version"),
    ("GET", f"/v1/models/tail/versions/{'9' * 5000}", None, 400, "Failed to convert version"),
    ("GET", "/v1/models/other", None, 404, "Could not find any versions of model other"),
    ("GET", "/v1/models/tail/versions/4", None, 404, "Could not find version 4 of model tail"),
    ("GET", "/v1/models/tail/labels/canary", None, 400, "Unrecognized servable version label: canary"),
    ("GET", "/v1/models/other/metadata", None, 404, r"Servable not found for request: Latest\(other\)"),
    ("POST", "/v1/models/other:predict", b"{}", 404, r"Servable not found for request: Latest\(other\)"),
    ("POST", "/v1/models/tail/versions/4:predict", b"{}", 404, r"request: Specific\(tail, 4\)"),
    ("POST", "/v1/models/tail/labels/canary:predict", b"{}", 400, "Unrecognized servable version label"),
    ("POST", "/v1/models/tail:classify", b"{}", 400, "Expected classify signature"),
    ("POST", PREDICT, b"", 400, "JSON Parse error: The document is empty"),
    ("POST", PREDICT, b"instances = [1]", 400, "JSON Parse error: Invalid value"),
    ("POST", PREDICT, b'{"instances": [1', 400, "JSON Parse error"),
    ("POST", PREDICT, b"\xff\xfe{}", 400, "JSON Parse error: Invalid encoding"),
    ("POST", PREDICT, b"[" * 200_000, 400, "nested too deeply"),
    ("POST", PREDICT, b'{"instances":' + b"[" * 500 + b"]" * 500 + b"}", 400, "dimensions"),
    ("POST", PREDICT, b'{"inputs": 1e999}', 400, "Number too big"),
    ("POST", PREDICT, b'{"inputs": ' + b"9" * 9000 + b"}", 400, "Number too big"),
    ("POST", PREDICT, [1], 400, "Is not object"),
    ("POST", PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
    ("POST", PREDICT, {"inputs": [], "instances": []}, 400, "expecting only one of"),
    ("POST", PREDICT, {"instances": 1}, 400, "to be an list/array"),
    ("POST", PREDICT, {"instances": []}, 400, "No values in 'instances' array"),
    ("POST", PREDICT, {"instances": [1]}, 400, "Type: Number is not of expected type: string"),
    ("POST", PREDICT, {"instances": [None]}, 400, "Type: Null is not of expected type: string"),
    ("POST", PREDICT, {"instances": [True]}, 400, "Type: True is not of expected type: string"),
    ("POST", PREDICT, {"instances": [{"b64": "$$$"}]}, 400, "Unable to base64 decode"),
    ("POST", PREDICT, {"instances": [{"b64": "\u00e9"}]}, 400, "Unable to base64 decode"),
    ("POST", PREDICT, {"instances": [{"payload": {"x": 1}}]}, 400, "not formatted correctly for base64"),
    ("POST", PREDICT, {"instances": ["\ud800"]}, 400, "surrogate"),
    ("POST", PREDICT, {"instances": [{"other": "x"}]}, 400, "keys must be equal to: payload"),
    ("POST", PREDICT, {"instances": ["x", {"payload": "x"}]}, 400, "got object at item 1"),
    ("POST", PREDICT, {"instances": [{"payload": "x"}, "x"]}, 400, "got list at item 1"),
    ("POST", PREDICT, {"instances": [["x"], ["x"]]}, 400, r"shape \[2,1\], which does not fit"),
    ("POST", PREDICT, {"instances": ["x", ["x"]]}, 400, r"Expecting shape \[\] but got: \[1\]"),
    ("POST", PREDICT, {"inputs": "x"}, 400, r"shape \[\], which does not fit the signature's \[\?\]"),
    ("POST", PREDICT, {"inputs": {"other": []}}, 400, "Missing named input: payload"),
    ("POST", PREDICT, {"inputs": [["x"], "x"]}, 400, "found at incorrect level"),
    ("POST", PREDICT, {"inputs": ["x", ["x"]]}, 400, "Encountered list at unexpected level"),
    ("POST", PREDICT, {"inputs": [["x"], ["x", "x"]]}, 400, "Encountered list at unexpected size: 2"),
    ("POST", PREDICT, {"signature_name": 1}, 400, "'signature_name' key must be a string"),
    ("POST", PREDICT, {"signature_name": "serve"}, 400, 'signature name: "serve" not found'),
    ("POST", PREDICT, {"signature_name": "from_latent", "inputs": [1]}, 400, "does not fit the signature"),
    ("POST", PREDICT, {"signature_name": "from_latent", "inputs": ["1"]}, 400, "not of expected type: float"),
    ("POST", PREDICT, {"signature_name": "from_latent", "inputs": [2**24 + 1]}, 400, "loss of precision"),
    ("POST", PREDICT, {"signature_name": "from_latent", "inputs": [1e39]}, 400, "loss of precision"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_is_wrong_is_said_as_tensorflow_serving_says_it(ask, case):
    """Every malformed request gets TensorFlow Serving's code and an `error`; none raises."""
    method, target, body, expected, message = REFUSED[case]
    status, answer = ask(method, target, body)
    assert (status, list(answer)) == (expected, ["error"])
    assert re.search(message, answer["error"]), answer["error"]


def test_long_values_are_cut_in_errors(ask):
    """An error does not send a request of megabytes back."""
    status, answer = ask("POST", PREDICT, {"signature_name": 1, "inputs": "x" * 10**6})
    assert status == 400
    assert len(answer["error"]) < 500


def test_unpadded_base64_and_text_are_taken(ask, payloads):
    """As in TensorFlow Serving the padding may be left out, and a plain text is its bytes."""
    bare = [{"b64": one["b64"].rstrip("=")} for one in payloads]
    answer = ask("POST", PREDICT, {"instances": [*bare, "abc"]})[1]
    assert [row["status"] for row in answer["predictions"]] == [0, 0, 0, 2]
