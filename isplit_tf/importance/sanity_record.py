"""What is left of a method's maps once layers are random."""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..display.tables import html_table, text_table
from ..graph.cuts import Cut
from .methods import title

# Below it less than a quarter of the variance of the ranks is shared.
MOST_KEPT = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class SanityCheck:
    """Spearman's rank correlation with the trained model, layer after layer shuffled from the output down.

    Attributes:
        model_name: Name of the model.
        method: The method that was checked.
        cuts: The cuts, in topological order.
        layers: The layers with weights, in the order in which they were shuffled.
        behind: For each cut, how many of the layers lie behind it: the first ones.
        maps: float64 `(n_layers, n_cuts)`: of the maps, before the ReLU, mean over images and draws; NaN where a map
            has a single position, or no weights lie behind it.
        curve: float64 `(n_layers,)`: of the curve's values.
        n_images: Images whose maps were compared.
        draws: How many times all layers were shuffled.
    """

    model_name: str
    method: str
    cuts: list[Cut]
    layers: list[str]
    behind: list[int]
    maps: np.ndarray
    curve: np.ndarray
    n_images: int
    draws: int

    @property
    def kept(self) -> np.ndarray:
        """float64 `(n_cuts,)`: what maps keep once all layers behind their cut, and no others, are random."""
        return np.array([self.maps[n - 1, k] if n else np.nan for k, n in enumerate(self.behind)])

    @property
    def passes(self) -> bool:
        """Whether maps keep a rank correlation below 0.5, on average over the cuts; False where there is no map."""
        return bool(_mean(self.kept) < MOST_KEPT)

    @property
    def verdict(self) -> str:
        """One sentence: whether the method passes, by what, and what the curve keeps."""
        kept = _mean(self.kept)
        if np.isnan(kept):
            return f"{title(self.method)} cannot be judged on '{self.model_name}': no map has two positions to rank."
        return (
            f"{title(self.method)} {'passes' if self.passes else 'fails'} on '{self.model_name}': once all layers "
            f"behind a cut are random, its maps keep a rank correlation of {kept:.2f} on average (to pass: below "
            f"{MOST_KEPT}), and the curve, with all layers random, keeps {self.curve[-1]:.2f}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One record a layer: its name, the mean over the cuts before it of what maps keep, what the curve keeps."""
        before = np.array(self.behind)[None] > np.arange(len(self.layers))[:, None]
        means = [_mean(row[chosen]) for row, chosen in zip(self.maps, before, strict=True)]
        return [
            {"layer": name, "maps": kept, "curve": float(curve)}
            for name, kept, curve in zip(self.layers, means, self.curve, strict=True)
        ]

    def _cells(self) -> tuple[list[str], list[list[Any]]]:
        header = ["random from the output to", "maps at cuts before", "curve"]
        return header, [list(row.values()) for row in self.rows()]

    def table(self) -> str:
        """The verdict, and a line a layer."""
        return f"{self.verdict}\n{text_table(*self._cells())}"

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.verdict)}</p>{html_table(*self._cells())}"

    def plot(self, *, ax: Any = None) -> Any:
        """Draw what maps and curve keep, layer by layer.

        Args:
            ax: Matplotlib axes to draw on; new ones by default.

        Returns:
            The axes.
        """
        from ..plots.records import draw_sanity_check

        return draw_sanity_check(self, ax=ax)


def _mean(values: np.ndarray) -> float:
    """The mean of what is a number; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
