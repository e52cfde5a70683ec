"""The Android kit: its Kotlin compiles, and what it sends is what isplit_edge sends, bit for bit."""

import base64
import contextlib
import json
import shutil
import socket
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import sources

import isplit_tf as isplit
from isplit_edge import ArgumentError, Client, Head, Manifest
from isplit_edge.code import Code
from isplit_edge.rest import predict_body
from support import jvm
from support.code_vectors import vectors
from support.kinds import CODED_KINDS, KINDS

# Compiling takes over ten seconds, once.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def command(tmp_path_factory) -> list[str]:
    """Compiles the application and the harness."""
    try:
        return jvm.compile_application(tmp_path_factory.mktemp("android"))
    except jvm.NoCompilerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def running(command):
    """One Java machine for all tests."""
    application = jvm.Application(command)
    yield application
    application.close()


@pytest.fixture
def opened(running, kit_bundle):
    """Opens the bundle of a kind in the Java machine."""

    def open_kind(name: str) -> tuple[jvm.Application, Head]:
        head = Head(kit_bundle(name))
        running.open(kit_bundle(name), head)
        running.inputs.clear()
        return running, head

    return open_kind


@pytest.mark.parametrize("name", [*KINDS, *CODED_KINDS])
def test_inputs_and_payloads_are_those_of_python(opened, raw_images, name):
    """Preprocessing, quantization and wire format agree with isplit_edge in every bit, for every kind of head."""
    application, head = opened(name)
    images = raw_images(name)
    payloads = [application.image("payload", image) for image in images]
    assert application.inputs == [head.prepare(frame).tobytes() for frame in head.frames(images)]
    assert payloads == head.payloads(images)


@pytest.mark.parametrize(("shape", "precision"), [((12, 9), "int8"), ((20, 6), "int16x8"), ((5, 4, 3, 2), "float32")])
def test_inputs_that_are_no_images_are_scaled_as_in_python(running, rng, tmp_path, shape, precision):
    """Numbers of any shape are scaled to the same bits; of two axes they may also be a grey picture."""
    inputs = keras.Input(shape)
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten(name="flat")(inputs))
    halves = isplit.split(keras.Model(inputs, outputs), "flat", isplit.Autoencoder(0.5, seed=0))
    record = {"scale": 1 / 255, "mean": list(np.linspace(0, 1, shape[-1])), "std": [0.3]}
    images = rng.integers(0, 256, (100, *shape), np.uint8)
    isplit.export_bundle(
        halves, tmp_path / "b", representative_data=images, precision=precision, preprocessing=record, progress=False
    )
    head = Head(tmp_path / "b")
    running.open(tmp_path / "b", head)
    for image in images[:5]:
        payload = running.ask("numbers", image.astype("<f4").tobytes())
        assert payload == head.payloads(image)[0]
        if len(shape) == 2:
            assert running.image("payload", image[..., None]) == payload
    with pytest.raises(jvm.KotlinError, match="DataException: The model's input .* numbers. Received: 1"):
        running.ask("numbers", bytes(4))


@pytest.mark.parametrize("name", ["caffe int8", "nearest int16", "sigmoids float16"])
def test_any_size_of_picture_is_resized_as_python_does(opened, rng, name):
    """Pictures of one pixel, of one row, smaller, larger and oblong give the same bits."""
    application, head = opened(name)
    sizes = [
        (1, 1),
        (1, 7),
        (9, 1),
        (2, 3),
        (8, 8),
        (13, 11),
        (14, 10),
        (64, 5),
        (97, 101),
        *rng.integers(1, 60, (20, 2)),
    ]
    images = [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in sizes]
    for image in images:
        application.image("payload", image)
    assert application.inputs == [head.prepare(head.frames(image)[0]).tobytes() for image in images]


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_from_a_camera_fits_as_on_a_raspberry_pi(opened, rng, name):
    """Both kits make the same image of a picture of another size, where the bundle itself does not resize."""
    application, head = opened(name)
    picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
    expected = sources.fitted(picture, head.manifest)
    assert application.image("fitted", picture) == expected.tobytes()


@pytest.mark.parametrize("name", [*KINDS, *CODED_KINDS])
def test_answers_are_those_of_the_client(opened, raw_images, kit_bundle, name):
    """End to end against the local server: class, probabilities and size are those of isplit_edge's client."""
    from isplit_tf.server import Server

    application, _ = opened(name)
    images = raw_images(name)
    with Server(kit_bundle(name), port=0) as server, Client(kit_bundle(name), server.url, max_batch=1) as client:
        expected = client.run(images)
        manifest = client.manifest
        for row, image in enumerate(images):
            payload = application.image("payload", image)
            status, probabilities = _row(application.ask(f"ask {server.url}", payload))
            assert status == 0
            np.testing.assert_array_equal(probabilities, expected.probabilities[row])
            label, size, *times = application.image("classify", image, server.url).decode().rsplit(" ", 4)
            assert label == manifest.class_names[expected.classes[row]]
            assert int(size) == len(payload)
            assert all(float(ms) >= 0 for ms in times)


def test_payloads_of_others_and_malformed_ones_come_back_with_a_status(opened, raw_images, kit_bundle):
    """The server's bare NaN is read, and the status says why there is no answer."""
    from isplit_tf.server import Server

    application, head = opened("caffe int8")
    good = head.payloads(raw_images("caffe int8")[:1])[0]
    with Server(kit_bundle("caffe int8"), port=0) as server:
        for payload, expected in ((bytes(8) + good[8:], 1), (good[:-1], 2), (b"", 2)):
            status, probabilities = _row(application.ask(f"ask {server.url}", payload))
            assert status == expected
            assert np.isnan(probabilities).all()


def test_failures_of_the_server_have_a_reason(opened, raw_images, kit_bundle, tmp_path):
    """A server that is away, or has another version, and an address that is none, are told apart."""
    from isplit_tf.server import Server

    application, head = opened("caffe int8")
    payload = head.payloads(raw_images("caffe int8")[:1])[0]
    with Server(kit_bundle("grey int8"), port=0) as server:
        changed = _changed(kit_bundle("caffe int8"), tmp_path / "other", lambda record: record.update(version=7))
        application.open(changed, Head(changed))
        with pytest.raises(jvm.KotlinError, match="ServerException: .* answered HTTP 404: .*7"):
            application.ask(f"ask {server.url}", payload)
    with pytest.raises(jvm.KotlinError, match="ServerException: .* cannot be reached: "):
        application.ask(f"ask {server.url}", payload)
    for url in ("server:8501", "ftp://server", "http://", "http://user@server:1", "http://server/?a=b"):
        with pytest.raises(jvm.KotlinError, match="DataException: The server's address looks like"):
            application.ask(f"ask {url}", payload)


def test_coded_latents_are_those_of_python(running):
    """The stored vectors, and random latents at random rates, give the same bytes; what nothing fits gives none."""
    cases = list(vectors())
    rng = np.random.default_rng(0)
    for _ in range(40):
        shape = (*rng.integers(1, 12, 2).tolist(), int(rng.integers(1, 30)))
        values = np.rint(rng.laplace(size=(2, *shape)) * rng.choice([0.3, 3, 50]) * 0.95 ** np.arange(shape[-1]))
        latents = np.clip(values, -128, 127).astype(np.int8)
        code = Code.fit(latents)
        bound = int(rng.integers(5, len(code.encode(latents[0])) + 9))
        try:
            expected = code.encode(latents[0], bound)
        except ArgumentError:
            expected = b""
        cases.append({"code": code, "latent": latents[0], "max_bytes": bound, "expected": expected})
    for case in cases:
        record = case["code"].to_json() | {"latent": case["latent"].ravel().tolist(), "max_bytes": case["max_bytes"]}
        assert running.ask("encode", json.dumps(record).encode()) == case["expected"]


def test_requests_are_byte_for_byte_those_of_python(running):
    """The body of a request is that of isplit_edge."""
    payload = bytes(range(256))
    assert running.ask("body", payload) == predict_body([payload, payload])
    assert base64.b64encode(payload) in predict_body([payload])


@pytest.mark.parametrize(
    "row",
    [
        {"status": 0, "probabilities": [0.5, 0.5, 0.0]},
        {"status": 0, "probabilities": [0.5, 0.5, 0.5, 0.5]},
        {"status": 0, "probabilities": [float("nan")] * 4},
        {"status": 0, "probabilities": [2.0, -1.0, 0.0, 0.0]},
        {"status": 3, "probabilities": [0.25] * 4},
        {"status": 0.0, "probabilities": [0.25] * 4},
        {"status": 0, "probabilities": ["0.25"] * 4},
        {"status": 0},
        [0.25] * 4,
    ],
)
def test_what_is_no_answer_is_refused(opened, row):
    """A row that cannot be the answer of this bundle's tail is an error, never a class."""
    application, _ = opened("caffe int8")
    good = {"status": 0, "probabilities": [0.25, 0.25, 0.25, 0.25]}
    assert len(application.ask("rows 1", json.dumps({"predictions": [good]}).encode())) == 20
    with pytest.raises(jvm.KotlinError, match="ServerException: A row is no answer"):
        application.ask("rows 2", json.dumps({"predictions": [good, row]}).encode())


DROPS = {
    "a head": [b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n"] * 500],
    "a line": [b"HTTP/1.1 200 OK\r\nA: ", *[b"b"] * 500],
    "a body": [b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n", *[b" "] * 500],
    "nothing": [b""] * 500,
}


@pytest.mark.parametrize("case", DROPS)
def test_a_dripping_answer_is_given_up(opened, raw_images, case):
    """A byte now and then does not keep the application waiting beyond the time for the whole request."""
    application, head = opened("caffe int8")
    payload = head.payloads(raw_images("caffe int8")[:1])[0]
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                for drop in DROPS[case]:
                    connection.sendall(drop)
                    if stop.wait(0.05):
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(jvm.KotlinError, match="ServerException: .* did not answer in time"):
            application.ask(f"ask http://127.0.0.1:{listener.getsockname()[1]} 500", payload)
        assert time.monotonic() - begin < 10
        stop.set()
        thread.join()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"predictions": []}', '{"error": "x"}', "<html>", "NaN"])
def test_what_is_no_list_of_rows_is_refused(opened, text):
    """Anything else than rows, one for each payload, is an error."""
    application, _ = opened("caffe int8")
    with pytest.raises(jvm.KotlinError, match="ServerException"):
        application.ask("rows 1", text.encode())


VALID = [
    "0",
    "-0",
    "12",
    "-1.5e3",
    "1E-2",
    '"a\\u0041\\n\\"\\/"',
    "[]",
    "[1,[2,{}]]",
    ' {"a" : [ true , null ] }\n',
    '"é"',
]
INVALID = [
    "", " ", "01", "1.", ".5", "+1", "1e", "--1", "'a'", '"a', '"\\x"', '"\\u12g4"', '"\t"', "[1,]", "[,1]", "[1 2]",
    '{"a"}', '{"a":1,}', "{a:1}", '{1:2}', "tru", "nul", "NaN", "-Infinity", "1 2", "[1]]", "\ufeff1", "0x1", "1f", "١",
]  # fmt: skip


@pytest.mark.parametrize("text", VALID)
def test_json_is_read_as_python_reads_it(running, text):
    """Whatever is JSON is read, to the same value."""
    expected = running.ask("json strict", json.dumps(json.loads(text), ensure_ascii=False).encode())
    assert running.ask("json strict", text.encode()) == expected


@pytest.mark.parametrize("text", INVALID)
def test_what_is_not_json_is_refused(running, text):
    """Nothing else is read, bare NaN included where it is not asked for."""
    with pytest.raises(jvm.KotlinError, match="JsonException"):
        running.ask("json strict", text.encode())


def test_json_has_its_limits(running):
    """Depth does not exhaust the stack, a key counts once, and NaN is read where it is asked for."""
    with pytest.raises(jvm.KotlinError, match="more than 100 levels"):
        running.ask("json strict", b"[" * 100_000)
    with pytest.raises(jvm.KotlinError, match="twice"):
        running.ask("json strict", b'{"a": 1, "a": 2}')
    assert running.ask("json nan", b"[NaN, -Infinity, Infinity]") == b"[NaN, -Infinity, Infinity]"
    assert running.ask("json strict", str(2**63 - 1).encode()) == b"9223372036854775807"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format_version=2), "format_version is 2, newer than this application knows"),
        (lambda r: r.update(wire_version=9), "wire_version is 9, newer"),
        (lambda r: r.update(wire_version=0), "wire_version must be"),
        (lambda r: r.update(wire_version=2), "wire_version must be 1"),
        (lambda r: r.update(wire_version=3), "wire_version must be 1"),
        (lambda r: r.update(wire_version=3, code={}), "manifest.code lacks tables"),
        (lambda r: r.update(latent_bits=4), "wire_version must be 2"),
        (lambda r: r.update(latent_bits=3, wire_version=2), "latent_bits must be 2, 4 or 8, fewer"),
        (lambda r: r.update(latent_bits=8, wire_version=2), "latent_bits must be 2, 4 or 8, fewer"),
        (lambda r: r.update(latent_bits=4, wire_version=2), "payload_bytes must be"),
        (lambda r: r.update(bundle_id="XY"), "bundle_id must be"),
        (lambda r: r.update(model_name="../tail"), "model_name must be"),
        (lambda r: r.update(version=0), "version must be"),
        (lambda r: r.update(n_classes=1), "n_classes must be"),
        (lambda r: r.update(class_names=["a"]), "class_names must be 4 names"),
        (lambda r: r.update(dtype="uint8"), "dtype must be one of float32, int8, int16"),
        (lambda r: r.update(scale=None), "scale and zero_point must be"),
        (lambda r: r.update(byte_order="big"), "byte_order must be one of little"),
        (lambda r: r.update(payload_bytes=r["payload_bytes"] + 1), "payload_bytes must be"),
        (lambda r: r["shapes"].update(latent=[]), "latent must be"),
        (lambda r: r["shapes"].update(input=[13, 11, 3.0]), "input must be"),
        (lambda r: r["preprocessing"].update(size=[13, 12]), "preprocessing.size must be"),
        (lambda r: r["preprocessing"].update(mean=[1.0, 2.0]), "one for each channel"),
        (lambda r: r["preprocessing"].update(channel_order="GBR"), "channel_order must be"),
        (lambda r: r["preprocessing"].pop("std"), "lacks std"),
        (lambda r: r["files"].clear(), "lacks edge/head.tflite"),
        (lambda r: r["files"]["edge/head.tflite"].update(sha256="0" * 64), "is not the one that the manifest names"),
        (lambda r: r.update(scale=r["scale"] * 2), "not the head that the manifest describes: output scale"),
        (lambda r: r["shapes"].update(latent=[*r["shapes"]["latent"][::-1], 1]), "output shape"),
    ],
)
def test_a_bundle_that_is_not_right_is_refused(running, kit_bundle, tmp_path, change, message):
    """A manifest that is newer, incomplete, contradictory, or of another head does not load."""
    bundle = kit_bundle("caffe int8")
    changed = _changed(bundle, tmp_path / "bundle", change)
    with pytest.raises(jvm.KotlinError, match=f"BundleException: .*{message}"):
        running.open(changed, Head(bundle))


def test_images_of_another_shape_are_refused(opened):
    """A bundle that does not resize takes one size; no bundle takes other channels."""
    application, _ = opened("grey int8")
    with pytest.raises(jvm.KotlinError, match="DataException: Images must be 12 x 12. Received: 12 x 13"):
        application.image("payload", np.zeros((12, 13, 1), np.uint8))
    with pytest.raises(jvm.KotlinError, match="DataException: Images must have 1 channels. Received: 3"):
        application.image("payload", np.zeros((12, 12, 3), np.uint8))


def test_the_kit_reads_the_versions_that_this_project_writes():
    """Format and wire version in the Kotlin code are those of isplit_edge."""
    from isplit_edge import manifest, wire

    sources = "".join(path.read_text() for path in jvm.SOURCES.rglob("*.kt"))
    assert f"FORMAT_VERSION = {manifest.FORMAT_VERSION}L" in sources
    assert f" VERSION = {wire.WIRE_VERSION}L" in sources
    assert f"CODED_VERSION = {wire.CODED_WIRE_VERSION}L" in sources
    assert f"PACKED_VERSION = {wire.PACKED_WIRE_VERSION}L" in sources
    assert f"HEADER_BYTES = {wire.HEADER_BYTES}" in sources


def _row(data: bytes) -> tuple[int, np.ndarray]:
    return int.from_bytes(data[:4], "little"), np.frombuffer(data, "<f4", offset=4)


def _changed(bundle: Path, target: Path, change) -> Path:
    shutil.copytree(bundle / "edge", target / "edge")
    record = Manifest.load(bundle).to_dict()
    change(record)
    (target / "manifest.json").write_text(json.dumps(record))
    return target
