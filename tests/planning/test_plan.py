"""Plans of handmade profiles: every number can be counted by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, BundleError, CutError, PlanError
from isplit_tf.planning.option import PARTS
from isplit_tf.planning.protocol import exchange_of, on_the_wire
from support import profiles

make_plan = profiles.make_plan


@pytest.fixture(scope="module")
def plan():
    """The plan over 1 Mbit/s and 20 ms."""
    return make_plan()


def only(plan, kind, **fields):
    """The one option of a kind with these fields."""
    found = [
        one
        for one in plan.options
        if one.kind == kind and all(getattr(one, name) == value for name, value in fields.items())
    ]
    (option,) = found
    return option


def at(plan, index, payload_bytes):
    """The split at a cut and a rate."""
    return only(plan, "split", cut=profiles.cuts()[index], payload_bytes=payload_bytes)


def sent_s(payload_bytes):
    """Seconds of sending a payload at 1 Mbit/s over REST."""
    exchange = exchange_of(payload_bytes, 10, "rest")
    return 8e-6 * on_the_wire(exchange.request_bytes + exchange.request_header_bytes)


def received_s():
    """Seconds of the delay and of receiving an answer of ten classes."""
    exchange = exchange_of(0, 10, "rest")
    return 0.02 + 8e-6 * on_the_wire(exchange.answer_bytes + exchange.answer_header_bytes)


def test_every_option_is_there(plan):
    """The whole model here; raw, PNG and two JPEGs; each cut at each rate."""
    assert [one.kind for one in plan.options] == ["local"] + 4 * ["remote"] + 4 * ["split"]
    assert [(one.codec, one.quality) for one in plan.options[1:5]] == [
        ("RAW", None),
        ("PNG", None),
        ("JPEG", 50),
        ("JPEG", 90),
    ]
    assert only(plan, "remote", codec="RAW").payload_bytes == 16 * 16 * 3


def test_the_whole_model_here(plan):
    """Preprocessing and the model, nothing else."""
    local = only(plan, "local")
    assert local.parts_s == {"preprocessing": 0.001, "head": 0.04, "coding": 0, "up": 0, "server": 0, "down": 0}
    assert local.latency_s == pytest.approx(0.041)
    assert local.latency_p95_s == pytest.approx(0.041)
    assert (local.payload_bytes, local.device_bytes, local.device_ram_bytes, local.server_s) == (0, 9000, 20000, 0)
    assert local.frames_s == pytest.approx(1 / 0.041)
    assert local.accuracy == pytest.approx(0.9)
    assert local.accuracy_interval[0] < 0.9 < local.accuracy_interval[1]


def test_an_image_that_is_sent(plan):
    """Compression, the bytes in base64 with headers and packets, decoding and the whole model on the server."""
    png = only(plan, "remote", codec="PNG")
    assert png.parts_s == pytest.approx(
        {
            "preprocessing": 0,
            "head": 0,
            "coding": 0.005,
            "up": sent_s(800),
            "server": 0.006,  # 5 ms behind a JPEG, of which 1 is its decoding; 2 for a PNG
            "down": received_s(),
        }
    )
    assert png.latency_s == pytest.approx(sum(png.parts_s.values()))
    assert png.accuracy == pytest.approx(0.9)
    assert only(plan, "remote", codec="RAW").parts_s["server"] == pytest.approx(0.004)
    assert only(plan, "remote", quality=50).accuracy is None


def test_a_split_as_it_was_measured(plan):
    """The parts of the profiles, and the link."""
    split = at(plan, 1, 1000)
    assert split.parts_s == pytest.approx(
        {
            "preprocessing": 0.001,
            "head": 0.01,
            "coding": 0.002,
            "up": sent_s(1000),
            "server": 0.003,
            "down": received_s(),
        }
    )
    assert not split.interpolated
    assert (split.device_bytes, split.mean_bytes, split.accuracy) == (2000, 1000, pytest.approx(0.89))
    assert split.server_s == pytest.approx(0.0015)  # 12 ms for eight
    assert split.frames_s == pytest.approx(1 / max(0.013, sent_s(1000)))
    assert at(plan, 1, 200).parts_s["coding"] == pytest.approx(0.0004)


def test_a_cut_that_was_not_measured_lies_between_its_neighbours():
    """Along the multiply-accumulates, on the device and on the server, and the option says so."""
    plan = make_plan(accuracy=profiles.accuracy_map({2: {1000: 0.89}, 1: {1000: 0.8}}))
    option, (pool1, conv2, pool2) = at(plan, 2, 1000), profiles.cuts()[1:4]
    macs = [cut.head_macs + 100 for cut in (pool1, conv2, pool2)]
    share = (macs[1] - macs[0]) / (macs[2] - macs[0])
    assert option.parts_s["head"] == pytest.approx(0.01 + share * 0.02)
    tails = [cut.tail_macs for cut in (pool1, conv2, pool2)]
    share = (tails[1] - tails[2]) / (tails[0] - tails[2])
    assert option.parts_s["server"] == pytest.approx(0.001 + share * 0.002)
    assert option.interpolated
    assert 2000 <= option.device_bytes <= 4000


def test_a_larger_encoder_takes_longer():
    """By as much as so many multiply-accumulates take beside the cut."""
    table = profiles.accuracy_map({1: {1000: 0.89}})
    more = dataclasses.replace(table, encoder_macs=np.full((1, 1), 100 + 5000))
    option = at(make_plan(accuracy=more), 1, 1000)
    rise = 0.02 / (profiles.cuts()[3].head_macs - profiles.cuts()[1].head_macs)
    assert option.parts_s["head"] == pytest.approx(0.01 + 5000 * rise)
    assert option.interpolated


def test_a_measured_link_holds_the_handling_of_a_request(plan):
    """The server's own overhead is then left out, and added where the link is given by hand."""
    server = profiles.server_profile(transport="rest", url="http://server:8501", overhead_s=0.0005)
    by_hand = make_plan(server=server)
    assert at(by_hand, 1, 1000).parts_s["server"] == pytest.approx(0.003)
    measured = by_hand.at(profiles.link_fit())
    assert at(measured, 1, 1000).parts_s["server"] == pytest.approx(0.0025)
    up = exchange_of(1000, 10, "rest").request_bytes
    assert at(measured, 1, 1000).parts_s["up"] == pytest.approx(8e-6 * up + 0.002 * (up - 100) / 1900)
    own = make_plan(server=server, device=profiles.device_profile(link=profiles.link_fit()), link=None)
    assert at(own, 1, 1000).latency_s == pytest.approx(at(measured, 1, 1000).latency_s)


def test_the_making_of_a_request_counts_once():
    """A measured link holds it; with a link by hand it is added to the coding."""
    cuts = (profiles.head(1, 10, request=profiles.ms(0.5)),)
    device = profiles.device_profile(cuts=cuts)
    accuracy = profiles.accuracy_map({1: {1000: 0.89}})
    assert at(make_plan(device=device, accuracy=accuracy), 1, 1000).parts_s["coding"] == pytest.approx(0.0025)
    measured = make_plan(device=device, accuracy=accuracy, link=profiles.link_fit())
    assert at(measured, 1, 1000).parts_s["coding"] == pytest.approx(0.002)


def test_the_95th_percentile_is_that_of_the_sum():
    """One part that varies gives its own; parts that vary on their own give less than the sum of theirs."""
    cuts = (profiles.head(1, 10, head=profiles.ms(10, 20)),)
    varied = at(make_plan(device=profiles.device_profile(cuts=cuts)), 1, 1000)
    assert varied.latency_p95_s - varied.latency_s == pytest.approx(0.01, rel=0.05)
    both = at(make_plan(device=profiles.device_profile(cuts=cuts), link=profiles.link_fit()), 1, 1000)
    on_link = both.parts_s["up"] + both.parts_s["down"]
    assert both.latency_s + 0.01 < both.latency_p95_s < both.latency_s + 0.01 + 0.5 * on_link
    steady = at(make_plan(), 1, 1000)
    assert steady.latency_p95_s == pytest.approx(steady.latency_s)


def test_a_trace_tells_median_and_95th_percentile_over_time():
    """A link that is slow for a tenth of the time leaves the median as it is, and not the 95th percentile."""
    link = [(0, 1e6, 0.02), (90, 1e5, 0.02), (100, 1e6, 0.02), (190, 1e5, 0.02), (200, 1e6, 0.02)]
    trace, fast, slow = (at(make_plan(link=one), 1, 1000) for one in (link, link[:1], link[1:2]))
    assert trace.latency_s == pytest.approx(fast.latency_s)
    assert trace.latency_p95_s == pytest.approx(slow.latency_s, rel=0.01)


def test_a_slower_device_is_a_guess(plan):
    """Its parts are multiplied, the others are not, and a note says so."""
    slow = plan.at(slowdown=3)
    before, after = (at(one, 1, 1000).parts_s for one in (plan, slow))
    assert after == pytest.approx(
        {part: (3 if part in ("preprocessing", "head", "coding") else 1) * before[part] for part in PARTS}
    )
    assert "The device's times are 3 times those that were measured: a guess." in slow.notes
    assert plan.at().table() == plan.table()
    with pytest.raises(ArgumentError, match="slowdown must be a number above 0"):
        plan.at(slowdown=0)


def test_energy_is_watts_times_parts():
    """Of computing, sending and waiting; none without watts, and none is made up."""
    plan = make_plan(watts={"compute": 4.0, "send": 2.0, "wait": 1.0})
    split = at(plan, 1, 1000)
    parts = split.parts_s
    assert split.energy_j == pytest.approx(4 * 0.013 + 2 * parts["up"] + parts["server"] + parts["down"])
    assert only(plan, "local").energy_j == pytest.approx(4 * 0.041)
    assert plan.best(max_energy_j=0.13).energy_j <= 0.13
    assert make_plan().options[0].energy_j is None
    with pytest.raises(ArgumentError, match="max_energy_j: the plan has no energies, since no watts were given"):
        make_plan().best(max_energy_j=1)
    for watts in ({"compute": 1}, {"compute": 1, "send": -1, "wait": 1}, {"cpu": 1, "send": 1, "wait": 1}):
        with pytest.raises(ArgumentError, match="watts"):
            make_plan(watts=watts)


def test_the_best_is_the_fastest_within_the_bounds(plan):
    """With each bound alone."""
    assert plan.best(min_accuracy=0.895).kind == "remote"
    assert plan.at(isplit.Link(2e5, 0.02)).best().kind == "local"
    assert plan.at(isplit.Link(1e5, 0.02)).best(min_accuracy=0.895).kind == "local"
    small = plan.best(max_payload_bytes=200)
    assert small.kind == "local" or small.mean_bytes <= 200
    assert plan.best(max_head_bytes=4000, kind="split").device_bytes <= 4000
    assert plan.best(max_latency_s=0.0415).latency_s <= 0.0415
    assert plan.best(min_frames_s=24).frames_s >= 24


def test_without_a_least_accuracy_one_point_may_be_given_up():
    """Below the most accurate option within the other bounds."""
    accuracy = profiles.accuracy_map({1: {200: 0.5}, 3: {200: 0.895}})
    plan = make_plan(accuracy=accuracy)
    slow = plan.at(isplit.Link(1e5, 0.0))
    assert slow.best(kind="split").cut == profiles.cuts()[3]
    assert slow.best(min_accuracy=0.4, kind="split").cut == profiles.cuts()[1]
    assert slow.best(kind="split", max_head_bytes=2000).accuracy == pytest.approx(0.5)


def test_a_split_is_not_advised_where_something_simpler_is_as_fast():
    """Within five in a hundred, and not surely less accurate; past that, the faster one is."""
    accuracy = profiles.accuracy_map({1: {100: 0.91}})

    def best(local_ms, original=0.9):
        whole = dataclasses.replace(
            profiles.device_profile().whole, preprocess=profiles.ms(0), run=profiles.ms(local_ms)
        )
        device = profiles.device_profile(whole=whole, codecs=())
        table = dataclasses.replace(accuracy, original_predictions=profiles.right(original))
        plan = make_plan(accuracy=table, device=device, server=profiles.server_profile(encoded={}, whole={}))
        return plan.best(min_accuracy=0.4), at(plan, 1, 100).latency_s

    _, split_s = best(40)
    assert best(1000 * split_s * 1.04)[0].kind == "local"
    assert best(1000 * split_s * 1.06)[0].kind == "split"
    assert best(1000 * split_s * 1.04, original=0.8)[0].kind == "split"
    assert best(1000 * split_s * 0.99, original=0.8)[0].kind == "local"


def test_no_option_within_the_bounds(plan):
    """The error names the nearest one, and what it fails."""
    with pytest.raises(PlanError, match="No option keeps max_latency_s=0.02. The nearest is '") as caught:
        plan.best(max_latency_s=0.02)
    assert caught.value.nearest in plan.options
    assert [one.bound for one in caught.value.fails] == ["max_latency_s"]
    assert caught.value.nearest.latency_s == min(o.latency_s for o in plan.options if o.accuracy is not None)
    with pytest.raises(PlanError) as caught:
        plan.best(min_accuracy=0.95, max_head_bytes=10)
    assert caught.value.nearest.kind == "remote"
    assert caught.value.fails[0].found == pytest.approx(0.9)
    with pytest.raises(PlanError, match="latency_s is .*, max_latency_s=1e-06"):
        plan.best(max_latency_s=1e-6)


@pytest.mark.parametrize(
    "bounds",
    [
        {"min_accuracy": 1.5},
        {"max_latency_s": 0},
        {"max_latency_s": -1.0},
        {"min_frames_s": 0},
        {"max_head_bytes": 1.5},
    ],
)
def test_a_bound_that_cannot_be(plan, bounds):
    """Is refused, with its name."""
    with pytest.raises(ArgumentError, match=next(iter(bounds))):
        plan.best(**bounds)
    with pytest.raises(ArgumentError, match="kind: expected one of 'local', 'remote', 'split', or None"):
        plan.best(kind="edge")


def test_crossovers_are_where_the_lines_meet(plan):
    """At such a rate both options take the same, on either side another one is the fastest."""
    crossovers = plan.crossovers()
    assert crossovers
    rates = [one.rate_bit_s for one in crossovers]
    assert rates == sorted(rates)
    assert crossovers[0].below.kind == "local"
    for crossing in crossovers:
        link = isplit.Link(crossing.rate_bit_s, 0.02)
        here = plan.at(link)
        below, above = (
            next(one for one in here.options if one.name == side.name) for side in (crossing.below, crossing.above)
        )
        assert below.latency_s == pytest.approx(above.latency_s) == pytest.approx(crossing.latency_s)
        for factor, side in ((0.9, crossing.below), (1.1, crossing.above)):
            there = plan.at(isplit.Link(factor * crossing.rate_bit_s, 0.02))
            assert min(there.accurate(), key=lambda one: one.latency_s).name == side.name


def test_nothing_is_better_than_the_pareto_front(plan):
    """From fast to slow, with rising accuracy."""
    front = plan.pareto
    assert [one.latency_s for one in front] == sorted(one.latency_s for one in front)
    for one in front:
        assert not any(o.accuracy and o.accuracy >= one.accuracy and o.latency_s < one.latency_s for o in plan.options)


def test_why_says_what_is_faster(plan):
    """In words, with both times."""
    slow = at(plan, 3, 1000)
    assert f"The whole model on the device is faster: 41 ms against {1000 * slow.latency_s:.3g}." in plan.why(slow)
    assert "keeps an accuracy of 0.9000" in plan.why(only(plan, "local"))
    assert plan.why() == plan.why(plan.best())
    assert "No other option of the kind 'split' is known to keep as much accuracy" in make_plan(
        accuracy=profiles.accuracy_map({1: {1000: 0.3}})
    ).why(only(plan, "local"))
    with pytest.raises(ArgumentError, match=r"expected one of plan\.options"):
        plan.why("local")


def test_a_curve_of_codecs_tells_the_accuracy_of_images():
    """Each point of it is an option; a codec that the device lacks is left out, and the plan says so."""
    n = profiles.N
    codecs = isplit.CodecCurve(
        codecs=["JPEG", "JPEG", "AVIF"],
        qualities=[50, 70, 50],
        sizes=np.array([[16, 16], [16, 16], [16, 16]]),
        sent_bytes=np.full((3, n), 300),
        labels=np.zeros(n, np.int64),
        predictions=np.stack([profiles.right(share) for share in (0.86, 0.9, 0.9)]),
        original_predictions=profiles.right(0.9),
        class_names=None,
        model_name="small",
    )
    plan = make_plan(codecs=codecs)
    jpeg = [one for one in plan.options if one.codec == "JPEG"]
    assert [(one.quality, one.accuracy) for one in jpeg] == [(50, pytest.approx(0.86)), (70, pytest.approx(0.9))]
    assert jpeg[1].parts_s["coding"] == pytest.approx(0.0035)  # between 3 ms at 50 and 4 at 90
    assert (jpeg[0].interpolated, jpeg[1].interpolated) == (False, True)
    assert "AVIF was not measured on the device." in plan.notes


def test_measured_accuracies_take_the_place_of_predicted_ones():
    """By cut and bytes, by codec, for the whole model here and for images without loss."""

    class Measured:
        def __init__(self, accuracy):
            self.accuracy = accuracy

        def interval(self, confidence):
            return self.accuracy - 0.01, self.accuracy + 0.01

    measured = {"local": Measured(0.88), ("pool1", 1000): Measured(0.87), ("jpeg", 50): Measured(0.85)}
    plan = make_plan(measured=measured | {(3, 500): Measured(0.86)})
    assert only(plan, "local").accuracy == 0.88
    assert at(plan, 1, 1000).accuracy == 0.87
    assert only(plan, "remote", quality=50).accuracy_interval == (0.84, 0.86)
    assert at(plan, 3, 500).accuracy == 0.86
    alone = make_plan(accuracy=None, measured={"remote": Measured(0.9), ("pool2", 700): Measured(0.89)})
    assert only(alone, "split").payload_bytes == 700
    assert only(alone, "local").accuracy == 0.9
    for wrong in ({"edge": Measured(1)}, {("pool1", -1): Measured(1)}, {"local": 0.9}):
        with pytest.raises(ArgumentError, match="measured"):
            make_plan(measured=wrong)
    with pytest.raises(CutError):
        make_plan(measured={("pool9", 100): Measured(0.9)})


def test_a_plan_is_saved_and_loaded(plan, tmp_path):
    """With everything that it is asked for later: other links, pictures, exports."""
    path = tmp_path / "plans" / "plan.json"
    plan.save(path)
    again = isplit.Plan.load(path)
    assert again.table(every=True) == plan.table(every=True)
    assert [one.to_json() for one in again.options] == [one.to_json() for one in plan.options]
    assert again.at(isplit.Link(5e5, 0.1)).table() == plan.at(isplit.Link(5e5, 0.1)).table()
    assert again.why() == plan.why()
    record = json.loads(path.read_text())
    for change in ({"options": [{}]}, {"link": {}}, {"options": 3}, {"watts": {"send": 1}}):
        path.write_text(json.dumps(record | change))
        with pytest.raises(BundleError, match="is damaged"):
            isplit.Plan.load(path)
    path.write_text(json.dumps(record | {"format_version": 99}))
    with pytest.raises(BundleError, match="format version 99"):
        isplit.Plan.load(path)


def test_tables_and_rows(plan):
    """One line an option; short by default."""
    assert len(plan.rows()) == len(plan.options)
    assert sorted(plan.rows()[0]["parts_s"]) == sorted(PARTS)
    assert json.dumps(plan.rows(), allow_nan=False)
    assert plan.table(every=True).count("\n") > plan.table().count("\n")
    assert "whole model here" in repr(plan)
    assert "<table>" in plan._repr_html_()
    assert "mJ" in make_plan(watts={"compute": 1, "send": 1, "wait": 1}).table()


def test_pictures_and_page(plan, tmp_path):
    """Three pictures, and a page that needs nothing else."""
    for kind in ("latency", "accuracy", "parts"):
        ax = plan.plot(kind)
        assert ax.get_legend() is not None
    with pytest.raises(ArgumentError, match="kind: expected one of 'latency', 'accuracy', 'parts'"):
        plan.plot("energy")
    page = plan.to_html(tmp_path / "pages" / "plan.html")
    assert (tmp_path / "pages" / "plan.html").read_text() == page
    assert page.count("<svg") == 3
    assert not any(word in page for word in ("src=", "<script", "<link", 'href="http'))
    assert plan.best().name in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"device": {"model_sha256": "c" * 64}},
            "device's profile is of another model, or of another version of it",
        ),
        ({"server": {"model_sha256": "c" * 64}}, "The server's profile is of another model"),
        ({"device": {"kit_id": "b" * 64, "precision": "float32"}}, r"of two kits: the device measured .* \(float32"),
        (
            {"device": {"cuts": (), "missing": ("all heads: interrupted",), "complete": False}},
            "no head that was measured",
        ),
        ({"accuracy": {"cuts": -1}}, "The accuracies are of another model: they have a cut"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    """Another model, version, kit or precision; no head."""
    made = {"device": profiles.device_profile, "server": profiles.server_profile}
    if "accuracy" in changes:
        table = profiles.accuracy_map({1: {1000: 0.9}})
        changes = {"accuracy": dataclasses.replace(table, cuts=[dataclasses.replace(table.cuts[0], index=17)])}
    else:
        changes = {name: made[name](**fields) for name, fields in changes.items()}
    with pytest.raises(PlanError, match=message):
        make_plan(**changes)


def test_arguments_that_are_none(tmp_path):
    """Say what is expected."""
    for changes, message in (
        ({"link": None}, "link: none was given, and the device did not measure one"),
        ({"device": 3}, "device: expected a DeviceProfile, or its file"),
        ({"server": None}, "server: expected a ServerProfile, or its file"),
        ({"accuracy": 0.9}, "accuracy: expected the result of predict_accuracy"),
        ({"codecs": [1]}, "codecs: expected the result of measure_codecs"),
        ({"transport": "mqtt"}, "transport: expected one of"),
    ):
        with pytest.raises(ArgumentError, match=message):
            make_plan(**changes)
    with pytest.raises(BundleError):
        make_plan(device=tmp_path / "missing.json")
    profiles.device_profile().save(tmp_path / "device.json")
    profiles.server_profile().save(tmp_path / "server.json")
    read = make_plan(device=tmp_path / "device.json", server=str(tmp_path / "server.json"))
    assert read.table() == make_plan().table()


def test_what_was_not_measured_is_said():
    """Estimates, profiles that broke off, a whole model that does not fit on the device, and unknown codecs."""
    device = profiles.device_profile(
        source="estimate", note="cycles by hand", whole=None, complete=False, missing=("x",)
    )
    plan = make_plan(device=device, server=profiles.server_profile(complete=False, missing=("y",)))
    text = " ".join(plan.notes)
    for words in ("an estimate, not measured: cycles by hand", "The whole model was not measured on the device"):
        assert words in text
    assert "The device's profile is not complete; missing: x." in text
    assert "The server's profile is not complete; missing: y." in text
    assert "local" not in {one.kind for one in plan.options}
    bare = make_plan(server=profiles.server_profile(tails=(), whole={}, encoded={}, decoding=()))
    assert "No tail was measured on the server: splits are left out." in bare.notes
    assert {one.kind for one in bare.options} == {"local"}


def test_a_server_over_a_network_decodes_as_it_was_measured():
    """Its decoding is inside of what was measured with JPEGs, for every codec."""
    server = profiles.server_profile(transport="rest", url="http://server:8501", overhead_s=0.001, decoding=())
    plan = make_plan(server=server, link=profiles.link_fit())
    assert only(plan, "remote", codec="PNG").parts_s["server"] == pytest.approx(0.004)
    assert only(plan, "remote", codec="PNG").interpolated
    assert not only(plan, "remote", quality=50).interpolated


def test_an_option_makes_its_split():
    """At its cut, with the bottleneck of the prediction; one that leaves the model whole makes none."""
    plan = make_plan(accuracy=profiles.accuracy_map({1: {200: 0.9}}))
    option = at(plan, 1, 200)
    images = np.random.default_rng(0).uniform(size=(32, 16, 16, 3)).astype(np.float32)
    halves = isplit.split(profiles.make_model(), option.cut, option.bottleneck, fit_data=images)
    assert halves.cut == profiles.cuts()[1]
    assert halves.bottleneck == isplit.Projection(payload_bytes=200)
    assert halves.fitted
    with pytest.raises(ArgumentError, match=r"'whole model here' has no bottleneck: it is 'local'.*kind='split'"):
        _ = only(plan, "local").bottleneck


def test_a_curve_at_one_rate_is_enough():
    """`predict_accuracy` at one rate, coded or not, and by a share of the elements."""
    curve = profiles.accuracy_map({1: {1000: 0.89}, 3: {1000: 0.9}}).at(1000)
    plan = make_plan(accuracy=curve)
    assert [one.payload_bytes for one in plan.options if one.kind == "split"] == [1000, 1000]
    plain = dataclasses.replace(
        curve, mean_bytes=None, latent_sizes=np.array([50, 60]), settings={"compression": 0.9, "payload_bytes": None}
    )
    options = [one for one in make_plan(accuracy=plain).options if one.kind == "split"]
    assert [one.mean_bytes for one in options] == [62, 72]
    assert options[0].bottleneck == isplit.Projection(0.9)


def test_cuts_that_dropped_out_of_the_race_are_left_out():
    """What was not measured on all images is no option."""
    plan = make_plan(accuracy=profiles.accuracy_map({1: {1000: 0.89}, 3: {200: 0.9}}))
    assert [(one.cut.index, one.payload_bytes) for one in plan.options if one.kind == "split"] == [(1, 1000), (3, 200)]
    assert not any(math.isnan(one.accuracy) for one in plan.options if one.accuracy is not None)
