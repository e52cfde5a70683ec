"""The bytes on the wire, against literal ones, and against every kind of damage."""

import zlib

import numpy as np
import pytest

from isplit_edge import ArgumentError, wire

TAG = bytes.fromhex("0123456789abcdef")


def test_a_payload_is_tag_checksum_and_latent():
    """The layout is the documented one, byte for byte: Adler-32 of 01 ff is 0x01030101."""
    payload = wire.pack(TAG, np.array([[1], [-1]], np.int8))
    assert payload.hex() == "0123456789abcdef" + "01010301" + "01ff"


@pytest.mark.parametrize(
    ("latent", "body"),
    [
        (np.array([1.0, -2.0], np.float32), "0000803f" + "000000c0"),
        (np.array([1.0, -2.0], ">f4"), "0000803f" + "000000c0"),
        (np.array([258, -1], np.int16), "0201" + "ffff"),
    ],
)
def test_latents_are_little_endian(latent, body):
    """Every dtype travels little-endian, whatever the order in memory."""
    assert wire.pack(TAG, latent)[wire.HEADER_BYTES :].hex() == body


def test_latents_are_row_major():
    """A transposed view is sent as it is indexed, not as it lies in memory."""
    latent = np.arange(6, dtype=np.int8).reshape(2, 3).T
    assert wire.pack(TAG, latent)[wire.HEADER_BYTES :] == bytes([0, 3, 1, 4, 2, 5])


@pytest.mark.parametrize("dtype", wire.DTYPES)
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (1, 1, 512), (3, 5, 2)])
def test_unpack_gives_back_what_was_packed(dtype, shape):
    """What one side packs the other reads, exactly, and its length is the one that was announced."""
    latent = (np.random.default_rng(0).normal(size=shape) * 50).astype(dtype)
    payload = wire.pack(TAG, latent[None])
    assert len(payload) == wire.payload_bytes(dtype, shape)
    status, found = wire.unpack(payload, TAG, dtype, shape)
    assert status == wire.STATUS_OK
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, latent)


@pytest.mark.parametrize(
    ("latent", "bits", "body"),
    [
        # Levels 8, 7, 15: 8 + 16 * 7, then 15 and four bits left over.
        (np.array([1, -1, 127], np.int8), 4, "78" + "0f"),
        # Levels 0, 1, 2, 3, 2: 0 + 4 * 1 + 16 * 2 + 64 * 3, then 2 and six bits left over.
        (np.array([-128, -1, 0, 127, 63], np.int8), 2, "e4" + "02"),
        (np.array([-32768, 0, 32767], np.int16), 8, "0080ff"),
        (np.array([-32768, 0, 32767], ">i2"), 8, "0080ff"),
        (np.array([-32768, 0, 32767], np.int16), 2, "38"),
    ],
)
def test_fewer_bits_lie_side_by_side(latent, bits, body):
    """The highest bits of each element, the first element in the lowest bits, zeros at the end; worked out by hand."""
    payload = wire.pack(TAG, latent, bits)
    assert payload[wire.HEADER_BYTES :].hex() == body
    assert len(payload) == wire.payload_bytes(latent.dtype.name, latent.shape, bits)


@pytest.mark.parametrize(("dtype", "bits"), [("int8", 2), ("int8", 4), ("int16", 2), ("int16", 4), ("int16", 8)])
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (1, 1, 512), (3, 5, 2)])
def test_unpack_gives_back_the_levels(dtype, bits, shape):
    """Every integer is within half a step of the middle of its level, and levels come back row by row."""
    limits = np.iinfo(dtype)
    latent = np.random.default_rng(0).integers(limits.min, limits.max, shape, dtype, endpoint=True)
    status, found = wire.unpack(wire.pack(TAG, latent[None], bits), TAG, dtype, shape, bits)
    assert status == wire.STATUS_OK
    np.testing.assert_array_equal(found, wire.levels(latent, bits))
    np.testing.assert_array_equal(found, (latent.astype(int) - limits.min) // 2 ** (limits.bits - bits))
    assert found.max() < 2**bits
    step = 2 ** (limits.bits - bits)
    assert np.abs(wire.middles(found, dtype, bits) - latent).max() <= (step - 1) / 2


def test_bits_left_over_are_zero():
    """A payload that is well-formed but for a bit behind the last element is malformed."""
    for bits, shape in ((4, (3,)), (2, (5,))):
        good = wire.pack(TAG, np.zeros(shape, np.int8), bits)
        body = bytearray(good[wire.HEADER_BYTES :])
        body[-1] |= 0x80
        bad = TAG + zlib.adler32(body).to_bytes(4, "little") + body
        assert wire.unpack(good, TAG, "int8", shape, bits)[0] == wire.STATUS_OK
        assert wire.unpack(bad, TAG, "int8", shape, bits) == (wire.STATUS_MALFORMED, None)


def test_another_tag_is_another_bundle():
    """A well-formed payload with another tag is told from a broken one."""
    payload = wire.pack(bytes(8), np.ones(4, np.int8))
    assert wire.unpack(payload, TAG, "int8", (4,)) == (wire.STATUS_OTHER_BUNDLE, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tag", [TAG, bytes(8)])
def test_a_latent_that_is_not_finite_is_malformed(value, tag):
    """A float latent with NaN or infinity is malformed, whichever bundle it says it is of."""
    payload = wire.pack(tag, np.array([1, value], np.float32))
    assert wire.unpack(payload, TAG, "float32", (2,)) == (wire.STATUS_MALFORMED, None)


@pytest.mark.parametrize(
    ("dtype", "bits"), [("float32", None), ("int8", None), ("int16", None), ("int8", 4), ("int8", 2), ("int16", 8)]
)
def test_damaged_payloads_never_pass_and_never_raise(dtype, bits):
    """Cut, extended or with any one byte changed, a payload is refused: with status 1 only if its tag changed."""
    rng = np.random.default_rng(7)
    latent = (rng.normal(size=(3, 4)) * 50).astype(dtype)
    good = wire.pack(TAG, latent, bits)
    for length in range(len(good)):
        assert wire.unpack(good[:length], TAG, dtype, (3, 4), bits)[0] == wire.STATUS_MALFORMED
    for extra in range(1, 50):
        longer = good + rng.bytes(extra)
        assert wire.unpack(longer, TAG, dtype, (3, 4), bits)[0] == wire.STATUS_MALFORMED
    for place in range(len(good)):
        for flip in (1, 128, int(rng.integers(1, 256))):
            bad = bytearray(good)
            bad[place] ^= flip
            expected = wire.STATUS_OTHER_BUNDLE if place < wire.TAG_BYTES else wire.STATUS_MALFORMED
            assert wire.unpack(bytes(bad), TAG, dtype, (3, 4), bits) == (expected, None)


def test_random_bytes_never_pass():
    """Ten thousand strings of random length and content: not one is taken for a payload, none raises."""
    rng = np.random.default_rng(8)
    for _ in range(10_000):
        payload = rng.bytes(int(rng.integers(0, 40)))
        assert wire.unpack(payload, TAG, "int8", (8,))[0] == wire.STATUS_MALFORMED


def test_wrong_arguments_are_named():
    """A tag, an identity or a dtype that cannot be says what it must be."""
    with pytest.raises(ArgumentError, match=r"tag has 8 bytes. Received: 3 bytes"):
        wire.pack(b"abc", np.ones(2, np.int8))
    with pytest.raises(ArgumentError, match=r"one of float32, int8, int16. Received: 'float64'"):
        wire.pack(TAG, np.ones(2))
    for dtype, bits in (("int8", 8), ("int8", 3), ("float32", 4), ("int16", 16)):
        with pytest.raises(ArgumentError, match=rf"Levels have 2, 4, 8 bits.*Received: {bits} bits of {dtype}"):
            wire.pack(TAG, np.ones(2, dtype), bits)
    with pytest.raises(ArgumentError, match=r"64 lowercase hexadecimal digits. Received: 'ABC'"):
        wire.tag_of("ABC")
