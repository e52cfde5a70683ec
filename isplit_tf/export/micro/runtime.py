"""TensorFlow Lite Micro itself, run on a head: the arena that it needs, and its outputs."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from ...display.quiet import quiet
from ...errors import ExportError, MissingDependencyError

INSTALL = "pip install 'isplit-tf[micro]' (or: pip install tflite-micro pyyaml)"
_PROBE = Path(__file__).with_name("probe.py")
_MODULES = {"tflite_micro": "tflite-micro", "yaml": "pyyaml", "numpy": "numpy"}


@dataclass(frozen=True)
class MeasuredArena:
    """The memory that TensorFlow Lite Micro needed for a head on this machine.

    Attributes:
        smallest_bytes: The smallest arena in which it could plan the head, a multiple of 16, found by bisection.
        used_bytes: What its own record of allocations says, in a large arena; planning takes a little more.
    """

    smallest_bytes: int
    used_bytes: int


def require_tflite_micro() -> None:
    """Raise MissingDependencyError, with the line that installs it, if tflite-micro is missing."""
    missing = [package for module, package in _MODULES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"The arena is measured by running TensorFlow Lite Micro, which is not installed (missing: "
            f"{', '.join(missing)}): {INSTALL}."
        )


def measure_arena(content: bytes) -> MeasuredArena:
    """Find the smallest arena for a head by running TensorFlow Lite Micro in processes of its own.

    Args:
        content: The bytes of a `.tflite` file.

    Returns:
        The figures, of a machine of 64 bit: an upper bound for parts of 32 bit with the same kernels, as pointers are
        half as long there.

    Raises:
        ExportError: If TensorFlow Lite Micro cannot run the head; the message says why, and names an operator that it
            does not have.
        MissingDependencyError: If tflite-micro is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        head = Path(folder) / "head.tflite"
        head.write_bytes(content)
        sizes = _ask("measure", head)
    return MeasuredArena(sizes["smallest"], sizes["used"])


def run_micro(content: bytes, inputs: np.ndarray, arena_bytes: int) -> np.ndarray:
    """Run a head in TensorFlow Lite Micro.

    Args:
        content: The bytes of a `.tflite` file with one input and one output.
        inputs: `(N, *input)` in the dtype of the head's own input, `input` with its batch of 1.
        arena_bytes: Size of the arena.

    Returns:
        `(N, *output)` in the dtype of the head's output.

    Raises:
        ExportError: If it cannot run the head in this arena.
        MissingDependencyError: If tflite-micro is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        head, inputs_file, outputs_file = (Path(folder) / name for name in ("head.tflite", "inputs.npy", "outputs.npy"))
        head.write_bytes(content)
        np.save(inputs_file, inputs)
        _ask("run", head, arena_bytes, inputs_file, outputs_file)
        return np.load(outputs_file, allow_pickle=False)


def run_reference(content: bytes, inputs: np.ndarray) -> np.ndarray:
    """Run a head with LiteRT's reference kernels; arguments and result are those of `run_micro`."""
    with quiet():
        interpreter = Interpreter(
            model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
        )
        interpreter.allocate_tensors()
        input_index, output_index = (
            interpreter.get_input_details()[0]["index"],
            interpreter.get_output_details()[0]["index"],
        )
        rows = []
        for row in inputs:
            interpreter.set_tensor(input_index, row)
            interpreter.invoke()
            rows.append(interpreter.get_tensor(output_index))
    return np.stack(rows)


def _ask(*arguments: Any) -> dict[str, Any]:
    require_tflite_micro()
    # The script's own folder must not be searched for modules (-P): some there are named like Python's own.
    process = subprocess.run(
        [sys.executable, "-P", os.fspath(_PROBE), *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if process.returncode:
        raise ExportError(f"TensorFlow Lite Micro cannot be started here: {process.stderr.strip()[-2000:]}")
    answer = json.loads(process.stdout.splitlines()[-1])
    if "error" in answer:
        raise _refused(answer["error"])
    return answer


def _refused(said: str) -> ExportError:
    lines = list(dict.fromkeys(line.strip() for line in said.splitlines() if line.strip()))
    operators = re.findall(r"Didn't find op for \w+ opcode '([^']+)'", said)
    if operators:
        return ExportError(
            f"TensorFlow Lite Micro has no operator {', '.join(sorted(set(operators)))}, which the head uses. "
            "Possible: a cut before it, or a model without it."
        )
    failure = ExportError(
        f"TensorFlow Lite Micro cannot run this head: {' / '.join(lines[:3])} Possible: precision='int8', or another "
        "cut."
    )
    failure.add_note(said)
    return failure
