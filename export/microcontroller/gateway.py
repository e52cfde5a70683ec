#!/usr/bin/env python3
"""Stands between microcontrollers and TensorFlow Serving: payloads come in over UDP or a serial line, answers go back.

    python gateway.py bundle/ --url http://server:8501 --udp 0.0.0.0:8510
    python gateway.py old_bundle/ new_bundle/ --url https://server --serial /dev/ttyACM0 --baud 115200

It needs isplit-edge (and so numpy) and manifest.json of each bundle, no TensorFlow and no head. A payload says by its
tag which bundle it is of, and goes to that bundle's version of the tail. What waits at the same moment goes to the
server in one request. The format of the frames is described in src/isplit_wire.h. A bearer token is taken from
ISPLIT_TOKEN.

UDP is neither encrypted nor authenticated: keep it on a network of one's own. A datagram carries at most 65,507 bytes,
and many boards' network stacks take no more than 1,472.
"""

import argparse
import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import zlib
from collections.abc import Sequence

import numpy as np
from link_frames import ANSWER, HEADER_BYTES, MOST_CLASSES, pack_answer, pack_frame
from link_sources import MOST_DATAGRAM_BYTES, Datagrams, Request, SerialLine

from isplit_edge import wire
from isplit_edge.answer import STATUS_NO_ANSWER, check_answer
from isplit_edge.errors import ArgumentError, ISplitError, ServerError
from isplit_edge.manifest import Manifest
from isplit_edge.rest import RestTransport
from isplit_edge.transport import HttpConnection

_LOG = logging.getLogger("gateway")


class Tails:
    """The tails of some bundles on one server.

    Args:
        bundles: Directories; each needs manifest.json only.
        url: The server's REST address.
        timeout_s: For one request. Devices ask again by themselves, so nothing is tried twice here.
        token: A bearer token, or None.
        top: How many classes an answer holds.

    Raises:
        BundleError: If a manifest is missing or damaged.
        ArgumentError: If two bundles are the same, or the URL is none.
    """

    def __init__(self, bundles: Sequence[str], url: str, *, timeout_s: float, token: str | None, top: int):
        manifests = [Manifest.load(bundle, check=()) for bundle in bundles]
        self._manifests = {manifest.tag: manifest for manifest in manifests}
        if len(self._manifests) < len(manifests):
            raise ArgumentError("Two of the bundles have the same bundle_id.")
        self._transports = {
            manifest.tag: RestTransport(
                HttpConnection(url, timeout_s=timeout_s, connect_timeout_s=min(timeout_s, 2.0), retries=0, token=token),
                manifest,
            )
            for manifest in manifests
        }
        self._top = top
        self.most_payload_bytes = max(manifest.form.longest_bytes for manifest in manifests)

    def answer(self, requests: Sequence[Request]) -> None:
        """Answer requests, with one call of the server per bundle."""
        groups: dict[bytes, list[Request]] = {}
        for request in requests:
            status = self._status(request.payload)
            if status == wire.STATUS_OK:
                groups.setdefault(request.payload[: wire.TAG_BYTES], []).append(request)
            else:
                self._reply(request, status, None)
        for tag, group in groups.items():
            probabilities, status = self._ask(tag, [request.payload for request in group])
            for row, request in enumerate(group):
                self._reply(request, int(status[row]), probabilities[row])

    def close(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            transport.close()

    def _status(self, payload: bytes) -> int:
        """Return the status that a tail would give a payload, so that it is not asked in vain."""
        tag = payload[: wire.TAG_BYTES]
        manifest = self._manifests.get(tag)
        if manifest is not None:
            return manifest.form.unpack(payload)[0]
        whole = len(payload) > wire.HEADER_BYTES
        check = int.from_bytes(payload[wire.TAG_BYTES : wire.HEADER_BYTES], "little")
        intact = whole and check == zlib.adler32(payload[wire.HEADER_BYTES :])
        return wire.STATUS_OTHER_BUNDLE if intact else wire.STATUS_MALFORMED

    def _ask(self, tag: bytes, payloads: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        manifest = self._manifests[tag]
        try:
            probabilities, status = self._transports[tag].predict(payloads)
            check_answer(probabilities, status, len(payloads), manifest)
        except ServerError as error:
            _LOG.warning("%d payloads were not answered: %s", len(payloads), error)
            nothing = np.full((len(payloads), manifest.n_classes), np.nan)
            return nothing, np.full(len(payloads), STATUS_NO_ANSWER)
        return probabilities, status

    def _reply(self, request: Request, status: int, probabilities: np.ndarray | None) -> None:
        body = pack_answer(status, probabilities, self._top)
        request.reply(pack_frame(ANSWER, request.sequence, body))


def serve(tails: Tails, sources: Sequence[Datagrams | SerialLine], max_batch: int) -> None:
    """Answer requests until SIGINT or SIGTERM."""
    stopping: list[int] = []
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopping.append(number))
    with selectors.DefaultSelector() as selector, wake, woken:
        selector.register(woken, selectors.EVENT_READ)
        for source in sources:
            selector.register(source, selectors.EVENT_READ)
        while not stopping:
            ready = [key.fileobj for key, _ in selector.select()]
            requests = [request for source in sources if source in ready for request in source.read(max_batch)]
            for start in range(0, len(requests), max_batch):
                tails.answer(requests[start : start + max_batch])
        signal.set_wakeup_fd(-1)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Forward microcontrollers' payloads to TensorFlow Serving.")
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE", help="directory with manifest.json")
    parser.add_argument("--url", required=True, help="the server's REST address, such as http://server:8501")
    parser.add_argument("--udp", metavar="HOST:PORT", help="listen there for datagrams; port 0 for a free one")
    parser.add_argument("--serial", metavar="DEVICE", help="listen on a serial line")
    parser.add_argument("--baud", type=int, default=None, help="of the serial line (default: as it is set)")
    parser.add_argument("--top", type=int, default=3, help=f"classes in an answer (default: 3, at most {MOST_CLASSES})")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="for the server (default: 5)")
    parser.add_argument("--max-batch", type=int, default=32, metavar="N", help="payloads in a request (default: 32)")
    parser.add_argument("--verbose", action="store_true", help="say what is passed over")
    args = parser.parse_args(argv)
    if not args.udp and not args.serial:
        parser.error("give --udp, --serial, or both")
    if args.top < 0 or args.max_batch < 1:
        parser.error("--top must be at least 0 and --max-batch at least 1")
    return args


def run(args: argparse.Namespace) -> None:
    """Open the sources and bundles of the command line, and serve."""
    token = os.environ.get("ISPLIT_TOKEN")
    with contextlib.ExitStack() as stack:
        tails = Tails(args.bundles, args.url, timeout_s=args.timeout, token=token, top=args.top)
        stack.callback(tails.close)
        sources: list[Datagrams | SerialLine] = []
        if args.udp:
            longest = HEADER_BYTES + tails.most_payload_bytes
            if longest > MOST_DATAGRAM_BYTES:
                raise ArgumentError(f"A frame of {longest} bytes does not fit into a datagram: use --serial.")
            host, _, port = args.udp.rpartition(":")
            if not host or not port.isdigit() or int(port) > 65535:
                raise ArgumentError(f"--udp must be HOST:PORT. Received: {args.udp!r}.")
            sources.append(Datagrams(host.strip("[]"), int(port)))
        if args.serial:
            sources.append(SerialLine(args.serial, args.baud, tails.most_payload_bytes))
        for source in sources:
            stack.callback(source.close)
            _LOG.info("listening on %s for %d bundles of %s", source.name, len(args.bundles), args.url)
        serve(tails, sources, args.max_batch)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: exit status 2 for a bad request, 1 for a failure."""
    args = parse(argv)
    logging.basicConfig(level=logging.DEBUG if args.verbose else logging.INFO, format="gateway: %(message)s")
    try:
        run(args)
    except ISplitError as error:
        _LOG.error("%s", error)
        return 1 if isinstance(error, ServerError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
