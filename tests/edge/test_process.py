"""Forks and threads: whoever shares a client gets its own answers."""

import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from isplit_edge import Client, Manifest, ServerError
from isplit_edge.interpreter import Head
from isplit_edge.process import renew_in_children
from isplit_edge.transport import HttpConnection
from support.loopback import Loopback, expected

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def forked(work) -> int:
    """Starts work in a child; the child's exit status says whether it returned true."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    return child


def ended(child: int) -> int:
    """The exit status of a child."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def all_right(client: Client, images: np.ndarray, right: np.ndarray, first: int, times: int = 40) -> bool:
    """Whether image after image, beginning with one of them, gets its own answer."""
    for k in range(times):
        row = (first + k) % len(images)
        answer = client.run(images[row])
        if answer.status.any() or not np.allclose(answer.probabilities[0], right[row], atol=1e-5):
            return False
    return True


@pytest.fixture
def client(bundles, server):
    """A client whose connection and interpreter were used."""
    with Client(bundles["float32"], server.url) as client:
        client.check()
        yield client


@needs_fork
def test_parent_and_children_get_their_own_answers(client, images):
    """Four processes that were forked from a used client, and their parent, ask different images at once."""
    right = expected(client, images)
    assert all_right(client, images, right, 0, 3)
    children = [forked(lambda k=k: all_right(client, images, right, k)) for k in range(4)]
    assert all_right(client, images, right, 4)
    assert [ended(child) for child in children] == [0] * 4
    assert all_right(client, images, right, 1)


@needs_fork
def test_a_fork_of_a_fork_while_another_thread_asks(client, images):
    """A lock that a thread of the parent held, and a request that it had begun, do not reach the grandchild."""
    right, stop = expected(client, images), threading.Event()

    def ask():
        while not stop.is_set():
            client.run(images[:2])

    def child() -> bool:
        return (
            all_right(client, images, right, 1, 5) and ended(forked(lambda: all_right(client, images, right, 3))) == 0
        )

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert [ended(forked(child)) for _ in range(5)] == [0] * 5
    finally:
        stop.set()
        thread.join()


@needs_fork
def test_a_head_with_threads_of_its_own_runs_in_a_child(bundles, images):
    """The threads of an interpreter do not exist in a child, which loads the head again and ends without them."""
    head = Head(bundles["int8"], num_threads=4)
    payloads = head.payloads(images)

    def child() -> bool:
        same = head.payloads(images) == payloads
        gc.collect()
        return same

    assert ended(forked(child)) == 0
    assert head.payloads(images) == payloads


@needs_fork
def test_a_child_does_not_end_the_parents_connection(client, server, images):
    """A child that closes the client, or ends, leaves the parent's connection as it is."""
    client.run(images)
    before = server.connections

    def child() -> bool:
        client.close()
        return True

    assert ended(forked(child)) == 0
    assert not client.run(images).status.any()
    assert server.connections == before


POOL = """
import multiprocessing, sys
import numpy as np
from isplit_edge import Client

def one(row):
    return client.predict(images[row])[0]

if __name__ == "__main__":
    client, images = Client(sys.argv[1], sys.argv[2]), np.load(sys.argv[3])
    client.predict(images)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(one, [k % len(images) for k in range(60)], chunksize=1)
    right = client.predict(images)
    print(max(abs(found[k] - right[k % len(images)]).max() for k in range(60)) < 1e-5)
"""


@needs_fork
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_pool_of_processes(scheme, bundles, images, tmp_path):
    """multiprocessing's pool, forked after the client was used, over both APIs."""
    from support.grpc_loopback import GrpcLoopback

    np.save(tmp_path / "images.npy", images)
    with {"http": Loopback, "grpc": GrpcLoopback}[scheme](Manifest.load(bundles["float32"])) as server:
        command = [sys.executable, "-W", "ignore", "-c", POOL, bundles["float32"], server.url, tmp_path / "images.npy"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True"], done.stderr


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_threads_that_share_a_client(scheme, bundles, images):
    """Eight threads of a pool, over both APIs: none gets another's answer."""
    from support.grpc_loopback import GrpcLoopback

    with (
        {"http": Loopback, "grpc": GrpcLoopback}[scheme](Manifest.load(bundles["float32"])) as server,
        Client(bundles["float32"], server.url) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        right = expected(client, images)
        assert all(pool.map(lambda k: all_right(client, images, right, k), range(8)))


def test_close_while_another_thread_asks(client, images):
    """The call that was under way is answered or told as failed, and the next one is answered."""
    right = expected(client, images)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: [client.run(images[:1]) for _ in range(50)])
        for _ in range(50):
            client.close()
        answers = asked.result()
    assert all(one.status[0] == 3 or np.allclose(one.probabilities[0], right[0], atol=1e-5) for one in answers)
    assert all_right(client, images, right, 0, 2)


@needs_fork
def test_a_request_from_inside_a_request_is_refused(server):
    """A signal's handler that uses the connection which it interrupts gets an error, and spoils no answer."""
    connection, said = HttpConnection(server.url, retries=0), []

    def handler(number, frame):
        try:
            connection.request("GET", "/nothing")
        except ServerError as error:
            said.append(str(error))

    def slow(one):
        os.kill(os.getpid(), signal.SIGALRM)
        threading.Event().wait(0.2)
        one.reply(200, {"slow": True})

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        server.faults.append(slow)
        assert connection.request("GET", "/x") == (200, b'{"slow": true}')
    finally:
        signal.signal(signal.SIGALRM, previous)
        connection.close()
    assert len(said) == 1
    assert "from inside a request" in said[0]


@needs_fork
def test_what_is_gone_is_not_renewed():
    """Renewal keeps no object alive, and each is renewed once for each child."""

    class Owner:
        times = 0

        def renew(self) -> None:
            self.times += 1

    kept, gone = Owner(), Owner()
    renew_in_children(kept)
    renew_in_children(kept)
    renew_in_children(gone)
    del gone
    assert ended(forked(lambda: kept.times == 1)) == 0
    assert kept.times == 0
