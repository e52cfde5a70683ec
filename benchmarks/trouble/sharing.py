"""Tests with clients that processes and threads share, and with answers that come before the answer."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from isplit_edge import Client

from .place import Place, Row

_INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n",
)
_EXTRA = (b"x", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def asked(place: Place, client: Client, first: int, count: int) -> tuple[int, int, int]:
    """Ask for one image after the other; return how many were right, told as failed, and wrong."""
    right = failed = wrong = 0
    for k in range(count):
        row = (first + k) % len(place.images)
        answer = client.run(place.images[row])
        if answer.status.any():
            failed += 1
        elif place.right([row], answer.probabilities):
            right += 1
        else:
            wrong += 1
    return right, failed, wrong


def _note(row: Row, who: str, counts: tuple[int, int, int]) -> None:
    for name, count in zip(("answered right", "told as failed", "WRONG"), counts, strict=True):
        row.outcome[name] += count
    if counts[2] or counts[1]:
        row.fail(f"{who}: right, failed and wrong {counts}")


def forks(place: Place, url: str, count: int, children: int = 4) -> Row:
    """Fork a process that has used its client; parent and children ask different images at once, and must be right."""
    row, begin = Row(f"requests of a client shared by a process and {children} forked from it", count), time.monotonic()
    share = max(1, count // (children + 1))
    with Client(place.bundle, url) as client:
        _note(row, "before the fork", asked(place, client, 0, 1))
        pipes = []
        for k in range(children):
            read, write = os.pipe()
            if os.fork() == 0:
                counts = asked(place, client, 7 * k, share)
                os.write(write, repr(counts).encode())
                os._exit(0)
            os.close(write)
            pipes.append(read)
        _note(row, "the parent", asked(place, client, 3, share))
        for read in pipes:
            text = os.read(read, 1000).decode()
            os.close(read)
            _note(row, "a child", tuple(map(int, text.strip("()").split(","))) if text else (0, 0, share))  # type: ignore[arg-type]
        for _ in pipes:
            os.wait()
    row.seconds = time.monotonic() - begin
    return row


def threads(place: Place, urls: tuple[str, str], count: int, workers: int = 8) -> Row:
    """Let threads share one client over each API; each must get its own answers."""
    row, begin = Row(f"requests of a client shared by {workers} threads", count), time.monotonic()
    share = max(1, count // workers // len(urls))
    for url in urls:
        with Client(place.bundle, url, timeout_s=60) as client, ThreadPoolExecutor(workers) as pool:
            for counts in pool.map(lambda k, one=client: asked(place, one, 5 * k, share), range(workers)):
                _note(row, url, counts)
    row.seconds = time.monotonic() - begin
    return row


def interim(place: Place, url: str, count: int, seed: int = 0) -> Row:
    """Put interim answers before, and bytes behind, the answers of the server; no image may get another's answer."""
    row, begin = Row("answers with others before and bytes behind them", count), time.monotonic()
    rng = random.Random(seed)

    def change(answer: bytes) -> bytes:
        before = b"".join(rng.choices(_INTERIM, k=rng.randrange(3)))
        return before + answer + (rng.choice(_EXTRA) if rng.random() < 0.3 else b"")

    with Relay(url, change) as relay, Client(place.bundle, relay.url, retries=0) as client:
        _note(row, "behind the relay", asked(place, client, 0, count))
    row.seconds = time.monotonic() - begin
    return row


class Relay:
    """A proxy on the loopback that changes each answer of a server.

    Args:
        url: The server's address.
        change: Makes of each piece of an answer what is sent on.
    """

    def __init__(self, url: str, change: Callable[[bytes], bytes]):
        host, port = url.removeprefix("http://").split(":")
        self._server, self._change = (host, int(port)), change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, socket.create_connection(self._server) as server:
            threading.Thread(target=_copy, args=(connection, server), daemon=True).start()
            while piece := _received(server):
                try:
                    connection.sendall(self._change(piece))
                except OSError:
                    return

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 20)
    except OSError:
        return b""


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(1 << 20):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
