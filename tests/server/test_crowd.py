"""Places among those who are served: who waits makes room, who is busy does not, and nobody takes all."""

import pytest

from isplit_tf.server.crowd import Crowd, Place, group_of


@pytest.fixture
def crowd():
    """Four places, three of them for one address."""
    return Crowd(4, 3)


def placed(crowd: Crowd, group: str, since: float, ended: list, *, busy: bool = False) -> bool:
    """Asks for a place; its end is noted."""
    place = Place(group, lambda: ended.append(since))
    place.since, place.busy = since, busy
    return crowd.enter(place)


def test_the_oldest_of_an_address_makes_room_for_its_next(crowd):
    """Beyond its own limit an address ends its own connections, though others are older."""
    ended: list[float] = []
    assert all(placed(crowd, group, since, ended) for group, since in (("b", 0), ("a", 2), ("a", 1), ("a", 3)))
    assert placed(crowd, "a", 4, ended)
    assert (ended, len(crowd)) == ([1], 4)


def test_the_largest_address_makes_room_for_another(crowd):
    """Beyond the limit in all it is the one that has most places."""
    ended: list[float] = []
    for group, since in (("b", 0), ("a", 1), ("a", 2), ("c", 3)):
        assert placed(crowd, group, since, ended)
    assert placed(crowd, "d", 9, ended)
    assert ended == [1]


def test_who_is_busy_keeps_the_place(crowd):
    """A place is taken only from those who wait; where there are none, there is no room."""
    ended: list[float] = []
    for group, since in (("a", 1), ("a", 2), ("a", 3), ("b", 4)):
        assert placed(crowd, group, since, ended, busy=group == "a")
    assert not placed(crowd, "a", 9, ended)
    assert placed(crowd, "c", 9, ended, busy=True)
    assert ended == [4]
    assert not placed(crowd, "d", 10, ended)


def test_a_place_that_is_given_back_is_free(crowd):
    """And an address that has none is forgotten."""
    places = [Place("a", int) for _ in range(3)]
    for place in places:
        assert crowd.enter(place)
    for place in places:
        crowd.leave(place)
        crowd.leave(place)
    assert (len(crowd), list(crowd), crowd.largest()) == (0, [], None)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:/x", "unix:/x"),
        ("", ""),
    ],
)
def test_a_holder_of_ipv6_has_a_network(address, group):
    """Its addresses without end are one sender."""
    assert group_of(address) == group
