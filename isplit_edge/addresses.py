"""What a server's address says about itself, and how much of it a message shows."""

import ipaddress
import re


def without_password(url: object) -> object:
    """Return an address as a message may show it: without a user and password, also where it is no address at all."""
    return re.sub(r"(//|^)[^/?#]*@", r"\1(left out)@", url) if isinstance(url, str) and "@" in url else url


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its name alone, so that no name server is asked for it."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
