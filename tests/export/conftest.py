"""One model, one split and one bundle for all tests of the export; what changes a bundle copies it first."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_edge.code import Code
from isplit_tf.export.bundle import Bundle
from support import tiny


@pytest.fixture(scope="session")
def train_images() -> np.ndarray:
    """Raw uint8 images for quantization."""
    return tiny.make_images(128, seed=2)[0]


@pytest.fixture(scope="session")
def test_data() -> tuple[np.ndarray, np.ndarray]:
    """Raw uint8 images and labels that nothing was trained on."""
    return tiny.make_images(60, seed=3)


@pytest.fixture(scope="session")
def original() -> keras.Model:
    """A trained model of logits."""
    return tiny.train_briefly(tiny.make_original())


@pytest.fixture(scope="session")
def halves(original: keras.Model) -> isplit.SplitModel:
    """The model split after its pooling, with a bottleneck trained for a moment."""
    split = tiny.make_split(original)
    tiny.train_briefly(split.model)
    return split


@pytest.fixture(scope="session")
def shared_bundle(halves, original, train_images, test_data, tmp_path_factory) -> Bundle:
    """An int8 bundle of `halves`; only to be read."""
    return isplit.export_bundle(
        halves,
        tmp_path_factory.mktemp("export") / "bundle",
        representative_data=train_images,
        evaluation_data=test_data,
        class_names=tiny.CLASSES,
        preprocessing=tiny.PREPROCESSING,
        original=original,
        version=3,
    )


@pytest.fixture(scope="session")
def coded_split(halves, original, shared_bundle, train_images) -> isplit.SplitModel:
    """The split of `shared_bundle`, with a code for the latents of its head."""
    form = shared_bundle.manifest.form
    symbols = np.stack([form.unpack(one)[1] for one in shared_bundle.payloads(train_images)])
    split = tiny.make_split(original)
    split.model.set_weights(halves.model.get_weights())
    split.bottleneck_code = Code.fit(symbols)
    return split


@pytest.fixture(scope="session")
def coded_bundle(coded_split, train_images, test_data, tmp_path_factory) -> Bundle:
    """The bundle of `coded_split`; only to be read."""
    return isplit.export_bundle(
        coded_split,
        tmp_path_factory.mktemp("export") / "coded",
        representative_data=train_images,
        evaluation_data=test_data,
        class_names=tiny.CLASSES,
        preprocessing=tiny.PREPROCESSING,
        version=3,
        progress=False,
    )


@pytest.fixture
def bundle(shared_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy of the int8 bundle that a test may spoil."""
    return Bundle.load(shutil.copytree(shared_bundle.directory, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def elsewhere(shared_bundle, train_images, tmp_path_factory) -> dict:
    """What a fresh process makes of the same model: a head, an identity, and the tail's answer from its files."""
    images = tmp_path_factory.mktemp("elsewhere") / "images.npy"
    np.save(images, train_images[:100].astype(np.float32) / 255)
    script = """
        import hashlib, json, sys
        import numpy as np, tensorflow as tf
        model = tf.saved_model.load(sys.argv[1])
        tail = model.signatures["from_latent"]
        zeros = tf.zeros([2, *tail.structured_input_signature[1]["latent"].shape[1:]])
        answer = tail(latent=zeros)["probabilities"].numpy().tolist()
        graphs = [one.graph.as_graph_def() for one in model.signatures.values()]
        nodes = [node for graph in graphs for node in graph.node]
        nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
        from isplit_tf.export.litert.converter import convert
        from support import tiny
        split = tiny.make_split(tiny.make_original())
        head = convert(split.head, split.encoder, precision="int8", representative=np.load(sys.argv[2]))
        print(json.dumps({
            "answer": answer,
            "operators": sorted({node.op for node in nodes}),
            "head": hashlib.sha256(head.content).hexdigest(),
            "identity": tiny.identity(),
        }))
    """
    saved = shared_bundle.directory / "serving" / "tail" / "3"
    return tiny.run_python(script, saved, images)


@pytest.fixture(scope="session")
def packed_micro_bundle(original, train_images, tmp_path_factory) -> Bundle:
    """An int8 bundle for microcontrollers whose latent travels in 4 bits; only to be read."""
    pytest.importorskip("tflite_micro", reason="TensorFlow Lite Micro is not installed: pip install 'isplit-tf[micro]'")
    split = isplit.split(original, "pool", isplit.Autoencoder(latent_size=28, latent_bits=4, seed=0))
    isplit.train(
        split, train_images[:64].astype(np.float32) / 255, bottleneck_epochs=0, fine_tune_epochs=0, progress=False
    )
    return isplit.export_bundle(
        split,
        tmp_path_factory.mktemp("micro") / "bundle",
        representative_data=train_images,
        preprocessing=tiny.PREPROCESSING,
        target="microcontroller",
        progress=False,
    )


@pytest.fixture(scope="session")
def micro_bundle(halves, train_images, tmp_path_factory) -> Bundle:
    """An int8 bundle of `halves` for microcontrollers, of another identity as it names no classes; only to be read."""
    pytest.importorskip("tflite_micro", reason="TensorFlow Lite Micro is not installed: pip install 'isplit-tf[micro]'")
    return isplit.export_bundle(
        halves,
        tmp_path_factory.mktemp("micro") / "bundle",
        representative_data=train_images,
        preprocessing=tiny.PREPROCESSING,
        target="microcontroller",
        version=5,
    )


@pytest.fixture(scope="session")
def coded_micro_bundle(coded_split, train_images, tmp_path_factory) -> Bundle:
    """An int8 bundle for microcontrollers whose latent is coded; only to be read."""
    pytest.importorskip("tflite_micro", reason="TensorFlow Lite Micro is not installed: pip install 'isplit-tf[micro]'")
    return isplit.export_bundle(
        coded_split,
        tmp_path_factory.mktemp("micro") / "bundle",
        representative_data=train_images,
        preprocessing=tiny.PREPROCESSING,
        target="microcontroller",
        version=6,
        progress=False,
    )
