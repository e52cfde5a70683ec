"""What a plan chose is exported, and its latencies bound the candidates."""

import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError
from support import profiles

IMAGES = np.random.default_rng(0).uniform(size=(64, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def plan():
    """The plan over 1 Mbit/s and 20 ms."""
    return profiles.make_plan()


@pytest.mark.filterwarnings("ignore:.*representative images")
def test_the_best_option_is_exported(plan, tmp_path):
    """Split, fitted and converted: the bundle is at the option's cut, and answers."""
    choice = plan.best(kind="split")
    bundle = isplit.export_bundle(
        choice, tmp_path / "bundle", original=profiles.make_model(), representative_data=IMAGES, progress=False
    )
    assert bundle.manifest.cut["name"] == choice.cut.name
    assert bundle.predict(IMAGES[:2], preprocessed=True).shape == (2, 10)


@pytest.mark.parametrize(
    ("which", "changes", "message"),
    [
        ({"kind": "local"}, {}, "The option 'whole model here' has no halves that a bundle could hold"),
        ({"kind": "remote"}, {}, "the whole model runs on the server"),
        (
            {"kind": "split"},
            {"precision": "float16"},
            "measured with heads in 'int8'. Received: precision='float16'",
        ),
        ({"kind": "split"}, {"original": None}, "It needs original=, the model of the plan"),
        ({"kind": "split"}, {"representative_data": None}, "It needs representative_data=, images"),
    ],
)
def test_an_option_that_cannot_be_exported_is_refused(plan, tmp_path, which, changes, message):
    """Before anything is written."""
    given = {"original": profiles.make_model(), "representative_data": IMAGES} | changes
    with pytest.raises(ArgumentError, match=message):
        isplit.export_bundle(plan.best(**which), tmp_path / "bundle", **given)
    assert not (tmp_path / "bundle").exists()


@pytest.fixture(scope="module")
def curve():
    """Importance at every cut, on noise."""
    return profiles.importance_curve()


def test_candidates_are_bounded_by_their_latency(plan, curve, tmp_path):
    """Measured, in place of multiply-accumulates; with a warning where the whole model is as fast."""
    found = isplit.propose(curve, plan=plan)
    timed = {one.cut.name: one.latency_s for one in found if one.latency_s is not None}
    assert set(timed) <= {"pool1", "pool2"}
    assert timed
    bound = max(timed.values())
    assert {one.cut.name for one in isplit.propose(curve, plan=plan, max_latency_s=bound)} == set(timed)
    slow = [one for one in found if one.cut.name == "pool2"]
    assert all("is faster" in one.warning for one in slow)
    found.save(tmp_path / "candidates.json")
    assert type(found).load(tmp_path / "candidates.json") == found
    with pytest.raises(ArgumentError, match=r"max_latency_s=0\.0001.*The shortest latency"):
        isplit.propose(curve, plan=plan, max_latency_s=1e-4)
    with pytest.raises(ArgumentError, match="max_latency_s: there are no latencies to go by"):
        isplit.propose(curve, max_latency_s=0.1)
    with pytest.raises(ArgumentError, match="plan: expected the result of plan_deployment"):
        isplit.propose(curve, plan="plan.json")
    with pytest.raises(ArgumentError, match="max_latency_s: expected seconds above 0"):
        isplit.propose(curve, plan=plan, max_latency_s=0)


def test_candidates_without_a_plan_are_written_as_before(curve, tmp_path):
    """So that an earlier release reads them."""
    isplit.propose(curve).save(tmp_path / "candidates.json")
    assert '"format_version": 2' in (tmp_path / "candidates.json").read_text()
    assert "latency_s" not in (tmp_path / "candidates.json").read_text()
