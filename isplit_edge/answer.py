"""The answer to a batch of images, and the check of what a server sent."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from . import wire
from .errors import ServerError
from .manifest import Manifest
from .text import printable

STATUS_NO_ANSWER = 3
"""No answer came for this image. The device sets this status, never a server."""

_MEANINGS = {**wire.STATUS_MEANINGS, STATUS_NO_ANSWER: "no answer"}
_SHOWN = 10
# It allows for rounding in a tail of half precision; a sum further from 1 is no distribution.
_SUM_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """The answer to a batch of N images.

    Attributes:
        probabilities: (N, n_classes) float32; NaN in the rows without an answer.
        status: (N,) int32. 0: answered; 1: made by the head of another bundle; 2: malformed on arrival; 3: no answer
            came.
        source: "server"; "local" if the server could not be reached and the bundle's own whole model answered;
            "mixed" if the server answered some images and the whole model others; "none" if no image was answered.
        timings_s: Seconds for the whole batch: preprocess, head, wire (which includes the server's work); and local,
            if the whole model ran on the device.
        reasons: The reason for each image without an answer, by its index.
        class_names: From the manifest, or None.
        local: (N,) bool: which images were answered on the device.
        local_reason: Why the server was not asked or did not answer for these images, or None.
        payload_bytes: (N,) int64: the size of the payload that was sent of each image; 0 where none was.
        pace: With `deadline_s`: the bound of the last request's payloads, and why, in words; None if none was sent.
    """

    probabilities: np.ndarray
    status: np.ndarray
    source: str
    timings_s: Mapping[str, float]
    reasons: Mapping[int, str]
    class_names: tuple[str, ...] | None = None
    local: np.ndarray = None  # type: ignore[assignment]
    local_reason: str | None = None
    payload_bytes: np.ndarray = None  # type: ignore[assignment]
    pace: str | None = None

    def __post_init__(self):
        if self.local is None:
            object.__setattr__(self, "local", np.zeros(len(self.status), bool))
        if self.payload_bytes is None:
            object.__setattr__(self, "payload_bytes", np.zeros(len(self.status), np.int64))

    @property
    def answered(self) -> np.ndarray:
        """Return which images were answered, (N,) bool."""
        return self.status == wire.STATUS_OK

    @property
    def classes(self) -> np.ndarray:
        """Return the most probable class of each image, (N,) int64; -1 for an image without an answer."""
        return np.where(self.answered, np.nan_to_num(self.probabilities, nan=-1.0).argmax(axis=1), -1)

    def labels(self, threshold: float = 0.5) -> np.ndarray:
        """Return which labels each image has, (N, n_classes) bool: of a multi-label model, those above a probability.

        A row without an answer has none.
        """
        return np.nan_to_num(self.probabilities, nan=-1.0) > threshold

    def __repr__(self) -> str:
        n, n_answered = len(self.status), int(self.answered.sum())
        times = ", ".join(f"{phase} {1000 * seconds:.1f} ms" for phase, seconds in self.timings_s.items())
        lines = [f"Answer: {n_answered} of {n} images, source {self.source}; {times}"]
        lines += [f"  image {row}: {self._row(row)}" for row in range(min(n, _SHOWN))]
        if n > _SHOWN:
            lines.append(f"  and {n - _SHOWN} more")
        return "\n".join(lines)

    def _row(self, row: int) -> str:
        if row in self.reasons:
            return f"status {self.status[row]}, {printable(self.reasons[row])}"
        best = int(self.classes[row])
        name = f"class {best}" if self.class_names is None else printable(self.class_names[best])
        return f"{name} {self.probabilities[row, best]:.3f}"


def source_of(answered: np.ndarray, local: np.ndarray) -> str:
    """Return in one word where the answers of a batch came from.

    Args:
        answered: (N,) bool.
        local: (N,) bool, which images were answered on the device.

    Returns:
        "server", "local", "mixed" or "none".
    """
    if not answered.any():
        return "none"
    here = local[answered]
    return "local" if here.all() else "mixed" if here.any() else "server"


def reason(status: int) -> str:
    """Return the meaning of a status in words, with its probable cause."""
    meaning = _MEANINGS.get(status, "unknown")
    if status == wire.STATUS_OTHER_BUNDLE:
        return f"{meaning}: the server's version of this model belongs to another export than this device's bundle"
    return meaning


def check_answer(probabilities: np.ndarray, status: np.ndarray, n: int, manifest: Manifest) -> None:
    """Check whether a server's answer can belong to n payloads, over any transport.

    Args:
        probabilities: (n, n_classes) float.
        status: (n,) integers.
        n: The number of payloads that were sent.
        manifest: The bundle's manifest.

    Raises:
        ServerError: If no tail gives such shapes or statuses, or an answered row is no distribution.
    """
    expected = (n, manifest.n_classes)
    if probabilities.shape != expected or status.shape != (n,):
        raise ServerError(
            f"The server answered probabilities of shape {probabilities.shape} and {status.size} statuses; "
            f"{n} images of {manifest.n_classes} classes give {expected}"
        )
    unknown = sorted(set(status.tolist()) - set(wire.STATUS_MEANINGS))
    if unknown:
        raise ServerError(f"The server answered a status of {unknown[0]}; possible are {list(wire.STATUS_MEANINGS)}")
    rows = probabilities[status == wire.STATUS_OK]
    # Written so that NaN fails too.
    if not ((rows >= -_SUM_TOLERANCE) & (rows <= 1 + _SUM_TOLERANCE)).all():
        raise ServerError("The server answered probabilities that are not between 0 and 1, with status 0")
    if not manifest.multi_label and not (abs(rows.sum(axis=1) - 1) <= _SUM_TOLERANCE).all():
        raise ServerError("The server answered probabilities that do not add up to 1, with status 0")
