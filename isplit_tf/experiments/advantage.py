"""How many times fewer bytes a split sends than a codec at the same accuracy, and behind what share of the model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Found = Mapping[str, Any]

GOALS = ((0.43, 5.0), (0.35, 3.0), (0.27, 2.0))
"""Shares of the multiply-accumulates that the device has at most, encoder included, and how many times fewer bytes a
split shall then send."""

NOISE = 0.02
"""About the noise of an accuracy of a few hundred images."""

LOSSES = (0.01, 0.03, 0.05)
"""Accuracies at which bytes are compared, by what is lost of the whole model's at most."""


def envelope(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the pairs of bytes and accuracy that no other one beats in both, from few bytes to many."""
    best: list[tuple[float, float]] = []
    for size, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((size, accuracy))
    return best


def bytes_for(accuracy: float, points: Sequence[tuple[float, float]]) -> float:
    """Return the bytes at which an envelope reaches an accuracy, between its points along the logarithm of bytes.

    Args:
        accuracy: From 0 to 1.
        points: Bytes and accuracy, as `envelope` returns them.

    Returns:
        Bytes; those of the first point for what is below it, and infinity for what no point keeps.
    """
    for k, (size, kept) in enumerate(points):
        if kept >= accuracy:
            if not k:
                return size
            before, less = points[k - 1]
            return float(before * (size / before) ** ((accuracy - less) / (kept - less)))
    return math.inf


def compared(one: Found) -> list[dict[str, Any]]:
    """Return for each point of a study's splits what the best codec needs for the same accuracy.

    Each has cut, share (of the model's multiply-accumulates, encoder included), bytes, accuracy, lost, codec_bytes,
    times, cautious (times, were the accuracy `NOISE` less), codec_name, and beyond: whether no point of a codec keeps
    as much, so that the bytes of the most accurate one are given, and more would be needed.
    """
    names = {
        (point["bytes"], point["accuracy"]): _name(codec, point)
        for codec, points in one["codecs"].items()
        for point in points
    }
    best = envelope(list(names))
    rows = []
    for cut, lines in one["cuts"].items():
        for point in (point for points in lines.values() for point in points):
            size, accuracy = point["payload_bytes"], point["accuracy"]
            beyond = accuracy > best[-1][1]
            needed = best[-1][0] if beyond else bytes_for(accuracy, best)
            keeping = next((names[pair] for pair in best if pair[1] >= accuracy), names[best[-1]])
            rows.append(
                {
                    "cut": cut,
                    "share": (one["head_macs"][cut] + point["encoder_macs"]) / one["model_macs"],
                    "bytes": size,
                    "accuracy": accuracy,
                    "lost": one["original"] - accuracy,
                    "codec_bytes": needed,
                    "times": needed / size,
                    "cautious": min(needed, bytes_for(accuracy - NOISE, best)) / size,
                    "codec_name": keeping,
                    "beyond": beyond,
                }
            )
    return rows


def smallest(rows: Sequence[Found], share: float, loss: float) -> Found | None:
    """Return the point of the fewest bytes behind at most a share of the model that loses at most so much."""
    fitting = [row for row in rows if row["share"] <= share and row["lost"] <= loss + 1e-9]
    return min(fitting, key=lambda row: row["bytes"], default=None)


def answer(one: Found) -> Iterator[str]:
    """Yield the answer in bold, whether the goals are reached, and the table that it follows from."""
    rows = compared(one)
    codecs = ", ".join(codec.upper() for codec in one["codecs"])
    chosen = {(share, loss): smallest(rows, share, loss) for share, _ in GOALS for loss in LOSSES}
    parts, cautious, missed = [], [], []
    for share, goal in GOALS:
        found = [row for loss in LOSSES if (row := chosen[share, loss]) is not None]
        times = [row["times"] for row in found]
        if not times:
            missed.append(f"behind {share:.0%} nothing loses as little as {LOSSES[-1] * 100:.0f} points")
            continue
        parts.append(f"{_range(times)} behind at most {share:.0%}")
        cautious.append(_range([row["cautious"] for row in found]))
        if min(times) < goal:
            missed.append(f"behind {share:.0%} {goal:.0f} times were to be reached, and {min(times):.1f} are")
    if missed:
        yield f"**Not all that was claimed holds: {'; '.join(missed)}.**"
    if parts:
        losses = ", ".join(f"{loss * 100:.0f}" for loss in LOSSES)
        yield (
            f"**At equal accuracy a split sends so many times fewer bytes than the best of {codecs}: "
            f"{'; '.join(parts)} of the model's multiply-accumulates, encoder included.** Each range is over the "
            f"smallest payloads that lose at most {losses} points; nothing was trained. Were these splits "
            f"{NOISE * 100:.0f} points less accurate, about the noise of {one['test_images']} images, it would be "
            f"{'; '.join(cautious)} times."
        )
    yield _chosen_table(chosen)


def _chosen_table(chosen: Mapping[tuple[float, float], Found | None]) -> str:
    lines = [
        "| behind at most | points lost at most | cut | share with encoder | bytes per frame | accuracy | best codec "
        "for as much | times |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (share, loss), row in chosen.items():
        start = f"| {share:.0%} | {loss * 100:.0f} "
        if row is None:
            lines.append(f"{start}| none | | | | | |")
            continue
        lines.append(
            f"{start}| `{row['cut']}` | {row['share']:.1%} | {row['bytes']:,} | {row['accuracy']:.2%} "
            f"| {_above(row)}{row['codec_bytes']:,.0f} B ({row['codec_name']}) | {_above(row)}{row['times']:.1f} |"
        )
    return "\n".join(lines)


def full_table(one: Found) -> str:
    """Return the table of all points of a study, cut by cut."""
    lines = [
        "| cut | share with encoder | bytes per frame, mean | 95 % up to | accuracy | 95 % interval | points lost "
        "| best codec for as much | times |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    points = [point for cut in one["cuts"].values() for points in cut.values() for point in points]
    pairs = zip(compared(one), points, strict=True)
    for row, point in sorted(pairs, key=lambda pair: (one["head_macs"][pair[0]["cut"]], pair[0]["bytes"])):
        lines.append(
            f"| `{row['cut']}` | {row['share']:.1%} | {row['bytes']:,} | {point['p95_bytes']:,.0f} "
            f"| {row['accuracy']:.2%} | {point['low']:.2%} to {point['high']:.2%} | {100 * row['lost']:.2f} "
            f"| {_above(row)}{row['codec_bytes']:,.0f} B | {_above(row)}{row['times']:.1f} |"
        )
    return "\n".join(lines)


def _name(codec: str, point: Found) -> str:
    height, width = point.get("size") or (None, None)
    size = "" if height is None else f" at {height} x {width}"
    quality = "" if point["quality"] is None else f", quality {point['quality']}"
    return f"{codec.upper()}{size}{quality}"


def _above(row: Found) -> str:
    return "above " if row["beyond"] else ""


def _range(times: Sequence[float]) -> str:
    low, high = (f"{value:.1f}" for value in (min(times), max(times)))
    return low if low == high else f"{low} to {high}"
