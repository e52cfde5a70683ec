"""Rendering of the letters of a font file through FreeType, and rejection of unfit fonts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "ABCDEFGHIJ"
SIDE = 28
_EM = 640  # pixels per em: about sixteen samples for each pixel of the result
_MAX_STRETCH = 2.0
_NO_CHARACTER = "\U0010ffff"  # in no font: FreeType draws .notdef for it


class UnfitFontError(ValueError):
    """The font does not draw A to J as ten different, plausible glyphs; the message says why."""


def open_font(path: Path) -> ImageFont.FreeTypeFont:
    """Open a font at the size for sampling, without ligatures and contextual forms."""
    return ImageFont.truetype(str(path), _EM, layout_engine=ImageFont.Layout.BASIC)


def ink(font: ImageFont.FreeTypeFont, text: str) -> np.ndarray:
    """Draw a glyph and crop it to its ink: uint8 (H, W), 255 on the glyph; (0, 0) if nothing is drawn."""
    left, top, right, bottom = font.getbbox(text)
    if right <= left or bottom <= top:
        return np.zeros((0, 0), np.uint8)
    canvas = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(canvas).text((1 - left, 1 - top), text, fill=255, font=font)
    box = canvas.getbbox()
    return np.asarray(canvas.crop(box)) if box else np.zeros((0, 0), np.uint8)


def frame(glyph: np.ndarray, side: int = SIDE, max_stretch: float = _MAX_STRETCH) -> np.ndarray:
    """Fit a cropped glyph into a square as in notMNIST: each axis is stretched until it fills the square.

    The only difference is the limit of the stretch. notMNIST has none, so there the I of a sans serif becomes a white
    square, the same in every font; here it stays a bar.

    Args:
        glyph: uint8 (H, W), cropped to its ink.
        side: Height and width of the result, in pixels.
        max_stretch: Largest ratio of the stretch factors of the two axes.

    Returns:
        uint8 (side, side): the share of each pixel that the glyph covers, times 255.
    """
    height, width = glyph.shape
    rows = _shares(height, max(height, width / max_stretch), side)
    columns = _shares(width, max(width, height / max_stretch), side)
    covered = rows @ glyph.astype(np.float64) @ columns.T
    return np.floor(covered.round(6) + 0.5).astype(np.uint8)


def _shares(samples: int, span: float, side: int) -> np.ndarray:
    """Return the share of each pixel that each sample covers on one axis, (side, samples).

    The samples are in the middle of `span`, which is divided into `side` pixels.
    """
    edges = np.arange(side + 1) * (span / side) - (span - samples) / 2
    position = np.arange(samples)
    low = np.maximum(edges[:-1, None], position)
    high = np.minimum(edges[1:, None], position + 1)
    return np.maximum(high - low, 0) * (side / span)


def render(path: Path, letters: str = LETTERS) -> np.ndarray:
    """Render all letters of a font.

    Args:
        path: The font file, in any format that FreeType reads.
        letters: The characters to draw.

    Returns:
        uint8 (len(letters), 28, 28), white on black.

    Raises:
        UnfitFontError: If a letter is blank, or drawn as the missing glyph, as another letter, or as a speck.
    """
    font = open_font(path)
    missing = ink(font, _NO_CHARACTER)
    glyphs = [ink(font, letter) for letter in letters]
    check_glyphs(glyphs, missing, letters)
    images = np.stack([frame(glyph) for glyph in glyphs])
    check_ink(images, letters)
    return images


def check_glyphs(glyphs: Sequence[np.ndarray], missing: np.ndarray, letters: str = LETTERS) -> None:
    """Raise UnfitFontError if a letter is blank, the missing glyph, or the same as another letter."""
    seen: dict[tuple, str] = {}
    for letter, glyph in zip(letters, glyphs, strict=True):
        if not glyph.size:
            raise UnfitFontError(f"{letter} is blank")
        if glyph.shape == missing.shape and np.array_equal(glyph, missing):
            raise UnfitFontError(f"{letter} is drawn as the missing glyph")
        key = (glyph.shape, glyph.tobytes())
        if key in seen:
            raise UnfitFontError(f"{letter} is drawn as {seen[key]}")
        seen[key] = letter


def check_ink(images: np.ndarray, letters: str = LETTERS) -> None:
    """Raise UnfitFontError if a framed letter is nearly empty, nearly full, or too faint to see."""
    for letter, image in zip(letters, images, strict=True):
        cover = image.mean() / 255
        if not 0.03 <= cover <= 0.95:
            raise UnfitFontError(f"{letter} covers {cover:.0%} of its square")
        if image.max() < 96:
            raise UnfitFontError(f"{letter} is too faint: its brightest pixel is {image.max()} of 255")
