"""Tests with files of every kind that is read, mutated, and with requests whose end is not clear."""

import contextlib
import io
import random
import socket
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from isplit_edge.errors import ISplitError
from isplit_edge.manifest import Manifest
from isplit_edge.pictures import read_images_file

from .place import Place, Row

_SECOND = b"GET /v1/models/tail HTTP/1.1\r\nHost: localhost\r\n\r\n"
_BODY = b'{"inputs":["x"]}'


def mutated_files(place: Place, directory: Path, count: int, seed: int = 0) -> Row:
    """Change files by bytes that are other, missing or more; each must be read, or refused by an error of ours."""
    row, begin, rng = Row("mutated files of every kind that is read", count), time.monotonic(), random.Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    kinds = _kinds(place)
    names = sorted(kinds)
    for k in range(count):
        name = names[k % len(names)]
        content, read = kinds[name]
        changed = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(min(len(changed), rng.choice([100, 1000, len(changed)])))
            changed[at : at + rng.randint(0, 1)] = rng.randbytes(rng.randint(0, 2))
        path = directory / name
        path.write_bytes(changed[: rng.choice([None, None, rng.randrange(len(changed))])])
        try:
            read(path)
            row.outcome["read"] += 1
        except ISplitError:
            row.outcome["refused"] += 1
        except BaseException as error:  # whatever else it is, it is wrong
            row.fail(f"{name}: {type(error).__name__}: {error}")
    row.seconds = time.monotonic() - begin
    return row


def _kinds(place: Place) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    """Return a whole file of each kind, and what reads it."""
    from PIL import Image

    import isplit_tf as isplit
    from isplit_tf.datasets.archives import Archive, UnreadableError
    from isplit_tf.datasets.arrays import read_npz

    from .place import make_split

    def members(path: Path) -> None:
        for member in Archive(path).members():
            with contextlib.suppress(UnreadableError):
                member.read()

    def images(path: Path) -> None:
        read_images_file(path, grey=False)

    def manifest(path: Path) -> None:
        (path.parent / "bundle").mkdir(exist_ok=True)
        (path.parent / "bundle/manifest.json").write_bytes(path.read_bytes())
        Manifest.load(path.parent / "bundle", check=())

    x, y = place.images[:16].astype(np.float32), np.arange(16) % 5
    split = make_split(5)
    curve = isplit.measure_importance(split.model, (x, y), cuts=["pool"], progress=False)
    accuracy = isplit.predict_accuracy(split.model, (x, y), fit_data=x, latent_size=4, cuts=["pool"], progress=False)
    found: dict[str, tuple[bytes, Callable[[Path], object]]] = {
        "a.npy": (_bytes_of(lambda file: np.save(file, place.images[0])), images),
        "a.npz": (_bytes_of(lambda file: np.savez_compressed(file, x=place.images[0])), images),
        "data.npz": (
            _bytes_of(lambda file: np.savez(file, x=place.images[:4], y=np.arange(4))),
            lambda p: read_npz(p, None),
        ),
        "manifest.json": ((place.bundle / "manifest.json").read_bytes(), manifest),
        "curve.npz": (_saved(curve), isplit.Curve.load),
        "accuracy.npz": (_saved(accuracy), isplit.AccuracyCurve.load),
        "a.zip": (_bytes_of(_zip), members),
    }
    for kind in ("", "gz", "bz2", "xz"):
        found[f"a.tar.{kind}"] = (_bytes_of(lambda file, kind=kind: _tar(file, kind)), members)
    for kind in ("png", "jpeg", "bmp", "webp"):
        picture = Image.fromarray(place.images[0])
        found[f"a.{kind}"] = (_bytes_of(lambda file, kind=kind, one=picture: one.save(file, kind.upper())), images)
    return found


def _bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _saved(curve) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        curve.save(Path(folder) / "a.npz")
        return (Path(folder) / "a.npz").read_bytes()


def _zip(file: io.BytesIO) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(4):
            archive.writestr(f"cat/{k}.jpg", random.Random(k).randbytes(300))


def _tar(file: io.BytesIO, kind: str) -> None:
    with tarfile.open(fileobj=file, mode=f"w:{kind}") as archive:
        for k in range(4):
            info = tarfile.TarInfo(f"cat/{k}.jpg")
            info.size = 300
            archive.addfile(info, io.BytesIO(random.Random(k).randbytes(300)))


def unclear_ends(url: str, count: int, seed: int = 0) -> Row:
    """Send requests whose end two readers could see at two places; none may be answered twice."""
    row, begin, rng = Row("requests whose end is not clear", count), time.monotonic(), random.Random(seed)
    host, port = url.removeprefix("http://").split(":")
    for _ in range(count):
        content, answer = _unclear(rng), b""
        with (
            socket.create_connection((host, int(port)), timeout=20) as connection,
            contextlib.suppress(ConnectionError),
        ):
            connection.sendall(content)
            while part := connection.recv(1 << 16):
                answer += part
        status = answer[9:12].decode("latin-1")
        row.outcome[f"HTTP {status}" if status else "closed"] += 1
        if answer.count(b"HTTP/1.1 ") > 1 or status == "200":
            row.fail(f"{content!r}: {answer!r}")
    row.seconds = time.monotonic() - begin
    return row


def _unclear(rng: random.Random) -> bytes:
    """Return a request with a second one behind what one reader takes for its end."""
    length = rng.choice([b"16", b"0", b"5"])
    other = rng.choice([b"17", b"1", b"6"])
    lines = rng.choice(
        [
            [b"Content-Length: " + length, b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: chunked", b"Content-Length: " + length],
            [b"Content-Length: " + length, b"Content-Length: " + other],
            [b"Content-Length: " + length + b", " + other],
            [b"Content-Length" + rng.choice([b" ", b"\t", b"\x0b", b"\0"]) + b": " + length],
            [b"Content-Length: " + rng.choice([b"+", b"-", b"0x", b"1_"]) + length],
            [b"Transfer-Encoding: chunked"] * 2,
            [
                b"Transfer-Encoding: "
                + rng.choice([b"chunked, identity", b"identity, chunked", b"x", b"\x0bchunked", b""])
            ],
            [b"X: y" + rng.choice([b"\n", b"\r", b"\r\n "]) + b"Content-Length: " + length],
            [b" Content-Length: " + length],
            [b"Host: attacker.example"],
            [b"Transfer-Encoding: chunked", b"X: \x00"],
        ]
    )
    chunk = rng.choice([b"0x10", b"1_0", b"+10", b" 10", b"10 x", b"", b"g"]) + b"\r\n" + _BODY + b"\r\n0\r\n\r\n"
    if rng.random() < 0.3:
        lines = [b"Transfer-Encoding: chunked"]
    body = (
        chunk
        if lines == [b"Transfer-Encoding: chunked"]
        else rng.choice([_BODY, b"0\r\n\r\n", b"5\r\nabcde\r\n0\r\n\r\n"])
    )
    head = [b"POST /v1/models/tail:predict HTTP/1." + rng.choice([b"1", b"1", b"1"]), b"Host: localhost", *lines]
    return b"\r\n".join([*head, b"", body]) + _SECOND
