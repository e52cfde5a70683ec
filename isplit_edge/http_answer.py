"""Reading of an HTTP answer from a socket: whole, strictly, and within one deadline and one limit of size."""

import socket
import time

from . import framing

# Interim answers (100 to 199) that are read over before the answer itself.
_MOST_INTERIM = 20
_PIECE_BYTES = 1 << 16


class HttpAnswer:
    """The answer to one request, read completely, with one deadline and one limit of size.

    It stands in for `http.client.HTTPResponse`, which takes an interim answer for the answer, guesses where a message
    ends, and whose time-out starts anew with every byte.
    """

    def __init__(self, sock: socket.socket, *, moment: float, max_bytes: int, method: str):
        self._sock, self._moment, self._max_bytes, self._method = sock, moment, max_bytes, method
        self._arrived = bytearray()
        self.status = 0
        self.body = bytearray()
        self.will_close = True

    def begin(self) -> None:
        """Read the answer.

        Raises:
            Malformed: If it is no answer (status 400), or longer than allowed (413).
            ConnectionResetError: If the connection ended before any byte of it.
            ConnectionError: If the connection ended within it.
            TimeoutError: If it did not come in time.
        """
        head, newer = self._head()
        length = framing.body_length(head, newer=newer)
        if self._method == "HEAD" or self.status in (204, 304):
            length = 0
        if length is not None and length > self._max_bytes:
            raise self._too_long()
        if length == -1:
            self._in_chunks()
        else:
            self._of_length(length)
        options = {one.lower() for one in head.values("connection")}
        self.will_close = not newer or length is None or "close" in options or bool(self._arrived)

    def isclosed(self) -> bool:
        """Tell `http.client` that nothing is left to be read."""
        return True

    def close(self) -> None:
        """Do nothing: the answer holds no file."""

    def _head(self) -> tuple[framing.Head, bool]:
        for _ in range(_MOST_INTERIM):
            while (head := framing.take_head(self._arrived)) is None:
                self._more()
            self.status, newer = framing.status_line(head)
            if not 100 <= self.status < 200:
                return head, newer
            if self.status == 101:
                raise framing.Malformed("it changes to a protocol that nobody asked for")
        raise framing.Malformed(f"{_MOST_INTERIM} interim answers and no other")

    def _of_length(self, length: int | None) -> None:
        """Read so many bytes, or all up to the end of the connection."""
        while length is None or len(self._arrived) < length:
            if length is None and len(self._arrived) > self._max_bytes:
                raise self._too_long()
            try:
                self._more()
            except ConnectionError:
                if length is not None:
                    raise
                break
        self.body = self._arrived[:length]
        del self._arrived[:length]

    def _in_chunks(self) -> None:
        chunks = framing.Chunks(self._max_bytes)
        chunks.feed(self._arrived)
        while not chunks.done:
            self._more()
            chunks.feed(self._arrived)
        self.body = chunks.body

    def _more(self) -> None:
        left_s = self._moment - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        piece = self._sock.recv(_PIECE_BYTES)
        if not piece:
            kind = ConnectionError if self._arrived or self.status else ConnectionResetError
            raise kind("the server ended the connection")
        self._arrived += piece

    def _too_long(self) -> framing.Malformed:
        return framing.Malformed(f"more than {self._max_bytes} bytes", 413)
