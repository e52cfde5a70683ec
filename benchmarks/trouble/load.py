"""Tests with many clients, long runs, killed servers, and changing versions."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from isplit_edge import Client
from isplit_edge.manifest import Manifest
from isplit_edge.rest import RestTransport
from isplit_edge.rpc import GrpcTransport
from isplit_edge.transport import HttpConnection

from .place import Place, Row, ServerProcess, resident_bytes

_MB = 2**20


def many_clients(place: Place, urls: tuple[str, str], clients: int, requests: int) -> Row:
    """Run many clients at once, half over REST and half over gRPC; each must get its own answers."""
    row = Row(f"requests of {clients} clients at once", clients * requests)
    begin, lock = time.monotonic(), threading.Lock()

    def device(number: int) -> None:
        with Client(place.bundle, urls[number % 2], timeout_s=60, connect_timeout_s=30, num_threads=1) as client:
            for k in range(requests):
                rows = [(number + k) % len(place.images), (number * 7 + k) % len(place.images)]
                answer = client.run(place.images[rows])
                with lock:
                    _note(row, place, rows, answer, failures_are_wrong=True)

    _together(device, range(clients))
    row.seconds = time.monotonic() - begin
    return row


def flat_memory(place: Place, server: ServerProcess, count: int, threads: int = 4) -> Row:
    """Send requests for a long time; after the first fifth, the memory of server and clients must not grow."""
    row = Row("requests while memory is watched", count)
    begin, lock = time.monotonic(), threading.Lock()
    manifest = Manifest.load(place.bundle)
    done = 0

    def device(number: int) -> None:
        nonlocal done
        url = (server.url, server.grpc_url)[number % 2]
        transport = (
            GrpcTransport(url, manifest, timeout_s=60)
            if number % 2
            else RestTransport(HttpConnection(url, timeout_s=60), manifest)
        )
        for k in range(number, part, threads):
            index = k % len(place.payloads)
            probabilities, status = transport.predict([place.payloads[index], b"none"])
            with lock:
                done += 1
                if status.tolist() != [0, 2] or not place.right([index], probabilities[:1]):
                    row.fail(f"status {status.tolist()} for image {index}")
        transport.close()

    memory = []
    for share in (0.2, 0.8):
        part = int(count * share)
        _together(device, range(threads))
        memory.append((server.resident_bytes(), resident_bytes(os.getpid())))
    row.outcome["answered right"] = done - row.outcome["WRONG"]
    for which, name in enumerate(("server", "clients")):
        before, after = memory[0][which], memory[1][which]
        row.outcome[f"{name} MB after a fifth"] = round(before / _MB)
        row.outcome[f"{name} MB at the end"] = round(after / _MB)
        if after - before > max(16 * _MB, 0.05 * before):
            row.fail(f"the {name} grew from {before / _MB:.1f} to {after / _MB:.1f} MB")
    row.seconds = time.monotonic() - begin
    return row


def killed_servers(place: Place, kills: int, *, up_s: float = 2.0) -> Row:
    """Kill the server during a run and restart it on the same ports.

    Every image must be answered right or fail with an error; once the server is back, all must be answered.
    """
    row = Row("times the server was killed and restarted in a run", kills)
    begin, lock, stop = time.monotonic(), threading.Lock(), threading.Event()
    server = ServerProcess(place.bundle)
    ports, urls = server.ports, (server.url, server.grpc_url)
    counts = [0, 0]

    def device(number: int) -> None:
        with Client(place.bundle, urls[number], timeout_s=2, retries=3) as client:
            while not stop.is_set():
                rows = [counts[number] % len(place.images)]
                answer = client.run(place.images[rows])
                with lock:
                    counts[number] += 1
                    _note(row, place, rows, answer)

    threads = [threading.Thread(target=device, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(up_s)
        server.kill()
        server.__exit__()
        server = ServerProcess(place.bundle, *ports)
    time.sleep(up_s)
    stop.set()
    for thread in threads:
        thread.join()
    for url in urls:
        with Client(place.bundle, url, retries=5) as client:
            if not place.right(list(range(len(place.images))), client.predict(place.images)):
                row.fail("after the last restart the answers are others")
    server.__exit__()
    if row.outcome["answered right"] < kills:
        row.fail("hardly anything was answered")
    row.seconds = time.monotonic() - begin
    return row


def changing_versions(places: tuple[Place, Place], models: Path, changes: int, *, every_s: float = 1.0) -> Row:
    """Publish and withdraw two versions with different weights under load.

    No device may get an answer of the other version, and the device whose version stays must always be answered.
    """
    from isplit_tf.export.publication import publish
    from isplit_tf.server import Server
    from isplit_tf.server.models_config import ModelsConfig

    row = Row("changes of a version under load", changes)
    begin, lock, stop = time.monotonic(), threading.Lock(), threading.Event()
    first, second = places
    publish(first.bundle, models)
    with Server(models, port=0, grpc_port=0) as server:

        def device(number: int) -> None:
            place, url = places[number // 2], (server.url, server.grpc_url)[number % 2]
            k = 0
            with Client(place.bundle, url, retries=0) as client:
                while not stop.is_set():
                    rows = [k % len(place.images), 3 * k % len(place.images)]
                    answer = client.run(place.images[rows])
                    with lock:
                        _note(row, place, rows, answer, failures_are_wrong=place is first)
                    k += 1

        threads = [threading.Thread(target=device, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        retired = str(ModelsConfig().with_version("tail", Manifest.load(first.bundle).version))
        for change in range(changes):
            time.sleep(every_s)
            if change % 2 == 0:
                publish(second.bundle, models)
            else:
                (models / "models.config").write_text(retired)
        time.sleep(every_s)
        stop.set()
        for thread in threads:
            thread.join()
    row.seconds = time.monotonic() - begin
    return row


def _note(row: Row, place: Place, rows: list[int], answer, *, failures_are_wrong: bool = False) -> None:
    if answer.status.any():
        row.outcome["told as failed"] += len(rows)
        if failures_are_wrong:
            row.fail(dict(answer.reasons))
    elif place.right(rows, answer.probabilities):
        row.outcome["answered right"] += len(rows)
    else:
        row.fail(f"images {rows} got other answers")


def _together(work: Callable[[int], None], numbers: range) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
