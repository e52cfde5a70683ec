"""A script that runs TensorFlow Lite Micro; it is started in a process of its own and never imported.

TensorFlow Lite Micro ends the whole process with a segmentation fault in arenas that are far too small, and says why it
failed on file descriptor 2 only. So each try is a forked process, whose output is collected. The script knows numpy and
tflite-micro, and nothing of this project.

    probe.py measure HEAD                           prints {"smallest": ..., "used": ...} or {"error": ...}
    probe.py run HEAD ARENA INPUTS.npy OUTPUTS.npy  prints {} or {"error": ...}
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

STEP = 16  # TensorFlow Lite Micro aligns all that it allocates to so many bytes
FIRST = 1 << 18
LAST = 1 << 30
OUT_OF_MEMORY = ("Failed to resize buffer", "Failed to allocate")


def main(argv: list[str]) -> None:
    """Run the command of the command line."""
    interpreter_class()  # loaded once, before the forks
    with open(argv[1], "rb") as file:
        head = file.read()
    result = measure(head) if argv[0] == "measure" else run(head, int(argv[2]), argv[3], argv[4])
    sys.stdout.write(json.dumps(result) + "\n")


def measure(head: bytes) -> dict[str, Any]:
    """Find the smallest arena by bisection; every arena larger than one that fits also fits."""
    high = FIRST
    ok, log = attempt(allocate, head, high)
    while not ok and high < LAST and (not log or any(text in log for text in OUT_OF_MEMORY)):
        high *= 4
        ok, log = attempt(allocate, head, high)
    if not ok:
        return {"error": log}
    used_bytes = int(re.findall(r"Arena allocation total (\d+) bytes", log)[-1])
    low = 0  # too small; `high` is enough
    while high - low > STEP:
        middle = (low + high) // 2 // STEP * STEP
        if attempt(allocate, head, middle)[0]:
            high = middle
        else:
            low = middle
    return {"smallest": high, "used": used_bytes}


def run(head: bytes, arena: int, inputs: str, outputs: str) -> dict[str, Any]:
    """Run the head on each row of an array and write the outputs."""
    ok, log = attempt(infer, head, arena, inputs, outputs)
    return {} if ok else {"error": log}


def allocate(head: bytes, arena: int) -> None:
    """Plan the memory of a head in an arena of a given number of bytes."""
    interpreter_class().from_bytes(head, arena_size=arena).print_allocations()


def infer(head: bytes, arena: int, inputs: str, outputs: str) -> None:
    """Invoke the head once per row; each row has the shape of the head's input."""
    interpreter = interpreter_class().from_bytes(head, arena_size=arena)
    rows = []
    for row in np.load(inputs, allow_pickle=False):
        interpreter.set_input(row, 0)
        interpreter.invoke()
        rows.append(np.array(interpreter.get_output(0)))
    np.save(outputs, np.stack(rows))


def interpreter_class() -> Any:
    """Return the class of TensorFlow Lite Micro's interpreter."""
    from tflite_micro.python.tflite_micro import runtime

    return runtime.Interpreter


def attempt(action: Callable[..., None], *arguments: Any) -> tuple[bool, str]:
    """Return whether an action succeeds in a process of its own, and its output on file descriptors 1 and 2."""
    with tempfile.TemporaryFile() as sink:
        pid = os.fork()
        if pid == 0:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            try:
                action(*arguments)
            except (RuntimeError, ValueError) as error:
                os.write(2, f"{error}\n".encode())
                os._exit(1)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        sink.seek(0)
        log = sink.read().decode("utf-8", "replace")
    if os.WIFSIGNALED(status):
        log += f"TensorFlow Lite Micro ended with signal {os.WTERMSIG(status)}.\n"
        return False, log if any(text in log for text in OUT_OF_MEMORY) else "Failed to allocate: " + log
    return status == 0, log


if __name__ == "__main__":
    main(sys.argv[1:])
