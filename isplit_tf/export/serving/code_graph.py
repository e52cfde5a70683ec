"""The decoder of coded latents as plain TensorFlow operators, so that TensorFlow Serving decodes a whole batch at once.

`isplit_edge.code.Code.decode` is the reference. All lanes of all payloads take a step at a time. A payload is given up
soon after it asks for more bits than it has, and no loop is longer than the largest valid payload needs.

What a step costs is the number of its operators, hardly what they compute. So each lane has a tape of the places that
it can be at, a run and a magnitude for each position of its units in order, and an operation moves it forward by a
number that stands in a table. Which positions have which magnitudes is found from all operations after the last step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from isplit_edge.code import Code
from isplit_edge.geometric import LIMIT, SYMBOLS, TOTAL, TOTAL_BITS
from isplit_edge.operations import units
from isplit_edge.rans import FIRST, LANE_SIGNS

# Steps per round of the loop.
_ROUND = 4
# What comes next at a place: nothing, a run of at most 1 to 16 (the variant is the limit), a magnitude, or a run at the
# beginning of a unit that has a position less than the others and therefore passes over one.
_MAGNITUDE, _SHORT = LIMIT + 1, LIMIT + 2
# Part of an entry of `gains`: 18 bits of the state, then 24 less the bits that are read, then the places to move on.
_READ, _MOVE = 18, 24
# Windows hold their 16 bits as the upper ones of so many.
_WINDOW = 24
_SYMBOL_BITS = 5

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
    """The constants of a code, int32.

    A place's context is 2^12 (kind + 2^bits variant); `bits` are enough for the kinds of tables that are used. An
    entry's number is 2^5 (kind + 2^bits variant) + symbol. A lane with the state 2^16 + x goes on with the lowest 16
    bits of

        y = counts[entry] * (x >> 12) + x % 4096 + gains[entry]

    moved up by the bits that are read, and these. A carry into y's 18th bit tells the two numbers of bits apart that
    an entry may take.

    Attributes:
        symbols: `(kinds * 4096,)`, the symbol of each slot.
        counts: Of each entry.
        gains: Of each entry, as above; see `_READ`.
        values: Of each entry 1 to 16, the magnitude that it ends; 2^5 for one that goes on.
        contexts: `(units + 1, 2 * unit)`, of the places of each unit; 0 for the last, which is the end of a lane.
        firsts: `(units + 1,)`, the position among `C * P` to which a unit's first place belongs.
        bits: See above.
    """

    symbols: np.ndarray
    counts: np.ndarray
    gains: np.ndarray
    values: np.ndarray
    contexts: np.ndarray
    firsts: np.ndarray
    bits: int

    @classmethod
    def of(cls, code: Code) -> "_Tables":
        used, kinds = np.unique(np.stack([code.runs, code.magnitudes]), return_inverse=True)
        bits = int(len(used) - 1).bit_length()
        counts = np.diff(code.tables[used].astype(np.int64), axis=1, append=TOTAL)
        shape = (_SHORT + 1, 1 << bits, 1 << _SYMBOL_BITS)
        symbols = np.concatenate([np.repeat(np.arange(SYMBOLS), row) for row in counts]).astype(np.int32)
        counts, gains, values = (table.ravel().astype(np.int32) for table in _entries(code, used, shape))
        contexts, firsts = _layout(code, kinds.reshape(2, -1), bits)
        return cls(symbols, counts, gains, values, contexts, firsts, bits)

    def units_of(self, lanes: tf.Tensor, n_units: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the units on the tapes of rows, lane after lane, `(N, length)`, and how many each lane has, `(N, 1)`.

        Each lane ends with at least one unit that is none.
        """
        most = len(self.firsts) - 1
        lanes, n_units = lanes[:, tf.newaxis], n_units[:, tf.newaxis]
        per_lane = (n_units + lanes - 1) // lanes + 1
        lane, row = _divided(tf.range(tf.reduce_max(tf.concat([lanes * per_lane, [[1]]], 0)))[tf.newaxis], per_lane)
        unit = row * lanes + tf.where(row % 2 == 0, lane, lanes - 1 - lane)
        return tf.where((lane < lanes) & (row < per_lane - 1) & (unit < n_units), unit, most), per_lane


def _divided(number: tf.Tensor, by: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    quotient = number // by
    return quotient, number - quotient * by


def _entries(code: Code, used: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return counts, gains and values of `_Tables`, `(variants, kinds, symbols)`."""
    start, count, most = (
        table.reshape(-1, SYMBOLS, SYMBOLS)[used].astype(np.int64)
        for table in (code.entries.start, code.entries.count, code.entries.most)
    )
    counts, gains, values = np.full(shape, TOTAL, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    unit = -(-code.positions // units(code.positions).count)
    symbols = np.arange(SYMBOLS)
    kinds, rows = np.arange(len(used)), np.s_[: len(used), :SYMBOLS]

    def put(variant: int, limit: int, moves: np.ndarray) -> None:
        entry = (kinds[:, np.newaxis], limit, np.minimum(symbols, limit))
        counts[variant][rows] = count[entry]
        state = (1 << 18) - (1 << (17 - most[entry])) - start[entry] + 16 * count[entry]
        gains[variant][rows] = state + ((_WINDOW - most[entry]) << _READ) + (moves << _MOVE)

    gains[0] = (1 << 18) - (1 << 17) + 16 * TOTAL + (_WINDOW << _READ)
    for variant in [*range(1, LIMIT + 1), _SHORT]:
        limit = max(1, unit - 1) if variant == _SHORT else variant
        put(variant, limit, np.where(symbols < limit, 2 * symbols + 1, 2 * limit) + 2 * (variant == _SHORT))
    put(_MAGNITUDE, LIMIT, np.where(symbols < LIMIT, 1, 0))
    values[_MAGNITUDE][rows] = np.where(symbols < LIMIT, symbols + 1, 1 << _SYMBOL_BITS)
    return [counts, gains, values]


def _layout(code: Code, kinds: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return contexts and firsts of `_Tables`, from the kinds of tables `(2, C)` of runs and magnitudes."""
    grid, positions = units(code.positions), code.positions
    sizes = grid.end - grid.begin
    unit = int(sizes.max())
    variants = np.full((grid.count, 2 * unit), _MAGNITUDE)
    variants[:, ::2] = np.arange(unit, 0, -1)
    variants[sizes < unit, 0] = _SHORT
    of_runs, of_magnitudes = kinds[:, :, np.newaxis, np.newaxis]
    chosen = np.where(np.arange(2 * unit) % 2, of_magnitudes, of_runs)
    contexts = (chosen + (variants << bits)) << TOTAL_BITS
    contexts = np.concatenate([contexts.reshape(-1, 2 * unit), np.zeros((1, 2 * unit), np.int64)])
    firsts = np.arange(code.n_channels)[:, np.newaxis] * positions + grid.end - unit
    return contexts.astype(np.int32), np.append(firsts, 0).astype(np.int32)


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
    signed, ends_well = _signed(found, source, lanes, code)
    centred = signed + tf.constant(code.centres, tf.int32)
    fits = tf.reduce_all((centred >= -128) & (centred <= 127), axis=[1, 2])
    return tf.reshape(centred, [-1, *code.shape]), valid & ends_well & fits


@dataclass(frozen=True, eq=False)
class _Source:
    """The bits of all rows: at each bit of a row it and the next 15, as the upper ones of 24, flat int32."""

    windows: tf.Tensor
    position: tf.Tensor
    end: tf.Tensor
    states: tf.Tensor
    last_byte: tf.Tensor

    @classmethod
    def of(cls, streams: Streams, lanes: tf.Tensor) -> "_Source":
        rows = tf.cast(streams.rows, tf.int32)
        count, width = tf.unstack(tf.shape(rows))
        most = tf.maximum(1, tf.reduce_max(lanes))
        two = tf.reshape(rows[:, streams.begin + 1 : streams.begin + 1 + 2 * most], [count, most, 2])
        mine = tf.range(most) < lanes[:, tf.newaxis]
        states = tf.where(mine, two[:, :, 0] + 256 * two[:, :, 1], 0)
        last_byte = tf.gather(rows, tf.clip_by_value(streams.length - 1, 0, width - 1), axis=1, batch_dims=1)
        # A row that has come to its end reads on for the rest of a round, whatever follows: 12 bits a lane and step.
        further = 2 + _ROUND * TOTAL_BITS * most // (8 * width)
        padded = tf.pad(rows, [[0, further], [0, 2]])
        three = padded[:, :-2] * 65536 + padded[:, 1:-1] * 256 + padded[:, 2:]
        windows = _and(three[:, :, tf.newaxis] * [1, 2, 4, 8, 16, 32, 64, 128], 65535 << 8)
        row_begin = tf.range(count)[:, tf.newaxis] * 8 * width
        return cls(
            tf.reshape(windows, [-1]),
            row_begin + 8 * (streams.begin + 1 + 2 * lanes)[:, tf.newaxis],
            row_begin + 8 * tf.minimum(streams.length, width)[:, tf.newaxis],
            states,
            last_byte,
        )


def _walk(
    source: _Source, lanes: tf.Tensor, n_units: tf.Tensor, tables: _Tables, code: Code
) -> Mapping[str, tf.Tensor]:
    """Take all steps: the magnitudes `(N, C * P)` channel by channel, the last states, and where reading ended."""
    on_tape, per_lane = tables.units_of(lanes, n_units)
    contexts = tf.reshape(tf.gather(tf.constant(tables.contexts), on_tape), [-1])
    symbols, counts, gains = (tf.constant(a) for a in (tables.symbols, tables.counts, tables.gains))
    kinds, by_entry = TOTAL * ((1 << tables.bits) - 1), TOTAL_BITS - _SYMBOL_BITS

    def step(state, place, position):
        slot, context = _and(state, TOTAL - 1), tf.gather(contexts, place)
        entry = _shift(context, by_entry) + tf.gather(symbols, _and(context, kinds) + slot)
        value = tf.gather(counts, entry) * _shift(state, TOTAL_BITS) + slot + tf.gather(gains, entry)
        kept = _and(_shift(value, _READ), 31)
        size = _WINDOW - kept
        read = _shift(tf.gather(source.windows, position + tf.cumsum(size, axis=1, exclusive=True)), kept)
        state = _and(tf.bitwise.left_shift(value, size) + read, FIRST - 1)
        return state, place + _shift(value, _MOVE), position + tf.reduce_sum(size, axis=1, keepdims=True), entry

    def take_round(k, state, place, position, taken):
        entries = []
        for _ in range(_ROUND):
            state, place, position, entry = step(state, place, position)
            entries.append(entry)
        taken = tf.raw_ops.TensorListPushBack(input_handle=taken, tensor=tf.stack(entries))
        return k + 1, state, place, tf.minimum(position, source.end + 1), taken

    def goes_on(k, state, place, position, _):
        # The first round is taken in any case: lists without an element cannot be joined.
        waits = (tf.gather(contexts, place) > 0) & (position <= source.end)
        return (k < 1) | (k < -(-code.most_steps // _ROUND)) & tf.reduce_any(waits)

    row = tf.range(tf.shape(lanes)[0])[:, tf.newaxis] * tf.shape(on_tape)[1]
    lane, each = tf.range(tf.shape(source.states)[1]), lanes[:, tf.newaxis]
    # A number that is no lane's stands at the end of the last lane.
    begin = (row + tf.where(lane < each, lane * per_lane, each * per_lane - 1)) * tables.contexts.shape[1]
    # A list that grows at its end: other engines take an array of no size for one that stays empty.
    shape: dict[str, Any] = {"element_shape": [_ROUND, -1, -1], "element_dtype": tf.int32}
    empty = tf.raw_ops.EmptyTensorList(max_num_elements=-1, **shape)
    start = [0, source.states, begin, source.position, empty]
    _, state, place, position, taken = tf.while_loop(goes_on, take_round, start, parallel_iterations=1)
    entries = tf.raw_ops.TensorListStack(input_handle=taken, num_elements=-1, **shape)
    entries = tf.reshape(entries, tf.concat([[-1], tf.shape(entries)[2:]], axis=0))
    late = tf.reduce_any(entries[code.most_steps :] >= 1 << tables.bits + _SYMBOL_BITS, axis=[0, 2])
    ended = tf.reduce_all(tf.gather(contexts, place) == 0, axis=1) & (position <= source.end)[:, 0]
    magnitudes = _magnitudes(tf.transpose(entries, [1, 2, 0]), begin, on_tape, tables, code)
    return {"magnitudes": magnitudes, "states": state, "position": position, "ended": ended & ~late}


def _magnitudes(entries: tf.Tensor, begin: tf.Tensor, on_tape: tf.Tensor, tables: _Tables, code: Code) -> tf.Tensor:
    """Return the magnitudes `(N, C * P)`, channel by channel, from the entries `(N, lanes, steps)` of all steps."""
    size = code.n_channels * code.positions
    value = tf.gather(tf.constant(tables.values), entries)
    moves = _shift(tf.gather(tf.constant(tables.gains), entries), _MOVE)
    place = begin[:, :, tf.newaxis] + tf.cumsum(moves, axis=2, exclusive=True)
    goes_on = _shift(value, _SYMBOL_BITS)
    # The ends of all magnitudes, each of which has a place of its own; the 16s before it are those of its lane less
    # those before the lane's former end.
    at = tf.cast(tf.where(tf.reshape(_and(value, 31), [-1]) > 0)[:, 0], tf.int32)
    value, place, sixteens = (
        tf.gather(tf.reshape(one, [-1]), at) for one in (value, place, tf.cumsum(goes_on, axis=2))
    )
    lane = at // tf.shape(entries)[2]
    same = tf.cast(lane[1:] == lane[:-1], tf.int32)
    value += 16 * (sixteens - tf.pad(sixteens[:-1] * same, [[tf.minimum(1, tf.size(at)), 0]]))
    unit, part = _divided(_shift(place, 1), tables.contexts.shape[1] // 2)
    unit = tf.gather(tf.reshape(on_tape, [-1]), unit)
    row = lane // tf.shape(entries)[1]
    position = row * size + tf.gather(tf.constant(tables.firsts), unit) + part
    count = tf.shape(entries)[0]
    magnitudes = tf.scatter_nd(position[:, tf.newaxis], value, [count * size])
    return tf.reshape(magnitudes, [count, size])


def _signed(
    found: Mapping[str, tf.Tensor], source: _Source, lanes: tf.Tensor, code: Code
) -> tuple[tf.Tensor, tf.Tensor]:
    """Give the magnitudes their signs, `(N, P, C)`, and say which rows end as they have to."""
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
    bits = tf.concat([tf.reshape(held, [-1]), _shift(source.windows, _WINDOW - 1)], axis=0)
    in_states = row * LANE_SIGNS * most + number
    in_stream = tf.gather((found["position"] - carried)[:, 0], row) + number + tf.size(held)
    place = tf.where(number < tf.gather(carried[:, 0], row), in_states, in_stream)
    negative = tf.gather(bits, tf.clip_by_value(place, 0, tf.size(bits) - 1))
    first = row * (code.n_channels * code.positions)
    channel, position = _divided(at - first, code.positions)
    target = first + position * code.n_channels + channel
    signed = tf.scatter_nd(target[:, tf.newaxis], tf.gather(flat, at) * (1 - 2 * negative), tf.shape(flat))
    left = source.end - found["position"] - tf.maximum(0, signs - carried)
    padding = _and(source.last_byte[:, tf.newaxis], tf.bitwise.left_shift(1, tf.clip_by_value(left, 0, 7)) - 1)
    index = tf.range(LANE_SIGNS * most)
    unused = tf.reduce_any((held > 0) & (index >= signs) & (index < carried), axis=1)
    ends_well = found["ended"] & ((left >= 0) & (left < 8) & (padding == 0))[:, 0] & ~unused
    return tf.reshape(signed, [-1, code.positions, code.n_channels]), ends_well
