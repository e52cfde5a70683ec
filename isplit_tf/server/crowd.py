"""The bound on those who wait: connections and calls that have not yet sent a whole request. Pure."""

import ipaddress
import time
from collections.abc import Callable, Iterator


class Place:
    """A place among those who are served.

    Attributes:
        group: Whose it is, from `group_of`.
        since: When it last had an answer, or began.
        busy: Whether it has sent a whole request, so that nobody takes its place.
        held_bytes: Memory that its unfinished request takes.
    """

    def __init__(self, group: str, end: Callable[[], object]):
        self.group = group
        self.since = time.monotonic()
        self.busy = False
        self.held_bytes = 0
        self.end = end

    def rest(self) -> None:
        """Note that an answer was sent."""
        self.since, self.busy, self.held_bytes = time.monotonic(), False, 0


class Crowd:
    """Places up to a limit in all, and a limit for each address; who has waited longest makes room for a new one.

    So a crowd that sends nothing, or a byte at a time, ends its own connections, and not those that are in use.

    Args:
        most: Places in all.
        most_of_one: Places of one address.
    """

    def __init__(self, most: int, most_of_one: int):
        self.most, self.most_of_one = most, most_of_one
        self._places: dict[str, dict[Place, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def __iter__(self) -> Iterator[Place]:
        return iter([place for group in self._places.values() for place in group])

    def enter(self, place: Place) -> bool:
        """Give a place; return False if all are busy."""
        mine = self._places.get(place.group, {})
        if len(mine) >= self.most_of_one:
            found = self._give_way(mine)
        elif len(self) >= self.most:
            # The largest group gives way, so that no address takes the places of the others.
            found = self._give_way(max(self._places.values(), key=len)) or self._give_way(dict.fromkeys(self))
        else:
            found = True
        if found:
            self._places.setdefault(place.group, {})[place] = None
        return found

    def leave(self, place: Place) -> None:
        """Give a place back."""
        group = self._places.get(place.group, {})
        group.pop(place, None)
        if not group:
            self._places.pop(place.group, None)

    def largest(self) -> Place | None:
        """Return the place whose unfinished request takes most memory."""
        return max((place for place in self if not place.busy), key=lambda place: place.held_bytes, default=None)

    def _give_way(self, places: dict[Place, None]) -> bool:
        oldest = min((place for place in places if not place.busy), key=lambda place: place.since, default=None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.end()
        return True


def group_of(address: str) -> str:
    """Return what stands for one sender: an address, or the network of 64 bits that one holder of IPv6 has."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
