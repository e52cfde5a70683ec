"""A kit made by hand, of the heads that the tests of the device package share."""

import shutil
from pathlib import Path

import numpy as np

from isplit_edge import Manifest
from isplit_edge.kit import IMAGES_FILE, Kit, KitCut, KitWhole
from isplit_edge.manifest import file_record
from support.handmade import INPUT, N_CLASSES


def write_kit(root: Path, bundles: dict[str, Path], whole: bytes) -> Path:
    """A kit of two heads, in float32 and in int8, and of a whole model, which have nothing to do with each other."""
    cuts = []
    for index, precision in ((1, "float32"), (4, "int8")):
        folder = root / f"heads/{index:03d}"
        shutil.copytree(bundles[precision], folder)
        manifest = Manifest.load(folder)
        cuts.append(
            KitCut(
                index=index,
                name=f"conv{index}",
                shape=manifest.cut["shape"],
                head_macs=100 * index,
                tail_macs=1000,
                encoder_macs=7,
                payload_bytes=manifest.payload_bytes,
                directory=f"heads/{index:03d}",
                size_bytes=manifest.head["size_bytes"],
                signature=f"cut_{index}",
            )
        )
    (root / "whole").mkdir()
    (root / "whole/whole.tflite").write_bytes(whole)
    rng = np.random.default_rng(0)
    np.savez(root / IMAGES_FILE, images=rng.integers(0, 256, (3, *INPUT), np.uint8))
    files = [file for file in root.rglob("*") if file.is_file()]
    Kit(
        kit_id="a" * 64,
        model_name="handmade",
        model_sha256="b" * 64,
        precision="int8",
        created="2026-01-31T12:00:00+00:00",
        versions={},
        input_shape=INPUT,
        n_classes=N_CLASSES,
        preprocessing=None,
        bottleneck=None,
        whole=KitWhole(macs=5000, params=9, file="whole/whole.tflite", size_bytes=len(whole)),
        cuts=cuts,
        images=IMAGES_FILE,
        serving="serving/kit/1",
        refused={},
        files={file.relative_to(root).as_posix(): file_record(file) for file in files},
        directory=root,
    ).save()
    return root
