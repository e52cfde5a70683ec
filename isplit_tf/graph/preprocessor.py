"""Models that do more in `predict` than in their layers: a preprocessor, or a `predict_step` written by hand.

What is split is the layers. So where `predict` gives something else, two things would bear the name of the model.
"""

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from ..errors import ArgumentError, ModelError
from .inputs import feed
from .keras_state import check_model
from .measured_output import FAILURES, in_inference, made_up_inputs, state_kept
from .outputs import compiled_loss, find_kind
from .program import Program, Step, read_program
from .surgery import copy_model

# Two runs of the same layers, one of them compiled, differ by less than this share of the largest output.
_SLACK = {"float16": 2e-2, "bfloat16": 5e-2}
_METHODS = ("predict", "predict_on_batch", "predict_step", "make_predict_function", "__call__")


def require_same_as_predict(model: keras.Model, program: Program, images: Callable[[], Any] | None = None) -> None:
    """Check on one batch that `model.predict` gives what the layers of the model give, before any work.

    Nothing is run for a model whose `predict` is that of Keras.

    Args:
        model: The model.
        program: Its program, with all outputs or one of them.
        images: Gives some images, as the model takes them; made-up ones if None.

    Raises:
        ModelError: If the two differ; the message names the preprocessor.
    """
    doer = _doer(model, _METHODS)
    if doer is None:
        return
    predict, layers = _answers(model, program, images)
    if (predict is None and layers is None) or (
        predict is not None and layers is not None and all(map(_same, predict, layers))
    ):
        return
    raise ModelError(
        f"Model '{model.name}' does more in `predict` than in its layers, by {doer}: {_difference(predict, layers)} "
        "What is split, measured and exported are the layers. Possible: prepare the data yourself and take the step "
        f"off the model{_by_hand(model)}; or take it into the model, and so into the head and the bundle: "
        "model = isplit_tf.include_preprocessor(model)."
    )


def warn_of_train_step(model: keras.Model, program: Program) -> None:
    """Warn where a `train_step` written by hand gives the layers something else than the images it gets.

    It is traced up to the first call of the model, and never run.

    Args:
        model: The model.
        program: Its program.
    """
    if type(model).train_step is keras.Model.train_step:
        return
    x = _first_batch(program, None)
    entering = [np.asarray(leaf) for leaf in tree.flatten(x)]
    seen = _tried(lambda: _seen_in_training(model, x))
    if not seen or len(seen) != len(entering):
        return
    if any(a.shape != b.shape or not np.allclose(a, b, rtol=1e-2) for a, b in zip(entering, seen, strict=True)):
        warnings.warn(
            f"The train_step of class {type(model).__name__} changes the images before it calls the model, and "
            "isplit_tf.train does not run it: give train data that are prepared as it prepares them.",
            stacklevel=3,
        )


class _Called(BaseException):
    """A call of the model, which ends the tracing of a `train_step`; no `except Exception` catches it."""

    def __init__(self, x: Any):
        super().__init__()
        self.x = x


def _seen_in_training(model: keras.Model, x: Any) -> list[np.ndarray]:
    """Return what `train_step` calls the model with for a batch x; an empty list if it does not call it."""

    def end(*args: Any, **kwargs: Any) -> Any:
        raise _Called(args[0] if args else next(iter(kwargs.values())))

    def prepared(images: Any, labels: tf.Tensor) -> list[tf.Tensor]:
        vars(model)["call"] = end  # setattr would make Keras look for layers in it
        try:
            model.train_step((images, labels))
        except _Called as called:
            return [tf.cast(leaf, tf.float32) for leaf in tree.flatten(called.x)]
        finally:
            del vars(model)["call"]
        return []

    labels = tf.zeros(len(tree.flatten(x)[0]), tf.int32)
    traced = tf.function(prepared, autograph=False).get_concrete_function(x, labels)
    # What stands before the call of the model is run, and nothing that changes a weight.
    return [np.asarray(value) for value in traced(x, labels)] if traced.structured_outputs else []


def _doer(model: keras.Model, methods: tuple[str, ...]) -> str | None:
    """Return in words what may do more than the layers of a model; None if all is Keras' own."""
    if getattr(model, "preprocessor", None) is not None:
        return f"its preprocessor {type(model.preprocessor).__name__}"
    for method in methods:
        function = getattr(type(model), method, None)
        if method in vars(model) and callable(vars(model)[method]):
            return f"its own {method}"
        if function is not None and not function.__module__.startswith(("keras.src.", "keras_hub.")):
            return f"the {method} of its class {type(model).__name__}"
    return None


def _answers(
    model: keras.Model, program: Program, images: Callable[[], Any] | None
) -> tuple[list[np.ndarray] | None, list[np.ndarray] | None]:
    """Return the outputs for a batch as `predict` gives them and as the layers do; None where one does not run."""
    x = _first_batch(program, images)
    predict = _tried(lambda: _predicted(model, x))
    if predict is not None and len(predict) != len(program.outputs):  # one of several outputs was chosen
        return predict, _tried(lambda: [np.asarray(leaf) for leaf in tree.flatten(model(x, training=False))])
    return predict, _tried(lambda: _run(program, x))


def _predicted(model: keras.Model, x: Any) -> list[np.ndarray]:
    size = len(tree.flatten(x)[0])
    arrays = tree.map_structure(np.asarray, x)
    return [np.asarray(leaf) for leaf in tree.flatten(model.predict(arrays, batch_size=size, verbose=0))]


def _run(program: Program, x: Any) -> list[np.ndarray]:
    with state_kept(program):
        values = program.run(dict(zip(program.inputs, feed(program, x), strict=True)), in_inference(program.steps))
    return [np.asarray(values[tensor]) for tensor in program.outputs]


def _first_batch(program: Program, images: Callable[[], Any] | None) -> Any:
    if images is not None:
        return tree.map_structure(_as_tensor, images())
    made_up = made_up_inputs(program)
    return tree.map_structure(lambda ref: made_up[ref.tensor], program.input_structure)


def _as_tensor(value: Any) -> Any:
    array = tf.convert_to_tensor(value)
    return tf.cast(array, tf.float32) if array.dtype == tf.float64 else array


def _tried(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or None where it fails."""
    try:
        return call()
    except FAILURES:
        return None


def _same(predict: np.ndarray, layers: np.ndarray) -> bool:
    if predict.shape != layers.shape:
        return False
    slack = _SLACK.get(layers.dtype.name, 1e-4)
    predict, layers = predict.astype(np.float32), layers.astype(np.float32)
    largest = float(np.nanmax(np.abs(layers), initial=0.0))
    return bool(np.allclose(predict, layers, rtol=0, atol=slack * largest, equal_nan=True))


def _difference(all_predicted: list[np.ndarray] | None, all_of_layers: list[np.ndarray] | None) -> str:
    if all_predicted is None:
        return "`predict` does not take the images that the layers take."
    if all_of_layers is None:
        return "the layers do not take the images that `predict` takes."
    pairs = zip(all_predicted, all_of_layers, strict=False)
    predict, layers = next(pair for pair in pairs if not _same(*pair))
    if predict.shape != layers.shape:
        return f"`predict` gives the shape {predict.shape} for a batch, the layers {layers.shape}."
    with np.errstate(invalid="ignore"):
        row = int(np.nan_to_num(np.abs(predict - layers).reshape(len(layers), -1).max(axis=1)).argmax())
    return f"`predict` gives {_shown(predict[row])} for an image, the layers {_shown(layers[row])}."


def _shown(row: np.ndarray) -> str:
    values = [f"{value:.3g}" for value in row.astype(float).ravel()[:3]]
    return f"[{', '.join(values)}{', ...' if row.size > 3 else ''}]"


def _by_hand(model: keras.Model) -> str:
    if getattr(model, "preprocessor", None) is None:
        return ""
    return ", data.map(lambda x, y: (model.preprocessor(x), y)) and model.preprocessor = None"


def include_preprocessor(model: keras.Model, input_shape: tuple[int, ...] | None = None) -> keras.Model:
    """Return a copy of a model whose layers do what its `predict` does: the preprocessing is in front of them.

    A preprocessor of layers, the `ImageConverter` of a KerasHub task (resizing, scale, offset) or a `predict_step`
    written with `keras.ops` can be taken in; it then goes into the head of a split, and with it into the bundle.

    Args:
        model: A built model; it is not changed, and shares no weights with the copy.
        input_shape: Shape of an image as `predict` takes it, without the batch; by default that of the model's input.

    Returns:
        A functional model with layers of its own, which answers what `model.predict` answers. It is compiled with the
        loss of the model, unless its output is of another kind.

    Raises:
        ArgumentError: If the shape of an image is not known.
        ModelError: If the preprocessing is not made of layers, or the copy would answer something else.

    Example:
        >>> whole = include_preprocessor(model)
        >>> whole.predict(images, verbose=0)
    """
    check_model(model)
    program = read_program(model)
    own_shape = program.tensors[program.inputs[0]].sample_shape
    asked = own_shape if input_shape is None else input_shape
    shape = tuple(int(size or 0) for size in asked)
    if 0 in shape or len(program.inputs) != 1:
        raise ArgumentError(
            f"input_shape must be that of an image as predict takes it, such as (224, 224, 3). Received: {asked} of "
            f"{len(program.inputs)} inputs."
        )
    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (4, *shape)), tf.float32)
    expected = _predicted(model, images)[0]
    for call in _forms(model):
        whole = _copy(model, call, shape)
        if whole is not None and _same(expected, np.asarray(whole(images, training=False))):
            loss = compiled_loss(model)
            if loss is not None and find_kind(program, loss=loss) == find_kind(read_program(whole), loss=loss):
                whole.compile(loss=loss)
            return whole
    raise ModelError(
        f"What model '{model.name}' does in `predict` cannot be taken into it ({_doer(model, _METHODS) or 'nothing'}): "
        "it is not made of layers or keras.ops, or gives something else there. Possible: prepare the data yourself."
    )


class _Whole(keras.Model):
    """A model whose `call` is a function of its input, to be traced."""

    def __init__(self, inner: keras.Model, function: Callable[[Any], Any], shape: tuple[int, ...]):
        super().__init__(name=inner.name)
        self.inner = inner
        self.function = function
        self.shape = shape
        self.built = True

    def call(self, images: Any) -> Any:
        """Return the output for images `(N, ...)`."""
        return self.function(images)

    def get_build_config(self) -> dict[str, Any]:
        """Return the shape of the input."""
        return {"input_shape": (None, *self.shape)}


def _forms(model: keras.Model) -> list[Callable[[Any], Any]]:
    """Return the ways to write what `predict` does as layers, the most general one first."""
    preprocessor = getattr(model, "preprocessor", None)
    forms: list[Callable[[Any], Any]] = [model.predict_step]
    converter = getattr(preprocessor, "image_converter", None)
    if converter is not None:  # layers of Keras, which need no KerasHub to be loaded or converted
        layers = _converter_layers(converter)
        forms.append(lambda x: model(_chain(layers, x)))
    if callable(preprocessor):
        forms.append(lambda x: model(preprocessor(x)))
    return forms


def _converter_layers(converter: Any) -> list[keras.layers.Layer]:
    """Return the layers that do what an `ImageConverter` of KerasHub does."""
    layers: list[keras.layers.Layer] = []
    if getattr(converter, "image_size", None) is not None:
        config = converter.resizing.get_config() | {"name": "preprocessor_resizing"}
        layers.append(keras.layers.Resizing.from_config(config))
    scale, offset = getattr(converter, "scale", None), getattr(converter, "offset", None)
    if scale is not None or offset is not None:
        values = {"scale": 1.0 if scale is None else scale, "offset": 0.0 if offset is None else offset}
        layers.append(keras.layers.Rescaling(**values, name="preprocessor_rescaling"))
    return layers


def _chain(layers: list[keras.layers.Layer], x: Any) -> Any:
    for layer in layers:
        same_size = isinstance(layer, keras.layers.Resizing) and tuple(x.shape[1:3]) == (layer.height, layer.width)
        x = x if same_size else layer(x)
    return x


def _copy(model: keras.Model, function: Callable[[Any], Any], shape: tuple[int, ...]) -> keras.Model | None:
    """Return a functional copy of a function of a model; None if it cannot be traced."""
    try:
        program = read_program(_Whole(model, function, shape))
        return copy_model(_with_own_names(program), name=model.name)[0]
    except (*FAILURES, ModelError):
        return None


def _with_own_names(program: Program) -> Program:
    """Return the program whose layers have the last part of their names alone, where no two have the same."""
    paths = {step.name.split("#")[0] for step in program.steps}
    last = Counter(path.rsplit("/", 1)[-1] for path in paths)

    def renamed(step: Step) -> Step:
        own = step.name.rsplit("/", 1)[-1]
        plain = own.split("#")[0]
        return dataclasses.replace(step, name=own, path=plain) if last[plain] == 1 else step

    return dataclasses.replace(program, steps=tuple(map(renamed, program.steps)))
