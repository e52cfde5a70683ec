"""A proxy that delays: what comes in on a connection goes out later, in its order; started by `Rig`.

`python proxy.py LISTEN_HOST PORT` forwards connections to 127.0.0.1:PORT, and prints the port on which it listens.
Each line on standard input, `RTT_S OPEN`, changes the round trip; with OPEN 0 nothing passes until a later line.
A connection's first bytes are delayed by one round trip more, the time that opening it over such a link takes.
"""

import contextlib
import queue
import socket
import sys
import threading
import time

CHUNK_BYTES = 1 << 16


class Line:
    """The link's present state: half a round trip for each direction, and whether anything passes."""

    def __init__(self, rtt_s: float = 0.0):
        self.rtt_s = rtt_s
        self.open = threading.Event()
        self.open.set()

    def change(self, rtt_s: float, passes: bool) -> None:
        """Set the round trip in seconds, and whether anything passes; bytes on their way keep their delay."""
        self.rtt_s = rtt_s
        if passes:
            self.open.set()
        else:
            self.open.clear()


def forward(source: socket.socket, target: socket.socket, line: Line, extra_trips: float) -> None:
    """Read from one socket, and write to the other after half a round trip, until the source ends."""
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    writer = threading.Thread(target=_write, args=(waiting, target, line), daemon=True)
    writer.start()
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            waiting.put((time.monotonic() + line.rtt_s * (0.5 + extra_trips), data))
            extra_trips = 0.0
    waiting.put((time.monotonic() + line.rtt_s / 2, b""))
    writer.join()


def _write(waiting: queue.SimpleQueue, target: socket.socket, line: Line) -> None:
    with contextlib.suppress(OSError):
        while True:
            due, data = waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            line.open.wait()
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)


def serve(connection: socket.socket, port: int, line: Line) -> None:
    """Forward one connection in both directions until both ends are closed."""
    with connection, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        for one in (connection, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=forward, args=(server, connection, line, 0.0), daemon=True)
        back.start()
        forward(connection, server, line, 1.0)
        back.join()


def listen(host: str, port: int, line: Line) -> socket.socket:
    """Accept connections in a thread, and return the listening socket."""
    listener = socket.create_server((host, 0), backlog=128)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection, port, line), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def main() -> None:
    """Run until standard input ends."""
    line = Line()
    listener = listen(sys.argv[1], int(sys.argv[2]), line)
    print(listener.getsockname()[1], flush=True)
    for text in sys.stdin:
        rtt_s, passes = text.split()
        line.change(float(rtt_s), passes == "1")


if __name__ == "__main__":
    main()
