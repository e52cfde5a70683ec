"""The tail as a SavedModel, loaded from its files as a model server does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_edge import wire
from isplit_tf.errors import ModelError
from isplit_tf.export.serving import saved_model
from isplit_tf.graph.outputs import Output, to_probabilities

TAG = bytes(range(8))
LOGITS = Output.of("logits", 3)


@pytest.fixture(scope="module")
def saved(halves, tmp_path_factory):
    """The SavedModel of the tail for int8 latents, and its directory."""
    directory = tmp_path_factory.mktemp("saved") / "1"
    latent = saved_model.LatentFormat("int8", halves.latent_shape, scale=0.05, zero_point=-3)
    saved_model.write(directory, halves.tail, halves.decoder, latent=latent, output=LOGITS, tag=TAG)
    return tf.saved_model.load(str(directory)), directory


def int8_latents(halves, count: int) -> np.ndarray:
    """Latents as a head of int8 might give them."""
    return np.random.default_rng(0).integers(-128, 128, (count, *halves.latent_shape)).astype(np.int8)


def strings(payloads: list[bytes]) -> tf.Tensor:
    """Payloads as a tensor of rank 1, however many there are."""
    return tf.constant(np.array(payloads, object), tf.string)


def test_the_signatures_are_the_contract(halves, saved):
    """Two signatures with the names, dtypes and shapes that clients are written against, any batch size."""
    signatures = saved[0].signatures
    assert set(signatures) == {"serving_default", "from_latent"}
    default, plain = signatures["serving_default"], signatures["from_latent"]
    assert default.structured_input_signature[1] == {"payload": tf.TensorSpec([None], tf.string, "payload")}
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in default.structured_outputs.items()} == {
        "probabilities": (tf.float32, [None, 4]),
        "status": (tf.int32, [None]),
    }
    latent = plain.structured_input_signature[1]["latent"]
    assert (latent.dtype, latent.shape.as_list()) == (tf.float32, [None, *halves.latent_shape])
    assert list(plain.structured_outputs) == ["probabilities"]


@pytest.mark.numerical
def test_answers_as_the_keras_models_do(halves, saved):
    """Payloads go in, and the probabilities of decoder and tail on the dequantized latents come out; `from_latent`,
    a graph of its own, gives the same to 1e-5."""
    latents = int8_latents(halves, 5)
    answer = saved[0].signatures["serving_default"](payload=strings([wire.pack(TAG, one) for one in latents]))
    floats = (latents.astype(np.float32) + 3) * np.float32(0.05)
    expected = to_probabilities(halves.tail(halves.decoder(floats)).numpy(), LOGITS)
    assert answer["status"].numpy().tolist() == [0] * 5
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    plain = saved[0].signatures["from_latent"](latent=tf.constant(floats))
    np.testing.assert_allclose(plain["probabilities"], answer["probabilities"], atol=1e-5)


@pytest.mark.numerical
def test_a_bad_payload_fails_alone(halves, saved):
    """Rows of bad payloads are NaN with their status; their neighbours are answered as they are alone."""
    tail = saved[0].signatures["serving_default"]
    good = [wire.pack(TAG, one) for one in int8_latents(halves, 3)]
    other = wire.pack(bytes(8), int8_latents(halves, 1)[0])
    mixed = tail(payload=strings([good[0], b"", good[1], other, good[2][:-1], good[2]]))
    assert mixed["status"].numpy().tolist() == [0, 2, 0, 1, 2, 0]
    found = mixed["probabilities"].numpy()
    assert np.isnan(found[[1, 3, 4]]).all()
    alone = np.concatenate([tail(payload=strings([one]))["probabilities"] for one in good])
    np.testing.assert_allclose(found[[0, 2, 5]], alone, atol=1e-5)


def test_a_batch_of_none(halves, saved):
    """No payloads, no rows: an empty request is no error."""
    signatures = saved[0].signatures
    empty = signatures["serving_default"](payload=strings([]))
    assert empty["probabilities"].shape == (0, 4)
    assert empty["status"].shape == (0,)
    assert signatures["from_latent"](latent=tf.zeros((0, *halves.latent_shape)))["probabilities"].shape == (0, 4)


def test_each_weight_is_stored_once(halves, saved):
    """The checkpoint holds every weight of decoder and tail, once, and nothing else."""
    stored = tf.train.list_variables(str(saved[1] / "variables" / "variables"))
    shapes = sorted(tuple(shape) for name, shape in stored if not name.startswith("_"))
    expected = [tuple(one.shape) for model in (halves.decoder, halves.tail) for one in model.weights]
    assert shapes == sorted(expected)


def test_loads_in_a_fresh_process(shared_bundle, elsewhere):
    """TensorFlow alone loads and runs it from its files, and no operator calls back into Python."""
    tail = tf.saved_model.load(str(shared_bundle.directory / "serving/tail/3")).signatures["from_latent"]
    zeros = tf.zeros((2, *shared_bundle.manifest.shapes["latent"]))
    np.testing.assert_allclose(elsewhere["answer"], tail(latent=zeros)["probabilities"], atol=1e-6)
    assert not {"PyFunc", "EagerPyFunc", "PyFuncStateless", "XlaCallModule"} & set(elsewhere["operators"])


def test_a_float_latent_that_is_not_finite_is_malformed(halves, tmp_path):
    """NaN behind a ReLU would come out as a confident answer: it is refused by its status."""
    latent = saved_model.LatentFormat("float32", tuple(halves.cut.shape))
    saved_model.write(tmp_path / "1", halves.tail, latent=latent, output=LOGITS, tag=TAG)
    tail = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    features = np.ones((3, *halves.cut.shape), np.float32)
    features[1].flat[7] = np.nan
    features[2].flat[0] = np.inf
    answer = tail(payload=strings([wire.pack(TAG, one) for one in features]))
    assert answer["status"].numpy().tolist() == [0, 2, 2]
    expected = to_probabilities(halves.tail(features[:1]).numpy(), LOGITS)
    np.testing.assert_allclose(answer["probabilities"].numpy()[:1], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "outputs", "expected"),
    [
        ("softmax", [[0.25, 0.75]], [[0.25, 0.75]]),
        ("multi_label", [[0.9, 0.8]], [[0.9, 0.8]]),
        ("multi_label_logits", [[0.0, np.log(3.0)]], [[0.5, 0.75]]),
        ("sigmoids", [[0.9, 0.8]], [[0.9, 0.8]]),  # as splits of release 0.1.0 say it
        ("logits", [[0.0, np.log(3.0)]], [[0.25, 0.75]]),
        ("sigmoid", [[0.75]], [[0.25, 0.75]]),
        ("binary_logit", [[np.log(3.0)]], [[0.25, 0.75]]),
        ("binary_logit", [[-200.0], [200.0]], [[1.0, 0.0], [0.0, 1.0]]),
    ],
)
def test_probabilities_of_every_kind_of_output(kind, outputs, expected):
    """Softmax for logits, [1 - p, p] for one unit, independent sigmoids as they are; as the evaluation does it."""
    output = Output.of(kind, len(outputs[0]))
    found = output.probabilities(tf.constant(outputs)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found, to_probabilities(np.array(outputs), output), atol=1e-6)
    record = saved_model.output_record(output)
    assert record["softmax_added"] == (kind == "logits")
    assert record["complement_added"] == (kind in ("sigmoid", "binary_logit"))
    assert record["independent"] == output.is_multi_label == (record["kind"] == "multi_label")
    assert record["sigmoid_added"] == (kind in ("binary_logit", "multi_label_logits"))


def test_an_unknown_kind_of_output():
    """What is not class scores is not served."""
    with pytest.raises(ModelError, match="unknown kind: 'regression'"):
        Output.of("regression", 1)


@pytest.mark.parametrize("policy", ["mixed_float16", "float16"])
def test_other_dtypes_are_served_in_float32(policy, tmp_path):
    """A tail trained in half precision answers in float32, from weights stored as they are."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((5,), dtype="float32")
        tail = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    finally:
        keras.config.set_dtype_policy(before)
    latent = saved_model.LatentFormat("float32", (5,))
    saved_model.write(tmp_path / "1", tail, latent=latent, output=LOGITS, tag=TAG)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    found = tf.saved_model.load(str(tmp_path / "1")).signatures["from_latent"](latent=tf.constant(x))
    kernel, bias = (one.numpy().astype(np.float32) for one in tail.weights)
    np.testing.assert_allclose(found["probabilities"], to_probabilities(x @ kernel + bias, LOGITS), atol=1e-6)
    assert tail.layers[1].dtype_policy.name == policy
