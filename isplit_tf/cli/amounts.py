"""Numbers as they are typed: `1000`, `1k`, `2.5M`, `1_000`, and lists of them with commas between."""

import argparse
import re
from decimal import Decimal

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_FACTORS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_NUMBER = re.compile(r"([+-]?[0-9_]*\.?[0-9_]+\.?(?:e[+-]?[0-9]+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)


def whole(text: str) -> int:
    """Return a whole number as it was typed; k, M, G and T stand for powers of 1,000, Ki, Mi, Gi and Ti of 1,024.

    Raises:
        argparse.ArgumentTypeError: If it is none.

    Example:
        >>> whole("2.5M"), whole("64"), whole("1Ki")
        (2500000, 64, 1024)
    """
    found = _NUMBER.fullmatch(text.strip())
    value = Decimal(found[1].replace("_", "")) * _FACTORS[(found[2] or "").lower()] if found else None
    if value is None or abs(value) > 10**18 or value != int(value):
        raise argparse.ArgumentTypeError(f"expected a whole number such as 1000, 1k or 2.5M. Received: {text!r}")
    return int(value)


def rates(text: str) -> int | tuple[int, ...]:
    """Return bytes per frame as they were typed: one number, or several with commas between."""
    numbers = tuple(whole(part) for part in text.split(","))
    return numbers if "," in text else numbers[0]
