"""The scale of a head's integers, set in the `.tflite` file.

A converter takes the scale of a tensor from the range that it observed. The symbols of a coded latent have a step of
their own, so the head's output gets the scale 1 and the zero point 0. Kernels of convolutions and of products read the
scale of their output when they are prepared: the file's operators and weights stay as they are.
"""

from ai_edge_litert import schema_py_generated as schema

from ...errors import ExportError

_OPERATORS = vars(schema.BuiltinOperator)
# Operators that give their input's values in another shape, and must give them in its scale.
_SHAPING = {_OPERATORS[name] for name in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")}
# Operators that scale what they make.
_SCALING = {
    _OPERATORS[name] for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "QUANTIZE")
}


def with_output_scale(content: bytes, scale: float, zero_point: int) -> bytes:
    """Return a `.tflite` file whose only output has another scale and zero point.

    Args:
        content: The bytes of the file; its output holds integers with one scale.
        scale: What one step of the output counts.
        zero_point: The integer that stands for 0.

    Raises:
        ExportError: If the output is made by an operator that does not scale it, or is not quantized.
    """
    changed = bytearray(content)
    graph = schema.Model.GetRootAs(changed, 0)
    subgraph = graph.Subgraphs(0)
    makers = {
        subgraph.Operators(k).Outputs(j): subgraph.Operators(k)
        for k in range(subgraph.OperatorsLength())
        for j in range(subgraph.Operators(k).OutputsLength())
    }
    tensor = subgraph.Outputs(0)
    while True:
        quantization = subgraph.Tensors(tensor).Quantization()
        if quantization is None or quantization.ScaleLength() != 1 or quantization.ZeroPointLength() != 1:
            raise ExportError("A coded latent is one of int8 with one scale: the head's output is not quantized so.")
        quantization.ScaleAsNumpy()[0], quantization.ZeroPointAsNumpy()[0] = scale, zero_point
        maker = makers.get(tensor)
        kind = None if maker is None else _kind(graph.OperatorCodes(maker.OpcodeIndex()))
        if maker is None or kind not in _SHAPING | _SCALING:
            raise ExportError(
                "A coded latent is scaled by the convolution or dense layer that makes it. The head ends with another "
                "operator. Possible: a bottleneck with coding='none'."
            )
        if kind in _SCALING:
            return bytes(changed)
        tensor = maker.Inputs(0)


def _kind(code: schema.OperatorCode) -> int:
    return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
