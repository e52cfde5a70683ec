"""The reasons why a head cannot be converted, with the layer that each comes from and what is possible instead."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import tensorflow as tf

from ...errors import ExportError
from .contents import Contents, Operator
from .conversion import QUANTIZED, ConversionFailed
from .trace import MOST_STEPS, TracedHead

_FOURIER = ("RFFT", "RFFT2D", "IRFFT", "IRFFT2D")
_MOST_PLACES = 5
_HINTS = {
    "WHILE": f"LiteRT has loops in float alone; recurrent layers are unrolled up to {MOST_STEPS} steps, longer ones "
    "and loops of keras.ops are not (in your own RNN, unroll=True).",
    "CONV_3D": "LiteRT convolves volumes in float alone.",
    "RFFT2D": "LiteRT has Fourier transforms in float alone; keras.layers.STFTSpectrogram uses convolutions instead.",
}


def refuse_impossible(traced: TracedHead, precision: str) -> None:
    """Raise for what the converter is known to fail at, where it would crash or give a less clear reason.

    Raises:
        ExportError: If a loop is to be quantized, or a Fourier transform has a length that LiteRT cannot compute.
    """
    if precision in QUANTIZED:
        nodes = traced.control_flow
        counts = Counter(name for _, name in nodes)
        _refuse(precision, counts, [f"{name} is {traced.place(node)}" for node, name in nodes])
    for node in traced.graph.graph.node:
        length = _fourier_length(traced, node.input[1]) if node.op in _FOURIER else 1
        if length & (length - 1):
            raise ExportError(
                f"The head cannot be exported: {node.op} is {traced.place(node.name)}, of length {length}, and LiteRT "
                f"computes Fourier transforms of a power of two alone. Possible: fft_length={1 << length.bit_length()} "
                "with frames of the same length, or a cut before it."
            )


def _fourier_length(traced: TracedHead, reference: str) -> int:
    """Return the length of a transform along the last axis; 1 where it is not known."""
    nodes = {node.name: node for node in traced.graph.graph.node}
    node = nodes[reference.split(":")[0]]
    return int(tf.make_ndarray(node.attr["value"].tensor)[-1]) if node.op == "Const" else 1


def conversion_error(error: ConversionFailed, precision: str, traced: TracedHead) -> ExportError:
    """Return the error to raise where the converter gave up."""
    message = str(error)
    matches = re.findall(r"(?:TF Select|Flex|Custom) ops: (.*)", message)
    if not matches:
        start = "\n".join(message.strip().splitlines()[:3])
        failure = ExportError(f"The head cannot be converted to {precision}: {traced.graph.original(start)}")
        failure.add_note(traced.graph.original("\n".join([message, *error.__notes__])))
        return failure
    names = sorted({name.strip() for group in matches for name in group.split(",")})
    places = dict(re.findall(r'fused\["(\w+):", "(node_\d+)@', message))
    named = [f"{name} ({traced.place(places[name])})" if name in places else name for name in names]
    return ExportError(
        f"The head cannot be exported: LiteRT has no built-in operator for {', '.join(named)}. Flex operators, "
        "which need TensorFlow on the device, are never used. Possible: a cut before it, or a model without it."
    )


def check_operators(contents: Contents, precision: str, traced: TracedHead) -> None:
    """Raise unless a file holds only built-in operators, and in int8 and int16x8 only integers.

    Raises:
        ExportError: With the operators, and the layers that they come from.
    """
    if contents.custom_operators:
        names = sorted({operator.name for operator in contents.custom_operators})
        raise ExportError(f"The head holds operators that LiteRT has not built in: {', '.join(names)}.")
    if precision in QUANTIZED:
        _refuse(precision, contents.float_counts, _places(contents.float_operators, traced))


def _refuse(precision: str, counts: Mapping[str, int], places: list[str]) -> None:
    if counts:
        named = ", ".join(f"{count} {name}" for name, count in counts.items())
        shown = f" {'; '.join(places[:_MOST_PLACES])}{' ...' if len(places) > _MOST_PLACES else ''}." if places else ""
        hints = "".join(f" {hint}" for name, hint in _HINTS.items() if name in counts)
        raise ExportError(
            f"precision={precision!r} asks for a head of integers from input to output. These operators stay in "
            f"float: {named}.{shown}{hints} Possible: another cut, or precision 'float16', 'dynamic' or 'float32'."
        )


def _places(operators: Iterable[Operator], traced: TracedHead) -> list[str]:
    """Return the layers that operators come from, without conversions to float and back."""
    names = {
        operator.outputs[0].name: operator.name
        for operator in operators
        if operator.name not in ("QUANTIZE", "DEQUANTIZE")
    }
    return [f"{name} is {traced.place(tensor)}" for tensor, name in names.items() if "node_" in tensor]
