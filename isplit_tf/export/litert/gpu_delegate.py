"""The check whether a phone's GPU can run a head: the operators of the file against those of LiteRT's GPU delegate.

There are two sources; neither is a run on a phone:

- `DOCUMENTED`: the documentation, "GPU delegates for LiteRT", section "GPU ML operations support"
  (https://ai.google.dev/edge/litert/performance/gpu): operators in float of 16 and 32 bit, and quantized to 8 bit.
- `ACCEPTED`: operators that the documentation leaves out and the delegate's own check lets through, under conditions
  on their shapes and attributes (`CheckGpuDelegateCompatibility` in tflite/tools/versioning/gpu_compatibility.cc of
  LiteRT's sources). The conditions are not looked at here.

`tf.lite.experimental.Analyzer` is no third one: in TensorFlow 2.21's wheels its check is left out, and it calls every
file compatible, with any operator.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .contents import Contents, Operator

DOCUMENTED = frozenset(
    """ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXP FULLY_CONNECTED LOGICAL_AND LOGISTIC LSTM
    MAX_POOL_2D MAXIMUM MINIMUM MUL PAD PRELU RELU RELU6 RESHAPE RESIZE_BILINEAR SOFTMAX STRIDED_SLICE SUB
    TRANSPOSE_CONV""".split()
)
ACCEPTED = frozenset(
    """ABS ADD_N ATAN2 BATCH_MATMUL BITCAST CAST CEIL COS CUMSUM DENSIFY DEPTH_TO_SPACE DEQUANTIZE DIV
    DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL FLOOR FLOOR_DIV FLOOR_MOD GATHER GELU GREATER GREATER_EQUAL
    HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_NOT LOGICAL_OR MEAN MIRROR_PAD NEG NOT_EQUAL ONE_HOT PACK
    PADV2 POW QUANTIZE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU_N1_TO_1 RESIZE_NEAREST_NEIGHBOR
    REVERSE_V2 RIGHT_SHIFT ROUND RSQRT SELECT SELECT_V2 SIGN SIN SLICE SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE
    SQUARED_DIFFERENCE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CBRT STABLEHLO_CLAMP STABLEHLO_REMAINDER
    STABLEHLO_SHIFT_LEFT SUM TANH TILE TOPK_V2 TRANSPOSE""".split()
)
_EIGHT_BIT = ("INT8", "UINT8")


@dataclass(frozen=True)
class GpuReport:
    """The operators of a head that a GPU delegate is expected to run.

    Attributes:
        verdict: "whole": all of it, by the documentation. "likely": all of it, by the delegate's own check, where the
            documentation is silent. "partly": operators in `refused` stay on the processor, and moving data between
            the two often costs more than it saves. "none": its numbers are none that the delegate computes with.
        undocumented: Operators in `ACCEPTED`, and how often they occur.
        refused: Operators that are in neither list, and how often.
        notes: What else to know, in sentences.
    """

    verdict: str
    undocumented: Mapping[str, int]
    refused: Mapping[str, int]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {**asdict(self), "notes": list(self.notes)}


def gpu_report(contents: Contents) -> GpuReport:
    """Compare the operators of a head with those that LiteRT's GPU delegate runs.

    Args:
        contents: Of head.tflite, as `read_contents` gives them.

    Returns:
        The report. It does not look at shapes and attributes, and no phone was asked.

    Example:
        >>> gpu_report(read_contents(Path("bundle/edge/head.tflite").read_bytes())).verdict
        'whole'
    """
    working = [operator for operator in contents.operators if not _unpacks_weights(operator)]
    names = contents.counts
    present = {operator.name for operator in working}
    custom = {operator.name for operator in contents.custom_operators}
    refused = {name: names[name] for name in sorted(present) if name in custom or name not in DOCUMENTED | ACCEPTED}
    undocumented = {name: names[name] for name in sorted((present & ACCEPTED) - custom)}
    notes = []
    sixteen = any(tensor.type == "INT16" for operator in working for tensor in (*operator.inputs, *operator.outputs))
    mixed = any(operator.is_float and _has_eight_bit_constant(operator) for operator in working)
    if sixteen:
        notes.append("Integers of 16 bit are not among the numbers that the delegate computes with.")
    if mixed:
        notes.append("The documentation is silent on weights of 8 bit beside activations in float.")
    if any(tensor.type in _EIGHT_BIT for operator in working for tensor in operator.outputs):
        notes.append(
            "The delegate computes quantized operators in floating point: its payloads are close to the processor's, "
            "not the same bytes, and the accuracy in the manifest is not measured on it."
        )
    if sixteen:
        verdict = "none"
    elif refused:
        verdict = "partly"
    else:
        verdict = "likely" if undocumented or mixed else "whole"
    return GpuReport(verdict, undocumented, refused, tuple(notes))


def _unpacks_weights(operator: Operator) -> bool:
    """Check whether an operator only dequantizes stored weights, which the delegate does itself."""
    return operator.name == "DEQUANTIZE" and all(tensor.constant for tensor in operator.inputs)


def _has_eight_bit_constant(operator: Operator) -> bool:
    return any(tensor.constant and tensor.type in _EIGHT_BIT for tensor in operator.inputs)
