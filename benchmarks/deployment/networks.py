"""The two networks of the trial: a kit of each, images, and accuracies measured through the kit's files."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

QUALITIES = {"lite1": (50, 75, 90), "glyph_vgg": (50, 90)}
LITE1_INPUT = {"name": "lite1", "scale": 1.0, "mean": [127.0] * 3, "std": [128.0] * 3}


@dataclass(frozen=True)
class Network:
    """A network on trial.

    Attributes:
        name: Of the folder and of the rows.
        model: The Keras model.
        images: uint8 `(N, H, W, C)`, N to test.
        labels: `(N,)`.
        kit_images: uint8 images for the kit's heads.
        preprocessing: As `build_kit` takes it.
        cuts: At which the kit has heads.
        payload_bytes: Of the bottleneck at each.
    """

    name: str
    model: Any
    images: np.ndarray
    labels: np.ndarray
    kit_images: np.ndarray
    preprocessing: Any
    cuts: tuple[str, ...]
    payload_bytes: int


def glyph_vgg() -> Network:
    """Return the demo's classifier of glyphs, in VGG16's layout, with its test images."""
    from isplit_tf import datasets
    from isplit_tf.demo.classifier import framed, load_classifier

    splits = datasets.load("glyphs")
    train = framed(_first(splits.train, 64)[0])
    x, y = _first(splits.test, 300)
    cuts = ("block1_pool", "block2_pool", "block3_pool", "block4_pool")
    images = framed(x).astype(np.uint8)
    return Network("glyph_vgg", load_classifier(), images, y, train.astype(np.uint8), None, cuts, 60)


def _first(data: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    return data[0][:count], data[1][:count]


def lite1(weights: Path, photos: Path) -> Network:
    """Return EfficientNet-Lite1 with the photos that its kit was not fitted from."""
    import keras
    from PIL import Image

    with zipfile.ZipFile(photos) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])
    labels = np.array([int(Path(name).name[:3]) for name in names])
    cuts = ("block2b_add", "block3a_project_bn", "block4a_project_bn", "block4d_add")
    model = keras.models.load_model(weights, compile=False)
    return Network("lite1", model, images[::2][:200], labels[::2][:200], images[1::2][:64], LITE1_INPUT, cuts, 1500)


def prepare(make: Callable[[], Network], folder: Path) -> None:
    """Write the kit, the model, the images and the accuracies of a network, unless they are there."""
    if (folder / "accuracy.json").exists():
        return
    import isplit_tf as isplit

    network = make()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    network.model.save(folder / "model.keras")
    isplit.build_kit(
        network.model,
        folder / "kit",
        cuts=list(network.cuts),
        bottleneck=isplit.Projection(payload_bytes=network.payload_bytes),
        representative_data=network.kit_images,
        preprocessing=network.preprocessing,
        progress=False,
    )
    np.savez(folder / "test.npz", images=network.images, labels=network.labels)
    found = measured_accuracies(folder, network)
    (folder / "accuracy.json").write_text(json.dumps(found, indent=1) + "\n")


def measured_accuracies(folder: Path, network: Network) -> dict[str, Any]:
    """Return the share of right answers of each option, through the kit's files: "local", "remote", codecs, cuts."""
    import keras
    import tensorflow as tf

    import isplit_tf as isplit
    from isplit_edge.interpreter import Head
    from isplit_edge.kit import WHOLE_FILE, Kit
    from isplit_edge.preprocessing import preprocess
    from isplit_edge.whole import WholeModel

    kit, x, y = Kit.load(folder / "kit"), network.images, network.labels
    served = tf.saved_model.load(str(kit.directory / kit.serving))
    whole = WholeModel(kit.directory / WHOLE_FILE, kit.preprocessing, kit.input_shape, 1)
    local = [int(whole.run(whole.prepare(image)).argmax()) for image in x]
    model_input = np.stack([preprocess(image, kit.preprocessing) for image in x])
    remote = network.model.predict(model_input, verbose=0).argmax(1)
    found: dict[str, Any] = {"n": len(y), "local": _hits(local, y), "remote": _hits(remote, y), "JPEG": {}, "cuts": {}}
    curve = isplit.measure_codecs(
        network.model,
        x,
        y,
        codecs=("JPEG",),
        qualities=QUALITIES[network.name],
        preprocessing=network.preprocessing,
        progress=False,
    )
    for k, quality in enumerate(curve.qualities):
        found["JPEG"][str(quality)] = _hits(curve.predictions[k], y)
    for cut in kit.cuts:
        head, tail = Head(kit.directory / cut.directory, num_threads=1), served.signatures[cut.signature]
        payloads = [head.payloads(image)[0] for image in x]
        answers = [
            tail(payload=tf.constant(payloads[start : start + 25]))["probabilities"].numpy()
            for start in range(0, len(payloads), 25)
        ]
        found["cuts"][cut.name] = _hits(np.concatenate(answers).argmax(1), y)
    keras.backend.clear_session()
    return found


def _hits(predictions: Any, labels: np.ndarray) -> int:
    return int(np.count_nonzero(np.asarray(predictions) == labels))


class Share:
    """An accuracy of so many right answers, as `plan_deployment` takes it from `evaluate`."""

    def __init__(self, hits: int, n: int):
        from isplit_tf.evaluation.metrics import wilson_interval

        self.accuracy = hits / n
        self.interval = lambda confidence: wilson_interval(hits, n, confidence)


def as_measured(record: Mapping[str, Any], payload_bytes: Mapping[str, int]) -> dict[Any, Share]:
    """Return the accuracies of `prepare` as `plan_deployment` takes them."""
    n = record["n"]
    found: dict[Any, Share] = {name: Share(record[name], n) for name in ("local", "remote")}
    found |= {("JPEG", int(quality)): Share(hits, n) for quality, hits in record["JPEG"].items()}
    return found | {(cut, payload_bytes[cut]): Share(hits, n) for cut, hits in record["cuts"].items()}
