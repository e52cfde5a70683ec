"""Splitting, saving and reading back."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest
from keras import layers, ops

from isplit_tf import Autoencoder, Projection, SplitModel, find_cuts, split
from isplit_tf.errors import ArgumentError, BundleError, CutError, ExistsError, ModelError
from isplit_tf.graph.outputs import describe_output
from isplit_tf.storage.models import load_model
from support.recompose import difference
from support.zoo import ZOO, Shift, random_input, randomize


@pytest.fixture
def model():
    """A chain of layers with weights that are no longer fresh."""
    return randomize(ZOO["chain"]())


class TestParts:
    """What a split consists of."""

    def test_without_bottleneck(self, model):
        """Head and tail alone; the output is the user's own: to the bit when called, to 1e-5 from another graph."""
        halves = split(model, "pool1")
        x = random_input(model)
        assert halves.encoder is halves.decoder is halves.bottleneck is None
        assert halves.latent_shape == halves.cut.shape == (4, 4, 4)
        assert halves.head.output_shape == (None, 4, 4, 4)
        assert [tensor.name for tensor in halves.tail.inputs] == ["features"]
        assert difference(halves.tail(halves.head(x)), model(x)) == 0.0
        np.testing.assert_allclose(halves.predict(x), model.predict(x, verbose=0), atol=1e-5)

    @pytest.mark.parametrize("bits", [None, 8, 4])
    def test_more_bytes_than_asked_for_are_said(self, model, bits, recwarn):
        """Where the grid has more positions than the payload has room for; and only there."""
        split(model, "pool1", Projection(payload_bytes=14, latent_bits=bits, coding="none"))
        assert not [one for one in recwarn if "payload_bytes" in str(one.message)]
        with pytest.warns(UserWarning, match=r"2\d bytes per frame cross at 'pool1', more than payload_bytes=13"):
            split(model, "pool1", Projection(payload_bytes=13, patch=1, latent_bits=bits, coding="none"))

    def test_with_bottleneck(self, model):
        """Head, encoder, decoder and tail, one after the other, are the whole."""
        halves = split(model, 1, Autoencoder(compression=0.75))
        x = random_input(model)
        latent = halves.encoder(halves.head(x))
        assert latent.shape[1:] == halves.latent_shape
        assert np.prod(halves.latent_shape) == 16
        assert difference(halves.tail(halves.decoder(latent)), halves.model(x)) == 0.0
        assert [tensor.name for tensor in halves.decoder.inputs] == ["latent"]

    def test_weights_are_shared_between_the_five(self, model):
        """A weight changed in the whole is changed in the part, and the user's model does not see it."""
        halves = split(model, "pool1", Autoencoder())
        before = [w.numpy() for w in model.weights]
        for weight in halves.model.weights:
            weight.assign(weight * 2)
        owned = {id(w) for part in (halves.head, halves.encoder, halves.decoder, halves.tail) for w in part.weights}
        assert owned == {id(w) for w in halves.model.weights}
        assert not owned & {id(w) for w in model.weights}
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))

    def test_trains(self, model):
        """The whole compiles and fits, and the parts follow."""
        halves = split(model, "pool1", Autoencoder())
        x = random_input(model, 16)
        halves.model.compile("sgd", "sparse_categorical_crossentropy")
        before = np.asarray(halves.tail(halves.decoder(halves.encoder(halves.head(x)))))
        halves.model.fit(x, np.arange(16) % 5, verbose=0)
        after = halves.tail(halves.decoder(halves.encoder(halves.head(x, training=False))), training=False)
        assert difference(after, halves.model(x, training=False)) == 0.0
        assert difference(after, before) > 0

    def test_trainable_stays(self):
        """Frozen layers stay frozen, those of a frozen backbone too."""
        model = ZOO["nested"]()
        model.get_layer("backbone").trainable = False
        assert [w.shape for w in split(model, 0).model.trainable_weights] == [w.shape for w in model.trainable_weights]

    def test_shared_layer_is_one_layer(self):
        """A layer called on both sides of the cut is one layer in head, tail and whole."""
        halves = split(ZOO["shared"](), "conv#1")
        assert halves.head.get_layer("conv") is halves.tail.get_layer("conv") is halves.model.get_layer("conv")

    @pytest.mark.parametrize("name", ["two_inputs", "dict_inputs"])
    def test_several_inputs(self, name):
        """The head takes them as the model does."""
        model = randomize(ZOO[name]())
        x = random_input(model)
        halves = split(model, "hidden")
        assert difference(halves.tail(halves.head(x)), model(x)) == 0.0
        assert [tensor.name for tensor in halves.head.inputs] == [tensor.name for tensor in model.inputs]

    def test_several_outputs(self):
        """All are kept, in the model's own structure, or the one that is named."""
        model = randomize(ZOO["two_outputs"]())
        x = random_input(model)
        both, one = split(model, "trunk"), split(model, "hidden", output="scores")
        assert difference(both.tail(both.head(x)), model(x)) == 0.0
        assert set(both.tail(both.head(x))) == {"scores", "again"}
        assert difference(one.tail(one.head(x)), model(x)["scores"]) == 0.0
        assert (both.output_kind, one.output_kind) == (None, "softmax")

    def test_loss_of_the_named_output(self):
        """Of the losses that the model was compiled with, the one that belongs to the output."""
        model = ZOO["two_outputs"]()
        model.compile("sgd", loss={"scores": "sparse_categorical_crossentropy", "again": "mse"})
        assert split(model, 0, output="scores").loss == "sparse_categorical_crossentropy"
        assert split(model, 0).loss == {"scores": "sparse_categorical_crossentropy", "again": "mse"}

    def test_mixed_precision_crosses_in_its_own_dtype(self):
        """What crosses is what the layer gives: bfloat16 here."""
        halves = split(ZOO["mixed_precision"](), "norm")
        assert halves.head.outputs[0].dtype == halves.tail.inputs[0].dtype == "bfloat16"

    @pytest.mark.parametrize(
        ("activation", "units", "loss", "kind"),
        [
            ("softmax", 3, None, "softmax"),
            ("sigmoid", 1, None, "sigmoid"),
            ("sigmoid", 3, None, "multi_label"),
            (None, 3, None, "logits"),
            (None, 1, keras.losses.BinaryCrossentropy(from_logits=True), "binary_logit"),
            (None, 1, None, None),
            (None, 3, "mse", None),
            ("relu", 3, None, None),
        ],
    )
    def test_output_kind(self, activation, units, loss, kind):
        """What the output is, or None where it is not class scores."""
        inputs = keras.Input((4,))
        x = layers.Dense(3, name="hidden")(inputs)
        model = keras.Model(inputs, layers.Dense(units, activation=activation)(x))
        if loss is not None:
            model.compile("sgd", loss)
        assert split(model, 0).output_kind == kind
        if kind is not None:
            assert describe_output(model).kind == kind


class TestErrors:
    """What cannot be split says why."""

    def test_no_such_cut(self, model):
        """As in resolve_cut."""
        with pytest.raises(CutError, match="No cut named 'nothing' in model 'chain'"):
            split(model, "nothing")

    def test_no_bottleneck(self, model):
        """A number is no bottleneck."""
        with pytest.raises(ArgumentError, match=r"Expected a bottleneck such as Autoencoder\(\)\. Received: 0\.9"):
            split(model, 0, 0.9)

    def test_varying_shape(self):
        """A bottleneck needs a fixed shape; without one, a varying shape is split."""
        model = ZOO["varying_size"]()
        assert split(model, "conv1").head.output_shape == (None, None, None, 3)
        with pytest.raises(ModelError, match="Cut 'conv1' has shape .* Give the model a fixed input size"):
            split(model, "conv1", Autoencoder())

    def test_layer_without_config(self):
        """The layer is named, with what it lacks."""

        class Blind(layers.Layer):
            def __init__(self, factor):
                super().__init__(name="blind")
                self.factor = factor

            def call(self, x):
                return x * ops.convert_to_tensor(self.factor)

        inputs = keras.Input((3,))
        model = keras.Model(inputs, layers.Dense(2)(Blind(np.float32(2))(inputs)))
        with pytest.warns(UserWarning, match=r"cannot be split, for .* layers\. Layer 'blind' of class"):
            assert [cut.name for cut in find_cuts(model)] == ["blind"]
        with pytest.raises(ModelError, match=r"Layer 'blind' of class Blind cannot be copied from its configuration: "):
            split(model, 0)

    def test_own_functions_go_along(self):
        """An activation of the user's own, registered or not, a lambda even, is copied as it is."""

        def twice(x):
            return x * 2

        inputs = keras.Input((3,))
        x = layers.Dense(4, activation=twice)(inputs)
        x = layers.Dense(4, activation=lambda t: t + 1)(x)
        model = keras.Model(inputs, layers.Dense(2)(x))
        x = random_input(model)
        halves = split(model, 0)
        assert difference(halves.tail(halves.head(x)), model(x)) == 0.0


class TestFiles:
    """Saved and read back, a split is the same."""

    @pytest.mark.parametrize("name", sorted(set(ZOO) - {"no_cut", "in_memory_lambda"}))
    def test_round_trip(self, name, tmp_path):
        """Every shape of graph, at its last cut."""
        model = randomize(ZOO[name]())
        x = random_input(model)
        cut = find_cuts(model)[-1]
        split(model, cut).save(tmp_path / "split")
        wide = model.get_layer("wide").__class__ if name == "custom_layer" else None
        again = SplitModel.load(tmp_path / "split", custom_objects={"Shift": Shift, "Wide": wide} if wide else None)
        expected = model(x, training=False)
        assert again.cut == cut
        assert difference(again.model(x, training=False), expected) == 0.0
        assert difference(again.tail(again.head(x, training=False), training=False), expected) == 0.0

    def test_record(self, model, tmp_path):
        """Cut, bottleneck, kind of output and loss come back."""
        model.compile("sgd", keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
        halves = split(model, "conv2", Autoencoder(compression=0.8, seed=3))
        halves.save(tmp_path / "split")
        again = SplitModel.load(tmp_path / "split")
        x = random_input(model)
        assert (again.cut, again.bottleneck, again.output_kind) == (halves.cut, halves.bottleneck, "softmax")
        assert again.loss.label_smoothing == 0.1
        assert difference(again.encoder(again.head(x)), halves.encoder(halves.head(x))) == 0.0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["split"]

    def test_shared_layers_stay_tied(self, tmp_path):
        """A layer on both sides of the cut is still one after reading back."""
        split(ZOO["shared"](), "conv#1").save(tmp_path / "split")
        again = SplitModel.load(tmp_path / "split")
        assert again.head.get_layer("conv") is again.tail.get_layer("conv")
        again.tail.get_layer("conv").bias.assign([1.0, 2.0, 3.0])
        assert again.head.get_layer("conv").bias.numpy().tolist() == [1.0, 2.0, 3.0]

    def test_existing_directory(self, model, tmp_path):
        """It is replaced only if asked for, and only if it is a split."""
        halves = split(model, "pool1")
        halves.save(tmp_path / "split")
        with pytest.raises(ExistsError, match=r"'.*split' exists\. Give overwrite=True, or another directory"):
            halves.save(tmp_path / "split")
        split(model, "conv2").save(tmp_path / "split", overwrite=True)
        assert SplitModel.load(tmp_path / "split").cut.name == "conv2"
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "cat.png").touch()
        with pytest.raises(ExistsError, match=r"holds no split \(split\.json is missing\): not replaced"):
            halves.save(tmp_path / "photos", overwrite=True)
        assert (tmp_path / "photos" / "cat.png").exists()

    def test_old_split_stays_when_the_new_one_fails(self, model, tmp_path, monkeypatch):
        """A failure while writing leaves the old split and nothing else."""
        split(model, "pool1").save(tmp_path / "split")
        halves = split(model, "conv2")
        monkeypatch.setattr(halves, "_record", lambda: {"loss": float("nan")})
        with pytest.raises(ValueError, match="Out of range float"):
            halves.save(tmp_path / "split", overwrite=True)
        assert SplitModel.load(tmp_path / "split").cut.name == "pool1"
        assert [path.name for path in tmp_path.iterdir()] == ["split"]

    def test_a_lambda_as_loss_is_not_saved(self, model, tmp_path):
        """It is said when the split is saved, and the split can be read."""
        model.compile("sgd", lambda y, scores: ops.mean(scores))
        with pytest.warns(UserWarning, match=r"Python lambda, which is not saved. Give train\(loss=...\)"):
            split(model, "pool1").save(tmp_path / "s")
        assert SplitModel.load(tmp_path / "s").loss is None

    def test_a_loss_that_is_not_known_does_not_keep_a_split_from_being_read(self, model, tmp_path):
        """Only training needs it."""

        def own_loss(y, scores):  # unregistered
            return ops.mean(scores)

        model.compile("sgd", own_loss)
        split(model, "pool1").save(tmp_path / "s")
        with pytest.warns(UserWarning, match=r"loss of the split .* is not known here. Give it in custom_objects"):
            assert SplitModel.load(tmp_path / "s").loss is None
        assert SplitModel.load(tmp_path / "s", custom_objects={"own_loss": own_loss}).loss is own_loss

    def test_lambdas_are_not_saved(self, tmp_path):
        """What could not be read back is not written; the layers are named."""
        with pytest.raises(
            ModelError, match=r"Layers with Python lambdas cannot be saved .*: 'absolute'\. Use a keras"
        ):
            split(ZOO["in_memory_lambda"](), 0).save(tmp_path / "split")
        assert not list(tmp_path.iterdir())

    @pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
    def test_lambdas_of_a_file_are_refused_by_name(self, tmp_path):
        """Code in a file is not run; the message names the layers that hold it, however deep."""
        inner = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda t: t + 1, name="plus")], name="inner")
        keras.Sequential([keras.Input((3,)), inner, layers.Dense(2)]).save(tmp_path / "model.keras")
        with pytest.raises(ModelError, match=r"holds Python lambdas.* Layers: 'plus'\. If you trust it"):
            load_model(tmp_path / "model.keras")

    def test_load_model(self, model, tmp_path):
        """A plain model is read; a missing or broken file says so."""
        model.save(tmp_path / "model.keras")
        x = random_input(model)
        assert difference(load_model(tmp_path / "model.keras")(x), model(x)) == 0.0
        for name, content in (("missing.keras", None), ("text.keras", b"no model")):
            if content:
                (tmp_path / name).write_bytes(content)
            reason = "its 8 bytes are no .keras file" if content else "there is no such file"
            with pytest.raises(ModelError, match=f"{name}' cannot be loaded as a Keras model in safe mode: {reason}"):
                load_model(tmp_path / name)

    def test_unknown_classes(self, tmp_path):
        """Custom layers need their classes."""
        split(ZOO["custom_layer"](), 0).save(tmp_path / "split")
        with pytest.raises(BundleError, match=r"(?s)holds no split that can be read: .*'Shift'"):
            SplitModel.load(tmp_path / "split")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda record: record | {"format_version": 99}, "has format version 99; this release reads up to 2"),
            (lambda record: {k: v for k, v in record.items() if k != "cut"}, r"lacks \['cut'\]"),
            (lambda record: record | {"boundaries": ["nothing"]}, "No tensor 'nothing' in the split model 'chain'"),
            (lambda record: record | {"bottleneck": {"class": "Evil", "config": {}}}, "Unknown bottleneck 'Evil'"),
            (lambda record: record | {"format_version": -1}, "has format version -1"),
            (lambda record: record | {"cut": None}, r"split\.json' is damaged"),
            (lambda record: record | {"boundaries": None}, r"split\.json' is damaged"),
            (lambda record: record | {"boundaries": []}, r"split\.json' is damaged"),
            (lambda record: record | {"bottleneck": "x"}, r"split\.json' is damaged"),
            (lambda record: [], "holds 'list'"),
        ],
    )
    def test_broken_record(self, model, tmp_path, change, message):
        """Each thing that can be wrong with split.json is named."""
        split(model, 0).save(tmp_path / "split")
        path = tmp_path / "split" / "split.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
        with pytest.raises(BundleError, match=message):
            SplitModel.load(tmp_path / "split")

    def test_missing_or_broken_files(self, model, tmp_path):
        """No record, no model, or one cut short."""
        with pytest.raises(BundleError, match=r"holds no split: split\.json cannot be read"):
            SplitModel.load(tmp_path)
        split(model, 0).save(tmp_path / "split")
        file = tmp_path / "split" / "model.keras"
        file.write_bytes(file.read_bytes()[:1000])
        with pytest.raises(BundleError, match="holds no split that can be read"):
            SplitModel.load(tmp_path / "split")

    def test_no_pickle_inside(self, model, tmp_path):
        """The file holds JSON and HDF5, nothing that runs."""
        split(model, 0).save(tmp_path / "split")
        with zipfile.ZipFile(tmp_path / "split" / "model.keras") as archive:
            assert {name.rsplit(".", 1)[-1] for name in archive.namelist()} == {"json", "h5"}
            assert archive.read("model.weights.h5")[:4] == b"\x89HDF"
            json.load(io.BytesIO(archive.read("config.json")))


def test_repr(model):
    """It says where, and what is between."""
    assert repr(split(model, 1)) == "SplitModel(cut='pool1' (4, 4, 4), latent (4, 4, 4), no bottleneck)"
    assert "Autoencoder(compression=0.9" in repr(split(model, 1, Autoencoder()))


@pytest.mark.parametrize("name", ["features", "latent"])
def test_a_layer_may_have_the_name_of_an_input_of_ours(name):
    """The inputs of tail, encoder and decoder give way."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.Conv2D(2, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name=name)(x))
    images = random_input(model, 2)
    for bottleneck in (None, Autoencoder(0.5)):
        halves = split(model, "conv", bottleneck)
        assert halves.tail.get_layer(name).units == 3
    plain = split(model, "conv")
    np.testing.assert_array_equal(plain.tail(plain.head(images)), model(images))
