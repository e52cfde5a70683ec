"""The page on rate and accuracy, made from the results alone."""

from collections.abc import Iterator, Mapping
from typing import Any

Found = Mapping[str, Any]


def rate_page(found: Found, scale: str, pictures: str) -> str:
    """Markdown of the page.

    Args:
        found: What the experiment `rate_accuracy` found.
        scale: The scale that it was run at.
        pictures: Where the pictures lie, as seen from the page.
    """
    parts = [
        "# Rate and accuracy",
        f"Made by `isplit reproduce rate_accuracy --scale {scale} --page docs/rate_accuracy.md`. Bytes a frame are "
        "those of the whole payload, header included; accuracies are of test images, after the latent's quantization. "
        "Splits are at the curve's best cut and at the cut with the highest predicted accuracy at equal bytes. "
        "Against them: the image in JPEG, WebP or PNG, and the whole model on the server. A whole model on the device "
        "sends no image at all.",
    ]
    for name, one in found["studies"].items():
        parts.append(f"## {one['title']}")
        parts.append(" ".join(_plainly(one)) + f" All figures are of {one['test_images']:,} test images.")
        for cut, lines in one["cuts"].items():
            picture = f"{pictures}/rate_accuracy_{name}_{cut.replace('/', '.')}.svg"
            parts.append(f"![{one['title']}, split at {cut}]({picture})")
            parts.append(_table(one, cut, lines))
    if not found["studies"]:
        parts.append("Nothing is measured yet.")
    return "\n\n".join(parts) + "\n"


def winners(one: Found) -> dict[float, tuple[str, float, float | None]]:
    """At the bytes of each split: the best split and the best compressed image of at most so many.

    Returns:
        By bytes: the split's name, its accuracy, and that of the image; None where no image is as small.
    """
    splits = [
        (point["payload_bytes"], point["accuracy"], f"{label} at {cut}")
        for cut, lines in one["cuts"].items()
        for label, points in lines.items()
        for point in points
    ]
    images = [(point["bytes"], point["accuracy"]) for points in one["codecs"].values() for point in points]
    table = {}
    for size in sorted({size for size, _, _ in splits}):
        accuracy, name = max((a, n) for s, a, n in splits if s <= size)
        small = [a for s, a in images if s <= size]
        table[size] = name, accuracy, max(small) if small else None
    return table


def _plainly(one: Found) -> Iterator[str]:
    table = winners(one)
    lost = [size for size, (_, split, image) in table.items() if image is not None and image >= split]
    smallest = min(point["bytes"] for points in one["codecs"].values() for point in points)
    equal = [
        point["bytes"]
        for points in one["codecs"].values()
        for point in points
        if point["accuracy"] >= one["original"] - 0.005
    ]
    if lost:
        yield f"**From {min(lost):,.0f} bytes a frame on, compressed images with the whole model on the server win.**"
    else:
        yield "**At every rate that was measured the split keeps more accuracy than compressed images.**"
    yield f"The smallest image that any quality gives has {smallest:,.0f} bytes on the average;"
    if equal:
        yield f"half a point below the original's {one['original']:.2%} takes {min(equal):,.0f} bytes as an image."
    best = max(table.values(), key=lambda row: row[1])
    yield f"The best split: {best[0]}, {best[1]:.2%}."


def _table(one: Found, cut: str, lines: Found) -> str:
    rows = ["| bottleneck | bytes a frame | accuracy | 95 % interval | encoder MACs | encoder weights |"]
    rows.append("|---|---|---|---|---|---|")
    for label, points in lines.items():
        for point in sorted(points, key=lambda p: p["payload_bytes"]):
            rows.append(
                f"| {label} | {point['payload_bytes']:,} | {point['accuracy']:.2%} "
                f"| {point['low']:.2%} to {point['high']:.2%} "
                f"| {point['encoder_macs']:,} | {point['encoder_params']:,} |"
            )
    return "\n".join(rows) + f"\n\nThe head before it has {one['head_macs'][cut]:,} multiply-accumulates."
