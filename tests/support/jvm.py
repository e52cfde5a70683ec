"""The Kotlin compiler and the Java machine, where they are there, and the harness that runs in it."""

import os
import shutil
import subprocess
import sys
import threading
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from isplit_edge import Head

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "export" / "android" / "app" / "src" / "main" / "kotlin"
STUBS = ROOT / "tests" / "kits" / "android_stubs"
HARNESS = ROOT / "tests" / "kits" / "android_jvm" / "Harness.kt"


class NoCompilerError(Exception):
    """No Kotlin compiler, or no JDK, is on this machine; the message says what to install."""


def _kotlin() -> tuple[list[str], Path]:
    """The command that compiles Kotlin, and the library that its output needs."""
    try:
        jars = Path(distribution("kotlin-jupyter-kernel").locate_file("run_kotlin_kernel/jars"))
    except PackageNotFoundError:
        compiler = shutil.which("kotlinc")
        if compiler is None:
            raise NoCompilerError(
                "no Kotlin compiler: pip install --no-deps kotlin-jupyter-kernel, or Debian's package kotlin"
            ) from None
        return [compiler], Path(compiler).resolve().parent.parent / "lib" / "kotlin-stdlib.jar"
    (library,) = jars.glob("kotlin-stdlib-*.jar")
    path = os.pathsep.join(map(str, sorted(jars.glob("*.jar"))))
    return ["java", "-Xmx1g", "-cp", path, "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-Werror"], library


def compile_application(target: Path) -> list[str]:
    """Compiles the application, its screen included, and the harness; returns the command that runs the harness.

    Raises:
        NoCompilerError: If something is not installed.
    """
    if shutil.which("javac") is None:
        raise NoCompilerError("no JDK (javac): Debian's package openjdk-17-jdk-headless or default-jdk-headless")
    compiler, library = _kotlin()
    stubs, classes = target / "stubs", target / "classes"
    stubs.mkdir(parents=True)
    _run(["javac", "-nowarn", "-d", str(stubs), *map(str, sorted(STUBS.rglob("*.java")))])
    path = os.pathsep.join([str(library), str(stubs)])
    options = ["-no-stdlib", "-no-reflect", "-jvm-target", "11", "-cp", path, "-d", str(classes)]
    _run([*compiler, *options, str(SOURCES), str(HARNESS)])
    return ["java", "-Xmx512m", "-cp", os.pathsep.join([path, str(classes)]), "harness.HarnessKt"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-6000:]}")


class KotlinError(Exception):
    """What the Kotlin code raised on purpose: the name of its class, and the message."""


class Application:
    """The application's own code in a Java machine; its model is run by the real LiteRT, here.

    Attributes:
        inputs: The bytes of each input that the head was given.
    """

    def __init__(self, command: list[str]):
        self.inputs: list[bytes] = []
        self._head: Head | None = None
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._watchdog = threading.Timer(300, self._process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def open(self, bundle: Path, head: Head) -> None:
        """Loads a bundle in the Java machine; `head` runs its model."""
        self._head = head
        slots = (head._input, head._output)
        self.ask("open", "\n".join([str(bundle), *map(_described, slots)]).encode())

    def image(self, command: str, image: np.ndarray, *words: str) -> bytes:
        """Performs a command on an image, (H, W, C) uint8."""
        return self.ask(" ".join([command, *map(str, image.shape), *words]), image.tobytes())

    def ask(self, command: str, body: bytes = b"") -> bytes:
        """Performs a command; runs the model in between where it is asked to.

        Raises:
            KotlinError: If the Kotlin code raised one of its own errors.
        """
        self._send(command, body)
        while True:
            name, body = self._receive()
            if name == "result":
                return body
            if name == "error":
                raise KotlinError(body.decode())
            self.inputs.append(body)
            self._send("latent", self._infer(body))

    def close(self) -> None:
        """Ends the Java machine."""
        self._watchdog.cancel()
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _infer(self, data: bytes) -> bytes:
        slot = self._head._input
        self._head.encode(np.frombuffer(data, slot.dtype).reshape(slot.shape[1:]))
        with self._head._model as interpreter:
            return interpreter.get_tensor(self._head._output.tensor).tobytes()

    def _send(self, name: str, body: bytes) -> None:
        for part in (name.encode("ascii"), body):
            self._process.stdin.write(len(part).to_bytes(4, "big") + part)
        self._process.stdin.flush()

    def _receive(self) -> tuple[str, bytes]:
        name, body = (self._exactly(int.from_bytes(self._exactly(4), "big")) for _ in range(2))
        return name.decode("ascii"), body

    def _exactly(self, n: int) -> bytes:
        data = self._process.stdout.read(n)
        if len(data) != n:
            raise AssertionError("the Java machine ended")
        return data


def _described(slot) -> str:
    """A tensor as the harness reads it; the scale is a float32, which its decimal form gives back."""
    assert sys.byteorder == "little"
    size_bytes = int(np.prod(slot.shape)) * slot.dtype.itemsize
    words = [slot.dtype.name.upper(), size_bytes, float(slot.scale), slot.zero_point, *slot.shape]
    return " ".join(map(str, words))
