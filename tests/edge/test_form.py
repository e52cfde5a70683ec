"""The form of payloads: one place that packs, bounds and reads them, in each version of the wire."""

import numpy as np
import pytest

from isplit_edge import ArgumentError, wire
from isplit_edge.code import Code
from isplit_edge.form import PayloadForm

TAG = bytes(range(8))
LATENT = np.random.default_rng(0).integers(-3, 4, (4, 4, 6)).astype(np.int8)
CODE = Code.fit(LATENT[None])
PLAIN = PayloadForm(tag=TAG, payload_bytes=12 + 96, dtype="int8", shape=(4, 4, 6))
PACKED = PayloadForm(tag=TAG, payload_bytes=12 + 48, dtype="int8", shape=(4, 4, 6), bits=4)
CODED = PayloadForm(tag=TAG, payload_bytes=50, dtype="int8", shape=(4, 4, 6), code=CODE, max_payload_bytes=70)


@pytest.mark.parametrize(("form", "version"), [(PLAIN, 1), (PACKED, 2), (CODED, 3)])
def test_what_a_form_packs_it_reads(form, version):
    """Each version gives back the latent or its levels, and fits its own version alone."""
    form.check(version)
    payload = form.pack(LATENT)
    status, found = form.unpack(payload)
    assert status == 0
    assert len(payload) <= form.longest_bytes
    assert form.unpack(payload[:-1])[0] == 2
    assert form.unpack(bytes(8) + payload[8:])[0] == 1
    if version < 3:
        np.testing.assert_array_equal(found, LATENT if version == 1 else wire.levels(LATENT, 4))
    for other in {1, 2, 3} - {version}:
        with pytest.raises(ArgumentError, match=f"wire_version must be {version}"):
            form.check(other)


def test_a_coded_payload_keeps_the_smaller_of_two_bounds():
    """That of the bundle, and that of the call; longer payloads are malformed, also if they are well coded."""
    assert CODED.bound(None) == CODED.bound(100) == 70
    assert CODED.bound(40) == 40
    assert len(CODED.pack(LATENT, 40)) <= 40
    longer = wire.pack_coded(TAG, LATENT, CODE)
    short = PayloadForm(tag=TAG, payload_bytes=20, dtype="int8", shape=(4, 4, 6), code=CODE, max_payload_bytes=40)
    assert CODED.unpack(longer)[0] == (0 if len(longer) <= 70 else 2)
    assert short.unpack(longer)[0] == 2


@pytest.mark.parametrize("form", [PLAIN, PACKED])
def test_payloads_of_one_size_allow_no_smaller_bound(form):
    """A bound that they keep anyway is taken; a smaller one is an error that names their size."""
    assert form.bound(form.payload_bytes) is None
    assert form.pack(LATENT, 10**6) == form.pack(LATENT)
    with pytest.raises(ArgumentError, match=f"less than the {form.payload_bytes} bytes of each payload"):
        form.pack(LATENT, form.payload_bytes - 1)
    with pytest.raises(ArgumentError, match="payload_bytes must be a whole number"):
        form.bound(0)
