"""The manifest's record of a head for microcontrollers."""

from . import schema

_BYTES = schema.integer(0)

RECORD = schema.record(
    {
        "operators": schema.mapping(schema.integer(1)),
        "flash_bytes": _BYTES,
        "arena_smallest_bytes": _BYTES,
        "arena_bytes": _BYTES,
        "ram_bytes": _BYTES,
        "reference_difference": schema.number(0),
        "compared_inputs": schema.integer(0),
        "ethos_u_estimate": schema.nullable(schema.mapping(schema.scalar)),
    }
)
"""The check of the whole record.

operators: the number of each. flash_bytes: the array, without code. arena_smallest_bytes: measured under TensorFlow
Lite Micro; arena_bytes: recommended. ram_bytes: arena and payload. reference_difference: the largest difference from
LiteRT's reference kernels, in steps of an integer output, over compared_inputs. ethos_u_estimate: the estimate of
Arm's compiler, or null.
"""
