"""Small kits, and servers that serve them."""

from collections.abc import Callable, Iterator

import pytest

from isplit_tf.server import Server
from support.kits import kit_of

__all__ = ["kit_of"]


@pytest.fixture
def server_of(kit_of) -> Iterator[Callable[..., Server]]:
    """Serves the kit of a kind over REST and gRPC."""
    running: list[Server] = []

    def serve(kind: str, **options) -> Server:
        options = {"port": 0, "grpc_port": 0, **options}
        running.append(Server(kit_of(kind).directory / "serving", **options).start())
        return running[-1]

    yield serve
    for server in running:
        server.close()
