"""The head: what goes in, what comes out, and a head that is not the manifest's."""

import json
import shutil
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from isplit_edge import BundleError, DataError, Head, Manifest, MissingDependencyError, wire
from isplit_edge.interpreter import quantize
from support.handmade import write_bundle


def run_alone(model: bytes, x: np.ndarray) -> np.ndarray:
    """What LiteRT itself gives for one input, (1, ...)."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def latent_of(payload: bytes, manifest: Manifest) -> np.ndarray:
    """The latent in a payload."""
    status, latent = wire.unpack(payload, manifest.tag, manifest.dtype, manifest.shapes["latent"])
    assert status == wire.STATUS_OK
    return latent


def test_a_float_heads_output_is_the_payload(bundles, heads, images):
    """Raw images are cast, the head runs one by one, and its output travels unchanged."""
    head = Head(bundles["float32"])
    payloads = head.payloads(images)
    assert [len(payload) for payload in payloads] == [head.manifest.payload_bytes] * 5
    for image, payload in zip(images, payloads, strict=True):
        expected = run_alone(heads["float32"], image[None].astype(np.float32))
        np.testing.assert_array_equal(latent_of(payload, head.manifest), expected[0])


def test_an_int8_heads_output_is_the_payload(bundles, heads):
    """Floats are quantized with the head's own scale and zero point; int8 comes out and is sent as it is."""
    head = Head(bundles["int8"])
    x = np.random.default_rng(2).normal(size=(4, 8, 6, 3)).astype(np.float32)
    scale, zero_point = Interpreter(model_content=heads["int8"]).get_input_details()[0]["quantization"]
    for one, payload in zip(x, head.payloads(x, preprocessed=True), strict=True):
        whole = np.clip(np.round(one / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        latent = latent_of(payload, head.manifest)
        assert latent.dtype == np.int8
        np.testing.assert_array_equal(latent, run_alone(heads["int8"], whole[None])[0])


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_batch_gives_what_its_images_give_alone(bundles, images, precision):
    """No image leaves a trace in the next one's payload."""
    head = Head(bundles[precision], num_threads=1)
    alone = [head.payloads(image)[0] for image in images]
    assert head.payloads(images) == alone
    assert head.payloads(images[::-1]) == alone[::-1]


def test_preprocessing_is_applied_to_raw_images_only(heads, tmp_path, images):
    """Raw images through a record give what arrays in the model's own space give."""
    record = {
        "name": None,
        "size": [8, 6],
        "resize": "nearest",
        "scale": 1 / 127.5,
        "mean": 1.0,
        "std": 1.0,
        "channel_order": "BGR",
    }
    head = Head(write_bundle(tmp_path / "b", heads["float32"], preprocessing=record))
    ready = images[..., ::-1].astype(np.float32) * np.float32(1 / 127.5) - 1
    assert head.payloads(images) == head.payloads(ready, preprocessed=True)
    twice = images.repeat(2, axis=1).repeat(2, axis=2)
    assert head.payloads(twice) == head.payloads(images)


def test_quantizing_rounds_halves_away_from_zero():
    """On numbers worked out by hand, scale 0.5 and zero point 3; what is out of range ends at the limits."""
    x = np.array([0, 0.24, 0.25, -0.25, 0.74, 0.75, -0.75, 1e9, -1e9, 62, -65.5])
    found = quantize(x, np.float32(0.5), 3, np.dtype(np.int8))
    assert found.tolist() == [3, 3, 4, 2, 4, 5, 1, 127, -128, 127, -128]
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert quantize(np.array([below, -below, 0.5]), np.float32(1), 0, np.dtype(np.int16)).tolist() == [0, 0, 1]


def test_quantizing_is_that_of_tflites_reference_kernel(heads):
    """Equal to the QUANTIZE operator inside a float-to-int8 head, at every half too."""
    interpreter = Interpreter(
        model_content=heads["float_to_int8"],
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    start = interpreter.get_input_details()[0]["index"]
    details = {one["index"]: one for one in interpreter.get_tensor_details()}
    inner = next(
        operator["outputs"][0] for operator in interpreter._get_ops_details() if operator["op_name"] == "QUANTIZE"
    )
    scale, zero_point = details[inner]["quantization"]
    halves = (np.arange(144).reshape(1, 8, 6, 3) - 72.5).astype(np.float32) * np.float32(scale)
    noise = np.random.default_rng(3).normal(size=(20, 1, 8, 6, 3)).astype(np.float32) * 3
    for x in [halves, *noise]:
        interpreter.set_tensor(start, x)
        interpreter.invoke()
        expected = interpreter.get_tensor(inner)
        found = quantize(x, np.float32(scale), zero_point, np.dtype(np.int8))
        np.testing.assert_array_equal(found, expected)


def test_wrong_images_are_refused(bundles):
    """The head checks what it is given."""
    head = Head(bundles["float32"])
    with pytest.raises(DataError, match="Images must be 8 x 6"):
        head.payloads(np.zeros((9, 6, 3), np.uint8))
    with pytest.raises(DataError, match="Raw images must be uint8"):
        head.payloads(np.zeros((8, 6, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"shapes": {"input": [8, 8, 3], "cut": [4, 3, 2], "latent": [4, 3, 2]}},
            r"input shape \(1, 8, 6, 3\), \(1, 8, 8",
        ),
        (
            {"shapes": {"input": [8, 6, 3], "cut": [4, 3, 2], "latent": [24]}},
            r"output shape .*, \(1, 24\) in the manifest",
        ),
        ({"dtype": "int8", "scale": 0.5, "zero_point": 0, "payload_bytes": 36}, "output dtype float32, int8 in the"),
    ],
)
def test_a_head_that_the_manifest_does_not_describe_is_refused(heads, tmp_path, change, message):
    """Shapes and dtype of the file are compared with the manifest when the head is opened."""
    with pytest.raises(BundleError, match=message):
        Head(write_bundle(tmp_path / "b", heads["float32"], **change))


def test_a_head_of_another_scale_is_refused(bundles, heads, tmp_path):
    """A manifest with another scale would make the server read other numbers."""
    whole = Manifest.load(bundles["int8"]).to_dict()
    with pytest.raises(BundleError, match="output scale and zero point"):
        Head(write_bundle(tmp_path / "b", heads["int8"], **(whole | {"scale": whole["scale"] * 2})))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    """Right hash, wrong bytes: the message names the file."""
    with pytest.raises(BundleError, match=r"head.tflite is not a model that LiteRT can run"):
        Head(write_bundle(tmp_path / "b", b"not a model"))


def test_a_changed_bundle_is_refused(bundle):
    """The head opens nothing whose hash is not right."""
    path = bundle / "edge/head.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="its SHA-256 is not that in the manifest"):
        Head(bundle)


def test_a_missing_interpreter_is_named(bundles, monkeypatch):
    """Without ai-edge-litert the message holds the line that installs it."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingDependencyError, match="pip install ai-edge-litert"):
        Head(bundles["float32"])


def test_serving_need_not_be_there(bundle):
    """A device that copied manifest.json and edge/ alone has all that a head needs."""
    record = json.loads((bundle / "manifest.json").read_text())
    record["files"]["serving/tail/1/saved_model.pb"] = {"sha256": "0" * 64, "size_bytes": 1}
    (bundle / "manifest.json").write_text(json.dumps(record))
    shutil.rmtree(bundle / "serving", ignore_errors=True)
    assert Head(bundle).payloads(np.zeros((8, 6, 3), np.uint8))
