"""Where requests come from, and the ways back: UDP, and a serial line."""

import logging
import os
import selectors
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from link_frames import REQUEST, FrameReader, unpack_frame

from isplit_edge.errors import ArgumentError, ServerError

MOST_DATAGRAM_BYTES = 65507
_LOG = logging.getLogger("gateway")


@dataclass(frozen=True)
class Request:
    """A payload that came in, and the way back."""

    sequence: int
    payload: bytes
    reply: Callable[[bytes], None]


class Datagrams:
    """Requests over UDP, one frame in each datagram.

    Args:
        host: Address to listen on.
        port: 0 for any free one.

    Raises:
        ServerError: If it cannot listen there.
    """

    def __init__(self, host: str, port: int):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise ServerError(f"Cannot listen on UDP {host}:{port}: {error}") from error
        self._socket.setblocking(False)

    @property
    def name(self) -> str:
        """Return the address at which it listens."""
        host, port = self._socket.getsockname()[:2]
        return f"UDP {host}:{port}"

    def fileno(self) -> int:
        """Return the file descriptor, for `selectors`."""
        return self._socket.fileno()

    def read(self, most: int) -> Iterator[Request]:
        """Return the waiting requests; incomplete frames are skipped."""
        for _ in range(most):
            try:
                data, sender = self._socket.recvfrom(MOST_DATAGRAM_BYTES + 1)
            except BlockingIOError:
                return
            except ConnectionError:  # an earlier answer found nobody
                continue
            found = unpack_frame(data, REQUEST)
            if found is None:
                _LOG.debug("%d bytes from %s are no request", len(data), sender)
                continue
            yield Request(*found, lambda frame, sender=sender: self._send(frame, sender))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _send(self, frame: bytes, sender: Any) -> None:
        try:
            self._socket.sendto(frame, sender)
        except OSError as error:  # the device asks again
            _LOG.warning("An answer to %s was not sent: %s", sender, error)


class SerialLine:
    """Requests over a serial line; the terminal interface of Linux and macOS, no further package.

    Args:
        device: Such as /dev/ttyACM0.
        baud: Of the line; None leaves it as it is.
        most_body_bytes: The longest payload that is expected.

    Raises:
        ArgumentError: If the speed is none that the system knows.
        ServerError: If the device cannot be opened.
    """

    def __init__(self, device: str, baud: int | None, most_body_bytes: int):
        import termios
        import tty

        speed = None if baud is None else getattr(termios, f"B{baud}", None)
        if baud is not None and speed is None:
            known = sorted(int(name[1:]) for name in vars(termios) if name[0] == "B" and name[1:].isdigit())
            raise ArgumentError(f"baud must be one of {', '.join(map(str, known[1:]))}. Received: {baud}.")
        try:
            self._fd = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(self._fd)
            if speed is not None:
                mode = termios.tcgetattr(self._fd)
                mode[4] = mode[5] = speed
                termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        except (OSError, termios.error) as error:
            raise ServerError(f"The serial line {device} cannot be opened: {error}") from error
        self.name = device
        self._reader = FrameReader(most_body_bytes)

    def fileno(self) -> int:
        """Return the file descriptor, for `selectors`."""
        return self._fd

    def read(self, most: int) -> Iterator[Request]:
        """Return the requests that are now complete."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        if not data:
            raise ServerError(f"The serial line {self.name} was closed.")
        for found in self._reader.feed(data):
            yield Request(*found, self._send)

    def close(self) -> None:
        """Close the line."""
        os.close(self._fd)

    def _send(self, frame: bytes) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._fd, selectors.EVENT_WRITE)
            while frame:
                if not selector.select(5.0):
                    _LOG.warning("%s takes no bytes: an answer was not sent", self.name)
                    return
                frame = frame[os.write(self._fd, frame) :]
