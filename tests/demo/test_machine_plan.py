"""The plan for this machine: a kit is built, measured on both sides, and counted."""

import numpy as np

import isplit_tf as isplit
from isplit_tf.demo.machine_plan import RATES_BIT_S, few_cuts, machine_sections, plan_machine
from support import profiles


def test_this_machine_is_measured_and_planned_for(tmp_path):
    """From a model to the sections of a page, with the files that a plan of two machines would have."""
    images = np.random.default_rng(0).uniform(size=(32, 16, 16, 3)).astype(np.float32)
    accuracy = profiles.accuracy_map({1: {64: 0.9}, 2: {64: 0.89}, 3: {64: 0.9}}).at(64)
    plan = plan_machine(tmp_path, profiles.make_model(), accuracy, images)
    assert {one.kind for one in plan.options} == {"local", "remote", "split"}
    assert all(one.latency_s > 0 and one.latency_p95_s >= one.latency_s for one in plan.options)
    assert isplit.Plan.load(tmp_path / "plan.json").table() == plan.table()
    again = isplit.plan_deployment(
        profiles.make_model(),
        accuracy,
        device=tmp_path / "device.json",
        server=tmp_path / "server.json",
        link=isplit.Link(4e6, 0.04),
    )
    assert again.table() == plan.table()
    sections = machine_sections(plan)
    assert sections[0].body.count("<tr>") == 1 + len(RATES_BIT_S)
    assert sum("<svg" in one.body for one in sections) == 3


def test_few_cuts_lie_far_apart():
    """The cheapest head, the dearest and one between; all where there are no more."""
    cuts = profiles.cuts()
    chosen = few_cuts(cuts)
    assert chosen[0].head_macs == min(cut.head_macs for cut in cuts)
    assert chosen[-1].head_macs == max(cut.head_macs for cut in cuts)
    assert len(chosen) <= 3
    assert few_cuts(cuts[:1]) == [cuts[0]]
