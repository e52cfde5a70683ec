"""The messages that a device writes and reads, held against TensorFlow Serving's own classes."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import get_model_status_pb2 as status_pb2
from tensorflow_serving.apis import predict_pb2 as apis

from isplit_edge import messages
from isplit_edge.errors import ServerError


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(0, 2**63 - 1), st.text(max_size=20))
def test_requests_are_the_official_message(strings, version, name):
    """Model, version, signature and payloads of any bytes come out of the official parser as they went in."""
    spec = messages.model_spec(name, version, "serving_default")
    request = apis.PredictRequest.FromString(messages.predict_request(spec, "payload", strings))
    assert request.model_spec.name == name
    assert request.model_spec.HasField("version")
    assert request.model_spec.version.value == version
    assert request.model_spec.signature_name == "serving_default"
    assert request.inputs["payload"].dtype == tf.string.as_datatype_enum
    assert tf.make_ndarray(request.inputs["payload"]).tolist() == strings
    assert not apis.PredictRequest.FromString(messages.field(1, messages.model_spec(name))).model_spec.HasField(
        "version"
    )


ARRAYS = [
    np.array([[0.25, 0.75], [np.nan, 1e-30]], np.float32),
    np.zeros((0, 4), np.float32),
    np.full((3, 2), 0.5, np.float32),
    np.array([0, -1, 2**31 - 1, -(2**31)], np.int32),
    np.array(7, np.int32),
    np.array([1, 1, 1], np.int32),
]


@pytest.mark.parametrize("array", ARRAYS, ids=str)
@pytest.mark.parametrize("form", ["bytes", "values", "compact"])
def test_tensors_are_read_in_every_form(array, form):
    """As bytes, as single values, and with the last value standing for the rest."""
    tensor = tf.make_tensor_proto(array)
    if form == "bytes":
        for name in ("float_val", "int_val"):
            tensor.ClearField(name)
        tensor.tensor_content = array.tobytes()
    elif form == "values":
        tensor.ClearField("tensor_content")
        values = tensor.float_val if array.dtype == np.float32 else tensor.int_val
        values[:] = array.reshape(-1).tolist()
    found = messages.read_tensor(tensor.SerializeToString())
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


def test_outputs_by_name():
    """Outputs of other types are left out; they are none of a tail's."""
    response = apis.PredictResponse()
    response.outputs["probabilities"].CopyFrom(tf.make_tensor_proto(ARRAYS[0]))
    response.outputs["status"].CopyFrom(tf.make_tensor_proto(np.array([0, 2], np.int32)))
    response.outputs["words"].CopyFrom(tf.make_tensor_proto(["x"]))
    response.model_spec.name = "tail"
    found = messages.read_outputs(response.SerializeToString())
    assert sorted(found) == ["probabilities", "status"]
    np.testing.assert_array_equal(found["probabilities"], ARRAYS[0])
    assert found["status"].tolist() == [0, 2]


def test_states_by_version():
    """Every version with its state's name; an unknown state by its number."""
    response = status_pb2.GetModelStatusResponse()
    for version, state in ((3, 30), (4, 20), (5, 0)):
        response.model_version_status.add(version=version, state=state).status.error_message = "fine"
    found = messages.read_states(response.SerializeToString())
    assert found == {"3": "AVAILABLE", "4": "LOADING", "5": "UNKNOWN"}
    strange = messages.field(1, messages.integer_field(1, 9) + messages.integer_field(2, 77))
    assert messages.read_states(strange) == {"9": "77"}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_server_error(content):
    """Whatever a server sends is read or refused."""
    for read in (messages.read_outputs, messages.read_tensor, messages.read_states):
        with contextlib.suppress(ServerError):
            read(content)


@settings(deadline=None)
@given(st.data())
def test_a_changed_answer_raises_nothing_else(data):
    """An answer with bytes cut off, added or changed is read as something or refused."""
    response = apis.PredictResponse()
    response.outputs["probabilities"].CopyFrom(tf.make_tensor_proto(ARRAYS[0]))
    response.outputs["status"].CopyFrom(tf.make_tensor_proto(ARRAYS[3]))
    content = bytearray(response.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ServerError):
        messages.read_outputs(bytes(content[: data.draw(st.integers(0, len(content)))]))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"\x0b", "a field of kind 3"),
        (b"\x0a\x05ab", "a field is cut off"),
        (b"\x80" * 11, "a number does not end"),
        (messages.integer_field(1, 1) + messages.field(4, b"abc"), "no whole number of elements"),
        (messages.integer_field(1, 1) + messages.field(5, b"abc"), "floats that are cut off"),
        (messages.integer_field(1, 1) + messages.field(2, messages.integer_field(3, 1)), "unknown rank"),
        (
            messages.integer_field(1, 1) + messages.field(2, messages.field(2, messages.integer_field(1, 2**62))),
            "axes that cannot be",
        ),
        (
            messages.integer_field(1, 1) + messages.field(2, messages.field(2, messages.integer_field(1, 3))),
            r"0 numbers for a tensor of shape \[3\]",
        ),
        (messages.integer_field(1, 1) + messages.field(5, bytes(8)), r"2 numbers for a tensor of shape \[\]"),
    ],
)
def test_what_is_no_tensor_is_told(message, text):
    """A tensor that would need memory without end, or whose parts contradict each other, is refused by name."""
    with pytest.raises(ServerError, match=text):
        messages.read_tensor(message)
