"""The wire's checks in the tail's graph say what the reference says, payload by payload."""

import zlib

import numpy as np
import pytest
import tensorflow as tf

from isplit_edge import wire
from isplit_tf.export.serving.wire_graph import adler32, read_payloads

TAG = bytes.fromhex("0123456789abcdef")
SHAPES = {"int8": (3, 3, 5), "int16": (7,), "float32": (2, 1, 3)}
FORMATS = [("int8", None), ("int16", None), ("float32", None), ("int8", 4), ("int8", 2), ("int16", 8), ("int16", 4)]


def reader(dtype: str, shape: tuple[int, ...], bits: int | None = None):
    """The checks as a graph, as a server runs them."""
    return tf.function(
        lambda payload: read_payloads(payload, tag=TAG, dtype=dtype, shape=shape, bits=bits),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )


def strings(payloads: list[bytes]) -> tf.Tensor:
    """Payloads as a tensor of rank 1, however many there are."""
    return tf.constant(np.array(payloads, object), tf.string)


def spoiled(payload: bytes, rng: np.random.Generator) -> bytes:
    """A payload as a bad line or a stranger would leave it: cut, extended, with flipped bits, of another bundle."""
    kind = rng.integers(7)
    if kind == 0:
        return payload[: rng.integers(len(payload))]
    if kind == 1:
        return payload + rng.bytes(rng.integers(1, 40))
    if kind == 2:
        changed = bytearray(payload)
        changed[rng.integers(len(payload))] ^= 1 << rng.integers(8)
        return bytes(changed)
    if kind == 3:
        return rng.bytes(8) + payload[8:]
    if kind == 4:
        return rng.bytes(rng.integers(3 * len(payload)))
    if kind == 5:
        body = bytearray(payload[12:])
        body[rng.integers(len(body))] = rng.integers(256)
        return payload[:8] + zlib.adler32(body).to_bytes(4, "little") + body
    return payload


def latent(dtype: str, rng: np.random.Generator) -> np.ndarray:
    """A latent whose bytes take all values; some floats are not finite."""
    shape = SHAPES[dtype]
    if dtype != "float32":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    values = rng.normal(size=shape).astype(np.float32)
    if rng.random() < 0.3:
        values.flat[rng.integers(values.size)] = rng.choice([np.nan, np.inf, -np.inf])
    return values


@pytest.mark.parametrize(("dtype", "bits"), FORMATS)
def test_agrees_with_the_reference_on_fuzzed_payloads(dtype, bits):
    """Status and latent are those of `isplit_edge.wire.unpack` for 2,000 payloads, good and spoiled in one batch."""
    rng = np.random.default_rng(0)
    payloads = [spoiled(wire.pack(TAG, latent(dtype, rng), bits), rng) for _ in range(2000)]
    latents, status = (part.numpy() for part in reader(dtype, SHAPES[dtype], bits)(strings(payloads)))
    assert set(status) == {0, 1, 2}
    for index, payload in enumerate(payloads):
        expected, values = wire.unpack(payload, TAG, dtype, SHAPES[dtype], bits)
        assert status[index] == expected
        np.testing.assert_array_equal(latents[index], 0 if values is None else values)


@pytest.mark.parametrize(("dtype", "bits"), FORMATS)
def test_takes_no_payloads_and_empty_ones(dtype, bits):
    """A batch of none is answered with none; empty strings are malformed."""
    latents, status = reader(dtype, SHAPES[dtype], bits)(strings([]))
    assert latents.shape == (0, *SHAPES[dtype])
    assert status.shape == (0,)
    latents, status = reader(dtype, SHAPES[dtype], bits)(strings([b"", b""]))
    assert status.numpy().tolist() == [2, 2]
    assert not latents.numpy().any()


def test_refuses_payloads_of_another_rank():
    """A table of payloads is an error of the request, not a batch of nonsense."""
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="[Ss]hape"):
        read_payloads(tf.constant([[b"a", b"b"]]), tag=TAG, dtype="int8", shape=(3,))


def test_a_latent_of_one_element():
    """The smallest latent: one byte behind the header."""
    payload = wire.pack(TAG, np.array([-5], np.int8))
    latents, status = reader("int8", (1,))(strings([payload, payload[:-1]]))
    assert status.numpy().tolist() == [0, 2]
    assert latents.numpy().tolist() == [[-5], [0]]


@pytest.mark.parametrize(("bits", "size"), [(4, 3), (2, 5), (2, 6), (2, 7)])
def test_a_bit_left_over_is_malformed_whichever_it_is(bits, size):
    """Each bit behind the last element must be zero; the elements' own bits may be anything."""
    good = wire.pack(TAG, np.full(size, 127, np.int8), bits)
    used = size * bits % 8
    payloads = []
    for bit in range(8):
        body = bytearray(good[12:])
        body[-1] ^= 1 << bit
        payloads.append(TAG + zlib.adler32(body).to_bytes(4, "little") + body)
    status = reader("int8", (size,), bits)(strings(payloads))[1].numpy()
    assert status.tolist() == [0 if bit < used else 2 for bit in range(8)]


@pytest.mark.parametrize("size", [1, 2, 12, 2047, 2048, 2049, 5552, 65520, 65521, 65522, 4_000_037])
def test_adler_is_exact(size):
    """Adler-32 equals zlib's for random bytes and for the largest sums, at the edges of blocks and beyond 4 MB."""
    rows = np.stack(
        [
            np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8),
            np.full(size, 255, np.uint8),
            np.zeros(size, np.uint8),
        ]
    )
    found = tf.function(adler32)(tf.constant(rows)).numpy()
    assert found.tolist() == [zlib.adler32(row.tobytes()) for row in rows]
