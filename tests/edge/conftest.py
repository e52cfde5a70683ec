"""Heads made by the real converter, bundles around them, and a server on the loopback."""

import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest

from isplit_edge import Manifest
from support.handmade import INPUT, N_CLASSES, write_bundle
from support.handmade_kit import write_kit
from support.loopback import Loopback


@pytest.fixture(scope="session")
def heads() -> dict[str, bytes]:
    """Heads by precision: "float32", "int8", and "float_to_int8", whose input is float32 and inside int8."""
    import keras
    import tensorflow as tf

    image = keras.Input(INPUT, batch_size=1, name="image")
    layer = keras.layers.Conv2D(2, 3, strides=2, padding="same", name="conv")
    model = keras.Model(image, layer(image))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=(3, 3, 3, 2)) / 3, rng.normal(size=2)])
    samples = rng.normal(size=(32, 1, *INPUT)).astype(np.float32)

    def convert(io: tf.DType | None) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if io is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = io
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return converter.convert()

    return {"float32": convert(None), "int8": convert(tf.int8), "float_to_int8": convert(tf.float32)}


@pytest.fixture(scope="session")
def bundles(heads, tmp_path_factory) -> dict[str, Path]:
    """A bundle for each precision that a device runs; tests copy them before they change them."""
    from ai_edge_litert.interpreter import Interpreter

    output = Interpreter(model_content=heads["int8"]).get_output_details()[0]
    scale, zero_point = output["quantization"]
    root = tmp_path_factory.mktemp("bundles")
    quantized = {"precision": "int8", "dtype": "int8", "scale": float(scale), "zero_point": int(zero_point)}
    return {
        "float32": write_bundle(root / "float32", heads["float32"]),
        "int8": write_bundle(root / "int8", heads["int8"], payload_bytes=12 + 24, **quantized),
    }


@pytest.fixture(scope="session")
def whole() -> bytes:
    """A whole model as a device keeps it for itself: an image to three probabilities."""
    import keras
    import tensorflow as tf

    image = keras.Input(INPUT, batch_size=1, name="image")
    layer = keras.layers.Dense(N_CLASSES, activation="softmax")
    model = keras.Model(image, layer(keras.layers.GlobalAveragePooling2D()(image)))
    layer.set_weights([np.eye(3) / 10, np.array([0.0, 0.5, -0.5])])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tf.lite.TFLiteConverter.from_keras_model(model).convert()


@pytest.fixture(scope="session")
def kit_folder(bundles, whole, tmp_path_factory) -> Path:
    """A kit of two heads and a whole model; tests copy it before they change it."""
    return write_kit(tmp_path_factory.mktemp("kit"), bundles, whole)


@pytest.fixture
def bundle(bundles, tmp_path) -> Path:
    """A float32 bundle of the test's own."""
    return shutil.copytree(bundles["float32"], tmp_path / "bundle")


@pytest.fixture
def images() -> np.ndarray:
    """Five raw images, (5, 8, 6, 3) uint8."""
    return np.random.default_rng(1).integers(0, 256, (5, *INPUT), np.uint8)


@pytest.fixture
def server(bundles):
    """The tail of the float32 bundle, served on the loopback."""
    with Loopback(Manifest.load(bundles["float32"])) as server:
        yield server


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1, signed by itself, with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate
