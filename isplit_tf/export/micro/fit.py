"""The check whether a head fits into a microcontroller; the error names all figures and the best cut that fits."""

from dataclasses import dataclass

import numpy as np

from isplit_edge.code import Code

from ...errors import ArgumentError, ExportError
from ...selection.accuracy_curve import AccuracyCurve
from ...splitting import SplitModel
from ..litert.converter import ConvertedHead
from .ethos_u import require_ethos_u
from .head import MICROCONTROLLER, MicroHead, Needs, check_micro_head, check_micro_precision, measure_needs
from .runtime import require_tflite_micro
from .search import Budget, Ranking, Search, search


@dataclass(frozen=True, eq=False)
class MicroRequest:
    """The options of an export for a microcontroller.

    Attributes:
        budget: What the part has.
        curve: Predicted accuracy or importance of the cuts, to rank them where the head does not fit; or None.
        ethos_u: An Ethos-U to estimate for, or None.
    """

    budget: Budget
    curve: Ranking | None
    ethos_u: str | None


def micro_request(
    target: str | None,
    precision: str,
    *,
    flash_bytes: int | None,
    ram_bytes: int | None,
    curve: Ranking | None,
    ethos_u: str | None,
) -> MicroRequest | None:
    """Check the arguments of `export_bundle` for microcontrollers; return None if that is not the target.

    Raises:
        ArgumentError: If they are given for another target, or one is outside of what is possible.
        MissingDependencyError: If tflite-micro, or for `ethos_u` ethos-u-vela, is not installed.
    """
    settings = {"flash_bytes": flash_bytes, "ram_bytes": ram_bytes, "curve": curve, "ethos_u": ethos_u}
    if target != MICROCONTROLLER:
        names = [name for name, value in settings.items() if value is not None]
        if names:
            raise ArgumentError(
                f"{', '.join(names)} are for target='{MICROCONTROLLER}' only. Received: target={target!r}."
            )
        return None
    if curve is not None and not isinstance(curve, Ranking):
        raise ArgumentError(
            "curve: expected what predict_accuracy gives at one rate, or what measure_importance gives. "
            f"Received: {type(curve).__name__}."
        )
    check_micro_precision(precision)
    budget = Budget(flash_bytes, ram_bytes)
    require_tflite_micro()
    if ethos_u is not None:
        require_ethos_u(ethos_u)
        if precision == "float32":
            raise ArgumentError("An Ethos-U runs integers: ethos_u needs precision 'int8' or 'int16x8'.")
    return MicroRequest(budget, curve, ethos_u)


def fitted_micro_head(
    request: MicroRequest,
    head: ConvertedHead,
    split: SplitModel,
    *,
    images: np.ndarray | None,
    code: Code | None = None,
    max_payload_bytes: int | None = None,
    progress: bool = True,
) -> MicroHead:
    """Return the head for TensorFlow Lite Micro, if it runs and fits; see `require_fit` and `check_micro_head`."""
    needs = measure_needs(head, split.latent_bits, code=code, max_payload_bytes=max_payload_bytes)
    require_fit(
        needs,
        request.budget,
        split,
        precision=head.precision,
        representative=images,
        curve=request.curve,
        progress=progress,
    )
    return check_micro_head(head, needs=needs, ethos_u=request.ethos_u)


def require_fit(
    needs: Needs,
    budget: Budget,
    split: SplitModel,
    *,
    precision: str,
    representative: np.ndarray | None,
    curve: Ranking | None = None,
    progress: bool = True,
) -> None:
    """Raise unless a head fits; the message names the best cut whose head fits.

    Which cut is best: with predicted accuracies, the one of the highest that fits; with a curve of importance, the
    first that fits in the order of `propose(curve)`; without either, the last of the network's main cuts that fits,
    since most of the network then runs on the device. Cuts whose weights alone outgrow the flash, or of which two maps
    in a row outgrow the RAM, are left out by this estimate; of the others the heads are converted, with an encoder that
    is not trained, and measured, one after the other until one fits, `MOST_TRIED` at most.

    Args:
        needs: What the head needs.
        budget: What there is.
        split: What the head came from.
        precision: Of the head.
        representative: Images for the conversion of other heads; None for float32.
        curve: Predicted accuracy or importance of the cuts of the model that was split.
        progress: Whether a bar may show.

    Raises:
        ExportError: If it does not fit; the message holds all figures.
    """
    if budget.holds(needs):
        return
    result = search(split, budget, precision=precision, representative=representative, curve=curve, progress=progress)
    raise ExportError(
        f"The head cut at '{split.cut.name}' does not fit into {budget}. It needs {_figures(needs)} (measured). "
        + _advice(result, curve)
    )


def _figures(needs: Needs) -> str:
    return (
        f"{needs.flash_bytes:,} bytes of flash for its array, and {needs.ram_bytes:,} bytes of RAM: the recommended "
        f"arena of {needs.arena_bytes:,} (the smallest that works has {needs.arena_smallest_bytes:,}) and the payload"
    )


def _advice(found: Search, curve: Ranking | None) -> str:
    searched = f"converted and measured: {found.tried}"
    if found.estimated:
        searched += f"; left out by an estimate from weights and map sizes: {found.estimated}"
    if found.untried:
        searched += f"; ranked behind and not tried: {found.untried}"
    if found.cut is None or found.needs is None:
        return (
            f"No other cut was found that fits (cuts {searched}). Possible: a smaller model or input, or more memory."
        )
    if curve is None:
        choice = "the last one; no curve was given to rank them"
    else:
        choice = "by predicted accuracy" if isinstance(curve, AccuracyCurve) else "by importance"
    return (
        f"The best cut that fits ({choice}) is '{found.cut.name}' (index {found.cut.index}), whose head was measured "
        f"with an untrained bottleneck: {_figures(found.needs)}. Cuts {searched}."
    )
