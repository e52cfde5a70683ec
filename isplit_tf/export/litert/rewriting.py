"""Operations that LiteRT has no kernel for in integers, written as others that are the same up to rounding."""

from collections.abc import Iterator, Set

from tensorflow.core.framework import graph_pb2, node_def_pb2

_SQUARES = ("Square", "SquaredDifference")


def has_squares(precision: str, operators: Set[str], float_operators: Set[str]) -> bool:
    """Check whether squares keep a file from being integers throughout, or from being run.

    Args:
        precision: "int8" or "int16x8".
        operators: Names of all operators of the file, as LiteRT names them.
        float_operators: Names of those that stayed in float.
    """
    # LiteRT has the squared difference in 8 bit, not in 16, which it says when the file is run.
    return "SQUARE" in float_operators or (precision == "int16x8" and "SQUARED_DIFFERENCE" in operators)


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
