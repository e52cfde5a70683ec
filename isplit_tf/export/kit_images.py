"""The images of a kit: as the device gets them, and as the model takes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isplit_edge.images import is_raw

from ..batches.sampling import take_part
from ..display.progress import bar
from ..errors import DataError
from .litert.representative import LEAST_IMAGES, each_image, model_input

FIT_IMAGES = 32
_CALIBRATING, _KEPT = 16, 16


@dataclass(frozen=True, eq=False)
class KitImages:
    """The images of a kit.

    Attributes:
        raw: `(n, *input_shape)`: uint8 as a camera gives them, or float32 in the model's own space.
        x: float32 `(N, *input_shape)` in the model's own space, from which bottlenecks are fitted.
    """

    raw: np.ndarray
    x: np.ndarray

    @property
    def calibrating(self) -> np.ndarray:
        """Return the images from which heads are quantized."""
        return self.x[:: max(1, len(self.x) // _CALIBRATING)]

    @classmethod
    def read(
        cls, data: Any, shape: tuple[int, ...], record: Mapping[str, Any] | None, *, progress: bool
    ) -> "KitImages":
        """Read up to 32 images, spread over the data.

        Args:
            data: Images, with or without labels.
            shape: Of the model's input.
            record: The preprocessing.
            progress: Whether to show a bar.

        Raises:
            DataError: If there are fewer than 16, or an image has another shape or holds NaN or infinity.
        """
        found: list[np.ndarray] = []
        inputs: list[np.ndarray] = []
        with bar(desc="reading images", total=FIT_IMAGES, enabled=progress, unit="image") as progress_bar:
            for image in each_image(take_part(data, FIT_IMAGES), FIT_IMAGES):
                inputs.append(model_input(image, shape, record))
                found.append(image)
                progress_bar.update()
        if len(found) < LEAST_IMAGES:
            raise DataError(f"A kit needs at least {LEAST_IMAGES} images to be made of. Found: {len(found)}.")
        kept = np.linspace(0, len(found) - 1, _KEPT).round().astype(int)
        x = np.stack(inputs)
        raw = [_as_raw(found[k], inputs[k], record) for k in kept]
        if any(image is None or image.shape != shape for image in raw):
            return cls(x[kept], x)
        return cls(np.stack([image for image in raw if image is not None]), x)


def _as_raw(image: np.ndarray, x: np.ndarray, record: Mapping[str, Any] | None) -> np.ndarray | None:
    """Return an image as a camera or another sensor gives it; None where none can have given it.

    Args:
        image: As it was given.
        x: As the model takes it.
        record: The preprocessing.
    """
    if is_raw(image, x.shape):
        return image
    if x.ndim != 3:
        return None
    pixels = x if record is None else _undone(x, record)
    whole = np.rint(pixels)
    fits = whole.min() >= 0 and 1 < whole.max() <= 255
    return whole.astype(np.uint8) if fits and (record is not None or (pixels == whole).all()) else None


def _undone(x: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """Return the numbers that a preprocessing made into `x`."""
    pixels = (x * np.asarray(record["std"]) + np.asarray(record["mean"])) / (record["scale"] or 1)
    return pixels[..., ::-1] if record["channel_order"] == "BGR" else pixels
