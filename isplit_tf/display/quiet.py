"""Capture of output that C++ code prints, for error messages, and of TensorFlow's advice that is meant for others."""

import contextlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any, cast


class Printed:
    """The captured output.

    Attributes:
        text: The whole output; empty until the capture has ended.
    """

    def __init__(self) -> None:
        self.text = ""


@contextlib.contextmanager
def quiet() -> Iterator[Printed]:
    """Capture the output of the process on the file descriptors 1 and 2, including that of C++ code.

    `sys.stderr` still reaches the terminal, so that a progress bar opened inside is visible. Descriptors belong to the
    whole process, so output of other threads is captured too.

    Yields:
        The captured output.
    """
    printed = Printed()
    with tempfile.TemporaryFile() as sink:
        try:
            with contextlib.ExitStack() as stack:
                terminal = _python_stderr(stack)
                for descriptor in (1, 2):
                    _redirect(descriptor, sink.fileno(), stack)
                if terminal is not None:
                    stack.enter_context(contextlib.redirect_stderr(terminal))
                stack.callback(_flush)
                yield printed
        finally:
            sink.seek(0)
            printed.text = sink.read().decode("utf-8", "replace")


@contextlib.contextmanager
def without_tracing_advice() -> Iterator[None]:
    """Keep TensorFlow from advising against retracing.

    It counts the traces by the line of code, and takes several models, each traced once by Keras, for one function that
    is traced again and again.
    """
    with _without_lines("triggered tf.function retracing"):
        yield


@contextlib.contextmanager
def without_saving_lines() -> Iterator[None]:
    """Keep TensorFlow from telling where it wrote a SavedModel: a temporary folder, which the user never sees."""
    with _without_lines("Assets written to"):
        yield


@contextlib.contextmanager
def _without_lines(text: str) -> Iterator[None]:
    """Leave lines that hold a text out of TensorFlow's log."""
    logger = logging.getLogger("tensorflow")

    def is_other(record: logging.LogRecord) -> bool:
        return text not in record.getMessage()

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()


def _redirect(descriptor: int, target: int, stack: contextlib.ExitStack) -> None:
    try:
        saved = os.dup(descriptor)
    except OSError:  # a daemon may have closed it; then nothing is printed
        return
    _flush()
    stack.callback(os.close, saved)
    stack.callback(os.dup2, saved, descriptor)
    os.dup2(target, descriptor)


def _python_stderr(stack: contextlib.ExitStack) -> IO[str] | None:
    """Open a stream to the target of descriptor 2; return None if `sys.stderr` writes elsewhere, as in notebooks."""
    try:
        if sys.stderr.fileno() != 2:
            return None
        copy = os.dup(2)
    except (AttributeError, ValueError, OSError, io.UnsupportedOperation):
        return None
    stream = open(copy, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)  # noqa: SIM115
    relay = _Relay(stream)
    stack.callback(stream.close)
    stack.callback(relay.turn_to, sys.stderr)
    return cast("IO[str]", relay)


class _Relay:
    """A stream that forwards to a replaceable target, since log handlers keep the stream that they first got."""

    def __init__(self, stream: IO[str]):
        self._stream = stream

    def turn_to(self, stream: IO[str]) -> None:
        """Forward to this stream from now on."""
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
