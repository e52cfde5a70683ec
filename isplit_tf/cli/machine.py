"""The command `doctor`, the processor's instruction sets, and the switch of TensorFlow's fast kernels (oneDNN).

TensorFlow decides about oneDNN when it is imported. It leaves oneDNN off on x86-64 processors without instructions made
for neural networks, although oneDNN is faster there as well (docs/performance.md). Without oneDNN it has no
channels-first convolutions on a CPU.
"""

import argparse
import importlib.metadata
import os
import platform
import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from .options import add_command
from .output import Result

SWITCH = "TF_ENABLE_ONEDNN_OPTS"
_CPUINFO = "/proc/cpuinfo"
_PACKAGES = ("isplit-tf", "tensorflow", "keras", "ai-edge-litert", "numpy", "tensorflow-datasets", "matplotlib")
# On Linux, TensorFlow 2.20 and 2.21 switch oneDNN on if the processor has any of these.
_FOR_NETWORKS = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}


def cpu_flags(cpuinfo: str | os.PathLike[str] = _CPUINFO) -> frozenset[str]:
    """Return the instruction sets of the processor by their names in Linux; empty if they are not known.

    Args:
        cpuinfo: A file in the format of Linux' `/proc/cpuinfo`.
    """
    try:
        text = Path(cpuinfo).read_text()
    except OSError:
        return frozenset()
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(match[1].split()) if match else frozenset()


def wants_onednn(flags: frozenset[str]) -> bool:
    """Check whether TensorFlow leaves oneDNN off on such a processor although it is faster with it."""
    return "avx2" in flags and not flags & _FOR_NETWORKS


def switch_onednn_on(flags: frozenset[str], environment: MutableMapping[str, str]) -> str | None:
    """Switch oneDNN on if it helps and the user has not set it; call this before TensorFlow is imported.

    Args:
        flags: The instruction sets from `cpu_flags`.
        environment: `os.environ`; gets `TF_ENABLE_ONEDNN_OPTS=1`.

    Returns:
        A message for the user, or None if nothing was changed.
    """
    if SWITCH in environment or not wants_onednn(flags):
        return None
    environment[SWITCH] = "1"
    return (
        f"oneDNN is switched on ({SWITCH}=1): TensorFlow leaves it off on this processor, where it is faster with it. "
        f"{SWITCH}=0 keeps it off."
    )


def describe_processor() -> dict[str, Any]:
    """Return what TensorFlow uses of this processor, and what would be faster; imports TensorFlow."""
    flags = cpu_flags()
    known = platform.machine() in ("x86_64", "AMD64") and bool(flags)
    facts = {
        "avx2": "avx2" in flags if known else None,
        "avx512": "avx512f" in flags if known else None,
        "onednn": onednn_is_on(),
    }
    return facts | {"faster": _advice(facts["onednn"], flags)}


def onednn_is_on() -> bool | None:
    """Return whether TensorFlow, once imported, computes with oneDNN; None if it does not say."""
    try:
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:
        return None
    return bool(IsMklEnabled())


def _advice(onednn: bool | None, flags: frozenset[str]) -> str | None:
    if onednn is not False or "avx2" not in flags:
        return None
    if SWITCH in os.environ:
        return f"{SWITCH}=1 in place of {os.environ[SWITCH]}: convolutions are faster with oneDNN"
    return f"{SWITCH}=1, set before TensorFlow is imported; the other commands of isplit set it by themselves"


def installation() -> dict[str, Any]:
    """Return what a bug report needs: Python, system, processor, GPUs, Keras' settings and versions, by name."""
    import keras
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        **describe_processor(),
        "keras_backend": keras.backend.backend(),
        "float_type": keras.config.floatx(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def define_doctor(commands: Any) -> None:
    """Add `isplit doctor` to the commands."""
    add_command(commands, "doctor", run_doctor, "print what a bug report needs", "isplit doctor --json")


def run_doctor(args: argparse.Namespace) -> Result:
    """Run `isplit doctor`: print the facts that a bug report needs."""
    facts = installation()
    width = max(map(len, facts))
    return Result("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()), facts)
