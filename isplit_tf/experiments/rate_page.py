"""The page on rate and accuracy, made from the results alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from .advantage import answer, full_table

Found = Mapping[str, Any]


def rate_page(found: Found, scale: str, pictures: str) -> str:
    """Return the page as Markdown.

    Args:
        found: What the experiment `rate_accuracy` found.
        scale: The scale at which the experiment was run.
        pictures: The folder of the pictures, relative to the page.
    """
    parts = ["# Rate and accuracy"]
    compared = {name: study for name, study in found["studies"].items() if study.get("compares")}
    for name, study in compared.items():
        parts.append(f"![{study['title']}: accuracy over bytes per frame]({pictures}/rate_accuracy_{name}.svg)")
        parts += answer(study)
    parts.append(
        f"Made by `isplit reproduce rate_accuracy --scale {scale} --page docs/rate_accuracy.md`. Bytes per frame are "
        "those of the whole payload, header included. Accuracies are of test images, after the latent's quantization. "
        "The splits are compared with an image in a codec that is sent to the whole model on the server. A model that "
        "runs completely on the device sends no image at all."
    )
    left = {name: count for name, count in found.get("jobs_left", {}).items() if count}
    if left:
        counts = ", ".join(f"{count} of `{name}`" for name, count in left.items())
        parts.append(f"Not measured yet are {counts}; the same command goes on.")
    for study in compared.values():
        parts += [f"## {study['title']}", *_of_coded(study), full_table(study)]
    others = {name: study for name, study in found["studies"].items() if name not in compared}
    if others:
        parts.append(
            "In the studies below, splits are at the curve's best cut and at the cut with the highest predicted "
            "accuracy at equal bytes."
        )
    for name, study in others.items():
        parts.append(f"## {study['title']}")
        parts.append(" ".join(_plainly(study)) + f" All figures are of {study['test_images']:,} test images.")
        for cut, lines in study["cuts"].items():
            picture = f"{pictures}/rate_accuracy_{name}_{cut.replace('/', '.')}.svg"
            parts.append(f"![{study['title']}, split at {cut}]({picture})")
            parts.append(_table(study, cut, lines))
    if not found["studies"]:
        parts.append("Nothing is measured yet.")
    return "\n\n".join(parts) + "\n"


def _of_coded(one: Found) -> Iterator[str]:
    """Yield how the points of a study of coded payloads alone were measured, and how long payloads are."""
    yield (
        f"Whole model: {one['original']:.2%} of {one['test_images']:,} test images. Each point is an untrained "
        "`Projection(payload_bytes=)`, fitted from other images without labels, exported with an int8 head; every test "
        "image went through the bundle's head, payload and tail. The codec's bytes lie between measured qualities, "
        "along the logarithm of bytes; of all codecs, sizes and qualities those count that no other beats. With so few "
        "images an accuracy is known to two or three points (the intervals)."
    )
    excesses = [
        point["excess"]
        for lines in one["cuts"].values()
        for points in lines.values()
        for point in points
        if point.get("excess")
    ]
    if excesses:
        share = max(each["sent_bytes"] / each["ideal_bytes"] for each in excesses) - 1
        above = max(each["most_above"] for each in excesses)
        yield (
            f"Behind its header a payload is in the mean at most {share:.1%} longer than the ideal length of its "
            f"tables, over all points; no payload looked at is more than 3 % and {max(0.0, above):.1f} bytes longer."
        )


def best_split(one: Found, size: float) -> tuple[float, float, str] | None:
    """Return accuracy, bytes and name of the best split that sends at most `size` bytes; None if there is none."""
    fitting = [
        (point["accuracy"], -point["payload_bytes"], f"{label}, at {cut}, whose head computes {_share(one, cut)}")
        for cut, lines in one["cuts"].items()
        for label, points in lines.items()
        for point in points
        if point["payload_bytes"] <= size
    ]
    if not fitting:
        return None
    accuracy, negative, name = max(fitting)
    return accuracy, -negative, name


def _plainly(one: Found) -> Iterator[str]:
    """Yield from how many bytes on a compressed image with a remote model is as accurate as a split, or better."""
    images = sorted((point["bytes"], point["accuracy"]) for points in one["codecs"].values() for point in points)
    smallest = images[0][0]
    below = best_split(one, smallest)
    if below is None:
        yield f"**No split sends less than the smallest image, which takes {smallest:,.0f} bytes.**"
    else:
        accuracy, size, name = below
        yield (
            f"**No codec makes files of fewer than {smallest:,.0f} bytes per frame, so below that only a split is "
            f"possible: the best keeps {accuracy:.2%} in {size:,.0f} bytes ({name}).**"
        )
    rivals = [(size, accuracy, best_split(one, size)) for size, accuracy in images]
    as_accurate = [size for size, accuracy, split in rivals if split is None or accuracy >= split[0] - _LEVEL]
    if as_accurate:
        yield (
            f"**From {as_accurate[0]:,.0f} bytes on, a compressed image, sent to the whole model on the server, is as "
            "accurate as the best split of no more bytes, to half a point. It needs no head on the device.**"
        )
    else:
        yield "**No compressed image comes within half a point of the best split of no more bytes.**"
    more_accurate = [size for size, accuracy, split in rivals if split is None or accuracy >= split[0] + _LEVEL]
    yield (
        f"From {more_accurate[0]:,.0f} bytes on, it beats the best split by half a point."
        if more_accurate
        else "No image format beats the best split by half a point."
    )
    equal = [size for size, accuracy in images if accuracy >= one["original"] - _LEVEL]
    if equal:
        yield f"An image within half a point of the original's {one['original']:.2%} takes {equal[0]:,.0f} bytes."
    if one.get("original_auc") is not None:
        yield (
            "The classes have other shares in the training images than in the test images, so accuracy depends on the "
            "threshold, which training moves: a split with more accuracy than the original is not better for that. "
            f"The AUC does not depend on it; the original's is {one['original_auc']:.4f}."
        )


_LEVEL = 0.005  # half a point; the test images hardly show smaller differences


def _table(one: Found, cut: str, lines: Found) -> str:
    has_auc = one.get("original_auc") is not None
    rows = [f"| bottleneck | bytes per frame | accuracy | 95 % interval |{' AUC |' * has_auc} encoder MACs | weights |"]
    rows.append("|---|---|---|---|---|---|" + "---|" * has_auc)
    for label, points in lines.items():
        for point in sorted(points, key=lambda p: p["payload_bytes"]):
            rows.append(
                f"| {label} | {point['payload_bytes']:,} | {point['accuracy']:.2%} "
                f"| {point['low']:.2%} to {point['high']:.2%} "
                f"{'| ' + format(point['auc'], '.4f') + ' ' if has_auc else ''}"
                f"| {point['encoder_macs']:,} | {point['encoder_params']:,} |"
            )
    return (
        "\n".join(rows)
        + f"\n\nThe head before it has {one['head_macs'][cut]:,} multiply-accumulates, {_share(one, cut)}."
    )


def _share(one: Found, cut: str) -> str:
    return f"{one['head_macs'][cut] / one['model_macs']:.0%} of the model"
