"""The local server: opens the REST and gRPC ports for a bundle or a folder of models, and closes them."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from isplit_edge.addresses import is_loopback
from isplit_edge.client import MAX_BATCH
from isplit_edge.manifest import MANIFEST_FILE

from ..errors import ArgumentError, MissingDependencyError, ServerError
from .batching import Batching
from .folder import ModelsFolder
from .http import HttpPort
from .model import Catalogue
from .models_config import MODELS_CONFIG

NOTICE = (
    "This is a local server for trying the bundle out. In production the folder serving/ goes to TensorFlow Serving: "
    "docker compose up, with the bundle's compose.yaml."
)
MAX_BODY_BYTES = 64 << 20
_BATCHING = Batching(max_size=MAX_BATCH)
_POLL_S = 1.0


class Server:
    """A server for the tail of a bundle, or a folder of published tails, over TensorFlow Serving's REST and gRPC APIs.

    The ports are open once the object is made; requests are answered after `with`, `start` or `serve_forever`.

    Args:
        bundle: The bundle's directory, or a `Bundle`, or a folder that `isplit publish` wrote. The `models.config` of
            such a folder is read again every second.
        host: Address to listen on; the default can be reached from this machine only.
        port: Port to listen on; 0 for any free one.
        grpc_port: Port for gRPC, 0 for any free one; None for no gRPC. Needs `isplit-tf[grpc]`.
        labels: Versions by label, such as `{"stable": 1}`; by default those of the bundle's `models.config`. Not
            possible for a folder, whose `models.config` always decides.
        batching: How simultaneous requests are joined, and how many instances a request may have; by default the
            settings that a bundle's `batching.config` gives to TensorFlow Serving.
        max_body_bytes: Longer requests are refused.
        request_timeout_s: Seconds within which the head of a request, its body, and its answer have each to be there,
            and after which an idle connection is closed; as in TensorFlow Serving, 30.
        grace_s: Seconds that `close` gives to requests in progress.

    Raises:
        ArgumentError: If a number is out of range, or labels are given for a folder.
        BundleError: If the bundle is incomplete, was changed, or has a newer format; or if the folder's
            `models.config`, or every model in it, cannot be loaded.
        MissingDependencyError: If a gRPC port is requested and gRPC is not installed.
        ServerError: If an address and port cannot be listened on.

    Example:
        >>> with Server("bundle/", port=0) as server:
        ...     Client("bundle/", url=server.url).predict(images)
    """

    def __init__(
        self,
        bundle: Any,
        host: str = "127.0.0.1",
        port: int = 8501,
        *,
        grpc_port: int | None = None,
        labels: Mapping[str, int] | None = None,
        batching: Batching = _BATCHING,
        max_body_bytes: int = MAX_BODY_BYTES,
        request_timeout_s: float = 30.0,
        grace_s: float = 10.0,
    ):
        ports = (port, grpc_port or 0)
        if max_body_bytes < 1 or request_timeout_s <= 0 or grace_s < 0 or not all(0 <= each <= 65535 for each in ports):
            raise ArgumentError(
                "Expected port from 0 to 65535, max_body_bytes of at least 1, request_timeout_s above 0 and grace_s of "
                f"at least 0. Received: {port}, {max_body_bytes}, {request_timeout_s}, {grace_s}."
            )
        directory = os.fspath(getattr(bundle, "directory", bundle))
        self._grace_s = grace_s
        self._folder: ModelsFolder | None = None
        if _is_models_folder(directory):
            if labels is not None:
                raise ArgumentError(f"Labels of a folder of models are set in its {MODELS_CONFIG}, by isplit publish.")
            self._folder = ModelsFolder(directory, batching=batching)
            self._catalogue = self._folder.catalogue
        else:
            self._catalogue = Catalogue.of_bundle(directory, labels, batching=batching)
        self._rpc: Any = None  # a GrpcPort; not imported here, because its module needs grpcio
        try:
            self._http = HttpPort(host, port, self._catalogue, max_body_bytes, request_timeout_s)
        except OSError as error:
            self._catalogue.close()
            raise ServerError(f"Cannot listen on {host}:{port}: {error}") from error
        if grpc_port is not None:
            self._open_grpc(host, grpc_port, max_body_bytes, request_timeout_s)

    @property
    def port(self) -> int:
        """Return the port number of the REST API."""
        return self._http.server_address[1]

    @property
    def url(self) -> str:
        """Return the URL of the REST API for clients on this machine."""
        return f"http://{self._host}:{self.port}"

    @property
    def grpc_port(self) -> int | None:
        """Return the port number for gRPC, or None without gRPC."""
        return None if self._rpc is None else self._rpc.port

    @property
    def grpc_url(self) -> str | None:
        """Return the gRPC URL for clients on this machine, or None without gRPC."""
        return None if self._rpc is None else f"grpc://{self._host}:{self._rpc.port}"

    @property
    def _host(self) -> str:
        host = str(self._http.server_address[0])
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"[{host}]" if ":" in host else host

    def start(self) -> "Server":
        """Start answering requests in background threads, and return the server."""
        self._http.start()
        if self._rpc is not None:
            self._rpc.start()
        if self._folder is not None:
            self._folder.watch(_POLL_S)
        return self

    def close(self) -> None:
        """Accept no more requests, give those in progress `grace_s` seconds to end, and close all connections."""
        if self._folder is not None:
            self._folder.close()
        stopped = None if self._rpc is None else self._rpc.stop(self._grace_s)
        self._http.finish(self._grace_s)
        if stopped is not None:
            stopped.result()
        self._catalogue.close()

    def _open_grpc(self, host: str, port: int, max_body_bytes: int, timeout_s: float) -> None:
        try:
            from .rpc import GrpcPort

            self._rpc = GrpcPort(host, port, self._catalogue, max_body_bytes, timeout_s)
        except ImportError as error:
            self.close()
            raise MissingDependencyError(
                f"The gRPC port needs grpcio and tensorflow-serving-api: pip install 'isplit-tf[grpc]' ({error})"
            ) from error
        except (RuntimeError, OSError) as error:
            self.close()
            raise ServerError(f"Cannot listen for gRPC on {host}:{port}: {error}") from error

    def serve_forever(self) -> None:
        """Answer requests until Ctrl-C or SIGTERM, then close.

        A line on standard error gives the addresses and says that the server is not meant for production.
        """
        stop = threading.Event()
        with _on_sigterm(stop):
            self.start()
            addresses = self.url if self.grpc_url is None else f"{self.url} and {self.grpc_url}"
            sys.stderr.write(f"Serving on {addresses}. {self._warning()}{NOTICE}\n")
            try:
                while not stop.wait(0.5):
                    pass
            except KeyboardInterrupt:
                pass
            finally:
                self.close()

    def _warning(self) -> str:
        host = str(self._http.server_address[0])
        if is_loopback(host):
            return ""
        return (
            f"WARNING: it listens on {host}, so everybody who reaches this machine may ask it: there are no users and "
            "no encryption. "
        )

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_models_folder(directory: str) -> bool:
    path = Path(directory)
    return (path / MODELS_CONFIG).is_file() and not (path / MANIFEST_FILE).exists()


@contextlib.contextmanager
def _on_sigterm(stop: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    previous = signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
