"""Operations that LiteRT has no kernel for, written as others that are the same up to rounding."""

from collections.abc import Iterator, Mapping, Sequence, Set

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, node_def_pb2

_SQUARES = ("Square", "SquaredDifference")
_POOLS = {"MaxPool3D": "MaxPool", "AvgPool3D": "AvgPool"}


def rewritten(
    graph: graph_pb2.GraphDef, precision: str, operators: Set[str], float_operators: Set[str]
) -> graph_pb2.GraphDef | None:
    """Return the graph without operations that keep a file from being integers throughout, or from being run.

    Args:
        graph: A graph; it is not changed.
        precision: "int8" or "int16x8".
        operators: Names of all operators of its file, as LiteRT names them.
        float_operators: Names of those that stayed in float.

    Returns:
        Another graph, or None where there is nothing to rewrite.
    """
    # LiteRT has the squared difference in 8 bit, not in 16, which it says when the file is run.
    has_squares = "SQUARE" in float_operators or (precision == "int16x8" and "SQUARED_DIFFERENCE" in operators)
    result = without_squares(graph) if has_squares else graph
    if "SPLIT" in float_operators:
        result = without_splits(result)
    return None if result is graph else result


def without_squares(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """Return the graph with x * x for a square, and with (x - y) * (x - y) for a squared difference.

    Args:
        graph: A graph; it is not changed.
    """
    result = graph_pb2.GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        result.node.extend(_as_products(node) if node.op in _SQUARES else [node])
    return result


def _as_products(node: node_def_pb2.NodeDef) -> Iterator[node_def_pb2.NodeDef]:
    factor, controls = node.input[0], [name for name in node.input if name.startswith("^")]
    if node.op == "SquaredDifference":
        difference = node_def_pb2.NodeDef(name=f"{node.name}_difference", op="Sub", device=node.device)
        difference.attr["T"].CopyFrom(node.attr["T"])
        difference.input[:] = node.input
        factor = difference.name
        yield difference
    product = node_def_pb2.NodeDef(name=node.name, op="Mul", device=node.device)
    product.attr["T"].CopyFrom(node.attr["T"])
    product.input[:] = [factor, factor, *controls]
    yield product


def without_volume_pools(
    graph: graph_pb2.GraphDef, shapes: Mapping[str, tuple[Sequence[int], Sequence[int]]]
) -> graph_pb2.GraphDef:
    """Return the graph with pools over volumes as two pools over maps: over height and width, then over depth.

    Args:
        graph: A graph; it is not changed.
        shapes: For each pool, by the name of its node, the shapes of its input and output, channels last.
    """
    if not shapes:
        return graph
    result = graph_pb2.GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        result.node.extend(_as_two_pools(node, *shapes[node.name]) if node.name in shapes else [node])
    return result


def volume_pools(graph: tf.Graph) -> dict[str, tuple[list[int], list[int]]]:
    """Return the shapes that `without_volume_pools` needs; pools of open shapes or channels first are left out."""
    found = {}
    for operation in graph.get_operations():
        if operation.type in _POOLS and operation.get_attr("data_format") == b"NDHWC":
            shapes = operation.inputs[0].shape, operation.outputs[0].shape
            if all(shape.is_fully_defined() for shape in shapes):
                found[operation.name] = tuple(shape.as_list() for shape in shapes)
    return found


def _as_two_pools(
    node: node_def_pb2.NodeDef, before: Sequence[int], after: Sequence[int]
) -> Iterator[node_def_pb2.NodeDef]:
    (n, depth, height, width, channels), (_, _, rows, columns, _) = before, after

    def reshape(name: str, source: str, shape: Sequence[int]) -> Iterator[node_def_pb2.NodeDef]:
        constant = node_def_pb2.NodeDef(name=f"{name}_shape", op="Const", device=node.device)
        constant.attr["dtype"].type = tf.int32.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(list(shape), tf.int32))
        reshaped = node_def_pb2.NodeDef(name=name, op="Reshape", device=node.device, input=[source, constant.name])
        reshaped.attr["T"].CopyFrom(node.attr["T"])
        reshaped.attr["Tshape"].type = tf.int32.as_datatype_enum
        yield from (constant, reshaped)

    def pool(name: str, source: str, axes: slice, along: Sequence[int]) -> node_def_pb2.NodeDef:
        made = node_def_pb2.NodeDef(name=name, op=_POOLS[node.op], device=node.device, input=[source])
        for key in ("T", "padding"):
            made.attr[key].CopyFrom(node.attr[key])
        for key in ("ksize", "strides"):
            values = list(node.attr[key].list.i)[axes]
            made.attr[key].list.i.extend([1, *values, *along, 1])
        return made

    name = node.name
    yield from reshape(f"{name}_maps", node.input[0], [n * depth, height, width, channels])
    yield pool(f"{name}_over_maps", f"{name}_maps", slice(2, 4), ())
    yield from reshape(f"{name}_columns", f"{name}_over_maps", [n, depth, rows * columns, channels])
    yield pool(f"{name}_over_depth", f"{name}_columns", slice(1, 2), (1,))
    yield from reshape(name, f"{name}_over_depth", after)


def without_splits(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """Return the graph with a slice for each part of a split.

    A part that nobody reads, as in the first step of a recurrent layer, has no range; LiteRT then splits in float.

    Args:
        graph: A graph of fixed shapes; it is not changed.
    """
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph, name="")
    result = graph_pb2.GraphDef(versions=graph.versions, library=graph.library)
    splits = {node.name for node in graph.node if node.op == "Split"}
    for node in graph.node:
        copy = result.node.add() if node.op != "Split" else node_def_pb2.NodeDef()
        copy.CopyFrom(node)
        copy.input[:] = [_part(name) if _source(name) in splits else name for name in node.input]
        if node.op == "Split":
            operation = imported.get_operation_by_name(node.name)
            axis = int(tf.get_static_value(operation.inputs[0]))
            result.node.extend(_as_slices(copy, axis, operation.outputs[0].shape.as_list()))
    return result


def _as_slices(node: node_def_pb2.NodeDef, axis: int, shape: Sequence[int]) -> Iterator[node_def_pb2.NodeDef]:
    for k in range(node.attr["num_split"].i):
        name = _part(f"{node.name}:{k}")
        begin, end = [0] * len(shape), list(shape)
        begin[axis], end[axis] = k * shape[axis], (k + 1) * shape[axis]
        made = node_def_pb2.NodeDef(name=name, op="StridedSlice", device=node.device, input=[node.input[1]])
        for role, values in (("begin", begin), ("end", end), ("strides", [1] * len(shape))):
            constant = node_def_pb2.NodeDef(name=f"{name}_{role}", op="Const", device=node.device)
            constant.attr["dtype"].type = tf.int32.as_datatype_enum
            constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values, tf.int32))
            made.input.append(constant.name)
            yield constant
        made.attr["T"].CopyFrom(node.attr["T"])
        made.attr["Index"].type = tf.int32.as_datatype_enum
        yield made


def _source(reference: str) -> str:
    return reference.split(":")[0]


def _part(reference: str) -> str:
    name, _, number = reference.partition(":")
    return f"{name}_part_{number or 0}"
