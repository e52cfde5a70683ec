"""Neutral names for a TensorFlow graph, so that two builds of a network give the same file.

Keras numbers layers and TensorFlow numbers functions as they are made, and the converter orders operators by name:
the same network built twice would give two different files. Here every node is named by its position, every function
by its place and content.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tensorflow.core.framework import function_pb2, graph_pb2, node_def_pb2

# Attributes that serve training or placement and hold names.
_NAMED_ATTRIBUTES = ("_gradient_op_type", "_class", "_output_shapes", "_user_specified_name")
_NAMED_FUNCTION_ATTRIBUTES = ("forward_function_name", "backward_function_name")
_REFERENCE = re.compile(r"(\^?)([^:]+)(.*)")


@dataclass(frozen=True)
class NeutralGraph:
    """A graph with neutral names, and its original names.

    Attributes:
        graph: The graph.
        names: For each node of the original graph its name in `graph`.
    """

    graph: graph_pb2.GraphDef
    names: Mapping[str, str]

    def original(self, text: str) -> str:
        """Replace neutral names in a text by the original ones.

        The converter makes names its own by digits after them; neutral names have all the same length.
        """
        back = {new: old for old, new in self.names.items()}
        digits = max((len(new) for new in back), default=0) - len("node_")
        return re.sub(rf"(node_\d{{{max(digits, 1)}}})\d*", lambda match: back.get(match.group(1), match.group()), text)


def neutral(graph: graph_pb2.GraphDef) -> NeutralGraph:
    """Rename all nodes by position, and all functions by the order of their first use and their content.

    Args:
        graph: Any graph; it is not changed.

    Returns:
        A graph that computes the same, byte for byte the same for two builds of one network.
    """
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph)
    del result.library.gradient[:]
    functions = {function_def.signature.name: function_def for function_def in result.library.function}
    new_names: dict[str, str] = {}

    def name_of(function: str) -> str:
        if function not in new_names:
            new_names[function] = ""
            _rename_function(functions[function], len(new_names), name_of)
            new_names[function] = functions[function].signature.name
        return new_names[function]

    names = _rename_nodes(result.node, {}, name_of)
    used_functions = sorted(
        (functions[name] for name in new_names), key=lambda function_def: function_def.signature.name
    )
    del result.library.function[:]
    result.library.function.extend(used_functions)
    return NeutralGraph(result, names)


def _rename_function(function: function_pb2.FunctionDef, number: int, name_of: Callable[[str], str]) -> None:
    signature = function.signature
    arguments = {argument.name: f"arg_{k}" for k, argument in enumerate(signature.input_arg)}
    results = {result.name: f"out_{k}" for k, result in enumerate(signature.output_arg)}
    local = _rename_nodes(function.node_def, arguments, name_of)
    for argument in signature.input_arg:
        argument.name = arguments[argument.name]
    for result in signature.output_arg:
        result.name = results[result.name]
    returned = {results[key]: _renamed(value, local) for key, value in function.ret.items()}
    function.ret.clear()
    function.ret.update(returned)
    control_outputs = sorted(_renamed(value, local) for value in function.control_ret.values())
    function.control_ret.clear()
    function.control_ret.update({value: value for value in control_outputs})
    signature.control_output[:] = control_outputs
    for key in _NAMED_FUNCTION_ATTRIBUTES:
        function.attr.pop(key, None)
    for attributes in function.arg_attr.values():
        attributes.attr.pop("_user_specified_name", None)
    signature.name = ""
    content = function.SerializeToString(deterministic=True)
    # The content, since TensorFlow keeps one table of functions a process where a name stands for one content. The
    # number, since the converter rewrites the bodies of loops and fails where two loops share one.
    signature.name = f"function_{number}_{hashlib.sha256(content).hexdigest()[:32]}"


def _rename_nodes(
    nodes: Iterable[node_def_pb2.NodeDef], arguments: Mapping[str, str], name_of: Callable[[str], str]
) -> dict[str, str]:
    nodes = list(nodes)
    width = len(str(len(nodes)))
    names = {**arguments, **{node.name: f"node_{k:0{width}}" for k, node in enumerate(nodes)}}
    for node in nodes:
        node.name = names[node.name]
        node.input[:] = [_renamed(reference, names) for reference in node.input]
        node.ClearField("experimental_debug_info")
        for key in _NAMED_ATTRIBUTES:
            node.attr.pop(key, None)
        for key in sorted(node.attr):  # a map has no order of its own, and the functions are numbered by first use
            value = node.attr[key]
            for function in [value.func] if value.HasField("func") else value.list.func:
                function.name = name_of(function.name)
    return names


def _renamed(reference: str, names: Mapping[str, str]) -> str:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError(f"Not a reference to a node: {reference!r}")
    control, name, output = match.groups()
    return f"{control}{names[name]}{output}"
