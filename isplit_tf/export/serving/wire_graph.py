"""The checks of the wire format as plain TensorFlow operators, so that a tail takes the device's bytes directly.

`isplit_edge.wire.unpack` is the reference: the same status for every payload, and no payload ever fails the batch that
it came in. Little-endian machines only, as are all for which TensorFlow Serving is built.
"""

import math

import tensorflow as tf

from isplit_edge import wire
from isplit_edge.code import Code

from .code_graph import Streams, decode_streams

_MODULUS = 65521
# So many bytes are summed up in int32: 255 * 2048 * 2049 / 2 < 2**31.
_BLOCK = 2048
# Of a coded payload: header, number of channels, number of lanes, one state.
_LEAST_WIDTH = wire.HEADER_BYTES + 5


def read_payloads(
    payload: tf.Tensor, *, tag: bytes, dtype: str, shape: tuple[int, ...], bits: int | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Check payloads and extract their latents.

    Args:
        payload: string `(N,)`, bytes of any length.
        tag: The 8 bytes that this bundle's payloads begin with.
        dtype: Of the head's output.
        shape: Of a latent, without the batch.
        bits: Of each element, where the latents travel as levels.

    Returns:
        The latents `(N, *shape)` in `dtype`, or the levels in uint8; zeros where the status is not 0. And the status,
        int32 `(N,)`.
    """
    payload = tf.ensure_shape(payload, [None])
    length = wire.payload_bytes(dtype, shape, bits)
    # Rows of another length are cut or filled with zeros here, and refused for their length below.
    rows = tf.io.decode_raw(payload, tf.uint8, fixed_length=length)
    rows = tf.reshape(rows, [tf.shape(payload)[0], length])
    body = rows[:, wire.HEADER_BYTES :]
    sums = _as_uint32(rows[:, wire.TAG_BYTES : wire.HEADER_BYTES])
    well_formed = (tf.strings.length(payload) == length) & (sums == adler32(body))
    if bits is None:
        latents = _as_numbers(body, dtype, shape)
    else:
        latents, left_over = _as_levels(body, bits, shape)
        well_formed &= tf.reduce_all(left_over == 0, axis=1)
    if latents.dtype.is_floating:
        well_formed &= tf.reduce_all(tf.math.is_finite(latents), axis=list(range(1, len(shape) + 1)))
    return _answered(latents, well_formed, rows, tag)


def read_coded(payload: tf.Tensor, *, tag: bytes, code: Code, max_bytes: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Check coded payloads and decode their latents; `isplit_edge.wire.unpack_coded` is the reference.

    Args:
        payload: string `(N,)`, bytes of any length.
        tag: The 8 bytes that this bundle's payloads begin with.
        code: The bundle's code.
        max_bytes: The longest payload of this bundle.

    Returns:
        The latents, int32 `(N, *code.shape)`, zeros where the status is not 0. And the status, int32 `(N,)`.
    """
    payload = tf.ensure_shape(payload, [None])
    length = tf.strings.length(payload)
    # Longer rows are cut here, and refused below; the width allows every row its header and one lane.
    width = tf.clip_by_value(tf.reduce_max(length), _LEAST_WIDTH, max(max_bytes, _LEAST_WIDTH))
    rows = tf.raw_ops.DecodePaddedRaw(input_bytes=payload, fixed_length=width, out_type=tf.uint8)
    sums = _as_uint32(rows[:, wire.TAG_BYTES : wire.HEADER_BYTES])
    count = tf.cast(rows[:, wire.HEADER_BYTES : wire.HEADER_BYTES + 2], tf.int32)
    channels = count[:, 0] + 256 * count[:, 1]
    size = tf.cast(length, tf.int64) - wire.HEADER_BYTES
    valid = (length <= max_bytes) & (size > 2) & (sums == _adler32_of(rows[:, wire.HEADER_BYTES :], size))
    valid &= (channels >= 1) & (channels <= code.n_channels)
    streams = Streams(rows, valid, wire.HEADER_BYTES + 2, length, channels)
    latents, well_formed = decode_streams(streams, code)
    return _answered(latents, well_formed, rows, tag)


def adler32(rows: tf.Tensor) -> tf.Tensor:
    """Compute Adler-32 (RFC 1950) of each row, exactly.

    With b_1 ... b_n the bytes of a row: A = 1 + sum b_i, B = n + sum (n - i + 1) b_i, both modulo 65521, and the
    checksum is 65536 B + A. The sums are taken in blocks, in int32 within a block and in int64 over the blocks: nothing
    overflows below 2 GiB.

    Args:
        rows: uint8 `(N, n)` with a known n.

    Returns:
        int64 `(N,)`.
    """
    length = rows.shape[1]
    block = min(_BLOCK, length)
    blocks = -(-length // block)
    # Zeros in front add nothing to either sum, as the weights count from the end.
    padded = tf.pad(tf.cast(rows, tf.int32), [[0, 0], [blocks * block - length, 0]])
    padded = tf.reshape(padded, [tf.shape(rows)[0], blocks, block])
    plain = tf.cast(tf.reduce_sum(padded, axis=2), tf.int64)
    weighted = tf.cast(tf.reduce_sum(padded * tf.range(block, 0, -1), axis=2), tf.int64)
    following = tf.range(blocks - 1, -1, -1, dtype=tf.int64) * block
    first = (1 + tf.reduce_sum(plain, axis=1)) % _MODULUS
    second = (length + tf.reduce_sum(weighted + plain * following, axis=1)) % _MODULUS
    return second * 65536 + first


def _adler32_of(rows: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Compute Adler-32 of the first `size` bytes of each row, int64; zeros follow. Exact below 32 MiB."""
    values = tf.cast(rows, tf.int64)
    plain = tf.reduce_sum(values, axis=1)
    # B = n + sum (n - i + 1) b_i, where i counts from 1.
    weighted = (size + 1) * plain - tf.reduce_sum(values * tf.range(1, tf.shape(values, tf.int64)[1] + 1), axis=1)
    return (size + weighted) % _MODULUS * 65536 + (1 + plain) % _MODULUS


def _answered(latents: tf.Tensor, well_formed: tf.Tensor, rows: tf.Tensor, tag: bytes) -> tuple[tf.Tensor, tf.Tensor]:
    """Return latents, zero where the status is not 0, and the status."""
    tag_matches = tf.reduce_all(rows[:, : wire.TAG_BYTES] == tf.constant(list(tag), tf.uint8), axis=1)
    status = tf.where(
        well_formed, tf.where(tag_matches, wire.STATUS_OK, wire.STATUS_OTHER_BUNDLE), wire.STATUS_MALFORMED
    )
    is_ok = tf.reshape(status == wire.STATUS_OK, [-1] + [1] * (latents.shape.rank - 1))
    return tf.where(is_ok, latents, tf.zeros([], latents.dtype)), status


def _as_levels(body: tf.Tensor, bits: int, shape: tuple[int, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    """Unpack levels `(N, *shape)`, and the levels in the padding bits, `(N, k)`, all uint8."""
    # Whole numbers divided, not bits shifted: other engines than TensorFlow know the former.
    divisors = [2**shift for shift in range(0, 8, bits)]
    levels = tf.cast(body, tf.int32)[:, :, tf.newaxis] // divisors % 2**bits
    levels = tf.cast(tf.reshape(levels, [tf.shape(body)[0], body.shape[1] * len(divisors)]), tf.uint8)
    size = math.prod(shape)
    return tf.reshape(levels[:, :size], [-1, *shape]), levels[:, size:]


def _as_uint32(rows: tf.Tensor) -> tf.Tensor:
    """Read little-endian unsigned numbers of 4 bytes as int64."""
    return tf.reduce_sum(tf.cast(rows, tf.int64) * [1, 256, 256**2, 256**3], axis=1)


def _as_numbers(body: tf.Tensor, dtype: str, shape: tuple[int, ...]) -> tf.Tensor:
    number_type = tf.as_dtype(dtype)
    grouped = [tf.shape(body)[0], *shape] + ([number_type.size] if number_type.size > 1 else [])
    return tf.bitcast(tf.reshape(body, grouped), number_type)
