"""The head of a bundle, run with LiteRT; each output becomes a payload."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from . import schema
from .errors import ArgumentError, BundleError, DataError, MissingDependencyError
from .images import frames
from .manifest import HEAD_FILE, Manifest
from .preprocessing import preprocess
from .process import renew_in_children

# The largest float32 below one half: added before truncation, it rounds halves away from zero and changes nothing else.
_ALMOST_HALF = np.nextafter(np.float32(0.5), np.float32(0))
_abandoned: list[Any] = []


class Slot(NamedTuple):
    """A tensor at an end of the head. A scale of 0 says that it is not quantized."""

    tensor: int
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: np.float32
    zero_point: int

    def filled(self, x: np.ndarray) -> np.ndarray:
        """Return what the model takes, in this tensor's own dtype.

        Raises:
            DataError: If it is of whole numbers and `x` holds others.
        """
        if self.scale:
            return quantize(x, self.scale, self.zero_point, self.dtype)
        with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is told below
            y = x.astype(self.dtype, copy=False)
        if self.dtype.kind in "iu" and not np.array_equal(x, y):
            raise DataError(f"This head takes whole numbers that fit {self.dtype}. Received others.")
        return y


class Head:
    """The head of a bundle: images in, payloads for the tail out.

    One call runs at a time; threads that share a head wait for each other. A process that is forked from this one
    loads the file again.

    Args:
        bundle: The bundle's directory; manifest.json and edge/ are enough.
        manifest: The bundle's manifest if it was already loaded and checked.
        num_threads: Threads of the interpreter; LiteRT's own choice by default.

    Raises:
        BundleError: If the bundle is incomplete or was changed, or the head is not what the manifest says.
        MissingDependencyError: If ai-edge-litert is not installed.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        manifest: Manifest | None = None,
        num_threads: int | None = None,
    ):
        self.manifest = Manifest.load(bundle) if manifest is None else manifest
        self._model = Interpreted(Path(bundle) / HEAD_FILE, num_threads)
        with self._model as interpreter:
            self._input = only_slot(interpreter.get_input_details(), "input")
            self._output = only_slot(interpreter.get_output_details(), "output")
        self._check_against_manifest()

    def frames(self, images: Any, preprocessed: bool = False) -> np.ndarray:
        """Check images, as `Client.predict` takes them, and return them as a batch, (N, ...)."""
        shapes = self.manifest.shapes
        return frames(images, shapes["input"], self.manifest.preprocessing, preprocessed=preprocessed)

    def prepare(self, frame: np.ndarray, preprocessed: bool = False) -> np.ndarray:
        """Turn one image of `frames` into the head's input, in the head's own dtype.

        Raises:
            DataError: If the head takes whole numbers and the image holds others.
        """
        return self._input.filled(frame if preprocessed else preprocess(frame, self.manifest.preprocessing))

    def latent(self, x: np.ndarray) -> np.ndarray:
        """Run the head on one input of `prepare`, and return its output, (1, *latent_shape) in the head's own dtype."""
        return self._model.run(self._input.tensor, x, self._output.tensor)

    def pack(self, latent: np.ndarray, payload_bytes: int | None = None) -> bytes:
        """Return the payload of an output of `latent`, coded in at most `payload_bytes` if given.

        Raises:
            DataError: If the payload is coded and not even the first channel of the latent fits.
        """
        try:
            return self.manifest.form.pack(latent, payload_bytes)
        except ArgumentError as error:
            raise DataError(f"{error}. Possible: a larger payload_bytes") from error

    def encode(self, x: np.ndarray, payload_bytes: int | None = None) -> bytes:
        """Run the head on one input of `prepare` and return the payload, coded in at most `payload_bytes` if given.

        Raises:
            DataError: If the payload is coded and not even the first channel of the latent fits.
        """
        return self.pack(self.latent(x), payload_bytes)

    def payloads(self, x: Any, preprocessed: bool = False, payload_bytes: int | None = None) -> list[bytes]:
        """Encode a batch, image by image.

        Args:
            x: Images as `Client.predict` takes them.
            preprocessed: Whether they are in the model's own space.
            payload_bytes: The most bytes of each, if they are coded.

        Returns:
            N payloads of `manifest.payload_bytes` each; if they are coded, at most `manifest.max_payload_bytes`.

        Raises:
            DataError: If the images are of a wrong shape, dtype or range, or a latent cannot be coded in so few bytes.
            ArgumentError: If the payloads of this bundle cannot be so short.
        """
        self.manifest.form.bound(payload_bytes)
        return [self.encode(self.prepare(frame, preprocessed), payload_bytes) for frame in self.frames(x, preprocessed)]

    def _check_against_manifest(self) -> None:
        manifest, output = self.manifest, self._output
        quantized = (float(output.scale), output.zero_point) if output.scale else (None, None)
        scale = None if manifest.scale is None else float(np.float32(manifest.scale))
        for what, found, expected in (
            ("input shape", self._input.shape, (1, *manifest.shapes["input"])),
            ("output shape", output.shape, (1, *manifest.shapes["latent"])),
            ("output dtype", output.dtype.name, manifest.dtype),
            ("output scale and zero point", quantized, (scale, manifest.zero_point)),
        ):
            if found != expected:
                raise BundleError(
                    f"{HEAD_FILE} is not the head that the manifest describes: {what} {found}, "
                    f"{expected} in the manifest. Export the bundle again."
                )


def quantize(x: np.ndarray, scale: np.float32, zero_point: int, dtype: np.dtype) -> np.ndarray:
    """Quantize numbers as TFLite's reference kernel does: round(x / scale) + zero_point, halves away from zero.

    If images have 256 evenly spaced levels and the scale is that spacing, every pixel is a half. Rounding to
    even, as faster kernels do, would then merge neighbouring levels.

    Args:
        x: Finite numbers of any shape.
        scale, zero_point: Those of the head's input.
        dtype: int8, uint8 or int16.

    Returns:
        The same shape in `dtype`; values out of its range become its limits.
    """
    limits = np.iinfo(dtype)
    y = np.divide(x, scale, dtype=np.float32)
    np.clip(y, limits.min - zero_point, limits.max - zero_point, out=y)
    y += np.copysign(_ALMOST_HALF, y)
    whole = y.astype(np.int32)
    whole += zero_point
    return whole.astype(dtype)


class Interpreted:
    """A `.tflite` file in LiteRT, for one thread of one process at a time.

    As a context it gives the interpreter, which nobody else uses until its end.

    Args:
        path: The file.
        num_threads: Threads of the interpreter; LiteRT's own choice by default.

    Raises:
        BundleError: If LiteRT cannot run the file.
        MissingDependencyError: If ai-edge-litert is not installed.
    """

    def __init__(self, path: Path, num_threads: int | None = None):
        self._path, self._num_threads = path.absolute(), num_threads
        self._interpreter: Any = load_interpreter(path, num_threads)
        self._lock = threading.Lock()
        renew_in_children(self)

    def renew(self) -> None:
        """Let go of the interpreter of the process from which this one was forked: its threads do not exist here."""
        _abandoned.append(self._interpreter)  # to end it would be to wait for these threads
        self._interpreter, self._lock = None, threading.Lock()

    def __enter__(self) -> Any:
        self._lock.acquire()
        if self._interpreter is None:
            try:
                self._interpreter = load_interpreter(self._path, self._num_threads)
            except BaseException:
                self._lock.release()
                raise
        return self._interpreter

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def run(self, entry: int, x: np.ndarray, end: int) -> np.ndarray:
        """Run the model on one input of its tensor `entry`, and return a copy of its tensor `end`."""
        with self as interpreter:
            # The interpreter refuses to run while views of its memory exist.
            interpreter.tensor(entry)()[...] = x
            interpreter.invoke()
            return interpreter.get_tensor(end)


def load_interpreter(path: Path, num_threads: int | None = None) -> Any:
    """Load a `.tflite` file into LiteRT, ready to run.

    Raises:
        BundleError: If LiteRT cannot run the file.
        MissingDependencyError: If ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingDependencyError(
            f"The head runs on ai-edge-litert, which is not installed: pip install ai-edge-litert ({error})"
        ) from error
    if num_threads is not None:
        schema.integer(1)("num_threads", num_threads)
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=num_threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{path} is not a model that LiteRT can run: {error}") from error
    return interpreter


def only_slot(details: list[dict[str, Any]], end: str, file: str = HEAD_FILE) -> Slot:
    """Return the only tensor at an end of a model.

    Raises:
        BundleError: If there are several.
    """
    if len(details) != 1:
        raise BundleError(f"{file} must have one {end}. It has {len(details)}")
    detail = details[0]
    scale, zero_point = detail["quantization"]
    shape = tuple(int(axis) for axis in detail["shape"])
    return Slot(detail["index"], shape, np.dtype(detail["dtype"]), np.float32(scale), int(zero_point))
