"""Where a message of HTTP/1.1 begins and ends: RFC 9112, read strictly, for the client's answers and the local server.

Two readers of one connection that see different ends of a message take a part of one for another message. So whatever
the standard leaves open is refused here, never guessed. Pure: it takes bytes, and waits for none.
"""

import dataclasses
import re

MAX_HEAD_BYTES = 1 << 15
MAX_FIELDS = 100
_MAX_LINE_BYTES = 1024
_SPARE_BYTES = 1 << 14

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")


class Malformed(Exception):
    """Bytes that are no message, or one whose end can be read in two ways; the connection has to be closed.

    Args:
        message: What is wrong.
        status: The status of a server's answer to such a request.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.message = message
        self.status = status


@dataclasses.dataclass(frozen=True)
class Head:
    """The part of a message before its body.

    Attributes:
        start: Its first line.
        fields: Names in lower case, and values, in order.
    """

    start: bytes
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Return the members of all fields of a name, which may be written as several fields or as one list."""
        return [one.strip(" \t") for field, value in self.fields if field == name for one in value.split(",")]

    def only(self, name: str) -> str | None:
        """Return the value of a field that may be there once; None if it is not there.

        Raises:
            Malformed: If it is there more than once.
        """
        found = [value for field, value in self.fields if field == name]
        if len(found) > 1:
            raise Malformed(f"There are {len(found)} fields {name}, and one is possible")
        return found[0] if found else None


def take_head(buffer: bytearray, max_bytes: int = MAX_HEAD_BYTES) -> Head | None:
    """Take the head of a message from the front of the bytes that have arrived.

    Returns:
        The head, or None if it has not arrived completely.

    Raises:
        Malformed: If these bytes cannot become one, or it is too long.
    """
    end = buffer.find(b"\r\n\r\n", 0, max_bytes)
    block = bytes(buffer[: max_bytes if end < 0 else end + 4])
    if _BARE.search(block):
        raise Malformed("A line of the head does not end with CRLF")
    if end < 0:
        if len(buffer) < max_bytes:
            return None
        status = 431 if b"\r\n" in block else 414
        raise Malformed(f"The head has more than {max_bytes} bytes", status)
    del buffer[: end + 4]
    start, *lines = block[:end].split(b"\r\n")
    return Head(start, _fields(lines))


def _fields(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    if len(lines) > MAX_FIELDS:
        raise Malformed(f"There are more than {MAX_FIELDS} fields", 431)
    fields = []
    for number, line in enumerate(lines, 2):
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Malformed(f"Line {number} is no field of HTTP/1.1")
        fields.append((match[1].decode("ascii").lower(), match[2].decode("latin-1").strip(" \t")))
    return tuple(fields)


def request_line(head: Head) -> tuple[str, str, bool]:
    """Return method, target, and whether the version is 1.1, of a request.

    Raises:
        Malformed: If the first line is not that of a request, or of another version of HTTP.
    """
    match = _REQUEST.fullmatch(head.start)
    if match is None:
        raise Malformed("The first line is not that of an HTTP request")
    if match[3] != b"1":
        raise Malformed(f"HTTP/{match[3].decode()}.{match[4].decode()} is not spoken here, only HTTP/1.1 and 1.0", 505)
    return match[1].decode("ascii"), match[2].decode("ascii"), match[4] != b"0"


def status_line(head: Head) -> tuple[int, bool]:
    """Return the status of an answer, and whether its version is 1.1.

    Raises:
        Malformed: If the first line is not that of an answer.
    """
    match = _STATUS.fullmatch(head.start)
    if match is None:
        raise Malformed("its first line is none of HTTP/1.1")
    return int(match[2]), match[1] == b"1"


def body_length(head: Head, *, newer: bool) -> int | None:
    """Return the number of bytes of a message's body: -1 if it is sent in chunks, None if the head does not say.

    Args:
        head: The message's head.
        newer: Whether its version is 1.1; 1.0 has no chunks.

    Raises:
        Malformed: If the head says two different things, or none that can be understood.
    """
    codings = [one.lower() for one in head.values("transfer-encoding")]
    lengths = set(head.values("content-length"))
    if codings:
        if not newer or lengths:
            raise Malformed(f"Transfer-Encoding with {'Content-Length' if lengths else 'HTTP/1.0'}: where does it end?")
        if codings == ["chunked"]:
            return -1
        unclear = "chunked" in codings[:-1] or "" in codings
        raise Malformed("Of Transfer-Encoding only 'chunked' is supported, once", 400 if unclear else 501)
    if not lengths:
        return None
    text = lengths.pop()
    if lengths or not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Malformed("Content-Length is no length, or two different ones")
    return int(text)


class Chunks:
    """The body of a message that is sent in chunks, as far as it has arrived."""

    def __init__(self, max_bytes: int):
        self.body = bytearray()
        self.done = False
        self._max_bytes = max_bytes
        self._left = 0  # bytes of the open chunk
        self._inside = False
        self._trailer = False
        self._overhead = 0

    def feed(self, buffer: bytearray) -> None:
        """Take from the front of the bytes that have arrived what belongs to this body; `done` tells its end.

        Raises:
            Malformed: If these bytes are no chunks (status 400), or the body becomes too long (413).
        """
        while not self.done and (self._content(buffer) if self._inside else self._between(buffer)):
            pass

    def _content(self, buffer: bytearray) -> bool:
        piece = buffer[: self._left]
        del buffer[: self._left]
        self.body += piece
        self._left -= len(piece)
        if self._left or len(buffer) < 2:
            if not self._left and buffer[:1] not in (b"", b"\r"):
                raise Malformed("A chunk of the body does not end where it says")
            return False
        if buffer[:2] != b"\r\n":
            raise Malformed("A chunk of the body does not end where it says")
        del buffer[:2]
        self._inside = False
        return True

    def _between(self, buffer: bytearray) -> bool:
        """Read the size of a chunk, or a line of the trailer behind the last one."""
        end = buffer.find(b"\r\n", 0, _MAX_LINE_BYTES)
        if end < 0 and len(buffer) < _MAX_LINE_BYTES and not _BARE.search(buffer):
            return False
        line = bytes(buffer[: max(end, 0)])
        if end < 0 or _BARE.search(line):
            raise Malformed("A line between the chunks of the body is too long, or does not end with CRLF")
        del buffer[: end + 2]
        self._overhead += end + 4
        if self._overhead > _SPARE_BYTES + len(self.body):
            raise Malformed("The body's chunks are smaller than what is around them")
        if self._trailer:
            self.done = not line
            if line:
                _fields([line])
            return True
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise Malformed("A chunk of the body has no size")
        self._left = int(match[1], 16)
        if len(self.body) + self._left > self._max_bytes:
            raise Malformed(f"more than {self._max_bytes} bytes", 413)
        self._inside, self._trailer = self._left > 0, self._left == 0
        return True
