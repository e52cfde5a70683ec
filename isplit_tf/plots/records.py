"""Pictures of a curve and of a sanity check, readable in grey print."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..importance.curve import Curve
    from ..importance.sanity import SanityCheck

_BLUE = "#0072B2"


def draw_curve(curve: "Curve", *, log: bool = False, per_class: bool = False, ax: Any = None) -> Any:
    """Draw a curve; see `Curve.plot`."""
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(max(6.0, 0.45 * len(curve.cuts)), 4.2), layout="constrained")

    def scaled(values: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log10(values), np.nan) if log else values

    positions = np.arange(len(curve.cuts))
    if per_class:
        for row in curve.per_class[curve.counts > 0]:
            ax.plot(positions, scaled(row), color="0.75", linewidth=0.8, zorder=1)
    low, high = curve.interval()
    if np.isfinite(low).all():
        ax.fill_between(
            positions, scaled(low), scaled(high), color=_BLUE, alpha=0.2, linewidth=0, label="95 % interval"
        )
    values = scaled(curve.values)
    ax.plot(positions, values, color=_BLUE, marker="o", markersize=4, label="CUI", zorder=3)
    peaks = [curve.cuts.index(cut) for cut in curve.peaks]
    if peaks:
        ax.plot(
            positions[peaks],
            values[peaks],
            "v",
            color="#D55E00",
            markersize=9,
            markeredgecolor="black",
            label="peak",
            zorder=4,
        )
    ax.set_xticks(positions, [_short(cut.name) for cut in curve.cuts], rotation=60, ha="right", fontsize=8)
    ax.set_ylabel("log10 of importance" if log else "importance (CUI)")
    ax.set_title(f"{curve.model_name}: {curve.method}, {curve.reduction}, {curve.n_images} images", fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def draw_sanity_check(check: "SanityCheck", *, ax: Any = None) -> Any:
    """Draw a sanity check; see `SanityCheck.plot`."""
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(max(6.0, 0.45 * len(check.layers)), 4.2), layout="constrained")
    rows = check.rows()
    positions = np.arange(len(rows))
    ax.plot(positions, [row["maps"] for row in rows], color=_BLUE, marker="o", label="maps at the cuts before")
    ax.plot(positions, [row["curve"] for row in rows], color="#D55E00", marker="s", linestyle="--", label="curve")
    ax.axhline(0, color="0.5", linewidth=0.8)
    ax.set_xticks(positions, [_short(row["layer"]) for row in rows], rotation=60, ha="right", fontsize=8)
    ax.set_xlabel("random from the output to")
    ax.set_ylabel("rank correlation with the trained model")
    ax.set_title(f"{check.model_name}: {check.method}, {check.n_images} images", fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]
