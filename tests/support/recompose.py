"""Check that a model, taken apart at every cut, still computes what it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import tree

from isplit_tf.graph.cuts import places
from isplit_tf.graph.program import Program, Ref, read_program
from isplit_tf.graph.surgery import copy_model, segment

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Recomposition:
    """What came of it.

    Attributes:
        cuts: How many cuts there are, each of which was cut at.
        difference: Largest |difference| between an element of the model's output and of the recomposed one.
        largest: Largest |element| of the model's output.
        repeat: Largest |difference| between two runs of the whole model.
    """

    cuts: int
    difference: float
    largest: float
    repeat: float

    @property
    def exact(self) -> bool:
        """Within 1e-5 max(1, largest), and 0.0 where two runs of the model agree to the bit."""
        allowed = TOLERANCE * max(1.0, self.largest) if self.repeat else 0.0
        return self.difference <= allowed


def recompose(model: keras.Model, x: Any, *, max_tensors: int = 1, output: str | int | None = None) -> Recomposition:
    """Take a copy of a model apart at all of its cuts at once, and compare it with the model.

    Between two neighbouring cuts lies a model of its own, which sees nothing but the arrays that the one before it
    gave. Run one after the other, they are `tail(head(x))` at each cut at once: the head of the k-th cut is the
    first k of them, its tail is the others.

    Args:
        model: A built model; it stays as it is.
        x: A batch, as the model takes it.
        max_tensors: How many tensors may cross at a cut.
        output: Name or index of the output that is wanted, where the model has several.

    Raises:
        ModelError: The model cannot be read or copied.
    """
    program = read_program(model, output=output)
    expected, again = (_wanted(model(x, training=False), model, output) for _ in range(2))
    chain = cut_chain(program, max_tensors)
    found = x
    for part in chain:
        found = tree.map_structure(_array, part(found, training=False))
    return Recomposition(
        cuts=len(chain) - 1,
        difference=difference(found, expected),
        largest=max((float(np.abs(leaf).max(initial=0)) for leaf in _arrays(expected)), default=0.0),
        repeat=difference(again, expected),
    )


def cut_chain(program: Program, max_tensors: int = 1) -> list[keras.Model]:
    """A copy of a program's model as one model between each two neighbouring cuts, input and output included."""
    _, copies = copy_model(program, name=program.name)
    inner = places(program, max_tensors)
    starts: list[Sequence[int]] = [program.inputs, *inner]
    ends = [*(_references(place) for place in inner), program.output_structure]
    names = [None, *([f"features_{k}" for k in range(len(place))] for place in inner)]
    return [
        segment(program, start, end, name=f"part_{k}", operations=copies, input_names=label)
        for k, (start, end, label) in enumerate(zip(starts, ends, names, strict=True))
    ]


def _references(place: Sequence[int]) -> Any:
    return Ref(place[0]) if len(place) == 1 else [Ref(tensor) for tensor in place]


def difference(one: Any, other: Any) -> float:
    """Largest |difference| of two structures of arrays; infinite where shapes or non-finite values differ."""
    pairs = list(zip(_arrays(one), _arrays(other), strict=True))
    if any(a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)) for a, b in pairs):
        return float("inf")
    return max((float(np.abs(np.where(np.isfinite(a), a - b, 0)).max(initial=0)) for a, b in pairs), default=0.0)


def _arrays(structure: Any) -> list[np.ndarray]:
    return [_array(leaf).astype(np.float64) for leaf in tree.flatten(structure)]


def _array(value: Any) -> np.ndarray:
    # keras.ops.convert_to_numpy warns for bfloat16 with numpy 2
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)


def _wanted(outputs: Any, model: keras.Model, output: str | int | None) -> Any:
    if output is None:
        return outputs
    if isinstance(outputs, dict) and output in outputs:
        return outputs[output]
    names = list(getattr(model, "output_names", []))
    return tree.flatten(outputs)[output if isinstance(output, int) else names.index(output)]
