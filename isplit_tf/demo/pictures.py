"""The demo's pictures, each written as soon as there is something to see, and kept for the page."""

from pathlib import Path
from typing import Any

from ..evaluation.evaluation import Evaluation
from ..importance.curve import Curve
from ..plots import curve_and_sizes, rate_and_accuracy, save_figure, svg
from ..selection.accuracy_curve import AccuracyCurve
from ..selection.candidates import Candidates
from ..selection.codec_curve import CodecCurve
from .stopwatch import announce


class Pictures:
    """The pictures of a folder.

    Attributes:
        shown: Each picture as SVG, by the name of its file.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self.shown: dict[str, str] = {}

    def add(self, name: str, figure: Any) -> None:
        """Write a figure as PNG, name the file, and keep the figure as SVG."""
        self.shown[name] = svg(figure)
        save_figure(figure, self._directory / name)
        announce(self._directory / name)


def draw_importance(curve: Curve) -> Any:
    """Draw the curve above the sizes of the layers."""
    return curve_and_sizes(lambda ax: curve.plot(log=True, ax=ax), [cut.size for cut in curve.cuts])


def draw_choice(curve: Curve, candidates: Candidates, accuracy: AccuracyCurve) -> Any:
    """Draw importance, sizes and predicted accuracy of the cuts, with the choice and the peaks marked."""
    positions = {cut.index: k for k, cut in enumerate(curve.cuts)}
    shared = [k for k, cut in enumerate(accuracy.cuts) if cut.index in positions]
    choice = candidates[0].cut.index
    figure = curve_and_sizes(
        lambda ax: curve.plot(log=True, ax=ax),
        [cut.size for cut in curve.cuts],
        choice=positions[choice],
        others=[positions[cut.index] for cut in curve.peaks if cut.index != choice],
        accuracy=([positions[accuracy.cuts[k].index] for k in shared], accuracy.accuracy[shared], accuracy.original),
    )
    _show_points(figure.axes[2])
    return figure


def draw_bytes(payload_bytes: float, exported: Evaluation, codecs: CodecCurve) -> Any:
    """Draw accuracy over bytes per frame: the exported split as a point, compressed images as lines."""
    figure = rate_and_accuracy(
        {"the split, exported": [(payload_bytes, exported.accuracy)]},
        codecs.lines(),
        references={"the whole model": codecs.original},
        title=f"{exported.n_images:,} test images",
    )
    ax = figure.axes[0]
    _show_points(ax)
    smallest = {name: min(points) for name, points in codecs.lines().items()}
    for name, (n_bytes, accuracy) in {"split": (payload_bytes, exported.accuracy), **smallest}.items():
        at = (n_bytes, 100 * accuracy)
        ax.annotate(f"{name}\n{n_bytes:,.0f} B", at, xytext=(0, 8), textcoords="offset points", ha="center", fontsize=8)
    return figure


def _show_points(ax: Any) -> None:
    """Let an axis of accuracies show at least five points, so that a tenth of one does not look like much."""
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 95), max(high, 100.2))
