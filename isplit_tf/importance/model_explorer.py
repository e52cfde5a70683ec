"""Export of a curve as node data for Google's Model Explorer, which draws it over the graph of a model."""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from isplit_edge.files import make_folder, open_atomic

from ..errors import ArgumentError, DataError
from ..graph.cuts import Cut

# White to dark blue stays ordered in grey print and for colour-blind readers.
_GRADIENT = (
    {"stop": 0.0, "bgColor": "#ffffff", "textColor": "#000000"},
    {"stop": 1.0, "bgColor": "#08519c", "textColor": "#ffffff"},
)
_PEAK = {"bgColor": "#d55e00", "textColor": "#ffffff"}
# Suffixes that Keras adds to the names of models and layers when it traces a model that was called before.
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
    """Write a number for each cut; see `Curve.to_model_explorer`."""
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
    peak_names = {cut.name for cut in peaks}
    results: dict[str, dict[str, Any]] = {
        keys[cut.name]: {"value": float(value)} | (_PEAK if cut.name in peak_names else {})
        for cut, value in zip(cuts, values, strict=True)
        if cut.name in keys
    }
    text = json.dumps({"name": name, "results": results, "gradient": _GRADIENT}, indent=2, allow_nan=False)
    target = Path(path)
    make_folder(target.parent)
    with open_atomic(target) as file:
        file.write(text.encode())


def tensor_names(cuts: Sequence[Cut], model_file: str | os.PathLike[str]) -> dict[str, str]:
    """Return the name of the tensor in a `.tflite` file for each cut.

    A converter names a tensor after the operations that it fused, such as
    `net_1/relu_1/Relu;net_1/conv_1/convolution`, each with the path of its layer. The tensor of a cut is the last one
    whose name contains the path of the cut's layer and whose shape is the shape of the cut. A normalization that was
    folded into the convolution before it leaves no name. Its cut is then the only tensor of its shape between the
    tensors of the neighbouring cuts, if there is exactly one.

    Args:
        cuts: The cuts, in topological order.
        model_file: The file.

    Returns:
        Names of tensors by names of cuts, without the cuts that were not found.

    Raises:
        ArgumentError: If the file cannot be read, or is not a `.tflite` file.
    """
    tensors = list(_made_tensors(Path(model_file)))
    positions = max((_by_path(cuts, tensors, suffix) for suffix in _SUFFIXES), key=len)
    if not positions:
        return {}
    for k, cut in enumerate(cuts):
        if cut.name not in positions:
            first = max((positions[near.name] for near in cuts[:k] if near.name in positions), default=-1)
            last = min((positions[near.name] for near in cuts[k + 1 :] if near.name in positions), default=len(tensors))
            between = [position for position in range(first + 1, last) if tensors[position][1] == cut.shape]
            if len(between) == 1:
                positions[cut.name] = between[0]
    return {name: tensors[position][0] for name, position in positions.items()}


def _by_path(cuts: Sequence[Cut], tensors: Sequence[tuple[str, Any]], suffix: str) -> dict[str, int]:
    """Return the position of the tensor for each cut, if Keras added the suffix to each part of the cut's path."""
    paths = {cut.name: "/" + "".join(part + suffix + "/" for part in cut.name.split("/")) for cut in cuts}
    positions: dict[str, int] = {}
    for position, (tensor, shape) in enumerate(tensors):
        operations = [f"/{operation}" for operation in tensor.split(";")]
        for cut in cuts:
            if shape in (None, cut.shape) and any(paths[cut.name] in operation for operation in operations):
                positions[cut.name] = position
    return positions


def _made_tensors(path: Path) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Yield the name and the shape of each tensor that an operator makes; shapes without the batch, None if unknown."""
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
