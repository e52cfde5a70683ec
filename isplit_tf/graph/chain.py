"""A model as a chain of segments between its cuts, which many rows can pass together from wherever they begin."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from .cuts import place_maker
from .passes import input_signature
from .program import Program

# Elements that enter a segment at a time: more rows at once would leave the processor's caches and fill the memory.
_ENTERING = 2**22
_FEWEST_ROWS = 8


class Chain:
    """The segments of a model: from its inputs to the first cut, from each cut to the next, and to the output.

    A cut is a place whose tensors alone are still to be read, so a segment reads nothing else. Each step of the model
    is in one segment, and is traced once.

    Args:
        program: The model; its first output is taken.
        places: The tensors that cross each cut, in any order; a place may be listed twice.

    Attributes:
        places: The places, each once, in topological order.
    """

    def __init__(self, program: Program, places: Sequence[Sequence[int]]):
        self._program = program
        unique = {tuple(place): place_maker(program, place) for place in places}
        self.places = sorted(unique, key=lambda place: unique[place])
        ends = [0, *(unique[place] + 1 for place in self.places), len(program.steps)]
        stations = [program.inputs, *self.places, (program.outputs[0],)]
        self._segments = [self._segment(stations[k : k + 2], (ends[k], ends[k + 1])) for k in range(len(ends) - 1)]
        self._rows = [max(_FEWEST_ROWS, _ENTERING // max(1, self.elements(place))) for place in stations[:-1]]

    def elements(self, place: Sequence[int]) -> int:
        """Return the elements of an image at a place; an axis whose size varies counts as 1."""
        shapes = (self._program.tensors[tensor].sample_shape for tensor in place)
        return sum(math.prod(n or 1 for n in shape) for shape in shapes)

    def _segment(self, ends: Sequence[Sequence[int]], steps: tuple[int, int]) -> Any:
        """Return the function from the tensors at one place to those at the next."""
        program, (entry, leaving) = self._program, ends

        @tf.function(input_signature=[input_signature(program, entry)], autograph=False)
        def call(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
            values = program.run(dict(zip(entry, tensors, strict=True)), program.steps[slice(*steps)])
            return [values[tensor] for tensor in leaving]

        return call.get_concrete_function()

    def run(self, index: int, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Run segment `index` (0 begins at the inputs, k at `places[k - 1]`) on rows, a part of them at a time.

        Args:
            index: From 0 to the number of places.
            tensors: The tensors where the segment begins, each `(rows, ...)`.

        Returns:
            The tensors where it ends, `(rows, ...)`.
        """
        count, step = int(tensors[0].shape[0]), self._rows[index]
        if count <= step:
            return list(self._segments[index](list(tensors)))
        parts = [self._segments[index]([t[k : k + step] for t in tensors]) for k in range(0, count, step)]
        return [tf.concat(rows, axis=0) for rows in zip(*parts, strict=True)]
