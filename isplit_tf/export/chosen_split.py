"""The split that an export is asked for: one that was made, or the option of a plan."""

from typing import Any

import keras

from isplit_edge.preprocessing import resolve_preprocessing

from ..errors import ArgumentError
from ..planning.option import Option
from ..splitting import SplitModel
from ..splitting import split as make_split
from .litert.representative import representative_images


def chosen_split(
    split: SplitModel | Option,
    original: keras.Model | None,
    representative_data: Any,
    preprocessing: Any,
    precision: str,
) -> SplitModel:
    """Return what `export_bundle` exports: the option of a plan is made into a split, fitted from the same images.

    Args:
        split: A `SplitModel`, which is returned as it is, or an `Option`.
        original: The model that the plan was made for; needed for an option.
        representative_data: Images of the fit; needed for an option.
        preprocessing: Of the camera's images; with it, the at most 500 images that set the ranges are those of the fit.
        precision: Of the head.

    Raises:
        ArgumentError: If the option leaves the model whole, was measured in another precision, or model or images are
            missing.
    """
    if not isinstance(split, Option):
        return split
    if split.kind != "split" or split.cut is None:
        rest = {
            "local": "the whole model runs on the device. isplit_tf.build_kit writes it as whole/whole.tflite",
            "remote": "the whole model runs on the server, and the device only sends images",
        }
        raise ArgumentError(
            f"The option '{split.name}' has no halves that a bundle could hold: {rest[split.kind]}. Possible: a split, "
            "such as plan.best(kind='split')."
        )
    if precision != split.precision:
        raise ArgumentError(
            f"The option '{split.name}' was measured with heads in {split.precision!r}. Received: "
            f"precision={precision!r}. Give precision={split.precision!r}, or measure a kit in {precision!r}."
        )
    if original is None or representative_data is None:
        needed = {"original=, the model of the plan": original, "representative_data=, images": representative_data}
        lacking = [name for name, value in needed.items() if value is None]
        raise ArgumentError(
            f"To export the option '{split.name}', export_bundle splits the model and fits the bottleneck. It needs "
            f"{' and '.join(lacking)}. Or split, train and export it yourself: "
            "isplit_tf.split(model, option.cut, option.bottleneck, fit_data=images)."
        )
    images = representative_data
    if preprocessing is not None:  # the images that also set the ranges, in the model's own space
        shape = tuple(original.inputs[0].shape[1:])
        record = resolve_preprocessing(preprocessing, shape)
        images = representative_images(representative_data, shape, preprocessing=record, progress=False)
    return make_split(original, split.cut, split.bottleneck, fit_data=images)
