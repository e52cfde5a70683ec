"""The exported tail in engines other than TensorFlow's Python: its C library, which TensorFlow Serving is built on,
and OpenVINO."""

import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from isplit_edge import wire

SOURCE = Path(__file__).parent / "c_loader.c"


@pytest.fixture(scope="module")
def c_loader(tmp_path_factory) -> Path:
    """The C program, compiled against the libraries of the installed TensorFlow."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed: the C program that loads the SavedModel cannot be compiled")
    package = Path(tf.__file__).parent
    if not (package / "libtensorflow_cc.so.2").exists():
        pytest.skip("this TensorFlow ships no libtensorflow_cc.so.2 to link with")
    program = tmp_path_factory.mktemp("c") / "c_loader"
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    paths = [f"-I{package / 'include'}", f"-L{package}", f"-Wl,-rpath,{package}"]
    command = [compiler, "-O1", "-Wall", str(SOURCE), "-o", str(program), *paths, *libraries]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def saved_model(bundle) -> Path:
    """Where the bundle's SavedModel is."""
    return bundle.directory / "serving" / bundle.manifest.model_name / str(bundle.manifest.version)


def tensors(directory: Path) -> list[str]:
    """The tensors of `serving_default`, as the file itself names them."""
    record = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    signature = record.meta_graphs[0].signature_def["serving_default"]
    return [
        signature.inputs["payload"].name,
        signature.outputs["probabilities"].name,
        signature.outputs["status"].name,
    ]


def number(value: int) -> bytes:
    """32 bits, little-endian."""
    return value.to_bytes(4, "little")


def request(payloads: list[bytes]) -> bytes:
    """A batch of payloads as the C program reads it."""
    return number(len(payloads)) + b"".join(number(len(one)) + one for one in payloads)


def answers(output: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """What the C program wrote."""
    found = []
    while output:
        count, classes = np.frombuffer(output, "<u4", 2).tolist()
        middle = 8 + 4 * count * classes
        probabilities = np.frombuffer(output[8:middle], "<f4").reshape(count, classes)
        found.append((probabilities, np.frombuffer(output[middle : middle + 4 * count], "<i4")))
        output = output[middle + 4 * count :]
    return found


def test_tensorflows_c_loader_gives_the_same_answers(c_loader, shared_bundle, test_data):
    """TF_LoadSessionFromSavedModel, with no Python in the process, answers every payload, good or bad, with the same
    status and, to 1e-5, the same probabilities; an empty batch too."""
    payloads = shared_bundle.payloads(test_data[0])
    flipped = payloads[3][:40] + bytes([payloads[3][40] ^ 1]) + payloads[3][41:]
    other = wire.pack(bytes(8), np.zeros(shared_bundle.manifest.shapes["latent"], np.int8))
    mixed = [payloads[0], b"", payloads[1][:-1], payloads[2], payloads[2] + b"\0", flipped, other, payloads[4]]
    batches = [payloads, mixed, [], payloads[:1]]
    directory = saved_model(shared_bundle)
    done = subprocess.run(
        [str(c_loader), str(directory), *tensors(directory)],
        input=b"".join(map(request, batches)),
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = answers(done.stdout)
    assert len(found) == len(batches)
    for batch, (probabilities, status) in zip(batches, found, strict=True):
        expected, expected_status = shared_bundle.answer(batch, batch_size=64)
        np.testing.assert_array_equal(status, expected_status)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert found[1][1].tolist() == [0, 2, 2, 0, 2, 2, 1, 0]


def test_tensorflows_c_loader_decodes(c_loader, coded_bundle, test_data):
    """Coded payloads, at their full length and cut at a channel, good and bad in one batch, are decoded without Python
    and without operators of ours."""
    payloads = [*coded_bundle.payloads(test_data[0]), *coded_bundle.at(60).payloads(test_data[0][:9])]
    bad = [b"", payloads[0][:-1], payloads[1] + b"\0", bytes(8) + payloads[2][8:], payloads[3][:14]]
    batches = [payloads, [payloads[0], *bad, payloads[-1]], bad, [], payloads[:1]]
    directory = saved_model(coded_bundle)
    done = subprocess.run(
        [str(c_loader), str(directory), *tensors(directory)],
        input=b"".join(map(request, batches)),
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = answers(done.stdout)
    assert len(found) == len(batches)
    for batch, (probabilities, status) in zip(batches, found, strict=True):
        expected, expected_status = coded_bundle.answer(batch, batch_size=128)
        np.testing.assert_array_equal(status, expected_status)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert found[1][1].tolist() == [0, 2, 2, 2, 1, 2, 0]


def test_the_variables_file_holds_each_weight_once(shared_bundle, halves):
    """The bytes on disk are those of the weights of decoder and tail, once, beside a small description."""
    (data,) = (saved_model(shared_bundle) / "variables").glob("variables.data-*")
    stored = tf.train.list_variables(str(saved_model(shared_bundle) / "variables" / "variables"))
    described = [name for name, _ in stored if name.startswith("_")]
    reader = tf.train.load_checkpoint(str(saved_model(shared_bundle) / "variables" / "variables"))
    overhead = sum(len(reader.get_tensor(name)) for name in described)
    weights = [one for model in (halves.decoder, halves.tail) for one in model.weights]
    size = sum(one.numpy().nbytes for one in weights)
    assert size <= data.stat().st_size <= size + overhead + 64 * len(stored)
    assert data.stat().st_size - overhead < 1.1 * size


@pytest.mark.slow
def test_openvino_gives_the_same_probabilities(shared_bundle, test_data):
    """An engine that shares no code with TensorFlow reads the same files and agrees on `from_latent`; it has no
    operators for the strings of `serving_default`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        openvino = pytest.importorskip("openvino", reason="openvino (180 MB) is not installed")
        loaded = tf.saved_model.load(str(saved_model(shared_bundle)))
        shape = shared_bundle.manifest.shapes["latent"]
        tail = loaded.signatures["from_latent"]
        model = openvino.convert_model(tail, example_input={"latent": tf.zeros((1, *shape))})
    # By itself it computes in bfloat16 where the processor can.
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    manifest = shared_bundle.manifest
    codes = [wire.unpack(one, manifest.tag, manifest.dtype, shape)[1] for one in shared_bundle.payloads(test_data[0])]
    latents = (np.array(codes, np.float32) - manifest.zero_point) * np.float32(manifest.scale)
    found = next(iter(compiled({"latent": latents}).values()))
    np.testing.assert_allclose(found, tail(latent=tf.constant(latents))["probabilities"], atol=1e-5)
