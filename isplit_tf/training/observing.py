"""Between the phases: the range of a latent of few bits is observed, from which on the encoder rounds."""

from typing import Any

import numpy as np

from ..batches import batches, count_images, predict_rows
from ..bottlenecks.quantizer import is_observed, set_ranges
from ..display.progress import bar
from ..errors import NumericsError
from ..sampling import spread
from ..splitting import SplitModel

# Enough for a range of each channel: at 2x2 positions these are 2,048 values.
_IMAGES = 512
# Of the latents that are kept at once; more images than fill it are left out.
_MOST_BYTES = 2**28


def observe(split: SplitModel, data: Any, *, batch_size: int = 32, progress: bool = True) -> None:
    """Sets the ranges of a split's latent from what its encoder gives, unless it has them already.

    Args:
        split: Its bottleneck may have no bits; it is then left as it is.
        data: Images, as `train` takes them; labels are not read.
        batch_size: Images at once, where the data are arrays.
        progress: Whether to show a bar.

    Raises:
        DataError: There are no images, or they do not fit.
        NumericsError: The latents are not finite.
    """
    encoder, decoder = split.encoder, split.decoder
    if encoder is None or decoder is None or is_observed(encoder):
        return
    most = max(1, min(_IMAGES, _MOST_BYTES // (4 * int(np.prod(split.latent_shape)))))
    chosen = spread(data, most)
    latents: list[np.ndarray] = []
    with bar(total=count_images(chosen, most), desc="latent's range", enabled=progress, unit="image") as shown:
        for batch in batches(chosen, batch_size=batch_size, max_images=most, labels=False):
            latents.append(predict_rows(encoder, predict_rows(split.head, batch.x)).astype(np.float32))
            shown.update(batch.size)
    values = np.concatenate(latents)
    if not np.isfinite(values).all():
        raise NumericsError("The latent holds NaN or infinity: look at the images and the weights.")
    set_ranges(encoder, decoder, values)
