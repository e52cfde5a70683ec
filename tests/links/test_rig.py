"""The rig: a device and a server in namespaces, with a link between them that is as slow as it is told to be."""

import subprocess
import sys

import pytest
from links.rig import Rig

ECHO = """
import socket
listener = socket.create_server(("127.0.0.1", 7777))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    while data := connection.recv(1 << 16):
        if data.endswith(b"."):
            connection.sendall(b".")
"""
ASK = """
import socket, sys, time
host, port = sys.argv[1].split(":")
with socket.create_connection((host, int(port))) as connection:
    for n in [1] + [int(n) for n in sys.argv[2:]]:
        begin = time.perf_counter()
        connection.sendall(b"x" * n + b".")
        connection.recv(1)
        print(time.perf_counter() - begin)
"""


@pytest.fixture
def rig():
    """A link of 1 Mbit/s and 50 ms."""
    try:
        with Rig(rate_bit_s=1e6, rtt_s=0.05) as made:
            yield made
    except (PermissionError, FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")


def test_bytes_take_the_time_of_the_rate_and_an_answer_the_round_trip(rig):
    """No answer comes before rate and delay allow it; a slower link is slower; nothing is left behind."""
    server = rig.start("server", [sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    address = rig.reach(7777)

    def times(*sizes: int) -> list[float]:
        asked = [sys.executable, "-c", ASK, address, *map(str, sizes)]
        done = rig.run("device", asked, check=True, capture_output=True, text=True)
        return [float(line) for line in done.stdout.split()]

    first, small, large = times(1, 10_000)
    assert first > 0.1  # a fresh connection costs a round trip more
    assert small > 0.05
    assert large > 0.05 + (10_000 - 2 * rig.mtu) * 8 / 1e6
    rig.shape(rate_bit_s=0.25e6, rtt_s=0.01)
    assert times(10_000)[1] > 0.01 + (10_000 - 2 * rig.mtu) * 8 / 0.25e6
