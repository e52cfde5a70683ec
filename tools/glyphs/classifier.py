"""Train the classifier that ships with the demo: isplit_tf/demo/glyphs.keras, and its record classifier.json.

python tools/glyphs/classifier.py            # seven minutes on one core
python tools/glyphs/classifier.py --epochs 1 --output build/glyphs.keras
"""

import argparse
import hashlib
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from isplit_tf.datasets import load
from isplit_tf.datasets.splits import Splits
from isplit_tf.demo.classifier import (
    EPOCHS,
    LOSS,
    SEED,
    WIDTHS,
    build_classifier,
    framed,
    shipped_file,
    train_classifier,
)
from isplit_tf.storage.models import load_model

RECORD = Path(__file__).with_suffix(".json")
WEIGHTS = "model.weights.h5"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--output", type=Path, help="another file than the one that ships; its record stands beside it")
    args = parser.parse_args(arguments)
    splits = load("glyphs")
    model = build_classifier(seed=args.seed)
    train_classifier(model, *splits.train, epochs=args.epochs, seed=args.seed)
    trained = accuracies(model, splits)
    path = args.output or shipped_file()
    write_compact(model, path)
    record: dict[str, Any] = {
        "seed": args.seed,
        "epochs": args.epochs,
        "widths": list(WIDTHS),
        "data_sha256": data_hash(splits),
        "file_bytes": path.stat().st_size,
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "accuracy_as_trained": trained,
        "accuracy_in_the_file": accuracies(load_model(path), splits),
        "versions": {"keras": keras.__version__, "numpy": np.__version__},
    }
    text = json.dumps(record, indent=1) + "\n"
    (path.with_suffix(".json") if args.output else RECORD).write_text(text)
    print(text)


def data_hash(splits: Splits) -> str:
    """Return the SHA-256 of the images and labels that train and that choose and test nothing but are reported."""
    digest = hashlib.sha256()
    for images, labels in (splits.train, splits.validation, splits.test):
        digest.update(images.tobytes())
        digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def accuracies(model: keras.Model, splits: Splits) -> dict[str, float]:
    """Return the accuracy on the validation and the test images."""
    found = {}
    for name in ("validation", "test"):
        images, labels = getattr(splits, name)
        answers = model.predict(framed(images), batch_size=256, verbose=0).argmax(axis=1)
        found[name] = round(float(np.mean(answers == labels)), 6)
    return found


def write_compact(model: keras.Model, path: Path) -> None:
    """Write a `.keras` file with weights that float16 holds exactly, stored as float32 and compressed.

    Thirteen bits of each weight are then zero, which HDF5's own compression takes out; so Keras reads the file like
    any other. The optimizer is one that keeps nothing.
    """
    model.set_weights([weight.astype(np.float16).astype(np.float32) for weight in model.get_weights()])
    model.compile("sgd", LOSS, metrics=["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        whole, weights = Path(folder) / "model.keras", Path(folder) / WEIGHTS
        model.save(whole)
        with zipfile.ZipFile(whole) as source:
            source.extract(WEIGHTS, folder)
            others = {name: source.read(name) for name in sorted(source.namelist()) if name != WEIGHTS}
        compact = Path(folder) / "compact.h5"
        compress(weights, compact)
        others["metadata.json"] = undated(others["metadata.json"])
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            for name, content in {**others, WEIGHTS: compact.read_bytes()}.items():
                target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)


def undated(metadata: bytes) -> bytes:
    """Return Keras' metadata without the date of saving, which says nothing of the model."""
    return json.dumps({key: value for key, value in json.loads(metadata).items() if key != "date_saved"}).encode()


def compress(source: Path, target: Path) -> None:
    """Copy an HDF5 file, its arrays compressed without loss."""
    with h5py.File(source) as read, h5py.File(target, "w") as written:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                new: Any = written.require_group(name)
            else:
                how = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if item.shape else {}
                new = written.create_dataset(name, data=item[()], **how)
            for key, value in item.attrs.items():
                new.attrs[key] = value

        for key, value in read.attrs.items():
            written.attrs[key] = value
        read.visititems(copy)


if __name__ == "__main__":
    main()
