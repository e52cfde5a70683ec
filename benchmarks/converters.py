"""The heads of the compatibility table, and EfficientNet-Lite1 on photos, through both converters.

    python benchmarks/converters.py                                        heads that have no row yet, then the page
    python benchmarks/converters.py MobileNetV2 --page-only                only the page
    python benchmarks/converters.py --weights LITE1.keras --photos ZIP     the accuracy of Lite1 through both as well

Each model runs in its own process. benchmarks/results/converters.jsonl has a row per head.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from compatibility_page import HERE, read_rows
from compatibility_row import build, pixels, settle

ROWS = HERE / "results" / "converters.jsonl"
PAGE = HERE.parent / "docs" / "converters.md"
MARK = "<!-- made by benchmarks/converters.py -->"
CONVERTERS = ("tf.lite", "litert")
PHOTOS = "EfficientNet-Lite1, photos"
CUT, IMAGES = "block4d_add", 400


def convert_head(model: Any, cut: Any, images: np.ndarray) -> dict[str, Any]:
    """Return what each converter makes of an int8 head: its error against Keras and its bytes, or the refusal."""
    from isplit_tf import split
    from isplit_tf.errors import ISplitError
    from isplit_tf.export.litert.converter import convert

    head, found = split(model, cut).head, {}
    for name in CONVERTERS:
        try:
            done = convert(head, precision="int8", representative=images, converter=name, progress=False)
            found[name] = {"error": done.relative_error, "size_bytes": len(done.content)}
        except ISplitError as error:
            found[name] = {"refused": str(error)[:300]}
    return found


def run_one(name: str) -> None:
    """Print the row of one model of the table, at the cut that the table names."""
    import keras

    from isplit_tf import find_cuts
    from support.zoo import random_input

    best = read_rows()[name]["best"]
    keras.utils.set_random_seed(0)
    model = build(name)
    scale = pixels(model) if name[0].isupper() else 1.0
    settle(model, random_input(model, 32, scale=scale))
    images = np.asarray(random_input(model, 24, scale=scale)).astype("float32")
    row = {"model": name, "cut": best["name"]} | convert_head(model, find_cuts(model)[best["index"]], images)
    print(json.dumps(row))


def run_photos(weights: Path, photos: Path) -> None:
    """Print the accuracy of Lite1 with an int8 head of each converter, through the wire."""
    import io
    import tempfile
    import zipfile

    import keras
    from PIL import Image

    import isplit_tf as isplit

    with zipfile.ZipFile(photos) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])
    labels = np.array([int(Path(name).name[:3]) for name in names])
    x = (images.astype("float32") - 127) / 128
    model = keras.models.load_model(weights, compile=False)
    test = (x[::2][:IMAGES], labels[::2][:IMAGES])
    row: dict[str, Any] = {"model": PHOTOS, "cut": CUT, "images": len(test[1])}
    row["whole"] = float(np.mean(model.predict(test[0], verbose=0).argmax(1) == test[1]))
    split = isplit.split(model, CUT)
    for name in CONVERTERS:
        with tempfile.TemporaryDirectory() as folder:
            options = {"representative_data": x[1::2][:100], "evaluation_data": test, "progress": False}
            bundle = isplit.export_bundle(split, Path(folder) / "bundle", converter=name, **options)
            head = bundle.manifest.head["size_bytes"]
            row[name] = {"accuracy": bundle.manifest.accuracy["artefacts"], "size_bytes": head}
    print(json.dumps(row))


def run_all(wanted: list[list[str]]) -> None:
    """Run each in a process of its own, and append its row."""
    for arguments in wanted:
        command = [sys.executable, str(Path(__file__).resolve()), "--one", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"})
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"model"')]
        print(arguments[0], lines[-1] if lines else done.stderr[-500:], flush=True)
        if lines:
            with ROWS.open("a") as file:
                file.write(lines[-1] + "\n")


def write_page() -> None:
    """Put the tables into docs/converters.md, below its mark."""
    rows = {row["model"]: row for row in map(json.loads, ROWS.read_text().splitlines())}
    photos = rows.pop(PHOTOS, None)
    text = [MARK, ""]
    if photos:
        first, second = (photos[name] for name in CONVERTERS)
        text += [
            f"EfficientNet-Lite1 with its ImageNet weights, {photos['images']} photos, split at `{photos['cut']}`, "
            f"int8, through the wire: {first['accuracy']:.2%} with `tf.lite`, {second['accuracy']:.2%} with `litert`; "
            f"the whole model {photos['whole']:.2%}.",
            "",
        ]
    both = [row for row in rows.values() if all("error" in row[name] for name in CONVERTERS)]
    closer = sum(row["litert"]["error"] <= row["tf.lite"]["error"] for row in both)
    text += [
        f"{len(rows)} heads of the [compatibility table](compatibility.md) in int8: both converters make {len(both)} "
        f"of them; of these, `litert`'s is as close to Keras or closer in {closer}.",
        "",
        "| model | tf.lite | litert | bytes, litert : tf.lite |",
        "|---|---|---|---|",
    ]
    for row in sorted(rows.values(), key=lambda row: row["model"].lower()):
        first, second = (row[name] for name in CONVERTERS)
        ratio = f"{second['size_bytes'] / first['size_bytes']:.2f}" if row in both else "-"
        cells = [f"{one['error']:.1e}" if "error" in one else "refused" for one in (first, second)]
        text.append(f"| {row['model']} | {cells[0]} | {cells[1]} | {ratio} |")
    refused = [row for row in rows.values() if "refused" in row["litert"] and "error" in row["tf.lite"]]
    if refused:
        text += ["", "What `litert` refuses and `tf.lite` makes:", ""]
        text += [f"- {row['model']}: {' '.join(row['litert']['refused'].split())}" for row in refused]
    before = PAGE.read_text().split(MARK)[0]
    PAGE.write_text(before + "\n".join(text) + "\n")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--page-only", action="store_true", help="only write the page")
    parser.add_argument("--weights", type=Path, help="EfficientNet-Lite1 with its weights, a .keras file")
    parser.add_argument("--photos", type=Path, help="an archive of photos named by their class, 000 to 999")
    given = parser.parse_args()
    if given.one == PHOTOS:
        run_photos(given.weights, given.photos)
        return
    if given.one:
        run_one(given.one)
        return
    if not given.page_only:
        done = {json.loads(line)["model"] for line in ROWS.read_text().splitlines()} if ROWS.exists() else set()
        known = [name for name, row in read_rows().items() if "int8" in row or "int8 head" in row["failures"]]
        run_all([[name] for name in given.models or [name for name in known if name not in done]])
        if given.weights and given.photos:
            run_all([[PHOTOS, "--weights", str(given.weights), "--photos", str(given.photos)]])
    write_page()


if __name__ == "__main__":
    main()
