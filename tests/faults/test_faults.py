"""Faults, load and abuse, short; `benchmarks/faults.py` runs the same parts long."""

import shutil

import pytest
from trouble import abuse, crash, crowds, failing, link, load, mutation, sharing, tamper
from trouble.place import Row, ServerProcess, make_place

import faults


def test_the_table_says_what_came_and_what_was_wrong():
    """A row has its counts in order of their names, and what was wrong in a column of its own."""
    row = Row("requests", 1200, seconds=3.4)
    row.outcome.update({"status 2": 1000, "status 0": 199})
    row.fail("one")
    assert list(faults.table([row]))[2:] == ["| requests | 1,200 | status 0: 199, status 2: 1,000 | 1 | 3 |"]


def test_rows_of_single_parts_are_put_into_the_table():
    """A row is replaced by its name, a new one comes behind, and the rest stays as it is."""
    first, second = Row("old", 1, seconds=1), Row("other", 2, seconds=2)
    old = ["# Title", "", *faults.table([first, second]), "", "machine"]
    new = list(faults.table([Row("other", 3, seconds=3), Row("new", 4, seconds=4)]))
    assert [line.split("|")[1:3] for line in faults.merged(old, new)][2:] == [
        [" old ", " 1 "],
        [" other ", " 3 "],
        [" new ", " 4 "],
    ]


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


def test_clients_that_processes_and_threads_share(place, served, check):
    """Forked while used, and used by threads at once: everybody gets their own answers."""
    check(sharing.forks(place, served.url, 100), "answered right")
    check(sharing.threads(place, (served.url, served.grpc_url), 160), "answered right")


def test_answers_before_and_bytes_behind_the_answer(place, served, check):
    """None becomes the answer to another image."""
    check(sharing.interim(place, served.url, 200), "answered right")


def test_answers_that_claim_memory(place, served, check):
    """Told as failed, within a device's memory."""
    check(crowds.claims(place, served.url, 60), "told as failed")


def test_calls_without_a_message(place, served, check):
    """They take no worker from others."""
    check(crowds.silent_calls(place, served.grpc_url, 100, 50), "answered right")


@pytest.mark.slow
def test_a_crowd_that_waits(place, served):
    """Good clients are answered beside it; how fast is for the long run, on a machine of its own."""
    row = crowds.crowds(place, served.url, 0.5, idle=600, dripping=100)
    assert [text for text in row.wrong if not text.startswith("good clients kept")] == []
    assert row.outcome["answered right"] > 50


def test_requests_whose_end_is_not_clear(served, check):
    """One answer to each, and it is an error."""
    check(mutation.unclear_ends(served.url, 300), "HTTP 400")


def test_mutated_files(place, tmp_path, check):
    """Read, or refused by an error of ours."""
    check(mutation.mutated_files(place, tmp_path / "mutated", 500), "read", "refused")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler for what lets writes fail")
@pytest.mark.slow
def test_storage_that_fails(tmp_path, check):
    """Full, broken or interrupted at some of the changes: told, and nothing lost."""
    check(failing.failing_storage(tmp_path / "storage", ("curve", "save", "publish"), step=5), "told, nothing lost")
