"""Bytes per frame that REST and gRPC add to a payload: `python benchmarks/wire_bytes.py` writes them into the page."""

import json
import re
import selectors
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keras
import numpy as np

from isplit_edge import Client
from isplit_tf import Projection, export_bundle, split
from isplit_tf.datasets import load
from isplit_tf.server import Server

PAGE = Path(__file__).parents[1] / "docs" / "choosing_bytes.md"
PAYLOAD = 64
BATCHES = (1, 8, 32)
_MARKS = ("<!-- measured: benchmarks/wire_bytes.py -->", "<!-- end of measured -->")
_PIECE = 1 << 16
# HTTP/2 acknowledges settings and windows after the answer.
_LATE_S = 0.1


class Relay:
    """A port that passes everything on to another, and counts the bytes of both directions, without TCP's own.

    Attributes:
        up: Bytes from the client.
        down: Bytes to the client.
        port: Where it listens on 127.0.0.1.
    """

    def __init__(self, port: int):
        self.up = self.down = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            selector = selectors.DefaultSelector()
            selector.register(client, selectors.EVENT_READ, (server, "up"))
            selector.register(server, selectors.EVENT_READ, (client, "down"))
            while True:
                for key, _ in selector.select():
                    other, direction = key.data
                    try:
                        piece = key.fileobj.recv(_PIECE)  # type: ignore[union-attr]
                    except OSError:
                        return
                    if not piece:
                        return
                    setattr(self, direction, getattr(self, direction) + len(piece))
                    other.sendall(piece)


def make_bundle(folder: Path, payload_bytes: int = PAYLOAD) -> np.ndarray:
    """Export a bundle of ten classes whose payloads all have so many bytes, and return frames for it."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((28, 28, 1), name="image")
    for k in range(3):
        x = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu", name=f"conv{k}")(x)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x)))
    frames = load("glyphs").train[0][:128]
    bottleneck = Projection(payload_bytes=payload_bytes, coding="none", weighting="features")
    halves = split(model, "conv2", bottleneck, fit_data=frames.astype("float32"))
    export_bundle(halves, folder, representative_data=frames.astype("float32"), progress=False)
    return frames


def measure(bundle: Path, frames: np.ndarray, batches: tuple[int, ...] = BATCHES) -> list[dict[str, Any]]:
    """Return one record for each protocol, connection and batch size, with the bytes of a frame up and down."""
    records = []
    with Server(bundle, port=0, grpc_port=0) as server:
        for protocol, url in (("REST", server.url), ("gRPC", server.grpc_url)):
            for n_frames in batches:
                relay = Relay(urlsplit(url).port or 0)
                address = f"{urlsplit(url).scheme}://127.0.0.1:{relay.port}"
                with Client(bundle, address) as client:
                    payload = client.manifest.payload_bytes
                    for connection in ("new", "kept"):
                        before = relay.up, relay.down
                        client.predict(frames[:n_frames])
                        time.sleep(_LATE_S)
                        up, down = (now - then for now, then in zip((relay.up, relay.down), before, strict=True))
                        records.append(
                            {"protocol": protocol, "connection": connection, "frames": n_frames, "payload": payload}
                            | {"up": up / n_frames, "down": down / n_frames}
                        )
                relay.close()
    return records


def table(records: list[dict[str, Any]]) -> str:
    """Return the records as a Markdown table."""
    lines = [
        "| protocol | connection | frames in a request | up, per frame | down, per frame |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['protocol']} | {r['connection']} | {r['frames']} | {r['up']:.0f} B | {r['down']:.0f} B |"
        for r in records
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure what is sent, and write the table into the page."""
    with tempfile.TemporaryDirectory() as place:
        bundle = Path(place) / "bundle"
        records = measure(bundle, make_bundle(bundle))
    text = PAGE.read_text()
    start, end = (re.escape(mark) for mark in _MARKS)
    body = f"{_MARKS[0]}\n{table(records)}\n{_MARKS[1]}"
    PAGE.write_text(re.sub(rf"{start}.*?{end}", lambda _: body, text, flags=re.DOTALL))
    print(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
