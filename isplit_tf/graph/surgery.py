"""Rebuilding parts of a model as separate models: steps are called on new inputs, existing nodes are never rewired."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
from keras import tree

from ..errors import ModelError
from .enclosing import Copier
from .keras_layers import copy_operation, is_of_keras
from .layer_state import copy_state
from .program import Program, Step, fill

Operations = Mapping[int, Any]


def copy_operations(program: Program, refusals: Mapping[int, ModelError] | None = None) -> dict[int, Any]:
    """Copy every operation of a program; a layer called twice is copied once.

    Copies are named by path, since two nested models may hold layers of the same name. Weights are not copied here,
    because a layer has weights only after its first call. See `copy_model`.

    Args:
        program: The program.
        refusals: Why the configuration of a layer alone does not do, by `id` of the layer, as far as that is known.

    Returns:
        The copies by `id` of the original.

    Raises:
        ModelError: If a layer cannot be copied.
    """
    copier, refusals = Copier(), refusals or {}
    names: set[str] = {program.tensors[tensor].name for tensor in program.inputs}
    copies: dict[int, Any] = {}
    for step in program.steps:
        operation = step.operation
        if id(operation) in copies:
            continue
        name = free_name(step.path, names)
        names.add(name)
        copies[id(operation)] = _copy(step, name, copier, refusals.get(id(operation)))
    return copies


def _copy(step: Step, name: str, copier: Copier, refusal: ModelError | None = None) -> Any:
    """Return a copy of the operation of a step."""
    if _takes_weight(step):
        raise ModelError(
            f"'{step.name}' is called on a weight of another layer, so that it cannot be copied. Put the weight into a "
            "keras.layers.Layer of its own, which adds or multiplies it."
        )
    if isinstance(step.operation, keras.layers.Layer):
        return copier.copy(step.operation, name, step.around, refusal=refusal)
    return copy_operation(step.operation, name)


def _takes_weight(step: Step) -> bool:
    return any(isinstance(leaf, keras.Variable) for leaf in tree.flatten((step.args, step.kwargs)))


def find_uncopied(program: Program) -> dict[str, ModelError]:
    """Return which operations of a program cannot be copied, by path, and why; empty for nearly every model."""
    copier = Copier()
    seen: set[int] = set()
    uncopied: dict[str, ModelError] = {}
    for step in program.steps:
        if id(step.operation) not in seen and (_takes_weight(step) or not is_of_keras(step.operation)):
            seen.add(id(step.operation))
            try:
                _copy(step, layer_name(step.path), copier)
            except ModelError as error:
                uncopied[step.path] = error
    return uncopied


def layer_name(path: str) -> str:
    """Turn a path into a name that Keras and TensorFlow accept: letters, digits, `_`, `.`, `-`."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.replace("/", ".")).lstrip("_-") or "layer"


def free_name(path: str, taken: set[str]) -> str:
    """Return a layer name made from a path that is not taken yet."""
    base = layer_name(path)
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def segment(
    program: Program,
    inputs: Sequence[int],
    outputs: Any,
    *,
    name: str,
    operations: Operations | None = None,
    input_names: Sequence[str] | None = None,
) -> keras.Model:
    """Build a functional model from the part of a program between given inputs and outputs.

    Args:
        program: The whole program.
        inputs: Indices of the tensors that become inputs.
        outputs: Structure of `Ref` to the output tensors.
        name: Name of the model.
        operations: The operation to call in place of each original, by `id` of the original. By default the originals
            are called. They then get new nodes, so this is only for models that we made ourselves.
        input_names: Names of the inputs; `_input` is appended to a name that an operation already has. The names of
            the tensors by default.

    Returns:
        The model. It shares its layers with every other model that was built with the same `operations`.
    """
    steps, operation = _steps_between(program, inputs, outputs), _lookup(operations)
    taken = {getattr(operation(step), "name", None) for step in steps}
    return build(
        program,
        inputs,
        lambda values: fill(outputs, program.run(values, steps, operation)),
        name=name,
        input_names=input_names and [_free_name(label, taken) for label in input_names],
    )


def _free_name(name: str, taken: Collection[str | None]) -> str:
    """Return a name for an input that no operation has, since all names of a Keras model must differ."""
    return name if name not in taken else _free_name(f"{name}_input", taken)


def _lookup(operations: Operations | None) -> Callable[[Step], Any]:
    if operations is None:
        return lambda step: step.operation
    return lambda step: operations[id(step.operation)]


def build(
    program: Program,
    inputs: Sequence[int],
    body: Callable[[dict[int, Any]], Any],
    *,
    name: str,
    input_names: Sequence[str] | None = None,
) -> keras.Model:
    """Build a functional model from new inputs and the outputs that `body` computes from them.

    Args:
        program: The program.
        inputs: Indices of the tensors whose shapes and dtypes the inputs get.
        body: Computes the model's outputs from the inputs by index.
        name: Name of the model.
        input_names: Names of the inputs; the names of the tensors by default.
    """
    names = input_names or [layer_name(program.tensors[tensor].name) for tensor in inputs]
    values = {
        tensor: keras.Input(batch_shape=program.tensors[tensor].shape, dtype=program.tensors[tensor].dtype, name=label)
        for tensor, label in zip(inputs, names, strict=True)
    }
    whole_input = list(inputs) == list(program.inputs)
    entry = fill(program.input_structure, values) if whole_input else [values[tensor] for tensor in inputs]
    if isinstance(entry, list | tuple) and len(entry) == 1:
        entry = entry[0]
    return keras.Model(entry, body(dict(values)), name=name)


def _steps_between(program: Program, inputs: Sequence[int], outputs: Any) -> list[Step]:
    """Return the steps that compute the outputs from the inputs, in order."""
    known = set(inputs)
    needed = {leaf.tensor for leaf in tree.flatten(outputs)} - known
    steps = []
    for step in reversed(program.steps):
        if needed.intersection(step.makes):
            needed.update(tensor for tensor in step.reads if tensor not in known)
            steps.append(step)
    return steps[::-1]


def copy_model(program: Program, *, name: str) -> tuple[keras.Model, dict[int, Any]]:
    """Copy a whole model as a flat functional model, with layers and weights of its own.

    Returns:
        The model, and the copy of each operation by `id` of the original.

    Raises:
        ModelError: If a layer cannot be copied.
    """
    refusals: dict[int, ModelError] = {}
    while True:
        copies = copy_operations(program, refusals)
        model = segment(program, program.inputs, program.output_structure, name=name, operations=copies)
        others = _copy_states(program, copies)
        for key, error in others.items():
            if key in refusals:
                raise error
        if not others:
            return model, copies
        refusals |= others


def _copy_states(program: Program, copies: Operations) -> dict[int, ModelError]:
    """Copy the state of every layer, and return for those whose copy has other weights why, by `id`."""
    others = {}
    for step in program.steps:
        if isinstance(step.operation, keras.layers.Layer):
            try:
                copy_state(step.operation, copies[id(step.operation)])
            except ModelError as error:
                others[id(step.operation)] = error
    return others
