"""Make the small archives in `isplit_tf/datasets/*/dummy_data` with which the builders are tested.

    python tools/dummy_archives.py

They have the layout of the originals and contain the cases that a builder must detect: duplicates, near duplicates,
patients in both folders, grey and broken files, and files of operating systems. Needs pillow.
"""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

DATASETS = Path(__file__).parents[1] / "isplit_tf" / "datasets"
WNIDS = ("n01443537", "n01629819", "n02124075", "n04540053")


def main() -> None:
    """Write all archives."""
    rng = np.random.default_rng(0)
    write_zip(DATASETS / "tiny_imagenet200" / "dummy_data" / "tiny-imagenet-200.zip", tiny_imagenet(rng))
    write_zip(DATASETS / "chest_xray_pneumonia" / "dummy_data" / "ChestXRay2017.zip", chest_xray(rng))
    for size in ("small", "large"):
        path = DATASETS / "notmnist" / "dummy_data" / f"notMNIST_{size}.tar.gz"
        write_tar(path, notmnist(rng, f"notMNIST_{size}"))


def tiny_imagenet(rng: np.random.Generator) -> dict[str, bytes]:
    """Return files of four classes with ten training images each; one per class is grey, one is also in val."""
    root = "tiny-imagenet-200"
    files = {
        f"{root}/wnids.txt": "\n".join(WNIDS).encode(),
        f"{root}/words.txt": "\n".join(f"{wnid}\tthing" for wnid in WNIDS).encode(),
    }
    for wnid in WNIDS:
        for i in range(10):
            files[f"{root}/train/{wnid}/images/{wnid}_{i}.JPEG"] = picture(rng, grey=i == 3)
    lines = []
    for i in range(8):
        files[f"{root}/val/images/val_{i}.JPEG"] = picture(rng)
        lines.append(f"val_{i}.JPEG\t{WNIDS[i % 4]}\t0\t0\t7\t7")
    files[f"{root}/train/{WNIDS[0]}/images/{WNIDS[0]}_9.JPEG"] = files[f"{root}/val/images/val_1.JPEG"]
    files[f"{root}/val/val_annotations.txt"] = "\n".join(lines).encode()
    files |= {f"{root}/test/images/test_{i}.JPEG": picture(rng) for i in range(2)}
    return files


def chest_xray(rng: np.random.Generator) -> dict[str, bytes]:
    """Return files of patients with several images; person3 is in both folders, two likely patients share an image."""
    names = [
        *(f"train/NORMAL/IM-{i:04}-0001.jpeg" for i in range(1, 7)),
        *(f"train/NORMAL/NORMAL2-IM-0007-0001-000{i}.jpeg" for i in (1, 2)),
        *(f"train/PNEUMONIA/person1_bacteria_{i}.jpeg" for i in range(1, 5)),
        *(f"train/PNEUMONIA/person1_virus_{i}.jpeg" for i in range(5, 7)),
        *(f"train/PNEUMONIA/person3_bacteria_{i}.jpeg" for i in (7, 8)),
        *(f"train/PNEUMONIA/person{i}_virus_{i}.jpeg" for i in range(10, 18)),
        *(f"test/NORMAL/IM-{i:04}-0001.jpeg" for i in (21, 23)),
        *(f"test/PNEUMONIA/person3_virus_{i}.jpeg" for i in (9, 10)),
    ]
    files = {f"chest_xray/{name}": picture(rng, grey=True) for name in names}
    files["chest_xray/train/NORMAL/IM-0002-0001.jpeg"] = files["chest_xray/train/NORMAL/IM-0001-0001.jpeg"]
    files["chest_xray/train/NORMAL/.DS_Store"] = b"\0"
    files["__MACOSX/chest_xray/train/NORMAL/._IM-0001-0001.jpeg"] = b"\0"
    return files


def notmnist(rng: np.random.Generator, root: str) -> dict[str, bytes]:
    """Return files of ten letters with ten images each; two are equal, two are near duplicates, two are broken."""
    files = {}
    for letter in "ABCDEFGHIJ":
        for i in range(10):
            glyph = np.kron(rng.integers(0, 2, (4, 4)) * 255, np.ones((7, 7))).astype(np.uint8)
            if letter == "B" and i < 2:
                glyph[:] = 100 + 5 * i
            files[f"{root}/{letter}/{i}.png"] = encode(glyph, "PNG")
    files[f"{root}/C/1.png"] = files[f"{root}/C/0.png"]
    files[f"{root}/A/broken.png"] = files[f"{root}/A/0.png"][:40]
    files[f"{root}/F/empty.png"] = b""
    return files


def picture(rng: np.random.Generator, *, grey: bool = False) -> bytes:
    """Return a random 8x8 JPEG of two colours."""
    colours = rng.integers(0, 256, (1, 2, 1 if grey else 3)).astype(np.uint8)
    return encode(colours.repeat(8, axis=0).repeat(4, axis=1), "JPEG")


def encode(pixels: np.ndarray, form: str) -> bytes:
    """Encode pixels `(H, W[, C])` as the content of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels).squeeze()).save(buffer, form, optimize=True)
    return buffer.getvalue()


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """Write a zip archive whose bytes are the same each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    """Write a tar.gz archive whose bytes are the same each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


if __name__ == "__main__":
    main()
