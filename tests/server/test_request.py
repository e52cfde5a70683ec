"""Who may ask, and how: names of this machine on this machine, no pages of other sites, requests with one end."""

import pytest

from isplit_edge.framing import Malformed, take_head
from isplit_tf.server.request import Policy

LOCAL, OPEN = Policy(1000, "127.0.0.1"), Policy(1000, "0.0.0.0")


def read(policy: Policy, *lines: str, first: str = "POST /v1/models/tail:predict HTTP/1.1"):
    """What a policy makes of a request."""
    return policy.read(take_head(bytearray("\r\n".join((first, *lines, "", "")).encode("latin-1"))))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8501", "127.0.0.1", "127.9.9.9:80", "[::1]:8501", "tail.localhost", "localhost."]
)
def test_names_of_this_machine(host):
    """With and without a port."""
    assert read(LOCAL, f"Host: {host}").method == "POST"


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:8501",
        "127.0.0.1.attacker.example",
        "localhost.attacker.example",
        "10.0.0.1",
        "0.0.0.0",
        "server",
        "[2001:db8::1]",
    ],
)
def test_a_name_that_was_led_here(host):
    """A page whose name was made to lead to this machine reads nothing; an open server is asked by any name."""
    with pytest.raises(Malformed) as caught:
        read(LOCAL, f"Host: {host}")
    assert caught.value.status == 403
    assert read(OPEN, f"Host: {host}").method == "POST"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Host: localhost", "Host: localhost"],
        ["Host: localhost", "Host: attacker.example"],
        ["Host: localhost/x"],
        ["Host: user@localhost"],
        ["Host: localhost:port"],
        ["Host: [::1"],
        ["Host: local host"],
    ],
)
@pytest.mark.parametrize("policy", [LOCAL, OPEN])
def test_hosts_that_are_none(policy, lines):
    """None, two, or more than a name and a port; HTTP/1.0 may do without."""
    with pytest.raises(Malformed) as caught:
        read(policy, *lines)
    assert caught.value.status == 400
    assert not read(policy, first="GET / HTTP/1.0").keep_open


@pytest.mark.parametrize(
    ("policy", "origin", "fine"),
    [
        (LOCAL, "http://localhost:3000", True),
        (LOCAL, "http://127.0.0.1", True),
        (LOCAL, "https://attacker.example", False),
        (LOCAL, "null", False),
        (LOCAL, "", False),
        (LOCAL, "http://localhost.attacker.example", False),
        (OPEN, "http://localhost", True),
        (OPEN, "http://attacker.example", False),
    ],
)
def test_pages_of_other_sites(policy, origin, fine):
    """The browser says whose page it is."""
    lines = ["Host: localhost:8501", f"Origin: {origin}"]
    if fine:
        assert read(policy, *lines).method == "POST"
    else:
        with pytest.raises(Malformed, match="other sites"):
            read(policy, *lines)


@pytest.mark.parametrize("form", ["text/plain", "Text/Plain; charset=utf-8", "multipart/form-data; boundary=x"])
def test_forms_that_a_page_may_send_anywhere(form):
    """Without leave a page can only send these; clients of the API send JSON, curl what it likes."""
    with pytest.raises(Malformed) as caught:
        read(LOCAL, "Host: localhost", f"Content-Type: {form}")
    assert caught.value.status == 415
    for good in ("application/json", "application/x-www-form-urlencoded"):
        assert read(LOCAL, "Host: localhost", f"Content-Type: {good}").method == "POST"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length: 1001"], 413),
        (["Content-Length: 1", "Transfer-Encoding: chunked"], 400),
        (["Expect: 200-ok"], 417),
        (["Expect: 100-continue", "Expect: 100-continue"], 400),
    ],
)
def test_what_is_refused_before_a_body_is_read(lines, status):
    """Too long, with two ends, with wishes that are not known."""
    with pytest.raises(Malformed) as caught:
        read(LOCAL, "Host: localhost", *lines)
    assert caught.value.status == status


def test_what_a_request_says():
    """Length, chunks, leave, and whether the connection stays."""
    found = read(LOCAL, "Host: localhost", "Content-Length: 5", "Expect: 100-Continue", "Connection: x, Close")
    assert (found.body_bytes, found.expects_leave, found.keep_open) == (5, True, False)
    found = read(LOCAL, "Host: localhost", "Transfer-Encoding: chunked")
    assert (found.body_bytes, found.expects_leave, found.keep_open) == (-1, False, True)
    assert read(LOCAL, "Connection: keep-alive", first="GET / HTTP/1.0").keep_open
