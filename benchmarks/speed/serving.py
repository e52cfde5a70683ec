"""Measures of client and server."""

import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_edge import Client
from isplit_edge.interpreter import Head
from isplit_edge.manifest import Manifest
from isplit_tf import Autoencoder, export_bundle, split
from isplit_tf.server import Server

from .passes import images
from .timing import taking_turns


def _bundle(folder: Path) -> tuple[Any, np.ndarray]:
    """Export a bundle of a small split classifier."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((64, 64, 3), name="image")
    for k, width in enumerate((16, 32, 64, 128)):
        x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{k}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{k}")(x)
    x = keras.layers.Dense(512, activation="relu", name="hidden")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="scores")(x))
    pixels = np.clip(127 + 50 * images(64, 128)[0], 0, 255).astype(np.uint8)
    halves = split(model, "pool1", Autoencoder(0.9, seed=0))
    export_bundle(halves, folder / "bundle", representative_data=pixels.astype("f4"))
    return halves, pixels


def client_overhead(goal_ms: float) -> dict[str, Any]:
    """Measure the time of a call beyond that of the bare interpreter and of the transmission."""
    from ai_edge_litert.interpreter import Interpreter

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _, pixels = _bundle(folder)
        bare = Interpreter(str(folder / "bundle" / "edge" / "head.tflite"), num_threads=1)
        bare.allocate_tensors()
        into, out = bare.get_input_details()[0], bare.get_output_details()[0]
        overheads = []
        with Server(folder / "bundle") as server, Client(folder / "bundle", server.url, num_threads=1) as client:
            for k in range(400):
                frame = pixels[k % len(pixels)]
                start = time.perf_counter()
                answer = client.run(frame)
                whole = time.perf_counter() - start
                start = time.perf_counter()
                bare.set_tensor(into["index"], np.zeros(into["shape"], into["dtype"]))
                bare.invoke()
                bare.get_tensor(out["index"])
                interpreter = time.perf_counter() - start
                if k >= 50:
                    overheads.append(whole - answer.timings_s["wire"] - interpreter)
    milliseconds = 1e3 * float(np.median(overheads))
    return {
        "reached": {"one frame": f"{milliseconds:.2f} ms"},
        "ok": {"one frame": milliseconds <= goal_ms},
        "details": {"quartiles_ms": [1e3 * float(q) for q in np.quantile(overheads, [0.25, 0.75])]},
    }


def tail_throughput(goal: float) -> dict[str, Any]:
    """Compare the served tail on 32 payloads at once with `predict` and with 32 calls of one payload."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        halves, pixels = _bundle(folder)
        latents = halves.encoder.predict(halves.head.predict(pixels[:32].astype("f4"), verbose=0), verbose=0)
        inputs = keras.Input(latents.shape[1:])
        tail = keras.Model(inputs, halves.tail(halves.decoder(inputs)))
        loaded = tf.saved_model.load(str(folder / "bundle" / "serving" / "tail" / "1"))
        serve = loaded.signatures["serving_default"]
        head = Head(folder / "bundle", manifest=Manifest.load(folder / "bundle"))
        payloads = head.payloads(pixels[:32])

        def together() -> None:
            serve(payload=tf.constant(payloads))["probabilities"].numpy()

        def alone() -> None:
            for payload in payloads:
                serve(payload=tf.constant([payload]))["probabilities"].numpy()

        def predict() -> None:
            tail.predict(latents, batch_size=32, verbose=0)

        share = taking_turns(together, predict, repeats=50)
        gain = taking_turns(together, alone, repeats=20)
    return {
        "reached": {"of predict": round(share["ratio"], 2), "of single calls": round(gain["ratio"], 2)},
        "ok": {"of predict": share["ratio"] >= goal},
        "details": {"against_predict": share, "against_single_calls": gain},
    }
