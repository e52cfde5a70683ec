"""A device's memory and its errors: what a server or a caller may send, and what comes of it."""

import random
import tracemalloc

import grpc
import numpy as np
import pytest

from isplit_edge import Client, DataError, Manifest, ServerError, messages
from support.grpc_loopback import GrpcLoopback
from support.loopback import Loopback

MOST_BYTES = 64 << 20


@pytest.fixture
def watched():
    """Checks that no more than 64 MB were allocated by Python and numpy during the test."""
    tracemalloc.start()
    yield
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < MOST_BYTES, f"{most / 2**20:.0f} MB"


def repeated(content: bytes, most: int = 1 << 20) -> bytes:
    """As much of this as a limit allows."""
    return content * (most // len(content))


BODIES = [
    repeated(b"[", 60_000),
    b'{"predictions": [' + repeated(b"{},", 60_000) + b"{}]}",
    b'{"predictions": [' + repeated(b'{"probabilities": [], "status": 0},', 60_000)[:-1] + b"]}",
    b'{"predictions": [{"probabilities": ["' + b"x" * 60_000 + b'", 0, 0], "status": 0}]}',
    b'{"predictions": [{"probabilities": [1e999, 0, 0], "status": 9999999999999999999999}]}',
    b'{"predictions": [{"probabilities": [' + b"9" * 4000 + b', 0, 0], "status": 0}]}',
    b'{"predictions": [{"probabilities": [' + b"9" * 9000 + b', 0, 0], "status": 0}]}',
    b'{"predictions": [{"probabilities": [[[[]]]], "status": {}}]}',
    b'{"error": "' + b"\\ud800" * 5000 + b'"}',
    repeated(b"{},"),
]


@pytest.mark.parametrize("code", [200, 404, 500])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
def test_bodies_that_grow_in_memory(bundles, images, body, code, watched):
    """Brackets, texts among numbers, numbers without end: told as failed, in little memory, and never raised by run."""
    with Loopback(Manifest.load(bundles["float32"])) as server:
        server.faults.extend([lambda one: one.reply_bytes(code, body)] * 2)
        with Client(bundles["float32"], server.url, retries=0) as client:
            assert client.run(images).status.tolist() == [3] * len(images)


def tensor(shape: list[int], content: bytes = b"", dtype: int = 1) -> bytes:
    """A tensor of a claimed shape."""
    axes = b"".join(messages.field(2, messages.integer_field(1, size)) for size in shape)
    return messages.integer_field(1, dtype) + messages.field(2, axes) + content


ONE = messages.field(5, b"\0\0\0\0")
TENSORS = {
    "claimed": tensor([1 << 26], ONE),
    "claimed in axes": tensor([1 << 13, 1 << 13], ONE),
    "claimed beyond": tensor([2**62, 2**62], ONE),
    "with nothing in an axis": tensor([0, 2**40]),
    "filled from two": tensor([1 << 24], messages.field(5, bytes(8))),
    "statuses": tensor([1 << 26], messages.integer_field(7, 0), dtype=3),
    "many numbers": tensor([3], b"".join([messages.integer_field(7, 0)] * 20_000), dtype=3),
    "many floats": tensor([3], ONE * 9_000),
    "packed": tensor([3], messages.field(7, bytes(60_000)), dtype=3),
    "axes": tensor([1] * 10_000),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("times", [1, 12])
def test_tensors_that_claim_memory(bundles, images, name, times, watched):
    """A few bytes of gRPC that claim much, once or in many outputs: the same."""

    def outputs() -> bytes:
        parts = []
        for k in range(times):
            key = ("probabilities", "status", f"other{k}")[min(k, 2)].encode()
            parts.append(messages.field(1, messages.field(1, key) + messages.field(2, TENSORS[name])))
        return b"".join(parts)

    content = outputs()[:65_000]

    class Raw(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: content)

    from concurrent import futures

    server = grpc.server(futures.ThreadPoolExecutor(1), [Raw()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Client(bundles["float32"], f"grpc://127.0.0.1:{port}", retries=0) as client:
            assert client.run(images).status.tolist() == [3] * len(images)
            with pytest.raises(ServerError):
                client.check()
    finally:
        server.stop(None).wait()


def test_an_output_whose_last_number_fills_the_rest_is_read(bundles, images):
    """What TensorFlow writes in little room is still read: one number for all, where as many were asked for."""
    found = messages.read_tensor(tensor([5, 3], messages.field(5, np.float32(0.25).tobytes())))
    np.testing.assert_array_equal(found, np.full((5, 3), 0.25, np.float32))
    with GrpcLoopback(Manifest.load(bundles["float32"])) as server, Client(bundles["float32"], server.url) as client:
        assert not client.run(images).status.any()


class Foreign:
    """An object whose own conversion to an array fails."""

    def __init__(self, error: Exception):
        self._error = error

    def __array__(self, dtype=None, copy=None):
        raise self._error


def strange(rng: random.Random, images: np.ndarray) -> object:
    """Something that a caller may hand in."""
    kinds = ["?", "b", "H", "i", "q", "Q", "e", "f", "d", "g", "F", "O", "S3", "U3", "M8[s]", "V4"]
    shape = tuple(rng.choice([0, 1, 2, 3, 6, 8, 17]) for _ in range(rng.randint(0, 5)))
    array = np.zeros(shape, rng.choice(kinds))
    return rng.choice(
        [
            array,
            array[..., None],
            np.full((2, 8, 6, 3), rng.choice([1e300, -1e39, np.nan, np.inf, 3.5, 2**62])),
            np.full((8, 6, 3), 2**63, np.uint64),
            np.ma.masked_array(images, images > 9),
            images[:, ::-2],
            images.tolist(),
            [[1], [2, 3]],
            [images, None],
            None,
            "photo.png",
            b"\xff",
            {"x": images},
            {1, 2},
            10**400,
            [10**400],
            object(),
            iter([images]),
            memoryview(images.tobytes()),
            Foreign(rng.choice([RuntimeError("no"), KeyError("k"), OverflowError("o"), AttributeError("a")])),
        ]
    )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_run_raises_nothing_but_data_errors(precision, bundles, images):
    """Two thousand strange batches, raw and preprocessed: an answer or a DataError."""
    rng, answered, refused = random.Random(0), 0, 0
    with (
        Loopback(Manifest.load(bundles[precision])) as server,
        Client(bundles[precision], server.url, retries=0) as client,
    ):
        for _ in range(1000):
            batch = strange(rng, images)
            for preprocessed in (False, True):
                try:
                    client.run(batch, preprocessed=preprocessed)
                    answered += 1
                except DataError:
                    refused += 1
    assert min(answered, refused) > 50
