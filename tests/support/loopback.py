"""A small HTTP server on the loopback that answers as TensorFlow Serving's REST API does, or fails as told."""

import base64
import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from isplit_edge import Client, wire
from isplit_edge.manifest import Manifest

Fault = Callable[["Handler"], None]


def tail(latent: np.ndarray, manifest: Manifest) -> np.ndarray:
    """Probabilities of a tail with hand-set weights: softmax of the sums of every n-th latent element."""
    x = latent.astype(np.float64).reshape(-1)
    if manifest.scale is not None:
        x = (x - manifest.zero_point) * manifest.scale
    logits = np.array([x[k :: manifest.n_classes].sum() for k in range(manifest.n_classes)])
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def expected(client: Client, images: np.ndarray) -> np.ndarray:
    """What the tail answers to the client's own payloads, without a wire."""
    manifest = client.manifest
    latents = [
        wire.unpack(payload, manifest.tag, manifest.dtype, manifest.shapes["latent"])[1]
        for payload in client.head.payloads(images)
    ]
    return np.array([tail(latent, manifest) for latent in latents], np.float32)


class Loopback(ThreadingHTTPServer):
    """Serves one version of a bundle's tail, computed by the wire format's reference implementation.

    Attributes:
        faults: Each request takes the next one and lets it answer; None answers as usual.
        seen: (method, path, number of instances) of each request, in order.
        headers: Those of the last request.
        connections: How many were opened.
        interim: What is sent before every answer.
    """

    daemon_threads = True

    def __init__(self, manifest: Manifest, *, version: int | None = None, state: str = "AVAILABLE"):
        super().__init__(("127.0.0.1", 0), Handler)
        self.manifest = manifest
        self.version = manifest.version if version is None else version
        self.state = state
        self.base = ""
        self.faults: deque[Fault | None] = deque()
        self.seen: list[tuple[str, str, int]] = []
        self.headers: dict[str, str] = {}
        self.connections = 0
        self.interim = b""
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def get_request(self):
        """Counts a connection."""
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        """Says nothing: that clients go away is what many of these tests are about."""

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's acknowledgement
    server: Loopback

    def do_GET(self):
        """The model status API."""
        self._begin(b"")
        if self._fault():
            return
        found = re.fullmatch(self._model + r"(?:/versions/(\d+))?", self.path)
        if found is None or (found[1] is not None and int(found[1]) != self.server.version):
            self.reply(404, {"error": f"Could not find {self.path}"})
        else:
            state = {"version": str(self.server.version), "state": self.server.state}
            self.reply(200, {"model_version_status": [state | {"status": {"error_code": "OK"}}]})

    def do_POST(self):
        """The predict API."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._begin(body)
        if self._fault():
            return
        if self.path != f"{self._model}/versions/{self.server.version}:predict":
            self.reply(404, {"error": f"Servable not found for request: Specific({self.path})"})
        else:
            self.reply(200, {"predictions": [self._row(one) for one in json.loads(body)["instances"]]})

    def reply(self, code: int, value) -> None:
        """Sends a JSON value; NaN becomes the bare token."""
        self.reply_bytes(code, json.dumps(value).encode())

    def reply_bytes(self, code: int, body: bytes) -> None:
        """Sends any body with its length."""
        self.wfile.write(self.server.interim)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self) -> None:
        """Ends the connection at once, whatever was promised."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    @property
    def _model(self) -> str:
        return f"{self.server.base}/v1/models/{self.server.manifest.model_name}"

    def _begin(self, body: bytes) -> None:
        instances = len(json.loads(body)["instances"]) if body else 0
        self.server.seen.append((self.command, self.path, instances))
        self.server.headers = dict(self.headers)

    def _fault(self) -> bool:
        fault = self.server.faults.popleft() if self.server.faults else None
        if fault is not None:
            fault(self)
        return fault is not None

    def _row(self, instance) -> dict:
        manifest = self.server.manifest
        payload = base64.b64decode(instance["payload"]["b64"], validate=True)
        status, latent = manifest.form.unpack(payload)
        if latent is None:
            return {"probabilities": [float("nan")] * manifest.n_classes, "status": status}
        return {"probabilities": tail(latent, manifest).tolist(), "status": status}

    def log_message(self, format, *args):
        """Keeps standard error for the tests."""
