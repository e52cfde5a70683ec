"""The measuring of the link to a server, with payloads that are no payloads: `python -m isplit_edge profile --url`.

A malformed payload of any length is answered with status 2 by every tail. Looks at the model's state and signatures
are answered without a model's work, so that they tell the link from it, and the way down from the way up.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from . import messages, rest, rpc, schema, wire
from .errors import ArgumentError, ServerError
from .link_fit import LinkFit
from .link_samples import PAYLOAD, SIGNATURES, STATE, LinkSamples
from .text import shortened
from .transport import HttpConnection

SIZES = (64, 1000, 4000, 16000, 64000)
SECONDS = 20.0
ROUNDS = 40
_FEWEST_ROUNDS = 3
_MOST_FAILURES = 3
# An answer for a model whose number of classes is not known.
_ANY_CLASSES = 1 << 17
_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """The signature of a served model that is asked; it stands where a transport takes a bundle's manifest.

    Attributes:
        model_name, version: Of the model on the server.
        signature: One that takes payloads.
        n_classes: Of its answers; more than it has where that is not known.
    """

    model_name: str
    version: int
    signature: str = rest.SIGNATURE
    n_classes: int = _ANY_CLASSES


class _Probe(Protocol):
    """The requests of a measurement; each gives the bytes of the bodies that were sent and received."""

    url: str

    def ask(self, payload: bytes) -> tuple[int, int]: ...

    def state(self) -> tuple[int, int]: ...

    def signatures(self) -> tuple[int, int]: ...

    def close(self) -> None: ...


class _RestProbe:
    def __init__(self, url: str, asked: Asked, **options: Any):
        self._http = HttpConnection(url, retries=0, **options)
        self._asked, self.url = asked, self._http.url
        self._path = f"/v1/models/{asked.model_name}/versions/{asked.version}"

    def ask(self, payload: bytes) -> tuple[int, int]:
        body = rest.predict_body([payload], self._asked.signature)
        code, answer = self._http.request("POST", f"{self._path}:predict", body, max_answer_bytes=32 * _ANY_CLASSES)
        if code != 200:
            raise self._refused(code, answer)
        _, status = rest.read_rows(rest.parsed(answer))
        _check_status(status)
        return len(body), len(answer)

    def state(self) -> tuple[int, int]:
        return self._look("")

    def signatures(self) -> tuple[int, int]:
        return self._look("/metadata")

    def close(self) -> None:
        self._http.close()

    def _look(self, more: str) -> tuple[int, int]:
        code, answer = self._http.request("GET", self._path + more, max_answer_bytes=1 << 24)
        if code != 200:
            raise self._refused(code, answer)
        return 0, len(answer)

    def _refused(self, code: int, answer: bytes) -> ServerError:
        asked = self._asked
        said = shortened(self._http.without_token(answer.decode("utf-8", "replace")))
        return ServerError(
            f"{self.url} answered HTTP {code} for model '{asked.model_name}', version {asked.version}, signature "
            f"'{asked.signature}'. It said: {said}. Any tail will do: --model NAME --model-version N"
        )


class _GrpcProbe(rpc.GrpcTransport):
    def __init__(self, url: str, asked: Asked, **options: Any):
        super().__init__(url, asked, retries=0, **options)
        self._predicting = messages.model_spec(asked.model_name, asked.version, asked.signature)

    def ask(self, payload: bytes) -> tuple[int, int]:
        request = messages.predict_request(self._predicting, "payload", [payload])
        answer = self._call(rpc.PREDICT, request)
        found = messages.read_outputs(answer, most_elements=_ANY_CLASSES)
        _check_status(found.get("status", np.zeros(0, np.int32)))
        return len(request), len(answer)

    def state(self) -> tuple[int, int]:
        request = messages.field(1, self._status_spec)
        return len(request), len(self._call(rpc.STATUS, request))

    def signatures(self) -> tuple[int, int]:
        request = messages.field(1, self._status_spec) + messages.field(2, b"signature_def")
        return len(request), len(self._call(_METADATA, request))


def _check_status(status: np.ndarray) -> None:
    if status.tolist() != [wire.STATUS_MALFORMED]:
        raise ServerError(
            f"The server answered a payload of random bytes with status {status.tolist()}, expected "
            f"[{wire.STATUS_MALFORMED}]: is this model the tail of a bundle, or of a kit?"
        )


class LinkProbe:
    """A measurement of the link to a server.

    Args:
        url: The server's address, http://, https://, grpc:// or grpcs://.
        asked: What is asked there.
        token: A bearer token.
        timeout_s: Seconds for one request.

    Raises:
        ArgumentError: If the address is none.
        MissingDependencyError: If grpcio is needed and not installed.
    """

    def __init__(self, url: str, asked: Asked, *, token: str | None = None, timeout_s: float = 10.0):
        self._scheme = url.split("://")[0].lower() if isinstance(url, str) else ""
        make: Callable[..., Any] = _GrpcProbe if self._scheme in rpc.SCHEMES else _RestProbe
        self._probe: _Probe = make(url, asked, token=token, timeout_s=timeout_s)

    def check(self) -> None:
        """Ask once, over a connection of its own.

        Raises:
            ServerError: If the server cannot be reached, or does not have what is asked.
        """
        try:
            self._probe.ask(_random(SIZES[0]))
        finally:
            self._probe.close()

    def measure(
        self,
        *,
        sizes: Sequence[int] = SIZES,
        seconds: float = SECONDS,
        say: Callable[[str], object] = lambda line: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> tuple[LinkFit | None, list[str], int]:
        """Measure in rounds of one request of each kind, until the time is over.

        Args:
            sizes: Bytes of the payloads.
            seconds: For all requests, each kind with an equal share; the first rounds take what they take.
            say: Gets lines about the progress.
            clock: Gives moments in seconds.

        Returns:
            The link, or None where too little was measured; what is missing, in words; and how many intervals no clock
            can have measured.
        """
        schema.number(above=0)("seconds", seconds)
        if len(set(sizes)) < 2 or min(sizes) < 1:
            raise ArgumentError(f"A line needs payloads of at least two sizes, each of 1 byte or more: {sizes}")
        kinds = {f"{PAYLOAD} of {size} B": self._asking(size) for size in sorted(set(sizes))}
        kinds |= {STATE: self._probe.state, SIGNATURES: self._probe.signatures}
        samples = LinkSamples()
        missing: list[str] = []
        say(f"link: {len(kinds)} kinds of requests to {self._probe.url}, about {seconds:g} s")
        try:
            self._rounds(kinds, samples, seconds, clock, missing)
        except KeyboardInterrupt:
            missing.append("link: interrupted from the keyboard")
        finally:
            self._probe.close()
        dropped = samples.clean()
        link = samples.fit(self._probe.url, self._scheme)
        if link is None:
            missing.append("link: too few requests were answered")
        elif link.down_s_per_byte is None:
            say("link: the way down was not told apart; the server shows no signatures")
        return link, missing, dropped

    def _asking(self, size: int) -> Callable[[], tuple[int, int]]:
        return lambda: self._probe.ask(_random(size))

    def _rounds(
        self,
        kinds: dict[str, Callable[[], tuple[int, int]]],
        samples: LinkSamples,
        seconds: float,
        clock: Callable[[], float],
        missing: list[str],
    ) -> None:
        share, spent = seconds / len(kinds), dict.fromkeys(kinds, 0.0)
        in_row = 0
        for k in range(-1, ROUNDS):  # the first round opens the connection, and is left out
            asked = [name for name in kinds if k < _FEWEST_ROUNDS or spent[name] < share]
            for name in asked:
                begin, moment = clock(), time.monotonic()
                try:
                    sent, received = kinds[name]()
                    taken = clock() - begin
                except ServerError as error:
                    if name == SIGNATURES and k < 0:
                        del kinds[name]  # not every server shows them
                        continue
                    samples.failures += 1
                    in_row += 1
                    if in_row >= _MOST_FAILURES:
                        missing.append(f"link: the server went away: {error}")
                        return
                else:
                    in_row = 0
                    if k >= 0:
                        samples.add(name, k, sent, received, taken)
                spent[name] += time.monotonic() - moment


def _random(size: int) -> bytes:
    """Return bytes that no link compresses, and whose checksum is never theirs."""
    content = bytearray(os.urandom(size))
    content[wire.TAG_BYTES : wire.HEADER_BYTES] = bytes(len(content[wire.TAG_BYTES : wire.HEADER_BYTES]))
    return bytes(content)
