"""Metadata of font files: family, style, copyright, licence, and whether the letters are present."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from fontTools.ttLib import TTFont
from raster import LETTERS
from registries import Package, sha256

ALLOWED_LICENCES = ("OFL-1.0", "OFL-1.1", "Apache-2.0", "CC0-1.0", "public-domain")
_NAMES_ALLOWED = re.compile(r"open font|\bofl\b|scripts\.sil\.org|openfontlicense|apache|public domain", re.I)
_NAMES_OTHER = re.compile(
    r"\bl?gpl\b|general public|creative commons|bitstream|agreement|eula|non-?commercial|personal use", re.I
)
_COPYRIGHT, _FAMILY, _STYLE, _LICENCE, _LICENCE_URL, _TYPO_FAMILY, _TYPO_STYLE = 0, 1, 2, 13, 14, 16, 17


@dataclass(frozen=True)
class FontFile:
    """One font file of a package; `path` is relative to the unpacked package."""

    package: Package
    path: str
    sha256: str
    family: str
    style: str
    copyright: str
    licence_text: str
    has_letters: bool

    def row(self, *, split: str, design: str) -> dict[str, str]:
        """Return this font as a row of fonts.csv."""
        return {
            "split": split,
            "design": design,
            "family": self.family,
            "style": self.style,
            "registry": self.package.registry,
            "package": self.package.package,
            "version": self.package.version,
            "path": self.path,
            "sha256": self.sha256,
            "licence": self.package.licence,
            "copyright": self.copyright,
        }


def font_paths(folder: Path) -> list[str]:
    """Return the sorted font files of an unpacked package: desktop fonts, else the Latin part of web fonts."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    desktop = [path for path in files if path.suffix.lower() in (".ttf", ".otf")]
    web = [path for path in files if path.suffix == ".woff" and re.search(r"-latin-\d", path.name)]
    return sorted(path.relative_to(folder).as_posix() for path in desktop or web)


def read_font_file(package: Package, folder: Path, path: str) -> FontFile:
    """Read the name table and the character map of a font file."""
    with TTFont(folder / path, lazy=True) as font:
        names = {number: (font["name"].getDebugName(number) or "") for number in range(18)}
        characters = font.getBestCmap() or {}
        order = {characters.get(ord(letter), ".notdef") for letter in LETTERS}
    family, style = names[_TYPO_FAMILY] or names[_FAMILY], names[_TYPO_STYLE] or names[_STYLE]
    if package.registry == "npm":  # web fonts name each weight as a separate family
        family, style = _npm_names(folder, path)
    return FontFile(
        package=package,
        path=path,
        sha256=sha256(folder / path),
        family=_line(family),
        style=_line(style),
        copyright=_line(names[_COPYRIGHT])[:240],
        licence_text=_line(f"{names[_LICENCE]} {names[_LICENCE_URL]}"),
        has_letters=len(order) == len(LETTERS) and ".notdef" not in order,
    )


def licence_objection(font: FontFile) -> str | None:
    """Return why the metadata of a font forbid its use, or None if it may be used.

    A person has read the package's licence file. The font file need not name its licence, but it must not name another
    one.
    """
    if font.package.licence not in ALLOWED_LICENCES:
        return f"licence {font.package.licence} is not one of {', '.join(ALLOWED_LICENCES)}"
    if not font.has_letters:
        return "no glyphs of its own for A to J"
    own = f"{font.licence_text} {font.copyright}"
    if _NAMES_OTHER.search(own):
        return f"the file names other terms: {own[:120]}"
    if font.licence_text and not _NAMES_ALLOWED.search(own):
        return f"the file has terms of its own: {font.licence_text[:120]}"
    return None


def _npm_names(folder: Path, path: str) -> tuple[str, str]:
    metadata = json.loads((folder / "package/metadata.json").read_text(encoding="utf-8"))
    return metadata["family"], Path(path).stem.split("-latin-")[1]


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
