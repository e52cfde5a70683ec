"""`isplit reproduce` at its smallest scale: every experiment, whole, and through kills."""

import json
import os
import random
import re
import subprocess
import sys
import time

import pytest

from isplit_tf.cli.main import parse, run
from isplit_tf.experiments import originals
from isplit_tf.experiments.catalogue import EXPERIMENTS, SCALES
from isplit_tf.experiments.jobs import open_jobs, points
from isplit_tf.graph.axis import main_cuts
from isplit_tf.graph.cuts import list_cuts
from isplit_tf.graph.program import read_program
from isplit_tf.sweep.store import VOLATILE, Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def command(results, *words):
    return [sys.executable, "-m", "isplit_tf", *arguments(results, *words)]


def arguments(results, *words):
    return ["reproduce", *words, "--scale", "smoke", "--results", str(results)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """All experiments, uninterrupted, in a process of their own; and the page."""
    results = tmp_path_factory.mktemp("results")
    done = subprocess.run(
        command(results, "all", "--page", str(results / "page.md")), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return results, done


def rows_of(results, study):
    rows = Store(results / "smoke" / f"{study}.jsonl").rows()
    return {row["key"]: {name: value for name, value in row.items() if name not in VOLATILE} for row in rows}


@pytest.mark.parametrize("study", SCALES["smoke"].values(), ids=lambda study: study.name)
def test_a_network_has_the_cuts_that_its_study_names(study):
    """The scale's networks have as many main cuts as the points that are measured, and as the paper's network."""
    program = read_program(originals.build_network(study.model, study.data.size, 10, seed=0))
    count = len(main_cuts(program, list_cuts(program)))
    assert max((*points(study), study.retraining.tuned_at)) < count
    if study.model.name == "vgg16_narrow":
        assert count == 18


def test_every_experiment_is_complete(finished):
    """No job is left, each has its JSON file, and progress says what is left while it runs."""
    results, done = finished
    for experiment in EXPERIMENTS.values():
        found = json.loads((results / "smoke" / f"{experiment.name}.json").read_text())
        assert set(found["jobs_left"]) == set(experiment.studies)
        assert not any(found["jobs_left"].values())
        assert f"{experiment.name}: {experiment.title}, complete" in done.stdout
    assert re.search(r"in \d+ s; about \d+ min left; \d+ left\n", done.stderr)
    assert " jobs to do, 0 done" in done.stderr


def test_the_page_shows_every_experiment(finished):
    """Each has a section, each picture that it names is there, and it begins with the verdict."""
    results, _ = finished
    page = (results / "page.md").read_text()
    assert page.split("\n\n")[1].startswith("**Here CUI beat ")
    for name in set(EXPERIMENTS) - {"rate_accuracy"}:
        assert f"(`{name}`)" in page
    pictures = [part.split(")")[0] for part in page.split("](")[1:]]
    assert len(pictures) >= 10
    for picture in pictures:
        assert (results / picture).read_text().startswith("<svg")
        assert (results / picture).with_suffix(".png").stat().st_size > 1000
    assert "nan" not in page.lower().replace("tinyimagenet", "")


def test_rate_and_accuracy_have_a_page_of_their_own(finished):
    """It begins with the picture and the answer, says what is left to splits alone, and shows each cut."""
    results, _ = finished
    page = results / "rate.md"
    assert run(parse(arguments(results, "rate_accuracy", "--report-only", "--page", str(page)))) == 0
    text = page.read_text()
    assert "only a split is possible" in text or "No split sends less" in text
    assert "within half a point of the best split" in text
    assert text.count("![") == 3
    assert text.split("\n\n")[1].startswith("![a small residual network on glyphs")
    assert text.split("\n\n")[2].startswith(("**At equal accuracy a split sends", "**Not all that was claimed holds"))
    found = json.loads((results / "smoke" / "rate_accuracy.json").read_text())
    for lines in found["studies"]["notmnist_vgg16"]["cuts"].values():
        coded = lines.pop("projection, untrained, coded")
        assert {point["payload_bytes"] for points in lines.values() for point in points} == {12 + 16}
        assert 20 < coded[0]["payload_bytes"] < 36
    assert len(found["studies"]["lite1_photos"]["cuts"]) == 2


def test_a_finished_experiment_is_not_run_again(finished):
    """A second call changes no row and takes no model to hand."""
    results, _ = finished
    files = {path: path.read_bytes() for path in (results / "smoke").glob("*.jsonl")}
    assert run(parse(arguments(results, "fig3"))) == 0
    assert all(path.read_bytes() == content for path, content in files.items())


def test_killed_runs_end_with_the_same_results(finished, tmp_path):
    """SIGKILL at random moments, then on to the end: the rows of a run that nobody disturbed."""
    whole = rows_of(finished[0], "xray_vgg16")
    study = SCALES["smoke"]["xray_vgg16"]
    path = tmp_path / "smoke" / "xray_vgg16.jsonl"
    # One experiment alone: other jobs beside it must not matter either.
    wanted = [EXPERIMENTS["fig6"]]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    luck = random.Random(0)
    for _ in range(2):
        before = len(Store(path))
        process = subprocess.Popen(
            command(tmp_path, "fig6", "--study", "xray_vgg16"), env=quiet, stderr=subprocess.DEVNULL
        )
        while len(Store(path)) < before + luck.randint(2, 4) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(luck.uniform(0, 2))
        process.kill()
        process.wait()
    assert open_jobs(study, wanted, Store(path)), "the kills came before the end"
    subprocess.run(command(tmp_path, "fig6", "--study", "xray_vgg16"), env=quiet, check=True, capture_output=True)
    rows = rows_of(tmp_path, "xray_vgg16")
    assert not open_jobs(study, wanted, Store(path))
    assert rows == {key: whole[key] for key in rows}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fig9"], r"No experiment 'fig9'\. There are: fig3, .* and all"),
        (["fig3", "--scale", "huge"], r"No scale 'huge'\. There are: smoke, cpu, paper"),
        (["fig3", "--study", "mnist"], r"fig3 reads no study 'mnist'\. It reads: tiny_vgg16"),
    ],
)
def test_bad_requests_are_refused(words, message, tmp_path, capsys):
    """The message says what there is, and nothing is written."""
    assert run(parse(["reproduce", "--results", str(tmp_path), *words])) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
