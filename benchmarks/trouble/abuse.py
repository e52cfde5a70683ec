"""Tests with malformed payloads and requests."""

import base64
import contextlib
import http.client
import json
import math
import random
import socket
import time
import zlib
from collections.abc import Callable

import numpy as np

from isplit_edge import wire
from isplit_edge.manifest import Manifest
from isplit_edge.rest import RestTransport
from isplit_edge.rpc import GrpcTransport
from isplit_edge.transport import HttpConnection

from .place import Place, Row

_BATCH = 32
_SLOWEST_S = 20.0
_FINE_CODES = {200, 400, 404, 408, 411, 413, 414, 415, 431, 501, 505}
_PREDICT = "PredictionService/Predict"
_FINE_GRPC = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "INTERNAL"}


def spoiled(payload: bytes, rng: random.Random) -> bytes:
    """Return a payload that is malformed in a random way."""
    way = rng.randrange(8)
    if way == 7:  # the checksum is right
        body = bytearray(payload[wire.HEADER_BYTES :])
        for _ in range(rng.randint(1, 3)):
            body[rng.randrange(min(len(body), rng.choice([3, 10**6])))] ^= 1 << rng.randrange(8)
        body = body[: len(body) - rng.choice([0, 0, 1])] + rng.randbytes(rng.choice([0, 0, 1]))
        return payload[: wire.TAG_BYTES] + zlib.adler32(body).to_bytes(4, "little") + bytes(body)
    if way == 0:
        return payload[: rng.randrange(len(payload))]
    if way == 1:
        return payload + rng.randbytes(rng.randint(1, 200))
    if way == 2:
        at, bit = rng.randrange(len(payload)), 1 << rng.randrange(8)
        return payload[:at] + bytes([payload[at] ^ bit]) + payload[at + 1 :]
    if way == 3:
        return rng.randbytes(wire.TAG_BYTES) + payload[wire.TAG_BYTES :]
    if way == 4:
        return rng.randbytes(len(payload))
    if way == 5:
        return rng.randbytes(rng.choice([0, 1, 7, 8, 11, 12, 13, 5000]))
    return payload[wire.HEADER_BYTES :] + payload[: wire.HEADER_BYTES]


def malformed_payloads(
    place: Place, urls: tuple[str, str], count: int, seed: int = 0, what: str = "malformed payloads"
) -> Row:
    """Send malformed payloads among good ones over REST and gRPC.

    Each row must get the status of the reference decoder, and good rows must get the right answer.
    """
    row = Row(f"{what} among good ones", count)
    rng, begin = random.Random(seed), time.monotonic()
    manifest = Manifest.load(place.bundle)
    transports = [RestTransport(HttpConnection(urls[0]), manifest), GrpcTransport(urls[1], manifest)]
    done = turn = 0
    while done < count:
        good = [rng.randrange(len(place.payloads)) if rng.random() < 0.25 else None for _ in range(_BATCH)]
        source = [rng.choice(place.payloads) for _ in good]
        batch = [
            spoiled(one, rng) if index is None else place.payloads[index]
            for index, one in zip(good, source, strict=True)
        ]
        expected = [manifest.form.unpack(one)[0] for one in batch]
        probabilities, status = transports[turn % 2].predict(batch)
        if status.tolist() != expected:
            row.fail(f"statuses {status.tolist()}, expected {expected}")
        kept = [k for k, index in enumerate(good) if index is not None]
        if not place.right([good[k] for k in kept], probabilities[kept]):
            row.fail("a good payload among bad ones was not answered right")
        if not np.isnan(probabilities[np.array(expected) != 0]).all():
            row.fail("a bad payload has numbers")
        row.outcome.update({f"status {code}": expected.count(code) for code in set(expected)})
        done, turn = done + good.count(None), turn + 1
    for transport in transports:
        transport.close()
    row.seconds = time.monotonic() - begin
    return row


def malformed_rest(place: Place, url: str, count: int, seed: int = 0) -> Row:
    """Send requests with wrong form or content; each must get a suitable answer, and good ones must still be served."""
    row = Row("malformed REST requests", count)
    rng, begin = random.Random(seed), time.monotonic()
    good = _rest_body(place.payloads[:3])
    host, port = url.removeprefix("http://").split(":")
    asker = _Rest(host, int(port), place, row)
    for k in range(count):
        started = time.monotonic()
        if rng.random() < 0.03:
            asker.raw(_raw_request(good, rng))
        else:
            asker.ask(*_request(good, place, rng))
        if time.monotonic() - started > _SLOWEST_S:
            row.fail(f"{time.monotonic() - started:.1f} s for one request")
        if k % 500 == 0:
            asker.good(good)
    asker.good(good)
    asker.close()
    row.seconds = time.monotonic() - begin
    return row


class _Rest:
    """A client that sends requests over one persistent connection and records the answers."""

    def __init__(self, host: str, port: int, place: Place, row: Row):
        self._address, self._place, self._row = (host, port), place, row
        self._connection = http.client.HTTPConnection(host, port, timeout=_SLOWEST_S)
        self._path = "/v1/models/tail:predict"

    def ask(self, method: str, path: str, body: bytes) -> None:
        try:
            self._connection.request(method, path, body)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            self._row.fail(f"{method} {path[:60]!r} {body[:200]!r}: {type(error).__name__} {error}")
            return
        self._row.outcome[f"HTTP {response.status}"] += 1
        if response.status not in _FINE_CODES:
            self._row.fail(f"{method} {path[:60]!r} {body[:200]!r}: HTTP {response.status} {answer[:200]!r}")
        elif response.status != 200 and method != "HEAD" and "error" not in json.loads(answer):
            self._row.fail(f"no error in {answer[:200]!r}")

    def raw(self, content: bytes) -> None:
        with socket.create_connection(self._address, timeout=_SLOWEST_S) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := connection.recv(65536):
                    answer += part
        if not answer:
            self._row.outcome["closed"] += 1
            return
        code = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
        self._row.outcome[f"HTTP {code}"] += 1
        if code not in _FINE_CODES:
            self._row.fail(f"{content[:200]!r}: {answer[:200]!r}")

    def close(self) -> None:
        self._connection.close()

    def good(self, body: bytes) -> None:
        self._connection.request("POST", self._path, body)
        response = self._connection.getresponse()
        rows = json.loads(response.read()).get("predictions", [])
        found = np.array([one["probabilities"] for one in rows], np.float32)
        if response.status != 200 or not self._place.right([0, 1, 2], found):
            self._row.fail("a good request was not answered right")


def _rest_body(payloads: list[bytes]) -> bytes:
    rows = [{"payload": {"b64": base64.b64encode(one).decode()}} for one in payloads]
    return json.dumps({"instances": rows}).encode()


def _request(good: bytes, place: Place, rng: random.Random) -> tuple[str, str, bytes]:
    path = "/v1/models/tail:predict"
    ways: list[Callable[[], tuple[str, str, bytes]]] = [
        lambda: ("POST", path, good[: rng.randrange(len(good))]),
        lambda: ("POST", path, _changed(good, rng)),
        lambda: ("POST", path, json.dumps(_value(rng, 4)).encode()),
        lambda: ("POST", path, json.dumps({rng.choice(["instances", "inputs"]): _value(rng, 5)}).encode()),
        lambda: ("POST", path, json.dumps({"signature_name": "from_latent", "inputs": _value(rng, 5)}).encode()),
        lambda: ("POST", path, json.dumps({"signature_name": _value(rng, 1), "instances": ["x"]}).encode()),
        lambda: ("POST", path, b'{"inputs": ' + rng.choice([b"1e999", b"9" * 9000, b"-" + b"9" * 400, b"1e"]) + b"}"),
        lambda: ("POST", path, b'{"instances": ' + b"[" * rng.randint(1, 60_000)),
        lambda: ("POST", path, b"[" * 2000 + b"]" * 2000),
        lambda: ("POST", path, rng.randbytes(rng.randint(0, 300))),
        lambda: ("POST", path, _rest_body(place.payloads[:1] * rng.randint(33, 60))),
        lambda: ("POST", f"/v1/models/{_word(rng)}:{rng.choice(['predict', 'classify', 'regress', 'x'])}", good),
        lambda: ("POST", f"/v1/models/tail/versions/{rng.choice(['0', '7', '9' * 30, '-1', 'x'])}:predict", good),
        lambda: (rng.choice(["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]), f"/{_word(rng)}/{_word(rng)}", b""),
        lambda: ("GET", f"/v1/models/{_word(rng)}/{rng.choice(['metadata', 'versions/1', 'labels/x', ''])}", b""),
    ]
    return rng.choice(ways)()


def _raw_request(good: bytes, rng: random.Random) -> bytes:
    head = b"POST /v1/models/tail:predict HTTP/1.1\r\nHost: localhost\r\n"
    return rng.choice(
        [
            head + b"Content-Length: 999999999999\r\n\r\n" + good,  # endless
            head + b"Content-Length: %d\r\n\r\n" % (len(good) + 50) + good,  # cut off
            head + b"Content-Length: -1\r\n\r\n" + good,
            head + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffffffffff\r\n" + good,  # an endless chunk
            head + b"Transfer-Encoding: chunked\r\n\r\n" + b"zz\r\n" + good,
            head + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + bytes(0x10000) + b"\r\n",
            head + b"Transfer-Encoding: gzip\r\n\r\n" + good,
            head[: rng.randrange(len(head))],
            b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
            head + b"A: b\r\n" * 300 + b"\r\n",
            rng.randbytes(rng.randint(1, 400)) + b"\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(100),
        ]
    )


def _changed(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _value(rng: random.Random, depth: int) -> object:
    """Return a random JSON value."""
    plain = [None, True, False, 0, -1, 2**70, 1.5, -math.pi, "", "x", "\u00e9", {"b64": "####"}, {"b64": ""}, [], {}]
    if depth == 0 or rng.random() < 0.4:
        return rng.choice(plain)
    if rng.random() < 0.6:
        return [_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    return {rng.choice(["payload", "latent", "b64", "x"]): _value(rng, depth - 1) for _ in range(rng.randint(0, 3))}


def _word(rng: random.Random) -> str:
    return rng.choice(["tail", "other", "%00", "..", "tail%2f", "v1", "a" * 500, "%ff", "tail:tail"])


def malformed_grpc(place: Place, url: str, count: int, seed: int = 0) -> Row:
    """Send truncated, changed or random messages; each must get a suitable code, and good ones must still be served."""
    import grpc

    from isplit_edge import messages

    row = Row("malformed gRPC calls", count)
    rng, begin = random.Random(seed), time.monotonic()
    manifest = Manifest.load(place.bundle)
    spec = messages.model_spec("tail", manifest.version, "serving_default")
    good = messages.predict_request(spec, "payload", place.payloads[:3])
    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        calls = {
            name: channel.unary_unary(f"/tensorflow.serving.{name}")
            for name in (
                "PredictionService/Predict",
                "PredictionService/GetModelMetadata",
                "ModelService/GetModelStatus",
            )
        }
        for k in range(count):
            name = rng.choice([*calls, _PREDICT])
            content = rng.choice(
                [good[: rng.randrange(len(good))], _changed(good, rng), rng.randbytes(rng.randint(0, 200))]
            )
            try:
                calls[name](content, timeout=_SLOWEST_S)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
                if code == "INTERNAL" and "no message" not in (error.details() or ""):
                    row.fail(f"{name} {content[:100]!r}: {error.details()}")
            row.outcome[code] += 1
            if code not in _FINE_GRPC:
                row.fail(f"{name} {content[:100]!r}: {code}")
            if k % 500 == 0:
                outputs = messages.read_outputs(calls[_PREDICT](good, timeout=_SLOWEST_S))
                if not place.right([0, 1, 2], outputs["probabilities"]):
                    row.fail("a good call was not answered right")
    row.seconds = time.monotonic() - begin
    return row
