"""Two network namespaces, a device's and a server's, and a link between them with a rate and a delay."""

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .traces import Trace

DEVICE_ADDRESS, SERVER_ADDRESS = "10.83.0.1", "10.83.0.2"
SLOW_BIT_S, SLOW_MTU, MTU = 2e6, 576, 1500
HEADER_BYTES = 14
BURST_S, QUEUE_S, LEAST_QUEUE_BYTES = 1e-3, 0.25, 32 << 10
_numbers = itertools.count()


class Rig:
    """A device's and a server's network namespace, with a link between them that is shaped in both directions.

    The rate is kept by `tbf`. A bucket of tokens lets one packet (or 1 ms) pass at once, so packets of slow links
    are small. The delay is made by a proxy before the server, since `netem` is not in every kernel; TCP's own windows
    do not see it, so the further round trips of a transfer beyond 10 packets on a fresh connection are missing.

    Args:
        rate_bit_s: Rate of the way to the server, in bits per second, headers of Ethernet and IP included.
        rtt_s: Round trip without any bytes, in seconds.
        down: How many times faster the way to the device is.
        mtu: Largest packet in bytes; 576 for rates below 2 Mbit/s and 1500 above, by default.

    Raises:
        PermissionError: If this is not root.
        subprocess.CalledProcessError: If `ip` or `tc` refuses.

    Example:
        ```python
        with Rig(rate_bit_s=1e6, rtt_s=0.04) as rig:
            server = rig.start("server", [sys.executable, "-m", "isplit_tf", "serve", "bundle/", "--port", "8501"])
            url = f"http://{rig.reach(8501)}"
            rig.run("device", [sys.executable, "-m", "isplit_edge", "bundle/", "--url", url, "photo.png"])
        ```
    """

    def __init__(self, rate_bit_s: float, rtt_s: float, *, down: float = 1.0, mtu: int | None = None):
        if os.geteuid() != 0:
            raise PermissionError("network namespaces need root")
        self.mtu = mtu or (SLOW_MTU if rate_bit_s < SLOW_BIT_S else MTU)
        self.rate_bit_s, self.rtt_s, self._down = rate_bit_s, rtt_s, down
        mark = f"{os.getpid()}x{next(_numbers)}"
        self._spaces = {"device": f"links-d{mark}", "server": f"links-s{mark}"}
        self._ends = {"device": f"vd{mark}"[:15], "server": f"vs{mark}"[:15]}
        self._proxies: list[subprocess.Popen] = []
        self._started: list[subprocess.Popen] = []

    def __enter__(self) -> "Rig":
        try:
            for space in self._spaces.values():
                _run("ip", "netns", "add", space)
            device, server = self._ends["device"], self._ends["server"]
            _run(
                *f"ip -n {self._spaces['device']} link add {device} mtu {self.mtu} type veth".split(),
                *f"peer name {server} mtu {self.mtu} netns {self._spaces['server']}".split(),
            )
            for where, address in (("device", DEVICE_ADDRESS), ("server", SERVER_ADDRESS)):
                ip = ("ip", "-n", self._spaces[where])
                _run(*ip, "addr", "add", f"{address}/30", "dev", self._ends[where])
                _run(*ip, "link", "set", "lo", "up")
                _run(*ip, "link", "set", self._ends[where], "up")
            self._tc("add")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._remove()

    def command(self, where: str, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs another one in the namespace of the "device" or the "server"."""
        return ["ip", "netns", "exec", self._spaces[where], *argv]

    def run(self, where: str, argv: Sequence[str], **options) -> subprocess.CompletedProcess:
        """Run a command in a namespace and wait for it; options are those of `subprocess.run`."""
        return subprocess.run(self.command(where, argv), **options)

    def start(self, where: str, argv: Sequence[str], **options) -> subprocess.Popen:
        """Start a command in a namespace; it is killed at the rig's end."""
        process = subprocess.Popen(self.command(where, argv), **options)
        self._started.append(process)
        return process

    def reach(self, port: int) -> str:
        """Return the host and port at which the device reaches a port of the server's 127.0.0.1, over the link."""
        argv = [sys.executable, str(Path(__file__).with_name("proxy.py")), SERVER_ADDRESS, str(port)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        proxy = subprocess.Popen(self.command("server", argv), **pipes)
        self._proxies.append(proxy)
        listening = proxy.stdout.readline().strip()
        if not listening:
            raise RuntimeError(f"the proxy to port {port} did not start")
        self._tell(proxy)
        return f"{SERVER_ADDRESS}:{listening}"

    def shape(self, rate_bit_s: float, rtt_s: float) -> None:
        """Change the link now. With a rate of 0 nothing passes, and what was sent waits."""
        before, self.rate_bit_s, self.rtt_s = self.rate_bit_s, rate_bit_s, rtt_s
        if rate_bit_s > 0 and rate_bit_s != before:
            self._tc("change")
        for proxy in self._proxies:
            self._tell(proxy)

    @contextlib.contextmanager
    def playing(self, trace: Trace) -> Iterator[float]:
        """Change the link as a trace says until the context ends; it gives the `time.monotonic()` of its beginning."""
        ended, begin = threading.Event(), time.monotonic()

        def play() -> None:
            while not ended.is_set():
                now_s = time.monotonic() - begin
                self.shape(*trace.at(now_s))
                ended.wait(max(1e-3, trace.next_change(now_s) - (time.monotonic() - begin)))

        thread = threading.Thread(target=play)
        thread.start()
        try:
            yield begin
        finally:
            ended.set()
            thread.join()

    def _tell(self, proxy: subprocess.Popen) -> None:
        proxy.stdin.write(f"{self.rtt_s} {int(self.rate_bit_s > 0)}\n")

    def _tc(self, verb: str) -> None:
        for where, space in self._spaces.items():
            rate = max(self.rate_bit_s, 8000.0) * (self._down if where == "server" else 1.0)
            burst = max(self.mtu + HEADER_BYTES, int(rate / 8 * BURST_S))
            limit = burst + max(LEAST_QUEUE_BYTES, int(rate / 8 * QUEUE_S))
            shaped = f"root tbf rate {int(rate)}bit burst {burst} limit {limit}".split()
            _run("tc", "-n", space, "qdisc", verb, "dev", self._ends[where], *shaped)

    def _remove(self) -> None:
        for process in self._proxies + self._started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for space in self._spaces.values():
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)
