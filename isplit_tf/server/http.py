"""The REST port: the listening socket, its connections, and the threads that answer. Requests are read in `rest`."""

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from .connection import Connection
from .crowd import Crowd
from .loop import event_loop, run_there
from .model import Catalogue
from .request import Policy
from .rest import Response, error_response, handle

MAX_CONNECTIONS = 512
MAX_OF_ONE_ADDRESS = 384
_WORKERS = 64
_BACKLOG = 1024
_STEP_S, _PAUSE_S = 0.01, 0.1
_LOG = logging.getLogger(__name__)


class HttpPort:
    """The listening socket and its open connections, which take no thread while they wait.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        catalogue: The models.
        max_body_bytes: Longer requests are refused.
        request_timeout_s: Seconds within which the head of a request, its body and its answer have each to be there,
            and after which an idle connection is closed.

    Raises:
        OSError: If the address and port cannot be listened on.
    """

    def __init__(self, host: str, port: int, catalogue: Catalogue, max_body_bytes: int, request_timeout_s: float):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self.server_address = self._socket.getsockname()
        self._catalogue = catalogue
        self._timeout_s = request_timeout_s
        self._policy = Policy(max_body_bytes, str(self.server_address[0]))
        self._crowd = Crowd(MAX_CONNECTIONS, MAX_OF_ONE_ADDRESS)
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="isplit-rest")
        self._socket.setblocking(False)
        self._serving: set[asyncio.Task[None]] = set()
        self._started = self._closing = False

    def start(self) -> None:
        """Start answering requests, unless already started."""
        if not self._started and not self._closing:
            self._started = True
            event_loop().call_soon_threadsafe(self._listen)

    def finish(self, grace_s: float) -> None:
        """Accept no more requests, give those in progress `grace_s` seconds to end, and close all connections."""
        if self._closing:
            return
        self._closing = True
        run_there(self._finish(grace_s))
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _listen(self) -> None:
        if not self._closing:
            event_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        """Accept the connections that wait; without asyncio's own server, which loses some of them when it closes."""
        loop = event_loop()
        for _ in range(_BACKLOG):
            try:
                accepted, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # such as too many open files
                _LOG.warning("No connection is accepted for a moment: %s", error)
                loop.remove_reader(self._socket)
                loop.call_later(_PAUSE_S, self._listen)
                return
            accepted.setblocking(False)
            task = loop.create_task(self._serve(accepted))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _finish(self, grace_s: float) -> None:
        event_loop().remove_reader(self._socket)
        self._socket.close()
        for connection in self._connections():
            connection.closing = True
            if not connection.in_progress:
                connection.end()
        await self._emptied(grace_s)
        for connection in self._connections():
            connection.end()
        await self._emptied(1.0)

    async def _emptied(self, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._serving:
                    await asyncio.sleep(_STEP_S)

    def _connections(self) -> Iterator[Connection]:
        return (place for place in self._crowd if isinstance(place, Connection))

    async def _serve(self, accepted: socket.socket) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        connection = Connection(
            (reader, writer),
            crowd=self._crowd,
            policy=self._policy,
            answer=self._answer,
            timeout_s=self._timeout_s,
        )
        try:
            if self._closing:
                connection.end()
            elif self._crowd.enter(connection):
                await connection.serve()
            else:
                await connection.refuse()
        finally:
            self._crowd.leave(connection)
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await writer.wait_closed()
            transport.abort()  # what the other end did not take in time

    async def _answer(self, method: str, target: str, body: bytes) -> Response:
        work = functools.partial(handle, self._catalogue, method, target, body)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._workers, work)
        except TimeoutError:
            _LOG.warning("%s %s took more than %g s", method, target[:200], self._timeout_s)
            return error_response(504, f"The answer took more than {self._timeout_s:g} s")
