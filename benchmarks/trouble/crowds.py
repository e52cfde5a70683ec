"""Tests with crowds that wait and claims that grow: good clients keep their service, devices their memory."""

import contextlib
import resource
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator

from isplit_edge import Client, messages

from .place import Place, Row
from .sharing import Relay, asked

_MB = 1 << 20
_LEAST_SHARE = 0.9
_HEAD = b"POST /v1/models/tail:predict HTTP/1.1\r\nHost: localhost\r\n"


def crowds(place: Place, url: str, seconds: float, idle: int = 2000, dripping: int = 512) -> Row:
    """Measure good clients alone and beside a crowd, in turns; they must keep nine tenths of their throughput."""
    row, begin = Row(f"requests beside {idle:,} idle and {dripping} dripping connections", 0), time.monotonic()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, idle + dripping + 500)), hard))
    rates: dict[str, list[float]] = {"alone": [], "beside": []}
    for _ in range(3):
        rates["alone"].append(_rate(row, place, url, seconds))
        with _crowd(url, idle, dripping):
            rates["beside"].append(_rate(row, place, url, seconds))
    share = max(rates["beside"]) / max(rates["alone"])
    row.count = row.outcome["answered right"] + row.outcome["told as failed"]
    row.outcome["% of the throughput alone"] = round(100 * share)
    if share < _LEAST_SHARE:
        row.fail(f"good clients kept {share:.0%}: {rates}")
    row.seconds = time.monotonic() - begin
    return row


def _rate(row: Row, place: Place, url: str, seconds: float, clients: int = 4) -> float:
    done, lock, until = 0, threading.Lock(), time.monotonic() + seconds

    def device(number: int) -> None:
        nonlocal done
        with Client(place.bundle, url, num_threads=1) as client:
            while time.monotonic() < until:
                right, failed, wrong = asked(place, client, number, 10)
                with lock:
                    done += right
                    row.outcome["answered right"] += right
                    row.outcome["told as failed"] += failed
                    if failed or wrong:
                        row.fail(f"failed and wrong: {failed}, {wrong}")

    workers = [threading.Thread(target=device, args=(number,)) for number in range(clients)]
    begin = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return done / (time.monotonic() - begin)


@contextlib.contextmanager
def _crowd(url: str, idle: int, dripping: int) -> Iterator[None]:
    host, port = url.removeprefix("http://").split(":")
    stop, opened = threading.Event(), []
    for k in range(idle + dripping):
        with contextlib.suppress(OSError):
            connection = socket.create_connection((host, int(port)), timeout=10)
            opened.append(connection)
            if k >= idle:
                connection.sendall(_HEAD)

    def drip() -> None:
        while not stop.wait(0.5):
            for connection in opened[idle:]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"A")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for connection in opened:
            connection.close()


def silent_calls(place: Place, url: str, calls: int, requests: int) -> Row:
    """Begin gRPC calls that never send their message; others must be answered all the same."""
    import grpc

    row, begin = Row(f"requests beside {calls} gRPC calls without a message", requests), time.monotonic()
    release = threading.Event()

    def nothing() -> Iterator[bytes]:
        release.wait(120)
        yield from ()

    channels = [grpc.insecure_channel(url.removeprefix("grpc://"), [("x", k)]) for k in range(8)]
    stubs = [channel.stream_unary("/tensorflow.serving.PredictionService/Predict") for channel in channels]
    waiting = [stubs[k % 8].future(nothing()) for k in range(calls)]
    with Client(place.bundle, url, retries=0) as client:
        right, failed, wrong = asked(place, client, 0, requests)
    row.outcome.update({"answered right": right})
    if failed or wrong:
        row.fail(f"failed and wrong: {failed}, {wrong}")
    release.set()
    for call in waiting:
        call.cancel()
    for channel in channels:
        channel.close()
    row.seconds = time.monotonic() - begin
    return row


def claims(place: Place, url: str, count: int) -> Row:
    """Put bodies that grow when they are parsed into the place of answers; the client must stay under 64 MB."""
    import random

    row, begin, rng = Row("answers that claim memory", count), time.monotonic(), random.Random(0)
    bodies = [
        b'{"predictions": [' + b"{}," * 20_000 + b"{}]}",
        b'{"predictions": [' + b'{"probabilities":[],"status":0},' * 2_000 + b"{}]}",
        b'{"predictions": [{"probabilities": ["' + b"x" * 60_000 + b'",0,0,0,0],"status": 0}]}',
        b"[" * 60_000,
        b'{"error": "' + b"\\ud800" * 9_000 + b'"}',
    ]

    def change(piece: bytes) -> bytes:
        body = rng.choice(bodies)
        lengths = [b"%d" % len(body), b"99999999999", b"%d" % (len(body) // 2)]
        code = rng.choice([b"200 OK", b"404 Not Found", b"500 Internal Server Error"])
        return b"HTTP/1.1 %b\r\nContent-Length: %b\r\n\r\n%b" % (code, rng.choice(lengths), body)

    with Relay(url, change) as relay, Client(place.bundle, relay.url, retries=0) as client:
        tracemalloc.start()
        for k in range(count):
            answer = client.run(place.images[k % len(place.images)])
            row.outcome["told as failed"] += 1
            if not answer.status.all():
                row.fail("a made-up answer was taken")
            tensor = _claimed(rng)
            with contextlib.suppress(OSError):
                messages.read_outputs(tensor, 32 * 5)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    row.outcome["MB at most"] = -(-most // _MB)
    if most > 64 * _MB:
        row.fail(f"the client took {most / _MB:.0f} MB")
    row.seconds = time.monotonic() - begin
    return row


def _claimed(rng) -> bytes:
    """Return a gRPC answer that claims a shape of any size in a few bytes."""
    axes = [rng.choice([0, 1, 5, 1 << 13, 1 << 26, 1 << 62]) for _ in range(rng.randint(1, 3))]
    shape = b"".join(messages.field(2, messages.integer_field(1, axis)) for axis in axes)
    tensor = messages.integer_field(1, 1) + messages.field(2, shape) + messages.field(5, b"\0" * 4 * rng.randint(0, 3))
    return messages.field(1, messages.field(1, b"probabilities") + messages.field(2, tensor))
