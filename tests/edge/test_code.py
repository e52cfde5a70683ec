"""The code of a latent: lossless, short, of any rate, and the fitted tables."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isplit_edge import ArgumentError, DataError
from isplit_edge.code import Code
from isplit_edge.geometric import geometric_tables
from isplit_edge.rans import LANE_SIGNS

HEADER = 3


def latents(n, shape, *, top=4.0, decay=0.97, seed=0):
    """Draw int8 latents whose channels become quieter, around a centre each."""
    rng = np.random.default_rng(seed)
    scale = top * decay ** np.arange(shape[-1])
    values = rng.laplace(size=(n, *shape)) * scale + rng.integers(-5, 6, shape[-1])
    return np.clip(np.rint(values), -128, 127).astype(np.int8)


def reference_bits(code, symbols):
    """Add up the ideal length symbol by symbol, from the definition."""
    starts = np.concatenate([code.tables, np.full((len(code.tables), 1), 4096)], axis=1).astype(int)
    positions = math.prod(code.shape[:-1])
    units = -(-positions // 16)
    bits = 0.0
    for c, channel in enumerate((symbols.reshape(positions, -1).astype(int) - code.centres).T):
        run, size = starts[code.runs[c]], starts[code.magnitudes[c]]
        for j in range(units):
            rest = channel[j * positions // units : (j + 1) * positions // units].tolist()
            while rest:
                r = next((k for k, s in enumerate(rest) if s), len(rest))
                bits += math.log2(4096 / ((run[r + 1] if r < len(rest) else 4096) - run[r]))
                if r < len(rest):
                    whole, part = divmod(abs(rest[r]) - 1, 16)
                    bits += 1 + whole * math.log2(4096 / (4096 - size[16]))
                    bits += math.log2(4096 / (size[part + 1] - size[part]))
                rest = rest[r + 1 :]
    return bits


@st.composite
def coded(draw):
    """Draw a latent of 1 x 1 to 14 x 14 positions and 1 to 500 channels, with a code fitted to others of its kind."""
    shape = (draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.integers(1, 500)))
    kind = {
        "top": draw(st.sampled_from([0.01, 0.3, 2.0, 10.0, 60.0])),
        "decay": draw(st.sampled_from([0.9, 0.98, 1.0])),
    }
    seed = draw(st.integers(0, 2**32 - 1))
    return Code.fit(latents(4, shape, seed=seed, **kind)), latents(1, shape, seed=seed + 1, **kind)[0]


@settings(max_examples=60, deadline=None)
@given(coded())
def test_every_latent_comes_back_within_the_length_promised(pair):
    """What is encoded is decoded to the symbol, at most 3 % and 8 bytes above the ideal length of the tables."""
    code, symbols = pair
    body = code.encode(symbols)
    channels, found = code.decode(body)
    np.testing.assert_array_equal(found, symbols)
    assert (symbols.reshape(-1, code.n_channels)[:, channels:] == code.centres[channels:]).all()
    ideal = code.ideal_bits(symbols[None], channels)[0] / 8
    assert len(body) - HEADER <= 1.03 * ideal + 8


@settings(max_examples=40, deadline=None)
@given(coded(), st.floats(0.02, 1.1))
def test_a_bound_is_kept_by_leaving_out_the_last_channels(pair, share):
    """No result is longer than its bound; the channels sent are exact, the others at their centres."""
    code, symbols = pair
    whole = code.encode(symbols)
    bound = max(len(code.encode(first_channel(code, symbols))), round(share * len(whole)))
    body = code.encode(symbols, bound)
    channels, found = code.decode(body)
    expected = symbols.reshape(-1, code.n_channels).copy()
    expected[:, channels:] = code.centres[channels:]
    assert len(body) <= bound
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def first_channel(code, symbols):
    """Return symbols of which only the first channel differs from its centre."""
    alone = np.broadcast_to(code.centres, symbols.shape).copy()
    alone[..., 0] = symbols[..., 0]
    return alone


@pytest.mark.parametrize("shape", [(7, 7, 200), (14, 14, 60), (400,), (5, 30, 40)])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_the_prefix_is_the_longest_but_for_a_few_bytes(shape, share):
    """A bound is used up: the next channels would not have fitted, allowing 1 % and 2 bytes for the estimate."""
    x = latents(6, shape)
    code = Code.fit(x)
    for symbols in x:
        bound = round(share * len(code.encode(symbols)))
        channels, _ = code.decode(code.encode(symbols, bound))
        two_more = symbols.reshape(-1, shape[-1]).copy()
        two_more[:, channels + 1 :] = code.centres[channels + 1 :]
        assert len(code.encode(two_more.reshape(shape))) > 0.99 * bound - 2


@pytest.mark.parametrize("value", [-128, 127])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 20), (14, 14, 30)])
def test_the_largest_magnitudes_are_coded(shape, value):
    """Symbols as far from their centre as int8 allows come back, also against tables that expect none."""
    code = Code(geometric_tables(), *([[0] * shape[-1]] * 2), [-1 - value] * shape[-1], shape)
    symbols = np.full(shape, value, np.int8)
    channels, found = code.decode(code.encode(symbols))
    assert channels == shape[-1]
    np.testing.assert_array_equal(found, symbols)


def test_an_image_at_its_centres_sends_one_channel():
    """A latent without news is a few bytes, however many channels it has."""
    code = Code.fit(latents(3, (7, 7, 100)))
    still = np.broadcast_to(code.centres, code.shape)
    body = code.encode(still)
    assert len(body) <= 12
    assert code.decode(body)[0] == 1


@pytest.mark.parametrize("shape", [(4, 5, 30), (1, 1, 7), (50,), (3, 17, 2)])
def test_ideal_bits_are_those_of_the_definition(shape):
    """The vectorized length agrees with one added up symbol by symbol."""
    x = latents(5, shape, top=20.0)
    code = Code.fit(x)
    np.testing.assert_allclose(code.ideal_bits(x), [reference_bits(code, one) for one in x])
    few = (shape[-1] + 1) // 2
    part = Code(code.tables, code.runs[:few], code.magnitudes[:few], code.centres[:few], (*shape[:-1], few))
    np.testing.assert_allclose(code.ideal_bits(x, few), [reference_bits(part, one[..., :few]) for one in x])


def test_fit_chooses_the_fewest_bits():
    """No other table for one channel, and no other of the three centres, makes the images of the fit shorter."""
    x = latents(6, (5, 5, 4), top=3.0, decay=0.6)
    code = Code.fit(x)
    best = code.ideal_bits(x).sum()
    for name, most in (("runs", 32), ("magnitudes", 32)):
        for channel in range(4):
            for kind in range(most):
                other = getattr(code, name).copy()
                other[channel] = kind
                record = code.to_json() | {name: other.tolist()}
                assert Code.from_json(record, code.shape).ideal_bits(x).sum() >= best - 1e-6


@pytest.mark.parametrize(("values", "centre"), [([-128] * 9 + [0], -128), ([4, 4, 5, 4], 4), ([7] * 8, 7)])
def test_the_centre_is_what_is_most_frequent(values, centre):
    """Also where all else lies on one side, as after a ReLU."""
    assert Code.fit(np.array(values, np.int8).reshape(-1, 1, 1)).centres.tolist() == [centre]


def test_tables_fitted_from_other_images_cost_little():
    """The code of one half of the images codes the other half within 2 % of the code of its own."""
    x = latents(60, (7, 7, 40))
    other, own = Code.fit(x[:30]), Code.fit(x[30:])
    assert other.ideal_bits(x[30:]).sum() < 1.02 * own.ideal_bits(x[30:]).sum()


def test_a_code_lies_within_two_percent_of_its_channels_entropy():
    """Geometric tables cost little where symbols are drawn from rounded Laplace distributions."""
    x = latents(200, (7, 7, 12), top=3.0, decay=0.8)
    entropy = 0.0
    for channel in np.moveaxis(x, -1, 0):
        share = np.unique(channel, return_counts=True)[1] / channel.size
        entropy -= 49 * (share * np.log2(share)).sum()
    assert Code.fit(x).ideal_bits(x).mean() < 1.02 * entropy


@pytest.mark.parametrize("shape", [(7, 7, 30), (2, 3, 5), (60,)])
def test_every_truncation_and_every_longer_code_is_malformed(shape):
    """A code says where it ends: no shorter and no longer one is taken for it."""
    x = latents(3, shape)
    code = Code.fit(x)
    body = code.encode(x[0])
    assert all(code.decode(body[:length]) is None for length in range(len(body)))
    assert all(code.decode(body + bytes([extra])) is None for extra in (0, 1, 255))


def test_a_number_of_channels_or_lanes_that_cannot_be_is_malformed():
    """From 1 to all channels, from 1 to 255 lanes, and no more lanes than units."""
    x = latents(2, (3, 3, 20))
    code = Code.fit(x)
    body = code.encode(x[0])
    for channels in (0, 21, 65535):
        assert code.decode(channels.to_bytes(2, "little") + body[2:]) is None
    assert code.decode(body[:2] + bytes([0]) + body[3:]) is None
    assert code.decode(body[:2] + bytes([21]) + body[3:] + bytes(100)) is None


def test_a_magnitude_beyond_int8_is_malformed():
    """A symbol that no int8 output has is refused, whatever its sign."""
    at_home = Code(geometric_tables(), [20], [31], [0], (4, 4, 1))
    beyond = Code(geometric_tables(), [20], [31], [100], (4, 4, 1))
    for value in (-128, 127):
        body = at_home.encode(np.full((4, 4, 1), value, np.int8))
        assert (beyond.decode(body) is None) == (value > 0)


def test_signs_that_nobody_needs_have_to_be_zero():
    """The states of the last step hold signs; a bit beyond them, and padding that is not zero, are malformed."""
    code = Code.fit(latents(2, (4, 4, 3)))
    symbols = np.broadcast_to(code.centres, code.shape).copy()
    symbols[0, 0, 2] += 1
    body = code.encode(symbols)
    assert body[2] == 1
    for bit in range(LANE_SIGNS):
        state = int.from_bytes(body[3:5], "little") ^ 1 << bit
        found = code.decode(body[:3] + state.to_bytes(2, "little") + body[5:])
        assert found is None or not np.array_equal(found[1], symbols)


def test_random_bytes_are_refused_and_never_raise():
    """Whatever arrives, the reader returns: nothing, or a latent within int8."""
    rng = np.random.default_rng(0)
    code = Code.fit(latents(3, (4, 4, 12)))
    good = code.encode(latents(1, (4, 4, 12), seed=9)[0])
    for _ in range(2000):
        body = bytearray(rng.bytes(rng.integers(0, 40)) if rng.random() < 0.5 else good)
        for k in rng.integers(0, len(body) + 1, rng.integers(0, 3)):
            body[k : k + 1] = rng.bytes(1)
        found = code.decode(bytes(body))
        assert found is None or found[1].dtype == np.int8


def test_the_record_goes_through_json():
    """The manifest's form gives back an equal code, and the same bytes."""
    x = latents(3, (3, 4, 9))
    code = Code.fit(x)
    again = Code.from_json(json.loads(json.dumps(code.to_json())), [3, 4, 9])
    assert again.to_json() == code.to_json()
    assert again.encode(x[0]) == code.encode(x[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": []}, "code.tables"),
        ({"tables": [[0] * 17]}, "rise at each step"),
        ({"tables": [list(range(1, 18))]}, "begin with 0"),
        ({"tables": [list(range(16))]}, "a list of 17"),
        ({"runs": [1, 0]}, "table 1 of 1"),
        ({"runs": [0]}, "each of"),
        ({"magnitudes": [0, 0, 0]}, "each of"),
        ({"centres": [0, 128]}, "centres"),
        ({"extra": 1}, "unknown keys: extra"),
    ],
)
def test_a_record_that_is_no_code_is_refused(change, message):
    """Each part of the record is checked, and the message names it."""
    record = {"tables": [list(range(17))], "runs": [0, 0], "magnitudes": [0, 0], "centres": [0, -5]}
    assert Code.from_json(record, (2, 2)).n_channels == 2
    with pytest.raises(ArgumentError, match=message):
        Code.from_json(record | change, (2, 2))


def test_what_cannot_be_coded_is_said():
    """Other dtypes, other shapes, no images, and a bound below the first channel are errors."""
    x = latents(3, (3, 4, 9))
    code = Code.fit(x)
    with pytest.raises(ArgumentError, match=r"int8 of shape \(3, 4, 9\)"):
        code.encode(x[0].astype(np.int16))
    with pytest.raises(ArgumentError, match=r"int8 of shape \(3, 4, 9\)"):
        code.encode(x[0][..., :8])
    with pytest.raises(ArgumentError, match="first of 9 channels fits in 5 bytes"):
        code.encode(x[0], 5)
    with pytest.raises(DataError, match="int8"):
        Code.fit(x.astype(float))
    with pytest.raises(DataError, match="int8"):
        Code.fit(x[:0])
