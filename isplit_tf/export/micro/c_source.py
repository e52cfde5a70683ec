"""A head as C source: the aligned array, the operators to register, and the constants that a firmware needs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from isplit_edge import wire
from isplit_edge.interpreter import quantize
from isplit_edge.preprocessing import preprocess

HEADER_FILE = "edge/head.h"
SOURCE_FILE = "edge/head.cc"
ALIGNMENT = 16
_BYTES_A_LINE = 20
_ARENA_COMMENT = (
    "/* The arena: measured with TensorFlow Lite Micro's reference kernels on a machine of 64 bit; the recommended",
    " * size leaves room for the scratch memory of optimized kernels. The arena must be aligned to 16 bytes. One that",
    " * is far too small crashes TensorFlow Lite Micro instead of failing. */",
)
_SPECIAL_METHODS = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}


def resolver_method(operator: str) -> str:
    """Return the method of `tflite::MicroMutableOpResolver` that registers an operator.

    Example:
        >>> resolver_method("DEPTHWISE_CONV_2D")
        'AddDepthwiseConv2D'
    """
    parts = ("2D" if part == "2D" else part.capitalize() for part in operator.split("_"))
    return _SPECIAL_METHODS.get(operator, "Add" + "".join(parts))


def pixel_table(slot: Mapping[str, Any], preprocessing: Mapping[str, Any] | None) -> np.ndarray | None:
    """Return the head's input for each value of an 8-bit pixel, as the device package computes it.

    Args:
        slot: The head's input: shape without the batch, dtype, scale, zero point.
        preprocessing: The manifest's record, or None.

    Returns:
        int8 `(C, 256)`, channels in the head's own order; None where the input is no int8 image.
    """
    if slot["dtype"] != "int8" or len(slot["shape"]) != 3:
        return None
    channels = slot["shape"][-1]
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 1, channels))
    record = None if preprocessing is None else {**preprocessing, "size": None}
    x = preprocess(levels, record)
    table = quantize(x, np.float32(slot["scale"]), slot["zero_point"], np.dtype(np.int8))
    return np.ascontiguousarray(table[:, 0].T)


def header(manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return the text of head.h: constants for C and C++, declarations, and for C++ the operators.

    Args:
        manifest: The bundle's record.
        facts: `size_bytes` and `adler32` of the array; `arena_bytes` and `arena_smallest_bytes`; `operators`, their
            names; `input` and `output`, each with shape, dtype, scale and zero_point; `pixels`, whether there is a
            pixel table.
    """
    lines = [
        *_opening(manifest),
        "/* The array: a flatbuffer, aligned to 16 bytes, which stays in flash. */",
        _define("HEAD_BYTES", f"{facts['size_bytes']}u"),
        _define("HEAD_ADLER32", f"0x{facts['adler32']:08x}u"),
        "",
        *_ARENA_COMMENT,
        _define("ARENA_SMALLEST_BYTES", f"{facts['arena_smallest_bytes']}u"),
        _define("ARENA_BYTES", f"{facts['arena_bytes']}u"),
        "",
        *_slot("INPUT", facts["input"]),
        "",
        *_slot("LATENT", facts["output"]),
        "",
        *_wire(manifest),
        *_declarations(facts, coded=manifest.get("code") is not None),
        *_operators(facts["operators"]),
        "#endif /* ISPLIT_HEAD_H_ */",
        "",
    ]
    return "\n".join(lines)


def source(content: bytes, table: np.ndarray | None, code: Mapping[str, Any] | None = None) -> str:
    """Return the text of head.cc: the array, and the pixel table and the manifest's code of the latent if there are."""
    parts = [
        "// Written by isplit-tf: do not edit. See head.h.",
        '#include "head.h"',
        "",
        f"alignas({ALIGNMENT}) const unsigned char isplit_head[ISPLIT_HEAD_BYTES] = {{",
        _rows(content),
        "};",
        "",
    ]
    if table is not None:
        parts += ["const int8_t isplit_pixels[][256] = {"]
        parts += [f"    {{\n{_rows(channel.tolist())}\n    }}," for channel in table]
        parts += ["};", ""]
    if code is not None:
        parts += _code_arrays(code)
    return "\n".join(parts)


def _opening(manifest: Mapping[str, Any]) -> list[str]:
    return [
        "/* The head of a split model for TensorFlow Lite Micro. Written by isplit-tf: do not edit.",
        f" * bundle_id {manifest['bundle_id']}",
        f" * cut '{_in_comment(manifest['cut']['name'])}', precision {manifest['precision']}",
        " */",
        "#ifndef ISPLIT_HEAD_H_",
        "#define ISPLIT_HEAD_H_",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
    ]


def _wire(manifest: Mapping[str, Any]) -> list[str]:
    tag = ", ".join(f"0x{byte:02x}" for byte in wire.tag_of(manifest["bundle_id"]))
    bits = manifest.get("latent_bits") or 8 * np.dtype(manifest["dtype"]).itemsize
    return [
        "/* The wire: 8 bytes of tag, Adler-32 of the latent (little-endian), the latent. So many bits of each element",
        " * are sent; isplit_keep_bits in isplit_wire.h leaves them. */",
        _define("LATENT_BITS", f"{bits}u"),
        _define("WIRE_VERSION", str(manifest["wire_version"])),
        _define("WIRE_HEADER_BYTES", f"{wire.HEADER_BYTES}u"),
        _define("PAYLOAD_BYTES", f"{manifest.get('max_payload_bytes') or manifest['payload_bytes']}u"),
        _define("BUNDLE_TAG", f"{{{tag}}}"),
        _define("CLASSES", str(manifest["n_classes"])),
        "",
        *_code(manifest),
    ]


def _code(manifest: Mapping[str, Any]) -> list[str]:
    """Return the constants of a coded latent; nothing where it is not coded."""
    code = manifest.get("code")
    if code is None:
        return []
    channels = len(code["centres"])
    positions = int(np.prod(manifest["shapes"]["latent"])) // channels
    names = "isplit_code_tables[0], isplit_code_runs, isplit_code_magnitudes, isplit_code_centres"
    return [
        "/* The latent is coded, and ISPLIT_PAYLOAD_BYTES is the longest payload. What isplit_encode in isplit_code.h",
        " * takes: static const isplit_code code = ISPLIT_LATENT_CODE; */",
        _define("CODE_TABLES", f"{len(code['tables'])}u"),
        _define("CODE_CHANNELS", f"{channels}u"),
        _define("LATENT_CODE", f"{{{names}, {channels}u, {positions}u}}"),
        "",
    ]


def _code_arrays(code: Mapping[str, Any]) -> list[str]:
    return [
        "const uint16_t isplit_code_tables[ISPLIT_CODE_TABLES][17] = {",
        *(f"    {{{', '.join(map(str, table))}}}," for table in code["tables"]),
        "};",
        "",
        *(
            line
            for name, kind in (("runs", "uint8_t"), ("magnitudes", "uint8_t"), ("centres", "int8_t"))
            for line in (f"const {kind} isplit_code_{name}[ISPLIT_CODE_CHANNELS] = {{", _rows(code[name]), "};", "")
        ),
    ]


def _define(name: str, value: str) -> str:
    return f"#define ISPLIT_{name} {value}"


def _slot(name: str, slot: Mapping[str, Any]) -> list[str]:
    shape: Sequence[int] = slot["shape"]
    dtype = np.dtype(slot["dtype"])
    size = int(np.prod(shape))
    lines = [
        f"/* {name.capitalize()}: {slot['dtype']}, {' x '.join(map(str, shape))}, row-major. */",
        _define(f"{name}_TYPE", "float" if dtype.kind == "f" else f"{dtype.name}_t"),
        _define(f"{name}_RANK", str(len(shape))),
        _define(f"{name}_SHAPE", "{" + ", ".join(map(str, shape)) + "}"),
        _define(f"{name}_SIZE", f"{size}u"),
        _define(f"{name}_BYTES", f"{size * dtype.itemsize}u"),
    ]
    if slot["scale"] is not None:
        lines += [
            "/* value = scale * (integer - zero point) */",
            _define(f"{name}_SCALE", _float(slot["scale"])),
            _define(f"{name}_ZERO_POINT", f"({slot['zero_point']})"),
        ]
    return lines


def _float(value: float) -> str:
    text = f"{np.float32(value):.9g}"  # nine digits give a float32 back exactly
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"


def _declarations(facts: Mapping[str, Any], *, coded: bool) -> list[str]:
    lines = [
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "extern const unsigned char isplit_head[ISPLIT_HEAD_BYTES];",
        "",
    ]
    if facts["pixels"]:
        lines += [
            "/* Pixel to input, preprocessing and quantization in one: for each channel of the input, what each value",
            " * of an 8-bit pixel becomes. Channel c of the input is channel ISPLIT_PIXEL_SOURCE[c] of an R, G, B",
            " * image. */",
            _define("PIXEL_SOURCE", "{" + ", ".join(map(str, facts["pixel_source"])) + "}"),
            "extern const int8_t isplit_pixels[][256];",
            "",
        ]
    if coded:
        lines += [
            "extern const uint16_t isplit_code_tables[ISPLIT_CODE_TABLES][17];",
            "extern const uint8_t isplit_code_runs[ISPLIT_CODE_CHANNELS];",
            "extern const uint8_t isplit_code_magnitudes[ISPLIT_CODE_CHANNELS];",
            "extern const int8_t isplit_code_centres[ISPLIT_CODE_CHANNELS];",
            "",
        ]
    return [*lines, "#ifdef __cplusplus", "}", "#endif", ""]


def _operators(names: Iterable[str]) -> list[str]:
    methods = [resolver_method(name) for name in sorted(names)]
    calls = "".join(f" || resolver.{method}() != 0" for method in methods).removeprefix(" || ")
    return [
        "/* The operators: tflite::MicroMutableOpResolver<ISPLIT_OPERATORS> resolver; then",
        " * isplit_add_operators(resolver), which returns false where one could not be added. */",
        _define("OPERATORS", str(len(methods))),
        "#ifdef __cplusplus",
        "template <typename Resolver>",
        "bool isplit_add_operators(Resolver& resolver) {",
        "  return !(" + calls.replace(" || ", " ||\n           ") + ");",
        "}",
        "#endif",
        "",
    ]


def _rows(values: Iterable[int]) -> str:
    numbers = [str(value) for value in values]
    starts = range(0, len(numbers), _BYTES_A_LINE)
    return "\n".join("    " + ",".join(numbers[k : k + _BYTES_A_LINE]) + "," for k in starts)


def _in_comment(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text).replace("*/", "* /")
