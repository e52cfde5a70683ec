"""Encoder and decoder of a bottleneck for a cut, and the whole model with them at their place."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from isplit_edge.wire import payload_bytes, sent_bits

from ..errors import ArgumentError, BundleError, ModelError
from ..graph.cuts import Cut, place_maker
from ..graph.program import Program, fill, read_program
from ..graph.surgery import build, free_name
from .base import Bottleneck, for_parts
from .joining import join, join_bottlenecks, take_apart
from .projection import Projection


def build_bottleneck(bottleneck: Any, cut: Cut) -> tuple[keras.Model, keras.Model]:
    """Build encoder and decoder for the tensors that cross at a cut."""
    if not hasattr(bottleneck, "build"):
        raise ArgumentError(f"Expected a bottleneck such as Autoencoder(). Received: {bottleneck!r}.")
    shapes: Any = cut.shapes  # sized: no dimension varies
    if isinstance(bottleneck, Projection):
        bottleneck = bottleneck.behind(cut.head_macs)
    single = len(shapes) == 1
    halves = bottleneck.build(shapes[0]) if single else join_bottlenecks(for_parts(bottleneck, shapes), shapes)
    if isinstance(bottleneck, Bottleneck) and bottleneck.payload_bytes is not None and not bottleneck.is_coded:
        latent = halves[0].output_shape[1:]
        sent = payload_bytes("int8", latent, sent_bits("int8", bottleneck.latent_bits))
        if sent > bottleneck.payload_bytes:
            warnings.warn(
                f"{sent:,} bytes per frame cross at '{cut.name}', more than payload_bytes={bottleneck.payload_bytes}: "
                f"with fewer, a position of the latent {latent} would be left without a number. Cut later; the patches "
                "of a Projection grow with what is asked, up to 65,536 elements.",
                stacklevel=3,
            )
    return halves


def insert(
    program: Program, tensors: Sequence[int], copies: dict[int, Any], bottleneck: Sequence[keras.Model]
) -> tuple[keras.Model, tuple[str, ...]]:
    """Return the whole model with encoder and decoder at a cut, and the names of the boundaries.

    Several tensors cross as one vector. The boundaries are the outputs of the head and, with a bottleneck, of encoder
    and decoder.
    """
    parts = [read_program(part) for part in bottleneck]
    names = {copy.name for copy in copies.values()}
    common_names = names & {step.operation.name for part in parts for step in part.steps}
    if common_names:
        raise ModelError(f"Layers of the bottleneck are named as layers of the model: {sorted(common_names)}.")
    copied = lambda step: copies[id(step.operation)]  # noqa: E731
    position = place_maker(program, tensors) + 1
    joined = free_name("cut_join", names)

    def body(values: dict[int, Any]) -> Any:
        program.run(values, program.steps[:position], copied)
        crossing = [values[tensor] for tensor in tensors]
        features = crossing[0] if len(crossing) == 1 else join(crossing, name=joined)
        for part in parts:
            features = part.run({part.inputs[0]: features})[part.outputs[0]]
        back = [features] if len(crossing) == 1 else take_apart(features, crossing, name=free_name("cut_part", names))
        values.update(zip(tensors, back, strict=True))
        program.run(values, program.steps[position:], copied)
        return fill(program.output_structure, values)

    whole = build(program, program.inputs, body, name=program.name)
    first = joined if len(tensors) > 1 else name_in_copy(program, tensors[0], copies)
    return whole, (first, *(part.tensors[part.outputs[0]].name for part in parts))


def name_in_copy(program: Program, tensor: int, copies: dict[int, Any]) -> str:
    """Return a tensor's name in the copied model, whose layers are named by path."""
    step = program.steps[program.makers[tensor]]
    tail = program.tensors[tensor].name.removeprefix(step.path)
    return copies[id(step.operation)].name + tail


def tensor_named(program: Program, name: str) -> int:
    """Return the index of a tensor of a split model by its name in the record."""
    for index, tensor in enumerate(program.tensors):
        if tensor.name == name and index in program.makers:
            return index
    raise BundleError(
        f"No tensor '{name}' in the split model '{program.name}': model and record do not belong together."
    )
