"""The Raspberry Pi kit's program: it outlives everything that goes wrong around it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import sources

from isplit_edge import Manifest

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "export" / "raspberry_pi"
NAME = "caffe int8"


class Loop:
    """A running classify.py whose lines are read as they come."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process
        self.complaints: list[str] = []
        threading.Thread(target=lambda: self.complaints.extend(process.stderr), daemon=True).start()

    def until(self, image: str, *, answered: bool) -> dict:
        """Reads lines up to one about an image that was, or was not, answered."""
        for text in self.process.stdout:
            found = json.loads(text)
            if found["image"] == image and (found["status"] == 0) is answered:
                return found
        raise AssertionError(f"classify.py ended: {self.complaints}")


@contextmanager
def looping(*arguments: object) -> Iterator[Loop]:
    """Runs classify.py until the block ends."""
    command = [sys.executable, str(KIT / "classify.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            yield Loop(process)
        finally:
            watchdog.cancel()
            process.kill()


def run_classify(*arguments: object, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    """Runs classify.py to its end."""
    return subprocess.run(
        [sys.executable, str(KIT / "classify.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def put(folder: Path, name: str, image: np.ndarray) -> None:
    """Writes an image under another name and renames it, as the kit's documentation asks for."""
    np.save(folder / ".partial.npy", image)
    (folder / ".partial.npy").rename(folder / name)


def test_the_loop_goes_on_without_a_server_and_answers_what_waited(kit_bundle, raw_images, tmp_path):
    """A server that is away stops nothing: what came meanwhile is answered when it is back."""
    from isplit_tf.server import Server

    port, images = free_port(), raw_images(NAME)
    put(tmp_path, "a.npy", images[2])
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY not really")
    (tmp_path / "0.npy").touch()  # what a full disk leaves
    (tmp_path / "1.npy").write_bytes(b"PK\x03\x04 a torn archive")
    (tmp_path / "notes.txt").write_text("no image")
    arguments = ["--url", f"http://127.0.0.1:{port}", "--folder", tmp_path, "--json", "--interval", "0.05"]
    with looping(kit_bundle(NAME), *arguments) as loop:
        waiting = loop.until("a.npy", answered=False)
        assert waiting["class"] is None
        assert "connection refused" in waiting["reason"]
        with Server(kit_bundle(NAME), port=port):
            first = loop.until("a.npy", answered=True)
        put(tmp_path, "b.npy", images[3])
        loop.until("b.npy", answered=False)
        with Server(kit_bundle(NAME), port=port):
            loop.until("b.npy", answered=True)
        loop.process.send_signal(signal.SIGTERM)
        assert loop.process.wait(20) == 0
    assert first["class"].startswith("class ")
    assert set(first["ms"]) == {"preprocess", "head", "wire"}
    for name in ("0.npy", "1.npy", "broken.npy"):
        assert sum(f"{name} cannot be read" in text for text in loop.complaints) == 1


def test_one_round_answers_as_the_client_does(kit_bundle, raw_images, tmp_path):
    """--once classifies the folder as it is, each file once, and ends with 0; text lines name class and phases."""
    from isplit_edge import Client
    from isplit_tf.server import Server

    images = raw_images(NAME, 4)
    for row, image in enumerate(images):
        put(tmp_path, f"{row}.npy", image)
    with Server(kit_bundle(NAME), port=0) as server, Client(kit_bundle(NAME), server.url) as client:
        expected = client.run(images)
        arguments = [kit_bundle(NAME), "--url", server.url, "--folder", tmp_path, "--once"]
        plain, as_json = run_classify(*arguments), run_classify(*arguments, "--json")
    records = [json.loads(text) for text in as_json.stdout.splitlines()]
    assert [record["class_index"] for record in records] == expected.classes.tolist()
    assert [record["probability"] for record in records] == pytest.approx(expected.probabilities.max(axis=1), abs=1e-5)
    assert (plain.returncode, as_json.returncode) == (0, 0)
    for text, record in zip(plain.stdout.splitlines(), records, strict=True):
        assert text.startswith(f"{record['image']}: {record['class']} ")
        assert all(f"  {phase} " in text for phase in ("preprocess", "head", "wire"))


def test_one_round_without_a_server_ends_with_1(kit_bundle, raw_images, tmp_path):
    """--once says by its exit status that an image was not answered."""
    put(tmp_path, "a.npy", raw_images(NAME)[0])
    done = run_classify(kit_bundle(NAME), "--url", f"http://127.0.0.1:{free_port()}", "--folder", tmp_path, "--once")
    assert done.returncode == 1
    assert "no answer" in done.stdout


def test_an_image_of_a_wrong_shape_does_not_stop_the_others(kit_bundle, tmp_path):
    """A file that is no image of this model, or several, is named; the next one is still classified."""
    from isplit_tf.server import Server

    put(tmp_path, "a.npy", np.zeros((12, 12, 3), np.uint8))
    put(tmp_path, "b.npy", np.zeros((5, 12, 12, 1), np.uint8))
    put(tmp_path, "c.npy", np.zeros((12, 12), np.uint8))
    bundle = kit_bundle("grey int8")
    with Server(bundle, port=0) as server:
        done = run_classify(bundle, "--url", server.url, "--folder", tmp_path, "--once", "--json")
    assert [json.loads(text)["image"] for text in done.stdout.splitlines()] == ["c.npy"]
    assert "a.npy: Raw images must have the shape" in done.stderr
    assert "b.npy: one image a file, please. Found: 5" in done.stderr
    assert done.returncode == 1


def test_a_file_is_read_when_it_no_longer_changes(tmp_path):
    """A file that is being written is left alone; a changed one is read again, an answered one is not."""
    folder = sources.Folder(tmp_path, grey=False)
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 3), np.uint8))
    assert list(folder.frames()) == []
    np.save(tmp_path / "a.npy", np.ones((4, 4, 3), np.uint8))
    assert list(folder.frames()) == []
    (frame,) = folder.frames()
    assert frame.image.shape == (4, 4, 3)
    folder.done(frame, answered=False)
    assert len(list(folder.frames())) == 1
    folder.done(frame, answered=True)
    assert list(folder.frames()) == []
    np.save(tmp_path / "a.npy", np.ones((6, 6, 3), np.uint8))
    assert [frame.image.shape for _ in range(3) for frame in folder.frames()] == [(6, 6, 3), (6, 6, 3)]


def test_a_folder_may_be_missing_for_a_while(tmp_path, capsys):
    """The folder is waited for; that it is missing is said once, not each round."""
    folder = sources.Folder(tmp_path / "later", grey=False, settle=False)
    assert [list(folder.frames()) for _ in range(3)] == [[], [], []]
    assert capsys.readouterr().err.count("cannot be listed") == 1
    (tmp_path / "later").mkdir()
    np.save(tmp_path / "later" / "a.npy", np.zeros((2, 2, 3), np.uint8))
    assert len(list(folder.frames())) == 1


def test_pictures_are_read_as_the_model_wants_them(tmp_path):
    """A colour picture becomes (H, W, 3), or (H, W) for a model of one channel."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    (colour,) = sources.Folder(tmp_path, grey=False, settle=False).frames()
    (grey,) = sources.Folder(tmp_path, grey=True, settle=False).frames()
    np.testing.assert_array_equal(colour.image, pixels)
    assert grey.image.shape == (5, 7)


def test_a_camera_frame_becomes_grey_as_a_picture_does(kit_bundle):
    """Camera and folder give a model of one channel the same numbers: those of Pillow's conversion."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    found = sources.fitted(pixels, Manifest.load(kit_bundle("grey int8")))
    np.testing.assert_array_equal(found[..., 0], np.asarray(image.fromarray(pixels).convert("L")))


def test_without_picamera2_the_message_says_what_to_install(kit_bundle):
    """--camera on a machine without picamera2 is a bad request, and names the package."""
    done = run_classify(kit_bundle(NAME), "--url", "http://127.0.0.1:9", "--camera")
    assert done.returncode == 2
    assert "sudo apt install python3-picamera2" in done.stderr


STAND_IN = '''
import numpy as np

class Picamera2:
    """A stand-in for the camera, with the calls that the kit makes."""
    def create_video_configuration(self, main):
        assert main == {"size": (640, 480), "format": "BGR888"}
        return main
    def configure(self, configuration):
        self.size = configuration["size"]
    def start(self):
        pass
    def capture_array(self, name):
        width, height = self.size
        return np.tile(np.arange(width * 3, dtype=np.uint32).astype(np.uint8).reshape(1, width, 3), (height, 1, 1))
    def stop(self):
        pass
    def close(self):
        pass
'''


def test_camera_frames_go_the_same_way_as_images(kit_bundle, tmp_path):
    """With a camera (a stand-in for picamera2 here), a frame is classified as the same picture is."""
    from isplit_edge import Client
    from isplit_tf.server import Server

    (tmp_path / "picamera2.py").write_text(STAND_IN)
    bundle, path = kit_bundle(NAME), os.pathsep.join([str(tmp_path), str(ROOT)])
    frame = np.tile(np.arange(1920, dtype=np.uint32).astype(np.uint8).reshape(1, 640, 3), (480, 1, 1))
    with Server(bundle, port=0) as server, Client(bundle, server.url) as client:
        done = run_classify(bundle, "--url", server.url, "--camera", "--once", "--json", path=path)
        expected = int(client.run(frame).classes[0])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["class_index"] == expected


@pytest.mark.skipif(sys.platform != "linux", reason="memory protection is Linux's")
def test_the_loop_needs_no_memory_that_is_writable_and_executable(kit_bundle, raw_images, tmp_path):
    """The unit's MemoryDenyWriteExecute does not break LiteRT."""
    put(tmp_path, "a.npy", raw_images(NAME)[2])
    script = (
        "import ctypes, runpy, sys\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(77)\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path.insert(0, sys.argv[0].rpartition('/')[0])\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    arguments = [KIT / "classify.py", kit_bundle(NAME), "--url", "http://127.0.0.1:9", "--folder", tmp_path, "--once"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    if done.returncode == 77:
        pytest.skip("this kernel does not know PR_SET_MDWE (Linux 6.3 and newer do)")
    assert "head " in done.stdout


def test_a_bad_file_costs_itself(kit_bundle, raw_images, tmp_path):
    """Damaged arrays, bombs, programs, pipes and names with commands: each named once, and what is after them read."""
    from isplit_tf.server import Server

    folder = tmp_path / "incoming"
    folder.mkdir()
    np.save(folder / "z.npy", raw_images(NAME, 2)[0])
    whole = (folder / "z.npy").read_bytes()
    for at in (0, 6, 8, 11, 20, 40, 60):
        (folder / f"b{at}.npy").write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
    (folder / "c.npy").write_bytes(whole.replace(b"'shape': (", b"'shape': (9999999,"))
    (folder / "d.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "e\x1b[2J\n.npy").write_bytes(b"")
    os.mkfifo(folder / "f.npy")
    with Server(kit_bundle(NAME), port=0) as server:
        done = run_classify(kit_bundle(NAME), "--url", server.url, "--folder", folder, "--once", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["image"] == "z.npy"
    assert "Traceback" not in done.stderr
    assert [done.stderr.count(f"/{name}") for name in ("b0.npy", "c.npy", "d.png", "e")] == [1] * 4
    assert "\x1b" not in done.stderr


def test_a_file_that_ends_the_program_is_set_aside_after_twice(tmp_path, capsys):
    """Notes that outlive the program tell on what it ended; a changed file is tried again."""
    sys.path.insert(0, str(KIT))
    try:
        from sources import Folder
    finally:
        sys.path.remove(str(KIT))
    notes, images = tmp_path / "notes", tmp_path / "images"
    notes.mkdir()
    images.mkdir()
    for name in ("a", "b"):
        np.save(images / f"{name}.npy", np.zeros((2, 2, 3), np.uint8))

    def a_start() -> str:
        """The file at which this run ends, as if it crashed there."""
        frames = Folder(images, grey=False, settle=False, notes=notes).frames()
        name = next(frames).name
        assert capsys.readouterr().err == "" or name == "b.npy"
        return name

    assert [a_start() for _ in range(3)] == ["a.npy", "a.npy", "b.npy"]
    np.save(images / "a.npy", np.ones((2, 2, 3), np.uint8))
    os.utime(images / "a.npy", (1, 1))
    assert a_start() == "a.npy"
    folder = Folder(images, grey=False, settle=False, notes=notes)
    assert [frame.name for frame in folder.frames()] == ["a.npy", "b.npy"]
    assert json.loads((notes / "tries.json").read_text()) == {}
    (notes / "tries.json").write_text("[")
    assert len(list(Folder(images, grey=False, settle=False, notes=notes).frames())) == 2
