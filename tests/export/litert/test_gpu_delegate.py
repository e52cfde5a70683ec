"""What is said about a phone's GPU: by the operators in a file, and by their numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.display.quiet import quiet
from isplit_tf.export.litert.contents import Contents, Operator, Tensor, read_contents
from isplit_tf.export.litert.converter import convert
from isplit_tf.export.litert.gpu_delegate import ACCEPTED, DOCUMENTED, gpu_report

L = keras.layers


@pytest.mark.parametrize(
    ("make", "verdict", "named"),
    [
        (lambda: L.Conv2D(4, 3, activation="relu", name="layer"), "whole", set()),
        (lambda: L.DepthwiseConv2D(3, strides=2, name="layer"), "whole", set()),
        (lambda: L.Conv2DTranspose(4, 3, strides=2, name="layer"), "whole", set()),
        (lambda: L.AveragePooling2D(2, name="layer"), "whole", set()),
        (lambda: L.Dense(5, activation="sigmoid", name="layer"), "whole", set()),
        (lambda: L.ZeroPadding2D(name="layer"), "whole", set()),
        (lambda: L.GlobalAveragePooling2D(name="layer"), "likely", {"MEAN"}),
        (lambda: L.LeakyReLU(name="layer"), "likely", {"LEAKY_RELU"}),
        (lambda: L.Permute((2, 1, 3), name="layer"), "likely", {"TRANSPOSE"}),
        (lambda: L.Conv2D(4, 3, dilation_rate=2, name="layer"), "whole", set()),
    ],
)
def test_layers_of_keras_become_what_the_lists_say(make, verdict, named):
    """The operators that the converter makes of usual layers are found in the lists by their names."""
    inputs = keras.Input((8, 8, 4), batch_size=1, name="x")
    with quiet():
        content = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, make()(inputs))).convert()
    report = gpu_report(read_contents(content))
    assert (report.verdict, set(report.undocumented), report.refused) == (verdict, named, {})


def test_the_lists_do_not_overlap_and_name_operators():
    """Every name in the lists is one that LiteRT knows, once."""
    from ai_edge_litert import schema_py_generated as schema

    assert not DOCUMENTED & ACCEPTED
    assert set(vars(schema.BuiltinOperator)) >= DOCUMENTED | ACCEPTED


@pytest.mark.parametrize(
    ("precision", "verdict"),
    [("int8", "whole"), ("float32", "whole"), ("float16", "whole"), ("dynamic", "likely"), ("int16x8", "none")],
)
def test_heads_of_every_precision(precision, verdict):
    """A head of convolutions and poolings fits whole where its numbers are float or of 8 bit."""
    inputs = keras.Input((8, 8, 3), name="x")
    x = L.Conv2D(32, 3, activation="relu", name="conv_1")(inputs)
    x = L.MaxPooling2D(name="pool")(x)
    head = keras.Model(inputs, L.Conv2D(8, 3, name="conv_2")(x))
    images = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype(np.float32)
    needed = images if precision in ("int8", "int16x8") else None
    report = gpu_report(convert(head, precision=precision, representative=needed, progress=False).contents)
    assert report.verdict == verdict
    assert not report.refused
    assert any("not the same bytes" in note for note in report.notes) == (precision == "int8")


def file_of(*operators: tuple[str, bool], kind: str = "FLOAT32") -> Contents:
    """The contents of a made-up file; each operator by its name and whether it is built in."""
    tensor = Tensor("t", kind, (1, 2), constant=False)
    return Contents(tuple(Operator(name, builtin, (tensor,), (tensor,)) for name, builtin in operators))


@pytest.mark.parametrize(
    ("operators", "verdict", "undocumented", "refused"),
    [
        ([("CONV_2D", True), ("ADD", True)], "whole", {}, {}),
        ([("CONV_2D", True), ("MEAN", True), ("MEAN", True)], "likely", {"MEAN": 2}, {}),
        ([("CONV_2D", True), ("MEAN", True), ("UNIQUE", True)], "partly", {"MEAN": 1}, {"UNIQUE": 1}),
        ([("FlexErf", False)], "partly", {}, {"FlexErf": 1}),
        ([("TANH", False)], "partly", {}, {"TANH": 1}),
        ([], "whole", {}, {}),
    ],
)
def test_operators_are_told_apart(operators, verdict, undocumented, refused):
    """Documented, accepted and refused operators are counted; custom ones are never taken for built-in ones."""
    report = gpu_report(file_of(*operators))
    assert (report.verdict, report.undocumented, report.refused) == (verdict, undocumented, refused)
    assert report.to_json() == {"verdict": verdict, "undocumented": undocumented, "refused": refused, "notes": []}
