"""Measures of coded latents: decoding against the tail, encoding against the head."""

import tempfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_edge import wire
from isplit_edge.code import Code
from isplit_edge.interpreter import Head
from isplit_tf import Projection, export_bundle, split, train
from isplit_tf.export.serving.wire_graph import read_coded

from .passes import images
from .timing import seconds, taking_turns

_CUT = "block_9_add"
_RATES = (800, 1500)
_BATCHES = (1, 32)
_TAG = bytes(8)


def coding(alone: float, batch: float, encoding: float) -> dict[str, Any]:
    """Measure MobileNetV2 at 224, cut in the middle, with a latent of 12,000 symbols.

    Args:
        alone: The largest share of the tail's time for decoding one payload.
        batch: The same for each of 32.
        encoding: The largest share of the head's time for encoding.
    """
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None)
    pixels = images(224, 100)[0].astype("f4")
    halves = split(model, _CUT, Projection(latent_size=12_000, patch=2, seed=0))
    train(halves, pixels, fine_tune_epochs=0, progress=False)
    reached, ok, details = {}, {}, {}
    for rate in _RATES:
        symbols = _symbols(tuple(halves.latent_shape), rate)
        code = Code.fit(symbols)
        halves.bottleneck_code = code
        with tempfile.TemporaryDirectory() as place:
            export_bundle(halves, place, representative_data=pixels, overwrite=True, progress=False)
            found = _decoding(Path(place), code, symbols) | _encoding(Path(place), code, symbols, pixels)
        for name, (turns, goal) in zip(found, zip(found.values(), (alone, batch, encoding), strict=True), strict=True):
            label = f"{rate} B, {name}"
            reached[label] = f"{turns['ratio']:.3f} ({1e3 * turns['second_s']:.2f} ms)"
            ok[label], details[label] = turns["ratio"] <= goal, turns
    reached["slowest malformed payload against the largest valid one"] = f"{_slowest(code, symbols):.2f}"
    return {"reached": reached, "ok": ok, "details": details}


def _symbols(shape: tuple[int, ...], rate: int) -> np.ndarray:
    """Draw 32 latents whose channels become quieter, of about so many bytes."""
    low, high = 0.01, 100.0
    while high / low > 1.02:
        top = (low * high) ** 0.5
        rng = np.random.default_rng(0)
        values = rng.laplace(size=(32, *shape)) * top * 0.02 ** (np.arange(shape[-1]) / shape[-1])
        symbols = np.clip(np.rint(values), -128, 127).astype(np.int8)
        if Code.fit(symbols).ideal_bits(symbols).mean() / 8 + 15 < rate:
            low = top
        else:
            high = top
    return symbols


def _decoding(bundle: Path, code: Code, symbols: np.ndarray) -> dict[str, dict]:
    """Take turns of the tail alone, from dequantized latents, and the decoder alone."""
    (saved,) = (path.parent for path in bundle.glob("serving/*/*/saved_model.pb"))
    tail = tf.saved_model.load(str(saved)).signatures["from_latent"]
    payloads = [wire.pack_coded(_TAG, one, code) for one in symbols]
    read = _reader(code, max(map(len, payloads)))
    found = {}
    for count in _BATCHES:
        latents, strings = tf.constant(symbols[:count].astype("f4") / 8), tf.constant(payloads[:count])

        def run(latents=latents) -> None:
            tail(latent=latents)["probabilities"].numpy()

        def decode(strings=strings) -> None:
            read(strings)[0].numpy()

        found[f"decoding {count} against the tail"] = taking_turns(run, decode, repeats=30, warm_up=5)
    return found


def _encoding(bundle: Path, code: Code, symbols: np.ndarray, pixels: np.ndarray) -> dict[str, dict]:
    """Take turns of the head alone, on one thread, and the encoder alone."""
    head = Head(bundle, num_threads=1)
    head.encode(head.prepare(pixels[0], preprocessed=True))
    turns = taking_turns(head._interpreter.invoke, lambda: code.encode(symbols[0]), repeats=100, warm_up=10)
    return {"encoding against the head": turns}


def _reader(code: Code, max_bytes: int):
    return tf.function(
        lambda payload: read_coded(payload, tag=_TAG, code=code, max_bytes=max_bytes),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


def _slowest(code: Code, symbols: np.ndarray) -> float:
    """Return the time of the slowest of 300 malformed payloads by that of the largest valid one."""
    rng = np.random.default_rng(0)
    extreme = np.where(np.indices(code.shape).sum(axis=0) % 2, 127, -128).astype(np.int8)
    largest = wire.pack_coded(_TAG, extreme, code)
    read = _reader(code, len(largest))

    def once(payload: bytes) -> float:
        return seconds(lambda: read(tf.constant([payload]))[1].numpy())

    valid = min(once(largest) for _ in range(5))
    times = []
    for k in range(300):
        source = largest if k % 3 == 0 else wire.pack_coded(_TAG, symbols[k % len(symbols)], code)
        body = bytearray(source[wire.HEADER_BYTES :])
        for at in rng.integers(0, len(body), 1 + k % 4):
            body[at] = rng.integers(256)
        times.append(once(_TAG + zlib.adler32(body).to_bytes(4, "little") + bytes(body)))
    return max(times) / valid
