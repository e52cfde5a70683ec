"""A Keras model as a flat list of steps, with nested models inlined. The model is neither changed nor copied."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
from keras import tree

from ..errors import ModelError
from .keras_layers import is_masked
from .keras_state import RawNode, Traced, as_graph, cast_operation, rank_operation
from .weights import WeightedOperation


@dataclass(frozen=True)
class Ref:
    """A placeholder for a tensor in a step's arguments: its index in `Program.tensors`."""

    tensor: int


@dataclass(frozen=True)
class Tensor:
    """The description of a tensor, without its value.

    Attributes:
        name: Path of the layer that makes it, with `#k` from its second call on and `:k` from its second output on.
        shape: Shape with the batch first; None for a varying dimension.
        dtype: Name of the dtype.
        masked: Whether the tensor carries a Keras mask.
        layout: "dense"; "sparse" or "ragged" for a tensor that has no rows of one length, which cannot be sent.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    masked: bool = False
    layout: str = "dense"

    @property
    def sample_shape(self) -> tuple[int | None, ...]:
        """Return the shape without the batch."""
        return self.shape[1:]


@dataclass(frozen=True, eq=False)
class Step:
    """One call of one operation.

    Attributes:
        operation: The user's own layer or operation.
        name: Path and call index.
        args: Positional arguments, with `Ref` in place of tensors.
        kwargs: Keyword arguments, with `Ref` in place of tensors.
        reads: Indices of the tensors that the step reads.
        makes: Indices of the tensors that the step makes.
        path: The name without the call index.
        around: The user's models around the operation, the nearest first.
    """

    operation: Any
    name: str
    args: tuple
    kwargs: dict
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    path: str
    around: tuple[keras.Model, ...] = ()

    @property
    def layer_type(self) -> str:
        """Return the class name of the layer or operation."""
        return type(bare_operation(self.operation)).__name__


@dataclass(frozen=True, eq=False)
class Program:
    """The steps of a model in an order in which they can be run.

    Attributes:
        name: The model's name.
        steps: The calls that the outputs depend on.
        tensors: All tensors; `Ref` and the steps hold indices into this tuple.
        inputs: Indices of the input tensors.
        outputs: Indices of the output tensors.
        input_structure: The model's own input structure (a tensor, list, tuple or dict) with `Ref` as leaves.
        output_structure: The model's own output structure, likewise.
        output_names: Names of the outputs, as Keras or the trace gives them.
    """

    name: str
    steps: tuple[Step, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_structure: Any
    output_structure: Any
    output_names: tuple[str, ...]

    def only(self, output: str | int) -> "Program":
        """Return the program of one output, without the steps that it does not need.

        Args:
            output: Name or index of the output.

        Raises:
            ModelError: If the model has no such output.
        """
        names, count = list(self.output_names), len(self.outputs)
        if isinstance(output, str) and names.count(output) == 1:
            output = names.index(output)
        if not isinstance(output, int) or not -count <= output < count:
            raise ModelError(f"No output {output!r} in model '{self.name}'. It has {count} outputs: {names}.")
        tensor = self.outputs[output]
        return replace(
            self,
            steps=_needed(self.steps, [tensor]),
            outputs=(tensor,),
            output_structure=Ref(tensor),
            output_names=tuple(names[output:][:1]),
        )

    @cached_property
    def last_reads(self) -> dict[int, int]:
        """Return for each tensor the index of the last step that reads it.

        Outputs count as read after the last step. Tensors that are never read are left out.
        """
        last = {tensor: index for index, step in enumerate(self.steps) for tensor in step.reads}
        return last | dict.fromkeys(self.outputs, len(self.steps))

    @cached_property
    def makers(self) -> dict[int, int]:
        """Return for each tensor the index of the step that makes it; inputs are left out."""
        return {tensor: index for index, step in enumerate(self.steps) for tensor in step.makes}

    def run(
        self,
        values: dict[int, Any],
        steps: Iterable[Step] | None = None,
        operation: Callable[[Step], Callable] = lambda step: step.operation,
    ) -> dict[int, Any]:
        """Run steps on tensors, real or symbolic.

        Args:
            values: Tensors by index: all that the steps read and do not make. The results of the steps are added.
            steps: The steps to run; all by default.
            operation: Returns the operation to call for a step; the step's own by default.

        Returns:
            `values`, the same dict.
        """
        for step in self.steps if steps is None else steps:
            args, kwargs = fill((step.args, step.kwargs), values)
            outputs = operation(step)(*args, **kwargs)
            values.update(zip(step.makes, tree.flatten(outputs), strict=False))
        return values


def fill(structure: Any, values: dict[int, Any]) -> Any:
    """Return the structure with each `Ref` replaced by its value."""
    return tree.map_structure(lambda leaf: values[leaf.tensor] if isinstance(leaf, Ref) else leaf, structure)


def bare_operation(operation: Any) -> Any:
    """Return the operation without its wrapper, if it is wrapped together with weights that it uses."""
    return operation.operation if isinstance(operation, WeightedOperation) else operation


def read_program(model: keras.Model, *, output: str | int | None = None, training: bool | None = None) -> Program:
    """Flatten a model: functional, Sequential, nested to any depth, or subclassed and traceable.

    Args:
        model: A built model.
        output: Name or index of the output to keep, if the model has several; all by default.
        training: As in `model(x, training=...)`. False for what `model.predict` computes, also in layers that were
            called with `training=True`. None leaves each layer's call as it was recorded.

    Returns:
        The program. It shares the model's own layers and is valid as long as the model is not changed.

    Raises:
        ModelError: If it is not a Keras 3 model on TensorFlow, is not built, cannot be traced, has a stateful layer
            or an input of sparse or ragged tensors, or has no such output.
    """
    with as_graph(model) as graph:
        program = _Reader(model).read(graph, {} if training is None else {"training": training})
    if output is not None:
        program = program.only(output)
    for entry in map(program.tensors.__getitem__, program.inputs):
        if entry.layout != "dense":
            raise ModelError(
                f"Input '{entry.name}' of model '{program.name}' takes {entry.layout} tensors, which a device cannot "
                f"send. Build the model with a keras.Input without {entry.layout}=True, take the weights over, "
                "twin.set_weights(model.get_weights()), and make the data dense (tf.sparse.to_dense(x), x.to_tensor())."
            )
    for step in program.steps:
        if isinstance(step.operation, keras.layers.RNN | keras.layers.Bidirectional) and step.operation.stateful:
            raise ModelError(
                f"Layer '{step.name}' of model '{program.name}' is stateful: what it gives depends on the batches "
                "before, which a split model and its measurements have not. Build it with stateful=False and the same "
                "weights."
            )
    return program


class _Reader:
    """A reader that turns a graph and its nested graphs into steps, in the order in which Keras runs the nodes."""

    def __init__(self, model: keras.Model):
        self.name = model.name
        self.around: tuple[keras.Model, ...] = (model,)
        self.tensors: list[Tensor] = []
        self.steps: list[Step] = []
        self.calls: dict[int, int] = {}
        self.paths: dict[str, int] = {}
        self.counts: Counter[str] = Counter()

    def read(self, graph: Traced, context: dict) -> Program:
        names = [re.sub(r"[^A-Za-z0-9_.-]", "_", tensor.name) for tensor in graph.inputs]
        inputs = [self._tensor(tensor, name, _layout(tensor)) for tensor, name in zip(graph.inputs, names, strict=True)]
        made = self._inline(graph, inputs, "", context)
        outputs = [made[id(tensor)] for tensor in graph.outputs]
        return Program(
            name=self.name,
            steps=_needed(self.steps, outputs),
            tensors=tuple(self.tensors),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            input_structure=tree.pack_sequence_as(graph.input_structure, [Ref(i) for i in inputs]),
            output_structure=tree.pack_sequence_as(graph.output_structure, [Ref(i) for i in outputs]),
            output_names=graph.output_names,
        )

    def _tensor(self, tensor: Any, name: str, layout: str = "dense") -> int:
        self.tensors.append(Tensor(name, tuple(tensor.shape), str(tensor.dtype), is_masked(tensor), layout))
        return len(self.tensors) - 1

    def _inline(self, graph: Traced, inputs: Sequence[int], prefix: str, context: dict) -> dict[int, int]:
        """Add the nodes of a graph and return the index of each of its symbolic tensors by `id`."""
        made = {id(tensor): index for tensor, index in zip(graph.inputs, inputs, strict=True)}
        for node in graph.nodes:
            args, kwargs = tree.map_structure(
                lambda leaf: Ref(made[id(leaf)]) if isinstance(leaf, keras.KerasTensor) else _constant(leaf),
                (node.args, node.kwargs),
            )
            kwargs |= {name: value for name, value in context.items() if name in node.context_names}
            refs = [leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Ref)]
            call = node.on_shapes([self.tensors[ref.tensor].shape for ref in refs])
            with call.nested() as inner:
                if inner is None:
                    call = node if call is node else call.with_own_outputs()
                    outputs = self._step(call, prefix, args, kwargs, graph.autocast)
                else:
                    path = f"{prefix}{node.operation.name}/"
                    entering = [self._enter(r.tensor, t, path) for r, t in zip(refs, inner.inputs, strict=True)]
                    inner_context = {name: kwargs[name] for name in ("training",) if kwargs.get(name) is not None}
                    self.around = (node.operation, *self.around)
                    inner_made = self._inline(inner, entering, path, context | inner_context)
                    self.around = self.around[1:]
                    outputs = [inner_made[id(tensor)] for tensor in inner.outputs]
            made.update((id(tensor), index) for tensor, index in zip(node.outputs, outputs, strict=True))
        return made

    def _enter(self, index: int, inner_input: Any, path: str) -> int:
        """Adjust the rank, then the dtype, of a tensor that enters a nested model, as Keras does; return its index."""
        for make in (rank_operation, cast_operation):
            outer = self.tensors[index]
            operation, args, result = make(outer.shape, outer.dtype, inner_input)
            if operation is not None:
                node = RawNode(operation, (None, *args), {}, (result,), fresh=True)
                (index,) = self._step(node, path, (Ref(index), *args), {})
        return index

    def _step(self, node: RawNode, prefix: str, args: tuple, kwargs: dict, autocast: str | None = None) -> list[int]:
        operation = node.operation
        path, name = self._name(node, prefix)
        leaves = tree.flatten((args, kwargs))
        if not isinstance(operation, keras.layers.Layer) and any(isinstance(x, keras.Variable) for x in leaves):
            operation, tensors = WeightedOperation.around(
                operation, [args, kwargs], is_tensor=lambda leaf: isinstance(leaf, Ref), autocast=autocast
            )
            args, kwargs = (tensors,), {}
        reads = tuple(leaf.tensor for leaf in leaves if isinstance(leaf, Ref))
        # Keras marks x * 3.0 as sparse, and not what IntegerLookup(sparse=True) makes: the layer's option decides.
        layout = _layout(operation) if isinstance(operation, keras.layers.Layer) else "dense"
        made = [self._tensor(tensor, f"{name}:{k}" if k else name, layout) for k, tensor in enumerate(node.outputs)]
        self.steps.append(Step(operation, name, tuple(args), kwargs, reads, tuple(made), path, self.around))
        return made

    def _name(self, node: RawNode, prefix: str) -> tuple[str, str]:
        """Return the path of a node's operation, and the path with the call index."""
        operation = node.operation
        path = prefix + operation.name
        if node.fresh and not isinstance(operation, keras.layers.Layer):
            # Keras counts such names up with each trace. A count of our own gives the same names each time.
            base = prefix + re.sub(r"_\d+$", "", operation.name)
            path = f"{base}_{self.counts[base]}" if self.counts[base] else base
            self.counts[base] += 1
        number, plain_path = 0, path
        while self.paths.setdefault(path, id(operation)) != id(operation):  # a name used twice in a traced model
            number += 1
            path = f"{plain_path}~{number}"
        call = self.calls.get(id(operation), 0)
        self.calls[id(operation)] = call + 1
        return path, path if call == 0 else f"{path}#{call}"


def _layout(of: Any) -> str:
    """Return the layout of an input's tensor, or of what a layer makes, from the option that both have."""
    for layout in ("sparse", "ragged"):
        if getattr(of, layout, False) is True or getattr(of, f"_{layout}", False) is True:
            return layout
    return "dense"


def _constant(leaf: Any) -> Any:
    """Return a constant tensor of the model as an array, so that a graph built from it owns the values."""
    is_constant = keras.ops.is_tensor(leaf) and not isinstance(leaf, keras.Variable)
    return leaf.numpy() if is_constant and len(leaf.shape) else leaf


def _needed(steps: Sequence[Step], outputs: Iterable[int]) -> tuple[Step, ...]:
    """Return the steps that the outputs depend on, in order."""
    needed, needed_steps = set(outputs), []
    for step in reversed(steps):
        if needed.intersection(step.makes):
            needed.update(step.reads)
            needed_steps.append(step)
    return tuple(reversed(needed_steps))
