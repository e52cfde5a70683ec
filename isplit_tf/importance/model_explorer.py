"""A curve as node data for Google's Model Explorer, which draws it over the graph of a model."""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from isplit_edge.files import open_atomic

from ..errors import ArgumentError, DataError
from ..graph.cuts import Cut

# From white to a dark blue: it keeps its order in grey print, and for colour-blind people.
_GRADIENT = (
    {"stop": 0.0, "bgColor": "#ffffff", "textColor": "#000000"},
    {"stop": 1.0, "bgColor": "#08519c", "textColor": "#ffffff"},
)
_PEAK = {"bgColor": "#d55e00", "textColor": "#ffffff"}
# What Keras adds to the names of model and layers when it traces a model that was called before.
_SUFFIXES = ("_1", "", "_2")


def write_node_data(
    path: str | os.PathLike[str],
    cuts: Sequence[Cut],
    values: Sequence[float],
    *,
    name: str,
    peaks: Sequence[Cut] = (),
    model_file: str | os.PathLike[str] | None = None,
) -> None:
    """Writes a number for each cut; see `Curve.to_model_explorer`."""
    keys: dict[str, str] = {cut.name: cut.name for cut in cuts}
    if model_file is not None:
        keys = tensor_names(cuts, model_file)
        missing = [cut.name for cut in cuts if cut.name not in keys]
        if not keys:
            raise DataError(
                f"No tensor in '{model_file}' is named after a cut of the curve, such as '{cuts[0].name}'. Expected "
                "the .tflite file of the same Keras model as a whole, which keeps the names of its layers."
            )
        if missing:
            warnings.warn(f"'{model_file}' has no tensor for {missing}: left out.", stacklevel=3)
    marked = {cut.name for cut in peaks}
    results: dict[str, dict[str, Any]] = {
        keys[cut.name]: {"value": float(value)} | (_PEAK if cut.name in marked else {})
        for cut, value in zip(cuts, values, strict=True)
        if cut.name in keys
    }
    text = json.dumps({"name": name, "results": results, "gradient": _GRADIENT}, indent=2, allow_nan=False)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(target) as file:
        file.write(text.encode())


def tensor_names(cuts: Sequence[Cut], model_file: str | os.PathLike[str]) -> dict[str, str]:
    """The tensor of a `.tflite` file that each cut became.

    A converter names a tensor after the operations that it fused, `net_1/relu_1/Relu;net_1/conv_1/convolution`,
    each under the path of its layer. A cut is the last tensor whose name has its layer's path and whose shape
    is its own. A normalization that was folded into the convolution before it leaves no name: its cut is then
    the only tensor of its shape between those of the cuts around it, if there is only one.

    Args:
        cuts: The cuts.
        model_file: The file.

    Returns:
        Names of tensors by names of cuts, without the cuts that the file does not name.

    Raises:
        ArgumentError: There is no such file, or it is no `.tflite`.
    """
    tensors = list(_made_tensors(Path(model_file)))
    found = max((_by_path(cuts, tensors, suffix) for suffix in _SUFFIXES), key=len)
    if not found:
        return {}
    for k, cut in enumerate(cuts):
        if cut.name not in found:
            first = max((found[other.name] for other in cuts[:k] if other.name in found), default=-1)
            last = min((found[other.name] for other in cuts[k + 1 :] if other.name in found), default=len(tensors))
            between = [position for position in range(first + 1, last) if tensors[position][1] == cut.shape]
            if len(between) == 1:
                found[cut.name] = between[0]
    return {name: tensors[position][0] for name, position in found.items()}


def _by_path(cuts: Sequence[Cut], tensors: Sequence[tuple[str, Any]], suffix: str) -> dict[str, int]:
    """Positions of the tensors that carry a cut's path, where Keras added a suffix to each of its parts."""
    paths = {cut.name: "/" + "".join(part + suffix + "/" for part in cut.name.split("/")) for cut in cuts}
    found: dict[str, int] = {}
    for position, (tensor, shape) in enumerate(tensors):
        operations = [f"/{operation}" for operation in tensor.split(";")]
        for cut in cuts:
            if shape in (None, cut.shape) and any(paths[cut.name] in operation for operation in operations):
                found[cut.name] = position
    return found


def _made_tensors(path: Path) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Name and shape (without the batch; None where unknown) of what each operator of a file makes."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"model_file: '{path}' cannot be read: {error}") from error
    if content[4:8] != b"TFL3":
        raise ArgumentError(f"model_file: '{path}' is no .tflite file.")
    graph = schema.Model.GetRootAsModel(content, 0).Subgraphs(0)
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        for index in range(operator.OutputsLength()):
            tensor = graph.Tensors(operator.Outputs(index))
            dimensions = [tensor.Shape(k) for k in range(tensor.ShapeLength())]
            yield tensor.Name().decode(), tuple(dimensions[1:]) if dimensions else None
