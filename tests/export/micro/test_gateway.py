"""The gateway over a real loopback: from C code to the local server and back, over UDP and serial lines."""

import os
import pty
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import tty
import zlib

import numpy as np
import pytest

from isplit_edge import wire
from isplit_tf.server import Server
from support.micro_kit import KIT, compile_c, gateway, need_cross_tools

sys.path.insert(0, str(KIT))  # the kit's programs are no package
from link_frames import ANSWER, REQUEST, pack_frame, unpack_frame

SOURCES = [KIT / "src" / f"{name}.c" for name in ("replay", "link", "isplit_wire", "isplit_code", "transport_udp")]


@pytest.fixture(scope="module")
def server(micro_bundle):
    """The tail of the bundle, served."""
    with Server(micro_bundle, port=0) as running:
        yield running


@pytest.fixture(scope="module")
def latents(micro_bundle, test_data) -> np.ndarray:
    """Latents of real images, (60, n) int8."""
    payloads = micro_bundle.payloads(test_data[0])
    return np.stack([np.frombuffer(payload, np.int8, offset=wire.HEADER_BYTES) for payload in payloads])


@pytest.fixture(scope="module")
def expected(micro_bundle, latents) -> np.ndarray:
    """What the tail answers to them."""
    return micro_bundle.answer([wire.pack(micro_bundle.manifest.tag, latent) for latent in latents])[0]


@pytest.fixture(scope="module")
def listening(micro_bundle, shared_bundle, server):
    """A gateway on UDP, for two bundles."""
    bundles = (str(micro_bundle.directory), str(shared_bundle.directory))
    with gateway(*bundles, "--url", server.url, "--udp", "127.0.0.1:0", "--timeout", "20") as process:
        yield process


@pytest.fixture
def device(listening):
    """A socket that talks with it."""
    host, port = listening.where.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect((host, int(port)))
        own.settimeout(20)
        yield own


def read_answer(frame: bytes) -> tuple[int, int, list[tuple[int, float]]]:
    """Sequence number, status, and pairs of class and probability."""
    found = unpack_frame(frame, ANSWER)
    assert found is not None
    sequence, body = found
    status, count = struct.unpack_from("<iI", body)
    pairs = [struct.unpack_from("<If", body, 8 + 8 * k) for k in range(count)]
    assert len(body) == 8 + 8 * count
    return sequence, status, pairs


def test_from_c_to_the_server_and_back(micro_bundle, listening, latents, expected, tmp_path):
    """The kit's C program sends real latents over UDP and prints the classes that the bundle's own tail gives."""
    sources = [
        KIT / "src" / name for name in ("replay.c", "link.c", "isplit_wire.c", "isplit_code.c", "transport_udp.c")
    ]
    program = compile_c(tmp_path, sources, micro_bundle.directory / "edge")
    host, port = listening.where.rsplit(":", 1)
    done = subprocess.run([program, host, port], input=latents.tobytes(), capture_output=True, check=True, timeout=60)
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    assert len(rows) == len(latents)
    for (status, best, probability), row in zip(rows, expected, strict=True):
        assert (status, int(best)) == ("0", int(row.argmax()))
        assert float(probability) == pytest.approx(row.max(), abs=1e-5)


def test_latents_of_4_bits_from_c_to_the_server_and_back(packed_micro_bundle, tmp_path):
    """The kit's C program keeps 4 bits of each element, the gateway takes the payload, and the tail answers it."""
    manifest, bits = packed_micro_bundle.manifest, packed_micro_bundle.manifest.latent_bits
    size = int(np.prod(manifest.shapes["latent"]))
    latents = np.random.default_rng(0).integers(-128, 128, (20, size)).astype(np.int8)
    rows = packed_micro_bundle.answer([wire.pack(manifest.tag, latent, bits) for latent in latents])[0]
    sources = [
        KIT / "src" / name for name in ("replay.c", "link.c", "isplit_wire.c", "isplit_code.c", "transport_udp.c")
    ]
    program = compile_c(tmp_path, sources, packed_micro_bundle.directory / "edge")
    directory = str(packed_micro_bundle.directory)
    with (
        Server(packed_micro_bundle, port=0) as server,
        gateway(directory, "--url", server.url, "--udp", "127.0.0.1:0", "--timeout", "20") as process,
    ):
        asked = [program, *process.where.rsplit(":", 1)]
        done = subprocess.run(asked, input=latents.tobytes(), capture_output=True, check=True, timeout=60)
    found = [line.split() for line in done.stdout.decode().splitlines()]
    assert [(status, int(best)) for status, best, _ in found] == [("0", int(row.argmax())) for row in rows]


def test_coded_latents_from_c_to_the_server_and_back(coded_micro_bundle, test_data, tmp_path):
    """The kit's C program codes what the head gives, the gateway takes payloads of any length, and the tail answers."""
    form = coded_micro_bundle.manifest.form
    payloads = coded_micro_bundle.payloads(test_data[0])
    latents = np.stack([form.unpack(one)[1] for one in payloads])
    rows = coded_micro_bundle.answer(payloads)[0]
    edge = coded_micro_bundle.directory / "edge"
    tables = tmp_path / "head.o"
    subprocess.run(["g++", "-std=c++11", "-c", str(edge / "head.cc"), "-o", str(tables)], check=True, timeout=60)
    program = compile_c(tmp_path, [*SOURCES, tables], edge)
    directory = str(coded_micro_bundle.directory)
    with (
        Server(coded_micro_bundle, port=0) as server,
        gateway(directory, "--url", server.url, "--udp", "127.0.0.1:0", "--timeout", "20") as process,
    ):
        asked = [program, *process.where.rsplit(":", 1)]
        done = subprocess.run(asked, input=latents.tobytes(), capture_output=True, check=True, timeout=60)
    found = [line.split() for line in done.stdout.decode().splitlines()]
    assert [(status, int(best)) for status, best, _ in found] == [("0", int(row.argmax())) for row in rows]


def test_a_burst_is_answered_one_by_one(micro_bundle, device, latents, expected):
    """Requests that come at once are each answered once, with their own answers, the most probable class first."""
    payloads = [wire.pack(micro_bundle.manifest.tag, latent) for latent in latents]
    for sequence, payload in enumerate(payloads):
        device.send(pack_frame(REQUEST, sequence, payload))
    answers = {}
    for _ in payloads:
        sequence, status, pairs = read_answer(device.recv(2000))
        assert sequence not in answers
        assert status == wire.STATUS_OK
        answers[sequence] = pairs
    for sequence, pairs in answers.items():
        row = expected[sequence]
        order = np.argsort(-row, kind="stable")[:3]
        assert [k for k, _ in pairs] == order.tolist()
        np.testing.assert_allclose([p for _, p in pairs], row[order], atol=1e-5)


def test_what_is_wrong_is_said_and_what_is_noise_is_not_answered(micro_bundle, device, latents):
    """Payloads of unknown bundles and damaged ones get their status, also beside good ones; no frame, no answer."""
    good = wire.pack(micro_bundle.manifest.tag, latents[0])
    damaged = bytes([*good[:-1], good[-1] ^ 1])
    cases = [
        (good, wire.STATUS_OK),
        (wire.pack(b"another!", latents[0]), wire.STATUS_OTHER_BUNDLE),
        (damaged, wire.STATUS_MALFORMED),
        (good[:-1], wire.STATUS_MALFORMED),
        (b"another!" + damaged[8:], wire.STATUS_MALFORMED),
        (b"", wire.STATUS_MALFORMED),
        (good, wire.STATUS_OK),
    ]
    for noise in (b"", b"IS", pack_frame(REQUEST, 1, good)[:-1], pack_frame(ANSWER, 1, good), bytes(60000)):
        device.send(noise)
    for sequence, (payload, _) in enumerate(cases):
        device.send(pack_frame(REQUEST, sequence, payload))
    answers = dict(read_answer(device.recv(2000))[:2] for _ in cases)
    assert answers == {sequence: status for sequence, (_, status) in enumerate(cases)}


def test_a_version_that_the_server_lacks(shared_bundle, device):
    """Payloads of the second bundle go to its own version; the server does not have it, and the device hears that."""
    manifest = shared_bundle.manifest
    payload = wire.pack(manifest.tag, np.zeros(manifest.shapes["latent"], np.int8))
    device.send(pack_frame(REQUEST, 9, payload))
    assert read_answer(device.recv(2000)) == (9, 3, [])


def test_a_server_that_is_down(micro_bundle, latents, tmp_path):
    """Without a server the answer is status 3, at once; the gateway goes on and says why."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with gateway(str(micro_bundle.directory), "--url", url, "--udp", "127.0.0.1:0") as process:
            host, port = process.where.rsplit(":", 1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
                own.settimeout(20)
                for sequence in range(2):
                    frame = pack_frame(REQUEST, sequence, wire.pack(micro_bundle.manifest.tag, latents[0]))
                    own.sendto(frame, (host, int(port)))
                    assert read_answer(own.recv(2000)) == (sequence, 3, [])
    assert process.returncode == 0
    assert "1 payloads were not answered: " in process.said
    assert "connection refused" in process.said


def test_over_a_serial_line(micro_bundle, server, latents, expected):
    """The same over a terminal, with noise between the requests."""
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    with gateway(str(micro_bundle.directory), "--url", server.url, "--serial", os.ttyname(theirs), "--baud", "115200"):
        tag = micro_bundle.manifest.tag
        for sequence, latent in enumerate(latents[:5]):
            os.write(ours, b"boot: IS ready\r\n" + pack_frame(REQUEST, sequence, wire.pack(tag, latent)))
            answer = b""
            while len(answer) < 16 or unpack_frame(answer, ANSWER) is None:
                answer += os.read(ours, 1000)
            found, status, pairs = read_answer(answer)
            assert (found, status, pairs[0][0]) == (sequence, 0, int(expected[sequence].argmax()))
    os.close(ours)
    os.close(theirs)


def test_a_firmware_asks_over_its_serial_port(micro_bundle, server, tmp_path):
    """The firmware under QEMU sends its payload over the board's UART, and gets the class that the tail gives."""
    need_cross_tools()
    command = ["sh", str(KIT / "qemu" / "check.sh"), str(micro_bundle.directory), str(tmp_path), "-DISPLIT_ASK"]
    manifest = micro_bundle.manifest
    latent = (7 * np.arange(manifest.payload_bytes - 12)).astype(np.uint8).view(np.int8)
    row = micro_bundle.answer([wire.pack(manifest.tag, latent)])[0][0]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        killer = threading.Timer(100, process.kill)
        killer.start()
        for line in process.stdout:
            lines.append(line)
            found = re.search(r"redirected to (\S+)", line)
            if found:
                url = ("--url", server.url, "--serial", found.group(1))
                with gateway(str(micro_bundle.directory), *url):
                    lines += iter_until(process, "answer")
        killer.cancel()
    assert process.returncode == 0, "".join(lines)
    answers = [line.split() for line in lines if line.startswith("answer")]
    assert len(answers) == 2
    for _, status, best, thousandths in answers:
        assert (int(status), int(best)) == (0, int(row.argmax()))
        assert int(thousandths) == pytest.approx(1000 * row.max(), abs=1)


def iter_until(process, word: str):
    """Lines up to and with the first that begins with a word."""
    for line in process.stdout:
        yield line
        if line.startswith(word):
            return


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--udp", "nonsense"], 2, "--udp must be HOST:PORT"),
        (["--udp", "127.0.0.1:70000"], 2, "--udp must be HOST:PORT"),
        (["--udp", "192.0.2.1:8510"], 1, "Cannot listen on UDP 192.0.2.1:8510"),
        (["--serial", "/dev/null/none"], 1, "cannot be opened"),
        (["--serial", "/dev/null", "--baud", "12345"], 2, "baud must be one of .*115200"),
        ([], 2, "give --udp, --serial, or both"),
    ],
)
def test_bad_requests(micro_bundle, arguments, status, message):
    """What cannot be is said, with the status of a bad request or a failure."""
    command = [sys.executable, str(KIT / "gateway.py"), str(micro_bundle.directory), "--url", "http://127.0.0.1:1"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert re.search(message, done.stderr)


def test_the_gateway_needs_the_manifest_only(micro_bundle, tmp_path):
    """It loads neither TensorFlow nor LiteRT, and reads manifest.json alone."""
    shutil.copy(micro_bundle.directory / "manifest.json", tmp_path)
    code = (
        "import sys, gateway; gateway.Tails([sys.argv[1]], 'http://h:1', timeout_s=1, token=None, top=3);"
        "print(sorted({'tensorflow', 'keras', 'ai_edge_litert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=KIT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_frames_are_checked_as_they_say():
    """The checksum of a frame is Adler-32 over the 12 bytes before it and the body."""
    frame = pack_frame(REQUEST, 0x01020304, b"body")
    assert frame[:12] == b"IS\x01\x01\x04\x03\x02\x01\x04\x00\x00\x00"
    assert frame[12:16] == zlib.adler32(frame[:12] + b"body").to_bytes(4, "little")
    assert frame[16:] == b"body"
