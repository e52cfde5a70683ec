"""A device's client: it runs the head on the device and asks the tail on a server."""

import contextlib
import dataclasses
import os
import ssl
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from . import rest, rpc, schema, wire
from .answer import STATUS_NO_ANSWER, Answer, check_answer, reason, source_of
from .deadline import Deadline
from .errors import ArgumentError, DataError, ServerError, ServerTimeoutError, ServerUnreachableError
from .interpreter import Head
from .local import LOCAL_FILE, LocalModel
from .manifest import Manifest
from .pacing import Choice
from .transport import HttpConnection, Transport

MAX_BATCH = 32
MAX_REQUEST_BYTES = 8 << 20


class Client:
    """A client that runs the head of a bundle on the device and asks its tail on a TensorFlow Serving server.

    It reads only manifest.json and edge/ of the bundle, and asks the server for the version in the manifest. Threads
    may share it: over REST their requests wait for each other. A process that is forked from this one opens a
    connection of its own (multiprocessing, `os.fork`).

    Args:
        bundle: The bundle's directory.
        url: The server's address: REST at `http://server:8501` or `https://...`, gRPC at `grpc://server:8500` or
            `grpcs://...`, which needs grpcio.
        timeout_s: Seconds for one try at a request, from sending to the last byte of the answer.
        connect_timeout_s: Seconds for opening a connection.
        retries: How often a request is tried again if its connection failed or the server was too busy. The calls
            change nothing on the server, so a repeat is harmless. Time-outs are not tried again.
        max_batch: The largest number of images in one request; a server accepts no more than its batching.config
            allows.
        max_request_bytes: The largest body, in bytes, of a request that carries more than one image.
        token: A bearer token; over plain http it travels unencrypted. Over gRPC it needs grpcs, except to this
            machine.
        ssl_context: For https; the system's certificates by default. For grpcs the environment's
            GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names other certificates.
        num_threads: Threads of the head's interpreter; LiteRT's own choice by default.
        fallback_pause_s: For a bundle that holds the whole model: seconds for which `run` answers on the device
            without asking the server, after the server could not be reached.
        payload_bytes: For a bundle with coded payloads: the most bytes of each. What does not fit is left out, from the
            channel of the latent on that is worth least.
        deadline_s: Seconds for a whole call of `predict` or `run`, whatever the number of its images and tries; images
            without an answer by then are told as failed, or answered on the device if the bundle holds the whole model.
            Coded payloads get as many bytes as are likely to be answered in time, told from how long earlier requests
            took. Where even that is likely too late, `run` answers on the device if it can, and asks the server again
            after `fallback_pause_s`. By default each request has only its own limits.

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
        fallback_pause_s: float = 5.0,
        payload_bytes: int | None = None,
        deadline_s: float | None = None,
    ):
        schema.integer(1)("max_batch", max_batch)
        schema.integer(1)("max_request_bytes", max_request_bytes)
        schema.number(0)("fallback_pause_s", fallback_pause_s)
        schema.nullable(schema.number(above=0))("deadline_s", deadline_s)
        times: dict[str, Any] = {"timeout_s": timeout_s, "connect_timeout_s": connect_timeout_s, "retries": retries}
        if _scheme(url) in rpc.SCHEMES:
            if ssl_context is not None:
                raise ArgumentError("ssl_context is for https. For grpcs set GRPC_DEFAULT_SSL_ROOTS_FILE_PATH.")
            self.manifest = Manifest.load(bundle)
            self._transport: Transport = rpc.GrpcTransport(
                url, self.manifest, token=token, max_batch=max_batch, **times
            )
            request_bytes = rpc.message_bytes
        else:
            connection = HttpConnection(url, token=token, ssl_context=ssl_context, **times)
            self.manifest = Manifest.load(bundle)
            self._transport = rest.RestTransport(connection, self.manifest)
            request_bytes = rest.request_bytes
        self.manifest.form.bound(payload_bytes)
        self._payload_bytes = payload_bytes
        self.head = Head(bundle, manifest=self.manifest, num_threads=num_threads)
        self._local = None
        if LOCAL_FILE in self.manifest.files:
            self._local = LocalModel(Path(bundle) / LOCAL_FILE, self.manifest, num_threads=num_threads)
        self._pause_s, self._asking_from, self._why_local = fallback_pause_s, float("-inf"), ""
        self._deadline, self._trial = Deadline(deadline_s, self.manifest), True
        fitting = max_request_bytes // request_bytes(self.manifest.form.longest_bytes)
        self._batch = max(1, min(max_batch, fitting))

    def predict(self, images: Any, preprocessed: bool = False, *, payload_bytes: int | None = None) -> np.ndarray:
        """Classify images, or raise.

        Args:
            images: Raw uint8 images, (N, H, W, C) or one (H, W, C), channels R, G, B; grey images also (N, H, W).
                With `preprocessed`, arrays in the model's own space, (N, *input_shape).
            preprocessed: Whether the bundle's preprocessing was already done.
            payload_bytes: The most bytes of each payload of this call, instead of the client's own.

        Returns:
            (N, n_classes) float32 probabilities.

        Raises:
            DataError: If the images are of a wrong shape, dtype or range, or cannot be coded in so few bytes.
            ArgumentError: If the payloads of this bundle cannot be so short.
            ServerError: If any image was not answered; `ServerUnreachableError` and `ServerTimeoutError` say that
                the server is down or slow.
        """
        answer = self._ask(images, preprocessed, payload_bytes, keep_going=False)
        if answer.reasons:
            row, why = next(iter(answer.reasons.items()))
            raise ServerError(
                f"{len(answer.reasons)} of {len(answer.status)} images were not answered. "
                f"Image {row}: status {answer.status[row]}, {why}"
            )
        return answer.probabilities

    def run(self, images: Any, preprocessed: bool = False, *, payload_bytes: int | None = None) -> Answer:
        """Classify images, and go on if single images or the server fail.

        If the server cannot be reached or does not answer in time, and the bundle holds the whole model (exported
        with local_fallback=True), that model answers on the device, and the answer's `source` says so.

        Args:
            images: As in `predict`.
            preprocessed: As in `predict`.
            payload_bytes: As in `predict`.

        Returns:
            An `Answer`; images without an answer have a row of NaN, a status that is not 0 and a reason.

        Raises:
            DataError: If the images are of a wrong shape, dtype or range, or cannot be coded in so few bytes.
            ArgumentError: If the payloads of this bundle cannot be so short. Nothing else raises.
        """
        return self._ask(images, preprocessed, payload_bytes, keep_going=True)

    def check(self) -> str:
        """Ask the server whether it has the version of the model that this bundle needs; a small request.

        Returns:
            `"AVAILABLE"`.

        Raises:
            ServerError: If the server cannot be reached, does not have this version (the message lists its
                versions), or is not ready to answer with it.
        """
        return self._transport.check()

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, images: Any, preprocessed: bool, payload_bytes: int | None, *, keep_going: bool) -> Answer:
        self.manifest.form.bound(payload_bytes)
        bound = self._payload_bytes if payload_bytes is None else payload_bytes
        until = time.monotonic() + self._deadline.seconds
        frames = self.head.frames(images, preprocessed)
        batch = _Batch.of(len(frames), self.manifest.n_classes)
        for start in range(0, len(frames), self._batch):
            rows = range(start, min(start + self._batch, len(frames)))
            part = frames[rows.start : rows.stop]
            try:
                if keep_going and self._local is not None and time.monotonic() < self._asking_from:
                    raise ServerUnreachableError(self._why_local)
                if time.monotonic() >= until:
                    raise ServerTimeoutError(f"The time for the whole call, {self._deadline.seconds:g} s, is over")
                choice = self._deadline.choose(len(part), len(frames) - start, until, bound)
                if keep_going and self._local is not None:
                    self._refuse_late(choice)
                payloads = self._payloads(part, preprocessed, bound, choice, batch.timings_s)
                batch.note(rows, payloads, choice)
                batch.fill(rows, *self._send(payloads, batch.timings_s, until))
            except ServerError as error:
                if not keep_going:
                    raise
                if self._local is None or not isinstance(error, ServerUnreachableError | ServerTimeoutError):
                    batch.reasons.update(dict.fromkeys(rows, str(error)))
                    continue
                self._pause(error)
                batch.fill_locally(rows, self._local, part, preprocessed)
                batch.why_local = str(error)
        return batch.answer(self.manifest.class_names)

    def _refuse_late(self, choice: Choice | None) -> None:
        """Raise if an answer would come too late, unless it is time to try whether that is still so."""
        if choice is not None and choice.late and not self._trial:
            raise _TooLateError(f"The server's answer would probably come too late: {choice.reason}")
        self._trial = False

    def _pause(self, error: ServerError) -> None:
        """Leave the server in peace for a while; after a time-out the pace decides with the next image instead."""
        begin = time.monotonic()
        paced = self._deadline.paced and isinstance(error, ServerTimeoutError) and not isinstance(error, _TooLateError)
        if begin >= self._asking_from and not paced:
            self._asking_from, self._why_local, self._trial = begin + self._pause_s, str(error), True

    def _payloads(
        self,
        frames: np.ndarray,
        preprocessed: bool,
        bound: int | None,
        choice: Choice | None,
        timings_s: dict[str, float],
    ) -> list[bytes]:
        payloads = []
        for frame in frames:
            begin = time.perf_counter()
            x = self.head.prepare(frame, preprocessed)
            middle = time.perf_counter()
            payloads.append(self._encode(x, bound, choice))
            end = time.perf_counter()
            timings_s["preprocess"] += middle - begin
            timings_s["head"] += end - middle
            self._deadline.encoded(end - begin)
        return payloads

    def _encode(self, x: np.ndarray, bound: int | None, choice: Choice | None) -> bytes:
        if choice is not None:
            with contextlib.suppress(DataError):  # the first channel of a rare latent needs more than was chosen
                return self.head.encode(x, choice.payload_bytes)
        return self.head.encode(x, bound)

    def _send(self, payloads: list[bytes], timings_s: dict[str, float], until: float) -> tuple[np.ndarray, np.ndarray]:
        begin, sent_bytes = time.perf_counter(), sum(map(len, payloads))
        try:
            found, codes = self._transport.predict(payloads, until=until)
            self._deadline.answered(sent_bytes, time.perf_counter() - begin, in_time=True)
            check_answer(found, codes, len(payloads), self.manifest)
            return found, codes
        except ServerTimeoutError:
            self._deadline.answered(sent_bytes, time.perf_counter() - begin, in_time=False)
            raise
        finally:
            timings_s["wire"] += time.perf_counter() - begin


class _TooLateError(ServerTimeoutError):
    """No answer was asked for, since it would have come too late."""


@dataclasses.dataclass
class _Batch:
    """The parts of an answer to N images that are known so far."""

    probabilities: np.ndarray
    status: np.ndarray
    local: np.ndarray
    timings_s: dict[str, float]
    reasons: dict[int, str]
    payload_bytes: np.ndarray
    why_local: str | None = None
    pace: str | None = None

    @classmethod
    def of(cls, n: int, n_classes: int) -> "_Batch":
        probabilities = np.full((n, n_classes), np.nan, np.float32)
        status = np.full(n, STATUS_NO_ANSWER, np.int32)
        timings_s = {"preprocess": 0.0, "head": 0.0, "wire": 0.0}
        return cls(probabilities, status, np.zeros(n, bool), timings_s, {}, np.zeros(n, np.int64))

    def note(self, rows: range, payloads: list[bytes], choice: Choice | None) -> None:
        self.payload_bytes[rows.start : rows.stop] = [len(payload) for payload in payloads]
        self.pace = self.pace if choice is None else choice.reason

    def fill(self, rows: range, found: np.ndarray, codes: np.ndarray) -> None:
        self.status[rows.start : rows.stop] = codes
        answered = codes == wire.STATUS_OK
        self.probabilities[rows.start : rows.stop][answered] = found[answered]
        self.reasons.update((row, reason(code)) for row, code in zip(rows, codes.tolist(), strict=True) if code)

    def fill_locally(self, rows: range, model: LocalModel, frames: np.ndarray, preprocessed: bool) -> None:
        begin = time.perf_counter()
        self.probabilities[rows.start : rows.stop] = model.predict(frames, preprocessed)
        self.status[rows.start : rows.stop] = wire.STATUS_OK
        self.local[rows.start : rows.stop] = True
        self.timings_s["local"] = self.timings_s.get("local", 0.0) + time.perf_counter() - begin

    def answer(self, class_names: tuple[str, ...] | None) -> Answer:
        source = source_of(self.status == wire.STATUS_OK, self.local)
        return Answer(
            self.probabilities,
            self.status,
            source,
            self.timings_s,
            self.reasons,
            class_names,
            self.local,
            self.why_local,
            self.payload_bytes,
            self.pace,
        )


def _scheme(url: str) -> str:
    return url.split("://")[0].lower() if isinstance(url, str) else ""
