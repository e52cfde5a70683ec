"""One connection of the REST port: requests one after the other, each within its deadlines."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from isplit_edge.framing import Chunks, Head, Malformed, take_head

from .crowd import Crowd, Place, group_of
from .request import Policy, Request
from .rest import Response, error_response

MAX_HELD_BYTES = 256 << 20
"""Memory of all bodies that are not yet complete; beyond it, the largest one is given up."""

_PIECE_BYTES = 1 << 16
_LINGER_S, _LINGER_BYTES = 1.0, 4 << 20
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
Answer = Callable[[str, str, bytes], Awaitable[Response]]


class Connection(Place):
    """One connection.

    Args:
        streams: What is read and written.
        crowd: All connections of the port.
        policy: What is answered at all.
        answer: Answers a request: method, target, body.
        timeout_s: Seconds for the head of a request, for its body, and for taking its answer, each.
    """

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        crowd: Crowd,
        policy: Policy,
        answer: Answer,
        timeout_s: float,
    ):
        self._reader, self._writer = streams
        peer = self._writer.get_extra_info("peername") or ("",)
        super().__init__(group_of(str(peer[0])), self._writer.transport.abort)
        self._crowd, self._policy, self._answer, self._timeout_s = crowd, policy, answer, timeout_s
        self._arrived = bytearray()
        self.in_progress = False
        self.closing = False
        with contextlib.suppress(OSError):
            self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def serve(self) -> None:
        """Answer requests until either side closes the connection; returns also if the other end has gone."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while await self._exchange() and not self.closing:
                pass

    async def refuse(self) -> None:
        """Say that there is no room for the connection."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._give_up(503, "Too many connections are busy here")

    async def _exchange(self) -> bool:
        """Answer one request; return whether another one may follow."""
        try:
            head = await self._head()
            if head is None:
                return False
            self.in_progress = True
            request = self._policy.read(head)
            body = await self._body(request)
        except Malformed as problem:
            return await self._give_up(problem.status, problem.message)
        self.busy = True
        response, keep_open = error_response(500, "Internal error"), False
        try:
            response = await self._answer(request.method, request.target, body)
            keep_open = request.keep_open
        finally:  # an internal error gives an answer too, then ends the connection and is logged
            del body
            await self._send(response, keep_open=keep_open, with_body=request.method != "HEAD")
        self.in_progress = False
        self.rest()
        return keep_open

    async def _head(self) -> Head | None:
        """Read the head of the next request; None if the connection ends, or is idle for too long."""
        try:
            if not self._arrived:
                await self._more()
            async with asyncio.timeout(self._timeout_s):
                while True:
                    if self._arrived[:2] == b"\r\n":  # some clients send an empty line after a body
                        del self._arrived[:2]
                    head = take_head(self._arrived)
                    if head is not None:
                        return head
                    if not await self._more():
                        return None
        except TimeoutError:
            if not self._arrived:
                return None
            raise Malformed("The head of the request came too slowly", 408) from None

    async def _body(self, request: Request) -> bytes:
        if request.body_bytes == 0:
            return b""
        if request.expects_leave:
            self._writer.write(_CONTINUE)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await (self._chunks() if request.body_bytes < 0 else self._exactly(request.body_bytes))
        except TimeoutError:
            raise Malformed("The body of the request came too slowly", 408) from None

    async def _exactly(self, length: int) -> bytes:
        while len(self._arrived) < length:
            if not await self._more():
                raise Malformed(f"The body ended after {len(self._arrived)} of {length} bytes")
            self._hold(len(self._arrived))
        body = bytes(memoryview(self._arrived)[:length])
        del self._arrived[:length]
        return body

    async def _chunks(self) -> bytes:
        chunks = Chunks(self._policy.max_body_bytes)
        try:
            chunks.feed(self._arrived)
            while not chunks.done:
                if not await self._more():
                    raise Malformed(f"The body ended after {len(chunks.body)} bytes, before its last chunk")
                chunks.feed(self._arrived)
                self._hold(len(chunks.body) + len(self._arrived))
        except Malformed as problem:
            if problem.status == 413:
                raise Malformed(f"The body has {problem.message}, the limit of this server", 413) from problem
            raise
        return bytes(chunks.body)

    def _hold(self, size_bytes: int) -> None:
        self.held_bytes = size_bytes
        if size_bytes > MAX_HELD_BYTES // 512:
            while sum(place.held_bytes for place in self._crowd) > MAX_HELD_BYTES and (one := self._crowd.largest()):
                self._crowd.leave(one)
                one.end()

    async def _more(self) -> bool:
        async with asyncio.timeout(self._timeout_s):
            piece = await self._reader.read(_PIECE_BYTES)
        self._arrived += piece
        return bool(piece)

    async def _give_up(self, status: int, message: str) -> bool:
        """Answer what is no request, and let the client read that before the connection is closed."""
        await self._send(error_response(status, message), keep_open=False)
        with contextlib.suppress(TimeoutError, OSError, RuntimeError):
            async with asyncio.timeout(_LINGER_S):
                self._writer.write_eof()
                left = _LINGER_BYTES
                while left > 0 and (piece := await self._reader.read(_PIECE_BYTES)):
                    left -= len(piece)
        return False

    async def _send(self, response: Response, *, keep_open: bool, with_body: bool = True) -> None:
        phrase = HTTPStatus(response.status).phrase
        head = f"HTTP/1.1 {response.status} {phrase}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(response.body)}\r\n"
        if not keep_open or self.closing:
            head += "Connection: close\r\n"
        self._writer.write(f"{head}\r\n".encode("ascii") + (response.body if with_body else b""))
        async with asyncio.timeout(self._timeout_s):
            await self._writer.drain()
