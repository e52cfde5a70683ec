"""Keys of font families: the name without the words for weight, width, slope and kind."""

import re

_STYLES = frozenset(
    """
    thin hairline extralight ultralight light book regular roman normal plain text medium demi semibold demibold
    bold extrabold ultrabold black heavy fat ultra extra semi
    condensed narrow compressed compact wide expanded extended halfwidth tight loose halftight halfloose
    italic oblique slanted upright half slant inclined
    sans serif slab mono monospace monospaced typewriter code term rounded round grotesk grotesque gothic
    display headline caption deck poster banner subhead fine
    sc smallcaps caps all unicase alternates alt inline outline shadow shade sketch stencil swash
    one two new old basic pro std tt ttf otf otc variable vf var web ui
    """.split()
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def family_key(name: str) -> str:
    """Return the name by which fonts of one design are kept together.

    Numbers and words for weight, width, slope, optical size, small capitals and kind ("Sans", "Mono") are removed, so
    that a superfamily counts as one family: two designs in one family do less harm than one design in two splits. A
    name that consists only of such words is kept whole.

    Args:
        name: Name of a family as given by a font or a package.

    Returns:
        Lower-case words, joined by single spaces.

    Example:
        >>> family_key("IBM Plex Sans Condensed")
        'ibm plex'
        >>> family_key("DotGothic16")
        'dot'
        >>> family_key("Black Sans")
        'black sans'
    """
    words = re.findall(r"[^\W\d_]+|\d+", _CAMEL.sub(" ", name))
    words = [word.lower() for word in words]
    kept = [word for word in words if word not in _STYLES and not word.isdigit()]
    return " ".join(kept or words)
