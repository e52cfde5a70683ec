"""The curve in print: as records, as text for a terminal, as HTML for a notebook."""

import html
import math
import warnings
from typing import TYPE_CHECKING, Any

from .methods import title

if TYPE_CHECKING:
    from .curve import Curve


def curve_rows(curve: "Curve") -> list[dict[str, Any]]:
    """One record a cut; see `Curve.rows`."""
    low, high = curve.interval()
    peaks = {cut.index for cut in curve.peaks}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = curve.best.index
    return [
        {
            "index": cut.index,
            "name": cut.name,
            "shape": cut.shape,
            "size": cut.size,
            "importance": float(value),
            "low": float(low[k]),
            "high": float(high[k]),
            "peak": cut.index in peaks,
            "best": cut.index == best,
        }
        for k, (cut, value) in enumerate(zip(curve.cuts, curve.values, strict=True))
    ]


def curve_table(curve: "Curve") -> str:
    """The curve as text; see `Curve.table`."""
    rows = curve_rows(curve)
    top = max(row["importance"] for row in rows) or 1.0
    width = max(len("cut"), *(len(row["name"]) for row in rows))
    lines = [
        curve_title(curve),
        f"{'index':>5}  {'cut':<{width}}  {'shape':<16}  {'importance':>10}  {'95 % interval':^21}",
    ]
    for row in rows:
        shape = "x".join(map(str, row["shape"]))
        bar = "█" * round(20 * row["importance"] / top)
        mark = " best" if row["best"] else " peak" if row["peak"] else ""
        lines.append(
            f"{row['index']:>5}  {row['name']:<{width}}  {shape:<16}  {row['importance']:>10.4g}  "
            f"{row['low']:>10.4g}{row['high']:>11.4g}  {bar}{mark}"
        )
    return "\n".join(lines)


def curve_html(curve: "Curve") -> str:
    """The curve as an HTML table."""
    cells = "".join(
        f"<tr><td>{row['index']}</td><td>{html.escape(row['name'])}</td><td>{'×'.join(map(str, row['shape']))}</td>"
        f"<td>{row['importance']:.4g}</td><td>{row['low']:.4g} to {row['high']:.4g}</td>"
        f"<td>{'best' if row['best'] else 'peak' if row['peak'] else ''}</td></tr>"
        for row in curve_rows(curve)
    )
    head = "".join(f"<th>{name}</th>" for name in ("index", "cut", "shape", "importance", "95 % interval", ""))
    return f"<table><caption>{html.escape(curve_title(curve))}</caption><tr>{head}</tr>{cells}</table>"


def curve_title(curve: "Curve") -> str:
    """What was measured, in one line."""
    seen = int((curve.counts > 0).sum())
    return (
        f"Importance of {len(curve.cuts)} cuts of '{curve.model_name}': {title(curve.method)}, "
        f"{curve.reduction} over the tensor, "
        f"score of the {curve.target}{' class' if curve.target == 'predicted' else ''}, "
        f"{curve.n_images} images of {seen} classes, mean over {curve.weighting}"
        f"{'' if curve.precision == 'float32' else f', in {curve.precision}'}{_sureness(curve)}"
    )


def _sureness(curve: "Curve") -> str:
    if curve.confidence is None:
        return ""
    percent = math.floor(1000 * curve.confidence) / 10  # 99.97 % are not 100 %
    return f"; best cut and peaks {'settled' if curve.settled else 'not settled'}, {percent:g} % sure"
