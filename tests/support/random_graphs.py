"""Random graphs of layers: branches, merges, shared layers, nested models; and the check that each must pass."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from isplit_tf.graph.cuts import cut_tensors
from isplit_tf.graph.program import Program, read_program
from support.recompose import recompose

WIDTH = 4


@dataclass(frozen=True)
class Found:
    """What the check of one graph found; `problem` is empty where all is well."""

    steps: int
    cuts: int
    problem: str


class Grower:
    """Grows a functional model from a source of choices: `choose(n)` gives a number below n."""

    def __init__(self, choose):
        self.choose = choose
        self.known: list = []  # layers and models that can be called again

    def model(self, depth: int = 0, *, size: int | None = None) -> keras.Model:
        """A model on vectors; every tensor but the output may be read several times, or not at all."""
        inputs = [keras.Input((WIDTH,)) for _ in range(1 + (depth == 0 and self.choose(6) == 0))]
        tensors = list(inputs)
        for _ in range(size or 2 + self.choose(9)):
            tensors.append(self.step(tensors, depth))
        outputs = tensors[-1]
        if depth == 0 and self.choose(3) == 0:
            outputs = [tensors[-1], tensors[self.choose(len(tensors))]]
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs)

    def step(self, tensors: list, depth: int):
        """One more tensor; the latest are read more often than the others."""
        x = tensors[-1] if self.choose(3) else tensors[self.choose(len(tensors))]
        kind = self.choose(8)
        if kind == 0 and self.known:
            return self.known[self.choose(len(self.known))](x)
        if kind == 1 and depth < 2:
            return self.keep(self.model(depth + 1, size=1 + self.choose(3)))(x)
        if kind in (2, 3):
            return self.merge(x, tensors[self.choose(len(tensors))])
        if kind == 4:
            return (ops.relu, ops.tanh, lambda t: t * 0.5)[self.choose(3)](x)
        if kind == 5:
            left, right = ops.split(x, 2, axis=-1)
            return ops.concatenate([right, left], axis=-1)
        return self.keep(
            (layers.Dense(WIDTH), layers.LayerNormalization(), layers.Dense(WIDTH, "tanh"))[self.choose(3)]
        )(x)

    def merge(self, x, y):
        """Two tensors become one."""
        if self.choose(2):
            return layers.Add()([x, y])
        return layers.Dense(WIDTH)(layers.Concatenate()([x, y]))

    def keep(self, layer):
        """A layer for vectors of the usual width, to be called again perhaps."""
        if not self.known or self.choose(2):
            self.known.append(layer)
        return layer


def grow(seed: int) -> keras.Model:
    """The graph of one seed."""
    rng = np.random.default_rng(seed)
    return Grower(lambda n: int(rng.integers(n))).model()


def cuts_by_brute_force(program: Program) -> list[int]:
    """Tensors without which no input reaches an output."""
    found = []
    for tensor in (tensor for step in program.steps for tensor in step.makes):
        alive = set(program.inputs)
        for step in program.steps:
            if alive.intersection(step.reads):
                alive.update(set(step.makes) - {tensor})
        if tensor not in program.outputs and not alive.intersection(program.outputs):
            found.append(tensor)
    return found


def check(model: keras.Model, seed: int = 0) -> Found:
    """Cuts against brute force, and recomposition at all of them."""
    program = read_program(model)
    cuts = cut_tensors(program)
    expected = cuts_by_brute_force(program)
    if cuts != expected:
        return Found(len(program.steps), len(cuts), f"cuts {cuts}, by brute force {expected}")
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(2, WIDTH)).astype("float32") for _ in program.inputs]
    found = recompose(model, x if len(x) > 1 else x[0])
    return Found(len(program.steps), len(cuts), "" if found.exact else f"not recomposed: {found}")


def check_graph(seed: int) -> Found:
    """The check for the graph of one seed."""
    return check(grow(seed), seed)
