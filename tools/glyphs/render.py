"""Render the glyphs data set from fonts.csv.

python tools/glyphs/render.py --cache build/fonts            writes isplit_tf/datasets/glyphs/
python tools/glyphs/render.py --cache build/fonts --check    compares with the existing files, writes nothing
"""

import argparse
import csv
import hashlib
import logging
import sys
from pathlib import Path

import numpy as np
from PIL import Image, features
from raster import LETTERS, render
from registries import PackageError, fetch, read_packages, sha256

from selection import SPLITS

log = logging.getLogger("glyphs")
HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "isplit_tf" / "datasets" / "glyphs"
_LICENCE_NAMES = {
    "Apache-2.0": "Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0",
    "CC0-1.0": "CC0 1.0 (public domain), https://creativecommons.org/publicdomain/zero/1.0/",
    "OFL-1.0": "SIL Open Font License 1.0, https://openfontlicense.org",
    "OFL-1.1": "SIL Open Font License 1.1, https://openfontlicense.org",
    "public-domain": "released into the public domain by its authors",
}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path("build/fonts"), help="folder for the packages")
    parser.add_argument("--check", action="store_true", help="compare with the committed arrays, write nothing")
    parser.add_argument("--sheet", type=Path, help="write a picture of every font to this PNG, too")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = read_fonts(HERE / "fonts.csv")
    images = draw(rows, args.cache)
    arrays, notice = pack(rows, images), write_notice(rows)
    if args.sheet:
        contact_sheet(images).save(args.sheet)
    if args.check:
        return check(arrays, notice)
    TARGET.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(TARGET / "glyphs.npz", **arrays)
    (TARGET / "NOTICE").write_text(notice, encoding="utf-8")
    log.info("%s: %d bytes", TARGET / "glyphs.npz", (TARGET / "glyphs.npz").stat().st_size)
    return 0


def read_fonts(path: Path) -> list[dict[str, str]]:
    """Read the rows of fonts.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def draw(rows: list[dict[str, str]], cache: Path) -> np.ndarray:
    """Render all fonts as uint8 (fonts, 10, 28, 28), and check each against its recorded hash."""
    used = {row["package"] for row in rows}
    folders = fetch([p for p in read_packages(HERE / "packages.csv") if p.package in used], cache)
    images = []
    for row in rows:
        path = folders[row["package"]] / row["path"]
        if not path.is_file() or sha256(path) != row["sha256"]:
            raise PackageError(f"{row['package']} {row['version']}: {row['path']} is not the file recorded.")
        images.append(render(path))
    return np.stack(images)


def pack(rows: list[dict[str, str]], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays that ship with the package.

    Images are ordered by a hash, so that the first part of a split contains all classes and many designs.

    Args:
        rows: One row per font, with its split and design.
        images: uint8 (fonts, 10, 28, 28).

    Returns:
        For each split `x_SPLIT` uint8 (N, 28, 28), `y_SPLIT` uint8 (N,) and `family_SPLIT` uint16 (N,), which
        indexes `families`; and `class_names`.
    """
    families = sorted({row["design"] for row in rows})
    arrays = {"class_names": np.array(list(LETTERS)), "families": np.array(families)}
    for split in SPLITS:
        places = [
            (hashlib.sha256(f"{row['sha256']} {letter}".encode()).digest(), font, label)
            for font, row in enumerate(rows)
            if row["split"] == split
            for label, letter in enumerate(LETTERS)
        ]
        fonts, labels = np.array([place[1:] for place in sorted(places)]).T
        arrays[f"x_{split}"] = images[fonts, labels]
        arrays[f"y_{split}"] = labels.astype(np.uint8)
        design = np.array([families.index(row["design"]) for row in rows], np.uint16)
        arrays[f"family_{split}"] = design[fonts]
    return arrays


def write_notice(rows: list[dict[str, str]]) -> str:
    """Return the text of NOTICE: every family with its licence and the copyright line of its font files."""
    entries: dict[str, dict[tuple[str, str], None]] = {}
    for row in rows:
        entries.setdefault(row["family"], {})[row["licence"], row["copyright"]] = None
    lines = [
        "The images in glyphs.npz are drawings of the letters A to J in the fonts named below. No font, and no",
        "part of one, is contained. The fonts are under these terms:",
        "",
        *(f"  {name}: {text}" for name, text in _LICENCE_NAMES.items()),
        "",
        f"{len(entries)} families ({len(rows)} fonts); family, licence, and the copyright line of the font file:",
        "",
    ]
    for family in sorted(entries, key=lambda name: (name.casefold(), name)):
        for licence, copyright_line in entries[family]:
            lines.append(f"{family} | {licence} | {copyright_line or 'no copyright line in the file'}")
    return "\n".join(lines) + "\n"


def check(arrays: dict[str, np.ndarray], notice: str) -> int:
    """Compare with the existing files; return 0 if all are bit-identical, else 1."""
    with np.load(TARGET / "glyphs.npz", allow_pickle=False) as stored:
        wrong = [name for name in arrays if name not in stored or not _same(stored[name], arrays[name])]
    if (TARGET / "NOTICE").read_text(encoding="utf-8") != notice:
        wrong.append("NOTICE")
    version = features.version("freetype2")
    if wrong:
        log.error("FreeType %s: not as recorded: %s", version, ", ".join(wrong))
        return 1
    log.info("FreeType %s: all arrays are equal to the bit", version)
    return 0


def _same(stored: np.ndarray, made: np.ndarray) -> bool:
    return stored.dtype == made.dtype and np.array_equal(stored, made)


def contact_sheet(images: np.ndarray, columns: int = 6) -> Image.Image:
    """Draw all fonts as rows of letters, for visual inspection."""
    strips = [np.pad(np.hstack(list(font)), ((2, 2), (4, 4)), constant_values=64) for font in images]
    strips += [np.zeros_like(strips[0])] * (-len(strips) % columns)
    lines = [np.hstack(strips[i : i + columns]) for i in range(0, len(strips), columns)]
    return Image.fromarray(np.vstack(lines))


if __name__ == "__main__":
    sys.exit(main())
