"""A device's client: runs the head here and asks the tail on a server."""

import os
import ssl
import time
from types import TracebackType
from typing import Any

import numpy as np

from . import schema, wire
from .answer import STATUS_NO_ANSWER, Answer, check_answer, reason
from .errors import ServerError
from .interpreter import Head
from .manifest import Manifest
from .rest import RestTransport, request_bytes
from .transport import HttpConnection, Transport

MAX_BATCH = 32
MAX_REQUEST_BYTES = 8 << 20


class Client:
    """Classifies images with the head of a bundle here and its tail on a TensorFlow Serving server.

    It reads manifest.json and edge/ of the bundle only, and asks the server for the version in its manifest. It
    may be used by one thread at a time.

    Args:
        bundle: The bundle's directory.
        url: The server's REST address, `http://server:8501` or `https://...`.
        timeout_s: Seconds for one try at a request, from sending to the last byte of the answer.
        connect_timeout_s: Seconds for opening a connection.
        retries: How often a request whose connection failed, or that the server was too busy for, is tried
            again. The calls change nothing on the server, so that a repeat is harmless. Time-outs are not tried
            again.
        max_batch: The most images in one request; a server takes no more than its batching.config allows.
        max_request_bytes: The most bytes in the body of a request that carries more than one image.
        token: A bearer token; plain http shows it to everyone on the way.
        ssl_context: For https; the system's certificates by default.
        num_threads: Threads of the head's interpreter; LiteRT's own choice by default.

    Raises:
        BundleError: If the bundle is incomplete, was changed or has a newer format.
        ArgumentError: If an option is outside of what is possible.
        MissingDependencyError: If ai-edge-litert is not installed.

    Example:
        ```python
        with Client("bundle/", url="http://server:8501") as client:
            client.check()
            probabilities = client.predict(images)      # (N, n_classes)
        ```
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        url: str,
        *,
        timeout_s: float = 10.0,
        connect_timeout_s: float = 3.0,
        retries: int = 2,
        max_batch: int = MAX_BATCH,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        token: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        num_threads: int | None = None,
    ):
        schema.integer(1)("max_batch", max_batch)
        schema.integer(1)("max_request_bytes", max_request_bytes)
        connection = HttpConnection(
            url,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            retries=retries,
            token=token,
            ssl_context=ssl_context,
        )
        self.manifest = Manifest.load(bundle)
        self.head = Head(bundle, manifest=self.manifest, num_threads=num_threads)
        self._transport: Transport = RestTransport(connection, self.manifest)
        fitting = max_request_bytes // request_bytes(self.manifest.payload_bytes)
        self._batch = max(1, min(max_batch, fitting))

    def predict(self, images: Any, preprocessed: bool = False) -> np.ndarray:
        """Classifies images, or raises.

        Args:
            images: Raw uint8 images, (N, H, W, C) or one (H, W, C), channels R, G, B; grey ones also (N, H, W).
                With `preprocessed`, arrays in the model's own space, (N, *input_shape).
            preprocessed: Whether the bundle's preprocessing was already done.

        Returns:
            (N, n_classes) float32 probabilities.

        Raises:
            DataError: If the images are of a wrong shape, dtype or range.
            ServerError: If any image was not answered; `ServerUnreachableError` and `ServerTimeoutError` say that
                the server is down or slow.
        """
        answer = self._ask(images, preprocessed, keep_going=False)
        if answer.reasons:
            row, why = next(iter(answer.reasons.items()))
            raise ServerError(
                f"{len(answer.reasons)} of {len(answer.status)} images were not answered. "
                f"Image {row}: status {answer.status[row]}, {why}"
            )
        return answer.probabilities

    def run(self, images: Any, preprocessed: bool = False) -> Answer:
        """Classifies images, and goes on where single ones, or the server, fail.

        Args:
            images: As in `predict`.
            preprocessed: As in `predict`.

        Returns:
            An `Answer`; images without an answer have a row of NaN, a status that is not 0 and a reason.

        Raises:
            DataError: If the images are of a wrong shape, dtype or range. Nothing else raises.
        """
        return self._ask(images, preprocessed, keep_going=True)

    def check(self) -> str:
        """Asks the server whether it has the version of the model that this bundle needs; a small request.

        Returns:
            `"AVAILABLE"`.

        Raises:
            ServerError: If the server cannot be reached, does not have this version (the message lists those that
                it has), or is not ready to answer for it.
        """
        return self._transport.check()

    def close(self) -> None:
        """Closes the connection; a later call opens a new one."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, images: Any, preprocessed: bool, *, keep_going: bool) -> Answer:
        frames = self.head.frames(images, preprocessed)
        n = len(frames)
        probabilities = np.full((n, self.manifest.n_classes), np.nan, np.float32)
        status = np.full(n, STATUS_NO_ANSWER, np.int32)
        timings_s = {"preprocess": 0.0, "head": 0.0, "wire": 0.0}
        reasons: dict[int, str] = {}
        for start in range(0, n, self._batch):
            rows = range(start, min(start + self._batch, n))
            payloads = self._payloads(frames[rows.start : rows.stop], preprocessed, timings_s)
            try:
                found, codes = self._send(payloads, timings_s)
            except ServerError as error:
                if not keep_going:
                    raise
                reasons.update(dict.fromkeys(rows, str(error)))
                continue
            status[rows.start : rows.stop] = codes
            answered = codes == wire.STATUS_OK
            probabilities[rows.start : rows.stop][answered] = found[answered]
            reasons.update((row, reason(code)) for row, code in zip(rows, codes.tolist(), strict=True) if code)
        source = "server" if (status == wire.STATUS_OK).any() else "none"
        return Answer(probabilities, status, source, timings_s, reasons, self.manifest.class_names)

    def _payloads(self, frames: np.ndarray, preprocessed: bool, timings_s: dict[str, float]) -> list[bytes]:
        payloads = []
        for frame in frames:
            begin = time.perf_counter()
            x = self.head.prepare(frame, preprocessed)
            middle = time.perf_counter()
            payloads.append(self.head.encode(x))
            timings_s["preprocess"] += middle - begin
            timings_s["head"] += time.perf_counter() - middle
        return payloads

    def _send(self, payloads: list[bytes], timings_s: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
        begin = time.perf_counter()
        try:
            found, codes = self._transport.predict(payloads)
            check_answer(found, codes, len(payloads), self.manifest)
            return found, codes
        finally:
            timings_s["wire"] += time.perf_counter() - begin
