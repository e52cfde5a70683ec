"""The decoder of coded latents as plain TensorFlow operators, so that TensorFlow Serving decodes a whole batch at once.

`isplit_edge.code.Code.decode` is the reference. All lanes of all payloads take a step at a time. A payload is given up
as soon as it asks for more bits than it has, and no loop is longer than the largest valid payload needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from isplit_edge.code import Code
from isplit_edge.geometric import LIMIT, SYMBOLS, TOTAL
from isplit_edge.operations import units
from isplit_edge.rans import FIRST, LANE_SIGNS

_MOST_LANES = 255
# A lane waits for a run among r positions (r), for a magnitude with r positions left (32 + r), or has ended (0).
_IN_MAGNITUDE = 32
_STATES = 64

_shift = tf.bitwise.right_shift
_and = tf.bitwise.bitwise_and


@dataclass(frozen=True, eq=False)
class Streams:
    """Coded payloads of N rows that passed the checks of their heads.

    Attributes:
        rows: uint8 `(N, width)`, zeros after each row's end.
        valid: bool `(N,)`; of other rows nothing is read.
        begin: int32 `(N,)`, the byte with the number of lanes.
        length: int32 `(N,)`, of the row in bytes.
        channels: int32 `(N,)`, how many are sent.
    """

    rows: tf.Tensor
    valid: tf.Tensor
    begin: int
    length: tf.Tensor
    channels: tf.Tensor


@dataclass(frozen=True, eq=False)
class _Tables:
    """The constants of a code: int32, flat.

    symbols: of table k and slot: 4096 k + slot. parts: of table k, limit and symbol: 1024 k + 32 limit + symbol; its
    start, 2^12 its count, 2^25 its most bits. moves: of a lane's state and symbol: 32 state + symbol; the next state,
    2^6 if the unit ends, 2^7 the part of a magnitude, 2^12 the positions that remained.
    """

    symbols: np.ndarray
    parts: np.ndarray
    moves: np.ndarray
    kinds: np.ndarray
    sizes: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, code: Code) -> "_Tables":
        k = len(code.tables)
        counts = np.diff(code.tables.astype(np.int64), axis=1, append=TOTAL)
        entries = code.entries
        packed = entries.start | entries.count << np.uint32(12) | entries.most << np.uint32(25)
        parts = np.zeros((k, 32, 32), np.int32)
        parts[:, :SYMBOLS, :SYMBOLS] = packed.reshape(k, SYMBOLS, SYMBOLS)
        moves = np.zeros((_STATES, 32), np.int32)
        for r in range(1, LIMIT + 1):
            for s in range(SYMBOLS):
                moves[r, s] = (_IN_MAGNITUDE + r - s if s < r else 64) | r << 12
                escape = s == LIMIT
                after = _IN_MAGNITUDE + r if escape else r - 1 if r > 1 else 64
                moves[_IN_MAGNITUDE + r, s] = after | (LIMIT if escape else s + 1) << 7 | r << 12
        grid, positions = units(code.positions), code.positions
        pad = np.zeros(_MOST_LANES, np.int32)
        begins = np.arange(code.n_channels)[:, np.newaxis] * positions
        return cls(
            np.concatenate([np.repeat(np.arange(SYMBOLS), row) for row in counts]).astype(np.int32),
            parts.ravel(),
            moves.ravel(),
            TOTAL * np.repeat(np.stack([code.runs, code.magnitudes], 1), grid.count, axis=0).astype(np.int32),
            np.append(np.tile(grid.end - grid.begin, code.n_channels), pad).astype(np.int32),
            np.append((begins + grid.end).ravel(), pad).astype(np.int32),
        )


def decode_streams(streams: Streams, code: Code) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode the codes of a batch.

    Args:
        streams: The payloads.
        code: The bundle's code.

    Returns:
        The latents, int32 `(N, *shape)`, anything where the code is malformed; and whether it is well-formed, bool
        `(N,)`.
    """
    lanes = tf.gather(tf.cast(streams.rows, tf.int32), streams.begin, axis=1)
    n_units = streams.channels * units(code.positions).count
    after = streams.begin + 1 + 2 * lanes
    valid = streams.valid & (lanes >= 1) & (lanes <= n_units) & (after <= streams.length)
    lanes, n_units = tf.where(valid, lanes, 1), tf.where(valid, n_units, 0)
    source = _Source.of(streams, lanes)
    found = _walk(source, lanes, n_units, _Tables.of(code), code)
    signed, ends_well = _signed(found, source, lanes)
    shape = [-1, code.n_channels, code.positions]
    centred = tf.transpose(tf.reshape(signed, shape), [0, 2, 1]) + tf.constant(code.centres, tf.int32)
    fits = tf.reduce_all((centred >= -128) & (centred <= 127), axis=[1, 2])
    return tf.reshape(centred, [-1, *code.shape]), valid & ends_well & fits


@dataclass(frozen=True, eq=False)
class _Source:
    """The bits of all rows: at each bit of a row the number that it and the next 15 make, flat int32."""

    windows: tf.Tensor
    row_begin: tf.Tensor
    position: tf.Tensor
    end: tf.Tensor
    last: tf.Tensor
    states: tf.Tensor
    last_byte: tf.Tensor

    @classmethod
    def of(cls, streams: Streams, lanes: tf.Tensor) -> "_Source":
        rows = tf.cast(streams.rows, tf.int32)
        count, width = tf.unstack(tf.shape(rows))
        most = tf.maximum(1, tf.reduce_max(lanes))
        two = tf.reshape(rows[:, streams.begin + 1 : streams.begin + 1 + 2 * most], [count, most, 2])
        mine = tf.range(most) < lanes[:, tf.newaxis]
        states = FIRST + tf.where(mine, two[:, :, 0] + 256 * two[:, :, 1], 0)
        three = rows * 65536 + tf.pad(rows[:, 1:], [[0, 0], [0, 1]]) * 256 + tf.pad(rows[:, 2:], [[0, 0], [0, 2]])
        windows = _and(_shift(three[:, :, tf.newaxis], tf.range(8, 0, -1)), 65535)
        row_begin = tf.range(count)[:, tf.newaxis] * width * 8
        last_byte = tf.gather(rows, tf.clip_by_value(streams.length - 1, 0, width - 1), axis=1, batch_dims=1)
        return cls(
            tf.reshape(windows, [-1]),
            row_begin,
            row_begin + 8 * (streams.begin + 1 + 2 * lanes)[:, tf.newaxis],
            row_begin + 8 * streams.length[:, tf.newaxis],
            row_begin + 8 * width - 1,
            states,
            last_byte,
        )


def _walk(
    source: _Source, lanes: tf.Tensor, n_units: tf.Tensor, tables: _Tables, code: Code
) -> Mapping[str, tf.Tensor]:
    """Take all steps: the magnitudes `(N, C * P)` channel by channel, the last states, and where reading ended."""
    count, stride = tf.shape(lanes)[0], len(tables.sizes)
    unit = tf.range(stride)
    row = tf.range(count)[:, tf.newaxis]
    # Each row has its own table of units, in which those that are not sent have no positions; each stands there twice.
    sizes = tf.reshape(tf.repeat(tf.where(unit < n_units[:, tf.newaxis], tables.sizes, 0), 2, axis=1), [-1])
    kinds = tf.constant(np.append(tables.kinds.ravel(), np.zeros(2 * _MOST_LANES, np.int32)))
    kinds = tf.reshape(tf.tile(kinds[tf.newaxis], [count, 1]), [-1])
    symbols, parts, moves = (tf.constant(a) for a in (tables.symbols, tables.parts, tables.moves))
    stride_of = 2 * lanes[:, tf.newaxis]

    def step(k, state, place, waits, position, moved, places):
        kind = tf.gather(kinds, place + _shift(waits, 5))
        slot = _and(state, TOTAL - 1)
        limit = tf.minimum(waits, LIMIT)
        symbol = tf.minimum(tf.gather(symbols, kind + slot), limit)
        part = tf.gather(parts, _shift(kind, 2) + limit * 32 + symbol)
        most = _shift(part, 25)
        state = _and(_shift(part, 12), 2 * TOTAL - 1) * _shift(state, 12) + slot - _and(part, TOTAL - 1)
        size = most - _shift(state, 17 - most)
        at = tf.minimum(position + tf.cumsum(size, axis=1, exclusive=True), source.last)
        read = _shift(tf.gather(source.windows, at), 16 - size)
        state = tf.bitwise.left_shift(state, size) + read
        position += tf.reduce_sum(size, axis=1, keepdims=True)
        move = tf.gather(moves, waits * 32 + symbol)
        moved, places = moved.write(k, move), places.write(k, place)
        ended = _and(_shift(move, 6), 1)
        place += ended * stride_of
        waits = tf.where(ended > 0, tf.gather(sizes, place), _and(move, 63))
        return k + 1, state, place, waits, position, moved, places

    def goes_on(k, state, place, waits, position, *_):
        # The first step is taken in any case: lists without an element cannot be joined.
        return (k < 1) | (k < code.most_steps) & tf.reduce_any((waits > 0) & (position <= source.end))

    lane = tf.range(tf.shape(source.states)[1])
    place = 2 * (row * stride + tf.minimum(lane, stride - 1))
    waits = tf.where(lane < lanes[:, tf.newaxis], tf.gather(sizes, place), 0)
    lists = [tf.TensorArray(tf.int32, size=0, dynamic_size=True, element_shape=[None, None]) for _ in range(2)]
    start = [0, source.states, place, waits, source.position, *lists]
    _, state, _, waits, position, moved, places = tf.while_loop(goes_on, step, start, parallel_iterations=1)
    size = code.n_channels * code.positions
    moved, places = (tf.reshape(one.concat(), [-1]) for one in (moved, places))
    ends = tf.reshape(tf.repeat(row * size + tf.constant(tables.ends), 2, axis=1), [-1])
    value = _and(_shift(moved, 7), 31)
    at = tf.clip_by_value(tf.gather(ends, places) - _shift(moved, 12), 0, count * size - 1)
    magnitudes = tf.scatter_nd(at[:, tf.newaxis], value, [count * size])
    return {
        "magnitudes": tf.reshape(magnitudes, [count, size]),
        "states": state,
        "position": position,
        "ended": tf.reduce_all(waits == 0, axis=1) & (position <= source.end)[:, 0],
    }


def _signed(found: Mapping[str, tf.Tensor], source: _Source, lanes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Give the magnitudes their signs, and say which rows end as they have to."""
    magnitudes, states = found["magnitudes"], found["states"]
    count, most = tf.unstack(tf.shape(states))
    carried = LANE_SIGNS * lanes[:, tf.newaxis]
    held = _and(_shift(states[:, :, tf.newaxis], tf.range(LANE_SIGNS - 1, -1, -1)), 1)
    held = tf.reshape(held, [count, LANE_SIGNS * most])
    signs = tf.math.count_nonzero(magnitudes, axis=1, keepdims=True, dtype=tf.int32)
    # The magnitudes that are not zero, in order; each finds its row, and the number of its sign in the row.
    flat = tf.reshape(magnitudes, [-1])
    at = tf.cast(tf.where(flat > 0)[:, 0], tf.int32)
    row = tf.repeat(tf.range(count), signs[:, 0])
    number = tf.range(tf.size(at)) - tf.gather(tf.cumsum(signs[:, 0], exclusive=True), row)
    # One list of bits: those that the states hold, then those of the streams.
    bits = tf.concat([tf.reshape(held, [-1]), _shift(source.windows, 15)], axis=0)
    in_states = row * LANE_SIGNS * most + number
    in_stream = tf.gather((found["position"] - carried)[:, 0], row) + number + tf.size(held)
    place = tf.where(number < tf.gather(carried[:, 0], row), in_states, in_stream)
    negative = tf.gather(bits, tf.clip_by_value(place, 0, tf.size(bits) - 1))
    signed = tf.scatter_nd(at[:, tf.newaxis], tf.gather(flat, at) * (1 - 2 * negative), tf.shape(flat))
    left = source.end - found["position"] - tf.maximum(0, signs - carried)
    padding = _and(source.last_byte[:, tf.newaxis], tf.bitwise.left_shift(1, tf.clip_by_value(left, 0, 7)) - 1)
    index = tf.range(LANE_SIGNS * most)
    unused = tf.reduce_any((held > 0) & (index >= signs) & (index < carried), axis=1)
    ends_well = found["ended"] & ((left >= 0) & (left < 8) & (padding == 0))[:, 0] & ~unused
    return tf.reshape(signed, tf.shape(magnitudes)), ends_well
