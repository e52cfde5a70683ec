"""Faults, load and abuse, short; `benchmarks/faults.py` runs the same parts long."""

import pytest
from trouble import abuse, crash, link, load, tamper
from trouble.place import Row, ServerProcess, make_place

import faults


def test_the_table_says_what_came_and_what_was_wrong():
    """A row has its counts in order of their names, and what was wrong in a column of its own."""
    row = Row("requests", 1200, seconds=3.4)
    row.outcome.update({"status 2": 1000, "status 0": 199})
    row.fail("one")
    assert list(faults.table([row]))[2:] == ["| requests | 1,200 | status 0: 199, status 2: 1,000 | 1 | 3 |"]


def test_malformed_payloads(place, served, check):
    """Truncated, extended, flipped, of another bundle, noise: each gets its status, good neighbours are right."""
    row = abuse.malformed_payloads(place, (served.url, served.grpc_url), 3000)
    check(row, "status 0", "status 1", "status 2")


def test_coded_payloads_fail_alone(tmp_path, check):
    """The same for a bundle whose latent is coded, also where the checksum of a spoiled code is right."""
    place = make_place(tmp_path / "bundle", coded=True)
    with ServerProcess(place.bundle) as server:
        row = abuse.malformed_payloads(place, (server.url, server.grpc_url), 2000, what="malformed coded payloads")
        check(row, "status 0", "status 1", "status 2")


def test_malformed_rest_requests(place, served, check):
    """Wrong JSON, wrong rank, huge numbers, endless bodies, noise: an answer of the right kind to each, at once."""
    check(abuse.malformed_rest(place, served.url, 2500), "HTTP 400", "HTTP 404", "HTTP 413")


def test_malformed_grpc_calls(place, served, check):
    """Cut and changed messages: a code of the right kind to each."""
    check(abuse.malformed_grpc(place, served.grpc_url, 800), "INTERNAL", "OK")


def test_a_link_that_fails(place, served, check):
    """Drops, delays, cuts and duplicates: every image is answered once and right, or told as failed."""
    row = check(link.over_a_bad_link(place, served.url, 400, share=0.15), "answered right", "link: drop", "link: cut")
    assert row.outcome["answered right"] > 0.9 * row.count


def test_many_clients_at_once(place, served, check):
    """64 clients over both ports each get their own answers, and none is refused."""
    row = check(load.many_clients(place, (served.url, served.grpc_url), 64, 3))
    assert row.outcome["answered right"] == 64 * 3 * 2


def test_memory_is_flat(place, served, check):
    """Neither the server nor the clients grow with the requests."""
    check(load.flat_memory(place, served, 3000), "answered right")


def test_a_version_changes_under_load(place, tmp_path, check):
    """While another version comes and goes, no answer is wrong, and devices of the old one always get theirs."""
    other = make_place(tmp_path / "second", seed=1, version=2)
    check(load.changing_versions((place, other), tmp_path / "models", 2, every_s=1.2), "answered right")


def test_bundles_that_were_tampered_with(place, tmp_path, check):
    """Hashes, paths, sizes, formats, bits: refused by all who open them."""
    row = check(tamper.tampered(place, tmp_path, 120))
    assert len(row.outcome) == 8


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back(place, check):
    """A run goes on over it: right answers or failures that are told."""
    check(load.killed_servers(place, 1, up_s=1.0), "answered right")


@pytest.mark.slow
def test_exports_that_are_killed(place, tmp_path, check):
    """The old bundle or the new one, whole, whenever the writer dies."""
    check(crash.killed_exports(place.bundle, tmp_path, 6, workers=1), "the old bundle, whole")
