"""The backward pass that computes the importance of all cuts at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import ModelError, NumericsError
from ..graph.cuts import place_name
from ..graph.inputs import feed
from ..graph.outputs import Logits
from ..graph.passes import gradients_at, input_signature, watch_pass
from ..graph.program import Program, Step
from . import kernels
from .kernels import METHODS
from .precision import lowered, to_precision

PATH_STEPS = 32
# With fewer rows, oneDNN held to AVX2 rounds VGG16's gradients by up to 1.8e-6 differently than with more.
_FEWEST_ROWS = 4


class Probe:
    """A callable that runs a program on real tensors and returns each image's importance at each cut.

    It calls the user's own layers in inference mode. It neither builds nor changes a Keras model.

    Args:
        program: The model.
        places: The indices of the tensors that cross each cut, for the cuts in topological order.
        logits: The place of the logits.
        method: A name in `METHODS`.
        target: "label" or "predicted".
        precision: "float32" for the unchanged model; "bfloat16" or "float16" for copies of its layers.
        replaced: Operations to call in place of others, by `id` of the original.
        steps: Number of steps of the path, for a method that integrates gradients; each step takes one more pass.

    Raises:
        ModelError: If the method needs a path and an input of the model holds integers.
    """

    def __init__(
        self,
        program: Program,
        places: Sequence[Sequence[int]],
        logits: Logits,
        *,
        method: str,
        target: str,
        precision: str = "float32",
        replaced: Mapping[int, Any] | None = None,
        steps: int = PATH_STEPS,
    ):
        self._program = program
        self._places = [tuple(place) for place in places]
        self._tensors = [tensor for place in self._places for tensor in place]
        self._logits = logits
        self._method = METHODS[method]
        self._predicted = target == "predicted"
        self._steps = steps
        self._precision = precision
        # Gradients of deep nets can be below 6e-8, the smallest number of float16, so scores are magnified.
        self._magnified = 1024.0 if precision == "float16" else 1.0
        self._replaced = dict(replaced or {})
        self._signature = [input_signature(program), tf.TensorSpec([None], tf.int64)]
        if self._method.on_path:
            _require_floats(program, method)
        if precision != "float32":
            self._replaced = lowered(program, self._operation, precision, crossing=self._tensors)

    def __call__(self, x: Any, labels: np.ndarray) -> np.ndarray:
        """Return the importance of each image at each cut, float64 `(N, n_cuts)`, as sums over the map's positions.

        Raises:
            DataError: If x does not fit the model's inputs.
            NumericsError: If a value is not finite; the message names the layer.
        """
        inputs = self.feed(x)
        return self.checked(inputs, self._call(inputs, tf.constant(labels)).numpy())

    @cached_property
    def _call(self) -> Callable:
        return tf.function(self.values, input_signature=self._signature, autograph=False).get_concrete_function()

    def feed(self, x: Any) -> list[tf.Tensor]:
        """Convert a batch into the program's inputs; see `graph.inputs.feed`."""
        return feed(self._program, x)

    def checked(self, inputs: list[tf.Tensor], values: np.ndarray) -> np.ndarray:
        """Return the values as float64.

        Raises:
            NumericsError: If a value is not finite; the message names the layer.
        """
        if not np.isfinite(values).all():
            self._explain(inputs, values)
        return values.astype(np.float64)

    def maps(self, x: Any, labels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return each image's map at each cut before the ReLU, float32 `(N, P)`, and the result of `__call__`.

        A map of single elements is summed over the channels. The maps of several tensors at a cut are concatenated.
        """
        inputs = self.feed(x)
        maps, values = self._call_for_maps(inputs, tf.constant(labels))
        return [tensor_map.numpy() for tensor_map in maps], self.checked(inputs, values.numpy())

    @cached_property
    def _call_for_maps(self) -> Callable:
        traced = tf.function(self._maps_and_values, input_signature=self._signature, autograph=False)
        return traced.get_concrete_function()

    def values(self, inputs: list[tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        """Return the importance of each image at each cut, float32 `(N, n_cuts)`, for tracing by `tf.function`.

        Args:
            inputs: The program's inputs; see `feed`.
            labels: int64 `(N,)`.
        """
        count = tf.shape(labels)[0]
        return self._cumulated(self._maps(*_enough_rows(inputs, labels)))[:count]

    def _cumulated(self, maps: list[tf.Tensor]) -> tf.Tensor:
        sums = [kernels.cumulate(tensor_map) for tensor_map in maps]
        return tf.stack([tf.add_n(group) for group in self._by_place(sums)], axis=1)

    def _maps_and_values(self, inputs: list[tf.Tensor], labels: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        count = tf.shape(labels)[0]
        maps = self._maps(*_enough_rows(inputs, labels))
        flat = []
        for tensor, tensor_map in zip(self._tensors, maps, strict=True):
            shape = [size or 1 for size in self._program.tensors[tensor].sample_shape]
            positions = math.prod(shape) // shape[_channel_axis(self._program, tensor)]
            flat.append(tf.reduce_sum(tf.reshape(tensor_map, [tf.shape(tensor_map)[0], positions, -1]), axis=2))
        return [tf.concat(group, axis=1)[:count] for group in self._by_place(flat)], self._cumulated(maps)[:count]

    def _by_place(self, items: list) -> list[list]:
        """Group a list with one item per tensor into one list per cut."""
        remaining = iter(items)
        return [[next(remaining) for _ in place] for place in self._places]

    def _maps(self, inputs: list[tf.Tensor], labels: tf.Tensor) -> list[tf.Tensor]:
        """Return the map of each tensor at a cut."""
        if self._precision != "float32":
            inputs = [to_precision(x, self._precision) for x in inputs]
        features, gradients, classes = self._pass(inputs, None if self._predicted else labels)
        parts = [features, gradients]
        if self._method.on_path:
            parts = [self._along_path(inputs, classes, features, gradients)]
        ordered = [[self._by_position(*pair) for pair in zip(self._tensors, part, strict=True)] for part in parts]
        return [self._method.maps(*tensors) for tensors in zip(*ordered, strict=True)]

    def _by_position(self, tensor: int, value: tf.Tensor) -> tf.Tensor:
        rank = len(self._program.tensors[tensor].shape)
        if rank > 2 and _channel_axis(self._program, tensor) == 0:
            value = tf.transpose(value, [0, *range(2, rank), 1])
        return kernels.by_position(value)

    def _pass(self, inputs: list[tf.Tensor], classes: tf.Tensor | None) -> tuple[list, list, tf.Tensor]:
        """Run one forward and one backward pass.

        Args:
            inputs: The program's inputs.
            classes: The class to score for each image; None for the predicted classes.

        Returns:
            The tensors at the cuts, one cut after the other; the gradient of each image's score with respect to each
            tensor; the classes whose scores were used.
        """
        program = self._program
        unit = self._logits.output.is_binary_unit
        # Outside of a name scope, TensorFlow refuses layer names that Keras accepts, such as `_conv`.
        with tf.name_scope("importance"), tf.GradientTape(watch_accessed_variables=False) as tape:
            values, features = watch_pass(program, self._places, inputs, tape=tape, operation=self._operation)
            logits = values[self._logits.tensor]
            if classes is None:
                classes = kernels.predicted(logits, binary_unit=unit)
            total = tf.reduce_sum(kernels.score(logits, classes, binary_unit=unit)) * self._magnified
        names = [program.tensors[tensor].name for tensor in self._tensors]
        gradients = gradients_at(
            tape, total, features, names, remedy="Leave out the cuts before that operation: cuts=[...]."
        )
        if self._magnified != 1:
            gradients = [tf.cast(gradient, tf.float32) / self._magnified for gradient in gradients]
        return features, gradients, classes

    def _along_path(self, inputs: list[tf.Tensor], classes: tf.Tensor, features: list, gradients: list) -> list:
        """Return the line integral of the gradient at each tensor, as the inputs go from zeros to the images.

        The path is followed backwards from the images, whose pass has already been run. Each step takes one pass for
        all cuts.
        """

        def step(k: tf.Tensor, after: list, g_after: list, sums: list) -> tuple:
            share = tf.cast(k, tf.float32) / self._steps
            before, g_before, _ = self._pass([x * tf.cast(share, x.dtype) for x in inputs], classes)
            ends = zip(sums, before, after, g_before, g_after, strict=True)
            return k - 1, before, g_before, [s + kernels.path_part((f, e), (g, h)) for s, f, e, g, h in ends]

        start = [tf.zeros_like(feature, tf.float32) for feature in features]
        variables = (tf.constant(self._steps - 1), features, gradients, start)
        return tf.while_loop(lambda k, *_: k >= 0, step, variables, parallel_iterations=1)[-1]

    def _operation(self, step: Step) -> Callable:
        original = self._logits.operation(step)
        return self._replaced.get(id(original), original)

    def _explain(self, inputs: list[tf.Tensor], values: np.ndarray) -> None:
        """Raise a NumericsError that names the first layer with a non-finite result, else the last such gradient."""
        program = self._program
        image = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        single_image = [x[image : image + 1] for x in inputs]
        tensors = dict(zip(program.inputs, single_image, strict=True))
        for step in program.steps:
            program.run(tensors, [step], self._operation)
            for tensor in step.makes:
                value = tf.convert_to_tensor(tensors[tensor])
                if value.dtype.is_floating and not np.isfinite(tf.cast(value, tf.float32).numpy()).all():
                    kind = type(step.operation).__name__
                    raise NumericsError(
                        f"Layer '{step.name}' ({kind}) makes NaN or infinity for image {image} of a batch. "
                        "Its inputs are finite: look at its weights and at the range of the images."
                    )
        last = max(k for k, finite in enumerate(np.isfinite(values[image])) if not finite)
        raise NumericsError(
            f"The gradient at '{place_name(program, self._places[last])}' is NaN or infinite for image {image} of a "
            "batch, while all activations are finite: an operation after it has no finite derivative there"
            f"{', or between an input of zeros and the image' if self._method.on_path else ''}."
        )


def _enough_rows(inputs: list[tf.Tensor], labels: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Repeat the last image of a small batch, because few rows have other kernels, which round differently."""
    count = tf.shape(labels)[0]
    rows = tf.minimum(tf.range(tf.maximum(count, _FEWEST_ROWS)), count - 1)
    return [tf.gather(x, rows) for x in inputs], tf.gather(labels, rows)


def _require_floats(program: Program, method: str) -> None:
    for tensor in map(program.tensors.__getitem__, program.inputs):
        if not tf.as_dtype(tensor.dtype).is_floating:
            raise ModelError(
                f"method='{method}' goes from an input of zeros to the image. Input '{tensor.name}' of model "
                f"'{program.name}' holds {tensor.dtype}, which has nothing between. Possible: another method."
            )


def _channel_axis(program: Program, tensor: int) -> int:
    """Return the axis of a tensor's channels, without the batch, by the `data_format` of the layers before it.

    It is 0 if the nearest layer that has a `data_format` is channels-first, else -1.
    """
    rank = len(program.tensors[tensor].shape)
    current: int | None = tensor
    while rank > 2 and current in program.makers:
        step = program.steps[program.makers[current]]
        data_format = getattr(step.operation, "data_format", None)
        if data_format is not None:
            return 0 if data_format == "channels_first" else -1
        current = step.reads[0]
    return -1
