"""Make fonts.csv: read the fonts of the reviewed packages, choose among them, and assign each design to a split.

Run by hand when packages.csv or a rule changes:  python tools/glyphs/collect.py --cache build/fonts
"""

import argparse
import csv
import fnmatch
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from families import family_key
from fontfile import FontFile, font_paths, licence_objection, read_font_file
from raster import UnfitFontError, render
from registries import Package, fetch, read_packages

from selection import assign, distances, join_designs, shared_images, spread

log = logging.getLogger("glyphs")
HERE = Path(__file__).parent
COLUMNS = (
    "split", "design", "family", "style", "registry", "package", "version",
    "path", "sha256", "licence", "copyright",
)  # fmt: skip

SAME_DESIGN = 0.085  # renamed and slightly changed designs were seen up to 0.083
FONTS_A_DESIGN = 9
LEAST_GAP = 0.05  # below it, two fonts of a design look alike


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path("build/fonts"), help="folder for the packages")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    packages = read_packages(HERE / "packages.csv")
    folders = fetch(packages, args.cache)
    fonts, images = draw(packages, folders)
    rows = choose(fonts, images)
    with (HERE / "fonts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    counts = Counter(row["split"] for row in rows)
    log.info("%d fonts of %d designs: %s", len(rows), len({row["design"] for row in rows}), dict(counts))


def draw(packages: list[Package], folders: dict[str, Path]) -> tuple[list[FontFile], np.ndarray]:
    """Render all fit fonts of the packages, without duplicate files; return the fonts and images (N, 10, 28, 28)."""
    fonts: dict[str, FontFile] = {}
    images = []
    for font in _candidates(packages, folders):
        if font.sha256 in fonts:
            continue
        try:
            drawn = render(folders[font.package.package] / font.path)
        except UnfitFontError as error:
            log.info("left out: %s %s: %s", font.package.package, font.path, error)
            continue
        fonts[font.sha256] = font
        images.append(drawn)
    return list(fonts.values()), np.stack(images)


def _candidates(packages: list[Package], folders: dict[str, Path]) -> Iterator[FontFile]:
    left_out = _read("left_out.csv")
    for package in packages:
        for path in font_paths(folders[package.package]):
            if any(row["package"] == package.package and fnmatch.fnmatch(path, row["path"]) for row in left_out):
                continue
            font = read_font_file(package, folders[package.package], path)
            if objection := licence_objection(font):
                log.info("left out: %s %s: %s", package.package, path, objection)
                continue
            yield font


def choose(fonts: list[FontFile], images: np.ndarray) -> list[dict[str, str]]:
    """Return the rows of fonts.csv, after joining designs, choosing fonts of each design, and assigning splits."""
    joined = {row["family"]: row["design"] for row in _read("same_design.csv")}
    keys = [joined.get(key, key) for key in (family_key(font.family) for font in fonts)]
    near = distances(images)
    designs = join_designs(keys, near, SAME_DESIGN)
    members: dict[str, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        members[designs[key]].append(position)
    chosen = {
        design: [group[i] for i in spread(near[np.ix_(group, group)], FONTS_A_DESIGN, LEAST_GAP)]
        for design, group in members.items()
    }
    splits = assign({design: len(group) for design, group in chosen.items()})
    taken = [(splits[design], design, i) for design, group in chosen.items() for i in group]
    doubles = set(shared_images(images[[i for _, _, i in taken]], [split for split, _, _ in taken]))
    for position in sorted(doubles):
        log.info("left out: %s has an image that another split has, too", fonts[taken[position][2]].path)
    rows = [
        fonts[i].row(split=split, design=design)
        for position, (split, design, i) in enumerate(taken)
        if position not in doubles
    ]
    return sorted(rows, key=lambda row: (row["design"], row["package"], row["path"]))


def _read(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
