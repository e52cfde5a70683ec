"""A small model with profiles of a device and a server in round numbers, so that plans can be counted by hand."""

import dataclasses
import functools

import keras
import numpy as np

import isplit_tf as isplit
from isplit_edge.device_profile import CodecTimes, DeviceProfile, HeadTimes, WholeTimes
from isplit_edge.link_fit import LinkFit, LinkPoint
from isplit_edge.times import Times
from isplit_tf.graph.model_identity import model_sha256
from isplit_tf.planning import server_profile as of_server

KIT = "a" * 64
SIZE = (16, 16)
N = 200


@functools.cache
def make_model() -> keras.Model:
    """Two convolutions with poolings, and a classifier of ten: five cuts."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = inputs = keras.Input((*SIZE, 3), name="image")
    for k, width in enumerate((4, 8), 1):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{k}")(x)
        x = layers.MaxPooling2D(name=f"pool{k}")(x)
    outputs = layers.Dense(10, activation="softmax", name="classes")(layers.Flatten(name="flat")(x))
    return keras.Model(inputs, outputs, name="small")


@functools.cache
def cuts() -> tuple[isplit.Cut, ...]:
    """conv1, pool1, conv2, pool2 and flat."""
    return tuple(isplit.find_cuts(make_model()))


def ms(median: float, p95: float | None = None) -> Times:
    """Milliseconds as times."""
    p95 = median if p95 is None else p95
    return Times(n=9, median_s=median / 1000, p95_s=p95 / 1000, mean_s=median / 1000)


def head(index: int, run_ms: float, **changes) -> HeadTimes:
    """A head: 1 ms of preprocessing, 2 of coding for 1,000 bytes, 1,000 bytes of file for each index."""
    cut = cuts()[index]
    fields = {
        "index": index,
        "name": cut.name,
        "head_macs": cut.head_macs,
        "encoder_macs": 100,
        "preprocess": ms(1),
        "head": ms(run_ms),
        "coding": ms(2),
        "request": None,
        "payload_bytes": 1000.0,
        "size_bytes": 1000 * (index + 1),
        "ram_bytes": 5000,
    }
    return HeadTimes(**(fields | changes))


def device_profile(**changes) -> DeviceProfile:
    """Heads at pool1 (10 ms) and pool2 (30 ms), the whole model in 40 ms, JPEG in 3, PNG in 5."""
    fields = {
        "kit_id": KIT,
        "model_name": "small",
        "model_sha256": model_sha256(make_model()),
        "precision": "int8",
        "created": "2026-11-27T12:00:00+00:00",
        "source": "measured",
        "note": None,
        "machine": {"system": "Linux", "cores": 1},
        "threads": 1,
        "whole": WholeTimes(preprocess=ms(1), run=ms(40), size_bytes=9000, ram_bytes=20000),
        "cuts": (head(1, 10), head(3, 30)),
        "codecs": (
            CodecTimes(codec="JPEG", quality=50, size=SIZE, encode=ms(3), mean_bytes=400.0),
            CodecTimes(codec="JPEG", quality=90, size=SIZE, encode=ms(4), mean_bytes=700.0),
            CodecTimes(codec="PNG", quality=None, size=SIZE, encode=ms(5), mean_bytes=800.0),
        ),
        "link": None,
        "drift": 1.0,
        "complete": True,
        "missing": (),
    }
    return DeviceProfile(**(fields | changes))


def link_fit(**changes) -> LinkFit:
    """20 ms and 8 microseconds a byte, which is 1 Mbit/s; one point lies 2 ms above the line."""
    points = tuple(
        LinkPoint(sent_bytes=size, received_bytes=0, time=ms(20 + 0.008 * size + bend))
        for size, bend in ((100, 0), (2000, 2), (10000, 0))
    )
    fields = {
        "url": "http://server:8501",
        "scheme": "http",
        "points": points,
        "base_s": 0.02,
        "up_s_per_byte": 8e-6,
        "down_s_per_byte": 1e-6,
        "residual_s": 0.0,
        "p95_over_median": 1.5,
    }
    return LinkFit(**(fields | changes))


def batches(one_ms: float, many_ms: float | None = None) -> dict:
    """Times for a batch of one, and of eight."""
    many = 4 * one_ms if many_ms is None else many_ms
    return {1: ms(one_ms), 8: ms(many)}


def tail(index: int, name: str, one_ms: float) -> of_server.TailTimes:
    """A tail that was measured with payloads of 1,000 bytes."""
    return of_server.TailTimes(index=index, name=name, payload_bytes=1000.0, times=batches(one_ms))


def server_profile(**changes) -> of_server.ServerProfile:
    """Tails of pool1 (3 ms) and pool2 (1 ms), the whole model in 4 ms, behind JPEG in 5; decoding 1, of PNG 2."""
    fields = {
        "kit_id": KIT,
        "model_name": "small",
        "model_sha256": model_sha256(make_model()),
        "created": "2026-11-27T12:00:00+00:00",
        "machine": {"system": "Linux", "cores": 4},
        "transport": "in_process",
        "url": None,
        "batches": (1, 8),
        "tails": tuple(tail(index, cuts()[index].name, t) for index, t in ((1, 3), (3, 1))),
        "whole": batches(4),
        "encoded": batches(5),
        "decoding": (
            of_server.DecodingTimes(codec="JPEG", quality=75, size=SIZE, times=batches(1)),
            of_server.DecodingTimes(codec="PNG", quality=None, size=SIZE, times=batches(2)),
        ),
        "overhead_s": 0.0,
        "complete": True,
        "missing": (),
    }
    return of_server.ServerProfile(**(fields | changes))


def right(share: float) -> np.ndarray:
    """Predicted classes for labels of 0, of which such a share is right, `(N,)`."""
    return (np.arange(N) >= round(share * N)).astype(np.int64)


def accuracy_map(table: dict[int, dict[int, float]], original: float = 0.9) -> isplit.AccuracyMap:
    """Accuracies by index of the cut and bytes asked for; every payload has exactly these bytes."""
    rates = sorted({rate for row in table.values() for rate in row})
    shape = len(table), len(rates)
    predictions = np.full((*shape, N), -1, np.int64)
    for k, row in enumerate(table.values()):
        for rate, share in row.items():
            predictions[k, rates.index(rate)] = right(share)
    sent = np.where(predictions < 0, np.nan, np.array(rates, float)[:, None])
    whole = dict.fromkeys(("latent_sizes", "encoder_params"), np.zeros(shape, np.int64))
    return isplit.AccuracyMap(
        cuts=[cuts()[index] for index in table],
        payload_bytes=np.array(rates, np.int64),
        labels=np.zeros(N, np.int64),
        predictions=predictions,
        sent_bytes=sent,
        original_predictions=right(original),
        encoder_macs=np.full(shape, 100, np.int64),
        relative_errors=np.zeros(shape),
        class_names=None,
        model_name="small",
        settings={"weighting": "task", "patch": "auto", "seed": 0, "coding": "entropy", "encoder_share": None},
        **whole,
    )


def make_plan(**changes) -> isplit.Plan:
    """The plan over 1 Mbit/s and 20 ms, both halves of the table known."""
    given = {
        "accuracy": accuracy_map({1: {1000: 0.89, 200: 0.7}, 3: {1000: 0.9, 200: 0.88}}),
        "device": device_profile(),
        "server": server_profile(),
        "link": isplit.Link(1e6, 0.02),
    }
    return isplit.plan_deployment(make_model(), **(given | changes))


@functools.cache
def importance_curve() -> isplit.Curve:
    """Importance at every cut of the small model, on noise."""
    images = np.random.default_rng(1).uniform(size=(20, *SIZE, 3)).astype(np.float32)
    return isplit.measure_importance(make_model(), (images, np.arange(20) % 10), cuts="all", progress=False)


def profiles_of(model: keras.Model) -> tuple[DeviceProfile, of_server.ServerProfile, isplit.AccuracyMap]:
    """Profiles and predicted accuracies of any model, with heads at every second cut; a MAC takes a microsecond."""
    found = isplit.find_cuts(model)
    whole = found[0].head_macs + found[0].tail_macs
    changes = {"model_name": model.name, "model_sha256": model_sha256(model)}
    heads = tuple(
        dataclasses.replace(head(1, 1 + cut.head_macs / 1000), index=cut.index, name=cut.name, head_macs=cut.head_macs)
        for cut in found[1::2]
    )
    tails = tuple(tail(cut.index, cut.name, 1 + cut.tail_macs / 4000) for cut in found[1::2])
    run = WholeTimes(preprocess=ms(1), run=ms(1 + whole / 1000), size_bytes=9000, ram_bytes=20000)
    device = device_profile(cuts=heads, whole=run, link=link_fit(), **changes)
    table = {one: {250: 0.85, 1000: 0.9} for one in range(len(cuts()))}
    accuracy = dataclasses.replace(accuracy_map(table), cuts=found[: len(table)], model_name=model.name)
    return device, server_profile(tails=tails, **changes), accuracy
