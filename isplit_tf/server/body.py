"""Reading of the body of an HTTP request, within limits of size and time."""

import time
from email.message import Message
from io import BufferedIOBase

_PIECE_BYTES = 1 << 16
_LINE_BYTES = 1024


class BadBody(Exception):
    """A body that is not read to its end; the connection has to be closed after the answer.

    Args:
        status: The HTTP status of the answer.
        message: What is wrong.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


class BodyReader:
    """A reader of the body of one request.

    Args:
        stream: The connection's stream, positioned after the headers.
        max_bytes: Largest size; a longer body is refused before it is read.
        timeout_s: Seconds within which the whole body has to arrive, even if bytes arrive steadily.
    """

    def __init__(self, stream: BufferedIOBase, max_bytes: int, timeout_s: float):
        self._stream = stream
        self._max_bytes = max_bytes
        self._deadline = time.monotonic() + timeout_s

    def declared(self, headers: Message) -> int | None:
        """Return the length in bytes that the headers declare, or None if the body is sent in chunks.

        Raises:
            BadBody: If the length is malformed or too large, or the encoding is unknown.
        """
        encoding = headers.get("Transfer-Encoding", "").strip().lower()
        if encoding == "chunked":
            return None
        if encoding:
            raise BadBody(501, f"Transfer-Encoding {encoding!r} is not supported, only 'chunked'")
        text = headers.get("Content-Length", "0").strip()
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise BadBody(400, f"Content-Length is no length: {text[:40]!r}")
        return self._within(int(text))

    def read(self, headers: Message) -> bytes:
        """Read the whole body.

        Raises:
            BadBody: If the body is too long, too slow or ends early, or its chunks are malformed.
        """
        length = self.declared(headers)
        return self._chunks() if length is None else self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        body = bytearray()
        while len(body) < length:
            if time.monotonic() > self._deadline:
                raise BadBody(408, "The body of the request came too slowly")
            piece = self._stream.read1(min(_PIECE_BYTES, length - len(body)))
            if not piece:
                raise BadBody(400, f"The body ended after {len(body)} of {length} bytes")
            body += piece
        return bytes(body)

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = self._chunk_size()
            self._within(len(body) + size)
            if size == 0:
                break
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise BadBody(400, "A chunk of the body does not end where it says")
        while self._line():  # trailers
            pass
        return bytes(body)

    def _chunk_size(self) -> int:
        text = self._line().split(b";")[0].strip()
        try:
            if not text or len(text) > 15 or text[:1] in b"+-":
                raise ValueError
            return int(text, 16)
        except ValueError as error:
            raise BadBody(400, f"A chunk of the body has no size: {text[:40]!r}") from error

    def _line(self) -> bytes:
        line = self._stream.readline(_LINE_BYTES)
        if not line.endswith(b"\n") or time.monotonic() > self._deadline:
            raise BadBody(400, "A chunk of the body is malformed or too slow")
        return line.strip()

    def _within(self, size: int) -> int:
        if size > self._max_bytes:
            raise BadBody(413, f"The body has more than {self._max_bytes} bytes, the limit of this server")
        return size
