"""Bundles whose latent is coded: from the split to the answer, at any rate."""

import json

import numpy as np
import pytest
import tensorflow as tf

import isplit_tf as isplit
from isplit_edge import wire
from isplit_edge.client import Client
from isplit_edge.errors import ArgumentError, DataError
from isplit_tf.server import Server
from support import tiny


@pytest.fixture(scope="module")
def sizes(coded_bundle, test_data):
    """The bytes of the payloads of the test images, without a bound of their own."""
    return [len(one) for one in coded_bundle.payloads(test_data[0])]


def test_the_manifest_says_how_the_latent_travels(coded_bundle, sizes):
    """Version 3 of the wire, the code, the mean and the longest payload; the record goes through JSON."""
    record = json.loads((coded_bundle.directory / "manifest.json").read_text())
    manifest = coded_bundle.manifest
    assert (record["wire_version"], record["dtype"]) == (3, "int8")
    assert manifest.form.code.to_json() == record["code"]
    assert manifest.payload_bytes == pytest.approx(np.mean(sizes), rel=0.1)
    assert max(sizes) <= manifest.max_payload_bytes
    assert isplit.edge.Manifest.from_dict(manifest.to_dict()).to_dict() == record


def test_coding_loses_nothing(coded_bundle, shared_bundle, test_data):
    """The same head without a code sends the same integers and gets the same answers, in more bytes."""
    images = test_data[0]
    plain, coded = shared_bundle.payloads(images), coded_bundle.payloads(images)
    assert sum(map(len, coded)) < sum(map(len, plain))
    for one, other in zip(plain, coded, strict=True):
        latent = shared_bundle.manifest.form.unpack(one)[1]
        np.testing.assert_array_equal(coded_bundle.manifest.form.unpack(other)[1], latent)
    np.testing.assert_allclose(coded_bundle.predict(images), shared_bundle.predict(images), atol=1e-5)


def test_the_manifest_has_accuracy_over_bytes(coded_bundle, test_data):
    """Each rate is what the bundle at this bound measures on the evaluation data: bytes within the bound, accuracy."""
    rates, images = coded_bundle.manifest.rates, test_data[0]
    bounds = [rate["payload_bytes"] for rate in rates]
    assert bounds[0] == coded_bundle.manifest.max_payload_bytes
    assert bounds == sorted(bounds, reverse=True)
    assert len(bounds) >= 3
    assert rates[0]["accuracy"] == coded_bundle.manifest.accuracy["artefacts"]
    for rate in rates:
        bundle = coded_bundle.at(rate["payload_bytes"])
        lengths = [len(one) for one in bundle.payloads(images)]
        assert (rate["mean_bytes"], rate["most_bytes"]) == (np.mean(lengths), max(lengths))
        assert rate["mean_bytes"] <= rate["most_bytes"] <= rate["payload_bytes"]
        assert rate["accuracy"] == np.mean(bundle.predict(images).argmax(axis=1) == test_data[1])


@pytest.mark.parametrize("share", [0.5, 0.8, 1.5])
def test_every_payload_keeps_a_bound(coded_bundle, sizes, test_data, share):
    """`Bundle.at` cuts each payload at a channel, and the tail answers what the channels sent say."""
    bound = round(share * np.mean(sizes))
    bundle = coded_bundle.at(bound)
    payloads = bundle.payloads(test_data[0])
    assert max(map(len, payloads)) <= min(bound, bundle.manifest.max_payload_bytes)
    probabilities = bundle.predict(test_data[0])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    form = bundle.manifest.form
    latents = np.stack([form.unpack(one)[1] for one in payloads]).astype(np.float32)
    values = (latents - bundle.manifest.zero_point) * np.float32(bundle.manifest.scale)
    tail = bundle._loaded_tail().signatures["from_latent"]
    expected = tail(latent=tf.constant(values))["probabilities"].numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_client_bounds_its_frames(coded_bundle, sizes, test_data, protocol):
    """A bound of the client and one of a call are kept, over REST and gRPC; the answers are the bundle's own."""
    images, bound = test_data[0][:10], round(0.7 * np.mean(sizes))
    with Server(coded_bundle.directory, grpc_port=0 if protocol == "grpc" else None) as server:
        url = server.url if protocol == "rest" else server.grpc_url
        with Client(coded_bundle.directory, url, payload_bytes=bound) as client:
            found, whole = client.predict(images), client.run(images, payload_bytes=10**6)
            assert whole.answered.all()
            with pytest.raises(DataError, match="larger payload_bytes"):
                client.predict(images, payload_bytes=16)
    np.testing.assert_allclose(found, coded_bundle.at(bound).predict(images), atol=1e-5)
    np.testing.assert_allclose(whole.probabilities, coded_bundle.predict(images), atol=1e-5)


def test_bad_payloads_are_told_apart(coded_bundle, test_data):
    """The served graph gives the reference's status: cut short, too long, of another bundle, with a changed bit."""
    good = coded_bundle.payloads(test_data[0][:1])[0]
    changed = bytes([*good[:30], good[30] ^ 4, *good[31:]])
    payloads = [good, good[:-1], good + b"\0", b"\0" * 8 + good[8:], changed, b"", good + bytes(10**4)]
    expected = [coded_bundle.manifest.form.unpack(one)[0] for one in payloads]
    probabilities, status = coded_bundle.answer(payloads)
    assert status.tolist() == expected == [0, 2, 2, 1, 2, 2, 2]
    assert np.isnan(probabilities[1:]).all()
    np.testing.assert_allclose(probabilities[0], coded_bundle.answer([good])[0][0], atol=1e-5)


def test_the_identity_covers_the_code(coded_bundle, shared_bundle):
    """The same head and tail with a code, with another table, or with another longest payload, are other bundles."""
    record = coded_bundle.manifest.to_dict()
    other = json.loads(json.dumps(record))
    other["code"]["runs"][0] = (other["code"]["runs"][0] + 1) % 32
    contracts = [isplit.export.layout.contract(one) for one in (record, other, record | {"max_payload_bytes": 999})]
    assert len({json.dumps(one, sort_keys=True) for one in contracts}) == 3
    assert coded_bundle.manifest.bundle_id != shared_bundle.manifest.bundle_id
    assert not {"code", "max_payload_bytes"} & set(isplit.export.layout.contract(shared_bundle.manifest.to_dict()))


def test_warm_up_requests_are_coded(coded_bundle):
    """TensorFlow Serving replays payloads that the tail answers."""
    manifest = coded_bundle.manifest
    path = coded_bundle.directory / f"serving/{manifest.model_name}/{manifest.version}/assets.extra"
    records = list(tf.data.TFRecordDataset(str(path / "tf_serving_warmup_requests")).as_numpy_iterator())
    payload = wire.pack_coded(
        manifest.tag, np.broadcast_to(manifest.form.code.centres, manifest.form.shape), manifest.form.code
    )
    assert all(payload in one for one in records)
    assert coded_bundle.answer([payload])[1].tolist() == [0]


def test_without_a_server_the_whole_model_answers(coded_split, train_images, test_data, tmp_path):
    """A coded bundle with a local fallback answers on the device, as any other."""
    bundle = isplit.export_bundle(
        coded_split,
        tmp_path / "bundle",
        representative_data=train_images,
        preprocessing=tiny.PREPROCESSING,
        local_fallback=True,
        max_payload_bytes=90,
        progress=False,
    )
    assert bundle.manifest.max_payload_bytes == 90
    assert max(len(one) for one in bundle.payloads(test_data[0])) <= 90
    with Client(bundle.directory, "http://127.0.0.1:9", retries=0) as client:
        answer = client.run(test_data[0][:3])
    assert answer.source == "local"


def test_what_cannot_be_coded_is_said(coded_split, halves, shared_bundle, train_images, tmp_path):
    """Another precision, a code of another shape, and bounds on a latent that is not coded are errors."""
    options = {"representative_data": train_images, "preprocessing": tiny.PREPROCESSING, "progress": False}
    with pytest.raises(ArgumentError, match="precision must be 'int8'"):
        isplit.export_bundle(coded_split, tmp_path / "a", precision="float16", **options)
    with pytest.raises(ArgumentError, match="does not code"):
        isplit.export_bundle(halves, tmp_path / "a", max_payload_bytes=90, **options)
    with pytest.raises(ArgumentError, match="is less than the"):
        shared_bundle.at(50)
    size = shared_bundle.manifest.payload_bytes
    assert shared_bundle.at(size).payloads(train_images[:1]) == shared_bundle.payloads(train_images[:1])
