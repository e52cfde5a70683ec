"""Where a message ends is said once and clearly, or it is refused."""

import pytest

from isplit_edge import framing
from isplit_edge.framing import Chunks, Malformed, body_length, request_line, status_line, take_head


def head(*lines: bytes) -> framing.Head:
    """The head of these lines."""
    return take_head(bytearray(b"\r\n".join((b"POST / HTTP/1.1", *lines, b"", b""))))


def test_a_head_is_taken_once_it_is_there():
    """Byte by byte there is none until its last one; what follows stays."""
    whole = b"GET /a HTTP/1.0\r\nHost: x\r\nA:b \r\n\r\nrest"
    for size in range(whole.index(b"rest")):
        assert take_head(bytearray(whole[:size])) is None
    buffer = bytearray(whole)
    found = take_head(buffer)
    assert (request_line(found), found.fields, bytes(buffer)) == (
        ("GET", "/a", False),
        (("host", "x"), ("a", "b")),
        b"rest",
    )


@pytest.mark.parametrize(
    "lines",
    [
        b"A: b\n\r\n",
        b"A: b\rC: d\r\n\r\n",
        b"A : b\r\n\r\n",
        b"A\t: b\r\n\r\n",
        b" A: b\r\n\r\n",
        b"A: b\r\n c\r\n\r\n",
        b"A: b\r\n\tc\r\n\r\n",
        b"A\r\n\r\n",
        b": b\r\n\r\n",
        b"A: b\0\r\n\r\n",
        b"A: \x0bb\r\n\r\n",
        b"A(: b\r\n\r\n",
        b"\xc3\xa9: b\r\n\r\n",
    ],
)
def test_lines_that_are_no_fields(lines):
    """Bare CR or LF, blanks before the colon, folded lines, control characters: none is guessed at."""
    with pytest.raises(Malformed):
        take_head(bytearray(b"GET / HTTP/1.1\r\n" + lines))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/01.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"G@T / HTTP/1.1", 400),
        (b"\x16\x03\x01", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
    ],
)
def test_first_lines_that_are_none(line, status):
    """One blank between three words, and a version that is spoken here."""
    with pytest.raises(Malformed) as caught:
        request_line(framing.Head(line, ()))
    assert caught.value.status == status


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 20", b"HTTP/1.1 2000 OK", b"HTTP/2 200", b"HTTP/1.1  200 OK", b"ICY 200 OK"]
)
def test_status_lines_that_are_none(line):
    """Three digits of a known kind after HTTP/1.0 or HTTP/1.1."""
    with pytest.raises(Malformed):
        status_line(framing.Head(line, ()))


def test_long_heads_are_refused():
    """A first line without end, fields without end, and too many of them, each with its own status."""
    for content, status in (
        (b"GET /" + b"x" * 70_000, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
    ):
        with pytest.raises(Malformed) as caught:
            take_head(bytearray(content))
        assert caught.value.status == status


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ([], None),
        ([b"Content-Length: 5"], 5),
        ([b"content-length:\t05 "], 5),
        ([b"Content-Length: 5", b"Content-Length: 5"], 5),
        ([b"Content-Length: 5, 5"], 5),
        ([b"Transfer-Encoding: Chunked"], -1),
    ],
)
def test_lengths_that_are_clear(lines, length):
    """One length, or the same one twice, or chunks."""
    assert body_length(head(*lines), newer=True) == length


@pytest.mark.parametrize(
    ("lines", "newer", "status"),
    [
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], True, 400),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 0"], True, 400),
        ([b"Content-Length: 5", b"Content-Length: 6"], True, 400),
        ([b"Content-Length: 5, 6"], True, 400),
        ([b"Content-Length: 5,"], True, 400),
        ([b"Content-Length: +5"], True, 400),
        ([b"Content-Length: 5_0"], True, 400),
        ([b"Content-Length: 0x5"], True, 400),
        ([b"Content-Length: \xb2"], True, 400),
        ([b"Content-Length:"], True, 400),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], True, 400),
        ([b"Transfer-Encoding: chunked, chunked"], True, 400),
        ([b"Transfer-Encoding: chunked, gzip"], True, 400),
        ([b"Transfer-Encoding:"], True, 400),
        ([b"Transfer-Encoding: chunked"], False, 400),
        ([b"Transfer-Encoding: gzip, chunked"], True, 501),
        ([b"Transfer-Encoding: xchunked"], True, 501),
        ([b"Transfer-Encoding: \x0bchunked"], True, 400),
    ],
)
def test_lengths_that_two_readers_could_read_in_two_ways(lines, newer, status):
    """Each is how a second request is smuggled past a proxy."""
    with pytest.raises(Malformed) as caught:
        body_length(head(*lines), newer=newer)
    assert caught.value.status == status


def chunked(content: bytes, max_bytes: int = 1000, piece: int = 1) -> tuple[bytes | None, bytes]:
    """The body of these chunks if it is whole, and what is behind it, fed in pieces."""
    chunks, buffer = Chunks(max_bytes), bytearray()
    for at in range(0, len(content), piece):
        buffer += content[at : at + piece]
        chunks.feed(buffer)
    return bytes(chunks.body) if chunks.done else None, bytes(buffer)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_chunks_are_put_together(piece):
    """In pieces of any size, with extensions and a trailer; what follows is left."""
    content = b'3\r\nabc\r\nA ;x="y"\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET'
    assert chunked(content, piece=piece) == (b"abc0123456789", b"GET")
    assert chunked(content[:-4], piece=piece)[0] is None


@pytest.mark.parametrize(
    "content",
    [
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"1_0\r\n0123456789012345\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\n",
        b" 3\r\nabc\r\n",
        b"\r\n",
        b"3\nabc\r\n",
        b"3\r\nabcX\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n",
        b"3;\rb\r\nabc\r\n",
        b"0" * 16 + b"1\r\na\r\n",
        b"0\r\n no field\r\n\r\n",
        b"\xd9\xa3\r\nabc\r\n",
        b"3" + b";x" * 600,
    ],
)
@pytest.mark.parametrize("piece", [1, 1000])
def test_chunks_that_are_none(content, piece):
    """Sizes that another reader reads otherwise, ends that are not where they are said to be, lines without end."""
    with pytest.raises(Malformed) as caught:
        chunked(content, piece=piece)
    assert caught.value.status == 400


def test_chunks_that_are_too_much():
    """A body over the limit is refused by its chunk's size, and one of more frame than content by its frame."""
    with pytest.raises(Malformed, match="more than 10 bytes") as caught:
        chunked(b"3\r\nabc\r\nffffffff\r\n", 10)
    assert caught.value.status == 413
    with pytest.raises(Malformed, match="smaller than what is around them"):
        chunked(b"1\r\na\r\n" * 10_000, 1 << 20, 1000)
