"""The decoder in the tail's graph says what the reference says, for every payload and whatever stands beside it."""

import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf

from isplit_edge import ArgumentError, wire
from isplit_edge.code import Code
from isplit_edge.geometric import geometric_tables
from isplit_tf.export.serving.code_graph import Streams, decode_streams
from isplit_tf.export.serving.wire_graph import read_coded

TAG = bytes.fromhex("0123456789abcdef")
SHAPES = [(3, 4, 12), (1, 1, 40), (7, 7, 5), (60,), (2, 3, 3, 4), (1,)]


def latents(n, shape, rng):
    """Draw latents whose channels become quieter."""
    scale = 5.0 * 0.9 ** np.arange(shape[-1])
    values = rng.laplace(size=(n, *shape)) * scale + rng.integers(-3, 4, shape[-1])
    return np.clip(np.rint(values), -128, 127).astype(np.int8)


def reader(code, max_bytes):
    """The decoder as a graph, as a server runs it."""
    return tf.function(
        lambda payload: read_coded(payload, tag=TAG, code=code, max_bytes=max_bytes),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


def strings(payloads):
    """Payloads as a tensor of rank 1, however many there are."""
    return tf.constant(np.array(payloads, object), tf.string)


def sealed(body, tag=TAG):
    """A payload whose checksum is right."""
    return tag + zlib.adler32(body).to_bytes(4, "little") + bytes(body)


def spoiled(payload, rng):
    """A payload cut, extended, changed with or without its checksum, of another bundle, or of random bytes."""
    kind, body = rng.integers(9), bytearray(payload[12:])
    if kind == 0:
        return payload[: rng.integers(len(payload))]
    if kind == 1:
        return sealed(body + bytearray(rng.bytes(rng.integers(1, 4))))
    if kind == 2:
        changed = bytearray(payload)
        changed[rng.integers(len(payload))] ^= 1 << rng.integers(8)
        return bytes(changed)
    if kind == 3:
        return sealed(body, rng.bytes(8))
    if kind == 4:
        return sealed(rng.bytes(rng.integers(2 * len(payload))))
    if kind in (5, 6):
        for k in rng.integers(0, len(body), rng.integers(1, 4)):
            body[k] ^= 1 << rng.integers(8)
        return sealed(body)
    if kind == 7:
        body[rng.integers(min(3, len(body)))] = rng.integers(256)
        return sealed(body)
    return payload


def shortened(payload, symbols, code, rng):
    """The payload of the first channels, where so few bytes hold one."""
    try:
        return wire.pack_coded(TAG, symbols, code, int(rng.integers(14, len(payload))))
    except ArgumentError:
        return payload


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference_on_fuzzed_payloads(shape):
    """Status and latent are those of `isplit_edge.wire.unpack_coded` for 1,500 payloads, good and spoiled in one batch,
    of any rate."""
    rng = np.random.default_rng(0)
    code = Code.fit(latents(20, shape, rng))
    whole = [wire.pack_coded(TAG, one, code) for one in latents(1500, shape, rng)]
    max_bytes = max(map(len, whole)) - 1
    payloads = []
    for k, payload in enumerate(whole):
        status, symbols = wire.unpack_coded(payload, TAG, code, 10**6)
        assert status == 0
        payloads.append(spoiled(shortened(payload, symbols, code, rng) if k % 3 == 0 else payload, rng))
    found, status = (part.numpy() for part in reader(code, max_bytes)(strings(payloads)))
    assert set(status) == {0, 1, 2}
    for index, payload in enumerate(payloads):
        expected, values = wire.unpack_coded(payload, TAG, code, max_bytes)
        assert status[index] == expected
        np.testing.assert_array_equal(found[index], 0 if values is None else values)


def test_takes_no_payloads_and_empty_ones():
    """A batch of none is answered with none; empty strings, and what is too short for a header, are malformed."""
    code = Code.fit(latents(5, (3, 3, 4), np.random.default_rng(0)))
    read = reader(code, 200)
    found, status = read(strings([]))
    assert found.shape == (0, 3, 3, 4)
    assert status.shape == (0,)
    for batch in ([b""], [b"", b"x" * 14, b"\0" * 300]):
        assert read(strings(batch))[1].numpy().tolist() == [2] * len(batch)


def test_a_row_is_what_it_is_alone():
    """Rows of other lengths, numbers of lanes and channels change nothing, nor does a payload that never ends."""
    rng = np.random.default_rng(1)
    code = Code.fit(latents(20, (7, 7, 30), rng))
    read = reader(code, 2000)
    whole = [wire.pack_coded(TAG, one, code) for one in latents(6, (7, 7, 30), rng)]
    short = [
        wire.pack_coded(TAG, wire.unpack_coded(one, TAG, code, 2000)[1], code, 60 + 10 * k)
        for k, one in enumerate(whole)
    ]
    endless = sealed(b"\x1e\x00\x01\xff\xff" + b"\xff" * 1900)
    batch = [whole[0], endless, *short, b"", *whole[1:]]
    found, status = (part.numpy() for part in read(strings(batch)))
    for row, payload in enumerate(batch):
        alone, alone_status = read(strings([payload]))
        assert status[row] == alone_status.numpy()[0]
        np.testing.assert_array_equal(found[row], alone.numpy()[0])


def test_the_largest_magnitudes_and_a_single_lane_are_read():
    """What takes the most steps, magnitudes of 255 against tables that expect none, is decoded."""
    shape = (4, 4, 6)
    code = Code(geometric_tables(), [0] * 6, [31] * 6, [-128] * 6, shape)
    symbols = np.full(shape, 127, np.int8)
    payload = wire.pack_coded(TAG, symbols, code)
    found, status = reader(code, len(payload))(strings([payload]))
    assert status.numpy().tolist() == [0]
    np.testing.assert_array_equal(found.numpy()[0], symbols)


@pytest.mark.parametrize("limit", [None, 3])
def test_no_payload_takes_more_steps_than_the_largest_valid_one(limit, monkeypatch):
    """A lane of zeros that cost nothing is followed to the limit and no further; what needs more is malformed."""
    shape = (4, 4, 20)
    code = Code(geometric_tables(), [31] * 20, [31] * 20, [0] * 20, shape)
    if limit:
        monkeypatch.setattr(Code, "most_steps", limit)
    body = bytearray(code.encode(np.zeros(shape, np.int8)))
    symbols = np.zeros(shape, np.int8)
    symbols[0, 0, -1] = 1
    payload = wire.pack_coded(TAG, symbols, Code(code.tables, code.runs, code.magnitudes, code.centres, shape))
    status = reader(code, 500)(strings([payload, sealed(body)]))[1].numpy().tolist()
    assert status == [wire.unpack_coded(one, TAG, code, 500)[0] for one in (payload, sealed(body))]


def test_the_end_of_a_lane_within_a_magnitude_is_malformed_and_its_own():
    """A lane that is in the middle of a large magnitude when the steps are at an end spoils its payload alone."""
    shape = (4, 4, 6)
    code = Code(geometric_tables(), [0] * 6, [31] * 6, [-128] * 6, shape)
    good = wire.pack_coded(TAG, np.full(shape, 127, np.int8), code)
    bad = bytearray(good[12:])
    bad[3:] = b"\xff" * len(bad[3:])
    found, status = reader(code, len(good))(strings([sealed(bad), good, sealed(bad), good]))
    assert status.numpy().tolist() == [2, 0, 2, 0]
    np.testing.assert_array_equal(found.numpy()[[1, 3]], np.full((2, *shape), 127))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 4, 12), (7, 7, 5)])
def test_openvino_decodes_the_same(shape, tmp_path):
    """An engine that shares no code with TensorFlow decodes the bytes of payloads; it has no operators for strings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        openvino = pytest.importorskip("openvino", reason="openvino (180 MB) is not installed")
    rng = np.random.default_rng(2)
    code, symbols = Code.fit(latents(20, shape, rng)), latents(6, shape, rng)
    symbols[0].flat[0] = 127  # a magnitude of several operations
    bodies = [code.encode(one) for one in symbols]
    bodies[3] = bodies[3][:-1]
    rows = np.array([list(body.ljust(max(map(len, bodies)), b"\0")) for body in bodies], np.uint8)

    def decode(rows: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
        channels = tf.cast(rows[:, 0], tf.int32)
        latents, fine = decode_streams(Streams(rows, channels > 0, 2, length, channels), code)
        return {"latents": latents, "fine": fine}

    module = tf.Module()
    signature = [tf.TensorSpec([None, None], tf.uint8, "rows"), tf.TensorSpec([None], tf.int32, "length")]
    module.decode = tf.function(decode, input_signature=signature, autograph=False)
    tf.saved_model.save(module, str(tmp_path), signatures=module.decode)
    compiled = openvino.compile_model(openvino.convert_model(str(tmp_path)), "CPU")
    found = compiled({"rows": rows, "length": np.array([len(body) for body in bodies], np.int32)})
    good = [0, 1, 2, 4, 5]
    assert found["fine"].tolist() == [k in good for k in range(6)]
    np.testing.assert_array_equal(found["latents"][good], symbols[good])
