"""A kit: heads at the cuts, the whole model and all tails, measured as a device and a server run them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import isplit_tf as isplit
from isplit_edge import Head
from isplit_edge.__main__ import main as on_device
from isplit_tf.export import kit as kits
from isplit_tf.export.kit_images import KitImages
from isplit_tf.server import Server
from support import tiny
from support.shell import isplit as command

PROJECTION = isplit.Projection(payload_bytes=40)


@pytest.fixture(scope="module")
def model():
    return tiny.make_original(last="softmax")


@pytest.fixture(scope="module")
def images():
    return tiny.make_images(48, seed=2)[0]


@pytest.fixture(scope="module")
def kit(model, images, tmp_path_factory):
    """An int8 kit with coded payloads; only to be read."""
    place = tmp_path_factory.mktemp("kits") / "kit"
    options = {"bottleneck": PROJECTION, "preprocessing": tiny.PREPROCESSING, "progress": False}
    return isplit.build_kit(model, place, representative_data=images, **options)


def test_a_kit_holds_the_main_cuts_the_whole_model_and_images(kit, model):
    """The cuts of the curve, with the costs that they have everywhere, and the model's identity."""
    every = {cut.index: cut for cut in isplit.find_cuts(model)}
    kinds = [cut.layer_type for cut in every.values() if cut.index in {one.index for one in kit.cuts}]
    assert kinds == ["Conv2D", "MaxPooling2D", "BatchNormalization", "Conv2D"]
    assert all(cut.head_macs == every[cut.index].head_macs and cut.encoder_macs > 0 for cut in kit.cuts)
    assert kit.whole.macs == every[0].head_macs + every[0].tail_macs
    assert kit.refused == {}
    assert kit.read_images().dtype == np.uint8
    assert isplit.Kit.load(kit.directory, check=("heads", "whole", "images.npz", "serving")) == kit
    assert not list(kit.directory.parent.glob(".*"))


def test_every_tail_reads_its_own_heads_payloads_and_refuses_rubbish(kit, model):
    """Signatures answer as the model does at int8's distance, with status 2 for what is no payload."""
    served = tf.saved_model.load(str(kit.directory / kit.serving)).signatures
    raw = kit.read_images()
    x = raw.astype(np.float32) / 255
    whole = served["whole"](image=tf.constant(x))["probabilities"].numpy()
    np.testing.assert_allclose(whole, model.predict(x, verbose=0), atol=1e-5)
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in raw])
    np.testing.assert_allclose(served["encoded"](image=encoded)["probabilities"].numpy(), whole, atol=1e-5)
    for cut in kit.cuts:
        payloads = Head(kit.directory / cut.directory).payloads(raw)
        found = served[cut.signature](payload=tf.constant(np.array([*payloads, b"rubbish"], object)))
        assert found["status"].numpy().tolist() == [0] * len(raw) + [2]
        assert np.abs(found["probabilities"].numpy()[:-1] - whole).max() < 0.1
        assert np.isnan(found["probabilities"].numpy()[-1]).all()
        assert served[cut.signature](payload=tf.zeros([0], tf.string))["probabilities"].shape == (0, 4)


def test_a_device_measures_the_kit_and_the_link_over_both_protocols(kit, tmp_path):
    """The device's command, against a server of the kit's own folder: up and down apart, over REST and gRPC."""
    pytest.importorskip("grpc")
    fast = ["--seconds", "0.02", "--link-seconds", "0.05", "--no-memory", "--threads", "1"]
    with Server(kit.directory / "serving", port=0, grpc_port=0) as server:
        for url in (server.url, server.grpc_url):
            file = tmp_path / f"{url[:4]}.json"
            assert on_device(["profile", str(kit.directory), "--url", url, "-o", str(file), *fast]) == 0
            profile = isplit.DeviceProfile.load(file)
            profile.require(kit_id=kit.kit_id, model_sha256=kit.model_sha256, precision="int8")
            assert [cut.index for cut in profile.cuts] == [cut.index for cut in kit.cuts]
            assert profile.link.down_s_per_byte is not None
            # On loopback the link itself may take less than what the server's times scatter by.
            assert profile.link.answer_s(100, 100) >= 0
            assert profile.link.answer_s(100, 100) + profile.link.served_s > 0


def test_a_killed_build_goes_on_where_it_was(model, images, tmp_path, monkeypatch):
    """What was converted before an interrupt is not converted again, and belongs to the tails of the second call."""
    options = {"bottleneck": PROJECTION, "representative_data": images, "cuts": [1, 4], "progress": False}
    done, convert = [], kits.convert

    def converted(head, encoder=None, **settings):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(encoder)
        return convert(head, encoder, **settings)

    monkeypatch.setattr(kits, "convert", converted)
    with pytest.raises(KeyboardInterrupt):
        isplit.build_kit(model, tmp_path / "kit", **options)
    assert not (tmp_path / "kit").exists()
    assert (tmp_path / ".kit.partial/heads/001/manifest.json").is_file()
    done.append(None)
    kit = isplit.build_kit(model, tmp_path / "kit", **options)
    assert len(done) == 4  # the second head and the whole model were made in the second call
    assert not (tmp_path / ".kit.partial").exists()
    payloads = Head(kit.directory / kit.cuts[0].directory).payloads(kit.read_images())
    served = tf.saved_model.load(str(kit.directory / kit.serving)).signatures[kit.cuts[0].signature]
    assert not served(payload=tf.constant(np.array(payloads, object)))["status"].numpy().any()


def test_a_part_of_another_kit_is_not_used(model, images, tmp_path):
    """Other settings begin anew."""
    partial = tmp_path / ".kit.partial"
    (partial / "heads/001").mkdir(parents=True)
    (partial / "settings.json").write_text("{}")
    options = {"representative_data": images, "cuts": ["pool"], "bottleneck": None, "progress": False}
    kit = isplit.build_kit(model, tmp_path / "kit", precision="float32", **options)
    assert (kit.precision, kit.bottleneck, kit.cuts[0].encoder_macs) == ("float32", None, 0)
    with pytest.raises(isplit.ISplitError, match="exists. Give overwrite=True to replace the kit"):
        isplit.build_kit(model, tmp_path / "kit", **options)


def recurrent():
    layers = [keras.Input((6, 4)), keras.layers.Conv1D(5, 3), keras.layers.LSTM(4, return_sequences=True)]
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3)])


def perceptron():
    layers = [keras.Input((12,)), keras.layers.Dense(9, activation="relu"), keras.layers.Dense(7, activation="relu")]
    return keras.Sequential([*layers, keras.layers.Dense(1, activation="sigmoid")])


def grey():
    layers = [keras.Input((10, 10, 1)), keras.layers.Conv2D(4, 3), keras.layers.MaxPooling2D()]
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")])


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (recurrent, {"precision": "dynamic", "from_logits": True}),
        (perceptron, {"precision": "float16", "bottleneck": isplit.Autoencoder(0.5)}),
        (grey, {"bottleneck": isplit.Projection(0.5)}),
    ],
)
def test_other_models_and_bottlenecks_have_kits(make, options, tmp_path):
    """Sequences, vectors and grey maps; bottlenecks that are trained, fitted one by one, or not coded."""
    keras.utils.set_random_seed(0)
    model = make()
    x = np.random.default_rng(0).normal(size=(20, *model.input_shape[1:])).astype(np.float32)
    kit = isplit.build_kit(model, tmp_path / "kit", representative_data=x, progress=False, **options)
    assert kit.read_images().dtype == np.float32
    served = tf.saved_model.load(str(kit.directory / kit.serving)).signatures
    for cut in kit.cuts:
        payloads = Head(kit.directory / cut.directory).payloads(kit.read_images(), preprocessed=True)
        found = served[cut.signature](payload=tf.constant(np.array(payloads, object)))
        assert not found["status"].numpy().any()
    file = tmp_path / "device.json"
    assert on_device(["profile", str(kit.directory), "-o", str(file), "--seconds", "0.02", "--no-memory"]) == 0


def test_images_in_the_models_space_become_a_cameras(images):
    """Floats that a preprocessing made of 8-bit images are turned back; others stay as they are."""
    record = {"name": None, "size": None, "resize": "bilinear", "scale": 1 / 127.5, "mean": 1.0, "std": 1.0}
    record["channel_order"] = "BGR"
    x = images[..., ::-1].astype(np.float32) / np.float32(127.5) - 1
    found = KitImages.read(x, images.shape[1:], record, progress=False)
    np.testing.assert_array_equal(found.raw[0], images[0])
    assert KitImages.read(images.astype(np.float32), images.shape[1:], None, progress=False).raw.dtype == np.uint8
    assert KitImages.read(x * 1.5, images.shape[1:], record, progress=False).raw.dtype == np.float32


def test_bad_requests_are_told(model, images, tmp_path):
    """Too few images, an unknown precision, a folder of something else; nothing is left behind."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("mine")
    for options, said in (
        ({"representative_data": images[:5]}, "at least 16 images to be made of. Found: 5"),
        ({"precision": "int4"}, "precision must be one of int8"),
        ({"cuts": ["nowhere"]}, "No cut named 'nowhere'"),
        ({"directory": tmp_path / "other", "overwrite": True}, "holds no kit"),
    ):
        arguments = {"directory": tmp_path / "kit", "representative_data": images, "progress": False} | options
        with pytest.raises(isplit.ISplitError, match=said):
            isplit.build_kit(model, **arguments)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other"]


def test_a_kit_from_the_shell(model, images, tmp_path, capsys):
    """`isplit kit` reads a model and images and writes the kit; its record is the JSON."""
    model.save(tmp_path / "net.keras")
    np.savez(tmp_path / "data.npz", x=images, y=np.zeros(len(images), int))
    arguments = ["kit", tmp_path / "net.keras", "--representative-data", tmp_path / "data.npz", "--cuts", "pool"]
    assert command(*arguments, "--payload-bytes", 40, "-o", tmp_path / "kit", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cuts"][0]["payload_bytes"] == 40
    assert command(*arguments, "-o", tmp_path / "kit") == 2
    assert "exists. Give --overwrite" in capsys.readouterr().err
    assert command(*arguments, "--payload-bytes", 40, "--no-bottleneck", "-o", tmp_path / "b") == 2
