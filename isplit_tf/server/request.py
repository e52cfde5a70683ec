"""What the head of an HTTP request asks for, and who may ask; without sockets."""

import urllib.parse
from dataclasses import dataclass

from isplit_edge.addresses import is_loopback
from isplit_edge.framing import Head, Malformed, body_length, request_line

_METHODS = frozenset("GET HEAD POST PUT DELETE OPTIONS PATCH".split())
# A page of another site may send these to any address without being asked for leave.
_FOREIGN_FORMS = ("text/plain", "multipart/form-data")


@dataclass(frozen=True)
class Request:
    """The head of a request.

    Attributes:
        method: "GET", "POST", ...
        target: Its path, with the query if any.
        body_bytes: Length of its body; -1 if it is sent in chunks.
        keep_open: Whether further requests may follow on the connection.
        expects_leave: Whether the client waits for leave to send the body.
    """

    method: str
    target: str
    body_bytes: int
    keep_open: bool
    expects_leave: bool


@dataclass(frozen=True)
class Policy:
    """What is answered at all.

    Attributes:
        max_body_bytes: Size of the largest body.
        host: The address that the server listens on. On one of this machine alone, only requests that name this
            machine are answered: another name that leads here is that of a web page which reads what is not its own.
    """

    max_body_bytes: int
    host: str

    def read(self, head: Head) -> Request:
        """Interpret the head of a request.

        Raises:
            Malformed: If it is none, is not supported, or is not allowed; with the status of the answer.
        """
        method, target, newer = request_line(head)
        if method not in _METHODS:
            raise Malformed(f"Method {method[:40]} is not supported", 501)
        length = body_length(head, newer=newer)
        if length is not None and length > self.max_body_bytes:
            raise Malformed(f"The body has more than {self.max_body_bytes} bytes, the limit of this server", 413)
        self._check_sender(head, newer)
        expected = head.only("expect")
        if expected is not None and expected.lower() != "100-continue":
            raise Malformed("Of Expect only '100-continue' is supported", 417)
        options = {one.lower() for one in head.values("connection")}
        keep_open = "close" not in options and (newer or "keep-alive" in options)
        return Request(method, target, length or 0, keep_open, newer and expected is not None)

    def _check_sender(self, head: Head, newer: bool) -> None:
        host = head.only("host")
        if host is None and newer:
            raise Malformed("A request of HTTP/1.1 has a Host")
        local, asked = is_loopback(self.host), _name(f"//{host}") if host else ""
        if host and (not asked or (local and not is_loopback(asked))):
            raise Malformed(
                f"Host is {host[:80]!r}, and this server answers to this machine's own names: localhost, 127.0.0.1"
                if asked
                else "Host is no name of a host",
                403 if asked else 400,
            )
        origin = head.only("origin")
        if origin is not None:
            page = _name(origin)
            if not page or not (is_loopback(page) if local else page == asked):
                raise Malformed("Requests of web pages of other sites (Origin) are not answered", 403)
        form = (head.only("content-type") or "").partition(";")[0].strip().lower()
        if form in _FOREIGN_FORMS:
            raise Malformed(f"Content-Type is {form}. Expected application/json", 415)


def _name(url: str) -> str:
    """Return the name of the host in an address, in lower case; nothing if there is none, or more than that."""
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port  # noqa: B018  # raises if it is none
    except ValueError:
        return ""
    odd = parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment
    return "" if odd or any(letter <= " " for letter in url) else (parts.hostname or "").lower()
