"""`isplit plan`: files in, a plan and its page out, and what it says when there is none."""

import json

import pytest

from isplit_tf import Plan
from isplit_tf.cli.plan import read_rate, read_trace
from isplit_tf.errors import ArgumentError
from support import profiles
from support.shell import isplit


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, its profiles and its predicted accuracies."""
    folder = tmp_path_factory.mktemp("plan")
    profiles.make_model().save(folder / "small.keras")
    profiles.device_profile().save(folder / "device.json")
    profiles.server_profile().save(folder / "server.json")
    accuracy = profiles.accuracy_map({1: {1000: 0.89, 200: 0.7}, 3: {1000: 0.9, 200: 0.88}})
    accuracy.save(folder / "accuracy.npz")
    accuracy.at(1000).save(folder / "curve.npz")
    return folder


def options(place, accuracy="accuracy.npz"):
    """The files of a plan, as options."""
    found = {"device": "device.json", "server": "server.json", "accuracy": accuracy}
    return [place / "small.keras", *(word for name, file in found.items() for word in (f"--{name}", place / file))]


def test_a_plan_with_its_page_and_picture(place, capsys):
    """What is written is the plan of `plan_deployment`, and the answer is on standard output."""
    link = ["--rate", "1M", "--rtt", 0.02, "--watts", "4,2,1"]
    where = ["-o", place / "plan.json", "--page", place / "plan.html", "--plot", place / "plan.png"]
    assert isplit("plan", *options(place), *link, *where, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    plan = Plan.load(place / "plan.json")
    assert answer["best"]["name"] == plan.best().name
    assert answer["why"] == plan.why()
    assert len(answer["options"]) == len(profiles.make_plan().options)
    assert answer["best"]["energy_j"] > 0
    assert "<svg" in (place / "plan.html").read_text()
    assert (place / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert isplit("plan", *options(place), *link, "-o", place / "other.json", "--page", place / "plan.html") == 2
    assert "Give --overwrite, or another place with --page" in capsys.readouterr().err


def test_bounds_links_and_curves(place, capsys):
    """A bound, a trace, a curve at one rate; and no option within the bounds writes nothing."""
    (place / "trace.csv").write_text("second,bit/s,rtt\n0,1e6,0.02\n10,2e6,0.05\n")
    known = options(place, "curve.npz")
    given = [*known, "--trace", place / "trace.csv", "--kind", "split", "-o", place / "traced.json"]
    assert isplit("plan", *given) == 0
    assert "Best: split at" in capsys.readouterr().out
    assert isplit("plan", *known, "--rate", 1e6, "--rtt", 0, "--max-latency", 1e-6, "-o", place / "none.json") == 2
    assert "No option keeps --max-latency 1e-06. The nearest is" in capsys.readouterr().err
    assert not (place / "none.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "link: none was given, and the device did not measure one"),
        (["--rate", "4M"], "A link has --rate and --rtt. Received: --rate alone."),
        (["--rate", "0", "--rtt", "0.1"], "rate_bit_s must be a number above 0"),
        (["--rate", "1M", "--rtt", "0.1", "--watts", "4"], "--watts: expected three numbers"),
        (
            ["--rate", "1M", "--rtt", "0.1", "--trace", "t.csv"],
            "--trace tells the link over time: leave out --rate",
        ),
    ],
)
def test_what_is_no_link_or_no_watts(place, capsys, words, message):
    """Exit status 2, and what was expected."""
    assert isplit("plan", *options(place), *words, "-o", place / "never.json") == 2
    assert message in capsys.readouterr().err
    assert not (place / "never.json").exists()


def test_rates_as_they_are_typed(tmp_path):
    """With or without a unit; lines of a trace that are none are named."""
    assert [read_rate(text) for text in ("4e6", "250k", "4M", "1.5G")] == [4e6, 250e3, 4e6, 1.5e9]
    (tmp_path / "trace.csv").write_text("0,1e6,0.1\n\nfast,1,2\n")
    with pytest.raises(ArgumentError, match="line 3: expected second, bits per second, delay in seconds"):
        read_trace(tmp_path / "trace.csv")


def test_a_plan_bounds_the_candidates(place, capsys, tmp_path):
    """`isplit propose --plan --max-latency`."""
    profiles.make_plan().save(tmp_path / "plan.json")
    isplit_curve = profiles.importance_curve()
    isplit_curve.save(tmp_path / "curve.npz")
    given = ["propose", tmp_path / "curve.npz", "--plan", tmp_path / "plan.json", "--json"]
    assert isplit(*given, "--max-latency", 1.0, "-o", tmp_path / "candidates.json") == 0
    assert all(one["latency_s"] <= 1.0 for one in json.loads(capsys.readouterr().out))
    assert isplit("propose", tmp_path / "curve.npz", "--max-latency", 1.0, "-o", tmp_path / "more.json") == 2
    assert "there are no latencies to go by" in capsys.readouterr().err
