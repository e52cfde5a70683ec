"""A proxy between an HTTP client and server that fails on purpose."""

import contextlib
import http.client
import random
import socket
import threading
import time
from collections import Counter

from isplit_edge import Client

from .place import Place, Row


class BadLink:
    """A proxy that forwards HTTP requests, and disturbs some of them like a bad link or a bad proxy.

    Kinds: "drop" (the connection ends before the request arrives), "delay", "cut" (the answer ends in the middle),
    "duplicate" (the request reaches the server twice), "echo" (the answer is sent twice).

    Args:
        port: Port of the server on this machine.
        share: Share of the requests to disturb, from 0 to 1.
        seed: Seed of the random choice.
        delay_s: Longest delay in seconds.
    """

    KINDS = ("drop", "delay", "cut", "duplicate", "echo")

    def __init__(self, port: int, share: float, seed: int = 0, delay_s: float = 0.4):
        self._port, self._share, self._delay_s = port, share, delay_s
        self._rng, self._lock = random.Random(seed), threading.Lock()
        self.faults: Counter = Counter()
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Return the URL at which the proxy listens."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        """Stop listening, and wait for the connections to end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5.0)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        server = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        ended = contextlib.suppress(OSError, http.client.HTTPException)
        with contextlib.closing(server), ended, connection, connection.makefile("rb") as reader:
            while head := _head(reader):
                body = reader.read(_length(head))
                kind, delay_s = self._choose()
                if kind == "drop":
                    return
                if kind == "delay":
                    time.sleep(delay_s)
                answer = _exchange(server, head, body)
                if kind == "duplicate":
                    answer = _exchange(server, head, body)
                if kind == "cut":
                    with self._lock:
                        end = self._rng.randrange(len(answer))
                    connection.sendall(answer[:end])
                    return
                connection.sendall(answer * 2 if kind == "echo" else answer)

    def _choose(self) -> tuple[str, float]:
        with self._lock:
            self.requests += 1
            kind = self._rng.choice(self.KINDS) if self._rng.random() < self._share else ""
            if kind:
                self.faults[kind] += 1
            return kind, self._rng.uniform(0, self._delay_s)


def _head(reader) -> bytes:
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line)
    return b"".join(lines)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def _exchange(server: http.client.HTTPConnection, head: bytes, body: bytes) -> bytes:
    method, path, _ = head.split(b"\r\n")[0].split()
    server.request(method.decode(), path.decode(), body, {"Content-Type": "application/json"})
    response = server.getresponse()
    content = response.read()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (response.status, len(content)) + content


def over_a_bad_link(
    place: Place, url: str, count: int, *, share: float = 0.05, seed: int = 0, what: str = "requests"
) -> Row:
    """Send single images from four devices over a bad link; each must be answered once and right, or must fail."""
    row = Row(f"{what} over a link that fails {share:.0%} of them", count)
    begin = time.monotonic()
    link = BadLink(int(url.rsplit(":")[-1]), share, seed)
    lock, answered = threading.Lock(), Counter()

    def device(numbers: range) -> None:
        with Client(place.bundle, link.url, timeout_s=0.3, retries=2) as client:
            for number in numbers:
                index = number % len(place.images)
                answer = client.run(place.images[index : index + 1])
                with lock:
                    answered[number] += 1
                    if answer.status.tolist() != [0]:
                        row.outcome["told as failed"] += 1
                        if not answer.reasons:
                            row.fail("failed without a reason")
                    elif place.right([index], answer.probabilities):
                        row.outcome["answered right"] += 1
                    else:
                        row.fail(f"image {index} got another answer")

    threads = [threading.Thread(target=device, args=(range(k, count, 4),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.close()
    if len(answered) != count or set(answered.values()) != {1}:
        row.fail(f"{len(answered)} of {count} images came back, some {max(answered.values())} times")
    row.outcome.update({f"link: {kind}": number for kind, number in sorted(link.faults.items())})
    row.outcome["requests on the link"] = link.requests
    row.seconds = time.monotonic() - begin
    return row
