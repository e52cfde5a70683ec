"""Access to Keras' private state of graphs. An upgrade of Keras can break this module and `keras_layers`, no other."""

import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree
from keras.src.backend import AutocastScope
from keras.src.models.functional import Functional

from ..errors import ModelError
from .keras_layers import is_masked


@dataclass(frozen=True, eq=False)
class RawNode:
    """A recorded call: `operation(*args, **kwargs)` returned `outputs`; tensors are `KerasTensor`.

    `fresh` is True if the call was recorded by our own tracing. An operation that is not a layer was then created
    during the trace, and its name changes with each trace.
    """

    operation: Any
    args: tuple
    kwargs: dict
    outputs: tuple
    fresh: bool = False

    @property
    def context_names(self) -> frozenset[str]:
        """Return the names of arguments, such as `training`, that Keras passes from a model down to this operation."""
        return frozenset(getattr(self.operation, "_call_context_args", ()))

    def on_shapes(self, shapes: Sequence[tuple[int | None, ...]]) -> "RawNode":
        """Return the call on tensors of these shapes; itself if it was recorded on such, whatever the batch.

        A model that is nested was recorded with its own Input, whose dimensions can vary where the call's do not.

        Args:
            shapes: A shape for each tensor among the arguments. The outputs stay as recorded; see `with_own_outputs`.
        """
        entering = _symbols((self.args, self.kwargs))
        if all(tuple(tensor.shape[1:]) == shape[1:] for tensor, shape in zip(entering, shapes, strict=True)):
            return self
        twins = {id(tensor): _like(tensor, shape) for tensor, shape in zip(entering, shapes, strict=True)}
        args, kwargs = tree.map_structure(lambda leaf: twins.get(id(leaf), leaf), (self.args, self.kwargs))
        return dataclasses.replace(self, args=args, kwargs=kwargs)

    def with_own_outputs(self) -> "RawNode":
        """Return the call with the outputs that its tensors give, or as recorded if they cannot be computed."""
        try:
            specs = tree.flatten(self.operation.compute_output_spec(*self.args, **self.kwargs))
        except (ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError):
            return self
        if [len(spec.shape) for spec in specs] != [len(tensor.shape) for tensor in self.outputs]:
            return self
        outputs = [_like(tensor, spec.shape) for tensor, spec in zip(self.outputs, specs, strict=True)]
        return dataclasses.replace(self, outputs=tuple(outputs))

    @contextlib.contextmanager
    def nested(self) -> Iterator["Traced | None"]:
        """Yield the inner graph if the operation is a model with a graph, or None for a layer."""
        with contextlib.ExitStack() as stack:
            yield self._graph_inside(stack)

    def _graph_inside(self, stack: contextlib.ExitStack) -> "Traced | None":
        if not isinstance(self.operation, keras.Model):
            return None
        entering = _symbols((self.args, self.kwargs))
        masked = any(is_masked(tensor) for tensor in entering)
        graph = own_graph(self.operation)
        if graph is None or masked:  # a graph recorded on its own knows no masks that come from outside
            try:
                graph = stack.enter_context(_trace(self.operation, _symbolic(self.args), _symbolic(self.kwargs)))
            except ModelError:  # a model that cannot be traced stays one layer, as a custom layer does
                return None
        if len(graph.inputs) != len(entering):
            return None
        pairs = zip(entering, graph.inputs, strict=True)
        same = all(a.dtype == b.dtype and len(a.shape) == len(b.shape) for a, b in pairs)
        return graph if same or not masked else None  # a cast of the input would lose the mask


@dataclass(frozen=True, eq=False)
class Traced:
    """A graph as Keras recorded it: its nodes in the order in which they run, its inputs and its outputs."""

    name: str
    nodes: tuple[RawNode, ...]
    inputs: tuple
    outputs: tuple
    input_structure: Any
    output_structure: Any
    output_names: tuple[str, ...]
    autocast: str | None = None  # dtype to which weights are cast for keras.ops; None: no cast


def check_model(model: Any) -> None:
    """Raise a ModelError unless the model is a Keras 3 model on the TensorFlow backend."""
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"isplit_tf works with the TensorFlow backend of Keras. Found: '{keras.backend.backend()}'. "
            "Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    if isinstance(model, keras.Model):
        return
    kind = type(model)
    legacy = any(base.__module__.startswith(("tf_keras", "tensorflow.python.keras")) for base in kind.__mro__)
    hint = (
        "Models of tf_keras (Keras 2) are not supported: save the weights and rebuild the model with Keras 3."
        if legacy
        else "A built keras.Model is needed, for instance from keras.models.load_model(path)."
    )
    raise ModelError(f"Expected a Keras 3 model. Received: {kind.__module__}.{kind.__qualname__}. {hint}")


def own_graph(model: keras.Model) -> Traced | None:
    """Return the recorded graph of a functional or Sequential model, or None if the model has its own `call`."""
    function = _function_of(model)
    return None if function is None else _read_function(function, model.name, tuple(function.output_names))


def _function_of(model: keras.Model) -> Functional | None:
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        model = model._functional  # None until it knows its input shape
    return model if isinstance(model, Functional) and type(model).call is Functional.call else None


def _read_function(function: keras.Function, name: str, output_names: tuple[str, ...]) -> Traced:
    by_depth = function._nodes_by_depth
    nodes = tuple(
        RawNode(node.operation, tuple(node.arguments.args), _without_own_masks(node.arguments), tuple(node.outputs))
        for depth in sorted(by_depth, reverse=True)
        for node in by_depth[depth]
        if node.operation is not None and not node.is_input
    )
    return Traced(
        name=name,
        nodes=nodes,
        inputs=tuple(function._inputs),
        outputs=tuple(function._outputs),
        input_structure=function._inputs_struct,
        output_structure=function._outputs_struct,
        output_names=output_names,
    )


def _without_own_masks(arguments: Any) -> dict:
    """Return the keyword arguments of a call, without the masks that its tensors already carry.

    Keras records such a mask as an argument in some calls and not in others. Without it, all calls are alike.
    """
    own = {id(tensor._keras_mask) for tensor in _symbols((arguments.args, arguments.kwargs)) if is_masked(tensor)}
    return {
        name: value
        for name, value in arguments.kwargs.items()
        if not (name.endswith("mask") and _symbols(value) and own.issuperset(map(id, _symbols(value))))
    }


def _like(tensor: Any, shape: tuple[int | None, ...]) -> keras.KerasTensor:
    """Return a symbolic tensor that differs in its shape alone."""
    twin = copy.copy(tensor)
    twin._shape = tuple(shape)
    return twin


def _symbols(structure: Any) -> list:
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


@contextlib.contextmanager
def as_graph(model: Any) -> Iterator[Traced]:
    """Yield the graph of a model. A subclassed model is traced, and is restored when the context ends.

    Raises:
        ModelError: If it is not a Keras 3 model on TensorFlow, is not built, or cannot be traced.
    """
    check_model(model)
    graph = own_graph(model)
    if graph is not None:
        yield graph
        return
    if not model.built:
        raise ModelError(
            f"Model '{model.name}' ({type(model).__name__}) is not built: its layers have no weights yet. "
            "Call it once on data, for instance model(images[:1]), or give it an Input."
        )
    args = _input_shapes(model)
    if not args:
        raise ModelError(
            f"Model '{model.name}' ({type(model).__name__}) does not say what input it takes: Keras keeps that only "
            "of a model that was built by a call, or by build() with the shape of the input. Wrap it: "
            "inputs = keras.Input((224, 224, 3)), with your shape; model = keras.Model(inputs, model(inputs))."
        )
    names = _required_arguments(model)
    if len(names) > len(args):
        raise ModelError(
            f"`call` of model '{model.name}' ({type(model).__name__}) takes {len(names)} arguments "
            f"({', '.join(names)}); Keras keeps the shape of {len(args)} only. "
            "Let `call` take one dict or list of tensors."
        )
    named = tuple(_named_inputs(shape, name) for shape, name in zip(args, names, strict=False))
    with _trace(model, named + args[len(named) :], {}) as graph:
        yield graph


def _input_shapes(model: keras.Model) -> tuple:
    """Return the shapes that a model was built for, one for each argument of its `call`; empty where Keras keeps none.

    They are the arguments of its `build`, given or default, without those that are no shapes.
    """
    given = model._build_shapes_dict or model.get_build_config() or {}
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(type(model).build).parameters.items()
        if parameter.default is not parameter.empty
    }
    return tuple(shape for shape in (defaults | given).values() if _holds_shapes(shape))


def _holds_shapes(item: Any) -> bool:
    """Check whether an argument is a shape with at least the batch, or a structure of such shapes."""
    if isinstance(item, dict):
        return bool(item) and all(map(_holds_shapes, item.values()))
    if not isinstance(item, tuple | list) or not item:
        return False
    return _is_shape(item) or all(map(_holds_shapes, item))


def _required_arguments(model: keras.Model) -> list[str]:
    parameters = inspect.signature(model.call).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]


def _named_inputs(shape: Any, name: str) -> Any:
    """Return inputs of the given shapes, named after the argument or the keys of a dict, with numbers in a list."""
    if _is_shape(shape):
        return keras.Input(batch_shape=(None, *shape[1:]), name=name)
    if isinstance(shape, dict):
        return {key: _named_inputs(value, key) for key, value in shape.items()}
    return type(shape)(_named_inputs(value, f"{name}_{k}") for k, value in enumerate(shape))


def _is_shape(item: Any) -> bool:
    return isinstance(item, tuple | list) and all(d is None or isinstance(d, int) for d in item)


def _symbolic(argument: Any) -> Any:
    """Return the argument with a new Input in place of each tensor of another graph."""
    if isinstance(argument, keras.KerasTensor):
        twin = keras.Input(batch_shape=argument.shape, dtype=argument.dtype)
        if is_masked(argument):
            twin._keras_mask = argument._keras_mask  # marks that a mask exists; its value is never used
        return twin
    if isinstance(argument, dict):
        return {key: _symbolic(value) for key, value in argument.items()}
    if isinstance(argument, tuple | list):
        return type(argument)(_symbolic(value) for value in argument)
    return argument


@contextlib.contextmanager
def _trace(model: keras.Model, args: tuple, kwargs: dict) -> Iterator[Traced]:
    """Run a model's `call` on symbolic inputs and yield its graph.

    The run adds nodes to the model's layers. They are removed when the context ends.
    """
    layers = model._flatten_layers()
    marks = [(layer, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]
    try:
        try:
            function = keras.Function(_symbols((args, kwargs)), _call_as_keras_does(model, args, kwargs))
        except (ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError) as error:
            raise ModelError(
                f"Model '{model.name}' of class {type(model).__name__} cannot be traced: its `call` does not run on "
                f"symbolic inputs. Found: {str(error).strip().splitlines()[0] if str(error) else type(error).__name__} "
                "Write `call` with layers and keras.ops (not tf.*), or wrap what needs tf.* into a keras.layers.Layer "
                "of its own; then every tensor between layers can be a cut."
            ) from error
        names = tuple(f"output_{k}" for k in range(len(function._outputs)))
        graph = _read_function(function, model.name, names)
        structure = args[0] if len(args) == 1 else args
        if _function_of(model) is None:
            graph = dataclasses.replace(
                graph,
                nodes=tuple(dataclasses.replace(node, fresh=True) for node in graph.nodes),
                autocast=_autocast(model),
            )
        yield dataclasses.replace(graph, input_structure=structure)
    finally:
        for layer, inbound, outbound in marks:
            del layer._inbound_nodes[inbound:]
            del layer._outbound_nodes[outbound:]


def _call_as_keras_does(model: keras.Model, args: tuple, kwargs: dict) -> Any:
    """Run `model.call` with the casts of `model.__call__`, but without recording a node for the model as a whole."""
    function = _function_of(model)
    if function is not None:
        return function._run_through_graph(tree.flatten(args))
    kwargs = {name: value for name, value in kwargs.items() if name in model._call_signature.parameters}
    policy = model.dtype_policy
    args = tree.map_structure(lambda x: policy.convert_input(x, model.autocast, model.input_dtype), args)
    dtype = _autocast(model)
    with AutocastScope(dtype) if dtype else contextlib.nullcontext():
        return model.call(*args, **kwargs)


def _autocast(model: keras.Model) -> str | None:
    mixed = model.autocast and model.compute_dtype != model.variable_dtype
    return model.compute_dtype if mixed else None


def _operation_of(tensor: Any) -> tuple[Any, tuple]:
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    constants = tuple(value for value in node.arguments.args if not isinstance(value, keras.KerasTensor))
    return history.operation, constants


def cast_operation(shape: tuple, dtype: str, inner: Any) -> tuple[Any, tuple, Any]:
    """Return the operation that casts a tensor to the dtype of a nested model's input.

    Returns:
        The operation, its arguments other than the tensor, and its symbolic result; (None, (), None) if the dtypes
        agree.
    """
    if dtype == inner.dtype:
        return None, (), None
    result = keras.ops.cast(keras.Input(batch_shape=shape, dtype=dtype), inner.dtype)
    return *_operation_of(result), result


def rank_operation(shape: tuple, dtype: str, inner: Any) -> tuple[Any, tuple, Any]:
    """Return the operation that adds or removes a last axis of length 1, as Keras does at the input of a model.

    Returns:
        As `cast_operation`; (None, (), None) if the ranks agree.
    """
    if len(shape) == len(inner.shape):
        return None, (), None
    outer = keras.Input(batch_shape=shape, dtype=dtype)
    result = keras.ops.expand_dims(outer, -1) if len(shape) < len(inner.shape) else keras.ops.squeeze(outer, -1)
    return *_operation_of(result), result
