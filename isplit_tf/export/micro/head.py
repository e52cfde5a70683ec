"""A head for microcontrollers: checked and measured with TensorFlow Lite Micro, and written as C."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from isplit_edge.code import Code
from isplit_edge.wire import payload_bytes, sent_bits

from ...display.quiet import quiet
from ...errors import ArgumentError, ExportError
from ..litert.contents import Contents, Operator
from ..litert.converter import ConvertedHead
from .c_source import ALIGNMENT, HEADER_FILE, SOURCE_FILE, header, pixel_table, source
from .ethos_u import EthosUEstimate, estimate_ethos_u
from .runtime import measure_arena, run_micro, run_reference

MICROCONTROLLER = "microcontroller"
"""The target of `export_bundle`."""

MICRO_PRECISIONS = ("int8", "int16x8", "float32")
FRAME_BYTES = 16
"""What a frame of the kit in export/microcontroller/ adds to a payload."""
CODER_BYTES = 5100
"""The memory of the kit's encoder, `sizeof(isplit_code_work)`."""

_CHECKED_INPUTS = 4
_MARGIN = 0.1
_ROUNDING = 1024
_TOLERANCE = 0.05
_CONVOLUTIONS = ("CONV_2D", "TRANSPOSE_CONV")
# CMSIS-NN's depthwise kernel for Helium works on so many channels at once, in four buffers.
_HELIUM_CHANNELS = 124


@dataclass(frozen=True)
class Needs:
    """The memory that a head needs on a microcontroller, in bytes.

    Attributes:
        flash_bytes: The array, aligned, the pixel table, and the tables that code the latent. The machine code of
            TensorFlow Lite Micro and of the firmware comes on top.
        arena_smallest_bytes: The smallest arena that works, as measured.
        arena_bytes: The recommended one.
        ram_bytes: The recommended arena, the payload, the 16 bytes around it on the wire, and the memory of the coder
            if the latent is coded. Stack and the firmware's own variables come on top.
    """

    flash_bytes: int
    arena_smallest_bytes: int
    arena_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class MicroHead:
    """A head that TensorFlow Lite Micro runs.

    Attributes:
        content: The bytes of head.tflite.
        operators: How often each operator occurs, by LiteRT's name.
        needs: What it needs.
        input, output: shape (without the batch), dtype, scale and zero_point; the last two None where it is float.
        reference_difference: The largest difference between TensorFlow Lite Micro and LiteRT's reference kernels over
            the inputs that were compared, in steps of the output where that is an integer.
        compared_inputs: How many.
        ethos_u: What Arm's compiler expects on an Ethos-U, an estimate; None where nobody asked.
    """

    content: bytes
    operators: Mapping[str, int]
    needs: Needs
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    reference_difference: float
    compared_inputs: int
    ethos_u: EthosUEstimate | None = None

    def record(self) -> dict[str, Any]:
        """Return the record for the manifest."""
        return {
            "operators": dict(self.operators),
            "flash_bytes": self.needs.flash_bytes,
            "arena_smallest_bytes": self.needs.arena_smallest_bytes,
            "arena_bytes": self.needs.arena_bytes,
            "ram_bytes": self.needs.ram_bytes,
            "reference_difference": self.reference_difference,
            "compared_inputs": self.compared_inputs,
            "ethos_u_estimate": None if self.ethos_u is None else self.ethos_u.to_json(),
        }

    def files(self, manifest: Mapping[str, Any]) -> dict[str, str]:
        """Return the texts of head.h and head.cc by their paths in the bundle, given the manifest's record."""
        table = pixel_table(self.input, manifest["preprocessing"])
        reversed_order = manifest["preprocessing"] is not None and manifest["preprocessing"]["channel_order"] == "BGR"
        channels = range(0 if table is None else len(table))
        facts = {
            "size_bytes": len(self.content),
            "adler32": zlib.adler32(self.content),
            "arena_bytes": self.needs.arena_bytes,
            "arena_smallest_bytes": self.needs.arena_smallest_bytes,
            "operators": self.operators,
            "input": self.input,
            "output": self.output,
            "pixels": table is not None,
            "pixel_source": list(reversed(channels)) if reversed_order else list(channels),
        }
        return {HEADER_FILE: header(manifest, facts), SOURCE_FILE: source(self.content, table, manifest.get("code"))}


def measure_needs(
    head: ConvertedHead,
    latent_bits: int | None = None,
    *,
    code: Code | None = None,
    max_payload_bytes: int | None = None,
) -> Needs:
    """Measure the memory that a converted head needs, by planning it in TensorFlow Lite Micro without running it.

    Args:
        head: A head of precision "int8", "int16x8" or "float32".
        latent_bits: Of each element of its latent, where fewer are sent than it has.
        code: By which its latent is coded, or None; its tables lie in flash.
        max_payload_bytes: The longest coded payload.

    Raises:
        ArgumentError: If the precision is one that TensorFlow Lite Micro does not run.
        ExportError: If it does not take the head; the message names the operator or the reason.
        MissingDependencyError: If tflite-micro is not installed.
    """
    check_micro_precision(head.precision)
    arena = measure_arena(head.content)
    recommended = recommended_arena(arena.smallest_bytes, head.contents)
    if code is None:
        tables, sending = 0, payload_bytes(head.dtype, head.latent_shape, sent_bits(head.dtype, latent_bits))
    else:
        tables, sending = code_bytes(code), CODER_BYTES + (max_payload_bytes or 0)
    return Needs(
        flash_bytes=flash_bytes(len(head.content), head.input_shape, head.precision) + tables,
        arena_smallest_bytes=arena.smallest_bytes,
        arena_bytes=recommended,
        ram_bytes=recommended + FRAME_BYTES + sending,
    )


def check_micro_head(head: ConvertedHead, *, needs: Needs | None = None, ethos_u: str | None = None) -> MicroHead:
    """Run a converted head in TensorFlow Lite Micro, in the smallest arena, and compare with the reference kernels.

    Args:
        head: A head of precision "int8", "int16x8" or "float32".
        needs: What `measure_needs` found, where it was asked before.
        ethos_u: An Ethos-U to estimate for, such as "ethos-u55-128", or None.

    Returns:
        The head with what was measured.

    Raises:
        ArgumentError: If the precision is one that TensorFlow Lite Micro does not run.
        ExportError: If it cannot run the head, or answers differently from LiteRT's reference kernels.
        MissingDependencyError: If tflite-micro is not installed.
    """
    needs = measure_needs(head) if needs is None else needs
    input_slot, output_slot = _slots(head.content)
    return MicroHead(
        content=head.content,
        operators=head.contents.counts,
        needs=needs,
        input=input_slot,
        output=output_slot,
        reference_difference=_compare(head, needs.arena_smallest_bytes, input_slot),
        compared_inputs=_CHECKED_INPUTS,
        ethos_u=None if ethos_u is None else estimate_ethos_u(head.content, ethos_u),
    )


def check_micro_precision(precision: str) -> None:
    """Raise ArgumentError for a precision that a head for a microcontroller cannot have."""
    if precision not in MICRO_PRECISIONS:
        raise ArgumentError(
            f"TensorFlow Lite Micro runs heads of precision {', '.join(MICRO_PRECISIONS)}; float16 and dynamic need "
            f"kernels that it does not have. Received: {precision!r}."
        )


def flash_bytes(content_bytes: int, input_shape: tuple[int, ...], precision: str) -> int:
    """Return the flash for a head's array and its pixel table, in bytes."""
    pixels = 256 * input_shape[-1] if precision == "int8" and len(input_shape) == 3 else 0
    return -(-content_bytes // ALIGNMENT) * ALIGNMENT + pixels


def code_bytes(code: Code) -> int:
    """Return the flash for the tables that code a latent, in bytes."""
    return code.tables.nbytes + code.runs.nbytes + code.magnitudes.nbytes + code.centres.nbytes


def recommended_arena(smallest_bytes: int, contents: Contents) -> int:
    """Return the arena to start with: the measured size, the scratch memory of CMSIS-NN and a tenth, in whole KiB.

    The measurement is of the reference kernels, which use no scratch memory for convolutions; CMSIS-NN's do, for one
    operator at a time. The tenth is for other versions and other vendors' kernels. That pointers are half as long on a
    part of 32 bit is left as a further reserve.

    Args:
        smallest_bytes: As measured.
        contents: The operators of the head.

    Returns:
        Bytes; a firmware's own `arena_used_bytes()` may allow for less.
    """
    scratch = max((_scratch_bytes(operator) for operator in contents.operators), default=0)
    least_bytes = (1 + _MARGIN) * (smallest_bytes + scratch)
    return -(-int(np.ceil(least_bytes)) // _ROUNDING) * _ROUNDING


def _scratch_bytes(operator: Operator) -> int:
    """Return an upper bound of the scratch memory of CMSIS-NN's kernel over its instruction sets, in bytes."""
    first = operator.inputs[0] if operator.inputs else None
    if first is None or first.is_float:
        return 0
    if operator.name in _CONVOLUTIONS and len(operator.inputs) > 1:
        _, rows, columns, channels = max((tensor.shape for tensor in operator.inputs if tensor.constant), key=len)
        return 4 * (-(-rows * columns * channels // 16) * 16)  # two columns in int16, or four in int8
    if operator.name == "DEPTHWISE_CONV_2D":
        _, rows, columns, channels = operator.inputs[1].shape
        return rows * columns * max(2 * channels, 4 * _HELIUM_CHANNELS)
    if operator.name in ("FULLY_CONNECTED", "AVERAGE_POOL_2D"):
        return 4 * operator.outputs[0].shape[-1]  # a sum for each channel
    return 0


def _slots(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    with quiet():
        interpreter = Interpreter(model_content=content)
        details = (interpreter.get_input_details(), interpreter.get_output_details())
    return tuple(_slot(tensors[0]) for tensors in details)  # type: ignore[return-value]


def _slot(details: Mapping[str, Any]) -> dict[str, Any]:
    scale, zero_point = details["quantization"]
    quantized = np.dtype(details["dtype"]).kind != "f"
    return {
        "shape": [int(axis) for axis in details["shape"][1:]],
        "dtype": np.dtype(details["dtype"]).name,
        "scale": float(scale) if quantized else None,
        "zero_point": int(zero_point) if quantized else None,
    }


def _compare(head: ConvertedHead, arena_bytes: int, into: Mapping[str, Any]) -> float:
    """Return the largest difference from the reference kernels on inputs over the whole range."""
    rng = np.random.default_rng(0)
    shape = (_CHECKED_INPUTS, 1, *into["shape"])
    dtype = np.dtype(into["dtype"])
    if dtype.kind == "f":
        inputs = rng.random(shape, np.float32)
    else:
        limits = np.iinfo(dtype)
        inputs = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    outputs = run_micro(head.content, inputs, arena_bytes).astype(np.float64)
    expected = run_reference(head.content, inputs).astype(np.float64)
    difference = np.abs(outputs - expected)
    spread = float(np.ptp(expected)) or 1.0
    if difference.max() > _TOLERANCE * spread:
        raise ExportError(
            f"TensorFlow Lite Micro answers differently from LiteRT on this head: by up to {difference.max():g}, where "
            f"the answers span {spread:g}. Possible: precision='int8', or another cut."
        )
    return float(difference.max())


def write_micro(root: Path, micro: MicroHead, manifest: Mapping[str, Any]) -> None:
    """Write head.h and head.cc below a bundle's root."""
    for name, text in micro.files(manifest).items():
        (root / name).write_text(text, encoding="ascii")
